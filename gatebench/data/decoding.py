"""Image files as arrays: turned upright, set on white where they are transparent, of one channel where all are grey.

Shapes: N images, H x W pixels, C channels.
"""

import contextlib
import re
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial, reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from .depth import Extent, extent, scaling, scaling_of_bytes
from .folders import MENDS, Part, formats

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

TURNS = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
"""EXIF orientations and Pillow's names of what undoes them."""
GREY = ("1", "L", "LA", "La")
TURNED, CLEAR, FRAMES, WIDE = NOTES = (
    "turned upright, as EXIF orientation says",
    "set on white, where they are transparent",
    "of several frames, of which the first is read",
    "of several channels with 16 bits each, read as 8",
)


@dataclass(frozen=True)
class Decoded:
    """One image."""

    pixels: np.ndarray
    """uint8 [H, W, 1 or 3]; of more than 8 bits float32 [H, W, 1]."""
    extent: Extent | None
    """Of the numbers as stored, where they have more than 8 bits."""
    notes: frozenset[str]


def decode(parts: Mapping[str, Part], image_size: int | None, where: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The images of parts, uint8 [N, H, W, 1] where all are grey and [N, H, W, 3] elsewhere, and sentences on what was done to them.

    They are scaled and centre-cropped to `image_size` where one is given. Raises UsageError for an unreadable image, one whose content is
    in its transparency alone, depths that are mixed, and sizes that differ within a part.
    """
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")  # Pillow's, of EXIF that is damaged
        images = {role: list(pool.map(partial(_read, image_size=image_size), part.files)) for role, part in parts.items()}
    every = [image for part in images.values() for image in part]
    notes = [f"{_count(note, every)} {note}." for note in NOTES if any(note in image.notes for image in every)]
    deep = [image.extent is not None for image in every]
    if any(deep) and not all(deep):
        files = [file for part in parts.values() for file in part.files]
        raise UsageError(f"{files[deep.index(True)]} has more than 8 bits a channel and others have 8; convert the images to one depth.")
    for role, part in images.items():
        sizes = {image.pixels.shape[:2] for image in part}
        if len(sizes) > 1:
            raise UsageError(f"{parts[role].folder} holds images of {len(sizes)} sizes; give one with --set data.image_size=...")
    channels = max(image.pixels.shape[2] for image in every)
    if channels == 1:
        notes.append("all images are grey and have one channel.")
    pixels = {role: np.stack([_channels(image.pixels, channels) for image in part]) for role, part in images.items()}
    if any(deep):
        scale = scaling({f"{role} images": reduce(or_, (each.extent for each in part)) for role, part in images.items()}, str(where))
    else:
        scale = scaling_of_bytes(pixels.values())
    if any(deep) or scale.note:
        pixels = {role: scale.apply(part) for role, part in pixels.items()}
    notes += [f"{scale.note}."] if scale.note else []
    return pixels, notes


def _count(note: str, images: list[Decoded]) -> str:
    count = sum(note in image.notes for image in images)
    return "1 image is" if count == 1 else f"{count} images are"


def _channels(pixels: np.ndarray, count: int) -> np.ndarray:
    return pixels if pixels.shape[2] == count else pixels.repeat(count, 2)


def _read(name: str, image_size: int | None) -> Decoded:
    from PIL import Image

    try:
        with Image.open(name, formats=formats()[0]) as image:
            notes = _peculiarities(image)
            image.load()
            turn = TURNS.get(_orientation(image))
            upright = image.transpose(Image.Transpose[turn]) if turn else image
            if image.mode.startswith(("I", "F")):
                numbers = np.asarray(upright).astype(np.float32)
                pixels = _sized(Image.fromarray(numbers), image_size) if image_size else numbers
                return Decoded(pixels.reshape(*pixels.shape[:2], 1), extent(numbers, name), notes)
            flat, clear = _opaque(upright, name)
            pixels = _sized(flat, image_size)
            if image.mode == "P" and pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
                pixels = pixels[..., 0]
            return Decoded(pixels.reshape(*pixels.shape[:2], -1), None, notes | {CLEAR} if clear else notes)
    except UsageError:
        raise
    except Exception:  # whatever Pillow makes of half a file
        mend = f"it is HEIC; {MENDS['.heic']} or convert it" if _is_heic(name) else "mend or remove it"
        raise UsageError(f"{name} is not a readable image; {mend}.") from None


def _sized(image: "Picture", image_size: int | None) -> np.ndarray:
    if not image_size:
        return np.asarray(image)
    from torchvision.transforms.functional import center_crop, resize

    return np.asarray(center_crop(resize(image, image_size, antialias=True), image_size))


def _opaque(image: "Picture", name: str) -> tuple["Picture", bool]:
    """The image as L or RGB, and whether any of it was transparent. Raises UsageError where white hides what it shows."""
    from PIL import Image

    mode = "L" if image.mode in GREY else "RGB"
    if not image.has_transparency_data:
        return image.convert(mode), False
    coloured = image.convert("RGBA")
    least, most = coloured.getchannel("A").getextrema()
    if least == 255:
        return coloured.convert(mode), False
    composed = Image.alpha_composite(Image.new("RGBA", image.size, "white"), coloured).convert("RGB")
    if least < most and all(low == high for low, high in composed.getextrema()):
        raise UsageError(f"{name} is all {_colour(composed)} on white: what it shows is in its transparency. Set it on another colour.")
    return composed.convert(mode), True


def _colour(image: "Picture") -> str:
    return "#" + "".join(f"{low:02x}" for low, _ in image.getextrema())


def _peculiarities(image: "Picture") -> frozenset[str]:
    """The notes on an image that was opened and not yet loaded."""
    wide = image.mode in ("RGB", "RGBA", "LA") and re.search(r";16[BLN]|'RGB', \d{4,}", str(image.tile))  # gone once it is loaded
    found = {WIDE} if wide else set()
    if _orientation(image) in TURNS:
        found.add(TURNED)
    with contextlib.suppress(Exception):  # a second frame that is damaged
        if image.format != "MPO" and getattr(image, "is_animated", False):
            found.add(FRAMES)
    return frozenset(found)


def _orientation(image: "Picture") -> int:
    """1 where none is said, or nothing that can be read."""
    with contextlib.suppress(Exception):
        return image.getexif().get(0x0112, 1)
    return 1


def _is_heic(name: str) -> bool:
    with contextlib.suppress(OSError), open(name, "rb") as stream:
        return stream.read(12)[4:] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypheif")
    return False
