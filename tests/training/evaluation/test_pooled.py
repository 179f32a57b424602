"""Results of folds, kept and joined: every video at its place, whatever fold it was tested in."""

import numpy as np
import pytest

from agents.evaluation import Evaluation
from train.evaluation.judged_policy import PolicyResult
from train.evaluation.pooled import joined, load_results, save_results


def _evaluation(videos, draws, base):
    count = len(videos) * draws
    return Evaluation(
        video_index=np.repeat(videos, draws),
        draw=np.tile(np.arange(draws), len(videos)),
        label=np.zeros(count, np.int64),
        actions=np.zeros((count, 1), np.int64),
        rewards=(base + np.arange(count, dtype=np.float64))[:, None],
        confidences=np.full((count, 1), 0.5),
        logits=np.zeros((count, 1, 2), np.float32),
        boxes=np.zeros((count, 1, 4), np.int64),
    )


@pytest.fixture
def folds():
    """Fold 0 tests videos 2 and 0 of all, fold 1 video 1; two draws each."""
    first, second = _evaluation([0, 1], 2, 10.0), _evaluation([0], 2, 20.0)
    return [
        {"a": PolicyResult(first, first, False, 1.5)},
        {"a": PolicyResult(second, second, False, 2.0)},
    ]


def test_videos_and_their_draws_lie_in_order(folds):
    found = joined(folds, [[2, 0], [1]])["a"]
    assert found.common.video_index.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.common.rewards[:, 0].tolist() == [12.0, 13.0, 20.0, 21.0, 10.0, 11.0]
    assert found.common.per_video(found.common.rewards)[:, 0].tolist() == [12.5, 20.5, 10.5]
    assert (found.seconds, found.has_own, found.random) == (3.5, False, None)


def test_what_is_kept_is_read_as_it_was(folds, tmp_path, assert_equal):
    evaluation = folds[0]["a"].common
    kept = {"a b:1": PolicyResult(evaluation, evaluation, True, 1.0, random=evaluation), **folds[1]}
    save_results(tmp_path / "results", kept)
    found = load_results(tmp_path / "results")
    assert list(found) == ["a b:1", "a"]
    assert found["a b:1"].has_own
    assert found["a"].random is None
    for part in ("common", "own", "random"):
        assert_equal(vars(getattr(found["a b:1"], part)), vars(evaluation))
