"""How `GruPPO` fills its buffer: whole episodes at once, closed loops, or steps of any kind."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from adafocus_env.envs import EpisodeResult
from agents.gru_ppo.episode_buffer import EpisodeBuffer
from agents.gru_ppo.episodic_ppo import EpisodicPPO
from agents.gru_ppo.rollout_cache import RolloutCache, rollout_statistics, trains_as_it_acts
from agents.policies.observations import GLANCE, glance_of, together
from agents.sb3.vec_env import Sb3VecEnvAdapter, playable, played_infos, runnable


class CollectingPPO(EpisodicPPO):
    """`EpisodicPPO` that collects rollouts; `GruPPO` learns from them."""

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
        played, loops = playable(env), runnable(env)
        for _ in range(n_rollout_steps // self.num_decisions):
            # Drawn for all processes by each: as many of them draw the same as one alone.
            shape = (self.process_group.count * env.num_envs, self.num_decisions)
            drawn = torch.rand(*shape, *self.policy.head.uniform_shape, generator=self._generator)
            uniforms = self.process_group.own(drawn).to(self.device)
            self._schedule_videos()
            if played is not None:
                going_on = self._play(played, callback, rollout_buffer, uniforms)
            elif loops is not None:
                going_on = self._run(loops, callback, rollout_buffer, uniforms)
            else:
                going_on = self._step(env, callback, rollout_buffer, uniforms)
            if not going_on:
                return False
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
            buffer.rollout_cache = cache = RolloutCache(self.policy, observations)
            distribution, values = cache.distribution, cache.values
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
        return self._show_episodes(callback, result, torch.ones_like(rewards, dtype=torch.bool))

    @torch.no_grad()
    def _run(
        self, env: Sb3VecEnvAdapter, callback: BaseCallback, buffer: EpisodeBuffer, uniforms: Tensor
    ) -> bool:
        """One closed loop of every row, on the device. A frame's glance is kept once."""
        state = self.policy.initial_state(env.num_envs)
        starts = torch.ones(env.num_envs, dtype=torch.bool, device=self.device)
        steps: dict[str, list[Any]] = defaultdict(list)
        glances: list[Tensor] = []
        looks: int = env.get_attr("looks_per_frame")[0]

        def act(seen: dict[str, Tensor]) -> Tensor:
            nonlocal state, starts
            observations = {name: part.to(self.device) for name, part in seen.items()}
            self._fit_scale_once(observations[GLANCE])
            t = len(steps["actions"])
            step = self.policy.step(observations, state, starts, uniforms=uniforms[:, t])
            state, starts = step.policy_state, torch.zeros_like(starts)
            if t % looks == 0:
                glances.append(observations[GLANCE])
            beside = {name: part for name, part in observations.items() if name != GLANCE}
            steps["observations"].append(beside)
            for name in ("actions", "log_probs", "values"):
                steps[name].append(getattr(step, name))
            return self.policy.head.within_bounds(step.actions)

        result = env.run(act)
        # Where all rows have ended early, nothing was asked any more.
        for parts in steps.values():
            parts += parts[-1:] * (self.num_decisions - len(parts))
        glances += glances[-1:] * (self.num_decisions // looks - len(glances))
        joined: dict[str, Any] = {n: together(parts, _stack_steps) for n, parts in steps.items()}
        joined["observations"][GLANCE] = _stack_steps(glances)
        buffer.add(
            **joined,
            rewards=result.rewards.to(self.device),
            running=result.running.to(self.device),
            looks_per_frame=looks,
        )
        return self._show_episodes(callback, result, result.running)

    def _show_episodes(
        self, callback: BaseCallback, result: EpisodeResult, running: Tensor
    ) -> bool:
        """Callbacks see what they would see when stepping, after the fact."""
        infos = played_infos(result)
        elapsed = round((time.time_ns() - self.start_time) / 1e9, 6)
        lengths = running.sum(dim=1).tolist()
        totals = result.rewards.sum(dim=1).tolist()
        for row, (length, total) in enumerate(zip(lengths, totals, strict=True)):
            last = infos[length - 1][row]
            last["is_success"] = infos[-1][row]["is_success"]
            last["episode"] = {"r": total, "l": length, "t": elapsed}
            for step in infos[length:]:
                step[row] = {}
        for t, rewards in enumerate(result.rewards.cpu().numpy().T):
            dones = np.array([length == t + 1 for length in lengths])
            if not self._show_step(callback, rewards, dones, infos[t]):
                return False
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
        steps: dict[str, list[Any]] = defaultdict(list)
        for t in range(self.num_decisions):
            assert self._last_obs is not None
            observations = obs_as_tensor(self._last_obs, self.device)
            self._fit_scale_once(glance_of(observations))
            with rollout_statistics(self.policy):
                step = self.policy.step(observations, state, starts, uniforms=uniforms[:, t])
            state, starts = step.policy_state, torch.zeros_like(starts)
            actions = self.policy.head.within_bounds(step.actions)
            new_obs, rewards, dones, infos = env.step(actions.cpu().numpy())
            if not self._show_step(callback, rewards, dones, infos):
                self._last_obs = None  # within an episode: learning on begins with a reset
                return False
            if bool(dones.any()) != (t == self.num_decisions - 1) or dones.any() != dones.all():
                raise RuntimeError(
                    f"GruPPO expects every episode to last {self.num_decisions} steps, but after "
                    f"step {t + 1} the environment says done={dones.tolist()}"
                )
            steps["observations"].append(observations)
            steps["actions"].append(step.actions)
            steps["log_probs"].append(step.log_probs)
            steps["values"].append(step.values)
            steps["rewards"].append(torch.as_tensor(rewards, device=self.device))
            self._last_obs = new_obs  # type: ignore[assignment]
        joined: dict[str, Any] = {n: together(parts, _stack_steps) for n, parts in steps.items()}
        buffer.add(**joined)
        return True

    def _show_step(
        self,
        callback: BaseCallback,
        rewards: npt.NDArray[np.float32],
        dones: npt.NDArray[np.bool_],
        infos: list[dict[str, Any]],
    ) -> bool:
        """Count a step of every row and show it to callbacks; False if one ends training."""
        self.num_timesteps += len(dones)
        callback.update_locals({"rewards": rewards, "dones": dones, "infos": infos})
        if not callback.on_step():
            return False
        self._update_info_buffer(infos, dones)
        return True

    def _fit_scale_once(self, glances: Tensor) -> None:
        """Standardise by the first glances `(N, ...)` of all processes."""
        if not bool(self.policy.scale_is_fitted):
            self.policy.fit_scale_once(self.process_group.gather(glances))

    def _first_batch_is_this_pass(self) -> bool:
        """Whether training begins with all the episodes that one pass acted in."""
        batch = self.batch_episodes
        whole = batch is None or batch >= self.process_group.count * self.n_envs
        return whole and self.episodes_per_row == 1 and trains_as_it_acts(self.policy)


def _stack_steps(steps: list[Tensor]) -> Tensor:
    """T times `(N, ...)` to `(N, T, ...)`."""
    return torch.stack(steps, dim=1)
