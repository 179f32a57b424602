"""Stage 2: the policy learns by reinforcement where to look; the recognizer is frozen."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from adafocus_env.data import Videos
from adafocus_env.envs import PatchGrid, PatchLocalizationVectorEnv
from adafocus_env.networks import AnyRecognizer
from agents.evaluation import Evaluation, evaluate_agent
from agents.gru_ppo.algorithm import GruPPO
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.sb3.resume import restore_training_state, training_state, why_not_continued
from train.checkpoints.load import check_classes, load_configured, load_fitting_policy
from train.config.sections import ConfigError, RunConfig
from train.evaluation.diagnostics import nearest_positions
from train.runs.context import RunContext
from train.runs.progress import ProgressDisplay, ProgressPart
from train.runs.training_state import finish, load_state, restore_random_state, save_state
from train.stages.policy.algorithm import (
    prepare_algorithm,
    publish,
    refuse_to_continue,
    refuse_unfinished_source,
    save_algorithm,
)
from train.stages.policy.tensorboard import (
    EpisodePictures,
    RolloutLooks,
    make_logger,
    record_locations,
)
from train.stages.policy.warm_start import start_from

log = logging.getLogger(__name__)

OnEvaluation = Callable[[int, float], None]


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
        progress: advances with the epochs.
        looks: what training looks at, recorded at evaluations.
        pictures: of the policy's episodes.
        resumable: whether to write what training needs to go on.
        on_evaluation: told the epochs done and the mean return after each evaluation.
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
        looks: RolloutLooks,
        pictures: EpisodePictures,
        resumable: bool = True,
        on_evaluation: OnEvaluation | None = None,
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

    def resume(self, state: dict[str, Any]) -> None:
        """Go on after the epochs that a saved state has seen."""
        self.epochs_done = state["epochs_done"]
        self.best_return = state["best_return"]
        self._shown = self.epochs_done
        self._progress.advance(count=self.epochs_done)

    def _end_epoch(self, epoch: int) -> None:
        if epoch <= self.epochs_done:  # where a continued run begins
            return
        before, mean_return, note = self.epochs_done, None, None
        if epoch // self._eval_freq > before // self._eval_freq or epoch == self._epochs:
            mean_return, note = self._evaluate(epoch)
        self.epochs_done = epoch
        if self._resumable:
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
        mean_return, top1 = everywhere[:2]
        self._show(evaluation, epoch)
        self.logger.dump(self.num_timesteps)
        log.info("epoch %d/%d: val return %.4f, top-1 %.3f", epoch, self._epochs, mean_return, top1)
        if mean_return > self.best_return:
            self.best_return = mean_return
            if processes.is_main:
                publish(
                    self.model, self._context.folder, self._recognizer_sha256, self._glancer_sha256
                )
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


def run_stage2(
    config: RunConfig,
    context: RunContext,
    display: ProgressDisplay,
    *,
    on_evaluation: OnEvaluation | None = None,
) -> float:
    """Train a policy; write the best to `policy/` and the recognizer beside it.

    Args:
        config: of the command.
        context: its folder and data.
        display: progress.
        on_evaluation: told the epochs done and the mean return on the validation split after each
            evaluation; what it raises ends training.

    Returns:
        the mean return of the policy that was kept.
    """
    refuse_unfinished_source(config)
    recognizer = load_configured(config.source_run, "resume", config, str(context.device))
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
        observation=config.observation,
        **rules["train"],
    )
    val_rows = min(env.num_envs, -(-len(val_videos) // processes.count))
    val_env = _make_env(
        recognizer, val_videos, config, val_rows, autoreset_mode="disabled", **rules["val"]
    )
    prepared = prepare_algorithm(config, context, env)
    model = prepared.model
    if config.policy is not None:
        _start_from(model, config, recognizer, env)
    display.console.print(f"{config.algo.name}: {prepared.buffer or 'a buffer of unknown size'}")
    why_not = why_not_continued(config.algo.name, model, env.num_decisions)
    refuse_to_continue(config, why_not)
    if why_not is not None:
        log.info("an interruption would lose this run, because %s", why_not)
    state = load_state(context.folder, config.command, processes)
    if processes.is_main:
        events = context.folder / "tensorboard"
        model.set_logger(make_logger(events, continuing=state is not None))
    else:
        model.set_logger(Logger(folder=None, output_formats=[]))
    updates_per_epoch = max(1, len(train_videos) // batch_size)
    steps_per_epoch = updates_per_epoch * env.num_envs * env.num_decisions
    epochs = config.need("epochs")
    looks = RolloutLooks(env.core.grid)
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
            looks=looks,
            pictures=EpisodePictures(val_videos, config.video_freq, epochs),
            resumable=why_not is None,
            on_evaluation=on_evaluation,
        )
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
                left,
                callback=[looks, callback],
                log_interval=interval,
                reset_num_timesteps=state is None,
            )
    if processes.is_main:
        recognizer.save(context.folder / "recognizer")
        save_algorithm(model, context.folder / "algorithm.zip")
    finish(context.folder, processes)
    log.info("policy of val return %.4f in %s", callback.best_return, context.folder)
    return callback.best_return


def _start_from(
    model: BaseAlgorithm,
    config: RunConfig,
    recognizer: AnyRecognizer,
    env: PatchLocalizationVectorEnv,
) -> None:
    """Give the algorithm's policy the weights of the one in `policy=`.

    Raises:
        ConfigError: one of them is no policy of GruPPO, or the two have other sizes.
    """
    sizes = recognizer.config
    grid = PatchGrid(config.grid_size, sizes.frame_size, sizes.patch_size)
    earlier = load_fitting_policy(str(config.policy), grid, recognizer, trust=config.trust)
    if not isinstance(model, GruPPO) or not isinstance(earlier, GruActorCriticPolicy):
        raise ConfigError(
            "stage2 starts from policy=RUN for algo=gru_ppo and its own policies only"
        )
    env.reset(seed=config.seed)
    start_from(model.policy, earlier, env)


def _make_env(
    recognizer: AnyRecognizer, videos: Videos, config: RunConfig, rows: int, **rules: Any
) -> PatchLocalizationVectorEnv:
    return PatchLocalizationVectorEnv.from_parts(
        recognizer,
        videos,
        num_envs=rows,
        reward=config.reward,
        locations=config.locations,
        skip_cost=config.skip_cost,
        **rules,
    )
