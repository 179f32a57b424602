"""Agents that know the layout of `glyphs_search`."""

import numpy as np
import pytest
import torch

from adafocus_env.data import VideoOptions, open_videos
from adafocus_env.data.glyphs.search import SPLITS
from adafocus_env.data.glyphs.search_layout import search_layout
from adafocus_env.envs import ActiveVisionEnv, ActiveVisionVectorEnv, PatchLocalizationVectorEnv
from adafocus_env.networks import Recognizer, RecognizerConfig
from agents.baselines.registry import make_baseline
from agents.evaluation import evaluate_agent, on_target
from agents.flops import executed_multiply_adds
from train.evaluation.flops import inference_multiply_adds

LOOKS = 6


@pytest.fixture(scope="module")
def recognizer():
    """Small networks with new weights, for the size of the pictures."""
    torch.manual_seed(0)
    names = tuple(f"digit {digit}" for digit in range(10))
    sizes = {"frame_size": 224, "patch_size": 32, "glance_size": 28, "glance_resize": "area"}
    config = RecognizerConfig(
        names, num_frames=1, glancer="plain_small", focuser="resnet_small", hidden_dim=4, **sizes
    )
    return Recognizer(config)


@pytest.fixture(scope="module")
def videos():
    options = VideoOptions(num_frames=LOOKS, frame_size=224, keep_decoded=True)
    return open_videos("glyphs_search", "val", options)


@pytest.fixture(scope="module")
def still_videos():
    return open_videos("glyphs_search", "val", VideoOptions(num_frames=1, frame_size=224))


@pytest.fixture(scope="module")
def env(recognizer, videos):
    return PatchLocalizationVectorEnv.from_parts(
        recognizer, videos, num_envs=5, autoreset_mode="disabled", reward="conf"
    )


def looks(env, recognizer, name, **how):
    agent = make_baseline(name, env.core, recognizer)
    return evaluate_agent(env, agent, videos=range(10), **how)


def test_the_expert_follows_arrows_from_a_random_disc_and_stays_at_the_digit(
    env, recognizer, videos
):
    played = looks(env, recognizer, "expert", draws=2)
    starts = []
    for video, actions in zip(played.video_index, played.actions, strict=True):
        layout = search_layout(SPLITS["val"][0], int(video))
        starts.append(np.flatnonzero(layout.cells == actions[0])[0])
        assert actions[1:].tolist() == layout.next_cell[actions[:-1]].tolist()
    assert len(set(starts)) > 4
    hits = on_target(played, videos)
    assert hits[:, -1].all()  # five looks are always enough
    assert hits[:, 0].mean() < 0.5


def test_random_discs_are_distinct_and_any_of_the_twelve(env, recognizer):
    played = looks(env, recognizer, "random_discs", draws=2)
    first = set()
    for video, actions in zip(played.video_index, played.actions, strict=True):
        cells = search_layout(SPLITS["val"][0], int(video)).cells
        assert len(set(actions)) == LOOKS
        assert set(actions) <= set(cells)
        first.add(int(np.flatnonzero(cells == actions[0])[0]))
    assert len(first) > 6


@pytest.mark.parametrize("name", ["expert", "random_discs"])
def test_their_chance_belongs_to_the_episode(env, recognizer, videos, name):
    fewer = PatchLocalizationVectorEnv.from_parts(
        recognizer, videos, num_envs=3, autoreset_mode="disabled", reward="conf"
    )
    actions = looks(env, recognizer, name).actions
    np.testing.assert_array_equal(actions, looks(fewer, recognizer, name).actions)
    assert (actions != looks(env, recognizer, name, seed=1).actions).any()


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("name", ["expert", "random_discs"])
def test_they_act_in_the_closed_loop_and_are_charged_what_it_executes(
    recognizer, still_videos, name, single
):
    """One patch a look, however much they know."""
    env = ActiveVisionVectorEnv.from_parts(
        recognizer, still_videos, num_envs=2, looks_per_frame=LOOKS, autoreset_mode="disabled"
    )
    if single:
        env = ActiveVisionEnv.from_parts(recognizer, still_videos, looks_per_frame=LOOKS)
    agent = make_baseline(name, env.core, recognizer)
    observation, _ = env.reset(seed=0)
    for _ in range(LOOKS):
        actions, _ = agent.predict(observation)
        assert np.shape(actions) == (() if single else (2,))
        observation, *_, info = env.step(actions)
    if single:
        return
    charged = inference_multiply_adds(recognizer, agent, env)
    assert charged.keys() == {"glancer", "focuser", "classifier"}
    looks = LOOKS * (charged["focuser"] + charged["classifier"])
    assert info["multiply_adds"].tolist() == pytest.approx([charged["glancer"] + looks] * 2)

    def loop():
        env.reset(seed=1)
        for _ in range(LOOKS):
            env.step(agent.predict(observation)[0])

    assert executed_multiply_adds(loop) == pytest.approx(2 * (charged["glancer"] + looks), rel=1e-3)


def test_observations_do_not_depend_on_who_looks(env, recognizer):
    """The layout reaches the agent through the core alone."""
    options = {"video_index": 3}
    before, _ = env.reset(seed=0, options=options)
    agent = make_baseline("expert", env.core, recognizer)
    nothing = np.zeros_like(before)
    actions = agent.predict(nothing)[0]
    np.testing.assert_array_equal(actions, agent.predict(before)[0])
    again, info = env.reset(seed=0, options=options)
    np.testing.assert_array_equal(before, again)
    assert "layout" not in str(sorted(info))


@pytest.mark.parametrize("name", ["expert", "random_discs"])
def test_they_refuse_other_videos_and_other_grids(
    make_vector_env, tiny_recognizer, recognizer, videos, name
):
    with pytest.raises(ValueError, match="cells of glyphs_search, a grid of 7x7 patches of 32"):
        make_baseline(name, make_vector_env(2).core, tiny_recognizer)
    options = VideoOptions(num_frames=1, frame_size=224)
    other = open_videos("glyphs_search_digits", "val", options)
    env = PatchLocalizationVectorEnv.from_parts(recognizer, other, num_envs=1)
    with pytest.raises(ValueError, match="the pictures of dataset=glyphs_search alone"):
        make_baseline(name, env.core, recognizer)
