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
    StopTrainingOnMaxEpisodes,
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


def test_a_monitor_file_has_a_line_for_every_episode(make_way, make_model, tmp_path, spy):
    env, watcher = make_way("monitor file"), spy()
    make_model(env).learn(2 * N * T, callback=watcher)
    env.close()
    _, header, *lines = (tmp_path / "episodes.monitor.csv").read_text().splitlines()
    returns = torch.cat([rollout.rewards.sum(dim=1) for rollout in watcher.rollouts])
    assert header.split(",")[:2] == ["r", "l"]
    assert [line.split(",")[1] for line in lines] == [str(T)] * (2 * N)
    written = [float(line.split(",")[0]) for line in lines]
    np.testing.assert_allclose(written, returns, atol=1e-4)


@pytest.mark.parametrize("way", [*WAYS, "monitor file"])
def test_mean_return_length_and_success_of_the_episodes_are_logged(
    make_way, make_model, spy, record, way
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
    assert {"train/loss", "train/entropy", "rollout/reward_mean"} <= dumps[1].keys()
    assert dumps[1]["rollout/reward_mean"] == pytest.approx(returns[:N].mean().item() / T, abs=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_the_success_rate_is_the_share_of_episodes_that_end_with_the_right_class(
    make_way, make_model, make_videos, record, way
):
    # Every video says class 1, so all rows that are recognised rightly are those predicted as 1.
    env = make_way(way, videos=make_videos(5, labels=[1] * 5), reward="conf")
    model = make_model(env, shuffle_videos=False)
    dumps = record(model)
    watcher = _Predictions()
    model.learn(N * T, callback=watcher)
    assert dumps[0]["rollout/success_rate"] == pytest.approx(np.mean(watcher.last == 1))


class _Predictions(BaseCallback):
    """Keeps the last predicted class of each row, whichever way the rollout is collected."""

    def _on_step(self):
        self.last = np.array([info["predicted_label"] for info in self.locals["infos"]])
        return True


def test_a_plain_environment_logs_through_sb3s_own_monitor(cue_env, make_model, record):
    model = make_model(cue_env(fixed=2))
    dumps = record(model)
    model.learn(9)
    assert [dump["rollout/ep_len_mean"] for dump in dumps] == [3.0, 3.0, 3.0]


def test_every_video_is_shown_once_an_epoch_over_all_rows(make_way, make_model, make_videos, spy):
    watcher = spy()
    model = make_model(make_way("play", videos=make_videos(7)))
    model.learn(6 * N * T, callback=watcher)  # two batches of three an epoch, one video left out
    epochs = [[*watcher.videos[i], *watcher.videos[i + 1]] for i in (0, 2, 4)]
    for epoch in epochs:
        assert len(set(epoch)) == 6
    assert epochs[0] != epochs[1]


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


def test_without_shuffling_rows_walk_through_the_split_by_themselves(
    make_way, make_model, make_videos, spy
):
    watcher = spy()
    model = make_model(make_way("play", videos=make_videos(4)), shuffle_videos=False)
    model.learn(4 * N * T, callback=watcher)
    for row in range(N):
        assert sorted(videos[row] for videos in watcher.videos) == [0, 1, 2, 3]


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


class _Locals(BaseCallback):
    """Keeps what SB3 lets callbacks see at each step."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def _on_step(self):
        infos = self.locals["infos"]
        flags = [[name in info for info in infos] for name in ("episode", "is_success")]
        self.seen.append((self.locals["dones"].tolist(), self.locals["rewards"].tolist(), *flags))
        return True


@pytest.mark.parametrize("way", WAYS)
def test_callbacks_see_rewards_ends_and_infos_of_each_step(make_way, make_model, spy, way):
    watcher, looker = spy(), _Locals()
    model = make_model(make_way(way)).learn(2 * N * T, callback=[watcher, looker])
    assert watcher.calls == 2 * T
    assert watcher.steps_before_rollouts == [0, N * T]
    assert model.num_timesteps == 2 * N * T
    rewards = torch.cat([rollout.rewards for rollout in watcher.rollouts], dim=1).T
    for t, (dones, seen_rewards, episodes, successes) in enumerate(looker.seen):
        last = [t % T == T - 1] * N
        assert dones == episodes == successes == last
        np.testing.assert_allclose(seen_rewards, rewards[t], atol=1e-6)
    assert len(looker.seen) == 2 * T


class _Shown(BaseCallback):
    """Keeps the names and infos that GruPPO's callbacks are promised at each step."""

    def __init__(self):
        super().__init__()
        self.names = set()
        self.infos = []

    def _on_rollout_start(self):
        self.locals.clear()  # what SB3 shows before

    def _on_step(self):
        self.names |= set(self.locals)
        self.infos.append([dict(info) for info in self.locals["infos"]])
        return True


@pytest.mark.parametrize("rules", [{}, {"locations": "skip", "skip_cost": 0.05}], ids=str)
def test_callbacks_depend_on_no_other_names_and_see_the_same_infos_either_way(
    make_way, make_model, rules
):
    played, stepped = _Shown(), _Shown()
    for way, shown in (("play", played), ("step", stepped)):
        make_model(make_way(way, **rules)).learn(2 * N * T, callback=shown)
        assert shown.names == {"rewards", "dones", "infos"}
    for one, other in zip(chain(*played.infos), chain(*stepped.infos), strict=True):
        sb3s = {"terminal_observation", "TimeLimit.truncated"} if "episode" in one else set()
        assert set(one) == set(other) - sb3s
        for name in set(one) - {"episode"}:  # the time in it differs
            assert type(one[name]) is type(other[name])
            np.testing.assert_allclose(one[name], other[name], atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_sb3s_callback_can_end_training_after_some_episodes(make_way, make_model, way):
    model = make_model(make_way(way))
    model.learn(10 * N * T, callback=StopTrainingOnMaxEpisodes(max_episodes=2))
    assert model.num_timesteps == 2 * N * T  # two episodes in every row


@pytest.mark.filterwarnings("ignore:Training and eval env are not of the same type")
@pytest.mark.parametrize("way", WAYS)
def test_sb3s_callbacks_evaluate_and_save(make_way, make_model, make_adapter, tmp_path, way):
    evaluate = EvalCallback(
        VecMonitor(make_adapter(2)), n_eval_episodes=2, eval_freq=T, verbose=0, warn=False
    )
    save = CheckpointCallback(save_freq=T, save_path=str(tmp_path / "models"))
    make_model(make_way(way)).learn(2 * N * T, callback=[evaluate, save])
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
