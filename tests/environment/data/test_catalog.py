"""Data sets by name."""

import shutil

import cv2
import numpy as np
import pytest
import torch

from adafocus_env.data import (
    GlyphVideos,
    ListedVideos,
    ListFileError,
    VideoOptions,
    find_files,
    open_videos,
)
from adafocus_env.data.glyphs.drawing import CLASS_NAMES
from adafocus_env.data.glyphs.localization import write_video

GLYPHS = VideoOptions(num_frames=8, frame_size=112)
FILES = VideoOptions(num_frames=4, frame_size=32)


@pytest.fixture(scope="module")
def glyph_folder(tmp_path_factory):
    """Two built-in validation videos as files, as `adafocus make-videos` lays them out."""
    folder = tmp_path_factory.mktemp("glyphs")
    (folder / "videos").mkdir()
    (folder / "classes.txt").write_text("\n".join(CLASS_NAMES))
    centers = [write_video("val", i, folder / "videos" / f"{i}.mp4") for i in range(2)]
    np.save(folder / "val_targets.npy", np.stack(centers))
    (folder / "val.txt").write_text("0.mp4,16,0\n1.mp4,16,1\n")
    return folder


def test_glyphs_from_files_are_nearly_those_in_memory(glyph_folder):
    drawn = open_videos("glyphs", "val", GLYPHS)
    read = open_videos("glyphs", "val", GLYPHS, data_dir=glyph_folder)
    assert isinstance(drawn, GlyphVideos)
    assert isinstance(read, ListedVideos)
    assert tuple(read.class_names) == tuple(drawn.class_names)
    for index in range(2):
        one, other = drawn.clip(index, 0), read.clip(index, 0)
        assert one.label == other.label == index
        assert (one.frames.float() - other.frames.float()).abs().mean() < 10
        np.testing.assert_array_equal(drawn.target_centers(index), read.target_centers(index))


@pytest.mark.parametrize("from_files", [False, True])
def test_glyphs_are_never_mirrored_or_cropped(glyph_folder, from_files):
    options = VideoOptions(num_frames=16, frame_size=112, augment=True, crop=True, flip=True)
    data_dir = glyph_folder if from_files else None
    videos = open_videos("glyphs", "val", options, data_dir=data_dir)
    clips = [videos.clip(1, seed).frames for seed in range(6)]  # 16 of 16 frames: no choice
    assert all(torch.equal(clip, clips[0]) for clip in clips[1:])


def test_glyphs_of_another_size_are_refused_with_the_cure():
    with pytest.raises(ValueError, match=r"112 pixels wide .* takes 224; use dataset=videos"):
        open_videos("glyphs", "val", VideoOptions(num_frames=8, frame_size=224))


def test_augmented_clips_have_random_frames_and_others_do_not(video_folder):
    names = {"train_sampling": "dense", "eval_sampling": "test"}
    for augment in (False, True):
        options = VideoOptions(num_frames=4, frame_size=32, augment=augment, **names)
        assert options.sampling == ("dense" if augment else "test")
        options = VideoOptions(num_frames=4, frame_size=32, augment=augment)
        videos = open_videos("videos", "train", options, data_dir=video_folder)
        same = torch.equal(videos.clip(0, 1).frames, videos.clip(0, 2).frames)
        assert same is not augment


def test_list_names_may_be_chosen(video_folder, tmp_path):
    (tmp_path / "names.txt").write_text("x\ny\nz\n")
    (tmp_path / "list_of_val").write_text("v0.mp4 12 2\n")
    (tmp_path / "clips").symlink_to(video_folder / "videos")
    lists = {"list_file": "list_of_{split}", "class_file": "names.txt", "video_dir": "clips"}
    lists["separator"] = " "
    videos = open_videos("videos", "val", FILES, data_dir=tmp_path, lists=lists)
    assert tuple(videos.class_names) == ("x", "y", "z")
    assert videos.clip(0, 0).label == 2


def test_positions_are_dropped_where_videos_are_cropped(glyph_folder):
    for crop in (False, True):
        options = VideoOptions(num_frames=8, frame_size=112, crop=crop)
        videos = open_videos("videos", "val", options, data_dir=glyph_folder)
        assert (videos.target_centers(0) is None) is crop


def test_positions_of_other_videos_and_damaged_ones_are_refused(glyph_folder, tmp_path):
    for name in ("classes.txt", "videos"):
        (tmp_path / name).symlink_to(glyph_folder / name)
    file = tmp_path / "val_targets.npy"
    whole = (glyph_folder / file.name).read_bytes()
    file.write_bytes(whole)
    (tmp_path / "val.txt").write_text("0.mp4,16,0\n")
    with pytest.raises(ListFileError, match=r"val_targets\.npy: 2 target paths for 1 videos"):
        open_videos("glyphs", "val", GLYPHS, data_dir=tmp_path)
    promised = whole.replace(b"(2, ", b"(2000000000, ", 1)  # of which there are two
    for content in (b"", b"positions", whole[:-4], promised):
        file.write_bytes(content)
        with pytest.raises(ListFileError, match=f"{file}: no file of positions, damaged or cut"):
            open_videos("glyphs", "val", GLYPHS, data_dir=tmp_path)
    np.save(file, np.zeros(2, dtype=np.float32))
    with pytest.raises(ListFileError, match=f"{file}: it holds no positions"):
        open_videos("glyphs", "val", GLYPHS, data_dir=tmp_path)


def test_an_unknown_data_set_or_split_is_refused_and_a_missing_file_named(tmp_path):
    for dataset, split, message in (
        ("imagenet", "val", "unknown dataset 'imagenet'; known are glyphs, videos"),
        ("glyphs", "valid", "not 'valid'"),
        ("actnet", "val", "actnet_train_split.txt, actnet_val_split.txt, classInd.txt and frames/"),
        ("minik", "val", "mini_train_videofolder.txt, mini_val_videofolder.txt, minik_classInd"),
        ("videos", "val", "dataset=videos needs data_dir=FOLDER with train.txt, val.txt, classes"),
    ):
        with pytest.raises(ValueError, match=message):
            open_videos(dataset, split, GLYPHS)
    for missing in ("classes.txt", "val.txt"):
        with pytest.raises(FileNotFoundError, match=str(tmp_path / missing)):
            open_videos("videos", "val", FILES, data_dir=tmp_path)
        (tmp_path / "classes.txt").write_text("a\n")
    (tmp_path / "classInd.txt").write_text("a\n")
    (tmp_path / "actnet_val_split.txt").write_text("v,12,0\n")
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/frames does not exist.*media=videos"):
        open_videos("actnet", "val", FILES, data_dir=tmp_path)


def _published_folder(folder, video_folder, frames, texts):
    """Text files, and the videos v0 and v1 as `sub dir/v0` in both media."""
    for name, text in texts.items():
        (folder / name).write_text(text)
    for i in range(2):
        images = folder / "frames" / "sub dir" / f"v{i}"
        images.mkdir(parents=True)
        for t, frame in enumerate(np.roll(frames, i, axis=0)):
            cv2.imwrite(str(images / f"image_{t + 1:05d}.jpg"), frame[..., ::-1])
        video = folder / "videos" / "sub dir" / f"v{i}.mp4"
        video.parent.mkdir(parents=True, exist_ok=True)
        video.write_bytes((video_folder / "videos" / f"v{i}.mp4").read_bytes())
    return folder


ACTNET_LINES = "sub dir/v0,12,5,3\nshort,2,1\nsub dir/v1,12,199\n"
MINIK_LINES = "sub dir/v0 12 3\nshort 2 1\nsub dir/v1 12 199\n"
PUBLISHED = {
    "actnet": ("actnet_val_split.txt", "classInd.txt", 200, ACTNET_LINES),
    "fcvid": ("fcvid_val_split.txt", "classInd.txt", 239, ACTNET_LINES),
    "minik": ("mini_val_videofolder.txt", "minik_classInd.txt", 200, MINIK_LINES),
}


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_a_folder_prepared_for_the_published_code_is_read_as_it_is(
    dataset, video_folder, video_frames, tmp_path
):
    list_file, class_file, classes, lines = PUBLISHED[dataset]
    names = "".join(f"class {k}\n" for k in range(classes))
    texts = {list_file: lines, class_file: names + "\n"}
    _published_folder(tmp_path, video_folder, video_frames, texts)
    from_frames = open_videos(dataset, "val", FILES, data_dir=tmp_path)
    assert len(from_frames.class_names) == classes
    first = (3,) if dataset == "minik" else (3, 5)
    assert from_frames.label_sets == (first, (199,))
    assert from_frames.labels.tolist() == [3, 199]
    options = VideoOptions(num_frames=4, frame_size=32, media="videos")
    from_videos = open_videos(dataset, "val", options, data_dir=tmp_path)
    for index in range(2):
        one, other = (v.clip(index, 0).frames.float() for v in (from_frames, from_videos))
        assert one.std() > 40
        assert (one - other).abs().mean() < 3


def test_fcvid_wants_239_classes(tmp_path):
    (tmp_path / "classInd.txt").write_text("".join(f"class {k}\n" for k in range(200)))
    with pytest.raises(ListFileError, match=r"classInd\.txt: 200 classes, but .* has 239"):
        open_videos("fcvid", "val", FILES, data_dir=tmp_path)


def test_given_names_change_single_fields_of_a_data_set(tmp_path):
    files = find_files("fcvid", data_dir=tmp_path, lists={"num_classes": 3, "frame_dir": "jpg"})
    assert files.lists.num_classes == 3
    assert files.root == tmp_path / "jpg"
    assert files.list_file("train") == tmp_path / "fcvid_train_split.txt"
    assert files.lists.multi_label


def test_a_bad_field_of_lists_is_named(tmp_path):
    for lists, message in (
        ({"min_frames": 0}, "min_frames=0 must be at least 1"),
        ({"min_frames": "3"}, "min_frames='3' must be of type int"),
        ({"num_classes": "200"}, "num_classes='200' must be of type int"),
        ({"num_classes": 0}, "num_classes=0 must be at least 1"),
        ({"separator": ""}, "separator='' must be a text such as ','"),
        ({"multi_label": 1}, "multi_label=1 must be of type bool"),
        ({"image_template": "image_%05d.jpg"}, r"must be like 'image_\{:05d\}\.jpg'"),
        ({"image_template": "{name}.jpg"}, r"must be like 'image_\{:05d\}\.jpg'"),
        ({"list_file": "{splitt}.txt"}, r"'\{splitt\}\.txt' must be like '\{split\}\.txt'"),
    ):
        with pytest.raises(ValueError, match=message):
            find_files("actnet", data_dir=tmp_path, lists=lists)


def test_a_bad_option_is_named():
    for entries, message in (
        ({"media": "jpeg"}, "unknown media 'jpeg'; known are frames, videos"),
        ({"train_sampling": "center"}, "unknown train_sampling 'center'; known are random, dense"),
        ({"eval_sampling": "random"}, "unknown eval_sampling 'random'; known are center, test,"),
        ({"frame_rate": 0.0}, "frame_rate must be above 0, not 0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            VideoOptions(num_frames=4, frame_size=32, **entries)


def test_extracted_frames_have_no_other_frame_rate(tmp_path):
    with pytest.raises(ValueError, match="frame_rate is for media=videos; extracted frames"):
        find_files("actnet", data_dir=tmp_path, media="frames", frame_rate=1)
    with pytest.raises(ValueError, match="media and frame_rate are for videos on disk"):
        open_videos("glyphs", "val", VideoOptions(num_frames=8, frame_size=112, frame_rate=1))


def test_videos_may_be_read_at_another_frame_rate(video_folder, tmp_path):
    for name in ("classes.txt", "videos"):
        (tmp_path / name).symlink_to(video_folder / name)
    (tmp_path / "val.txt").write_text("v0.mp4,4,0\n")
    options = VideoOptions(num_frames=4, frame_size=32, frame_rate=2)
    frames = open_videos("videos", "val", options, data_dir=tmp_path).clip(0, 0).frames
    # 12 frames of grey 20 t at 8 a second: at 2 a second each is .25 places long. The first two
    # take places 0 and 1; place 2 takes the first that ends no more than 1.1 places before it.
    assert [round(float(f[:, 16:, 16:].float().mean()) / 20) for f in frames] == [0, 1, 3, 7]


def test_every_option_that_decides_pixels_is_part_of_a_splits_identity_and_the_folder_is_not(
    video_folder, tmp_path
):
    moved = shutil.copytree(video_folder, tmp_path / "moved")
    (moved / "frames").mkdir(exist_ok=True)

    def identity(split="val", folder=moved, **options):
        videos = open_videos("videos", split, VideoOptions(4, 40, **options), data_dir=folder)
        return videos.identity()

    plain = identity()
    assert plain == identity(folder=video_folder)
    assert plain == identity(flip=False, train_sampling="dense")
    assert plain["dataset"] != identity("train")["dataset"]
    assert identity(augment=True) != identity(augment=True, flip=False)
    for option in (
        *({"augment": True}, {"media": "frames"}, {"frame_rate": 4.0}),
        *({"eval_sampling": "test"}, {"crop": False}),
    ):
        assert identity(**option)["preprocessing"] != plain["preprocessing"], option
        assert identity(**option)["dataset"] == plain["dataset"]
    for sizes in ((3, 40), (4, 48)):
        other = open_videos("videos", "val", VideoOptions(*sizes), data_dir=moved).identity()
        assert other["preprocessing"] != plain["preprocessing"]


def test_a_split_without_a_list_is_refused_with_those_that_have_one(video_folder, tmp_path):
    lists = {"classes.txt": "classes.txt", "train.txt": "train.txt", "val.txt": "train.txt"}
    for name, source in lists.items():
        (tmp_path / name).symlink_to(video_folder / source)
    message = r"test\.txt does not exist; of .* there are the splits train, val \(split=val\)"
    with pytest.raises(FileNotFoundError, match=message):
        open_videos("videos", "test", VideoOptions(num_frames=2, frame_size=32), data_dir=tmp_path)
