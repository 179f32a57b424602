"""Disks that are full or can only be read: one line, and the same command goes on afterwards.

usage: unshare --mount --map-root-user python tests/hardening/disks.py WORKSHOP PLACE

In mount namespaces of its own, so that nothing of it is seen outside and no rights are needed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from workshop import STAGES, Answer, Workshop, going_on, run, shrunk_splits

SIZES = ("8k", "64k", "300k", "1m")
ENOUGH = "64m"


def commands(shop: Workshop, place: Path) -> dict[str, list[object]]:
    """Commands that write to a folder, by name."""
    folder, said = place / "run", f"output_dir={place / 'run'}"
    frames = [f"source={shop.data / 'videos'}", f"target={place / 'frames'}", "num_workers=0"]
    looks = shop.basics(resume=shop.runs["stage2"], split="val", output_dir=folder)
    written = ["experiment=glyphs", "num_frames=2", "format=published", said]
    return {
        **{name: shop.stage(name, folder) for name in STAGES},
        "bank": shop.bank_of("val", place / "bank", output_dir=folder),
        "extract-frames": ["extract-frames", *frames, said],
        "make-videos": ["make-videos", f"data_dir={place / 'made'}", said, "num_workers=0"],
        "benchmark": ["benchmark", *looks, "policies=[random,center]"],
        "record": ["record", *looks, "policies=[random]", "videos=1"],
        "convert": [
            *("convert", f"source={shop.runs['stage1']}", f"target={place / 'x.pth.tar'}"),
            *written,
        ],
    }


@contextmanager
def disk(place: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A disk of a size at a place; what is yielded changes its options."""
    place.mkdir(parents=True, exist_ok=True)
    _call("mount", "-t", "tmpfs", "-o", f"size={size}", "none", place)
    try:
        yield lambda options: _call("mount", "-o", f"remount,{options}", place)
    finally:
        _call("umount", "--lazy", place)


def full(name: str, place: Path, shop: Workshop) -> Iterator[str]:
    """What goes wrong on disks of several sizes; all of them too small is a fault of the test."""
    given, refused = commands(shop, place)[name], 0
    for size in SIZES:
        with disk(place, size) as change:
            answer = run(*given)
            if answer.code == 0:
                continue
            refused += 1
            if not (answer.is_one_line and ("space" in answer.err or "MB free" in answer.err)):
                yield f"{name}, {size}: {_shown(answer)}"
                continue
            change(f"size={ENOUGH}")
            again = run(*going_on(given, place))
            if again.code:
                yield f"{name}, {size}, with space again: {_shown(again)}"
    if not refused:
        yield f"{name}: it fits into {SIZES[0]}, which says nothing"


def read_only(name: str, place: Path, shop: Workshop) -> Iterator[str]:
    """What goes wrong where nothing can be written."""
    with disk(place, "1m") as change:
        change("ro")
        answer = run(*commands(shop, place)[name])
        if not (answer.is_one_line and "ead-only" in answer.err):
            yield f"{name}, read-only: {_shown(answer)}"


def below_a_file(name: str, place: Path, shop: Workshop) -> Iterator[str]:
    """What goes wrong where a folder's parent is a file."""
    with disk(place, "1m"):
        file = place / "file"
        file.touch()
        answer = run(*commands(shop, file)[name])
        if not (answer.is_one_line and str(file) in answer.err):
            yield f"{name}, below a file: {_shown(answer)}"


def _shown(answer: Answer) -> str:
    return f"code {answer.code}: {(answer.err or answer.out)[-800:]}"


def _call(*arguments: object) -> None:
    subprocess.run([str(item) for item in arguments], check=True)


def main() -> int:
    """Try all; prints what went wrong."""
    torch.set_num_threads(1)
    shop, place = Workshop(Path(sys.argv[1])), Path(sys.argv[2])
    wrong: list[str] = []
    with shrunk_splits():
        for name in commands(shop, place):
            for kind in (full, read_only, below_a_file):
                wrong += kind(name, place, shop)
    print(*wrong, sep="\n")
    print(f"{len(wrong)} went wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
