"""A piece as files that OpenVINO runs fast."""

import tempfile
from pathlib import Path

from .weights import Weights

TYPES = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""Of feature maps between pieces, by precision."""


def for_openvino(content: bytes, precision: str, weights: Weights) -> bytes:
    """The .xml file of an ONNX model, whose constants lie in `weights`.

    OpenVINO computes with channels last; feature maps that come in and go out are [1, H, W, C], and of the precision that is computed in,
    so that none is rearranged in between.
    """
    import openvino
    from openvino.preprocess import PrePostProcessor

    model = openvino.Core().read_model(content)
    arranged = PrePostProcessor(model)
    for ports, side in ((model.inputs, arranged.input), (model.outputs, arranged.output)):
        for number, port in enumerate(ports):
            if len(port.shape) == 4 and port.element_type == openvino.Type.f32:
                side(number).tensor().set_layout(openvino.Layout("NHWC")).set_element_type(getattr(openvino.Type, TYPES[precision]))
                side(number).model().set_layout(openvino.Layout("NCHW"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(arranged.build(), path, compress_to_fp16=False)
        return weights.of_openvino(path.read_bytes(), path.with_suffix(".bin").read_bytes())
