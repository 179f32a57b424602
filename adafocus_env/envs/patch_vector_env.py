"""PatchLocalizationVectorEnv: N videos at a time through the networks together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from gymnasium.vector import AutoresetMode
from torch import Tensor

from adafocus_env.envs.episode_vector_env import EpisodeVectorEnv
from adafocus_env.envs.factory import make_core_from_parts
from adafocus_env.envs.infos import step_info
from adafocus_env.envs.open_loop import PatchLocalizationCore
from adafocus_env.envs.outcome import EpisodeResult


class PatchLocalizationVectorEnv(EpisodeVectorEnv):
    """N rows of `PatchLocalizationEnv`, whose docstring is the manual.

    Row i equals the single environment seeded with `seed + i`. Because actions never change
    observations, whole episodes can be played at once: `observe_episode()`, then `play(actions)`.

    Args:
        num_envs: N.
        autoreset_mode: `"same_step"` (default): an episode's last step also begins the next one,
            with `final_obs` and `final_info` in the info; a rollout of T steps is N whole episodes.
            `"next_step"`, which Gymnasium's vectors of single environments have by default and
            some of its wrappers need, such as `NormalizeObservation`: the step after the last
            one begins the next episode, whatever its action, with reward 0.
            `"disabled"`: `reset` begins it, for evaluation.
        render_mode: None or `"rgb_array"`.
        **arguments: as of `PatchLocalizationEnv`.

    Wrappers go around the batch (`gymnasium.wrappers.vector`). Its `RecordEpisodeStatistics` puts
    `episode` beside the other infos of an episode's last step. One around each environment of
    `vectorization_mode="sync"` does so, too, but under `"same_step"` in `final_info`.

    Reset options: `video_index` and `episode_seed` as an int or an `(N,)` array, `skip_cost` (where
    an action skips) as a number or an `(N,)` array, and `reset_mask` as Gymnasium defines it.
    """

    core: PatchLocalizationCore
    _build: ClassVar[Callable[..., PatchLocalizationCore]] = staticmethod(make_core_from_parts)

    def observe_episode(self) -> Tensor:
        """All observations of the episodes just begun: `(N, T, C, h, w)`, on the device."""
        return self.core.observe_episode()

    def play(
        self, actions: Any = None, *, offsets: Any = None, focused: Any = None
    ) -> EpisodeResult:
        """Play whole episodes at once, from their first frame; equals T steps.

        Under `"same_step"` the next episodes begin afterwards, as they would after T steps.

        Args:
            actions: `(N, T)` or `(N, T, 2)`; or instead
            offsets: `(N, T, 2)` integer (top, left) corners in pixels, at any pixel.
            focused: `(N, T)` bool, with offsets: False skips the frame, also where no action does;
                None keeps all.
        """
        if actions is not None:
            shape = (self.num_envs, self.num_decisions)
            on_cpu = actions.cpu() if isinstance(actions, Tensor) else actions
            actions = self.core.locations.check(on_cpu, shape)
        outcome = self.core.play(actions, offsets=offsets, focused=focused)
        rows = np.arange(self.num_envs)
        infos = step_info(self.core, outcome, rows)
        infos["is_success"] = infos["predicted_label"][:, -1] == infos["label"][:, -1]
        if self._view is not None:
            self._view.record(outcome, rows.tolist())
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            self._begin_next(rows)
        return EpisodeResult(**vars(outcome), infos=infos)
