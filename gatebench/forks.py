"""Which of several ways is taken, found by few questions: what is often taken is asked for first.

D. A. Huffman: A Method for the Construction of Minimum-Redundancy Codes. Proceedings of the IRE 40(9), 1952.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

RARE = 0.02
"""Ways that are rarer count as so often: what computes most is often rare, and should not be the last that is asked for."""


@dataclass(frozen=True)
class Fork:
    """Asks whether one of some ways is taken."""

    ways: tuple[int, ...]
    """Numbers of those."""
    yes: "Way"
    no: "Way"
    asked: float
    """Questions on the way to an answer, this one included, in the mean over how often the ways are taken."""

    def __iter__(self) -> Iterator["Fork"]:
        """This one and those behind it: all behind `yes`, then all behind `no`."""
        yield self
        for each in (self.yes, self.no):
            yield from each if isinstance(each, Fork) else ()


Way = Fork | int | None
"""A way by its number; None: whatever is not one of them."""


def fork(shares: Sequence[float], others: float | None = None) -> Way:
    """How to find which of the ways is taken; `shares` say how often each is, `others` how often none of them; None: one always is."""
    found = [(max(share, RARE), [number], number) for number, share in enumerate(shares)]
    if others is not None:
        found.append((max(others, RARE), [None], None))
    while len(found) > 1:
        found.sort(key=lambda each: each[0], reverse=True)
        rarest = [found.pop(), found.pop()]
        rarest.sort(key=lambda each: None in each[1])  # what is none of the ways cannot be asked for
        share, behind = sum(each[0] for each in rarest), [way for _, _, way in rarest]
        asked = share + sum(way.asked for way in behind if isinstance(way, Fork))
        found.append((share, rarest[0][1] + rarest[1][1], Fork(tuple(rarest[0][1]), *behind, asked)))
    return found[0][2]
