"""Files of a run folder beside its rows, each read in one way. What a reader refuses it refuses with GatebenchError, in half a sentence.

Shapes: N inputs or examples, S switches, H x W pixels, C channels.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import first_line
from ..foreign import LARGEST_TABLE, Unreadable, number, read_arrays, read_table, read_text, size_of
from ..plain_data import from_json, from_yaml, mapping

MOST_CELLS = 20_000_000
"""Of a table of inputs: a few bytes stand for any number of equal ones."""


def read_recipe(path: Path) -> dict:
    """recipe.yaml."""
    return mapping(from_yaml(read_text(path)))


def read_object(path: Path) -> dict:
    """A file of a JSON object, such as data.json."""
    return mapping(from_json(read_text(path)))


def read_epochs(path: Path) -> list[dict]:
    """epochs.csv, of each epoch what are numbers."""
    lines = [numbers(line) for line in read_table(path)]
    return [{**line, "epoch": int(line["epoch"])} for line in lines if line.get("epoch", 0.5) == int(line.get("epoch", 0.5))]


def read_breakdown(path: Path) -> list[dict]:
    """breakdown.csv, as `groups` gives it."""
    return groups(read_table(path))


def groups(lines: Iterable[dict[str, str]]) -> list[dict]:
    """Lines of breakdown.csv: `by` (class, severity, difficulty, unit) and `group` as texts, beside them what are numbers."""
    return [{**numbers(line), "by": line.get("by", ""), "group": line.get("group", "")} for line in lines]


def numbers(line: dict[str, str]) -> dict[str, float]:
    """The cells of a line that are numbers."""
    return {name: float(value) for name, text in line.items() if (value := number(text)) is not None}


def read_decisions(path: Path, most: int = LARGEST_TABLE) -> np.ndarray:
    """decisions.npz: whether a switch was on, uint8 [N, S]; of at most so many bytes."""
    arrays = read_arrays(path, "decisions", "switches", most=most)
    packed, switches = arrays["decisions"], arrays["switches"]
    if switches.shape or switches.dtype.kind not in "iu" or switches < 0:
        raise Unreadable("its 'switches' is no number of switches")
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != -(-int(switches) // 8):
        raise Unreadable(f"its 'decisions', {packed.dtype} {list(packed.shape)}, are no bits of {switches} switches")
    return np.unpackbits(packed, axis=1, count=int(switches))


def read_inputs(path: Path, most: int = MOST_CELLS) -> dict[str, np.ndarray]:
    """The columns of inputs.parquet that hold numbers, [N] each, by name; of at most so many cells."""
    import pyarrow.parquet
    from pyarrow.types import is_floating, is_integer

    size_of(path, LARGEST_TABLE)
    try:
        file = pyarrow.parquet.ParquetFile(path)
        cells = file.metadata.num_rows * file.metadata.num_columns
        if cells > most:
            raise Unreadable(f"it has {cells:,} cells, more than the {most:,} that are read")
        numbers = [each.name for each in file.schema_arrow if is_integer(each.type) or is_floating(each.type)]
        return {name: column.to_numpy() for name, column in zip(numbers, file.read(columns=numbers).columns, strict=True)}
    except Unreadable:
        raise
    except Exception as error:  # whatever pyarrow makes of a file that is something else
        raise Unreadable(f"it cannot be read as Parquet: {first_line(error)}") from None


def read_examples(path: Path, most: int = LARGEST_TABLE) -> dict[str, np.ndarray]:
    """examples.npz: `index` of each scored input [N], its label, `labels` [N], and `pixels` [N, H, W, C]; of at most so many bytes."""
    arrays = read_arrays(path, "index", "labels", "pixels", most=most)
    index, labels, pixels = arrays.values()
    if not (index.ndim == labels.ndim == 1 and index.dtype.kind in "iu" and labels.dtype.kind in "iu"):
        raise Unreadable("its 'index' and 'labels' are no lists of whole numbers")
    if pixels.ndim != 4 or not len(index) == len(labels) == len(pixels):
        raise Unreadable(f"its 'pixels', {list(pixels.shape)}, are no images of {len(index):,} inputs with {len(labels):,} labels")
    return arrays
