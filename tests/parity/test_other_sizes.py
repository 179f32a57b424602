"""The parity computations on other weights, inputs and sizes: every part agrees with the others."""

import zlib

import pytest
import torch

import fill_rule
import published_run as run
import stage_runs
from given_case import make_case, normalised_config
from published_policy import new_policy

# Videos, frames, side, patch, grid; glances at half the side.
B, T, SIDE, PATCH, GRID = 3, 5, 56, 24, 5


@pytest.fixture(scope="module")
def case():
    actions = torch.arange(T * B).view(T, B) * 7 % GRID**2
    return make_case(B, T, SIDE, PATCH, GRID, labels=[2, 0, 5], actions=actions)


@pytest.fixture(scope="module")
def networks():
    config = normalised_config(
        class_names=tuple("abcdef"), num_frames=T, frame_size=SIDE, patch_size=PATCH,
        glance_size=28, glancer="mobilenet_v2_small", focuser="resnet_small", hidden_dim=20,
        dropout=0.0,
    )  # fmt: skip
    given = {"key_prefix": fill_rule.POLICY_PREFIX, "seed": "another model: "}
    policy = new_policy((48, 7, 7), GRID**2, channels=6, hidden_dim=24, **given)
    return run.make_recognizer(config, seed="another model: "), policy


def _cut(case, offsets):
    """`(B * T, 3, P, P)` by slicing; offsets `(B, T, 2)`."""
    return torch.stack(
        [
            case.frames[b, t, :, top : top + PATCH, left : left + PATCH]
            for b in range(B)
            for t in range(T)
            for top, left in [offsets[b, t].tolist()]
        ]
    )


def test_the_hash_is_that_of_32_bit_integers():
    values = fill_rule.hashed("some.key", 1000)
    for i in (1, 2, 999, 1000):
        u = (i * 2654435761 + zlib.crc32(b"some.key")) % 2**32
        u ^= u >> 16
        u = u * 2246822519 % 2**32
        u ^= u >> 13
        u = u * 3266489917 % 2**32
        u ^= u >> 16
        assert values[i - 1] == u / 2147483648 - 1


def test_stage_1_classifies_the_patches_at_its_offsets(case, networks):
    recognizer = networks[0]
    got = stage_runs.stage1_logits(case, recognizer)
    with torch.no_grad():
        patches = recognizer.focuser.focus(_cut(case, case.stage1_offsets)).view(B, T, -1)
        pooled = run.run_glances(case, recognizer)["pooled"]
        expected = recognizer.classify_sequence(pooled, patches)[0]
    torch.testing.assert_close(got, expected, rtol=0.0, atol=1e-4)


def test_evaluation_and_stage_3_see_the_same_logits(case, networks):
    recognizer, policy = networks
    judged = run.evaluate_policy(case, recognizer, policy)
    training = stage_runs.stage3_logits(case, recognizer, policy)
    torch.testing.assert_close(torch.from_numpy(judged.logits), training, rtol=0.0, atol=1e-4)
