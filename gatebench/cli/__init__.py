"""The command line: one module a command."""

from .app import app
from .catalogue import list_
from .pareto import pareto
from .profile_latency import profile_latency
from .report import report
from .train import train

COMMANDS = {"train": train, "profile-latency": profile_latency, "pareto": pareto, "report": report, "list": list_}
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)


def main() -> None:
    """The console script."""
    app()
