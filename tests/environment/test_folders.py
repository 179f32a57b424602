"""A folder that is held and removed is not made again, whoever writes there."""

import pickle
import shutil

import pytest

from adafocus_env.files import write_json, write_lines
from adafocus_env.folders import (
    FolderRemovedError,
    held,
    hold_as_parent,
    make_folder,
    refuse_removed,
)

WRITERS = {
    "json": lambda folder: write_json(folder / "deep" / "x.json", {}),
    "lines": lambda folder: write_lines(folder / "x.txt", []),
    "folder": lambda folder: make_folder(folder / "deep"),
    "nothing": lambda folder: None,
}


def remove_within(folder, write, made_anew):
    with held(folder):
        write(folder)
        shutil.rmtree(folder)
        if made_anew:
            folder.mkdir()
        write(folder)


@pytest.mark.parametrize("made_anew", [False, True])
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_removed_folder_stays_as_its_remover_left_it(tmp_path, write, made_anew):
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(FolderRemovedError) as raised:
        remove_within(folder, write, made_anew)
    assert raised.value.filename == str(folder)
    assert list(tmp_path.rglob("*")) == ([folder] if made_anew else [])


def test_an_error_that_the_removal_has_caused_is_not_what_is_raised(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(FolderRemovedError):
        remove_within(folder, lambda path: (path / "x").write_text(""), made_anew=False)


def test_what_is_held_no_longer_and_other_folders_are_written_to(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with held(folder), held(folder):
        make_folder(tmp_path / "run2")
    folder.rmdir()
    make_folder(folder)


def test_another_error_within_is_left_as_it_is(tmp_path):
    with pytest.raises(ZeroDivisionError), held(tmp_path):
        raise ZeroDivisionError


def test_a_worker_holds_what_its_parent_holds_and_can_say_that_it_is_gone(tmp_path):
    hold_as_parent({tmp_path / "gone": (0, 0)})
    with pytest.raises(FolderRemovedError) as raised:
        refuse_removed(tmp_path / "gone" / "x")
    assert pickle.loads(pickle.dumps(raised.value)).filename == str(tmp_path / "gone")
