"""Runs a network that gatebench exported, one image at a time; what it decides to leave out is not computed.

    import run
    network = run.Network("bundle/")
    answer = network(image)                  # [H, W, C], whole numbers, as the data set has them
    answer.label, answer.logits, answer.on, answer.macs

or `python run.py IMAGE.npy` in the bundle's folder. It needs numpy, and onnxruntime or openvino; neither torch nor gatebench.
"""

import json
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np

Answer = namedtuple("Answer", "label logits on macs")
"""What the network says of an image: its class, logits [classes], the numbers of the switches that ran, as bundle.json names them, and the
multiply-accumulates that were computed, gates included."""


class Network:
    """The pieces of a folder, opened when they are first wanted; those that bundle.json names as common are opened at once.

    A piece keeps its results in memory of its own, where the next one reads them: nothing is copied in between.
    """

    def __init__(self, folder, threads=1, runtime=None):
        """`runtime` opens files in place of that of their format. Raises ValueError where the folder or a file in it is no network that
        gatebench exported, or the runtime is missing."""
        self.folder = Path(folder)
        try:
            self.bundle = json.loads((self.folder / "bundle.json").read_text())
            self.pieces, self.start, self.classes = (self.bundle[key] for key in ("pieces", "start", "classes"))
            self.shape, self.type = tuple(self.bundle["image"]["shape"]), np.dtype(self.bundle["image"]["type"])
            runtime = runtime or {"onnx": _onnxruntime, "openvino": _openvino}[self.bundle["format"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{self.folder} holds no network that gatebench exported ({error}). Name the folder of bundle.json.") from None
        try:
            self.open, tensor, self.array = runtime(threads, self.bundle["precision"])
        except ImportError as error:
            raise ValueError(f"Running {self.folder} needs {error.name}: pip install {error.name}.") from None
        self.ready, self.image = {}, np.zeros((1, *self.shape), self.type)
        self.tensor = tensor(self.image)
        for name in self.bundle["common"]:
            self.piece(name)

    def piece(self, name):
        """A function from tensors to tensors."""
        if name not in self.ready:
            path = self.folder / self.pieces[name]["file"]
            try:
                self.ready[name] = self.open(path)
            except Exception as error:
                raise ValueError(f"{path} cannot be opened ({str(error).splitlines()[0]}). Export the network again.") from None
        return self.ready[name]

    def __call__(self, image):
        """`image` [H, W, C]. Raises ValueError for another shape or type."""
        image = np.asarray(image)
        if image.shape != self.shape or image.dtype != self.type:
            raise ValueError(f"the image must be {self.type} of shape {self.shape}, not {image.dtype} of shape {image.shape}")
        self.image[0] = image
        known, on, macs, names = {"image": self.tensor}, [], 0, [self.start]
        while names:
            name = names.pop(0)
            piece = self.pieces[name]
            known.update(zip(piece["outputs"], self.piece(name)([known[each] for each in piece["inputs"]]), strict=True))
            on += piece["on"]
            macs += piece["macs"]
            if piece["next"]:
                names += self.following(name, (self.array(known["bits"]) + ord("0")).tobytes().decode())
        logits = self.array(known["logits"])[0].copy()
        return Answer(self.classes[int(logits.argmax())], logits, sorted(on), macs)

    def following(self, name, bits):
        """Names of the pieces to run next, by the decisions of a piece, such as "101"."""
        names = []
        for step in self.pieces[name]["next"]:
            own, bits = bits[: step["digits"]], bits[step["digits"] :]
            names += [step["ways"][own]] if own in step["ways"] else [each[int(bit)] for each, bit in zip(step["single"], own, strict=True)]
        return [each for each in names if each]


def _piece(bind, compute, outputs):
    """A function from tensors to `outputs`, which `compute` fills; a tensor is bound where it is another one than last time."""
    bound = {}

    def run(tensors):
        for number, tensor in enumerate(tensors):
            if bound.get(number) is not tensor:
                bind(number, tensor)
                bound[number] = tensor
        compute()
        return outputs

    return run


def _onnxruntime(threads, precision):
    """How to open a .onnx file, to make a tensor of an array, which share their memory, and an array of a tensor."""
    import onnxruntime
    from onnxruntime import OrtValue

    types = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int64)": np.int64}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1

    def opened(path):
        session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        binding, names = session.io_binding(), [each.name for each in session.get_inputs()]
        outputs = [OrtValue.ortvalue_from_shape_and_type(each.shape, types[each.type]) for each in session.get_outputs()]
        for each, tensor in zip(session.get_outputs(), outputs, strict=True):
            binding.bind_ortvalue_output(each.name, tensor)
        bind = binding.bind_ortvalue_input
        return _piece(lambda number, tensor: bind(names[number], tensor), lambda: session.run_with_iobinding(binding), outputs)

    return opened, OrtValue.ortvalue_from_numpy, OrtValue.numpy


def _openvino(threads, precision):
    """The same of .xml files."""
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": {"bf16": "bf16"}.get(precision, "f32"),
    }

    def opened(path):
        model = core.read_model(path, path.with_name("weights.bin"))
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        return _piece(request.set_input_tensor, lambda: request.infer(share_outputs=True), list(request.output_tensors))

    return opened, lambda array: openvino.Tensor(array, shared_memory=True), lambda tensor: tensor.data


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Give one image as run.py IMAGE.npy: an array [H, W, C] of whole numbers.")
    try:
        print(Network(Path(__file__).parent)(np.load(sys.argv[1])))
    except (OSError, ValueError) as problem:
        sys.exit(str(problem))
