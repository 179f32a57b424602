"""Published `.pth.tar` files: what is read, what is refused, and that no code in them runs."""

import os
import pickle
import re
import tarfile
import zipfile
from functools import partial

import numpy as np
import pytest
import torch

from adafocus_env.networks import CheckpointError
from adafocus_env.networks.weight_report import compare_weights
from train.checkpoints.published.files import read_published, read_published_part, write_published
from train.checkpoints.published.torch_file import read_torch_file


@pytest.fixture
def entries():
    """The entries of a stage-3 file, with one or two weights of each network."""
    policy = {"state_encoder.0.weight": torch.ones(2, 3, 1, 1), "critic.0.bias": torch.ones(1)}
    inside = {
        f"policy.{copy}.{name}": value.clone()
        for copy in ("policy", "policy_old")
        for name, value in policy.items()
    }
    return {
        "epoch": 7,
        "model_state_dict": {},
        "glancer": {"net.features.0.0.weight": torch.full((2, 3), 2.0)},
        "focuser": {"net.conv1.weight": torch.full((4, 3), 3.0), **inside},
        "fc": {"gru.weight_hh_l0": torch.zeros(6, 2), "fc.weight": torch.zeros(5, 2)},
        "scaler": None,
        "policy": policy,
        "acc": torch.tensor(74.5),
        "best_acc": torch.tensor(75.25),
        "optimizer": None,
    }


@pytest.fixture
def file(tmp_path):
    return tmp_path / "128s3_checkpoint.pth.tar"


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("prefix", ["", "module."], ids=["plain", "data parallel"])
def test_networks_policy_and_metrics_are_read(entries, file, zipped, prefix):
    written = dict(entries)
    for part in ("glancer", "focuser", "fc", "policy"):
        written[part] = {f"{prefix}{name}": value for name, value in entries[part].items()}
    torch.save(written, file, _use_new_zipfile_serialization=zipped)
    read = read_published(file)
    assert read.glancer.keys() == {"net.features.0.0.weight"}
    assert read.focuser.keys() == {"net.conv1.weight"}
    assert torch.equal(read.focuser["net.conv1.weight"], torch.full((4, 3), 3.0))
    assert read.classifier.keys() == {"gru.weight_hh_l0", "fc.weight"}
    assert read.policy.keys() == entries["policy"].keys()
    assert (read.epoch, read.acc, read.best_acc) == (7, 74.5, 75.25)
    assert (read.notes, read.family) == ([], "recurrent")


def test_a_file_of_stage_1_has_no_policy_and_a_linear_classifier_tells_the_other_family(
    entries, file
):
    entries["focuser"] = {"net.conv1.weight": torch.zeros(4, 3)}
    torch.save({**entries, "policy": None, "fc": {"weight": torch.zeros(174, 8)}}, file)
    read = read_published(file)
    assert read.policy is None
    assert (read.family, list(read.classifier)) == ("temporal_shift", ["weight"])


def test_the_entry_policy_is_taken_or_else_the_copy_that_acts(entries, file):
    entries["focuser"]["policy.policy_old.critic.0.bias"] += 4
    for changes, bias, note in (
        ({"policy": None}, 5, "the policy is taken from focuser's policy.policy_old.*"),
        ({}, 1, "focuser's policy.policy_old.* differ from the entry policy, which is taken"),
    ):
        torch.save({**entries, **changes}, file)
        read = read_published(file)
        assert (read.policy["critic.0.bias"].item(), read.notes) == (bias, [note])


def test_metrics_may_be_numbers_of_python_numpy_and_torch(entries, file):
    for value, expected in (
        (torch.tensor([71.5]), 71.5),  # top-1 of Mini-Kinetics has one axis
        (71.5, 71.5),
        (np.float64(71.5), 71.5),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.int64(-3), -3.0),
        (np.bool_(True), 1.0),
        (torch.tensor([1.0, 2.0]), None),
        (float("nan"), None),
        (np.float64("inf"), None),
        ("71.5", None),
        (None, None),
    ):
        torch.save({**entries, "acc": value, "best_acc": value}, file)
        read = read_published(file)
        assert (read.acc, read.best_acc) == (expected, expected), repr(value)


def test_numpy_numbers_under_their_name_before_numpy_2_are_read(entries, file, tmp_path):
    torch.save({**entries, "acc": np.float64(71.5)}, tmp_path / "new")
    with zipfile.ZipFile(tmp_path / "new") as new, zipfile.ZipFile(file, "w") as old:
        for name in new.namelist():
            content = new.read(name)
            if name.endswith("data.pkl"):
                assert b"numpy._core.multiarray\n" in content
                content = content.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")
            old.writestr(name, content)
    assert read_published(file).acc == 71.5


def test_tensors_of_a_gpu_come_to_the_cpu(entries, file, tmp_path):
    torch.save(entries, tmp_path / "cpu", _use_new_zipfile_serialization=False)
    content = (tmp_path / "cpu").read_bytes()
    on_cpu = b"X\x03\x00\x00\x00cpu"  # a pickled text of three letters
    assert on_cpu in content
    file.write_bytes(content.replace(on_cpu, b"X\x06\x00\x00\x00cuda:0"))
    read = read_published(file)
    assert read.best_acc == 75.25
    assert read.glancer["net.features.0.0.weight"].device.type == "cpu"


class Canary:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self._folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self._folder,)


SAVE = {
    "zip": torch.save,
    "legacy": partial(torch.save, _use_new_zipfile_serialization=False),
    "pickle": lambda content, file: file.write_bytes(pickle.dumps(content)),
}


@pytest.mark.parametrize("kind", SAVE)
@pytest.mark.parametrize("place", ["acc", "glancer", None])
def test_code_in_a_file_does_not_run(entries, file, tmp_path, kind, place):
    canary = Canary(tmp_path / "it ran")
    SAVE[kind](canary if place is None else {**entries, place: canary}, file)
    for read in (read_published, partial(read_published_part, part="glancer")):
        with pytest.raises(CheckpointError, match=f"^{file}") as error:
            read(file)
        assert "weights_only" not in str(error.value)
        assert "\n" not in str(error.value)
        if kind == "zip":
            assert re.search(r"holds \w+\.mkdir, which is code .* not read", str(error.value))
    assert not (tmp_path / "it ran").exists()


def test_numpy_objects_that_could_hold_code_are_refused(entries, file, tmp_path):
    class ObjectNumber:
        def __reduce__(self):
            return np.float64(1).__reduce__()[0], (np.dtype("O"), Canary(tmp_path / "it ran"))

    class Record:
        def __reduce__(self):
            return np.float64(1).__reduce__()[0], (np.dtype([("a", "O")]), b"12345678")

    for value in (ObjectNumber(), Record(), np.zeros(3)):
        torch.save({**entries, "acc": value}, file)
        with pytest.raises(CheckpointError, match=str(file)):
            read_published(file)
    assert not (tmp_path / "it ran").exists()


def _damage(file, kind):
    """Writes another kind of file, or a part of the one that is there."""
    whole = file.read_bytes()
    if kind == "other zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("readme.txt", "no weights")
    elif kind == "tar":
        tarfile.open(file, mode="w").close()
    elif kind == "NumPy":
        with file.open("wb") as opened:
            np.save(opened, np.zeros(3))
    else:
        file.write_bytes({"half": whole[: len(whole) // 2], "but the end": whole[:-40]}[kind])


KINDS = ["half", "but the end", "other zip", "tar", "NumPy"]
KINDS += [b"", b"this is no checkpoint\n" * 20, b"<!DOCTYPE html><html>Too many</html>"]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_no_checkpoint_gives_one_line(entries, file, kind, zipped):
    torch.save(entries, file, _use_new_zipfile_serialization=zipped)
    file.write_bytes(kind) if isinstance(kind, bytes) else _damage(file, kind)
    with pytest.raises(CheckpointError, match=f"{file} cannot be read as a checkpoint") as error:
        read_published(file)
    assert "weights_only" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [[1, 2], 7, torch.zeros(3), {1: torch.zeros(2)}], ids=repr)
def test_a_missing_file_and_one_without_named_entries_are_refused(file, content):
    with pytest.raises(FileNotFoundError, match=f"no checkpoint file {file}"):
        read_published(file)
    torch.save(content, file)
    with pytest.raises(CheckpointError, match="holds no named entries"):
        read_torch_file(file)


NO_MEMORY = {"fc.weight": torch.zeros(200, 3328), "fc.bias": torch.zeros(200)}
NO_CONVOLUTION = {f"state_encoder.{k}.weight": torch.zeros(2, 2) for k in (0, 2)}


def test_a_checkpoint_without_one_of_the_networks_or_of_other_options_is_refused(entries, file):
    for part, value, said in (
        ("glancer", None, "no weights under 'glancer'; a published checkpoint"),
        ("focuser", {}, "no weights under 'focuser'; a published checkpoint"),
        ("fc", 3, "no weights under 'fc'; a published checkpoint"),
        ("fc", {"a": 3}, "no weights under 'fc'; a published checkpoint"),
        ("fc", NO_MEMORY, "consensus=fc"),
        ("policy", NO_CONVOLUTION, "policy_conv=false"),
    ):
        torch.save({**entries, part: value}, file)
        with pytest.raises(CheckpointError, match=said):
            read_published(file)


@pytest.mark.parametrize(("part", "head"), [("glancer", "net.classifier"), ("focuser", "net.fc")])
def test_a_file_of_the_tsm_repository_is_read_as_either_part(file, part, head):
    layer = "features.3.conv.0.net.weight"
    names = (f"module.base_model.{layer}", "module.new_fc.weight")
    state = dict.fromkeys(names, torch.ones(1))
    torch.save({"epoch": 50, "arch": "mobilenetv2", "state_dict": state, "best_prec1": 40.0}, file)
    assert list(read_published_part(file, part)) == [f"net.{layer}", f"{head}.weight"]
    state["module.backbone.conv1.weight"] = torch.zeros(2)
    torch.save({"state_dict": state}, file)
    with pytest.raises(CheckpointError, match=r"'backbone.conv1.weight' .* module.base_model.*"):
        read_published_part(file, part)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("features.3.conv.0.net.weight", "pretrain_glancer=true pretrained_glancer="),
        ("layer1.0.conv1.net.weight", "pretrain_glancer=false pretrained_focuser="),
    ],
)
def test_a_whole_checkpoint_of_the_tsm_repository_is_sent_to_stage_0(file, name, cure):
    torch.save({"state_dict": {f"module.base_model.{name}": torch.zeros(2)}}, file)
    with pytest.raises(CheckpointError, match=f"TSM .*'adafocus stage0 {cure}{file}'"):
        read_published(file)


def _write(file, policy):
    parts = {
        "glancer": {"net.a": torch.ones(2)},
        "focuser": {"net.b": torch.ones(3)},
        "classifier": {"fc.weight": torch.ones(4)},
    }
    write_published(file, **parts, policy=policy, epoch=3, acc=1.5, best_acc=2.5)
    return torch.load(file, weights_only=True)


def test_a_written_file_has_the_published_entries(file):
    entries = _write(file, None)
    assert " ".join(entries) == (
        "epoch model_state_dict glancer focuser fc scaler policy acc best_acc optimizer"
    )
    none = ("scaler", "policy", "optimizer")
    assert [entries[name] for name in ("epoch", *none)] == [3, None, None, None]
    assert entries["acc"].shape == entries["best_acc"].shape == ()
    assert (entries["acc"].item(), entries["best_acc"].item()) == (1.5, 2.5)
    names = ["glancer.net.a", "focuser.net.b", "classifier.fc.weight"]
    assert list(entries["model_state_dict"]) == names
    assert os.listdir(file.parent) == [file.name]


def test_a_written_policy_is_there_three_times_and_stored_once(file):
    large = torch.arange(250_000, dtype=torch.float32)
    entries = _write(file, {"critic.0.bias": large})
    assert torch.equal(entries["policy"]["critic.0.bias"], large)
    for copy in ("policy", "policy_old"):
        assert torch.equal(entries["focuser"][f"policy.{copy}.critic.0.bias"], large)
    assert 1_000_000 < file.stat().st_size < 1_100_000


def test_a_report_names_what_is_missing_unexpected_and_of_another_shape():
    given = {"a": torch.zeros(2), "b": torch.zeros(2, 3), "x": torch.zeros(1)}
    expected = {"a": torch.zeros(2), "b": torch.zeros(2, 4), "c": torch.zeros(1)}
    report = compare_weights(given, expected)
    assert (report.read, report.missing, report.unexpected) == (1, ("c",), ("x",))
    assert report.wrong_shapes == ("b is (2, 3) in the file but (2, 4) here",)
    assert not report.complete
    assert str(report) == (
        "1 missing: c; 1 of another shape: b is (2, 3) in the file but (2, 4) here; 1 unexpected: x"
    )
    extra = compare_weights({"x": torch.zeros(1)}, {"c": torch.zeros(1)}, optional=["c"])
    assert extra.complete  # what is unexpected does not hinder, what is optional may be missing
    assert not extra.exact
    assert compare_weights({}, {}).exact
    report = compare_weights({}, {f"w{k}": torch.zeros(1) for k in range(314)})
    assert str(report) == "314 missing: w0, w1, w2, w3, and 310 more"
    assert len(report.as_json()["missing"]) == 314
