"""`adafocus convert` on the command line: the same metrics, and the published size."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

from adafocus_env.networks import Recognizer, RecognizerConfig, placeholder_class_names
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.policies.policy_files import load_policy, save_policy

pytestmark = pytest.mark.slow

# Names and shapes of a published file: 200 classes, 49 actions, hidden size 1024.
KEYS = json.loads((Path(__file__).parent / "published_keys.json").read_text())


def test_a_converted_run_is_judged_as_the_run_itself(
    handed_on, small_policy, run_tiny, judge, tmp_path
):
    run, recognizer = tmp_path / "run", Recognizer.load(handed_on["stage1"] / "recognizer")
    recognizer.save(run / "recognizer")
    save_policy(small_policy(), run / "policy", recognizer_sha256=recognizer.fingerprint())
    before = judge(tmp_path / "before", f"resume={run}")
    file, out = tmp_path / "run.pth.tar", tmp_path / "convert"
    run_tiny("convert", out, f"source={run}", f"target={file}", "format=published")
    # Of what a published file does not say.
    given = [f"source={file}", f"target={tmp_path / 'back'}"]
    run_tiny("convert", out, *given, f"dropout={recognizer.config.dropout}")
    after = judge(tmp_path / "after", f"resume={tmp_path / 'back'}")
    for result in (before, after):
        for name in ("seconds", "videos_per_second", "printed", "markdown"):
            del result[name]
    assert before["name"] == "learned"
    assert before["recognizer_sha256"] == recognizer.fingerprint()
    assert after == before


def test_a_pickle_with_code_ends_the_command_with_one_line(refused, tmp_path):
    class Canary:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "it ran"),)

    torch.save({"glancer": Canary()}, tmp_path / "x.pth.tar")
    given = [f"source={tmp_path / 'x.pth.tar'}", f"target={tmp_path / 'back'}"]
    said = refused("convert", *given)
    assert "mkdir, which is code and no weights; nothing of it was run" in said
    assert not (tmp_path / "it ran").exists()
    assert not (tmp_path / "back").exists()


# The only test that writes 200 MB files; smaller networks have no published names.
def test_published_networks_have_the_published_names_and_shapes_and_come_back(
    run_command, changed, tmp_path
):
    torch.manual_seed(0)
    sizes = RecognizerConfig(placeholder_class_names(200), dropout=0.8)
    recognizer = Recognizer(sizes)
    recognizer.save(tmp_path / "run" / "recognizer")
    policy = GruActorCriticPolicy(
        spaces.Box(0.0, 6.0, (1280, 7, 7), np.float32), spaces.Discrete(49), lambda _: 0.0
    )
    save_policy(policy, tmp_path / "run" / "policy", recognizer_sha256=recognizer.fingerprint())
    file, out = tmp_path / "128s3_checkpoint.pth.tar", f"output_dir={tmp_path / 'out'}"
    given = [f"source={tmp_path / 'run'}", f"target={file}", out]
    run_command("convert", "experiment=actnet_patch128", "format=published", *given)

    entries = torch.load(file, weights_only=True, mmap=True)
    shapes = {
        entry: {name: list(value.shape) for name, value in entries[entry].items()}
        for entry in ("glancer", "focuser", "fc", "policy")
    }
    inside = {
        f"policy.{copy}.{name}": shape
        for copy in ("policy", "policy_old")
        for name, shape in KEYS["policy"].items()
    }
    assert shapes["glancer"] == KEYS["glancer"]
    assert shapes["focuser"] == {**KEYS["focuser_stage01"], **inside}
    assert shapes["fc"] == KEYS["fc"]
    assert shapes["policy"] == KEYS["policy"]
    assert [len(shapes[entry]) for entry in shapes] == [314, 342, 6, 11]

    given = [f"source={file}", f"target={tmp_path / 'back'}", out]
    run_command("convert", "experiment=actnet_patch128", *given)
    back = Recognizer.load(tmp_path / "back" / "recognizer")
    assert back.config == sizes
    assert back.fingerprint() == recognizer.fingerprint()
    assert not changed(policy, load_policy(tmp_path / "back" / "policy").policy)
