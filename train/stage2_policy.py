"""Stage 2: the policy learns by reinforcement where to look; the recognizer is frozen."""

from __future__ import annotations

import logging
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecMonitor

from adafocus_env.envs import PatchLocalizationVectorEnv
from agents.algorithms import algorithm_arguments, algorithm_class
from agents.evaluation import evaluate_agent
from agents.gru_ppo import GruPPO
from agents.policy_files import save_policy
from agents.sb3_vec_env import Sb3VecEnvAdapter
from train.checkpoints import check_classes, check_sizes, load_recognizer
from train.config import RunConfig
from train.progress import ProgressDisplay, ProgressPart
from train.run_context import RunContext

log = logging.getLogger(__name__)


class KeepBestPolicy(BaseCallback):
    """Evaluate on the validation split every few epochs and keep the policy of highest return.

    Args:
        env: the validation split, made with `autoreset_mode="disabled"`.
        context: the policy is written to `policy/` of its folder.
        recognizer_sha256: written with the policy.
        glancer_sha256: likewise.
        updates_per_epoch: floor(videos / rows).
        eval_freq: epochs between evaluations.
        progress: advances once an epoch.
    """

    def __init__(
        self,
        env: PatchLocalizationVectorEnv,
        context: RunContext,
        recognizer_sha256: str,
        *,
        glancer_sha256: str | None = None,
        updates_per_epoch: int,
        eval_freq: int,
        epochs: int,
        progress: ProgressPart,
    ):
        super().__init__()
        self._env = env
        self._folder = context.folder / "policy"
        self._recognizer_sha256 = recognizer_sha256
        self._glancer_sha256 = glancer_sha256
        self._updates_per_epoch = updates_per_epoch
        self._eval_freq = eval_freq
        self._epochs = epochs
        self._progress = progress
        self._rollouts = 0
        self.best_return = float("-inf")

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        """Rollout k begins after k updates, so this is where an epoch has ended."""
        if self._rollouts and self._rollouts % self._updates_per_epoch == 0:
            self._end_epoch(self._rollouts // self._updates_per_epoch)
        self._rollouts += 1

    def _on_training_end(self) -> None:
        self._end_epoch(self._epochs)

    def _end_epoch(self, epoch: int) -> None:
        note = None
        if epoch % self._eval_freq == 0 or epoch == self._epochs:
            note = self._evaluate(epoch)
        self._progress.advance(note)

    def _evaluate(self, epoch: int) -> str:
        assert isinstance(self.model, GruPPO)
        evaluation = evaluate_agent(self._env, self.model.policy)
        mean_return = float(evaluation.rewards.sum(axis=1).mean())
        top1 = float(evaluation.correct()[:, -1].mean())
        for name, value in {"return": mean_return, "top1": top1}.items():
            self.logger.record(f"val/{name}", value)
        self.logger.dump(self.num_timesteps)
        log.info("epoch %d/%d: val return %.4f, top-1 %.3f", epoch, self._epochs, mean_return, top1)
        if mean_return > self.best_return:
            self.best_return = mean_return
            save_policy(
                self.model.policy,
                self._folder,
                recognizer_sha256=self._recognizer_sha256,
                glancer_sha256=self._glancer_sha256,
            )
        return f"val return {mean_return:.3f}, top-1 {top1:.3f}"


def run_stage2(config: RunConfig, context: RunContext, display: ProgressDisplay) -> None:
    """Train a policy; write the best to `policy/` and the recognizer beside it."""
    recognizer = load_recognizer(config.resume, "resume", str(context.device))
    check_sizes(recognizer, config)
    rules: dict[str, Any] = {
        "grid_size": config.grid_size,
        "reward": config.reward,
        "baseline_positions": config.baseline_positions,
    }
    rows = config.need("batch_size")
    train_videos = context.open_split("train", training=True, num_frames=config.policy_frames)
    val_videos = context.open_split("val")
    check_classes(recognizer, train_videos)
    check_classes(recognizer, val_videos)
    env = PatchLocalizationVectorEnv.from_parts(recognizer, train_videos, num_envs=rows, **rules)
    val_env = PatchLocalizationVectorEnv.from_parts(
        recognizer,
        val_videos,
        num_envs=min(rows, len(val_videos)),
        autoreset_mode="disabled",
        **rules,
    )
    algorithm = algorithm_class(config.algo.name)
    arguments = algorithm_arguments(config.algo.name, config.algo.preset, config.algo.arguments)
    model = algorithm(
        env=VecMonitor(Sb3VecEnvAdapter(env)), seed=config.seed, device=context.device, **arguments
    )
    model.set_logger(configure(str(context.folder / "tensorboard"), ["tensorboard", "csv"]))
    updates_per_epoch = max(1, len(train_videos) // rows)
    epochs = config.need("epochs")
    with display.part("stage 2: policy", epochs) as progress:
        callback = KeepBestPolicy(
            val_env,
            context,
            recognizer.fingerprint(),
            glancer_sha256=recognizer.glancer_fingerprint(),
            updates_per_epoch=updates_per_epoch,
            eval_freq=config.need("eval_freq"),
            epochs=epochs,
            progress=progress,
        )
        steps = epochs * updates_per_epoch * rows * env.num_decisions
        model.learn(steps, callback=callback, log_interval=updates_per_epoch)
    recognizer.save(context.folder / "recognizer")
    model.save(context.folder / "algorithm.zip")
    log.info("policy of val return %.4f in %s", callback.best_return, context.folder / "policy")
