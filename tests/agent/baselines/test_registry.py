"""Baseline agents by name, and what is said about names that are none."""

import numpy as np
import pytest

from adafocus_env.envs import (
    ActiveVisionEnv,
    ActiveVisionVectorEnv,
    PatchLocalizationEnv,
    PatchLocalizationVectorEnv,
)
from agents.baselines.oracles import BeamOracle
from agents.baselines.registry import baseline_names, find_baseline, make_baseline
from agents.baselines.simple import RandomOffsets

GIVEN = ["random", "center", "fixed:7", "sweep", "motion", "saliency", "greedy_oracle"]
GIVEN += ["beam_oracle:2"]


OPEN, CLOSED = "open", "closed"


@pytest.fixture
def make_any(tiny_recognizer, make_videos):
    """Makes an environment of either family, a single one where there are no rows."""

    def make(family, num_envs, **rules):
        if num_envs is not None:
            rules["num_envs"] = num_envs
        single = {OPEN: PatchLocalizationEnv, CLOSED: ActiveVisionEnv}
        vector = {OPEN: PatchLocalizationVectorEnv, CLOSED: ActiveVisionVectorEnv}
        env_type = (single if num_envs is None else vector)[family]
        return env_type.from_parts(tiny_recognizer, make_videos(), **rules)

    return make


@pytest.mark.parametrize("num_envs", [None, 1, 3])
@pytest.mark.parametrize("family", [OPEN, CLOSED])
@pytest.mark.parametrize("name", GIVEN)
def test_every_name_makes_an_agent_that_acts_as_sb3_asks(
    make_any, tiny_recognizer, name, family, num_envs
):
    rules = {"looks_per_frame": 2} if family == CLOSED else {}
    env = make_any(family, num_envs, **rules)
    observation, _ = env.reset(seed=0)
    agent = make_baseline(name, env.core, tiny_recognizer)
    assert not isinstance(agent, RandomOffsets)
    state, starts = None, np.ones(num_envs or 1, dtype=bool)
    for _ in range(env.core.num_decisions):
        actions, state = agent.predict(observation, state, starts, deterministic=True)
        assert env.action_space.contains(np.asarray(actions) if num_envs else np.int64(actions))
        observation, *_ = env.step(actions)
        starts[:] = False


def test_without_the_glance_all_act_that_do_not_look_at_it(make_any, tiny_recognizer):
    for num_envs in (None, 3):
        env = make_any(CLOSED, num_envs, observation=["patch", "belief"])
        observation, _ = env.reset(seed=0)
        for name in GIVEN:
            if name == "saliency":
                with pytest.raises(ValueError, match="here none are observed; let observation="):
                    make_baseline(name, env.core, tiny_recognizer)
                continue
            actions, _ = make_baseline(name, env.core, tiny_recognizer).predict(observation)
            assert np.shape(actions) == (() if num_envs is None else (3,))
    shows = make_any(CLOSED, 3)
    with pytest.raises(ValueError, match="here none are observed"):
        make_baseline("saliency", shows.core, tiny_recognizer).predict(observation)


def test_looks_of_the_glance_are_those_of_the_open_loop(make_any, tiny_recognizer):
    loop, patches = make_any(CLOSED, 3), make_any(OPEN, 3)
    seen, glances = loop.reset(seed=0)[0], patches.reset(seed=0)[0]
    agent = make_baseline("saliency", patches.core, tiny_recognizer)
    np.testing.assert_array_equal(agent.predict(seen)[0], agent.predict(glances)[0])
    one = {name: part[1] for name, part in seen.items()}
    assert agent.predict(one)[0] == agent.predict(glances)[0][1]


@pytest.mark.parametrize(
    ("observation", "text"),
    [
        ((np.zeros((2, 3, 2, 2)), {}), r"not tuple; Gymnasium's reset returns \(observation, info"),
        (None, "not NoneType"),
        (np.float32(1.0), r"not an array \(\) of float32"),
        (np.array(["a"]), r"not an array \(1,\) of <U1"),
        ({}, "not a dict of nothing"),
        ({"glance": "dark"}, "not str"),
        (
            {"glance": np.zeros((2, 3, 2, 2)), "belief": np.zeros((5, 3))},
            r"all parts alike, not a dict of glance \(2, 3, 2, 2\), belief \(5, 3\)",
        ),
        ({"glance": np.zeros((3, 2, 2)), "belief": np.zeros((1, 3))}, "all parts alike"),
    ],
    ids=str,
)
def test_what_is_no_observation_is_refused_in_one_line(
    make_vector_env, tiny_recognizer, observation, text
):
    core = make_vector_env(2).core
    for name in ("random", "center", "sweep", "saliency"):
        with pytest.raises(ValueError, match=text) as caught:
            make_baseline(name, core, tiny_recognizer).predict(observation)
        assert "\n" not in str(caught.value)


def test_agents_that_watch_the_core_are_asked_about_its_rows(make_vector_env, tiny_recognizer):
    env = make_vector_env(3)
    observations, _ = env.reset(seed=0)
    for name in ("greedy_oracle", "beam_oracle:2", "motion"):
        agent = make_baseline(name, env.core, tiny_recognizer)
        with pytest.raises(ValueError, match=r"watches the 3 rows .* and was asked about 2"):
            agent.predict(observations[:2])


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
