"""A network as a folder of files that really skip, with what runs them: bundle.json, run.py and one model a piece."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..contract import GatedModel, Piece
from ..errors import GatebenchError, UsageError, first_line
from ..runs import RunFolder
from .images import Raw
from .onnx import to_onnx
from .walk import inputs_of

FORMATS = ("onnx", "openvino")
EXTRA = "pip install 'gatebench[export]'"


def check_installed(format_: str) -> None:
    """Raises UsageError where what a format needs is missing."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401

        if format_ == "openvino":
            import openvino  # noqa: F401
        else:
            import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UsageError(f"Exporting to {format_} needs the package {error.name}. Install what it takes: {EXTRA}.") from None


def write(
    out: RunFolder, net: GatedModel, pieces: Mapping[str, Piece], image: Tensor, format_: str, said: Mapping[str, Any],
    after: Callable[[int], None],
) -> dict:  # fmt: skip
    """Write the folder and return what bundle.json says; `after` is called with how many pieces are written.

    `net` is a copy for inference and `pieces` are its own (`GatedModel.pieces`), `image` [1, H, W, C] is one as the data set has it, `said`
    is what bundle.json says besides. Raises GatebenchError where a piece cannot be written as a file.
    """
    pieces = {name: _from_image(piece, net, image) for name, piece in pieces.items()}
    if out.has("bundle.json"):  # of another network, or format
        out.remove("bundle.json", "*.onnx", "*.xml", "*.bin")
    suffix = {"onnx": ".onnx", "openvino": ".xml"}[format_]
    manifest = {}
    for number, (name, given) in enumerate(inputs_of(pieces, image).items(), start=1):
        piece, file = pieces[name], name.replace(" ", "-") + suffix
        try:
            content = to_onnx(piece.module, given, piece.outputs)
        except Exception as error:
            raise GatebenchError(f"The piece {name!r} cannot be written as ONNX ({first_line(error)}).") from error
        if format_ == "onnx":
            out.write(file, lambda stream, content=content: stream.write(content))
        else:
            _write_openvino(out, file, content)
        manifest[name] = {
            "file": file, "inputs": piece.inputs, "outputs": piece.outputs, "on": piece.on, "macs": piece.macs,
            "next": piece.next, "otherwise": piece.otherwise,
        }  # fmt: skip
        after(number)
    first, *_ = manifest
    bundle = {
        "format": format_, "gatebench": version("gatebench"), **said,
        "image": {"shape": list(image.shape[1:]), "type": str(image.dtype).removeprefix("torch.")},
        "switches": [unit.name for unit in net.units], "start": first, "common": list(_common(manifest)), "pieces": manifest,
    }  # fmt: skip
    out.write_text("run.py", (files("gatebench.export") / "run.py").read_text())
    out.write_json("bundle.json", bundle)
    return bundle


def _common(manifest: Mapping[str, Mapping]) -> list[str]:
    """Pieces that are opened ahead: all that follow each other without a chain."""
    chained = {each for piece in manifest.values() for pair in piece["otherwise"] for each in pair}
    return [name for name in manifest if name not in chained and not (chained and name == "answer")]


def _from_image(piece: Piece, net: GatedModel, image: Tensor) -> Piece:
    """The piece on an image as it comes, where it takes one."""
    module = piece.module.eval()
    if "image" in piece.inputs:
        module = Raw(module, net.prepare, torch.iinfo(image.dtype).max)
    return replace(piece, module=module)


def _write_openvino(out: RunFolder, file: str, content: bytes) -> None:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file
        openvino.save_model(openvino.Core().read_model(content), path, compress_to_fp16=False)
        for each in (path.with_suffix(".bin"), path):
            out.write(each.name, lambda stream, each=each: stream.write(each.read_bytes()))
