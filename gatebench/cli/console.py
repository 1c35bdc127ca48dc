"""What every command shares: where it prints, how errors are shown, how lists of names and numbers are read."""

import contextlib
import functools
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..errors import GatebenchError, UsageError, nearest

stdout, stderr = Console(), Console(stderr=True)
debug = False

DataDir = Annotated[
    Path | None,
    typer.Option(help="Where data sets lie or are downloaded to. Default: $GATEBENCH_DATA, else ~/.cache/gatebench.", show_default=False),
]


def say(sentence: str) -> None:
    """One line on stderr; not markup, for it may hold a path in brackets."""
    stderr.print(sentence, style="bold red", markup=False, highlight=False, soft_wrap=True)


def handle_errors(command):
    """Errors as one sentence and an exit code: 1 failed, 2 usage, 130 interrupted."""

    @functools.wraps(command)
    def wrapped(*arguments, **values):
        try:
            return command(*arguments, **values)
        except GatebenchError as error:
            if debug:
                raise
            say(f"gatebench: {error}")
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None
        except KeyboardInterrupt:
            say("gatebench: interrupted.")
            raise typer.Exit(130) from None
        except typer.Exit:
            raise
        except Exception as error:
            if debug:
                raise
            reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
            if type(error).__name__ in ("OutOfMemoryError", "MemoryError", "_ArrayMemoryError") or "can't allocate memory" in reason:
                mend = "a smaller --set training.batch_size or --batch-size, smaller images, or --device cpu"
                say(f"gatebench: there is not enough memory. Try {mend}.")
            else:
                say(f"gatebench: this failed unexpectedly: {reason}. `gatebench --debug ...` shows where.")
            raise typer.Exit(1) from None

    return wrapped


@contextlib.contextmanager
def finishing() -> Iterator[list]:
    """Work that Ctrl-C does not break off, but a second one does. Gives a list that is not empty once there was one."""
    interruptions: list[int] = []

    def note(number, frame):
        if interruptions:
            raise KeyboardInterrupt
        interruptions.append(number)
        say("gatebench: finishing what was measured; Ctrl-C again stops at once.")

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interruptions
    finally:
        signal.signal(signal.SIGINT, before)


def whole_numbers(text: str, option: str, least: int, most: int) -> list[int]:
    """One number or several, as 0,1,2, each once."""
    try:
        numbers = [int(part) for part in text.split(",")]
        if min(numbers) < least or max(numbers) > most:
            raise ValueError
    except ValueError:
        raise UsageError(f"{option} wants whole numbers from {least} to {most}, as {least} or {least},{least + 1}, not {text!r}.") from None
    return list(dict.fromkeys(numbers))


def one_of(name: str, option: str, allowed: tuple[str, ...]) -> str:
    """The name, if it is allowed."""
    if name not in allowed:
        raise UsageError(f"{option} wants {', '.join(allowed[:-1])} or {allowed[-1]}, not {name!r}.{nearest(name, allowed)}")
    return name


def choices(text: str, option: str, allowed: tuple[str, ...]) -> list[str]:
    """The names in a list such as html,csv, each once."""
    return list(dict.fromkeys(one_of(name, option, allowed) for name in text.split(",")))
