"""Every frame of every kind of video is the right one, on every way that leads to it.

Each file is written here, with the number of each frame drawn into it as twelve bars.
"""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest

from adafocus_env.data.clips import VideoError
from adafocus_env.data.media.decoding import VideoFile
from adafocus_env.data.media.packet_index import index_of

FRAMES, SIZE = 40, (96, 64)


def bars(number):
    """Bar i is white where bit 11 - i of the number is set."""
    bits = [(number >> (11 - i)) & 1 for i in range(12)]
    row = np.repeat(np.array(bits, np.uint8) * 200 + 25, SIZE[0] // 12)
    return np.repeat(np.tile(row, (SIZE[1], 1))[..., None], 3, axis=2)


def number(frame):
    """Of a frame that `bars` drew."""
    width = frame.shape[1]
    seen = frame[frame.shape[0] // 2, [(2 * i + 1) * width // 24 for i in range(12)]].mean(axis=1)
    return int("".join("01"[int(level > 125)] for level in seen), 2)


class Sound(NamedTuple):
    codec: str
    seconds: float


def write(
    path,
    *,
    codec="libx264",
    pix_fmt="yuv420p",
    options=None,
    times=range(FRAMES),
    rate=25,
    shift=0,
    frame_change=None,
    change=None,
    sound=None,
    pictures=True,
    container_options=None,
):
    """A video whose frame i has number i and is shown at `times[i]` / rate seconds."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        if pictures:
            stream = container.add_stream(codec, rate=rate, options=options or {})
            stream.width, stream.height, stream.pix_fmt = *SIZE, pix_fmt
            stream.codec_context.thread_count = 1
            if change:
                change(stream)
        heard = container.add_stream(sound.codec, rate=48000) if sound else None
        if pictures:
            packets = []
            for i, time in enumerate(times):
                frame = av.VideoFrame.from_ndarray(bars(i), format="rgb24")
                frame = frame.reformat(format=pix_fmt, threads=1)
                frame.pts, frame.time_base = time, Fraction(1, rate)
                if frame_change:
                    frame_change(frame)
                packets += stream.encode(frame)
            for packet in packets + stream.encode():
                ticks = round(shift / rate / packet.time_base)
                packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
                container.mux(packet)
        if heard:
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, round(48000 * sound.seconds)), np.int16), "s16", "mono"
            )
            silence.sample_rate, silence.pts = 48000, 0
            for packet in [*heard.encode(silence), *heard.encode()]:
                container.mux(packet)
    return path


def _x264(params, **more):
    return {"options": {"x264-params": params, "preset": "veryfast"}, **more}


def _pixels_are_not_square(stream):
    stream.codec_context.sample_aspect_ratio = Fraction(64, 45)


VARIABLE = [0, 1, 2, 7, 8, 9, 10, 30, 31, 32, 60]

# name of the file -> how it is written, and why its frames are read through, if they are.
KINDS = {
    "every_frame_a_key.mp4": (_x264("keyint=1"), ""),
    "gop_12.mp4": (_x264("keyint=12:scenecut=0"), ""),
    "gop_250.mp4": (_x264("keyint=250:scenecut=0"), ""),
    "open_gop.mp4": (_x264("keyint=12:min-keyint=12:open-gop=1:scenecut=0"), ""),
    "pyramid.mkv": (_x264("keyint=20:bframes=7:b-pyramid=normal:scenecut=0"), ""),
    "interlaced.mp4": (
        {"options": {"flags": "+ildct+ilme", "x264-params": "interlaced=1"}},
        "interlaced: a packet may be a field",
    ),
    "variable.mp4": ({"times": VARIABLE}, ""),
    "variable.mkv": ({"times": VARIABLE}, ""),
    "xvid.avi": ({"codec": "mpeg4", "options": {"g": "12", "bf": "2"}}, None),
    "mpeg4.mp4": ({"codec": "mpeg4", "options": {"g": "12", "bf": "2"}}, None),
    "vp9.webm": ({"codec": "libvpx-vp9", "options": {"g": "12", "cpu-used": "8"}}, ""),
    "av1.webm": ({"codec": "libsvtav1", "options": {"preset": "12", "g": "16"}}, ""),
    "hevc_10_bit.mp4": (
        {
            "codec": "libx265",
            "pix_fmt": "yuv420p10le",
            "options": {"preset": "ultrafast", "x265-params": "keyint=12:log-level=none:pools=1"},
        },
        "",
    ),
    "transport.ts": (_x264("keyint=12:scenecut=0"), ""),
    "camera.m2ts": (_x264("keyint=12:scenecut=0"), ""),
    "program.mpg": ({"codec": "mpeg2video"}, "mpeg2video is read through"),
    "moving.gif": ({"codec": "gif", "pix_fmt": "rgb8"}, "gif is read through"),
    "motion.avi": ({"codec": "mjpeg", "pix_fmt": "yuvj420p"}, ""),
    "studio.mov": ({"codec": "prores_ks", "pix_fmt": "yuv422p10le"}, ""),
    "old.flv": ({"codec": "flv"}, "flv1 is read through"),
    "windows.wmv": ({"codec": "wmv2"}, "wmv2 is read through"),
    "UPPER.MOV": (_x264("keyint=12"), ""),
    "bare.h264": (_x264("keyint=12:bframes=0"), None),
    "one_frame.mp4": ({"times": range(1)}, ""),
    "fragments.mp4": (
        _x264("keyint=12", container_options={"movflags": "frag_keyframe+empty_moov"}),
        "",
    ),
    "long_sound.mkv": ({"sound": Sound("pcm_s16le", 4.0)}, ""),
    "not_square.mp4": ({"change": _pixels_are_not_square}, ""),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kinds")


@pytest.mark.parametrize("name", KINDS)
def test_all_frames_are_right_and_all_ways_give_the_same_bytes(folder, name):
    settings, through = KINDS[name]
    path = write(folder / name, **settings)
    count = len(settings.get("times", range(FRAMES)))

    whole = dict(VideoFile(path).read())
    assert [number(frame) for frame in whole.values()] == list(range(count))
    assert list(whole) == list(range(count))
    assert VideoFile(path).num_frames == count
    if through is not None:
        assert index_of(path).why_read_through == through

    for chosen in ([count - 1], list(range(1, count, 9)), [count // 2], list(range(0, count, 5))):
        found = list(VideoFile(path).read(chosen))
        assert [index for index, _ in found] == sorted(set(chosen))
        for index, frame in found:
            np.testing.assert_array_equal(frame, whole[index])


def test_frames_are_sought_without_decoding_what_lies_between(folder, monkeypatch):
    path = write(folder / "sought.mp4", **_x264("keyint=10:bframes=2:b-adapt=0:scenecut=0"))
    fed = []
    from adafocus_env.data.media import decoding

    plain = decoding.decoded
    monkeypatch.setattr(decoding, "decoded", lambda s, p: fed.append(p) or plain(s, p))
    assert [number(frame) for _, frame in VideoFile(path).read([30])] == [30]
    # Frame 30 begins the fourth group; then the decoder is emptied.
    assert len(fed) == 2
    fed.clear()
    assert [number(frame) for _, frame in VideoFile(path).read([16])] == [16]
    # From frame 10 on, but not those of the seven that no other needs; then it is emptied.
    assert len(fed) - 1 < 7


def _display_matrix(a, b, c, d):
    one = 1 << 16
    return [a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30]


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), lambda frame: frame),
        ((-1, 0, 0, 1), lambda frame: frame[:, ::-1]),  # mirrored
        ((1, 0, 0, -1), lambda frame: frame[::-1]),
        ((-1, 0, 0, -1), lambda frame: frame[::-1, ::-1]),
        # A quarter turn as phones write it, clockwise: what is left comes to the top.
        ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),
        ((0, -1, 1, 0), lambda frame: np.rot90(frame, 1)),
        ((0, 1, 1, 0), lambda frame: frame.transpose(1, 0, 2)),  # turned and mirrored
    ],
)
def test_the_display_matrix_turns_and_mirrors(folder, matrix, shown):
    plain = write(folder / "plain.mp4", times=range(6))
    turned = write(
        folder / "turned.mp4",
        times=range(6),
        change=lambda stream: stream.set_display_matrix(_display_matrix(*matrix)),
    )
    upright = dict(VideoFile(plain).read())
    for index, frame in VideoFile(turned).read():
        np.testing.assert_array_equal(frame, shown(upright[index]))


def test_what_an_edit_list_hides_is_hidden(folder):
    # A stream copy that is cut behind frame 13, within a group: the packets before it are there.
    path = write(
        folder / "cut.mp4",
        **_x264("keyint=250:bframes=0:scenecut=0"),
        shift=-13,
        container_options={"avoid_negative_ts": "disabled", "use_editlist": "1"},
    )
    assert [number(frame) for _, frame in VideoFile(path).read()] == list(range(13, 40))
    assert VideoFile(path).num_frames == 27
    assert [number(frame) for _, frame in VideoFile(path).read([2, 20])] == [15, 33]
    video = VideoFile(path)
    list(video.read())
    video.check_end()  # it does not break off


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
    whole = write(folder / "whole.mkv", **_x264("keyint=10:scenecut=0"))
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


def test_streams_that_are_joined_go_on_though_times_restart_and_sound_begins(folder):
    # FFmpeg probes five seconds for streams; this one's sound begins after eight.
    coded = _x264("keyint=12:scenecut=0")
    first = write(folder / "first.ts", times=range(200), **coded)
    second = write(folder / "second.ts", sound=Sound("mp2", 1.6), **coded)
    joined = folder / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    assert [number(f) for _, f in VideoFile(joined).read()] == [*range(200), *range(FRAMES)]
    assert VideoFile(joined).num_frames == 200 + FRAMES
    assert [number(f) for _, f in VideoFile(joined).read([230])] == [30]
    # At 5 frames a second as ffmpeg 9.0.2 writes it: times go on where the first stream ended.
    shown = [number(f) for _, f in VideoFile(joined, 5).read()]
    assert shown == [0, 1, *range(4, 200, 5), 4, 9, 14, 19, 24, 29, 34, 39]


@pytest.mark.parametrize(
    ("name", "sound", "shown"),
    [
        # 10 frames late, alone: ffmpeg 9.0.2 begins with the first picture ...
        ("late.mkv", None, [0, 1, *range(4, 40, 5)]),
        # ... beside sound from the beginning on it fills the time before ...
        (
            "late_with_sound.mkv",
            Sound("pcm_s16le", 2.0),
            [0, 0, 1, 2, 4, 9, 14, 19, 24, 29, 34, 39],
        ),
        # ... but where times may jump it does not count from sound that it does not use.
        ("late_sound.ts", Sound("mp2", 2.0), [0, 1, *range(4, 40, 5)]),
    ],
)
def test_pictures_that_begin_late_are_shown_at_another_rate_as_ffmpeg_does(
    folder, name, sound, shown
):
    path = write(folder / name, shift=10, sound=sound, **_x264("keyint=12:scenecut=0"))
    assert [number(frame) for _, frame in VideoFile(path, 5).read()] == shown


def test_a_stream_that_begins_within_a_group_begins_with_its_first_key_frame(folder):
    whole = write(folder / "broadcast.ts", **_x264("keyint=12:scenecut=0"))
    data, cut = whole.read_bytes(), folder / "joined_late.ts"
    cut.write_bytes(data[len(data) // 188 // 10 * 188 :])
    assert [number(frame) for _, frame in VideoFile(cut).read()] == list(range(12, FRAMES))
    shown = [number(frame) for _, frame in VideoFile(cut, 4).read()]
    assert shown == [12, 13, 15, 22, 28, 34]  # as ffmpeg 9.0.2 writes it


@pytest.mark.parametrize("name", ["gop_12.mp4", "transport.ts", "motion.avi", "vp9.webm"])
def test_damaged_pictures_are_the_same_on_all_ways_or_refused(folder, name, monkeypatch):
    """Bits are flipped where pictures are, none of them in the container's tables."""
    from adafocus_env.data.media import decoding

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
    path = write(folder / "changing.mp4", **_x264("keyint=10"))
    frames = VideoFile(path).read()
    next(frames)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(VideoError, match=r"changing\.mp4: the file was changed while it was read"):
        list(frames)


def test_a_playlist_and_what_names_other_files_is_not_followed(folder):
    write(folder / "secret.ts", **_x264("keyint=12"))
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


def test_pixels_that_are_not_square_are_said_and_not_corrected(folder):
    video = VideoFile(write(folder / "wide.mp4", times=range(3), change=_pixels_are_not_square))
    assert {frame.shape for _, frame in video.read()} == {(64, 96, 3)}
    assert video.pixel_aspect == Fraction(64, 45)


def test_a_list_that_names_all_frames_knows_their_number_from_reading(folder, monkeypatch):
    from adafocus_env.data.media import decoding

    path = write(folder / "peeked.mp4", times=range(6))
    video, longer = VideoFile(path), VideoFile(path)
    list(video.read(range(6), peek=True))
    list(longer.read(range(5), peek=True))
    assert longer.num_frames == 6
    monkeypatch.setattr(decoding, "count_frames", None)  # nothing more is opened
    assert video.num_frames == 6


def test_another_rate_gives_the_same_frames_by_any_choice_of_them(folder):
    path = write(folder / "rate.mp4", **_x264("keyint=12:scenecut=0"))
    whole = [number(frame) for _, frame in VideoFile(path, 5).read()]
    assert whole == [0, 1, 4, 9, 14, 19, 24, 29, 34, 39]  # as ffmpeg -r 5 gives them
    assert VideoFile(path, 5).num_frames == 10
    few = dict(VideoFile(path, 5).read([8, 2]))
    assert {k: number(frame) for k, frame in few.items()} == {2: 4, 8: 34}
    with pytest.raises(VideoError, match="after 10 readable frames at frame_rate=5 but frame 10"):
        list(VideoFile(path, 5).read([0, 10]))


def test_the_index_of_a_long_video_is_kept_under_its_size_and_time(folder, tmp_path, monkeypatch):
    from adafocus_env.data.media import packet_index

    path = write(folder / "kept.mp4", **_x264("keyint=12"))
    monkeypatch.setattr(packet_index, "_WORTH_KEEPING", FRAMES)
    made = index_of(path, tmp_path)
    [kept] = tmp_path.glob("*/*.npz")
    packet_index._remembered.clear()
    monkeypatch.setattr(packet_index, "make_index", None)  # it is not made again
    again = index_of(path, tmp_path)
    for one, other in zip(vars(made).values(), vars(again).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    packet_index._remembered.clear()
    path.touch()  # another time, another index
    with pytest.raises(TypeError):
        index_of(path, tmp_path)
    assert kept.is_file()
