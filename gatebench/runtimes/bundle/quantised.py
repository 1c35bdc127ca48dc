"""A piece in int8: weights and activations as whole numbers, their ranges taken from real inputs."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from .quiet import errors_only

KINDS = ("Conv", "Add", "MaxPool")
"""Operations that are computed in whole numbers; the classifier stays as it is, and so does all up to the first convolution: they are
small, and what is rounded there is lost to all that follows."""


def quantised(content: bytes, examples: Sequence[Mapping[str, np.ndarray]]) -> bytes:
    """An ONNX model in int8 (weights by channel, activations by tensor), whose ranges are those of the examples: its inputs by name.

    Runtimes read it as QuantizeLinear and DequantizeLinear around each operation.
    """
    import onnx
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Examples(CalibrationDataReader):
        def __init__(self):
            self.left: Iterator = iter(examples)

        def get_next(self) -> dict | None:
            example = next(self.left, None)
            return None if example is None else dict(example)

    model = onnx.load_from_string(content)
    kinds, sees_image = [node.op_type for node in model.graph.node], any(each.name == "image" for each in model.graph.input)
    first = [node.name for node in model.graph.node[: kinds.index("Conv") + 1]] if sees_image and "Conv" in kinds else []
    onnxruntime.set_default_logger_severity(3)
    try:
        with tempfile.TemporaryDirectory() as folder, errors_only(""):  # it advises what is done already
            path = Path(folder) / "model.onnx"
            quantize_static(
                model, path, Examples(), quant_format=QuantFormat.QDQ, op_types_to_quantize=list(KINDS), nodes_to_exclude=first,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True,
            )  # fmt: skip
            return path.read_bytes()
    finally:
        onnxruntime.set_default_logger_severity(2)
