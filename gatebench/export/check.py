"""Whether exported files say what the network says, on real inputs.

Shapes: N images, K classes, S switches.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..contract import GatedModel
from ..errors import GatebenchError

TOLERANCE = {"fp32": 1e-4, "bf16": 0.1, "int8": 0.3}
"""Of logits, relative to the largest, by precision."""
TURNED = {"fp32": 0.02, "bf16": 0.1, "int8": 0.2}
"""Share of the images whose decisions may differ: those that stand on a threshold fall either way."""


@dataclass(frozen=True)
class Checked:
    """What was compared."""

    images: int
    apart: float
    """Largest difference of logits, over the largest logit."""
    turned: int
    """Images that were decided about otherwise, whose logits are not compared."""
    relabelled: int
    """Images that get another class."""


@dataclass(frozen=True)
class Answer:
    """What one file says of an image."""

    logits: np.ndarray
    """[K]."""
    on: np.ndarray
    """Numbers of the switches that ran."""


def one_file(path: Path) -> Callable[[np.ndarray], Answer]:
    """A single ONNX file, on images [H, W, C]."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])

    def answer(image: np.ndarray) -> Answer:
        logits, on = session.run(["logits", "on"], {"image": image[None]})
        return Answer(logits[0], on.nonzero()[0])

    return answer


def runner(folder: Path):
    """The folder's own run.py."""
    spec = importlib.util.spec_from_file_location("gatebench_exported", folder / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Network(folder)


def check(path: Path, net: GatedModel, images: np.ndarray, x: Tensor, precision: str, after: Callable[[int], None]) -> Checked:
    """Run a folder, or one file, on images [N, H, W, C] and the network on the same ones normalised, x [N, C, H, W], one by one.

    Raises GatebenchError where they differ by more than the files' precision allows.
    """
    network, apart, turned, relabelled = (runner if path.is_dir() else one_file)(path), 0.0, 0, 0
    net.eval()
    for number, (image, one) in enumerate(zip(images, x.split(1), strict=True), start=1):
        with torch.inference_mode():
            own = net.infer(one)
        answer = network(image)
        on = np.zeros(net.switches, bool)
        on[answer.on] = True
        logits = own.logits[0].float().numpy()
        relabelled += int(answer.logits.argmax()) != int(logits.argmax())
        if np.array_equal(on, own.decisions[0].numpy()):
            apart = max(apart, float(np.abs(answer.logits - logits).max() / max(1.0, np.abs(logits).max())))
        else:
            turned += 1
        after(number)
    if apart > TOLERANCE[precision] or turned > TURNED[precision] * len(images):
        raise GatebenchError(
            f"{path} does not answer as the network does: logits differ by up to {apart:.2g} of the largest, and"
            f" {turned} of {len(images)} images are decided about otherwise. Please report this network."
        )
    return Checked(len(images), apart, turned, relabelled)
