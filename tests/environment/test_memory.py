"""Free memory, and what does not fit into it."""

from types import SimpleNamespace

import pytest
import torch

from adafocus_env import memory
from adafocus_env.memory import available_bytes, check_room

CPU = torch.device("cpu")


def test_what_does_not_fit_is_refused_with_both_sizes_and_the_cure(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda device: 2_000_000_000)
    check_room("a buffer", 2_000_000_000, CPU, "use less")
    with pytest.raises(ValueError, match=r"a buffer does not .*: 2\.5 GB are .* 2 GB .*; use less"):
        check_room("a buffer", 2_500_000_000, CPU, "use less")


def _machine(tmp_path, patch, **files):
    for name, text in files.items():
        (tmp_path / name.replace("_", ".")).write_text(text)
    machine = SimpleNamespace(total=9_000_000, available=3_000_000)
    patch.setattr(memory.psutil, "virtual_memory", lambda: machine)
    patch.setattr(memory, "_CGROUP", tmp_path)
    return available_bytes(CPU)


def test_free_is_what_the_machine_or_its_container_has_and_its_file_cache_does_not_count(
    tmp_path, monkeypatch
):
    assert _machine(tmp_path, monkeypatch) == 3_000_000
    assert _machine(tmp_path, monkeypatch, memory_max="max\n") == 3_000_000
    files = {
        "memory_max": "1000000\n",
        "memory_current": "700000\n",
        "memory_stat": "anon 300000\ninactive_file 200000\n",
    }
    assert _machine(tmp_path, monkeypatch, **files) == 500_000
