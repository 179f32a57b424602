"""Keys that most commands share: where a run is and starts from, its videos and networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from adafocus_env import limits
from train.config.keys import ConfigError, key, keys_of, path

S = TypeVar("S", bound="Section")

# The fields of `adafocus_env.data.VideoLists`, whose module would import torch.
LISTS = (
    *("list_file", "class_file", "video_dir", "frame_dir", "separator"),
    *("multi_label", "image_template", "first_frame", "min_frames", "num_classes"),
)
FRAMES: dict[str, Any] = {"at_least": 1, "at_most": limits.FRAMES}
FRAME_RATE: dict[str, Any] = {
    "at_least": limits.LOWEST_FRAME_RATE,
    "at_most": limits.FRAME_RATE,
}
PIXELS: dict[str, Any] = {"at_least": 1, "at_most": limits.SIDE}
# Keys that only the networks of one family have.
_OF_FAMILY = {
    "recurrent": ("hidden_dim",),
    "temporal_shift": ("num_glance_frames", "video_div", "temporal_shift"),
}


@dataclass(frozen=True, kw_only=True)
class Section:
    """Where the command writes.

    The base of all sections: keys that belong together, and checks of one against another. A
    command's configuration inherits the sections that it needs.

    Attributes:
        command: name of the command.
    """

    command: str
    output_dir: Path = key(
        help="run folder; default outputs/DATE/TIME", identity="nothing", is_path=True
    )

    def __post_init__(self) -> None:
        """Check values that would fail late or silently.

        Raises:
            ConfigError: a value is out of range, or does not go with another.
        """
        for name, one in keys_of(type(self)).items():
            one.check(getattr(self, name))
        for section in type(self).__mro__:
            if "_check" in vars(section):
                vars(section)["_check"](self)

    def need(self, name: str) -> Any:
        """A value that this command cannot do without.

        Raises:
            ConfigError: the experiment's recipe has none for this command and none was given.
        """
        value = getattr(self, name)
        if value is None:
            raise ConfigError(f"{self.command} needs {keys_of(type(self))[name].wanted}")
        return value

    def narrowed(self, kind: type[S], **changes: Any) -> S:
        """The keys that another command has, too, as its configuration.

        Args:
            kind: of the other command.
            **changes: its command, and other values.
        """
        values = {item.name: getattr(self, item.name) for item in fields(kind)}
        return kind(**{**values, **changes})

    def plain(self) -> dict[str, Any]:
        """All values as YAML writes and reads them."""
        values = {**asdict(self), "output_dir": str(self.output_dir)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


@dataclass(frozen=True, kw_only=True)
class WorkersSection(Section):
    """Processes that work for the command."""

    num_workers: int = key(
        0,
        "processes beside this one that load, make, check or extract videos",
        at_least=0,
        at_most=limits.PROCESSES,
        why=limits.WHY_PROCESSES,
        identity="nothing",
    )


@dataclass(frozen=True, kw_only=True)
class ResumeSection(Section):
    """Where the command starts from: run folders, or the folders in them."""

    resume: str | None = path(
        "RUN|shipped|auto",
        "a run that holds recognizer/; shipped: the one that comes with the package; stages also "
        "continue an interrupted run of their own, auto: the newest with the same settings",
        identity="nothing",
    )

    @property
    def source_run(self) -> str | None:
        """The earlier stage's run folder that this command starts from."""
        return None if self.resume == "auto" else self.resume


@dataclass(frozen=True, kw_only=True)
class RecognizerSection(ResumeSection):
    """A recognizer to start from beside resume=auto."""

    recognizer: str | None = path(
        "RUN|shipped",
        "as resume=RUN, for use beside resume=auto",
        identity="nothing",
    )

    @property
    def source_run(self) -> str | None:
        """The earlier stage's run folder that this command starts from."""
        return self.recognizer or super().source_run


@dataclass(frozen=True, kw_only=True)
class PolicySection(Section):
    """A policy to start from, or to judge."""

    policy: str | None = path(
        "NAME|RUN",
        "random, center or another name of policies=; or a run that holds policy/, by default the "
        "one in resume=; stage2: a run whose policy this one starts from",
        identity="run",
    )
    trust: bool = key(False, "true: open policy=FILE.zip of SB3, which can run code")


@dataclass(frozen=True, kw_only=True)
class ClassesSection(Section):
    """The data set."""

    dataset: str = key(
        help="glyphs... are built in, videos are your own; also sets other keys", written="NAME"
    )
    data_dir: str | None = key(
        help="folder of the lists (see make-lists), the class file, the videos",
        written="FOLDER",
        is_path=True,
    )
    lists: Mapping[str, Any] | None = key(
        help="other names and forms of the list files: any fields of VideoLists"
    )

    def _check(self) -> None:
        unknown = sorted(set(self.lists or {}) - set(LISTS))
        if unknown:
            raise ConfigError(f"lists has no {unknown[0]!r}; known are {', '.join(LISTS)}")


@dataclass(frozen=True, kw_only=True)
class FrameRateSection(Section):
    """How video files are read."""

    frame_rate: float | None = key(None, "frames a second of a video; null: its own", **FRAME_RATE)
    decode_timeout: float | None = key(
        60.0,
        "seconds without a packet after which a video is given up; null: never",
        above=0,
        at_most=limits.SECONDS,
        identity="nothing",
    )


@dataclass(frozen=True, kw_only=True)
class FitSection(Section):
    """Frames of any size and shape."""

    fit: Literal["crop", "squash", "pad"] = key(
        "crop",
        "how frames become squares: crop: the middle of each, as published; squash: all of it, "
        "stretched; pad: all of it, between black bars",
    )


@dataclass(frozen=True, kw_only=True)
class ClipSection(Section):
    """The clips that networks see; model= sets them."""

    num_frames: int = key(help="frames of a clip", **FRAMES)
    frame_size: int = key(help="side of a frame in pixels", **PIXELS)
    num_glance_frames: int | None = key(
        None, "temporal_shift: frames of a clip for the glancer, beside num_frames", **FRAMES
    )


@dataclass(frozen=True, kw_only=True)
class VideosSection(ClassesSection, FrameRateSection, FitSection, ClipSection):
    """How videos are read; dataset= sets most."""

    media: Literal["videos", "frames"] = key("videos", "frames: folders of JPEG files")
    train_sampling: Literal["random", "dense"] = key("random", "of the frames of a training clip")
    eval_sampling: Literal["center", "test", "dense"] = key(
        "center", "of the frames of other clips; center: published validation"
    )
    augment: bool = key(
        True,
        "training clips by chance: frames, crops, mirrored; false: as for evaluation, so that one "
        "bank serves all splits",
    )
    crop: bool = key(help="cut frames as published; false: they have the right size")
    flip: bool = key(help="mirror half of the training clips")
    crops: Literal["same", "independent"] = key(
        "same", "independent: augmented glance frames get a crop of their own"
    )
    keep_decoded: bool = key(help="decoded videos stay in memory")

    def _check(self) -> None:
        if self.fit != "crop" and not self.crop:
            raise ConfigError(
                f"fit={self.fit} is for frames of any size, but crop=false takes them as they are; "
                "set crop=true"
            )


@dataclass(frozen=True, kw_only=True)
class NetworksSection(ClipSection):
    """The networks; model= sets them. Keys of the other family are null."""

    patch_size: int = key(help="side of a patch in pixels", **PIXELS)
    family: Literal["recurrent", "temporal_shift"] = key(
        "recurrent", "ActivityNet's networks, or those of Something-Something"
    )
    glancer: str = key(help="backbone of the glancer", written="NAME")
    focuser: str = key(help="backbone of the focuser", written="NAME")
    glance_size: int = key(help="side of a frame as the glancer sees it", **PIXELS)
    glance_resize: str = key(help="how it is made", written="nearest|area")
    classifier: Literal["gru", "mean"] = key(
        "gru", "recurrent: what reads the frames; mean: a hidden layer of hidden_dim, for few clips"
    )
    hidden_dim: int | None = key(
        None, "recurrent: size of the classifier's state", at_least=1, at_most=limits.UNITS
    )
    video_div: int | None = key(
        None,
        "temporal_shift: decisions a clip; each serves num_frames / video_div frames",
        **FRAMES,
    )
    temporal_shift: bool | None = key(
        None, "temporal_shift: false sees each frame by itself, for comparison"
    )
    activation_cap: float | None = key(
        help="upper bound of the glance map, for backbones that have none", above=0
    )

    def _check(self) -> None:
        if self.family != "recurrent" and self.classifier != "gru":
            raise ConfigError(
                f"classifier={self.classifier} is for family=recurrent; leave it out, or choose "
                "another model="
            )
        for family, names in _OF_FAMILY.items():
            for name in names:
                value = getattr(self, name)
                if family == self.family and value is None:
                    raise ConfigError(f"family={family} needs {name}=...; model= sets it")
                if family != self.family and value is not None:
                    raise ConfigError(
                        f"{name}={value} is for family={family}, and the networks are of "
                        f"family={self.family}; leave {name}=null, or choose another model="
                    )


@dataclass(frozen=True, kw_only=True)
class NewNetworksSection(NetworksSection):
    """Networks that are made or trained."""

    dropout: float = key(help="before the classifier", at_least=0, below=1)


@dataclass(frozen=True, kw_only=True)
class DeviceSection(Section):
    """Where networks run."""

    device: str = key(
        "auto", "where networks run", written="auto|cpu|cuda|cuda:N", identity="nothing"
    )


@dataclass(frozen=True, kw_only=True)
class RunSection(WorkersSection, DeviceSection, VideosSection, NetworksSection):
    """Networks on videos: chance and place."""

    seed: int = key(
        0,
        "of training; the built-in videos have seeds of their own",
        at_least=0,
        at_most=limits.SEED,
        identity="run",
    )


@dataclass(frozen=True, kw_only=True)
class PrecisionSection(RunSection):
    """Networks at a precision."""

    amp: Literal["none", "auto", "fp16", "bf16"] = key(
        "none",
        "precision; auto: fp16 on a CUDA GPU, none elsewhere; of frozen networks, auto is none",
    )
