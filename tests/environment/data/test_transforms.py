"""Crops and flips of whole clips."""

import io
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adafocus_env.data.media.frame_folders import read_image
from adafocus_env.data.transforms import ClipTransform, _multi_scale_crop


def _apply(transform, frames, seed=0):
    return transform(frames, np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1]))


def _noise(height, width, num_frames=2):
    values = np.random.default_rng(5).integers(0, 256, (num_frames, 3, height, width), np.uint8)
    return torch.from_numpy(values)


@pytest.mark.parametrize(
    ("frame_size", "height", "width", "top", "left"),
    [
        (224, 256, 340, 16, 58),  # (256 - 224) / 2, (340 - 224) / 2
        (224, 300, 256, 38, 16),
        (112, 128, 128, 8, 8),  # 112 * 256 / 224 = 128
    ],
)
def test_evaluation_takes_the_center_of_frames_resized_by_256_to_224(
    frame_size, height, width, top, left
):
    frames = _noise(height, width)  # the shorter side already has its size: nothing is resampled
    cropped = _apply(ClipTransform(frame_size), frames)
    assert torch.equal(
        cropped, frames[..., top : top + frame_size, left : left + frame_size].contiguous()
    )


@pytest.mark.parametrize(("height", "width"), [(360, 480), (480, 360), (50, 70)])
def test_evaluation_shows_the_middle_seven_eighths_of_the_shorter_side(height, width):
    # A coordinate ramp: after the resize the shorter side spans 0..255 over 128 pixels, and the
    # crop leaves out 8 of them, 16 grey levels, at either end.
    down = torch.linspace(0, 255, height).round().to(torch.uint8)[:, None].expand(height, width)
    across = torch.linspace(0, 255, width).round().to(torch.uint8)[None].expand(height, width)
    ramp = down if height < width else across
    cropped = _apply(ClipTransform(112), ramp.expand(1, 3, height, width))[0, 0].float()
    line = cropped[:, 56] if height < width else cropped[56]
    assert cropped.shape == (112, 112)
    assert line[0].item() == pytest.approx(17, abs=3)
    assert line[-1].item() == pytest.approx(238, abs=3)
    assert (line.diff() >= 0).all()


def _published_preprocessing(jpeg):
    """The published evaluation crop with PIL: shorter side to 256, bilinear; centre crop of 224."""
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    short = min(image.size)
    width, height = (int(256 * side / short) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - 224) / 2), round((height - 224) / 2)
    return np.asarray(image.crop((left, top, left + 224, top + 224)))


@pytest.mark.parametrize(
    ("width", "height", "quality"),
    [(480, 360, 95), (360, 480, 75), (481, 361, 75), (1281, 719, 95), (341, 256, 75), (97, 61, 95)],
)
def test_validation_preprocessing_of_a_jpeg_differs_from_pil_by_at_most_2_levels(
    width, height, quality, tmp_path
):
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    picture = Image.fromarray(cv2.GaussianBlur(noise, (5, 5), 0))
    path = tmp_path / "frame.jpg"
    picture.save(path, quality=quality)
    frame = torch.from_numpy(read_image(path).transpose(2, 0, 1).copy())[None]
    ours = _apply(ClipTransform(224), frame)[0].numpy().transpose(1, 2, 0)
    published = _published_preprocessing(path.read_bytes())
    assert np.abs(ours.astype(int) - published).max() <= 2


def test_without_crop_frames_stay_as_they_are_and_of_another_size_are_refused():
    frames = _noise(112, 112)
    for augment in (False, True):
        transform = ClipTransform(112, augment=augment, flip=False, crop=False)
        assert torch.equal(_apply(transform, frames), frames)
    with pytest.raises(ValueError, match=r"64x48 pixels but 112x112 .* crop=true"):
        _apply(ClipTransform(112, crop=False), _noise(48, 64))


def _quarters():
    """A 4x8 frame of four columns of two: 10, 20, 30, 40."""
    columns = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).repeat_interleave(2)
    return columns.expand(1, 3, 4, 8)


def test_a_squashed_frame_is_whole_and_a_padded_one_lies_between_black_bars():
    squashed = _apply(ClipTransform(4, fit="squash"), _quarters())
    assert squashed.shape == (1, 3, 4, 4)
    assert squashed[0, 0, 1].tolist() == pytest.approx([10, 20, 30, 40], abs=2)
    padded = _apply(ClipTransform(8, fit="pad"), _quarters())
    assert torch.equal(padded[..., 2:6, :], _quarters())  # its longer side has its size already
    assert not padded[..., :2, :].any()
    assert not padded[..., 6:, :].any()
    upright = _apply(ClipTransform(8, fit="pad"), _quarters().transpose(-1, -2))
    assert torch.equal(upright, padded.transpose(-1, -2))


@pytest.mark.parametrize(
    ("fit", "size", "share"),
    [
        ("crop", (256, 256), 0.765625),  # (224 / 256)^2
        ("crop", (180, 320), 224**2 / (256 * 455)),  # 256 * 320 / 180 = 455.1
        ("squash", (180, 320), 1.0),
        ("pad", (320, 180), 1.0),
    ],
)
def test_the_share_of_a_frame_that_evaluation_shows(fit, size, share):
    assert ClipTransform(224, fit=fit).shown_share(*size) == pytest.approx(share)


def test_crops_of_a_squashed_frame_are_shares_of_both_of_its_sides():
    draws = iter([1, 1])  # the second pair: all of the width, .875 of the height; place (4, 0)
    rng = SimpleNamespace(integers=lambda count: next(draws))
    assert _multi_scale_crop(360, 480, 224, rng, square=False) == (0, 0, 315, 480)
    sizes = {crop[2:] for crop in _crops(400, 800, 1000, square=False)}
    assert len(sizes) == 10
    assert max(sizes) == (400, 800)
    assert min(sizes) == (264, 528)


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_augmented_clips_have_their_size_whatever_the_fit(fit):
    transform = ClipTransform(56, augment=True, fit=fit)
    assert _apply(transform, _noise(72, 96)).shape == (2, 3, 56, 56)


def test_augmentation_is_one_draw_for_the_whole_clip_by_its_seed():
    transform = ClipTransform(56, augment=True)
    frames = _noise(72, 96, num_frames=1).repeat(3, 1, 1, 1)
    results = [_apply(transform, frames, seed) for seed in range(5)]
    for seed, result in enumerate(results):
        assert result.shape == (3, 3, 56, 56)
        assert all(torch.equal(result[0], other) for other in result)
        assert torch.equal(_apply(transform, frames, seed), result)
    assert not any(torch.equal(results[0], other) for other in results[1:])


def test_flip_mirrors_about_half_of_the_clips_and_leaves_the_crop_as_it_is():
    frames = _noise(72, 96)
    mirrored = 0
    for seed in range(40):
        plain = _apply(ClipTransform(56, augment=True, flip=False), frames, seed)
        flipped = _apply(ClipTransform(56, augment=True), frames, seed)
        if torch.equal(flipped, plain.flip(-1)):
            mirrored += 1
        else:
            assert torch.equal(flipped, plain)
    assert 10 <= mirrored <= 30  # 40 fair coins; 99.9 % lie within


def test_without_flip_left_stays_left():
    frames = torch.zeros(1, 3, 72, 72, dtype=torch.uint8)
    frames[..., 36:] = 255
    transform = ClipTransform(56, augment=True, flip=False)
    for seed in range(20):
        cropped = _apply(transform, frames, seed).float()
        assert cropped[..., :28].mean() < cropped[..., 28:].mean()


def test_the_first_draw_gives_width_and_height_and_the_second_the_place_across_and_down():
    draws = iter([1, 1])  # sizes 360, 315, 270, 237: 360 wide, 315 high; place (4, 0)
    rng = SimpleNamespace(integers=lambda count: next(draws))
    assert _multi_scale_crop(360, 480, 224, rng) == (0, 120, 315, 360)


def _crops(height, width, frame_size, **how):
    rng = np.random.default_rng(0)
    return {_multi_scale_crop(height, width, frame_size, rng, **how) for _ in range(4000)}


def test_crop_sizes_of_a_480x360_video_are_the_ten_published_pairs():
    # 360 * {1, .875, .75, .66} = 360, 315, 270, 237; height and width at most one scale apart.
    expected = {
        (360, 360), (360, 315),
        (315, 360), (315, 315), (315, 270),
        (270, 315), (270, 270), (270, 237),
        (237, 270), (237, 237),
    }  # fmt: skip
    assert {(height, width) for _, _, height, width in _crops(360, 480, 224)} == expected


def test_crop_positions_are_the_thirteen_published_ones():
    # A 270x270 crop of 480x360: a quarter of the free range is 52 across and 22 down.
    expected = {
        (0, 0), (0, 104), (0, 208),
        (22, 52), (22, 156),
        (44, 0), (44, 104), (44, 208),
        (66, 52), (66, 156),
        (88, 0), (88, 104), (88, 208),
    }  # fmt: skip
    crops = _crops(360, 480, 224)
    assert {(top, left) for top, left, h, w in crops if (h, w) == (270, 270)} == expected


@pytest.mark.parametrize(
    ("side", "sizes"),
    [
        (255, {255, 224, 191, 168}),  # .875 * 255 = 223, within 2 of 224
        (252, {252, 220, 189, 166}),  # 220 is not
        (223, {223, 195, 167, 147}),  # 224 does not fit into 223
    ],
)
def test_a_crop_within_two_pixels_of_the_target_takes_its_size(side, sizes):
    assert {height for _, _, height, _ in _crops(side, side, 224)} == sizes


@given(
    height=st.integers(1, 2000),
    width=st.integers(1, 2000),
    frame_size=st.integers(1, 512),
    seed=st.integers(0, 2**32),
)
def test_every_crop_lies_inside_the_frame(height, width, frame_size, seed):
    rng = np.random.default_rng(seed)
    top, left, crop_height, crop_width = _multi_scale_crop(height, width, frame_size, rng)
    assert top >= 0
    assert left >= 0
    assert 0 <= crop_height <= height - top
    assert 0 <= crop_width <= width - left
