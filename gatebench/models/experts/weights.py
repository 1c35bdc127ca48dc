"""Files of pretrained weights: below the data root, else the library's own download, which is kept there."""

import contextlib
import os
import socket
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...errors import GatebenchError, first_line
from .expert import split

TIMEOUT = 10
"""Seconds without an answer after which a download is given up."""


def find(options: Mapping[str, Any], root: Path, say: Callable[[str], None]) -> Path | None:
    """The file of pretrained weights for an expert's options, or None, and a line to `say`, where it trains from scratch.

    `<root>/experts/<name>.safetensors`, which a user put there, is taken for the network of either library. Else it is
    `<root>/experts/<library>-<name>.safetensors`, where a download is kept. Raises GatebenchError where that cannot be written.
    """
    if not options["pretrained"]:
        return None
    library, name = split(options["network"])
    given, path = (Path(root) / "experts" / f"{stem}.safetensors" for stem in (name, f"{library}-{name}"))
    for each in (given, path):
        if each.is_file():
            return each
    try:
        content = (_timm if library == "timm" else _torchvision)(name)
    except Exception as error:  # whatever urllib, torch.hub and the libraries make of a missing network or an unknown address
        say(
            f"NO PRETRAINED WEIGHTS for {options['network']}: not at {path}, and no download ({first_line(error)}). It trains from scratch."
            " To start from pretrained weights, put them there."
        )
        return None
    _write(path, content)
    return path


def find_for_gater(options: Mapping[str, Any], root: Path, say: Callable[[str], None]) -> Path | None:
    """As `find`, for a router's options: the weights that its gater starts from."""
    gater = options.get("gater", {})
    return find({"network": "torchvision:squeezenet1_1", "pretrained": gater.get("pretrained", False)}, root, say)


def _timm(name: str) -> bytes:
    """The file that timm's own download takes from the Hugging Face hub; its client would try for a minute without a network."""
    import timm

    about = timm.get_pretrained_cfg(name)
    if about is None or not about.hf_hub_id:
        raise ValueError(f"timm has no weights of {name}")
    host = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    with urllib.request.urlopen(f"{host}/{about.hf_hub_id}/resolve/main/model.safetensors", timeout=TIMEOUT) as stream:
        return stream.read()


def _torchvision(name: str) -> bytes:
    """The tensors of torchvision's newest weights."""
    import safetensors.torch
    from torchvision import models

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)  # torchvision sets none
    try:
        state = models.get_model(name, weights="DEFAULT").state_dict()
    finally:
        socket.setdefaulttimeout(before)
    return safetensors.torch.save({key: tensor.contiguous() for key, tensor in state.items()})


def _write(path: Path, content: bytes) -> None:
    """Write the complete file or nothing."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise GatebenchError(f"Cannot write {path} ({error.strerror}). Name a folder with room in it with --data-dir.") from None
