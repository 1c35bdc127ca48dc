"""`gatebench list`."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import GatebenchError, UsageError
from .console import DataDir, handle_errors, one_of, stdout

KINDS = ("models", "recipes", "datasets", "columns")
MOST_NAMED = 4
"""Models with the same recipes, such as depths of one network; of more the first and the last are shown."""

Listed = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Headings and lines."""


@handle_errors
def list_(kind: Annotated[str, typer.Argument(metavar="|".join(KINDS), help="What to list.")], data_dir: DataDir = None) -> None:
    """List models, recipes, data sets, or the columns of results."""
    kind = one_of(kind, "list", KINDS)
    if data_dir is not None and kind != "datasets":
        raise UsageError(f"--data-dir is where data sets lie, and `gatebench list {kind}` looks at none. Leave it away.")
    if kind == "columns":
        from ..report import columns, terminal

        for sheet in columns.sheets():
            terminal.show(stdout, sheet)
        return
    from rich.table import Table

    headings, lines = {"models": _models, "recipes": _recipes, "datasets": lambda: _datasets(data_dir)}[kind]()
    table = Table(*headings, box=None, pad_edge=False)
    for line in lines:
        table.add_row(*line)
    stdout.print(table)


def _datasets(data_dir: Path | None) -> Listed:
    from ..data.catalogue import CATALOGUE, data_root, is_on_disk
    from ..data.indian_pines import FOLDER, RANDOM

    root = data_root(data_dir)

    def here(there: bool) -> str:
        return "yes" if there else "no"

    lines = [
        (name, str(named.classes), "x".join(map(str, named.shape)), f"{named.train:,}", f"{named.test:,}", here(is_on_disk(name, root)))
        for name, named in CATALOGUE.items()
    ]
    lines += [
        ("intel-scenes", "6", "128x128x3", "up to 14,034", "up to 3,000", here(is_on_disk("intel-scenes", root))),
        (FOLDER, "16", "9x9x200", "by squares", "by squares", here((root / FOLDER).is_dir())),
        (RANDOM, "16", "9x9x200", "by pixels", "by pixels", here((root / FOLDER).is_dir())),
        ("shapes", "any", "any", "any", "any", "procedural, known difficulty"),
    ]
    return ("name", "classes", "image", "train", "test", f"below {root}"), lines


def _recipes() -> Listed:
    from .. import library

    return ("model", "recipe", "source"), [(family, name, library.source(family, name)) for family, name in library.available()]


def _models() -> Listed:
    """A line for all models with the same recipes."""
    from .. import library
    from ..models import registry

    families: dict[tuple[str, str, str], list[str]] = {}
    for name in registry.list_models():
        try:
            registered = registry.entry(name)
        except GatebenchError:  # a package whose network does not load hides no other
            families[name, "-", "does not load"] = [name]
            continue
        own = [recipe for _, recipe in library.available(registered.recipes)]
        family = registered.recipes, registered.default if own else "-", ", ".join(own) or "none"
        families.setdefault(family, []).append(name)
    lines = [
        (f"{names[0]} ... {names[-1]}" if len(names) > MOST_NAMED else ", ".join(names), default, own)
        for (_, default, own), names in families.items()
    ]
    return ("models", "default recipe", "all recipes"), lines
