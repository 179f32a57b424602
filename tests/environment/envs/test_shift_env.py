"""The environments over a recognizer of the Something-Something family."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from adafocus_env.data.glyphs.drawing import CLASS_NAMES
from adafocus_env.data.glyphs.videos import GlyphVideos
from adafocus_env.envs import PatchLocalizationEnv
from adafocus_env.envs.factory import make_core_from_parts
from adafocus_env.features import EpisodeStart

DIVISIONS = [1, 2, 4]


@pytest.fixture(scope="module")
def recognizer(make_shift_recognizer):
    return make_shift_recognizer()


@pytest.fixture(scope="module")
def videos(make_videos):
    return make_videos(num_frames=12, num_glance_frames=8)


@pytest.fixture(scope="module")
def folder(make_shift_recognizer, tmp_path_factory):
    """A recognizer for the built-in videos, saved."""
    path = tmp_path_factory.mktemp("shift_recognizer")
    make_shift_recognizer(
        class_names=CLASS_NAMES, frame_size=112, patch_size=32, num_frames=12
    ).save(path)
    return str(path)


def _core(recognizer, videos, rows, **rules):
    core = make_core_from_parts(recognizer, videos, num_rows=rows, **rules)
    core.reset_rows(range(rows), [EpisodeStart(i, 10 + i) for i in range(rows)])
    return core


@pytest.mark.parametrize("video_div", DIVISIONS)
def test_observations_are_a_divisions_glance_maps_side_by_side(recognizer, videos, video_div):
    core = _core(recognizer, videos, 2, video_div=video_div)
    pooled = _core(recognizer, videos, 2, video_div=video_div, observation="vector")
    count = 8 // video_div
    assert core.num_decisions == video_div
    assert core.source.observation_shape == (48 * count, 7, 7)
    seen = core.observe_episode()
    clip = videos.clip(1, 11)
    with torch.no_grad():
        maps = recognizer.glance(clip.glance_frames)[0]
    for frame in range(8):
        division, place = divmod(frame, count)
        got = seen[1, division, 48 * place : 48 * (place + 1)]
        torch.testing.assert_close(got, maps[frame], rtol=0.0, atol=1e-4)
    torch.testing.assert_close(pooled.observe_episode(), seen.mean(dim=(3, 4)), rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("video_div", DIVISIONS)
@torch.no_grad()
def test_logits_are_those_of_the_networks_on_the_patches_so_far(recognizer, videos, video_div):
    core = _core(recognizer, videos, 1, video_div=video_div)
    divided = recognizer.divided(video_div)
    offsets = torch.tensor([[[3, 5], [20, 0], [28, 28], [7, 9]]])[:, :video_div]
    outcome = core.play(offsets=offsets)
    clip, count = videos.clip(0, 10), 12 // video_div
    own = recognizer.glance_logits(recognizer.glance(clip.glance_frames)[1][None])
    vectors = []
    for division, (top, left) in enumerate(offsets[0].tolist()):
        frames = clip.frames[division * count : (division + 1) * count]
        vectors.append(divided.focus(frames[:, :, top : top + 12, left : left + 12]))
        expected = recognizer.classifier(torch.cat(vectors)[None]) + own
        got = outcome.logits[:, division]
        torch.testing.assert_close(got, expected, rtol=0.0, atol=1e-4)


@pytest.mark.parametrize(
    ("video_div", "reward"), [(2, "random"), (4, "expected"), (1, "padding"), (4, "prev")]
)
def test_play_equals_steps(recognizer, videos, assert_equal, video_div, reward):
    rules = {"video_div": video_div, "reward": reward, "grid_size": 4}
    stepped, played = (_core(recognizer, videos, 3, **rules) for _ in range(2))
    actions = torch.arange(3 * video_div).view(3, video_div) * 5 % 16
    outcomes = [stepped.transition(actions[:, step]) for step in range(video_div)]
    whole = vars(played.play(actions))
    for name, values in whole.items():
        assert_equal(torch.stack([getattr(one, name) for one in outcomes], dim=1), values)


def test_the_next_episode_leaves_what_a_whole_one_brought(recognizer, videos):
    core = _core(recognizer, videos, 3, video_div=1)
    confidences = core.play(torch.zeros(3, 1, dtype=torch.int64)).confidences
    before = confidences.clone()
    core.reset_rows(range(3), [EpisodeStart(1, 1)] * 3)
    assert torch.equal(confidences, before)


@pytest.mark.parametrize("video_div", [1, 4])
def test_the_other_videos_of_a_batch_change_nothing_in_a_videos_logits(
    recognizer, videos, make_videos, video_div
):
    others = make_videos(num_frames=12, num_glance_frames=8)
    others.frames = 255 - others.frames
    others.frames[1] = videos.frames[1]
    actions = torch.arange(3 * video_div).view(3, video_div) * 11 % 49
    together = _core(recognizer, videos, 3, video_div=video_div)
    beside_others = _core(recognizer, others, 3, video_div=video_div)
    expected, got = together.play(actions).logits, beside_others.play(actions).logits
    assert torch.equal(got[1], expected[1])
    assert (got[0] - expected[0]).abs().max() > 1e-2
    # Moved to another row, beside nobody.
    alone = make_core_from_parts(recognizer, videos, num_rows=1, video_div=video_div)
    alone.reset_rows([0], [EpisodeStart(1, 11)])
    torch.testing.assert_close(alone.play(actions[1:2]).logits[0], expected[1], rtol=0.0, atol=1e-5)


@pytest.mark.parametrize(
    ("env_id", "rules"),
    [
        ("PatchLocalization-v0", {"video_div": 4, "grid_size": 10}),
        ("PatchLocalizationContinuous-v0", {"video_div": 2, "observation": "vector"}),
    ],
)
def test_a_native_vector_equals_sync(folder, assert_equal_to_sync, env_id, rules):
    env_id, rules = f"AdaFocus/{env_id}", {"recognizer": folder, "num_envs": 2, **rules}
    sync = {"vector_kwargs": {"autoreset_mode": AutoresetMode.SAME_STEP}}
    assert_equal_to_sync(
        gym.make_vec(env_id, **rules),
        gym.make_vec(env_id, vectorization_mode="sync", **sync, **rules),
    )


def test_a_rendered_frame_is_the_middle_one_of_its_division(recognizer, videos):
    core = _core(recognizer, videos, 1, video_div=2)
    frames = videos.clip(0, 10).frames
    np.testing.assert_array_equal(core.features.frame(0, 0), frames[3].permute(1, 2, 0))
    np.testing.assert_array_equal(core.features.frame(0, 1), frames[9].permute(1, 2, 0))


def test_workers_load_the_same_glance_frames(recognizer, videos, assert_equal):
    here, there = (_core(recognizer, videos, 2, num_workers=n) for n in (0, 1))
    assert_equal(there.observe_episode(), here.observe_episode())


@pytest.mark.parametrize("video_div", [1, 4])
def test_a_bank_gives_what_live_networks_give(recognizer, videos, build_bank, tmp_path, video_div):
    rules = {"video_div": video_div, "grid_size": 4, "baseline_positions": "grid"}
    live = make_core_from_parts(recognizer, videos, num_rows=3, **rules)
    positions = live.grid.all_offsets()
    divided = recognizer.divided(video_div)
    bank = build_bank(tmp_path / "val", divided, videos, positions=positions)
    banked = make_core_from_parts(recognizer, videos, num_rows=3, bank=bank, **rules)
    starts = [EpisodeStart(i, bank.episode_seed(i, 0)) for i in range(3)]
    actions = torch.arange(3 * video_div).view(3, video_div) % 16
    for core in (live, banked):
        core.reset_rows(range(3), starts)
    np.testing.assert_array_equal(banked.features.frame(0, 0), live.features.frame(0, 0))
    # float16 has 11 bits: maps up to 6 are within 2^-9.
    torch.testing.assert_close(
        banked.observe_episode(), live.observe_episode(), rtol=0.0, atol=2**-9
    )
    one, other = banked.play(actions), live.play(actions)
    torch.testing.assert_close(one.rewards, other.rewards, rtol=0.0, atol=5e-3)
    torch.testing.assert_close(one.logits, other.logits, rtol=1e-2, atol=5e-2)


def test_the_built_in_videos_have_glance_frames_at_their_own_uniform_times():
    videos = GlyphVideos("val", num_frames=16, num_glance_frames=4, frame_sampling="test")
    clip = videos.clip(3, 0)
    assert torch.equal(clip.glance_frames, clip.frames[[2, 6, 10, 14]])


def test_clips_and_divisions_that_do_not_fit_the_family_are_refused(
    recognizer, tiny_recognizer, videos, make_videos, folder
):
    for sizes in ({"num_frames": 8, "num_glance_frames": 8}, {"num_frames": 12}):
        with pytest.raises(ValueError, match="num_frames=12 and num_glance_frames=8"):
            PatchLocalizationEnv.from_parts(recognizer, make_videos(**sizes))
    with pytest.raises(ValueError, match="open them with num_frames=12"):
        gym.make("AdaFocus/PatchLocalization-v0", recognizer=folder, num_frames=8)

    with pytest.raises(ValueError, match="leave video_div=None"):
        gym.make("AdaFocus/PatchLocalization-v0", video_div=2)
    with pytest.raises(ValueError, match="video_div=3 does not divide"):
        gym.make("AdaFocus/PatchLocalization-v0", recognizer=folder, video_div=3)

    with pytest.raises(ValueError, match="leave num_glance_frames=None"):
        PatchLocalizationEnv.from_parts(tiny_recognizer, videos)
