"""What all rooms share: small recognizers with random weights, videos in memory and on disk."""

import contextlib
import gc
import getpass
import os
import tempfile

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adafocus_env.data.clips import Clip, dataset_identity
from adafocus_env.data.glyphs.drawing import CLASS_NAMES
from adafocus_env.data.glyphs.videos import GlyphVideos
from adafocus_env.data.media.video_files import write_mp4
from adafocus_env.envs import PatchLocalizationEnv, PatchLocalizationVectorEnv
from adafocus_env.features import BankBuilder, FeatureBank
from adafocus_env.networks import (
    RecognizerConfig,
    ShiftRecognizerConfig,
    build_recognizer,
    freeze,
)
from adafocus_env.seeding import Purpose, episode_rng

# The networks here are tiny: threads only wait for each other, for seconds on a busy machine.
torch.set_num_threads(1)


def pytest_collection_finish():
    """What is loaded by now is no garbage: folding networks need not look through it each time."""
    gc.freeze()


def pytest_sessionfinish():
    """At the end all of it is taken apart as usual."""
    gc.unfreeze()


def pytest_collection_modifyitems(items):
    """Files with slow tests come first: no worker is left alone with one in the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory):
    """The temporary folder of libraries and subprocesses is below pytest's, which cleans up.

    SB3 makes a folder at each `learn` without a logger, torchrun one at each start. The name is
    short, because sockets are put there, whose paths have 108 bytes. What torch has compiled stays
    where the next run finds it.
    """
    before = tempfile.gettempdir()
    folder = tmp_path_factory.mktemp("t", numbered=False)
    with pytest.MonkeyPatch.context() as patch:
        if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:
            with contextlib.suppress(KeyError, OSError):  # a user without a name
                user = getpass.getuser()
                patch.setenv("TORCHINDUCTOR_CACHE_DIR", f"{before}/torchinductor_{user}")
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


class InMemoryVideos:
    """Videos of coloured blocks: 2 T frames each, of which the episode seed picks T.

    Args:
        num_videos: V.
        num_classes: K; labels go round.
        num_frames: T.
        num_glance_frames: frames of a clip for the glancer alone, at other times.
        frame_size: side in pixels, a multiple of 8.
        labels: other labels for the same frames.
    """

    def __init__(
        self,
        num_videos=5,
        *,
        num_classes=3,
        num_frames=4,
        num_glance_frames=None,
        frame_size=40,
        labels=None,
    ):
        going_round = np.arange(num_videos) % num_classes
        self.class_names = tuple(f"class {k}" for k in range(num_classes))
        self.labels = np.array(going_round if labels is None else labels, dtype=np.int64)
        self.label_sets = tuple((int(label),) for label in self.labels)
        self.num_frames = num_frames
        self.num_glance_frames = num_glance_frames
        self.frame_size = frame_size
        blocks = frame_size // 8
        shape = (num_videos, 2 * num_frames, 3, blocks, blocks)
        small = torch.from_numpy(np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8))
        self.frames = small.repeat_interleave(8, -2).repeat_interleave(8, -1)

    def __len__(self):
        return len(self.labels)

    def clip(self, index, episode_seed):
        rng = episode_rng(episode_seed, Purpose.FRAMES)
        second = rng.integers(0, 2, size=self.num_frames)
        chosen = torch.from_numpy(2 * np.arange(self.num_frames) + second)
        seen = None
        if self.num_glance_frames is not None:
            times = np.arange(self.num_glance_frames) * 2 * self.num_frames
            second = rng.integers(0, 2, size=self.num_glance_frames)
            seen = self.frames[index, torch.from_numpy(times // self.num_glance_frames + second)]
        return Clip(self.frames[index, chosen], int(self.labels[index]), seen)

    def target_centers(self, index):
        return None

    def video_name(self, index):
        return f"video {index} in memory"

    def identity(self):
        videos = [(index, int(label)) for index, label in enumerate(self.labels)]
        return {
            "preprocessing": {"num_frames": self.num_frames, "frame_size": self.frame_size},
            "dataset": dataset_identity(videos, self.class_names),
        }


def random_recognizer(config, seed=0):
    """Random weights whose features and confidences vary as trained ones do.

    BatchNorm statistics are those of blocks of random colours; with the initial ones glance maps
    would lie below the tolerance of the comparisons.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        recognizer = build_recognizer(config)
        count = 16 if isinstance(config, RecognizerConfig) else 24  # whole clips
        blocks = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8)
    side = config.frame_size // 8
    frames = blocks.repeat_interleave(side, -2).repeat_interleave(side, -1)
    norms = [module for module in recognizer.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
        recognizer.glance(frames)
        recognizer.focus(frames[..., : config.patch_size, : config.patch_size])
        for norm in norms:
            norm.momentum = 0.1
        recognizer.classifier.fc.weight.mul_(6.0)
    freeze(recognizer)
    return recognizer


NETWORKS = {
    "glance_size": 28,
    "glance_resize": "area",
    "glancer": "mobilenet_v2_small",
    "focuser": "resnet_small",
}
# For `InMemoryVideos`: 3 classes, frames of 40 pixels, patches of 12.
BLOCKS = {
    **NETWORKS,
    "class_names": ("class 0", "class 1", "class 2"),
    "frame_size": 40,
    "patch_size": 12,
}


@pytest.fixture(scope="session")
def make_videos():
    """Makes small videos in memory; see `InMemoryVideos`."""
    return InMemoryVideos


@pytest.fixture(scope="session")
def make_recognizer():
    """Makes recognizers with seeded random weights for `InMemoryVideos`; takes config entries."""

    def make(seed=0, **entries):
        sizes = {**BLOCKS, "num_frames": 4, "hidden_dim": 16, **entries}
        return random_recognizer(RecognizerConfig(**sizes), seed)

    return make


@pytest.fixture(scope="session")
def make_shift_recognizer():
    """Makes small recognizers of the Something-Something family; takes config entries.

    For `InMemoryVideos(num_frames=12, num_glance_frames=8)`.
    """

    def make(seed=0, **entries):
        return random_recognizer(ShiftRecognizerConfig(**{**BLOCKS, **entries}), seed)

    return make


@pytest.fixture(scope="session")
def tiny_recognizer(make_recognizer):
    """For `InMemoryVideos`: 3 classes, 4 frames of 40 pixels, patches of 12."""
    return make_recognizer()


@pytest.fixture(scope="session")
def build_bank():
    """Builds a bank in this process: `build_bank(folder, recognizer, videos, positions=...)`."""

    def build(folder, recognizer, videos, **settings):
        builder = BankBuilder(folder, recognizer, videos, **settings)
        builder.prepare()
        builder.build_shards()
        builder.finish()
        return FeatureBank.open(folder)

    return build


@pytest.fixture(scope="session")
def glyph_recognizer():
    """For the built-in videos: 10 classes, 8 frames of 112 pixels, patches of 32."""
    sizes = {"num_frames": 8, "frame_size": 112, "patch_size": 32, "hidden_dim": 32}
    return random_recognizer(RecognizerConfig(CLASS_NAMES, **NETWORKS, **sizes))


@pytest.fixture(scope="session")
def glyph_recognizer_folder(glyph_recognizer, tmp_path_factory):
    """`glyph_recognizer` as `gymnasium.make(..., recognizer=FOLDER)` takes it."""
    folder = tmp_path_factory.mktemp("glyph_recognizer")
    glyph_recognizer.save(folder)
    return folder


@pytest.fixture(scope="session")
def glyph_videos():
    """The built-in validation videos."""
    return GlyphVideos("val")


@pytest.fixture
def make_env(tiny_recognizer):
    """Makes single environments over `InMemoryVideos`; takes the rules of `from_parts`."""

    def make(videos=None, **rules):
        videos = videos or InMemoryVideos()
        return PatchLocalizationEnv.from_parts(tiny_recognizer, videos, **rules)

    return make


@pytest.fixture
def make_vector_env(tiny_recognizer):
    """Makes vector environments over `InMemoryVideos`; takes the rules of `from_parts`."""

    def make(num_envs, videos=None, **rules):
        rules["num_envs"] = num_envs
        videos = videos or InMemoryVideos()
        return PatchLocalizationVectorEnv.from_parts(tiny_recognizer, videos, **rules)

    return make


@pytest.fixture
def assert_equal():
    """Compares nested data: floats within 1e-5, all else identical."""
    return _assert_equal


def _assert_equal(got, expected, where="data"):
    if isinstance(got, Tensor) and isinstance(expected, Tensor):
        got, expected = got.cpu().numpy(), expected.cpu().numpy()
    assert type(got) is type(expected), where
    if isinstance(got, dict):
        assert got.keys() == expected.keys(), where
        for key in got:
            _assert_equal(got[key], expected[key], f"{where}[{key!r}]")
    elif isinstance(got, (list, tuple)):
        assert len(got) == len(expected), where
        for i, (one, other) in enumerate(zip(got, expected, strict=True)):
            _assert_equal(one, other, f"{where}[{i}]")
    elif isinstance(got, np.ndarray):
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape), where
        if got.dtype == object:
            _assert_equal(got.tolist(), expected.tolist(), where)
        elif got.dtype.kind == "f":
            np.testing.assert_allclose(got, expected, rtol=0.0, atol=1e-5, err_msg=where)
        else:
            np.testing.assert_array_equal(got, expected, err_msg=where)
    elif isinstance(got, float):
        assert got == pytest.approx(expected, rel=0.0, abs=1e-5), where
    else:
        assert got == expected, where


@pytest.fixture(scope="session")
def video_frames():
    """`(12, 48, 64, 3)` RGB: frame t is grey of value 20 t, with a coloured block in one corner."""
    frames = np.empty((12, 48, 64, 3), np.uint8)
    frames[:] = (20 * np.arange(12, dtype=np.uint8))[:, None, None, None]
    frames[:, :16, :16] = (230, 40, 40)
    return frames


@pytest.fixture(scope="session")
def video_folder(video_frames, tmp_path_factory):
    """A data set on disk as `dataset="videos"` reads it: 3 classes, 6 videos of 12 frames."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "videos").mkdir()
    (folder / "classes.txt").write_text("class 0\nclass 1\nclass 2\n")
    lines = []
    for i in range(6):
        write_mp4(folder / "videos" / f"v{i}.mp4", np.roll(video_frames, i, axis=0), 8)
        lines.append(f"v{i}.mp4,12,{i % 3}\n")
    (folder / "train.txt").write_text("".join(lines))
    (folder / "val.txt").write_text("".join(lines[:3]))
    return folder
