"""Stage 2: the policy learns by reinforcement where to look; the recognizer is frozen."""

from __future__ import annotations

import logging
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from adafocus_env.data import Videos
from adafocus_env.envs import PatchGrid, PatchLocalizationVectorEnv
from adafocus_env.networks import AnyRecognizer
from agents.evaluation import VectorEnvironment
from agents.gru_ppo.algorithm import GruPPO
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.sb3.resume import part_of_state, restore_training_state, why_not_continued
from train.checkpoints.judges import load_judges
from train.checkpoints.load import check_classes, load_configured, load_fitting_policy
from train.config.commands import Stage2Config
from train.config.keys import ConfigError
from train.runs.context import RunContext
from train.runs.environments import make_environment
from train.runs.progress import ProgressDisplay
from train.runs.training_state import finish, load_state, restore_random_state, restoring
from train.stages.policy.algorithm import (
    prepare_algorithm,
    refuse_to_continue,
    refuse_unfinished_source,
    save_algorithm,
)
from train.stages.policy.imitation import imitate
from train.stages.policy.keep_best import KeepBestPolicy, OnEvaluation, PolicyState
from train.stages.policy.tensorboard import (
    EpisodePictures,
    RolloutLooks,
    make_logger,
)
from train.stages.policy.warm_start import start_from

log = logging.getLogger(__name__)


def run_stage2(
    config: Stage2Config,
    context: RunContext[Stage2Config],
    display: ProgressDisplay,
    *,
    on_evaluation: OnEvaluation | None = None,
) -> float:
    """Train a policy; write the best to `policy/` and the recognizer beside it.

    Args:
        config: of the command.
        context: its folder and data.
        display: progress.
        on_evaluation: see `OnEvaluation`.

    Returns:
        the mean return of the policy that was kept.
    """
    refuse_unfinished_source(config)
    recognizer = load_configured(config.source_run, config, str(context.device))
    processes = context.processes
    train_videos = context.open_split("train", training=True, num_frames=config.policy_frames)
    val_videos = context.open_split("val")
    check_classes(recognizer, train_videos)
    check_classes(recognizer, val_videos)
    batch_size = config.need("batch_size")
    rules = {split: context.rules(split) for split in ("train", "val")}
    if config.cross_fit is not None:
        place = str(context.device)
        for split, videos in (("train", train_videos), ("val", val_videos)):
            rules[split]["judges"] = load_judges(config.cross_fit, videos, config, place)
    rows = processes.share_of(batch_size)
    env = context.closing(
        _make_env(
            recognizer, train_videos, config, rows, observation=config.observation, **rules["train"]
        )
    )
    val_rows = min(rows, -(-len(val_videos) // processes.count))
    val_env = context.closing(
        _make_env(
            recognizer,
            val_videos,
            config,
            val_rows,
            observation="map",
            autoreset_mode="disabled",
            **rules["val"],
        )
    )
    prepared = prepare_algorithm(config, context, env)
    model = prepared.model
    if config.policy is not None and isinstance(env, PatchLocalizationVectorEnv):
        _start_from(model, config, recognizer, env)
    display.say(f"{config.algo.name}: {prepared.buffer or 'a buffer of unknown size'}")
    why_not = why_not_continued(config.algo.name, model, env.num_decisions)
    refuse_to_continue(config, why_not)
    if why_not is not None:
        log.info("an interruption would lose this run, because %s", why_not)
    state = load_state(context.folder, config.command, processes, PolicyState)
    events = context.folder / "tensorboard" if processes.is_main else None
    model.set_logger(make_logger(events, continuing=state is not None))
    updates_per_epoch = max(1, len(train_videos) // batch_size)
    steps_per_epoch = updates_per_epoch * rows * env.num_decisions
    epochs = config.need("epochs")
    if config.imitate is not None and state is None:
        _imitate(model, config, recognizer, env, updates_per_epoch * rows, display)
    looks = RolloutLooks(env.core.grid)
    with display.part("stage 2: policy", epochs) as progress:
        keep_best = KeepBestPolicy(
            val_env,
            context,
            recognizer,
            steps_per_epoch=steps_per_epoch,
            progress=progress,
            looks=looks,
            pictures=EpisodePictures(val_videos, config.video_freq, epochs),
            resumable=why_not is None,
            on_evaluation=on_evaluation,
        )
        if state is not None:
            with restoring(context.folder):
                group = processes.process_group
                own = part_of_state(state["algorithm"], state["rows"], group)
                restore_training_state(model, own)
                keep_best.resume(state, model.num_timesteps)
                restore_random_state(state, processes)
            log.info("continuing after epoch %d of %d", keep_best.epochs_done, epochs)
        left = epochs * steps_per_epoch - model.num_timesteps
        if left > 0:
            # Counted in rollouts, or, off policy, in episodes.
            episodes = 1 if isinstance(model, OnPolicyAlgorithm) else rows
            model.learn(
                left,
                callback=[looks, keep_best],
                log_interval=updates_per_epoch * episodes,
                reset_num_timesteps=state is None,
            )
    if processes.is_main:
        recognizer.save(context.folder / "recognizer")
        save_algorithm(model, context.folder / "algorithm.zip")
    finish(context.folder, processes)
    log.info("policy of val return %.4f in %s", keep_best.best_return, context.folder)
    return keep_best.best_return


def _imitate(
    model: BaseAlgorithm,
    config: Stage2Config,
    recognizer: AnyRecognizer,
    env: VectorEnvironment,
    per_epoch: int,
    display: ProgressDisplay,
) -> None:
    """`imitate=NAME`, for as many episodes as its epochs have."""
    name, episodes = str(config.imitate), config.imitate_epochs * per_epoch
    with display.part(f"stage 2: imitating {name}", episodes) as progress:
        imitate(
            model,
            env,
            recognizer,
            name=name,
            episodes=episodes,
            seed=config.seed,
            progress=progress,
        )


def _start_from(
    model: BaseAlgorithm,
    config: Stage2Config,
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
    recognizer: AnyRecognizer, videos: Videos, config: Stage2Config, rows: int, **rules: Any
) -> VectorEnvironment:
    return make_environment(
        config,
        recognizer,
        videos,
        num_envs=rows,
        reward=config.reward,
        skip_cost=config.skip_cost,
        **rules,
    )
