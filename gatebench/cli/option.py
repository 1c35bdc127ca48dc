"""`typer.Option` by the group in which --help shows it."""

from functools import partial

import typer

recipe = partial(typer.Option, rich_help_panel="What to train")
network = partial(typer.Option, rich_help_panel="Networks")
inputs = partial(typer.Option, rich_help_panel="Inputs")
measuring = partial(typer.Option, rich_help_panel="How long to measure")
place = partial(typer.Option, rich_help_panel="Where to compute")
chosen = partial(typer.Option, rich_help_panel="What to show")
limits = partial(typer.Option, rich_help_panel="Limits")
results = partial(typer.Option, rich_help_panel="Results")
