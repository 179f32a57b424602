"""Stage 3 with `features=bank:PATH`: the classifier's input is what live networks give."""

import pytest
import torch

from adafocus_env.envs import PatchGrid
from adafocus_env.features import BankFeatures
from agents.policies.policy_files import save_policy
from train.stages.chosen_patches import ChosenPatchStage, choose_patches
from train.stages.supervised.data import clips_of, load_batches

GRID = PatchGrid(4, 40, 12)


def _batches(split, train, epoch=0):
    clips = clips_of(split, seed=3)
    return list(load_batches(clips, epoch, batch_size=2, workers=0, train=train))


@pytest.fixture
def open_bank(tiny_recognizer, build_bank, tmp_path):
    """A bank of two views of some videos."""

    def make(videos):
        positions = GRID.all_offsets()
        where = tmp_path / "bank"
        bank = build_bank(where, tiny_recognizer, videos, positions=positions, views=2)
        return BankFeatures(tiny_recognizer, videos, bank, positions=positions)

    return make


def test_the_batches_have_the_same_clips_labels_and_random_numbers(make_videos, open_bank):
    videos = make_videos(5)
    source = open_bank(videos)
    for train in (True, False):
        for live, stored in zip(_batches(videos, train), _batches(source, train), strict=True):
            assert torch.equal(live.indices, stored.indices)
            assert torch.equal(live.labels, stored.labels)
            for name in ("places", "skips", "shares"):
                assert torch.equal(getattr(live.chance, name), getattr(stored.chance, name))
            assert stored.frames.numel() == 0


def test_another_epoch_may_show_another_view(make_videos, open_bank):
    source = open_bank(make_videos(5))
    seen = [[b.features.glance_vectors for b in _batches(source, True, e)] for e in range(4)]
    first = torch.cat(seen[0])
    assert any(not torch.equal(first, torch.cat(later)) for later in seen[1:])


@pytest.mark.parametrize("policy", ["random", "center", "learned"])
@pytest.mark.parametrize("skip_rate", [None, 0.5])
def test_the_classifier_learns_from_what_live_networks_see(
    make_videos, open_bank, tiny_recognizer, small_policy, tmp_path, policy, skip_rate
):
    videos = make_videos(5)
    videos.frames[:, 0::2] = videos.frames[:, 1::2]  # whatever a seed chooses, it is the same
    source = open_bank(videos)
    if policy == "learned":
        maps = source.observation_shape
        prints = {"recognizer_sha256": tiny_recognizer.fingerprint()}
        prints["glancer_sha256"] = tiny_recognizer.glancer_fingerprint()
        save_policy(small_policy(16, maps), tmp_path / "run" / "policy", **prints)
        policy = str(tmp_path / "run")
    choose = choose_patches(policy, GRID, tiny_recognizer)
    stage = ChosenPatchStage(tiny_recognizer, choose, 0.1, skip_rate=skip_rate)
    for live, stored in zip(_batches(videos, False), _batches(source, False), strict=True):
        expected, got = stage.frozen_features(live), stage.frozen_features(stored)
        assert expected.shape == got.shape
        torch.testing.assert_close(got, expected, rtol=2e-3, atol=2e-3)  # stored in float16
        zeros = (expected[..., 48:] == 0).all(dim=-1)
        assert torch.equal(zeros, (got[..., 48:] == 0).all(dim=-1))
        assert bool(zeros.any()) == (skip_rate is not None)
