"""Every frame of every kind of video is the right one, on every way that leads to it."""

from fractions import Fraction

import numpy as np
import pytest
from numbered_videos import (
    FRAMES,
    KINDS,
    Sound,
    number,
    pixels_are_not_square,
    write,
    x264,
)

from adafocus_env.data.clips import VideoError
from adafocus_env.data.media.decoding import VideoFile
from adafocus_env.data.media.packet_index import index_of


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
    path = write(folder / "sought.mp4", **x264("keyint=10:bframes=2:b-adapt=0:scenecut=0"))
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
        **x264("keyint=250:bframes=0:scenecut=0"),
        shift=-13,
        container_options={"avoid_negative_ts": "disabled", "use_editlist": "1"},
    )
    assert [number(frame) for _, frame in VideoFile(path).read()] == list(range(13, 40))
    assert VideoFile(path).num_frames == 27
    assert [number(frame) for _, frame in VideoFile(path).read([2, 20])] == [15, 33]
    video = VideoFile(path)
    list(video.read())
    video.check_end()  # it does not break off


def test_streams_that_are_joined_go_on_though_times_restart_and_sound_begins(folder):
    # FFmpeg probes five seconds for streams; this one's sound begins after eight.
    coded = x264("keyint=12:scenecut=0")
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
    path = write(folder / name, shift=10, sound=sound, **x264("keyint=12:scenecut=0"))
    assert [number(frame) for _, frame in VideoFile(path, 5).read()] == shown


def test_a_stream_that_begins_within_a_group_begins_with_its_first_key_frame(folder):
    whole = write(folder / "broadcast.ts", **x264("keyint=12:scenecut=0"))
    data, cut = whole.read_bytes(), folder / "joined_late.ts"
    cut.write_bytes(data[len(data) // 188 // 10 * 188 :])
    assert [number(frame) for _, frame in VideoFile(cut).read()] == list(range(12, FRAMES))
    shown = [number(frame) for _, frame in VideoFile(cut, 4).read()]
    assert shown == [12, 13, 15, 22, 28, 34]  # as ffmpeg 9.0.2 writes it


def test_pixels_that_are_not_square_are_said_and_not_corrected(folder):
    video = VideoFile(write(folder / "wide.mp4", times=range(3), change=pixels_are_not_square))
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
    path = write(folder / "rate.mp4", **x264("keyint=12:scenecut=0"))
    whole = [number(frame) for _, frame in VideoFile(path, 5).read()]
    assert whole == [0, 1, 4, 9, 14, 19, 24, 29, 34, 39]  # as ffmpeg -r 5 gives them
    assert VideoFile(path, 5).num_frames == 10
    few = dict(VideoFile(path, 5).read([8, 2]))
    assert {k: number(frame) for k, frame in few.items()} == {2: 4, 8: 34}
    with pytest.raises(VideoError, match="after 10 readable frames at frame_rate=5 but frame 10"):
        list(VideoFile(path, 5).read([0, 10]))


def test_the_index_of_a_long_video_is_kept_under_its_size_and_time(folder, tmp_path, monkeypatch):
    from adafocus_env.data.media import packet_index

    path = write(folder / "kept.mp4", **x264("keyint=12"))
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
