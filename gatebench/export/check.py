"""Whether exported files say what the network says, on real inputs.

Shapes: N images, H x W pixels, C channels.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..contract import GatedModel
from ..runtimes.bundle import run
from ..runtimes.bundle.compare import Compared

TOLERANCE = {"fp32": 1e-4, "bf16": 0.1, "int8": 0.3}
"""Of logits, relative to the largest, by precision."""
TURNED = {"fp32": 0.02, "bf16": 0.1, "int8": 0.2}
"""Share of the images whose decisions may differ: those that stand on a threshold fall either way."""


def check(path: Path, net: GatedModel, images: np.ndarray, x: Tensor, precision: str, after: Callable[[int], None]) -> Compared:
    """Run a folder, or one file, on images [N, H, W, C] and the network on the same ones normalised, x [N, C, H, W], one by one.

    Raises GatebenchError where they differ by more than the files' precision allows.
    """
    exported, compared = run.Network(path) if path.is_dir() else one_file(path, images[:1]), Compared(str(path))
    net.eval()
    for number, (image, one) in enumerate(zip(images, x.split(1), strict=True), start=1):
        with torch.inference_mode():
            compared.add(exported(image), net.infer(one))
        after(number)
    compared.check(TOLERANCE[precision], TURNED[precision])
    return compared


def one_file(path: Path, like: np.ndarray) -> Callable[[np.ndarray], run.Answer]:
    """A single ONNX file, on images [H, W, C] like that one, [1, H, W, C]; it gives no label."""
    given = np.zeros_like(like)
    compute, (logits, on, macs) = run.by_onnxruntime(path, given)

    def answer(image: np.ndarray) -> run.Answer:
        given[0] = image
        compute()
        return run.Answer("", logits[0].copy(), on.nonzero()[0].tolist(), float(macs))

    return answer
