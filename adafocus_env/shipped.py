"""The recognizers and policies that come with the package. Finding them does not import torch."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

# Built-in videos -> the shipped recognizer that reads them: stage 1, seed 0. That of `glyphs` is of
# the demo before it was made quicker: stage0 epochs=10 batch_size=64 glancer_frames=null
# focuser_frames=4, stage1 epochs=16 batch_size=64 dropout=0.8.
SHIPPED = {
    "glyphs": "glyphs",
    "glyphs_memory": "glyphs_memory",
    "glyphs_memory_flicker": "glyphs_memory",
    "glyphs_order": "glyphs_order",
    "glyphs_search": "glyphs_search",
    "glyphs_search_digits": "glyphs_search",
}


def shipped_recognizer(dataset: str = "glyphs") -> Path:
    """Folder of the recognizer that comes with the package for a data set.

    Videos that are not built in get that of `glyphs`, which says what its classes are.
    """
    folder = SHIPPED.get(dataset, SHIPPED["glyphs"])
    return Path(str(files("adafocus_env") / "assets" / folder))


def has_policy(recognizer: Path) -> bool:
    """Whether a recognizer's folder, such as a shipped one's, has a policy beside it."""
    return (recognizer / "policy").is_dir()


def is_shipped(folder: Path) -> bool:
    """Whether a folder is that of a recognizer that comes with the package."""
    return folder in {shipped_recognizer(dataset) for dataset in SHIPPED}


def shipped_policy(dataset: str = "glyphs") -> Path:
    """Folder of the policy that comes with the recognizer for a data set.

    Raises:
        FileNotFoundError: the data set has none.
    """
    folder = shipped_recognizer(dataset)
    if dataset not in SHIPPED or not has_policy(folder):
        having = [name for name in SHIPPED if has_policy(shipped_recognizer(name))]
        raise FileNotFoundError(
            f"no policy for dataset={dataset} comes with the package, only for "
            f"{', '.join(having)}; 'adafocus stage2' trains one"
        )
    return folder / "policy"
