"""Stage 2 judges its policy every few epochs, keeps the best, and writes what it needs to go on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from stable_baselines3.common.callbacks import BaseCallback
from typing_extensions import TypedDict

from adafocus_env.networks import AnyRecognizer
from agents.evaluation import Evaluation, VectorEnvironment, evaluate_agent
from agents.sb3.resume import training_state
from train.config.commands import Stage2Config
from train.evaluation.diagnostics import nearest_positions
from train.runs.context import RunContext
from train.runs.progress import ProgressPart
from train.runs.training_state import save_state
from train.stages.policy.algorithm import publish
from train.stages.policy.tensorboard import EpisodePictures, RolloutLooks, record_locations

log = logging.getLogger(__name__)

# Told the epochs done and the mean return after each evaluation; what it raises ends training.
OnEvaluation = Callable[[int, float], None]


class PolicyState(TypedDict):
    """What is saved after each epoch."""

    epochs_done: Annotated[int, Field(ge=0)]
    best_return: float
    algorithm: dict[str, Any]
    rows: list[str]


class KeepBestPolicy(BaseCallback):
    """Evaluate on the validation split every few epochs and keep the policy of highest return.

    After each epoch everything that training needs to go on is written to the run folder, for
    algorithms that can go on. An epoch is a number of steps; where a rollout is longer, the epochs
    within it end together.

    Args:
        env: the validation split, made with `autoreset_mode="disabled"`.
        context: the policy is written to `policy/` of its folder.
        recognizer: whose fingerprints are written with the policy.
        steps_per_epoch: of all rows of this process.
        progress: advances with the epochs.
        looks: what training looks at, recorded at evaluations.
        pictures: of the policy's episodes.
        resumable: whether to write what training needs to go on.
        on_evaluation: told the epochs done and the mean return after each evaluation.
    """

    def __init__(
        self,
        env: VectorEnvironment,
        context: RunContext[Stage2Config],
        recognizer: AnyRecognizer,
        *,
        steps_per_epoch: int,
        progress: ProgressPart,
        looks: RolloutLooks,
        pictures: EpisodePictures,
        resumable: bool = True,
        on_evaluation: OnEvaluation | None = None,
    ):
        super().__init__()
        self._env = env
        self._context = context
        self._fingerprints = (recognizer.fingerprint(), recognizer.glancer_fingerprint())
        self._steps_per_epoch = steps_per_epoch
        self._eval_freq: int = context.config.need("eval_freq")
        self._epochs: int = context.config.need("epochs")
        self._save_freq = context.config.save_freq
        self._progress = progress
        self._looks = looks
        self._pictures = pictures
        self._resumable = resumable
        self._on_evaluation = on_evaluation
        self._shown = 0  # epoch of the last evaluation of this process
        self.best_return = float("-inf")
        self.epochs_done = 0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        """Everything before has been learned from, so this is where an epoch has ended."""
        epoch, steps = divmod(self.model.num_timesteps, self._steps_per_epoch)
        self._end_epoch(min(epoch, self._epochs))
        self._progress.within(steps / self._steps_per_epoch if epoch < self._epochs else 0.0)

    def _on_training_end(self) -> None:
        self._end_epoch(self._epochs)

    def resume(self, state: dict[str, Any], num_timesteps: int) -> None:
        """Go on after the epochs that a saved state has seen.

        Args:
            state: what was saved.
            num_timesteps: that the algorithm has seen.

        Raises:
            ValueError: the two are not of the same epoch.
        """
        seen = min(num_timesteps // self._steps_per_epoch, self._epochs)
        if state["epochs_done"] != seen:
            raise ValueError(f"epochs_done={state['epochs_done']} after {seen} of {self._epochs}")
        self.epochs_done = state["epochs_done"]
        self.best_return = state["best_return"]
        self._shown = self.epochs_done
        self._progress.found_done(self.epochs_done)

    def _end_epoch(self, epoch: int) -> None:
        if epoch <= self.epochs_done:  # where a continued run begins
            return
        before, mean_return, note = self.epochs_done, None, None
        if epoch // self._eval_freq > before // self._eval_freq or epoch == self._epochs:
            mean_return, note = self._evaluate(epoch)
        self.epochs_done = epoch
        due = epoch // self._save_freq > before // self._save_freq or epoch == self._epochs
        if self._resumable and due:
            self._save()
        self._progress.advance(note, count=epoch - before)
        if mean_return is not None and self._on_evaluation is not None:
            self._on_evaluation(epoch, mean_return)

    def _evaluate(self, epoch: int) -> tuple[float, str]:
        """Every validation video once, shared between the processes."""
        processes = self._context.processes
        own = range(processes.rank, self._env.num_videos, processes.count)
        evaluation = evaluate_agent(self._env, self.model.policy, videos=own)
        returns = evaluation.rewards.sum(axis=1).tolist()
        correct = evaluation.correct()[:, -1].tolist()
        confidences = evaluation.confidences.mean(axis=1)
        baselines = confidences - evaluation.rewards.mean(axis=1)
        values = zip(returns, correct, confidences.tolist(), baselines.tolist(), strict=True)
        everywhere = np.mean(processes.gather(list(values)), axis=0).tolist()
        names = ("return", "top1", "confidence", "baseline_confidence")
        for name, value in zip(names, everywhere, strict=True):
            self.logger.record(f"val/{name}", value)
        self._context.note_evaluation(epoch, dict(zip(names, everywhere, strict=True)))
        mean_return, top1 = everywhere[:2]
        self._show(evaluation, epoch)
        self.logger.dump(self.num_timesteps)
        log.info("epoch %d/%d: val return %.4f, top-1 %.3f", epoch, self._epochs, mean_return, top1)
        if mean_return > self.best_return:
            self.best_return = mean_return
            if processes.is_main:
                publish(self.model, self._context.folder, *self._fingerprints)
        return mean_return, f"val return {mean_return:.3f}, top-1 {top1:.3f}"

    def _show(self, evaluation: Evaluation, epoch: int) -> None:
        """Where the policy looks: a heat map of all processes' videos, and one of its episodes."""
        processes, grid = self._context.processes, self._env.core.grid
        own = nearest_positions(evaluation.boxes, grid).ravel()
        positions = processes.gather(own.tolist())
        if processes.is_main:
            record_locations(self.logger, "val", np.bincount(positions, minlength=grid.num_actions))
            self._looks.record_locations()
            self._pictures.record(self.logger, evaluation, self._shown, epoch)
            self._shown = epoch

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
