"""Processes: this process among those that `torchrun` started, through Accelerate."""

from __future__ import annotations

import os
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import gather_object

from adafocus_env.envs.factory import choose_device
from agents.gru_ppo.process_group import ProcessGroup
from train.config.keys import ConfigError
from train.config.learning import SupervisedSection
from train.config.sections import PrecisionSection, RunSection

T = TypeVar("T")


class Processes:
    """One training run over any number of processes and machines; alone without `torchrun`.

    Args:
        config: device, precision, gradient accumulation, batch.

    Attributes:
        accelerator: Accelerate's, for precision, backward passes and wrapping.
        device: of this process; `cuda` under torchrun is the GPU of its local rank.
        rank: 0-based number of this process.
        count: how many there are.

    Raises:
        ConfigError: a setting that this device cannot do.
    """

    def __init__(self, config: RunSection):
        self.device = _own_device(config.device)
        amp = config.amp if isinstance(config, PrecisionSection) else "none"
        precision, self.accumulation = _precision(amp, self.device), 1
        if isinstance(config, SupervisedSection):
            self.accumulation = config.grad_accumulation
            if config.sync_batchnorm and self.device.type != "cuda":
                raise ConfigError("sync_batchnorm=true needs GPUs; leave it false on a CPU")
        _forget_last_run()
        self.accelerator = Accelerator(
            cpu=self.device.type == "cpu",
            device_placement=False,
            mixed_precision=precision,
            gradient_accumulation_steps=self.accumulation,
            step_scheduler_with_optimizer=False,
        )
        self.rank: int = self.accelerator.process_index
        self.count: int = self.accelerator.num_processes

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    @property
    def process_group(self) -> ProcessGroup:
        """What the agents need to know of it."""
        return ProcessGroup(self.rank, self.count)

    def share_of(self, batch_size: int, name: str = "batch_size") -> int:
        """This process's part of a batch.

        Raises:
            ConfigError: the batch cannot be shared equally.
        """
        if batch_size % self.count:
            raise ConfigError(
                f"{name}={batch_size} cannot be shared by {self.count} processes; "
                f"use a multiple of {self.count}"
            )
        return batch_size // self.count

    def gather(self, items: list[T]) -> list[T]:
        """The items of all processes, as many as each has, in the order of ranks."""
        gathered: list[T] = gather_object(items) if self.count > 1 else items
        return gathered

    def wait(self) -> None:
        """Until every process is here."""
        self.accelerator.wait_for_everyone()

    def close(self) -> None:
        """Leave the group; nothing can be gathered afterwards."""
        if self.count > 1:
            self.wait()
            dist.destroy_process_group()


def _forget_last_run() -> None:
    """Let this run have a precision, device and accumulation of its own.

    Accelerate holds those of the first run in a process (of a sweep, a search, the demo) for all
    that follow and has no public way to change them. A group of processes stays.
    """
    GradientState._reset_state()
    AcceleratorState._reset_state(reset_partial_state=not dist.is_initialized())


def _own_device(name: str) -> torch.device:
    device = choose_device(name)
    local_rank = os.environ.get("LOCAL_RANK")
    if device.type == "cuda" and ":" not in name and local_rank is not None:
        device = torch.device("cuda", int(local_rank))
        torch.cuda.set_device(device)
    return device


def _precision(amp: str, device: torch.device) -> str:
    """Accelerate's name of a precision.

    Raises:
        ConfigError: fp16 on a CPU, which has no fast or safe way for it.
    """
    if amp == "auto":
        return "fp16" if device.type == "cuda" else "no"
    if amp == "fp16" and device.type == "cpu":
        raise ConfigError("amp=fp16 needs a GPU; use amp=none or amp=bf16 on a CPU")
    return "no" if amp == "none" else amp


def describe(processes: Processes) -> dict[str, Any]:
    """What a log should say about where a run runs."""
    return {
        "device": str(processes.device),
        "processes": processes.count,
        "precision": processes.accelerator.mixed_precision,
    }
