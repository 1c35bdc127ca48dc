"""The command line, one module a command: parse, call, print.

Torch and all that is heavy is imported inside a command, so that --help is instant.
"""

import os
from importlib.metadata import version
from typing import Annotated

import typer

from ..errors import UsageError
from . import console
from .catalogue import list_
from .pareto import pareto
from .profile_latency import profile_latency
from .report import report
from .sweep_lambda import sweep_lambda
from .train import train

COMMANDS = {
    "train": train,
    "profile-latency": profile_latency,
    "sweep-lambda": sweep_lambda,
    "pareto": pareto,
    "report": report,
    "list": list_,
}
app = typer.Typer(
    name="gatebench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)


def _show_version(wanted: bool) -> None:
    if wanted:
        console.stdout.print(f"gatebench {version('gatebench')}", highlight=False)
        raise typer.Exit


@app.callback()
@console.handle_errors
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    show_version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Benchmark adaptive neural networks: what their gates claim, what is executed, how much time that saves.

    Exit codes: 0 done, 1 failed, 2 wrong use, 3 times too noisy to tell, 130 interrupted (143 and 129: by SIGTERM and SIGHUP).
    """
    console.debug = debug
    os.environ["MPLBACKEND"] = "agg"  # pictures are files; another name may be one that matplotlib does not know
    try:
        os.getcwd()
    except OSError:
        raise UsageError("The working directory is gone. Change into one that is there.") from None


def main() -> None:
    """The console script."""
    with console.streams():
        app()
