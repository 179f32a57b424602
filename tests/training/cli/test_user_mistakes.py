"""A user's mistake ends a command with one line that says what to do."""

import shutil

import pytest


@pytest.fixture
def refused(run_command, tiny, tmp_path):
    """Runs a command that must end with code 1 and one line on standard error: that line."""

    def run(command, *overrides):
        done = run_command(command, *tiny, f"output_dir={tmp_path / 'run'}", *overrides)
        assert done.code == 1, done.err
        assert "Traceback" not in done.err
        assert "HYDRA_FULL_ERROR" not in done.err
        assert done.err.startswith(f"adafocus {command}: ")
        assert done.err.count("\n") == 1, done.err
        return str(done.err)

    return run


@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        ("stage1", [], "needs pretrained_glancer=RUN_FOLDER; 'adafocus stage0 pretrain_glancer=tr"),
        ("stage2", [], "needs resume=RUN_FOLDER; 'adafocus stage1' makes one"),
        ("stage3", [], "needs resume=RUN_FOLDER; 'adafocus stage1' makes one"),
        ("evaluate", [], "needs resume=RUN_FOLDER; 'adafocus stage1' makes one"),
        ("benchmark", [], "needs resume=RUN_FOLDER; 'adafocus stage1' makes one"),
        ("stage2", ["resume=nowhere"], "no recognizer in nowhere; 'adafocus stage1' makes one"),
        ("stage1", ["pretrained_glancer=nowhere"], "no glancer in nowhere; 'adafocus stage0"),
        ("evaluate", ["split=all"], "split=all is unknown; known are train, val, test"),
        ("stage0", ["data_dir=nowhere"], "class file nowhere/classes.txt does not exist"),
        ("stage0", ["frame_size=224"], "the built-in videos are 112 pixels wide"),
        ("stage0", ["glancer=resnet50"], "set activation_cap"),
        ("stage0", ["glancer=vgg"], "unknown backbone 'vgg'"),
        ("stage0", ["patch_size=200"], "patch_size 200"),
        ("stage0", ["device=gpu"], "gpu"),
        ("stage0", ["backbone_lr=1e30", "optimizer=sgd"], "lower backbone_lr"),
    ],
)
def test_a_stage_that_cannot_start_says_what_it_needs(refused, command, overrides, message):
    assert message in refused(command, *overrides)


@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        ("stage1", ["pretrained_glancer={glancer}"], "needs pretrained_focuser=RUN_FOLDER; 'adaf"),
        (
            "stage1",
            ["pretrained_glancer={glancer}", "pretrained_focuser={glancer}"],
            "no focuser in",
        ),
        (
            "stage1",
            ["pretrained_glancer={glancer}", "pretrained_focuser={focuser}/focuser",
             "focuser=resnet50"],
            "holds a resnet_small, but the focuser is a resnet50",
        ),
        (
            "stage1",
            ["pretrained_glancer={glancer}", "pretrained_focuser={glancer}/glancer"],
            "holds a glancer (mobilenet_v2_small), but a focuser is needed",
        ),
        ("stage2", ["resume={stage1}", "patch_size=16"], "patch_size=16 (checkpoint: 32); give"),
        ("stage2", ["resume={stage1}/stage1.log"], "is a file; convert it first: adafocus convert"),
        ("stage3", ["resume={stage2}", "dropout=0.1"], "dropout=0.1 (checkpoint: 0.8)"),
        ("evaluate", ["resume={stage2}", "num_frames=4"], "num_frames=4 (checkpoint: 2)"),
        (
            "benchmark",
            ["resume={stage2}", "hidden_dim=32", "glance_size=56"],
            "glance_size=56 (checkpoint: 28), hidden_dim=32 (checkpoint: 16); give the experiment=",
        ),
        ("stage2", ["resume={stage1}", "reward=best"], "unknown reward 'best'; known are random"),
        ("stage2", ["resume={stage1}", "baseline_positions=all"], "'pixel' or 'grid'"),
        ("stage2", ["resume={stage1}", "action_dim=9"], "grid_size must be 4 to 10, not 3"),
        ("stage2", ["resume={stage1}", "algo.name=gruppo"], "did you mean 'gru_ppo'"),
        ("stage2", ["resume={stage1}", "algo.preset=papr"], "did you mean 'paper'"),
        ("stage2", ["resume={stage1}", "algo.gae_lambda=0.9"], "gae_lambda=1"),
        ("stage2", ["resume={stage1}", "++algo.policy_kwargs.hiddendim=3"], "hiddendim"),
        ("stage2", ["resume={stage1}", "algo.gamma=fast"], "gamma"),
        ("stage2", ["resume={stage1}", "algo.learning_rate=fast"], "learning_rate"),
        ("stage2", ["resume={stage1}", "algo.batch_episodes=0"], "batch_episodes"),
        ("stage2", ["resume={stage1}", "algo.n_epochs=0"], "n_epochs"),
        ("stage3", ["resume={stage1}"], "no policy in {stage1}; 'adafocus stage2' makes one"),
        ("stage3", ["resume={stage2}", "action_dim=49"], "set action_dim= as in its stage 2"),
        ("evaluate", ["resume={stage2}", "action_dim=49"], "action_dim="),
        ("evaluate", ["resume={stage2}", "action_dim=25"], "action_dim="),
        ("benchmark", ["resume={stage2}", "action_dim=25"], "action_dim="),
        ("evaluate", ["resume={stage1}", "policy=best"], "no policy in best"),
        (
            "benchmark",
            ["resume={stage2}", "policies=[random,best]"],
            "unknown policies ['best']; known are random, center, greedy_oracle, random_offsets, ",
        ),
        ("benchmark", ["resume={stage2}", "policies=[centre]"], "did you mean center?"),
        ("benchmark", ["resume={stage2}", "policies=[fixed:16]"], "not in fixed:0..fixed:15"),
        ("benchmark", ["resume={stage2}", "policies=[a:{stage1}]"], "no finished policy in"),
        ("benchmark", ["resume={stage2}", "policies=[]"], "policies"),
        ("evaluate", ["resume={stage2}", "policy=beam_oracle"], "write beam_oracle:WIDTH"),
        (
            "benchmark",
            ["resume={stage2}", "policies=[random]", "runs={{center: {stage3_center}}}"],
            "runs= names ['center'], which are not in policies=['random']",
        ),
        (
            "benchmark",
            ["resume={stage2}", "policies=[random]", "runs={{random: nowhere}}"],
            "no recognizer in nowhere",
        ),
    ],
)  # fmt: skip
def test_a_checkpoint_that_does_not_fit_is_refused_with_the_cure(
    refused, pipeline, command, overrides, message
):
    given = [override.format(**pipeline) for override in overrides]
    assert message.format(**pipeline) in refused(command, *given)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("val.txt", "", "val.txt: the list file is empty"),
        ("val.txt", "val/00000.mp4,16\n", "val.txt:1: expected 'path,frames,label'"),
        ("val.txt", "val/00000.mp4,16,10\n", "val.txt:1: label 10 is not in 0..9"),
        ("classes.txt", "", "classes.txt: the class file is empty"),
        ("videos/val/00003.mp4", "no video", "00003.mp4: OpenCV cannot decode this file"),
        ("videos/train/00002.mp4", None, "00002.mp4: no such video file"),
    ],
)
def test_bad_data_is_named(refused, tiny_videos, tmp_path, file, content, message):
    folder = tmp_path / "videos"
    shutil.copytree(tiny_videos, folder)
    for targets in folder.glob("*_targets.npy"):
        targets.unlink()
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content)
    assert message in refused("stage0", f"data_dir={folder}")


def test_broken_checkpoints_are_named(refused, pipeline, tmp_path):
    copied = tmp_path / "stage2"
    shutil.copytree(pipeline["stage2"], copied)
    (copied / "policy" / "policy.safetensors").write_bytes(b"cut")
    assert "holds no usable policy" in refused("evaluate", f"resume={copied}")
    (copied / "recognizer" / "recognizer.json").write_text("{")
    assert "recognizer.json" in refused("stage2", f"resume={copied}")


def test_the_traceback_of_a_mistake_is_in_the_run_folder(refused, tmp_path):
    refused("stage2", "resume=nowhere")
    assert "Traceback" in (tmp_path / "run" / "error.log").read_text()
