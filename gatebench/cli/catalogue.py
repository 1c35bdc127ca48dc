"""`gatebench list`."""

from typing import Annotated

import typer

from ..errors import GatebenchError
from .console import DataDir, handle_errors, one_of, stdout

KINDS = ("models", "recipes", "datasets")
MOST_NAMED = 4
"""Models with the same recipes, such as depths of one network; of more the first and the last are shown."""


@handle_errors
def list_(kind: Annotated[str, typer.Argument(metavar="|".join(KINDS), help="What to list.")], data_dir: DataDir = None) -> None:
    """List models, recipes or data sets."""
    from rich.table import Table

    kind = one_of(kind, "list", KINDS)
    from .. import recipe as recipes
    from ..models import registry

    table = Table(box=None, pad_edge=False)
    if kind == "datasets":
        from ..data.catalogue import CATALOGUE, data_root, is_on_disk

        root = data_root(data_dir)
        for heading in ("name", "classes", "image", "train", "test", f"below {root}"):
            table.add_column(heading)
        for name, named in CATALOGUE.items():
            here = "yes" if is_on_disk(name, root) else "no"
            table.add_row(name, str(named.classes), "x".join(map(str, named.shape)), f"{named.train:,}", f"{named.test:,}", here)
        here = "yes" if is_on_disk("intel-scenes", root) else "no"
        table.add_row("intel-scenes", "6", "128x128x3", "up to 14,034", "up to 3,000", here)
        here = "yes" if (root / "indian-pines").is_dir() else "no"
        table.add_row("indian-pines", "16", "9x9x200", "patches", "patches", here)
        table.add_row("shapes", "any", "any", "any", "any", "procedural, known difficulty")
    elif kind == "recipes":
        for heading in ("model", "recipe", "source"):
            table.add_column(heading)
        for family, name in recipes.available():
            table.add_row(family, name, recipes.source(family, name))
    else:
        for heading in ("models", "default recipe", "all recipes"):
            table.add_column(heading)
        families: dict[tuple[str, str, str], list[str]] = {}
        for name in registry.list_models():
            try:
                registered = registry.entry(name)
            except GatebenchError:  # a package whose network does not load hides no other
                families[name, "-", "does not load"] = [name]
                continue
            own = [recipe for _, recipe in recipes.available(registered.recipes)]
            family = registered.recipes, registered.default if own else "-", ", ".join(own) or "none"
            families.setdefault(family, []).append(name)
        for (_, default, own), names in families.items():
            table.add_row(f"{names[0]} ... {names[-1]}" if len(names) > MOST_NAMED else ", ".join(names), default, own)
    stdout.print(table)
