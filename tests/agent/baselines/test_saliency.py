"""Class-activation maps of the glancer and the patches that cover them, by hand."""

import numpy as np
import pytest
import torch

from agents.baselines.saliency import SaliencyAgent, class_activation, patch_coverage


def test_a_patch_covers_its_share_of_every_cell():
    # 8 pixels, 2x2 cells of 4; a patch of 4 at (0, 0), and one at (2, 1): rows 2..5, columns 1..4.
    offsets = torch.tensor([[0, 0], [2, 1]])
    coverage = patch_coverage(offsets, patch_size=4, frame_size=8, map_size=(2, 2))
    assert coverage.tolist() == [[1, 0, 0, 0], [0.5 * 0.75, 0.5 * 0.25, 0.5 * 0.75, 0.5 * 0.25]]


def test_cells_need_not_be_whole_pixels():
    # Cells of 10 / 3 pixels; the patch covers the first one and half of the second.
    coverage = patch_coverage(torch.tensor([[0, 0]]), patch_size=5, frame_size=10, map_size=(3, 1))
    assert coverage.flatten().tolist() == pytest.approx([0.5, 0.25, 0.0])


def test_the_response_is_that_of_the_class_the_frame_speaks_for():
    # Channel means 1 and 2. Class 0: 1 - 2 + 4 = 3; class 1: 2 * 2 = 4 wins.
    maps = torch.tensor([[[[0.0, 2.0]], [[4.0, 0.0]]]])
    weight, bias = torch.tensor([[1.0, -1.0], [0.0, 2.0]]), torch.tensor([4.0, 0.0])
    assert class_activation(maps, weight, bias).tolist() == [[[8.0, 0.0]]]
    # With a bias of 6 class 0 wins.
    assert class_activation(maps, weight, bias + torch.tensor([2.0, 0.0])).tolist() == [
        [[-4.0, 2.0]]
    ]


def test_it_looks_where_a_channel_of_the_guessed_class_lights_up(make_vector_env, tiny_recognizer):
    env = make_vector_env(3, grid_size=7)
    agent = SaliencyAgent(env.core, tiny_recognizer)
    head = tiny_recognizer.glancer.class_head()
    channels, height, width = env.core.source.observation_shape
    strongest = int((head.weight.max(dim=0).values).argmax())
    maps = np.zeros((3, channels, height, width), np.float32)
    maps[0, strongest, 0, 0] = maps[1, strongest, 0, -1] = maps[2, strongest, -1, -1] = 6.0
    actions, state = agent.predict(maps)
    assert state is None
    # Whichever patches cover the corner cell whole: the first of them, in the corner of the grid.
    offsets = env.core.grid.offsets(torch.from_numpy(actions)).tolist()
    cell = 40 / height
    for (top, left), (row, column) in zip(
        offsets, [(0, 0), (0, width - 1), (height - 1, width - 1)], strict=True
    ):
        assert top <= row * cell < top + 12
        assert left <= column * cell < left + 12


def test_the_head_is_that_of_stage_0(tiny_recognizer):
    frames = torch.rand(2, 3, 28, 28)
    glancer = tiny_recognizer.glancer
    with torch.no_grad():
        _, pooled = glancer.glance(frames)
        torch.testing.assert_close(glancer.class_head()(pooled), glancer(frames))


def test_pooled_observations_have_no_places(make_vector_env, tiny_recognizer):
    core = make_vector_env(2, observation="vector").core
    with pytest.raises(ValueError, match="observation='map'"):
        SaliencyAgent(core, tiny_recognizer)
