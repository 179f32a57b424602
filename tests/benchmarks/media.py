"""Reading video files: 16 frames of a long and of a short one, its length, its class."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch

import rows
from adafocus_env.data.clips import to_clip_tensor
from adafocus_env.data.media import packet_index
from adafocus_env.data.media.decoding import VideoFile
from adafocus_env.data.transforms import ClipTransform
from adafocus_env.files import atomic_path
from agents.inference import AdaFocus
from published_loop import PublishedLoop

_FOLDER = Path("outputs/benchmark/media")
_WIDTH, _HEIGHT, _RATE, _CLIP = 1280, 720, 30, 450
FRAMES = {"long": 12 * _CLIP, "short": 60}  # three minutes, two seconds


def video(num_frames: int) -> Path:
    """A 720p H.264 file of drawn frames with x264's default groups; made once.

    The long one is a coded clip of 15 seconds twelve times: encoding is not what is timed.
    """
    path = _FOLDER / f"{num_frames}.mp4"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as part:
            _write(part, min(num_frames, _CLIP), max(1, num_frames // _CLIP))
    return path


def _write(path: Path, num_frames: int, repeats: int) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_RATE)
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"preset": "veryfast"}
        coded = []
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(_drawn(index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, _RATE)
            coded += stream.encode(frame)
        coded += stream.encode()
        whole = [(bytes(p), p.pts, p.dts, p.duration, p.is_keyframe, p.time_base) for p in coded]
        for repeat in range(repeats):
            for data, pts, dts, duration, is_key, base in whole:
                packet = av.Packet(data)
                shift = int(repeat * num_frames / (base * _RATE))
                packet.stream, packet.time_base, packet.duration = stream, base, duration
                packet.pts, packet.dts, packet.is_keyframe = pts + shift, dts + shift, is_key
                container.mux(packet)


def _drawn(index: int) -> np.ndarray:
    """A textured scene that a camera moves over, with discs that move in it and some noise."""
    rng = np.random.default_rng(index // 150)  # another scene every five seconds
    scene = rng.integers(0, 256, (30, 50, 3), dtype=np.uint8)
    scene = cv2.resize(scene, (_WIDTH + 160, _HEIGHT + 160), interpolation=cv2.INTER_CUBIC)
    moved = index % 150
    frame = np.ascontiguousarray(scene[moved : moved + _HEIGHT, moved // 2 : moved // 2 + _WIDTH])
    for _ in range(12):
        x, y, dx, dy = rng.integers(0, _WIDTH), rng.integers(0, _HEIGHT), *rng.integers(-6, 7, 2)
        color = tuple(int(level) for level in rng.integers(0, 256, 3))
        center = (int(x + dx * moved) % _WIDTH, int(y + dy * moved) % _HEIGHT)
        cv2.circle(frame, center, 40, color, -1)
    noise = np.random.default_rng(index).integers(0, 9, frame.shape, dtype=np.uint8)
    return cv2.add(frame, noise)


def chosen(num_frames: int) -> list[int]:
    """The middle frames of sixteen equal parts."""
    return [int(num_frames / 16 * (i + 0.5)) for i in range(16)]


def _ours(path: Path, indices: list[int]) -> list[np.ndarray]:
    packet_index._remembered.clear()  # as if the video had never been opened
    return [frame for _, frame in VideoFile(path).read(indices)]


def _through(path: Path, indices: list[int]) -> list[np.ndarray]:
    """OpenCV, from the beginning, as before and as most loaders do."""
    capture, frames, wanted = cv2.VideoCapture(str(path)), [], set(indices)
    for index in range(max(wanted) + 1):
        capture.grab()
        if index in wanted:
            frames.append(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB))
    capture.release()
    return frames


def decode_task(name: str, length: str) -> rows.Function:
    """`decode_long_vs_read_through`, `decode_short_vs_read_through`: 16 frames of a file."""
    path, indices = video(FRAMES[length]), chosen(FRAMES[length])
    read = {"ours": _ours, "through": _through}[name]
    return rows.Function(lambda: read(path, indices))


def count_task(name: str) -> rows.Function:
    """`count_frames`: of the long file, by demuxing or by decoding."""
    path = video(FRAMES["long"])

    def ours() -> int:
        packet_index._remembered.clear()
        return VideoFile(path).num_frames

    def through() -> int:
        capture, frames = cv2.VideoCapture(str(path)), 0
        while capture.grab():
            frames += 1
        capture.release()
        return frames

    return rows.Function({"ours": ours, "through": through}[name])


def class_task(name: str) -> rows.Function:
    """`file_to_class_long`: the long file to its class, at the published sizes."""
    sizes = rows.Sizes(num_videos=1, num_frames=16)
    recognizer, policy = rows.published_networks(sizes)
    transform, rng = ClipTransform(recognizer.config.frame_size), np.random.default_rng(0)
    whole, loop = AdaFocus(recognizer, policy), PublishedLoop(recognizer, policy)
    path, indices = video(FRAMES["long"]), chosen(FRAMES["long"])

    def clip(frames: list[np.ndarray]) -> torch.Tensor:
        return transform(to_clip_tensor(np.stack(frames)), rng, rng)[None]

    @torch.no_grad()
    def published() -> object:
        return loop.predict(loop.normalize(clip(_through(path, indices))))

    return rows.Function(
        {"ours": lambda: whole.predict(clip(_ours(path, indices))), "published": published}[name]
    )
