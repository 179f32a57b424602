"""GruPPO in continuous locations: rollouts, updates, interruptions, learning."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor

from adafocus_env.envs import PatchLocalizationVectorEnv
from adafocus_env.seeding import Purpose, derive_episode_seed, episode_rng
from agents.evaluation import evaluate_agent
from agents.sb3.resume import restore_training_state, training_state
from agents.sb3.vec_env import Sb3VecEnvAdapter

N, T = 3, 4
# So wide that a third of the samples falls outside the frame.
WIDE = {"action_std": 0.5}


@pytest.mark.parametrize(("video_div", "batch_norm"), [(1, True), (2, False)], ids=str)
def test_stepping_equals_playing_where_a_decision_serves_several_frames(
    make_shift_recognizer,
    make_videos,
    make_model,
    pass_through,
    spy,
    assert_rollouts_equal,
    video_div,
    batch_norm,
):
    parts = make_shift_recognizer(), make_videos(num_frames=12, num_glance_frames=8)
    rules = {"num_envs": N, "locations": "continuous", "video_div": video_div}
    played, stepped = spy(), spy()
    for watcher in (played, stepped):
        env = Sb3VecEnvAdapter(PatchLocalizationVectorEnv.from_parts(*parts, **rules))
        env = env if watcher is played else pass_through(env)
        model = make_model(env, policy_kwargs={**WIDE, "batch_norm": batch_norm})
        model.learn(3 * N * video_div, callback=watcher)
    assert played.rollouts[0].actions.shape == (N, video_div, 2)
    assert_rollouts_equal(played, stepped, atol=1e-4)


class _Boxes(BaseCallback):
    """Keeps where the environment was told to look, whichever way the rollout is collected."""

    def __init__(self):
        super().__init__()
        self.boxes = []

    def _on_step(self):
        self.boxes.append(np.stack([info["patch_box"] for info in self.locals["infos"]]))
        return True


@pytest.mark.parametrize("way", ["play", "step"])
def test_the_buffer_keeps_the_samples_and_the_environment_gets_them_clipped(
    make_adapter, pass_through, make_model, spy, way
):
    watcher, looker = spy(), _Boxes()
    env = make_adapter(N, locations="continuous")
    model = make_model(env if way == "play" else pass_through(env), policy_kwargs={**WIDE})
    model.learn(N * T, callback=[watcher, looker])
    (rollout,) = watcher.rollouts
    outside = (rollout.actions < 0.0) | (rollout.actions > 1.0)
    assert 0 < outside.sum() < outside.numel()
    # The frame is 40 pixels wide and the patch 12.
    expected = (rollout.actions.clamp(0.0, 1.0) * 28).floor().long()
    assert np.stack(looker.boxes, axis=1)[..., :2].tolist() == expected.tolist()


@pytest.mark.parametrize("clip_log_probs", [False, True])
def test_the_buffers_log_probs_are_of_the_samples_or_as_published_of_the_clipped_ones(
    make_adapter, make_model, spy, clip_log_probs
):
    watcher, env = spy(), make_adapter(N, locations="continuous")
    policy_kwargs = {**WIDE, "clip_log_probs": clip_log_probs}
    model = make_model(env, learning_rate=0.0, policy_kwargs=policy_kwargs)
    model.learn(N * T, callback=watcher)
    (rollout,) = watcher.rollouts
    mean = model.policy.evaluate_episodes(rollout.observations)[0].best()
    # The uniforms are the same whichever the number of processes.
    uniforms = torch.rand(N, T, 2, generator=torch.Generator().manual_seed(0))
    drawn = mean + 0.5 * torch.special.ndtri(uniforms)
    torch.testing.assert_close(rollout.actions, drawn, rtol=0.0, atol=1e-5)
    counted = rollout.actions.clamp(0.0, 1.0) if clip_log_probs else rollout.actions
    # -log(std) - log(2 pi)/2 for each coordinate, and half the squared distance in deviations.
    expected = 2 * (np.log(2.0) - 0.9189385) - ((counted - mean) / 0.5).square().sum(dim=-1) / 2
    torch.testing.assert_close(rollout.old_log_probs, expected, rtol=0.0, atol=1e-5)


def test_predict_gives_the_mean_or_a_sample_inside_the_frame(make_policy):
    policy = make_policy(actions=None, action_std=2.0)
    observations = np.full((64, 3, 2, 2), 3.0, np.float32)
    best, state = policy.predict(observations, deterministic=True)
    assert best.shape == (64, 2)
    mean = policy.evaluate_episodes(torch.from_numpy(observations)[:, None])[0].best()
    np.testing.assert_allclose(best, mean[:, 0].detach(), atol=1e-6)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn, _ = policy.predict(observations)
    assert all(policy.action_space.contains(action) for action in drawn)
    assert (drawn == 0.0).any()
    assert (drawn == 1.0).any()
    one, _ = policy.predict(observations[0], (state[0][:1],), np.array([True]), deterministic=True)
    np.testing.assert_allclose(one, best[0], atol=1e-6)


def test_evaluation_draws_inside_the_frame_by_the_episodes_uniforms(make_vector_env, make_policy):
    env = make_vector_env(2, locations="continuous", autoreset_mode="disabled")
    policy = make_policy(shape=env.single_observation_space.shape, actions=None, **WIDE)
    evaluation = evaluate_agent(env, policy, deterministic=False)
    assert evaluation.actions.shape == (5, T, 2)
    assert 0.0 == evaluation.actions.min() < evaluation.actions.max() == 1.0
    for video in range(5):
        seed = derive_episode_seed(0, video, 0)
        env.reset(options={"video_index": video, "episode_seed": seed})
        with torch.no_grad():
            mean = policy.evaluate_episodes(env.observe_episode()[:1])[0].best()[0]
        uniforms = episode_rng(seed, Purpose.ACTION).random((T, 2), dtype=np.float32)
        expected = mean + 0.5 * torch.special.ndtri(torch.from_numpy(uniforms))
        np.testing.assert_allclose(evaluation.actions[video], expected.clamp(0, 1), atol=1e-5)


@pytest.mark.parametrize(("locations", "batch_norm"), [("grid", False), ("continuous", True)])
def test_an_interrupted_run_ends_with_the_weights_of_one_that_was_not(
    make_adapter, make_model, locations, batch_norm
):
    def new():
        env = VecMonitor(make_adapter(N, locations=locations))
        return make_model(env, policy_kwargs={"batch_norm": batch_norm})

    whole = new().learn(4 * N * T)
    first = new().learn(2 * N * T)
    resumed = new()
    restore_training_state(resumed, training_state(first))
    resumed.learn(2 * N * T, reset_num_timesteps=False)
    expected = whole.policy.state_dict()
    assert batch_norm == ("encoder.linear.2.running_mean" in expected)
    for name, value in resumed.policy.state_dict().items():
        assert torch.equal(value, expected[name]), name
