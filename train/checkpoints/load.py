"""What stages hand on, found by path: recognizers and policies that fit the configuration."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy

from adafocus_env import networks
from adafocus_env.data import Videos
from adafocus_env.envs import PatchGrid
from adafocus_env.envs.actions import locations_of
from adafocus_env.networks import AnyRecognizer, CheckpointError, class_mismatch
from adafocus_env.shipped import SHIPPED, has_policy, is_shipped, shipped_recognizer
from agents.baselines.registry import known_among
from agents.policies.observations import glance_space
from agents.policies.policy_files import SavedPolicy, load_policy, load_trusted_zip
from train.config.keys import ConfigError
from train.config.sections import NetworksSection, RecognizerSection, ResumeSection, RunSection

log = logging.getLogger(__name__)

_FAMILIES = {"patch": "AdaFocus/PatchLocalization-v0", "active": "AdaFocus/ActiveVision-v0"}

BACKBONE_CONFIG = "backbone.json"
ZIP_FILE = "policy.zip"  # instead of policy/, where the class is one that files cannot name

# Configuration keys that a loaded recognizer brings its own values for.
_SIZES = (
    *("glancer", "focuser", "num_frames", "frame_size", "patch_size"),
    *("glance_size", "glance_resize", "hidden_dim", "classifier", "activation_cap"),
    *("num_glance_frames", "temporal_shift"),
)


def check_exists(folder: Path, part: str, command: str) -> None:
    """Refuse a run that is not there.

    Args:
        folder: the run.
        part: what it should hold.
        command: the command that makes it, for the message.

    Raises:
        ConfigError: there is nothing at the path.
    """
    if not folder.exists():
        raise ConfigError(
            f"{folder} does not exist; name a run with a {part}: '{command}' makes one"
        )


def find_part(path: str, part: str, command: str) -> Path:
    """The folder of one part of a checkpoint.

    Args:
        path: a run folder that holds `part`, or the part's own folder.
        part: `"recognizer"`, `"policy"`, `"glancer"` or `"focuser"`.
        command: the command that makes it, for the message.

    Raises:
        ConfigError: it is not there.
    """
    folder = Path(path)
    check_exists(folder, part, command)
    if folder.is_file():
        raise ConfigError(
            f"{folder} is a file; convert it first: adafocus convert source={folder} "
            "target=FOLDER experiment=actnet_patch128 (or the one it was trained as), "
            "then name that FOLDER"
        )
    file = f"{part}.json" if part in ("recognizer", "policy") else BACKBONE_CONFIG
    for candidate in (folder / part, folder):
        if (candidate / file).is_file():
            return candidate
    raise ConfigError(f"no {part} in {folder}; '{command}' makes one")


def nothing_to_start_from(
    config: RunSection, holds: str = "recognizer", *, whose: str = "", instead: str = ""
) -> ConfigError:
    """The error about a command that was not told where to start from.

    Args:
        config: of the command.
        holds: what the run must hold, `"recognizer"` or `"policy"`.
        whose: what needs it; the command where it is empty.
        instead: other keys that would do.
    """
    going_on = isinstance(config, ResumeSection) and config.resume == "auto"
    key = "recognizer" if going_on and isinstance(config, RecognizerSection) else "resume"
    stage = {"recognizer": "stage1", "policy": "stage2"}[holds]
    known = [f"{key}=RUN_FOLDER (of 'adafocus {stage}' or a later stage)"]
    would_do = holds == "recognizer" or has_policy(shipped_recognizer(config.dataset))
    if config.dataset in SHIPPED and would_do:
        known.append(f"{key}=shipped (what comes with the package for dataset={config.dataset})")
    known += [instead] if instead else []
    return ConfigError(f"{whose or config.command} needs {' or '.join(known)}")


def check_has_policy(source: str, dataset: str, cure: str) -> None:
    """Refuse a shipped recognizer without a policy where the one beside it is needed.

    Args:
        source: what `resume=` named.
        dataset: the configured one.
        cure: what to write instead.

    Raises:
        ConfigError: it is such a recognizer; the message ends with the cure.
    """
    if is_shipped(Path(source)) and not has_policy(Path(source)):
        raise ConfigError(
            f"what comes with the package for dataset={dataset} is a recognizer without a policy; "
            f"{cure}"
        )


def check_policy_exists(policy: str, names: Sequence[str]) -> None:
    """Refuse a policy that is neither one of some names nor a path to anything.

    Args:
        policy: which `policy=` named, none of the names.
        names: that it takes beside a run.

    Raises:
        ConfigError: there is nothing at the path; the message has the nearest name.
    """
    if not Path(policy).exists():
        known = known_among(policy, [*names, "RUN_FOLDER"])
        raise ConfigError(
            f"policy={policy} is no name of a policy, and no such folder or file exists; {known}"
        )


def load_recognizer(path: str, device: str) -> AnyRecognizer:
    """The recognizer of an earlier run, of whichever family.

    Raises:
        ConfigError: there is none at the path.
    """
    folder = find_part(path, "recognizer", "adafocus stage1")
    return networks.load_recognizer(folder, device=device)


def load_configured(path: str | None, config: RunSection, device: str) -> AnyRecognizer:
    """The recognizer of an earlier run, of the configured sizes, in the configured divisions.

    Raises:
        ConfigError: none was named, there is none at the path, its sizes are others, or it cannot
            be divided so.
    """
    if path is None:
        raise nothing_to_start_from(config)
    recognizer = load_recognizer(path, device)
    check_sizes(recognizer, config)
    return recognizer.divided(config.video_div)


def load_fitting_policy(
    path: str,
    grid: PatchGrid,
    recognizer: AnyRecognizer,
    *,
    trust: bool = False,
    env: str = "patch",
) -> BasePolicy:
    """A saved policy that sees this recognizer's maps and acts on this grid, or anywhere.

    On a grid it may skip frames, and be told what a look costs.

    Args:
        path: a run folder that holds `policy/`, or that folder; or a `.zip` of SB3.
        grid: the positions.
        recognizer: whose glance maps the policy is to see; the policy goes to its device.
        trust: open a `.zip`, which can run code.
        env: the family that it is for, `"patch"` or `"active"`, a closed loop.

    A policy that was trained with another glancer is used, with a warning.

    Raises:
        ConfigError: there is none at the path, or it is a `.zip` that nobody said to trust.
        CheckpointError: it sees other maps, acts on another grid, or is of the other family.
    """
    folder, saved = _load_policy(path, recognizer, trust=trust)
    policy = saved.policy
    trained_in = "active" if isinstance(policy.observation_space, spaces.Dict) else "patch"
    if trained_in != env:
        raise CheckpointError(
            f"the policy in {folder} was trained with env={trained_in}, and this is env={env}: a "
            f"policy of {_FAMILIES[trained_in]} acts there alone; use env={trained_in}"
        )
    sees, acts = glance_space(policy.observation_space).shape, policy.action_space
    shape = recognizer.observation_shape()
    shown = (shape[0] + bool(policy.sees_cost), *shape[1:])
    number = int(acts.n) if isinstance(acts, spaces.Discrete) else None
    if sees not in (shown, shown[:1]) or not _acts_on(grid, acts):
        raise CheckpointError(
            f"the policy in {folder} sees {sees} and has {number} actions, but here they are "
            f"{shape} and {grid.num_actions}; set action_dim= as in its stage 2, "
            "or resume= the recognizer it was trained with"
        )
    # Not the whole recognizer: stage 3 trains the classifier, which the policy does not see.
    if saved.glancer_sha256 not in (None, recognizer.glancer_fingerprint()):
        log.warning(
            "the policy in %s was trained with another glancer than the recognizer in use: it sees "
            "other maps than those it learned on",
            folder,
        )
    return policy


def _load_policy(path: str, recognizer: AnyRecognizer, *, trust: bool) -> tuple[Path, SavedPolicy]:
    fitting: dict[str, Any] = {
        "device": recognizer.device,
        "glance_channels": recognizer.observation_shape()[0],
    }
    given = Path(path)
    beside = given / ZIP_FILE  # of a class that files cannot name
    file = beside if beside.is_file() and not (given / "policy").exists() else given
    if file.suffix != ".zip" or not file.is_file():
        folder = find_part(path, "policy", "adafocus stage2")
        return folder, load_policy(folder, **fitting)
    if not trust:
        raise ConfigError(
            f"{file} is a file of Stable-Baselines3, and opening it can run code that it brings "
            "along: add trust=true if you know where it comes from, or name a folder policy/, "
            "which cannot"
        )
    return file, load_trusted_zip(file, **fitting)


def _acts_on(grid: PatchGrid, actions: spaces.Space[Any]) -> bool:
    try:
        locations_of(actions, grid)
    except ValueError:
        return False
    return True


def check_sizes(recognizer: AnyRecognizer, config: NetworksSection) -> None:
    """Refuse configured sizes that a loaded recognizer would silently override.

    Raises:
        ConfigError: keys differ; the message lists them.
    """
    if config.family != recognizer.config.family:
        raise ConfigError(
            f"the configuration is for family={config.family}, but the checkpoint is of "
            f"family={recognizer.config.family}; give the experiment= it was trained with"
        )
    names = [name for name in _SIZES if hasattr(recognizer.config, name)]
    wrong = {
        name: (getattr(config, name), getattr(recognizer.config, name))
        for name in names
        if getattr(config, name) != getattr(recognizer.config, name)
    }
    if wrong:
        listed = ", ".join(f"{name}={a} (checkpoint: {b})" for name, (a, b) in wrong.items())
        cure = " ".join(f"{name}={'null' if b is None else b}" for name, (_, b) in wrong.items())
        raise ConfigError(
            f"the configuration differs from the checkpoint in {listed}; give the experiment= it "
            f"was trained with, or {cure}"
        )


def check_classes(recognizer: AnyRecognizer, videos: Videos) -> None:
    """Refuse videos whose classes are not the recognizer's.

    Raises:
        ConfigError: another number of classes, or other names (unless the recognizer's are
            placeholders); the message has the first difference.
    """
    mismatch = class_mismatch(recognizer.config, videos.class_names)
    if mismatch is not None:
        raise ConfigError(mismatch)
