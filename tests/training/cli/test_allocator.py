"""The allocator setting says whether the C library took it."""

import sys

import pytest

from train.cli.allocator import keep_freed_memory


def test_it_says_whether_the_setting_was_taken():
    taken = keep_freed_memory()
    assert isinstance(taken, bool)
    assert taken == keep_freed_memory()


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_than_on_linux_nothing_happens(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    assert keep_freed_memory() is False
