"""Files that are either the old ones or the new ones."""

import pytest

from adafocus_env.files import atomic_path


def test_a_file_appears_when_it_is_whole(tmp_path):
    file = tmp_path / "result.txt"
    with atomic_path(file) as part:
        part.write_text("half")
        assert not file.exists()
        part.write_text("whole")
    assert file.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [file]


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
