"""The command line: published words, keys and options are checked before anything is started."""

from __future__ import annotations

import difflib
import re
import reprlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from train.config.commands import ALL_KEYS, COMMANDS, unknown_key
from train.config.keys import ConfigError
from train.config.yaml_files import GROUPS, PUBLISHED_EXPERIMENTS, options

# Published key -> ours. Keys of the same name (dataset, data_dir, batch_size, ...) are ours, too.
RENAMED = {
    "num_segments": "num_frames",
    "workers": "num_workers",
    "hidden_state_dim": "algo.policy_kwargs.hidden_dim",
    "policy_lr": "algo.learning_rate",
    "gamma": "algo.gamma",
}

# Published key -> what to do instead.
GONE = {
    "train_stage": "the stage is the command: adafocus stage0, stage1, stage2 or stage3",
    "evaluate": "it is a command: adafocus evaluate",
    "random_patch": "stages 0 and 1 use random patches, stages 2 and 3 the policy's",
    "gpu": "use device=cuda:N",
    "gpus": "use device=cuda:N, or torchrun for several",
    "multiprocessing_distributed": "use torchrun --nproc-per-node N --no-python adafocus COMMAND",
    "dist_url": "torchrun knows the address: --rdzv-endpoint HOST:PORT",
    "dist_backend": "Accelerate chooses it",
    "world_size": "use torchrun --nnodes N",
    "rank": "torchrun sets it",
    "consensus": "only the recurrent classifier (gru) is built; fc cannot run stages 2 and 3",
    "feature_map_channels": "the glancer knows it",
    "with_glancer": "glance vectors always reach the classifier; without them stage 1 crashed",
    "policy_conv": "only the policy with a convolution (policy_conv=true) is built",
    "continuous": "the ActivityNet family acts on a grid",
    "penalty": "it was read nowhere",
    "clip_grad": "it was read nowhere; for the policy use algo.max_grad_norm",
    "npb": "it was read nowhere",
    "arch": "it was read nowhere; networks are glancer= and focuser=",
    "k": "it was read nowhere",
    "lr_step": "use lr_steps=[50,100]",
}

_OF_HYDRA = ("recipes", "hydra")
# What Hydra reads as a text without quotes, and what of it is none.
_PLAIN = re.compile(r"[\w/+.$%*@?|:\\-]+", re.ASCII)
_NO_TEXT = re.compile(r"[+-]?[\d_.]+(e[+-]?\d+)?|true|false", re.ASCII | re.IGNORECASE)
# Any text is one of these, as of the keys that are paths.
_TEXTS_OF_LISTS = tuple(
    f"lists.{name}"
    for name in ("list_file", "class_file", "video_dir", "frame_dir", "separator", "image_template")
)
_FUNCTION = re.compile(r"\w+\(.*\)", re.ASCII)


def read_overrides(
    command: str, overrides: Sequence[str], *, sweep: bool, own_files: bool = True
) -> list[str]:
    """A command line as Hydra takes it.

    Args:
        command: whose line it is.
        overrides: `key=value` texts, without Hydra's flags.
        sweep: whether values may be several, as `0,1,2`.
        own_files: whether Hydra knows no other folders of files.

    Raises:
        ConfigError: a key or an option that does not exist or that the command does not use, or a
            value that Hydra cannot read; the message has the cure.
    """
    given = [_translated(override) for override in overrides]
    for override in given:
        _check_name(command, override)
        if own_files and not sweep:
            _check_option(override)
    given = [_with_quoted_path(override, sweep=sweep) for override in given]
    for override in given:
        _check_readable(override)
    # Any argument of an algorithm may be given, also one that its file leaves out; its names are
    # checked against its constructor later on, those of `lists.` against `VideoLists`.
    return [f"++{item}" if item.startswith(("algo.", "lists.")) else item for item in given]


def value_of(name: str, overrides: Sequence[str]) -> str | None:
    """What a command line says last of a key; None where it does not name it."""
    found = [item.partition("=")[2] for item in overrides if item.startswith(f"{name}=")]
    if not found:
        return None
    value = OverridesParser.create().parse_override(f"{name}={found[-1]}").value()
    return None if value is None else str(value)


def as_override(name: str, value: str | Path | None) -> str:
    """`name=value` for Hydra, whatever characters a path has."""
    return f"{name}={'null' if value is None else _quoted(str(value))}"


def _translated(override: str) -> str:
    """With the published words replaced by ours."""
    key, equals, value = override.partition("=")
    if not equals:
        return override
    if key in GONE:
        raise ConfigError(f"{key}= is a word of the published code; {GONE[key]}")
    if key == "amp" and value.lower() in ("true", "false"):
        return "amp=auto" if value.lower() == "true" else "amp=none"
    if key == "lr_steps" and "[" not in value:  # published as 50-100
        return f"lr_steps=[{value.replace('-', ',')}]"
    return f"{RENAMED.get(key, key)}{equals}{value}"


def _check_name(command: str, override: str) -> None:
    """Refuse keys that do not exist, and those that the command does not use."""
    if "=" not in override:
        raise ConfigError(f"expected key=value, got {override!r}")
    name = override.split("=", 1)[0].lstrip("+~").split(".")[0].split("/")[0].split("@")[0]
    if name in _OF_HYDRA:
        return
    if name not in (*ALL_KEYS, *GROUPS):
        raise ConfigError(unknown_key(name, {*ALL_KEYS, *GROUPS}))
    used, users = COMMANDS[command].keys, list(ALL_KEYS[GROUPS.get(name, name)])
    if command in users:
        return
    near = difflib.get_close_matches(name, used, n=1)
    hint = f"; did you mean {near[0]}=?" if near else f"; adafocus {command} --help has its keys"
    raise ConfigError(f"{command} does not use {name}= ({_listed(users)}){hint}")


def _listed(users: Sequence[str]) -> str:
    if len(users) == 1:
        return f"{users[0]} does"
    return f"{', '.join(users[:-1])} and {users[-1]} do"


def _check_option(override: str) -> None:
    """Refuse `GROUP=OPTION` whose option does not exist."""
    group, _, option = override.partition("=")
    if group not in GROUPS:
        return
    known = options(group)
    earlier = PUBLISHED_EXPERIMENTS if group == "experiment" else ()
    if option not in (*known, *earlier):
        near = difflib.get_close_matches(option, known, n=1, cutoff=0.0)
        raise ConfigError(
            f"unknown {group}={option}; did you mean {group}={near[0]}? "
            f"Known are {', '.join(known)}"
        )


def _with_quoted_path(override: str, *, sweep: bool) -> str:
    """With quotes around a path, where Hydra would take its characters for something else.

    Raises:
        ConfigError: it holds what can only be a reference, and is none.
    """
    name, _, value = override.partition("=")
    one = next(iter(ALL_KEYS.get(name, {}).values()), None)
    is_path = name in _TEXTS_OF_LISTS or (one is not None and one.is_path)
    if not is_path or (sweep and _FUNCTION.fullmatch(value)):
        return override
    if value[:1] in ("[", "{") and one is not None and Mapping[str, str] in one.types:
        return override
    for other in re.findall(r"\$\{([^}]*)\}", value):
        if ":" not in other and other.split(".")[0] not in (*ALL_KEYS, *_OF_HYDRA):
            raise ConfigError(
                f"{override}: ${{{other}}} would stand for the value of another key, and there is "
                "no such key; rename the file or folder"
            )
    values = value.split(",") if sweep else [value]
    return f"{name}={','.join(map(_quoted, values))}"


def _quoted(text: str) -> str:
    if text[:1] in ("'", '"') and text[-1] == text[0] and len(text) > 1:
        return text
    if _PLAIN.fullmatch(text) and not _NO_TEXT.fullmatch(text):
        return text
    return QuotedString(text, Quote.single).with_quotes()


def _check_readable(override: str) -> None:
    """Refuse what Hydra cannot read; the message shows how to quote it. No value is empty."""
    try:
        value = OverridesParser.create().parse_override(override).value()
    except ValueError as error:  # a number of thousands of digits
        raise ConfigError(f"{reprlib.repr(override)} cannot be read: {error}") from error
    except HydraException as error:
        name, _, value = override.partition("=")
        quoted = f"{name}={_with_quoted_items(value)}"
        shown = shlex.quote(quoted) if set(quoted) & set('"$`\\') else f'"{quoted}"'
        raise ConfigError(
            f"{override} cannot be read: a text with [ ] {{ }} ( ) = , or a quote in it must be "
            f"quoted, and once more for the shell: {shown}"
        ) from error
    if value == "" and not override.startswith("hydra"):
        raise ConfigError(f"{override} has no value; leave it out, or give one")


def _with_quoted_items(value: str) -> str:
    """A value with quotes around it, or around the texts in a list or a mapping."""
    ends = value[:1] + value[-1:]
    if ends == "[]":
        return f"[{','.join(_quoted(item.strip()) for item in value[1:-1].split(','))}]"
    if ends == "{}":
        pairs = [item.partition(":") for item in value[1:-1].split(",")]
        return f"{{{', '.join(f'{a.strip()}: {_quoted(b.strip())}' for a, _, b in pairs)}}}"
    return _quoted(value)
