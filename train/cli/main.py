"""`adafocus COMMAND key=value ...`, the same as `python -m train COMMAND ...`.

Nothing slow is imported before signals are answered, and nothing heavy before a command runs: help
and version come at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from train.cli import ending

NOBODY_READS = 141  # as a shell calls the end by SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code.

    Args:
        arguments: of the command line. None takes this process's own, whose signals are then
            answered, too.
    """
    if arguments is None:
        ending.answer_signals()
    try:
        code = _main(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        code = NOBODY_READS
    except OSError as error:
        from train.cli.errors import one_line

        print(f"adafocus: {one_line(error)}", file=sys.stderr)
        code = 1
    else:
        ending.now_runs("", lambda: "all was done")
        return code
    # Python writes out what is left when it ends, and would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _main(given: list[str]) -> int:
    import adafocus_env
    from train.cli.help import command_help, overview, unknown_command
    from train.config.commands import COMMANDS

    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
        return 0 if given else 2
    if given[0] == "--version":
        print(f"adafocus-env {adafocus_env.__version__}")
        return 0
    name, rest = given[0], given[1:]
    if name not in COMMANDS:
        print(unknown_command(name), file=sys.stderr)
        return 2
    if any(item in ("-h", "--help") for item in rest):
        print(command_help(name))
        return 0
    ending.now_runs(name)
    return _run(name, rest, processes=COMMANDS[name].processes)


def _run(name: str, arguments: list[str], *, processes: bool) -> int:
    os.environ.setdefault("MPLBACKEND", "Agg")
    # Before torch is imported: its threads otherwise spin at every barrier, which makes training
    # ten times slower when another process wants one of two cores; sleeping costs nothing.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from train.cli.errors import one_line
    from train.cli.hydra_jobs import parse_flags, run_jobs, shows_only
    from train.cli.job import run_job
    from train.cli.overrides import read_overrides, value_of
    from train.cli.run_place import placed
    from train.config.keys import ConfigError
    from train.runs.sweep import how_to_go_on

    flags = parse_flags(arguments)
    sweep, own_files = bool(flags.multirun), flags.config_dir is None
    try:
        overrides = read_overrides(name, flags.overrides, sweep=sweep, own_files=own_files)
        if shows_only(flags):
            return run_jobs(run_job, flags, [f"command={name}", *overrides])
        with placed(name, overrides, sweep=sweep, processes=processes, own_files=own_files) as line:
            folder = value_of("hydra.sweep.dir", line) if sweep else None
            if folder is not None:  # a job may run elsewhere, and say it there
                ending.now_runs(name, lambda: how_to_go_on(folder))
            return run_jobs(run_job, flags, [f"command={name}", *line])
    except ConfigError as error:
        print(f"adafocus {name}: {one_line(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        raise
    except OSError as error:  # no folder can be made
        print(f"adafocus {name}: {one_line(error)}", file=sys.stderr)
        return 1
