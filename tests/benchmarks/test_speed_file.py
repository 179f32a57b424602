"""`make benchmark` writes the rows and fields that its readers expect."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow

RUN = Path(__file__).with_name("run.py")
NAMES = {
    "rollout_play_vs_published",
    "predict_vs_published",
    "update_vs_recurrent_ppo",
    "update_vs_recurrent_ppo_shared",
    "bank_vs_live_rewards_full_size",
    "bank_vs_live_update_full_size",
    "bank_vs_live_builtin",
    "bank_vs_live_loops_full_size",
    "loop_rollout_vs_policy_builtin",
    "crops_batched_vs_per_image",
    "bank_build_full_size",
    "stage2_step",
    "decode_long_vs_read_through",
    "start_make_reset_vs_import_torch",
}
FIELDS = {"name", "ratio", "times_floor", "dtype", "threads", "device", "allocator", "n"}


def _run(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, str(RUN), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_every_comparison_of_the_table_is_known(tmp_path):
    refused = _run(tmp_path, "no_such_row")
    assert refused.returncode != 0
    for name in NAMES:
        assert f"'{name}'" in refused.stderr, name


def test_one_row_on_one_thread_is_measured_and_written(tmp_path):
    """Three processes, which mostly import: the one test that times anything."""
    done = _run(tmp_path, "bank_vs_live_builtin", "--repeats", "1", "--threads", "1")
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "outputs" / "benchmark" / "speed.json").read_text())
    assert written["machine"]["cores"] == os.cpu_count()
    (row,) = written["rows"]
    assert row.keys() >= FIELDS
    assert (row["name"], row["threads"], row["n"]) == ("bank_vs_live_builtin", 1, 1)
    assert (row["device"], row["dtype"], row["allocator"]) == ("cpu", "float32", "same")
    assert row["ratio"] > 1.5  # the target is 4: a machine at work must not fail this test
    assert row["added_mib"] > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_process_that_times_them(number):
    """While they import, build their task or run it, which takes longer than is waited here."""
    code = (
        # A shell's background jobs are started with SIGINT ignored.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"import sys; sys.path.insert(0, {str(RUN.parent)!r}); from timing import Way, compare; "
        "compare([Way('build_full_size_published')], 9)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    timing = psutil.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    began = time.monotonic()
    while not (workers := timing.children()) and time.monotonic() < began + 60:
        time.sleep(0.01)
    timing.send_signal(number)
    timing.wait(60)
    _, left = psutil.wait_procs(workers, timeout=5)
    # In a container nobody may take note of an orphan's end.
    alive = [worker for worker in left if worker.status() != psutil.STATUS_ZOMBIE]
    for worker in alive:
        worker.kill()
    assert len(workers) == 1
    assert alive == []
