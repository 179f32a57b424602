"""report.html: a benchmark as one page that needs no network, with a player for its videos."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from adafocus_env.data import Videos
from adafocus_env.files import atomic_path
from agents.evaluation import Evaluation
from train.evaluation.report.figures import CAPTIONS
from train.evaluation.report.player import player_data
from train.evaluation.report.tables import (
    LEGEND,
    comparison_tables,
    headlines,
    result_tables,
    warnings,
)

log = logging.getLogger(__name__)

_FOLDER = Path(__file__).parent
_NAMES_IN_TITLE = 6


def write_page(
    result: Mapping[str, Any],
    evaluations: Mapping[str, Evaluation],
    videos: Videos,
    folder: Path,
    shown: Sequence[int],
) -> None:
    """Write `report.html`; the figures must be in the folder already.

    Args:
        result: what `benchmark.json` holds.
        evaluations: by policy name.
        videos: the evaluated split.
        folder: where to write.
        shown: indices of the videos in the player, from `choose_videos`.
    """
    data = player_data(videos, evaluations, shown, seed=result["seed"])
    figures = {name: (folder / name).read_bytes() for name in CAPTIONS}
    with atomic_path(folder / "report.html") as part:
        part.write_text(page(result, data, figures), encoding="utf-8")
    log.info("wrote %s", folder / "report.html")


def page(result: Mapping[str, Any], data: Mapping[str, Any], figures: Mapping[str, bytes]) -> str:
    """The whole document.

    The policy in its head lets the browser load nothing from anywhere, and run no script but the
    player: whatever a label holds stays text.

    Args:
        result: what `benchmark.json` holds.
        data: from `player_data`.
        figures: file name -> PNG.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    script, style = (
        (_FOLDER / name).read_text(encoding="utf-8") for name in ("player.js", "style.css")
    )
    names = [policy["name"] for policy in result["policies"]]
    listed = ", ".join(names) if len(names) <= _NAMES_IN_TITLE else f"{len(names)} policies"
    return environment.get_template("report.html.jinja").render(
        title=f"Where to look: {listed}",
        content_policy=(
            "default-src 'none'; img-src data:; "
            f"script-src '{_hash(script)}'; style-src '{_hash(style)}'"
        ),
        script=script,
        style=style,
        result=result,
        learned={policy["name"] for policy in result["policies"] if policy["learned"]},
        tables=[*result_tables(result), *comparison_tables(result)],
        warnings=warnings(result),
        headlines=headlines(result),
        legend=LEGEND,
        player=data,
        figures=[
            (base64.b64encode(picture).decode(), CAPTIONS[name])
            for name, picture in figures.items()
        ],
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
