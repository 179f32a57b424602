"""The networks and inputs of the golden recording, and everything computed from them, once."""

import pytest
import torch

import published_run as run
import published_shift_run as shift_run
from comparison import recorded
from fill_rule import POLICY_PREFIX
from given_case import make_case, normalised_config
from published_policy import new_policy


@pytest.fixture(scope="session")
def golden():
    """The recorded arrays."""
    return recorded("actnet")


@pytest.fixture(scope="session")
def case():
    """Two videos of four frames of 224 pixels, patches of 128."""
    actions = torch.tensor([[0, 48], [16, 33], [27, 44], [38, 6]])
    return make_case(2, 4, 224, 128, 7, labels=[158, 95], actions=actions)


@pytest.fixture(scope="session")
def networks():
    """The published networks of 200 classes and 49 actions, with the weights of the rule."""
    names = tuple(f"class {k}" for k in range(200))
    config = normalised_config(class_names=names, num_frames=4, dropout=0.0)
    policy = new_policy((1280, 7, 7), 49, key_prefix=POLICY_PREFIX)
    return run.make_recognizer(config), policy


@pytest.fixture(scope="session")
def shift_recognizer():
    """The published Something-Something networks with the weights of the rule."""
    return shift_run.make_recognizer()


@pytest.fixture(scope="session")
def shift_glance_frames():
    """Of videos 0 to 5."""
    return shift_run.glance_frames(6)


@pytest.fixture(scope="session")
def shift_focus_frames():
    """Of videos 0 and 1."""
    return shift_run.focus_frames(2)


@pytest.fixture(scope="session")
def shift_glances(shift_recognizer, shift_glance_frames):
    """Section a of videos 0 to 5."""
    return shift_run.run_glances(shift_glance_frames, shift_recognizer)
