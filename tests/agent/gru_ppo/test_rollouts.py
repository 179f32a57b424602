"""Rollouts of GruPPO: played at once or stepped, logged, scheduled, watched by callbacks."""

from itertools import chain

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CheckpointCallback,
    EvalCallback,
)
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from agents.sb3.vec_env import Sb3VecEnvAdapter, playable

N, T = 3, 4
WIDE = {"action_std": 0.5}  # so that a third of the samples falls outside the frame
SCALED = {"standardize": True}
WAYS = ["play", "step"]


@pytest.fixture
def make_way(make_adapter, pass_through, tmp_path):
    """The environment such that `GruPPO` plays it, or has to step."""

    def make(way, num_envs=N, **rules):
        adapter = make_adapter(num_envs, **rules)
        if way == "monitor file":
            return VecMonitor(adapter, filename=str(tmp_path / "episodes"))
        return VecMonitor(adapter) if way == "play" else pass_through(VecMonitor(adapter))

    return make


@pytest.mark.parametrize(
    ("rules", "settings"),
    [
        ({}, {"shuffle_videos": False}),
        ({"observation": "vector"}, {}),
        ({}, {"shuffle_videos": False, "episodes_per_row": 2, "policy_kwargs": SCALED}),
        ({"locations": "continuous"}, {"policy_kwargs": WIDE}),
        ({"locations": "continuous"}, {"episodes_per_row": 2, "policy_kwargs": WIDE}),
    ],
    ids=["own order", "vectors", "two episodes a row", "continuous", "two continuous episodes"],
)
def test_stepping_gives_the_rollouts_and_weights_of_playing(
    make_way, make_model, spy, assert_rollouts_equal, rules, settings
):
    played, stepped = spy(), spy()
    for way, watcher in (("play", played), ("step", stepped)):
        model = make_model(make_way(way, **rules), **settings)
        model.learn(3 * N * T * settings.get("episodes_per_row", 1), callback=watcher)
    assert played.videos == stepped.videos
    assert len(played.rollouts) == 3
    assert_rollouts_equal(played, stepped, atol=1e-5)
    for name, value in played.weights[-1].items():
        torch.testing.assert_close(value, stepped.weights[-1][name], rtol=0.0, atol=1e-4)


def test_rollouts_have_the_environments_observations_and_rewards_whatever_torchs_generator_is(
    make_way, make_model, make_adapter, spy
):
    watcher = spy()
    make_model(make_way("play"), shuffle_videos=False).learn(N * T, callback=watcher)
    (rollout,) = watcher.rollouts
    twin = make_adapter(N)
    twin.seed(0)
    observation = twin.reset()
    for t in range(T):
        np.testing.assert_allclose(rollout.observations[:, t], observation, atol=1e-5)
        observation, rewards, dones, _ = twin.step(rollout.actions[:, t].numpy())
        np.testing.assert_allclose(rollout.rewards[:, t], rewards, atol=1e-5)
    assert dones.all()
    again = spy()
    model = make_model(make_way("play"), shuffle_videos=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model.learn(N * T, callback=again)
    assert torch.equal(again.rollouts[0].actions, rollout.actions)


def test_episodes_are_played_where_nothing_but_plain_monitors_lie_between_and_stepped_elsewhere(
    make_adapter, pass_through, cue_env, tmp_path
):
    adapter = make_adapter(2)
    for env in (adapter, VecMonitor(adapter), VecMonitor(VecMonitor(adapter))):
        assert playable(env) is adapter
    assert playable(VecMonitor(adapter, filename=str(tmp_path / "m"))) is None
    assert playable(pass_through(adapter)) is None
    assert playable(VecMonitor(pass_through(adapter))) is None
    assert playable(pass_through(VecMonitor(adapter))) is None
    rows = SyncVectorEnv([cue_env] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    assert playable(VecMonitor(Sb3VecEnvAdapter(rows))) is None
    assert playable(DummyVecEnv([cue_env])) is None


@pytest.mark.parametrize("way", [*WAYS, "monitor file"])
def test_mean_return_length_and_success_of_the_episodes_are_logged(
    make_way, make_model, spy, record, tmp_path, way
):
    env, watcher = make_way(way), spy()
    model = make_model(env)
    dumps = record(model)
    model.learn(2 * N * T, callback=watcher)
    assert len(dumps) == 2
    returns = torch.cat([rollout.rewards.sum(dim=1) for rollout in watcher.rollouts])
    for number, dump in enumerate(dumps, start=1):
        expected = returns[: number * N].mean().item()
        assert dump["rollout/ep_rew_mean"] == pytest.approx(expected, abs=1e-5)
        assert dump["rollout/ep_len_mean"] == T
        assert dump["time/total_timesteps"] == number * N * T
    assert {"train/loss", "train/entropy", "rollout/success_rate"} <= dumps[1].keys()
    assert dumps[1]["rollout/reward_mean"] == pytest.approx(returns[:N].mean().item() / T, abs=1e-5)
    if way == "monitor file":  # has a line for every episode
        env.close()
        _, _, *lines = (tmp_path / "episodes.monitor.csv").read_text().splitlines()
        written = [float(line.split(",")[0]) for line in lines]
        np.testing.assert_allclose(written, returns, atol=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_videos_of_an_epoch_go_on_where_learning_goes_on_in_the_order_of_the_seed(
    make_way, make_model, make_videos, spy, way
):
    shown = []
    for seed in (0, 0, 1):
        watcher = spy()
        model = make_model(make_way(way, videos=make_videos(9)), seed=seed)
        for rollout in range(3):
            model.learn(N * T, callback=watcher, reset_num_timesteps=rollout == 0)
        assert sorted(chain.from_iterable(watcher.videos)) == list(range(9))
        shown.append(watcher.videos)
    assert shown[0] == shown[1] != shown[2]


class _StopAt(BaseCallback):
    def __init__(self, call):
        super().__init__()
        self._call = call
        self.ended = False

    def _on_step(self):
        return self.n_calls < self._call

    def _on_training_end(self):
        self.ended = True


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("call", "updates"), [(1, 0), (T, 0), (T + 2, 1)])
def test_a_callback_can_stop_training(make_way, make_model, way, call, updates):
    model, stop = make_model(make_way(way)), _StopAt(call)
    model.learn(10 * N * T, callback=stop)
    assert model.num_timesteps == call * N
    assert model._n_updates == updates
    assert stop.ended
    # Learning goes on after that.
    model.learn(N * T, reset_num_timesteps=False)
    assert model._n_updates == updates + 1


class _Shown(BaseCallback):
    """Keeps what GruPPO's callbacks are promised at each step."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def _on_rollout_start(self):
        self.locals.clear()  # what SB3 shows before

    def _on_step(self):
        self.steps.append({**self.locals, "infos": [dict(i) for i in self.locals["infos"]]})
        return True


@pytest.mark.parametrize("rules", [{}, {"locations": "skip", "skip_cost": 0.05}], ids=str)
def test_callbacks_see_rewards_ends_and_infos_of_each_step_and_nothing_else_either_way(
    make_way, make_model, spy, rules
):
    infos = []
    for way in WAYS:
        watcher, shown = spy(), _Shown()
        model = make_model(make_way(way, **rules)).learn(2 * N * T, callback=[watcher, shown])
        assert (watcher.calls, watcher.steps_before_rollouts) == (2 * T, [0, N * T])
        assert model.num_timesteps == 2 * N * T
        rewards = torch.cat([rollout.rewards for rollout in watcher.rollouts], dim=1).T
        for t, step in enumerate(shown.steps):
            assert set(step) == {"rewards", "dones", "infos"}
            np.testing.assert_allclose(step["rewards"], rewards[t], atol=1e-6)
            last = [t % T == T - 1] * N
            assert step["dones"].tolist() == last
            for name in ("episode", "is_success"):
                assert [name in info for info in step["infos"]] == last
        infos.append([info for step in shown.steps for info in step["infos"]])
    for one, other in zip(*infos, strict=True):
        sb3s = {"terminal_observation", "TimeLimit.truncated"} if "episode" in one else set()
        assert set(one) == set(other) - sb3s
        for name in set(one) - {"episode"}:  # the time in it differs
            assert type(one[name]) is type(other[name])
            np.testing.assert_allclose(one[name], other[name], atol=1e-5)


@pytest.mark.filterwarnings("ignore:Training and eval env are not of the same type")
def test_sb3s_callbacks_evaluate_and_save(make_way, make_model, make_adapter, tmp_path):
    evaluate = EvalCallback(
        VecMonitor(make_adapter(2)), n_eval_episodes=2, eval_freq=T, verbose=0, warn=False
    )
    save = CheckpointCallback(save_freq=T, save_path=str(tmp_path / "models"))
    make_model(make_way("play")).learn(2 * N * T, callback=[evaluate, save])
    assert np.isfinite(evaluate.last_mean_reward)
    names = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert names == [f"rl_model_{steps}_steps.zip" for steps in (N * T, 2 * N * T)]


def test_it_learns_in_whole_rollouts_also_on_normalised_observations_and_rewards(
    make_adapter, make_model, spy
):
    watcher = spy()
    model = make_model(VecNormalize(make_adapter(N)), episodes_per_row=2)
    model.learn(1, callback=watcher)
    assert model.num_timesteps == 2 * N * T
    assert model._n_updates == 1
    assert {rollout.rewards.dtype for rollout in watcher.rollouts} == {torch.float32}


def test_learning_changes_no_bit_of_the_recognizer(make_way, make_model, tiny_recognizer):
    before = tiny_recognizer.fingerprint()
    for way in ("play", "step"):
        make_model(make_way(way), learning_rate=0.1).learn(2 * N * T)
    assert tiny_recognizer.fingerprint() == before
    assert all(parameter.grad is None for parameter in tiny_recognizer.parameters())
    assert not any(module.training for module in tiny_recognizer.modules())
