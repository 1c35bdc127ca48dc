"""The folder itself: pieces become ONNX models, and these one model in a format, with bundle.json and run.py beside it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import GatebenchError, UsageError, first_line
from ...pieces import Piece
from ...runs import RunFolder
from .apart import FOLDER, apart, is_apart
from .images import Raw
from .joined import joined
from .onnx import for_onnxruntime, to_onnx
from .openvino import as_files, for_openvino
from .quantised import quantised
from .walk import inputs_of
from .weights import WEIGHTS, Weights, onnx_sharing, openvino_sharing

PRECISIONS = {"onnx": ("fp32", "int8"), "openvino": ("fp32", "bf16", "int8")}
"""Of each format."""
ENDING = {"onnx": ".onnx", "openvino": ".xml"}
"""Of the file that describes a network."""
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
    """By the name of the piece, the first one first; none, where they are not asked for."""
    images: Tensor
    """Some as the data set has them, [N, H, W, C]; int8 takes its ranges from them."""

    def in_precision(self, precision: str) -> Mapping[str, bytes]:
        """The contents, with weights and activations in int8 where that is the precision."""
        return self._int8 if precision == "int8" else self.contents

    @cached_property
    def _int8(self) -> dict[str, bytes]:
        given = [inputs_of(self.pieces, image[None]) for image in self.images]
        return {
            name: quantised(content, [{key: each[name][key].numpy() for key in self.pieces[name].inputs} for each in given])
            for name, content in self.contents.items()
        }


def raw(pieces: Mapping[str, Piece], mean: Sequence[float], std: Sequence[float], images: Tensor) -> Models:
    """Pieces of a copy for inference on images as they come, which they normalise by mean and deviation of each channel.

    `images` [N, H, W, C] are some as the data set has them, which are not scored.
    """
    return Models({name: _from_image(piece, mean, std, images) for name, piece in pieces.items()}, {}, images)


def converted(
    pieces: Mapping[str, Piece], mean: Sequence[float], std: Sequence[float], images: Tensor,
    after: Callable[[int], None] = lambda done: None,
) -> Models:  # fmt: skip
    """As `raw`, and as ONNX models. `after` is called with how many pieces are done.

    Raises GatebenchError where a piece cannot be written as ONNX.
    """
    pieces, contents = dict(raw(pieces, mean, std, images).pieces), {}
    for number, (name, given) in enumerate(inputs_of(pieces, images[:1]).items(), start=1):
        try:
            contents[name], read = to_onnx(pieces[name].module, given, pieces[name].outputs)
        except Exception as error:
            raise GatebenchError(f"The piece {name!r} cannot be written as ONNX ({first_line(error)}).") from error
        pieces[name] = replace(pieces[name], inputs=read)
        after(number)
    return Models(pieces, contents, images)


def write(out: RunFolder, models: Models, format_: str, precision: str, said: Mapping[str, Any], all_on: bool = False) -> dict:
    """Write the folder and return what bundle.json says; `said` is what it says besides: `classes` and `switches` at least.

    The format has to have the precision (`PRECISIONS`). With `all_on`, the network decides as ever and then runs what costs most.
    """
    image = {"shape": list(models.images.shape[1:]), "type": str(models.images.dtype).removeprefix("torch.")}
    said = {**head(format_, precision), **said, "image": image, "file": f"network{ENDING[format_]}"}
    contents, more = files_of(models, format_, precision, said, all_on)
    said |= more
    said["sha256"] = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    for name, content in contents.items():
        out.write(name, lambda stream, content=content: stream.write(content))
    out.write_text("run.py", (files("gatebench.runtimes.bundle") / "run.py").read_text())
    out.write_json("bundle.json", said)
    return said


def write_alone(path: Path, models: Models, precision: str, said: Mapping[str, Any]) -> dict:
    """Write one ONNX file and return what its metadata say; `said` as for a folder."""
    said = {**head("onnx", precision), **said}
    content = joined(models.pieces, arranged(models, "onnx", precision), said, len(said["switches"]))
    RunFolder(path.parent).write(path.name, lambda stream: stream.write(content))
    return said


def head(format_: str, precision: str) -> dict[str, str]:
    """What a network's metadata begin with."""
    return {"format": format_, "precision": precision, "gatebench": version("gatebench")}


def files_of(
    models: Models, format_: str, precision: str, said: Mapping[str, Any], all_on: bool = False
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The network itself, by the names of its files, and what bundle.json says of those besides.

    `said` goes into the metadata of a model that is alone, where the format has some. Raises GatebenchError where its pieces do not make a
    model that the format takes.
    """
    in_files, switches, ending = is_apart(models.pieces, format_), len(said["switches"]), ENDING[format_]
    contents = arranged(models, format_, "fp32" if in_files and precision == "bf16" else precision)  # numpy hands maps on, and has no bf16
    if not in_files:
        return in_format(format_, joined(models.pieces, contents, said, switches, all_on)), {}
    first = next(iter(contents))
    parts, more = apart(models.pieces, contents, switches, all_on, ending)
    start, weights = in_format(format_, contents[first]), Weights()
    if format_ == "onnx":
        parts = onnx_sharing(parts, weights)
    else:
        parts = openvino_sharing({name: tuple(in_format(format_, content).values()) for name, content in parts.items()}, weights)
    return {**start, **parts, f"{FOLDER}/{WEIGHTS}": bytes(weights.content)}, {**more, "weights": f"{FOLDER}/{WEIGHTS}"}


def arranged(models: Models, format_: str, precision: str) -> dict[str, bytes]:
    """The models of the pieces, as the format's runtime runs them fast."""
    arrange = {"onnx": for_onnxruntime, "openvino": for_openvino}[format_]
    return {name: arrange(content, precision) for name, content in models.in_precision(precision).items()}


def in_format(format_: str, content: bytes) -> dict[str, bytes]:
    """An ONNX model by the names of its files, the describing one first. Raises GatebenchError where OpenVINO does not take it."""
    if format_ == "onnx":
        return {"network.onnx": content}
    try:
        return dict(zip(("network.xml", "network.bin"), as_files(content), strict=True))
    except Exception as error:
        raise GatebenchError(f"OpenVINO does not take this network ({first_line(error)}). Please report it.") from error


def _from_image(piece: Piece, mean: Sequence[float], std: Sequence[float], images: Tensor) -> Piece:
    """The piece on an image as it comes, where it takes one."""
    module = piece.module.eval()
    if "image" in piece.inputs:
        module = Raw(module, mean, std, torch.iinfo(images.dtype).max)
    return replace(piece, module=module)
