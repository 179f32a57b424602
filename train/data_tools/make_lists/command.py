"""`adafocus make-lists`: classes.txt, the lists of the splits, and groups.txt of a user's clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from adafocus_env.data import VideoLists
from adafocus_env.data.lists.list_files import SPLITS
from train.config.keys import ConfigError
from train.config.tools import MakeListsConfig
from train.data_tools.make_lists.annotations import annotation_files, read_annotations
from train.data_tools.make_lists.classes import Classes, find_classes
from train.data_tools.make_lists.clips import Annotated, VideoIndex, class_folders
from train.data_tools.make_lists.counting import COUNTS_FILE, CountJob, count_all
from train.data_tools.make_lists.lists import (
    REPORT_FILE,
    LeftOut,
    Listed,
    show_lists,
    write_lists,
    write_report,
)
from train.data_tools.make_lists.splitting import split_clips
from train.runs.lock import in_use
from train.runs.progress import ProgressDisplay

_SHOWN = 10


def run_make_lists(config: MakeListsConfig, display: ProgressDisplay) -> None:
    """Find the clips, count their frames, share them out, write the lists.

    Raises:
        ConfigError: something cannot be used; or clips were left out and `skip_bad` is False (the
            lists are written then).
    """
    source, target = Path(config.need("source")), Path(config.need("target"))
    names = VideoLists()
    index = VideoIndex(source)
    _check_target(target, source, names)
    clips = _annotated(config, index)
    left_out: list[LeftOut] = []
    found = _find(clips, index, left_out)
    classes = find_classes(
        clips,
        [clip for _, clip in found],
        None if config.class_file is None else Path(config.class_file),
        numbered=not _from_folders(config),
    )
    labels = [classes.of(clip) for _, clip in found]
    if len({label for own in labels for label in own}) < 2:
        raise ConfigError(
            f"source={source}: one class only, {classes.names[labels[0][0]]!r}; there is nothing "
            "to tell apart (source= is the folder of the class folders, or of the listed videos)"
        )
    if classes.note:
        display.say(classes.note)
    with in_use(target, "adafocus make-lists", "target"):
        _link(target / names.video_dir, source)
        listed = _counted(config, found, labels, left_out, display)
        _check_left(listed, labels, classes, left_out)
        listed = split_clips(config, listed, classes, index, display)
        grouped = config.group is not None or any(clip.group for _, clip in found)
        write_lists(target, names, listed, classes, grouped=grouped)
        write_report(config, target, listed, classes, left_out)
        show_lists(config, target, listed, classes, display)
    for one in left_out[:_SHOWN]:
        display.say(f"left out: {one.reason}")
    if left_out and not config.skip_bad:
        raise ConfigError(
            f"clips in no list, as they are missing or cannot be decoded: {len(left_out)}; "
            f"all of them are in {target / REPORT_FILE}; skip_bad=true takes that as success"
        )


def _from_folders(config: MakeListsConfig) -> bool:
    return not any((config.annotations, config.train, config.val, config.test))


def _check_target(target: Path, source: Path, names: VideoLists) -> None:
    """Refuse to write among the videos, or over lists that someone else made."""
    if target.resolve().is_relative_to(source.resolve()):
        raise ConfigError(
            f"target={target} is source={source} or lies in it; name a folder beside it: the lists "
            "are no videos"
        )
    theirs = [target / names.list_file.replace("{split}", split) for split in SPLITS]
    there = [path for path in (target / names.class_file, *theirs) if path.exists()]
    if there and not (target / REPORT_FILE).exists():
        raise ConfigError(
            f"{there[0]} was not written by make-lists; remove it or name another target="
        )


def _annotated(config: MakeListsConfig, index: VideoIndex) -> list[Annotated]:
    """What the annotations say, or else the class folders; clips that have a label."""
    if _from_folders(config):
        if config.columns or config.separator:
            raise ConfigError("columns= and separator= are for a file: name it, annotations=FILE")
        return class_folders(index)
    clips: list[Annotated] = []
    given = {
        "train": config.train,
        "val": config.val,
        "test": config.test,
        None: config.annotations,
    }
    for split, pattern in given.items():
        for path in annotation_files(pattern) if pattern else ():
            read = read_annotations(path, index, columns=config.columns, separator=config.separator)
            clips += [replace(clip, split=split) if split else clip for clip in read]
    return _labelled(clips)


def _labelled(clips: Sequence[Annotated]) -> list[Annotated]:
    """Clips without a label get that of the others in their folder, or the folder's name.

    UCF101's test lists have none. What has no label then, such as the test videos of a challenge,
    is left out.
    """
    of_folder: dict[str, set[tuple[str, ...]]] = {}
    for clip in clips:
        if clip.labels:
            of_folder.setdefault(_folder(clip), set()).add(clip.labels)
    labelled = []
    for clip in clips:
        labels = clip.labels
        if not labels and _folder(clip):
            known = of_folder.get(_folder(clip), set())
            labels = next(iter(known)) if len(known) == 1 else ()
            if not of_folder:
                labels = (_folder(clip),)
        if labels:
            labelled.append(replace(clip, labels=labels))
    if not labelled:
        raise ConfigError("no clip of the annotations has a label, nor a folder that names one")
    return labelled


def _folder(clip: Annotated) -> str:
    return Path(clip.names[0]).parent.name


def _find(
    clips: Sequence[Annotated], index: VideoIndex, left_out: list[LeftOut]
) -> list[tuple[str, Annotated]]:
    """The clips whose video is there, with its path; each once a split."""
    found: dict[tuple[str, str | None], Annotated] = {}
    for clip in clips:
        path = index.find(clip.names)
        if path is None:
            reason = f"{clip.place}: no video below {index.root} is called {clip.names[0]!r}"
            left_out.append(LeftOut(clip.names[0], reason))
        elif path != path.strip() or not path.isprintable():
            reason = f"{index.root}/{path!r}: this name cannot stand in a list; rename it"
            left_out.append(LeftOut(repr(path), reason))
        else:
            found.setdefault((path, clip.split), clip)
    if not found:
        raise ConfigError(
            f"none of {len(clips)} annotated videos is below {index.root}, the first: "
            f"{left_out[0].reason}; source= must be the folder that holds them"
        )
    return [(path, clip) for (path, _), clip in found.items()]


def _counted(
    config: MakeListsConfig,
    found: Sequence[tuple[str, Annotated]],
    labels: Sequence[tuple[int, ...]],
    left_out: list[LeftOut],
    display: ProgressDisplay,
) -> list[Listed]:
    """The clips that can be decoded."""
    root = Path(config.need("source")).resolve()
    jobs = [
        CountJob(root, path, config.frame_rate, config.decode_timeout)
        for path in dict.fromkeys(path for path, _ in found)
    ]
    kept = Path(config.need("target")) / COUNTS_FILE
    counts, there = count_all(jobs, kept, workers=config.num_workers, display=display)
    display.say(f"videos: {len(jobs)}, counted before: {there}")
    left_out += [LeftOut(path, one.error) for path, one in counts.items() if one.error is not None]
    return [
        Listed(path, counts[path].frames, own, clip.split, clip.group or path)
        for (path, clip), own in zip(found, labels, strict=True)
        if counts[path].error is None
    ]


def _check_left(
    listed: Sequence[Listed],
    labels: Sequence[tuple[int, ...]],
    classes: Classes,
    left_out: Sequence[LeftOut],
) -> None:
    """Refuse where not one video of a class can be decoded."""
    lost = {label for own in labels for label in own}
    lost -= {label for one in listed for label in one.labels}
    if lost:
        raise ConfigError(
            f"class {classes.names[min(lost)]!r} has no video that can be decoded, the first of "
            f"{len(left_out)}: {left_out[-1].reason}"
        )


def _link(folder: Path, source: Path) -> None:
    """`videos/` beside the lists is the source, by a link where it lies elsewhere."""
    if folder.exists() and folder.resolve() == source.resolve():
        return
    if folder.is_symlink() or folder.exists():
        raise ConfigError(f"{folder} is not source={source}; remove it or name another target=")
    folder.symlink_to(source.resolve(), target_is_directory=True)
