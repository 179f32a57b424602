"""PatchLocalizationCore: stepping, playing, and the frozen networks below it."""

import copy

import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded

from adafocus_env.envs import REWARDS
from adafocus_env.envs.factory import make_core_from_parts
from adafocus_env.envs.lookahead import confidences_at_all_positions
from adafocus_env.features import EpisodeStart, LiveFeatures

STARTS = [EpisodeStart(0, 11), EpisodeStart(3, 12), EpisodeStart(1, 2**64 - 1)]


@pytest.fixture
def make_core(tiny_recognizer, make_videos):
    """Three rows that have begun the episodes `STARTS`."""

    def make(**rules):
        videos = rules.pop("videos", None) or make_videos()
        core = make_core_from_parts(
            rules.pop("recognizer", tiny_recognizer), videos, num_rows=3, **rules
        )
        core.reset_rows([0, 1, 2], STARTS)
        return core

    return make


def _actions(core, seed=0):
    """`(N, T)` or `(N, T, 2)` actions, the corners among them."""
    generator = torch.Generator().manual_seed(seed)
    if core.locations is core.grid:
        actions = torch.randint(0, core.grid.num_actions, (3, 4), generator=generator)
        actions[0, 0], actions[1, 3] = 0, core.grid.num_actions - 1
        return actions
    places = torch.rand(3, 4, 2, generator=generator)
    places[0, 0], places[1, 3] = 0.0, 1.0
    return places


def _stepped(core, looks, by="actions"):
    """The outcomes of an episode's steps, as `play` gives them."""
    outcomes = [vars(core.transition(**{by: looks[:, t]})) for t in range(4)]
    return {name: torch.stack([one[name] for one in outcomes], dim=1) for name in outcomes[0]}


@pytest.mark.parametrize(
    "rules",
    [
        *({"reward": reward} for reward in REWARDS),
        {"baseline_positions": "grid", "locations": "continuous"},
        *({"patch_size": side} for side in (1, 25, 40)),  # none that it was trained with
    ],
    ids=str,
)
def test_play_equals_stepping_through_the_episode(make_core, assert_equal, rules):
    playing, stepping = make_core(**rules), make_core(**rules)
    actions = _actions(playing)
    played = playing.play(actions)
    assert_equal(vars(played), _stepped(stepping, actions))
    assert played.confidences.std() > 0.05  # the numbers compared do vary
    assert playing.steps.tolist() == stepping.steps.tolist() == [4, 4, 4]
    assert int(played.offsets.max()) == 40 - rules.get("patch_size", 12)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_play_equals_stepping_on_a_gpu(make_core, tiny_recognizer, assert_equal):
    recognizer = copy.deepcopy(tiny_recognizer).to("cuda")
    playing, stepping = make_core(recognizer=recognizer), make_core(recognizer=recognizer)
    actions = _actions(playing)
    assert_equal(vars(playing.play(actions)), _stepped(stepping, actions))


@pytest.mark.parametrize("reward", ["random", "expected"])
def test_play_equals_stepping_at_any_pixel(make_core, assert_equal, reward):
    playing, stepping = make_core(reward=reward), make_core(reward=reward)
    offsets = torch.randint(0, 29, (3, 4, 2), generator=torch.Generator().manual_seed(0))
    offsets[0, 0], offsets[2, 3] = 0, 28  # 40 - 12, the last that fits
    played = playing.play(offsets=offsets)
    assert_equal(vars(played), _stepped(stepping, offsets, by="offsets"))
    assert torch.equal(played.offsets, offsets)


@pytest.mark.parametrize("observation", ["map", "vector"])
def test_observe_episode_equals_the_observations_of_stepping(make_core, observation):
    core = make_core(observation=observation)
    episode = core.observe_episode()
    assert episode.shape == ((3, 4, 48, 7, 7) if observation == "map" else (3, 4, 48))
    actions = _actions(core)
    for t in range(4):
        assert torch.equal(core.observe(), episode[:, t])
        core.transition(actions[:, t])
    assert torch.equal(core.observe(), episode[:, 3])  # no fifth frame: the last one again


def test_observations_lie_within_the_declared_bounds_and_vectors_are_the_means(
    make_core, make_recognizer
):
    core = make_core()
    maps, vectors = core.observe_episode(), make_core(observation="vector").observe_episode()
    torch.testing.assert_close(maps.mean(dim=(3, 4)), vectors)
    assert core.source.observation_bound == 6.0
    assert maps.min() >= 0
    assert maps.max() <= 6
    assert maps.std() > 0.1
    capped = make_core(recognizer=make_recognizer(activation_cap=0.5)).observe_episode()
    assert capped.max() == 0.5


def test_observations_are_copies_that_do_not_depend_on_actions(make_core):
    core = make_core()
    episode = core.observe_episode()
    expected = episode.clone()
    core.observe().fill_(-1.0)
    core.observe_episode().fill_(-1.0)
    assert torch.equal(core.observe_episode(), expected)
    core.reset_rows([0], [EpisodeStart(2, 5)])
    assert torch.equal(episode, expected)
    one, other = make_core(), make_core()
    for t in range(4):
        one.transition(torch.full((3,), t))
        other.transition(torch.full((3,), 48 - t))
        assert torch.equal(one.observe(), other.observe())


def test_observations_do_not_depend_on_the_label(make_core, make_videos):
    one = make_core(videos=make_videos(labels=[0, 1, 2, 0, 1]))
    other = make_core(videos=make_videos(labels=[1, 2, 0, 2, 0]))
    assert (one.labels != other.labels).all()
    assert torch.equal(one.observe_episode(), other.observe_episode())
    actions = _actions(one)
    for t in range(4):
        first, second = one.transition(actions[:, t]), other.transition(actions[:, t])
        assert torch.equal(one.observe(), other.observe())
        assert torch.equal(first.logits, second.logits)
        assert not torch.equal(first.confidences, second.confidences)


def test_confidences_at_all_positions_are_those_of_looking_there(make_core):
    core = make_core(grid_size=4)
    core.transition(torch.tensor([3, 3, 3]))
    everywhere = confidences_at_all_positions(core)
    assert everywhere.shape == (3, 16)
    for action in (0, 3, 4, 9, 15):
        trial = copy.deepcopy(core)
        outcome = trial.transition(torch.full((3,), action))
        torch.testing.assert_close(everywhere[:, action], outcome.confidences, rtol=0, atol=1e-5)
    assert core.steps.tolist() == [1, 1, 1]
    assert torch.equal(confidences_at_all_positions(core), everywhere)


def test_frozen_networks_do_not_change_by_a_bit(tiny_recognizer, make_core):
    recognizer = copy.deepcopy(tiny_recognizer).train().requires_grad_(True)
    before = {name: tensor.clone() for name, tensor in recognizer.state_dict().items()}
    assert any("running_mean" in name for name in before)
    for reward in REWARDS:
        core = make_core(recognizer=recognizer, reward=reward)
        actions = _actions(core)
        core.play(actions)
        core.reset_rows([0, 1, 2], STARTS)
        for t in range(4):
            outcome = core.transition(actions[:, t])
            confidences_at_all_positions(core)
            assert not any(tensor.requires_grad for tensor in vars(outcome).values())
        assert not core.observe().requires_grad
    after = recognizer.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
    assert not any(module.training for module in recognizer.modules())
    assert all(p.grad is None and not p.requires_grad for p in recognizer.parameters())


def test_new_episodes_in_some_rows_leave_the_others_as_they_are(make_core, assert_equal):
    disturbed, alone = make_core(), make_core()
    actions = _actions(disturbed)
    for core in (disturbed, alone):
        core.transition(actions[:, 0])
    disturbed.reset_rows([1], [EpisodeStart(4, 99)])
    others = torch.tensor([0, 2])
    for t in (1, 2, 3):
        one, other = disturbed.transition(actions[:, t]), alone.transition(actions[:, t])
        for name in vars(one):
            assert_equal(vars(one)[name][others], vars(other)[name][others])
        assert torch.equal(disturbed.observe()[others], alone.observe()[others])
    assert disturbed.steps.tolist() == [4, 3, 4]
    with pytest.raises(ResetNeeded, match=r"rows \[0, 2\] are over"):
        disturbed.transition(actions[:, 0])
    assert disturbed.steps.tolist() == [4, 3, 4]


def test_outcomes_share_no_memory_with_the_core(make_core, assert_equal):
    for reward in REWARDS:
        disturbed, alone = make_core(reward=reward), make_core(reward=reward)
        actions = _actions(alone)
        outcomes = [alone.transition(actions[:, t]) for t in range(4)]
        copies = copy.deepcopy(outcomes)
        alone.reset_rows([0, 1, 2], STARTS)
        alone.transition(actions[:, 0])
        for outcome, expected in zip(outcomes, copies, strict=True):
            for name, tensor in vars(outcome).items():
                assert torch.equal(tensor, vars(expected)[name]), (reward, name)
        for tensor in vars(disturbed.transition(actions[:, 0])).values():
            tensor.zero_()
        assert_equal(vars(disturbed.transition(actions[:, 1])), vars(outcomes[1]))


def test_nothing_works_before_the_first_reset(tiny_recognizer, make_videos):
    core = make_core_from_parts(tiny_recognizer, make_videos(), num_rows=2)
    core.reset_rows([1], [EpisodeStart(0, 0)])
    for call in (
        core.observe,
        core.observe_episode,
        lambda: core.transition(torch.tensor([0, 0])),
        lambda: core.play(torch.zeros(2, 4, dtype=torch.int64)),
        lambda: confidences_at_all_positions(core),
    ):
        with pytest.raises(ResetNeeded, match=r"reset first: rows \[0\]"):
            call()


def test_whole_episodes_need_every_row_at_its_first_frame(make_core):
    core = make_core()
    actions = _actions(core)
    core.transition(actions[:, 0])
    core.reset_rows([0, 1], STARTS[:2])
    with pytest.raises(ResetNeeded, match="play needs every row at its first frame"):
        core.play(actions)
    with pytest.raises(ResetNeeded, match="observe_episode needs every row at its first frame"):
        core.observe_episode()
    core.reset_rows([2], STARTS[2:])
    core.play(actions)
    with pytest.raises(ResetNeeded):
        core.play(actions)


def test_a_video_outside_the_split_and_no_rows_are_refused(make_core, tiny_recognizer, make_videos):
    core = make_core()
    core.transition(torch.tensor([0, 0, 0]))
    for index in (-1, 5):
        with pytest.raises(IndexError, match=rf"video_index {index} is not in 0\.\.4"):
            core.reset_rows([0, 1], [EpisodeStart(0, 0), EpisodeStart(index, 0)])
    assert core.steps.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="at least one row is needed, got 0"):
        make_core_from_parts(tiny_recognizer, make_videos(), num_rows=0)


def test_bad_offsets_are_refused_as_are_both_or_neither_of_actions_and_offsets(make_core):
    core = make_core()
    actions = torch.tensor([0, 0, 0])
    for offsets, message in (
        ([[0, 29], [0, 0], [0, 0]], r"must lie in 0\.\.28"),
        ([[0, 0], [-1, 0], [0, 0]], r"must lie in 0\.\.28"),
        ([[0, 0], [0, 0]], "shape"),
        ([[0, 0]], "shape"),
        ([0, 0, 0], "shape"),
        ([[0.5, 0.0], [0.0, 0.0], [0.0, 0.0]], "integer"),
    ):
        with pytest.raises(ValueError, match=message):
            core.transition(offsets=torch.tensor(offsets))
    with pytest.raises(ValueError, match="either actions or offsets"):
        core.transition()
    with pytest.raises(ValueError, match="either actions or offsets"):
        core.transition(actions, offsets=core.grid.offsets(actions))


def test_unknown_rules_and_videos_that_do_not_fit_the_recognizer_are_refused(
    make_core, tiny_recognizer, make_videos
):
    for rules, message in (
        ({"reward": "accuracy"}, "unknown reward 'accuracy'; known are random, expected"),
        ({"baseline_positions": "corner"}, "'pixel' or 'grid', not 'corner'"),
        ({"locations": "polar"}, "'grid', 'continuous' or 'skip', not 'polar'"),
        ({"observation": "frame"}, "'map' or 'vector', not 'frame'"),
        ({"grid_size": 3}, "grid_size must be 4 to 10, not 3"),
        ({"patch_size": 41}, r"patch_size must be in 1\.\.40, not 41"),
        ({"patch_size": 0}, r"patch_size must be in 1\.\.40, not 0"),
    ):
        with pytest.raises(ValueError, match=message):
            make_core(**rules)
    for sizes, message in (
        ({"num_classes": 4}, "knows 3 classes .* videos have 4; .*trained on these videos"),
        ({"frame_size": 48}, "takes frames of 40 pixels, the videos give 48"),
        ({"num_videos": 0}, "the split has no videos"),
    ):
        with pytest.raises(ValueError, match=message):
            LiveFeatures(tiny_recognizer, make_videos(**sizes))


def test_a_frame_is_shown_as_it_was_sampled(make_core, make_videos):
    clip = make_videos().clip(STARTS[1].video_index, STARTS[1].episode_seed)
    shown = make_core().features.frame(1, 2)
    np.testing.assert_array_equal(shown, clip.frames[2].permute(1, 2, 0))
