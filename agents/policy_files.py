"""Policies as `policy.safetensors` and `policy.json`: loading them runs no code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from adafocus_env.atomic_files import atomic_path
from adafocus_env.networks import CheckpointError
from agents.gru_policy import GruActorCriticPolicy

WEIGHTS_FILE = "policy.safetensors"
CONFIG_FILE = "policy.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class SavedPolicy:
    """A loaded policy and where it was trained.

    Attributes:
        policy: in evaluation mode.
        recognizer_sha256: fingerprint of the recognizer it was trained with.
        glancer_sha256: fingerprint of that recognizer's glancer alone; None in older files.
    """

    policy: GruActorCriticPolicy
    recognizer_sha256: str
    glancer_sha256: str | None = None


def save_policy(
    policy: GruActorCriticPolicy,
    folder: str | Path,
    *,
    recognizer_sha256: str,
    glancer_sha256: str | None = None,
) -> None:
    """Write a policy into a folder, made if missing.

    Args:
        policy: the policy.
        folder: gets `policy.safetensors` and `policy.json`.
        recognizer_sha256: `Recognizer.fingerprint()` of the recognizer it was trained with.
        glancer_sha256: `Recognizer.glancer_fingerprint()` of that recognizer.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    description = {
        "format_version": FORMAT_VERSION,
        "observation_shape": list(policy.observation_space.shape),
        "observation_bound": float(policy.observation_space.high.max()),
        "num_actions": int(policy.action_space.n),
        "recognizer_sha256": recognizer_sha256,
        "glancer_sha256": glancer_sha256,
        "arguments": policy.arguments(),
    }
    weights = {name: tensor.contiguous() for name, tensor in policy.state_dict().items()}
    with atomic_path(folder / WEIGHTS_FILE) as part:
        part.write_bytes(save(weights))
    with atomic_path(folder / CONFIG_FILE) as part:
        part.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def load_policy(folder: str | Path, *, device: str | torch.device = "cpu") -> SavedPolicy:
    """Read what `save_policy` wrote.

    Raises:
        FileNotFoundError: a file is missing.
        CheckpointError: the files do not fit each other or this version.
    """
    folder = Path(folder)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"no policy in {folder}: {name} is missing; 'adafocus stage2' makes one"
            )
    try:
        saved = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        if saved["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"format_version is {saved['format_version']}, this package reads {FORMAT_VERSION}"
            )
        shape = tuple(saved["observation_shape"])
        policy = GruActorCriticPolicy(
            spaces.Box(0.0, saved["observation_bound"], shape, np.float32),
            spaces.Discrete(saved["num_actions"]),
            lr_schedule=lambda _: 0.0,
            **saved["arguments"],
        )
        policy.load_state_dict(load_file(folder / WEIGHTS_FILE))
        recognizer_sha256 = str(saved["recognizer_sha256"])
        glancer_sha256 = saved.get("glancer_sha256")
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{folder} holds no usable policy: {error}") from error
    policy.set_training_mode(False)
    return SavedPolicy(policy.to(device), recognizer_sha256, glancer_sha256)
