"""Finding and writing what stages hand on: `recognizer/`, `policy/`, `glancer/`, `focuser/`."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from adafocus_env.atomic_files import atomic_path
from adafocus_env.envs import PatchGrid
from adafocus_env.networks import CheckpointError, Recognizer
from agents.gru_policy import GruActorCriticPolicy
from agents.policy_files import load_policy
from train.config import ConfigError

BACKBONE_WEIGHTS = "backbone.safetensors"
BACKBONE_CONFIG = "backbone.json"


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
    for candidate in (folder / part, folder):
        if any((candidate / f"{name}.json").is_file() for name in (part, "backbone")):
            return candidate
    raise ConfigError(f"no {part} in {folder}; '{command}' makes one")


def load_recognizer(path: str | None, key: str, device: str) -> Recognizer:
    """The recognizer of an earlier run.

    Raises:
        ConfigError: none was named, or there is none at the path.
    """
    if path is None:
        raise ConfigError(f"this stage needs {key}=RUN_FOLDER; 'adafocus stage1' makes one")
    return Recognizer.load(find_part(path, "recognizer", "adafocus stage1"), device=device)


def load_fitting_policy(path: str, grid: PatchGrid, recognizer: Recognizer) -> GruActorCriticPolicy:
    """A saved policy that sees this recognizer's maps and acts on this grid.

    Args:
        path: a run folder that holds `policy/`, or that folder.
        grid: the positions.
        recognizer: whose glance maps the policy is to see; the policy goes to its device.

    Raises:
        ConfigError: there is none at the path.
        CheckpointError: it sees other maps or acts on another grid.
    """
    folder = find_part(path, "policy", "adafocus stage2")
    policy = load_policy(folder, device=recognizer.device).policy
    sees, acts = policy.observation_space.shape, int(policy.action_space.n)
    if (sees, acts) != (recognizer.map_shape(), grid.num_actions):
        raise CheckpointError(
            f"the policy in {folder} sees {sees} and has {acts} actions, but here they are "
            f"{recognizer.map_shape()} and {grid.num_actions}; set action_dim= as in its stage 2, "
            "or resume= the recognizer it was trained with"
        )
    return policy


def save_backbone(
    network: nn.Module, name: str, class_names: tuple[str, ...], folder: Path
) -> None:
    """Write a stage-0 network: its weights, and which backbone and classes it is for."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    with atomic_path(folder / BACKBONE_WEIGHTS) as part:
        part.write_bytes(save(weights))
    with atomic_path(folder / BACKBONE_CONFIG) as part:
        text = json.dumps({"backbone": name, "class_names": class_names}, indent=2)
        part.write_text(text + "\n", encoding="utf-8")


def load_backbone(network: nn.Module, name: str, path: str, part: str) -> None:
    """Load stage-0 weights into the glancer or the focuser.

    Raises:
        ConfigError: there are none at the path.
        CheckpointError: they belong to another network.
    """
    which = "true" if part == "glancer" else "false"
    folder = find_part(path, part, f"adafocus stage0 pretrain_glancer={which}")
    file = folder / BACKBONE_CONFIG
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))["backbone"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file} does not describe a backbone: {error!r}") from error
    if saved != name:
        raise CheckpointError(f"{folder} holds a {saved}, but the {part} is a {name}")
    try:
        network.load_state_dict(load_file(folder / BACKBONE_WEIGHTS))
    except (RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{folder} does not fit this {part}: {error}") from error
