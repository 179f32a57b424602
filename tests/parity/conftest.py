"""The networks and inputs of the golden recording, and everything computed from them, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import fill_rule
import published_run as run
import published_shift_run as shift_run
from adafocus_env.networks import Recognizer, ShiftRecognizer
from agents.policies.gru_policy import GruActorCriticPolicy
from given_case import Case, normalised_config

GOLDEN = Path(__file__).with_name("golden_actnet.npz")


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    """The recorded arrays."""
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def case() -> Case:
    """Two videos of four frames of 224 pixels, patches of 128."""
    return Case(
        frames=fill_rule.waves(2, 4, 224),
        labels=torch.tensor([158, 95]),
        grid_size=7,
        actions=torch.tensor([[0, 48], [16, 33], [27, 44], [38, 6]]),
        baseline_offsets=fill_rule.baseline_offsets(2, 4, 96),
        stage1_offsets=fill_rule.stage1_offsets(2, 4, 96),
        log_prob_shift=torch.from_numpy(fill_rule.log_prob_shift(2, 4)),
    )


@pytest.fixture(scope="session")
def networks() -> tuple[Recognizer, GruActorCriticPolicy]:
    """The published networks of 200 classes and 49 actions, with the weights of the rule."""
    config = normalised_config(
        class_names=tuple(f"class {k}" for k in range(200)), num_frames=4, dropout=0.0
    )
    with torch.device("meta"):  # shapes alone
        recognizer = Recognizer(config)
    policy = run.new_policy((1280, 7, 7), 49)
    weights = fill_rule.filled_weights(run.canonical_shapes(recognizer, policy))
    run.load_policy_weights(policy, weights)
    return run.load_recognizer(config, weights), policy


@pytest.fixture(scope="session")
def shift_recognizer() -> ShiftRecognizer:
    """The published Something-Something networks with the weights of the rule."""
    return shift_run.make_recognizer()


@pytest.fixture(scope="session")
def shift_glance_frames() -> Tensor:
    """Of videos 0 to 5."""
    return shift_run.glance_frames(6)


@pytest.fixture(scope="session")
def shift_focus_frames() -> Tensor:
    """Of videos 0 and 1."""
    return shift_run.focus_frames(2)


@pytest.fixture(scope="session")
def shift_glances(shift_recognizer: ShiftRecognizer, shift_glance_frames: Tensor) -> dict[str, Any]:
    """Section a of videos 0 to 5."""
    return shift_run.run_glances(shift_glance_frames, shift_recognizer)
