"""GruPPO: PPO whose recurrent policy is trained on whole episodes."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import explained_variance
from torch import Tensor
from torch.nn import functional as F

from agents.gru_ppo.collecting import CollectingPPO
from agents.gru_ppo.episode_buffer import Episodes, minibatches


class GruPPO(CollectingPPO):
    """SB3's PPO for environments whose episodes all last T steps.

    A rollout is whole episodes; so is a minibatch. The GRU runs over each of them from the zero
    state, with gradients through all T steps, without padding, masks or stored states. Where the
    environment can play whole episodes at once (`Sb3VecEnvAdapter` over a
    `PatchLocalizationVectorEnv`, with at most a `VecMonitor` around it), all actions of a rollout
    are drawn from one pass of the policy; elsewhere it steps. Both ways give the same rollout. A
    closed loop (`ActiveVisionVectorEnv`) steps. Where an action ends its episodes, rows that have
    ended idle till the others have: those steps count for no loss, return or statistic.

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
            episodes.of_steps(episodes.old_values).flatten().cpu().numpy(),
            episodes.of_steps(episodes.returns).flatten().cpu().numpy(),
        )
        self.logger.record("train/explained_variance", explained)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        rewards = episodes.of_steps(episodes.rewards)
        self.logger.record("rollout/reward_mean", float(rewards.mean()))

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
        """Clipped surrogate, value error and entropy bonus, mean over all steps taken."""
        cache = self.rollout_buffer.rollout_cache
        if cache is not None and cache.take(batch.observations):
            distribution, values = cache.distribution, cache.values
        else:
            distribution, values = self.policy.evaluate_episodes(
                batch.observations, looks_per_frame=batch.looks_per_frame
            )
        log_probs = batch.of_steps(distribution.log_prob(batch.actions))
        advantages = batch.of_steps(batch.advantages)
        if self.normalize_advantage and advantages.numel() > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        log_ratio = log_probs - batch.of_steps(batch.old_log_probs)
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
        policy_loss = -torch.min(ratio * advantages, clipped * advantages).mean()
        value_loss = F.mse_loss(batch.of_steps(values), batch.of_steps(batch.returns))
        entropy = batch.of_steps(distribution.entropy()).mean()
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
