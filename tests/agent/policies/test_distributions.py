"""Distributions of actions: numbers worked out by hand, for the grid and for locations."""

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from agents.policies.distributions import (
    LocationDistribution,
    LocationHead,
    inverse_cdf,
    make_action_head,
)

LARGEST_UNIFORM = 1.0 - 2.0**-24  # of torch.rand in float32
# -log(0.25) - log(2 pi) / 2: the largest log-density of a coordinate of deviation 0.25.
PEAK = 0.4673558
# The mean (0.5, 0.5), a sample below the frame's end in its row and beyond it in its column.
MEAN, SAMPLE = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.75, 1.18]])


def _locations(mean=MEAN, *, clip_log_probs=False, std=0.25):
    return LocationDistribution(mean, std, clip_log_probs=clip_log_probs)


@pytest.mark.parametrize(
    ("clip_log_probs", "distance"), [(False, 0.68), (True, 0.5)], ids=["of the sample", "published"]
)
def test_a_sample_beyond_the_frame_counts_where_it_fell_or_as_published_where_it_was_clipped(
    clip_log_probs, distance
):
    # Row: one deviation from the mean. Column: 0.68 / 0.25 of them, or 2 after clipping to 1.
    expected = 2 * PEAK - 0.5 - 0.5 * (distance / 0.25) ** 2
    got = _locations(clip_log_probs=clip_log_probs).log_prob(SAMPLE)
    assert got.shape == (1,)
    assert got.item() == pytest.approx(expected, abs=1e-5)
    assert expected == pytest.approx({0.68: -3.264488, 0.5: -1.565288}[distance], abs=1e-5)
    # Inside the frame both are the same.
    inside = torch.tensor([[0.0, 1.0], [0.5, 0.25]])
    got = _locations(MEAN.expand(2, 2), clip_log_probs=clip_log_probs).log_prob(inside)
    assert got.tolist() == pytest.approx([2 * PEAK - 2.0 - 2.0, 2 * PEAK - 0.5], abs=1e-5)


@pytest.mark.parametrize(
    ("clip_log_probs", "slope"), [(False, 2.72), (True, 2.0)], ids=["of the sample", "published"]
)
def test_the_gradient_pulls_the_mean_to_the_sample_or_as_published_to_the_border(
    clip_log_probs, slope
):
    # (sample - mean) / 0.0625 is 4 and 10.88, or 8 after clipping; a sigmoid at 0 has slope 1/4.
    outputs = torch.zeros(1, 2, requires_grad=True)
    head = LocationHead(0.25, clip_log_probs=clip_log_probs)
    head.distribution(outputs).log_prob(SAMPLE).sum().backward()
    assert outputs.grad.tolist() == [[pytest.approx(1.0), pytest.approx(slope, abs=1e-5)]]


@pytest.mark.parametrize(("std", "entropy"), [(0.25, 0.0652885), (0.1, -1.7672929)])
def test_the_entropy_of_a_location_is_that_of_two_gaussians_wherever_the_mean_is(std, entropy):
    # 2 (1/2 + log(2 pi)/2 + log(std))
    got = _locations(torch.tensor([[0.5, 0.5], [0.0, 1.0]]), std=std).entropy()
    assert got.tolist() == pytest.approx([entropy, entropy], abs=1e-6)
    assert not got.requires_grad


def test_the_mean_is_the_sigmoid_and_the_best_action():
    outputs = torch.tensor([[0.0, math.log(3.0)], [-50.0, 50.0]])
    best = LocationHead(0.25, clip_log_probs=False).distribution(outputs).best()
    torch.testing.assert_close(best, torch.tensor([[0.5, 0.75], [0.0, 1.0]]))
    # Samples go to the environment clipped to the frame.
    samples = torch.tensor([[-0.2, 0.4], [1.18, 1.0]])
    bounded = LocationHead(0.25, clip_log_probs=False).within_bounds(samples)
    torch.testing.assert_close(bounded, torch.tensor([[0.0, 0.4], [1.0, 1.0]]))


def test_uniforms_become_samples_where_the_gaussians_cumulated_probability_is_theirs():
    # 0, 1, -1 and -2 deviations from the mean.
    drawn = _locations().draw(torch.tensor([[0.5, 0.8413447], [0.1586553, 0.0227501]]))
    torch.testing.assert_close(drawn, torch.tensor([[0.5, 0.75], [0.25, 0.0]]), rtol=0, atol=1e-5)
    drawn = _locations().draw(torch.tensor([[0.0, LARGEST_UNIFORM]]))
    # The quantiles of 2^-25 and 1 - 2^-24 lie 5.41998 and 5.29470 deviations away.
    expected = [0.5 - 0.25 * 5.41998, 0.5 + 0.25 * 5.29470]
    assert drawn[0].tolist() == pytest.approx(expected, abs=1e-4)
    assert torch.isfinite(_locations().log_prob(drawn)).all()


@pytest.mark.parametrize("num_actions", [16, 49])
def test_a_grid_takes_one_uniform_and_one_output_a_position(num_actions):
    head = make_action_head(
        spaces.Discrete(num_actions), clamp_probs=False, action_std=0.25, clip_log_probs=False
    )
    assert (head.num_outputs, head.uniform_shape) == (num_actions, ())
    distribution = head.distribution(torch.zeros(2, num_actions))
    assert distribution.entropy().tolist() == pytest.approx([math.log(num_actions)] * 2)
    drawn = distribution.draw(torch.tensor([0.0, LARGEST_UNIFORM]))
    assert drawn.tolist() == [0, num_actions - 1]
    assert head.within_bounds(drawn) is drawn


def test_a_location_takes_two_uniforms_two_outputs_and_a_positive_deviation():
    anywhere = spaces.Box(0.0, 1.0, (2,), np.float32)
    head = make_action_head(anywhere, clamp_probs=True, action_std=0.25, clip_log_probs=False)
    assert (head.num_outputs, head.uniform_shape) == (2, (2,))
    for std in (0.0, -0.1, math.nan):
        with pytest.raises(ValueError, match="action_std must be positive"):
            LocationHead(std, clip_log_probs=False)


def test_the_action_at_a_uniform_is_where_the_cumulated_probabilities_pass_it():
    quarters = [0.25, 0.25, 0.5]
    for uniforms, actions in (((0.0, 0.2499), 0), ((0.25, 0.4999), 1), ((0.5, LARGEST_UNIFORM), 2)):
        drawn = inverse_cdf(torch.tensor([quarters] * 2), torch.tensor(uniforms))
        assert drawn.tolist() == [actions] * 2
    for probs, uniform, action in (
        ([1.0], LARGEST_UNIFORM, 0),
        ([0.0, 0.5, 0.5], 0.0, 1),
        ([0.5, 0.5, 0.0], LARGEST_UNIFORM, 1),
        ([0.5, 0.0, 0.5], 0.5, 2),
    ):
        assert inverse_cdf(torch.tensor(probs), torch.tensor(uniform)).item() == action


def test_probabilities_that_do_not_add_up_to_one_never_give_an_impossible_action():
    for probs in ([0.3, 0.3, 0.3999], [0.5, 0.4999, 0.0]):
        action = inverse_cdf(torch.tensor(probs), torch.tensor(LARGEST_UNIFORM)).item()
        assert probs[int(action)] > 0
    probs = torch.full((3, 49), 1 / 49)
    uniforms = torch.tensor([LARGEST_UNIFORM, 48.5 / 49, 47.5 / 49])
    assert inverse_cdf(probs, uniforms).tolist() == [48, 48, 47]


@given(
    st.lists(st.floats(-60.0, 60.0, width=32), min_size=1, max_size=64),
    st.floats(0.0, LARGEST_UNIFORM, width=32),
)
def test_an_action_drawn_is_never_an_impossible_one(logits, uniform):
    probs = torch.tensor(logits).softmax(dim=0)
    action = inverse_cdf(probs, torch.tensor(uniform))
    assert probs[action] > 0
