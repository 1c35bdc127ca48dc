"""ONNX models as OpenVINO runs them fast, and as its own files."""

import tempfile
from pathlib import Path

from .onnx import is_map
from .run import core

FLOAT, BF16 = 1, 16
"""Element types, as ONNX numbers them."""


def for_openvino(content: bytes, precision: str) -> bytes:
    """An ONNX model as OpenVINO runs it fast inside a branch.

    OpenVINO computes with channels last; feature maps that come in and go out are [1, H, W, C], and of the precision that is computed in,
    so that none is rearranged in between.
    """
    import onnx

    model = onnx.load_from_string(content)
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
