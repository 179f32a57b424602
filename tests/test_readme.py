"""The pages are true: programs run, commands are understood, links lead somewhere."""

import itertools
import re
import shlex
import shutil
from pathlib import Path
from string import Template

import numpy as np
import pytest
import torch
import yaml
from gymnasium import spaces
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from adafocus_env.envs import shipped_recognizer
from adafocus_env.networks import load_recognizer
from agents.policies.gru_policy import GruActorCriticPolicy
from agents.policies.policy_files import save_policy
from train.cli.main import main
from train.config.commands import ALL_KEYS
from train.config.compose import read_config

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for folder in (".", "adafocus_env", "agents", "train")
    for page in (ROOT / folder).glob("*.md" if folder == "." else "**/*.md")
)
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
BLOCKS = [
    (f"{name}:{text[: found.start()].count(chr(10)) + 1}", found[1], found[2])
    for name, text in TEXTS.items()
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
]


def _of(language):
    return [pytest.param(text, id=place) for place, kind, text in BLOCKS if kind == language]


def test_every_block_is_of_a_kind_that_is_tested():
    kinds = [kind for _, kind, _ in BLOCKS]
    assert len(kinds) == sum(text.count("```") for text in TEXTS.values()) / 2
    assert set(kinds) == {"python", "sh", "text", "bibtex"}
    assert kinds.count("text") == 1  # the folder of one's own videos
    assert kinds.count("bibtex") == 1


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """A folder in which `runs/stage3` is one, of the shipped recognizer and an untrained policy."""
    folder = tmp_path_factory.mktemp("readme")
    source = shipped_recognizer("glyphs")
    shutil.copytree(source, folder / "runs" / "stage3" / "recognizer")
    maps = spaces.Box(0.0, 6.0, load_recognizer(source).map_shape(), np.float32)
    policy = GruActorCriticPolicy(maps, spaces.Discrete(49), lambda _: 0.0, hidden_dim=8)
    save_policy(policy, folder / "runs" / "stage3" / "policy", recognizer_sha256=None)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("program", _of("python"))
def test_a_program_runs(program, finished_run, monkeypatch):
    monkeypatch.chdir(finished_run)
    torch.manual_seed(0)
    exec(compile(program, "README", "exec"), {"__name__": "__main__"})


def test_the_folder_of_ones_own_videos_is_what_the_data_set_reads():
    tree = next(text for _, kind, text in BLOCKS if kind == "text")
    lists = yaml.safe_load((ROOT / "configs" / "dataset" / "videos.yaml").read_text())["lists"]
    of_splits = [lists["list_file"].format(split=split) for split in ("train", "val")]
    names = [line.split()[0].rstrip("/") for line in tree.splitlines()[1:]]
    assert names == [lists["class_file"], *of_splits, lists["video_dir"]]


@pytest.fixture
def check(monkeypatch, tmp_path, capsys):
    """A command exists and uses its keys, and they make a configuration that it can read.

    Of a sweep that holds for each of its runs.
    """
    monkeypatch.chdir(tmp_path)

    def understood(words):
        assert words[0] == "adafocus", words
        # `hydra...` says how a sweep starts its runs, which takes an extra.
        values = [_values(word) for word in words[2:] if not word.startswith(("-m", "hydra"))]
        if "-m" not in words:
            assert all(len(each) == 1 for each in values), f"{words} has several without -m"
        for run in itertools.product(*values):
            code = main([words[1], *run, "--cfg=job"])
            shown = capsys.readouterr()
            assert code == 0, f"{' '.join(words)}\n{shown.err}"
            read_config(OmegaConf.create(shown.out))

    return understood


def _values(word):
    """`key=value` for each value of a sweep; paths are taken as they are."""
    keys = ALL_KEYS.get(word.split("=")[0], {}).values()
    if any(one.is_path for one in keys):
        return [word]
    override = OverridesParser.create().parse_override(word)
    if not override.is_sweep_override():
        return [word]
    return [f"{override.key_or_group}={value}" for value in override.sweep_string_iterator()]


def test_commands_of_the_makefile_are_understood(check):
    rules = (ROOT / "Makefile").read_text().replace("\\\n", " ").replace("$(SEED)", "0")
    lines = [line for line in rules.splitlines() if line.startswith("\t$(BIN)/adafocus ")]
    assert len(lines) == 4  # the demo, and the recognizer of glyphs_search
    for line in lines:
        check(shlex.split(line.strip().removeprefix("$(BIN)/")))


@pytest.mark.parametrize("block", _of("sh"))
def test_commands_are_understood(block, check):
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["torchrun"]:
            words = words[words.index("--no-python") + 1 :]
        if words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        elif words:
            check(words)


def test_commands_within_lines_are_understood(check):
    commands = [
        shlex.split(found)
        for page, text in TEXTS.items()
        if page != "CHANGELOG.md"  # history
        for found in re.findall(r"`(adafocus [a-z][^`]*)`", text)
    ]
    assert len(commands) > 20
    for words in commands:
        check(words)


def test_the_commands_of_skipping_frames_are_understood(check):
    text = (ROOT / "configs" / "experiment" / "glyphs_skip.yaml").read_text(encoding="utf-8")
    places, *commands = re.findall(r"^#   (\S.*)$", text, re.MULTILINE)
    names = dict(word.split("=", 1) for word in places.split())
    assert len(commands) == 7
    for command in commands:
        check(shlex.split(Template(command).substitute(names)))


def test_the_table_of_commands_is_that_of_the_command_line(capsys):
    main(["--help"])
    listed = re.findall(r"^  ([a-z0-9-]+)  ", capsys.readouterr().out, re.MULTILINE)
    table = re.findall(r"^\| `adafocus ([a-z0-9-]+)` \|", TEXTS["README.md"], re.MULTILINE)
    assert sorted(table) == sorted(listed)


def test_pages_that_files_name_are_there():
    known = {page.name for page in PAGES}
    for folder in ("adafocus_env", "agents", "configs", "tests", "train"):
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in (".py", ".yaml", ".md"):
                names = re.findall(r"\b[A-Z]{3,}\.md\b", file.read_text(encoding="utf-8"))
                assert set(names) <= known, file


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)]+)\)", TEXTS[page]):
        if target.startswith("http"):
            continue
        path, _, heading = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        if heading:
            assert heading in _anchors(file.read_text(encoding="utf-8")), target


def _anchors(text):
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
