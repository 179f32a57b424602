"""`env=active`: its keys, and policies of closed loops from training to the tables."""

import json

import pytest

from agents.policies.policy_files import load_policy
from train.config.keys import ConfigError

ACTIVE = ("env=active", "reward=information")


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (("look_cost=0.1",), "look_cost= is for the closed loop: env=active"),
        (("stop=true",), "stop= is for the closed loop: env=active"),
        (("looks_per_frame=2",), "looks_per_frame= is for the closed loop: env=active"),
        (("observation=[glance,belief]",), "parts are named with env=active"),
        ((*ACTIVE, "looks_per_frame=0"), "looks_per_frame=0 must be at least 1"),
        ((*ACTIVE, "look_cost=-1"), "look_cost=-1 must be 0 or more"),
        ((*ACTIVE, "locations=skip"), "locations=skip does not go with env=active"),
        ((*ACTIVE, "stop=true", "locations=continuous"), "does not go with stop=true"),
        ((*ACTIVE, "policy=somewhere"), "policy=RUN with env=patch only"),
    ],
    ids=str,
)
def test_keys_that_do_not_go_together_are_refused_in_one_line(make_config, overrides, text):
    with pytest.raises(ConfigError, match=text) as caught:
        make_config("stage2", *overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["gru_ppo", "ppo", "dqn", "recurrent_ppo"])
def test_a_policy_of_a_closed_loop_is_trained_saved_and_compared(
    run_tiny, refused, handed_on, tmp_path, algo
):
    source = f"resume={handed_on['stage1']}"
    loop = (*ACTIVE, "looks_per_frame=2")
    folder = tmp_path / algo
    stop = ("stop=true", "look_cost=0.1")
    own = ("algo.preset=loop",) if algo == "gru_ppo" else ()
    run_tiny("stage2", folder, source, *loop, *stop, f"algo={algo}", *own)
    policy = load_policy(folder / "policy").policy
    assert "belief" in policy.observation_space.spaces
    judged = (source, *loop, *stop, "split=val")
    run_tiny("benchmark", tmp_path / "benchmark", *judged, f"policies=[random,learned:{folder}]")
    results = json.loads((tmp_path / "benchmark" / "benchmark.json").read_text())
    assert [one["name"] for one in results["policies"]] == ["random", "learned"]
    assert "env=active" in refused("evaluate", source, f"policy={folder}")


@pytest.mark.slow
def test_a_policy_of_sb3_looks_anywhere_in_a_closed_loop(run_tiny, judge, handed_on, tmp_path):
    source = f"resume={handed_on['stage1']}"
    loop = (source, *ACTIVE, "looks_per_frame=2", "locations=continuous")
    run_tiny("stage2", tmp_path / "run", *loop, "algo=ppo")
    result = judge(tmp_path / "judged", *loop, f"policy={tmp_path / 'run'}", "split=val")
    assert len(result["top1_per_step"]) == 4
