"""`adafocus make-lists`: the forms in which data sets are handed out."""

import csv
import json

import pytest

from adafocus_env.data import VideoOptions, open_videos
from train.data_tools.make_lists.groups import read_groups


def test_class_folders_are_split_by_class_and_can_be_opened(put, make, lists, tmp_path, names):
    put(*names("run", "walk slowly"))
    done = make("split=0.8")
    assert lists("classes.txt") == ["run", "walk slowly"]
    rows = [line.rsplit(",", 2) for line in lists("train.txt") + lists("val.txt")]
    assert sorted((path, label) for path, _, label in rows) == [
        *((name, "0") for name in names("run")),
        *((name, "1") for name in names("walk slowly")),
    ]
    assert {frames for _, frames, _ in rows} == {"3"}
    assert sorted(line[-1] for line in lists("val.txt")) == ["0", "1"]  # 4 of 5 are for training
    assert not (tmp_path / "target" / "groups.txt").exists()
    options = VideoOptions(num_frames=2, frame_size=32)
    videos = open_videos("videos", "val", options, data_dir=tmp_path / "target")
    assert videos.clip(0, 0).frames.shape == (2, 3, 32, 32)
    assert f"next: adafocus check-data experiment=videos data_dir={tmp_path / 'target'}" in done.out


def test_folders_of_splits_are_taken_as_given(put, make, lists):
    put("training/a/1.mp4", "training/b/1.mp4", "validation/a/2.mp4", "testing/b/3.mp4")
    make()
    assert lists("train.txt") == ["training/a/1.mp4,3,0", "training/b/1.mp4,3,1"]
    assert lists("val.txt") == ["validation/a/2.mp4,3,0"]
    assert lists("test.txt") == ["testing/b/3.mp4,3,1"]


def test_ucf101(put, make, write, lists):
    """Labels begin at 1; the test lists have none."""
    put("Archery/v_g01.avi", "Bowling/v_g01.avi", "Archery/v_g02.avi", "Bowling/v_g02.avi")
    train = write("trainlist01.txt", "Archery/v_g01.avi 1\r\nBowling/v_g01.avi 2\r\n")
    test = write("testlist01.txt", "Archery/v_g02.avi\r\nBowling/v_g02.avi\r\n")
    classes = write("classInd.txt", "1 Archery\n2 Bowling\n")
    done = make(f"train={train}", f"val={test}", f"class_file={classes}")
    assert lists("classes.txt") == ["Archery", "Bowling"]
    assert lists("train.txt") == ["Archery/v_g01.avi,3,0", "Bowling/v_g01.avi,3,1"]
    assert lists("val.txt") == ["Archery/v_g02.avi,3,0", "Bowling/v_g02.avi,3,1"]
    assert "labels begin at 1" in done.out


def test_hmdb51(put, make, write, lists, names):
    """A file for each class and split; 1 is training, 2 test, 0 neither; no val is given."""
    put(*names("clap", "wave", count=3))
    for name in ("clap", "wave"):
        write(f"{name}_test_split1.txt", "0.mp4 1 \n1.mp4 1 \n2.mp4 2 \n")
        write(f"{name}_test_split2.txt", "0.mp4 2 \n1.mp4 1 \n2.mp4 0 \n")
    folder = write("other", "").parent
    done = make(f"annotations={folder}/*_test_split1.txt", "split=0.5")
    assert lists("test.txt") == ["clap/2.mp4,3,0", "wave/2.mp4,3,1"]
    assert [len(lists(name)) for name in ("train.txt", "val.txt")] == [2, 2]
    assert done.code == 0
    (folder / "other").unlink()
    done = make(f"annotations={folder}", code=1)
    assert "holds the splits 1, 2; name one: 'annotations=" in done.err


def test_mmaction2_with_frames_and_several_labels(put, make, write, lists):
    put("some clip 1.mp4", "2.mp4")
    train = write("train.txt", "some clip 1.mp4\t999\t0\t2\n2.mp4\t7\t1\n")
    val = write("val.txt", "2.mp4 7 1\n")
    done = make(f"train={train}", f"val={val}")
    assert lists("train.txt") == ["some clip 1.mp4,3,0,2", "2.mp4,3,1"]
    assert "'lists={multi_label: true}'" in done.out
    assert "warning: 1 groups are in several splits, such as '2.mp4'" in done.out


def test_pytorchvideo_with_paths_of_another_machine(put, make, write, lists):
    put("a b/1.mp4", "c/2.mp4")
    text = "/data/kinetics/train/a b/1.mp4 0\n/data/kinetics/train/c/2.mp4 1\n"
    every = write("all.csv", text)
    make(f"train={every}", f"val={every}")
    assert lists("train.txt") == ["a b/1.mp4,3,0", "c/2.mp4,3,1"]
    assert lists("classes.txt") == ["a b", "c"]


@pytest.mark.parametrize("separator", [",", ";", "|", "\t", " "])
def test_slowfast_with_any_separator(put, make, write, lists, separator):
    put("x,1.mp4", "2.mp4")
    every = write("all.csv", f"x,1.mp4{separator}0\n2.mp4{separator}1\n")
    make(f"train={every}", f"val={every}")
    assert lists("train.txt") == ["x,1.mp4,3,0", "2.mp4,3,1"]


def test_kinetics(put, make, write, lists, tmp_path, report):
    """Files are called by id and time; most downloads lack some."""
    put("washing dishes/abc_000010_000020.mp4", "-x_y.mp4")
    header = "label,youtube_id,time_start,time_end,split\n"
    rows = 'washing dishes,abc,10,20,train\nyoga,-x_y,0,10,train\n"a, b",gone,5,15,train\n'
    train = write("train.csv", header + rows)
    val = write("validate.csv", header + "yoga,-x_y,0,10,validate\n")
    names = [f"train={train}", f"val={val}"]
    done = make(*names, code=1)
    assert "clips in no list, as they are missing or cannot be decoded: 1" in done.err
    make(*names, "skip_bad=true")
    assert lists("classes.txt") == ["washing dishes", "yoga"]
    assert lists("train.txt") == ["washing dishes/abc_000010_000020.mp4,3,0", "-x_y.mp4,3,1"]
    assert lists("val.txt") == ["-x_y.mp4,3,1"]
    (left,) = report()["left_out"]
    assert left["video"] == "gone_000005_000015"
    assert f"{train}:4" in left["reason"]


def test_something_something_v2(put, make, write, lists):
    put("1.webm", "2.webm", "3.webm")
    entries = [
        {"id": "1", "label": "holding a cup", "template": "Holding [something]"},
        {"id": "2", "label": "putting a cup on a tray", "template": "Putting [part] on [part]"},
    ]
    train = write("train.json", json.dumps(entries))
    val = write("validation.json", json.dumps([{**entries[0], "id": "3"}]))
    labels = write(
        "labels.json", json.dumps({"Putting part on part": "0", "Holding something": "1"})
    )
    make(f"train={train}", f"val={val}", f"class_file={labels}")
    assert lists("classes.txt") == ["Putting part on part", "Holding something"]
    assert lists("train.txt") == ["1.webm,3,1", "2.webm,3,0"]
    assert lists("val.txt") == ["3.webm,3,1"]


def test_activitynet(put, make, write, lists):
    """Videos are called `v_ID`, may have several classes, and those of the challenge have none."""
    put("v_a.mp4", "v_b.mp4", "c.mkv")
    shown = [{"segment": [0, 1], "label": label} for label in ("Surfing", "Rafting", "Surfing")]
    database = {
        "a": {"subset": "training", "annotations": shown},
        "b": {"subset": "training", "annotations": shown[1:2]},
        "c": {"subset": "validation", "annotations": shown[:1]},
        "d": {"subset": "testing", "annotations": []},
    }
    annotations = write("activity_net.v1-3.min.json", json.dumps({"database": database}))
    make(f"annotations={annotations}")
    assert lists("classes.txt") == ["Rafting", "Surfing"]
    assert lists("train.txt") == ["v_a.mp4,3,0,1", "v_b.mp4,3,0"]
    assert lists("val.txt") == ["c.mkv,3,1"]


def test_csv_with_named_columns(put, make, write, lists, tmp_path, names):
    put(*names("x", count=6))
    path = tmp_path / "my.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file, delimiter=";")
        table.writerow(["nr", "clip", "what", "who"])
        table.writerows([[i, f"{i}.mp4", "ab"[i % 2], "PQRPQR"[i]] for i in range(6)])
    columns = "columns={path: clip, label: what, group: who}"
    make(f"annotations={path}", columns, "split=0.7")
    assert read_groups(tmp_path / "target" / "groups.txt") == {
        f"x/{i}.mp4": "PQRPQR"[i] for i in range(6)
    }
    val = {line.split(",")[0] for line in lists("val.txt")}
    assert val in ({"x/0.mp4", "x/3.mp4"}, {"x/1.mp4", "x/4.mp4"}, {"x/2.mp4", "x/5.mp4"})
    done = make(f"annotations={path}", "columns={path: file, label: what}", code=1)
    assert "are not all in its first line, 'nr;clip;what;who'" in done.err


def test_numbers_that_are_names_and_numbers_with_gaps(put, make, write, lists, names):
    put(*names("7", "12", count=2))
    make()
    assert lists("classes.txt") == ["12", "7"]
    every = write("all.txt", "7/0.mp4 3\n7/1.mp4 3\n12/0.mp4 8\n12/1.mp4 8\n")
    done = make(f"train={every}", f"val={every}")
    assert lists("classes.txt") == ["7", "12"]
    assert "labels are 3, 8: renumbered from 0" in done.out


def test_frames_are_counted_at_the_asked_rate(put, make, lists, names):
    put(*names("a", "b", count=2))
    done = make("frame_rate=16")
    assert {line.split(",")[1] for line in lists("train.txt")} == {"6"}
    assert done.out.rstrip().endswith("frame_rate=16")
