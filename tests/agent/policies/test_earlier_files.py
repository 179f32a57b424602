"""Policies that were written before `policy.json` said whether a policy sees the cost of a look."""

from pathlib import Path

import pytest
import torch

from agents.policies.policy_files import load_policy

EARLIER = Path(__file__).with_name("earlier")


# The numbers were recorded from the tree that wrote the files (channels=4, hidden_dim=8, seed 0).
@pytest.mark.parametrize(
    ("name", "channels", "sees_cost", "values", "best"),
    [
        ("grid", 6, False, [0.314438224, 0.325500041, 0.257521272], [13, 6, 6]),
        ("told_the_cost", 7, True, [-0.343490630, -0.439979702, -0.497386396], [22, 22, 22]),
    ],
)
def test_an_earlier_policy_loads_and_acts_as_it_did(name, channels, sees_cost, values, best):
    glances = 6  # of the recognizer: the second file's maps have one more, the price
    policy = load_policy(EARLIER / name, glance_channels=glances).policy
    assert policy.sees_cost is sees_cost
    shape = (2, 3, channels, 3, 3)
    observations = torch.arange(2 * 3 * channels * 9, dtype=torch.float32).view(shape) % 7 * 0.9
    distribution, found = policy.evaluate_episodes(observations)
    assert found[1].tolist() == pytest.approx(values, abs=1e-6)
    assert distribution.best()[1].tolist() == best
