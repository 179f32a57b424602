"""What stages hand on: finding parts, what fits, and messages that name the command."""

import pytest

from adafocus_env.envs import PatchGrid
from adafocus_env.networks import CheckpointError, placeholder_class_names
from agents.policies.policy_files import save_policy
from train.checkpoints.load import (
    check_classes,
    check_sizes,
    find_part,
    load_fitting_policy,
    load_recognizer,
)
from train.config.keys import ConfigError


def test_a_part_is_found_in_its_run_folder_and_by_itself(handed_on):
    run = handed_on["glancer"]
    for path in (run, run / "glancer"):
        assert find_part(str(path), "glancer", "adafocus stage0") == run / "glancer"
    run = handed_on["stage1"]
    one, other = (load_recognizer(str(path), "resume", "cpu") for path in (run, run / "recognizer"))
    assert one.fingerprint() == other.fingerprint()


def test_a_part_that_is_missing_or_another_is_named_with_the_command_that_makes_it(
    handed_on, tmp_path
):
    for folder in (tmp_path, tmp_path / "not there"):
        for part in ("recognizer", "policy", "glancer", "focuser"):
            message = f"no {part} in {folder}; 'adafocus this' makes one"
            with pytest.raises(ConfigError, match=message):
                find_part(str(folder), part, "adafocus this")
    run = handed_on["glancer"]
    with pytest.raises(ConfigError, match=r"no focuser in .*glancer; 'adafocus stage0' makes one"):
        find_part(str(run), "focuser", "adafocus stage0")
    with pytest.raises((ConfigError, FileNotFoundError), match=r"no recognizer in .*glancer"):
        load_recognizer(str(run / "glancer"), "resume", "cpu")
    with pytest.raises(ConfigError, match="needs resume=RUN_FOLDER; 'adafocus stage1' makes one"):
        load_recognizer(None, "resume", "cpu")


def test_a_file_is_to_be_converted_first(tmp_path):
    file = tmp_path / "128s3_checkpoint.pth.tar"
    file.write_bytes(b"")
    for part in ("recognizer", "policy"):
        with pytest.raises(ConfigError, match=f"first: adafocus convert source={file} targ"):
            find_part(str(file), part, "adafocus stage1")


SIZES = (
    *("glancer=mobilenet_v2_small", "focuser=resnet_small", "num_frames=4", "frame_size=40"),
    *("patch_size=12", "glance_size=28", "glance_resize=area", "hidden_dim=16", "dropout=0.5"),
)


def test_sizes_must_be_the_checkpoints_and_the_dropout_where_it_is_trained(
    tiny_recognizer, make_config
):
    for command in ("stage2", "stage3", "evaluate"):
        check_sizes(tiny_recognizer, make_config(command, *SIZES, "policy_frames=2"))
    check_sizes(tiny_recognizer, make_config("evaluate", *SIZES, "dropout=0.8"))
    for command, name, value, saved in (
        ("stage3", "dropout", 0.8, 0.5),
        ("evaluate", "patch_size", 16, 12),
        ("evaluate", "glance_size", 32, 28),
        ("evaluate", "glance_resize", "nearest", "area"),
        ("evaluate", "hidden_dim", 1024, 16),
        ("evaluate", "glancer", "mobilenet_v2", "mobilenet_v2_small"),
        ("evaluate", "focuser", "resnet50", "resnet_small"),
        ("evaluate", "num_frames", 16, 4),
        ("evaluate", "frame_size", 224, 40),
    ):
        config = make_config(command, *SIZES, f"{name}={value}")
        message = rf"checkpoint in {name}={value} \(checkpoint: {saved}\); .*or {name}={saved}$"
        with pytest.raises(ConfigError, match=message):
            check_sizes(tiny_recognizer, config)


def test_classes_must_be_the_videos_and_placeholder_names_as_many(make_recognizer, make_videos):
    for names in (("class 0", "class 1", "class 2"), placeholder_class_names(3)):
        recognizer = make_recognizer(class_names=names)
        check_classes(recognizer, make_videos())
        with pytest.raises(ConfigError, match="knows 3 classes but the videos have 4"):
            check_classes(recognizer, make_videos(num_classes=4))
    other = make_recognizer(class_names=("class 0", "class 2", "class 1"))
    with pytest.raises(ConfigError, match="class 1 is 'class 2' to the recognizer but 'class 1'"):
        check_classes(other, make_videos())


@pytest.fixture
def load(small_policy, tmp_path):
    """Loads a policy of 16 actions that was saved with the fingerprint of a glancer."""

    def saved_with(glancer_sha256, recognizer, grid_size=4):
        sha256 = {"recognizer_sha256": "00", "glancer_sha256": glancer_sha256}
        save_policy(small_policy(), tmp_path / "run" / "policy", **sha256)
        grid = PatchGrid(grid_size, 40, 12)
        return load_fitting_policy(str(tmp_path / "run"), grid, recognizer)

    return saved_with


def test_a_policy_of_another_glancer_is_used_with_a_warning(load, make_recognizer, caplog):
    recognizer = make_recognizer()
    sha256 = recognizer.glancer_fingerprint()
    recognizer.classifier.fc.bias.data.add_(1.0)  # as stage 3 does
    load(sha256, recognizer)
    load(None, recognizer)  # as in older files
    assert caplog.text == ""
    load("ab" * 32, recognizer)
    assert "was trained with another glancer than the recognizer in use" in caplog.text


def test_a_policy_on_another_grid_is_refused(load, tiny_recognizer):
    with pytest.raises(CheckpointError, match=r"has 16 actions, but here they are .* and 49; set"):
        load(None, tiny_recognizer, grid_size=7)
