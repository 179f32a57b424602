"""Something-Something as prepared for the published code, from its folders to clips."""

import cv2
import numpy as np
import pytest
import torch

from adafocus_env.data import ListFileError, VideoError, VideoOptions, find_files, open_videos
from adafocus_env.data.sampling.shift import center_or_first_indices

FRAMES = 40
V1 = ("sthsth_v1", "something-something-v1", "20bn-something-something-v1", "{:05d}.jpg")
V2 = ("sthsth_v2", "something-something-v2", "20bn-something-something-v2-frames", "{:06d}.jpg")


def _write(root, version, *, moving=True):
    """Video 7 of 40 frames: frame t is grey of level 5 t; or, not moving, noise that stays."""
    _, top, frame_dir, template = version
    folder = root / top
    video = folder / frame_dir / "7"
    video.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for t in range(FRAMES):
        image = np.full((60, 80, 3), 5 * t, np.uint8) if moving else noise
        cv2.imwrite(str(video / template.format(t + 1)), image)
    (folder / "category.txt").write_text("".join(f"class {k}\n" for k in range(174)))
    for split in ("train", "val"):
        (folder / f"{split}_videofolder.txt").write_text(f"7 {FRAMES} 93\n8 2 1\n")
    return root


def _open(version, root, **options):
    defaults = {"num_frames": 12, "num_glance_frames": 8, "frame_size": 32}
    return open_videos(version[0], "val", VideoOptions(**{**defaults, **options}), data_dir=root)


@pytest.mark.parametrize("version", [V1, V2], ids=["v1", "v2"])
def test_glance_and_focus_frames_are_two_uniform_grids(version, tmp_path):
    videos = _open(version, _write(tmp_path, version))
    assert videos.labels.tolist() == [93]  # the other has fewer than three frames
    clip = videos.clip(0, 0)
    assert clip.frames.shape == (12, 3, 32, 32)
    levels = [
        (part.float().mean(dim=(1, 2, 3)) / 5).round() for part in (clip.frames, clip.glance_frames)
    ]
    assert levels[0].tolist() == center_or_first_indices(FRAMES, 12).tolist()
    assert levels[1].tolist() == center_or_first_indices(FRAMES, 8).tolist()


def test_training_draws_glance_and_focus_frames_independently(tmp_path):
    videos = _open(V1, _write(tmp_path, V1), augment=True, num_glance_frames=12)
    for seed in range(5):
        clip = videos.clip(0, seed)
        focused, seen = (
            (part.float().mean(dim=(1, 2, 3)) / 5).round().long()
            for part in (clip.frames, clip.glance_frames)
        )
        # 40 // 12 = 3 frames a segment.
        assert torch.equal(focused // 3, torch.arange(12))
        assert torch.equal(seen // 3, torch.arange(12))
        assert not torch.equal(focused, seen)


def test_both_streams_are_cropped_alike_unless_asked_otherwise(tmp_path):
    root = _write(tmp_path, V1, moving=False)
    alike = _open(V1, root, augment=True)
    apart = _open(V1, root, augment=True, crops="independent")
    differ = 0
    for seed in range(10):
        one, other = alike.clip(0, seed), apart.clip(0, seed)
        # Every frame of a video that stands still is the same.
        assert (one.glance_frames == one.frames[0]).all()
        assert torch.equal(one.frames, other.frames)
        assert (other.glance_frames == other.glance_frames[0]).all()
        differ += int((other.glance_frames[0] != one.frames[0]).any())
    assert differ >= 7


def test_clips_are_never_mirrored_but_ones_own_and_then_both_streams_together(tmp_path):
    root = _write(tmp_path, V1, moving=False)
    with_flips = _open(V1, root, augment=True, flip=True)
    without = _open(V1, root, augment=True, flip=False)
    for seed in range(8):
        assert torch.equal(with_flips.clip(0, seed).frames, without.clip(0, seed).frames)

    files = find_files(V1[0], data_dir=root)
    clips = []
    for flip in (True, False):
        glances = {"num_glance_frames": 8, "crops": "independent"}
        options = VideoOptions(12, 32, augment=True, flip=flip, media="frames", **glances)
        videos = open_videos("videos", "val", options, data_dir=tmp_path, lists=files.lists)
        clips.append([videos.clip(0, seed) for seed in range(8)])
    flipped = 0
    for one, other in zip(*clips, strict=True):
        mirrored = torch.equal(one.frames, other.frames.flip(-1))
        assert torch.equal(one.glance_frames, other.glance_frames.flip(-1)) == mirrored
        flipped += mirrored
    assert 0 < flipped < 8


def test_a_missing_frame_and_another_number_of_classes_are_errors(tmp_path):
    root = _write(tmp_path, V2)
    (root / V2[1] / V2[2] / "7" / "000003.jpg").unlink()
    with pytest.raises(VideoError, match=r"000003\.jpg: no such frame"):
        _open(V2, root).clip(0, 0)
    (root / V2[1] / "category.txt").write_text("a\nb\n")
    with pytest.raises(ListFileError, match=r"category\.txt: 2 classes, but the data set has 174"):
        _open(V2, root)


def test_identity_tells_the_two_streams_apart_and_bad_options_are_refused(tmp_path):
    root = _write(tmp_path, V1)
    choices = ({}, {"num_glance_frames": 6}, {"crops": "independent"}, {"num_glance_frames": None})
    assert len({str(_open(V1, root, **options).identity()) for options in choices}) == 4
    for options, message in (
        ({"num_glance_frames": 0}, "num_glance_frames must be at least 1, not 0"),
        ({"crops": "other"}, "unknown crops 'other'; known are same, independent"),
    ):
        with pytest.raises(ValueError, match=message):
            VideoOptions(num_frames=12, frame_size=32, **options)
