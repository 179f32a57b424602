"""One score a position: what a patch covers, shared weights, and what the head refuses."""

import pytest
import torch

from adafocus_env.envs import PatchGrid
from agents.gru_ppo.rollout_cache import trains_as_it_acts
from agents.policies.policy_files import load_policy, save_policy
from agents.policies.spatial_head import FrameScore, patch_coverage

# Sixteen patches of 4 pixels that tile a frame of 16.
TILES = {"grid_size": 4, "frame_size": 16, "patch_size": 4}
SPATIAL = {"head": "spatial", "patch_grid": TILES, "head_dim": 6}
MAPS = (3, 4, 4)


def _maps(*leading, seed=0):
    return 6.0 * torch.rand(*leading, *MAPS, generator=torch.Generator().manual_seed(seed))


def test_a_patch_covers_cells_by_the_area_that_lies_in_them():
    # Corners at 0, 2, 4, 6 of 10 pixels, cells of 5: patches of 4 lie 4/4, 3/4, 1/4, 0/4 in the
    # first one.
    coverage = patch_coverage(PatchGrid(4, 10, 4), (2, 2))
    assert coverage.shape == (16, 4)
    assert coverage[0].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert coverage[6].tolist() == [0.75 * 0.25, 0.75 * 0.75, 0.25 * 0.25, 0.25 * 0.75]
    assert coverage[15].tolist() == [0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("map_size", [(7, 7), (5, 3), (1, 1), (14, 14)])
def test_all_of_a_patch_is_somewhere(map_size):
    coverage = patch_coverage(PatchGrid(7, 224, 96), map_size)
    torch.testing.assert_close(coverage.sum(dim=1), torch.ones(49))
    assert coverage.min() >= 0.0


@torch.no_grad()
def test_a_score_is_the_networks_of_the_covered_cells_and_the_frame(make_policy):
    policy = make_policy(shape=(1, 2, 2), actions=16, recurrent=False, **{**SPATIAL, "head_dim": 1})
    actor = policy.actor
    for parameter, value in (
        (actor.cells.weight, 2.0),
        (actor.frame.bias, -5.0),
        (actor.frame.weight, 1.0),
        (actor.score.weight, 10.0),
    ):
        parameter.fill_(value)
    actor.bias[5] = 0.5
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])  # their mean is 3
    logits = actor(maps, maps.mean((-2, -1)), None)[0]
    # Cells of 8 pixels: position 0 lies in the first, 5 also, 2 in the second, 15 in the last.
    expected = [0.0, 0.5, 10 * (2 * 2 - 5 + 3), 10 * (2 * 6 - 5 + 3)]
    assert logits[[0, 5, 2, 15]].tolist() == expected


@torch.no_grad()
def test_a_larger_kernel_sees_beside_the_patch_and_the_scores_move_with_the_map(make_policy):
    arguments = {"recurrent": False, "clamp_probs": False, **SPATIAL, "head_kernel": 3}
    policy = make_policy(shape=MAPS, actions=16, **arguments)
    maps = torch.zeros(2, *MAPS)
    maps[0, :, 1, 1] = 6.0
    maps[1, :, 2, 2] = 6.0
    scores = policy.actor(maps, maps.mean((-2, -1)), None).view(2, 4, 4)
    torch.testing.assert_close(scores[1, 1:, 1:], scores[0, :3, :3])
    dark = scores[0, 0, 3]  # nothing is near
    assert ((scores[0] - dark).abs() > 1e-4).sum() == 9
    with pytest.raises(ValueError, match="head_kernel is odd"):
        make_policy(shape=MAPS, actions=16, **{**arguments, "head_kernel": 2})


@torch.no_grad()
def test_what_is_shown_elsewhere_is_scored_alike_there(make_policy):
    policy = make_policy(shape=MAPS, actions=16, recurrent=False, **SPATIAL)
    maps, order = _maps(2, 1), torch.randperm(16, generator=torch.Generator().manual_seed(1))
    moved = maps.flatten(-2)[..., order].unflatten(-1, (4, 4))
    before, after = (policy.evaluate_episodes(seen) for seen in (maps, moved))
    torch.testing.assert_close(after[0].logits, before[0].logits[..., order])
    torch.testing.assert_close(after[1], before[1])  # the value sees the frame's mean


@torch.no_grad()
def test_skipping_is_scored_by_the_frame_and_the_positions_do_not_know_it(make_policy):
    policy = make_policy(shape=MAPS, actions=17, recurrent=False, clamp_probs=False, **SPATIAL)
    maps = _maps(2)
    mean = maps.mean((-2, -1))
    scores = policy.actor(maps, mean, None)
    assert scores.shape == (2, 17)
    torch.testing.assert_close(scores[:, 16], policy.actor.skip(mean, None))
    policy.actor.skip.score.bias += 1.0
    torch.testing.assert_close(
        policy.actor(maps, mean, None) - scores, torch.eye(17)[16].expand(2, -1)
    )


@torch.no_grad()
def test_memory_reaches_scores_and_values(make_policy):
    policy = make_policy(shape=MAPS, actions=17, **SPATIAL)
    one, other = _maps(2, 3), _maps(2, 3)
    other[:, 0] = 6.0 - other[:, 0]
    for first, second in zip(*(_outputs(policy, seen) for seen in (one, other)), strict=True):
        assert (first[:, -1] - second[:, -1]).abs().max() > 1e-4


@torch.no_grad()
def test_memory_can_point_at_a_place_where_there_is_nothing_to_see(make_policy):
    policy = make_policy(shape=MAPS, actions=16, **SPATIAL)
    dark, mean = torch.zeros(1, *MAPS), torch.zeros(1, 3)
    states = torch.eye(8)[:2]  # the scores of an even frame are even without memory's places
    scores = [policy.actor(dark, mean, state[None]) for state in states]
    torch.testing.assert_close(
        scores[0] - scores[0].mean(), _centred(policy.actor.places.weight[:, :1].T)
    )
    assert (scores[0].argmax() != scores[1].argmax()).item()
    policy.actor.places.weight.zero_()
    assert policy.actor(dark, mean, states[:1]).std().item() == pytest.approx(0.0, abs=1e-6)


def _centred(values):
    return values - values.mean()


def _outputs(policy, observations):
    distribution, values = policy.evaluate_episodes(observations)
    return distribution.probs, values


def test_places_that_were_never_trained_on_are_found(make_policy):
    """A bright cell is to be looked at; training shows it at the first half of the places."""

    def found(**arguments):
        policy = make_policy(shape=(1, 4, 4), actions=16, orthogonal=True, **arguments)
        bright = torch.eye(16).view(16, 1, 1, 4, 4)
        for _ in range(60):
            distribution, _ = policy.evaluate_episodes(bright[:8])
            loss = -distribution.log_prob(torch.arange(8)[:, None]).mean()
            policy.optimizer.zero_grad()
            loss.backward()
            for group in policy.optimizer.param_groups:
                group["lr"] = 0.03
            policy.optimizer.step()
        best = policy.evaluate_episodes(bright)[0].best()[:, 0]
        right = best == torch.arange(16)
        return right[:8].all().item(), right[8:].sum().item()

    assert found(**SPATIAL, recurrent=False) == (True, 8)
    assert found(recurrent=False) == (True, 0)


def test_it_has_no_encoder_and_no_state_without_recurrence(make_policy):
    policy = make_policy(shape=MAPS, actions=16, recurrent=False, **SPATIAL)
    names = {name.partition(".")[0] for name, _ in policy.named_parameters()}
    assert names == {"actor", "critic"}
    assert policy.initial_state(5).shape == (5, 0)
    flat = make_policy(recurrent=False)
    assert {name.partition(".")[0] for name, _ in flat.named_parameters()} == {*names, "encoder"}
    assert isinstance(policy.critic, FrameScore)


def test_the_passes_of_acting_and_training_differ_with_dropout_only(make_policy):
    for dropout, same in ((0.0, True), (0.3, False)):
        policy = make_policy(shape=MAPS, actions=16, dropout=dropout, **SPATIAL)
        assert trains_as_it_acts(policy) is same
        policy.set_training_mode(True)
        first, second = (policy.evaluate_episodes(_maps(2, 1))[0].logits for _ in range(2))
        assert torch.equal(first, second) is same


def test_orthogonal_policies_start_nearly_uniform(make_policy):
    probs = (
        make_policy(shape=MAPS, actions=17, orthogonal=True, **SPATIAL)
        .evaluate_episodes(_maps(2, 3))[0]
        .probs
    )
    torch.testing.assert_close(probs, torch.full_like(probs, 1 / 17), rtol=0.0, atol=0.01)


def test_gru_ppo_asks_its_environment_where_patches_lie(make_adapter, make_model, tmp_path):
    model = make_model(make_adapter(), policy_kwargs={"head": "spatial"})
    numbers = {"grid_size": 7, "frame_size": 40, "patch_size": 12}
    assert model.policy.arguments()["patch_grid"] == numbers
    model.learn(12)
    model.save(tmp_path / "model.zip")
    loaded = type(model).load(tmp_path / "model.zip", device="cpu")
    assert loaded.policy.arguments()["patch_grid"] == numbers
    save_policy(model.policy, tmp_path / "policy", recognizer_sha256=None)
    policy = load_policy(tmp_path / "policy").policy
    assert policy.arguments() == model.policy.arguments()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": None}, "with locations=continuous use head='flat'"),
        ({"shape": (3,)}, "use observation=map or head='flat'"),
        ({"patch_grid": None}, "must be told where the patches of its actions lie: patch_grid={"),
        ({"patch_grid": {"grid_size": 4}}, "patch_grid has grid_size, frame_size, patch_size, not"),
        ({"actions": 25}, r"no actions of a 4x4 grid \(Discrete\(16\)"),
        ({"head": "round"}, "head is 'flat' or 'spatial', not 'round'"),
    ],
    ids=["continuous", "vector", "no grid", "other numbers", "other grid", "other head"],
)
def test_what_has_no_positions_to_score_is_refused(make_policy, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        make_policy(**{"shape": MAPS, "actions": 16, **SPATIAL, **changes})
    assert "\n" not in str(error.value)


def test_both_environments_say_where_their_patches_lie(make_env, make_vector_env):
    for env in (make_env(), make_vector_env(2), make_env(locations="continuous")):
        assert vars(env.patch_grid)["patch_size"] == 12
        assert env.patch_grid.num_actions == 49
