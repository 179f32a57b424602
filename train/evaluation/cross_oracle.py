"""cross_oracle: what looks are worth that one classifier chooses and another one judges.

An oracle that knows the label and is judged by the classifier that it asked finds noise: a position
whose features this classifier happens to like. Two classifiers of two halves of the training groups
share what the classes really look like, and no noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agents.baselines.oracles import GreedyOracle
from agents.baselines.simple import Agent, RandomAgent
from agents.evaluation import Evaluation, VectorEnvironment, evaluate_agent, replay_actions
from train.evaluation.statistics import as_draws, each_draw

EPISODES = 4  # of a video: two oracles and their judges


@dataclass(frozen=True)
class CrossJudged:
    """Looks seen by classifiers that have not chosen them; the two directions are draws.

    Attributes:
        oracle: the greedy oracle's.
        random: random ones, before the same two judges.
    """

    oracle: Evaluation
    random: Evaluation


def cross_oracle(
    halves: Sequence[VectorEnvironment],
    *,
    seed: int,
    draws: int,
    videos: Sequence[int] | None = None,
    progress: Callable[[int], None] | None = None,
) -> CrossJudged:
    """Let each of two classifiers choose greedily, with the label, for the other to judge.

    Args:
        halves: the split before the two, made with `autoreset_mode="disabled"`.
        seed: as in `evaluate_agent`, like the others.
        draws: of the random looks, for each judge.
        videos: of the split.
        progress: called with the number of episodes done.
    """
    oracles, randoms = [], []
    for chooser, judge in (halves, halves[::-1]):
        oracle: Agent = GreedyOracle(chooser.core)
        looks = evaluate_agent(chooser, oracle, seed=seed, videos=videos, progress=progress)
        oracles.append(replay_actions(judge, looks, seed=seed, progress=progress))
        blind = RandomAgent(judge.single_action_space)
        randoms += each_draw(evaluate_agent(judge, blind, seed=seed, draws=draws, videos=videos))
    return CrossJudged(as_draws(oracles), as_draws(randoms))
