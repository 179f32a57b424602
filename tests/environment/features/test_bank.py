"""Episodes on a feature bank are those on live features, within float16's precision."""

import copy
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from adafocus_env.data import VideoError, VideoOptions, open_videos
from adafocus_env.data.glyphs.localization import SPLITS
from adafocus_env.data.glyphs.videos import GlyphVideos
from adafocus_env.envs import REWARDS, PatchGrid, PatchLocalizationVectorEnv
from adafocus_env.features import FeatureBank
from adafocus_env.networks import Recognizer

N = 3
# Half a step of float16 between 4 and 8, the largest values of a map of bound 6.
MAP_ATOL = 2.0**-9
CONFIDENCE_ATOL = 2e-3


@dataclass(frozen=True)
class Banked:
    """A bank and what it was made of."""

    bank: FeatureBank
    recognizer: Recognizer
    videos: Any

    def vector(self, *, live=False, gone=False, **rules):
        """On the bank, or live on the clips that it holds; gone: the videos' files are."""
        videos = copy.copy(self.videos)
        if live:
            videos.clip = self._clip
        elif gone:
            videos.clip = self._no_clip
        rules = {"baseline_positions": "grid", "bank": None if live else self.bank, **rules}
        return PatchLocalizationVectorEnv.from_parts(self.recognizer, videos, num_envs=N, **rules)

    def _clip(self, index, episode_seed):
        view = self.bank.view_of(episode_seed)
        return self.videos.clip(index, self.bank.episode_seed(index, view))

    def _no_clip(self, index, episode_seed):
        raise VideoError(f"video {index} is gone")


def _build(build, folder, recognizer, videos, views=1):
    sizes = recognizer.config
    grid = PatchGrid(7, sizes.frame_size, sizes.patch_size)
    bank = build(folder, recognizer, videos, positions=grid.all_offsets(), views=views)
    return Banked(bank, recognizer, videos)


@pytest.fixture(scope="module")
def tiny(build_bank, tiny_recognizer, make_videos, tmp_path_factory):
    """Three views of each of five videos in memory, whose clips are drawn by chance."""
    return _build(
        build_bank, tmp_path_factory.mktemp("bank") / "train", tiny_recognizer, make_videos(), 3
    )


@pytest.fixture(scope="module", params=["built_in", "video_files"])
def banked(request, build_bank, tiny_recognizer, glyph_recognizer, video_folder, tmp_path_factory):
    """The built-in videos (five of them), and video files."""
    recognizer = glyph_recognizer if request.param == "built_in" else tiny_recognizer
    videos = open_videos("videos", "train", VideoOptions(4, 40), data_dir=video_folder)
    if request.param == "built_in":
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(SPLITS, "val", (SPLITS["val"][0], 5))
            videos = GlyphVideos("val")
    return _build(build_bank, tmp_path_factory.mktemp("bank") / "val", recognizer, videos)


def _actions(env, seed):
    """Where an action skips, a third of them do."""
    actions = np.random.default_rng(seed).integers(0, 49, (N, env.num_decisions))
    return np.where(actions % 3 == 0, 49, actions) if env.core.can_skip else actions


def _assert_close(got, expected):
    """Floats within the stated tolerances, all else identical, as in infos and outcomes."""
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        mine = got[name]
        if isinstance(value, dict):
            _assert_close(mine, value)
        elif np.asarray(value).dtype == object:
            for one, other in zip(mine, value, strict=True):
                np.testing.assert_allclose(one, other, rtol=0, atol=MAP_ATOL)
        elif np.asarray(value).dtype.kind == "f":
            atol = 0.05 if name == "logits" else CONFIDENCE_ATOL
            np.testing.assert_allclose(mine, value, rtol=0, atol=atol, err_msg=name)
        else:
            np.testing.assert_array_equal(mine, value, err_msg=name)


def _assert_played_alike(bank, live):
    bank.reset(seed=6)
    live.reset(seed=6)
    for episode in range(2):
        one, other = bank.observe_episode(), live.observe_episode()
        assert float(other.max()) > 0.5
        torch.testing.assert_close(one, other, rtol=0, atol=MAP_ATOL)
        actions = _actions(bank, episode)
        _assert_close(vars(bank.play(actions)), vars(live.play(actions)))


def _assert_stepped_alike(bank, live):
    got, expected = bank.reset(seed=6), live.reset(seed=6)
    np.testing.assert_allclose(got[0], expected[0], rtol=0, atol=MAP_ATOL)
    _assert_close(got[1], expected[1])
    for action in _actions(bank, 0).T:  # through the autoreset
        got, expected = bank.step(action), live.step(action)
        np.testing.assert_allclose(got[0], expected[0], rtol=0, atol=MAP_ATOL)
        np.testing.assert_allclose(got[1], expected[1], rtol=0, atol=CONFIDENCE_ATOL)
        np.testing.assert_array_equal(got[2], expected[2])
        _assert_close(got[4], expected[4])


def test_episodes_on_a_bank_are_live_ones(banked):
    make = [banked.vector(live=live, reward="expected") for live in (False, True)]
    _assert_played_alike(*make)
    _assert_stepped_alike(*make)


@pytest.mark.parametrize(
    "rules",
    [
        *(
            {"reward": name, "observation": seen}
            for name, seen in zip(REWARDS, cycle(["map", "vector"]))
        ),
        *({"locations": "skip", "reward": "skip", "skip_cost": cost} for cost in (0.1, "random")),
    ],
    ids=str,
)
def test_every_reward_and_observation_is_there(tiny, rules):
    _assert_played_alike(tiny.vector(**rules), tiny.vector(live=True, **rules))
    _assert_stepped_alike(tiny.vector(**rules), tiny.vector(live=True, **rules))


def test_no_video_is_read_but_for_drawing(tiny):
    env = tiny.vector(gone=True, reward="expected", render_mode="rgb_array")
    env.reset(seed=6)
    env.play(_actions(env, 0))
    with pytest.raises(VideoError, match="is gone"):
        env.render()


def test_drawing_shows_the_frames_of_the_banks_clips(tiny):
    rules = {"render_mode": "rgb_array", "autoreset_mode": "disabled"}
    bank, live = tiny.vector(**rules), tiny.vector(live=True, **rules)
    for env in (bank, live):
        env.reset(seed=6)
        env.play(_actions(env, 0))
    for one, other in zip(bank.render(), live.render(), strict=True):
        assert np.abs(one[:440].astype(int) - other[:440]).max() == 0  # above the bars


def test_an_episode_shows_the_view_that_its_seed_picks(tiny):
    views = [tiny.bank.view_of(seed) for seed in range(60)]
    assert {views.count(view) > 10 for view in (0, 1, 2)} == {True}
    assert views == [tiny.bank.view_of(seed) for seed in range(60)]
    env = tiny.vector()
    shown = {}
    for seed in range(12):
        options = {"video_index": 1, "episode_seed": seed}
        observation = env.reset(seed=0, options=options)[0]
        np.testing.assert_array_equal(observation[0], observation[1])
        first = shown.setdefault(views[seed], env.observe_episode()[0])
        torch.testing.assert_close(env.observe_episode()[0], first, rtol=0, atol=0)
    assert len(shown) == 3
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert float((shown[one] - shown[other]).abs().max()) > 0.1


def test_observations_are_copies(tiny):
    env = tiny.vector()
    observation = env.reset(seed=6)[0]
    episode = env.observe_episode()
    kept, whole = observation.copy(), episode.clone()
    observation[:] = -1.0
    episode[:] = -1.0
    np.testing.assert_array_equal(env.reset(seed=6)[0], kept)
    torch.testing.assert_close(env.observe_episode(), whole, rtol=0, atol=0)


def test_observations_stay_within_a_bound_that_float16_would_round_up(
    build_bank, make_recognizer, make_videos, tmp_path
):
    recognizer = make_recognizer(activation_cap=0.3)  # 0.30005 in float16
    env = _build(build_bank, tmp_path / "val", recognizer, make_videos(2)).vector()
    observation, _ = env.reset(seed=0)
    assert observation.max() > 0.29
    assert env.observation_space.contains(observation)


def test_a_recognizer_after_stage_3_uses_the_bank_with_its_own_classifier(tiny, make_recognizer):
    later = make_recognizer()
    with torch.no_grad():
        later.classifier.fc.bias += torch.tensor([2.0, 0.0, -2.0])
    after = Banked(tiny.bank, later, tiny.videos)
    _assert_played_alike(after.vector(), after.vector(live=True))
    before, now = tiny.vector(), after.vector()
    for env in (before, now):
        env.reset(seed=6)
    one, other = (env.play(_actions(env, 0)).logits for env in (before, now))
    torch.testing.assert_close(one + torch.tensor([2.0, 0.0, -2.0]), other)


@pytest.mark.parametrize("made", ["make", "make_vec"])
def test_make_takes_the_bank_of_its_split(
    build_bank, tmp_path, glyph_recognizer, glyph_recognizer_folder, monkeypatch, made
):
    monkeypatch.setitem(SPLITS, "val", (SPLITS["val"][0], 2))
    arguments: dict[str, Any] = {
        "recognizer": str(glyph_recognizer_folder),
        "features": f"bank:{tmp_path}",
        "baseline_positions": "grid",
        "device": "cpu",
    }
    make: Any = getattr(gym, made)
    with pytest.raises(
        FileNotFoundError, match=r"no feature bank in .*/val: .*adafocus bank split"
    ):
        make("AdaFocus/PatchLocalization-v0", **arguments)
    _build(build_bank, tmp_path / "val", glyph_recognizer, GlyphVideos("val"))
    bank = make("AdaFocus/PatchLocalization-v0", **arguments)
    live = make("AdaFocus/PatchLocalization-v0", **{**arguments, "features": "live"})
    one, other = bank.reset(seed=1), live.reset(seed=1)
    np.testing.assert_allclose(one[0], other[0], rtol=0, atol=MAP_ATOL)
    _assert_close(one[1], other[1])


@pytest.mark.gpu
@pytest.mark.parametrize("bank_device", ["auto", "cpu", "cuda"])
def test_a_bank_serves_a_gpu_from_there_and_from_files(tiny, bank_device):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    recognizer = Recognizer(tiny.recognizer.config)
    recognizer.load_state_dict(tiny.recognizer.state_dict())
    there = Banked(tiny.bank, recognizer.to("cuda"), tiny.videos)
    on_gpu, on_cpu = there.vector(bank_device=bank_device), tiny.vector()
    for env in (on_gpu, on_cpu):
        env.reset(seed=6)
    one, other = on_gpu.observe_episode(), on_cpu.observe_episode()
    assert one.device.type == "cuda"
    torch.testing.assert_close(one.cpu(), other, rtol=0, atol=0)
    played = [env.play(_actions(env, 0)).rewards.cpu() for env in (on_gpu, on_cpu)]
    torch.testing.assert_close(*played, rtol=0, atol=1e-4)
