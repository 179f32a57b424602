"""The head of closed loops is the formula written down position by position, gradients too."""

import itertools

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch.nn import functional as F

from adafocus_env.envs import PatchGrid
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.policies.loop_head import LastLook
from agents.policies.observations import seen_beside

ROWS, STEPS, SIDE = 2, 3, 4
# Patches that tile the frame, so that each is a cell of the map; and larger ones, over parts of
# cells that float32 holds exactly.
TILES = {"grid_size": SIDE, "frame_size": 16, "patch_size": 4}
SHARED = {"grid_size": SIDE, "frame_size": 16, "patch_size": 8}
LAYOUTS = list(
    itertools.product(
        [{"recurrent": False}, {"recurrent": True}],
        [{}, {"batch_norm": True}],
        [{"patch_grid": TILES}, {"patch_grid": SHARED, "head_kernel": 3}],
        [True, False],  # whether the patch is observed
        [True, False],  # whether an action ends the episode
    )
)


def _policy(arguments, *, patch, stop):
    """In double precision, with weights and statistics that are nowhere 0 or 1."""
    vectors = {"origin": 3, "belief": 2, "progress": 2, **({"patch": 5} if patch else {})}
    parts = {name: spaces.Box(0.0, 1.0, (size,), np.float32) for name, size in vectors.items()}
    parts["glance"] = spaces.Box(0.0, 6.0, (4, SIDE, SIDE), np.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        policy = GruActorCriticPolicy(
            spaces.Dict(parts),
            spaces.Discrete(SIDE**2 + stop),
            lambda _: 1e-3,
            head="spatial",
            channels=2,
            hidden_dim=6,
            head_dim=7,
            clamp_probs=False,
            **arguments,
        ).double()
        for weight in policy.parameters():
            torch.nn.init.normal_(weight, std=0.5)
    return policy


def _observations(policy):
    """`(2, 3, ...)`; the first look of the first row has nothing before it."""
    generator = torch.Generator().manual_seed(5)
    seen = {
        name: torch.rand(ROWS, STEPS, *part.shape, generator=generator, dtype=torch.float64)
        for name, part in policy.observation_space.items()
    }
    corners = torch.randint(0, SIDE, (ROWS, STEPS, 2), generator=generator) / (SIDE - 1)
    seen["origin"] = torch.cat([corners, torch.ones(ROWS, STEPS, 1)], dim=-1).double()
    seen["origin"][0, 0] = 0.0
    return seen


def _plain(policy, seen, features):
    """`(N, T, A)` logits, one position of one step after the other.

    Args:
        policy: whose weights.
        seen: observations `(N, T, ...)`.
        features: `(N, T, S)`, the GRU's state if there is one and what is seen beside the glance.
    """
    head = policy.actor
    look, patch_size = head.last_look, policy.arguments()["patch_grid"]["patch_size"]
    corners = head.grid.all_offsets().tolist()
    hidden = []
    for row, step in itertools.product(range(ROWS), range(STEPS)):
        glance, context = seen["glance"][row, step], features[row, step]
        kernel = head.cells.weight
        cells = F.conv2d(glance[None], kernel, padding=kernel.shape[-1] // 2)[0]
        shared = F.linear(glance.mean(dim=(1, 2)), head.frame.weight, head.frame.bias)
        shared = shared + head.state.weight @ context
        for position, corner in enumerate(corners):
            under = 0.0
            for i, j in itertools.product(range(SIDE), repeat=2):  # a cell is 4 pixels wide
                inside = [
                    max(min(at + patch_size, 4 * k + 4) - max(at, 4 * k), 0) / patch_size
                    for at, k in zip(corner, (i, j), strict=True)
                ]
                under = under + inside[0] * inside[1] * cells[:, i, j]
            there = under + shared
            row_before, column_before, was = seen["origin"][row, step]
            if was:
                down = position // SIDE - round((SIDE - 1) * float(row_before)) + SIDE - 1
                right = position % SIDE - round((SIDE - 1) * float(column_before)) + SIDE - 1
                said = look.offsets.weight[down * (2 * SIDE - 1) + right]
                if look.product is not None:
                    said = said * (1 + look.product(seen["patch"][row, step]))
                there = there + said
            hidden.append(there)
    hidden = torch.stack(hidden)
    if policy.batch_norm:
        deviation = hidden.var(dim=0, unbiased=False)
        hidden = (hidden - hidden.mean(dim=0)) / (deviation + head.norm.eps).sqrt()
        hidden = hidden * head.norm.weight + head.norm.bias
    scores = head.score(head.deeper(hidden.relu()).relu())
    scores = scores.view(ROWS, STEPS, -1) + head.bias
    if head.places is not None:
        scores = scores + head.places(features)
    if head.skip is not None:
        mean = seen["glance"].mean(dim=(-2, -1))
        last = head.skip.score(F.relu(head.skip.frame(mean) + head.skip.state(features)))
        scores = torch.cat([scores, last], dim=-1)
    return scores


def _made(policy, outputs):
    """A loss of outputs `(N, T, ...)`, and its gradients by name."""
    policy.zero_grad()
    generator = torch.Generator().manual_seed(7)
    weights = torch.randn(outputs.shape, generator=generator, dtype=torch.float64)
    (outputs * weights).sum().backward()
    return {n: w.grad.clone() for n, w in policy.named_parameters() if w.grad is not None}


@pytest.mark.parametrize(("memory", "norm", "grid", "patch", "stop"), LAYOUTS, ids=str)
def test_whole_episodes_are_the_formula_and_so_are_their_gradients(memory, norm, grid, patch, stop):
    policy = _policy({**memory, **norm, **grid}, patch=patch, stop=stop)
    policy.train()
    assert policy.actor.cells_are_positions == (grid["patch_grid"] == TILES)
    seen = _observations(policy)
    features = policy._features(policy._scaled(seen))[0]
    if not policy.recurrent:
        torch.testing.assert_close(features, seen_beside(seen), rtol=0, atol=0)
    expected = _plain(policy, seen, features).log_softmax(dim=-1)
    got = policy.evaluate_episodes(seen)[0].logits
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    gradients, wanted = _made(policy, got), _made(policy, expected)
    assert gradients.keys() == wanted.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, wanted[name], rtol=0, atol=1e-12, msg=name)


@pytest.mark.parametrize("memory", [{"recurrent": False}, {"recurrent": True}], ids=str)
def test_steps_are_the_formula_too(memory):
    policy = _policy({**memory, "patch_grid": SHARED}, patch=True, stop=True)
    policy.eval()
    seen = _observations(policy)
    features = policy._features(policy._scaled(seen))[0]
    expected = _plain(policy, seen, features).log_softmax(dim=-1)
    state, starts = policy.initial_state(ROWS).double(), torch.ones(ROWS, dtype=torch.bool)
    for t in range(STEPS):
        now = {name: part[:, t] for name, part in seen.items()}
        step = policy.step(now, state, starts, uniforms=torch.tensor([0.3, 0.99]))
        state, starts = step.policy_state, torch.zeros_like(starts)
        chosen = expected[:, t].gather(1, step.actions[:, None])[:, 0]
        torch.testing.assert_close(step.log_probs, chosen, rtol=0, atol=1e-12)
        assert len(set(step.actions.tolist())) == 2


def test_a_bias_before_batch_norm_gets_rounding_alone_for_a_gradient():
    """What shifts a whole channel is subtracted again: exactly 0, so two ways never agree on it."""
    arguments = {"recurrent": False, "patch_grid": TILES, "batch_norm": True}
    policy = _policy(arguments, patch=True, stop=False)
    policy.train()
    seen = _observations(policy)
    exact = _made(policy, policy.evaluate_episodes(seen)[0].logits)["actor.frame.bias"]
    assert float(exact.abs().max()) < 1e-13
    policy.float()
    rounded = {name: part.float() for name, part in seen.items()}
    noisy = _made(policy, policy.evaluate_episodes(rounded)[0].logits)["actor.frame.bias"]
    assert 0 < float(noisy.abs().max()) < 1e-4


def test_an_arrow_says_there_relative_to_the_last_patch():
    grid = PatchGrid(7, 112, 16)
    look = LastLook(1, grid, 1)
    with torch.no_grad():
        look.offsets.weight.zero_()
        look.offsets.weight[(6 + 1) * 13 + (6 - 2)] = 3.0  # one row down, two columns to the left
        look.product.weight.fill_(2.0)
        look.product.bias.zero_()
    origin = torch.tensor([[2 / 6, 4 / 6, 1.0], [2 / 6, 4 / 6, 0.0], [0.0, 1 / 6, 1.0]])
    there, times = look.factors(origin, torch.tensor([[0.5], [0.5], [0.5]]))
    said = (there * times).detach()[..., 0]
    assert said[0].nonzero().tolist() == [[3 * 7 + 2]]
    assert float(said[0, 23]) == pytest.approx(3.0 * (1 + 2 * 0.5))
    assert not said[1].any()  # there was no look
    assert not said[2].any()  # two columns to the left is outside
