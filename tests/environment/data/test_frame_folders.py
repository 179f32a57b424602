"""Frames of videos that were extracted before."""

import io
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from adafocus_env.data.clips import VideoError
from adafocus_env.data.media.frame_folders import FrameFolderReader, read_image
from adafocus_env.data.media.video_files import VideoFileReader


@pytest.fixture
def folder(video_frames, tmp_path):
    """Five frames; frame t has grey level 20 t."""
    path = tmp_path.resolve() / "v_abc"
    path.mkdir()
    for t in range(5):
        bgr = cv2.cvtColor(video_frames[t], cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(path / f"image_{t + 1:05d}.jpg"), bgr)
    return path


def test_frame_k_is_image_k_plus_1_in_rgb(folder):
    frames = list(FrameFolderReader(folder).read(folder, [4, 0, 4, 2]))
    assert [index for index, _ in frames] == [0, 2, 4]
    assert [round(float(frame[24:, 24:].mean()) / 20) for _, frame in frames] == [0, 2, 4]
    red, green, blue = frames[0][1][4:12, 4:12].mean(axis=(0, 1))
    assert red > green + 100
    assert red > blue + 100


def test_the_template_names_the_files_and_a_list_of_video_files_their_folders(folder):
    (folder / "image_00003.jpg").rename(folder / "img3.jpg")
    assert len(list(FrameFolderReader(folder, "img{}.jpg").read(folder, [2]))) == 1
    assert FrameFolderReader(folder.parent).find(folder.with_name("v_abc.mp4")) == folder
    with pytest.raises(VideoError, match=r"v_abc\.txt: no such folder of frames"):
        FrameFolderReader(folder.parent).find(folder.with_name("v_abc.txt"))


def test_a_link_out_of_the_root_is_refused_for_a_frame_and_for_a_folder(folder, tmp_path):
    inside, outside = folder / "image_00002.jpg", folder / "image_00003.jpg"
    secret = tmp_path / "secret.jpg"
    outside.rename(secret)
    outside.symlink_to(secret)
    inside.unlink()
    inside.symlink_to(folder / "image_00001.jpg")
    reader = FrameFolderReader(folder.resolve())
    assert len(list(reader.read(folder, [0, 1]))) == 2
    with pytest.raises(VideoError, match=r"image_00003\.jpg: a link that leaves the data folder"):
        list(reader.read(folder, [2]))

    root = tmp_path.resolve() / "frames"
    root.mkdir()
    (root / "v").symlink_to(folder)
    for name in ("v", "v.mp4"):
        with pytest.raises(VideoError, match=r"frames/v: a link that leaves the data folder"):
            FrameFolderReader(root).find(root / name)


def test_a_missing_folder_and_too_large_a_frame_count_are_named_with_the_cure(folder):
    reader = FrameFolderReader(folder.parent)
    with pytest.raises(VideoError, match=r"v_none: no such folder .*'adafocus extract-frames'"):
        list(reader.read(folder.parent / "v_none", [0]))
    message = r"image_00006\.jpg: no such frame; correct the frame count"
    with pytest.raises(VideoError, match=message):
        list(reader.read(folder, [4, 5]))


def test_frames_of_other_names_and_numbers_name_the_key_that_reads_them(folder):
    for index in range(5):
        (folder / f"image_{index + 1:05d}.jpg").rename(folder / f"image_{index:05d}.jpg")
    with pytest.raises(VideoError, match=r"5\.jpg: .*image_00000\.jpg is there; .*first_frame=0"):
        list(FrameFolderReader(folder).read(folder, [4]))
    reader = FrameFolderReader(folder, first_frame=0)
    assert len(list(reader.read(folder, range(5)))) == 5
    assert reader.identity() != FrameFolderReader(folder).identity()
    for index in range(5):
        (folder / f"image_{index:05d}.jpg").rename(folder / f"img-{index + 1:03d}.JPG")
    with pytest.raises(VideoError, match=r"are like lists\.image_template='img-\{:03d\}\.JPG'"):
        list(FrameFolderReader(folder).read(folder, [0]))
    assert len(list(FrameFolderReader(folder, "img-{:03d}.JPG").read(folder, range(5)))) == 5


def test_the_nearest_that_is_there_is_named_for_what_is_missing(tmp_path):
    folder = tmp_path.resolve()
    for name in ("base_000010_000020.mp4", "Clip.MP4", "other.mp4", "v_kicking"):
        (folder / name).mkdir() if name == "v_kicking" else (folder / name).touch()
    for path, there in (
        ("base", "base_000010_000020.mp4"),
        ("base.mp4", "base_000010_000020.mp4"),
        ("clip.avi", "Clip.MP4"),
        ("othr.mp4", "other.mp4"),
    ):
        with pytest.raises(VideoError, match=f"no such video .*did you mean {folder / there}, whi"):
            VideoFileReader(folder).find(folder / path)
    with pytest.raises(VideoError, match=r"; there is no folder .*/base\.d; did you mean .*base_"):
        VideoFileReader(folder).find(folder / "base.d" / "x.mp4")
    with pytest.raises(VideoError, match=r"no such folder of frames; did you mean .*v_kicking, "):
        FrameFolderReader(folder).find(folder / "v_kickin")
    for name in ("zzz.mp4", "base_000010_000021.mp4"):  # another number is another video
        with pytest.raises(VideoError, match="extension behind it; correct"):
            VideoFileReader(folder).find(folder / name)


def test_a_damaged_image_is_named_and_never_replaced(folder):
    image = folder / "image_00003.jpg"
    whole = image.read_bytes()
    for damaged, message in (
        (b"", "the file is empty"),
        (b"not an image\n" * 20, "OpenCV cannot decode"),
        (whole[: len(whole) * 9 // 10], "the JPEG file breaks off"),
        (whole[:-1], "the JPEG file breaks off"),
        (whole[:20], "OpenCV cannot decode"),
    ):
        image.write_bytes(damaged)
        with pytest.raises(VideoError, match=rf"image_00003\.jpg: {message}.*; extract"):
            list(FrameFolderReader(folder).read(folder, [0, 2]))


def test_a_pipe_where_an_image_should_be_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "00001.jpg")
    with pytest.raises(VideoError, match="a pipe or device"):
        read_image(tmp_path / "00001.jpg")


def test_images_are_read_as_they_are_stored_and_grey_ones_with_three_equal_channels(tmp_path):
    # A tag that says "turn by 90 degrees" is followed neither here nor by the published code.
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", exif=exif)
    path = tmp_path / "turned.jpg"
    path.write_bytes(buffer.getvalue())
    np.testing.assert_allclose(read_image(path), np.asarray(Image.open(path)), atol=1)

    path = tmp_path / "grey.jpg"
    Image.fromarray(np.full((16, 16), 100, np.uint8)).save(path)
    image = read_image(path)
    assert image.shape == (16, 16, 3)
    assert image.min() == image.max() == 100
