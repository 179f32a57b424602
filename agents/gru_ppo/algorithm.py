"""GruPPO: PPO whose recurrent policy is trained on whole episodes."""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule, explained_variance
from stable_baselines3.common.vec_env import VecEnv, VecMonitor
from torch import Tensor
from torch.nn import functional as F

from agents.gru_ppo.episode_buffer import EpisodeBuffer, Episodes, minibatches
from agents.gru_ppo.process_group import ONE_PROCESS, ProcessGroup
from agents.gru_ppo.rollout_cache import (
    RolloutCache,
    check_one_batch,
    rollout_statistics,
    trains_as_it_acts,
)
from agents.gru_ppo.video_schedule import VideoSchedule
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.sb3.vec_env import Sb3VecEnvAdapter

log = logging.getLogger(__name__)


class GruPPO(PPO):
    """SB3's PPO for environments whose episodes all last T steps.

    A rollout is whole episodes; so is a minibatch. The GRU runs over each of them from the zero
    state, with gradients through all T steps, without padding, masks or stored states. Where the
    environment can play whole episodes at once (`Sb3VecEnvAdapter` over a
    `PatchLocalizationVectorEnv`, with at most a `VecMonitor` around it), all actions of a rollout
    are drawn from one pass of the policy; elsewhere it steps. Both ways give the same rollout.

    In continuous locations the buffer keeps the samples as drawn and the environment gets them
    clipped to the frame. A policy with batch normalisation acts and learns by the statistics of the
    rollout's own frames; its running statistics, for evaluation, move once an update.

    The defaults are the published update (REFERENCE section 4, preset `paper`), but for the
    policy's `clip_log_probs`.

    Args:
        policy: `"GruPolicy"` or a subclass of `GruActorCriticPolicy`.
        env: its `num_decisions` says T.
        learning_rate: of Adam, or a schedule.
        episodes_per_row: whole episodes that each row contributes to a rollout.
        batch_episodes: episodes in a minibatch; None takes the whole rollout at once.
        n_epochs: passes over a rollout.
        gamma: discount.
        gae_lambda: 1 gives plain returns.
        clip_range: of the probability ratio, or a schedule.
        normalize_returns: standardise returns over the rollout; needs `gae_lambda=1`.
        scale_rewards: divide rewards by the rollout's standard deviation of returns instead.
        center_steps: subtract from advantages their mean over the rollout's episodes at each step.
        normalize_advantage: standardise advantages over each minibatch.
        ent_coef: weight of the entropy bonus, or a schedule.
        vf_coef: weight of the value loss.
        max_grad_norm: clip gradients to this norm; None does not.
        target_kl: stop a rollout's epochs beyond 1.5 times this divergence.
        shuffle_videos: show every training video once an epoch across all rows (and processes),
            where the environment can be told which to show.
        ranks: processes that train this policy together, each with as many rows. Gradients are
            averaged, returns normalised and videos dealt over all of them; `batch_episodes` counts
            the episodes of all.
        stats_window_size: as in SB3.
        tensorboard_log: as in SB3.
        policy_kwargs: as in SB3.
        verbose: as in SB3.
        seed: of actions, minibatches, videos and new weights.
        device: as in SB3.

    Raises:
        ValueError: settings that contradict each other, an environment without fixed episodes, or
            one with which batch normalisation would act and learn differently.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"GruPolicy": GruActorCriticPolicy}
    policy: GruActorCriticPolicy  # type: ignore[assignment]
    rollout_buffer: EpisodeBuffer  # type: ignore[assignment]

    def __init__(
        self,
        policy: str | type[GruActorCriticPolicy] = "GruPolicy",
        env: GymEnv | str | None = None,
        learning_rate: float | Schedule = 3e-4,
        *,
        episodes_per_row: int = 1,
        batch_episodes: int | None = None,
        n_epochs: int = 1,
        gamma: float = 0.7,
        gae_lambda: float = 1.0,
        clip_range: float | Schedule = 0.2,
        normalize_returns: bool = True,
        scale_rewards: bool = False,
        center_steps: bool = False,
        normalize_advantage: bool = False,
        ent_coef: float | Schedule = 0.01,
        vf_coef: float = 0.5,
        max_grad_norm: float | None = None,
        target_kl: float | None = None,
        shuffle_videos: bool = True,
        ranks: ProcessGroup = ONE_PROCESS,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ):
        # Not PPO's own constructor: it checks batch sizes counted in steps, and ours are episodes.
        OnPolicyAlgorithm.__init__(
            self,
            policy,  # type: ignore[arg-type]
            env,  # type: ignore[arg-type]
            learning_rate=learning_rate,
            n_steps=0,
            gamma=gamma,
            gae_lambda=gae_lambda,
            ent_coef=0.0,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,  # type: ignore[arg-type]
            use_sde=False,
            sde_sample_freq=-1,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=False,
            supported_action_spaces=(spaces.Discrete, spaces.Box),
        )
        for name, value in {
            "episodes_per_row": episodes_per_row,
            "batch_episodes": batch_episodes,
            "n_epochs": n_epochs,
        }.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if batch_episodes is not None and batch_episodes % ranks.count:
            raise ValueError(
                f"batch_episodes={batch_episodes} cannot be shared by {ranks.count} processes; "
                f"use a multiple of {ranks.count}"
            )
        self.ranks = ranks
        self.episodes_per_row = episodes_per_row
        self.batch_episodes = batch_episodes
        self.n_epochs = n_epochs
        self.clip_range = clip_range
        self.clip_range_vf = None
        self.ent_coef = ent_coef  # type: ignore[assignment]
        self.normalize_returns = normalize_returns
        self.scale_rewards = scale_rewards
        self.center_steps = center_steps
        self.normalize_advantage = normalize_advantage
        self.target_kl = target_kl
        self.shuffle_videos = shuffle_videos
        self._schedule: VideoSchedule | None = None
        if _init_setup_model:
            self._setup_model()

    def _attach_env(self, env: VecEnv) -> None:
        """Learn the length of the episodes, and say which way rollouts are collected."""
        try:
            self.num_decisions = int(env.get_attr("num_decisions")[0])
        except AttributeError:
            raise ValueError(
                "GruPPO needs episodes of a fixed length: an environment with `num_decisions`"
            ) from None
        self.n_steps = self.episodes_per_row * self.num_decisions
        plays = _native(env) is not None
        if self.policy.batch_norm:
            check_one_batch(
                num_rows=env.num_envs,
                num_decisions=self.num_decisions,
                episodes_per_row=self.episodes_per_row,
                batch_episodes=self.batch_episodes,
                num_processes=self.ranks.count,
                plays=plays,
            )
        way = "plays whole episodes" if plays else "steps, because a wrapper lies between"
        log.info("GruPPO %s", way)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Train on another environment of the same spaces from now on."""
        super().set_env(env, force_reset)
        assert self.env is not None
        self._attach_env(self.env)
        self._schedule = None

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        self.rollout_buffer = EpisodeBuffer(
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            normalize_returns=self.normalize_returns,
            center_steps=self.center_steps,
            scale_rewards=self.scale_rewards,
            ranks=self.ranks,
        )
        policy = self.policy_class(
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        )
        self.policy = policy.to(self.device)  # type: ignore[assignment]
        if self.env is not None:
            self._attach_env(self.env)
        self.clip_range = FloatSchedule(self.clip_range)
        self.ent_coef = FloatSchedule(self.ent_coef)  # type: ignore[assignment]
        # On the CPU, so that the same seed gives the same actions on every device.
        self._generator = torch.Generator()
        self._generator.manual_seed(
            self.seed if self.seed is not None else int(np.random.default_rng().integers(2**62))
        )

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[int, BaseCallback]:
        if reset_num_timesteps or self._last_obs is None:  # then the environment is reset
            self._schedule_videos()
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, *args, **kwargs)

    def collect_rollouts(  # type: ignore[override]
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: EpisodeBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Fill the buffer with whole episodes of every row.

        Returns:
            False if the callback ended training.
        """
        self.policy.set_training_mode(False)
        self.policy.optimizer.zero_grad()  # the gradients' memory is for the rollout
        rollout_buffer.reset()
        callback.on_rollout_start()
        native = _native(env)
        for _ in range(n_rollout_steps // self.num_decisions):
            # Drawn for all processes by each: as many of them draw the same as one alone.
            shape = (self.ranks.count * env.num_envs, self.num_decisions)
            drawn = torch.rand(*shape, *self.policy.head.uniform_shape, generator=self._generator)
            uniforms = self.ranks.own(drawn).to(self.device)
            self._schedule_videos()
            if native is not None:
                going_on = self._play(native, callback, rollout_buffer, uniforms)
            else:
                going_on = self._step(env, callback, rollout_buffer, uniforms)
            if not going_on:
                return False
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    @torch.no_grad()
    def _play(
        self, env: Sb3VecEnvAdapter, callback: BaseCallback, buffer: EpisodeBuffer, uniforms: Tensor
    ) -> bool:
        """One whole episode of every row, in one pass of the policy."""
        observations = env.observe_episode().to(self.device)
        self._fit_scale_once(observations[:, 0])
        if self._first_batch_is_this_pass():
            buffer.rollout_cache = kept = RolloutCache(self.policy, observations)
            distribution, values = kept.distribution, kept.values
        else:
            with rollout_statistics(self.policy):
                distribution, values = self.policy.evaluate_episodes(observations)
        actions = distribution.draw(uniforms)
        result = env.play(self.policy.head.within_bounds(actions))
        rewards = result.rewards.to(self.device)
        buffer.add(
            observations=observations,
            actions=actions,
            log_probs=distribution.log_prob(actions),
            values=values.detach(),
            rewards=rewards,
        )
        episode_infos = [
            {
                "episode": {"r": total, "l": self.num_decisions, "t": self._elapsed()},
                "is_success": bool(success),
            }
            for total, success in zip(
                rewards.sum(dim=1).tolist(), result.infos["is_success"], strict=True
            )
        ]
        # Callbacks see what they would see when stepping, after the fact.
        step_rewards = rewards.cpu().numpy()
        for t in range(self.num_decisions):
            last = t == self.num_decisions - 1
            dones = np.full(env.num_envs, last)
            infos = episode_infos if last else [{} for _ in range(env.num_envs)]
            self.num_timesteps += env.num_envs
            callback.update_locals({**locals(), "rewards": step_rewards[:, t]})
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
        return True

    @torch.no_grad()
    def _step(
        self, env: VecEnv, callback: BaseCallback, buffer: EpisodeBuffer, uniforms: Tensor
    ) -> bool:
        """One whole episode of every row, step by step.

        Raises:
            RuntimeError: an episode ended early or late.
        """
        state = self.policy.initial_state(env.num_envs)
        starts = torch.ones(env.num_envs, dtype=torch.bool, device=self.device)
        steps: dict[str, list[Tensor]] = defaultdict(list)
        for t in range(self.num_decisions):
            assert isinstance(self._last_obs, np.ndarray)
            observations = torch.as_tensor(self._last_obs, device=self.device)
            self._fit_scale_once(observations)
            with rollout_statistics(self.policy):
                step = self.policy.step(observations, state, starts, uniforms=uniforms[:, t])
            state, starts = step.policy_state, torch.zeros_like(starts)
            actions = self.policy.head.within_bounds(step.actions)
            new_obs, rewards, dones, infos = env.step(actions.cpu().numpy())
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                self._last_obs = None  # within an episode: learning on begins with a reset
                return False
            if bool(dones.any()) != (t == self.num_decisions - 1) or dones.any() != dones.all():
                raise RuntimeError(
                    f"GruPPO expects every episode to last {self.num_decisions} steps, but after "
                    f"step {t + 1} the environment says done={dones.tolist()}"
                )
            self._update_info_buffer(infos, dones)
            steps["observations"].append(observations)
            steps["actions"].append(step.actions)
            steps["log_probs"].append(step.log_probs)
            steps["values"].append(step.values)
            steps["rewards"].append(torch.as_tensor(rewards, device=self.device))
            self._last_obs = new_obs  # type: ignore[assignment]
        buffer.add(**{name: torch.stack(parts, dim=1) for name, parts in steps.items()})
        return True

    def train(self) -> None:
        """One PPO update from the rollout."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        clip_range = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        episodes = self.rollout_buffer.episodes()
        logs: dict[str, list[float]] = defaultdict(list)
        for _ in range(self.n_epochs):
            if not self._train_epoch(episodes, clip_range, logs):
                break
            self._n_updates += 1
        for name, values in logs.items():
            self.logger.record(f"train/{name}", float(np.mean(values)))
        explained = explained_variance(
            episodes.old_values.flatten().cpu().numpy(), episodes.returns.flatten().cpu().numpy()
        )
        self.logger.record("train/explained_variance", explained)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("rollout/reward_mean", float(episodes.rewards.mean()))

    def _train_epoch(
        self, episodes: Episodes, clip_range: float, logs: dict[str, list[float]]
    ) -> bool:
        """One pass over the rollout; False if the policy has moved too far."""
        own_batch = self.batch_episodes and self.batch_episodes // self.ranks.count
        for batch in minibatches(episodes, own_batch, self._generator):
            loss = self._loss(batch, clip_range, logs)
            if self.target_kl is not None:
                divergence = self.ranks.mean(logs["approx_kl"][-1])
                if divergence > 1.5 * self.target_kl:
                    return False
            self.policy.optimizer.zero_grad()
            loss.backward()
            self.ranks.average_gradients(self.policy.parameters())
            if self.max_grad_norm is not None:
                torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
        return True

    def _loss(self, batch: Episodes, clip_range: float, logs: dict[str, list[float]]) -> Tensor:
        """Clipped surrogate, value error and entropy bonus, mean over all steps."""
        kept = self.rollout_buffer.rollout_cache
        if kept is not None and kept.take(batch.observations):
            distribution, values = kept.distribution, kept.values
        else:
            distribution, values = self.policy.evaluate_episodes(batch.observations)
        log_probs = distribution.log_prob(batch.actions)
        advantages = batch.advantages
        if self.normalize_advantage and advantages.numel() > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        log_ratio = log_probs - batch.old_log_probs
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
        policy_loss = -torch.min(ratio * advantages, clipped * advantages).mean()
        value_loss = F.mse_loss(values, batch.returns)
        entropy = distribution.entropy().mean()
        ent_coef = self.ent_coef(self._current_progress_remaining)  # type: ignore[operator]
        loss: Tensor = policy_loss + self.vf_coef * value_loss - ent_coef * entropy
        if not bool(torch.isfinite(loss)):
            raise FloatingPointError(
                f"the loss became {loss.item()} (policy {policy_loss.item()}, value "
                f"{value_loss.item()}); lower the learning rate"
            )
        with torch.no_grad():
            logs["loss"].append(loss.item())
            logs["policy_gradient_loss"].append(policy_loss.item())
            logs["value_loss"].append(value_loss.item())
            logs["entropy"].append(entropy.item())
            logs["clip_fraction"].append(((ratio - 1).abs() > clip_range).float().mean().item())
            logs["approx_kl"].append((ratio - 1 - log_ratio).mean().item())
        return loss

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "GruPPO",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> GruPPO:
        """Train; as in SB3. Steps are counted in whole rollouts."""
        super().learn(
            total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
        )
        return self

    def _schedule_videos(self) -> None:
        """Tell the environment which videos to show after the next reset, if it can be told."""
        if self._schedule is None:
            self._schedule = self._new_schedule()
        if self._schedule is not None:
            assert self.env is not None
            own = np.split(self._schedule.next(), self.ranks.count)[self.ranks.rank]
            self.env.env_method("schedule_videos", own)

    def _new_schedule(self) -> VideoSchedule | None:
        if not self.shuffle_videos or self.env is None or not self.env.has_attr("schedule_videos"):
            return None
        videos = self.env.get_attr("num_videos")[0]
        return VideoSchedule(videos, self.ranks.count * self.env.num_envs, self.seed or 0)

    def _fit_scale_once(self, observations: Tensor) -> None:
        """Standardise by the first observations `(N, ...)` of all processes."""
        if not bool(self.policy.scale_is_fitted):
            self.policy.fit_scale_once(self.ranks.gather(observations))

    def training_state(self) -> dict[str, Any]:
        """Everything that training on needs, between two rollouts: tensors and JSON types.

        The environment's part is this process's own; the rest is the same in all processes.
        """
        assert self.env is not None
        return {
            "policy": self.policy.state_dict(),
            "optimizer": self.policy.optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "schedule": None if self._schedule is None else json.dumps(self._schedule.state()),
            "num_timesteps": self.num_timesteps,
            "n_updates": self._n_updates,
            "env": json.dumps(self.env.env_method("row_states")[0]),
        }

    def restore_training_state(self, state: dict[str, Any]) -> None:
        """Go on from what `training_state` returned, with `learn(..., reset_num_timesteps=False)`.

        The algorithm must have been made with the same arguments and the same environment.
        """
        assert self.env is not None
        self.env.reset()  # wrappers count episodes from here
        self.policy.load_state_dict(state["policy"])
        self.policy.optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"])
        self._schedule = self._new_schedule()
        if self._schedule is not None:
            self._schedule.restore(json.loads(state["schedule"]))
        self.num_timesteps = state["num_timesteps"]
        self._n_updates = state["n_updates"]
        rows = json.loads(state["env"])
        self._last_obs = self.env.env_method("restore_rows", rows)[0]
        self._last_episode_starts = np.ones(self.env.num_envs, dtype=bool)

    def _elapsed(self) -> float:
        return round((time.time_ns() - self.start_time) / 1e9, 6)

    def _first_batch_is_this_pass(self) -> bool:
        """Whether training begins with all the episodes that one pass acted in."""
        batch = self.batch_episodes
        whole = batch is None or batch >= self.ranks.count * self.n_envs
        return whole and self.episodes_per_row == 1 and trains_as_it_acts(self.policy)

    def _excluded_save_params(self) -> list[str]:
        # `_last_obs` would add the observations of a whole batch to every file.
        return [
            *super()._excluded_save_params(),
            "_last_obs",
            "_last_episode_starts",
            "_generator",
            "_schedule",
            "ranks",
        ]


def _native(env: VecEnv) -> Sb3VecEnvAdapter | None:
    """The adapter that plays whole episodes, if nothing but a plain `VecMonitor` lies around it."""
    # A monitor that writes a file counts steps by itself, so it needs them.
    while isinstance(env, VecMonitor) and env.results_writer is None:
        env = env.venv
    return env if isinstance(env, Sb3VecEnvAdapter) and env.plays_episodes else None
