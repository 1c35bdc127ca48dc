"""The folder itself: pieces become ONNX models, and these the files of a format, with bundle.json and run.py beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

from ...errors import GatebenchError, UsageError, first_line
from ...pieces import Piece
from ...runs import RunFolder
from .images import Raw
from .onnx import for_onnxruntime, to_onnx
from .openvino import for_openvino
from .quantised import quantised
from .walk import inputs_of
from .weights import WEIGHTS, Weights

PRECISIONS = {"onnx": ("fp32", "int8"), "openvino": ("fp32", "bf16", "int8")}
"""Of each format."""
EXTRA = "pip install 'gatebench[export]'"


def check_installed(format_: str) -> None:
    """Raises UsageError where what a format needs is missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401  # which also makes int8
        import onnxscript  # noqa: F401

        if format_ == "openvino":
            import openvino  # noqa: F401
    except ImportError as error:
        raise UsageError(f"Files of {format_} need the package {error.name}. Install what they take: {EXTRA}.") from None


@dataclass(frozen=True)
class Models:
    """The pieces of a network as ONNX models."""

    pieces: Mapping[str, Piece]
    """On an image as it comes."""
    contents: Mapping[str, bytes]
    """By the name of the piece, the first one first."""
    images: Tensor
    """Some as the data set has them, [N, H, W, C]; int8 takes its ranges from them."""


def converted(
    pieces: Mapping[str, Piece], mean: Sequence[float], std: Sequence[float], images: Tensor,
    after: Callable[[int], None] = lambda done: None,
) -> Models:  # fmt: skip
    """Pieces of a copy for inference, whose images are normalised by mean and deviation of each channel, as ONNX models.

    `images` [N, H, W, C] are some as the data set has them, which are not scored; `after` is called with how many pieces are done. Raises
    GatebenchError where a piece cannot be written as ONNX.
    """
    pieces = {name: _from_image(piece, mean, std, images) for name, piece in pieces.items()}
    contents = {}
    for number, (name, given) in enumerate(inputs_of(pieces, images[:1]).items(), start=1):
        try:
            contents[name], read = to_onnx(pieces[name].module, given, pieces[name].outputs)
        except Exception as error:
            raise GatebenchError(f"The piece {name!r} cannot be written as ONNX ({first_line(error)}).") from error
        pieces[name] = replace(pieces[name], inputs=read)
        after(number)
    return Models(pieces, contents, images)


def write(out: RunFolder, models: Models, format_: str, precision: str, said: Mapping[str, Any]) -> dict:
    """Write the folder and return what bundle.json says; `said` is what it says besides the pieces: `classes` at least.

    The format has to have the precision (`PRECISIONS`).
    """
    if out.has("bundle.json"):  # of another network, or format
        out.remove("bundle.json", "*.onnx", "*.xml", "*.bin")
    arranged, ending = {"onnx": (for_onnxruntime, "onnx"), "openvino": (for_openvino, "xml")}[format_]
    manifest, weights = {}, Weights()
    for name, content in in_precision(models, precision).items():
        piece, file = models.pieces[name], f"{name.replace(' ', '-')}.{ending}"
        out.write(file, lambda stream, content=arranged(content, precision, weights): stream.write(content))
        manifest[name] = {
            "file": file, "inputs": piece.inputs, "outputs": piece.outputs, "on": piece.on, "macs": piece.macs,
            "next": [{"digits": step.digits, "ways": step.ways, "single": step.single} for step in piece.next],
        }  # fmt: skip
    out.write(WEIGHTS, lambda stream: stream.write(weights.content))
    image = {"shape": list(models.images.shape[1:]), "type": str(models.images.dtype).removeprefix("torch.")}
    bundle = {
        "format": format_, "precision": precision, "gatebench": version("gatebench"), **said,
        "image": image, "start": next(iter(manifest)), "common": _common(models.pieces), "pieces": manifest,
    }  # fmt: skip
    out.write_text("run.py", (files("gatebench.runtimes.bundle") / "run.py").read_text())
    out.write_json("bundle.json", bundle)
    return bundle


def in_precision(models: Models, precision: str) -> Mapping[str, bytes]:
    """The contents, with weights and activations in int8 where that is the precision."""
    if precision != "int8":
        return models.contents
    given = [inputs_of(models.pieces, image[None]) for image in models.images]
    return {
        name: quantised(content, [{key: each[name][key].numpy() for key in models.pieces[name].inputs} for each in given])
        for name, content in models.contents.items()
    }


def _common(pieces: Mapping[str, Piece]) -> list[str]:
    """Pieces that are opened ahead: all but those that digits stand for one by one."""
    single = {name for piece in pieces.values() for step in piece.next for pair in step.single for name in pair}
    return [name for name in pieces if name not in single]


def _from_image(piece: Piece, mean: Sequence[float], std: Sequence[float], images: Tensor) -> Piece:
    """The piece on an image as it comes, where it takes one."""
    module = piece.module.eval()
    if "image" in piece.inputs:
        module = Raw(module, mean, std, torch.iinfo(images.dtype).max)
    return replace(piece, module=module)
