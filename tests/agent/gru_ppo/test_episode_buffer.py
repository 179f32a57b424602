"""Returns, advantages and minibatches of whole episodes, worked out by hand."""

import pytest
import torch

from agents.gru_ppo.episode_buffer import (
    EpisodeBuffer,
    discounted_returns,
    gae_advantages,
    minibatches,
)


def _buffer(**settings):
    defaults = {"gamma": 0.5, "gae_lambda": 1.0, "normalize_returns": False}
    return EpisodeBuffer(**{**defaults, **settings})


def _add(buffer, rewards, values):
    buffer.add(
        observations=torch.arange(rewards.numel() * 2.0).view(*rewards.shape, 2),
        actions=torch.ones_like(rewards, dtype=torch.int64),
        log_probs=torch.full_like(rewards, -0.5),
        values=values,
        rewards=rewards,
    )


def test_returns_are_discounted_rewards_to_go():
    # 3; 2 + 3/2; 1 + 3.5/2, and 4; -1 + 4/2; 0 + 1/2
    rewards = torch.tensor([[1.0, 2.0, 3.0], [0.0, -1.0, 4.0]])
    expected = torch.tensor([[2.75, 3.5, 3.0], [0.5, 1.0, 4.0]])
    torch.testing.assert_close(discounted_returns(rewards, 0.5), expected)


@pytest.mark.parametrize(
    ("gae_lambda", "expected"),
    [
        # deltas: 1 + 1/2 - 1/2, 2 + 2/2 - 1, 3 + 0 - 2 = 1, 2, 1
        (0.0, [1.0, 2.0, 1.0]),
        (0.5, [1.5625, 2.25, 1.0]),  # 2 + 1/4; 1 + 2.25/4
        (1.0, [2.25, 2.5, 1.0]),  # the returns 2.75, 3.5, 3 minus the values
    ],
)
def test_advantages_of_one_episode(gae_lambda, expected):
    advantages = gae_advantages(
        torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.5, 1.0, 2.0]]), 0.5, gae_lambda
    )
    torch.testing.assert_close(advantages, torch.tensor([expected]))


def test_normalised_returns_have_the_unbiased_deviation_over_all_steps():
    buffer = _buffer(normalize_returns=True)
    values = torch.tensor([[0.25, 0.0], [0.0, 1.0]])
    _add(buffer, torch.tensor([[1.0, 2.0], [3.0, -2.0]]), values)
    # Returns 2, 2, 2, -2: mean 1, squared deviations 1 + 1 + 1 + 9, over 3: 4.
    expected = torch.tensor([[1.0, 1.0], [1.0, -3.0]]) / (2.0 + 1e-5)
    episodes = buffer.episodes()
    torch.testing.assert_close(episodes.returns, expected, rtol=0.0, atol=1e-7)
    torch.testing.assert_close(episodes.advantages, expected - values, rtol=0.0, atol=1e-7)

    # Equal returns become zero.
    buffer = _buffer(normalize_returns=True, gamma=0.0)
    _add(buffer, torch.full((2, 2), 3.0), torch.zeros(2, 2))
    assert buffer.episodes().returns.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_without_normalisation_values_learn_the_returns():
    buffer = _buffer(gae_lambda=0.5)
    values = torch.tensor([[0.5, 1.0, 2.0]])
    _add(buffer, torch.tensor([[1.0, 2.0, 3.0]]), values)
    episodes = buffer.episodes()
    torch.testing.assert_close(episodes.advantages, torch.tensor([[1.5625, 2.25, 1.0]]))
    torch.testing.assert_close(episodes.returns, torch.tensor([[2.0625, 3.25, 3.0]]))


def test_normalising_returns_with_a_lambda_below_one_and_scaling_twice_are_refused():
    with pytest.raises(ValueError, match="gae_lambda=1"):
        _buffer(normalize_returns=True, gae_lambda=0.95)
    with pytest.raises(ValueError, match="scale twice"):
        _buffer(normalize_returns=True, scale_rewards=True)


def test_rewards_are_divided_by_the_deviation_of_the_rollouts_returns():
    buffer = _buffer(gamma=1.0, gae_lambda=0.5, scale_rewards=True)
    # Returns 4, 0, 0, 0: their standard deviation is 2.
    _add(buffer, torch.tensor([[4.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    episodes = buffer.episodes()
    # Deltas 2 + 1 - 0 and 0 - 1; advantages 3 + 0.5 * -1 and -1.
    expected = torch.tensor([[2.5, -1.0], [0.0, 0.0]])
    torch.testing.assert_close(episodes.advantages, expected, atol=1e-4, rtol=0.0)
    assert episodes.rewards.tolist() == [[4.0, 0.0], [0.0, 0.0]]


def test_centred_advantages_lose_their_mean_over_episodes_at_each_step():
    buffer = _buffer(center_steps=True)
    _add(buffer, torch.tensor([[1.0, 2.0], [3.0, -2.0]]), torch.zeros(2, 2))
    # Returns 2, 2 and 2, -2; means over the episodes 2 and 0.
    episodes = buffer.episodes()
    assert episodes.advantages.tolist() == [[0.0, 2.0], [0.0, -2.0]]
    assert episodes.returns.tolist() == [[2.0, 2.0], [2.0, -2.0]]


def test_episodes_of_several_additions_follow_each_other():
    buffer = _buffer(gamma=0.0)
    _add(buffer, torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2))
    _add(buffer, torch.tensor([[3.0, 4.0], [5.0, 6.0]]), torch.zeros(2, 2))
    episodes = buffer.episodes()
    assert episodes.rewards.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert episodes.observations.shape == (3, 2, 2)
    buffer.reset()
    _add(buffer, torch.tensor([[7.0, 8.0]]), torch.zeros(1, 2))
    assert buffer.episodes().rewards.tolist() == [[7.0, 8.0]]


def _episodes(count):
    buffer = _buffer()
    _add(buffer, torch.arange(2.0 * count).view(count, 2), torch.zeros(count, 2))
    return buffer.episodes()


def test_minibatches_are_whole_episodes_each_once_in_random_order_unless_all_come_at_once():
    for batch_episodes in (None, 5, 64):
        (batch,) = minibatches(_episodes(5), batch_episodes, torch.Generator().manual_seed(0))
        assert batch.rewards[:, 0].tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    orders = set()
    for seed in range(4):
        batches = list(minibatches(_episodes(5), 2, torch.Generator().manual_seed(seed)))
        assert [len(batch.actions) for batch in batches] == [2, 2, 1]
        rewards = torch.cat([batch.rewards for batch in batches])
        assert (rewards[:, 1] - rewards[:, 0]).tolist() == [1.0] * 5
        assert sorted(rewards[:, 0].tolist()) == [0.0, 2.0, 4.0, 6.0, 8.0]
        orders.add(tuple(rewards[:, 0].tolist()))
    assert len(orders) > 1
    episodes = _episodes(4)
    chosen = episodes.select(torch.tensor([3, 1]))
    assert chosen.running is None
    assert chosen.looks_per_frame == 1
    for name, value in vars(chosen).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, vars(episodes)[name][[3, 1]]), name
