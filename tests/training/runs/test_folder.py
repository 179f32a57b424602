"""Run folders: one process at a time, nothing lost in them, and damaged ones told in one line."""

import logging
import time

import pytest
import yaml

from train.cli.run_place import DEMO_FOLDER
from train.config.keys import ConfigError
from train.runs.folder import differences, find_continued, refuse_to_lose
from train.runs.lock import LOCK_FILE, in_use
from train.runs.saved_config import readable_configs, save_config, saved_config


def test_a_folder_in_use_is_refused_with_the_process_until_that_is_dead(hold, tmp_path):
    with hold(tmp_path / "run") as process:
        message = rf"process {process.pid} of .*, adafocus stage1, since .* choose another target="
        with pytest.raises(ConfigError, match=message), in_use(tmp_path / "run", "bank", "target"):
            pass
        process.kill()
        process.wait()
        left = tmp_path / "run" / LOCK_FILE
        assert left.is_file()
        with in_use(tmp_path / "run", "adafocus bank", "target"):
            assert "adafocus bank" in left.read_text()
        assert not left.exists()


def test_two_locks_of_one_process_do_not_meet(tmp_path):
    with in_use(tmp_path, "adafocus demo", "output_dir"), in_use(tmp_path, "bank", "target"):
        pass


def test_commands_of_the_same_second_have_folders_of_their_own(run_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda _: "2026-01-31/10-20-30")
    for _ in range(2):
        run_command("flops")
    run_command("flops", "glance_size=3.5", code=1)
    run_command("flops", "hydra.nothing=1", code=2)  # nothing to write down
    made = sorted(path.name for path in (tmp_path / "outputs" / "2026-01-31").iterdir())
    assert made == ["10-20-30", "10-20-30-2", "10-20-30-3"]


def test_a_demo_does_not_set_aside_one_that_runs(run_command, hold, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with hold(DEMO_FOLDER) as process:
        done = run_command("demo", code=2)
        assert f"outputs/demo is written by process {process.pid} of " in done.err


def _run(config, folder, *files):
    folder.mkdir()
    save_config(config, folder)
    for name in files:
        (folder / name).touch()
    return folder


def test_what_another_command_or_a_finished_stage_has_made_is_not_overwritten(
    make_config, tmp_path
):
    stage = _run(make_config("stage1"), tmp_path / "stage", "finished.json")
    for command, finished, message in (
        ("evaluate", True, "holds a run of stage1, whose config.yaml evaluate would overwrite"),
        ("stage2", False, "holds a run of stage1"),
        ("stage1", True, "holds a finished stage1; choose another output_dir, or delete"),
    ):
        with pytest.raises(ConfigError, match=f"{stage} {message}"):
            refuse_to_lose(stage, command, finished=finished)
    refuse_to_lose(stage, "stage1", finished=False)
    (stage / "training_state.pt").touch()  # killed between the two: it goes on
    refuse_to_lose(stage, "stage1")
    judged = _run(make_config("evaluate", "resume=x"), tmp_path / "judged", "evaluate.json")
    refuse_to_lose(judged, "evaluate")
    begun = _run(make_config("stage1"), tmp_path / "begun", "stage1.log")
    refuse_to_lose(begun, "evaluate")
    refuse_to_lose(tmp_path / "new", "evaluate")


def test_a_command_does_not_touch_a_folder_that_it_is_refused(run_tiny, make_config, tmp_path):
    folder = _run(make_config("stage1"), tmp_path / "run", "finished.json")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for command in ("stage1", "evaluate", "record", "benchmark", "bank", "tune"):
        done = run_tiny(command, folder, "resume=shipped", code=2)
        assert done.err.startswith(f"adafocus {command}: {folder} holds a ")
        assert done.err.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_finished_run_is_not_made_again_with_auto_but_other_settings_are_refused(
    run_tiny, tiny, make_config, tmp_path
):
    folder = _run(make_config("stage1", *tiny), tmp_path / "run", "finished.json")
    done = run_tiny("stage1", folder, "resume=auto")
    assert f"is finished in {folder}: skipped" in done.out
    done = run_tiny("stage1", folder, "resume=auto", "epochs=9", code=1)
    assert "holds a finished run with other settings (epochs: " in done.err


_BOMB = "a: &a [x, x]\nb: [*a, *a]\ncommand: stage1\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "command is missing"),
        ("command: stage1\nresume: [a, b", "is damaged .*did not find expected"),
        ("- stage1\n", "should be a valid dictionary"),
        ("command: !!python/name:os.system\n", "is damaged .line 1 has the YAML tag"),
        (_BOMB, "is damaged .line 2 has a YAML alias"),
        ("command: 3\n", "command should be a valid string, not 3"),
        ("command: stage1\nresume: [1]\n", "resume should be a valid string"),
        ("command: ${\n", "is damaged"),
        (f"command: stage1\nx: {'[' * 50}{']' * 50}\n", "more than any command has keys"),
        ("x" * 2**21, "no such file has more than 1048576"),
        (b"\xff\x00", "is damaged"),
    ],
)
def test_a_damaged_configuration_is_one_line_with_the_file_and_a_cure(tmp_path, content, message):
    file = tmp_path / "config.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=f"{file}.*{message}") as error:
        saved_config(tmp_path)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith("; restore it, or name another folder")


def test_a_damaged_folder_is_reported_and_the_others_go_on(
    make_config, tmp_path, monkeypatch, caplog
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "day").mkdir()
    runs = [
        _run(make_config("stage1"), tmp_path / "outputs" / "day" / name, "training_state.pt")
        for name in ("a", "b")
    ]
    (runs[1] / "config.yaml").write_text("half: [")
    with caplog.at_level(logging.WARNING):
        found = find_continued(make_config("stage1", "resume=auto"), None)
    assert found.folder.name == "a"
    assert "b is left out: " in caplog.text
    assert [folder for folder, _ in readable_configs(runs)] == [runs[0]]
    with pytest.raises(ConfigError, match="is damaged"):
        find_continued(make_config("stage1", "resume=auto"), runs[1])


def test_other_lists_and_classes_make_another_run(make_config, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for name, lines in {"train.txt": 3, "val.txt": 2, "classes.txt": 2}.items():
        (data / name).write_text("line\n" * lines)
    config = make_config("stage1", "experiment=videos", f"data_dir={data}")
    run = _run(config, tmp_path / "run")
    saved = saved_config(run)
    assert saved["data"]["train"]["lines"] == 3
    assert differences(config, saved) == []
    (data / "train.txt").write_text("line\n" * 4)
    (data / "classes.txt").write_text("line\nlines\n")
    found = differences(config, saved)
    assert "data.train.lines: 3 there, 4 here" in found
    assert any(item.startswith("data.classes.sha256: ") for item in found)
    del saved["data"]  # of an earlier version, which did not write it down
    assert differences(config, saved) == []


def test_the_configuration_is_written_as_a_whole(make_config, tmp_path, monkeypatch):
    run = _run(make_config("stage1"), tmp_path / "run")
    before = (run / "config.yaml").read_text()
    assert yaml.safe_load(before)["data"] == {}

    def cut(_, part):
        part.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr("train.runs.saved_config.OmegaConf.save", cut)
    with pytest.raises(KeyboardInterrupt):
        save_config(make_config("stage1", "epochs=9"), run)
    assert (run / "config.yaml").read_text() == before
