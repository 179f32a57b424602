"""Errors of the system as one line."""

from adafocus_env.folders import FolderRemovedError
from train.cli.errors import one_line


def test_a_folder_that_was_removed_is_said_to_be(tmp_path):
    said = one_line(FolderRemovedError(tmp_path))
    assert said.startswith(f"{tmp_path} was removed while the command ran; ")
