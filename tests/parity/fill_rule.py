"""Weights, frames and choices by rule, so that golden numbers need no stored networks.

`golden_actnet.npz` and `golden_sthsth.npz` hold numbers recorded by running the published code of
both families (CPU, torch 2.15, float32) on networks and inputs that an integer hash and a few sines
give. The rule is the recordings' own; nothing here may change without recording anew.
"""

import math
import zlib

import numpy as np
import torch

POLICY_PREFIX = "focuser.policy.policy."


def hashed(key, count):
    """`count` numbers in [-1, 1) that belong to a key; exact on every machine."""
    u = np.arange(1, count + 1, dtype=np.uint32)
    u *= np.uint32(2654435761)
    u += np.uint32(zlib.crc32(key.encode()))
    for shift, factor in ((16, 2246822519), (13, 3266489917)):
        u ^= u >> np.uint32(shift)
        u *= np.uint32(factor)
    u ^= u >> np.uint32(16)
    return u / 2147483648.0 - 1.0


def filled(key, shape, *, seed=""):
    """One weight or buffer.

    Args:
        key: canonical: as in the state dict of the whole published model.
        shape: of the tensor.
        seed: goes before the key in the hash; `""` gives the recorded weights.
    """
    if key.endswith("num_batches_tracked"):
        return torch.zeros(tuple(shape), dtype=torch.int64)
    z = hashed(seed + key, math.prod(shape))
    fan_in = math.prod(shape[1:])
    if key.endswith("running_mean"):
        values = 0.1 * z
    elif key.endswith("running_var"):
        values = 1.0 + 0.5 * np.abs(z)
    elif ".gru.weight_" in key:
        gain = 2.0 if key.startswith("classifier.") else 1.0
        values = gain * z / math.sqrt(shape[0] // 3)
    elif len(shape) == 4:
        gain = 1.5 if key.startswith("focuser.net.") else 1.8
        values = gain * z * math.sqrt(2.0 / fan_in)
    elif len(shape) == 2:
        gain = 6.0 if key == "classifier.fc.weight" else 1.8
        gain = 3.0 if key.endswith("actor.0.weight") or key == "classifier.weight" else gain
        values = gain * z * math.sqrt(2.0 / fan_in)
    elif key.endswith("weight"):
        values = 1.0 + 0.1 * z
    else:
        values = 0.1 * z
    return torch.from_numpy(values.astype(np.float32)).view(tuple(shape))


def waves(num_videos, num_frames, side):
    """Normalised frames `(B, T, 3, side, side)`, float32 in [-2, 2], at the times 0..T-1."""
    return waves_at(range(num_videos), range(num_frames), side)


def waves_at(videos, times, side):
    """The same, of some videos at some times."""
    b, t, c, row, col = np.meshgrid(
        np.asarray(videos), np.asarray(times), *(np.arange(n) for n in (3, side, side)),
        indexing="ij", sparse=True,
    )  # fmt: skip
    tau = 2.0 * np.pi
    u, w = row / side, col / side
    x = (
        0.8 * np.sin(tau * ((2 + c + t) * u + (1 + b) * w) + 0.5 * b + t)
        + 0.7 * np.sin(tau * (6 + 2 * t + 3 * b) * u * w + c)
        + 0.5 * np.cos(tau * ((9 + 4 * c) * w * w + (3 + t) * u) + b)
    )
    return torch.from_numpy(x.astype(np.float32))


def baseline_offsets(num_videos, num_frames, free):
    """(top, left) of the random patches, `(T, B, 2)`, within `0..free - 1`."""
    t, b = np.arange(num_frames)[:, None], np.arange(num_videos)[None]
    return _pairs((37 * t + 53 * b + 11) % free, (29 * t + 71 * b + 5) % free)


def stage1_offsets(num_videos, num_frames, free):
    """(top, left) of stage 1's patches, `(B, T, 2)`, within `0..free - 1`."""
    b, t = np.arange(num_videos)[:, None], np.arange(num_frames)[None]
    return _pairs((41 * t + 23 * b + 7) % free, (19 * t + 61 * b + 3) % free)


def log_prob_shift(num_videos, num_frames):
    """`(T, B)`: added to stored log-probabilities so that clipping acts."""
    t, b = np.arange(num_frames)[:, None], np.arange(num_videos)[None]
    return 0.4 * np.cos(1.3 * t + 2.1 * b)


def _pairs(top, left):
    return torch.from_numpy(np.stack([top, left], axis=-1))


# --- the cases of mean average precision: 40 samples, 10 classes ---

MAP_CASES = ("single", "single_missing", "multi", "multi_missing", "multi_full")


def map_labels(case):
    """Labels of each sample."""
    return [_labels_of_row(case, i) for i in range(40)]


def _labels_of_row(case, i):
    if case == "single":
        return ((7 * i + i // 10) % 10,)
    if case == "single_missing":
        return ([0, 2, 3, 5, 6, 8, 9][(3 * i + i // 7) % 7],)
    if case == "multi_full":
        return (i % 10, (i + 3) % 10, (i + 7) % 10)
    labels = {(7 * i + i // 10) % 10} | ({(3 * i + 1) % 10} if i % 3 else set())
    if case == "multi_missing":
        labels = {5 if label == 4 else label for label in labels}
    return tuple(sorted(labels))


def map_scores(case):
    """Logits `(40, 10)`: noise, and 2 more for each true class."""
    # The sum is rounded twice, as it was recorded.
    scores = (3.0 * hashed(f"map_{case}", 400)).astype(np.float32).reshape(40, 10)
    for row, labels in zip(scores, map_labels(case), strict=True):
        row[list(labels)] += np.float32(2.0)
    return scores
