"""The published way of stepping, in our words, on our networks' weights: what speed is compared to.

As the published code does it, crops are cut image by image in a Python loop, frames are
looked at one after the other, frozen networks record graphs, the acting policy too.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch.nn import functional as F

from adafocus_env.envs import PatchGrid
from adafocus_env.networks import Recognizer
from agents.policies.gru_policy import GruActorCriticPolicy


class PublishedLoop:
    """Steps through videos as the published stage 2 and stage 3 do.

    Args:
        recognizer: is copied, into PyTorch's default memory layout.
        policy: is copied; only acts. None where nobody acts.
    """

    def __init__(self, recognizer: Recognizer, policy: GruActorCriticPolicy | None = None):
        self._recognizer = copy.deepcopy(recognizer).eval().requires_grad_(True)
        self._recognizer.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        if policy is None:
            return
        self._policy_old = copy.deepcopy(policy).requires_grad_(True)
        config = recognizer.config
        grid_size = int(policy.action_space.n) ** 0.5
        self._grid = PatchGrid(int(grid_size), config.frame_size, config.patch_size)

    def normalize(self, frames: Tensor) -> Tensor:
        """Clips as the published loaders hand them over: normalised float32, `(N, T, 3, H, W)`."""
        return self._recognizer.normalize(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    def rollout(
        self, frames: Tensor, labels: Tensor, random_offsets: Tensor, uniforms: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Stage 2 up to the update: rewards of the published default, `random`.

        Args:
            frames: `(N, T, 3, H, W)`, normalised.
            labels: `(N,)`.
            random_offsets: `(N, T, 2)` pixels of the patches that rewards compare with.
            uniforms: `(N, T)` that the actions are drawn by.

        Returns:
            actions and rewards, `(N, T)`.
        """
        recognizer = self._recognizer
        glance_maps, glance_vectors = self._glance(frames)
        policy_state = self._policy_old.initial_state(len(frames))
        classifier_state = policy_state.new_zeros(len(frames), recognizer.config.hidden_dim)
        starts = torch.zeros(len(frames), dtype=torch.bool)
        memory: list[Tensor] = []  # log-probabilities, whose graphs live as long as the rollout
        actions, rewards = [], []
        for t in range(frames.shape[1]):
            step = self._policy_old.step(
                glance_maps[:, t], policy_state, starts, uniforms=uniforms[:, t]
            )
            policy_state = step.policy_state
            memory.append(step.log_probs)
            chosen = self._focus(frames[:, t], self._grid.offsets(step.actions))
            other = self._focus(frames[:, t], random_offsets[:, t])
            with torch.no_grad():
                logits, _ = recognizer.classify_step(glance_vectors[:, t], other, classifier_state)
                compared = _confidence(logits, labels)
                logits, classifier_state = recognizer.classify_step(
                    glance_vectors[:, t], chosen, classifier_state
                )
                F.cross_entropy(logits, labels).item()  # logged
                rewards.append(_confidence(logits, labels) - compared)
            actions.append(step.actions)
        return torch.stack(actions, dim=1), torch.stack(rewards, dim=1)

    @torch.no_grad()
    def predict(self, frames: Tensor) -> Tensor:
        """Logits `(N, T, K)` of normalised frames, one patch a frame, the policy's best action.

        The random patch that published validation also looks at is left out: it serves nothing.
        """
        recognizer = self._recognizer
        glance_maps, glance_vectors = self._glance(frames)
        policy_state = self._policy_old.initial_state(len(frames))
        classifier_state = policy_state.new_zeros(len(frames), recognizer.config.hidden_dim)
        starts = torch.zeros(len(frames), dtype=torch.bool)
        logits = []
        for t in range(frames.shape[1]):
            step = self._policy_old.step(
                glance_maps[:, t], policy_state, starts, deterministic=True
            )
            policy_state = step.policy_state
            vectors = self._focus(frames[:, t], self._grid.offsets(step.actions))
            after, classifier_state = recognizer.classify_step(
                glance_vectors[:, t], vectors, classifier_state
            )
            logits.append(after)
        return torch.stack(logits, dim=1)

    @torch.no_grad()
    def features(self, frames: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Glance maps `(T, C, h, w)` and patch vectors `(T, A, F)` of a uint8 clip `(T, 3, H, W)`.

        The patches of one frame, cut one by one at `offsets` `(A, 2)`, go through the focuser
        together.
        """
        normal = self.normalize(frames[None])
        glance_maps, _ = self._glance(normal)
        each = [frame.expand(len(offsets), -1, -1, -1) for frame in normal[0]]
        return glance_maps[0], torch.stack([self._focus(frame, offsets) for frame in each])

    @torch.no_grad()
    def _glance(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Every frame at once; resized, and so copied, also where the size is right."""
        config = self._recognizer.config
        size = (config.glance_size, config.glance_size)
        resized = F.interpolate(frames.flatten(0, 1), size, mode=config.glance_resize)
        glance_map, glance_vector = self._recognizer.glancer.glance(resized)
        shape = frames.shape[:2]
        return glance_map.unflatten(0, shape), glance_vector.unflatten(0, shape)

    def _focus(self, frames: Tensor, offsets: Tensor) -> Tensor:
        patches = crop_one_by_one(frames, offsets, self._recognizer.config.patch_size)
        return self._recognizer.focuser.focus(patches)


def crop_one_by_one(frames: Tensor, offsets: Tensor, patch_size: int) -> Tensor:
    """`crop_patches` in a Python loop that reads four numbers of each image from the device."""
    ends = offsets + patch_size
    patches = [
        frames[i][
            :,
            int(offsets[i, 0].item()) : int(ends[i, 0].item()),
            int(offsets[i, 1].item()) : int(ends[i, 1].item()),
        ]
        for i in range(len(frames))
    ]
    return torch.stack(patches)


def _confidence(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
