"""EpisodeVectorEnv: N videos at a time through the networks together, whatever is observed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from adafocus_env.data.clips import Videos
from adafocus_env.envs.actions import every_action
from adafocus_env.envs.arguments import check_arguments
from adafocus_env.envs.core import EpisodeCore
from adafocus_env.envs.episode_env import OfOneCore
from adafocus_env.envs.episode_sampler import RowSamplers
from adafocus_env.envs.factory import (
    arguments_of,
    make_core,
    rules_of,
)
from adafocus_env.envs.infos import Rows, put_rows, reset_info, step_info, with_success
from adafocus_env.envs.outcome import InfoArrays
from adafocus_env.envs.rendering import check_render_mode
from adafocus_env.envs.reset_options import integer_option, read_reset_options
from adafocus_env.features.source import EpisodeStart
from adafocus_env.networks.loading import AnyRecognizer
from adafocus_env.values import Count

_OWN_ARGUMENTS = {"num_envs": Count, "autoreset_mode": Any, "render_mode": Any}


class EpisodeVectorEnv(OfOneCore, VectorEnv[Any, Any, npt.NDArray[Any]]):
    """What the vector environments of both families have in common; a core has the rules.

    Subclasses say which one, and describe themselves.
    """

    _AUTORESET_MODES: ClassVar[dict[str, AutoresetMode]] = {
        "same_step": AutoresetMode.SAME_STEP,
        "next_step": AutoresetMode.NEXT_STEP,
        "disabled": AutoresetMode.DISABLED,
    }

    def __init__(
        self,
        *,
        num_envs: int = 1,
        autoreset_mode: str | AutoresetMode = "same_step",
        render_mode: str | None = None,
        **arguments: Any,
    ):
        known = {**arguments_of(self._build), **_OWN_ARGUMENTS}
        arguments = check_arguments({"num_envs": num_envs, **arguments}, known)
        core = make_core(self._build, num_rows=arguments.pop("num_envs"), **arguments)
        self._attach(core, autoreset_mode, render_mode)

    @classmethod
    def from_parts(
        cls,
        recognizer: AnyRecognizer,
        videos: Videos,
        *,
        num_envs: int = 1,
        autoreset_mode: str | AutoresetMode = "same_step",
        render_mode: str | None = None,
        **rules: Any,
    ) -> Self:
        """A vector environment over networks and videos that are already there."""
        known = {**rules_of(cls._build), **_OWN_ARGUMENTS}
        rules = check_arguments({"num_envs": num_envs, **rules}, known)
        env = cls.__new__(cls)
        core = cls._build(recognizer, videos, num_rows=rules.pop("num_envs"), **rules)
        env._attach(core, autoreset_mode, render_mode)
        return env

    def _attach(
        self,
        core: EpisodeCore,
        autoreset_mode: str | AutoresetMode,
        render_mode: str | None,
    ) -> None:
        mode = self._AUTORESET_MODES.get(
            str(getattr(autoreset_mode, "name", autoreset_mode)).lower()
        )
        if mode is None:
            raise ValueError(
                f"autoreset_mode is 'same_step', 'next_step' or 'disabled', not {autoreset_mode!r}"
            )
        self.core = core
        self.num_envs = core.num_rows
        self.render_mode = check_render_mode(render_mode)
        self.autoreset_mode = mode
        self.metadata = {**type(self).metadata, "autoreset_mode": mode}
        self.single_observation_space = core.observation_space
        self.single_action_space = core.locations.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._samplers = RowSamplers(core.source.num_videos, core.num_rows)
        self._view = self._view_type(core) if self.render_mode else None

    @property
    def num_videos(self) -> int:
        """V: videos in the split."""
        return self.core.source.num_videos

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """`(N, A)` which actions are possible: all. See `every_action`."""
        return np.tile(every_action(self.single_action_space), (self.num_envs, 1))

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes in all rows, or in those that `options["reset_mask"]` marks.

        Raises:
            ValueError: an unknown option, or an option of the wrong shape.
            TypeError: `reset_mask` is no boolean array.
            IndexError: a video index is outside the split.
        """
        asked = read_reset_options(options, num_rows=self.num_envs, can_skip=self.core.can_skip)
        self._samplers.seed(asked.rows, self._row_seeds(seed))
        starts = self._samplers.next(asked.rows, asked.video_indices, asked.episode_seeds)
        self._begin(asked.rows, starts, [asked.skip_costs[row] for row in asked.rows])
        infos: dict[str, Any] = {}
        put_rows(infos, reset_info(self.core, asked.rows), asked.rows, self.num_envs)
        return self._observation(), infos

    def step(
        self, actions: Any
    ) -> tuple[
        Any,
        npt.NDArray[np.float64],
        npt.NDArray[np.bool_],
        npt.NDArray[np.bool_],
        dict[str, Any],
    ]:
        """Look at one patch in every row; or skip its frame, where an action does.

        Under `"next_step"` rows whose episodes are over begin the next ones instead.

        Raises:
            gymnasium.error.InvalidAction: the actions are not in the action space.
            gymnasium.error.ResetNeeded: before the first reset, or on an episode that is over.
        """
        checked = self.core.locations.check(actions, (self.num_envs,))
        is_over = self.core.over.numpy()
        next_step = self.autoreset_mode == AutoresetMode.NEXT_STEP
        waiting = np.flatnonzero(is_over & next_step)
        rows = np.flatnonzero(~(is_over & next_step))
        rewards = np.zeros(self.num_envs)
        terminated = np.zeros(self.num_envs, dtype=np.bool_)
        infos: dict[str, Any] = {}
        if len(rows):
            outcome = self.core.transition(checked[rows], rows=torch.from_numpy(rows))
            if self._view is not None:
                self._view.record(outcome, rows.tolist())
            rewards[rows] = outcome.rewards.double().cpu().numpy()
            terminated[rows] = self.core.over[rows].numpy()
            infos = self._step_infos(step_info(self.core, outcome, rows), rows, terminated[rows])
        if len(waiting):
            self._begin_next(waiting, infos)
        return self._observation(), rewards, terminated, np.zeros_like(terminated), infos

    def schedule_videos(self, video_indices: npt.ArrayLike) -> None:
        """Say which videos the next episodes show, instead of each row's own order.

        Used once for every row, at its next reset or autoreset. Where there are workers, they load
        those clips from now on.

        Args:
            video_indices: `(N,)` integers.

        Raises:
            IndexError: an index is outside the split.
        """
        indices = integer_option("video_indices", video_indices, self.num_envs)
        named = [index for index in indices if index is not None and index < self.num_videos]
        if len(named) < self.num_envs:
            raise IndexError(f"video indices {indices} are not all in 0..{self.num_videos - 1}")
        self._samplers.schedule(named)
        features = self.core.features
        if features.works_ahead:
            features.prefetch(self._samplers.coming())

    def row_states(self) -> list[dict[str, Any]]:
        """What each row shows now and what it will draw, of JSON types; for `restore_rows`.

        Raises:
            gymnasium.error.ResetNeeded: a row is not at the start of an episode.
        """
        self.core.require_at_start("row_states")
        costs = self.core.skip_costs.tolist()
        return [
            {**drawn, **vars(start), "skip_cost": cost}
            for drawn, start, cost in zip(
                self._samplers.states(), self.core.starts, costs, strict=True
            )
        ]

    def restore_rows(self, states: Sequence[Mapping[str, Any]]) -> Any:
        """Begin the episodes again that `row_states` saw, and go on as that environment did.

        Args:
            states: one a row.

        Returns:
            the observations of a reset.

        Raises:
            ValueError: another number of rows.
        """
        if len(states) != self.num_envs:
            raise ValueError(f"{len(states)} row states for {self.num_envs} rows")
        self._samplers.restore(states)
        starts = [EpisodeStart(state["video_index"], state["episode_seed"]) for state in states]
        self._begin(range(self.num_envs), starts, [state["skip_cost"] for state in states])
        return self._observation()

    def render(self) -> tuple[npt.NDArray[np.uint8], ...] | None:
        """One image a row; None without a render mode."""
        if self._view is None:
            gym.logger.warn("render() needs an environment made with render_mode='rgb_array'")
            return None
        return tuple(self._view.draw(row) for row in range(self.num_envs))

    def _row_seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            super().reset(seed=int(seed))
            return [int(seed) + row for row in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} seeds, one a row, got {len(seed)}")
        return seed

    def _begin(
        self,
        rows: Iterable[int],
        starts: Sequence[EpisodeStart],
        skip_costs: Sequence[float | None] | None = None,
    ) -> None:
        rows = [int(row) for row in rows]
        self.core.reset_rows(rows, starts, skip_costs)
        if self._view is not None:
            self._view.reset(rows)

    def _begin_next(self, rows: Rows, infos: dict[str, Any] | None = None) -> None:
        """Begin the next episodes in some rows; what they begin with is added to the infos."""
        self._begin(rows, self._samplers.next(rows))
        if infos is not None:
            put_rows(infos, reset_info(self.core, rows), rows, self.num_envs)

    def _step_infos(
        self, info: InfoArrays, rows: Rows, ended: npt.NDArray[np.bool_]
    ) -> dict[str, Any]:
        """The infos of a step in Gymnasium's vector form, after an autoreset in the same step.

        Args:
            info: `(M,)` arrays of the rows that took the step.
            rows: `(M,)`, which.
            ended: `(M,)`, whether it was their episode's last.
        """
        infos: dict[str, Any] = {}
        over, last = rows[ended], with_success({name: v[ended] for name, v in info.items()})
        if self.autoreset_mode != AutoresetMode.SAME_STEP or len(over) == 0:
            put_rows(infos, info, rows, self.num_envs)
            if len(over):
                success = {"is_success": last["is_success"]}
                put_rows(infos, success, over, self.num_envs)
            return infos
        if len(over) < len(rows):
            running = {name: values[~ended] for name, values in info.items()}
            put_rows(infos, running, rows[~ended], self.num_envs)
        final_obs = np.full(self.num_envs, None, dtype=object)
        observations = self._observation()
        for row in over:
            final_obs[row] = self._of_row(observations, row)
        final_info: dict[str, Any] = {}
        put_rows(final_info, last, over, self.num_envs)
        self._begin_next(over, infos)
        mask = np.isin(np.arange(self.num_envs), over)
        return {
            **infos,
            "final_obs": final_obs,
            "_final_obs": mask,
            "final_info": final_info,
            "_final_info": mask.copy(),
        }

    def close_extras(self, **kwargs: Any) -> None:  # noqa: ARG002  # as Gymnasium calls it
        """End the processes that load clips (`num_workers`); called by `close`."""
        self.core.source.close()

    def _observation(self) -> Any:
        return self.core.observe().cpu().numpy()

    @staticmethod
    def _of_row(observations: Any, row: int) -> Any:
        """A copy of one row's observation."""
        return observations[row].copy()
