"""Stock algorithms in closed loops: they learn from dicts, and their policies are files."""

import json

import numpy as np
import pytest
from sb3_contrib import QRDQN, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3

from adafocus_env.envs import ActiveVisionVectorEnv
from agents.evaluation import evaluate_agent
from agents.policies.glance_extractor import GlanceMapExtractor
from agents.policies.policy_files import load_policy, policy_arguments, save_policy
from agents.sb3.vec_env import CenteredActions, Sb3VecEnvAdapter

ON_POLICY = {"n_steps": 4, "batch_size": 4, "n_epochs": 1}
OFF_POLICY = {"buffer_size": 64, "learning_starts": 4, "batch_size": 4}
OWN = {"features_extractor_class": GlanceMapExtractor}
ALGORITHMS = [
    (PPO, "MultiInputPolicy", ON_POLICY, {}, "MultiInputActorCriticPolicy"),
    (PPO, "MultiInputPolicy", ON_POLICY, OWN, "MultiInputActorCriticPolicy"),
    (
        RecurrentPPO,
        "MultiInputLstmPolicy",
        ON_POLICY,
        {**OWN, "lstm_hidden_size": 8},
        "RecurrentMultiInputActorCriticPolicy",
    ),
    (A2C, "MultiInputPolicy", {"n_steps": 4}, {}, "MultiInputActorCriticPolicy"),
    (DQN, "MultiInputPolicy", OFF_POLICY, {}, "MultiInputPolicy"),
    (DQN, "MultiInputPolicy", OFF_POLICY, OWN, "MultiInputPolicy"),
    (QRDQN, "MultiInputPolicy", OFF_POLICY, {}, "QRDQN.MultiInputPolicy"),
    (SAC, "MultiInputPolicy", OFF_POLICY, {}, "SAC.MultiInputPolicy"),
    (TD3, "MultiInputPolicy", OFF_POLICY, {}, "TD3.MultiInputPolicy"),
]


@pytest.mark.parametrize(("algorithm", "policy", "settings", "how", "word"), ALGORITHMS)
def test_a_policy_learns_is_saved_and_acts_as_before(
    tiny_recognizer, make_videos, tmp_path, assert_equal, algorithm, policy, settings, how, word
):
    anywhere = algorithm in (A2C, SAC, TD3)
    rules = {"locations": "continuous"} if anywhere else {"stop": True, "looks_per_frame": 2}

    def made(**more):
        given = {"num_envs": 3, **rules, **more}
        return ActiveVisionVectorEnv.from_parts(tiny_recognizer, make_videos(), **given)

    env = Sb3VecEnvAdapter(made())
    env = CenteredActions(env) if anywhere else env
    net = {} if "lstm_hidden_size" in how else {"net_arch": [8]}
    model = algorithm(policy, env, policy_kwargs={**net, **how}, device="cpu", seed=0, **settings)
    model.learn(24)
    save_policy(model.policy, tmp_path, recognizer_sha256=None, arguments=policy_arguments(model))
    assert json.loads((tmp_path / "policy.json").read_text())["class"] == word
    loaded = load_policy(tmp_path).policy
    assert type(loaded) is type(model.policy)
    judged = made(autoreset_mode="disabled")
    result = evaluate_agent(judged, loaded)
    assert_equal(vars(result), vars(evaluate_agent(judged, model)))
    if anywhere:  # they act in a range from -1 to 1
        first = judged.reset(options={"video_index": np.arange(3)})[0]
        low_to_high = (loaded.predict(first, deterministic=True)[0] + 1) / 2
        corners = np.floor(low_to_high * 28)  # of 40 pixels, less a patch of 12
        np.testing.assert_allclose(result.boxes[:3, 0, :2], corners, atol=1)
