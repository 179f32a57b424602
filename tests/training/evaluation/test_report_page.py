"""report.html as text: self-contained, every label only text, small enough, what it says first."""

import base64
import json
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from adafocus_env.seeding import derive_episode_seed
from train.config.keys import ConfigError
from train.evaluation.report.figures import CAPTIONS, write_figures
from train.evaluation.report.page import write_page
from train.evaluation.report.player import choose_videos, player_data


class Page(HTMLParser):
    """The elements of a page, its text, and what its scripts hold."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.scripts = [], {}
        self.text, self._script = "", None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self._script = dict(attrs).get("id") or "code"

    def handle_endtag(self, tag):
        if tag == "script":
            self._script = None

    def handle_data(self, data):
        if self._script is None:
            self.text += data
        else:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data


def _picture(source):
    encoded = np.frombuffer(base64.b64decode(source.split(",", 1)[1]), np.uint8)
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)


@pytest.fixture(scope="module")
def html(report):
    """The page's text."""
    return report.read_text()


def test_names_and_labels_are_text_and_nothing_else(html, evil):
    page = Page(html)
    assert evil in page.text
    assert [attributes for tag, attributes in page.elements if "onerror" in attributes] == []
    assert {a["src"][:22] for tag, a in page.elements if tag == "img"} == {"data:image/png;base64,"}
    assert sum(tag == "script" for tag, _ in page.elements) == 2
    assert "<img src=x" not in html
    assert "</script><img" not in html
    assert "<" not in page.scripts["player-data"]
    data = json.loads(page.scripts["player-data"])
    assert data["class_names"][0] == evil
    assert data["policies"] == ["random", "center", evil]


def test_the_page_needs_nothing_from_anywhere(html):
    page = Page(html)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "base")
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "data:").startswith("data:")
    (policy,) = [a["content"] for tag, a in page.elements if tag == "meta" and "http-equiv" in a]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy


def test_the_page_begins_with_what_was_measured_and_has_every_figure(html):
    text = " ".join(Page(html).text.split())
    start = text.index("Measured on all 5 videos of the split test of")
    assert "2 frames of 40 x 40 pixels" in text
    assert "one patch of 12 x 12" in text
    assert start < text.index("Each with its own stage-3 classifier") < text.index("Player")
    assert "mean return +0.466 [+0.430, +0.503] above random." in text
    sources = [a["src"] for tag, a in Page(html).elements if tag == "img"]
    assert len(sources) == len(CAPTIONS)
    assert all(_picture(source).std() > 1.0 for source in sources)


def test_the_player_has_the_first_draws_looks_of_every_policy(evaluations, make_videos):
    videos = make_videos()
    data = player_data(videos, evaluations, [1, 4], seed=3)
    shown = data["videos"][1]
    assert (shown["index"], shown["label"], len(shown["frames"])) == (4, 1, 4)
    random = evaluations["random"]
    looks = shown["looks"][0]
    assert looks["boxes"] == random.boxes[8, :, :3].tolist()  # video 4, draw 0 of two
    assert looks["confidences"] == pytest.approx(random.confidences[8].tolist(), abs=1e-4)
    assert looks["rewards"] == pytest.approx(random.rewards[8].tolist(), abs=1e-4)
    classes, probabilities = zip(*looks["top"][3], strict=True)
    assert list(classes) == np.argsort(-random.logits[8, 3]).tolist()
    assert sum(probabilities) == pytest.approx(1.0, abs=1e-3)
    frame = _picture(shown["frames"][2])[..., ::-1]
    clip = videos.clip(4, derive_episode_seed(3, 4, 0))
    expected = clip.frames[2].permute(1, 2, 0).numpy()
    assert np.abs(frame.astype(int) - expected).mean() < 15  # as far as JPEG changes blocks


def test_videos_beyond_the_budget_are_left_out_and_named(evaluations, make_videos):
    videos = make_videos()
    one = sum(map(len, player_data(videos, evaluations, [0], seed=3)["videos"][0]["frames"]))
    data = player_data(videos, evaluations, [0, 1, 2, 3], seed=3, frame_budget=int(2.5 * one))
    assert [video["index"] for video in data["videos"]] == [0, 1]
    assert data["left_out"] == [2, 3]
    data = player_data(videos, evaluations, [0, 1], seed=3, frame_budget=1)
    assert [video["index"] for video in data["videos"]] == [0]


def test_twelve_videos_are_spread_over_the_split():
    assert choose_videos(5, None) == [0, 1, 2, 3, 4]
    assert choose_videos(111, None) == list(range(0, 111, 10))
    assert choose_videos(9, [7, 2, 7]) == [7, 2]
    for wrong in ([9], [-1], []):
        with pytest.raises(ConfigError, match=r"name some of 0\.\.8"):
            choose_videos(9, wrong)


def test_a_page_of_large_frames_stays_below_20_megabytes(
    evaluations, make_videos, benchmark_result, policy_row, tmp_path, monkeypatch
):
    noise = "data:image/jpeg;base64," + "A" * 2_000_000  # a frame of 1.5 MB
    monkeypatch.setattr("train.evaluation.report.player._jpeg", lambda frame: noise)
    result = benchmark_result(policy_row("random"), policy_row("center"))
    write_figures(result, tmp_path)
    write_page(result, evaluations, make_videos(), tmp_path, range(5))
    assert 8_000_000 < (tmp_path / "report.html").stat().st_size < 20_000_000
    assert "Videos 1, 2, 3, 4 are left out" in (tmp_path / "report.html").read_text()
