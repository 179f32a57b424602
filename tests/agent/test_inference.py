"""AdaFocus: whole videos, streams, files."""

import numpy as np
import pytest
import torch

from adafocus_env.envs import PatchLocalizationVectorEnv
from adafocus_env.networks import CheckpointError
from agents.evaluation import evaluate_agent
from agents.inference import AdaFocus
from agents.policies.policy_files import save_policy

N, T = 3, 4


@pytest.fixture
def policy_for(make_policy):
    """Makes a policy that looks at more than one place; takes the shape that it sees."""

    def make(shape, actions=49, **arguments):
        sizes = {"channels": 32, "hidden_dim": 32, "seed": 2}
        policy = make_policy(shape=shape, actions=actions, **sizes, **arguments)
        if actions is None:  # away from the middle, where a new policy looks
            generator = torch.Generator().manual_seed(0)
            torch.nn.init.normal_(policy.actor.weight, generator=generator)
        policy.set_training_mode(False)
        return policy

    return make


@pytest.fixture
def policy(tiny_recognizer, policy_for):
    return policy_for(tiny_recognizer.map_shape())


@pytest.fixture
def frames(make_videos):
    """`(3, 4, 3, 40, 40)` uint8."""
    return make_videos(N).frames[:, :T]


@pytest.mark.parametrize(
    ("locations", "trained_in"), [("grid", "grid"), ("grid", "continuous"), ("continuous", "grid")]
)
def test_predict_gives_what_evaluation_gives(
    tiny_recognizer, make_videos, policy_for, locations, trained_in
):
    policy = policy_for(tiny_recognizer.map_shape(), 49 if trained_in == "grid" else None)
    videos = make_videos(N)
    videos.frames = videos.frames[:, ::2].repeat_interleave(2, dim=1)  # no choice of frames
    env = PatchLocalizationVectorEnv.from_parts(
        tiny_recognizer, videos, num_envs=N, autoreset_mode="disabled", locations=locations
    )
    evaluation = evaluate_agent(env, policy)
    frames = torch.stack([videos.clip(index, 0).frames for index in range(N)])
    logits, origins = AdaFocus(tiny_recognizer, policy).predict(frames)
    np.testing.assert_allclose(logits.numpy(), evaluation.logits, rtol=0, atol=1e-5)
    # 28 free pixels over six intervals: offsets are the origins' exact floor.
    rounding = 1e-6 if trained_in == "grid" else 0.0
    offsets = (origins.double() * 28 + rounding).floor().numpy()
    np.testing.assert_array_equal(offsets, evaluation.boxes[..., :2])
    assert len(np.unique(offsets)) > 2


@pytest.mark.parametrize(
    ("sees", "arguments"),
    [("map", {}), ("vector", {"actions": None}), ("map", {"batch_norm": True})],
    ids=["grid", "continuous", "batch norm"],
)
def test_streams_give_what_predict_gives(tiny_recognizer, frames, policy_for, sees, arguments):
    shape = tiny_recognizer.map_shape()
    policy = policy_for(shape if sees == "map" else shape[:1], **arguments)
    model = AdaFocus(tiny_recognizer, policy)
    logits, origins = model.predict(frames)
    state = None
    for t in range(T):
        now, boxes, state = model.push(frames[:, t], state)
        torch.testing.assert_close(now, logits[:, t], rtol=0, atol=1e-5)
        assert boxes.dtype == torch.int64
        corners = (origins[:, t].double() * 28 + 1e-6).floor().long()
        assert boxes.tolist() == [[top, left, 12, 12] for top, left in corners.tolist()]


def test_a_state_can_be_kept_and_gone_on_from_twice(tiny_recognizer, policy, frames):
    model = AdaFocus(tiny_recognizer, policy)
    _, _, state = model.push(frames[:, 0])
    first = model.push(frames[:, 1], state)[0]
    model.push(frames[:, 2], state)
    assert torch.equal(model.push(frames[:, 1], state)[0], first)
    from_start = model.push(frames[:, 1], model.initial_state(N))[0]
    assert torch.equal(from_start, model.push(frames[:, 1])[0])
    assert not torch.allclose(from_start, first)


def test_videos_may_be_longer_than_those_it_was_trained_on(tiny_recognizer, policy, make_videos):
    model = AdaFocus(tiny_recognizer, policy)
    frames = make_videos(2).frames
    logits, origins = model.predict(frames)
    assert (logits.shape, origins.shape) == ((2, 8, 3), (2, 8, 2))
    torch.testing.assert_close(model.predict(frames[:, :4])[0], logits[:, :4], rtol=0, atol=1e-5)
    assert 0.0 <= origins.min() <= origins.max() <= 1.0


def test_bf16_is_within_its_tolerance(tiny_recognizer, policy, frames):
    exact, rounded = (
        AdaFocus(tiny_recognizer, policy, amp=amp).push(frames[:, 0]) for amp in ("none", "bf16")
    )
    same = (exact[1] == rounded[1]).all(dim=1)  # where rounding does not turn the policy's choice
    assert same.any()
    difference = exact[0].softmax(dim=1) - rounded[0].softmax(dim=1)
    assert 0 < difference[same].abs().max() < 0.05


def test_a_run_folder_is_loaded(tiny_recognizer, policy, frames, tmp_path):
    tiny_recognizer.save(tmp_path / "recognizer")
    with pytest.raises(FileNotFoundError, match="policy"):
        AdaFocus.load(tmp_path, device="cpu")
    save_policy(policy, tmp_path / "policy", recognizer_sha256=tiny_recognizer.fingerprint())
    loaded = AdaFocus.load(tmp_path, device="cpu")
    expected = AdaFocus(tiny_recognizer, policy).predict(frames)
    for got, wanted in zip(loaded.predict(frames), expected, strict=True):
        assert torch.equal(got, wanted)


def test_parts_and_frames_that_do_not_fit_are_refused(
    tiny_recognizer, policy, policy_for, frames, tmp_path
):
    other = policy_for((7, 3, 3))
    with pytest.raises(ValueError, match=r"sees \(7, 3, 3\), but the recognizer's glances are"):
        AdaFocus(tiny_recognizer, other)
    with pytest.raises(ValueError, match=r"Discrete\(51\) are no actions of a 7x7 grid"):
        AdaFocus(tiny_recognizer, policy_for(tiny_recognizer.map_shape(), 51))
    tiny_recognizer.save(tmp_path / "recognizer")
    save_policy(other, tmp_path / "policy", recognizer_sha256="")
    with pytest.raises(CheckpointError, match="but the recognizer's glances are"):
        AdaFocus.load(tmp_path, device="cpu")

    model = AdaFocus(tiny_recognizer, policy)
    for wrong in (frames.float(), frames[0], frames[..., :39], frames[:0]):
        with pytest.raises(ValueError, match=r"expected uint8 frames \(N, T, 3, 40, 40\), got"):
            model.predict(wrong)
    with pytest.raises(ValueError, match=r"expected uint8 frames \(N, 3, 40, 40\), got"):
        model.push(frames)
    with pytest.raises(ValueError, match=r"a list of paths, such as \['a\.mp4'\]"):
        model.predict_files("a.mp4")
