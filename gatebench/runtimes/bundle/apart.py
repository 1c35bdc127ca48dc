"""A network that decides up front as several files: what decides, each common pattern of decisions, and all others.

The program opens the file of the pattern. That asks nothing, so it is as fast as a static network.
"""

from collections.abc import Mapping
from typing import Any

from ...pieces import Piece, dearest
from .joined import continued, forks

FOLDER = "patterns"
OTHERS = "others"
AHEAD = 0.9
"""Share of the images whose patterns are opened with the network, the commonest first; others when they are first decided."""
CALL = {"onnx": 0, "openvino": 2}
"""What one more call counts as, in questions, by format: where branches ask less, they are faster. Set by trial."""


def is_apart(pieces: Mapping[str, Piece], format_: str) -> bool:
    """Whether what follows the first piece are patterns that are faster as files of their own."""
    step = next(iter(pieces.values())).next
    return bool(step and step.single) and forks(step).asked > CALL[format_]


def apart(
    pieces: Mapping[str, Piece], contents: Mapping[str, bytes], switches: int, all_on: bool, ending: str
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """ONNX models behind the first piece, by the names of their files with that ending, and what bundle.json says of them.

    With `all_on`, what costs most is run whatever is decided.
    """
    (first, start), others = next(iter(pieces.items())), f"{FOLDER}/{OTHERS}{ending}"
    if all_on:
        made = {others: continued(pieces, contents, switches, dearest(pieces)[first])}
        return made, {"patterns": {}, "ahead": [others], "others": others}
    names = {digits: f"{FOLDER}/{number}{ending}" for number, digits in enumerate(start.next.ways, start=1)}
    made = {name: continued(pieces, contents, switches, digits) for digits, name in names.items()}
    shares = dict(zip(names.values(), start.next.shares, strict=True))
    ahead = common({**shares, others: 1 - sum(shares.values())}, AHEAD)
    return {**made, others: continued(pieces, contents, switches, None)}, {"patterns": names, "ahead": ahead, "others": others}


def common(shares: Mapping[str, float], enough: float) -> list[str]:
    """As few names as have that share together, the commonest first."""
    names, found = [], 0.0
    for name in sorted(shares, key=shares.get, reverse=True):
        if found < enough:
            names.append(name)
            found += shares[name]
    return names
