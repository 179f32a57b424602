"""Sb3VecEnvAdapter: a Gymnasium vector environment as Stable-Baselines3's `VecEnv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecMonitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn
from torch import Tensor

from adafocus_env.envs import EpisodeResult, LoopResult


class Sb3VecEnvAdapter(VecEnv):
    """Translates; it keeps no state but the pending action.

    Any Gymnasium vector environment that resets in the same step will do. Where it can play whole
    episodes at once (`observe_episode`, `play`), so can the adapter.

    Args:
        env: in `AutoresetMode.SAME_STEP`, which is what SB3 expects of its environments.

    Raises:
        ValueError: the environment is no vector environment, or has another autoreset mode.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]):
        if not isinstance(env, VectorEnv):
            raise ValueError(
                f"{type(env).__name__} is one environment; make many with gymnasium.make_vec(ID, "
                "num_envs=N)"
            )
        mode = env.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(f"SB3 needs autoreset mode SAME_STEP, and this environment has {mode}")
        self.env = env
        self._actions: npt.NDArray[Any] | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> VecEnvObs:
        """Begin new episodes, with the seeds and options set before, if any."""
        seeds = None if all(seed is None for seed in self._seeds) else self._seeds
        # Gymnasium's vector environments take a list of seeds; the base class's hint is narrower.
        observations, infos = self.env.reset(
            seed=seeds,  # type: ignore[arg-type]
            options=self._merged_options(),
        )
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = _info_list(infos, self.num_envs)
        return observations  # type: ignore[no-any-return]

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """SB3's 4-tuple; the last info of an episode has `terminal_observation`."""
        observations, rewards, terminated, truncated, infos = self.env.step(self._actions)
        listed = sb3_infos(infos, terminated, truncated, self.reset_infos)
        return observations, rewards.astype(np.float32), terminated | truncated, listed

    @property
    def plays_episodes(self) -> bool:
        """Whether `observe_episode` and `play` are there."""
        plain = self.env.unwrapped
        return plain is self.env and hasattr(plain, "play") and not self.runs_loops

    def observe_episode(self) -> Tensor:
        """All observations of the episodes just begun, `(N, T, ...)`."""
        return self.env.observe_episode()  # type: ignore[attr-defined, no-any-return]

    def play(self, actions: Any) -> EpisodeResult:
        """Play the episodes just begun, actions `(N, T)`, and begin the next ones."""
        return self.env.play(actions)  # type: ignore[attr-defined, no-any-return]

    @property
    def runs_loops(self) -> bool:
        """Whether `run` is there: a closed loop, which steps."""
        plain = self.env.unwrapped
        return plain is self.env and hasattr(plain, "run")

    def run(self, act: Any) -> LoopResult:
        """Step through the episodes just begun; see `ActiveVisionVectorEnv.run`."""
        return self.env.run(act)  # type: ignore[attr-defined, no-any-return]

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        """One image a row."""
        images: Any = self.env.render()
        return [None] * self.num_envs if images is None else list(images)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the environment, once for each index: the rows share it."""
        return [getattr(self.env.unwrapped, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the environment for all rows.

        Raises:
            ValueError: for some rows only; they share it.
        """
        self._require_all_rows(indices)
        setattr(self.env.unwrapped, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Call a method of the environment once; its result is repeated for each row.

        Only `action_masks` has a part for each row.

        Raises:
            ValueError: for some rows only; they share it.
        """
        if method_name == "action_masks":
            masks = self.env.unwrapped.action_masks()  # type: ignore[attr-defined]
            return [masks[row] for row in self._get_indices(indices)]
        self._require_all_rows(indices)
        result = getattr(self.env.unwrapped, method_name)(*method_args, **method_kwargs)
        return [result] * self.num_envs

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """False for every row: single-environment wrappers do not go around a batch."""
        return [False for _ in self._get_indices(indices)]

    def _require_all_rows(self, indices: VecEnvIndices) -> None:
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError("the rows share one environment; leave indices=None")

    def _merged_options(self) -> dict[str, Any] | None:
        """SB3's options, one dict a row, as Gymnasium's options of arrays."""
        names = {name for options in self._options for name in options}
        for name in names:
            if any(name not in options for options in self._options):
                raise ValueError(f"option {name!r} must be given for every row or for none")
        return {name: np.array([o[name] for o in self._options]) for name in names} or None


def playable(env: VecEnv) -> Sb3VecEnvAdapter | None:
    """The adapter that plays whole episodes, if nothing but plain `VecMonitor`s lie around it."""
    adapter = _adapter_within(env)
    return adapter if adapter is not None and adapter.plays_episodes else None


def runnable(env: VecEnv) -> Sb3VecEnvAdapter | None:
    """The adapter that runs closed loops, if nothing but plain `VecMonitor`s lie around it."""
    adapter = _adapter_within(env)
    return adapter if adapter is not None and adapter.runs_loops else None


def _adapter_within(env: VecEnv) -> Sb3VecEnvAdapter | None:
    # A monitor that writes a file counts steps by itself, so it needs them.
    while isinstance(env, VecMonitor) and env.results_writer is None:
        env = env.venv
    return env if isinstance(env, Sb3VecEnvAdapter) else None


def played_infos(result: EpisodeResult) -> list[list[dict[str, Any]]]:
    """The infos of played episodes as of their steps: T lists of one dict a row.

    They are `sb3_infos`, but for `terminal_observation` and `TimeLimit.truncated`.
    """
    infos = dict(result.infos)
    success = infos.pop("is_success")
    # Whole columns at a time: one number at a time would take as long as a small update.
    columns = [
        [list(step) if values.ndim > 2 else step.tolist() for step in values.swapaxes(0, 1)]
        for values in infos.values()
    ]
    listed = [
        [dict(zip(infos, row, strict=True)) for row in zip(*step, strict=True)]
        for step in zip(*columns, strict=True)
    ]
    for info, named in zip(listed[-1], success.tolist(), strict=True):
        info["is_success"] = named
    return listed


def sb3_infos(
    infos: dict[str, Any],
    terminated: npt.NDArray[np.bool_],
    truncated: npt.NDArray[np.bool_],
    reset_infos: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """The infos of a step as SB3 expects them, one dict a row.

    Args:
        infos: Gymnasium's, in autoreset mode SAME_STEP.
        terminated: `(N,)`.
        truncated: `(N,)`.
        reset_infos: gets what the next episodes began with.
    """
    listed = _info_list(infos, len(terminated))
    for row in np.flatnonzero(terminated | truncated):
        final = listed[row].pop("final_info", {})
        reset_infos[row] = {k: v for k, v in listed[row].items() if k != "final_obs"}
        listed[row] = {
            **final,
            "terminal_observation": listed[row]["final_obs"],
            "TimeLimit.truncated": bool(truncated[row] and not terminated[row]),
        }
    return listed


def _info_list(infos: dict[str, Any], num_rows: int) -> list[dict[str, Any]]:
    """Gymnasium's dict of arrays and masks as one dict a row; numbers become Python's."""
    listed: list[dict[str, Any]] = [{} for _ in range(num_rows)]
    for name, values in infos.items():
        if name.startswith("_"):
            continue
        nested = _info_list(values, num_rows) if isinstance(values, dict) else values
        for row in np.flatnonzero(infos[f"_{name}"]):
            value = nested[row]
            listed[row][name] = value.item() if isinstance(value, np.generic) else value
    return listed


class CenteredActions(VecEnvWrapper):
    """Actions (row, column) in -1..1; 0 is the middle of the frame.

    A new Gaussian policy acts around 0. In the environment's own 0..1 that is the upper left
    corner, and half of its actions would be cut off there.

    Args:
        venv: with actions in a `Box` of finite bounds.
    """

    def __init__(self, venv: VecEnv):
        space = venv.action_space
        assert isinstance(space, spaces.Box)
        self._low, self._width = space.low, space.high - space.low
        super().__init__(venv, action_space=spaces.Box(-1.0, 1.0, space.shape, np.float32))

    def reset(self) -> VecEnvObs:
        """Begin new episodes."""
        return self.venv.reset()

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Begin a step."""
        fractions = (np.asarray(actions) + 1.0) / 2.0
        scaled = (self._low + self._width * fractions).astype(np.float32)
        self.venv.step_async(scaled.clip(self._low, self._low + self._width))

    def step_wait(self) -> VecEnvStepReturn:
        """End a step."""
        return self.venv.step_wait()
