"""The pieces of a network by torch.compile, one after the other, as the decisions say.

Shapes: one image, H x W pixels, C channels.
"""

import inspect
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from ..pieces import Piece, dearest
from .bundle.run import Answer


def check_version() -> None:
    """Raises UsageError where torch cannot compile pieces each by itself."""
    if "isolate_recompiles" not in inspect.signature(torch.compile).parameters:
        raise UsageError(f"--runtime compile needs torch 2.14, and this is {torch.__version__}: pip install 'torch>=2.14'.")


class Compiled:
    """On an image [H, W, C], whole numbers, as `run.Network` of exported files.

    Pieces are compiled when they are first wanted, with torch's own threads, and each by itself: of those that share their code torch would
    compile eight and leave the others as they are. With `all_on`, decisions are made as ever, and then what costs most is run.
    """

    def __init__(self, pieces: Mapping[str, Piece], classes: Sequence[str], all_on: bool = False):
        self.pieces, self.classes, self.ready = pieces, classes, {}
        self.forced = dearest(pieces) if all_on else None

    def __call__(self, image: np.ndarray) -> Answer:
        known, on, macs, names = {"image": torch.from_numpy(image[None])}, [], 0.0, [next(iter(self.pieces))]
        while names:
            name = names.pop(0)
            piece = self.pieces[name]
            if name not in self.ready:
                self.ready[name] = torch.compile(piece.module, dynamic=False, isolate_recompiles=True)
            known |= zip(piece.outputs, self.ready[name](*(known[each] for each in piece.inputs)), strict=True)
            on += piece.on
            macs += piece.macs
            if piece.next:
                names += self._following(name, known["bits"])
        logits = known["logits"][0].numpy()
        return Answer(self.classes[int(logits.argmax())], logits, sorted(on), macs)

    def _following(self, name: str, bits: Tensor) -> list[str]:
        """Names of the pieces to run next."""
        step = self.pieces[name].next
        digits = self.forced[name] if self.forced else "".join(map(str, bits.flatten().int().tolist()))
        names = [step.ways[digits]] if digits in step.ways else [pair[int(each)] for pair, each in zip(step.single, digits, strict=True)]
        return [each for each in names if each]
