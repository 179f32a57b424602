"""`adafocus run` on a few tiny clips: one report, groups that stay whole, no work done twice."""

import json

import numpy as np
import pytest

from train.config.compose import compose_command
from train.config.keys import ConfigError
from train.data_tools.worker_pool import WorkerPool
from train.pipeline import run as run_module
from train.pipeline.parts import Part

pytestmark = pytest.mark.slow

SMALL = [
    *("experiment=small", "model=glyphs", "classifier=mean", "crop=false", "fit=crop"),
    *(
        "num_frames=2",
        "hidden_dim=8",
        "action_dim=16",
        "epochs=2",
        "eval_freq=1",
        "batch_size=4",
        "device=cpu",
    ),
    *("folds=2", "inner_folds=2", "draws=1", "algo.policy_kwargs.head_dim=4"),
]


@pytest.fixture(scope="module")
def clips(tiny_videos, tmp_path_factory):
    """The tiny videos with groups of three: labels go round, so that every group has others."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "videos").symlink_to(tiny_videos / "videos")
    (folder / "classes.txt").write_text((tiny_videos / "classes.txt").read_text())
    lines = [(tiny_videos / f"{s}.txt").read_text().splitlines() for s in ("train", "val", "test")]
    for split, own in zip(("train", "val", "test"), lines, strict=True):
        (folder / f"{split}.txt").write_text("".join(f"{line}\n" for line in own))
    paths = [line.rsplit(",", 2)[0] for own in lines for line in own]
    groups = "".join(f"{path} g{number // 3}\n" for number, path in enumerate(paths))
    (folder / "groups.txt").write_text(groups)
    return folder


@pytest.fixture(scope="module")
def command(clips, handed_on):
    backbones = [f"pretrained_{part}={handed_on[part]}" for part in ("glancer", "focuser")]
    return ["run", *SMALL, f"data_dir={clips}", *backbones]


@pytest.fixture(scope="module")
def finished(command, run_command, tmp_path_factory):
    """A finished run, and what it printed."""
    folder = tmp_path_factory.mktemp("run") / "run"
    return folder, run_command(*command, f"output_dir={folder}").out


def test_every_clip_is_tested_once_and_no_group_is_on_both_sides(finished, clips):
    folder, out = finished
    group = dict(line.split() for line in (clips / "groups.txt").read_text().splitlines())

    def listed(file):
        return [line.split(",")[0] for line in file.read_text().splitlines()]

    tested = [listed(folder / f"fold_{k}" / "test.txt") for k in range(2)]
    assert sorted(path for own in tested for path in own) == sorted(group)
    for fold in (folder / "fold_0", folder / "fold_1"):
        pairs = [
            (fold, "test"),
            *((fold / part, "val") for part in ("inner_0", "inner_1", "half_0")),
        ]
        for place, held in pairs:
            train, other = listed(place / "train.txt"), listed(place / f"{held}.txt")
            assert not {group[path] for path in train} & {group[path] for path in other}
    assert "42 clips of 10 classes in 14 groups that are never parted" in out


def test_one_table_over_all_clips_with_the_baselines_and_a_sentence(finished):
    folder, out = finished
    result = json.loads((folder / "benchmark.json").read_text())
    assert (result["videos"], result["folds"]) == (42, 2)
    rows = {row["name"]: row for row in result["policies"]}
    assert list(rows) == [
        *("random", "center", "best_fixed", "motion", "full_frame:32", "full_frame:112"),
        *("learned", "cross_oracle", "greedy_oracle"),
    ]
    assert rows["learned"]["classifier"] == "own"
    assert rows["learned"]["differences"].keys() == {"random", "center", "best_fixed", "motion"}
    assert rows["cross_oracle"]["differences"].keys() == {"random"}
    assert rows["full_frame:112"]["gmacs_per_video"] > rows["full_frame:32"]["gmacs_per_video"]
    assert result["verdict"].startswith("Where one looks m")
    assert result["verdict"] in (folder / "report.html").read_text().replace("&#43;", "+")
    assert "Where one looks m" in out


def test_rewards_come_from_classifiers_that_have_not_seen_the_clips(finished):
    folder, _ = finished
    seen = [
        set(json.loads((folder / f"fold_0/inner_{k}/stage1/trained_on.json").read_text())["videos"])
        for k in range(2)
    ]
    assert not seen[0] & seen[1]
    final = json.loads((folder / "fold_0/stage1/trained_on.json").read_text())["videos"]
    assert set(final) == seen[0] | seen[1]


def test_the_same_command_goes_on_with_what_is_missing(finished, command, run_command, monkeypatch):
    folder, _ = finished
    before = json.loads((folder / "benchmark.json").read_text())
    missing = folder / "fold_1" / "judged" / "finished.json"
    missing.unlink()
    ran, real = [], Part.run

    def noted(part, *more):
        ran.append(part.name)
        return real(part, *more)

    monkeypatch.setattr(Part, "run", noted)
    monkeypatch.setattr(run_module, "pool_for", lambda _: WorkerPool(0))
    run_command(*command, f"output_dir={folder}")
    assert ran == ["fold_1/judged"]
    after = json.loads((folder / "benchmark.json").read_text())
    for one, other in zip(before["policies"], after["policies"], strict=True):
        assert np.isclose(one["confidence_mean"], other["confidence_mean"])
    refused = run_command(*command, f"output_dir={folder}", "seed=1", code=1).err
    assert "holds a run with other settings (bank.seed: 0 there, 1 here" in refused


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["folds=20"], "20 parts need as many groups of clips, and there are 14"),
        (["groups=nowhere.txt"], "groups=nowhere.txt: no such file"),
        (["pretrained_focuser=null"], "run needs pretrained_focuser=RUN_FOLDER of"),
        (["pretrained_glancer=nofile.pth"], "pretrained_glancer=nofile.pth does not exist; name"),
        (["pretrained_glancer=."], "no glancer in .; 'adafocus stage0 pretrain_glancer=true' m"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(command, run_command, tmp_path, given, message):
    said = run_command(*command, *given, f"output_dir={tmp_path / 'run'}", code=1).err
    assert message in said
    assert said.count("\n") == 1
    assert not {"run.json", "all", "bank"} & {item.name for item in (tmp_path / "run").iterdir()}


def test_a_bank_that_another_run_has_finished_brings_its_networks(tmp_path):
    given = ["experiment=small", "data_dir=x", f"target={tmp_path / 'shared'}"]
    composed = compose_command("run", [*given, "output_dir=unused"])
    with pytest.raises(ConfigError, match=r"^run needs pretrained_glancer=FILE"):
        run_module.check_has_networks(composed, ["a", "b"], tmp_path)
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "finished.json").touch()
    run_module.check_has_networks(composed, ["a", "b"], tmp_path)
