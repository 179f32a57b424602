"""AdaFocus: recognizer and policy as one object that names what a video shows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from adafocus_env.data import VideoOptions
from adafocus_env.envs import PatchGrid
from adafocus_env.envs.actions import locations_of
from adafocus_env.envs.factory import choose_device
from adafocus_env.envs.skip_cost import append_cost, check_skip_cost
from adafocus_env.networks import CheckpointError, FrozenNetworks, Recognizer, freeze
from adafocus_env.shipped import shipped_policy, shipped_recognizer
from agents.file_predictions import FilePrediction, predict_files
from agents.flops import executed_multiply_adds
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.policies.policy_files import load_policy


@dataclass(frozen=True)
class StreamState:
    """What N streams have shown so far.

    Attributes:
        policy_state: `(N, S)`.
        classifier_state: `(N, S')`.
    """

    policy_state: Tensor
    classifier_state: Tensor


class AdaFocus:
    """Looks at every frame, then at the patch of it that the policy finds most promising.

    A policy with one action more, the last, skips frames (AdaFocus+): the focuser runs on the
    patches of the others alone, in one batch, however many a video keeps.

    Args:
        recognizer: is frozen.
        policy: chooses among the G * G patches of a grid, or a place; its best action is taken.
        skip_cost: price of a look, for a policy that was trained at random ones: the higher, the
            fewer frames are focused on.
        amp: precision of glancer and focuser, see `FrozenNetworks`.
        compile: whether they go through `torch.compile`.

    Raises:
        ValueError: the policy sees other glances than the recognizer's, or acts neither on a square
            grid nor in continuous locations.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        policy: GruActorCriticPolicy,
        *,
        skip_cost: float | None = None,
        amp: str = "none",
        compile: bool = False,  # noqa: A002  # the name users know
    ):
        freeze(recognizer)
        self.recognizer = recognizer
        self.policy = policy
        self._networks = FrozenNetworks(recognizer, amp=amp, compile=compile)
        config, map_shape = recognizer.config, recognizer.map_shape()
        sees, told = policy.observation_space.shape, policy.sees_cost
        shown = (map_shape[0] + told, *map_shape[1:])
        if sees not in (shown, shown[:1]):
            raise ValueError(
                f"the policy sees {sees}, but the recognizer's glances are {map_shape}"
            )
        if told != (skip_cost is not None):
            raise ValueError(
                "this policy was trained at random costs and must be told one: give skip_cost=0.05"
                if told
                else f"this policy knows no costs of looks; leave out skip_cost={skip_cost}"
            )
        self._skip_cost = None if skip_cost is None else check_skip_cost(skip_cost)
        self._pooled = len(sees) == 1
        # Of a place the grid does not matter; of another number of actions it is the nearest one.
        side = math.isqrt(int(getattr(policy.action_space, "n", 49)))
        grid = PatchGrid(side, config.frame_size, config.patch_size)
        self._locations = locations_of(policy.action_space, grid)
        self._counts: tuple[float, float] | None = None

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: str = "auto",
        skip_cost: float | None = None,
        amp: str = "none",
        compile: bool = False,  # noqa: A002  # the name users know
    ) -> AdaFocus:
        """Read `recognizer/` and `policy/` of a run folder of stage 2 or 3.

        The recognizer may also lie in the folder itself, as those that come with the package do.

        Raises:
            FileNotFoundError: one of them is missing.
            CheckpointError: a file cannot be used, or the two do not fit each other.
        """
        folder = Path(folder)
        how = {"skip_cost": skip_cost, "amp": amp, "compile": compile}
        recognizer = folder / "recognizer"
        if not recognizer.exists() and (folder / "recognizer.json").is_file():
            recognizer = folder
        return cls._of(recognizer, folder / "policy", device, **how)

    @classmethod
    def shipped(cls, dataset: str = "glyphs", *, device: str = "auto") -> AdaFocus:
        """The recognizer and the policy that come with the package.

        Args:
            dataset: a built-in task: `"glyphs"` or `"glyphs_memory"`.
            device: where both go.

        Raises:
            FileNotFoundError: there is no policy for this one.
        """
        return cls._of(shipped_recognizer(dataset), shipped_policy(dataset), device)

    @classmethod
    def _of(cls, recognizer_folder: Path, policy_folder: Path, device: str, **how: Any) -> AdaFocus:
        place = choose_device(device)
        recognizer = Recognizer.load(recognizer_folder, device=place)
        channels = recognizer.map_shape()[0]
        policy = load_policy(policy_folder, device=place, glance_channels=channels).policy
        if not isinstance(policy, GruActorCriticPolicy):
            raise CheckpointError(
                f"{policy_folder} holds a {type(policy).__name__}; AdaFocus runs GruPPO's policies"
            )
        if isinstance(policy.observation_space, spaces.Dict):
            raise CheckpointError(
                f"{policy_folder} holds a policy of a closed loop, which AdaFocus does not run; "
                "use AdaFocus/ActiveVision-v0"
            )
        try:
            return cls(recognizer, policy, **how)
        except ValueError as error:
            raise CheckpointError(f"{policy_folder}: {error}") from error

    def predict(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Classify whole videos.

        All frames go through the glancer in one batch, the policy runs once over the glances, all
        patches that are not skipped go through the focuser in one batch, the classifier runs once
        over both.

        Args:
            frames: uint8 `(N, T, 3, H, W)` of the recognizer's frame size, any T, on any device.

        Returns:
            logits `(N, T, K)` after every frame (a video's answer is the last), and origins
            `(N, T, 2)`: where the patches are, as fractions (row, column) of the free range; NaN in
            skipped frames.

        Raises:
            ValueError: frames of another type or shape.
        """
        logits, origins, _ = self.predict_boxes(frames)
        return logits, origins

    @torch.no_grad()
    def predict_boxes(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `predict`, and where the patches are in pixels.

        Returns:
            logits, origins, and boxes `(N, T, 4)` int64 (top, left, height, width); zeros in
            skipped frames.
        """
        frames = self._checked(frames, 5)
        shape, frames = frames.shape[:2], frames.flatten(0, 1)
        glance_maps, glance_vectors = self._networks.glance(frames)
        seen = self._seen(glance_maps, glance_vectors).unflatten(0, shape)
        distribution, _ = self.policy.evaluate_episodes(seen)
        actions = distribution.best()
        looks = self._locations.choice(actions.flatten(0, 1))
        patch_vectors = self._networks.focus_chosen(frames, looks.offsets, looks.focused)
        context = self.recognizer.glance_context(glance_vectors.unflatten(0, shape))
        logits, _ = self.recognizer.classify_sequence(context, patch_vectors.unflatten(0, shape))
        boxes = looks.boxes(self.recognizer.config.patch_size).unflatten(0, shape)
        return logits, self._locations.origins(actions), boxes

    def predict_files(
        self,
        paths: Iterable[str | Path],
        *,
        fit: str = "crop",
        frame_rate: float | None = None,
    ) -> list[FilePrediction]:
        """Classify video files, each by as many frames as the recognizer was trained with.

        Args:
            paths: video files.
            fit: how frames that are not square become so, see `VideoOptions`; as in training.
            frame_rate: frames a second to read files at; None is each file's own.

        Returns:
            a prediction for each path, in their order; a file that cannot be read has an `error`.

        Raises:
            ValueError: `paths` is one path.
        """
        if isinstance(paths, (str, Path)):
            raise ValueError(f"predict_files takes a list of paths, such as [{str(paths)!r}]")
        options = self.clip_options(fit=fit, frame_rate=frame_rate)
        return [prediction for prediction, _ in predict_files(self, paths, options)]

    def clip_options(self, **how: Any) -> VideoOptions:
        """How the clips of this recognizer are made of videos; `how` are fields of it."""
        config = self.recognizer.config
        return VideoOptions(num_frames=config.num_frames, frame_size=config.frame_size, **how)

    def multiply_adds(self, origins: Tensor) -> Tensor:
        """What `predict` has computed for each video: `(N,)` multiply-adds.

        Glancer, policy and classifier run on every frame, the focuser on the patches that were not
        skipped. Each is counted once, by PyTorch's counter as it runs.

        Args:
            origins: `(N, T, 2)` of `predict`.
        """
        each_frame, each_patch = self._counts or self._count()
        self._counts = each_frame, each_patch
        looked_at = (~origins[..., 0].isnan()).sum(dim=1).double()
        return each_frame * origins.shape[1] + each_patch * looked_at

    def initial_state(self, num_streams: int = 1) -> StreamState:
        """Nothing has been shown yet."""
        return StreamState(
            self.policy.initial_state(num_streams),
            torch.zeros(num_streams, self.recognizer.config.hidden_dim, device=self._device),
        )

    @torch.no_grad()
    def push(
        self, frames: Tensor, state: StreamState | None = None
    ) -> tuple[Tensor, Tensor, StreamState]:
        """Classify streams frame by frame; the same answers as `predict` on the same frames.

        Args:
            frames: uint8 `(N, 3, H, W)`, the next frame of each of N streams.
            state: what the last call returned; None at the start.

        Returns:
            logits `(N, K)`, patch boxes `(N, 4)` int64 (top, left, height, width) in pixels, zeros
            where the frame is skipped, and the state to pass in with the next frames.

        Raises:
            ValueError: frames of another type or shape.
        """
        frames = self._checked(frames, 4)
        if state is None:
            state = self.initial_state(len(frames))
        glance_maps, glance_vectors = self._networks.glance(frames)
        step = self.policy.step(
            self._seen(glance_maps, glance_vectors),
            state.policy_state,
            torch.zeros(len(frames), dtype=torch.bool, device=self._device),
            deterministic=True,
        )
        looks = self._locations.choice(step.actions)
        patch_vectors = self._networks.focus_chosen(frames, looks.offsets, looks.focused)
        context = self.recognizer.glance_context(glance_vectors[:, None])[:, 0]
        logits, classifier_state = self.recognizer.classify_step(
            context, patch_vectors, state.classifier_state
        )
        boxes = looks.boxes(self.recognizer.config.patch_size)
        return logits, boxes, StreamState(step.policy_state, classifier_state)

    def _seen(self, glance_maps: Tensor, glance_vectors: Tensor) -> Tensor:
        """What the policy sees of M frames."""
        seen = glance_vectors if self._pooled else glance_maps
        if self._skip_cost is None:
            return seen
        costs = torch.full((len(seen),), self._skip_cost)
        return append_cost(seen, costs, float(self.recognizer.glancer.map_bound))

    def _count(self) -> tuple[float, float]:
        """Multiply-adds of a frame without its patch, and of a patch."""
        size = self.recognizer.config.frame_size
        frame = torch.zeros(1, 3, size, size, dtype=torch.uint8, device=self._device)
        corner = torch.zeros(1, 2, dtype=torch.int64)
        patch = executed_multiply_adds(lambda: self._networks.focus(frame, corner))
        _, origins = self.predict(frame[:, None])
        looked_at = bool(~origins.isnan().any())
        whole = executed_multiply_adds(lambda: self.predict(frame[:, None]))
        return whole - looked_at * patch, patch

    @property
    def _device(self) -> torch.device:
        return self.recognizer.device

    def _checked(self, frames: Tensor, axes: int) -> Tensor:
        """The frames on the networks' device."""
        size = self.recognizer.config.frame_size
        leading = "N, T" if axes == 5 else "N"
        fits = frames.dim() == axes and frames.shape[-3:] == (3, size, size)
        if frames.dtype != torch.uint8 or not fits or 0 in frames.shape:
            raise ValueError(
                f"expected uint8 frames ({leading}, 3, {size}, {size}), "
                f"got {frames.dtype} {tuple(frames.shape)}"
            )
        return frames.to(self._device)
