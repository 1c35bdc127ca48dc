"""What audits found, as cards: in our runs, one a kind of finding; in the papers, one a paper."""

from collections import defaultdict
from dataclasses import dataclass

from ...foreign import plain
from ..published.audit import audit
from .board import Entry

MOST_SHOWN = 12
"""Of one card; the table of findings has them all."""


@dataclass(frozen=True)
class Card:
    """A kind of finding, or a paper, and where something was found."""

    title: str
    items: list[tuple[str, str]]
    """Network or place in a paper, and particulars."""
    more: int
    """That are not shown."""

    @property
    def count(self) -> int:
        return len(self.items) + self.more


def of_runs(board: list[Entry]) -> list[Card]:
    """Most frequent kinds first."""
    kinds: dict[str, dict[tuple[str, str], None]] = defaultdict(dict)
    for entry in board:
        for row in entry.group.rows if entry.kind != "seed" else ():
            for finding in row.get("audit", ()):
                kind, _, particulars = finding.partition(":")
                kinds[plain(kind)][f"{entry.label}, {entry.dataset}", plain(particulars.strip())] = None
    return [_card(kind, list(items)) for kind, items in sorted(kinds.items(), key=lambda item: -len(item[1]))]


def of_papers() -> list[Card]:
    """Figures that do not come out when they are computed from their others."""
    papers = defaultdict(list)
    for each in audit():
        papers[each.paper].append((each.where, f"{each.what}: printed {each.printed:g}, recomputed {each.recomputed:.4g} ({each.how})"))
    return [_card(paper, items) for paper, items in papers.items()]


def _card(title: str, items: list[tuple[str, str]]) -> Card:
    return Card(title, items[:MOST_SHOWN], max(0, len(items) - MOST_SHOWN))
