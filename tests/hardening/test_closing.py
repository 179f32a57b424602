"""Environments of commands end the processes that load their clips, whoever still holds them."""

import multiprocessing
from unittest import mock

import pytest

from train.evaluation import judged_split
from train.runs.environments import make_environment
from train.stages import stage2_policy

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("command", ["stage2", "evaluate", "benchmark", "record"])
def test_no_process_is_left_while_environments_are_held(shop, tmp_path, command):
    held = []

    def held_environment(*parts, **rules):
        held.append(make_environment(*parts, **rules))
        return held[-1]

    if command == "stage2":
        given = shop.stage("stage2", tmp_path / "run", num_workers=1)
    else:
        run = {"resume": shop.runs["stage2"], "split": "val", "output_dir": tmp_path / "run"}
        given = [command, *shop.basics(**run, num_workers=1)]
    with (
        mock.patch.object(stage2_policy, "make_environment", held_environment),
        mock.patch.object(judged_split, "make_environment", held_environment),
    ):
        shop.done(*given)
    assert held
    assert multiprocessing.active_children() == []
