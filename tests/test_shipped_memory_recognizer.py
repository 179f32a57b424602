"""The shipped recognizer of `glyphs_memory`: what it makes of looks at the right and wrong disc."""

import numpy as np
import pytest

from adafocus_env.data import VideoOptions, open_videos
from adafocus_env.data.glyphs.memory import CUE_FRAMES, NUM_DISCS, SPLITS, draw_scene
from adafocus_env.envs import PatchLocalizationVectorEnv, shipped_recognizer
from adafocus_env.networks import Recognizer

VIDEOS = 50
T = 8
FIRST_ANSWER = CUE_FRAMES // 2  # decisions see every second frame
SIDE, PATCH = 112, 32


def centers_of(disc_after_target):
    """`(V, T, 2)` as (row, col): of the target, 0, or of one of the three others."""
    found = []
    for index in range(VIDEOS):
        scene = draw_scene(np.random.default_rng([SPLITS["val"][0], index]), index % 10)
        disc = scene.discs[(scene.target + disc_after_target) % NUM_DISCS]
        found.append(disc.centers[1::2, ::-1])
    return np.stack(found)


def look_at(env, centers):
    """Play the grid positions nearest to some centres; also whether the classes were named."""
    env.reset(seed=0, options={"video_index": np.arange(VIDEOS)})
    line = np.arange(7) * (SIDE - PATCH) // 6 + PATCH / 2
    nearest = np.abs(centers[..., None] - line).argmin(axis=-1)
    result = env.play(nearest[..., 0] * 7 + nearest[..., 1])
    labels = np.arange(VIDEOS) % 10
    return result, result.logits.argmax(dim=2).numpy() == labels[:, None]


@pytest.fixture(scope="module")
def env():
    options = VideoOptions(num_frames=T, frame_size=SIDE, keep_decoded=True)
    return PatchLocalizationVectorEnv.from_parts(
        Recognizer.load(shipped_recognizer("glyphs_memory")),
        open_videos("glyphs_memory", "val", options),
        num_envs=VIDEOS,
        autoreset_mode="disabled",
    )


@pytest.fixture(scope="module")
def on_target(env):
    return look_at(env, centers_of(0))


def test_who_follows_the_target_reads_its_digit_and_the_cue_alone_says_nothing(on_target):
    result, correct = on_target
    assert correct[:, FIRST_ANSWER:].min(axis=1).mean() > 0.95
    assert correct[:, FIRST_ANSWER - 1].mean() < 0.25
    assert abs(float(result.rewards[:, :FIRST_ANSWER].mean())) < 0.05


def test_who_follows_another_disc_names_the_wrong_class(env, on_target):
    result, correct = look_at(env, centers_of(2))
    assert correct[:, -1].mean() < 0.1
    lost = on_target[0].rewards.sum(dim=1).mean() - result.rewards.sum(dim=1).mean()
    assert float(lost) > 0.7


def test_looking_at_discs_without_knowing_which_counts_earns_little(env, on_target):
    """What a perfect policy without memory could do: some disc in every frame."""
    discs = np.stack([centers_of(disc) for disc in range(NUM_DISCS)])
    chosen = np.random.default_rng(0).integers(NUM_DISCS, size=(VIDEOS, T))
    looks = discs[chosen, np.arange(VIDEOS)[:, None], np.arange(T)]
    result, correct = look_at(env, looks)
    assert correct[:, FIRST_ANSWER:].mean() < 0.35
    assert float(result.rewards.sum(dim=1).mean()) < 0.2
    assert float(on_target[0].rewards.sum(dim=1).mean()) > 0.7


def test_one_look_is_not_enough_and_a_mind_can_be_changed(env, on_target):
    result, _ = on_target
    confidence = result.confidences.mean(dim=0)
    assert float(confidence[FIRST_ANSWER]) < float(confidence[-1]) - 0.1
    wrong_first = centers_of(0)
    wrong_first[:, FIRST_ANSWER] = centers_of(1)[:, FIRST_ANSWER]
    _, correct = look_at(env, wrong_first)
    assert correct[:, FIRST_ANSWER].mean() < 0.2
    assert correct[:, -1].mean() > 0.9
