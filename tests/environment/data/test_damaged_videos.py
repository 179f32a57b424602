"""Files that hold no video, or no whole one: refused in one line, or read as far as they go."""

from pathlib import Path

import av
import numpy as np
import pytest
from numbered_videos import FRAMES, KINDS, SIZE, Sound, bars, number, write, x264

from adafocus_env.data.clips import VideoError
from adafocus_env.data.media import decoding
from adafocus_env.data.media.decoding import VideoFile


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


def test_what_holds_no_video_is_refused_in_one_line(folder):
    sound = Sound("aac", 1.0)
    write(folder / "sound.mp4", pictures=False, sound=sound)
    cover = folder / "cover.m4v"
    with av.open(str(cover), "w", format="mp4") as container:
        heard = container.add_stream("aac", rate=48000)
        picture = container.add_stream("mjpeg", rate=25)
        picture.width, picture.height, picture.pix_fmt = *SIZE, "yuvj420p"
        picture.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(bars(5), format="rgb24").reformat(format="yuvj420p")
        for packet in [*picture.encode(frame), *picture.encode()]:
            container.mux(packet)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.int16), "s16", "mono")
        silence.sample_rate, silence.pts = 48000, 0
        for packet in [*heard.encode(silence), *heard.encode()]:
            container.mux(packet)
    for name, why in (("sound.mp4", "no pictures, only sound"), ("cover.m4v", "a cover picture")):
        with pytest.raises(VideoError, match=rf"{name}: no video in this file: .*{why}") as raised:
            list(VideoFile(folder / name).read())
        assert "\n" not in str(raised.value)


def test_a_truncated_stream_gives_its_frames_and_breaks_off(folder):
    whole = write(folder / "whole.mkv", **x264("keyint=10:scenecut=0"))
    part = folder / "part.mkv"
    part.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    video = VideoFile(part)
    seen = [number(frame) for _, frame in video.read()]
    assert seen == list(range(len(seen)))
    assert 5 < len(seen) < FRAMES
    with pytest.raises(VideoError, match=rf"breaks off after {len(seen)} frames; replace it"):
        video.check_end()
    with pytest.raises(VideoError, match=r"part\.mkv: .* frame 39 is needed"):
        list(VideoFile(part).read([3, 39]))


@pytest.mark.parametrize("name", ["gop_12.mp4", "transport.ts", "motion.avi", "vp9.webm"])
def test_damaged_pictures_are_the_same_on_all_ways_or_refused(folder, name, monkeypatch):
    """Bits are flipped where pictures are, none of them in the container's tables."""
    monkeypatch.setattr(decoding, "_DENSE", 0)
    whole = write(folder / f"whole_{name}", **KINDS[name][0])
    path, intact, rng = folder / f"damaged_{name}", whole.read_bytes(), np.random.default_rng(0)
    packets = [bytes(p) for p in av.open(str(whole)).demux(video=0) if p.size > 20]
    damaged = 0
    for _ in range(25):
        data = bytearray(intact)
        for _ in range(3):
            packet = packets[rng.integers(len(packets))]
            data[intact.find(packet[-8:]) + rng.integers(8)] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        for chosen in rng.integers(0, FRAMES, 3).tolist():
            seen = []
            for read in (VideoFile(path).read, VideoFile(path)._read_through):
                try:
                    seen += [frame for _, frame in read([chosen])]
                except VideoError:
                    seen.append(None)
            damaged += seen[0] is None or number(seen[0]) != chosen
            np.testing.assert_array_equal(seen[0], seen[1])
    assert damaged


def test_a_file_that_another_process_changes_is_named(folder):
    path = write(folder / "changing.mp4", **x264("keyint=10"))
    frames = VideoFile(path).read()
    next(frames)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(VideoError, match=r"changing\.mp4: the file was changed while it was read"):
        list(frames)


def test_a_playlist_and_what_names_other_files_is_not_followed(folder):
    write(folder / "secret.ts", **x264("keyint=12"))
    for text in (
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1.6,\nsecret.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile secret.ts\n",
        '<?xml version="1.0"?><MPD><BaseURL>secret.ts</BaseURL></MPD>',
        "v=0\no=- 0 0 IN IP4 127.0.0.1\n",
    ):
        path = Path(folder / "list.mp4")
        path.write_text(text)
        with pytest.raises(VideoError, match=r"list\.mp4: a playlist, .* is not followed"):
            list(VideoFile(path).read())
