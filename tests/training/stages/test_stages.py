"""Stages 0, 1 and 3: which networks learn, in which mode, on which patches (PUBLISHED.md)."""

import dataclasses

import numpy as np
import pytest
import torch

from adafocus_env.envs import PatchGrid
from adafocus_env.networks import CheckpointError, Recognizer
from agents.policies.policy_files import load_policy, save_policy
from train.config.keys import ConfigError
from train.runs.context import RunContext
from train.stages.chosen_patches import ChosenPatchStage, choose_patches
from train.stages.stage0_backbones import BackboneStage
from train.stages.stage1_random_patches import RandomPatchStage
from train.stages.supervised.data import Chance, clips_of
from train.stages.supervised.validation import Validation

GRID = PatchGrid(4, 40, 12)
PARTS = ("glancer", "focuser", "classifier")


@pytest.fixture
def recognizer(tiny_recognizer):
    """New weights that can be trained: 3 classes, 4 frames of 40 pixels, patches of 12."""
    torch.manual_seed(0)
    return Recognizer(tiny_recognizer.config)


def _at(places):
    """Random numbers with these places."""
    return Chance(places, torch.zeros(places.shape[:2]), torch.zeros(len(places)))


def _chance(clips, frames):
    return _at(torch.from_numpy(np.random.default_rng(0).random((clips, frames, 2))))


@pytest.fixture
def batch(make_videos, make_batch):
    """Five clips of blocks."""
    return make_batch(make_videos(5), _chance(5, 4))


def _weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def _kinds(names):
    """`parameters` and/or `statistics` (of BatchNorm)."""
    kinds = {True: "statistics", False: "parameters"}
    return {kinds["running" in name or "num_batches" in name] for name in names}


BOTH = {"parameters", "statistics"}
ALONE = {"parameters"}


@pytest.mark.parametrize(
    ("name", "moved", "norm", "dropout", "gradients"),
    [
        # As published; the glancer's dropout lies before its stage-0 head.
        ("stage 0 glancer", {"glancer": BOTH}, {"glancer": True}, {"glancer": True},
         {"glancer": True}),
        ("stage 0 focuser", {"focuser": BOTH}, {"focuser": True}, {}, {"focuser": True}),
        ("stage 1", {"focuser": BOTH, "classifier": ALONE}, {"glancer": False, "focuser": True},
         {"classifier": True}, {"glancer": False, "focuser": True, "classifier": True}),
        # Glancer and focuser see through folded copies, which have no BatchNorm.
        ("stage 3", {"classifier": ALONE}, {}, {"classifier": True}, {"classifier": True}),
    ],
)  # fmt: skip
def test_modes_while_training_what_a_stage_changes_and_what_it_leaves_to_the_bit(
    recognizer, batch, make_stage, take_step, note_modes, changed, name, moved, norm, dropout,
    gradients,
):  # fmt: skip
    stage = make_stage(name, recognizer)
    before = {part: _weights(recognizer.get_submodule(part)) for part in PARTS}
    noted = note_modes(recognizer)
    take_step(stage, batch, "weight_decay=0")
    got = {part: _kinds(changed(before[part], recognizer.get_submodule(part))) for part in PARTS}
    assert {part: kinds for part, kinds in got.items() if kinds} == moved
    for got, expected in zip(noted, (norm, dropout, gradients), strict=True):
        assert got == {part: {value} for part, value in expected.items()}


@pytest.mark.parametrize("name", ["stage 0 glancer", "stage 0 focuser", "stage 1", "stage 3"])
def test_everything_is_in_evaluation_mode_while_judging(
    recognizer, make_stage, note_modes, changed, make_videos, make_config, tmp_path, name
):
    stage = make_stage(name, recognizer)
    before = _weights(recognizer)
    noted = note_modes(recognizer)
    context = RunContext(make_config("stage1", "device=cpu"), tmp_path)
    Validation(stage, make_videos(5), context).score(0)
    assert set().union(*(values for got in noted for values in got.values())) == {False}
    assert not changed(before, recognizer)


def test_dropout_changes_the_classifiers_logits_in_training_only(recognizer, batch, make_stage):
    stage = make_stage("stage 3", recognizer)
    for training in (True, False):
        recognizer.classifier.train(training)
        assert torch.equal(stage(batch), stage(batch)) != training


def test_backbones_are_pretrained_on_whole_frames_and_what_the_glancer_will_see(
    recognizer, batch, make_stage
):
    frame = batch.frames[1, 2][None]
    inputs = {
        "focuser": (frame.float() / 255.0 - recognizer.pixel_mean) / recognizer.pixel_std,
        "glancer": recognizer.glance_input(frame),
    }
    assert inputs["glancer"].shape == (1, 3, 28, 28)
    for part, frames in inputs.items():
        stage = make_stage(f"stage 0 {part}", recognizer)
        recognizer.eval()
        torch.testing.assert_close(stage(batch)[1, 2], recognizer.get_submodule(part)(frames)[0])


def test_stage_0_takes_evenly_spaced_frames(recognizer, batch):
    recognizer.eval()
    every = BackboneStage(recognizer, "focuser", 0.05, None)(batch)
    assert every.shape[1] == 4
    chosen = {1: [0], 2: [0, 3], 3: [0, 2, 3], 4: [0, 1, 2, 3], 9: [0, 1, 2, 3]}
    for frames_per_clip, frames in chosen.items():
        some = BackboneStage(recognizer, "focuser", 0.05, frames_per_clip)(batch)
        torch.testing.assert_close(some, every[:, frames])


def _logits_at(recognizer, batch, offsets):
    """`(N, T, K)` of patches at (top, left) offsets, cut by slicing."""
    rows, steps = batch.frames.shape[:2]
    frames, corners = batch.frames.flatten(0, 1), torch.tensor(offsets).flatten(0, 1).tolist()
    pairs = zip(frames, corners, strict=True)
    patches = torch.stack([frame[:, y : y + 12, x : x + 12] for frame, (y, x) in pairs])
    _, glances = recognizer.glance(frames)
    vectors = recognizer.focus(patches)
    each = (part.view(rows, steps, -1) for part in (glances, vectors))
    return recognizer.classify_sequence(*each)[0]


def test_random_patches_lie_at_any_pixel_but_the_last(recognizer, batch, make_stage):
    # 28 pixels are free: offsets 0..27, as numpy.random.randint(0, 28) draws them.
    stage = make_stage("stage 1", recognizer)
    recognizer.eval()
    places = torch.tensor([[0.0, 0.999999], [0.5, 0.49999], [1 / 28, 0.0357], [0.99, 0.25]])
    expected = [[0, 27], [14, 13], [1, 0], [27, 7]]
    drawn = dataclasses.replace(batch, chance=_at(places.double().expand(5, 4, 2)))
    with torch.no_grad():
        logits = _logits_at(recognizer, batch, [expected] * 5)
        torch.testing.assert_close(stage(drawn), logits, rtol=0, atol=1e-5)


def test_several_random_looks_at_a_frame_are_steps_of_the_classifier(recognizer, batch):
    """Two frames, three looks each: the classifier sees the frame's glance with each of its looks.

    On a grid of 4 a number of [0, 1/4) is the first line, and lines begin at 0, 9, 18, 28.
    """
    recognizer.eval()
    stage = RandomPatchStage(recognizer, None, 0.05, grid=GRID, looks_per_frame=3)
    places = torch.tensor([[0.0, 0.25], [0.24, 0.5], [0.75, 0.99], [0.5, 0.0], [0.3, 0.3], [0, 0]])
    expected = [[0, 9], [0, 18], [28, 28], [18, 0], [9, 9], [0, 0]]
    two = dataclasses.replace(batch, frames=batch.frames[:, :2])
    repeated = dataclasses.replace(two, frames=two.frames.repeat_interleave(3, dim=1))
    drawn = dataclasses.replace(two, chance=_at(places.double().expand(5, 6, 2)))
    with torch.no_grad():
        logits = _logits_at(recognizer, repeated, [expected] * 5)
        torch.testing.assert_close(stage(drawn), logits, rtol=0, atol=1e-5)


def test_stage_1_without_a_rate_for_the_focuser_leaves_it_to_the_bit(
    recognizer, batch, take_step, note_modes, changed
):
    stage = RandomPatchStage(recognizer, None, 0.05)
    before = {part: _weights(recognizer.get_submodule(part)) for part in PARTS}
    modes, _, gradients = note_modes(recognizer)
    take_step(stage, batch)
    moved = {part for part in PARTS if changed(before[part], recognizer.get_submodule(part))}
    assert moved == {"classifier"}
    assert modes == {"glancer": {False}, "focuser": {False}}
    assert gradients["focuser"] == {False}


def test_chance_is_drawn_for_every_look(make_videos):
    (three,) = clips_of(make_videos(2), 3, looks_per_frame=3).load(0, [[0]], 0)
    (alone,) = clips_of(make_videos(2), 3).load(0, [[0]], 0)
    assert three.chance.places.shape == (1, 12, 2)
    assert three.chance.skips.shape == (1, 12)
    torch.testing.assert_close(three.chance.places[:, :4], alone.chance.places)


def test_several_looks_at_a_frame_are_for_recurrent_recognizers(make_config):
    with pytest.raises(ConfigError, match="looks_per_frame=2 is for family=recurrent"):
        make_config("stage1", "experiment=glyphs_order", "looks_per_frame=2")


def test_the_patches_of_stage_3_are_the_policys(recognizer, batch):
    # Action t of episode n is n + 3 t: rows and columns of offsets 0, 9, 18, 28.
    actions = torch.arange(5)[:, None] + 3 * torch.arange(4)
    line = [0, 9, 18, 28]
    offsets = [[[line[a // 4], line[a % 4]] for a in episode] for episode in actions.tolist()]
    stage = ChosenPatchStage(recognizer, lambda maps, chance: GRID.choice(actions), 0.05)
    recognizer.eval()
    with torch.no_grad():
        expected = _logits_at(recognizer, batch, offsets)
        torch.testing.assert_close(stage(batch), expected, rtol=0, atol=1e-5)


def test_random_and_center_are_positions_of_the_grid(recognizer):
    choose = choose_patches("random", GRID, recognizer)
    places = torch.tensor([[[0.0, 0.9], [0.0624, 0.0]], [[0.0626, 0.1], [0.99999, 0.5]]])
    looks = choose(torch.zeros(2, 2, 48, 7, 7), _at(places.double()))
    assert looks.offsets.tolist() == [[[0, 0], [0, 0]], [[0, 9], [28, 28]]]
    spread = torch.stack([(torch.arange(1600) + 0.5) / 1600] * 2, dim=-1)[None]
    offsets = choose(torch.zeros(1, 1600, 48, 7, 7), _at(spread)).offsets[0]
    assert offsets.unique(dim=0, return_counts=True)[1].tolist() == [100] * 16
    choose = choose_patches("center", GRID, recognizer)
    looks = choose(torch.zeros(2, 3, 48, 7, 7), _chance(2, 3))
    assert looks.offsets.tolist() == [[[9, 9]] * 3] * 2


@pytest.fixture
def save(small_policy, tmp_path):
    """Saves a policy of some actions; its run folder."""

    def run(num_actions):
        policy = small_policy(num_actions, channels=8, hidden_dim=16)
        if num_actions is None:
            torch.nn.init.normal_(policy.actor.weight)
        save_policy(policy, tmp_path / "run" / "policy", recognizer_sha256="00")
        return str(tmp_path / "run")

    return run


@pytest.mark.parametrize("num_actions", [16, None])
def test_a_saved_policy_looks_where_its_best_actions_over_the_episode_are(
    recognizer, save, num_actions
):
    folder = save(num_actions)
    choose = choose_patches(folder, GRID, recognizer)
    maps = 6 * torch.rand(3, 4, 48, 7, 7, generator=torch.Generator().manual_seed(0))
    looks = choose(maps, torch.zeros(3, 4, 2))
    policy, state = load_policy(f"{folder}/policy").policy, None
    for t in range(4):
        observed, starts = maps[:, t].numpy(), np.full(3, t == 0)
        best, state = policy.predict(observed, state, starts, deterministic=True)
        chosen = torch.from_numpy(best)
        # The frame has 40 pixels, a patch 12.
        expected = GRID.offsets(chosen) if num_actions else (chosen * 28).floor()
        assert looks.offsets[:, t].tolist() == expected.tolist()
    assert len(looks.offsets.flatten(0, 1).unique(dim=0)) > 1


def test_a_policy_for_other_maps_or_another_grid_and_one_that_is_not_there_are_refused(
    make_recognizer, save
):
    folder = save(16)
    for grid, entries in ((PatchGrid(7, 40, 12), {}), (GRID, {"glance_size": 40})):
        recognizer = make_recognizer(**entries)
        with pytest.raises(CheckpointError, match=r"set action_dim= as in its stage 2, or resume="):
            choose_patches(folder, grid, recognizer)
    with pytest.raises(ConfigError, match="did you mean center"):
        choose_patches("centre", GRID, recognizer)
