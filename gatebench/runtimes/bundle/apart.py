"""A network that decides up front as several files: what decides, each common pattern of decisions, and all others.

The program opens the file of the pattern. That asks nothing, so it is as fast as a static network.
"""

from collections.abc import Mapping
from typing import Any

from ...forks import Fork
from ...pieces import Piece, dearest
from .joined import behind, forks

FOLDER = "patterns"
OTHERS = "others"
AHEAD = 0.9
"""Share of the images whose patterns are opened with the network, the commonest first; others when they are first decided."""


CALL = {"onnx": 0, "openvino": 2}
"""What one more call counts as, in questions, by format: where branches ask less, they are faster. Set by trial."""


def is_apart(pieces: Mapping[str, Piece], format_: str) -> bool:
    """Whether what follows the first piece are patterns that are faster as files of their own."""
    step = next(iter(pieces.values())).next
    top = forks(step) if step and step.single else None
    return isinstance(top, Fork) and top.asked > CALL[format_]


def apart(
    pieces: Mapping[str, Piece], contents: Mapping[str, bytes], switches: int, all_on: bool, ending: str
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """ONNX models behind the first piece, by the names of their files with that ending, and what bundle.json says of them.

    With `all_on`, what costs most is run whatever is decided.
    """
    (first, start), others = next(iter(pieces.items())), f"{FOLDER}/{OTHERS}{ending}"
    if all_on:
        return {others: behind(pieces, contents, switches, dearest(pieces)[first])}, {"patterns": {}, "ahead": 0, "others": others}
    names = {digits: f"{FOLDER}/{number}{ending}" for number, digits in enumerate(start.next.ways, start=1)}
    made = {name: behind(pieces, contents, switches, digits) for digits, name in names.items()}
    before = (sum(start.next.shares[:number]) for number in range(len(names)))
    ahead = sum(share < AHEAD for share in before)
    return {**made, others: behind(pieces, contents, switches, None)}, {"patterns": names, "ahead": ahead, "others": others}
