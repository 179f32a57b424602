"""Damaged and hostile files, and bad settings: commands that must be refused in one line."""

from __future__ import annotations

import json
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from workshop import Workshop

Command = list[object]
Case = tuple[str, Command]


class Canary:
    """What a pickle brings along: loading it would leave a file behind."""

    def __init__(self, file: Path):
        self._file = file

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return _sing, (str(self._file),)


def _sing(file: str) -> None:
    Path(file).touch()


class Damage:
    """Copies of runs, banks and data sets, each with one file that is not as it was.

    Args:
        shop: what is copied.
        root: an empty folder.
        rng: chooses which bytes, and what they become.
        state: a training state of `stage1`, and the command that goes on with it.
        canary: what hostile code would write.
        outside: a folder that nothing may read.
    """

    def __init__(
        self,
        shop: Workshop,
        root: Path,
        rng: random.Random,
        *,
        state: Path,
        canary: Path,
        outside: Path,
    ):
        self._shop, self._root, self._rng = shop, root, rng
        self._state, self._canary, self._outside = state, canary, outside
        self._count = 0

    def cases(self) -> Iterator[Case]:
        """Each made when it is asked for."""
        yield from self._configurations()
        yield from self._states()
        yield from self._recognizers()
        yield from self._policies()
        yield from self._banks()
        yield from self._lists()
        yield from self._weights()

    def _configurations(self) -> Iterator[Case]:
        bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n"
            for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        )
        whole = (self._shop.runs["stage2"] / "config.yaml").read_text()
        for name, text in (
            ("empty", ""),
            ("a list", "- 1\n- 2\n"),
            ("cut", whole[: self._rng.randrange(20, len(whole) // 2)] + "\n  : ["),
            ("a tag", f"x: !!python/object/apply:pathlib.Path.touch [{self._canary}]\n"),
            ("an alias bomb", bomb),
            ("deep", "a: " + "[" * 5000),
        ):
            run = self._run("stage2")
            (run / "config.yaml").write_text(text)
            given = self._shop.stage("stage2", run)
            yield f"config.yaml: {name}", [*given, "resume=auto"]

    def _states(self) -> Iterator[Case]:
        whole = self._state.read_bytes()
        at = self._rng.randrange(len(whole))
        flipped = bytearray(whole)
        flipped[at] ^= 1 << self._rng.randrange(8)
        for name, content in (
            ("a flipped bit", bytes(flipped)),
            ("cut", whole[: self._rng.randrange(1, len(whole))]),
            ("empty", b""),
            ("code", pickle.dumps(Canary(self._canary))),
            ("noise", self._rng.randbytes(5000)),
        ):
            run = self._copy(self._state.parent)
            (run / self._state.name).write_bytes(content)
            given = self._shop.stage("stage1", run, epochs=1000)
            yield f"training_state.pt: {name}", [*given, "resume=auto"]

    def _recognizers(self) -> Iterator[Case]:
        for name, changes in (
            ("num_frames of 0", {"num_frames": 0}),
            ("pixel_std of 0", {"pixel_std": [0, 0, 0]}),
            ("hidden_dim of 10^7", {"hidden_dim": 10**7}),
            ("a dropout of text", {"dropout": "much"}),
            ("10^6 classes", {"class_names": [f"c{i}" for i in range(10**6)]}),
            ("a network of nobody", {"focuser": "os.system"}),
            ("an unknown key", {f"key_{self._rng.randrange(99)}": 1}),
        ):
            run = self._run("stage1")
            self._change(run / "recognizer" / "recognizer.json", changes)
            yield f"recognizer.json: {name}", self._evaluated(run)
        run = self._run("stage1")
        (run / "recognizer" / "recognizer.json").write_text("[" * 100_000)
        yield "recognizer.json: deep", self._evaluated(run)

    def _policies(self) -> Iterator[Case]:
        for name, changes in (
            ("a class of nobody", {"format_version": 2, "class": "Popen"}),
            ("2^40 actions", {"num_actions": 2**40}),
            ("no actions", {"num_actions": None}),
            ("a large layer", {"arguments": {"hidden_dim": 10**9}}),
        ):
            run = self._run("stage2")
            self._change(run / "policy" / "policy.json", changes)
            yield f"policy.json: {name}", self._evaluated(run)
        run = self._run("stage2")
        shutil.rmtree(run / "policy")
        with zipfile.ZipFile(run / "policy.zip", "w") as archive:
            archive.writestr("data", pickle.dumps(Canary(self._canary)))
        yield "a policy as .zip", self._evaluated(run, policy=run / "policy.zip")

    def _banks(self) -> Iterator[Case]:
        for name, changes in (
            ("text for settings", {"settings": "as usual"}),
            ("another version", {"format_version": self._rng.randrange(90, 99)}),
            ("no entries", None),
        ):
            bank = self._copy(self._shop.bank)
            if changes is None:
                (bank / "val" / "manifest.json").write_text("{}")
            else:
                self._change(bank / "val" / "manifest.json", changes)
            yield f"manifest.json: {name}", self._evaluated(None, features=f"bank:{bank}")
        bank = self._copy(self._shop.bank)
        shard = self._rng.choice(sorted((bank / "val").glob("shard-*")))
        shard.unlink()
        yield "a bank without a shard", self._evaluated(None, features=f"bank:{bank}")
        bank = self._copy(self._shop.bank)
        shard = self._rng.choice(sorted((bank / "val").glob("shard-*")))
        content = bytearray(shard.read_bytes())
        content[self._rng.randrange(len(content))] ^= 0xFF
        shard.write_bytes(content)
        yield "a bank with a flipped byte", ["check-bank", f"source={bank}"]

    def _lists(self) -> Iterator[Case]:
        lines = (self._shop.data / "val.txt").read_text().splitlines()
        path, frames, label = lines[0].rsplit(",", 2)
        for name, line in (
            ("10^9 frames", f"{path},{10**9},{label}"),
            ("10^30 frames", f"{path},{10**30},{label}"),
            ("a label of -1", f"{path},{frames},-1"),
            ("a label of 10^6", f"{path},{frames},1000000"),
            ("text for a label", f"{path},{frames},cat"),
            ("a column too few", f"{path},{frames}"),
            ("a folder outside", f"../../{self._outside.name}/secret.mp4,{frames},{label}"),
            ("an absolute path", f"{self._outside / 'secret.mp4'},{frames},{label}"),
        ):
            data = self._copy(self._shop.data)
            place = self._rng.randrange(len(lines))
            (data / "val.txt").write_text("\n".join([*lines[:place], line, *lines[place:]]))
            yield f"val.txt: {name}", self._evaluated(None, data_dir=data)
        for name, content in (("not text", self._rng.randbytes(300)), ("empty", b"")):
            data = self._copy(self._shop.data)
            (data / "classes.txt").write_bytes(content)
            yield f"classes.txt: {name}", self._evaluated(None, data_dir=data)
        data = self._copy(self._shop.data)
        playlist = f"ffconcat version 1.0\nfile '{self._outside / 'secret.mp4'}'\n"
        for one in (data / "videos").rglob("*.mp4"):
            one.write_text(playlist)
        yield "videos that are playlists", self._evaluated(None, data_dir=data)

    def _weights(self) -> Iterator[Case]:
        name = "recognizer.safetensors"
        whole = (self._shop.runs["stage1"] / "recognizer" / name).read_bytes()
        for said, content in (
            ("cut", whole[: self._rng.randrange(8, len(whole))]),
            ("a header of 2^60 bytes", (2**60).to_bytes(8, "little") + whole[8:]),
            ("a pickle", pickle.dumps(Canary(self._canary))),
        ):
            run = self._run("stage1")
            (run / "recognizer" / name).write_bytes(content)
            yield f"{name}: {said}", self._evaluated(run)
        file = self._new() / "backbone.pth"
        file.parent.mkdir()
        file.write_bytes(pickle.dumps(Canary(self._canary)))
        given = self._shop.stage("stage0", self._new(), pretrained_glancer=file)
        yield "pretrained weights: a pickle with code", given

    def _new(self) -> Path:
        self._count += 1
        return self._root / f"case_{self._count}"

    def _copy(self, folder: Path) -> Path:
        return Path(shutil.copytree(folder, self._new(), symlinks=True))

    def _run(self, name: str) -> Path:
        return self._shop.copy(name, self._new())

    def _change(self, file: Path, changes: dict[str, object]) -> None:
        values = json.loads(file.read_text())
        assert isinstance(values, dict)
        file.write_text(json.dumps({**values, **changes}))

    def _evaluated(self, run: Path | None, **changes: object) -> Command:
        run = self._shop.runs["stage2"] if run is None else run
        given = {"resume": run, "split": "val", "output_dir": self._new(), **changes}
        if "policy" not in given and not (run / "policy").is_dir():
            given["policy"] = "random"
        return ["evaluate", *self._shop.basics(**given)]


def settings(shop: Workshop, root: Path, rng: random.Random) -> Iterator[Case]:
    """Values that no command may take, each the only fault of its command line."""
    broken = rng.choice(["nan", "inf", "-1"])
    below = -rng.randrange(1, 1000)
    stage2: list[dict[str, object]] = [
        {"algo.learning_rate": broken},
        {"algo.gamma": rng.uniform(1.01, 9)},
        {"algo.gae_lambda": "nan"},
        {"algo.clip_range": below},
        {"algo.max_grad_norm": 0},
        {"algo.n_epochs": 0},
        {"algo.n_epochs": "many"},
        {"algo.lerning_rate": 0.1},
        {"algo.policy_kwargs.hidden_dim": 0},
        {"algo.policy_kwargs.head": "sideways"},
        {"algo": "ppoo"},
        {"algo": "ppo", "algo.n_steps": 0},
        {"algo": "ppo", "algo.batch_size": 1},
        {"algo": "ppo", "algo.policy_kwargs.net_arch": "foo"},
        {"algo": "dqn", "algo.buffer_size": -1},
        {"reward": "praise"},
        {"batch_size": 0},
        {"batch_size": 10**9},
        {"epochs": below},
        {"epochs": "1.5"},
        {"seed": 2**70},
        {"num_workers": -1},
        {"locations": "everywhere"},
        {"device": "toaster"},
        {"device": "meta"},
        {"features": "bank:/nowhere"},
        {"recognizer": "/nowhere"},
        {"data_dir": "/nowhere"},
        {"skip_cost": "nan", "locations": "skip"},
        {"looks_per_frame": 0, "env": "active"},
        {"eval_freq": 0},
    ]
    for changes in stage2:
        said = " ".join(f"{name}={value}" for name, value in changes.items())
        yield f"stage2 {said}", shop.stage("stage2", root / "never", **changes)
    stage1: list[dict[str, object]] = [
        {"momentum": rng.uniform(1.0, 5.0), "optimizer": "sgd"},
        {"backbone_lr": below},
        {"fc_lr": "nan"},
        {"weight_decay": -0.1},
        {"patch_size": 32.5},
        {"patch_size": 4096},
        {"num_frames": 0},
        {"dropout": 1.5},
    ]
    for changes in stage1:
        said = " ".join(f"{name}={value}" for name, value in changes.items())
        yield f"stage1 {said}", shop.stage("stage1", root / "never", **changes)
    frames = [f"source={shop.data / 'videos'}", f"target={root / 'frames'}"]
    for given in ("frame_rate=100000", "frame_rate=nan", "height=0"):
        yield f"extract-frames {given}", ["extract-frames", *frames, given]
    record = shop.basics(resume=shop.runs["stage2"], output_dir=root / "never")
    for given in ("fps=inf", "fps=nan", "videos=[999]"):
        yield f"record {given}", ["record", *record, given]
    yield "a word too many", ["stage2", "faster"]
    yield "a path of brackets", ["check-data", f"data_dir={root}/a[1", "dataset=videos"]
