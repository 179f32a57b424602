"""Clips that cannot be read or used, groups of clips, and a second run."""

import os
import shutil

import pytest

from train.data_tools.make_lists import counting
from train.data_tools.make_lists.groups import read_groups


def _break_class(tmp_path):
    for path in (tmp_path / "source" / "a").iterdir():
        path.write_bytes(b"")


def _empty_folder(tmp_path):
    (tmp_path / "source" / "c").mkdir()


def _only_one(tmp_path):
    shutil.rmtree(tmp_path / "source" / "b")


def _outside(tmp_path):
    shutil.copy(tmp_path / "source" / "a" / "0.mp4", tmp_path / "source" / "0.mp4")


def _own_list(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "val.txt").write_text("mine")


def _annotated(text):
    return lambda tmp_path: (tmp_path / "given").write_text(text)


def _pipe(tmp_path):
    os.mkfifo(tmp_path / "given")


@pytest.mark.parametrize(
    ("change", "overrides", "message"),
    [
        (_annotated("[" * 10**5), ["annotations=given"], "given cannot be read as JSON"),
        (_annotated("path,label\n" + "a" * 2**18), ["annotations=given"], "as a table: field la"),
        (
            _annotated("path,label,time_start,time_end\na,b,1,inf"),
            ["annotations=given"],
            "given:2: the times '1' and 'inf'",
        ),
        (_annotated('{"database": [1]}'), ["annotations=given"], "a JSON file of no known form"),
        (_annotated("[" * 10**5), ["class_file=given"], "expected a JSON list of names"),
        (_pipe, ["class_file=given"], "given: a pipe or device, where a file should be"),
        (_empty_folder, [], "c: a class folder without a video; bring its videos or remove it"),
        (_only_one, [], "one class only, 'a'; there is nothing to tell apart"),
        (_outside, [], "0.mp4 lies in no class folder"),
        (_own_list, [], "val.txt was not written by make-lists; remove it"),
        (_break_class, ["skip_bad=true"], "class 'a' has no video that can be decoded"),
        (None, ["group=^(.)/"], "group 'a' holds a whole class, 'a' (3 clips)"),
        (None, ["group=nobody"], "gives no clip a group, such as 'a/0.mp4'"),
        (None, ["group=(x"], "is no file and no regular expression"),
        (None, ["split=1"], "split=1 must be between 0 and 1"),
        (None, ["columns={path: a}"], "columns= needs at least"),
        (None, ["annotations=gone.txt"], "annotations=gone.txt: no such file"),
        (None, ["target=source/a"], "lies in it; name a folder beside it"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    put, make, tmp_path, monkeypatch, change, overrides, message, names
):
    monkeypatch.chdir(tmp_path)
    put(*names("a", "b", count=3))
    if change is not None:
        change(tmp_path)
    done = make(*overrides, code=[1, 2])
    assert message in done.err
    assert done.err.count("\n") == 1


def test_a_class_with_one_clip_cannot_be_split(put, make):
    put("a/0.mp4", "b/0.mp4", "b/1.mp4")
    assert "class 'a' has one clip: it cannot be in train and in val" in make(code=1).err


def test_lists_of_other_videos_name_the_line(put, make, write, names):
    put(*names("a", "b", count=2))
    annotations = write("all.txt", "gone.mp4 0\nlost.mp4 1\n")
    done = make(f"annotations={annotations}", code=1)
    assert f"{annotations}:1: none of its videos is below" in done.err
    annotations = write("all.txt", "a/0.mp4 0\nb/0.mp4 1\nb/1.mp4 one more\n")
    assert (
        f"{annotations}:3: label 'more' is no number"
        in make(f"annotations={annotations}", code=1).err
    )


def test_broken_videos_are_listed_and_left_out(put, make, lists, tmp_path, names, report):
    put(*names("a", "b", count=3))
    source = tmp_path / "source"
    (source / "a" / "0.mp4").write_bytes(b"")
    whole = (source / "b" / "0.mp4").read_bytes()
    (source / "b" / "0.mp4").write_bytes(whole[:-200])
    done = make(code=1)
    assert "cannot be decoded: 2" in done.err
    assert f"left out: {source / 'a' / '0.mp4'}: the file is empty" in done.out
    make("skip_bad=true")
    assert len(lists("train.txt") + lists("val.txt")) == 4
    left = [one["video"] for one in report()["left_out"]]
    assert left == ["a/0.mp4", "b/0.mp4"]


def test_a_second_run_reads_nothing_again(put, make, lists, tmp_path, monkeypatch, names):
    put(*names("a", "b", count=2))
    assert "videos: 4, counted before: 0" in make().out
    first = lists("train.txt")
    (tmp_path / "target" / counting.COUNTS_FILE).open("a").write('["a/0.mp')  # killed in a line
    with monkeypatch.context() as patch:
        patch.setattr(counting, "count_frames", None)
        assert "videos: 4, counted before: 4" in make().out
    assert lists("train.txt") == first
    put("a/0.mp4")  # written anew
    assert "videos: 4, counted before: 3" in make().out
    assert "videos: 4, counted before: 4" in make().out


@pytest.mark.parametrize("rule", ["/([a-z]+)_", "groups.txt"])
def test_a_group_is_never_torn_apart(put, make, write, lists, tmp_path, rule):
    people = ("eli", "ido", "ira", "lena", "moshe")
    names = [f"{kind}/{who}_{kind}.mp4" for kind in ("run", "wave") for who in people]
    put(*names)
    if rule == "groups.txt":
        lines = "".join(f"{name} {name.split('/')[1].split('_')[0]}\n" for name in names)
        rule = write("groups.txt", lines)
    done = make(f"group={rule}", "split=0.6", "seed=3")
    assert "groups: 5" in done.out
    who = [
        {line.split("/")[1].split("_")[0] for line in lists(f"{s}.txt")} for s in ("train", "val")
    ]
    assert [len(side) for side in who] == [3, 2]
    assert not who[0] & who[1]
    assert len(lists("train.txt")) == 6
    assert lists("groups.txt")[:2] == ["run/eli_run.mp4 eli", "run/ido_run.mp4 ido"]


def test_groups_with_blanks_and_clips_without_a_group(put, make, lists, tmp_path, names):
    put(*names("a", "b", count=3), "a/my dog 50%.mp4", "b/my dog 50%.mp4")
    done = make("group=my dog 50%")
    assert "groups: 1; 6 clips have none and stand alone" in done.out
    assert "a/my dog 50%.mp4 my%20dog%2050%25" in lists("groups.txt")
    assert read_groups(tmp_path / "target" / "groups.txt")["a/my dog 50%.mp4"] == "my dog 50%"
