"""ActiveVisionVectorEnv: N closed loops at a time through the networks together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from adafocus_env.envs.actions import PatchChoice
from adafocus_env.envs.active_rendering import LoopView
from adafocus_env.envs.closed_loop import ActiveVisionCore
from adafocus_env.envs.episode_vector_env import EpisodeVectorEnv
from adafocus_env.envs.factory import make_active_core
from adafocus_env.envs.infos import step_info
from adafocus_env.envs.outcome import InfoArrays, LoopResult, Outcome
from adafocus_env.envs.rendering import FrameView

# From what all rows see, by name `(N, ...)`, on the device, to their actions `(N, ...)`; or to
# patches `(N,)`, where an episode ends whose row has none.
Act = Callable[[dict[str, Tensor]], Any]


class ActiveVisionVectorEnv(EpisodeVectorEnv):
    """N rows of `ActiveVisionEnv`, whose docstring is the manual.

    Row i equals the single environment seeded with `seed + i`. Where an action ends episodes, rows
    end at different times.

    Args:
        num_envs: N.
        autoreset_mode: as of `PatchLocalizationVectorEnv`.
        render_mode: None or `"rgb_array"`.
        **arguments: as of `ActiveVisionEnv`.

    Reset options: `video_index` and `episode_seed` as an int or an `(N,)` array, and `reset_mask`
    as Gymnasium defines it.
    """

    core: ActiveVisionCore
    _build: ClassVar[Callable[..., ActiveVisionCore]] = staticmethod(make_active_core)
    _view_type: ClassVar[type[FrameView]] = LoopView

    @property
    def can_stop(self) -> bool:
        """Whether an action ends the episode."""
        return self.core.can_stop

    @property
    def looks_per_frame(self) -> int:
        """Looks at each frame."""
        return self.core.looks_per_frame

    def run(self, act: Act) -> LoopResult:
        """Step through the episodes just begun, without leaving the device between looks.

        Rows whose episodes have ended idle until the last one's has. Under `"same_step"` the next
        episodes begin afterwards.

        Args:
            act: is shown what each row sees and says what it does; of rows that idle nothing is
                done with it.

        Raises:
            gymnasium.error.InvalidAction: an action is not in the action space.
            gymnasium.error.ResetNeeded: a row is not at the start of an episode.
        """
        core = self.core
        core.require_at_start("run")
        outcomes: list[Outcome] = []
        infos: list[InfoArrays] = []
        running: list[Tensor] = []
        for _ in range(core.num_decisions):
            rows = (~core.over).nonzero()[:, 0]
            if len(rows) == 0:
                break
            outcome = self._acted(act(core.observe_loop()), rows)
            if self._view is not None:
                self._view.record(outcome, rows.tolist())
            running.append(torch.zeros(self.num_envs, dtype=torch.bool).index_fill(0, rows, True))
            if len(rows) < self.num_envs:
                outcome = _idling(outcome, outcomes[-1], rows)
            outcomes.append(outcome)
            infos.append(step_info(core, outcome, np.arange(self.num_envs)))
        result = _stacked(outcomes, infos, running, core.num_decisions)
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            self._begin_next(np.arange(self.num_envs))
        return result

    def _acted(self, actions: Any, rows: Tensor) -> Outcome:
        """A step of some rows by the actions, or the patches, of all."""
        if isinstance(actions, PatchChoice):
            focused = actions.focused[rows]
            return self.core.transition(offsets=actions.offsets[rows], focused=focused, rows=rows)
        on_cpu = actions.cpu() if isinstance(actions, Tensor) else actions
        checked = self.core.locations.check(on_cpu, (self.num_envs,))
        return self.core.transition(checked[rows], rows=rows)

    def observe_episode(self) -> NoReturn:
        """There is nothing to be known in advance.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            "a closed loop cannot be observed in advance, because what is seen depends on the "
            "looks before; step through it, or use run(act)"
        )

    def play(self, *_: Any, **__: Any) -> NoReturn:
        """Whole episodes of actions are for the open loop.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            "a closed loop cannot be played from actions chosen in advance; step through it, or "
            "use run(act); AdaFocus/PatchLocalization-v0 plays"
        )

    def _observation(self) -> Any:
        return {name: part.cpu().numpy() for name, part in self.core.observe_loop().items()}

    @staticmethod
    def _of_row(observations: Any, row: int) -> Any:
        return {name: part[row].copy() for name, part in observations.items()}


def _idling(outcome: Outcome, before: Outcome, rows: Tensor) -> Outcome:
    """The outcome of all rows where some alone took the step: the others stay as they were."""
    merged = {}
    for name, stayed in vars(before).items():
        idle = torch.zeros_like(stayed) if name in _NOTHING else stayed.clone()
        merged[name] = idle.index_copy(0, rows.to(idle.device), getattr(outcome, name))
    return Outcome(**merged)


# What a row that idles brings and looks at; all else stays as it was.
_NOTHING = ("rewards", "offsets", "focused", "patch_vectors")


def _stacked(
    outcomes: list[Outcome], infos: list[InfoArrays], running: list[Tensor], count: int
) -> LoopResult:
    """One step after the other, `(N, ...)` to `(N, count, ...)`; idle ones fill the end."""
    short = count - len(outcomes)
    if short:
        nobody = torch.zeros(0, dtype=torch.int64)
        nothing = {name: value[:0] for name, value in vars(outcomes[-1]).items()}
        idle = _idling(Outcome(**nothing), outcomes[-1], nobody)
        outcomes = outcomes + [idle] * short
        boxes = {"patch_box": np.zeros_like(infos[-1]["patch_box"])}
        infos = infos + [{**infos[-1], **boxes}] * short
        running = running + [torch.zeros_like(running[-1])] * short
    stacked = {
        name: torch.stack([getattr(outcome, name) for outcome in outcomes], dim=1)
        for name in vars(outcomes[0])
    }
    arrays = {name: np.stack([info[name] for info in infos], axis=1) for name in infos[0]}
    arrays["is_success"] = arrays["predicted_label"][:, -1] == arrays["label"][:, -1]
    return LoopResult(**stacked, infos=arrays, running=torch.stack(running, dim=1))
