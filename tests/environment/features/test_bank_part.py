"""BankPart: some videos of a bank as the bank of another split, without a copy."""

import json
import shutil

import numpy as np
import pytest
import torch

from adafocus_env.envs import PatchGrid
from adafocus_env.features import BankFeatures, BankPart, EpisodeStart, FeatureBank, open_bank
from adafocus_env.networks import CheckpointError

POSITIONS = PatchGrid(4, 40, 12).all_offsets()
CHOSEN = (3, 0)


class Some:
    """Chosen videos of others."""

    def __init__(self, videos, chosen):
        self._videos, self._chosen = videos, chosen
        self.labels = videos.labels[list(chosen)]

    def __len__(self):
        return len(self._chosen)

    def __getattr__(self, name):
        return getattr(self._videos, name)

    def clip(self, index, episode_seed):
        return self._videos.clip(self._chosen[index], episode_seed)

    def identity(self):
        whole = self._videos.identity()
        return {**whole, "dataset": {**whole["dataset"], "videos": len(self)}}


@pytest.fixture
def banks(tiny_recognizer, make_videos, build_bank, tmp_path):
    """A bank of four videos in two views, a part of two of them, and these as videos."""
    videos, folder = make_videos(4), tmp_path / "all" / "train"
    whole = build_bank(folder, tiny_recognizer, videos, positions=POSITIONS, views=2)
    some = Some(videos, CHOSEN)
    BankPart.write(tmp_path / "part" / "val", folder, CHOSEN, some)
    return whole, open_bank(f"bank:{tmp_path / 'part'}", "val"), some


def _features(recognizer, bank, videos, indices):
    source = BankFeatures(recognizer, videos, bank, positions=POSITIONS)
    episodes = source.open(2)
    episodes.load([0, 1], [EpisodeStart(index, 7) for index in indices])
    rows, steps = torch.tensor([0, 1]), torch.tensor([1, 2])
    found = episodes.observation(rows, steps), episodes.focus(rows, steps, POSITIONS[[5, 9]])
    return *found, episodes.labels, episodes.frame(0, 1)


def test_a_part_has_the_features_of_its_videos_and_refuses_others(banks, tiny_recognizer):
    whole, part, some = banks
    assert (len(part.labels), part.layout.views) == (2, 2)
    expected = _features(tiny_recognizer, whole, some._videos, CHOSEN)
    for got, wanted in zip(_features(tiny_recognizer, part, some, (0, 1)), expected, strict=True):
        np.testing.assert_array_equal(np.asarray(got), np.asarray(wanted))
    assert part.episode_seed(0, 1) == whole.episode_seed(3, 1)
    with pytest.raises(CheckpointError, match=r"made otherwise: dataset\.videos: 2 there, 4 here"):
        BankFeatures(tiny_recognizer, some._videos, part, positions=POSITIONS)


def test_a_run_folder_may_be_moved_and_a_lost_bank_is_named(banks, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "all", moved / "all")
    shutil.copytree(tmp_path / "part", moved / "part")
    assert FeatureBank.open(moved / "part" / "val").labels.tolist() == banks[1].labels.tolist()
    shutil.rmtree(moved / "all")
    with pytest.raises(FileNotFoundError, match=r"no feature bank in .*moved/part/val/../../all"):
        FeatureBank.open(moved / "part" / "val")


def test_what_is_no_part_of_the_bank_is_refused(banks, make_videos, tmp_path):
    whole, _, some = banks
    with pytest.raises(ValueError, match=r"prepared otherwise: .*num_frames: 4 there, 3 here"):
        BankPart.write(
            tmp_path / "x", whole.folder, CHOSEN, Some(make_videos(num_frames=3), (3, 0))
        )
    with pytest.raises(ValueError, match="other labels"):
        BankPart.write(tmp_path / "x", whole.folder, (1, 2), some)
    file = tmp_path / "part" / "val" / "part.json"
    file.write_text(json.dumps({"bank": "../../all/train"}))
    with pytest.raises(CheckpointError, match=r"part.json: videos is missing"):
        FeatureBank.open(file.parent)
