"""Runs a network that gatebench exported, one image at a time; what it decides to leave out is not computed.

    import run
    network = run.Network("bundle/")
    answer = network(image)                  # [H, W, C], whole numbers, as the data set has them
    answer.label, answer.logits, answer.on, answer.macs

or `python run.py IMAGE.npy` in the bundle's folder. It needs numpy, and onnxruntime or openvino; neither torch nor gatebench.
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Answer(NamedTuple):
    """What the network says of an image."""

    label: str
    logits: np.ndarray
    """[classes]."""
    on: list
    """Numbers of the switches that ran, as bundle.json names them."""
    macs: float
    """Multiply-accumulates that were computed, gates included."""


class Network:
    """The pieces of a folder, opened when they are first wanted; those that bundle.json names as common are opened at once."""

    def __init__(self, folder, threads=1):
        """Raises ValueError where the folder or a file in it is no network that gatebench exported."""
        self.folder = Path(folder)
        try:
            self.bundle = json.loads((self.folder / "bundle.json").read_text())
            self.pieces, self.start = self.bundle["pieces"], self.bundle["start"]
            self.shape, self.type = tuple(self.bundle["image"]["shape"]), np.dtype(self.bundle["image"]["type"])
            runtime = {"onnx": _onnxruntime, "openvino": _openvino}[self.bundle["format"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.folder} holds no network that gatebench exported ({error}). Name the folder of bundle.json.") from None
        try:
            self.open = runtime(threads)
        except ImportError as error:
            raise ValueError(f"Running {self.folder} needs {error.name}: pip install {error.name}.") from None
        self.ready = {}
        for name in self.bundle["common"]:
            self.piece(name)

    def piece(self, name):
        """A function from arrays to arrays."""
        if name not in self.ready:
            path = self.folder / self.pieces[name]["file"]
            try:
                self.ready[name] = self.open(path, self.pieces[name])
            except Exception as error:
                raise ValueError(f"{path} cannot be opened ({str(error).splitlines()[0]}). Export the network again.") from None
        return self.ready[name]

    def __call__(self, image):
        """`image` [H, W, C]. Raises ValueError for another shape or type."""
        image = np.asarray(image)
        if image.shape != self.shape or image.dtype != self.type:
            wanted = f"{self.type} of shape {'x'.join(map(str, self.shape))}"
            raise ValueError(f"the image must be {wanted}, not {image.dtype} of shape {'x'.join(map(str, image.shape))}")
        known, on, macs, names = {"image": image[None]}, [], 0, [self.start]
        while names:
            name = names.pop(0)
            piece = self.pieces[name]
            known.update(zip(piece["outputs"], self.piece(name)([known[each] for each in piece["inputs"]]), strict=True))
            on += piece["on"]
            macs += piece["macs"]
            if piece["next"]:
                names = self._following(piece, "".join(map(str, known["bits"].ravel().tolist())))
        logits = known["logits"][0]
        return Answer(self.bundle["classes"][int(logits.argmax())], logits, sorted(on), macs)

    @staticmethod
    def _following(piece, digits):
        if digits in piece["next"]:
            return [piece["next"][digits]] if piece["next"][digits] else []
        chain = [pair[int(digit)] for pair, digit in zip(piece["otherwise"], digits, strict=True)]
        return [name for name in chain if name] + ["answer"]


def _onnxruntime(threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1

    def opened(path, piece):
        session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        names = [each.name for each in session.get_inputs()]
        return lambda arrays: session.run(None, dict(zip(names, arrays, strict=True)))

    return opened


def _openvino(threads):
    import openvino

    core = openvino.Core()

    def opened(path, piece):
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        request = core.compile_model(str(path), "CPU", settings).create_infer_request()
        return lambda arrays: [np.array(each) for each in request.infer(arrays, share_inputs=True).values()]

    return opened


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Give one image as run.py IMAGE.npy: an array [H, W, C] of whole numbers.")
    try:
        print(Network(Path(__file__).parent)(np.load(sys.argv[1])))
    except (OSError, ValueError) as problem:
        sys.exit(str(problem))
