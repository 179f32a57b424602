"""Actions from uniform numbers: where the cumulated probabilities pass them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.policies.distributions import inverse_cdf

LARGEST_UNIFORM = 1.0 - 2.0**-24  # of torch.rand in float32


@pytest.mark.parametrize(
    ("probs", "uniform", "action"),
    [
        ([0.25, 0.25, 0.5], 0.0, 0),
        ([0.25, 0.25, 0.5], 0.2499, 0),
        ([0.25, 0.25, 0.5], 0.25, 1),
        ([0.25, 0.25, 0.5], 0.4999, 1),
        ([0.25, 0.25, 0.5], 0.5, 2),
        ([0.25, 0.25, 0.5], LARGEST_UNIFORM, 2),
        ([1.0], LARGEST_UNIFORM, 0),
        ([0.0, 0.5, 0.5], 0.0, 1),
        ([0.5, 0.5, 0.0], LARGEST_UNIFORM, 1),
        ([0.5, 0.0, 0.5], 0.5, 2),
    ],
)
def test_action_at_a_uniform(probs, uniform, action):
    assert inverse_cdf(torch.tensor([probs]), torch.tensor([uniform])).tolist() == [action]


@pytest.mark.parametrize("probs", [[0.3, 0.3, 0.3999], [0.5, 0.4999, 0.0]], ids=str)
def test_probabilities_that_add_up_to_less_than_one_never_give_an_impossible_action(probs):
    action = inverse_cdf(torch.tensor(probs), torch.tensor(LARGEST_UNIFORM)).item()
    assert probs[int(action)] > 0


def test_49_equal_probabilities_give_the_last_action_last():
    probs = torch.full((3, 49), 1 / 49)
    uniforms = torch.tensor([LARGEST_UNIFORM, 48.5 / 49, 47.5 / 49])
    assert inverse_cdf(probs, uniforms).tolist() == [48, 48, 47]


def test_evenly_spread_uniforms_give_actions_as_often_as_they_are_probable():
    probs = torch.tensor([0.1, 0.0, 0.65, 0.25])
    uniforms = (torch.arange(1000) + 0.5) / 1000
    counts = inverse_cdf(probs.expand(1000, 4), uniforms).bincount(minlength=4)
    assert counts.tolist() == [100, 0, 650, 250]


def test_whole_episodes_are_drawn_as_their_steps_are():
    generator = torch.Generator().manual_seed(0)
    probs = torch.rand(4, 6, 9, generator=generator).softmax(dim=-1)
    uniforms = torch.rand(4, 6, generator=generator)
    steps = [inverse_cdf(probs[:, t], uniforms[:, t]) for t in range(6)]
    assert torch.equal(inverse_cdf(probs, uniforms), torch.stack(steps, dim=1))


@given(
    st.lists(st.floats(-60.0, 60.0, width=32), min_size=1, max_size=64),
    st.floats(0.0, LARGEST_UNIFORM, width=32),
)
def test_an_action_drawn_is_never_an_impossible_one(logits, uniform):
    probs = torch.tensor(logits).softmax(dim=0)
    action = inverse_cdf(probs, torch.tensor(uniform))
    assert probs[action] > 0
