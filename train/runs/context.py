"""What every command works in: run folder, log, TensorBoard events, device, data, seeds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch

from adafocus_env.data import Videos
from adafocus_env.features import open_bank
from adafocus_env.files import read_json, write_json
from adafocus_env.folders import make_folder
from adafocus_env.networks import AnyRecognizer, build_recognizer
from train.config.builders import open_split, recognizer_config
from train.config.learning import PlayedSection, PretrainedSection
from train.config.sections import RunSection
from train.runs.folder import STATE_FILE, VALIDATION_FILE, refuse_to_lose
from train.runs.processes import Processes, describe
from train.runs.saved_config import save_config

if TYPE_CHECKING:
    from agents.evaluation import VectorEnvironment

log = logging.getLogger(__name__)


C = TypeVar("C", bound=RunSection, covariant=True)
E = TypeVar("E", bound="VectorEnvironment")


class RunContext(Generic[C]):
    """One command's folder and data.

    Args:
        config: the command's configuration.
        folder: where the command writes; made if missing.
        videos: splits that are open already, by (split, training, frames); shared between the
            parts of a larger run, so that decoded videos are kept once.

    Raises:
        ConfigError: the folder holds another run, or a setting that this device cannot do.
    """

    def __init__(
        self,
        config: C,
        folder: Path,
        videos: dict[tuple[str, bool, int], Videos] | None = None,
    ):
        self.config = config
        self.folder = folder
        self.processes = Processes(config)
        self.device = self.processes.device
        self._videos = {} if videos is None else videos
        self._to_close = ExitStack()
        make_folder(folder)
        if self.processes.is_main:
            refuse_to_lose(folder, config.command)
        going_on = (folder / STATE_FILE).is_file()
        log.info("%s %s in %s", "continuing" if going_on else "starting", config.command, folder)
        log.info("running on %s", describe(self.processes))
        if self.processes.is_main:
            if not going_on:
                (folder / VALIDATION_FILE).unlink(missing_ok=True)
            save_config(config, folder)

    @cached_property
    def _writer(self) -> Any:
        """TensorBoard events, in `tensorboard/` of the run folder."""
        from torch.utils.tensorboard import SummaryWriter

        events = self.folder / "tensorboard"
        make_folder(events)
        return SummaryWriter(str(events))

    def record(self, name: str, value: float, step: int) -> None:
        """A TensorBoard value, written by the main process."""
        if self.processes.is_main:
            self._writer.add_scalar(name, value, step)

    def note_evaluation(self, epochs: int, values: Mapping[str, float]) -> None:
        """Keep what an evaluation after some epochs has found, in `validation.json`."""
        if not self.processes.is_main:
            return
        file = self.folder / VALIDATION_FILE
        before = read_json(file)["evaluations"] if file.is_file() else []
        kept = [one for one in before if one["epochs"] < epochs]  # a continued run repeats some
        write_json(file, {"evaluations": [*kept, {"epochs": epochs, **values}]})

    def open_split(
        self, split: str, *, training: bool = False, num_frames: int | None = None
    ) -> Videos:
        """A split as this run's networks take it.

        Args:
            split: `"train"`, `"val"` or `"test"`.
            training: random frames, crops and flips.
            num_frames: T; None is the configured one.
        """
        frames = self.config.num_frames if num_frames is None else num_frames
        key = (split, training, frames)
        if key not in self._videos:
            self._videos[key] = open_split(self.config, split, training=training, num_frames=frames)
        return self._videos[key]

    def use_videos(self, split: str, videos: Videos) -> None:
        """Take these for a split, as evaluation sees it, instead of opening it."""
        self._videos[split, False, videos.num_frames] = videos

    def rules(self: RunContext[PlayedSection], split: str) -> dict[str, Any]:
        """What `from_parts` of an environment over a split of this run takes, the reward apart.

        With a bank random patches lie on the grid, because it holds no others.

        Raises:
            FileNotFoundError: there is no bank of this split.
        """
        config = self.config
        bank = open_bank(config.features, split)
        positions = config.baseline_positions if bank is None else "grid"
        if positions != config.baseline_positions:
            log.info("%s of %s: baseline_positions=grid", config.features, split)
        return {
            "grid_size": config.grid_size,
            "baseline_positions": positions,
            "bank": bank,
            "bank_device": config.bank_device,
            **config.live_options,
        }

    def new_recognizer(
        self: RunContext[PretrainedSection], class_names: tuple[str, ...]
    ) -> AnyRecognizer:
        """A recognizer of the configured family with new weights, drawn from the run's seed."""
        torch.manual_seed(self.config.seed)
        return build_recognizer(recognizer_config(self.config, class_names)).to(self.device)

    def closing(self, env: E) -> E:
        """Close an environment, and so the processes that load its clips, with this context."""
        self._to_close.callback(env.close)
        return env

    def close(self) -> None:
        """Close what was opened, write out pending events."""
        self._to_close.close()
        if "_writer" in self.__dict__:
            self._writer.close()
