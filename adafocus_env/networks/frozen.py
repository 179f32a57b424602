"""FrozenNetworks: glancer and focuser for inference alone, as fast as the device allows."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torchvision.transforms.v2.functional import resize

from adafocus_env.networks.focuser import Focuser, crop_patches
from adafocus_env.networks.glancer import Glancer
from adafocus_env.networks.other_backbones import is_other
from adafocus_env.networks.recognizer_base import RecognizerBase

# Names of `amp`, and the type that convolutions compute in.
PRECISIONS = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Fewest images that go through a network together; more if there are more to a pixel budget.
# On a CPU, larger batches lose: every layer's output is handed back to the kernel and faulted in
# again. So do smaller ones: with one thread and fewer than 16 images PyTorch leaves oneDNN's 1x1
# convolutions, and ResNet-50 takes 1.6 times as long an image.
_IMAGES_AT_ONCE = 16
_PIXELS_AT_ONCE = {"cpu": 16 * 128 * 128, "cuda": 512 * 128 * 128}


class FrozenNetworks:
    """Glancer and focuser with BatchNorm folded into their convolutions, channels last.

    Micro-batches keep memory within bounds. The recognizer itself stays as it is: it can be
    trained, saved and identified as before. Folded weights are copies, shared by all frozen forms
    of a recognizer, and made anew as soon as the recognizer's weights are other tensors or have
    been changed in place; only a write through `.data`, which PyTorch does not record, escapes
    this. The classifier is small and not copied at all.

    Results equal the recognizer's in evaluation mode up to rounding: rewards within 1e-5 with
    `amp="none"`, within 0.05 with the others.

    Args:
        recognizer: whose networks to use; its modes and gradients are left alone.
        amp: `"none"` computes in float32, also where a GPU could round to TF32; `"bf16"`, or on a
            GPU `"fp16"`, in 16 bits, results in float32.
        compile: pass glancer and focuser through `torch.compile`; the first call takes a minute and
            a CPU needs a C++ compiler. The classifier is one GRU, which PyTorch does not compile.

    Raises:
        ValueError: an unknown precision, or fp16 on a CPU.
    """

    def __init__(
        self,
        recognizer: RecognizerBase,
        *,
        amp: str = "none",
        compile: bool = False,  # noqa: A002  # the name users know
    ):
        check_precision(amp, recognizer.device)
        self.recognizer = recognizer
        self._amp = amp
        self._compile = compile

    @torch.no_grad()
    def glance(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Look at whole frames.

        Args:
            frames: uint8 `(N, 3, H, W)`, N a multiple of the recognizer's `glance_group`.

        Returns:
            maps `(N, C, h, w)`, vectors `(N, C)`.
        """
        recognizer = self.recognizer
        network = self._network("glancer")
        maps, vectors = [], []
        size, group = recognizer.config.glance_size, recognizer.glance_group
        for part in _parts(len(frames), size, recognizer.device, group):
            images = self._network_input(recognizer.resize_for_glance(frames[part]))
            feature_map = network(images).float().clamp_(0.0, recognizer.glancer.map_bound)
            maps.append(feature_map)
            vectors.append(feature_map.mean(dim=(2, 3)))
        return torch.cat(maps), torch.cat(vectors)

    @torch.no_grad()
    def focus(
        self,
        frames: Tensor,
        offsets: Tensor,
        *,
        patch_size: int | None = None,
        index: Tensor | None = None,
        focus_size: int | None = None,
    ) -> Tensor:
        """Cut patches and look at them; the arguments are those of `crop_patches`.

        Args:
            frames: uint8 `(N, 3, H, W)`.
            offsets: `(M, 2)`, M a multiple of the recognizer's `focus_group`.
            patch_size: None takes the recognizer's.
            index: `(M,)`.
            focus_size: side that patches are resized to; None leaves them as they are.

        Returns:
            patch vectors `(M, F)`.
        """
        recognizer = self.recognizer
        size = recognizer.config.patch_size if patch_size is None else patch_size
        network = self._network("focuser")
        offsets = offsets.to(recognizer.device)
        if index is None:
            index = torch.arange(len(frames), device=recognizer.device)
        vectors = []
        for part in _parts(len(offsets), size, recognizer.device, recognizer.focus_group):
            patches = crop_patches(frames, offsets[part], size, index=index[part])
            if focus_size not in (None, size):
                patches = resize(patches, [focus_size, focus_size], antialias=True)
            vectors.append(network(self._network_input(patches)).float().mean(dim=(2, 3)))
        return torch.cat(vectors)

    @torch.no_grad()
    def focus_chosen(self, frames: Tensor, offsets: Tensor, focused: Tensor) -> Tensor:
        """Look at one patch of some of the frames; zeros for the others, where nothing runs.

        Args:
            frames: uint8 `(N, 3, H, W)`.
            offsets: `(N, 2)`.
            focused: `(N,)` bool, the same within a `focus_group`.

        Returns:
            patch vectors `(N, F)`.
        """
        if bool(focused.all()):
            return self.focus(frames, offsets)
        recognizer = self.recognizer
        vectors = torch.zeros(
            len(frames), recognizer.focuser.num_features, device=recognizer.device
        )
        index = focused.nonzero()[:, 0].to(recognizer.device)
        if len(index):
            vectors[index] = self.focus(frames, offsets[focused.to(offsets.device)], index=index)
        return vectors

    def _network_input(self, images: Tensor) -> Tensor:
        """Normalised images: one multiplication and addition a pixel, not three passes."""
        recognizer = self.recognizer
        scale = 1.0 / (255.0 * recognizer.pixel_std)
        shift = -recognizer.pixel_mean / recognizer.pixel_std
        return torch.addcmul(shift, images.float(), scale).to(PRECISIONS[self._amp])

    def _network(self, name: str) -> Callable[[Tensor], Tensor]:
        """The glancer or the focuser up to its last map, folded from the weights as they are."""
        forms = _FOLDED.setdefault(self.recognizer, {})
        key = (name, self._amp, self._compile)
        part = getattr(self.recognizer, name)
        if key not in forms or not forms[key].is_current(part):
            forms.pop(key, None)  # before its successor needs memory
            forms[key] = _Folded(part, PRECISIONS[self._amp], compiled=self._compile)
        network = forms[key].network
        exact = self._amp == "none" and self.recognizer.device.type == "cuda"
        return _without_tf32(network) if exact else network


class _FeatureMap(nn.Module):
    """A backbone up to its last map, as a module that can be traced."""

    def __init__(self, part: Glancer | Focuser):
        super().__init__()
        self.net = part.net
        self._feature_map = part.feature_map

    def forward(self, images: Tensor) -> Tensor:
        return self._feature_map(self.net, images)


class _Folded:
    """A backbone's folded copy, and which weights it was made of."""

    def __init__(self, part: Glancer | Focuser, dtype: torch.dtype, *, compiled: bool):
        folded: nn.Module = copy.deepcopy(_FeatureMap(part)).eval()
        try:
            folded = fuse(folded, inplace=True)
        except Exception:  # torch.fx cannot trace every network of others; it runs as it is
            if not is_other(part.backbone):
                raise
        gc.collect()  # tracing leaves the copy that is not folded in a reference cycle
        folded.requires_grad_(False)
        folded.to(dtype=dtype).to(memory_format=torch.channels_last)
        self.network: Callable[[Tensor], Tensor] = torch.compile(folded) if compiled else folded
        # Aliases share storage with the weights: while they live, no other tensor is put there.
        self._sources = [(tensor.detach(), _version(tensor)) for tensor in _weights(part)]

    def is_current(self, part: nn.Module) -> bool:
        """Whether the part's weights still are what this was folded from."""
        now = list(_weights(part))
        return len(now) == len(self._sources) and all(
            tensor.data_ptr() == alias.data_ptr() and version == _version(tensor) is not None
            for tensor, (alias, version) in zip(now, self._sources, strict=True)
        )


# By recognizer, then by network, precision and whether compiled.
_FOLDED: WeakKeyDictionary[RecognizerBase, dict[tuple[str, str, bool], _Folded]] = (
    WeakKeyDictionary()
)


def check_precision(amp: str, device: torch.device) -> None:
    """Refuse a precision that is unknown or that the device is not made for.

    Raises:
        ValueError: the message says what to use instead.
    """
    if amp not in PRECISIONS:
        raise ValueError(f"amp is {', '.join(map(repr, PRECISIONS))}, not {amp!r}")
    if amp == "fp16" and device.type == "cpu":
        raise ValueError("amp='fp16' needs a GPU; use 'none' or 'bf16' on a CPU")


def _weights(part: nn.Module) -> Iterator[Tensor]:
    yield from part.parameters()
    yield from part.buffers()


def _version(tensor: Tensor) -> int | None:
    """How often a tensor was changed in place; None where PyTorch does not count."""
    return None if tensor.is_inference() else tensor._version


def _parts(count: int, side: int, device: torch.device, group: int) -> Iterator[slice]:
    """`count` images of `side` pixels in about equal parts, none below the fewest unless all are.

    Images of a group stay together.
    """
    pixels = _PIXELS_AT_ONCE.get(device.type, _PIXELS_AT_ONCE["cpu"])
    groups, at_once = count // group, max(_IMAGES_AT_ONCE, pixels // side**2)
    parts = max(1, groups // -(-at_once // group))
    for i in range(parts):
        yield slice(groups * i // parts * group, groups * (i + 1) // parts * group)


def _without_tf32(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Convolutions in full float32: cuDNN may otherwise round their inputs to 10 bits."""

    def run(images: Tensor) -> Tensor:
        cudnn = torch.backends.cudnn
        with cudnn.flags(enabled=True, benchmark=cudnn.benchmark, allow_tf32=False):
            return network(images)

    return run
