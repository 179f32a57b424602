"""What `adafocus run` consists of: the parts of one fold, in folders of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from adafocus_env.features import BankPart
from adafocus_env.files import read_json, write_json
from train.checkpoints.load import load_configured
from train.config.builders import open_split
from train.config.commands import (
    BenchmarkConfig,
    Stage1Config,
    Stage2Config,
    Stage3Config,
)
from train.config.compose import Composed
from train.evaluation.evaluator import Evaluator
from train.evaluation.judged_split import find_best_fixed
from train.evaluation.policies import read_entries
from train.evaluation.pooled import save_results
from train.evaluation.results import measure
from train.pipeline.data_folders import Clips, folder_data, write_data_folder
from train.pipeline.folds import split_by_group
from train.pipeline.parts import C, Part, Stage
from train.runs.context import RunContext
from train.runs.folder import VALIDATION_FILE
from train.runs.progress import ProgressDisplay
from train.stages.stage1_random_patches import run_stage1
from train.stages.stage2_policy import run_stage2
from train.stages.stage3_classifier import run_stage3

BEST_FIXED_FILE = "best_fixed.json"
RESULTS_FOLDER = "results"
# Policies whose looks a classifier of their own learns from in stage 3.
OWN_CLASSIFIERS = ("random", "best_fixed", "learned")


class Fold:
    """One division of the clips into those that are learned from and those that are tested.

    The training clips are divided again, several times: into `inner` parts, of which each is judged
    by what the others teach, and into two halves, for `cross_oracle`. Each division has a folder
    with its lists and its part of the bank.

    Args:
        composed: what the run was told.
        folder: of the fold.
        clips: all of them.
        train: indices of the training clips.
        test: of the others.
        bank: folder of the bank of all clips, and of the recognizer that it was made with.
        inner: how many parts.
        seed: of the divisions.
    """

    def __init__(
        self,
        composed: Composed,
        folder: Path,
        clips: Clips,
        *,
        train: Sequence[int],
        test: Sequence[int],
        bank: Path,
        inner: int,
        seed: int,
    ):
        self.folder = folder
        self.test = list(test)
        self._composed = composed
        self._clips = clips
        self._bank = bank
        grouped = [clips.clips[index] for index in train]
        self.inner = [folder / f"inner_{k}" for k in range(inner)]
        self.halves = [folder / f"half_{k}" for k in range(2)]
        for places in (self.inner, self.halves):
            parts = split_by_group(grouped, len(places), seed=seed)
            for place, part in zip(places, parts, strict=True):
                held = [train[index] for index in part]
                taught = sorted(set(train).difference(held))
                self._divide(place, {"train": taught, "val": held})
        self._divide(folder, {"train": train, "val": train, "test": test})

    def stage1(self, place: Path, epochs: int | None = None) -> Part[Stage1Config]:
        """The classifier of a division: every epoch is judged, or it takes so many."""
        backbones = {f"pretrained_{part}": str(self._bank) for part in ("glancer", "focuser")}
        values = {**backbones, **_length(epochs)}
        return self._part(place, "stage1", Stage1Config, run_stage1, **values)

    def stage2(self, place: Path, epochs: int | None = None) -> Part[Stage2Config]:
        """The policy, whose rewards come from classifiers that have not seen the clips.

        The bank has all positions, so a look is compared with the mean of all instead of one: on
        few clips the noise of that one is as large as what there is to learn.
        """
        values = {
            "resume": str(place / "stage1"),
            "cross_fit": [str(one / "stage1") for one in self.inner],
            "reward": "expected",
            "policy_frames": None,
            **_length(epochs),
        }
        return self._part(place, "stage2", Stage2Config, run_stage2, **values)

    def stage3(self, place: Path, name: str, epochs: int | None = None) -> Part[Stage3Config]:
        """The classifier on one policy's looks."""
        policy = {"learned": str(place / "stage2"), "best_fixed": f"fixed:{self._best_fixed}"}
        values = {
            "resume": str(place / "stage1"),
            "policy": policy.get(name, name),
            **_length(epochs),
        }
        return self._part(place, "stage3", Stage3Config, run_stage3, f"stage3_{name}", **values)

    def best_fixed(self) -> Part[BenchmarkConfig]:
        """The position that is best on the training clips."""
        values = {**self._judging, "policies": ["best_fixed"]}
        return self._part(
            self.folder, "benchmark", BenchmarkConfig, choose_best_fixed, "best_fixed", **values
        )

    def judged(self, frame_sizes: Sequence[int]) -> Part[BenchmarkConfig]:
        """All policies on the test clips."""
        full = [f"full_frame:{size}" for size in frame_sizes]
        values = {
            **self._judging,
            "policy": str(self.folder / "stage2"),
            "policies": [
                *("random", "center", "best_fixed", "motion", *full),
                *("learned", "cross_oracle", "greedy_oracle"),
            ],
            "runs": {name: str(self.folder / f"stage3_{name}") for name in OWN_CLASSIFIERS},
            "halves": [str(half / "stage1") for half in self.halves],
            "split": "test",
        }
        return self._part(self.folder, "benchmark", BenchmarkConfig, judge_fold, "judged", **values)

    @property
    def _judging(self) -> dict[str, Any]:
        return {
            "resume": str(self.folder / "stage1"),
            "cross_fit": [str(one / "stage1") for one in self.inner],
            "reward": "random",
        }

    @cached_property
    def _best_fixed(self) -> int:
        found: int = read_json(self.folder / "best_fixed" / BEST_FIXED_FILE)["position"]
        return found

    def _part(
        self,
        place: Path,
        command: str,
        kind: type[C],
        stage: Stage[C],
        name: str | None = None,
        **values: Any,
    ) -> Part[C]:
        """A stage in a division, on its part of the bank."""
        data = {**folder_data(place, self._clips), "features": f"bank:{place / 'bank'}"}
        folder = place / (name or command)
        values = {**data, **values, "output_dir": str(folder)}
        config = self._composed.read(kind, command, **values)
        shown = folder.relative_to(self.folder.parent)
        return Part(str(shown), config, folder, stage, shares_videos=False)

    def _divide(self, place: Path, splits: Mapping[str, Sequence[int]]) -> None:
        write_division(place, self._composed, self._clips, self._bank, splits)


def write_division(
    place: Path,
    composed: Composed,
    clips: Clips,
    bank: Path,
    splits: Mapping[str, Sequence[int]],
) -> None:
    """Write lists of some clips, and their parts of the bank.

    Args:
        place: the folder; made if missing.
        composed: what the run was told.
        clips: all of them.
        bank: folder of the bank of all clips.
        splits: which of them each list has.
    """
    write_data_folder(place, clips, splits)
    data = folder_data(place, clips)
    config = composed.read(Stage1Config, "stage1", **data, output_dir=str(bank))
    for split, chosen in splits.items():
        videos = open_split(config, split, training=False, num_frames=config.num_frames)
        BankPart.write(place / "bank" / split, bank / "train", chosen, videos)


def choose_epochs(folders: Sequence[Path], measure: str) -> int:
    """After how many epochs some runs were best on the clips that they had not seen, on average.

    Args:
        folders: of the runs, judged after the same epochs.
        measure: `"confidence"` or `"return"`.
    """
    curves = [read_json(folder / VALIDATION_FILE)["evaluations"] for folder in folders]
    means = {
        points[0]["epochs"]: sum(point[measure] for point in points) / len(points)
        for points in zip(*curves, strict=True)
    }
    best: int = max(means, key=lambda epochs: means[epochs])
    return best


def choose_best_fixed(
    config: BenchmarkConfig, context: RunContext[BenchmarkConfig], display: ProgressDisplay
) -> None:
    """Write the position that is best in all frames of the training split."""
    recognizer = load_configured(config.source_run, config, str(context.device))
    position = find_best_fixed(recognizer, context, display, "run")
    write_json(context.folder / BEST_FIXED_FILE, {"position": position})


def judge_fold(
    config: BenchmarkConfig, context: RunContext[BenchmarkConfig], display: ProgressDisplay
) -> None:
    """Play the test clips with all policies and keep what they did."""
    entries = read_entries(config)
    evaluator = Evaluator.open(entries, context)
    policies = [evaluator.load(entry) for entry in entries]
    results = measure(policies, evaluator, context, display)
    found = {name: item.result for name, item in results.measured.items()}
    save_results(context.folder / RESULTS_FOLDER, found)


def _length(epochs: int | None) -> dict[str, Any]:
    """So many epochs, of which none but the last is judged; None: as the recipe says."""
    return {} if epochs is None else {"epochs": epochs, "eval_freq": epochs}
