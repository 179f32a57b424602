"""EpisodicPPO: SB3's PPO set up for rollouts of whole episodes."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule
from stable_baselines3.common.vec_env import VecEnv

from agents.gru_ppo.episode_buffer import EpisodeBuffer
from agents.gru_ppo.process_group import ONE_PROCESS, ProcessGroup
from agents.gru_ppo.rollout_cache import check_one_batch
from agents.gru_ppo.video_schedule import VideoSchedule
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.policies.spatial_head import with_patch_grid
from agents.sb3.vec_env import playable, runnable

log = logging.getLogger(__name__)


class EpisodicPPO(PPO):
    """Settings and parts of `GruPPO`, which adds how it collects and learns.

    Settings are counted in episodes. The environment says how long they are, and is told which
    videos to show.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"GruPolicy": GruActorCriticPolicy}
    policy: GruActorCriticPolicy  # type: ignore[assignment]
    rollout_buffer: EpisodeBuffer  # type: ignore[assignment]
    _schedule: VideoSchedule | None = None

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
        process_group: ProcessGroup = ONE_PROCESS,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ):
        if isinstance(env, VectorEnv):
            raise ValueError("GruPPO takes SB3's environments: env=Sb3VecEnvAdapter(env)")
        if isinstance(policy, str) and policy not in self.policy_aliases:
            raise ValueError(
                f"GruPPO's policy is {', '.join(self.policy_aliases)} (the default) or a subclass "
                f"of GruActorCriticPolicy, not {policy}"
            )
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
        counts = {"episodes_per_row": episodes_per_row, "n_epochs": n_epochs}
        for name, value in {**counts, "batch_episodes": batch_episodes}.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if batch_episodes is not None and batch_episodes % process_group.count:
            raise ValueError(
                f"batch_episodes={batch_episodes} cannot be shared by {process_group.count} "
                f"processes; use a multiple of {process_group.count}"
            )
        self.process_group = process_group
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
        if _init_setup_model:
            self._setup_model()

    def _attach_env(self, env: VecEnv) -> None:
        """Learn how long episodes are and what they show, and say how rollouts are collected."""
        try:
            self.num_decisions = int(env.get_attr("num_decisions")[0])
        except AttributeError:
            raise ValueError(
                "GruPPO needs episodes of a fixed length: an environment with `num_decisions`"
            ) from None
        self.n_steps = self.episodes_per_row * self.num_decisions
        plays = playable(env) is not None
        if self.policy.batch_norm:
            check_one_batch(
                num_rows=env.num_envs,
                num_decisions=self.num_decisions,
                episodes_per_row=self.episodes_per_row,
                batch_episodes=self.batch_episodes,
                num_processes=self.process_group.count,
                plays=plays,
            )
        self.policy.sees_cost = env.has_attr("shows_cost") and bool(env.get_attr("shows_cost")[0])
        self._schedule = None
        if self.shuffle_videos and env.has_attr("schedule_videos"):
            videos, rows = env.get_attr("num_videos")[0], self.process_group.count * env.num_envs
            self._schedule = VideoSchedule(videos, rows, self.seed or 0)
        loops = runnable(env) is not None
        if not loops and env.has_attr("can_stop") and env.get_attr("can_stop")[0]:
            raise ValueError(
                "GruPPO runs the episodes of stop=True, which end at different times, itself; "
                "leave out the wrapper around the environment"
            )
        way = "steps, because a wrapper lies between"
        way = "plays whole episodes" if plays else "runs a closed loop" if loops else way
        log.info("GruPPO %s", way)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Train on another environment of the same spaces from now on."""
        super().set_env(env, force_reset)
        assert self.env is not None
        self._attach_env(self.env)

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        self.rollout_buffer = EpisodeBuffer(
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            normalize_returns=self.normalize_returns,
            center_steps=self.center_steps,
            scale_rewards=self.scale_rewards,
            process_group=self.process_group,
        )
        if self.env is not None and self.env.has_attr("patch_grid"):
            grid = self.env.get_attr("patch_grid")[0]
            self.policy_kwargs = with_patch_grid(self.policy_class, self.policy_kwargs, grid)
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

    def _schedule_videos(self) -> None:
        """Tell the environment which videos to show after the next reset, if it can be told."""
        if self._schedule is not None:
            assert self.env is not None
            own = np.split(self._schedule.next(), self.process_group.count)[self.process_group.rank]
            self.env.env_method("schedule_videos", own)

    def _excluded_save_params(self) -> list[str]:
        # `_last_obs` would add the observations of a whole batch to every file.
        return [
            *super()._excluded_save_params(),
            "_last_obs",
            "_last_episode_starts",
            "_generator",
            "_schedule",
            "process_group",
        ]
