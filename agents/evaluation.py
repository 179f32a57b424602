"""Evaluation: every video of a split, whatever the batch size; per video and per step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.policies import BasePolicy

from adafocus_env.data import Videos
from adafocus_env.envs import EpisodeResult, PatchLocalizationVectorEnv
from adafocus_env.features import EpisodeStart
from adafocus_env.seeding import Purpose, derive_episode_seed, episode_rng
from agents.acting import act_on_episodes, look_at, seen_by
from agents.baselines import Agent, Oracle, RandomOffsets, SeededAgent, State
from agents.gru_policy import GruActorCriticPolicy

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Evaluation:
    """E = videos x draws episodes: the videos in the order asked for, the draws of each together.

    Attributes:
        video_index: `(E,)`.
        draw: `(E,)`, 0-based.
        label: `(E,)`.
        actions: `(E, T)` or `(E, T, 2)`; for `RandomOffsets` and for policies of another kind of
            locations than the environment's, the offsets.
        rewards: `(E, T)`.
        confidences: `(E, T)` of the true class.
        logits: `(E, T, K)`.
        boxes: `(E, T, 4)` int64 (top, left, height, width) in pixels.
    """

    video_index: npt.NDArray[np.int64]
    draw: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    actions: npt.NDArray[np.generic]
    rewards: npt.NDArray[np.float64]
    confidences: npt.NDArray[np.float64]
    logits: npt.NDArray[np.float32]
    boxes: npt.NDArray[np.int64]

    @property
    def num_videos(self) -> int:
        """V."""
        return len(np.unique(self.video_index))

    def correct(self) -> npt.NDArray[np.bool_]:
        """`(E, T)`, whether the largest logit is the true class after each step."""
        hits: npt.NDArray[np.bool_] = self.logits.argmax(axis=2) == self.label[:, None]
        return hits

    def per_video(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        """Mean over the draws: `(E, ...)` to `(V, ...)`."""
        by_video = values.reshape(self.num_videos, -1, *values.shape[1:])
        mean: npt.NDArray[np.float64] = by_video.mean(axis=1, dtype=np.float64)
        return mean


def evaluate_agent(
    env: PatchLocalizationVectorEnv,
    agent: Agent | RandomOffsets,
    *,
    seed: int = 0,
    draws: int = 1,
    deterministic: bool = True,
    videos: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Let an agent look at every video of the environment's split.

    What is drawn, also the actions of a `GruActorCriticPolicy` that is not asked for its best ones,
    belongs to `(seed, video, draw)`: neither the batch size nor the choice of videos changes it.
    Other agents that draw without being a `SeededAgent` use generators of their own.

    Args:
        env: made with `autoreset_mode="disabled"`; its rows are the batch. `reward="conf"` saves
            the reward baseline's patches where rewards are not wanted.
        agent: anything with SB3's `predict`, or `RandomOffsets`.
        seed: with a video's index and the draw it gives the episode's seed.
        draws: episodes of each video; more than one makes sense for chance only.
        deterministic: ask the agent for its best action.
        videos: indices of some videos of the split, each once; None takes all in order.
        progress: called with the number of episodes done in each batch.

    Raises:
        ValueError: the environment resets by itself, no draw or video is asked for, or a video
            twice.
    """
    # An algorithm of SB3 acts with its policy.
    policy: Any = getattr(agent, "policy", agent)
    foreign = isinstance(policy, BasePolicy) and policy.action_space != env.single_action_space
    at_offsets = foreign or isinstance(agent, RandomOffsets)

    def choose(seeds: npt.NDArray[np.uint64]) -> npt.NDArray[np.generic]:
        if isinstance(agent, RandomOffsets):
            return np.stack([agent.offsets(int(value)) for value in seeds])
        if isinstance(policy, GruActorCriticPolicy):
            actions = _choose_whole_episodes(env, policy, seeds, deterministic)
            return _offsets(env, policy.action_space, actions) if foreign else actions
        if isinstance(agent, SeededAgent):
            agent.begin_episodes([int(value) for value in seeds])
        actions = _choose_actions(env, policy, deterministic)
        return _offsets(env, policy.action_space, actions) if foreign else actions

    chosen = range(env.num_videos) if videos is None else videos
    return _run(
        env,
        choose,
        seed=seed,
        draws=draws,
        videos=chosen,
        at_offsets=at_offsets,
        progress=progress,
    )


def replay_actions(
    env: PatchLocalizationVectorEnv,
    evaluation: Evaluation,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """The same looks judged by another recognizer.

    Args:
        env: the split with the other recognizer, made with `autoreset_mode="disabled"`.
        evaluation: whose actions to repeat.
        seed: as the evaluation's.
        progress: as in `evaluate_agent`.
    """
    draws = len(evaluation.actions) // evaluation.num_videos
    videos = evaluation.video_index[::draws].tolist()
    position = 0

    def choose(seeds: npt.NDArray[np.uint64]) -> npt.NDArray[np.generic]:
        nonlocal position
        rows = np.minimum(np.arange(position, position + len(seeds)), len(evaluation.actions) - 1)
        position += len(seeds)
        return evaluation.actions[rows]

    at_offsets = evaluation.actions.ndim == 3 and evaluation.actions.dtype.kind == "i"
    return _run(
        env,
        choose,
        seed=seed,
        draws=draws,
        videos=videos,
        at_offsets=at_offsets,
        progress=progress,
    )


def on_target(evaluation: Evaluation, videos: Videos) -> npt.NDArray[np.bool_] | None:
    """`(E, T)`, whether the target's centre is inside the patch; None where it is not known.

    T counts frames: a decision that serves several has its patch in each of them.
    """
    centers: dict[int, npt.NDArray[np.float32]] = {}
    for index in np.unique(evaluation.video_index).tolist():
        center = videos.target_centers(index)
        if center is None:
            return None
        centers[index] = center
    target = np.stack([centers[index] for index in evaluation.video_index.tolist()])
    boxes = evaluation.boxes.repeat(target.shape[1] // evaluation.boxes.shape[1], axis=1)
    top_left, size = boxes[..., :2], boxes[..., 2:]
    inside = (target >= top_left) & (target < top_left + size)
    hits: npt.NDArray[np.bool_] = np.asarray(inside.all(axis=2))
    return hits


def _run(
    env: PatchLocalizationVectorEnv,
    choose: Callable[[npt.NDArray[np.uint64]], npt.NDArray[np.generic]],
    *,
    seed: int,
    draws: int,
    videos: Sequence[int],
    at_offsets: bool = False,
    progress: Progress | None,
) -> Evaluation:
    if env.autoreset_mode != AutoresetMode.DISABLED:
        raise ValueError("evaluation needs an environment made with autoreset_mode='disabled'")
    if draws < 1:
        raise ValueError(f"at least one draw is needed, got {draws}")
    if not videos or len(set(videos)) < len(videos):
        raise ValueError(f"videos must name some, each once, got {list(videos)}")
    episodes = [(int(video), draw) for video in videos for draw in range(draws)]
    parts = []
    for first in range(0, len(episodes), env.num_envs):
        batch, following = (
            episodes[at : at + env.num_envs] for at in (first, first + env.num_envs)
        )
        count = len(batch)
        batch += batch[-1:] * (env.num_envs - count)  # fill the last batch, drop the fill below
        seeds = np.array([derive_episode_seed(seed, *pair) for pair in batch], dtype=np.uint64)
        options = {"video_index": np.array([video for video, _ in batch]), "episode_seed": seeds}
        env.reset(seed=seed, options=options)
        env.core.prefetch(
            [EpisodeStart(pair[0], derive_episode_seed(seed, *pair)) for pair in following]
        )
        actions = choose(seeds)
        if bool(env.core.steps.any()):  # an agent that had to step has used the episode up
            env.reset(seed=seed, options=options)
        result = env.play(offsets=torch.as_tensor(actions)) if at_offsets else env.play(actions)
        parts.append(_collect(result, actions, batch, count))
        if progress is not None:
            progress(count)
    joined = {
        f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Evaluation)
    }
    return Evaluation(**joined)


def _collect(
    result: EpisodeResult,
    actions: npt.NDArray[np.generic],
    batch: list[tuple[int, int]],
    count: int,
) -> Evaluation:
    pairs = np.array(batch, dtype=np.int64)[:count]
    return Evaluation(
        video_index=pairs[:, 0],
        draw=pairs[:, 1],
        label=result.infos["label"][:count, 0],
        actions=actions[:count],
        rewards=result.rewards.double().cpu().numpy()[:count],
        confidences=result.infos["confidence"][:count],
        logits=result.logits.cpu().numpy()[:count],
        boxes=result.infos["patch_box"][:count],
    )


def _choose_actions(
    env: PatchLocalizationVectorEnv, agent: Agent, deterministic: bool
) -> npt.NDArray[np.generic]:
    """`(N, T)` actions; only an agent that watches the core needs the steps to be taken."""
    if not isinstance(agent, Oracle):
        return act_on_episodes(agent, env.observe_episode(), deterministic=deterministic)
    state: State = None
    starts = np.ones(env.num_envs, dtype=np.bool_)
    actions = []
    for _ in range(env.num_decisions):
        seen = env.core.observe().cpu().numpy()
        action, state = agent.predict(seen, state, starts, deterministic)
        env.core.transition(torch.as_tensor(action))
        starts = np.zeros_like(starts)
        actions.append(action)
    return np.stack(actions, axis=1)


def _offsets(
    env: PatchLocalizationVectorEnv, action_space: spaces.Space[Any], actions: npt.ArrayLike
) -> npt.NDArray[np.generic]:
    source = env.core.source
    sizes = {"frame_size": source.frame_size, "patch_size": source.patch_size}
    return look_at(action_space, actions, env.core.grid, **sizes).numpy()


@torch.no_grad()
def _choose_whole_episodes(
    env: PatchLocalizationVectorEnv,
    policy: GruActorCriticPolicy,
    seeds: npt.NDArray[np.uint64],
    deterministic: bool,
) -> npt.NDArray[np.generic]:
    """`(N, T)` or `(N, T, 2)` actions of one pass of the policy over whole episodes."""
    policy.set_training_mode(False)
    distribution, _ = policy.evaluate_episodes(
        seen_by(policy, env.observe_episode()).to(policy.device)
    )
    if deterministic:
        return np.asarray(distribution.best().cpu())
    shape = (env.num_decisions, *policy.head.uniform_shape)
    # Drawn as float32: rounded to it, the largest float64 would be 1.
    uniforms = [episode_rng(int(s), Purpose.ACTION).random(shape, dtype=np.float32) for s in seeds]
    drawn = distribution.draw(torch.from_numpy(np.stack(uniforms)).to(policy.device))
    return np.asarray(policy.head.within_bounds(drawn).cpu())
