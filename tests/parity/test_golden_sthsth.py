"""Numbers recorded from the published Something-Something code, against our public objects.

`golden_sthsth.npz` was recorded by running the published code on a CPU (torch 2.15, float32) on
174 classes, 8 glance and 12 focus frames of 224 pixels, patches of 144, one division a clip.
Weights and inputs come from `fill_rule`. Here: the inputs, a glances, b looks, g temporal shift,
places in pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import published_shift_run as run
from adafocus_env.envs import ContinuousLocations, PatchGrid
from adafocus_env.networks import FrozenNetworks, ShiftRecognizer

with np.load(Path(__file__).with_name("golden_sthsth.npz")) as _arrays:
    GOLDEN = dict(_arrays)
_PREFIXES = ("xg_", "xf_", "a_", "b_", "g_")
NAMES = tuple(name for name in GOLDEN if name.startswith(_PREFIXES))

Arrays = dict[str, Any]


@pytest.fixture(scope="session")
def computed(
    shift_recognizer: ShiftRecognizer,
    shift_glance_frames: Tensor,
    shift_focus_frames: Tensor,
    shift_glances: Arrays,
) -> Arrays:
    glance_map, pooled = shift_glances["map"], shift_glances["pooled"]
    two = glance_map[:2].double()
    results: Arrays = {
        "xg_slice": shift_glance_frames[:2, ..., ::56, ::56],
        "xf_slice": shift_focus_frames[..., ::56, ::56],
        "xg_sum": shift_glance_frames.double().sum(dim=(3, 4)),
        "xf_sum": shift_focus_frames.double().sum(dim=(3, 4)),
        "a_map_mean_std": torch.stack([two.mean(), two.std()]),
        "a_map_slice": glance_map[:2, :, ::80, ::3, ::3],
        "a_pooled_slice": pooled[:2, :, ::20],
        "a_pooled_norm": pooled.norm(dim=2),
        "a_logits": shift_glances["logits"][:2],
        "a_consensus": shift_glances["consensus"],
        "b_loc": GOLDEN["b_loc"],
        "b_frac_grid": np.append(
            np.arange(81, dtype=np.float32) / np.float32(80), np.nextafter(np.float32(1), 0)
        ).astype(np.float32),
        **run.run_shift(),
        **_places(),
    }

    def look(offsets: np.ndarray) -> Arrays:
        places = torch.from_numpy(offsets).long()
        return run.run_look(shift_focus_frames, places, pooled[:2], shift_recognizer)

    looks = [look(offsets) for offsets in results["b_loc_offsets"]]
    results |= {
        "b_feat_slice": torch.stack([one["vectors"][..., ::64] for one in looks]),
        "b_feat_norm": torch.stack([one["vectors"].norm(dim=2) for one in looks]),
        "b_frame_logits": looks[3]["frame_logits"],
        "b_consensus": torch.stack([one["consensus"] for one in looks]),
        "b_final_logits": torch.stack([one["final_logits"] for one in looks]),
    }
    backwards = run.run_glances(shift_glance_frames[:2].flip(1), shift_recognizer)["pooled"]
    offsets = torch.from_numpy(results["b_loc_offsets"][3]).long()
    results["b_reversed_logits"] = run.run_look(
        shift_focus_frames.flip(1), offsets, backwards, shift_recognizer
    )["final_logits"]
    for count in (25, 49):
        looks = [look(offsets) for offsets in results[f"b_A{count}_action_offsets"]]
        norms = [one["vectors"].norm(dim=2) for one in looks]
        results[f"b_A{count}_feat_norm"] = torch.stack(norms)
        results[f"b_A{count}_final_logits"] = torch.stack([one["final_logits"] for one in looks])
    return results


def _places() -> Arrays:
    """Everything about fractions, actions and pixels."""
    anywhere = ContinuousLocations(224, 144)
    places: Arrays = {
        "b_loc_offsets": anywhere.offsets(torch.from_numpy(GOLDEN["b_loc"])).int().numpy()
    }
    for grid_size in (4, 5, 6, 7, 8, 9, 10):
        for patch in (128, 144, 160, 176):
            grid = PatchGrid(grid_size, 224, patch)
            places[f"b_offsets_A{grid_size**2}_P{patch}"] = grid.all_offsets()
    for count in (25, 49):
        actions = torch.from_numpy(GOLDEN[f"b_A{count}_actions"])
        places[f"b_A{count}_actions"] = actions
        offsets = PatchGrid(round(count**0.5), 224, 144).offsets(actions)
        places[f"b_A{count}_action_offsets"] = offsets.int().numpy()
    for patch in (144, 160, 176):
        free = 224 - patch
        exact = np.arange(free + 1, dtype=np.float32) / np.float32(free)
        rows = np.append(exact, np.nextafter(np.float32(1), 0)).astype(np.float32)
        origins = torch.from_numpy(np.stack([rows, rows], axis=1))
        places[f"b_frac_offsets_P{patch}"] = ContinuousLocations(224, patch).offsets(origins)[:, 0]
    return places


@pytest.mark.parametrize("name", NAMES)
def test_the_array_is_the_published_one(name: str, computed: Arrays) -> None:
    expected, got = GOLDEN[name], np.asarray(computed[name])
    assert got.shape == expected.shape
    if expected.dtype.kind in "ibU":
        np.testing.assert_array_equal(got, expected)
        return
    # The recording's own tolerance; float32 and float64 runs differ by at most a tenth of it.
    np.testing.assert_allclose(got, expected, rtol=0.0, atol=1e-4 * np.abs(expected).max())


def test_the_frozen_networks_give_the_published_logits(
    shift_recognizer: ShiftRecognizer,
    shift_glance_frames: Tensor,
    shift_focus_frames: Tensor,
    computed: Arrays,
) -> None:
    frozen = FrozenNetworks(shift_recognizer)
    _, pooled = frozen.glance(shift_glance_frames[:2].flatten(0, 1))
    offsets = torch.from_numpy(computed["b_loc_offsets"][3]).long().repeat_interleave(12, 0)
    vectors = frozen.focus(shift_focus_frames.flatten(0, 1), offsets).unflatten(0, (2, 1, 12))
    glance_logits = shift_recognizer.glance_logits(pooled.unflatten(0, (2, 8)))
    logits, _ = shift_recognizer.classify_sequence(vectors.mean(dim=2), glance_logits)
    expected = GOLDEN["b_final_logits"][3]
    np.testing.assert_allclose(logits[:, 0], expected, rtol=0.0, atol=1e-4 * expected.max())
