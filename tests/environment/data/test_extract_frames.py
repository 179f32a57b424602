"""Videos to folders of JPEG files: one video at a time."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from adafocus_env.data.media.decoding import VideoFile
from adafocus_env.data.media.extract_frames import (
    ExtractJob,
    ExtractSettings,
    extract_video,
    frames_extracted,
    plan_extraction,
    remove_unfinished,
    scale_to_height,
)
from adafocus_env.data.media.frame_folders import FrameFolderReader, read_image

AS_IT_IS = ExtractSettings(height=None)


@pytest.fixture
def job(video_folder, tmp_path):
    """12 frames of 64 x 48 pixels, 8 a second."""
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(video_folder / "videos" / "v0.mp4", source)
    return ExtractJob(source / "v0.mp4", tmp_path / "target" / "v0", AS_IT_IS)


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_each_frame_becomes_a_numbered_jpeg(job):
    result = extract_video(job)
    assert (result.num_frames, result.error) == (12, None)
    images = [f"image_{t:05d}.jpg" for t in range(1, 13)]
    assert _names(job.folder) == ["extracted.json", *images]
    assert _names(job.folder.parent) == ["v0"]
    assert frames_extracted(job) == 12


@pytest.mark.parametrize("frame_rate", [None, 3, 16])
def test_jpeg_k_shows_what_decoding_frame_k_shows(job, frame_rate):
    job = ExtractJob(job.video, job.folder, ExtractSettings(None, frame_rate))
    count = extract_video(job).num_frames
    decoded = [frame for _, frame in VideoFile(job.video, frame_rate).read()]
    assert len(decoded) == count
    read = FrameFolderReader(job.folder.resolve()).read(job.folder, range(count))
    for (_, jpeg), frame in zip(read, decoded, strict=True):
        assert np.abs(jpeg.astype(int) - frame).mean() < 3


def test_frames_are_scaled_before_they_are_written_and_keep_their_aspect(job):
    job = ExtractJob(job.video, job.folder, ExtractSettings(24))
    extract_video(job)
    assert read_image(job.folder / "image_00012.jpg").shape == (24, 32, 3)
    for width, height, asked, expected in (
        (64, 48, 360, 480),
        (1920, 1080, 360, 640),
        (854, 480, 360, 641),  # 640.5: to the nearest, halves up; not to an even number
        (853, 480, 360, 640),  # 639.75
        (720, 1280, 360, 203),  # 202.5
        (3, 500, 36, 1),  # .216
        (64, 48, 48, 64),
        (65, 49, None, 65),
    ):
        scaled = scale_to_height(np.full((height, width, 3), 90, np.uint8), asked)
        assert scaled.shape == (asked or height, expected, 3)
        assert scaled.min() == scaled.max() == 90


def test_a_video_that_breaks_off_or_is_none_fails_and_leaves_no_folder(video_frames, tmp_path):
    whole = tmp_path / "half.avi"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter.fourcc(*"MJPG"), 8, (64, 48))
    for frame in np.random.default_rng(0).integers(0, 256, video_frames.shape, np.uint8):
        writer.write(frame)
    writer.release()
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    result = extract_video(ExtractJob(whole, tmp_path / "target" / "half", AS_IT_IS))
    assert result.num_frames == 0
    assert "half.avi: the video breaks off after" in result.error
    assert "frames; replace it" in result.error
    assert _names(tmp_path / "target") == []

    for content, why in ((b"", "the file is empty"), (b"no video\n" * 50, "no video file")):
        whole.write_bytes(content)
        result = extract_video(ExtractJob(whole, tmp_path / "target" / "half", AS_IT_IS))
        assert result.error.startswith(f"{whole}: {why}")
        assert _names(tmp_path / "target") == []


def test_names_mean_nothing_but_themselves_and_must_be_text(job):
    names = ['it\'s "good"; touch x', "two\nlines", "ünï %05d", "-rf", "$HOME `id` & *"]
    for name in names:
        shutil.copy(job.video, job.video.with_name(f"{name}.mp4"))
    job.video.rename(job.video.with_name("\udce9.mp4"))
    results = {
        planned.folder.name: extract_video(planned)
        for planned in plan_extraction(job.video.parent, job.folder.parent, AS_IT_IS).jobs
    }
    assert "the file name is no UTF-8 text; rename it" in results.pop("\udce9").error
    assert {result.num_frames for result in results.values()} == {12}
    assert _names(job.folder.parent) == sorted(names) == sorted(results)
    assert not Path("x").exists()


def _plan(tmp_path, *names):
    for name in names:
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return plan_extraction(tmp_path / "source", tmp_path / "target", AS_IT_IS)


def test_folders_have_the_videos_paths_without_extension(tmp_path):
    names = ("b.mkv", "sub/a.1.mp4", "sub/A.WEBM", "notes.txt", "sub/c.MoV", "d.jpg", "._b.mkv")
    plan = _plan(tmp_path, *names)
    folders = [str(job.folder.relative_to(tmp_path / "target")) for job in plan.jobs]
    assert folders == ["b", "sub/A", "sub/a.1", "sub/c"]
    assert [path.name for path in plan.left_out] == ["d.jpg", "notes.txt"]


def test_a_video_is_known_by_its_head_under_any_suffix_but_sound_is_left_out(job):
    for name in ("clip.bin", "clip2", "song.m4a"):
        shutil.copy(job.video, job.video.with_name(name))
    plan = plan_extraction(job.video.parent, job.folder.parent, AS_IT_IS)
    assert [planned.video.name for planned in plan.jobs] == ["clip.bin", "clip2", "v0.mp4"]
    assert [path.name for path in plan.left_out] == ["song.m4a"]


def test_linked_folders_are_followed_but_none_twice_and_none_that_leaves(tmp_path):
    source, elsewhere = tmp_path / "source", tmp_path / "elsewhere"
    for folder in (source / "inside", elsewhere):
        folder.mkdir(parents=True)
        (folder / "v.mp4").touch()
    (source / "inside" / "round").symlink_to(source / "inside")
    (source / "again").symlink_to(source / "inside")
    (source / "folder").symlink_to(elsewhere)
    (source / "file.mp4").symlink_to(elsewhere / "v.mp4")
    (source / "self").symlink_to("self")
    (tmp_path / "whole").symlink_to(source)
    for given in (source, tmp_path / "whole"):
        plan = plan_extraction(given, tmp_path / "target", AS_IT_IS)
        assert len(plan.jobs) == 1
        assert [path.name for path in plan.outside] == ["file.mp4", "folder", "self"]


def test_a_plan_that_cannot_be_carried_out_is_refused(tmp_path):
    for number, (names, message) in enumerate(
        [
            (("a.mp4", "a.mkv"), r"a\.mkv and .*a\.mp4 would both be extracted to .*/a; remove"),
            (("a.mp4", "a/b.mp4"), r"frames of .*a/b\.mp4 would lie in .*target/a, the folder of"),
            (("notes.txt",), "holds no videos; files of other kinds: 1"),
        ]
    ):
        with pytest.raises(ValueError, match=message):
            _plan(tmp_path / str(number), *names)


def test_other_settings_are_refused_with_the_difference(job):
    extract_video(job)
    other = ExtractJob(job.video, job.folder, ExtractSettings(360, 4.0))
    message = r"\(frame_rate: None there, 4.0 here; height: None there, 360 here\)"
    with pytest.raises(ValueError, match=message):
        frames_extracted(other)
    record = json.loads((job.folder / "extracted.json").read_text())
    (job.folder / "extracted.json").write_text(json.dumps({**record, "opencv": "1.0"}))
    with pytest.raises(ValueError, match=r"\(opencv: 1\.0 there, "):
        frames_extracted(job)
    for content in (None, "", "[]", '{"height": null}'):  # something else has made the folder
        (job.folder / "extracted.json").unlink()
        if content is not None:
            (job.folder / "extracted.json").write_text(content)
        with pytest.raises(ValueError, match=r"target/v0 exists but holds no extracted\.json"):
            frames_extracted(job)
        (job.folder / "extracted.json").touch()


def test_what_a_killed_run_left_is_removed_and_nothing_else(job, monkeypatch, make_left_over):
    left_over = make_left_over()
    other = job.folder.with_name("other")
    other.mkdir()
    assert frames_extracted(job) is None
    remove_unfinished([job])
    assert not left_over.exists()
    assert other.exists()


@pytest.fixture
def make_left_over(job, monkeypatch):
    """Stops an extraction after three frames, as a kill would: nothing is tidied up."""

    class Killed(BaseException):
        pass

    def make():
        written = []

        def write(path, data):
            written.append(path)
            if len(written) == 4:
                raise Killed
            return path.open("wb").write(data)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", write)
            patch.setattr(shutil, "rmtree", lambda *_, **__: None)
            with pytest.raises(Killed):
                extract_video(job)
        [left_over] = job.folder.parent.iterdir()
        assert left_over.name.startswith(".extracting-")
        assert len(_names(left_over)) == 3
        return left_over

    return make
