"""What each piece of a network is given, found by running the pieces once in every way that they can follow each other.

Shapes: one input.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from ...pieces import Piece

ANSWER = "answer"
"""The piece behind a chain of others, `Piece.otherwise`."""


@torch.inference_mode()
def inputs_of(pieces: Mapping[str, Piece], image: Tensor) -> dict[str, dict[str, Tensor]]:
    """The tensors that each piece takes, by name, from the image of the first one."""
    first = next(iter(pieces))
    known: dict[str, dict[str, Tensor]] = {first: {"image": image}}

    def after(name: str) -> dict[str, Tensor]:
        piece = pieces[name]
        given = known[name]
        return given | dict(zip(piece.outputs, piece.module(*(given[each].clone() for each in piece.inputs)), strict=True))

    todo = [first]
    while todo:
        piece = pieces[name := todo.pop()]
        if piece.next is None:
            continue
        state = after(name)
        new = [each for each in piece.next.values() if each and each not in known]
        known |= dict.fromkeys(new, state)
        todo += new
        for off, on in piece.otherwise:
            known |= {each: state for each in (off, on) if each}
            state = after(on)
        if piece.otherwise:
            known[ANSWER] = state
    return {name: {each: known[name][each].clone() for each in piece.inputs} for name, piece in pieces.items()}
