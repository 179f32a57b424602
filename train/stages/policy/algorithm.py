"""Stage 2's algorithm: from the configuration to an SB3 algorithm that is ready to learn."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from adafocus_env.files import atomic_path, first_line
from adafocus_env.memory import check_room
from agents.evaluation import VectorEnvironment
from agents.gru_ppo.algorithm import GruPPO
from agents.policies.policy_files import policy_arguments, save_policy
from agents.policies.spatial_head import with_patch_grid
from agents.policies.spatial_policy import SpatialPolicy
from agents.sb3.buffer_memory import BufferSize, buffer_size
from agents.sb3.registry import algorithm_arguments, algorithm_class, policy_class
from agents.sb3.vec_env import CenteredActions, Sb3VecEnvAdapter
from train.checkpoints.load import ZIP_FILE
from train.config.commands import Stage2Config
from train.config.keys import ConfigError
from train.runs.context import RunContext
from train.runs.saved_config import saved_config

log = logging.getLogger(__name__)

# SB3's policies of the same kind for observations by name.
_OF_DICTS = {"MlpPolicy": "MultiInputPolicy", "MlpLstmPolicy": "MultiInputLstmPolicy"}
# How SB3, sb3-contrib and torch refuse arguments, beside a ValueError, which says it.
_REFUSALS = (
    *(AssertionError, TypeError, AttributeError, KeyError, IndexError),
    *(RuntimeError, ArithmeticError),
)


@dataclass(frozen=True)
class PreparedAlgorithm:
    """An algorithm and what its user should know.

    Attributes:
        model: ready to learn.
        buffer: what it will keep; None where its kind is unknown.
    """

    model: BaseAlgorithm
    buffer: BufferSize | None


def prepare_algorithm(
    config: Stage2Config, context: RunContext[Stage2Config], env: VectorEnvironment
) -> PreparedAlgorithm:
    """The configured algorithm on an environment.

    Rows of all processes have the seeds that one process would give them.

    Raises:
        ConfigError: the algorithm cannot run in several processes, or act in these locations.
        ValueError: an unknown name, or a buffer that does not fit into memory.
    """
    algo = config.algo
    algorithm = algorithm_class(algo.name, algo.class_path)
    arguments = algorithm_arguments(
        algo.name,
        algo.preset,
        algo.arguments,
        class_path=algo.class_path,
        num_decisions=env.num_decisions,
    )
    if isinstance(env.single_observation_space, spaces.Dict):
        named = arguments.get("policy")
        arguments |= {"policy": _OF_DICTS[named]} if named in _OF_DICTS else {}
        if issubclass(policy_class(algorithm, arguments.get("policy")), SpatialPolicy):
            raise ConfigError(
                f"algo.policy={algo.arguments['policy']} reads glances alone; with env=active use "
                "algo=gru_ppo algo.preset=loop, or leave algo.policy"
            )
    policy = policy_class(algorithm, arguments.get("policy"))
    arguments["policy_kwargs"] = with_patch_grid(policy, arguments["policy_kwargs"], env.patch_grid)
    processes = context.processes
    if issubclass(algorithm, GruPPO):
        arguments["process_group"] = processes.process_group
    elif processes.count > 1:
        raise ConfigError(
            f"algo={algo.name} trains in one process; start it without torchrun, or use "
            "algo=gru_ppo, which trains in several"
        )
    observations = env.single_observation_space
    size = buffer_size(
        algorithm,
        arguments,
        observations,
        env.single_action_space,
        num_rows=env.num_envs,
        num_decisions=env.num_decisions,
        looks_per_frame=env.core.looks_per_frame,
    )
    if size is not None:
        place = context.device if issubclass(algorithm, GruPPO) else torch.device("cpu")
        check_room(f"a {size}", size.num_bytes, place, _cure(algorithm))
        log.info("%s on %s", size, place)
        if len(observations.shape or ()) == 1:
            log.info("observation=vector does not say where things are; observation=map does")
        on_policy = issubclass(algorithm, OnPolicyAlgorithm)
        if on_policy and "batch_size" in arguments and size.transitions > 0:
            arguments["batch_size"] = min(arguments["batch_size"], size.transitions)
    vec_env = _vec_env(env, centered=not issubclass(algorithm, GruPPO))
    try:
        model = algorithm(env=vec_env, seed=config.seed, device=context.device, **arguments)
    except _REFUSALS as error:
        if "action spaces" in str(error):
            other = "grid" if config.locations == "continuous" else "continuous"
            raise ConfigError(
                f"algo={algo.name} cannot use locations={config.locations} ({first_line(error)}); "
                f"try locations={other}"
            ) from error
        given = ", ".join(f"algo.{name}={value}" for name, value in algo.arguments.items())
        raise ConfigError(
            f"algo={algo.name} cannot be made of its arguments ({first_line(error)}); given are "
            f"{given or 'those of its preset'}"
        ) from error
    model.policy.sees_cost = env.shows_cost  # type: ignore[assignment]
    vec_env.seed(config.seed + processes.rank * env.num_envs)
    return PreparedAlgorithm(model, size)


def publish(
    model: BaseAlgorithm, folder: Path, recognizer_sha256: str, glancer_sha256: str | None
) -> Path:
    """Write an algorithm's policy as it is now: `policy/`, or `policy.zip` where that cannot be.

    Returns:
        what was written.
    """
    target = folder / "policy"
    try:
        save_policy(
            model.policy,
            target,
            recognizer_sha256=recognizer_sha256,
            glancer_sha256=glancer_sha256,
            arguments=policy_arguments(model),
        )
    except ValueError as error:
        target = folder / ZIP_FILE
        log.warning(
            "the policy is in %s, which opens with trust=true only, because %s", target, error
        )
        with atomic_path(target) as part:
            save_algorithm(model, part)
    return target


def save_algorithm(model: BaseAlgorithm, path: Path) -> None:
    """Write SB3's own file, without the observations of the last step."""
    model.save(path, exclude=["_last_obs", "_last_original_obs", "_last_episode_starts"])


def refuse_unfinished_source(config: Stage2Config) -> None:
    """Refuse to start from an interrupted run of this stage.

    One that can be continued has been taken for that already (`train.runs.folder`).

    Raises:
        ConfigError: `resume=` names such a run.
    """
    folder = Path(config.resume or "auto")
    saved = None if (folder / "recognizer").exists() else saved_config(folder)
    if saved is not None and saved["command"] == config.command:
        raise ConfigError(
            f"{folder} is an interrupted {config.command} that left nothing to continue from; "
            "start anew: name the run of stage 1 with resume="
        )


def refuse_to_continue(config: Stage2Config, reason: str | None) -> None:
    """Refuse `resume=auto` for an algorithm that could never be continued.

    Args:
        config: of stage 2.
        reason: why it cannot; None where it can.

    Raises:
        ConfigError: `resume=auto` was asked for.
    """
    if reason is not None and config.resume == "auto":
        raise ConfigError(
            f"algo={config.algo.name} cannot continue an interrupted run: {reason}; "
            "leave out resume=auto and name the run of stage 1 with resume="
        )


def _vec_env(env: VectorEnvironment, *, centered: bool) -> VecEnv:
    vec_env: VecEnv = Sb3VecEnvAdapter(env)
    if centered and isinstance(env.single_action_space, spaces.Box):
        vec_env = CenteredActions(vec_env)
    return VecMonitor(vec_env)


def _cure(algorithm: type[BaseAlgorithm]) -> str:
    if issubclass(algorithm, OffPolicyAlgorithm):
        return "use observation=vector or a smaller algo.buffer_size"
    return "use observation=vector, a smaller batch_size or fewer algo.n_steps"
