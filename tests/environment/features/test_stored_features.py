"""What is gathered from the shards of a bank, whichever of them hold it."""

import pytest
import torch

from adafocus_env.features.stored_features import StoredFeatures


@pytest.mark.parametrize("order", ["any", "by_clip", "one_clip"])
def test_features_are_gathered_in_the_order_asked_for_from_any_number_of_shards(order):
    whole = {
        "maps": torch.arange(7 * 3 * 2).view(7, 3, 2).half(),
        "patches": torch.arange(7 * 3 * 4 * 2).view(7, 3, 4, 2).half(),
    }
    generator = torch.Generator().manual_seed(0)
    clips, steps, positions = (torch.randint(0, n, (60,), generator=generator) for n in (7, 3, 4))
    clips = {"any": clips, "by_clip": clips.sort().values, "one_clip": clips * 0 + 6}[order]
    expected = {
        "maps": whole["maps"][clips, steps].float(),
        "patches": whole["patches"][clips, steps, positions].float(),
    }
    for size in (2, 3, 7):
        parts = {name: list(array.split(size)) for name, array in whole.items()}
        stored = StoredFeatures(parts, torch.device("cpu"))
        torch.testing.assert_close(stored.take("maps", clips, steps), expected["maps"])
        taken = stored.take("patches", clips, steps, positions)
        torch.testing.assert_close(taken, expected["patches"])
        torch.testing.assert_close(stored.take("maps", clips), whole["maps"][clips].float())


def test_whole_clips_are_copied_as_they_lie_from_any_number_of_shards():
    whole = torch.arange(7 * 6 * 2).view(7, 6, 2).half()
    clips = torch.tensor([6, 0, 1, 1, 5])  # 0 and 1 lie side by side, in one shard or in two
    rows, steps = clips.repeat_interleave(6), torch.arange(6).repeat(5)
    for size in (1, 2, 7):
        stored = StoredFeatures({"maps": list(whole.split(size))}, torch.device("cpu"))
        taken = stored.take("maps", rows, steps)
        assert taken.dtype == torch.float32
        torch.testing.assert_close(taken, whole[clips].flatten(0, 1).float())
        taken.zero_()  # a copy
        torch.testing.assert_close(stored.take("maps", rows, steps), whole[rows, steps].float())
