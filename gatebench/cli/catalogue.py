"""`gatebench list`."""

from typing import Annotated

import typer

from ..errors import GatebenchError
from .console import DataDir, handle_errors, one_of, stdout

KINDS = ("models", "recipes", "datasets")


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
        for heading in ("model", "default recipe", "all recipes"):
            table.add_column(heading)
        for name in registry.list_models():
            try:
                registered = registry.entry(name)
            except GatebenchError:  # a package whose network does not load hides no other
                table.add_row(name, "-", "does not load")
                continue
            own = [recipe for _, recipe in recipes.available(registered.recipes)]
            table.add_row(name, registered.default if own else "-", ", ".join(own) or "none")
    stdout.print(table)
