"""A trained probe finds nothing of the marks of `glyphs_search` in a glance."""

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import nn
from torch.nn import functional as F

from adafocus_env.data.glyphs import search
from adafocus_env.data.glyphs.search import draw_picture
from adafocus_env.data.glyphs.search_layout import FIRST_DIGIT, draw_layout

pytestmark = pytest.mark.slow

TRAINED, JUDGED = 350, 150  # pictures of twelve discs


def discs(count, seed):
    """The glances `(12 count, 48)` of the discs' cells, and what each carries."""
    cells, marks = [], []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        carried = draw_layout(rng).marks(index % 10)
        picture, _ = draw_picture(rng, carried)
        glance = picture.reshape(28, 8, 28, 8, 3).mean(axis=(1, 3))
        of_cells = glance.reshape(7, 4, 7, 4, 3).transpose(0, 2, 1, 3, 4).reshape(49, 48)
        cells.append(of_cells[list(carried)])
        marks += carried.values()
    return torch.tensor(np.concatenate(cells), dtype=torch.float32), np.array(marks)


def probed(train, train_classes, judged, num_classes):
    """Logits of a small network that was trained on some cells and judges others."""
    torch.manual_seed(0)
    mean, std = train.mean(dim=0), train.std(dim=0)
    net = nn.Sequential(nn.Linear(48, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, num_classes))
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.05)
    classes = torch.as_tensor(train_classes)
    for _ in range(20):
        for rows in torch.randperm(len(train)).split(64):
            loss = F.cross_entropy(net((train[rows] - mean) / std), classes[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return net.eval()((judged - mean) / std).numpy()


def read_arrows_and_find_digits():
    """Share of arrows that the probe reads, share of the commonest, area under the ROC curve."""
    (train, marks), (judged, shown) = discs(TRAINED, 1), discs(JUDGED, 2)
    arrows, asked = marks < FIRST_DIGIT, shown < FIRST_DIGIT
    logits = probed(train[arrows], marks[arrows], judged[asked], FIRST_DIGIT)
    right = (logits.argmax(axis=1) == shown[asked]).mean()
    commonest = np.bincount(shown[asked]).max() / asked.sum()
    found = probed(train, (~arrows).astype(int), judged, 2)
    ranks = rankdata(found[:, 1] - found[:, 0])[~asked]
    digits = len(ranks)
    area = (ranks.sum() - digits * (digits + 1) / 2) / (digits * asked.sum())
    return right, commonest, area


def test_a_probe_reads_no_arrow_and_finds_no_digit():
    """1650 arrows and 150 digits: standard deviations of 0.009 and 0.024 where nothing is there."""
    right, commonest, area = read_arrows_and_find_digits()
    assert right < commonest + 0.03
    assert 0.42 < area < 0.58


def test_the_probe_reads_arrows_and_finds_digits_where_marks_are_drawn_plainly(monkeypatch):
    monkeypatch.setattr(search, "_evened_out", lambda strokes, cover: strokes * cover)
    right, _, area = read_arrows_and_find_digits()
    assert right > 0.6
    assert area > 0.8
