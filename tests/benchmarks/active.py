"""Closed loops: looks on a bank and live, and what of a rollout is the policy's own work.

Decoding and drawing are left out, as in `bank.py`.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adafocus_env.data.glyphs.search import GLYPHS_SEARCH
from adafocus_env.envs import ActiveVisionVectorEnv, PatchGrid, shipped_recognizer
from adafocus_env.features import BankBuilder
from adafocus_env.networks import Recognizer
from agents.gru_ppo.algorithm import GruPPO
from agents.sb3.registry import algorithm_arguments
from agents.sb3.vec_env import Sb3VecEnvAdapter
from bank import KeptGlyphs, _built, _full_size, _random_bank

ROWS = 64
# Looks at a frame: of 16 frames at full size, of one still picture in the built-in task.
LOOKS = {"full_size": 1, "full_size_three": 3, "builtin": 6}


class Loops:
    """Whole episodes of 64 rows by looks at random, as an agent sees them.

    Args:
        size: key of `LOOKS`.
        banked: features from a bank.
    """

    multiply_adds = 0.0

    def __init__(self, size: str, *, banked: bool):
        recognizer: Recognizer
        videos: Any
        bank = None
        if size == "builtin":
            recognizer = Recognizer.load(shipped_recognizer("glyphs_search"))
            videos = KeptGlyphs(ROWS, 1, GLYPHS_SEARCH)
            if banked:
                positions = PatchGrid(7, 224, 32).all_offsets()
                bank = _built(
                    BankBuilder(tempfile.mkdtemp(), recognizer, videos, positions=positions)
                )
        else:
            recognizer, videos = _full_size(ROWS, 16)
            bank = _random_bank(recognizer, videos) if banked else None
        self.env = ActiveVisionVectorEnv.from_parts(
            recognizer, videos, num_envs=ROWS, looks_per_frame=LOOKS[size], bank=bank
        )
        self.frames = ROWS * self.env.num_decisions  # looks, that is
        self._rng = np.random.default_rng(0)
        self.env.reset(seed=0)

    def run(self) -> None:
        """Episodes from their first look to the last, and the beginning of the next ones."""
        self.env.run(lambda _: self._rng.integers(0, 49, ROWS))


class Policy:
    """The policy of a rollout, with the environment on a bank or without one.

    Args:
        size: as of `Loops`.
        alone: it is shown the observations of one rollout again and again instead.
    """

    multiply_adds = 0.0

    def __init__(self, size: str, *, alone: bool):
        loops = Loops(size, banked=True)
        env, self.frames = loops.env, loops.frames
        model = GruPPO(
            env=Sb3VecEnvAdapter(env),
            seed=0,
            device="cpu",
            **algorithm_arguments("gru_ppo", "loop", {}),
        )
        self._env, self._policy = env, model.policy
        self._policy.set_training_mode(False)
        self._shown: list[dict[str, Tensor]] = []
        if alone:
            env.run(self._keeping)

    @torch.no_grad()
    def run(self) -> None:
        """Episodes of all rows."""
        if not self._shown:
            self._env.run(self._acting)
        for seen in self._shown:
            self._acting(seen)

    def _acting(self, seen: dict[str, Tensor]) -> Tensor:
        state = self._policy.initial_state(ROWS)
        starts = torch.zeros(ROWS, dtype=torch.bool)
        return self._policy.step(seen, state, starts).actions

    @torch.no_grad()
    def _keeping(self, seen: dict[str, Tensor]) -> Tensor:
        self._shown.append(seen)
        return self._acting(seen)
