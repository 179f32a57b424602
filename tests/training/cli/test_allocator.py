"""The allocator setting says whether the C library took it."""

import sys

from train.cli.allocator import keep_freed_memory


def test_it_says_whether_the_setting_was_taken_and_does_nothing_elsewhere_than_on_linux(
    monkeypatch,
):
    taken = keep_freed_memory()
    assert isinstance(taken, bool)
    assert taken == keep_freed_memory()
    for platform in ("darwin", "win32"):
        monkeypatch.setattr(sys, "platform", platform)
        assert keep_freed_memory() is False
