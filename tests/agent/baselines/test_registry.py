"""Baseline agents by name, and what is said about names that are none."""

import numpy as np
import pytest

from agents.baselines.oracles import BeamOracle
from agents.baselines.registry import baseline_names, find_baseline, make_baseline
from agents.baselines.simple import RandomOffsets

GIVEN = ["random", "center", "fixed:7", "sweep", "saliency", "greedy_oracle", "beam_oracle:2"]


@pytest.mark.parametrize("name", GIVEN)
def test_every_name_makes_an_agent_that_acts_as_sb3_asks(make_vector_env, tiny_recognizer, name):
    env = make_vector_env(3)
    observations, _ = env.reset(seed=0)
    agent = make_baseline(name, env.core, tiny_recognizer)
    assert not isinstance(agent, RandomOffsets)
    actions, _ = agent.predict(observations, None, np.ones(3, bool), deterministic=True)
    assert env.action_space.contains(np.asarray(actions))


def test_the_number_after_the_colon_reaches_the_agent(make_vector_env, tiny_recognizer):
    core = make_vector_env(2).core
    fixed = make_baseline("fixed:13", core, tiny_recognizer)
    assert not isinstance(fixed, RandomOffsets)
    assert fixed.predict(np.zeros((2, 1)))[0].tolist() == [13, 13]
    beam = make_baseline("beam_oracle:5", core, tiny_recognizer)
    assert isinstance(beam, BeamOracle)
    assert beam.width == 5


def test_oracles_know_the_label_and_chance_is_drawn_again():
    found = {name: find_baseline(name) for name in [*GIVEN, "random_offsets"]}
    assert [n for n, e in found.items() if e and e.knows_label] == [
        "greedy_oracle",
        "beam_oracle:2",
    ]
    assert [n for n, e in found.items() if e and e.by_chance] == ["random", "random_offsets"]
    assert find_baseline("learned") is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("centre", "did you mean center"),
        ("beam_orcale:4", "did you mean beam_oracle:WIDTH"),
        ("center:4", "center takes nothing after its name"),
        ("fixed", "write fixed:ACTION, such as fixed:4"),
        ("beam_oracle:1025", "'beam_oracle:1025': WIDTH is at most 1024"),
        (f"fixed:{'9' * 5000}", "ACTION is at most 1000000"),
        ("fixed:-1", "write fixed:ACTION"),
        ("fixed:49", r"fixed:49 is not in fixed:0..fixed:48"),
        ("beam_oracle:0", "got width 0"),
    ],
)
def test_names_that_are_none_are_refused_with_the_nearest(
    make_vector_env, tiny_recognizer, name, message
):
    with pytest.raises(ValueError, match=message):
        make_baseline(name, make_vector_env(2).core, tiny_recognizer)


def test_the_names_are_those_a_user_writes():
    names = baseline_names()
    assert {"random", "center", "fixed:ACTION", "beam_oracle:WIDTH", "saliency"} <= set(names)
