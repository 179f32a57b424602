"""Files that are either the old ones or the new ones."""

import errno
import os
import re
from pathlib import Path

import pytest

from adafocus_env.files import (
    atomic_path,
    differences,
    read_json,
    remove_parts,
    remove_parts_below,
    write_json,
)


def test_a_file_appears_when_it_is_whole(tmp_path):
    file = tmp_path / "result.txt"
    with atomic_path(file) as part:
        part.write_text("half")
        assert not file.exists()
        part.write_text("whole")
    assert file.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [file]


def test_the_temporary_name_cannot_be_guessed_and_what_is_left_of_it_is_removed(tmp_path):
    file = tmp_path / "v[1].txt"
    names = set()
    for _ in range(2):
        with atomic_path(file) as part:
            part.touch()
            names.add(part.name)
    assert len(names) == 2
    assert all(re.fullmatch(r"\.v\[1\]\.txt\.[0-9a-f]{16}\.part", name) for name in names)
    (tmp_path / names.pop()).touch()
    (tmp_path / ".other.txt.0.part").touch()
    remove_parts(file)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.txt.0.part", "v[1].txt"]


def _fail_halfway(file):
    with atomic_path(file) as part:
        part.write_text("half of the new one")
        raise KeyboardInterrupt


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path):
    file = tmp_path / "result.txt"
    file.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        _fail_halfway(file)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_missing_folder_is_an_error(tmp_path):
    file = tmp_path / "missing" / "result.txt"
    with pytest.raises(FileNotFoundError), atomic_path(file) as part:
        part.write_text("whole")


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": {"b": 1, "b": 2}}'])
def test_json_that_is_no_object_is_refused_with_the_file(tmp_path, content):
    file = tmp_path / "settings.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"settings\.json"):
        read_json(file)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="a pipe or device, where a file should be"):
            read_json(path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "missing")


def test_json_comes_back_as_it_was_and_makes_its_folder(tmp_path):
    file = tmp_path / "new" / "result.json"
    write_json(file, {"b": [1.5, None], "a": {"c": "é"}})
    assert read_json(file) == {"b": [1.5, None], "a": {"c": "é"}}


def test_differences_name_what_is_nested_and_shorten_what_is_long():
    there = {"a": {"b": 1, "c": "0" * 64}, "d": (1, 2), "e": list(range(9))}
    here = {"a": {"b": 2, "c": "1" * 64}, "d": [1, 2], "e": list(range(8)), "f": 3}
    assert differences(there, here) == [
        "a.b: 1 there, 2 here",
        f"a.c: {'0' * 12} there, {'1' * 12} here",
        "e: 9 from 0 to 8 there, 8 from 0 to 7 here",
        "f: None there, 3 here",
    ]


class _Full:
    """A file object of a disk without room."""

    def __init__(self, *arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_told_with_the_file_whatever_a_library_says_of_it(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"), atomic_path(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(Path, "open", _Full)
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"), atomic_path(path):
        raise RuntimeError("PytorchStreamWriter failed writing file")
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="about something else"), atomic_path(path):
        raise RuntimeError("about something else")
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_below_a_folder_is_removed(tmp_path):
    (tmp_path / "run" / "policy").mkdir(parents=True)
    for name in ("run/.config.yaml.123.part", "run/policy/.policy.json.9.part", "run/a.part"):
        (tmp_path / name).touch()
    remove_parts_below(tmp_path)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["a.part"]
