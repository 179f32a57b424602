"""Stage 2: the policy learns by reinforcement where to look; the recognizer is frozen."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, configure
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from adafocus_env.data import Videos
from adafocus_env.envs import PatchLocalizationVectorEnv
from adafocus_env.networks import AnyRecognizer
from agents.evaluation import evaluate_agent
from agents.on_policy_state import restore_training_state, training_state, why_not_continued
from train.checkpoints import check_classes, check_sizes, load_recognizer
from train.config import RunConfig
from train.policy_algorithm import (
    prepare_algorithm,
    publish,
    refuse_to_continue,
    refuse_unfinished_source,
    save_algorithm,
)
from train.progress import ProgressDisplay, ProgressPart
from train.run_context import RunContext
from train.supervised_loop import complete
from train.training_state import load_state, restore_random_state, save_state

log = logging.getLogger(__name__)


class KeepBestPolicy(BaseCallback):
    """Evaluate on the validation split every few epochs and keep the policy of highest return.

    After each epoch everything that training needs to go on is written to the run folder, for
    algorithms that can go on. An epoch is a number of steps; where a rollout is longer, the epochs
    within it end together.

    Args:
        env: the validation split, made with `autoreset_mode="disabled"`.
        context: the policy is written to `policy/` of its folder.
        recognizer_sha256: written with the policy.
        glancer_sha256: likewise.
        steps_per_epoch: of all rows of this process.
        eval_freq: epochs between evaluations.
        epochs: in all.
        progress: advances once an epoch.
        resumable: whether to write what training needs to go on.
    """

    def __init__(
        self,
        env: PatchLocalizationVectorEnv,
        context: RunContext,
        recognizer_sha256: str,
        *,
        glancer_sha256: str | None = None,
        steps_per_epoch: int,
        eval_freq: int,
        epochs: int,
        progress: ProgressPart,
        resumable: bool = True,
    ):
        super().__init__()
        self._env = env
        self._context = context
        self._recognizer_sha256 = recognizer_sha256
        self._glancer_sha256 = glancer_sha256
        self._steps_per_epoch = steps_per_epoch
        self._eval_freq = eval_freq
        self._epochs = epochs
        self._progress = progress
        self._resumable = resumable
        self.best_return = float("-inf")
        self.epochs_done = 0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        """Everything before has been learned from, so this is where an epoch has ended."""
        self._end_epoch(min(self.model.num_timesteps // self._steps_per_epoch, self._epochs))

    def _on_training_end(self) -> None:
        self._end_epoch(self._epochs)

    def resume(self, state: dict[str, Any]) -> None:
        """Go on after the epochs that a saved state has seen."""
        self.epochs_done = state["epochs_done"]
        self.best_return = state["best_return"]
        for _ in range(self.epochs_done):
            self._progress.advance()

    def _end_epoch(self, epoch: int) -> None:
        if epoch <= self.epochs_done:  # where a continued run begins
            return
        note = None
        if epoch // self._eval_freq > self.epochs_done // self._eval_freq or epoch == self._epochs:
            note = self._evaluate(epoch)
        ended, self.epochs_done = epoch - self.epochs_done, epoch
        if self._resumable:
            self._save()
        for _ in range(ended):
            self._progress.advance(note)

    def _evaluate(self, epoch: int) -> str:
        """Every validation video once, shared between the processes."""
        processes = self._context.processes
        own = range(processes.rank, self._env.num_videos, processes.count)
        evaluation = evaluate_agent(self._env, self.model.policy, videos=own)
        returns = evaluation.rewards.sum(axis=1).tolist()
        correct = evaluation.correct()[:, -1].tolist()
        everywhere = processes.gather(list(zip(returns, correct, strict=True)))
        mean_return, top1 = np.mean(everywhere, axis=0).tolist()
        for name, value in {"return": mean_return, "top1": top1}.items():
            self.logger.record(f"val/{name}", value)
        self.logger.dump(self.num_timesteps)
        log.info("epoch %d/%d: val return %.4f, top-1 %.3f", epoch, self._epochs, mean_return, top1)
        if mean_return > self.best_return:
            self.best_return = mean_return
            if processes.is_main:
                publish(
                    self.model, self._context.folder, self._recognizer_sha256, self._glancer_sha256
                )
        return f"val return {mean_return:.3f}, top-1 {top1:.3f}"

    def _save(self) -> None:
        context = self._context
        algorithm = training_state(self.model)
        rows = context.processes.gather([algorithm.pop("env")])
        state = {
            "epochs_done": self.epochs_done,
            "best_return": self.best_return,
            "algorithm": algorithm,
            "rows": rows,
        }
        save_state(context.folder, context.config.command, context.processes, state)


def run_stage2(config: RunConfig, context: RunContext, display: ProgressDisplay) -> None:
    """Train a policy; write the best to `policy/` and the recognizer beside it."""
    refuse_unfinished_source(config)
    recognizer = load_recognizer(config.source_run, "resume", str(context.device))
    check_sizes(recognizer, config)
    processes = context.processes
    train_videos = context.open_split("train", training=True, num_frames=config.policy_frames)
    val_videos = context.open_split("val")
    check_classes(recognizer, train_videos)
    check_classes(recognizer, val_videos)
    batch_size = config.need("batch_size")
    rules = {split: context.rules(split) for split in ("train", "val")}
    env = _make_env(
        recognizer,
        train_videos,
        config,
        processes.share_of(batch_size),
        locations=config.locations,
        observation=config.observation,
        **rules["train"],
    )
    val_rows = min(env.num_envs, -(-len(val_videos) // processes.count))
    val_env = _make_env(
        recognizer, val_videos, config, val_rows, autoreset_mode="disabled", **rules["val"]
    )
    prepared = prepare_algorithm(config, context, env)
    model = prepared.model
    display.console.print(f"{config.algo.name}: {prepared.buffer or 'a buffer of unknown size'}")
    why_not = why_not_continued(config.algo.name, model, env.num_decisions)
    refuse_to_continue(config, why_not)
    if why_not is not None:
        log.info("an interruption would lose this run, because %s", why_not)
    if processes.is_main:
        model.set_logger(configure(str(context.folder / "tensorboard"), ["tensorboard", "csv"]))
    else:
        model.set_logger(Logger(folder=None, output_formats=[]))
    updates_per_epoch = max(1, len(train_videos) // batch_size)
    steps_per_epoch = updates_per_epoch * env.num_envs * env.num_decisions
    epochs = config.need("epochs")
    with display.part("stage 2: policy", epochs) as progress:
        callback = KeepBestPolicy(
            val_env,
            context,
            recognizer.fingerprint(),
            glancer_sha256=recognizer.glancer_fingerprint(),
            steps_per_epoch=steps_per_epoch,
            eval_freq=config.need("eval_freq"),
            epochs=epochs,
            progress=progress,
            resumable=why_not is None,
        )
        state = load_state(context.folder, config.command, processes)
        if state is not None:
            restore_training_state(
                model, {**state["algorithm"], "env": state["rows"][processes.rank]}
            )
            callback.resume(state)
            restore_random_state(state, processes)
            log.info("continuing after epoch %d of %d", callback.epochs_done, epochs)
        left = epochs * steps_per_epoch - model.num_timesteps
        if left > 0:
            # Counted in rollouts, or, off policy, in episodes.
            interval = updates_per_epoch
            interval *= 1 if isinstance(model, OnPolicyAlgorithm) else env.num_envs
            model.learn(
                left, callback=callback, log_interval=interval, reset_num_timesteps=state is None
            )
    if processes.is_main:
        recognizer.save(context.folder / "recognizer")
        save_algorithm(model, context.folder / "algorithm.zip")
    complete(context)
    log.info("policy of val return %.4f in %s", callback.best_return, context.folder)


def _make_env(
    recognizer: AnyRecognizer, videos: Videos, config: RunConfig, rows: int, **rules: Any
) -> PatchLocalizationVectorEnv:
    return PatchLocalizationVectorEnv.from_parts(
        recognizer, videos, num_envs=rows, reward=config.reward, **rules
    )
