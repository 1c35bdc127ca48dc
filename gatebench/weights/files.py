"""Files of weights that nobody vouches for, read without running what they ask for: torch, safetensors and .npz files."""

import contextlib
import functools
import mmap
import re
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from ..errors import GatebenchError, UsageError, first_line, needs_memory
from ..foreign import Missing, Unreadable, beside, plain, sha256_of, size_of

SAVE = "torch.save(model.state_dict(), FILE)"
WANTED = f"Give .safetensors, or what {SAVE} writes"
ALONE = f"Write the weights alone where its code is, with {SAVE}"
AGAIN = "Get the file again"
MOST_TYPES = 50
"""Types in a file that stand-ins are made for."""
HEAD = 512
CHUNK = 1 << 20
LARGEST_HEADER = 100_000_000
"""Bytes of JSON in a .safetensors file, as its format allows."""
TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""What a torch file that is no zip archive begins with: a pickled number."""

Sign = tuple[str, str]
"""What a file seems to be, and what to do."""
ARCHIVE: Sign = "it is a packed archive", "Unpack it, and name the file of weights in it"
BROKEN_OFF: Sign = "it ends too early, as a download that broke off", AGAIN
PICKLE: Sign = "it is a pickle of another kind than torch.save writes", f"Write it with {SAVE}"
SCRIPT: Sign = (
    "it is a TorchScript archive, which holds a network with its code",
    "Save the weights alone: torch.save(torch.jit.load(FILE).state_dict(), NEW)",
)
EXPORTED: Sign = (
    "it is a program that torch.export wrote, which holds a network with its code",
    "Save the weights alone: torch.save(torch.export.load(FILE).state_dict, NEW)",
)
OLDEST: Sign = (
    "torch before 0.2 wrote it, as an archive that cannot be read without running what it asks for",
    f"Whoever trusts it can load it with torch.load(FILE, weights_only=False), and write it anew with {SAVE}",
)
KERAS: Sign = "it is an HDF5 file, as Keras and TensorFlow write", WANTED
BEGINNINGS: dict[bytes, Sign] = {
    b"version https://git-lfs": ("it is a Git LFS pointer, which stands for the file", "Get the file itself with git lfs pull"),
    b"<": ("it is a web page, such as a server sends instead of a file", "Get the file itself, and look at it in a browser first"),
    b"{": ("it is a text of JSON", "Name the file that holds the tensors"),
    b"\x89HDF": KERAS,
    b"GGUF": ("it is a GGUF file, of a quantised language model", WANTED),
    b"\x93NUMPY": ("it is one numpy array without a name", WANTED),
    **{beginning: ARCHIVE for beginning in (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd")},
}
CUT = "unexpected EOF|Ran out of input|truncated|[Ii]ncomplete|not fully covered|header length"
"""What readers say of a file that ends too early."""


class StandIn:
    """Stands for an object beside weights: it can be made and filled in any way, and holds nothing."""

    def __new__(cls, *_: Any, **__: Any) -> "StandIn":
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any):
        pass

    def __setstate__(self, _: Any) -> None:
        pass


class MappingStandIn:
    """Stands for a type of mappings; makes plain ones, without what they begin with."""

    def __new__(cls, *_: Any, **__: Any) -> OrderedDict:
        return OrderedDict()


class SequenceStandIn:
    """Stands for a type of sequences; makes empty lists."""

    def __new__(cls, *_: Any, **__: Any) -> list:
        return []


HARMLESS: dict[str, type] = {
    r"collections\.deque": SequenceStandIn,
    r"collections\.defaultdict|easydict\.EasyDict|yacs\.config\.CfgNode|addict\.addict\.Dict": MappingStandIn,
    r"munch\.Munch|.*\.AttributeDict": MappingStandIn,
    r"argparse\.Namespace|types\.SimpleNamespace|uuid\.UUID|decimal\.Decimal|fractions\.Fraction|typing\.Any": StandIn,
    r"(collections|datetime|numpy|omegaconf|pathlib|zoneinfo|pytorch_lightning|lightning)\..+": StandIn,
    r"torch\.(nn\.modules\.loss|nn\.functional|optim|torch_version)\..+": StandIn,
    r"(builtins\.)?(bool|bytes|dict|float|frozenset|int|list|object|range|slice|str|tuple)": StandIn,
}
"""Types that stand beside weights and are no code of whoever wrote the file. None of them is made: a stand-in is, which does nothing."""


def read_weights(path: Path) -> tuple[Any, str | None]:
    """What a file of weights holds, and the preparation that was kept with it.

    Of a .safetensors or .npz file that is tensors by name; of a torch file whatever was saved. Nothing in the file is run, and objects
    beside the tensors are not made. Raises UsageError where there is no such file, GatebenchError saying what it seems to be where it
    holds no weights that can be read.
    """
    try:
        size = size_of(path)
        with open(path, "rb") as stream:
            head = stream.read(HEAD)
        with needs_memory(f"the weights in {path}", "Give smaller ones, or end other programs"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, for other protocols and old types
            sign = _recognise(path, head, size)
            if sign:
                raise _refused(path, *sign)
            if _is_safetensors(head):
                return _safetensors(path)
            return (_arrays(path) if any(name.endswith(".npy") for name in _names(path)) else _unpickled(path)), None
    except Missing:
        raise UsageError(f"There are no weights at {path}.{beside(path) or ' Name a file of weights.'}") from None
    except (Unreadable, OSError) as error:
        why = getattr(error, "strerror", None) or error
        raise GatebenchError(f"The weights at {path} cannot be read: {why}. Name a file of weights.") from None
    except GatebenchError:
        raise
    except Exception as error:  # whatever safetensors, zipfile, numpy and pickle make of a file that is none of theirs
        raise _refused(path, *_reason(error, head)) from None


def file_digest(path: Path) -> str:
    """Eight hexadecimal digits of a file's SHA-256. Raises UsageError where there is none."""
    try:
        return _digest(path, size_of(path), path.stat().st_mtime_ns)
    except (Unreadable, OSError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"Cannot read the weights at {path}: {why}. Name a file of weights.") from None


@functools.cache
def _digest(path: Path, size: int, changed: int) -> str:
    """Of a file with a size in bytes, last changed at a time in nanoseconds: all jobs of a study ask for the same one."""
    return sha256_of(path)


def _recognise(path: Path, head: bytes, size: int) -> Sign | None:
    """What else than weights a file of `size` bytes is, by its beginning, its end and its name."""
    if not size:
        return "it is empty", AGAIN
    if _is_safetensors(head):  # whose first bytes are a number, and may be like any beginning
        return None
    if head.startswith(b"PK\x03\x04"):
        return _of_archive(path)
    if head[257:262] == b"ustar":
        return OLDEST if b"storages" in _beginning(path) else ARCHIVE
    if head[4:8] == b"TFL3" or (head[:1] == b"\x08" and re.search(rb"pytorch|onnx|tf2onnx|keras", head)):
        return "it is an ONNX or TensorFlow Lite file, which holds a graph and no names of a network's", WANTED
    if re.search(r"\.(data-\d+-of-\d+|index|meta|pb)$|^checkpoint$", path.name) or _end(path, size) == b"\x57\xfb\x80\x8b\x24\x75\x47\xdb":
        return "it is part of a TensorFlow checkpoint", WANTED
    if head[:1] == b"\x80" and not head.startswith(TORCH[: len(head)]):
        return PICKLE
    return next((sign for beginning, sign in BEGINNINGS.items() if head.lstrip().startswith(beginning)), None)


def _of_archive(path: Path) -> Sign | None:
    if not zipfile.is_zipfile(path):
        return BROKEN_OFF
    names = _names(path)
    for ending, sign in (("/constants.pkl", SCRIPT), ("archive_format", EXPORTED)):
        if any(name.endswith(ending) for name in names):
            return sign
    if any(name.endswith(("/data.pkl", ".npy")) for name in names):
        return None
    return KERAS if any(name.endswith(".h5") for name in names) else ARCHIVE


def _names(path: Path) -> list[str]:
    """Of the files in a zip archive; none where it is something else."""
    if not zipfile.is_zipfile(path):
        return []
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def _is_safetensors(head: bytes) -> bool:
    """Whether a file begins with the length of a header of JSON, and the header."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= LARGEST_HEADER


def _safetensors(path: Path) -> tuple[dict[str, torch.Tensor], str | None]:
    with safe_open(path, "pt") as stream:
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        return tensors, (stream.metadata() or {}).get("prepare")


def _arrays(path: Path) -> dict[str, torch.Tensor]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(array) for name in arrays if (array := arrays[name]).dtype.kind in "biufc"}


def _unpickled(path: Path) -> Any:
    """What torch.save wrote. Raises GatebenchError for a type that only code can make."""
    stand_ins: dict[str, type] = {}
    if zipfile.is_zipfile(path):  # before 1.6, torch wrote all types before the first value
        with contextlib.suppress(Exception):  # of quantised tensors, and of files that the CPU cannot read either
            _load(path, "meta", stand_ins)
    return _load(path, "cpu", stand_ins)


def _load(path: Path, device: str, stand_ins: dict[str, type]) -> Any:
    """What torch.save wrote, on a device; "meta" reads no values. Adds the `stand_ins` that it takes, by the names of their types."""
    while len(stand_ins) <= MOST_TYPES:
        try:
            # a stream: torch goes by the endings of names
            with open(path, "rb") as stream, torch.serialization.safe_globals(list(stand_ins.values())):
                try:
                    return torch.load(stream, map_location=device, weights_only=True)
                except Exception:
                    if not stream.read(1) and not zipfile.is_zipfile(path):
                        raise EOFError from None
                    raise
        except Exception as error:
            name = _unsupported(error)
            if not name:
                raise
            kind = next((kind for pattern, kind in HARMLESS.items() if re.fullmatch(pattern, name)), None)
            if kind is None or name in stand_ins:
                raise _refused(path, *_held(path, name)) from None
            module, _, qualified = (name if "." in name else f"builtins.{name}").rpartition(".")
            stand_ins[name] = type(qualified, (kind,), {"__module__": module})
    raise _refused(path, f"it holds objects of more than {MOST_TYPES} types", ALONE)


def _unsupported(error: Exception) -> str | None:
    """The type, or function, that torch refuses to take from a file."""
    found = re.search(r"[Uu]nsupported (?:global: )?GLOBAL (\S+)", str(error))
    return found and plain(found[1])


def _held(path: Path, name: str) -> Sign:
    """What is wrong with a file that asks for a type which only code can make."""
    if name.startswith("torch.nn.") or _has_layers(path):
        return f"it holds a whole network ({name}), which only code can build", ALONE
    return f"beside weights it holds {name}, which only code can build", ALONE


def _has_layers(path: Path) -> bool:
    """Whether a pickle names the class of a layer, as that of a whole network does."""
    with open(path, "rb") as stream, contextlib.closing(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)) as content:
        return re.search(rb"ctorch\.nn\.modules\.(?!loss\n)\w+\n", content) is not None


def _reason(error: Exception, head: bytes) -> Sign:
    """What is wrong with a file by its beginning and what its reader said."""
    said = str(error)
    if not head.strip(b"\0"):
        return "it begins with nothing but zeros", AGAIN
    if not (head.startswith((TORCH, b"PK")) or _is_safetensors(head)):
        return "it is no torch, safetensors or .npz file", WANTED
    if isinstance(error, EOFError) or re.search(CUT, said):
        return BROKEN_OFF
    if "Unsupported operand" in said:
        return PICKLE
    if "persistent_load" in said:  # torch before 1.6 wrote the source of layers and losses too
        return "beside weights it holds a layer or a loss with its code", ALONE
    particulars = re.search(r"WeightsUnpickler error:\s*(.+)", said)
    return plain(particulars[1] if particulars else first_line(error))[:150].rstrip("."), WANTED


def _beginning(path: Path) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(CHUNK)


def _end(path: Path, size: int) -> bytes:
    with open(path, "rb") as stream:
        stream.seek(max(0, size - 8))
        return stream.read()


def _refused(path: Path, why: str, mend: str) -> GatebenchError:
    return GatebenchError(f"{path} is not a file of weights that can be read: {why}. {mend}.")
