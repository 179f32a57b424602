"""Folders that are removed while a command writes into them: one line, and they stay gone."""

import os
import shutil
from unittest import mock

import pytest

from disks import commands
from workshop import run, shrunk_splits

pytestmark = pytest.mark.slow

TARGETS = {"bank": "bank/val", "extract-frames": "frames"}


def run_removing(given, folder, at):
    """Runs a command; the folder is removed when so many files in all have been written."""
    written, sync = 0, os.fsync

    def sync_and_remove(descriptor):
        nonlocal written
        sync(descriptor)
        written += 1
        if written == at:
            shutil.rmtree(folder)

    with mock.patch.object(os, "fsync", sync_and_remove), shrunk_splits():
        answer = run(*given)
    assert written >= at
    return answer


@pytest.mark.parametrize("at", [3, 7])
@pytest.mark.parametrize(
    "name", ["stage0", "stage1", "stage2", "stage3", "bank", "extract-frames", "benchmark", "sweep"]
)
def test_it_is_said_in_one_line_and_nothing_is_made_again(shop, tmp_path, name, at):
    place = tmp_path / "place"
    folder = place / TARGETS.get(name, "run")
    given = {
        **commands(shop, place),
        "sweep": [*shop.stage("stage1", place / "run"), "-m", "seed=0,1"],
    }[name]
    answer = run_removing(given, folder, at)
    assert answer.is_one_line, answer
    assert "was removed while the command ran; " in answer.err
    assert not folder.exists()
    assert list(place.rglob(".*.part*")) == []
