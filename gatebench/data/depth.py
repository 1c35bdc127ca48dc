"""Images of 16 bits, of floating-point numbers, or of nothing but zeros and ones, as 8 bits."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError

ALIKE = 8
"""Parts whose numbers span less than such a fraction of what all span are of another scale."""
FROM_0_TO_1 = "numbers from 0 to 1 are multiplied by 255 and rounded to 8 bits"
_CHUNK = 2**22
"""Numbers that are looked at or scaled at once."""


@dataclass(frozen=True)
class Extent:
    """Smallest and largest number of an array, and whether all are whole."""

    low: float
    high: float
    whole: bool

    def __or__(self, other: "Extent") -> "Extent":
        return Extent(min(self.low, other.low), max(self.high, other.high), self.whole and other.whole)


@dataclass(frozen=True)
class Scale:
    """What makes 8 bits of numbers: round(factor * number + shift)."""

    factor: float = 1.0
    shift: float = 0.0
    note: str = ""

    def apply(self, numbers: np.ndarray) -> np.ndarray:
        """uint8, of the same shape."""
        flat, scaled = numbers.reshape(-1), np.empty(numbers.size, np.uint8)
        for start in range(0, len(flat), _CHUNK):
            chunk = flat[start : start + _CHUNK].astype(np.float64)
            scaled[start : start + _CHUNK] = np.clip(np.rint(chunk * self.factor + self.shift), 0, 255)
        return scaled.reshape(numbers.shape)


def scaling_of_bytes(parts: Iterable[np.ndarray]) -> Scale:
    """One scale for the uint8 parts of a data set: they stay as they are unless all hold nothing but zeros and ones."""
    return Scale(255, 0, FROM_0_TO_1) if max(int(part.max()) for part in parts) == 1 else Scale()


def extent(numbers: np.ndarray, name: str) -> Extent:
    """The extent of an array, which a message calls `name`. Raises UsageError where a number is not finite."""
    flat, found = numbers.reshape(-1), None
    for start in range(0, len(flat), _CHUNK):
        chunk = flat[start : start + _CHUNK].astype(np.float64)
        low, high = float(chunk.min()), float(chunk.max())
        if not np.isfinite([low, high]).all():
            raise UsageError(f"{name} holds numbers that are not finite; replace or leave out those images.")
        of_chunk = Extent(low, high, bool((chunk == np.rint(chunk)).all()))
        found = found | of_chunk if found else of_chunk
    return found


def scaling(extents: Mapping[str, Extent], where: str) -> Scale:
    """One scale for the parts of a data set, by name; its note is empty where numbers stay as they are.

    Numbers from 0 to 1 become 0 to 255, whole ones of b bits keep their ratios, and others are spread from the smallest to the largest of
    all parts. Raises UsageError where one part is of another scale than the rest; `where` is the data set's place.
    """
    low, high = min(each.low for each in extents.values()), max(each.high for each in extents.values())
    for name, each in extents.items():
        if each.high - each.low < (high - low) / ALIKE:
            raise UsageError(
                f"{where}: the numbers of {name} go from {each.low:g} to {each.high:g}, those of all images from {low:g} to {high:g}."
                " Scale them alike."
            )
    if low >= 0 and 0.5 <= high <= 1:
        return Scale(255, 0, FROM_0_TO_1)
    if low >= 0 and high < 2**16 and all(each.whole for each in extents.values()):
        bits = max(8, int(high).bit_length())
        note = f"whole numbers up to {high:g} ({bits} bits) are scaled to 8 bits" if bits > 8 else ""
        return Scale(255 / (2**bits - 1), 0, note)
    factor = 255 / (high - low) if high > low else 0.0
    return Scale(factor, -low * factor, f"numbers from {low:g} to {high:g} are scaled to 8 bits")
