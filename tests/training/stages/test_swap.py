"""Stage 2 with any algorithm: it trains, its policy is published and acts the same again."""

import json
import re
import shutil
import sys
from functools import partial

import pytest
import torch
from stable_baselines3 import PPO
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adafocus_env import memory
from adafocus_env.data import VideoOptions, open_videos
from adafocus_env.envs import PatchLocalizationVectorEnv
from adafocus_env.networks import Recognizer
from agents.evaluation import evaluate_agent
from agents.policies.policy_files import load_policy
from train.runs.processes import Processes
from train.stages.policy import algorithm
from train.stages.policy.keep_best import KeepBestPolicy

pytestmark = pytest.mark.slow

# Networks and buffers of a few units; T is 2, and 20 videos are two updates an epoch.
MLP = "algo.policy_kwargs.net_arch=[8]"
BATCH = "algo.batch_size=10"
REPLAY = [MLP, "algo.learning_starts=20", "algo.batch_size=8"]
SMALL = {
    "ppo": [MLP, BATCH],
    "a2c": [MLP],
    "trpo": [MLP, BATCH],
    "recurrent_ppo": ["algo.policy_kwargs.lstm_hidden_size=8", MLP],
    "dqn": REPLAY,
    "qrdqn": REPLAY,
}
SAC = ["algo.class_path=stable_baselines3.SAC", "algo.buffer_size=1000", *REPLAY]
GLANCE_MAP = [
    "algo.policy_kwargs.features_extractor_class=glance_map",
    "algo.policy_kwargs.features_extractor_kwargs={channels: 4, features_dim: 8}",
]
CASES = [
    *([name] for name in SMALL),
    ["ppo", "locations=continuous"],
    ["custom", "locations=continuous", *SAC],
    ["gru_ppo", "locations=continuous", "algo.policy_kwargs.batch_norm=true"],
    ["ppo", "observation=map", *GLANCE_MAP],
    ["dqn", "observation=map"],
    ["gru_ppo", "algo.policy_kwargs.head=spatial"],
    ["recurrent_ppo", "algo.policy=SpatialLstmPolicy"],
]


@pytest.fixture(scope="module")
def train_into(run_tiny, handed_on):
    """Runs stage 2 with an algorithm into a folder."""

    def run(folder, name, *overrides, code=0):
        given = [f"algo={name}", *SMALL.get(name, []), *overrides]
        if not any(item.startswith(("resume=", "recognizer=")) for item in overrides):
            given.append(f"resume={handed_on['stage1']}")
        return run_tiny("stage2", folder, *given, code=code)

    return run


@pytest.fixture
def train_policy(train_into, tmp_path):
    """Runs stage 2 with an algorithm, in `tmp_path / "run"`."""
    return partial(train_into, tmp_path / "run")


@pytest.fixture(scope="module")
def ppo_run(train_into, tmp_path_factory):
    """A run of `algo=ppo`; do not write to it."""
    folder = tmp_path_factory.mktemp("ppo") / "run"
    train_into(folder, "ppo", "reward=expected")
    return folder


def _returns(folder):
    log = (folder / "stage2.log").read_text()
    found = re.findall(r"epoch \d+/\d+: val return (-?\d+\.\d+)", log)
    return [float(value) for value in found]


def _check_events(folder, returns):
    """TensorBoard has each evaluation, reward parts, and pictures of where the policy looks."""
    events = EventAccumulator(str(folder)).Reload()
    scalars = {tag: [e.value for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert scalars["val/return"] == pytest.approx(returns, abs=1e-4)
    parts = [scalars[f"val/{name}confidence"] for name in ("", "baseline_")]
    for mean_return, confidence, baseline in zip(returns, *parts, strict=True):
        assert 2 * (confidence - baseline) == pytest.approx(mean_return, abs=1e-4)  # T is 2
    assert {"rollout/confidence", "rollout/baseline_confidence"} <= scalars.keys()
    assert min(scalars["rollout/location_entropy_bits"]) >= 0
    assert max(scalars["val/location_entropy_bits"]) <= 4  # of 16 positions
    assert {"rollout/locations", "val/locations", "val/episode"} <= set(events.Tags()["images"])
    assert len(events.Images("val/episode")) == 1  # after the last epoch


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_an_algorithm_trains_and_its_published_policy_acts_the_same_again(
    train_policy, tiny_videos, tmp_path, temporary_folder, case
):
    name, *overrides = case
    before = set(temporary_folder.iterdir())
    done = train_policy(name, "reward=expected", *overrides)
    assert set(temporary_folder.iterdir()) == before  # SB3's own logger would make a folder
    assert re.search(rf"{name}: (replay|rollout) buffer of [\d,]+ steps, \d+\.\d [kM]B", done.out)
    run = tmp_path / "run"
    files = ["policy.json", "policy.safetensors"]
    assert sorted(file.name for file in (run / "policy").iterdir()) == files
    assert not (run / "training_state.pt").exists()
    (expected,) = _returns(run)
    _check_events(run / "tensorboard", [expected])
    env = PatchLocalizationVectorEnv.from_parts(
        Recognizer.load(run / "recognizer"),
        open_videos("glyphs", "val", VideoOptions(2, 112), data_dir=tiny_videos),
        num_envs=10,
        reward="expected",
        grid_size=4,
        locations="continuous" if "locations=continuous" in overrides else "grid",
        autoreset_mode="disabled",
    )
    again = evaluate_agent(env, load_policy(run / "policy").policy)
    assert again.rewards.sum(axis=1).mean() == pytest.approx(expected, abs=1e-4)


def test_stage_3_learns_on_the_patches_of_any_policy(run_tiny, ppo_run, changed, tmp_path):
    stage3 = tmp_path / "stage3"
    run_tiny("stage3", stage3, f"resume={ppo_run}")
    assert not changed(ppo_run / "policy", stage3 / "policy")
    given = ["policies=[random,learned]", f"runs={{learned: {stage3}}}"]
    run_tiny("benchmark", tmp_path / "b", f"resume={ppo_run}", *given)


def test_arguments_of_the_constructor_reach_it(train_policy, tmp_path):
    given = ["algo.target_kl=0.5", "algo.n_steps=2T", "algo.policy_kwargs.activation_fn=tanh"]
    train_policy("ppo", "algo.learning_rate=1e-4", "algo.gamma=0.3", *given)
    model = PPO.load(tmp_path / "run" / "algorithm.zip", device="cpu")
    assert (model.target_kl, model.n_steps, model.gamma) == (0.5, 4, 0.3)
    assert model.lr_schedule(0.5) == 1e-4
    assert model.policy_kwargs["activation_fn"] is torch.nn.Tanh


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("ppo", "algo.learning_rte=1", "unknown argument of ppo 'learning_rte'; did you mean 'le"),
        ("ppo", "algo.policy_kwargs.net_arc=[8]", "unknown entry of policy_kwargs 'net_arc'"),
        ("ppo", "algo.policy=MlpLstm", "unknown policy of PPO 'MlpLstm'; did you mean 'MlpPolicy'"),
        ("ppo", "algo.policy_kwargs.activation_fn=rel", "did you mean 'relu'"),
        ("ppo", "algo.preset=paper", "ppo has no presets"),
        ("ppo", "algo.gamma=high", "gamma='high' is no number"),
        ("ppo", "algo.env=1", "'env' cannot be set: the run makes it"),
        ("ppo", "observation=pixels", "observation=pixels is unknown; known are map, vector"),
        ("dqn", "locations=continuous", "algo=dqn cannot use locations=continuous"),
        ("gru_ppo", "algo.policy_kwargs.batch_norm=true algo.batch_episodes=2",
         "needs the rollout's 10 episodes in one batch: batch_episodes=10"),
        ("gru_ppo", "locations=continuous algo.policy_kwargs.action_std=0",
         "action_std=0 should be greater than 0"),
        ("custom", "", "algo=custom needs algo.class_path="),
        ("custom", "algo.class_path=nowhere.Algo", "algo.class_path=nowhere.Algo cannot be"),
        ("custom", "algo.class_path=json.JSONDecoder", "is no algorithm of Stable-Baselines3"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_the_cure(train_policy, name, overrides, message):
    # Before or after the run folder is made.
    done = train_policy(name, *overrides.split(), code=(1, 2))
    assert message in done.err
    assert len(done.err.splitlines()) == 1


def test_a_missing_package_is_named_with_its_cure(train_policy, monkeypatch):
    for module in [name for name in sys.modules if name.split(".")[0] == "sb3_contrib"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)  # as if it were not installed
    done = train_policy("trpo", code=1)
    assert "trpo comes with sb3-contrib, which is not installed: pip install 'adafocus" in done.err


def test_several_processes_are_for_gru_ppo(train_policy, monkeypatch):
    init = Processes.__init__

    def two(self, config):
        init(self, config)
        self.count = 2

    monkeypatch.setattr(Processes, "share_of", lambda self, batch: batch // 2)
    monkeypatch.setattr(Processes, "__init__", two)
    done = train_policy("ppo", code=1)
    assert "algo=ppo trains in one process; start it without torchrun" in done.err


@pytest.mark.parametrize("name", ["ppo", "recurrent_ppo"])
def test_a_cut_run_of_an_on_policy_algorithm_ends_with_the_weights_of_a_whole_one(
    train_policy, tmp_path, handed_on, cut, changed, name
):
    given = [f"recognizer={handed_on['stage1']}", "epochs=2", "resume=auto"]
    train_policy(name, *given)
    (tmp_path / "run").rename(tmp_path / "whole")
    cut(KeepBestPolicy, "_save", 1, train_policy, name, *given)
    train_policy(name, *given)
    assert "continuing after epoch 1 of 2" in (tmp_path / "run" / "stage2.log").read_text()
    assert not changed(tmp_path / "whole" / "policy", tmp_path / "run" / "policy")


def test_a_run_that_cannot_be_continued_says_so(train_policy, tmp_path, handed_on, cut):
    source = f"recognizer={handed_on['stage1']}"
    done = train_policy("dqn", "resume=auto", source, code=1)
    assert "algo=dqn cannot continue an interrupted run: its replay buffer is not saved" in done.err
    cut(KeepBestPolicy, "_evaluate", 1, train_policy, "dqn", source, "epochs=2")
    assert not (tmp_path / "run" / "training_state.pt").exists()
    done = train_policy("dqn", f"resume={tmp_path / 'run'}", "epochs=2", code=1)
    assert "run is an interrupted stage2 that left nothing to continue from" in done.err


def test_a_buffer_that_does_not_fit_is_refused_before_it_is_made(train_policy, monkeypatch):
    def check_room(*given):
        with monkeypatch.context() as patch:  # the environment's own clips have room
            patch.setattr(memory, "available_bytes", lambda device: 1000)
            memory.check_room(*given)

    monkeypatch.setattr(algorithm, "check_room", check_room)
    for name, cure in (
        ("dqn", "smaller algo.buffer_size"),
        ("ppo", "fewer algo.n_steps"),
        ("gru_ppo", "observation=vector"),
    ):
        done = train_policy(name, code=1)
        assert re.search(r"a (replay|rollout) buffer of .* does not fit into memory", done.err)
        assert cure in done.err


OWN = """
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy

class MyPPO(PPO):
    made = 0
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        MyPPO.made += 1

class MyPolicy(ActorCriticPolicy):
    pass

class WithOwnPolicy(PPO):
    policy_aliases = {"MyPolicy": MyPolicy}
"""


@pytest.fixture
def own_package(tmp_path, monkeypatch):
    """A module of the user's, importable as `my_algorithms`."""
    (tmp_path / "my_algorithms.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_algorithms", raising=False)


def test_a_class_of_ones_own_trains_by_its_import_path(own_package, train_policy, judge, tmp_path):
    given = ["algo.class_path=my_algorithms.MyPPO", "algo.gamma=0.2"]
    train_policy("ppo", *given)
    assert sys.modules["my_algorithms"].MyPPO.made == 1
    judge(tmp_path / "e", f"resume={tmp_path / 'run'}")


def test_a_policy_class_that_files_cannot_name_is_kept_as_a_zip_to_trust(
    own_package, train_policy, refused, judge, tmp_path
):
    given = ["algo.class_path=my_algorithms.WithOwnPolicy", "algo.policy=MyPolicy"]
    train_policy("custom", *given, "algo.n_steps=1T", "algo.batch_size=10")
    run = tmp_path / "run"
    assert not (run / "policy").exists()
    said = refused("evaluate", f"resume={run}", f"output_dir={tmp_path / 'e'}")
    assert "add trust=true if you know where it comes from" in said
    judge(tmp_path / "e", f"resume={run}", "trust=true")


def test_no_file_that_is_loaded_can_name_a_class_to_import(
    own_package, ppo_run, train_into, run_tiny, tmp_path
):
    run = shutil.copytree(ppo_run, tmp_path / "copied")
    file, config = run / "policy" / "policy.json", run / "config.yaml"
    description = json.loads(file.read_text())
    for place in ("class_path", "class"):
        file.write_text(json.dumps({**description, place: "my_algorithms.MyPolicy"}))
        done = run_tiny("evaluate", tmp_path / "e", f"resume={run}", code=1)
        assert "my_algorithms" not in sys.modules
    assert "class 'my_algorithms.MyPolicy' is none of ActorCriticPolicy" in done.err
    file.write_text(json.dumps(description))
    text = config.read_text()
    config.write_text(text.replace("class_path: null", "class_path: my_algorithms.MyPPO"))
    torch.save({"command": "stage2", "processes": 1}, run / "training_state.pt")
    done = train_into(tmp_path / "again", "ppo", f"resume={run}", "reward=expected", code=2)
    assert "with other settings" in done.err
    assert "my_algorithms" not in sys.modules


def test_a_zip_opens_only_with_trust(ppo_run, refused, run_tiny, judge, handed_on, tmp_path):
    given = [f"resume={handed_on['stage1']}", f"policy={ppo_run / 'algorithm.zip'}"]
    for command in ("evaluate", "benchmark", "stage3"):
        said = refused(command, *given)
        assert "opening it can run code that it brings along: add trust=true" in said
    policy = judge(tmp_path, *given, "trust=true", "reward=expected", "split=val")
    (expected,) = _returns(ppo_run)
    assert policy["return_mean"] == pytest.approx(expected, abs=1e-4)
    run_tiny("stage3", tmp_path / "s", *given, "trust=true")
    assert (tmp_path / "s" / "policy.zip").is_file()


class _Poison:
    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return open, (self._path, "w")


def test_code_in_a_zip_does_not_run_without_trust(ppo_run, refused, run_tiny, handed_on, tmp_path):
    canary = tmp_path / "canary"
    model = PPO.load(ppo_run / "algorithm.zip", device="cpu")
    model.poison = _Poison(str(canary))
    model.save(tmp_path / "poisoned.zip")
    given = [f"resume={handed_on['stage1']}", f"policy={tmp_path / 'poisoned.zip'}"]
    refused("evaluate", *given)
    assert not canary.exists()
    # With trust it would: the canary is alive.
    run_tiny("evaluate", tmp_path / "e", *given, "trust=true", code=(0, 1))
    assert canary.exists()
