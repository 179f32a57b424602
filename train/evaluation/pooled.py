"""Results of several folds as results on all their videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from adafocus_env.files import atomic_path, read_json, write_json
from adafocus_env.folders import make_folder
from agents.evaluation import Evaluation, concatenated
from train.evaluation.judged_policy import PolicyResult

_SUMMARY = "results.json"
_PARTS = ("common", "own", "random")


def save_results(folder: Path, results: Mapping[str, PolicyResult]) -> None:
    """Write what each policy did on a fold, to be read by `load_results`."""
    make_folder(folder)
    described = []
    for number, (name, result) in enumerate(results.items()):
        arrays = {
            f"{part}.{key}": value
            for part in _PARTS
            if (evaluation := getattr(result, part)) is not None
            for key, value in vars(evaluation).items()
        }
        file = f"{number:02d}.npz"
        with atomic_path(folder / file) as path, path.open("wb") as opened:
            np.savez_compressed(opened, **arrays)
        facts = {"has_own": result.has_own, "seconds": result.seconds}
        described.append({"name": name, "file": file, **facts})
    write_json(folder / _SUMMARY, {"policies": described})


def load_results(folder: Path) -> dict[str, PolicyResult]:
    """What `save_results` wrote."""
    found = {}
    for entry in read_json(folder / _SUMMARY)["policies"]:
        with np.load(folder / entry["file"], allow_pickle=False) as arrays:
            parts = {part: _evaluation(arrays, part) for part in _PARTS}
        common, own = parts["common"], parts["own"]
        assert common is not None
        assert own is not None
        found[entry["name"]] = PolicyResult(
            common, own, entry["has_own"], entry["seconds"], parts["random"]
        )
    return found


def joined(
    folds: Sequence[Mapping[str, PolicyResult]], videos: Sequence[Sequence[int]]
) -> dict[str, PolicyResult]:
    """One result a policy, the videos in their order.

    Args:
        folds: results of the same policies on parts of the videos.
        videos: for each part, which of all videos its own are, in its order.
    """
    results = {}
    for name in folds[0]:
        each = [fold[name] for fold in folds]
        parts = [
            _joined([getattr(one, part) for one in each], videos)
            if getattr(each[0], part) is not None
            else None
            for part in _PARTS
        ]
        common, own, random = parts
        assert common is not None
        assert own is not None
        seconds = sum(one.seconds for one in each)
        results[name] = PolicyResult(common, own, each[0].has_own, seconds, random)
    return results


def _joined(parts: Sequence[Evaluation], videos: Sequence[Sequence[int]]) -> Evaluation:
    values = dict(vars(concatenated(parts)))
    of_all = [np.asarray(own)[part.video_index] for part, own in zip(parts, videos, strict=True)]
    values["video_index"] = np.concatenate(of_all)
    order = np.lexsort((values["draw"], values["video_index"]))
    return Evaluation(**{name: value[order] for name, value in values.items()})


def _evaluation(arrays: Mapping[str, object], part: str) -> Evaluation | None:
    found = {item.name: arrays.get(f"{part}.{item.name}") for item in fields(Evaluation)}
    return None if found["label"] is None else Evaluation(**found)  # type: ignore[arg-type]
