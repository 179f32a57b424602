"""Classifiers on chosen patches: what stages 1 and 3 share where glancer and focuser are frozen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from adafocus_env.data import Videos
from adafocus_env.envs import PatchChoice, PatchGrid
from adafocus_env.envs.actions import locations_of
from adafocus_env.features import BankEpisodes, BankFeatures, all_pairs, open_bank
from adafocus_env.networks import AnyRecognizer, FrozenNetworks, freeze
from agents.rollout import best_actions
from train.checkpoints.load import check_classes, check_policy_exists, load_fitting_policy
from train.config.commands import Stage1Config, Stage3Config
from train.config.keys import ConfigError
from train.runs.context import RunContext
from train.stages.supervised.data import Batch, Chance
from train.stages.supervised.stage import StepLoss

# Policies by name, for which no run is needed.
NAMED_POLICIES = ("random", "center")
_FIXED = "fixed:"
POLICY_NAMES = (*NAMED_POLICIES, f"{_FIXED}ACTION")  # as a user writes them

# Observations (N, D, C, h, w) of D decisions, and their random numbers, to (N, D) patches.
ChoosePatches = Callable[[Tensor, Chance], PatchChoice]


class ChosenPatchStage(StepLoss):
    """The patches that a policy chooses; everything but the classifier is frozen.

    The published code trains nothing here in the Something-Something family, as in its stage 1.

    Frames that the policy or chance skips have zeros for a patch vector; the focuser does not run.

    Args:
        recognizer: of stage 1.
        choose: the policy.
        fc_lr: of the classifier.
        skip_rate: of the frames that chance skips, see `Chance.focused`.
    """

    frozen_is_all = True

    def __init__(
        self,
        recognizer: AnyRecognizer,
        choose: ChoosePatches,
        fc_lr: float,
        *,
        skip_rate: float | str | None = None,
    ):
        super().__init__()
        freeze(recognizer)
        recognizer.classifier.requires_grad_(True)
        self._recognizer = recognizer
        self._networks = FrozenNetworks(recognizer)
        self._choose = choose
        self._skip_rate = skip_rate
        self.trained: Sequence[tuple[nn.Module, float]] = [(recognizer.classifier, fc_lr)]

    def predict(self, batch: Batch | None, frozen: Tensor | None) -> Tensor:
        """`(N, T, K)` after every step, `(N, 1, K)` where a clip is one."""
        del batch
        assert frozen is not None
        return self._recognizer.train_clips(frozen)

    @torch.no_grad()
    def frozen_features(self, batch: Batch) -> Tensor:
        """The classifier's whole input `(N, T, X)`, see `clip_features`."""
        if batch.features is not None:
            return self._banked(batch, batch.features)
        recognizer, frames, seen = self._recognizer, batch.frames, batch.seen
        maps, vectors = self._networks.glance(seen.flatten(0, 1))
        group = recognizer.focus_group
        decisions = (len(frames), frames.shape[1] // group)
        observed = maps.reshape(*decisions, -1, *maps.shape[2:])  # side by side, on the channels
        chance = batch.chance.per_decision(group)
        chosen = self._choose(observed, chance)
        focused = chosen.focused & chance.focused(self._skip_rate)
        patch_vectors = self._networks.focus_chosen(
            frames.flatten(0, 1),
            chosen.offsets.repeat_interleave(group, dim=1).flatten(0, 1),
            focused.repeat_interleave(group, dim=1).flatten(),
        )
        return recognizer.clip_features(
            vectors.unflatten(0, seen.shape[:2]), patch_vectors.unflatten(0, frames.shape[:2])
        )

    def _banked(self, batch: Batch, features: BankEpisodes) -> Tensor:
        """The same of clips in a bank, which has a patch vector for every grid position."""
        count, frames = features.glance_vectors.shape[:2]
        rows, steps = all_pairs(count, frames)
        observed = features.observation(rows, steps).unflatten(0, (count, frames))
        chosen = self._choose(observed, batch.chance)
        focused = chosen.focused & batch.chance.focused(self._skip_rate)
        vectors = features.focus(rows, steps, chosen.offsets.flatten(0, 1))
        vectors = vectors.unflatten(0, (count, frames)) * focused[..., None].to(vectors)
        return self._recognizer.clip_features(features.glance_vectors, vectors)


def choose_patches(
    policy: str,
    grid: PatchGrid,
    recognizer: AnyRecognizer,
    *,
    trust: bool = False,
    skip_cost: float | str | None = None,
) -> ChoosePatches:
    """A policy by name or by the folder it is saved in.

    Args:
        policy: `"random"`, `"center"`, `"fixed:ACTION"`, or a folder that holds `policy/`, or a
            `.zip` of SB3.
        grid: the positions.
        recognizer: whose glance maps the policy sees.
        trust: open a `.zip`, which can run code.
        skip_cost: told to a policy that must know it, see `Chance.costs`.

    Raises:
        CheckpointError: the saved policy sees other maps or acts on another grid.
        ConfigError: there is no such position, or nothing of this name.
    """
    if policy == "random":
        return lambda _, chance: grid.choice((chance.places[..., 0] * grid.num_actions).long())
    if policy == "center":
        return lambda maps, _: grid.choice(torch.full(maps.shape[:2], grid.center_action))
    if policy.startswith(_FIXED):
        number = policy.removeprefix(_FIXED)
        if not number.isascii() or not number.isdigit() or int(number) >= grid.num_actions:
            raise ConfigError(f"policy={policy}: name one of fixed:0..fixed:{grid.num_actions - 1}")
        position = int(number)
        return lambda maps, _: grid.choice(torch.full(maps.shape[:2], position))
    check_policy_exists(policy, POLICY_NAMES)
    saved = load_fitting_policy(policy, grid, recognizer, trust=trust)
    locations = locations_of(saved.action_space, grid)

    def choose(maps: Tensor, chance: Chance) -> PatchChoice:
        costs = chance.costs(skip_cost) if saved.sees_cost else None
        return locations.choice(torch.as_tensor(best_actions(saved, maps, costs)))

    return choose


def is_named(policy: str) -> bool:
    """Whether a policy is one that needs no run."""
    return policy in NAMED_POLICIES or policy.startswith(_FIXED)


def open_split_or_bank(
    split: str,
    recognizer: AnyRecognizer,
    grid: PatchGrid,
    context: RunContext[Stage1Config | Stage3Config],
) -> Videos | BankFeatures:
    """The split's videos, or with `features=bank:PATH` their features.

    Raises:
        ConfigError: the classifier learns from every patch of a decision, of which a bank has the
            mean.
        CheckpointError: the bank, or the list of classes, is another recognizer's.
    """
    videos = context.open_split(split, training=split == "train")
    check_classes(recognizer, videos)
    bank = open_bank(context.config.features, split)
    if bank is None:
        return videos
    if recognizer.focus_group > 1:
        raise ConfigError(
            "a bank has the mean of a decision's patch vectors, and the classifier of a recognizer "
            "with temporal shift learns from each of them; use features=live"
        )
    place = context.config.bank_device
    positions = grid.all_offsets()
    return BankFeatures(recognizer, videos, bank, positions=positions, bank_device=place)
