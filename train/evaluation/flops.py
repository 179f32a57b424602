"""Multiply-adds per video, counted by part; and `adafocus flops`."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from rich.table import Table
from stable_baselines3.common.policies import BasePolicy

from adafocus_env.envs import EpisodeVectorEnv, PatchGrid
from adafocus_env.files import write_json
from adafocus_env.networks import (
    AnyRecognizer,
    ShiftRecognizerConfig,
    build_recognizer,
    placeholder_class_names,
)
from adafocus_env.networks.costs import count_multiply_adds as _count
from adafocus_env.networks.costs import recognizer_costs
from agents.baselines.oracles import CoreWatcher, Oracle
from agents.baselines.registry import Baseline
from agents.baselines.simple import RandomOffsets
from agents.flops import executed_multiply_adds
from agents.gru_ppo.algorithm import GruPPO
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.policies.observations import zeros
from agents.policies.spatial_head import with_patch_grid
from agents.sb3.registry import algorithm_arguments, algorithm_class, policy_class
from train.config.builders import dataset_class_names, declared_num_classes, recognizer_config
from train.config.tools import FlopsConfig
from train.runs.progress import ProgressDisplay

# In the order in which a frame passes them.
PARTS = ("glancer", "policy", "focuser", "classifier")
_SIZES_OF_POLICIES = (
    *("head", "recurrent", "channels", "hidden_dim"),
    *("patch_grid", "head_dim", "head_kernel"),
)
# ActivityNet's and Mini-Kinetics's, where no class file says.
DEFAULT_CLASSES = 200


@dataclass(frozen=True)
class StepCosts:
    """Multiply-adds of each decision of a video.

    Attributes:
        whole: of a video in which every decision is taken and every frame focused on, by part.
        looks_per_frame: decisions at each frame; it is glanced at once.
        ends: whether an action ends the episode. Nothing runs after it, and it is the last that the
            policy thinks about.
        until_sure: whether the belief ends it (`UntilSure`), before anybody is asked.
    """

    whole: Mapping[str, float]
    looks_per_frame: int = 1
    ends: bool = False
    until_sure: bool = False

    def ran(self, focused: npt.NDArray[np.bool_]) -> dict[str, npt.NDArray[np.bool_]]:
        """`(E, T)` by part, whether it ran in decisions that were `focused` or not, `(E, T)`."""
        asked: npt.NDArray[np.bool_] = np.ones_like(focused)
        if self.until_sure:
            asked = focused
        elif self.ends:
            asked[:, 1:] = focused[:, :-1]
        glanced = np.zeros_like(focused)
        glanced[:, :: self.looks_per_frame] = asked[:, :: self.looks_per_frame]
        ran = {"glancer": glanced, "focuser": focused, "policy": asked}
        ran["classifier"] = focused if self.ends else asked
        return {part: ran[part] for part in self.whole}

    def spent(self, focused: npt.NDArray[np.bool_]) -> dict[str, npt.NDArray[np.float64]]:
        """`(E, T)` by part, what each decision cost."""
        times = self._times(focused.shape[1])
        ran = self.ran(focused)
        return {
            part: ran[part] * np.float64(total / times[part]) for part, total in self.whole.items()
        }

    def mean_spent(self, focused: npt.NDArray[np.bool_]) -> dict[str, float]:
        """Of an episode, by part.

        Counted in whole decisions, so that policies that do the same cost the same to the bit,
        however many episodes they were measured on.
        """
        times = self._times(focused.shape[1])
        shares = {
            part: int(ran.sum()) / (len(ran) * times[part])
            for part, ran in self.ran(focused).items()
        }
        return {part: total * shares[part] for part, total in self.whole.items()}

    def _times(self, decisions: int) -> dict[str, int]:
        """How often each part runs in a whole video."""
        frames = decisions // self.looks_per_frame
        return {part: frames if part == "glancer" else decisions for part in self.whole}


@dataclass(frozen=True)
class Costs:
    """Multiply-adds of one video, in 10^9.

    Attributes:
        by_part: as the paper counts; what an agent thinks is a part. An oracle is charged for every
            position that it tries, the focuser for the frames that are focused, and where episodes
            end early all parts for what was before: this is what inference executes.
        steps: of each decision.
        executed: what judging really computes, the patches of the reward baseline included; what a
            feature bank holds is not. Where frames are skipped, videos differ, and it is the mean
            over 16 that are evenly spread.
    """

    by_part: Mapping[str, float]
    steps: StepCosts
    executed: float

    @property
    def total(self) -> float:
        """Of all parts."""
        return sum(self.by_part.values())

    def per_step(self, focused: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """`(E, T)` of each decision, all parts, where they were `focused`, `(E, T)`."""
        return np.asarray(sum(self.steps.spent(focused).values()), dtype=np.float64)


def run_flops(config: FlopsConfig, display: ProgressDisplay) -> None:
    """Print the multiply-adds of the configured networks and write them to `flops.json`."""
    recognizer, policy = _configured_networks(config)
    per_video = multiply_adds(recognizer, policy)
    total = sum(per_video.values())
    result = {
        "num_frames": config.num_frames,
        "num_classes": recognizer.config.num_classes,
        "multiply_adds_per_video": dict(per_video),
        "total": total,
    }
    write_json(config.output_dir / "flops.json", result)
    display.console.print(_table(per_video, runs_per_video(recognizer)))
    both = per_video["glancer"] + per_video["focuser"]
    for name, count in {"glancer + focuser": both, "total": total}.items():
        line = f"{name} {count / 1e9:.2f} G multiply-adds per video"
        # Plain and unbroken at any width: scripts read these lines.
        display.say(line)


def multiply_adds(
    recognizer: AnyRecognizer, policy: BasePolicy | None = None, *, focus_size: int | None = None
) -> Mapping[str, float]:
    """Multiply-adds of one video by part: glancer, focuser, classifier, and policy if there is one.

    The recognizer's are those of `recognizer_costs`, the policy's are counted likewise; the reward
    baseline's patch is not part of inference.

    Args:
        recognizer: whose networks.
        policy: None for none.
        focus_size: side of what the focuser sees in pixels; None: the recognizer's patches.
    """
    each = recognizer_costs(recognizer.config, focus_size)
    counts = {"glancer": each.glance, "focuser": each.patch, "classifier": each.decision}
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        if isinstance(policy, GruActorCriticPolicy):
            other = _new_policy(policy.observation_space, policy.action_space, policy.arguments())
            observation = zeros(policy.observation_space, 1)
            starts = torch.ones(1, dtype=torch.bool)
            counts["policy"] = _count(
                lambda: other.step(observation, other.initial_state(1), starts, deterministic=True)
            )
    if policy is not None and "policy" not in counts:
        counts["policy"] = _count_one_action(policy)
    times = runs_per_video(recognizer)
    return {part: counts[part] * times[part] for part in PARTS if part in counts}


def runs_per_video(recognizer: AnyRecognizer) -> dict[str, int]:
    """How often each part runs for a video: glancer and focuser a frame, the others a decision."""
    config = recognizer.config
    if isinstance(config, ShiftRecognizerConfig):
        counts = config.num_glance_frames, config.video_div, config.num_frames, config.video_div
    else:
        counts = (config.num_frames,) * 4
    return dict(zip(PARTS, counts, strict=True))


def inference_multiply_adds(
    recognizer: AnyRecognizer, agent: Baseline | BasePolicy, env: EpisodeVectorEnv
) -> dict[str, float]:
    """Multiply-adds of one video by part, of any agent; what it computes by itself is `policy`.

    An oracle's focuser and classifier run at every position that it tries. Other agents that watch
    the core look once, and what they know costs nothing.

    Args:
        recognizer: of the environment.
        agent: is asked once, about dark frames.
        env: made for it.
    """
    if isinstance(agent, BasePolicy):
        return dict(multiply_adds(recognizer, agent))
    source = env.core.source
    counts = dict(
        multiply_adds(
            recognizer, focus_size=getattr(source, "focus_size", None) or source.patch_size
        )
    )
    if isinstance(agent, Oracle):
        counts["focuser"] *= env.core.grid.num_actions
        counts["classifier"] *= env.core.grid.num_actions * agent.width
    elif not isinstance(agent, RandomOffsets | CoreWatcher):
        dark = np.zeros((env.num_envs, *env.core.source.observation_shape), np.float32)
        starts = np.ones(env.num_envs, dtype=np.bool_)
        thinking = executed_multiply_adds(lambda: agent.predict(dark, None, starts, True))
        counts |= {"policy": thinking / env.num_envs * source.num_decisions} if thinking else {}
    return counts


def _configured_networks(config: FlopsConfig) -> tuple[AnyRecognizer, BasePolicy]:
    """Networks of the configured sizes, without weights."""
    names = dataset_class_names(config) or placeholder_class_names(
        declared_num_classes(config) or DEFAULT_CLASSES
    )
    algo = config.algo
    algorithm = algorithm_class(algo.name, algo.class_path)
    arguments = algorithm_arguments(
        algo.name, algo.preset, algo.arguments, class_path=algo.class_path
    )
    with torch.device("meta"):
        recognizer = build_recognizer(recognizer_config(config, names))
        bound = float(recognizer.glancer.map_bound)
        shape = recognizer.observation_shape()
        sees = spaces.Box(0.0, bound, shape if config.observation == "map" else shape[:1])
        acts: spaces.Space[Any] = spaces.Discrete(config.action_dim)
        kwargs = arguments["policy_kwargs"]
        own = issubclass(algorithm, GruPPO)
        if config.locations == "continuous":  # SB3's algorithms act in a centred range
            acts = spaces.Box(0.0 if own else -1.0, 1.0, (2,), np.float32)
        sizes = recognizer.config
        cls: type[Any] = policy_class(algorithm, arguments.get("policy"))
        grid = PatchGrid(config.grid_size, sizes.frame_size, sizes.patch_size)
        kwargs = with_patch_grid(cls, kwargs, grid)
        if own:
            return recognizer, _new_policy(sees, acts, kwargs)
    return recognizer, cls(sees, acts, lambda _: 0.0, **kwargs)


def _new_policy(
    observations: spaces.Space[Any], actions: spaces.Space[Any], arguments: Mapping[str, Any]
) -> GruActorCriticPolicy:
    sizes = {name: arguments[name] for name in _SIZES_OF_POLICIES if name in arguments}
    return GruActorCriticPolicy(observations, actions, lambda _: 0.0, **sizes)


def _count_one_action(policy: BasePolicy) -> float:
    """Of a policy of SB3, asked for one action; no value is computed then."""
    copied = copy.deepcopy(policy).to("cpu")
    space = batch_space(copied.observation_space, 1)
    observation = space.sample()
    # oneDNN's LSTM would not be counted.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about GPUs
        with torch.backends.mkldnn.flags(enabled=False):
            return _count(lambda: copied.predict(observation, deterministic=True))


def _table(per_video: Mapping[str, float], times: Mapping[str, int]) -> Table:
    table = Table("part", "G each", "times", "G per video")
    for part, count in per_video.items():
        each = f"{count / times[part] / 1e9:.6f}"
        table.add_row(part, each, str(times[part]), f"{count / 1e9:.3f}")
    for column in table.columns[1:]:
        column.justify = "right"
    return table
