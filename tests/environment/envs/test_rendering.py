"""Drawing an episode."""

import numpy as np
import pytest

from adafocus_env.envs.rendering import draw_step

GREEN = (60, 255, 90)  # the box of the last look
NAMES = ("walking", "running", "jumping", "standing")


def _draw(boxes, *, side=112, probabilities=None, label=0, title=""):
    return draw_step(
        np.full((side, side, 3), 100, np.uint8),
        boxes,
        32,
        probabilities=None if probabilities is None else np.array(probabilities, np.float32),
        class_names=NAMES,
        label=label,
        title=title,
    )


def _green(image):
    return np.all(image == GREEN, axis=2)


@pytest.mark.parametrize(("side", "scale"), [(112, 4), (224, 2), (300, 1), (1000, 1)])
def test_small_frames_are_enlarged_by_a_whole_factor(side, scale):
    image = _draw([], side=side)
    assert image.dtype == np.uint8
    assert image.shape == (side * scale + 70, side * scale, 3)  # three bars of 22 pixels, and 4
    assert (image[: side * scale] == 100).all()


def test_the_last_look_has_a_green_box_where_it_was():
    # Patch (16, 40) of 32 pixels at four times the size: rows 64 to 191, columns 160 to 287.
    green = _green(_draw([(16, 40)]))
    rows, columns = np.nonzero(green)
    # The line is three pixels thick, a pixel more in some versions of OpenCV.
    assert (rows.min(), rows.max()) == (pytest.approx(64, abs=2), pytest.approx(191, abs=2))
    assert (columns.min(), columns.max()) == (pytest.approx(160, abs=2), pytest.approx(287, abs=2))
    assert green[64, 160:288].all()
    assert green[191, 160:288].all()
    assert green[64:192, 160].all()
    assert green[64:192, 287].all()
    assert not green[70:186, 166:282].any()
    assert not _green(_draw([])).any()  # before the first look


def test_earlier_looks_are_a_fading_trail():
    # Left edges of boxes in the frame's lower half, the oldest look first.
    image = _draw([(60, 0), (60, 10), (60, 20), (60, 60), (0, 80)]).astype(int)
    brightness = [image[300, 4 * left].sum() - 300 for left in (0, 10, 20, 60)]
    assert 0 < brightness[0] < brightness[1] < brightness[2] < brightness[3]
    assert _green(image.astype(np.uint8))[4:124, 320].all()

    # Looks more than four steps old are gone.
    old = (70, 0)
    later = [(0, 60)] * 5
    gone, shown = _draw([old, *later]), _draw([old, *later[:4]])
    row, column = 4 * 70 + 64, 0
    assert (gone[row, column] == 100).all()
    assert (shown[row, column] > 100).all()


def test_bars_are_as_long_as_their_probabilities_and_the_true_class_is_green():
    bars = _draw([(0, 0)], probabilities=[0.25, 0.5, 0.05, 0.2], label=3)[448:]
    lengths, colors = [], []
    for line in range(3):
        row = bars[line * 22 + 4].astype(int)
        filled = np.flatnonzero((row != 28).any(axis=1))
        lengths.append((filled.max() - filled.min()) / 440)  # full length: 448 - 8
        colors.append(row[filled[0]])
    assert lengths == pytest.approx([0.5, 0.25, 0.2], abs=0.01)
    is_green = [int(color[1]) > int(color[0]) + 50 for color in colors]
    assert is_green == [False, False, True]

    # Two classes give two bars.
    image = draw_step(
        np.zeros((112, 112, 3), np.uint8),
        [],
        32,
        probabilities=np.array([0.9, 0.1], np.float32),
        class_names=("yes", "no"),
        label=0,
    )
    assert image.shape == (518, 448, 3)


def test_a_title_stands_above_the_frame_which_stays_as_it_is():
    plain, titled = _draw([(0, 0)]), _draw([(0, 0)], title="random")
    assert titled.shape[0] == plain.shape[0] + 24
    np.testing.assert_array_equal(titled[24:], plain)
    assert titled[:24].max() > 200
    frame = np.full((500, 500, 3), 100, np.uint8)
    draw_step(frame, [(0, 0)], 32, probabilities=None, class_names=NAMES, label=0)
    assert (frame == 100).all()


def test_environment_draws_the_frame_that_was_looked_at(make_env):
    env = make_env(render_mode="rgb_array")
    env.reset(seed=0)
    scale = 11  # 448 / 40
    for t, action in enumerate([0, 48, 6]):
        env.step(action)
        image = env.render()
        frame = env.core.features.frame(0, t)
        # Rows and columns 13 to 14 belong to no box of these three corners, nor to a line between.
        np.testing.assert_array_equal(image[scale * 14 + 5, scale * 20], frame[14, 20])
    env.reset()
    assert not _green(env.render()).any()


def test_vector_environment_draws_each_row_as_the_single_one(make_env, make_vector_env):
    rows = make_vector_env(2, render_mode="rgb_array")
    rows.reset(seed=7)
    singles = [make_env(render_mode="rgb_array") for _ in range(2)]
    for row, env in enumerate(singles):
        env.reset(seed=7 + row)
    for t in range(4):
        rows.step(np.array([t, 40]))
        for env, action in zip(singles, (t, 40), strict=True):
            env.step(action)
            if t == 3:
                env.reset()  # the vector environment has begun the next episodes
        images = rows.render()
        for image, env in zip(images, singles, strict=True):
            other = env.render()
            assert np.abs(image.astype(int) - other).max() <= 1
