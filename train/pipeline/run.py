"""`adafocus run`: from the lists of a user's own clips to a report, in one command.

Glancer and focuser stay as they come. A bank is built once; it is all that they do, but for whole
frames as a baseline. All else is trained on it, in small parts, two side by side. An interrupted
run goes on with the first part that is missing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from adafocus_env import files
from adafocus_env.files import read_json, write_json
from adafocus_env.networks import build_recognizer
from train.checkpoints.backbones import load_pretrained
from train.config.builders import recognizer_config
from train.config.commands import (
    BankConfig,
    BenchmarkConfig,
    RunAllConfig,
    Stage1Config,
    Stage2Config,
    Stage3Config,
)
from train.config.compose import Composed
from train.config.keys import ConfigError, keys_of
from train.data_tools.make_bank import run_bank
from train.data_tools.make_lists.groups import GROUPS_FILE
from train.evaluation.benchmark import write_results
from train.evaluation.evaluator import Evaluator
from train.evaluation.policies import read_entries
from train.evaluation.pooled import joined, load_results
from train.evaluation.report.player import choose_videos
from train.evaluation.results import Measured, Results
from train.pipeline.data_folders import Clips, folder_data, read_clips, write_data_folder
from train.pipeline.folds import check_classes_can_be_learned, split_by_group
from train.pipeline.parts import Part, PartsRunner, pool_for
from train.pipeline.plan import (
    OWN_CLASSIFIERS,
    RESULTS_FOLDER,
    Fold,
    choose_epochs,
    write_division,
)
from train.runs.context import RunContext
from train.runs.folder import FINISHED_FILE
from train.runs.progress import ProgressDisplay

_SETTINGS = "run.json"
_PARTS = {
    "bank": BankConfig,
    "stage1": Stage1Config,
    "stage2": Stage2Config,
    "stage3": Stage3Config,
    "benchmark": BenchmarkConfig,
}


def run_all_stages(composed: Composed, display: ProgressDisplay) -> None:
    """Bank, stages 1 to 3 and the benchmark on every fold; one report on all tested clips.

    Raises:
        ConfigError: no networks are named, the clips cannot be divided so, or the folder holds
            another run.
        CheckpointError: the networks' weights cannot be read.
    """
    config = composed.read(RunAllConfig, "run")
    clips = read_clips(config, config.groups)
    check_has_networks(composed, clips.class_names, config.output_dir)
    check_classes_can_be_learned(clips.clips, clips.class_names)
    seed = composed.read(Stage1Config, "stage1").seed
    divisions = _divisions(config, clips, seed)
    _claim(composed, config.output_dir)
    _say_what_is_divided(clips, divisions, display)
    runner = PartsRunner(display)
    bank = _build_bank(composed, clips, config, runner)
    folds = [
        Fold(
            composed,
            config.output_dir / f"fold_{number}",
            clips,
            train=train,
            test=test,
            bank=bank,
            inner=config.inner_folds,
            seed=seed,
        )
        for number, (train, test) in enumerate(divisions)
    ]
    _train(folds, composed, runner)
    _report(folds, composed, clips, bank, display)
    display.console.print(runner.table())
    display.say(f"the report is {config.output_dir / 'report.html'}: open it in a browser")


def _train(folds: Sequence[Fold], composed: Composed, runner: PartsRunner) -> None:
    """All parts, in an order in which each finds what it starts from."""
    told = composed.read(BenchmarkConfig, "benchmark")
    with pool_for(told.device) as pool:

        def run(title: str, parts: Sequence[Part[Any]]) -> None:
            runner.run_missing(title, pool, *parts)

        run("stage 1: inner folds", [f.stage1(place) for f in folds for place in f.inner])
        lengths = [choose_epochs([p / "stage1" for p in f.inner], "confidence") for f in folds]
        both = list(zip(folds, lengths, strict=True))
        run(
            "stage 1",
            [f.stage1(place, n) for f, n in both for place in (f.folder, *f.halves)],
        )
        run("best_fixed", [fold.best_fixed() for fold in folds])
        run("stage 2: inner fold", [fold.stage2(fold.inner[0]) for fold in folds])
        lengths = [choose_epochs([f.inner[0] / "stage2"], "return") for f in folds]
        both = list(zip(folds, lengths, strict=True))
        run("stage 2", [fold.stage2(fold.folder, epochs) for fold, epochs in both])
        run("stage 3: inner fold", [fold.stage3(fold.inner[0], "learned") for fold in folds])
        lengths = [choose_epochs([f.inner[0] / "stage3_learned"], "confidence") for f in folds]
        both = list(zip(folds, lengths, strict=True))
        run(
            "stage 3",
            [f.stage3(f.folder, name, n) for f, n in both for name in OWN_CLASSIFIERS],
        )
        sizes = _frame_sizes(told)
        run("benchmark", [fold.judged(sizes) for fold in folds])


def _report(
    folds: Sequence[Fold],
    composed: Composed,
    clips: Clips,
    bank: Path,
    display: ProgressDisplay,
) -> None:
    """The results of all folds as one benchmark of the tested clips."""
    folder = composed.read(RunAllConfig, "run").output_dir
    tested = sorted(index for fold in folds for index in fold.test)
    place = {index: number for number, index in enumerate(tested)}
    write_division(folder / "tested", composed, clips, bank, {"test": tested})
    first = folds[0].judged(_frame_sizes(composed.read(BenchmarkConfig, "benchmark"))).config
    told = replace(
        first,
        command="run",  # whose folder it is
        **folder_data(folder / "tested", clips),
        features=f"bank:{folder / 'tested' / 'bank'}",
        output_dir=folder,
    )
    context = RunContext(told, folder)
    entries = {entry.name: entry for entry in read_entries(first)}
    results = joined(
        [load_results(fold.folder / "judged" / RESULTS_FOLDER) for fold in folds],
        [[place[index] for index in fold.test] for fold in folds],
    )
    # What policies cost is the same in all folds.
    evaluator = Evaluator.open(list(entries.values()), context)
    measured = {}
    for name, result in results.items():
        costs = evaluator.costs(evaluator.load(entries[name]), result.common.focused())
        measured[name] = Measured(entries[name], result, costs, None, None)
    split = "test" if len(folds) == 1 else f"of all lists, tested in {len(folds)} folds"
    write_results(
        Results(measured, evaluator, None),
        context,
        display,
        in_player=choose_videos(len(tested), told.player_videos),
        about={"split": split, "folds": len(folds)},
    )
    context.close()


def _frame_sizes(config: BenchmarkConfig) -> list[int]:
    """Of whole frames for the focuser: the patch's, and their own."""
    return sorted({config.patch_size, config.frame_size})


def _divisions(config: RunAllConfig, clips: Clips, seed: int) -> list[tuple[list[int], list[int]]]:
    """Training and test clips of each fold; without folds the lists say them.

    Raises:
        ConfigError: there are too few groups, or no list to test on.
    """
    everything = range(len(clips.clips))
    if config.folds is None:
        tested = clips.given.get("test", clips.given.get("val"))
        if not tested:
            raise ConfigError(
                "folds=null tests on the clips of test.txt or val.txt, and there are none; write "
                "one of them, or leave folds out"
            )
        parts = [tested]
    else:
        parts = split_by_group(clips.clips, config.folds, seed=seed)
    return [(sorted(set(everything).difference(part)), part) for part in parts]


def check_has_networks(composed: Composed, class_names: Sequence[str], folder: Path) -> None:
    """Refuse a run whose bank would have no networks, before anything is written.

    A bank that another run has finished brings them along.

    Raises:
        ConfigError: there is no such bank, and weights are not named or not there.
        CheckpointError: they cannot be read, or belong to another network.
    """
    told = composed.read(BankConfig, "bank")
    if (_bank_folder(told, folder) / FINISHED_FILE).is_file():
        return
    recognizer = build_recognizer(recognizer_config(told, tuple(class_names)))
    load_pretrained(recognizer, told, "run")


def _bank_folder(told: BankConfig, folder: Path) -> Path:
    return folder / "bank" if told.target is None else Path(told.target)


def _claim(composed: Composed, folder: Path) -> None:
    """Note what the run is, or see that the run in the folder is the same.

    Raises:
        ConfigError: it is another one; the message lists what differs.
    """
    here: dict[str, Any] = {}
    for command, kind in _PARTS.items():
        config: dict[str, Any] = composed.read(kind, command).plain()
        here[command] = {name: config[name] for name, one in keys_of(kind).items() if one.is_of_run}
    own = composed.read(RunAllConfig, "run")
    here["run"] = {name: getattr(own, name) for name in ("folds", "inner_folds", "groups")}
    here = json.loads(json.dumps(here))
    file = folder / _SETTINGS
    if file.is_file():
        found = files.differences(read_json(file), here)
        if found:
            raise ConfigError(
                f"{folder} holds a run with other settings ({'; '.join(found)}); give the same to "
                "go on with it, or choose another output_dir"
            )
    write_json(file, here)


def _say_what_is_divided(
    clips: Clips, divisions: Sequence[tuple[Sequence[int], Sequence[int]]], display: ProgressDisplay
) -> None:
    groups = len({clip.group for clip in clips.clips})
    count, classes = len(clips.clips), len(clips.class_names)
    if clips.has_groups:
        grouped = f" in {groups} groups that are never parted"
    else:
        grouped = (
            f"; no {GROUPS_FILE} says which belong together, so clips of one person or one source "
            "may be learned from and tested on, and results be too good"
        )
    tested = ", ".join(str(len(test)) for _, test in divisions)
    display.say(f"{count} clips of {classes} classes{grouped}; tested: {tested}")


def _build_bank(
    composed: Composed, clips: Clips, config: RunAllConfig, runner: PartsRunner
) -> Path:
    """The bank of all clips; returns its folder, which also has the recognizer it was made with."""
    place = config.output_dir / "all"
    write_data_folder(place, clips, {"train": range(len(clips.clips))})
    told = composed.read(BankConfig, "bank")
    folder = _bank_folder(told, config.output_dir)
    values = {**folder_data(place, clips), "split": "train", "target": str(folder), "views": 1}
    # Its networks and clips are the same whatever the seed: runs of several may share a bank.
    bank = composed.read(BankConfig, "bank", **values, seed=0, output_dir=str(folder))
    part = Part("bank", bank, folder, run_bank, shares_videos=False)
    if not part.is_done:
        runner.run(part)
    return folder
