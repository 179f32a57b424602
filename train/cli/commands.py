"""The commands: what each does and calls, and what `--help` says of it."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from typing import Literal

from train.config.commands import CONFIGS
from train.config.keys import Key, keys_of
from train.config.learning import BatchSection, ScheduleSection
from train.config.sections import ClassesSection, ResumeSection
from train.config.yaml_files import GROUPS, options

# Of the sections that a command shares with others, those that help shows first.
_MOST_USED = (ResumeSection, ClassesSection, ScheduleSection, BatchSection)
_WIDTH = 100
_COLUMN = 34


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        function: `module:function`.
        summary: one line for the overview.
        kind: what the function is called with: a `run` with the configuration, a context, which
            is its folder and data, and a progress display; a `tool` without the context; and what
            consists of `parts`, runs of other commands, with all that was composed, and a display.
        processes: whether `torchrun` may start several.
    """

    function: str
    summary: str
    kind: Literal["run", "tool", "parts"] = "run"
    processes: bool = False


COMMANDS = {
    "demo": Command(
        "train.demo:run_demo",
        "make videos, train all four stages, benchmark: the whole thing on built-in videos",
        "parts",
    ),
    "make-videos": Command(
        "train.data_tools.make_videos:run_make_videos",
        "write the built-in videos as mp4 files with their list files",
        "tool",
    ),
    "extract-frames": Command(
        "train.data_tools.extract_frames:run_extract_frames",
        "write the frames of videos as JPEG folders, as the published code reads them",
        "tool",
    ),
    "check-data": Command(
        "train.data_tools.check_data:run_check_data",
        "look for everything in a data set that would break training",
        "tool",
    ),
    "convert": Command(
        "train.checkpoints.convert:run_convert",
        "read a published checkpoint, or write one",
        "tool",
    ),
    "flops": Command(
        "train.evaluation.flops:run_flops",
        "multiply-adds per video of any configuration, by part",
        "tool",
    ),
    "stage0": Command(
        "train.stages.stage0_backbones:run_stage0",
        "fine-tune the glancer or the focuser on whole frames",
        processes=True,
    ),
    "stage1": Command(
        "train.stages.stage1_random_patches:run_stage1",
        "train focuser and classifier on random patches",
        processes=True,
    ),
    "stage2": Command(
        "train.stages.stage2_policy:run_stage2",
        "train the policy by reinforcement learning",
        processes=True,
    ),
    "tune": Command(
        "train.tune.search:run_tune",
        "search an algorithm's main parameters for stage2; an interrupted search goes on",
        "parts",
    ),
    "stage3": Command(
        "train.stages.stage3_classifier:run_stage3",
        "fine-tune the classifier on the patches of a policy",
        processes=True,
    ),
    "bank": Command(
        "train.data_tools.make_bank:run_bank",
        "compute a split's features once, for stage2, evaluate and benchmark",
        processes=True,
    ),
    "evaluate": Command(
        "train.evaluation.evaluate:run_evaluate",
        "judge one policy with one recognizer by the published protocol",
    ),
    "benchmark": Command(
        "train.evaluation.benchmark:run_benchmark",
        "compare policies, each with its own classifier and all with the same",
    ),
    "record": Command(
        "train.evaluation.record:run_record",
        "write videos with the looks of policies side by side, as mp4 or GIF",
    ),
}

_USAGE = """usage: adafocus COMMAND [key=value ...]
       adafocus COMMAND --help
       adafocus --version"""

_SWEEP = (
    "A sweep is a run for each value: adafocus COMMAND -m seed=0,1,2 ...; the same command with "
    "its output_dir makes only what is missing."
)


def overview() -> str:
    """What `adafocus --help` prints."""
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:<{width}}  {one.summary}" for name, one in COMMANDS.items())
    return (
        "adafocus: train and benchmark policies that decide where to look in video\n\n"
        f"{_USAGE}\n\ncommands:\n{lines}\n\n"
        "Every run writes to outputs/DATE/TIME, or to output_dir=FOLDER."
    )


def unknown_command(name: str) -> str:
    """The message about a command that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"adafocus: unknown command {name!r}{hint}\n\n{overview()}"


def command_help(name: str) -> str:
    """What `adafocus COMMAND --help` prints: its keys by section, the most used first."""
    lines = [f"adafocus {name}: {COMMANDS[name].summary}", ""]
    lines += [f"usage: adafocus {name} [key=value ...]"]
    keys = dict(keys_of(CONFIGS[name]))
    groups = [group for group, key in GROUPS.items() if key in keys and group not in keys]
    if groups:
        lines += ["", "Files that set many keys:"]
        for group in groups:
            lines += _entry(f"{group}=NAME", ", ".join(options(group)))
    command, *others = CONFIGS[name].__mro__
    for section in (command, *(one for one in _MOST_USED if one in others), *others):
        own = [keys.pop(key) for key in vars(section).get("__annotations__", ()) if key in keys]
        if own:
            title = (section.__doc__ or "").splitlines()[0].rstrip(".")
            lines += ["", f"{title}:"]
            lines += [line for one in own for line in _entry(f"{one.name}={one.form}", _about(one))]
    lines += ["", *textwrap.wrap(_SWEEP, _WIDTH)]
    return "\n".join(lines)


def _about(one: Key) -> str:
    """Meaning and default."""
    parts = [", ".join(options(one.name))] if one.name in GROUPS else []
    parts.append(one.about.help)
    if isinstance(one.default, bool):
        parts.append(f"default {str(one.default).lower()}")
    elif isinstance(one.default, tuple):
        parts.append(f"default [{','.join(map(str, one.default))}]")
    elif one.default is not MISSING and one.default is not None:
        parts.append(f"default {one.default}")
    return "; ".join(parts)


def _entry(left: str, right: str) -> Iterator[str]:
    """Two columns; the left one gets a line of its own where it is long."""
    lines = textwrap.wrap(right, _WIDTH - _COLUMN) or [""]
    if len(left) + 4 > _COLUMN:
        yield f"  {left}"
        left = ""
    yield f"  {left:<{_COLUMN - 2}}{lines[0]}".rstrip()
    for line in lines[1:]:
        yield " " * _COLUMN + line
