"""The published policies of both families under their own names, there and back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from adafocus_env.networks import CheckpointError
from agents.policies.gru_policy import GruActorCriticPolicy
from train.checkpoints.published.policy import policy_to_published, published_policy

FILE = Path("x.pth.tar")
MAPS = spaces.Box(0.0, 6.0, (12, 3, 3), np.float32)
KINDS: dict[str, dict[str, Any]] = {
    "grid": {"num_actions": 81},
    "grid, batch norm": {"num_actions": 16, "batch_norm": True},
    "continuous": {"num_actions": None},
    "continuous, batch norm": {"num_actions": None, "batch_norm": True},
}


def _policy(num_actions, **arguments):
    """With statistics of its own, where it has any."""
    anywhere = spaces.Box(0.0, 1.0, (2,), np.float32)
    torch.manual_seed(0)
    policy = GruActorCriticPolicy(
        MAPS,
        anywhere if num_actions is None else spaces.Discrete(num_actions),
        lambda _: 0.0,
        **{"channels": 4, "hidden_dim": 8, **arguments},
    )
    policy.evaluate_episodes(torch.rand(2, 3, 12, 3, 3))
    return policy


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_keeps_every_bit(changed, kind):
    policy = _policy(**KINDS[kind])
    weights = policy_to_published(policy, FILE, family="temporal_shift")
    back, report = published_policy(weights, MAPS, FILE)
    assert report.complete
    assert not back.training
    assert back.action_space == policy.action_space
    assert back.observation_space == policy.observation_space
    assert not changed(policy, back)


def test_it_comes_back_with_the_published_settings():
    weights = policy_to_published(_policy(None, batch_norm=True), FILE, family="temporal_shift")
    published, _ = published_policy(weights, MAPS, FILE)
    settings = {"batch_norm": True, "action_std": 0.25, "clip_log_probs": True, "channels": 4}
    assert published.arguments().items() >= settings.items()
    other, _ = published_policy(weights, MAPS, FILE, action_std=0.1)
    assert other.arguments()["action_std"] == 0.1


def test_with_batch_normalisation_the_file_has_21_names_and_without_11():
    # As published: 2 and 5 buffers and weights of batch normalisation more.
    of_norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    of_gru = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    heads = [f"gru.{name}" for name in of_gru]
    heads += [f"{head}.0.{name}" for head in ("actor", "critic") for name in ("weight", "bias")]
    with_norm = [
        "state_encoder.0.weight",
        *(f"state_encoder.{place}.{name}" for place in (1, 5) for name in of_norm),
        *("state_encoder.4.weight", "state_encoder.4.bias"),
    ]
    without = ["state_encoder.0.weight", "state_encoder.3.weight", "state_encoder.3.bias"]
    for batch_norm, names, count in ((True, with_norm, 21), (False, without, 11)):
        policy = _policy(None, batch_norm=batch_norm)
        weights = policy_to_published(policy, FILE, family="temporal_shift")
        assert set(weights) == {*names, *heads}
        assert len(weights) == count
    assert weights["actor.0.weight"].shape == (2, 8)
    assert weights["state_encoder.3.weight"].shape == (8, 4 * 9)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("continuous", r"acts on a grid; train it with locations=grid"),
        ("grid, batch norm", r"no batch normalisation; .*batch_norm=false"),
    ],
)
def test_the_activitynet_familys_files_cannot_hold_what_its_network_has_not(kind, why):
    with pytest.raises(CheckpointError, match=why):
        policy_to_published(_policy(**KINDS[kind]), FILE)


SPATIAL = {
    "head": "spatial",
    "patch_grid": {"grid_size": 4, "frame_size": 16, "patch_size": 6},
}


@pytest.mark.parametrize("arguments", [SPATIAL, {"recurrent": False}], ids=["head", "no memory"])
def test_no_published_file_holds_another_head_or_a_policy_without_memory(arguments):
    for family in ("recurrent", "temporal_shift"):
        with pytest.raises(CheckpointError, match=r"has free logits and a GRU; .*head=flat"):
            policy_to_published(_policy(16, **arguments), FILE, family=family)


def test_outputs_that_are_no_grid_and_no_location_are_refused():
    weights = policy_to_published(_policy(16), FILE)
    weights["actor.0.weight"] = weights["actor.0.weight"][:15]
    with pytest.raises(CheckpointError, match="15 actions, which is no square grid"):
        published_policy(weights, MAPS, FILE)


def test_maps_of_another_number_of_divisions_are_refused():
    weights = policy_to_published(_policy(None, batch_norm=True), FILE, family="temporal_shift")
    half = spaces.Box(0.0, 6.0, (6, 3, 3), np.float32)
    with pytest.raises(CheckpointError, match="sees glance maps of 12 channels and 9 positions"):
        published_policy(weights, half, FILE)


@pytest.mark.parametrize("name", ["state_encoder.5.running_var", "critic.0.bias"])
def test_a_missing_weight_is_reported(name):
    weights = policy_to_published(_policy(None, batch_norm=True), FILE, family="temporal_shift")
    del weights[name]
    _, report = published_policy(weights, MAPS, FILE)
    assert not report.complete
    assert name in str(report)
