"""Building a feature bank: what it holds, what it refuses, and going on after an interruption."""

import copy
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from adafocus_env.envs import PatchGrid, PatchLocalizationEnv, PatchLocalizationVectorEnv
from adafocus_env.features import BankBuilder, FeatureBank, open_bank
from adafocus_env.features.bank_files import BankLayout
from adafocus_env.networks import CheckpointError, crop_patches

GRID = PatchGrid(4, 40, 12)


@pytest.fixture
def builder(tiny_recognizer, make_videos, tmp_path):
    """Makes builders of two views of four videos, a shard each, in `tmp_path/bank`."""

    def make(**changes):
        parts = {"folder": tmp_path / "bank", "recognizer": tiny_recognizer}
        defaults = {"videos": make_videos(4), "positions": GRID.all_offsets(), "views": 2}
        return BankBuilder(**{**parts, **defaults, **changes})

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
    stored = {name: array[1].float() for name, array in arrays.items() if name != "labels"}
    stored["patch_vectors"] = stored["patch_vectors"][:, 7]
    expected = {"glance_maps": maps, "glance_vectors": vectors, "patch_vectors": patches}
    torch.testing.assert_close(stored, expected, rtol=1e-3, atol=1e-4)


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
        ('{"format_version": 1}', "settings is missing"),
    ):
        (folder / "manifest.json").write_text(text)
        with pytest.raises(CheckpointError, match=message):
            FeatureBank.open(folder)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (["layout", "num_videos"], "5", "layout.num_videos should be a valid integer, not '5'"),
        (["layout", "views"], 0, "layout.views should be greater than or equal to 1"),
        (["layout", "map_shape"], [48, 7], "layout.map_shape.2 is missing"),
        (["layout", "num_videos"], 10**6, r"but 16 and \d are listed"),
        (["settings", "positions", "offsets"], [[0, 0]], r"but 1 and \d are listed"),
        (["settings", "positions"], [], "positions should be an object"),
        (["settings", "patch_size"], True, "patch_size should be a valid integer, not True"),
        (["settings", "episode_seeds", "seed"], "0", "episode_seeds.seed should be a valid int"),
        (["settings", "dataset"], None, "dataset should be an object, not None"),
        (["shards"], [{"sha256": 3, "bytes": 4}], "shards.0.sha256 should be a valid string"),
        (["shards"], [], r"but 16 and 0 are listed"),
    ],
    ids=str,
)
def test_a_manifest_of_other_types_or_numbers_names_the_entry(builder, place, value, message):
    folder = _run(builder())
    file = folder / "manifest.json"
    written = json.loads(file.read_text())
    inner = written
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    file.write_text(json.dumps(written))
    with pytest.raises(CheckpointError, match=f"{file}: .*{message}"):
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
    with pytest.raises(ValueError, match=r"needs 0.3 MB more .* has 0.3 MB free"):
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


def _other_weights(part, recognizer):
    other = copy.deepcopy(recognizer)
    with torch.no_grad():
        next(getattr(other, part).parameters())[0] += 1.0
    return other


def test_a_bank_that_does_not_fit_is_refused_with_the_difference(
    builder, tiny_recognizer, make_videos
):
    use = {"recognizer": tiny_recognizer, "videos": make_videos(4), "grid_size": 4}
    use |= {"bank": FeatureBank.open(_run(builder())), "baseline_positions": "grid"}
    PatchLocalizationEnv.from_parts(**use)
    other_label, shorter = make_videos(4, labels=[0, 1, 2, 1]), make_videos(4, num_frames=3)
    for changes, message in (
        (
            {"recognizer": _other_weights("glancer", tiny_recognizer)},
            r"glancer_sha256: \w{12} there",
        ),
        (
            {"recognizer": _other_weights("focuser", tiny_recognizer)},
            r"focuser_sha256: \w{12} there",
        ),
        ({"grid_size": 5}, r"positions\.count: 16 there, 25 here"),
        ({"patch_size": 16}, "patch_size: 12 there, 16 here; positions.offsets: 16 from"),
        ({"videos": shorter}, r"preprocessing\.num_frames: 4 there, 3 here"),
        ({"videos": other_label}, r"otherwise: dataset\.videos_sha256: \w{12} there, \w{12} here"),
        ({"baseline_positions": "pixel"}, "use baseline_positions='grid'"),
        ({"locations": "continuous"}, "use locations='grid'"),
        ({"amp": "bf16"}, "computed by them before, in float32; leave amp=none"),
        ({"compile": True}, "computed by them before, in float32; leave amp=none"),
        ({"bank_device": "gpu"}, "bank_device='gpu' should be 'auto', 'cpu' or 'cuda'"),
        ({"bank_device": "cuda"}, "the recognizer is on cpu; use bank_device=auto"),
    ):
        with pytest.raises(ValueError, match=message):
            PatchLocalizationEnv.from_parts(**{**use, **changes})


def test_a_bank_of_other_divisions_is_refused(builder, make_shift_recognizer, make_videos):
    one = make_shift_recognizer()
    two = one.divided(2)
    videos = make_videos(4, num_frames=12, num_glance_frames=8)
    bank = FeatureBank.open(_run(builder(recognizer=one, videos=videos, views=1)))
    use = {"positions": GRID.all_offsets(), "patch_size": 12}
    bank.check(one, videos, **use)
    with pytest.raises(CheckpointError, match=r"made otherwise: decisions: 1 there, 2 here"):
        bank.check(two, videos, **use)


def test_an_offset_beside_the_grid_is_refused(builder, tiny_recognizer, make_videos):
    bank = FeatureBank.open(_run(builder()))
    rules = {"grid_size": 4, "baseline_positions": "grid", "autoreset_mode": "disabled"}
    env = PatchLocalizationVectorEnv.from_parts(tiny_recognizer, make_videos(4), bank=bank, **rules)
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
    rules = {"grid_size": 4, "patch_size": 40, "baseline_positions": "grid"}
    env = PatchLocalizationEnv.from_parts(tiny_recognizer, make_videos(4), bank=bank, **rules)
    env.reset(seed=0)
    assert env.step(3)[1] == 0.0  # the random patch shows the same


def test_what_features_name_is_live_or_a_bank():
    assert open_bank("live", "val") is None
    for features in ("dead", "bank", "bank:", "banks:x"):
        with pytest.raises(ValueError, match="features is 'live' or 'bank:PATH', not"):
            open_bank(features, "val")
