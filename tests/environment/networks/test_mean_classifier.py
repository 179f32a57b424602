"""MeanClassifier: logits are the mean over the frames so far, in every form."""

import pytest
import torch

from adafocus_env.networks import RecognizerConfig
from adafocus_env.networks.classifier import MeanClassifier


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    return MeanClassifier(5, 8, 3, dropout=0.5).eval()


def test_logits_are_the_mean_of_the_frames_own(classifier):
    features = torch.randn(2, 4, 5)
    each = classifier.fc(classifier.hidden(features).relu())
    logits, states = classifier.sequence(features)
    torch.testing.assert_close(logits[:, 0], each[:, 0])
    torch.testing.assert_close(logits[:, 3], each.mean(dim=1))
    assert states[0, :, -1].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_steps_and_alternatives_give_what_whole_clips_do(classifier):
    features, state = torch.randn(2, 4, 5), torch.zeros(2, 4)
    wanted, states = classifier.sequence(features)
    for t in range(4):
        alternatives = classifier.step_each(features[:, t, :2], features[:, t, None, 2:], state)
        logits, state = classifier.step(features[:, t], state)
        torch.testing.assert_close(logits, wanted[:, t])
        torch.testing.assert_close(alternatives[:, 0], wanted[:, t])
        torch.testing.assert_close(state, states[:, t])


def test_a_recognizer_with_it_is_saved_and_loaded(make_recognizer, tmp_path):
    recognizer = make_recognizer(classifier="mean")
    assert recognizer.state_size == 4  # three classes and a count
    recognizer.save(tmp_path)
    assert type(recognizer).load(tmp_path).fingerprint() == recognizer.fingerprint()
    assert '"classifier": "mean"' in (tmp_path / "recognizer.json").read_text()


def test_recognizers_with_a_gru_are_described_as_before():
    config = RecognizerConfig(("a", "b"))
    assert "classifier" not in config.described()
    with pytest.raises(ValueError, match="unknown classifier 'lstm'; known are gru, mean"):
        RecognizerConfig(("a",), classifier="lstm")
