"""JudgedSplit: the environments in which policies are judged on a split."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from adafocus_env.data import Videos
from adafocus_env.networks import AnyRecognizer
from agents.baselines.fixed_position import constant_look_confidences
from agents.baselines.registry import FULL_FRAME
from agents.evaluation import VectorEnvironment
from train.checkpoints.judges import load_judges
from train.config.judging import JudgingSection
from train.evaluation.policies import PolicyEntry
from train.runs.context import RunContext
from train.runs.environments import make_environment
from train.runs.progress import ProgressDisplay

_ROWS = 64


class JudgedSplit:
    """A split before recognizers.

    Args:
        context: of the run: data, batch of the evaluation, grid, reward.
        split: `"train"`, `"val"` or `"test"`.
        training: its clips as for training, with random crops and flips.

    Attributes:
        videos: the split.
        rules: of its environments, as `RunContext.rules` gives them.
    """

    def __init__(self, context: RunContext[JudgingSection], split: str, *, training: bool = False):
        self.videos: Videos = context.open_split(split, training=training)
        self.rules = context.rules(split)
        self._config = context.config

    def env(self, recognizer: AnyRecognizer, episodes: int, **rules: Any) -> VectorEnvironment:
        """The split before a recognizer, for `evaluate_agent`; not more rows than episodes."""
        config = self._config
        return make_environment(
            config,
            recognizer,
            self.videos,
            num_envs=min(config.batch_size or _ROWS, episodes),
            autoreset_mode="disabled",
            observation="map",
            skip_cost=config.skip_cost,
            reward=config.reward,  # without one nobody reads them
            **{**self.rules, **rules},
        )

    def env_of(
        self, entry: PolicyEntry, recognizer: AnyRecognizer, episodes: int
    ) -> VectorEnvironment:
        """The split as a policy sees it: `full_frame:SIZE` has the whole frame, resized.

        A bank does not have that patch, so its focuser runs.
        """
        stem, _, size = entry.stem.partition(":")
        if stem != FULL_FRAME:
            return self.env(recognizer, episodes)
        whole = {"patch_size": recognizer.config.frame_size, "focus_size": int(size)}
        return self.env(
            recognizer, episodes, **{**self._config.live_options, **whole, "bank": None}
        )


def find_best_fixed(
    recognizer: AnyRecognizer,
    context: RunContext[JudgingSection],
    display: ProgressDisplay,
    title: str,
) -> int:
    """The position that is best to look at in all frames of the training split.

    Args:
        recognizer: judges it, where `cross_fit` names no others.
        context: of the run.
        display: progress.
        title: of the progress bar.
    """
    config = context.config
    # A bank of the training split has its clips as they are trained on.
    train = JudgedSplit(context, "train", training=config.features != "live")
    rules: dict[str, Any] = {}
    if config.cross_fit is not None:
        place = str(recognizer.device)
        rules["judges"] = load_judges(config.cross_fit, train.videos, config, place)
    env = train.env(recognizer, len(train.videos), **rules)
    title = f"{title}: best_fixed on train"
    with closing(env), display.part(title, len(train.videos)) as progress:
        found = constant_look_confidences(
            env, seed=config.seed, progress=lambda done: progress.advance(count=done)
        )
    return int(found.mean(axis=0).argmax())
