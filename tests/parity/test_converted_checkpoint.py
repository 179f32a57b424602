"""A published file of the recorded weights, through `adafocus convert`: the recorded numbers."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import published_run as run
from adafocus_env.networks import Recognizer
from agents.policies.policy_files import load_policy
from fill_rule import POLICY_PREFIX, filled_weights


def _entries(weights):
    """A stage-3 file from weights by canonical key (REFERENCE section 8)."""

    def below(prefix):
        return {n.removeprefix(prefix): v for n, v in weights.items() if n.startswith(prefix)}

    policy = below(POLICY_PREFIX)
    acting = {f"policy.policy_old.{name}": value for name, value in policy.items()}
    return {
        "epoch": 11,
        "glancer": below("glancer."),
        "focuser": {**below("focuser."), **acting},
        "fc": below("classifier."),
        "policy": policy,
        "acc": torch.tensor(74.5),
        "best_acc": torch.tensor(75.0),
    }


@pytest.fixture(scope="module")
def converted(networks, tmp_path_factory):
    """The folder that the command makes."""
    folder = tmp_path_factory.mktemp("converted")
    weights = filled_weights(run.canonical_shapes(*networks))
    torch.save(_entries(weights), folder / "128s3_checkpoint.pth.tar")
    given = ["source=128s3_checkpoint.pth.tar", "target=ours", "output_dir=out"]
    command = [sys.executable, "-m", "train", "convert", "experiment=actnet_patch128", *given]
    done = subprocess.run(
        [*command, "num_frames=4"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "ours"


def test_every_weight_of_a_published_file_arrives(converted, networks):
    loaded = Recognizer.load(converted / "recognizer"), load_policy(converted / "policy").policy
    for got, expected in zip(loaded, networks, strict=True):
        weights = expected.state_dict()
        assert got.state_dict().keys() == weights.keys()
        for name, value in got.state_dict().items():
            assert torch.equal(value, weights[name]), name


def test_a_converted_checkpoint_gives_the_recorded_numbers(converted, networks, case, golden):
    weights = Recognizer.load(converted / "recognizer").state_dict()
    # The recorded frames are normalised already.
    recognizer = run.load_recognizer(networks[0].config, weights)
    policy = load_policy(converted / "policy").policy
    glances = run.run_glances(case, recognizer)
    looks = run.run_looks(case, recognizer)
    acted = run.run_policy(case, policy, glances["map"])
    for name, got in {
        "a_pooled_norm": glances["pooled"].norm(dim=2),
        "a_predict_logits": glances["a_predict_logits"],
        "b_logits": looks["b_logits"],
        "d_action_probs": acted["d_action_probs"],
        "d_values": acted["d_values"],
    }.items():
        expected = golden[name]
        limit = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(got.numpy(), expected, rtol=0.0, atol=limit, err_msg=name)
