"""Building a feature bank: what it holds, what it refuses, and going on after an interruption."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from adafocus_env.data import VideoOptions, open_videos
from adafocus_env.envs import PatchGrid, PatchLocalizationEnv, PatchLocalizationVectorEnv
from adafocus_env.features import BankBuilder, FeatureBank, open_bank
from adafocus_env.features.bank_files import BankLayout
from adafocus_env.features.stored_features import StoredFeatures
from adafocus_env.networks import CheckpointError, Recognizer, crop_patches

GRID = PatchGrid(4, 40, 12)


@pytest.fixture
def builder(tiny_recognizer, make_videos, tmp_path):
    """Makes builders of two views of four videos, a shard each, in `tmp_path/bank`."""

    def make(**changes):
        arguments = {"positions": GRID.all_offsets(), "views": 2, **changes}
        folder = arguments.pop("folder", tmp_path / "bank")
        videos = arguments.pop("videos", None) or make_videos(4)
        return BankBuilder(
            folder, arguments.pop("recognizer", tiny_recognizer), videos, **arguments
        )

    return make


def _run(builder, **arguments):
    builder.prepare()
    builder.build_shards(**arguments)
    builder.finish()
    return builder.folder


def _contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_shard_holds_the_networks_outputs_in_float16(builder, tiny_recognizer, make_videos):
    bank = FeatureBank.open(_run(builder()))
    assert bank.labels.tolist() == [0, 1, 2, 0]
    arrays = load_file(bank.folder / "shard-00002.safetensors")
    assert {name: (array.dtype, tuple(array.shape)) for name, array in arrays.items()} == {
        "glance_maps": (torch.float16, (2, 4, 48, 7, 7)),
        "glance_vectors": (torch.float16, (2, 4, 48)),
        "patch_vectors": (torch.float16, (2, 4, 16, 128)),
        "labels": (torch.int64, (1,)),
    }
    frames = make_videos(4).clip(2, bank.episode_seed(2, 1)).frames
    maps, vectors = tiny_recognizer.glance(frames)
    offset = torch.tensor([[9, 28]]).expand(4, 2)  # action 7: row 1, column 3 of a 4x4 grid
    patches = tiny_recognizer.focus(crop_patches(frames, offset, 12))
    torch.testing.assert_close(arrays["glance_maps"][1].float(), maps, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(arrays["glance_vectors"][1].float(), vectors, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        arrays["patch_vectors"][1, :, 7].float(), patches, rtol=1e-3, atol=1e-4
    )


def test_the_size_is_worked_out_before_anything_is_built():
    # ActivityNet's training videos at the published sizes, by hand:
    # 9938 x 16 x (1280 x 49 + 1280 + 49 x 2048) x 2 bytes.
    layout = BankLayout(9938, 1, 16, (1280, 7, 7), 49, 2048)
    assert layout.num_bytes == 9938 * 16 * (62_720 + 1_280 + 100_352) * 2 == 52_266_565_632
    assert layout.shard_videos == 25  # of 5.26 MB each in 128 MiB
    assert layout.num_shards == 398
    assert layout.videos_of(397) == range(9925, 9938)


def test_a_manifest_says_what_the_bank_was_made_of(builder):
    folder = _run(builder(seed=5))
    manifest = json.loads((folder / "manifest.json").read_text())
    settings = manifest["settings"]
    assert (manifest["format_version"], manifest["dtype"]) == (1, "float16")
    assert manifest["clip_shapes"]["patch_vectors"] == [4, 16, 128]
    assert settings["positions"]["offsets"][7] == [9, 28]
    assert settings["recognizer"]["glancer"] == "mobilenet_v2_small"
    assert settings["dataset"]["videos"] == 4
    assert settings["episode_seeds"]["seed"] == 5
    assert len(manifest["shards"]) == 4
    assert len(manifest["preprocessing_id"]) == len(manifest["shards"][0]["sha256"]) == 64
    assert sorted(_contents(folder)) == [
        "manifest.json",
        *(f"shard-0000{i}.safetensors" for i in range(4)),
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_and_workers_write_the_same_bytes(builder, tmp_path, workers):
    alone = _contents(_run(builder(folder=tmp_path / "alone")))
    shared = builder(folder=tmp_path / "shared")
    shared.prepare()
    for rank in (1, 0, 2):
        shared.build_shards(rank=rank, count=3, workers=workers)
    shared.finish()
    assert _contents(shared.folder) == alone


class _StopError(Exception):
    pass


@pytest.mark.parametrize("after", [0, 2, 5])
def test_an_interrupted_build_ends_with_the_bytes_of_an_uninterrupted_one(builder, tmp_path, after):
    expected = _contents(_run(builder(folder=tmp_path / "whole")))
    done = 0

    def stop(count):
        nonlocal done
        done += count
        if done > after:
            raise _StopError

    begun = builder()
    begun.prepare()
    with pytest.raises(_StopError):
        begun.build_shards(progress=stop)
    (begun.folder / ".shard-00001.safetensors.77.part").write_bytes(b"half")
    with pytest.raises(FileNotFoundError, match=r"(an unfinished|no) feature bank in .*bank"):
        FeatureBank.open(begun.folder)
    kept = {path: path.stat().st_mtime_ns for path in begun.folder.glob("shard-*")}
    assert len(kept) == after // 2
    assert _contents(_run(builder())) == expected
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_a_damaged_shard_is_found_and_made_anew(builder):
    folder = _run(builder())
    expected = _contents(folder)
    file = folder / "shard-00002.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    counts: list[int] = []
    assert _contents(_run(builder(), progress=counts.append)) == expected
    assert counts == [2, 2, 2, 1, 1]  # three shards were there, one is made clip by clip


def test_a_shard_or_manifest_that_cannot_be_read_is_an_error(builder):
    folder = _run(builder())
    file = folder / "shard-00002.safetensors"
    other = _run(builder(folder=folder.with_name("other"), views=1)) / file.name
    message = r"shard-00002.*run the 'adafocus bank' command"
    for content in (file.read_bytes()[:1000], other.read_bytes(), None):
        file.unlink() if content is None else file.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            FeatureBank.open(folder)
    for text, message in (
        ("{", "manifest.json cannot be read"),
        ("[]", "holds no JSON object"),
        ('{"format_version": 2}', "format_version is 2, this package reads 1"),
        ('{"format_version": 1}', "no manifest of a feature bank"),
    ):
        (folder / "manifest.json").write_text(text)
        with pytest.raises(CheckpointError, match=message):
            FeatureBank.open(folder)


def test_a_bank_of_other_settings_is_not_gone_on_with_and_other_files_left_alone(builder, tmp_path):
    def refused():
        for changes, message in (
            ({"views": 1}, r"\(views: 2 there, 1 here\)"),
            ({"seed": 3}, "episode_seeds.seed: 0 there, 3 here"),
            ({"patch_size": 8}, "patch_size: 12 there, 8 here"),
        ):
            with pytest.raises(CheckpointError, match=message):
                builder(**changes).prepare()

    builder().prepare()
    refused()
    _run(builder())
    refused()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files; name an empty folder"):
        builder(folder=tmp_path / "other").prepare()
    assert _contents(tmp_path / "other") == {"notes.txt": b"mine"}


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(
    builder, tmp_path, monkeypatch
):
    needed = 4 * 2 * 4 * (48 * 49 + 48 + 16 * 128) * 2
    assert builder().missing_bytes() == needed
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    with pytest.raises(ValueError, match=r"needs 0.00 GB more but the disk of .* has 0.00 GB free"):
        builder().prepare()
    assert not (tmp_path / "bank").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed))
    begun = builder()
    begun.prepare()
    begun.build_shards(count=2)
    # Two of the four shards are there, so the disk may be half as large.
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed // 2))
    builder().prepare()


@pytest.mark.parametrize("value", [float("nan"), 1e6], ids=["nan", "beyond_float16"])
def test_features_that_are_not_finite_are_found_while_building(builder, make_recognizer, value):
    recognizer = make_recognizer()
    with torch.no_grad():
        list(recognizer.focuser.net.layer4.modules())[-1].bias.fill_(value)
    with pytest.raises(
        FloatingPointError, match=r"video 0 in memory \(video 0 of the split\): patch_vectors"
    ):
        _run(builder(recognizer=recognizer))


def test_a_bank_that_was_not_built_whole_is_not_finished(builder):
    begun = builder()
    begun.prepare()
    begun.build_shards(rank=1, count=2)
    with pytest.raises(RuntimeError, match=r"shards \[0, 2\] have not been built"):
        begun.finish()


def _other_weights(part):
    def change(use):
        recognizer = Recognizer(use["recognizer"].config)
        recognizer.load_state_dict(use["recognizer"].state_dict())
        with torch.no_grad():
            next(getattr(recognizer, part).parameters())[0] += 1.0
        use["recognizer"] = recognizer

    return change


def _attribute(name, value):
    return lambda use: setattr(use["videos"], name, value)


def _rule(name, value):
    return lambda use: use.update({name: value})


def _other_label(use):
    use["videos"].labels = np.array([0, 1, 2, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_weights("glancer"), r"otherwise: recognizer\.glancer_sha256: \w{12} there, .*"),
        (_other_weights("focuser"), r"otherwise: recognizer\.focuser_sha256: \w{12} there, .*"),
        (_rule("grid_size", 5), r"positions\.count: 16 there, 25 here"),
        (_rule("patch_size", 16), "patch_size: 12 there, 16 here; positions.offsets: 16 from"),
        (_attribute("num_frames", 3), r"preprocessing\.num_frames: 4 there, 3 here"),
        (_other_label, r"otherwise: dataset\.videos_sha256: \w{12} there, \w{12} here\."),
        (_rule("baseline_positions", "pixel"), "use baseline_positions='grid'"),
        (_rule("locations", "continuous"), "use locations='grid'"),
        (_rule("amp", "bf16"), "computed by them before, in float32; leave amp=none"),
        (_rule("compile", True), "computed by them before, in float32; leave amp=none"),
        (_rule("bank_device", "gpu"), "bank_device is auto, cpu or cuda, not 'gpu'"),
        (_rule("bank_device", "cuda"), "the recognizer is on cpu; use bank_device=auto"),
    ],
)
def test_a_bank_that_does_not_fit_is_refused_with_the_difference(
    builder, tiny_recognizer, make_videos, change, message
):
    bank = FeatureBank.open(_run(builder()))
    use: dict[str, Any] = {"recognizer": tiny_recognizer, "videos": make_videos(4), "bank": bank}
    use |= {"grid_size": 4, "baseline_positions": "grid"}
    PatchLocalizationEnv.from_parts(**use)
    change(use)
    with pytest.raises(ValueError, match=message):
        PatchLocalizationEnv.from_parts(**use)


def test_a_bank_of_other_divisions_is_refused(builder, make_shift_recognizer, make_videos):
    one = make_shift_recognizer()
    two = one.divided(2)
    videos = make_videos(4, num_frames=12, num_glance_frames=8)
    bank = FeatureBank.open(_run(builder(recognizer=one, videos=videos, views=1)))
    use = {"positions": GRID.all_offsets(), "patch_size": 12}
    bank.check(one, videos, **use)
    with pytest.raises(CheckpointError, match=r"made otherwise: decisions: 1 there, 2 here"):
        bank.check(two, videos, **use)


@pytest.mark.parametrize(
    "option",
    [
        {"num_frames": 3},
        {"frame_size": 48},
        {"augment": True},
        {"media": "frames"},
        {"frame_rate": 4.0},
        {"eval_sampling": "test"},
        {"crop": False},
    ],
    ids=lambda option: next(iter(option)),
)
def test_every_option_that_decides_pixels_is_part_of_a_splits_identity(video_folder, option):
    (video_folder / "frames").mkdir(exist_ok=True)
    options = VideoOptions(4, 40)

    def identity(options, split="val"):
        return open_videos("videos", split, options, data_dir=video_folder).identity()

    assert identity(options) == identity(replace(options, flip=False, train_sampling="dense"))
    assert (
        identity(options)["preprocessing"] != identity(replace(options, **option))["preprocessing"]
    )
    assert identity(options)["dataset"] == identity(replace(options, **option))["dataset"]
    assert identity(options)["dataset"] != identity(options, "train")["dataset"]
    augmented = replace(options, augment=True)
    assert identity(augmented) != identity(replace(augmented, flip=False))


def test_a_moved_data_folder_has_the_same_identity(video_folder, tmp_path):
    moved = shutil.copytree(video_folder, tmp_path / "moved")
    one, other = (
        open_videos("videos", "train", VideoOptions(4, 40), data_dir=folder).identity()
        for folder in (video_folder, moved)
    )
    assert one == other


def test_an_offset_beside_the_grid_is_refused(builder, tiny_recognizer, make_videos):
    bank = FeatureBank.open(_run(builder()))
    env = PatchLocalizationVectorEnv.from_parts(
        tiny_recognizer,
        make_videos(4),
        bank=bank,
        grid_size=4,
        baseline_positions="grid",
        autoreset_mode="disabled",
    )
    env.reset(seed=0)
    offsets = torch.tensor([[[0, 0], [9, 28], [10, 28], [0, 0]]])
    with pytest.raises(ValueError, match=r"\(top, left\) \(10, 28\) is none .*baseline_positions="):
        env.play(offsets=offsets)
    offsets[0, 2] = torch.tensor([18, 28])
    assert env.play(offsets=offsets).infos["patch_box"][0, 2].tolist() == [18, 28, 12, 12]


def test_a_patch_as_large_as_the_frame_lies_where_all_positions_do(
    builder, tiny_recognizer, make_videos
):
    grid = PatchGrid(4, 40, 40)
    bank = FeatureBank.open(_run(builder(patch_size=40, positions=grid.all_offsets())))
    env = PatchLocalizationEnv.from_parts(
        tiny_recognizer,
        make_videos(4),
        bank=bank,
        grid_size=4,
        patch_size=40,
        baseline_positions="grid",
    )
    env.reset(seed=0)
    assert env.step(3)[1] == 0.0  # the random patch shows the same


def test_what_features_name_is_live_or_a_bank():
    assert open_bank("live", "val") is None
    for features in ("dead", "bank", "bank:", "banks:x"):
        with pytest.raises(ValueError, match="features is 'live' or 'bank:PATH', not"):
            open_bank(features, "val")


def test_the_classifier_compares_alternatives_as_it_steps_through_each(tiny_recognizer):
    generator = torch.Generator().manual_seed(0)
    glance, state = torch.randn(3, 48, generator=generator), torch.randn(3, 16, generator=generator)
    patches = torch.randn(3, 5, 128, generator=generator)
    together = tiny_recognizer.classify_each(glance, patches, state)
    for alternative in range(5):
        logits, _ = tiny_recognizer.classify_step(glance, patches[:, alternative], state)
        torch.testing.assert_close(together[:, alternative], logits, rtol=0, atol=1e-5)


def test_all_positions_of_many_frames_are_compared_in_parts(
    tiny_recognizer, make_videos, monkeypatch
):
    played = []
    for at_once in (1024, 100, 1):
        monkeypatch.setattr("adafocus_env.envs.rewards._PATCHES_AT_ONCE", at_once)
        env = PatchLocalizationVectorEnv.from_parts(
            tiny_recognizer, make_videos(4), num_envs=3, reward="expected"
        )
        env.reset(seed=0)
        played.append(env.play(np.full((3, 4), 5)).rewards)
    torch.testing.assert_close(played[1], played[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(played[2], played[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("order", ["any", "by_clip", "one_clip"])
def test_features_are_gathered_in_the_order_asked_for_from_any_number_of_shards(order):
    whole = {
        "maps": torch.arange(7 * 3 * 2).view(7, 3, 2).half(),
        "patches": torch.arange(7 * 3 * 4 * 2).view(7, 3, 4, 2).half(),
    }
    generator = torch.Generator().manual_seed(0)
    clips, steps, positions = (torch.randint(0, n, (60,), generator=generator) for n in (7, 3, 4))
    clips = {"any": clips, "by_clip": clips.sort().values, "one_clip": clips * 0 + 6}[order]
    expected = {
        "maps": whole["maps"][clips, steps].float(),
        "patches": whole["patches"][clips, steps, positions].float(),
    }
    for size in (2, 3, 7):
        parts = {name: list(array.split(size)) for name, array in whole.items()}
        stored = StoredFeatures(parts, torch.device("cpu"))
        torch.testing.assert_close(stored.take("maps", clips, steps), expected["maps"])
        taken = stored.take("patches", clips, steps, positions)
        torch.testing.assert_close(taken, expected["patches"])
        torch.testing.assert_close(stored.take("maps", clips), whole["maps"][clips].float())


def test_whole_clips_are_copied_as_they_lie_from_any_number_of_shards():
    whole = torch.arange(7 * 6 * 2).view(7, 6, 2).half()
    clips = torch.tensor([6, 0, 1, 1, 5])  # 0 and 1 lie side by side, in one shard or in two
    rows, steps = clips.repeat_interleave(6), torch.arange(6).repeat(5)
    for size in (1, 2, 7):
        stored = StoredFeatures({"maps": list(whole.split(size))}, torch.device("cpu"))
        taken = stored.take("maps", rows, steps)
        assert taken.dtype == torch.float32
        torch.testing.assert_close(taken, whole[clips].flatten(0, 1).float())
        taken.zero_()  # a copy
        torch.testing.assert_close(stored.take("maps", rows, steps), whole[rows, steps].float())
