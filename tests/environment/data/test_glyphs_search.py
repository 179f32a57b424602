"""The fourth built-in task: where its arrows lead, and what a glance shows of it."""

import numpy as np
import pytest

from adafocus_env.data import VideoOptions, open_videos
from adafocus_env.data.catalog import TASKS
from adafocus_env.data.glyphs.search import (
    MARK_NAMES,
    SPLITS,
    draw_picture,
    render_search_picture,
)
from adafocus_env.data.glyphs.search_layout import (
    DIRECTIONS,
    SearchLayout,
    direction,
    draw_layout,
    search_layout,
)

VAL_SEED = SPLITS["val"][0]


@pytest.fixture(scope="module")
def layouts():
    return [draw_layout(np.random.default_rng(seed)) for seed in range(200)]


def glance(picture):
    """`(28, 28, 3)`: means of blocks of 8x8 pixels."""
    return picture.reshape(28, 8, 28, 8, 3).mean(axis=(1, 3))


def steps_to_target(layout, disc):
    count = 0
    while disc != layout.target:
        disc, count = layout.leads_to[disc], count + 1
        assert count <= 4
    return count


def test_an_arrow_points_along_row_column_or_diagonal_clockwise_from_up():
    # From the middle of the grid, row 3 and column 3, to the eight cells around it.
    around = [17, 18, 25, 32, 31, 30, 23, 16]
    assert [direction(24, cell) for cell in around] == list(range(8))
    assert direction(0, 48) == MARK_NAMES.index("down right") == 3
    assert direction(6, 0) == MARK_NAMES.index("left") == 6


def test_every_arrow_leads_on_to_the_digit_in_at_most_four_steps(layouts):
    for layout in layouts:
        assert len(set(layout.cells)) == 12
        assert layout.leads_to[layout.target] == -1
    steps = [
        steps_to_target(layout, disc)
        for layout in layouts
        for disc in range(12)
        if disc != layout.target
    ]
    assert (min(steps), max(steps)) == (1, 4)
    assert 2.1 < np.mean(steps) < 2.5


def test_an_arrow_points_at_the_first_disc_in_its_direction(layouts):
    for layout in layouts[:50]:
        discs = set(layout.cells.tolist())
        for cell, mark in layout.marks(7).items():
            if mark >= 8:
                assert (cell, MARK_NAMES[mark]) == (layout.cells[layout.target], "digit 7")
                continue
            (row, column), (down, right) = divmod(cell, 7), DIRECTIONS[mark]
            row, column = row + down, column + right
            while row * 7 + column not in discs:
                row, column = row + down, column + right
            assert 0 <= row < 7
            assert 0 <= column < 7
            assert layout.next_cell[cell] == row * 7 + column


def test_the_digit_is_on_any_of_the_discs_wherever_these_lie(layouts):
    """200 draws: 16.7 of each expected, standard deviation 3.9."""
    counts = np.bincount([layout.target for layout in layouts], minlength=12)
    assert counts.min() >= 5
    assert counts.max() <= 29


def test_where_to_look_next_of_a_small_layout():
    """Discs in cells 0, 3 and 24: the first points right, the second down at the digit."""
    layout = SearchLayout(np.array([0, 3, 24]), target=2, leads_to=np.array([1, 2, -1]))
    expected = np.full(49, -1)
    expected[[0, 3, 24]] = [3, 24, 24]
    assert layout.next_cell.tolist() == expected.tolist()
    assert layout.marks(4) == {0: 2, 3: 4, 24: 8 + 4}  # right, down, digit 4


def test_a_picture_is_of_the_layout_of_its_seed_and_index():
    frames, label, centers = render_search_picture(VAL_SEED, 13)
    layout = search_layout(VAL_SEED, 13)
    assert label == 3
    cell = layout.cells[layout.target]
    assert tuple(centers[0] // 32) == divmod(int(cell), 7)
    marks = layout.marks(3)
    again, _ = draw_picture(_after_layout(VAL_SEED, 13), marks)
    np.testing.assert_array_equal(frames[0], again)


def _after_layout(seed, index):
    rng = np.random.default_rng([seed, index])
    draw_layout(rng)
    return rng


def test_discs_keep_within_their_cells_and_nothing_is_cut_off():
    layout = search_layout(VAL_SEED, 0)
    marked, centers = draw_picture(np.random.default_rng(3), layout.marks(8))
    empty, _ = draw_picture(np.random.default_rng(3), {})
    within = np.stack([np.mod(center, 32) for center in centers.values()])
    assert within.min() >= 12
    assert within.max() <= 20
    for cell in layout.cells:
        rows, columns = (slice(32 * k, 32 * k + 32) for k in divmod(int(cell), 7))
        assert (marked[rows, columns] != empty[rows, columns]).mean() > 0.3
        disc = marked[rows, columns][8:24, 8:24]
        assert disc.min() > 30
        assert (disc == 255).mean() < 0.01


def test_a_glance_is_the_same_whatever_the_discs_carry_and_shows_the_discs():
    """So no probe can read arrows or find the digit at 28x28 pixels: they are not there."""
    layout = search_layout(VAL_SEED, 1)
    blank = dict.fromkeys(layout.marks(0))
    marked, _ = draw_picture(np.random.default_rng(3), layout.marks(0))
    unmarked, _ = draw_picture(np.random.default_rng(3), blank)
    difference = np.abs(marked.astype(float) - unmarked)
    assert difference.max() > 50
    seen = glance(marked.astype(float)) - glance(unmarked.astype(float))
    # Noise of the same pictures is rounded to whole numbers: 0.29 / 8 a block of 64.
    assert np.abs(seen).max() < 0.25
    empty, _ = draw_picture(np.random.default_rng(3), {})
    shown = np.abs(glance(marked.astype(float)) - glance(empty.astype(float))).mean(axis=2)
    cells = shown.reshape(7, 4, 7, 4).max(axis=(1, 3)).ravel()
    found = np.flatnonzero(cells > 8)
    assert set(found) <= set(layout.cells)
    assert len(found) >= 11


def test_a_clip_repeats_the_picture():
    videos = open_videos("glyphs_search", "val", VideoOptions(num_frames=3, frame_size=224))
    frames, _, centers = render_search_picture(VAL_SEED, 4)
    clip = videos.clip(4, 9)
    assert clip.frames.shape == (3, 3, 224, 224)
    for frame in clip.frames.numpy():
        np.testing.assert_array_equal(frame, frames[0].transpose(2, 0, 1))
    np.testing.assert_array_equal(videos.target_centers(4), np.repeat(centers, 3, axis=0))
    with pytest.raises(ValueError, match="dataset=glyphs_search are 224 pixels wide"):
        open_videos("glyphs_search", "val", VideoOptions(num_frames=1, frame_size=112))


def test_the_recognizers_own_pictures_show_each_mark_a_disc_or_six_digits():
    marks = TASKS["glyphs_search_marks"]
    assert marks.class_names == (*MARK_NAMES, "no disc")
    _, label, center = marks.render(1, 18)
    assert (label, marks.class_names[label]) == (18, "no disc")
    assert center.tolist() == [[16, 16]]
    assert marks.render(1, 37)[0].shape == (1, 32, 32, 3)
    assert [TASKS["glyphs_search_discs"].render(1, i)[1] for i in range(3)] == [0, 1, 0]
    frames, label, center = TASKS["glyphs_search_digits"].render(1, 25)
    assert (frames.shape, label) == ((1, 224, 224, 3), 5)
    assert 0 < center.min() < center.max() < 224
