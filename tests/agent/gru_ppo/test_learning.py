"""GruPPO as SB3 users know algorithms: it learns, saves, loads, repeats itself, and complains."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from adafocus_env.envs import PatchLocalizationVectorEnv
from agents.gru_ppo.algorithm import GruPPO
from agents.sb3.vec_env import Sb3VecEnvAdapter

N, T = 3, 4


@pytest.mark.parametrize(
    "policy_kwargs", [{}, {"detach_value": True, "orthogonal": True, "standardize": True}]
)
def test_it_learns_to_remember_what_the_first_step_showed(cue_env, make_model, policy_kwargs):
    env = DummyVecEnv([cue_env] * 32)
    sizes = {"channels": 32, "hidden_dim": 32}
    model = make_model(env, learning_rate=0.01, policy_kwargs={**sizes, **policy_kwargs})
    model.learn(60 * 32 * 3)
    # Without memory only the first of three steps can be right more often than one time in four.
    mean_return, _ = evaluate_policy(model, cue_env(), n_eval_episodes=20, warn=False)
    assert mean_return > 2.8


def test_it_learns_where_to_look_on_the_environment(make_adapter, make_model, make_videos, record):
    env = VecMonitor(make_adapter(8, videos=make_videos(8), grid_size=4, reward="expected"))
    model = make_model(env, learning_rate=0.02, policy_kwargs={"standardize": True})
    dumps = record(model)
    model.learn(60 * 8 * T)
    returns = [dump["rollout/reward_mean"] for dump in dumps if "rollout/reward_mean" in dump]
    assert np.mean(returns[-5:]) > np.mean(returns[:5]) + 0.01


def test_it_steps_through_a_plain_gymnasium_environment_given_itself_or_by_its_id(
    make_env, make_model, spy
):
    watcher = spy()
    model = make_model(make_env(grid_size=4))
    assert isinstance(model.env, DummyVecEnv)
    model.learn(3 * T, callback=watcher)
    assert watcher.calls == 3 * T
    assert [rollout.rewards.shape for rollout in watcher.rollouts] == [(1, T)] * 3
    assert model._n_updates == 3
    model = make_model("AdaFocus/PatchLocalization-v0")
    assert model.num_decisions == 8
    assert model.action_space == spaces.Discrete(49)


@pytest.fixture
def trained(make_adapter):
    """A model whose file would be much larger with a batch of observations in it."""
    env = VecMonitor(make_adapter(64))
    policy_kwargs = {"hidden_dim": 128, "channels": 32}
    model = GruPPO(env=env, seed=0, device="cpu", policy_kwargs=policy_kwargs)
    return model.learn(64 * T)


@pytest.fixture
def file(trained, tmp_path):
    trained.save(tmp_path / "model.zip")
    return tmp_path / "model.zip"


def test_a_saved_model_predicts_the_same_and_goes_on_training(trained, file, make_adapter):
    loaded = GruPPO.load(file, env=VecMonitor(make_adapter(4)), device="cpu")
    observations = np.random.default_rng(0).uniform(0, 6, (5, 48, 7, 7)).astype(np.float32)
    one, other = (model.predict(observations, deterministic=True) for model in (trained, loaded))
    assert one[0].tolist() == other[0].tolist()
    np.testing.assert_array_equal(one[1][0], other[1][0])
    (adam,) = {int(s["step"]) for s in loaded.policy.optimizer.state.values()}
    assert adam == 1
    before = loaded.policy.actor.weight.detach().clone()
    loaded.learn(2 * 4 * T, reset_num_timesteps=False)
    assert loaded.num_timesteps == 64 * T + 2 * 4 * T
    assert loaded._n_updates == 3
    assert not torch.equal(loaded.policy.actor.weight, before)


def test_another_environment_may_have_episodes_of_another_length(
    cue_env, make_model, file, make_videos, make_recognizer
):
    longer = PatchLocalizationVectorEnv.from_parts(
        make_recognizer(num_frames=6), make_videos(num_frames=6), num_envs=2
    )
    loaded = GruPPO.load(file, env=Sb3VecEnvAdapter(longer), device="cpu")
    assert loaded.num_decisions == 6
    loaded.learn(2 * 6)
    assert loaded.num_timesteps == 12
    model = make_model(cue_env(num_steps=3)).learn(3)
    model.set_env(DummyVecEnv([lambda: cue_env(num_steps=5)]))
    model.learn(10)
    assert (model.num_decisions, model.num_timesteps) == (5, 10)


def test_a_file_holds_weights_and_optimizer_and_no_observations(trained, file):
    moments = [v for state in trained.policy.optimizer.state.values() for v in state.values()]
    tensors = [*trained.policy.state_dict().values(), *moments]
    assert file.stat().st_size <= 1.1 * sum(t.numel() * t.element_size() for t in tensors)
    data, params, _ = load_from_zip_file(file, device="cpu")
    assert params.keys() == {"policy", "policy.optimizer"}
    for name, value in data.items():
        assert not isinstance(value, (np.ndarray, torch.Tensor)), name
    assert data.get("_last_obs") is None


def test_the_same_seed_gives_the_same_weights_to_the_bit_and_another_one_others(
    make_adapter, make_model
):
    settings = {"episodes_per_row": 2, "batch_episodes": 2, "n_epochs": 2}
    one, same, other = (
        make_model(make_adapter(N), **{**settings, "seed": seed})
        .learn(2 * N * T)
        .policy.state_dict()
        for seed in (5, 5, 6)
    )
    for name, value in one.items():
        assert torch.equal(value, same[name]), name
    assert not torch.equal(one["actor.weight"], other["actor.weight"])


def test_episodes_of_no_fixed_length_or_of_another_than_said_are_an_error(cue_env, make_model):
    with pytest.raises(ValueError, match="num_decisions"):
        make_model(gym.make("CartPole-v1"))
    for steps, said in ((3, 4), (4, 3), (3, 2)):
        model = make_model(cue_env(num_steps=steps, said=said))
        with pytest.raises(RuntimeError, match=f"every episode to last {said} steps"):
            model.learn(said)
    lengths = iter((3, 4))
    env = DummyVecEnv([lambda: cue_env(num_steps=next(lengths), said=3)] * 2)
    with pytest.raises(RuntimeError, match="every episode to last 3 steps"):
        make_model(env).learn(6)


def test_a_loss_that_is_not_finite_is_an_error_with_the_cure(cue_env, make_model):
    model = make_model(cue_env(reward=float("nan")))
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    with pytest.raises(FloatingPointError, match=r"loss became nan .*lower the learning rate"):
        model.learn(3)
    for name, value in model.policy.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_arguments_that_cannot_be_are_refused(cue_env, make_model):
    with pytest.raises(ValueError, match="gae_lambda=1"):
        make_model(cue_env(), normalize_returns=True, gae_lambda=0.9)
    for name in ("episodes_per_row", "batch_episodes", "n_epochs"):
        with pytest.raises(ValueError, match=name):
            make_model(cue_env(), **{name: 0})
    with pytest.raises(TypeError, match="learnin_rate"):
        make_model(cue_env(), learnin_rate=1e-3)
    rows = SyncVectorEnv([cue_env], autoreset_mode=AutoresetMode.SAME_STEP)
    with pytest.raises(ValueError, match=r"env=Sb3VecEnvAdapter\(env\)"):
        GruPPO(env=rows)
    with pytest.raises(ValueError, match=r"policy is GruPolicy .*, not MlpPolicy"):
        GruPPO("MlpPolicy", Sb3VecEnvAdapter(rows))
