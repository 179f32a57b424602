"""What stages hand on: finding parts, what fits, and messages that name the command."""

import pytest

from adafocus_env.envs import PatchGrid
from adafocus_env.networks import CheckpointError, placeholder_class_names
from adafocus_env.shipped import shipped_recognizer
from agents.policies.policy_files import save_policy
from train.checkpoints.load import (
    check_classes,
    check_has_policy,
    check_policy_exists,
    check_sizes,
    find_part,
    load_fitting_policy,
    load_recognizer,
    nothing_to_start_from,
)
from train.config.keys import ConfigError


def test_a_part_is_found_in_its_run_folder_and_by_itself(handed_on):
    run = handed_on["glancer"]
    for path in (run, run / "glancer"):
        assert find_part(str(path), "glancer", "adafocus stage0") == run / "glancer"
    run = handed_on["stage1"]
    one, other = (load_recognizer(str(path), "cpu") for path in (run, run / "recognizer"))
    assert one.fingerprint() == other.fingerprint()


def test_a_part_that_is_missing_or_another_is_named_with_the_command_that_makes_it(
    handed_on, tmp_path
):
    gone = tmp_path / "not there"
    for part in ("recognizer", "policy", "glancer", "focuser"):
        with pytest.raises(
            ConfigError, match=f"no {part} in {tmp_path}; 'adafocus this' makes one"
        ):
            find_part(str(tmp_path), part, "adafocus this")
        message = f"{gone} does not exist; name a run with a {part}: 'adafocus this' makes one"
        with pytest.raises(ConfigError, match=message):
            find_part(str(gone), part, "adafocus this")
    run = handed_on["glancer"]
    with pytest.raises(ConfigError, match=r"no focuser in .*glancer; 'adafocus stage0' makes one"):
        find_part(str(run), "focuser", "adafocus stage0")
    with pytest.raises((ConfigError, FileNotFoundError), match=r"no recognizer in .*glancer"):
        load_recognizer(str(run / "glancer"), "cpu")


OWN = ("dataset=videos", "data_dir=x")  # for which nothing comes with the package


@pytest.mark.parametrize(
    ("command", "given", "holds", "message"),
    [
        ("evaluate", [], "recognizer",
         "evaluate needs resume=RUN_FOLDER (of 'adafocus stage1' or a later stage) or "
         "resume=shipped (what comes with the package for dataset=glyphs)"),
        ("stage2", OWN, "recognizer",
         "stage2 needs resume=RUN_FOLDER (of 'adafocus stage1' or a later stage)"),
        ("stage2", [*OWN, "resume=auto"], "recognizer",
         "stage2 needs recognizer=RUN_FOLDER (of 'adafocus stage1' or a later stage)"),
        ("stage3", ["experiment=glyphs_search"], "policy",  # which ships without one
         "stage3 needs resume=RUN_FOLDER (of 'adafocus stage2' or a later stage)"),
        ("stage3", ["experiment=glyphs_memory"], "policy",
         "stage3 needs resume=RUN_FOLDER (of 'adafocus stage2' or a later stage) or "
         "resume=shipped (what comes with the package for dataset=glyphs_memory)"),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_command_may_start_from_is_said(make_config, command, given, holds, message):
    assert str(nothing_to_start_from(make_config(command, *given), holds)) == message


@pytest.mark.parametrize("dataset", ["glyphs_search", "glyphs_search_digits", "glyphs_order"])
def test_a_shipped_recognizer_without_a_policy_is_said_to_have_none(dataset):
    with pytest.raises(ConfigError) as error:
        check_has_policy(str(shipped_recognizer(dataset)), dataset, "name another")
    assert str(error.value) == (
        f"what comes with the package for dataset={dataset} is a recognizer without a policy; "
        "name another"
    )


def test_other_recognizers_are_looked_into_later(tmp_path):
    for source in (shipped_recognizer("glyphs"), shipped_recognizer("glyphs_memory"), tmp_path):
        check_has_policy(str(source), "glyphs", "name another")


def test_a_policy_that_is_not_there_gets_the_nearest_name(tmp_path):
    check_policy_exists(str(tmp_path), ["center"])
    with pytest.raises(ConfigError) as error:
        check_policy_exists("centre", ["random", "center", "fixed:ACTION"])
    assert str(error.value) == (
        "policy=centre is no name of a policy, and no such folder or file exists; known are "
        "random, center, fixed:ACTION, RUN_FOLDER; did you mean center?"
    )


@pytest.mark.parametrize("part", ["recognizer", "policy"])
def test_a_file_is_to_be_converted_first(tmp_path, part):
    file = tmp_path / "128s3_checkpoint.pth.tar"
    file.write_bytes(b"")
    with pytest.raises(ConfigError, match=f"convert it first: adafocus convert source={file} targ"):
        find_part(str(file), part, "adafocus stage1")


SIZES = (
    *("glancer=mobilenet_v2_small", "focuser=resnet_small", "num_frames=4", "frame_size=40"),
    *("patch_size=12", "glance_size=28", "glance_resize=area", "hidden_dim=16"),
)


def test_the_sizes_of_the_checkpoint_are_accepted(tiny_recognizer, make_config):
    for command in ("stage2", "stage3", "evaluate"):
        check_sizes(tiny_recognizer, make_config(command, *SIZES, "policy_frames=2"))


@pytest.mark.parametrize(
    ("name", "value", "saved"),
    [
        ("patch_size", 16, 12),
        ("glance_size", 32, 28),
        ("glance_resize", "nearest", "area"),
        ("hidden_dim", 1024, 16),
        ("glancer", "mobilenet_v2", "mobilenet_v2_small"),
        ("focuser", "resnet50", "resnet_small"),
        ("num_frames", 16, 4),
        ("frame_size", 224, 40),
    ],
)
def test_a_size_that_is_not_the_checkpoints_is_refused(
    tiny_recognizer, make_config, name, value, saved
):
    config = make_config("evaluate", *SIZES, f"{name}={value}")
    message = rf"checkpoint in {name}={value} \(checkpoint: {saved}\); .*or {name}={saved}$"
    with pytest.raises(ConfigError, match=message):
        check_sizes(tiny_recognizer, config)


def test_classes_must_be_the_videos_and_placeholder_names_as_many(make_recognizer, make_videos):
    recognizer = make_recognizer()
    check_classes(recognizer, make_videos())
    with pytest.raises(ConfigError, match="knows 3 classes but the videos have 4"):
        check_classes(recognizer, make_videos(num_classes=4))
    other = make_recognizer(class_names=("class 0", "class 2", "class 1"))
    with pytest.raises(ConfigError, match="class 1 is 'class 2' to the recognizer but 'class 1'"):
        check_classes(other, make_videos())
    recognizer = make_recognizer(class_names=placeholder_class_names(3))
    check_classes(recognizer, make_videos())
    with pytest.raises(ConfigError, match="knows 3 classes but the videos have 4"):
        check_classes(recognizer, make_videos(num_classes=4))


@pytest.fixture
def save_small_policy(small_policy, tmp_path):
    """Saves a policy with the fingerprint of a glancer; gives its run folder."""

    def save_with(glancer_sha256):
        sha256 = {"recognizer_sha256": "00", "glancer_sha256": glancer_sha256}
        save_policy(small_policy(), tmp_path / "run" / "policy", **sha256)
        return str(tmp_path / "run")

    return save_with


def test_a_policy_of_another_glancer_is_used_with_a_warning(
    save_small_policy, tiny_recognizer, caplog
):
    load_fitting_policy(save_small_policy("ab" * 32), PatchGrid(4, 40, 12), tiny_recognizer)
    assert "was trained with another glancer than the recognizer in use" in caplog.text


def test_a_policy_is_used_silently_with_its_own_glancer_and_from_older_files(
    save_small_policy, make_recognizer, caplog
):
    recognizer = make_recognizer()
    sha256 = recognizer.glancer_fingerprint()
    recognizer.classifier.fc.bias.data.add_(1.0)  # as stage 3 does
    for saved in (sha256, None):
        load_fitting_policy(save_small_policy(saved), PatchGrid(4, 40, 12), recognizer)
    assert caplog.text == ""


def test_a_policy_on_another_grid_is_refused(save_small_policy, tiny_recognizer):
    with pytest.raises(CheckpointError, match=r"has 16 actions, but here they are .* and 49; set"):
        load_fitting_policy(save_small_policy(None), PatchGrid(7, 40, 12), tiny_recognizer)
