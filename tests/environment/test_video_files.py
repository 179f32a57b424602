"""List files, and videos on disk."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch

from adafocus_env.data.transforms import ClipTransform
from adafocus_env.data.video_files import (
    ListFileError,
    VideoError,
    VideoFiles,
    VideoRecord,
    decode_frames,
    read_class_file,
    read_list_file,
)


@pytest.fixture
def list_file(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    return tmp_path / "val.txt"


def _read(list_file: Path, text: str, separator: str = ",") -> list[VideoRecord]:
    list_file.write_text(text, encoding="utf-8")
    root = list_file.parent / "videos"
    return read_list_file(list_file, root, num_classes=3, separator=separator)


def test_list_file_gives_a_record_a_line(list_file: Path) -> None:
    records = _read(list_file, "a.mp4,12,0\n\n  sub/b.mp4 , 7 , 2 \n\n")
    root = list_file.parent.resolve() / "videos"
    assert records == [
        VideoRecord(root / "a.mp4", 12, 0),
        VideoRecord(root / "sub" / "b.mp4", 7, 2),
    ]


@pytest.mark.parametrize(
    ("separator", "line", "name"),
    [
        (",", "a,b,c.mp4,12,1", "a,b,c.mp4"),
        (" ", "my first video.mp4 12 1", "my first video.mp4"),
        (" ", "a,b.mp4 12 1", "a,b.mp4"),
        ("\t", "a b.mp4\t12\t1", "a b.mp4"),
        (",", "d/../a.mp4,12,1", "a.mp4"),  # does not leave the folder
        (",", "ünï.mp4,12,1", "ünï.mp4"),
    ],
)
def test_a_path_may_contain_the_separator(
    list_file: Path, separator: str, line: str, name: str
) -> None:
    [record] = _read(list_file, line, separator)
    root = list_file.parent.resolve() / "videos"
    assert record == VideoRecord(root / name, 12, 1)


def test_windows_line_ends_are_taken(list_file: Path) -> None:
    list_file.write_bytes(b"a.mp4,12,0\r\nb.mp4,7,2\r\n")
    records = read_list_file(list_file, list_file.parent, num_classes=3)
    assert [(r.path.name, r.num_frames, r.label) for r in records] == [
        ("a.mp4", 12, 0),
        ("b.mp4", 7, 2),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.mp4,12", "expected 'path,frames,label', got 'a.mp4,12'"),
        ("a.mp4", "expected 'path,frames,label'"),
        (",12,1", "expected 'path,frames,label'"),
        ("a.mp4 12 1", "expected 'path,frames,label'"),
        ("a.mp4,twelve,1", "must be integers, got 'twelve' and '1'"),
        ("a.mp4,12,1.0", "must be integers, got '12' and '1.0'"),
        ("a.mp4,12,", "must be integers, got '12' and ''"),
        ("a.mp4,0,1", "at least one frame, got 0"),
        ("a.mp4,-3,1", "at least one frame, got -3"),
        ("a.mp4,12,3", r"label 3 is not in 0\.\.2; is this the right class file\?"),
        ("a.mp4,12,-1", r"label -1 is not in 0\.\.2"),
        ("/etc/passwd,12,1", "leaves the data folder .*; use a path inside it"),
        ("../a.mp4,12,1", "leaves the data folder .*; use a path inside it"),
        ("sub/../../a.mp4,12,1", "leaves the data folder .*; use a path inside it"),
        ("a\0.mp4,12,1", "use a path inside it"),
    ],
)
def test_a_bad_line_is_named_with_its_cure(list_file: Path, line: str, message: str) -> None:
    with pytest.raises(ListFileError, match=f"val.txt:3: .*{message}") as error:
        _read(list_file, f"a.mp4,12,0\n\n{line}\n")
    assert str(list_file) in str(error.value)


def test_a_symlink_must_not_leave_the_folder(list_file: Path) -> None:
    inside, outside = list_file.parent / "videos", list_file.parent / "outside.mp4"
    outside.touch()
    (inside / "real.mp4").touch()
    (inside / "good.mp4").symlink_to(inside / "real.mp4")
    (inside / "bad.mp4").symlink_to(outside)
    assert _read(list_file, "good.mp4,12,1")[0].path.name == "real.mp4"
    with pytest.raises(ListFileError, match=r"val\.txt:1: .*leaves the data folder"):
        _read(list_file, "bad.mp4,12,1")


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_list_is_refused_with_the_format(list_file: Path, text: str) -> None:
    with pytest.raises(ListFileError, match=r"val\.txt: .*empty; write 'path frames label' a line"):
        _read(list_file, text, separator=" ")


def test_a_missing_list_or_class_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"list file .*val\.txt does not exist"):
        read_list_file(tmp_path / "val.txt", tmp_path, 3)
    with pytest.raises(FileNotFoundError, match=r"class file .*classes\.txt does not exist"):
        read_class_file(tmp_path / "classes.txt")


def test_a_file_that_is_no_utf8_is_named(tmp_path: Path) -> None:
    latin = tmp_path / "latin.txt"
    latin.write_bytes("Fußball.mp4,12,1\n".encode("latin-1"))
    with pytest.raises(ListFileError, match=r"latin\.txt.*UTF-8"):
        read_list_file(latin, tmp_path, 3)
    with pytest.raises(ListFileError, match=r"latin\.txt.*UTF-8"):
        read_class_file(latin)


def test_class_file_gives_a_name_a_line(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("long jump\n high jump \n\n\n")
    assert read_class_file(tmp_path / "classes.txt") == ("long jump", "high jump")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n\nb\n", r"classes\.txt:2: blank line .*; remove it"),
        ("\na\n", r"classes\.txt:1: blank line .*; remove it"),
        ("", r"classes\.txt: .*empty; write one class name a line"),
        ("\n\n", r"classes\.txt: .*empty"),
    ],
)
def test_a_bad_class_file_is_named_with_its_cure(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(ListFileError, match=message):
        read_class_file(tmp_path / "classes.txt")


def _grey_levels(frames: list[npt.NDArray[np.uint8]]) -> list[int]:
    """Which of the frames of `video_frames`, whose lower right is 20 t, each one is."""
    return [round(float(frame[24:, 24:].mean()) / 20) for frame in frames]


def test_decoding_keeps_the_asked_frames_in_rgb(video_folder: Path) -> None:
    path = video_folder / "videos" / "v0.mp4"
    frames = decode_frames(path, [1, 4, 4, 11])
    assert _grey_levels(frames) == [1, 4, 4, 11]
    assert {frame.shape for frame in frames} == {(48, 64, 3)}
    assert {frame.dtype for frame in frames} == {np.dtype(np.uint8)}
    red, green, blue = frames[0][4:12, 4:12].mean(axis=(0, 1))
    assert red > green + 100
    assert red > blue + 100


def test_decoding_without_indices_gives_all_frames(video_folder: Path) -> None:
    assert _grey_levels(decode_frames(video_folder / "videos" / "v0.mp4")) == list(range(12))


@pytest.mark.parametrize("indices", [None, [0], [3, 5]])
@pytest.mark.parametrize("kind", ["text", "zero bytes", "truncated"])
def test_a_file_that_is_no_video_is_named(
    video_folder: Path, tmp_path: Path, kind: str, indices: list[int] | None
) -> None:
    video = (video_folder / "videos" / "v0.mp4").read_bytes()
    content = {"text": b"hello\n" * 50, "zero bytes": b"", "truncated": video[: len(video) // 2]}
    path = tmp_path / "broken.mp4"
    path.write_bytes(content[kind])
    with pytest.raises(VideoError, match=r"broken\.mp4: .*complete video\?"):
        decode_frames(path, indices)


def test_a_missing_video_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"gone\.mp4: no such video file"):
        decode_frames(tmp_path / "gone.mp4", [0])


def test_a_video_that_breaks_off_says_after_how_many_frames(
    video_frames: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    whole = tmp_path / "whole.avi"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter.fourcc(*"MJPG"), 8, (64, 48))
    noise = np.random.default_rng(0).integers(0, 256, video_frames.shape, np.uint8)
    for frame in noise:
        writer.write(frame)
    writer.release()
    half = tmp_path / "half.avi"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(
        VideoError, match=r"half\.avi: .*ends after [4-7] readable frames but frame 11"
    ):
        decode_frames(half, [0, 11])
    assert len(decode_frames(half, [0, 3])) == 2


def _open(folder: Path, num_frames: int = 4, **options: object) -> VideoFiles:
    records = read_list_file(folder / "train.txt", folder / "videos", 3)
    return VideoFiles(
        records,
        read_class_file(folder / "classes.txt"),
        num_frames=num_frames,
        transform=ClipTransform(32, augment=options.get("frame_sampling") == "random"),
        **options,  # type: ignore[arg-type]
    )


def test_clip_has_the_middle_frames_the_label_and_the_size(video_folder: Path) -> None:
    videos = _open(video_folder)
    assert len(videos) == 6
    assert videos.labels.tolist() == [0, 1, 2, 0, 1, 2]
    clip = videos.clip(2, episode_seed=5)
    assert clip.label == 2
    assert clip.frames.shape == (4, 3, 32, 32)
    # Frames floor(12 / 4 * (i + 1/2)) = 1, 4, 7, 10 of video 2, whose frames are rolled by 2.
    frames = [frame.permute(1, 2, 0).numpy() for frame in clip.frames]
    assert _grey_levels(frames) == [11, 2, 5, 8]


def test_random_clips_depend_on_the_episode_seed_alone(video_folder: Path) -> None:
    videos = _open(video_folder, frame_sampling="random")
    first = videos.clip(0, 1).frames
    videos.clip(1, 2)
    assert torch.equal(videos.clip(0, 1).frames, first)
    assert not torch.equal(videos.clip(0, 3).frames, first)


@pytest.mark.parametrize("frame_sampling", ["center", "random"])
def test_keeping_decoded_videos_changes_no_clip(video_folder: Path, frame_sampling: str) -> None:
    plain = _open(video_folder, frame_sampling=frame_sampling)
    kept = _open(video_folder, frame_sampling=frame_sampling, keep_decoded=True)
    for seed in (0, 1):
        for index in range(len(plain)):
            one, other = plain.clip(index, seed), kept.clip(index, seed)
            assert torch.equal(one.frames, other.frames)
            assert one.label == other.label


def test_kept_videos_are_decoded_once(video_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes((video_folder / "videos" / "v0.mp4").read_bytes())
    videos = VideoFiles(
        [VideoRecord(path, 12, 0)],
        ("class 0",),
        num_frames=4,
        transform=ClipTransform(32),
        keep_decoded=True,
    )
    first = videos.clip(0, 0).frames
    path.unlink()
    assert torch.equal(videos.clip(0, 0).frames, first)


@pytest.mark.parametrize("keep_decoded", [False, True])
def test_too_large_a_frame_count_is_named_with_its_cure(
    video_folder: Path, keep_decoded: bool
) -> None:
    videos = VideoFiles(
        [VideoRecord(video_folder / "videos" / "v0.mp4", 20, 0)],
        ("class 0",),
        num_frames=4,
        transform=ClipTransform(32),
        keep_decoded=keep_decoded,
    )
    with pytest.raises(VideoError, match=r"v0\.mp4: .*12 readable .*correct the frame count"):
        videos.clip(0, 0)


def test_target_centers_are_those_of_the_middle_frames(video_folder: Path) -> None:
    centers = np.arange(6 * 12 * 2, dtype=np.float32).reshape(6, 12, 2)
    videos = _open(video_folder, target_centers=centers)
    chosen = videos.target_centers(1)
    assert chosen is not None
    # Video 1 begins at 24; frames 1, 4, 7, 10 have two numbers each.
    assert chosen.tolist() == [[26, 27], [32, 33], [38, 39], [44, 45]]
    assert _open(video_folder).target_centers(1) is None


def test_target_centers_of_other_videos_are_refused(video_folder: Path) -> None:
    with pytest.raises(ListFileError, match="5 target paths for 6 videos"):
        _open(video_folder, target_centers=np.zeros((5, 12, 2), np.float32))
