"""ONNX models as OpenVINO runs them fast, and as its own files."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from .onnx import as_products, is_map, map_sizes
from .run import core

FLOAT, BF16 = 1, 16
"""Element types, as ONNX numbers them."""


def for_openvino(content: bytes, precision: str) -> bytes:
    """An ONNX model as OpenVINO runs it fast inside a branch.

    OpenVINO computes with channels last; feature maps that come in and go out are [1, H, W, C], and of the precision that is computed in,
    so that none is rearranged in between. Images are scaled down as the network does it.
    """
    import onnx

    model = onnx.load_from_string(content)
    scale_as_told(model)
    graph, outside = model.graph, BF16 if precision == "bf16" else FLOAT
    for maps, coming_in in ((graph.input, True), (graph.output, False)):
        for each in filter(is_map, maps):
            inside, (_, channels, height, width) = f"{each.name} inside", (size.dim_value for size in each.type.tensor_type.shape.dim)
            for node in graph.node:
                for names in (node.input, node.output):
                    names[:] = [inside if name == each.name else name for name in names]
            if coming_in:
                for kind, given, made, settings in (
                    ("Transpose", f"{inside} float", inside, {"perm": [0, 3, 1, 2]}), ("Cast", each.name, f"{inside} float", {"to": FLOAT}),
                ):  # fmt: skip
                    graph.node.insert(0, onnx.helper.make_node(kind, [given], [made], **settings))
            else:
                graph.node.append(onnx.helper.make_node("Cast", [inside], [f"{inside} kept"], to=outside))
                graph.node.append(onnx.helper.make_node("Transpose", [f"{inside} kept"], [each.name], perm=[0, 2, 3, 1]))
            each.CopyFrom(onnx.helper.make_tensor_value_info(each.name, outside, [1, height, width, channels]))
    return model.SerializeToString()


def scale_as_told(model: Any) -> None:
    """Write scaling that smooths as what it is: a product with a matrix for the rows, and one for the columns.

    OpenVINO (2026.4) scales without smoothing, whatever the model says.
    """
    sizes = map_sizes(model.graph)
    for place, node in reversed([*enumerate(model.graph.node)]):
        if node.op_type == "Resize" and any(each.name == "antialias" and each.i for each in node.attribute):
            (given,), made = node.input[:1], node.output[0]
            rows, columns = (scaling(sizes[given][side], sizes[made][side]) for side in (2, 3))
            as_products(model.graph, place, given, rows, columns.T)


def scaling(old: int, new: int) -> np.ndarray:
    """The matrix [new, old] that scales bilinearly and smooths, as torch does."""
    return interpolate(torch.eye(old)[None, None], (new, old), mode="bilinear", antialias=True)[0, 0].numpy()


def has_bf16() -> bool:
    """Whether this processor computes in bf16; OpenVINO takes fp32 instead where it does not, and does not say so."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def as_files(content: bytes) -> tuple[bytes, bytes]:
    """The .xml and the .bin file of an ONNX model."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.xml"
        openvino.save_model(openvino.Core().read_model(content), path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
