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
    """The network of a folder. Images and answers have their places in memory, which are bound once.

    Where it decides up front, each common pattern of decisions is a file. The commonest are opened at once, others when they are decided.
    """

    def __init__(self, folder, threads=1):
        """Raises ValueError where the folder or a file in it is no network that gatebench exported, or the runtime is missing."""
        if type(threads) is not int or threads < 1:
            raise ValueError("threads must be a whole number from 1 on. Give an int, such as threads=1.")
        folder = Path(folder).resolve()  # parts are opened later, too
        try:
            bundle = json.loads((folder / "bundle.json").read_text())
            self.classes, first, precision = bundle["classes"], bundle["file"], bundle["precision"]
            opened, hashes = {"onnx": by_onnxruntime, "openvino": by_openvino}[bundle["format"]], dict(bundle["sha256"])
            self.image = np.zeros((1, *bundle["image"]["shape"]), bundle["image"]["type"])
            more = bundle if "others" in bundle else {"patterns": {}, "others": first, "weights": first, "ahead": []}
            self.patterns = {bytes(map(int, digits)): name for digits, name in more["patterns"].items()}
            self.others, self.weights, ahead = more["others"], folder / more["weights"], list(more["ahead"])
            named = [first, first.replace(".xml", ".bin"), *self.patterns.values(), self.others, more["weights"], *ahead]
            "".join([*self.classes, *(hashes[name] for name in named)])  # which are all text
        except (OSError, ValueError, KeyError, TypeError, AttributeError, MemoryError) as error:
            raise ValueError(f"{folder} holds no network that gatebench exported ({error}). Name the folder of bundle.json.") from None
        for name, wanted in hashes.items():
            if not (folder / name).is_file() or hashlib.sha256((folder / name).read_bytes()).hexdigest() != wanted:
                raise ValueError(f"{folder / name} is not the file that was exported. Export the network again.")

        def part(name, given, weights=None):
            """A file as `opened`: a function, and the arrays that it fills, by name."""
            try:
                compute, outputs = opened(folder / name, given, threads, precision, weights)
            except ImportError as error:
                raise ValueError(f"Running {folder} needs {error.name}: pip install {error.name}.") from None
            except Exception as error:
                reason = ([""] + [line.strip() for line in str(error).splitlines() if line.strip()])[-1]
                raise ValueError(f"{folder / name} cannot be opened ({reason}). Export the network again.") from None
            if "logits" in outputs and outputs["logits"].shape != (1, len(self.classes)):
                raise ValueError(f"{folder / 'bundle.json'} does not have the network's classes. Export the network again.")
            return compute, outputs

        self.part, self.ready = part, {}
        self.compute, self.outputs = part(first, {"image": self.image})
        for name in ahead:
            self.opened(name)

    def __call__(self, image):
        """`image` [H, W, C]. Raises ValueError for another shape or type, or where a part that is opened now cannot be."""
        place = self.image[0]
        if not isinstance(image, np.ndarray) or image.shape != place.shape or image.dtype != place.dtype:
            raise ValueError(f"The image must be an array {[*place.shape]} of {place.dtype}. Give it as the data set has it.")
        place[:] = image
        self.compute()
        outputs = self.outputs
        if "bits" in outputs:
            compute, outputs = self.opened(self.patterns.get(outputs["bits"].tobytes(), self.others))
            compute()
        logits, on, macs = (outputs[name] for name in ("logits", "on", "macs"))
        return Answer(self.classes[int(logits.argmax())], logits[0].copy(), on.nonzero()[0].tolist(), float(macs))

    def opened(self, name):
        """A part that goes on with what the first one gives."""
        if name not in self.ready:
            self.ready[name] = self.part(name, self.outputs, self.weights)
        return self.ready[name]


def by_onnxruntime(path, given, threads=1, precision="fp32", weights=None):
    """A function that computes outputs from the arrays `given` by name, and the arrays that it fills; models share `weights`."""
    import onnxruntime
    from onnxruntime import OrtValue

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    binding, outputs = session.io_binding(), {}
    for each in session.get_inputs():
        binding.bind_ortvalue_input(each.name, OrtValue.ortvalue_from_numpy(given[each.name]))
    for each in session.get_outputs():
        outputs[each.name] = np.zeros(each.shape, np.uint8 if "uint8" in each.type else np.float32)
        binding.bind_ortvalue_output(each.name, OrtValue.ortvalue_from_numpy(outputs[each.name]))
    session.run_with_iobinding(binding)  # which finds arrays of another shape or type
    return lambda: session.run_with_iobinding(binding), outputs


def core():
    """One for the process, whichever copy of this file asks. Of two, the second to go would leave the thread with the first one's signal
    stack, which is no longer there (OpenVINO 2026.4): the next signal, as of Ctrl-C, would be a segmentation fault."""
    import openvino

    if not hasattr(openvino, "core_of_exported_networks"):
        openvino.core_of_exported_networks = openvino.Core()
    return openvino.core_of_exported_networks


def by_openvino(path, given, threads=1, precision="fp32", weights=None):
    """The same by OpenVINO."""
    import openvino

    inside = "bf16" if precision == "bf16" else "f32"
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": inside}
    model = core().read_model(path, weights) if weights else core().read_model(path)
    request, outputs = core().compile_model(model, "CPU", settings).create_infer_request(), {}
    for port in model.inputs:
        request.set_tensor(port.any_name, openvino.Tensor(given[port.any_name], shared_memory=True))
    for port in model.outputs:
        outputs[port.any_name] = np.zeros(port.shape, port.element_type.to_dtype())
        request.set_tensor(port.any_name, openvino.Tensor(outputs[port.any_name], shared_memory=True))
    return lambda: request.infer(share_outputs=True), outputs


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Give one image as run.py IMAGE.npy: an array [H, W, C] of whole numbers.")
    try:
        image = np.load(sys.argv[1])
    except Exception:
        sys.exit(f"{sys.argv[1]} cannot be read as an image. Give a file that numpy.save wrote.")
    try:
        print(Network(Path(__file__).parent)(image))
    except (OSError, ValueError) as problem:
        sys.exit(str(problem))
