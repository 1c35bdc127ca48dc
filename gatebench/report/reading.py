"""What of a run folder reports can do without: nothing where it is missing or damaged."""

import math
from pathlib import Path

from ..errors import GatebenchError
from ..foreign import from_yaml, read_table, read_text


def read_recipe(path: Path) -> dict:
    """recipe.yaml; nothing where it is missing, damaged, or built to exhaust its reader."""
    try:
        content = from_yaml(read_text(path))
    except GatebenchError:
        return {}
    return content if isinstance(content, dict) else {}


def read_epochs(path: Path) -> list[dict]:
    """epochs.csv, its finite numbers; nothing where it is missing or damaged."""
    try:
        lines = list(read_table(path))
    except GatebenchError:
        return []
    numbers = [{key: value for key, text in line.items() if (value := _number(text)) is not None} for line in lines]
    return [{**line, "epoch": int(line["epoch"])} for line in numbers if line.get("epoch", 0.5) == int(line.get("epoch", 0.5))]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
