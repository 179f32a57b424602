"""`make closed-loop`: what seeing one's own looks brings; a table and a figure from nothing.

usage: python tests/benchmarks/closed_loop.py [TASK ...] [--seeds 0 1 2] [--target FOLDER]
       [--clips FOLDER --weights FILE] [--set KEY=VALUE ...]

It gives the product's own commands: banks, stage 2 for each way of learning and each seed, and
benchmarks on val and test; all numbers are those of `benchmark.json`. The same line goes on where
it was interrupted. `clips` is a set of one's own in lists (README, "Your own videos").
"""

from __future__ import annotations

import argparse
import resource
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adafocus_env.files import read_json, write_json
from closed_loop_report import RESULTS, digit_seen, machine, write_results
from train.pipeline.plan import choose_epochs

TARGET = Path("outputs/closed_loop")
DONE = "closed_loop.json"
_OPEN, _NO_PATCH = ("observation=glance",), ("observation=[glance,origin,belief,progress]",)


@dataclass(frozen=True)
class Task:
    """What is compared on one data set.

    Attributes:
        common: keys of all commands.
        ways: ways of learning, by name, and the keys in which they differ. The first is compared
            with all others.
        loop: keys of all closed loops, in learning and in benchmarks.
        learning: keys of stage 2 of all ways; epochs and preset were chosen on val.
        baselines: agents that do not learn.
        look_cost: what a look costs those that learn when to stop; None: nobody does.
        stopping: keys of theirs.
    """

    common: Sequence[str]
    ways: Mapping[str, Sequence[str]]
    loop: Sequence[str] = ("env=active", "reward=information")
    learning: Sequence[str] = ()
    baselines: Sequence[str] = ("random", "center", "saliency", "greedy_oracle")
    look_cost: float | None = None
    stopping: Sequence[str] = ()


_LEARNING = (
    *("algo.preset=loop", "recipes.gru_ppo=null", "policy_frames=null"),
    *("batch_size=256", "epochs=40", "eval_freq=4"),
)
_BOTH = {"closed": (), "open": _OPEN}
TASKS = {
    "glyphs_search": Task(
        common=("experiment=glyphs_search",),
        ways={
            "closed": (),
            "imitation": ("imitate=expert", "epochs=6"),
            "open": _OPEN,
            "no_patch": _NO_PATCH,
        },
        baselines=("expert", "random_discs", "random", "center", "saliency", "greedy_oracle"),
        look_cost=0.1,
    ),
    "glyphs": Task(
        common=("experiment=glyphs",),
        ways=_BOTH,
        learning=_LEARNING,
        look_cost=0.1,
        # With less entropy the action that stops is forgotten before the belief says anything.
        stopping=("algo.gamma=1.0", "algo.ent_coef=lin_0.05"),
    ),
    "glyphs_memory": Task(
        common=("experiment=glyphs_memory",),
        ways=_BOTH,
        learning=(
            *_LEARNING,
            *("algo.policy_kwargs.recurrent=true", "algo.policy_kwargs.hidden_dim=128"),
        ),
    ),
    # One decision a video: there is nothing to close, and both are the same task.
    "glyphs_order": Task(common=("experiment=glyphs_order",), ways=_BOTH, learning=_LEARNING),
}


@dataclass
class Study:
    """One task's commands, in a folder of its own.

    Attributes:
        task: what is compared.
        folder: for everything.
        seeds: of each way of learning.
        changes: keys of stage 2 that go after all others, such as `epochs=1`.
        source: recognizer of all commands.
        data: keys that say which videos, of all commands.
        bank: of the videos; None: it is built.
        seconds: CPU time of each command, by its folder's name.
    """

    task: Task
    folder: Path
    seeds: Sequence[int]
    changes: Sequence[str] = ()
    source: str = "shipped"
    data: Sequence[str] = ()
    bank: Path | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def measure(self) -> dict[str, Any]:
        """Everything; returns what the report needs."""
        if self.bank is None:
            target = self.folder / "bank"
            for split in ("train", "val", "test"):
                self.run(f"banks/{split}", "bank", f"split={split}", f"target={target}")
            self.bank = target
        self.learn()
        policies = [one for way in self.task.ways for one in self._named(way)]
        result = {"test": self._benchmark("test", "test", (*policies, *self.task.baselines))}
        if self.task.look_cost is not None:
            result |= self._stopping(self.task.look_cost)
        if "random_discs" in self.task.baselines:
            result["digit"] = digit_seen(self.bank)
        return {"seeds": list(self.seeds), "cpu_seconds": self.seconds, **result}

    def learn(self) -> None:
        """Stage 2 in all ways, with all seeds."""
        ways = dict(self.task.ways)
        if self.task.look_cost is not None:
            costs = (f"look_cost={self.task.look_cost}", "stop=true")
            ways["stop"] = (*costs, *self.task.stopping)
        for way, keys in ways.items():
            for seed in self.seeds:
                self.run(
                    f"{way}/{seed}",
                    "stage2",
                    *(f"features=bank:{self.bank}", f"seed={seed}", "video_freq=0", "save_freq=5"),
                    *(*self.task.learning, *keys),
                )

    def _stopping(self, look_cost: float) -> dict[str, Any]:
        """Stopping that is learned, and by a threshold on the belief that is chosen on val."""
        closed = self._named("closed")
        on_val = self._benchmark("val", "val", closed)["policies"][0]
        best = max(
            on_val["belief_exit"],
            key=lambda point: point["log_likelihood"] - look_cost * point["mean_frames"],
        )
        policies = (*self._named("stop"), *closed, f"until:{best['belief']:g}:closed")
        costs = (f"look_cost={look_cost}", "stop=true")
        found = self._benchmark("stopping", "test", policies, *costs)
        return {"stopping": found, "threshold": best, "look_cost": look_cost}

    def _named(self, way: str) -> list[str]:
        return [f"{way}:{self.folder / way / str(seed)}" for seed in self.seeds]

    def _benchmark(
        self, name: str, split: str, policies: Sequence[str], *keys: str
    ) -> dict[str, Any]:
        named = ",".join(f"'{item}'" for item in policies)
        place = self.run(
            f"benchmark_{name}",
            "benchmark",
            *(f"features=bank:{self.bank}", f"split={split}", "player_videos=[0]", "draws=2"),
            *(*keys, f"policies=[{named}]"),
        )
        result: dict[str, Any] = read_json(place / "benchmark.json")
        return result

    def run(self, name: str, command: str, *keys: str) -> Path:
        """Give a command, unless it has been done; returns its folder."""
        source = (f"resume={self.source}",)
        if command == "stage2":
            source = ("resume=auto", f"recognizer={self.source}")
        told = [
            *(*self.task.common, *source),
            *(() if command == "bank" else self.task.loop),
            *(*self.data, *keys),
            *(self.changes if command == "stage2" else ()),
        ]
        place = self.folder / name
        self.seconds[name] = give(place, command, told)
        return place


def give(place: Path, command: str, keys: Sequence[str]) -> float:
    """Give a command of the product, unless it has been done; returns its CPU seconds."""
    if (place / DONE).is_file():
        before: dict[str, Any] = read_json(place / DONE)
        if before["keys"] != list(keys):
            sys.exit(f"{place} was made by other settings; choose another --target")
        return float(before["cpu_seconds"])
    line = ["-m", "train", command, *keys, f"output_dir={place}"]
    print(shlex.join(["adafocus", *line[2:]]), flush=True)
    spent = _child_seconds()
    code = subprocess.run([sys.executable, *line], check=False).returncode
    if code:
        sys.exit(f"that ended with {code}; the same line goes on from here")
    spent = _child_seconds() - spent
    write_json(place / DONE, {"keys": list(keys), "cpu_seconds": spent})
    return spent


def _child_seconds() -> float:
    """CPU time of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def own_clips(folder: Path, clips: Path, weights: Path, seeds: Sequence[int]) -> Study:
    """A set of one's own clips: `adafocus run` makes recognizer, bank and judges of the rewards.

    As there, the policies learn for as long as was best on clips of the first inner fold, of which
    neither they nor the classifier had seen any.

    Args:
        folder: for everything.
        clips: with lists, of which `val.txt` or `test.txt` is tested.
        weights: of both backbones.
        seeds: of each way of learning.
    """
    small = ("experiment=small", f"pretrained_glancer={weights}")
    give(folder / "run", "run", (*small, f"data_dir={clips}", "folds=null", "seed=0"))
    fold = folder / "run" / "fold_0"
    judges = ",".join(str(part / "stage1") for part in sorted(fold.glob("inner_*")))
    task = Task(
        common=("experiment=small",),
        ways=_BOTH,
        learning=(
            f"cross_fit=[{judges}]",
            *("algo.preset=loop", "recipes.gru_ppo=null", "algo.policy_kwargs.dropout=0.3"),
        ),
        baselines=("random", "center", "saliency", "greedy_oracle"),
    )

    def study(place: Path, part: Path, some: Sequence[int], changes: Sequence[str]) -> Study:
        data = (f"data_dir={part}", f"lists.video_dir={(clips / 'videos').absolute()}")
        return Study(task, place, some, changes, str(part / "stage1"), data, part / "bank")

    inner = study(folder / "inner", fold / "inner_0", seeds[:1], ())
    inner.learn()
    epochs = choose_epochs([inner.folder / way / str(seeds[0]) for way in task.ways], "return")
    return study(folder, fold, seeds, (f"epochs={epochs}", f"eval_freq={epochs}"))


def main() -> None:
    """Measure what the command line names, or all tasks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", help=f"of {', '.join(TASKS)}; all by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--target", type=Path, default=TARGET)
    parser.add_argument("--clips", type=Path, help="a set of one's own as well, in lists")
    parser.add_argument("--weights", type=Path, help="ImageNet's MobileNetV2, for --clips")
    parser.add_argument("--set", nargs="+", default=[], help="more keys of stage2")
    given = parser.parse_args()
    unknown = set(given.tasks) - set(TASKS)
    if unknown:
        sys.exit(f"unknown tasks {sorted(unknown)}; known: {list(TASKS)}")
    names = given.tasks or ([] if given.clips else TASKS)
    studies = {
        name: Study(TASKS[name], given.target / name, given.seeds, given.set) for name in names
    }
    if given.clips:
        place = given.target / given.clips.name
        studies[given.clips.name] = own_clips(place, given.clips, given.weights, given.seeds)
    found = read_json(given.target / RESULTS) if (given.target / RESULTS).is_file() else {}
    for name, study in studies.items():
        found[name] = {**study.measure(), "machine": machine()}
        write_results(found, given.target)


if __name__ == "__main__":
    main()
