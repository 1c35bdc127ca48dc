"""What every command shares: where it prints, how errors are shown, how lists of names and numbers are read."""

import codecs
import contextlib
import errno
import functools
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.status import Status
from rich.text import Text

from ..errors import GatebenchError, UsageError, lacks_memory, nearest, printable
from . import option, signals


class Lenient:
    """A stream that may fail: what cannot be written to it is lost."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def write(self, text: str) -> int:
        with self._discarding():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._discarding():
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    @contextlib.contextmanager
    def _discarding(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            _discard(self.stream)


class Terminal(Console):
    """A console on which nothing that is shown is a command: no markup, and no control characters but its own.

    What is said on stderr while a command works never makes it fail.
    """

    @property
    def file(self) -> TextIO:
        file = Console.file.fget(self)
        return Lenient(file) if self.stderr else file

    @file.setter
    def file(self, file: TextIO) -> None:
        Console.file.fset(self, file)

    def status(self, status: RenderableType, **options) -> Status:
        return super().status(Text(status) if isinstance(status, str) else status, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text, also="\n"))


stdout, stderr = Terminal(markup=False), Terminal(markup=False, stderr=True)
debug = False
OF_STREAMS = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)
"""What the system says where the output cannot be written."""
ASCII = {"\N{PLUS-MINUS SIGN}": "+-", "\N{MICRO SIGN}": "u"}
"""What stands for a character where the output cannot hold it; "?" for all others."""

DataDir = Annotated[
    Path | None,
    option.inputs(help="Where data sets lie or are downloaded to. Default: $GATEBENCH_DATA, else ~/.cache/gatebench.", show_default=False),
]

Policy = Annotated[
    str | None,
    option.network(help="How it decides, as its rows name it, where they have several. Default: as the headline's.", show_default=False),
]
Tradeoff = Annotated[
    float | None, option.network(help="Of the run's operating points, that of this trade-off. Default: the headline's.", show_default=False)
]


def say(sentence: str) -> None:
    """One line on stderr."""
    stderr.print(" ".join(sentence.splitlines()), style="bold red", highlight=False, soft_wrap=True)


def line(sentence: str) -> None:
    """One line on stdout, as it is."""
    stdout.print(sentence, markup=False, highlight=False, soft_wrap=True)


def next_step(*words: str) -> None:
    """A useful next command, from its words behind `gatebench`."""
    line(f"next: gatebench {shlex.join(words)}")


def tell(sentence: str) -> None:
    """What a command has to say while it works, on stderr."""
    say(f"gatebench: {sentence}")


@contextlib.contextmanager
def streams() -> Iterator[None]:
    """What a process needs of its streams: characters that they cannot hold are replaced, and a reader that is gone ends it.

    Exits with 1 where the output cannot be written: silently where nobody reads it any more, else with a sentence.
    """
    codecs.register_error("gatebench", lambda error: (ASCII.get(error.object[error.start], "?"), error.start + 1))
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(errors="gatebench")
    try:
        try:
            yield
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except OSError as error:  # outside of a command, such as in --help
        _say_unwritten(error)
        sys.exit(1)


def _say_unwritten(error: OSError) -> None:
    """Say that the output cannot be written, unless nobody reads it; from then on it goes nowhere."""
    _discard(sys.stdout)
    if not isinstance(error, BrokenPipeError):
        say(f"gatebench: the output cannot be written: {error.strerror or error}.")


def _discard(stream: TextIO | None) -> None:
    """Send a stream that cannot be written nowhere: Python would fail once more when it ends, and exit with 120."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        number, nowhere = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def handle_errors(command):
    """Errors as one sentence and an exit code: 1 failed, 2 usage, 130 interrupted (143 and 129: by SIGTERM and SIGHUP)."""

    @functools.wraps(command)
    @signals.ending()
    def wrapped(*arguments, **values):
        try:
            return command(*arguments, **values)
        except GatebenchError as error:
            if debug:
                raise
            say(f"gatebench: {error}")
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None
        except OSError as error:
            if debug:
                raise
            if error.filename is None and error.errno in OF_STREAMS:
                _say_unwritten(error)
            else:
                where = f"{error.filename}: " if error.filename else ""
                say(f"gatebench: {where}{error.strerror or error}. Name another file or folder, or make this one readable and writable.")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            say("gatebench: interrupted.")
            raise typer.Exit(signals.exit_code()) from None
        except typer.Exit:
            raise
        except Exception as error:
            if debug:
                raise
            reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
            if lacks_memory(error):
                say("gatebench: there is not enough memory. End other programs, or give less to compute at once.")
            else:
                say(f"gatebench: this failed unexpectedly: {reason}. `gatebench --debug ...` shows where.")
            raise typer.Exit(1) from None

    return wrapped


def finishing() -> AbstractContextManager[list]:
    """Work that Ctrl-C does not break off, but a second one does. Gives a list that is not empty once there was one."""
    return signals.held(lambda: say("gatebench: finishing what was measured; Ctrl-C again breaks that off."))


def whole_numbers(text: str, option: str, least: int, most: int) -> list[int]:
    """One number or several, as 0,1,2, each once."""
    try:
        numbers = [int(part) for part in text.split(",")]
        if min(numbers) < least or max(numbers) > most:
            raise ValueError
    except ValueError:
        raise UsageError(f"{option} wants whole numbers from {least} to {most}, as {least} or {least},{least + 1}, not {text!r}.") from None
    return list(dict.fromkeys(numbers))


def most_threads() -> int:
    """Threads that a command may use: twice the cores of this machine. Hundreds more than there are cores would never end."""
    return 2 * (os.cpu_count() or 1)


def one_of(name: str, option: str, allowed: tuple[str, ...]) -> str:
    """The name, if it is allowed."""
    if name not in allowed:
        raise UsageError(f"{option} wants {', '.join(allowed[:-1])} or {allowed[-1]}, not {name!r}.{nearest(name, allowed)}")
    return name


def choices(text: str, option: str, allowed: tuple[str, ...]) -> list[str]:
    """The names in a list such as html,csv, each once."""
    return list(dict.fromkeys(one_of(name, option, allowed) for name in text.split(",")))
