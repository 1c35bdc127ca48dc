"""Runs a network that gatebench exported, one image at a time; what it decides to leave out is not computed.

    import run
    network = run.Network("bundle/")
    answer = network(image)                  # [H, W, C], whole numbers, as the data set has them
    answer.label, answer.logits, answer.on, answer.macs

or `python run.py IMAGE.npy` in the bundle's folder. It needs numpy, and onnxruntime or openvino; neither torch nor gatebench.
"""

import hashlib
import json
import sys
from collections import namedtuple
from pathlib import Path

try:
    import numpy as np
except ImportError:
    if __name__ == "__main__":
        sys.exit("Running a network needs numpy: pip install numpy.")
    raise

Answer = namedtuple("Answer", "label logits on macs")
"""What the network says of an image: its class, logits [classes], the numbers of the switches that ran, as bundle.json names them, and the
multiply-accumulates that were computed, gates included."""


class Network:
    """The network of a folder. Images and answers have their places in memory, which are bound once."""

    def __init__(self, folder, threads=1):
        """Raises ValueError where the folder or a file in it is no network that gatebench exported, or the runtime is missing."""
        if not isinstance(threads, int) or threads < 1:
            raise ValueError(f"threads must be a whole number from 1 on, not {threads!r}")
        folder = Path(folder)
        try:
            bundle = json.loads((folder / "bundle.json").read_text())
            self.classes, path, precision = bundle["classes"], folder / bundle["file"], bundle["precision"]
            self.shape, self.type = tuple(bundle["image"]["shape"]), np.dtype(bundle["image"]["type"])
            opened, hashes = {"onnx": by_onnxruntime, "openvino": by_openvino}[bundle["format"]], dict(bundle["sha256"])
            self.image = np.zeros((1, *self.shape), self.type)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{folder} holds no network that gatebench exported ({error}). Name the folder of bundle.json.") from None
        for name, wanted in hashes.items():
            if not (folder / name).is_file() or hashlib.sha256((folder / name).read_bytes()).hexdigest() != wanted:
                raise ValueError(f"{folder / name} is not the file that was exported. Export the network again.")
        try:
            self.compute, self.outputs = opened(path, self.image, threads, precision)
        except ImportError as error:
            raise ValueError(f"Running {folder} needs {error.name}: pip install {error.name}.") from None
        except Exception as error:
            reason = ([""] + [line.strip() for line in str(error).splitlines() if line.strip()])[-1]
            raise ValueError(f"{path} cannot be opened ({reason}). Export the network again.") from None
        if self.outputs[0].shape != (1, len(self.classes)):
            raise ValueError(f"{folder / 'bundle.json'} does not have the network's classes. Export the network again.")

    def __call__(self, image):
        """`image` [H, W, C]. Raises ValueError for another shape or type."""
        image = np.asarray(image)
        if image.shape != self.shape or image.dtype != self.type:
            raise ValueError(f"the image must be {self.type} of shape {self.shape}, not {image.dtype} of shape {image.shape}")
        self.image[0] = image
        self.compute()
        logits, on, macs = self.outputs
        return Answer(self.classes[int(logits.argmax())], logits[0].copy(), on.nonzero()[0].tolist(), float(macs))


OUTPUTS = "logits", "on", "macs"


def by_onnxruntime(path, image, threads=1, precision="fp32"):
    """A function that computes the outputs for what stands in `image` [1, H, W, C], and the arrays that it writes them to."""
    import onnxruntime
    from onnxruntime import OrtValue

    types = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    binding, outputs = session.io_binding(), {each.name: np.zeros(each.shape, types[each.type]) for each in session.get_outputs()}
    binding.bind_ortvalue_input("image", OrtValue.ortvalue_from_numpy(image))
    for name, array in outputs.items():
        binding.bind_ortvalue_output(name, OrtValue.ortvalue_from_numpy(array))
    return lambda: session.run_with_iobinding(binding), [outputs[name] for name in OUTPUTS]


def core():
    """One for the process, whichever copy of this file asks. Of two, the second to go would leave the thread with the first one's signal
    stack, which is no longer there (OpenVINO 2026.4): the next signal, as of Ctrl-C, would be a segmentation fault."""
    import openvino

    if not hasattr(openvino, "core_of_exported_networks"):
        openvino.core_of_exported_networks = openvino.Core()
    return openvino.core_of_exported_networks


def by_openvino(path, image, threads=1, precision="fp32"):
    """The same by OpenVINO."""
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": {"bf16": "bf16"}.get(precision, "f32"),
    }
    request = core().compile_model(path, "CPU", settings).create_infer_request()
    request.set_tensor("image", openvino.Tensor(image, shared_memory=True))
    outputs = [np.zeros(request.get_tensor(name).shape, request.get_tensor(name).data.dtype) for name in OUTPUTS]
    for name, array in zip(OUTPUTS, outputs, strict=True):
        request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
    return lambda: request.infer(share_outputs=True), outputs


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Give one image as run.py IMAGE.npy: an array [H, W, C] of whole numbers.")
    try:
        image = np.load(sys.argv[1])
    except Exception as problem:
        sys.exit(f"{sys.argv[1]} cannot be read ({problem}). Give a file that numpy.save wrote.")
    try:
        print(Network(Path(__file__).parent)(image))
    except ValueError as problem:
        sys.exit(str(problem))
