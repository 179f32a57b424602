"""What the published policies of both families share: their weights, and one update."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

import fill_rule
from agents.gru_ppo.algorithm import GruPPO
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.sb3.registry import algorithm_arguments
from train.checkpoints.published.policy import published_policy_names


def new_policy(map_shape, num_actions, *, key_prefix, seed="", **sizes):
    """A policy as the preset `paper` makes it, with the weights of the rule.

    Args:
        map_shape: `(C, h, w)`.
        num_actions: A; None is continuous locations.
        key_prefix: of the policy's weights in the rule.
        seed: as of `fill_rule.filled`.
        **sizes: arguments of the policy.
    """
    arguments = algorithm_arguments("gru_ppo", "paper", {"policy_kwargs": sizes})
    anywhere = spaces.Box(0.0, 1.0, (2,), np.float32)
    policy = GruActorCriticPolicy(
        spaces.Box(0.0, 6.0, map_shape, np.float32),
        anywhere if num_actions is None else spaces.Discrete(num_actions),
        lambda _: arguments["learning_rate"],
        **arguments["policy_kwargs"],
    )
    state = policy.state_dict()
    for published, ours in published_policy_names(policy).items():
        state[ours] = fill_rule.filled(key_prefix + published, state[ours].shape, seed=seed)
    policy.load_state_dict(state)
    policy.set_training_mode(False)
    return policy


def parameter_names(policy):
    """Published names of the parameters, without statistics, in their order -> ours."""
    parameters = dict(policy.named_parameters())
    return {name: own for name, own in published_policy_names(policy).items() if own in parameters}


def uniforms_for(probs, actions):
    """Uniforms for which the inverse CDF of `probs (..., A)` gives `actions (...)`."""
    upper = probs.cumsum(dim=-1).gather(-1, actions[..., None])[..., 0]
    return upper - probs.gather(-1, actions[..., None])[..., 0] / 2


class _SpacesOnly(gym.Env):
    """What `GruPPO` must know of an environment when its rollouts are given."""

    def __init__(self, policy, num_decisions):
        self.observation_space = policy.observation_space
        self.action_space = policy.action_space
        self.num_decisions = num_decisions


def make_learner(policy, num_decisions, num_rows=1):
    """`GruPPO` of the preset `paper` with a copy of the policy's weights and a new Adam."""
    names = ("channels", "hidden_dim", "batch_norm", "action_std")
    sizes = {name: policy.arguments()[name] for name in names}
    arguments = algorithm_arguments("gru_ppo", "paper", {"policy_kwargs": sizes})
    env = DummyVecEnv([lambda: _SpacesOnly(policy, num_decisions)] * num_rows)
    learner = GruPPO(env=env, seed=0, device="cpu", **arguments)
    learner.policy.load_state_dict(policy.state_dict())
    learner.set_logger(Logger(folder=None, output_formats=[]))
    return learner


def learn_once(learner, **episodes):
    """One update from whole episodes `(B, T, ...)`, given as `EpisodeBuffer.add` takes them.

    Returns:
        `loss`, `mse`, `policy_loss` and `returns (B, T)`; and by the parameters' published names
        `grad`, `param` and `delta`, what the update has added.
    """
    parameters = dict(learner.policy.named_parameters())
    before = {name: value.detach().clone() for name, value in parameters.items()}
    buffer = learner.rollout_buffer
    buffer.reset()
    buffer.add(**episodes)
    learner.train()
    logged = learner.logger.name_to_value
    results = {
        "loss": logged["train/loss"],
        "mse": logged["train/value_loss"],
        "policy_loss": logged["train/policy_gradient_loss"],
        "returns": buffer.episodes().returns,
    }
    moved = {}
    for published, name in parameter_names(learner.policy).items():
        value = parameters[name].detach().clone()
        grad, delta = parameters[name].grad.clone(), value - before[name]
        moved[published] = {"grad": grad, "param": value, "delta": delta}
    return results, moved
