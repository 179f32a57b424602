"""GruPPO: PPO whose recurrent policy is trained on whole episodes."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import explained_variance
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from torch.nn import functional as F

from agents.gru_ppo.episode_buffer import EpisodeBuffer, Episodes, minibatches
from agents.gru_ppo.episodic_ppo import EpisodicPPO
from agents.gru_ppo.rollout_cache import RolloutCache, rollout_statistics, trains_as_it_acts
from agents.sb3.vec_env import Sb3VecEnvAdapter, playable, played_infos


class GruPPO(EpisodicPPO):
    """SB3's PPO for environments whose episodes all last T steps.

    A rollout is whole episodes; so is a minibatch. The GRU runs over each of them from the zero
    state, with gradients through all T steps, without padding, masks or stored states. Where the
    environment can play whole episodes at once (`Sb3VecEnvAdapter` over a
    `PatchLocalizationVectorEnv`, with at most a `VecMonitor` around it), all actions of a rollout
    are drawn from one pass of the policy; elsewhere it steps. Both ways give the same rollout.

    Either way callbacks see the `rewards`, `dones` and `infos` of each step in their `locals`, and
    nothing else; an episode's last infos say `is_success` and `episode`, as `VecMonitor`'s do.

    In continuous locations the buffer keeps the samples as drawn and the environment gets them
    clipped to the frame. A policy with batch normalisation acts and learns by the statistics of the
    rollout's own frames; its running statistics, for evaluation, move once an update.

    The defaults are the published update (`adafocus_env/PUBLISHED.md`, "Policy and its update";
    preset `paper`), but for the policy's `clip_log_probs`.

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
        process_group: processes that train this policy together, each with as many rows. Gradients
            are averaged, returns normalised and videos dealt over all of them; `batch_episodes`
            counts the episodes of all.
        stats_window_size: this and `tensorboard_log`, `policy_kwargs`, `verbose`, `device`: as in
            SB3.
        seed: of actions, minibatches, videos and new weights.

    Raises:
        ValueError: settings that contradict each other, an environment without fixed episodes, or
            one with which batch normalisation would act and learn differently.
    """

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
        played = playable(env)
        for _ in range(n_rollout_steps // self.num_decisions):
            # Drawn for all processes by each: as many of them draw the same as one alone.
            shape = (self.process_group.count * env.num_envs, self.num_decisions)
            drawn = torch.rand(*shape, *self.policy.head.uniform_shape, generator=self._generator)
            uniforms = self.process_group.own(drawn).to(self.device)
            self._schedule_videos()
            if played is not None:
                going_on = self._play(played, callback, rollout_buffer, uniforms)
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
        # Callbacks see what they would see when stepping, after the fact.
        infos = played_infos(result)
        elapsed = round((time.time_ns() - self.start_time) / 1e9, 6)
        for info, total in zip(infos[-1], rewards.sum(dim=1).tolist(), strict=True):
            info["episode"] = {"r": total, "l": self.num_decisions, "t": elapsed}
        for t, step_rewards in enumerate(rewards.cpu().numpy().T):
            dones = np.full(env.num_envs, t == self.num_decisions - 1)
            if not self._show_step(callback, step_rewards, dones, infos[t]):
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
        buffer.add(**{name: torch.stack(parts, dim=1) for name, parts in steps.items()})
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
        own_batch = self.batch_episodes and self.batch_episodes // self.process_group.count
        for batch in minibatches(episodes, own_batch, self._generator):
            loss = self._loss(batch, clip_range, logs)
            if self.target_kl is not None:
                divergence = self.process_group.mean(logs["approx_kl"][-1])
                if divergence > 1.5 * self.target_kl:
                    return False
            self.policy.optimizer.zero_grad()
            loss.backward()
            self.process_group.average_gradients(self.policy.parameters())
            if self.max_grad_norm is not None:
                torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
        return True

    def _loss(self, batch: Episodes, clip_range: float, logs: dict[str, list[float]]) -> Tensor:
        """Clipped surrogate, value error and entropy bonus, mean over all steps."""
        cache = self.rollout_buffer.rollout_cache
        if cache is not None and cache.take(batch.observations):
            distribution, values = cache.distribution, cache.values
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

    def _fit_scale_once(self, observations: Tensor) -> None:
        """Standardise by the first observations `(N, ...)` of all processes."""
        if not bool(self.policy.scale_is_fitted):
            self.policy.fit_scale_once(self.process_group.gather(observations))

    def _first_batch_is_this_pass(self) -> bool:
        """Whether training begins with all the episodes that one pass acted in."""
        batch = self.batch_episodes
        whole = batch is None or batch >= self.process_group.count * self.n_envs
        return whole and self.episodes_per_row == 1 and trains_as_it_acts(self.policy)
