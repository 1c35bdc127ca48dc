"""Whether exported files say what the network says, on real inputs.

Shapes: N images, H x W pixels, C channels.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..contract import GatedModel
from ..errors import GatebenchError
from ..runtimes.bundle import run
from ..runtimes.bundle.compare import Compared

TOLERANCE = {"fp32": 1e-4, "bf16": 0.1, "int8": 0.3}
"""Of logits, relative to the largest, by precision."""
TURNED = {"fp32": 0.02, "bf16": 0.1, "int8": 0.2}
"""Share of the images whose decisions may differ: those that stand on a threshold fall either way."""

NOISE, TRIED = 1e-4, 16
"""Deviation of noise that turns what stands on a threshold, in those of pixels, and how often it is tried."""


def check(path: Path, net: GatedModel, images: np.ndarray, x: Tensor, precision: str, after: Callable[[int], None]) -> Compared:
    """Run a folder, or one file, on images [N, H, W, C] and the network on the same ones normalised, x [N, C, H, W], one by one.

    Raises GatebenchError where they differ by more than the files' precision allows; in fp32 an image is decided about as the network does,
    or stands on a threshold.
    """
    exported, compared = run.Network(path) if path.is_dir() else one_file(path, images[:1]), Compared("The exported network")
    net.eval()
    for number, (image, one) in enumerate(zip(images, x.split(1), strict=True), start=1):
        answer = exported(image)
        with torch.inference_mode():
            own = net.infer(one)
            if precision == "fp32" and not (same(answer, own.decisions).any() or same(answer, net.infer(nearby(one)).decisions).any()):
                raise GatebenchError("The exported network decides otherwise than the network does. Please report this network.")
        compared.add(answer, own)
        after(number)
    compared.check(TOLERANCE[precision], TURNED[precision])
    if path.is_dir():
        check_patterns(exported, net, x[:1], images[0], TOLERANCE[precision])
    return compared


@torch.inference_mode()
def check_patterns(exported: run.Network, net: GatedModel, x: Tensor, image: np.ndarray, tolerance: float) -> None:
    """Run every pattern's file on one image [H, W, C], x [1, C, H, W], whatever is decided about it.

    Raises GatebenchError where one does not answer as the network does.
    """
    exported(image)
    for bits, name in exported.patterns.items():
        compute, outputs = exported.opened(name)
        compute()
        logits, wanted = outputs["logits"][0], net.infer(x, decisions=torch.tensor([[*bits]]).bool()).logits[0].numpy()
        if np.abs(logits - wanted).max() > tolerance * max(1.0, np.abs(wanted).max()):
            raise GatebenchError(f"{name} of the exported network does not answer as the network does. Please report this network.")


def same(answer: run.Answer, decisions: Tensor) -> Tensor:
    """Which decisions [N, S] are the answer's, [N]."""
    on = torch.zeros(decisions.shape[1], dtype=torch.bool)
    on[answer.on] = True
    return (decisions == on).all(1)


def nearby(x: Tensor) -> Tensor:
    """An image [1, C, H, W] with a little noise, several times: what is decided otherwise about these stood on a threshold."""
    return x + NOISE * torch.randn(TRIED, *x.shape[1:], generator=torch.Generator().manual_seed(0))


def one_file(path: Path, like: np.ndarray) -> Callable[[np.ndarray], run.Answer]:
    """A single ONNX file, on images [H, W, C] like that one, [1, H, W, C]; it gives no label."""
    given = np.zeros_like(like)
    compute, outputs = run.by_onnxruntime(path, {"image": given})

    def answer(image: np.ndarray) -> run.Answer:
        given[0] = image
        compute()
        return run.Answer("", outputs["logits"][0].copy(), outputs["on"].nonzero()[0].tolist(), float(outputs["macs"]))

    return answer
