"""Cutting patches out of frames."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adafocus_env.networks import crop_patches


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_crop_patches_equals_slicing_each_frame(data):
    height, width = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
    patch_size = data.draw(st.integers(1, min(height, width)))
    corner = st.tuples(st.integers(0, height - patch_size), st.integers(0, width - patch_size))
    corners = data.draw(st.lists(corner, min_size=1, max_size=4))
    count = len(corners)
    frames = torch.arange(count * 3 * height * width).reshape(count, 3, height, width)

    patches = crop_patches(frames, torch.tensor(corners), patch_size)

    sliced = [
        frame[:, top : top + patch_size, left : left + patch_size]
        for frame, (top, left) in zip(frames, corners, strict=True)
    ]
    assert torch.equal(patches, torch.stack(sliced))


def test_first_coordinate_of_an_offset_is_vertical():
    # 0 1 2
    # 3 4 5   top 1, left 0, side 2 -> 3 4 / 6 7
    # 6 7 8
    frame = torch.arange(9, dtype=torch.uint8).reshape(1, 1, 3, 3)
    assert crop_patches(frame, torch.tensor([[1, 0]]), 2).tolist() == [[[[3, 4], [6, 7]]]]


def test_index_names_the_frame_of_each_patch():
    frames = torch.arange(3 * 4, dtype=torch.uint8).reshape(3, 1, 2, 2)
    index = torch.tensor([2, 0, 2])
    offsets = torch.tensor([[0, 0], [0, 1], [1, 1]])
    patches = crop_patches(frames, offsets, 1, index=index)
    # Frames begin at 0, 4 and 8 and have two pixels a row.
    assert patches.flatten().tolist() == [8, 1, 11]
    assert patches.shape == (3, 1, 1, 1)


def test_patches_are_copies_of_the_frames_type():
    for dtype in (torch.uint8, torch.float32):
        frames = torch.zeros(2, 3, 6, 6, dtype=dtype)
        patches = crop_patches(frames, torch.zeros(2, 2, dtype=torch.int64), 6)
        patches += 1
        assert patches.dtype == dtype
        assert int(frames.max()) == 0
