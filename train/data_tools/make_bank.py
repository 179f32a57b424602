"""`adafocus bank`: the features of a split, computed once for `features=bank:PATH`."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from pathlib import Path

from rich.filesize import decimal

from adafocus_env.envs import PatchGrid
from adafocus_env.features import BankBuilder
from adafocus_env.folders import held
from adafocus_env.networks import AnyRecognizer
from train.checkpoints.backbones import load_pretrained
from train.checkpoints.load import check_classes, load_configured, nothing_to_start_from
from train.config.commands import BankConfig
from train.config.keys import ConfigError
from train.runs.context import RunContext
from train.runs.lock import in_use
from train.runs.progress import ProgressDisplay

log = logging.getLogger(__name__)


def run_bank(config: BankConfig, context: RunContext[BankConfig], display: ProgressDisplay) -> None:
    """Build the bank of one split in `target/SPLIT`, or finish one that was begun.

    The training split's clips are drawn as stage 2 draws them; those of other splits as evaluation
    does. Where no earlier run has the networks, `pretrained_glancer=` and `pretrained_focuser=` do;
    they are written to `recognizer/` of the run folder, with a classifier that knows nothing.
    """
    if config.target is None:
        raise ConfigError(f"bank needs target=FOLDER; the bank goes to FOLDER/{config.split}")
    training = config.split == "train"
    if config.views > 1 and not training:
        raise ConfigError(
            f"views={config.views} is for split=train: evaluation sees one clip of each video"
        )
    frames = config.policy_frames if training else None
    videos = context.open_split(config.split, training=training, num_frames=frames)
    recognizer = _recognizer(config, context, tuple(videos.class_names))
    check_classes(recognizer, videos)
    sizes = recognizer.config
    builder = BankBuilder(
        Path(config.target) / config.split,
        recognizer,
        videos,
        positions=PatchGrid(config.grid_size, sizes.frame_size, sizes.patch_size).all_offsets(),
        views=config.views,
        seed=config.seed,
    )
    display.say(_size(builder))
    processes = context.processes
    with ExitStack() as folder:
        if processes.is_main:
            folder.enter_context(in_use(builder.folder, "adafocus bank", "target"))
            builder.prepare()
        processes.wait()
        if not processes.is_main:
            folder.enter_context(held(builder.folder))
        _build(builder, config, context, display)
        processes.wait()
        if processes.is_main:
            builder.finish()
    log.info("feature bank in %s; use it with features=bank:%s", builder.folder, config.target)


def _recognizer(
    config: BankConfig, context: RunContext[BankConfig], class_names: tuple[str, ...]
) -> AnyRecognizer:
    """Of an earlier run, or of pretrained backbones.

    Raises:
        ConfigError: both are named, or neither.
    """
    pretrained = config.pretrained_glancer or config.pretrained_focuser
    if pretrained is None:
        if config.source_run is None:
            raise nothing_to_start_from(
                config, instead="both pretrained_glancer= and pretrained_focuser="
            )
        return load_configured(config.source_run, config, str(context.device))
    if config.source_run is not None:
        raise ConfigError(
            f"resume={config.source_run} has backbones of its own; leave out pretrained_glancer "
            "and pretrained_focuser, or resume"
        )
    recognizer = context.new_recognizer(class_names)
    load_pretrained(recognizer, config)
    if context.processes.is_main:
        recognizer.save(context.folder / "recognizer")
    return recognizer


def _build(
    builder: BankBuilder,
    config: BankConfig,
    context: RunContext[BankConfig],
    display: ProgressDisplay,
) -> None:
    """This process's shards, with a bar."""
    rank, count = context.processes.rank, context.processes.count
    layout = builder.layout
    own = range(rank, layout.num_shards, count)
    clips = sum(len(layout.videos_of(shard)) for shard in own) * layout.views
    with display.part(f"bank: {config.split}", clips) as progress:
        began, built = time.monotonic(), 0

        def advance(count: int) -> None:
            nonlocal built
            if count > 1:  # at once: they were there already
                progress.found_done(count, None if built else "there already")
                return
            built += 1
            rate = built * layout.num_frames / (time.monotonic() - began)
            progress.advance(f"{rate:.0f} frames/s")

        builder.build_shards(rank=rank, count=count, workers=config.num_workers, progress=advance)


def _size(builder: BankBuilder) -> str:
    layout = builder.layout
    channels, height, width = layout.map_shape
    missing = builder.missing_bytes()
    there = "" if missing == layout.num_bytes else f", of which {decimal(missing)} are missing"
    return (
        f"feature bank in {builder.folder}: {layout.num_videos} videos x {layout.views} views x "
        f"{layout.num_frames} frames x ({channels} x {height} x {width} + {channels} + "
        f"{layout.num_positions} x {layout.num_patch_features}) x 2 bytes = "
        f"{decimal(layout.num_bytes)}{there}"
    )
