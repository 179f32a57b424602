"""AdaFocus with a policy that skips frames: one batch of kept patches, and what it costs."""

import numpy as np
import pytest
import torch

from adafocus_env.networks import FrozenNetworks
from agents.flops import executed_multiply_adds
from agents.inference import AdaFocus

N, T = 5, 6


@pytest.fixture(scope="module")
def frames():
    """`(N, T, 3, 40, 40)` blocks."""
    rng = np.random.default_rng(3)
    blocks = torch.from_numpy(rng.integers(0, 256, (N, T, 3, 5, 5), dtype=np.uint8))
    return blocks.repeat_interleave(8, -2).repeat_interleave(8, -1)


@pytest.fixture
def policy_for(make_policy):
    """Makes a policy that skips some frames; takes the recognizer."""

    def make(recognizer, told=0, bias=0.5):
        channels, *places = recognizer.map_shape()
        sizes = {"channels": 8, "hidden_dim": 16}
        policy = make_policy(shape=(channels + told, *places), actions=50, **sizes)
        policy.sees_cost = bool(told)
        with torch.no_grad():
            policy.actor.weight.mul_(5.0)
            policy.actor.bias[-1] += bias
        return policy.eval()

    return make


def test_videos_keep_different_numbers_of_frames_and_their_patches_are_one_batch(
    tiny_recognizer, frames, monkeypatch, policy_for
):
    batches = []
    focus = FrozenNetworks.focus

    def remembered(self, *args, **kwargs):
        batches.append(len(args[1]))
        return focus(self, *args, **kwargs)

    monkeypatch.setattr(FrozenNetworks, "focus", remembered)
    model = AdaFocus(tiny_recognizer, policy_for(tiny_recognizer))
    _, origins = model.predict(frames)
    focused = (~origins.isnan().any(dim=2)).sum(dim=1)
    assert batches == [int(focused.sum())]
    assert len(focused.unique()) > 1
    assert 0 < int(focused.sum()) < N * T


def test_a_skipped_frame_gives_the_classifier_zeros(tiny_recognizer, frames, policy_for):
    model = AdaFocus(tiny_recognizer, policy_for(tiny_recognizer))
    logits, origins = model.predict(frames)
    focused = ~origins[..., 0].isnan()
    # 28 free pixels; 6 lines of the grid lie between 7 positions.
    lines = torch.tensor([i * 28 // 6 for i in range(7)])
    offsets = lines[(origins.nan_to_num() * 6).round().long()]
    networks = FrozenNetworks(tiny_recognizer)
    _, glances = networks.glance(frames.flatten(0, 1))
    patches = networks.focus(frames.flatten(0, 1), offsets.flatten(0, 1))
    vectors = patches * focused.flatten()[:, None]
    each = (part.unflatten(0, (N, T)) for part in (glances, vectors))
    expected, _ = tiny_recognizer.classify_sequence(*each)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0.0)


def test_frames_pushed_one_by_one_are_skipped_alike(tiny_recognizer, frames, policy_for):
    model = AdaFocus(tiny_recognizer, policy_for(tiny_recognizer))
    logits, origins = model.predict(frames)
    state = None
    for t in range(T):
        pushed, boxes, state = model.push(frames[:, t], state)
        torch.testing.assert_close(pushed, logits[:, t], atol=1e-5, rtol=0.0)
        skipped = origins[:, t, 0].isnan()
        assert (boxes[:, 2] == 0).tolist() == skipped.tolist()
        assert (boxes[skipped] == 0).all()


@pytest.mark.parametrize("bias", [-100.0, 0.5, 100.0], ids=["none", "some", "all"])
def test_the_multiply_adds_it_reports_are_those_that_are_executed(
    tiny_recognizer, frames, bias, policy_for
):
    model = AdaFocus(tiny_recognizer, policy_for(tiny_recognizer, bias=bias))
    executed = executed_multiply_adds(lambda: model.predict(frames))
    _, origins = model.predict(frames)
    reported = model.multiply_adds(origins)
    assert reported.shape == (N,)
    assert float(reported.sum()) == pytest.approx(executed, rel=1e-9)
    # A stream that is stopped early executes what its frames are charged.
    _, origins = model.predict(frames[:1])
    for stop in (1, T):

        def push_until(stop=stop):
            state = None
            for t in range(stop):
                state = model.push(frames[:1, t], state)[2]

        charged = float(model.multiply_adds(origins[:, :stop]))
        assert executed_multiply_adds(push_until) == pytest.approx(charged, rel=1e-9)


def test_skipping_saves_the_focusers_share(tiny_recognizer, frames, policy_for):
    spent = []
    for bias in (-100.0, 100.0):
        model = AdaFocus(tiny_recognizer, policy_for(tiny_recognizer, bias=bias))
        _, origins = model.predict(frames)
        spent.append(model.multiply_adds(origins))
    patches = torch.zeros(T, 3, 12, 12, dtype=torch.uint8)
    focused = executed_multiply_adds(lambda: tiny_recognizer.focus(patches))
    saved = (spent[0] - spent[1]).tolist()
    assert saved == pytest.approx([focused] * N)


def test_a_policy_of_random_costs_is_told_one(tiny_recognizer, frames, policy_for):
    policy = policy_for(tiny_recognizer, told=1)
    with pytest.raises(ValueError, match=r"must be told one: give skip_cost=0\.05"):
        AdaFocus(tiny_recognizer, policy)
    with pytest.raises(ValueError, match=r"knows no costs of looks; leave out skip_cost=0\.1"):
        AdaFocus(tiny_recognizer, policy_for(tiny_recognizer), skip_cost=0.1)
    origins = [
        AdaFocus(tiny_recognizer, policy, skip_cost=cost).predict(frames)[1] for cost in (0.0, 0.5)
    ]
    assert not torch.equal(origins[0].nan_to_num(-1.0), origins[1].nan_to_num(-1.0))


def test_sb3s_adapter_passes_costs_and_skipped_frames_on(make_adapter):
    env = make_adapter(2, locations="skip", reward="skip", skip_cost="random")
    env.seed(0)
    env.reset()
    costs = [info["skip_cost"] for info in env.reset_infos]
    assert costs[0] != costs[1]
    _, rewards, _, infos = env.step(np.array([49, 3]))
    assert rewards[0] == 0.0
    assert [info["skipped"] for info in infos] == [True, False]
    assert [info["skip_cost"] for info in infos] == costs
