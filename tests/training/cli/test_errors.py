"""Errors of the system as one line."""

import errno
import os

import pytest

from train.cli.errors import one_line


@pytest.mark.parametrize("encode", [str, os.fsencode])
def test_a_run_folder_that_was_removed_is_said_to_be(tmp_path, encode):
    folder = tmp_path / "run"
    for inside in ("tensorboard/events", "training_state.pt"):
        error = OSError(errno.ENOENT, "No such file or directory", encode(str(folder / inside)))
        assert f"{folder} was removed while the command ran; " in one_line(error, folder)
    folder.mkdir()  # made anew by another file that is written into it
    lost = OSError(errno.ENOENT, "No such file", encode(str(folder / "tensorboard" / "events")))
    assert f"{folder} was removed while the command ran; " in one_line(lost, folder)
    other = OSError(errno.ENOENT, "No such file", encode(str(folder / "x.txt")))
    assert one_line(other, folder) == f"{folder / 'x.txt'}: No such file"
