"""Videos of every kind, written by PyAV; each frame has its number drawn into it as twelve bars."""

from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np

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
    """That `write` puts beside the pictures."""

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


def x264(params, **more):
    """Arguments of `write`: of this encoder with these parameters."""
    return {"options": {"x264-params": params, "preset": "veryfast"}, **more}


def pixels_are_not_square(stream):
    """A `change` of `write`."""
    stream.codec_context.sample_aspect_ratio = Fraction(64, 45)


VARIABLE = [0, 1, 2, 7, 8, 9, 10, 30, 31, 32, 60]

# name of the file -> how it is written, and why its frames are read through, if they are.
KINDS = {
    "every_frame_a_key.mp4": (x264("keyint=1"), ""),
    "gop_12.mp4": (x264("keyint=12:scenecut=0"), ""),
    "gop_250.mp4": (x264("keyint=250:scenecut=0"), ""),
    "open_gop.mp4": (x264("keyint=12:min-keyint=12:open-gop=1:scenecut=0"), ""),
    "pyramid.mkv": (x264("keyint=20:bframes=7:b-pyramid=normal:scenecut=0"), ""),
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
    "transport.ts": (x264("keyint=12:scenecut=0"), ""),
    "camera.m2ts": (x264("keyint=12:scenecut=0"), ""),
    "program.mpg": ({"codec": "mpeg2video"}, "mpeg2video is read through"),
    "moving.gif": ({"codec": "gif", "pix_fmt": "rgb8"}, "gif is read through"),
    "motion.avi": ({"codec": "mjpeg", "pix_fmt": "yuvj420p"}, ""),
    "studio.mov": ({"codec": "prores_ks", "pix_fmt": "yuv422p10le"}, ""),
    "old.flv": ({"codec": "flv"}, "flv1 is read through"),
    "windows.wmv": ({"codec": "wmv2"}, "wmv2 is read through"),
    "UPPER.MOV": (x264("keyint=12"), ""),
    "bare.h264": (x264("keyint=12:bframes=0"), None),
    "one_frame.mp4": ({"times": range(1)}, ""),
    "fragments.mp4": (
        x264("keyint=12", container_options={"movflags": "frag_keyframe+empty_moov"}),
        "",
    ),
    "long_sound.mkv": ({"sound": Sound("pcm_s16le", 4.0)}, ""),
    "not_square.mp4": ({"change": pixels_are_not_square}, ""),
}
