"""List files and class files."""

import logging

import pytest

from adafocus_env.data.lists.list_files import (
    ListFileError,
    ListFormat,
    VideoRecord,
    read_class_file,
    read_list_file,
    scan_list_file,
)


@pytest.fixture
def list_file(tmp_path):
    (tmp_path / "videos").mkdir()
    return tmp_path / "val.txt"


def _read(list_file, text, separator=",", **form):
    list_file.write_text(text, encoding="utf-8")
    root = list_file.parent / "videos"
    return read_list_file(list_file, root, 3, ListFormat(separator, **form))


def test_list_file_gives_a_record_a_line(list_file):
    records = _read(list_file, "a.mp4,12,0\n\n  sub/b.mp4 , 7 , 2 \n\n")
    root = list_file.parent.resolve() / "videos"
    assert records == [
        VideoRecord(root / "a.mp4", 12, (0,)),
        VideoRecord(root / "sub" / "b.mp4", 7, (2,)),
    ]


def test_a_path_may_contain_the_separator_and_lines_may_end_as_on_windows(list_file):
    root = list_file.parent.resolve() / "videos"
    for separator, line, name in (
        (",", "a,b,c.mp4,12,1", "a,b,c.mp4"),
        (" ", "my first video.mp4 12 1", "my first video.mp4"),
        (" ", "a,b.mp4 12 1", "a,b.mp4"),
        (" ", "my first video.mp4  12\t1", "my first video.mp4"),  # a blank is any white space
        ("\t", "a b.mp4\t12\t1", "a b.mp4"),
        (",", "d/../a.mp4,12,1", "a.mp4"),  # does not leave the folder
        (",", "ünï.mp4,12,1", "ünï.mp4"),
    ):
        assert _read(list_file, line, separator) == [VideoRecord(root / name, 12, (1,))]
    list_file.write_bytes(b"a.mp4,12,0\r\nb.mp4,7,2\r\n")
    records = read_list_file(list_file, list_file.parent, num_classes=3)
    read = [(record.path.name, record.num_frames, record.label) for record in records]
    assert read == [("a.mp4", 12, 0), ("b.mp4", 7, 2)]


def test_a_bad_line_is_named_with_its_cure(list_file):
    for line, message in (
        ("a.mp4,12", "expected 'path,frames,label', got 'a.mp4,12'"),
        (",12,1", "expected 'path,frames,label'"),
        ("a.mp4 12 1", "expected 'path,frames,label'"),
        ("a.mp4,twelve,1", "must be integers, got 'twelve' and '1'; expected 'path,frames,label'"),
        ("a.mp4,12,1.0", "must be integers, got '12' and '1.0'"),
        ("a.mp4,1_2,1", "must be integers, got '1_2' and '1'"),
        ("a.mp4,12,\u0661", "must be integers, got '12' and '\u0661'"),
        ("a.mp4,12,", "must be integers, got '12' and ''"),
        ("a.mp4,0,1", "at least one frame, got 0"),
        ("a.mp4,12,3", r"label 3 is not in 0\.\.2; is this the right class file\?"),
        ("a.mp4,1000000000,1", "1000000000 frames, and no video has more than 10000000; correct"),
        (f"a.mp4,{'9' * 5000},1", r"must be integers, got '9+\.\.\.9+' and '1'"),
        ("a.mp4,12,-1", r"label -1 is not in 0\.\.2"),
        ("/etc/passwd,12,1", "leaves the data folder .*; use a path inside it"),
        ("sub/../../a.mp4,12,1", "leaves the data folder .*; use a path inside it"),
        ("a\0.mp4,12,1", "use a path inside it"),
    ):
        with pytest.raises(ListFileError, match=f"{list_file}:3: .*{message}"):
            _read(list_file, f"a.mp4,12,0\n\n{line}\n")


def test_a_symlink_must_not_leave_the_folder_nor_go_round_and_the_folder_may_be_one(list_file):
    inside, outside = list_file.parent / "videos", list_file.parent / "outside.mp4"
    outside.touch()
    (inside / "real.mp4").touch()
    (inside / "good.mp4").symlink_to(inside / "real.mp4")
    (inside / "bad.mp4").symlink_to(outside)
    assert _read(list_file, "good.mp4,12,1")[0].path.name == "real.mp4"
    with pytest.raises(ListFileError, match=r"val\.txt:1: .*leaves the data folder"):
        _read(list_file, "bad.mp4,12,1")
    (inside / "round").symlink_to("round")
    with pytest.raises(ListFileError, match=r"val\.txt:1: "):
        _read(list_file, "round/../../x,12,0\n")
    (list_file.parent / "link").symlink_to(inside)
    list_file.write_text("a.mp4,12,0\n")
    [record] = read_list_file(list_file, list_file.parent / "link", 3)
    assert record.path == inside.resolve() / "a.mp4"


def test_an_empty_missing_or_garbled_list_or_class_file_is_named(list_file, tmp_path):
    for text in ("", "\n \n"):
        message = r"val\.txt: .*empty; write 'path frames label' a line"
        with pytest.raises(ListFileError, match=message):
            _read(list_file, text, separator=" ")
    list_file.unlink()
    with pytest.raises(FileNotFoundError, match=r"list file .*val\.txt does not exist"):
        read_list_file(list_file, tmp_path, 3)
    with pytest.raises(FileNotFoundError, match=r"class file .*classes\.txt does not exist"):
        read_class_file(tmp_path / "classes.txt")
    latin = tmp_path / "latin.txt"
    latin.write_bytes("Fußball.mp4,12,1\n".encode("latin-1"))
    with pytest.raises(ListFileError, match=r"latin\.txt.*UTF-8"):
        read_list_file(latin, tmp_path, 3)
    with pytest.raises(ListFileError, match=r"latin\.txt.*UTF-8"):
        read_class_file(latin)


def test_class_file_gives_a_name_a_line_and_a_bad_one_is_named_with_its_cure(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("long jump\n high jump \n\n\n")
    assert read_class_file(path) == ("long jump", "high jump")
    assert read_class_file(path, num_classes=2) == ("long jump", "high jump")
    with pytest.raises(
        ListFileError, match=r"classes\.txt: 2 classes, but the data set has 239; is this"
    ):
        read_class_file(path, num_classes=239)
    for text, message in (
        ("a\n\nb\n", r"classes\.txt:2: blank line .*; remove it"),
        ("\na\n", r"classes\.txt:1: blank line .*; remove it"),
        ("", r"classes\.txt: .*empty; write one class name a line"),
        ("\n\n", r"classes\.txt: .*empty"),
        ("a\nb\na \n", r"classes\.txt:3: class 'a' is in line 1, too"),
    ):
        path.write_text(text)
        with pytest.raises(ListFileError, match=message):
            read_class_file(path)


def test_labels_are_distinct_ascending_and_any_number_and_the_first_is_the_label(list_file):
    records = _read(list_file, "v_a,12,2,0,2\nv_b,7,1\n", multi_label=True)
    assert [record.labels for record in records] == [(0, 2), (1,)]
    assert [record.label for record in records] == [0, 1]
    # The published code stops at three.
    list_file.write_text("v_a,12,7,1,5,3,0\n")
    [record] = read_list_file(list_file, list_file.parent, 8, ListFormat(multi_label=True))
    assert record.labels == (0, 1, 3, 5, 7)

    for line, message in (
        ("v_a,12", r"expected 'path,frames,label\[,label \.\.\.\]', got 'v_a,12'"),
        ("a,b.mp4,12,1", "must be integers, got 'b.mp4' and '12' and '1'; expected 'path,frames"),
        ("v_a,12,0,3", r"label 3 is not in 0\.\.2"),
        ("v_a,12,0,", "must be integers, got '12' and '0' and ''"),
    ):
        with pytest.raises(ListFileError, match=rf"val\.txt:2: .*{message}"):
            _read(list_file, f"v_b,12,0\n{line}\n", multi_label=True)


def test_labels_that_begin_at_1_are_told_so(list_file):
    for labels, cure in (
        ((1, 2, 3), "the labels of this list begin at 1, .*: subtract 1"),
        ((0, 2, 3), "is this the right class file"),
        ((1, 2, 4), "is this the right class file"),
    ):
        text = "".join(f"{k}.mp4,12,{k}\n" for k in labels)
        with pytest.raises(ListFileError, match=rf"val\.txt:3: label {labels[2]} is not .*{cure}"):
            _read(list_file, text)


def test_short_videos_are_left_out_with_a_warning(list_file, caplog):
    with caplog.at_level(logging.WARNING):
        records = _read(list_file, "a,0,1\nb,2,1\nc,3,1\nd,4,1\n", min_frames=3)
    assert [(record.path.name, record.line) for record in records] == [("c", 3), ("d", 4)]
    [warning] = caplog.messages
    assert warning == f"{list_file}: 2 of 4 videos with fewer than 3 frames left out"

    with pytest.raises(ListFileError, match=r"val\.txt: all 2 videos have fewer than 3 frames"):
        _read(list_file, "a,0,1\nb,2,1\n", min_frames=3)


def test_every_bad_line_is_found_and_the_good_ones_kept(list_file):
    list_file.write_text("a,12,0\nb,12\nc,12,9\n\nd,12,1\n../e,12,1\n")
    contents = scan_list_file(list_file, list_file.parent, 3, ListFormat())
    assert [record.path.name for record in contents.records] == ["a", "d"]
    assert [problem.split(":")[1] for problem in contents.problems] == ["2", "3", "6"]
