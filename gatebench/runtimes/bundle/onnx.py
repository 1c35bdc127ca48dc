"""A piece as an ONNX model, for inputs of just the shapes that it was shown."""

import io
import logging
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

OPSET = 18


def to_onnx(module: nn.Module, inputs: Mapping[str, Tensor], outputs: tuple[str, ...]) -> bytes:
    """A module that takes tensors in this order and gives a tuple; an output that has the name of an input is called "NAME after"."""
    stream, named = io.BytesIO(), [f"{each} after" if each in inputs else each for each in outputs]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        for name in ("torch.onnx", "onnxscript", "onnx_ir"):
            logging.getLogger(name).setLevel(logging.ERROR)
        program = torch.onnx.export(
            module, tuple(inputs.values()), dynamo=True, opset_version=OPSET, input_names=list(inputs), output_names=named, verbose=False
        )
        program.save(stream)
    return stream.getvalue()
