"""Rewards, worked out by hand on networks whose numbers are set by hand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from adafocus_env.envs import (
    REWARDS,
    Outcome,
    PatchGrid,
    PatchLocalizationCore,
    PatchLocalizationVectorEnv,
)
from adafocus_env.envs.rewards import gained
from adafocus_env.features import EpisodeStart

LN3 = math.log(3.0)


@dataclass
class HandSetSource:
    """Three decisions over two classes; a look adds evidence for class 0 to the state.

    The evidence is ln 3 in the lower right corner, 0 elsewhere in the last row or column of
    positions, and -ln 3 anywhere else. The state is the sum of the evidence, and the confidence of
    class 0 its logistic function: 3/4 at ln 3, 9/10 at ln 9, 27/28 at ln 27.
    """

    row_labels: Sequence[int] = (0, 1)
    frame_size: int = 5
    patch_size: int = 2
    num_videos: int = 10_000
    num_decisions: int = 3
    class_names: Sequence[str] = ("zero", "one")
    observation_shape: tuple[int, ...] = (1,)
    observation_bound: float = 1.0
    num_patch_features: int = 1
    state_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def open(self, num_rows):
        return HandSetEpisodes(self, torch.tensor(self.row_labels))


class HandSetEpisodes:
    def __init__(self, source, labels):
        self.labels = labels
        self.looks: list[Tensor] = []  # the offsets of every call of `focus`
        self._last = source.frame_size - source.patch_size

    def load(self, rows, starts):
        pass

    def observation(self, rows, steps):
        return torch.zeros(len(rows), 1)

    def focus(self, rows, steps, offsets):
        self.looks.append(offsets)
        return ((offsets == self._last).sum(dim=1, keepdim=True) - 1) * LN3

    def classify(self, rows, steps, patch_vectors, state):
        after = state + patch_vectors
        return torch.cat([after, torch.zeros_like(after)], dim=1), after

    def classify_each(self, rows, steps, patch_vectors, state):
        after = state[:, None] + patch_vectors
        return torch.cat([after, torch.zeros_like(after)], dim=2)

    def classify_sequence(self, patch_vectors):
        states = patch_vectors.cumsum(dim=1)
        return torch.cat([states, torch.zeros_like(states)], dim=2), states

    def frame(self, row, step):
        raise NotImplementedError


def _core(source, reward, **rules):
    grid = PatchGrid(4, source.frame_size, source.patch_size)
    rows = len(source.row_labels)
    core = PatchLocalizationCore(source, grid, grid, num_rows=rows, reward=reward, **rules)
    core.reset_rows(range(rows), [EpisodeStart(row, row) for row in range(rows)])
    return core


def _look_at_corner(core, way):
    """Three looks at the lower right corner, action 15 of the 4x4 grid."""
    rows = core.num_rows
    if way == "step":
        return [core.transition(torch.full((rows,), 15)) for _ in range(3)]
    played = core.play(torch.full((rows, 3), 15))
    return [Outcome(**{k: v[:, t] for k, v in vars(played).items()}) for t in range(3)]


# What is subtracted from row 0's confidences 3/4, 9/10, 27/28. States before the steps: 0, ln 3,
# ln 9. Pixel offsets are 0..2, never 3, so a random look always adds -ln 3: states -ln 3, 0, ln 3.
# Of the 16 grid positions one adds ln 3, six add 0, nine add -ln 3.
BASELINES = {
    "random": [1 / 4, 1 / 2, 3 / 4],
    "expected": [
        (1 * 3 / 4 + 6 * 1 / 2 + 9 * 1 / 4) / 16,
        (1 * 9 / 10 + 6 * 3 / 4 + 9 * 1 / 2) / 16,
        (1 * 27 / 28 + 6 * 9 / 10 + 9 * 3 / 4) / 16,
    ],
    "padding": [1 / 2, 3 / 4, 9 / 10],
    "prev": [0.0, 3 / 4, 9 / 10],
    "conf": [0.0, 0.0, 0.0],
    "skip": [1 / 2, 3 / 4, 9 / 10],
    "information": [1 / 2, 3 / 4, 9 / 10],
}


@pytest.mark.parametrize("way", ["step", "play"])
@pytest.mark.parametrize("reward", BASELINES)
def test_rewards_hand_computed(reward, way):
    assert REWARDS.keys() == BASELINES.keys()
    outcomes = _look_at_corner(_core(HandSetSource(), reward), way)
    for t, confidence in enumerate([3 / 4, 9 / 10, 27 / 28]):
        baseline = BASELINES[reward][t]
        # Row 1's true class is the other one, so its confidences are one minus row 0's.
        other = baseline if reward == "conf" or (reward == "prev" and t == 0) else 1 - baseline
        outcome = outcomes[t]
        assert outcome.confidences.tolist() == pytest.approx([confidence, 1 - confidence])
        assert outcome.baseline_confidences.tolist() == pytest.approx([baseline, other], abs=1e-6)
        expected = [confidence - baseline, 1 - confidence - other]
        if reward == "information":
            expected = [math.log(confidence / baseline), math.log((1 - confidence) / other)]
        assert outcome.rewards.tolist() == pytest.approx(expected, abs=1e-6)
        assert outcome.predicted_labels.tolist() == [0, 0]


@pytest.mark.parametrize("way", ["step", "play"])
def test_rewards_of_information_add_up_to_what_is_known_in_the_end(way):
    total = sum(o.rewards for o in _look_at_corner(_core(HandSetSource(), "information"), way))
    assert total.tolist() == pytest.approx([math.log(27 / 28 * 2), math.log(1 / 28 * 2)], abs=1e-5)


def test_information_takes_confidences_below_its_floor_for_the_floor():
    confidence, before = torch.tensor([0.0, 1e-6, 1.0]), torch.tensor([0.5, 1e-5, 1e-5])
    expected = [math.log(1e-4 / 0.5), 0.0, math.log(1e4)]
    assert gained("information", confidence, before).tolist() == pytest.approx(expected, abs=1e-5)


def test_rewards_of_prev_add_up_to_the_last_confidence_and_begin_anew_with_each_episode():
    core = _core(HandSetSource(), "prev")
    total = sum(outcome.rewards for outcome in _look_at_corner(core, "step"))
    assert total.tolist() == pytest.approx([27 / 28, 1 / 28])
    core.reset_rows([0, 1], [EpisodeStart(0, 5), EpisodeStart(1, 6)])
    outcome = core.transition(torch.tensor([15, 15]))
    assert outcome.confidences.tolist() == pytest.approx([3 / 4, 1 / 4])
    assert outcome.baseline_confidences.tolist() == [0.0, 0.0]


def _random_looks(source, baseline_positions):
    core = _core(source, "random", baseline_positions=baseline_positions)
    _look_at_corner(core, "play")
    (together,) = core.features.looks
    return together[len(together) // 2 :]  # after the corner looks


@pytest.mark.parametrize(("frame_size", "patch_size", "last"), [(5, 2, 2), (224, 128, 95)])
def test_random_pixel_looks_are_uniform_and_never_at_the_last_offset(frame_size, patch_size, last):
    looks = _random_looks(HandSetSource([0] * 1000, frame_size, patch_size), "pixel")
    assert looks.shape == (3000, 2)
    for coordinate in looks.T:
        counts = np.bincount(coordinate.numpy(), minlength=last + 1)
        assert len(counts) == last + 1
        assert counts.min() > 0
        # Uniform over last + 1 values; the mean of 3000 draws is within four standard errors.
        error = math.sqrt(((last + 1) ** 2 - 1) / 12 / 3000)
        assert coordinate.float().mean().item() == pytest.approx(last / 2, abs=4 * error)
    assert len(set(map(tuple, looks.tolist()))) >= min(9, (last + 1) ** 2)


def test_random_grid_looks_are_at_every_grid_position_and_pixel_looks_wherever_a_patch_fits():
    looks = _random_looks(HandSetSource([0] * 200, frame_size=12, patch_size=2), "grid")
    line = [0, 3, 6, 10]  # j * 10 // 3
    assert set(map(tuple, looks.tolist())) == {(top, left) for top in line for left in line}
    looks = _random_looks(HandSetSource(frame_size=5, patch_size=5), "pixel")
    assert looks.tolist() == [[0, 0]] * 6


@pytest.mark.parametrize(
    ("baseline_positions", "high", "pixels"),
    [("pixel", 80, list(range(80))), ("grid", 4, [0, 26, 53, 80])],  # j * 80 // 3
)
def test_random_looks_are_one_draw_of_the_episode_seeds_baseline_stream(
    baseline_positions, high, pixels
):
    # SeedSequence([episode_seed, purpose]), purpose 3, all (T, 2) offsets at once.
    looks = _random_looks(HandSetSource([0, 0], 112, 32), baseline_positions)
    for row in range(2):
        rng = np.random.default_rng(np.random.SeedSequence([row, 3]))
        expected = np.array(pixels)[rng.integers(0, high, size=(3, 2))]
        assert looks[3 * row : 3 * row + 3].tolist() == expected.tolist()


def test_all_positions_of_many_frames_are_compared_in_parts(
    tiny_recognizer, make_videos, monkeypatch
):
    played = []
    for at_once in (1024, 100, 1):
        monkeypatch.setattr("adafocus_env.envs.rewards._PATCHES_AT_ONCE", at_once)
        env = PatchLocalizationVectorEnv.from_parts(
            tiny_recognizer, make_videos(4), num_envs=3, reward="expected"
        )
        env.reset(seed=0)
        played.append(env.play(np.full((3, 4), 5)).rewards)
    for parts in played[1:]:
        torch.testing.assert_close(parts, played[0], rtol=0, atol=1e-6)
