"""The frames that another rate shows, recorded from ffmpeg 9.0.2 on videos of numbered frames."""

from fractions import Fraction

import pytest

from adafocus_env.data.media.frame_rate import exact_rate, frames_at_rate

# Milliseconds at which the frames of a variable rate are shown.
VARIABLE = (
    *(0, 91, 216, 369, 393, 433, 568, 720, 774, 837, 978, 1057, 1115, 1250, 1305, 1382, 1492),
    *(1588, 1620, 1643, 1784, 1909, 2046, 2141, 2275, 2341, 2424, 2554, 2591, 2653),
)
VARIABLE_TIMES = [Fraction(time, 1000) for time in VARIABLE]
# As that file says them: from decoding to decoding, as MP4 does.
VARIABLE_DURATIONS = [
    Fraction(length, 1000)
    for length in (
        *(91, 91, 125, 125, 153, 40, 135, 24, 152, 63, 141, 54, 79, 135, 55, 58, 77, 32, 96, 23),
        *(110, 137, 125, 95, 141, 83, 66, 130, 134, 40),
    )
]


def _constant(count, rate):
    return [k / Fraction(rate) for k in range(count)], [1 / Fraction(rate)] * count


@pytest.mark.parametrize(
    ("video", "rate", "shown"),
    [
        (_constant(100, 25), 1, [0, 1, 22, 47, 72, 97]),
        (
            _constant(100, 25),
            12,
            [
                0,
                1,
                2,
                3,
                *range(6, 29, 2),
                *range(31, 54, 2),
                *range(56, 79, 2),
                *range(81, 100, 2),
            ],
        ),
        (_constant(60, "30000/1001"), 5, [0, 1, 5, 11, 17, 23, 29, 35, 41, 47, 53, 59]),
        # 0 0 1 1 1 2 2 3 3 3 ...
        (_constant(12, 10), 25, [k for k in range(12) for _ in range(2 + k % 2)]),
        ((VARIABLE_TIMES, VARIABLE_DURATIONS), 2, [0, 1, 3, 10, 16, 21, 26]),
        (
            (VARIABLE_TIMES, VARIABLE_DURATIONS),
            5,
            [0, 1, 2, 3, 6, 8, 10, 12, 13, 17, 20, 21, 23, 24, 27],
        ),
    ],
)
def test_another_rate_shows_the_frames_that_ffmpeg_writes(video, rate, shown):
    assert frames_at_rate(*video, exact_rate(rate)) == shown


def test_a_gap_is_filled_with_the_frame_before_it():
    # At 25 frames a second, frame 1 is shown from .04 to 1 s, in 24 places.
    times = [Fraction(0), Fraction(1, 25), Fraction(1)]
    durations = [Fraction(1, 25), Fraction(24, 25), Fraction(1, 25)]
    assert frames_at_rate(times, durations, Fraction(25)) == [0, *[1] * 24, 2]


def test_a_rounded_rate_is_the_exact_one():
    assert exact_rate(23.976) == Fraction(2997, 125)
    assert exact_rate(30) == 30
    assert exact_rate(0.1) == Fraction(1, 10)
