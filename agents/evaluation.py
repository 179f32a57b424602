"""Evaluation: every video of a split, whatever the batch size; per video and per step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy  # whose parts are imported where they are used first
import torch
from gymnasium.vector import AutoresetMode

from adafocus_env.data import Videos
from adafocus_env.envs import (
    ActiveVisionVectorEnv,
    EpisodeResult,
    PatchChoice,
    PatchLocalizationVectorEnv,
)
from adafocus_env.features import EpisodeStart
from adafocus_env.seeding import derive_episode_seed
from agents.baselines.blind_skipping import BlindSkipping
from agents.baselines.simple import Agent, RandomOffsets
from agents.baselines.stopping import UntilSure
from agents.loops import LoopActing, run_choices
from agents.rollout import Acting, Chosen

Progress = Callable[[int], None]
VectorEnvironment: TypeAlias = PatchLocalizationVectorEnv | ActiveVisionVectorEnv
# From the seeds of episodes that have just begun to their actions, and what they brought.
Judge = Callable[[npt.NDArray[np.uint64]], tuple[npt.NDArray[np.generic], EpisodeResult]]


@dataclass(frozen=True)
class Evaluation:
    """E = videos x draws episodes: the videos in the order asked for, the draws of each together.

    Attributes:
        video_index: `(E,)`.
        draw: `(E,)`, 0-based.
        label: `(E,)`.
        actions: `(E, T)` or `(E, T, 2)`; for agents that do not act in the environment's own
            action space, the offsets of their looks.
        rewards: `(E, T)`.
        confidences: `(E, T)` of the true class.
        logits: `(E, T, K)`.
        boxes: `(E, T, 4)` int64 (top, left, height, width) in pixels; zeros in skipped frames.
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

    def log_likelihoods(self) -> npt.NDArray[np.float64]:
        """`(E, T)`, log-probability of the true class after each step, in nats."""
        return log_likelihoods(self.logits, self.label[:, None])

    def focused(self) -> npt.NDArray[np.bool_]:
        """`(E, T)`, whether the frame was focused on."""
        looked_at: npt.NDArray[np.bool_] = self.boxes[..., 2] > 0
        return looked_at

    def per_video(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        """Mean over the draws: `(E, ...)` to `(V, ...)`."""
        by_video = values.reshape(self.num_videos, -1, *values.shape[1:])
        mean: npt.NDArray[np.float64] = by_video.mean(axis=1, dtype=np.float64)
        return mean


def evaluate_agent(
    env: VectorEnvironment,
    agent: Agent | RandomOffsets | BlindSkipping | UntilSure,
    *,
    seed: int = 0,
    draws: int = 1,
    deterministic: bool = True,
    skip_cost: float | None = None,
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
        agent: anything with SB3's `predict`, `RandomOffsets`, or `BlindSkipping` or, in closed
            loops, `UntilSure` of another agent.
        seed: with a video's index and the draw it gives the episode's seed.
        draws: episodes of each video; more than one makes sense for chance only.
        deterministic: ask the agent for its best action.
        skip_cost: price of a look, for policies that were trained at random ones, and for rewards
            where the environment's actions skip. None: the environment's.
        videos: indices of some videos of the split, each once; None takes all in order.
        progress: called with the number of episodes done in each batch.

    Raises:
        ValueError: the environment resets by itself, no draw or video is asked for, a video twice,
            or the agent must know a cost.
    """
    _check_environment(env)
    chosen = range(env.num_videos) if videos is None else videos
    judge: Judge
    if isinstance(env, ActiveVisionVectorEnv):
        judge = LoopActing(env, agent, deterministic=deterministic).run
    elif isinstance(agent, UntilSure):
        raise ValueError("until ends episodes of closed loops; use env=active, or leave it out")
    else:
        acting = Acting(env, agent, deterministic=deterministic, skip_cost=skip_cost)
        judge = _played(env, acting.choose)
    return _run(
        env,
        judge,
        seed=seed,
        draws=draws,
        videos=chosen,
        skip_cost=skip_cost,
        progress=progress,
    )


def replay_actions(
    env: VectorEnvironment,
    evaluation: Evaluation,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """The same looks judged by another recognizer.

    Args:
        env: the split with the other recognizer, made with `autoreset_mode="disabled"`.
        evaluation: whose looks to repeat.
        seed: as the evaluation's.
        progress: as in `evaluate_agent`.
    """
    _check_environment(env)
    count = len(evaluation.boxes)
    draws = count // evaluation.num_videos
    videos = evaluation.video_index[::draws].tolist()
    position = 0

    def judge(seeds: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.generic], EpisodeResult]:
        nonlocal position
        rows = np.minimum(np.arange(position, position + len(seeds)), count - 1)
        position += len(seeds)
        offsets = torch.from_numpy(evaluation.boxes[rows, :, :2])
        focused = torch.from_numpy(evaluation.focused()[rows])
        if isinstance(env, ActiveVisionVectorEnv):
            result: EpisodeResult = run_choices(env, PatchChoice(offsets, focused))
        else:
            result = env.play(offsets=offsets, focused=focused)
        return evaluation.actions[rows], result

    return _run(env, judge, seed=seed, draws=draws, videos=videos, progress=progress)


def log_likelihoods(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Log-probability of the labels, in nats: `(..., K)` and what broadcasts to `(...)`."""
    log_probs = scipy.special.log_softmax(logits.astype(np.float64), axis=-1)
    index = np.broadcast_to(labels, log_probs.shape[:-1])[..., None]
    found: npt.NDArray[np.float64] = np.take_along_axis(log_probs, index, axis=-1)[..., 0]
    return found


def concatenated(parts: Sequence[Evaluation]) -> Evaluation:
    """The episodes of several evaluations, one after the other."""
    names = [item.name for item in fields(Evaluation)]
    return Evaluation(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})


def on_target(evaluation: Evaluation, videos: Videos) -> npt.NDArray[np.bool_] | None:
    """`(E, T)`, whether the target's centre is inside the patch; None where it is not known.

    T counts frames: a decision that serves several has its patch in each of them. Of several looks
    at a frame each counts.
    """
    centers: dict[int, npt.NDArray[np.float32]] = {}
    for index in np.unique(evaluation.video_index).tolist():
        center = videos.target_centers(index)
        if center is None:
            return None
        centers[index] = center
    target = np.stack([centers[index] for index in evaluation.video_index.tolist()])
    frames, decisions = target.shape[1], evaluation.boxes.shape[1]
    target = target.repeat(max(1, decisions // frames), axis=1)
    boxes = evaluation.boxes.repeat(max(1, frames // decisions), axis=1)
    top_left, size = boxes[..., :2], boxes[..., 2:]
    inside = (target >= top_left) & (target < top_left + size)
    hits: npt.NDArray[np.bool_] = np.asarray(inside.all(axis=2))
    return hits


def _check_environment(env: VectorEnvironment) -> None:
    if getattr(env, "autoreset_mode", None) != AutoresetMode.DISABLED:
        raise ValueError(
            "evaluation needs an environment made with gymnasium.make_vec(ID, num_envs=N, "
            "autoreset_mode='disabled').unwrapped"
        )


def _played(
    env: PatchLocalizationVectorEnv, choose: Callable[[npt.NDArray[np.uint64]], Chosen]
) -> Judge:
    """Play the episodes just begun by what is chosen in them."""

    def judge(seeds: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.generic], EpisodeResult]:
        states = env.core.starts, env.core.skip_costs.tolist()
        chosen = choose(seeds)
        if bool(env.core.steps.any()):  # an agent that had to step has used the episode up
            starts = [start for start in states[0] if start is not None]
            env.core.reset_rows(range(env.num_envs), starts, states[1])
        result = env.play(offsets=chosen.choice.offsets, focused=chosen.choice.focused)
        return chosen.actions, result

    return judge


def _run(
    env: VectorEnvironment,
    judge: Judge,
    *,
    seed: int,
    draws: int,
    videos: Sequence[int],
    skip_cost: float | None = None,
    progress: Progress | None,
) -> Evaluation:
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
        options: dict[str, Any] = {
            "video_index": np.array([video for video, _ in batch]),
            "episode_seed": seeds,
        }
        if skip_cost is not None and env.core.can_skip:
            options["skip_cost"] = skip_cost
        env.reset(seed=seed, options=options)
        env.core.features.prefetch(
            [EpisodeStart(pair[0], derive_episode_seed(seed, *pair)) for pair in following]
        )
        actions, result = judge(seeds)
        parts.append(_collect(result, actions, batch, count))
        if progress is not None:
            progress(count)
    return concatenated(parts)


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
