"""Images that the gates find easiest and hardest, from examples.npz of a run folder, and what was decided for them.

Shapes: N examples, H x W pixels, C channels.
"""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ...foreign import plain
from ...plain_data import fits
from .. import reading
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
    """The easiest and hardest; None where the run kept none, or what it kept cannot be read or is no picture."""
    arrays = run.read("examples.npz", reading.read_examples, None)
    if arrays is None:
        return None
    index, labels, pixels = arrays["index"], arrays["labels"], arrays["pixels"]
    half = min(SHOWN, len(index) // 2)
    if not half or len(index) > MOST_EXAMPLES or pixels.dtype != np.uint8 or pixels.shape[3] not in (1, 3) or not min(pixels.shape):
        return None
    chosen = [*range(half), *range(len(index) - half, len(index))]
    names = class_names(run)
    return Examples(index[chosen], [names.get(int(label), str(label)) for label in labels[chosen]], _thumbnails(pixels[chosen]))


def class_names(run: Run) -> dict[int, str]:
    """By label; nothing where they are not kept."""
    classes = run.read("data.json", reading.read_object, {}).get("classes")
    return dict(enumerate(map(plain, classes))) if fits(classes, list[str]) else {}


def _thumbnails(pixels: np.ndarray) -> np.ndarray:
    """As large as they are, or smaller."""
    if pixels.shape[3] == 1:
        pixels = pixels[..., 0]
    side = max(pixels.shape[1:3])
    if side <= LARGEST_SIDE:
        return pixels
    height, width = (max(1, round(each * LARGEST_SIDE / side)) for each in pixels.shape[1:3])
    return np.stack([np.asarray(Image.fromarray(each).resize((width, height), Image.Resampling.BOX)) for each in pixels])
