"""RunningMultiplyAdds: what a training computes, counted by its layers."""

import pytest
import torch
from torch import nn

from agents.flops import RunningMultiplyAdds, count_multiply_adds, executed_multiply_adds


def _running(run):
    with RunningMultiplyAdds() as counter:
        run()
    return counter.total


def test_forward_and_backward_of_each_layer_are_counted_by_hand():
    images = torch.zeros(2, 3, 8, 8)
    # 2 x 8 x 8 outputs of 4 channels from 3 x 3 x 3 inputs; the images need no gradient.
    convolution = nn.Conv2d(3, 4, 3, padding=1)
    assert _running(lambda: convolution(images)) == 2 * (2 * 64 * 4) * 27
    with torch.no_grad():
        assert _running(lambda: convolution(images)) == (2 * 64 * 4) * 27
    # By groups of channels: each output sees one input channel.
    by_group = nn.Conv2d(3, 3, 3, padding=1, groups=3)
    assert _running(lambda: by_group(images)) == 2 * (2 * 64 * 3) * 9
    # Behind the convolution the gradient goes on to the input.
    linear = nn.Linear(256, 5)
    both = _running(lambda: linear(convolution(images).flatten(1)))
    assert both == 2 * (2 * 64 * 4) * 27 + 3 * 2 * 256 * 5
    # Three gates of 6 x (4 + 6); two episodes of 5 steps, of which the first has no state before.
    gru = nn.GRU(4, 6, batch_first=True)
    steps = _running(lambda: gru(torch.zeros(2, 5, 4)))
    assert steps == 10 * 18 * 4 * 2 + (3 * 10 - 2) * 18 * 6
    rows, columns = torch.zeros(3, 4, requires_grad=True), torch.zeros(4, 5)
    for product in (lambda: rows @ columns, lambda: torch.einsum("ij,jk->ik", rows, columns)):
        assert _running(product) == 2 * 3 * 4 * 5


@pytest.mark.parametrize("part", ["glancer", "focuser"])
def test_inference_costs_what_the_counter_of_operations_says(tiny_recognizer, part):
    network = getattr(tiny_recognizer, part)
    images = torch.zeros(2, 3, 28, 28)

    def run():
        with torch.no_grad():
            network(images)

    assert _running(run) == count_multiply_adds(run)


def test_a_clip_through_the_classifier_costs_what_it_executes(tiny_recognizer):
    classifier = tiny_recognizer.classifier
    clips = torch.zeros(2, 4, classifier.gru.input_size)

    def run():
        with torch.no_grad():
            classifier.sequence(clips)

    assert _running(run) == executed_multiply_adds(run) > 0
