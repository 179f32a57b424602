"""GruPPO as SB3 users know algorithms: it learns, saves, loads, repeats itself, and complains."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from adafocus_env.envs import PatchLocalizationVectorEnv
from adafocus_env.networks import Recognizer, RecognizerConfig
from agents.gru_ppo.algorithm import GruPPO
from agents.sb3.vec_env import Sb3VecEnvAdapter

N, T = 3, 4


def _mean_return(model, env):
    returns, _ = evaluate_policy(
        model, env, n_eval_episodes=20, return_episode_rewards=True, warn=False
    )
    return float(np.mean(returns))


def test_it_learns_the_one_good_action_in_few_updates(cue_env, make_model):
    env = DummyVecEnv([lambda: cue_env(fixed=2)] * 8)
    model = make_model(env, learning_rate=0.02)
    assert _mean_return(model, cue_env(fixed=2)) < 2.0
    model.learn(20 * 8 * 3)
    assert _mean_return(model, cue_env(fixed=2)) == 3.0


@pytest.mark.parametrize(
    "policy_kwargs", [{}, {"detach_value": True, "orthogonal": True, "standardize": True}]
)
def test_it_learns_to_remember_what_the_first_step_showed(cue_env, make_model, policy_kwargs):
    env = DummyVecEnv([cue_env] * 32)
    sizes = {"channels": 32, "hidden_dim": 32}
    model = make_model(env, learning_rate=0.01, policy_kwargs={**sizes, **policy_kwargs})
    model.learn(60 * 32 * 3)
    # Without memory only the first of three steps can be right more often than one time in four.
    assert _mean_return(model, cue_env()) > 2.8


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


def test_evaluating_as_sb3_does_equals_following_the_episodes(make_adapter, make_model):
    env = make_adapter(N, reward="conf")
    model = make_model(env)
    env.seed(7)
    observation, state, starts = env.reset(), None, np.ones(N, bool)
    returns = np.zeros(N)
    for _ in range(T):
        actions, state = model.predict(observation, state, starts, deterministic=True)
        observation, rewards, starts, _ = env.step(actions)
        returns += rewards
    env.seed(7)
    whole = {"n_eval_episodes": N, "return_episode_rewards": True}
    got, lengths = evaluate_policy(model, VecMonitor(env), **whole)
    assert lengths == [T] * N
    np.testing.assert_allclose(sorted(got), sorted(returns), atol=1e-5)


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
    model = make_model(cue_env(num_steps=3))
    model.learn(3)
    model.set_env(DummyVecEnv([lambda: cue_env(num_steps=5)] * 1))
    model.learn(10)
    assert model.num_decisions == 5
    assert model.num_timesteps == 10


def test_a_file_holds_weights_and_optimizer_and_no_observations(trained, file):
    tensors = [*trained.policy.state_dict().values()]
    for state in trained.policy.optimizer.state_dict()["state"].values():
        tensors += [value for value in state.values() if torch.is_tensor(value)]
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert file.stat().st_size <= 1.1 * needed
    data, params, _ = load_from_zip_file(file, device="cpu")
    assert params.keys() == {"policy", "policy.optimizer"}
    for name, value in data.items():
        assert not isinstance(value, (np.ndarray, torch.Tensor)), name
    assert data.get("_last_obs") is None


def _weights(make_model, env, **settings):
    model = make_model(env, **settings)
    model.learn(2 * N * T)
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


def test_the_same_seed_gives_the_same_weights_to_the_bit_and_another_one_others(
    make_adapter, make_model
):
    settings = {"seed": 5, "episodes_per_row": 2, "batch_episodes": 2, "n_epochs": 2}
    one, other = (_weights(make_model, make_adapter(N), **settings) for _ in range(2))
    for name, value in one.items():
        assert torch.equal(value, other[name]), name

    other = _weights(make_model, make_adapter(N), **{**settings, "seed": 6})
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


def test_an_update_at_the_published_size(make_videos):
    """Maps of 1280x7x7, 16 steps, 49 actions, a GRU of 1024, real networks, random weights."""
    recognizer = Recognizer(RecognizerConfig(tuple(f"class {k}" for k in range(200))))
    videos = make_videos(1, num_classes=200, num_frames=16, frame_size=224)
    env = PatchLocalizationVectorEnv.from_parts(recognizer, videos, num_envs=1)
    model = GruPPO(env=Sb3VecEnvAdapter(env), seed=0, device="cpu")
    assert sum(parameter.numel() for parameter in model.policy.parameters()) == 7_996_466
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(16)
    assert model._n_updates == 1
    assert model.num_timesteps == 16
    for parameter, old in zip(model.policy.parameters(), before, strict=True):
        assert torch.isfinite(parameter).all()
        assert not torch.equal(parameter, old)
