"""RecognizerSizes: everything of a recognizer but its weights, and whether it fits some videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from adafocus_env.schema import Mean, Names, Spread, closed
from adafocus_env.values import Frames, Side

_NEW = object()


@closed
@dataclass(frozen=True)
class RecognizerSizes:
    """What the configurations of both families have: everything but the weights.

    The types say what a file may hold.

    Attributes:
        class_names: K names of the actions.
        num_frames: T, frames of a clip that patches are cut from.
        frame_size: side of the frames in pixels.
        patch_size: P, side of a patch in pixels.
        glance_size: side of the glancer's input in pixels.
        glance_resize: how frames become that size, `"nearest"` (published) or `"area"`.
        glancer: backbone of the glancer.
        focuser: backbone of the focuser.
        dropout: before the classifier's last layer, while training.
        activation_cap: bound of the glance map, for a glancer that has none of its own.
        pixel_mean: RGB mean of frames in [0, 1] (ImageNet's).
        pixel_std: RGB standard deviation of frames in [0, 1] (ImageNet's).
    """

    # The family's name in files, and what decides glance maps and patch vectors beside weights.
    family: ClassVar[str]
    glance_entries: ClassVar[tuple[str, ...]] = (
        *("glancer", "frame_size", "glance_size", "glance_resize", "activation_cap"),
        *("pixel_mean", "pixel_std"),
    )
    focus_entries: ClassVar[tuple[str, ...]] = ("focuser", "pixel_mean", "pixel_std")
    # Entries that came later, and what they mean where files and fingerprints lack them.
    as_before: ClassVar[Mapping[str, Any]] = {"classifier": "gru"}

    class_names: Names
    num_frames: Frames = 16
    frame_size: Side = 224
    patch_size: Side = 128
    glance_size: Side = 224
    glance_resize: str = "nearest"
    glancer: str = "mobilenet_v2"
    focuser: str = "resnet50"
    dropout: Annotated[float, Field(ge=0, le=1)] = 0.5
    activation_cap: float | None = None
    pixel_mean: tuple[Mean, Mean, Mean] = (0.485, 0.456, 0.406)
    pixel_std: tuple[Spread, Spread, Spread] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        """Check what later errors would explain badly."""
        for name, count in Counter(self.class_names).items():
            if count > 1:
                raise ValueError(f"class_names: {name!r} is there {count} times; once is right")
        if self.glance_resize not in ("nearest", "area"):
            raise ValueError(f"glance_resize is 'nearest' or 'area', not {self.glance_resize!r}")
        if not 0 < self.patch_size <= self.frame_size:
            raise ValueError(
                f"patch_size {self.patch_size} must be between 1 and frame_size {self.frame_size}"
            )
        for name in ("pixel_mean", "pixel_std"):
            if len(getattr(self, name)) != 3:
                raise ValueError(
                    f"{name} needs three entries, one a colour, got {getattr(self, name)}"
                )
        if self.activation_cap is not None and self.activation_cap <= 0:
            raise ValueError(f"activation_cap must be above 0, not {self.activation_cap}")
        if not self.class_names:
            raise ValueError("a recognizer needs at least one class")

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    def described(self) -> dict[str, Any]:
        """All entries; without those that earlier versions had not, where they are as then."""
        values = asdict(self)
        return {k: v for k, v in values.items() if self.as_before.get(k, _NEW) != v}


def placeholder_class_names(num_classes: int) -> tuple[str, ...]:
    """Names for a recognizer whose class file was not at hand; they fit any K classes."""
    return tuple(f"unnamed class {k}" for k in range(num_classes))


def has_placeholder_names(config: RecognizerSizes) -> bool:
    """Whether the class names are those of `placeholder_class_names`."""
    return config.class_names == placeholder_class_names(config.num_classes)


def class_mismatch(config: RecognizerSizes, class_names: Sequence[str]) -> str | None:
    """Why a recognizer cannot name the classes of some videos, or None if it can.

    Args:
        config: of the recognizer; with placeholder names only the number of classes counts.
        class_names: of the videos.
    """
    cure = "use a recognizer trained on these videos' class file"
    if config.num_classes != len(class_names):
        return (
            f"the recognizer knows {config.num_classes} classes but the videos have "
            f"{len(class_names)}; {cure}"
        )
    if has_placeholder_names(config):
        return None
    for k, (known, given) in enumerate(zip(config.class_names, class_names, strict=True)):
        if known != given:
            return (
                f"class {k} is {known!r} to the recognizer but {given!r} in the videos' class "
                f"file (class file of another dataset?); {cure}"
            )
    return None
