"""The published policies of both families under their own names, there and back."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

from adafocus_env.networks import CheckpointError
from train.checkpoints.published.policy import policy_to_published, published_policy

FILE = Path("x.pth.tar")
MAPS = spaces.Box(0.0, 6.0, (12, 3, 3), np.float32)
KINDS = {
    "grid": {"num_actions": 81},
    "grid, batch norm": {"num_actions": 16, "batch_norm": True},
    "continuous": {"num_actions": None},
    "continuous, batch norm": {"num_actions": None, "batch_norm": True},
}


@pytest.fixture
def policy(small_policy):
    """Makes one of a kind, with statistics of its own, where it has any."""

    def make(kind):
        made = small_policy(shape=MAPS.shape, **KINDS[kind])
        made.evaluate_episodes(torch.rand(2, 3, 12, 3, 3))
        return made

    return make


@pytest.fixture
def weights(policy):
    """The published weights of a continuous policy with batch normalisation."""
    made = policy("continuous, batch norm")
    return policy_to_published(made, FILE, family="temporal_shift")


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_keeps_every_bit(policy, changed, kind):
    made = policy(kind)
    weights = policy_to_published(made, FILE, family="temporal_shift")
    back, report = published_policy(weights, MAPS, FILE)
    assert report.complete
    assert not back.training
    assert back.action_space == made.action_space
    assert back.observation_space == made.observation_space
    assert not changed(made, back)


def test_it_comes_back_with_the_published_settings(weights):
    published, _ = published_policy(weights, MAPS, FILE)
    settings = {"batch_norm": True, "action_std": 0.25, "clip_log_probs": True, "channels": 4}
    assert published.arguments().items() >= settings.items()
    other, _ = published_policy(weights, MAPS, FILE, action_std=0.1)
    assert other.arguments()["action_std"] == 0.1


def test_with_batch_normalisation_the_file_has_21_names_and_without_11(policy, weights):
    # As published: 2 and 5 buffers and weights of batch normalisation more.
    of_norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    of_gru = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    heads = [f"gru.{name}" for name in of_gru]
    heads += [f"{head}.0.{name}" for head in ("actor", "critic") for name in ("weight", "bias")]
    norms = [f"state_encoder.{place}.{name}" for place in (1, 5) for name in of_norm]
    first, *linear = "state_encoder.0.weight", "state_encoder.4.weight", "state_encoder.4.bias"
    assert set(weights) == {first, *norms, *linear, *heads}
    assert len(weights) == 21
    without = policy_to_published(policy("continuous"), FILE, family="temporal_shift")
    assert set(without) == {first, "state_encoder.3.weight", "state_encoder.3.bias", *heads}
    assert len(without) == 11
    assert without["actor.0.weight"].shape == (2, 8)
    assert without["state_encoder.3.weight"].shape == (8, 4 * 9)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("continuous", r"acts on a grid; train it with locations=grid"),
        ("grid, batch norm", r"no batch normalisation; .*batch_norm=false"),
    ],
)
def test_the_activitynet_familys_files_cannot_hold_what_its_network_has_not(policy, kind, why):
    with pytest.raises(CheckpointError, match=why):
        policy_to_published(policy(kind), FILE)


SPATIAL = {"head": "spatial", "patch_grid": {"grid_size": 4, "frame_size": 16, "patch_size": 6}}


@pytest.mark.parametrize("arguments", [SPATIAL, {"recurrent": False}], ids=["head", "no memory"])
def test_no_published_file_holds_another_head_or_a_policy_without_memory(small_policy, arguments):
    made = small_policy(16, MAPS.shape, **arguments)
    for family in ("recurrent", "temporal_shift"):
        with pytest.raises(CheckpointError, match=r"has free logits and a GRU; .*head=flat"):
            policy_to_published(made, FILE, family=family)


def test_outputs_that_are_no_grid_and_other_maps_are_refused(policy, weights):
    grid = policy_to_published(policy("grid"), FILE)
    grid["actor.0.weight"] = grid["actor.0.weight"][:15]
    with pytest.raises(CheckpointError, match="15 actions, which is no square grid"):
        published_policy(grid, MAPS, FILE)
    half = spaces.Box(0.0, 6.0, (6, 3, 3), np.float32)
    with pytest.raises(CheckpointError, match="sees glance maps of 12 channels and 9 positions"):
        published_policy(weights, half, FILE)


@pytest.mark.parametrize("name", ["state_encoder.5.running_var", "critic.0.bias"])
def test_a_missing_weight_is_reported(weights, name):
    del weights[name]
    _, report = published_policy(weights, MAPS, FILE)
    assert not report.complete
    assert name in str(report)
