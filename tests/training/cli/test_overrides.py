"""What stands on the command line: which keys there are, and how values are quoted for Hydra."""

import re

import pytest

from train.cli.hydra_jobs import parse_flags
from train.cli.overrides import read_overrides
from train.config.compose import compose_command
from train.config.keys import ConfigError


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epoch=3", "unknown configuration key 'epoch'; did you mean epochs="),
        ("batchsize=3", "did you mean batch_size="),
        ("+learning_rat=1", "unknown configuration key 'learning_rat'"),
        ("++sed=1", "did you mean seed="),
        ("~epoch=1", "did you mean epochs="),
        ("qqqq=1", "COMMAND --help lists the keys"),
        ("experimnt=glyphs", "did you mean experiment="),
        ("command=stage2", "unknown configuration key 'command'"),
        ("epochs", "expected key=value, got 'epochs'"),
        ("gpus=2", "a word of the published code; use device=cuda:N"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(override, message):
    with pytest.raises(ConfigError, match=message):
        read_overrides("stage1", [override], sweep=False)


def test_a_key_written_as_a_flag_is_refused_with_how_it_is_written():
    for given, written in (("--epochs", "epochs=..."), ("--batch-size=3", "batch_size=3")):
        with pytest.raises(
            ConfigError, match=re.escape(f"{given}: keys have no dashes: {written}")
        ):
            parse_flags([given, "5"])
    assert parse_flags(["-m", "--cfg", "job", "epochs=1,2"]).overrides == ["epochs=1,2"]


@pytest.mark.parametrize(
    ("command", "override", "message"),
    [
        ("flops", "trials=30", "flops does not use trials= (tune does); adafocus flops --help"),
        ("stage1", "video_div_=1", "unknown configuration key 'video_div_'; did you mean video_d"),
        ("evaluate", "policies=[random]", "(demo, benchmark and record do); did you mean policy=?"),
        ("stage3", "algo.gamma=0", "stage3 does not use algo= (flops, demo, run, stage2 and t"),
        ("evaluate", "algo=ppo", "evaluate does not use algo="),
        ("make-videos", "experiment=glyphs", "make-videos does not use experiment="),
        ("stage0", "features=bank:x", "stage0 does not use features= (stage1, stage2, tune, st"),
    ],
)
def test_a_key_that_a_command_does_not_use_is_refused(command, override, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_overrides(command, [override], sweep=False)


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("epochs=3", "epochs=3"),
        ("algo.gamma=0.5", "++algo.gamma=0.5"),
        ("+algo.new=1", "+algo.new=1"),
        ("policy_lr=1", "++algo.learning_rate=1"),
        ("gamma=0.5", "++algo.gamma=0.5"),
        ("hidden_state_dim=8", "++algo.policy_kwargs.hidden_dim=8"),
        ("workers=2", "num_workers=2"),
        ("num_segments=8", "num_frames=8"),
        ("recipes.stage1.epochs=3", "recipes.stage1.epochs=3"),
        ("hydra/job_logging=disabled", "hydra/job_logging=disabled"),
        ("dataset@here=glyphs", "dataset@here=glyphs"),
    ],
)
def test_known_keys_and_hydras_own_are_left_to_hydra(override, read):
    assert read_overrides("stage2", [override], sweep=False) == [read]


@pytest.mark.parametrize(
    "path",
    [
        "a b/[1]",
        "a=b",
        "it's (new)",
        "{x}",
        "a,b",
        "2024",
        "~/runs",
        "日本語",
        "j\u00fcrgen/\\x",
        '"',
        "a'",
    ],
)
def test_paths_need_no_quotes_whatever_they_are_called(make_config, path):
    (given,) = read_overrides("stage2", [f"resume={path}"], sweep=False)
    assert make_config("stage2", given).resume == path
    (given,) = read_overrides("stage2", [f"features=bank:{path}"], sweep=False)
    assert make_config("stage2", given).features == f"bank:{path}"
    (given,) = read_overrides("stage2", [f"lists.video_dir={path}"], sweep=False)
    assert make_config("stage2", given).lists == {"video_dir": path}


def test_a_path_with_a_reference_to_no_key_is_one_line():
    message = r"output_dir=P/\$\{x\}: \$\{x\} would stand for .* no such key; rename"
    with pytest.raises(ConfigError, match=message):
        read_overrides("stage2", ["output_dir=P/${x}"], sweep=False)
    given = ["output_dir=runs/${seed}"]
    assert read_overrides("stage2", given, sweep=False) == ["output_dir='runs/${seed}'"]


def test_paths_of_a_sweep_are_separated_by_commas():
    given = ["resume=runs/a (1),runs/b", "policy=glob(*)", "output_dir='a,b'"]
    read = ["resume='runs/a (1)',runs/b", "policy=glob(*)", "output_dir='a,b'"]
    assert read_overrides("stage2", given, sweep=True)[:2] == read[:2]
    assert read_overrides("stage2", given[2:], sweep=False) == read[2:]


@pytest.mark.parametrize(
    ("override", "quoted"),
    [
        ("policies=[a:runs/x (1),random]", "\"policies=['a:runs/x (1)',random]\""),
        ("runs={learned: a=b}", "\"runs={learned: 'a=b'}\""),
        ("reward=a=b", "\"reward='a=b'\""),
    ],
)
def test_what_cannot_be_read_is_shown_with_quotes_that_help(override, quoted):
    with pytest.raises(ConfigError) as error:
        read_overrides("benchmark", [override], sweep=False)
    assert str(error.value).startswith(f"{override} cannot be read: ")
    assert str(error.value).endswith(quoted)
    assert read_overrides("benchmark", [quoted.strip('"')], sweep=False) == [quoted.strip('"')]


@pytest.mark.parametrize("override", ["output_dir=", "resume=''", "algo.name="])
def test_a_value_is_not_empty(override):
    with pytest.raises(ConfigError, match="has no value; leave it out, or give one"):
        read_overrides("stage2", [override], sweep=False)


def test_what_cannot_be_merged_says_why():
    given = read_overrides(
        "stage2", ["algo=ppo", "algo.policy_kwargs.net_arch={pi: [8]}"], sweep=False
    )
    with pytest.raises(ConfigError, match="Cannot merge DictConfig with ListConfig"):
        compose_command("stage2", given)
