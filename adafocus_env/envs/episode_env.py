"""EpisodeEnv: one video at a time as a Gymnasium environment, whatever is observed of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from adafocus_env.data.clips import Videos
from adafocus_env.envs.actions import PatchGrid, every_action
from adafocus_env.envs.arguments import check_arguments
from adafocus_env.envs.core import EpisodeCore
from adafocus_env.envs.episode_sampler import EpisodeSampler
from adafocus_env.envs.factory import (
    arguments_of,
    make_core,
    rules_of,
)
from adafocus_env.envs.infos import reset_info, single_info, step_info, with_success
from adafocus_env.envs.rendering import FrameView, check_render_mode
from adafocus_env.envs.reset_options import read_reset_options
from adafocus_env.networks.loading import AnyRecognizer

_ROW = np.zeros(1, dtype=np.int64)  # the only one


class OfOneCore:
    """What single and vector environments say alike; a core has the rules."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012
    core: EpisodeCore
    _build: ClassVar[Callable[..., EpisodeCore]]
    _view_type: ClassVar[type[FrameView]] = FrameView

    @property
    def num_decisions(self) -> int:
        """Steps of every episode that is not ended before: T, or for several looks as many T."""
        return self.core.num_decisions

    @property
    def shows_cost(self) -> bool:
        """Whether observations end with a channel that shows the price of a look."""
        return self.core.shows_cost

    @property
    def patch_grid(self) -> PatchGrid:
        """The positions of a grid of patches, also where actions are others."""
        return self.core.grid


class EpisodeEnv(OfOneCore, gym.Env[Any, Any]):
    """What the environments of both families have in common; a core has the rules.

    Subclasses say which one, and describe themselves.
    """

    def __init__(self, *, render_mode: Literal["rgb_array"] | None = None, **arguments: Any):
        known = {**arguments_of(self._build), "render_mode": Any}
        arguments = check_arguments(arguments, known)
        self._attach(make_core(self._build, num_rows=1, **arguments), render_mode)

    @classmethod
    def from_parts(
        cls,
        recognizer: AnyRecognizer,
        videos: Videos,
        *,
        render_mode: Literal["rgb_array"] | None = None,
        **rules: Any,
    ) -> Self:
        """An environment over networks and videos that are already there.

        Args:
            recognizer: is frozen; may be shared by several environments.
            videos: an opened split.
            render_mode: as in `make`.
            **rules: those arguments that are about neither recognizer nor videos, as in `make`;
                and `bank`, a `FeatureBank`.
        """
        rules = check_arguments(rules, {**rules_of(cls._build), "render_mode": Any})
        env = cls.__new__(cls)
        env._attach(cls._build(recognizer, videos, num_rows=1, **rules), render_mode)
        return env

    def _attach(self, core: EpisodeCore, render_mode: str | None) -> None:
        self.render_mode = check_render_mode(render_mode)
        self.core = core
        self.observation_space = core.observation_space
        self.action_space = core.locations.action_space
        self._sampler = EpisodeSampler(core.source.num_videos)
        self._view = self._view_type(core) if self.render_mode else None

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """`(A,)` which actions are possible: all. See `every_action`."""
        return every_action(self.action_space)

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Show the next video, or the one that `options` names.

        Raises:
            ValueError: an unknown option.
            IndexError: `video_index` is outside the split.
        """
        asked = read_reset_options(options, num_rows=None, can_skip=self.core.can_skip)
        super().reset(seed=seed)
        if seed is not None:
            self._sampler = EpisodeSampler(self.core.source.num_videos)
        start = self._sampler.next(
            self.np_random,
            video_index=asked.video_indices[0],
            episode_seed=asked.episode_seeds[0],
        )
        self.core.reset_rows([0], [start], asked.skip_costs)
        if self._view is not None:
            self._view.reset([0])
        return self._observation(), single_info(reset_info(self.core, _ROW))

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Look at one patch of the current frame, or skip it where an action does.

        Raises:
            gymnasium.error.InvalidAction: the action is not in the action space.
            gymnasium.error.ResetNeeded: before the first reset, or after the last step.
        """
        actions = self.core.locations.check(np.asarray(action)[None], (1,))
        outcome = self.core.transition(actions)
        if self._view is not None:
            self._view.record(outcome, [0])
        terminated = bool(self.core.over[0])
        info = step_info(self.core, outcome, _ROW)
        info = single_info(with_success(info) if terminated else info)
        return self._observation(), float(outcome.rewards[0]), terminated, False, info

    def render(self) -> npt.NDArray[np.uint8] | None:
        """The frame just looked at as `(H, W, 3)` uint8 RGB; None without a render mode."""
        if self._view is None:
            gym.logger.warn("render() needs an environment made with render_mode='rgb_array'")
            return None
        return self._view.draw(0)

    def close(self) -> None:
        """End the processes that load clips (`num_workers`)."""
        self.core.source.close()

    def _observation(self) -> Any:
        return self.core.observe()[0].cpu().numpy()
