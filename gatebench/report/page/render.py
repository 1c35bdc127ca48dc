"""The report as one page: everything in one file, without a network.

What comes from run folders is foreign. It is escaped where it stands in HTML and in the data; the script writes it as text alone, and a
content security policy lets nothing else run and nothing be fetched.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2

from ...words import counted
from ..front import Panel
from ..results import Run
from ..sheet import Sheet
from . import cards, fronts, papers, vega
from .board import BADGES, Entry
from .conclusions import where_made
from .details import details
from .meanings import meanings
from .ways import ways

MOST_STATIC = 200
"""Lines of a table that stand in the page; CSV has them all."""
BATCHES = 4
"""Batch sizes to choose from, the most frequent first."""


@dataclass(frozen=True)
class Chapter:
    """Tables below a title."""

    title: str
    sheets: list[Sheet]


def page(
    title: str,
    conclusions: Sequence[str],
    runs: list[Run],
    board: list[Entry],
    panels: Sequence[Panel],
    chapters: Sequence[Chapter],
    run_pictures: dict[str, dict[str, str]],
    left_out: list[str],
) -> str:
    """The whole page, the conclusions on top; the pictures of single runs lie beside it."""
    opened, recipes, numbers = details(board, run_pictures)
    published = [sheet for chapter in chapters for sheet in chapter.sheets if sheet.headings and sheet.headings[0].name == "row"]
    drawn_papers = papers.drawn(published)
    texts: list[str] = []
    data = {
        "board": [_entry(entry, numbers, texts) for entry in board], "texts": texts, "badges": BADGES,
        "fronts": fronts.drawn(panels), "papers": drawn_papers,
        "runs": opened, "recipes": recipes, "ways": ways(runs),
    }  # fmt: skip
    return _template().render(
        title=title, conclusions=conclusions, where_made=where_made(runs), count=len(runs), counted=counted,
        board=[entry for entry in board if entry.kind != "seed"],
        badges=BADGES, datasets=sorted({entry.dataset for entry in board}), batches=_batches(board),
        places=sorted({each.machine for entry in board for each in entry.times}),
        cards=cards.of_runs(board), contradictions=cards.of_papers(), papers=drawn_papers, chapters=chapters,
        run_pictures=run_pictures, left_out=[*left_out, *(line for run in runs for line in run.unread.values())],
        meanings=meanings(runs), most=MOST_STATIC,
        style=_file("page.css"), data=embedded(data), scripts=[vega.script(), _file("page.js")], policy=_policy(),
    )  # fmt: skip


def embedded(data: Any) -> str:
    """JSON that may stand in a script element: nothing in it ends the element or begins another."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _entry(entry: Entry, numbers: dict[str, int], texts: list[str]) -> dict:
    """As plain data; the texts of a timing are numbers of those in `texts`, which grows."""
    times = [
        [*(_number(text, texts) for text in (each.machine, each.over, each.badge)),
         each.batch, each.ms, each.speedup, each.claimed, each.executed, each.ranks, each.seeds]
        for each in entry.times
    ]  # fmt: skip
    return {
        "label": entry.label, "dataset": entry.dataset, "kind": entry.kind, "accuracy": entry.accuracy, "claimed": entry.claimed,
        "executed": entry.executed, "untimed": entry.untimed, "times": times,
        "runs": [numbers[run.name] for run in entry.group.runs], "seeds": entry.group.seeds,
    }  # fmt: skip


def _number(text: str, texts: list[str]) -> int:
    if text not in texts:
        texts.append(text)
    return texts.index(text)


def _batches(board: list[Entry]) -> list[int]:
    counts: dict[int, int] = {}
    for entry in board:
        for each in entry.times:
            counts[each.batch] = counts.get(each.batch, 0) + 1
    return sorted(sorted(counts, key=lambda batch: -counts[batch])[:BATCHES])


def _policy() -> str:
    """Only the page's own two scripts run; Vega compiles its expressions, which takes 'unsafe-eval'."""
    hashes = " ".join(f"'sha256-{_digest(text)}'" for text in (vega.script(), _file("page.js")))
    return "; ".join((
        "default-src 'none'", f"script-src {hashes} 'unsafe-eval'", "style-src 'unsafe-inline'", "img-src 'self' file: data:",
        "base-uri 'none'", "form-action 'none'",
    ))  # fmt: skip


@cache
def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _file(name: str) -> str:
    return (files("gatebench.report.page") / name).read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_file("page.html.j2"))
