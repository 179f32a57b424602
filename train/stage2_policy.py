"""Stage 2: the policy learns by reinforcement where to look; the recognizer is frozen."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecMonitor

from adafocus_env.data import Videos
from adafocus_env.envs import PatchLocalizationVectorEnv
from adafocus_env.networks import Recognizer
from agents.algorithms import algorithm_arguments, algorithm_class
from agents.evaluation import evaluate_agent
from agents.gru_ppo import GruPPO
from agents.policy_files import save_policy
from agents.sb3_vec_env import Sb3VecEnvAdapter
from train.checkpoints import check_classes, check_sizes, load_recognizer
from train.config import RunConfig
from train.progress import ProgressDisplay, ProgressPart
from train.run_context import RunContext
from train.supervised_loop import complete
from train.training_state import load_state, restore_random_state, save_state

log = logging.getLogger(__name__)


class KeepBestPolicy(BaseCallback):
    """Evaluate on the validation split every few epochs and keep the policy of highest return.

    After each epoch everything that training needs to go on is written to the run folder.

    Args:
        env: the validation split, made with `autoreset_mode="disabled"`.
        context: the policy is written to `policy/` of its folder.
        recognizer_sha256: written with the policy.
        glancer_sha256: likewise.
        updates_per_epoch: floor(videos / rows), rows of all processes.
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
        self._context = context
        self._recognizer_sha256 = recognizer_sha256
        self._glancer_sha256 = glancer_sha256
        self._updates_per_epoch = updates_per_epoch
        self._eval_freq = eval_freq
        self._epochs = epochs
        self._progress = progress
        self._rollouts = 0
        self.best_return = float("-inf")
        self.epochs_done = 0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        """Rollout k begins after k updates, so this is where an epoch has ended."""
        if self._rollouts and self._rollouts % self._updates_per_epoch == 0:
            self._end_epoch(self._rollouts // self._updates_per_epoch)
        self._rollouts += 1

    def _on_training_end(self) -> None:
        self._end_epoch(self._epochs)

    def resume(self, state: dict[str, Any]) -> None:
        """Go on after the epochs that a saved state has seen."""
        self.epochs_done = state["epochs_done"]
        self.best_return = state["best_return"]
        self._rollouts = self.epochs_done * self._updates_per_epoch
        for _ in range(self.epochs_done):
            self._progress.advance()

    def _end_epoch(self, epoch: int) -> None:
        if epoch <= self.epochs_done:  # where a continued run begins
            return
        note = None
        if epoch % self._eval_freq == 0 or epoch == self._epochs:
            note = self._evaluate(epoch)
        self.epochs_done = epoch
        self._save()
        self._progress.advance(note)

    def _evaluate(self, epoch: int) -> str:
        """Every validation video once, shared between the processes."""
        assert isinstance(self.model, GruPPO)
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
                save_policy(
                    self.model.policy,
                    self._context.folder / "policy",
                    recognizer_sha256=self._recognizer_sha256,
                    glancer_sha256=self._glancer_sha256,
                )
        return f"val return {mean_return:.3f}, top-1 {top1:.3f}"

    def _save(self) -> None:
        assert isinstance(self.model, GruPPO)
        context = self._context
        algorithm = self.model.training_state()
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
    recognizer = load_recognizer(config.source_run, "resume", str(context.device))
    check_sizes(recognizer, config)
    processes = context.processes
    train_videos = context.open_split("train", training=True, num_frames=config.policy_frames)
    val_videos = context.open_split("val")
    check_classes(recognizer, train_videos)
    check_classes(recognizer, val_videos)
    batch_size = config.need("batch_size")
    env = _make_env(recognizer, train_videos, config, processes.share_of(batch_size))
    val_rows = min(env.num_envs, -(-len(val_videos) // processes.count))
    val_env = _make_env(recognizer, val_videos, config, val_rows, autoreset_mode="disabled")
    model = _make_model(config, context, env)
    if processes.is_main:
        model.set_logger(configure(str(context.folder / "tensorboard"), ["tensorboard", "csv"]))
    else:
        model.set_logger(configure(None, []))
    updates_per_epoch = max(1, len(train_videos) // batch_size)
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
        state = load_state(context.folder, config.command, processes)
        if state is not None:
            model.restore_training_state(
                {**state["algorithm"], "env": state["rows"][processes.rank]}
            )
            callback.resume(state)
            restore_random_state(state, processes)
            log.info("continuing after epoch %d of %d", callback.epochs_done, epochs)
        left = (epochs - callback.epochs_done) * updates_per_epoch
        if left:
            model.learn(
                left * env.num_envs * env.num_decisions,
                callback=callback,
                log_interval=updates_per_epoch,
                reset_num_timesteps=state is None,
            )
    if processes.is_main:
        recognizer.save(context.folder / "recognizer")
        model.save(context.folder / "algorithm.zip")
    complete(context)
    log.info("policy of val return %.4f in %s", callback.best_return, context.folder / "policy")


def _make_env(
    recognizer: Recognizer, videos: Videos, config: RunConfig, rows: int, **modes: Any
) -> PatchLocalizationVectorEnv:
    return PatchLocalizationVectorEnv.from_parts(
        recognizer,
        videos,
        num_envs=rows,
        grid_size=config.grid_size,
        reward=config.reward,
        baseline_positions=config.baseline_positions,
        **config.live_options,
        **modes,
    )


def _make_model(config: RunConfig, context: RunContext, env: PatchLocalizationVectorEnv) -> GruPPO:
    """The algorithm; rows of all processes have the seeds that one process would give them."""
    algorithm: type[Any] = algorithm_class(config.algo.name)
    arguments = algorithm_arguments(config.algo.name, config.algo.preset, config.algo.arguments)
    vec_env = VecMonitor(Sb3VecEnvAdapter(env))
    model = algorithm(
        env=vec_env,
        seed=config.seed,
        device=context.device,
        ranks=context.processes.ranks,
        **arguments,
    )
    assert isinstance(model, GruPPO)
    vec_env.seed(config.seed + context.processes.rank * env.num_envs)
    return model
