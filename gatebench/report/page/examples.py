"""Images that the gates find easiest and hardest, from examples.npz of a run folder, and what was decided for them.

Shapes: N examples, H x W pixels, C channels.
"""

import base64
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import GatebenchError
from ...foreign import LARGEST_TABLE, Unreadable, plain, size_of
from ..results import Run

SHOWN = 8
"""Of the easiest, and of the hardest."""
LARGEST_SIDE = 48
"""Pixels of a thumbnail."""
MOST_EXAMPLES = 500
QUALITY = 85


@dataclass(frozen=True)
class Examples:
    """Thumbnails in one row, the easiest first."""

    index: np.ndarray
    """[N], of the scored input."""
    labels: list[str]
    pixels: np.ndarray
    """uint8 [N, H, W] or [N, H, W, 3]."""

    def strip(self) -> str:
        """All of them side by side, as an address that holds the picture itself."""
        row = np.concatenate(list(self.pixels), axis=1)
        image = Image.fromarray(row)
        stream = io.BytesIO()
        image.save(stream, format="JPEG", quality=QUALITY, subsampling=0)
        return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def read_examples(run: Run) -> Examples | None:
    """The easiest and hardest; None where the run kept none, or what it kept cannot be shown."""
    path = run.folder / "examples.npz"
    try:
        arrays = read_arrays(path)
        index, labels, pixels = arrays["index"], arrays["labels"], arrays["pixels"]
        if not (index.ndim == labels.ndim == 1 and index.dtype.kind == labels.dtype.kind == "i"):
            return None
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or not 0 < len(pixels) == len(index) == len(labels) <= MOST_EXAMPLES:
            return None
        if pixels.shape[3] not in (1, 3) or not min(pixels.shape):
            return None
    except (GatebenchError, KeyError):
        return None
    half = min(SHOWN, len(index) // 2)
    if not half:
        return None
    chosen = [*range(half), *range(len(index) - half, len(index))]
    names = class_names(run)
    return Examples(index[chosen], [names.get(int(label), str(label)) for label in labels[chosen]], _thumbnails(pixels[chosen]))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file of moderate size. Raises GatebenchError for another file."""
    size_of(path, LARGEST_TABLE)
    try:
        with zipfile.ZipFile(path) as packed:
            unpacked = sum(member.file_size for member in packed.infolist())
        if unpacked > LARGEST_TABLE:
            raise Unreadable(f"it holds {unpacked:,} bytes, more than the {LARGEST_TABLE:,} that are read")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays}
    except GatebenchError:
        raise
    except Exception as error:  # whatever zipfile and numpy make of a file that is something else
        raise Unreadable(f"it is no .npz file: {type(error).__name__}") from None


def class_names(run: Run) -> dict[int, str]:
    """By label; nothing where they are not kept."""
    try:
        return dict(enumerate(map(plain, run.folder.read_json("data.json", classes=list[str])["classes"])))
    except GatebenchError:
        return {}


def _thumbnails(pixels: np.ndarray) -> np.ndarray:
    """As large as they are, or smaller."""
    if pixels.shape[3] == 1:
        pixels = pixels[..., 0]
    side = max(pixels.shape[1:3])
    if side <= LARGEST_SIDE:
        return pixels
    height, width = (max(1, round(each * LARGEST_SIDE / side)) for each in pixels.shape[1:3])
    return np.stack([np.asarray(Image.fromarray(each).resize((width, height), Image.Resampling.BOX)) for each in pixels])
