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
from .export import export
from .pareto import pareto
from .profile_latency import profile_latency
from .report import report
from .sweep_lambda import sweep_lambda
from .train import train

COMMANDS = {
    "train": (train, ["train cosinegate --config aggressive", "train cgt --config hard --seed 0,1,2 --epochs 30"]),
    "profile-latency": (
        profile_latency,
        ["profile-latency results/ --threads 1", "profile-latency --model-file mine.py:gated --vs mine.py:whole --dataset photos/"],
    ),
    "sweep-lambda": (sweep_lambda, ["sweep-lambda --values 0.7,0.8,0.9,1.0", "sweep-lambda lag-vgg11 --values 0,1e-4,1e-3"]),
    "pareto": (pareto, ["pareto results/", "pareto results/ --dataset cifar10 --max-ms 2"]),
    "report": (report, ["report results/", "report results/ --check"]),
    "export": (export, ["export results/RUN", "export results/RUN --format openvino --out net/"]),
    "list": (list_, ["list models", "list recipes"]),
}
"""Functions, and examples of their use."""
NOISY = "profile-latency"
"""The command that can end with 3."""


def _exit_codes(noisy: str) -> str:
    return f"Exit codes: 0 done, 1 failed, 2 wrong use, {noisy}130 interrupted (143 and 129: by SIGTERM and SIGHUP)."


app = typer.Typer(
    name="gatebench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, (_command, _examples) in COMMANDS.items():
    _codes = _exit_codes("3 times too noisy to tell, " * (_name == NOISY))
    app.command(_name, epilog="\n\n".join(["Examples:", *(f"gatebench {each}" for each in _examples), _codes]))(_command)


def _show_version(wanted: bool) -> None:
    if wanted:
        console.stdout.print(f"gatebench {version('gatebench')}", highlight=False)
        raise typer.Exit


@app.callback(epilog=_exit_codes(f"3 times too noisy to tell ({NOISY}), "))
@console.handle_errors
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    show_version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Benchmark adaptive neural networks: what their gates claim, what is executed, how much time that saves."""
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
