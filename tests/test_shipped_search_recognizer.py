"""The shipped recognizer of `glyphs_search`: sure where the digit was seen, and nowhere else."""

import numpy as np
import pytest
import torch

from adafocus_env.data import VideoOptions, open_videos
from adafocus_env.data.glyphs.search import SPLITS
from adafocus_env.data.glyphs.search_layout import search_layout
from adafocus_env.envs import PatchLocalizationVectorEnv, shipped_recognizer
from adafocus_env.networks import Recognizer
from agents.baselines.registry import make_baseline
from agents.evaluation import evaluate_agent, on_target

PICTURES = 30
LOOKS = 6


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer.load(shipped_recognizer("glyphs_search"))


@pytest.fixture(scope="module")
def videos():
    """Pictures as clips of six equal frames: six looks, decided on before the first."""
    options = VideoOptions(num_frames=LOOKS, frame_size=224, keep_decoded=True)
    return open_videos("glyphs_search", "val", options)


@pytest.fixture(scope="module")
def played(recognizer, videos):
    env = PatchLocalizationVectorEnv.from_parts(
        recognizer, videos, num_envs=PICTURES, autoreset_mode="disabled", reward="conf"
    )
    agents = {
        name: make_baseline(name, env.core, recognizer) for name in ("expert", "random_discs")
    }
    return {
        name: evaluate_agent(env, agent, videos=range(PICTURES)) for name, agent in agents.items()
    }


def log_likelihoods(evaluation):
    """`(E, T)` of the true class."""
    logs = torch.log_softmax(torch.from_numpy(evaluation.logits), dim=2).numpy()
    return np.stack([log[:, label] for log, label in zip(logs, evaluation.label, strict=True)])


def test_who_follows_the_arrows_names_the_class_and_who_takes_any_discs_half_of_them(played):
    assert played["expert"].correct()[:, -1].all()
    # Six of twelve discs, and a guess: 0.55, standard deviation 0.09.
    assert 0.28 < played["random_discs"].correct()[:, -1].mean() < 0.82


def test_before_the_digit_is_seen_the_classes_are_equal_and_afterwards_one_is_sure(played, videos):
    """A guess among ten has a log-likelihood of -2.30."""
    for evaluation in played.values():
        seen = np.maximum.accumulate(on_target(evaluation, videos), axis=1)
        logs = log_likelihoods(evaluation)
        assert -2.5 < logs[~seen].mean() < -2.1
        assert logs[seen].mean() > -0.06
        assert evaluation.correct()[:, -1][seen[:, -1]].all()


def test_the_glance_map_shows_which_cells_hold_a_disc(recognizer, videos):
    """A line through the map's channels, fitted to other pictures, finds .98 of the discs."""
    recognizer.eval()
    maps, discs = [], []
    for index in range(80):
        frames = videos.clip(index, 0).frames[:1]
        with torch.no_grad():
            maps.append(recognizer.glance(frames)[0][0].flatten(1).T.double())
        discs.append(np.isin(np.arange(49), search_layout(SPLITS["val"][0], index).cells))
    inputs = torch.stack(maps)
    inputs = torch.cat([inputs, torch.ones_like(inputs[..., :1])], dim=2)
    wanted = torch.from_numpy(np.stack(discs)).double()
    fitted = torch.linalg.lstsq(inputs[:40].flatten(0, 1), wanted[:40].flatten()).solution
    highest = (inputs[40:] @ fitted).topk(12, dim=1).indices
    assert wanted[40:].gather(1, highest).mean() > 0.96
