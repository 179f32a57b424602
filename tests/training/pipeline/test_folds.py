"""Folds by group: nothing is parted, classes are mixed, and what cannot be is said in one line."""

from pathlib import Path

import pytest

from adafocus_env.data.lists.list_files import VideoRecord
from train.config.keys import ConfigError
from train.pipeline.folds import (
    GroupedClip,
    check_classes_can_be_learned,
    read_groups,
    split_by_group,
    with_groups,
)


def _clips(*pairs):
    """Clips of (group, label)."""
    return [
        GroupedClip(VideoRecord(Path(f"/v/{i}.mp4"), 8, (label,)), group)
        for i, (group, label) in enumerate(pairs)
    ]


def test_groups_stay_together_and_every_part_has_all_classes():
    clips = _clips(*[(f"person {i % 6}", i // 6) for i in range(18)])  # six persons, three classes
    parts = split_by_group(clips, 3, seed=0)
    assert sorted(index for part in parts for index in part) == list(range(18))
    for part in parts:
        assert len({clips[i].group for i in part}) == 2
        assert sorted(clips[i].record.label for i in part) == [0, 0, 1, 1, 2, 2]


def test_a_large_group_has_a_part_to_itself_and_rare_classes_are_spread():
    large = [("large", 0)] * 6
    parts = split_by_group(_clips(*large, ("a", 0), ("b", 0), ("c", 1), ("d", 1)), 2, seed=1)
    sizes = sorted(map(len, parts))
    assert sizes == [4, 6] or sizes == [3, 7]
    rare = [sum(i >= 8 for i in part) for part in parts]
    assert rare == [1, 1] or sizes == [4, 6]


def test_every_part_gets_a_group_and_more_parts_than_groups_are_refused():
    clips = _clips(("a", 0), ("a", 1), ("b", 0), ("c", 1))
    assert all(split_by_group(clips, 3, seed=0))
    with pytest.raises(ConfigError, match="4 parts need as many groups of clips, and there are 3"):
        split_by_group(clips, 4, seed=0)


def test_seeds_give_other_folds_and_the_same_seed_the_same():
    clips = _clips(*[(f"g{i}", 0) for i in range(12)])
    first = split_by_group(clips, 4, seed=0)
    assert split_by_group(clips, 4, seed=0) == first
    assert split_by_group(clips, 4, seed=1) != first


def test_groups_are_read_by_path_and_clips_without_one_are_their_own(tmp_path):
    file = tmp_path / "groups.txt"
    file.write_text("a b.mp4 tom\n\nc.mp4 eve\n")
    groups = read_groups(file, tmp_path)
    records = [VideoRecord(tmp_path / name, 8, (0,)) for name in ("a b.mp4", "d.mp4")]
    assert [one.group for one in with_groups(records, groups)] == ["tom", f"{tmp_path}/d.mp4"]
    with pytest.raises(ConfigError, match="names none of the clips"):
        with_groups(records[1:], groups)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.mp4\n", r"groups.txt:1: expected 'path group', got 'a.mp4'"),
        ("a.mp4 x\na.mp4 y\n", "groups.txt:2: a.mp4 is there twice"),
    ],
)
def test_lines_that_cannot_be_read_are_named(tmp_path, text, message):
    (tmp_path / "groups.txt").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_groups(tmp_path / "groups.txt", tmp_path)


def test_one_class_and_a_class_of_one_group_are_refused():
    with pytest.raises(ConfigError, match="all 2 clips are of one class, 'walk'"):
        check_classes_can_be_learned(_clips(("a", 1), ("b", 1)), ("run", "walk"))
    with pytest.raises(ConfigError, match="all clips of the class 'walk' are of one group, 'b'"):
        check_classes_can_be_learned(
            _clips(("a", 0), ("c", 0), ("b", 1), ("b", 1)), ("run", "walk")
        )
