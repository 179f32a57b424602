"""report.html: a benchmark as one page that needs no network, with a player for its videos."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from adafocus_env.data import Videos
from adafocus_env.files import atomic_path
from agents.evaluation import Evaluation
from train.evaluation.report.figures import CAPTIONS
from train.evaluation.report.player import player_data
from train.evaluation.report.tables import (
    LEGEND,
    TextTable,
    comparison_tables,
    headlines,
    result_tables,
    warnings,
)

log = logging.getLogger(__name__)

_SCRIPT = Path(__file__).with_name("player.js")
_STYLE = Path(__file__).with_name("style.css")
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
    script, style = _SCRIPT.read_text(encoding="utf-8"), _STYLE.read_text(encoding="utf-8")
    policy = (
        "default-src 'none'; img-src data:; "
        f"script-src '{_hash(script)}'; style-src '{_hash(style)}'"
    )
    main, *same = result_tables(result)
    more = [*same, *comparison_tables(result)]
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(_title(result))}</title>",
            f"<style>{style}</style>\n</head>\n<body>",
            f"<h1>{escape(_title(result))}</h1>",
            _introduction(result),
            _list("warning", [f"Warning: {line}" for line in warnings(result)]),
            _table(main, result),
            _list("headline", headlines(result)),
            f"<p class='note'>{escape(LEGEND)}</p>",
            _player(data),
            "<h2>Figures</h2>",
            "<div class='figures'>",
            *(_figure(name, picture) for name, picture in figures.items()),
            "</div>",
            *(_table(table, result) for table in more),
            f'<script type="application/json" id="player-data">{_json(data)}</script>',
            f"<script>{script}</script>\n</body>\n</html>\n",
        ]
    )


def _title(result: Mapping[str, Any]) -> str:
    names = [policy["name"] for policy in result["policies"]]
    listed = ", ".join(names) if len(names) <= _NAMES_IN_TITLE else f"{len(names)} policies"
    return f"Where to look: {listed}"


def _introduction(result: Mapping[str, Any]) -> str:
    text = (
        f"Measured on all {result['videos']} videos of the split {result['split']} of "
        f"{result['dataset']}, each once (agents of chance several times): "
        f"{result['num_frames']} frames of {result['frame_size']} x {result['frame_size']} pixels, "
        f"in each of which a policy places one patch of {result['patch_size']} x "
        f"{result['patch_size']}. A recognizer glances at the whole frame, looks closely at the "
        "patch, and says after every frame what it believes. The reward of a frame is its "
        "confidence in the true class, less what the reward baseline "
        f"({result['reward']}) subtracts."
    )
    facts = (
        f"Seed {result['seed']}; recognizer {result['recognizer_sha256'][:12]}; mean average "
        f"precision by the {result['map_rule']} rule over {result['map_labels']} labels."
    )
    return f"<p class='lead'>{escape(text)}</p>\n<p class='note'>{escape(facts)}</p>"


def _list(kind: str, lines: Sequence[str]) -> str:
    return "\n".join(f"<p class='{kind}'>{escape(line)}</p>" for line in lines)


def _table(table: TextTable, result: Mapping[str, Any]) -> str:
    learned = {policy["name"] for policy in result["policies"] if policy["learned"]}
    head = "".join(f"<th scope='col'>{escape(cell.strip())}</th>" for cell in table.head)
    lines = [f"<h2>{escape(table.title)}</h2>", "<div class='wide'><table>"]
    lines.append(f"<thead><tr>{head}</tr></thead><tbody>")
    for row in table.rows:
        kind = " class='learned'" if row[0] in learned else ""
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        lines.append(f"<tr{kind}><th scope='row'>{escape(row[0])}</th>{cells}</tr>")
    lines.append("</tbody></table></div>")
    if table.note:
        lines.append(f"<p class='note'>{escape(table.note)}</p>")
    return "\n".join(lines)


def _player(data: Mapping[str, Any]) -> str:
    left_out = (
        f"Videos {', '.join(map(str, data['left_out']))} are left out: the page would be too large."
        if data["left_out"]
        else ""
    )
    return f"""<h2>Player</h2>
<p class='note'>Keys: left and right go through the frames; with a click into the player, up and
down go through the videos and space plays. Green: the patch of this frame; white: those of the
four frames before. The bars are the most probable classes after this frame, the true one marked.
{escape(left_out)}</p>
<noscript><p class='warning'>The player needs JavaScript.</p></noscript>
<div id="player" tabindex="0" role="group" aria-label="player">
<div class="controls">
<label>video <select id="video"></select></label>
<button type="button" id="back" aria-label="frame before">&#9664;</button>
<button type="button" id="play" aria-label="play or pause">play</button>
<button type="button" id="forward" aria-label="next frame">&#9654;</button>
<input type="range" id="frame" min="0" value="0" step="1" aria-label="frame">
<output id="where" aria-live="polite"></output>
</div>
<div class="panels" id="panels"></div>
</div>"""


def _figure(name: str, picture: bytes) -> str:
    source = "data:image/png;base64," + base64.b64encode(picture).decode()
    caption = escape(CAPTIONS[name])
    return (
        f'<figure><img src="{source}" alt="{caption}">\n<figcaption>{caption}</figcaption></figure>'
    )


def _json(data: Mapping[str, Any]) -> str:
    """JSON that cannot end the element it stands in: no `<` is left in it."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
