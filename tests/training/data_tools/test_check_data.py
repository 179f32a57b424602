"""`adafocus check-data`: every problem of a data set, with file, line and cure."""

import json
import shutil

import pytest


@pytest.fixture
def folder(actnet_folder, tmp_path):
    """A copy of the folder in the actnet layout, to be damaged."""
    return shutil.copytree(actnet_folder, tmp_path / "data")


@pytest.fixture
def check(folder, tmp_path, run_command):
    """Runs the command, which fails where there are errors: its report, and `text`, its output."""

    def run(media="frames", *overrides):
        out = tmp_path / "out"
        given = [f"data_dir={folder}", f"media={media}", f"output_dir={out}", *overrides]
        done = run_command("check-data", "dataset=actnet", *given, code=(0, 1))
        report = json.loads((out / "check_data.json").read_text())
        assert done.code == (1 if report["errors"] else 0)
        return {**report, "text": done.out + done.err}

    return run


def _change_line(path, number, line):
    lines = path.read_text().splitlines()
    lines[number - 1] = line
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("v_train_003,16", r"expected 'path,frames,label[,label ...]', got 'v_train_003,16'"),
        ("v_train_003,many,3", "frames and label must be integers, got 'many' and '3'"),
        ("v_train_003,16,10", "label 10 is not in 0..9; is this the right class file?"),
        ("v_train_003,16,3,-1", "label -1 is not in 0..9"),
        ("../v_train_003,16,3", "path '../v_train_003' leaves the data folder"),
        ("/etc/passwd,16,3", "path '/etc/passwd' leaves the data folder"),
        ("link,16,3", "path 'link' leaves the data folder"),
    ],
)
def test_a_bad_line_is_an_error(check, folder, tmp_path, line, message):
    (folder / "frames" / "link").symlink_to(tmp_path)
    _change_line(folder / "actnet_train_split.txt", 4, line)
    [error] = check()["errors"]
    assert error.startswith(f"{folder / 'actnet_train_split.txt'}:4: ")
    assert message in error


def test_what_the_crop_never_shows_is_said(check):
    report = check()
    (hidden,) = report["hidden"]  # all frames have one size
    assert hidden["share"] > 0
    assert f"of {hidden['size']} ({hidden['videos']} videos)" in report["text"]
    assert "fit=crop never shows" in report["text"]
    whole = check("frames", "fit=pad")
    assert whole["hidden"][0]["share"] == 0
    assert "never shows" not in whole["text"]


def test_a_fit_without_a_crop_is_refused(folder, tmp_path, run_command):
    given = [f"data_dir={folder}", f"output_dir={tmp_path / 'out'}", "crop=false", "fit=squash"]
    done = run_command("check-data", "dataset=actnet", *given, code=1)
    assert "fit=squash is for frames of any size, but crop=false takes them as they are" in done.err


def test_all_bad_lines_are_reported_and_the_videos_of_the_good_ones_checked(check, folder):
    _change_line(folder / "actnet_train_split.txt", 2, "v_train_001")
    _change_line(folder / "actnet_train_split.txt", 5, "v_train_004,16,77")
    _change_line(folder / "actnet_val_split.txt", 1, "v_val_000,16")
    (folder / "frames" / "v_train_009" / "image_00016.jpg").unlink()
    report = check()
    starts = [error.removeprefix(f"{folder}/actnet_")[:5] for error in report["errors"]]
    assert starts == ["train", "train", "val_s", "train"]
    assert "problems that would break training: 4;" in report["text"]
    assert "train_split.txt:10: " in report["errors"][3]
    assert report["splits"]["train"]["bad_lines"] == 2
    assert report["splits"]["train"]["unreadable_videos"] == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("zero bytes", "image_00007.jpg: the file is empty; extract the video's frames again"),
        ("half", "image_00007.jpg: the JPEG file breaks off"),
        ("missing", "image_00007.jpg: no such frame; correct the frame count in the list file or"),
        ("folder", "v_val_002: no such folder of frames; 'adafocus extract-frames' makes it"),
    ],
)
def test_an_unreadable_frame_is_an_error(check, folder, damage, message):
    image = folder / "frames" / "v_val_002" / "image_00007.jpg"
    data = image.read_bytes()
    image.unlink()
    if damage == "folder":
        shutil.rmtree(image.parent)
    elif damage != "missing":
        image.write_bytes(b"" if damage == "zero bytes" else data[: len(data) // 2])
    [error] = check()["errors"]
    assert error.startswith(f"{folder / 'actnet_val_split.txt'}:3: {folder.resolve()}/frames/")
    assert message in error


def test_a_frame_count_that_is_too_large_is_one_error_a_video(check, folder):
    _change_line(folder / "actnet_val_split.txt", 3, "v_val_002,20,2")
    [error] = check()["errors"]
    assert "4 of 20 frames cannot be read, the first: " in error
    assert "image_00017.jpg: no such frame" in error
    [error] = check("videos")["errors"]
    assert "v_val_002.mp4: the video ends after 16 readable frames but frame 16 is" in error


def test_a_list_that_promises_millions_of_frames_costs_no_more_than_a_hundred(check, folder):
    _change_line(folder / "actnet_val_split.txt", 3, "v_val_002,9000000,2")
    [error] = check()["errors"]
    assert "100 of the first 116 frames cannot be read, the first: " in error


def test_labels_that_count_from_1_are_noticed_even_where_all_are_in_range(check, folder):
    for split in ("train", "val"):
        file = folder / f"actnet_{split}_split.txt"
        lines = [f"{line.split(',')[0]},16,1" for line in file.read_text().splitlines()]
        file.write_text("\n".join(lines))
    report = check()
    assert report["errors"] == []
    [line] = [line for line in report["warnings"] if "lowest label" in line]
    assert "the lowest label in the lists is 1, and label 0 is the first class" in line


@pytest.mark.parametrize("media", ["frames", "videos"])
def test_a_copy_in_another_split_is_reported_on_request(check, folder, media):
    val, copied = ("v_val_002", "v_train_005") if media == "frames" else ("v_val_002.mp4",) * 2
    copied = copied.replace("val_002", "train_005")
    target = folder / media / val
    shutil.rmtree(target) if media == "frames" else target.unlink()
    copy = shutil.copytree if media == "frames" else shutil.copy
    copy(folder / media / copied, target)
    assert check(media)["warnings"] == []
    [warning] = check(media, "copies=true")["warnings"]
    train, split = (folder / f"actnet_{name}_split.txt" for name in ("train", "val"))
    assert warning.startswith(f"{train}:6 (v_train_005), {split}:3 (v_val_002): the same content")


def test_a_frame_count_that_is_too_small_is_a_warning(check, folder):
    _change_line(folder / "actnet_val_split.txt", 3, "v_val_002,4,2")
    for media, message in (
        ("frames", "the list says 4 frames but the folder has 16; the rest is never used"),
        ("videos", "the list says 4 frames but the video has 16 at its own rate"),
    ):
        report = check(media)
        assert report["errors"] == []
        [warning] = report["warnings"]
        assert warning.startswith(f"{folder / 'actnet_val_split.txt'}:3: ")
        assert message in warning
    # 2 frames a second of 16 frames at 8 are 5, so 4 are what a list at this rate may have.
    for split, count in (("train", 12), ("val", 6)):
        lines = [f"v_{split}_{i:03d},4,{i % 10}\n" for i in range(count)]
        (folder / f"actnet_{split}_split.txt").write_text("".join(lines))
    assert check("videos", "frame_rate=2")["warnings"] == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing", "v_train_011: no such video file"),
        ("truncated", "v_train_011.mp4: FFmpeg cannot open this file ("),
        ("twice", "all have this name; remove all but one"),
    ],
)
def test_an_unreadable_video_is_an_error(check, folder, damage, message):
    video = folder / "videos" / "v_train_011.mp4"
    data = video.read_bytes()
    if damage == "twice":
        shutil.copy(video, video.with_suffix(".mkv"))
    elif damage == "missing":
        video.unlink()
    else:
        video.write_bytes(data[: len(data) // 2])
    [error] = check("videos")["errors"]
    assert error.startswith(f"{folder / 'actnet_train_split.txt'}:12: ")
    assert message in error


def test_the_class_file_of_another_data_set_is_noticed(check, folder):
    names = [f"class {k}" for k in range(15)]
    (folder / "classInd.txt").write_text("\n".join(names))
    report = check()
    assert report["errors"] == []  # more classes than labels break nothing
    unused, highest = report["warnings"]
    assert unused.startswith(f"{folder / 'classInd.txt'}: 5 of 15 classes have no training video: ")
    assert "class 10, class 11, class 12, class 13, class 14; add videos or remove" in unused
    assert "the labels in the lists end at 9 but there are 15 classes; is this the" in highest
    (folder / "classInd.txt").write_text("\n".join(names[:8]))
    # Training videos 8 and 9 have labels 8 and 9.
    assert ["is this the right class file?" in error for error in check()["errors"]] == [True] * 2
    errors = check("frames", "lists={num_classes: 239}")["errors"]
    assert any("8 classes, but the data set has 239" in error for error in errors)


def test_the_same_video_twice_is_a_warning_or_with_two_labels_an_error(check, folder):
    _change_line(folder / "actnet_val_split.txt", 2, "v_train_001,16,1")
    report = check()
    assert report["errors"] == []
    [warning] = report["warnings"]
    train, val = (folder / f"actnet_{split}_split.txt" for split in ("train", "val"))
    assert warning.startswith(f"{train}:2, {val}:2: {folder.resolve()}/frames/v_train_001 is in ")
    assert "train and val: results on a split that was trained on mean nothing" in warning
    _change_line(folder / "actnet_train_split.txt", 2, "v_train_011,16,5")
    [error] = check()["errors"]
    assert "split.txt:2, " in error
    assert "split.txt:12: " in error
    assert "has different labels in these lines; keep the right one" in error


def test_short_videos_are_counted_and_break_nothing(check, folder):
    _change_line(folder / "actnet_train_split.txt", 12, "v_train_011,2,1")
    report = check()
    assert report["errors"] == []
    assert report["splits"]["train"]["short_videos"] == 1
    assert "1 of 12 videos with fewer than 3 frames left out" in report["text"]


def test_missing_files_are_errors(check, folder):
    (folder / "classInd.txt").unlink()
    (folder / "actnet_val_split.txt").unlink()
    shutil.rmtree(folder / "frames")
    for error, part in zip(check()["errors"], ("class file", "list file", "frames"), strict=True):
        assert part in error
        assert "does not exist" in error


def test_frames_that_need_a_crop_are_errors_without_it(check, folder):
    errors = check("frames", "crop=false", "frame_size=224")["errors"]
    assert len(errors) == 18
    assert "112x112 pixels but crop=false needs 224x224; set crop=true" in errors[0]


def test_built_in_videos_on_disk_are_checked_and_those_in_memory_refused(
    tiny_videos, run_command, tmp_path
):
    out = f"output_dir={tmp_path}"
    done = run_command("check-data", f"data_dir={tiny_videos}", out)
    assert json.loads((tmp_path / "check_data.json").read_text())["splits"]["test"]["videos"] == 12
    assert "nothing would break training" in done.out
    done = run_command("check-data", out, code=1)
    assert "drawn in memory: there is nothing to check" in done.err
    # What else keeps a split from opening is an error too.
    data = shutil.copytree(tiny_videos, tmp_path / "data")
    lines = (data / "val.txt").read_text().splitlines()
    (data / "val.txt").write_text("\n".join(lines[1:]) + "\n")
    done = run_command("check-data", f"data_dir={data}", out, code=1)
    assert "val_targets.npy: 10 target paths for 9 videos" in done.out


def test_many_problems_are_shortened_on_the_screen_alone(check, folder):
    with (folder / "actnet_train_split.txt").open("a") as file:
        file.write("bad line\n" * 60)
    report = check()
    assert len(report["errors"]) == 60
    assert report["text"].count("got 'bad line'") == 50
    assert "error: 10 more in check_data.json" in report["text"]
