"""The published Something-Something computations, done by our public objects.

Every function returns arrays under the names of `golden_sthsth.npz`; only the golden test knows
which numbers they should be.
"""

import copy

import numpy as np
import torch
from torch.nn import functional as F

import fill_rule
from adafocus_env.data.sampling.shift import SHIFT_SAMPLINGS, middle_indices
from adafocus_env.networks import (
    ShiftRecognizer,
    ShiftRecognizerConfig,
    crop_patches,
    freeze,
    shift_channels,
)
from given_case import NORMALISED, Case
from train.checkpoints.published.weight_names import published_names

GLANCE_TIMES = tuple(1.5 * i + 0.25 for i in range(8))
FOCUS_TIMES = tuple(range(12))


def make_recognizer(**entries):
    """The published networks of 174 classes, frozen, with the weights of the rule."""
    config = ShiftRecognizerConfig(
        class_names=tuple(f"class {k}" for k in range(174)), dropout=0.0, **NORMALISED, **entries
    )
    with torch.device("meta"):  # shapes alone
        shapes = {k: v.shape for k, v in ShiftRecognizer(config).state_dict().items()}
    recognizer = ShiftRecognizer(config)
    weights = {
        ours: fill_rule.filled(published, shapes[ours])
        for ours, published in published_names(shapes).items()
    }
    missing, unexpected = recognizer.load_state_dict(weights, strict=False)
    assert not unexpected
    assert set(missing) == {"focuser.net.fc.weight", "focuser.net.fc.bias"}
    freeze(recognizer)
    return recognizer


def glance_frames(num_videos):
    """`(B, 8, 3, 224, 224)` normalised."""
    return fill_rule.waves_at(range(num_videos), GLANCE_TIMES, 224)


def focus_frames(num_videos):
    """`(B, 12, 3, 224, 224)` normalised."""
    return fill_rule.waves_at(range(num_videos), FOCUS_TIMES, 224)


def shift_case(focus_frames, glance_frames, labels, baseline_offsets):
    """Two videos of one decision, to be played at places of the caller's."""
    return Case(
        frames=focus_frames,
        labels=labels,
        grid_size=7,
        actions=torch.zeros(1, 2, dtype=torch.int64),
        baseline_offsets=baseline_offsets,
        stage1_offsets=torch.zeros(2, 1, 2, dtype=torch.int64),
        log_prob_shift=torch.zeros(1, 2),
        glance_frames=glance_frames,
    )


@torch.no_grad()
def run_glances(frames, recognizer):
    """Section a, whole: `map (B, 8, C, h, w)`, `pooled (B, 8, C)`, `logits (B, 8, K)`."""
    glance_map, pooled = recognizer.glance(frames.flatten(0, 1))
    logits = recognizer.glancer(frames.flatten(0, 1))
    consensus = recognizer.glance_logits(pooled.unflatten(0, frames.shape[:2]))
    parts = {"map": glance_map, "pooled": pooled, "logits": logits}
    whole = {name: part.unflatten(0, frames.shape[:2]) for name, part in parts.items()}
    return {**whole, "consensus": consensus}


@torch.no_grad()
def run_look(frames, offsets, pooled, recognizer):
    """Section b of one set of places.

    Args:
        frames: `(B, 12, 3, H, H)`.
        offsets: `(B, 2)`, one a video.
        pooled: `(B, 8, C)` glance vectors.
        recognizer: with `video_div=1`.
    """
    patches = crop_patches(
        frames.flatten(0, 1), offsets.repeat_interleave(12, 0), recognizer.config.patch_size
    )
    vectors = recognizer.focus(patches).unflatten(0, frames.shape[:2])
    return {
        "vectors": vectors,
        "frame_logits": recognizer.classifier.fc(vectors),
        "consensus": recognizer.classifier(vectors),
        "final_logits": recognizer.train_clips(recognizer.clip_features(pooled, vectors))[:, 0],
    }


def run_shift():
    """Section g."""
    given = torch.arange(1.0, 513.0).view(8, 16, 2, 2).requires_grad_()
    shifted = shift_channels(given, 4)
    shifted.backward(given.detach().flip((0, 1, 2, 3)))
    return {"g_in": given.detach(), "g_out": shifted.detach(), "g_grad_in": given.grad}


def run_training_step(frames, pooled, labels, offsets, recognizer):
    """Section f: stage 1 up to the gradients, by published names; the recognizer stays as it is.

    Args:
        frames: `(B, 12, 3, H, H)`.
        pooled: `(B, 8, C)` glance vectors.
        labels: `(B,)`.
        offsets: `(B, 2)`.
        recognizer: frozen.
    """
    recognizer = copy.deepcopy(recognizer).requires_grad_(True)
    recognizer.focuser.train()
    recognizer.classifier.train()
    patches = crop_patches(
        frames.flatten(0, 1), offsets.repeat_interleave(12, 0), recognizer.config.patch_size
    )
    vectors = recognizer.focus(patches).unflatten(0, frames.shape[:2])
    logits = recognizer.train_clips(recognizer.clip_features(pooled, vectors))[:, 0]
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    names = published_names(recognizer.state_dict())
    grads = {
        names[name]: weight.grad.flatten()
        for name, weight in recognizer.named_parameters()
        if name in names and weight.grad is not None and not name.startswith("glancer.")
    }
    buffers = {names[name]: value for name, value in recognizer.named_buffers() if name in names}
    return {"logits": logits.detach(), "loss": loss.item(), "grads": grads, "buffers": buffers}


class _Forced(np.random.Generator):
    """Draws what the recording drew."""

    def __init__(self, segments):
        super().__init__(np.random.PCG64(0))
        self._segments = segments

    def integers(self, low, high, size=None):
        if size is None:
            return low + (3 * 37 + 5) % (high - low)
        return low + (37 * np.arange(size) + 11 * self._segments + 5) % (high - low)


def run_sampling(lengths):
    """Section h, counted from 1: one row for each length."""

    def rows(choose, segments):
        return np.stack([choose(int(n), segments) for n in lengths]) + 1

    def drawn(name: str):
        return lambda n, segments: SHIFT_SAMPLINGS[name](n, segments, _Forced(segments))

    rules = {
        "val": drawn("center"),
        "test": drawn("test"),
        "train": drawn("random"),
        "dense": drawn("dense"),
        "test_twice": _twice,
        "test_dense": _ten_dense,
    }
    return {f"h_{name}_{s}": rows(rule, s) for name, rule in rules.items() for s in (8, 12)}


def _twice(num_video_frames, num_frames):
    """Two clips of a video: its segments' middles, then their beginnings; no command uses it."""
    beginnings = (num_video_frames / num_frames * np.arange(num_frames)).astype(np.int64)
    return np.concatenate([middle_indices(num_video_frames, num_frames), beginnings])


def _ten_dense(num_video_frames, num_frames):
    """Ten clips of every `64 // T`-th frame from evenly spread starts; no command uses it."""
    starts = np.linspace(0, max(1, 1 + num_video_frames - 64) - 1, 10).astype(np.int64)
    steps = np.arange(num_frames, dtype=np.int64) * (64 // num_frames)
    return (starts[:, None] + steps).flatten() % num_video_frames
