"""`adafocus tune`: search an algorithm's main parameters; an interrupted search goes on."""

from __future__ import annotations

import logging
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from adafocus_env.data import Videos
from adafocus_env.files import write_json
from adafocus_env.folders import make_folder
from train.config.builders import check_algorithm
from train.config.commands import Stage2Config, TuneConfig
from train.config.compose import Composed
from train.config.keys import ConfigError, keys_of
from train.runs.context import RunContext
from train.runs.folder import STATE_FILE, all_differences, refuse_to_lose
from train.runs.progress import ProgressDisplay, ProgressPart
from train.runs.saved_config import save_config, saved_config
from train.stages.stage2_policy import run_stage2
from train.tune.journal import JOURNAL, open_study
from train.tune.space import Choice, LogRange, Value, search_space, with_parameters

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

# Of the command itself; the rest of its command line is stage 2's.
_OWN_KEYS = {"command", "output_dir"} | (keys_of(TuneConfig).keys() - keys_of(Stage2Config).keys())


def run_tune(composed: Composed, display: ProgressDisplay) -> None:
    """Try parameters until there are `trials=` trials, counting those that are in the folder.

    Each trial is a run of stage 2 in `trial_000`, ..., of which the policy and the curves stay; it
    is ended where its return on the validation split is worse than that of earlier trials at the
    same epoch. One process at a time: a trial that another process has begun is taken for
    interrupted.

    Args:
        composed: what the command line sets of the algorithm is not searched.
        display: progress, and where the table is printed.

    Raises:
        ConfigError: Optuna is not installed, nothing to search, or a folder of another search.
    """
    optuna = _import_optuna()
    config = replace(composed.read(TuneConfig, "stage2"), command="tune")
    given = [item.lstrip("+") for item in composed.overrides]
    fixed = [item.partition("=")[0][5:] for item in given if item.startswith("algo.")]
    space = search_space(config.algo, fixed, config.search)
    if config.features == "live":
        display.console.print(
            "every trial runs the networks anew; a bank is many times faster: "
            "adafocus bank, then features=bank:PATH"
        )
    search = _Search(optuna, config, space, given)
    with display.part(f"tune: {config.algo.name}", config.trials) as progress:
        search.run(progress)
    search.show(display.console)
    display.say(f"results are in {config.output_dir}")


class _Search:
    """A search in a folder: its trials, and what came of them."""

    def __init__(
        self,
        optuna: Any,
        config: TuneConfig,
        space: Mapping[str, Choice | LogRange],
        overrides: Sequence[str],
    ):
        self._optuna = optuna
        self._states: type[optuna.trial.TrialState] = optuna.trial.TrialState
        self._config = config
        self._space = space
        self._overrides = overrides
        self._folder = config.output_dir
        self._videos: dict[tuple[str, bool, int], Videos] = {}
        _claim(self._folder, config)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = open_study(optuna, self._folder, _pruner(optuna, config))
        self._ask_again_for_interrupted()

    def run(self, progress: ProgressPart) -> None:
        """Make the trials that are missing."""
        done = len(self._done())
        if done:
            log.info("%d of %d trials are there already", done, self._config.trials)
            progress.found_done(min(done, self._config.trials), self._note())
        while done < self._config.trials:
            # By the number of trials, so that an interrupted search goes on as it would have.
            state = np.random.SeedSequence([self._config.seed, done]).generate_state(1)
            self._study.sampler = self._optuna.samplers.TPESampler(seed=int(state[0]))
            self._try(self._study.ask(), f"trial_{done:03d}", progress)
            done += 1
            self._write()
            progress.advance(self._note())

    def _try(self, trial: optuna.Trial, name: str, progress: ProgressPart) -> None:
        """One trial; it is told to the study unless this process is interrupted."""
        began = time.monotonic()
        folder = self._begin(trial, name)
        chosen = {key: item.suggest(trial, key) for key, item in self._space.items()}
        trial.set_user_attr("parameters", chosen)
        algo = replace(
            self._config.algo, arguments=with_parameters(self._config.algo.arguments, chosen)
        )
        config = self._config.narrowed(Stage2Config, command="stage2", algo=algo, output_dir=folder)
        epochs: int = config.need("epochs")

        def judge(epoch: int, mean_return: float) -> None:
            trial.report(mean_return, epoch)
            progress.within(min(epoch / epochs, 0.99))
            if epoch < epochs and trial.should_prune():
                raise self._optuna.TrialPruned

        log.info("%s: %s", name, chosen)
        context = None
        try:
            check_algorithm(algo)
            context = RunContext(config, folder, self._videos)
            silent = ProgressDisplay(Console(quiet=True))
            value = run_stage2(config, context, silent, on_evaluation=judge)
        except (self._optuna.TrialPruned, FloatingPointError) as error:
            if isinstance(error, FloatingPointError):
                trial.set_user_attr("error", str(error))
            self._study.tell(trial, state=self._states.PRUNED)
        except Exception:
            self._study.tell(trial, state=self._states.FAIL)
            raise
        else:
            self._study.tell(trial, value)
        finally:
            if context is not None:
                context.close()
        _tidy(folder)
        log.info("%s took %.1f s", name, time.monotonic() - began)

    def _begin(self, trial: optuna.Trial, name: str) -> Path:
        """The trial's folder, empty unless it goes on there."""
        folder = self._folder / name
        trial.set_user_attr("folder", name)
        before = trial.user_attrs.get("continues")
        if before is not None and (folder / STATE_FILE).is_file():
            values = self._study.get_trials(deepcopy=False)[before].intermediate_values
            for epoch, mean_return in values.items():
                trial.report(mean_return, epoch)
        elif folder.exists():
            log.info("%s cannot be continued and begins anew", folder)
            shutil.rmtree(folder)
        return folder

    def _ask_again_for_interrupted(self) -> None:
        """Trials that were running when an earlier process ended come first, with their values."""
        for trial in self._study.get_trials(states=(self._states.RUNNING,)):
            self._study.tell(trial.number, state=self._states.FAIL)
            if trial.params.keys() == self._space.keys():  # else it had hardly begun
                self._study.enqueue_trial(trial.params, user_attrs={"continues": trial.number})

    def _done(self) -> list[optuna.trial.FrozenTrial]:
        kinds = (self._states.COMPLETE, self._states.PRUNED)
        trials: list[optuna.trial.FrozenTrial] = self._study.get_trials(False, kinds)
        return trials

    def _best(self) -> optuna.trial.FrozenTrial | None:
        complete = [item for item in self._done() if item.state == self._states.COMPLETE]
        return max(complete, key=lambda trial: trial.value or 0.0, default=None)

    def _note(self) -> str:
        best = self._best()
        return "" if best is None else f"best val return {best.value:.3f}"

    def _command(self) -> str | None:
        """The command line of stage 2 with the best trial's values."""
        best = self._best()
        if best is None:
            return None
        kept = [item for item in self._overrides if item.partition("=")[0] not in _OWN_KEYS]
        chosen: dict[str, Value] = best.user_attrs["parameters"]
        values = [f"algo.{name}={value}" for name, value in chosen.items()]
        return shlex.join(["adafocus", "stage2", *kept, *values])

    def _write(self) -> None:
        best = self._best()
        write_json(
            self._folder / "tune.json",
            {
                "algorithm": self._config.algo.name,
                "features": self._config.features,
                "trials": [_row(trial) for trial in self._done()],
                "best": None if best is None else _row(best),
                "command": self._command(),
            },
        )

    def show(self, console: Console) -> None:
        """The table, the best first, and how to train with its values."""
        self._write()
        rows = sorted(
            map(_row, self._done()), key=lambda row: (row["pruned"], -(row["return"] or 0))
        )
        table = Table("val return", "epochs", "", "settings", "trial")
        for row in rows:
            ending = "diverged" if row["error"] else "pruned" if row["pruned"] else ""
            settings = " ".join(f"{name}={value}" for name, value in row["parameters"].items())
            value = "" if row["return"] is None else f"{row['return']:.4f}"
            table.add_row(value, str(row["epochs"]), ending, settings, row["folder"][-3:])
        console.print(table)
        command = self._command()
        if command is None:
            console.print("no trial was trained to its end: more trials=, or pruner=none")
        else:
            console.print("the best trial's settings:")
            console.print(command, soft_wrap=True, highlight=False, markup=False)


def _row(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """A trial of JSON types; its return is the best of its evaluations, None without any."""
    values = trial.intermediate_values
    pruned = trial.state.name == "PRUNED"  # then Optuna's value is the last evaluation's
    best = max(values.values(), default=None) if pruned else trial.value
    seconds = trial.duration.total_seconds() if trial.duration else 0.0
    return {
        "folder": trial.user_attrs["folder"],
        "return": best,
        "pruned": pruned,
        "error": trial.user_attrs.get("error"),
        "epochs": max(values, default=0),
        "parameters": trial.user_attrs["parameters"],
        "returns": {str(epoch): value for epoch, value in values.items()},
        "seconds": seconds,
    }


def _tidy(folder: Path) -> None:
    """Leave a trial's policy and curves: the recognizer is the same in all, and large."""
    shutil.rmtree(folder / "recognizer", ignore_errors=True)
    for name in ("algorithm.zip", STATE_FILE):
        (folder / name).unlink(missing_ok=True)


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "it needs Optuna, which is not installed: pip install 'adafocus-env[tune]'"
        ) from error
    return optuna


def _pruner(optuna: Any, config: TuneConfig) -> Any:
    if config.pruner == "none":
        return optuna.pruners.NopPruner()
    if config.pruner == "hyperband":
        first: int = config.need("eval_freq")
        return optuna.pruners.HyperbandPruner(first, max(first, config.need("epochs")))
    return optuna.pruners.MedianPruner()


def _claim(folder: Path, config: TuneConfig) -> None:
    """Make the folder this search's.

    Raises:
        ConfigError: it holds a search with other settings, or another run.
    """
    refuse_to_lose(folder, config.command)
    if (folder / JOURNAL).is_file():
        saved = saved_config(folder)
        different = ["its settings are lost"] if saved is None else all_differences(config, saved)
        if different:
            raise ConfigError(
                f"{folder} holds another search ({'; '.join(different)}); give the same settings "
                "to go on, or another output_dir"
            )
    make_folder(folder)
    save_config(config, folder)
