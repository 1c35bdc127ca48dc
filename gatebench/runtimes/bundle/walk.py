"""What each piece of a network is given, found by running each of them once, in one way to get there.

Shapes: one input.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from ...pieces import Piece


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
        name = todo.pop()
        if step := pieces[name].next:
            state = after(name)
            new = [each for each in step.ways.values() if each and each not in known]
            known |= dict.fromkeys(new, state)
            todo += new
            for pair in step.single:
                known |= {each: state for each in pair if each}
                state = after(pair[1])
    return {name: {each: known[name][each].clone() for each in piece.inputs} for name, piece in pieces.items()}
