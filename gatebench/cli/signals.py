"""What ends a command: Ctrl-C, and like it SIGTERM (a scheduler, `kill`) and SIGHUP (the terminal is gone).

The first raises KeyboardInterrupt, so that what was written is kept and what was measured is written. A later one ends the process at once.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
SAME = 1.0
"""Seconds within which signals are one: `timeout`, as shells do, signals a process and then its group."""
SHOW_CURSOR = b"\x1b[?25h"


@dataclass
class _Heard:
    """What this process was told since a command began."""

    children: set[int] = field(default_factory=set)
    """Those it had then."""
    number: int | None = None
    when: float = 0.0
    raised: bool = False
    held: tuple[list[int], Callable[[], None]] | None = None
    """Of work that the first signal does not break off: the signals since it began, and what is called at the first."""


_heard = _Heard()


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Let signals end what is done inside, and then the processes that it began (on Linux)."""
    global _heard
    _heard = _Heard(set(_descendants()))
    with _handled():
        try:
            yield
        finally:
            if _heard.number is not None:
                _end_children()


@contextlib.contextmanager
def held(told: Callable[[], None]) -> Iterator[list[int]]:
    """Work that a signal does not break off, but a second one does; `told` is called at the first. Gives the list of signals.

    None of it is inside of another.
    """
    signals: list[int] = []
    _heard.held = signals, told
    try:
        with _handled():
            yield signals
    finally:
        _heard.held = None


def exit_code() -> int:
    """As a shell has it: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    return 128 + (_heard.number or signal.SIGINT)


@contextlib.contextmanager
def _handled() -> Iterator[None]:
    """Signals are heard, but for those that are ignored, as under nohup."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        heard = [number for number in ENDING if signal.getsignal(number) not in (signal.SIG_IGN, None, _hear)]
        before = {number: signal.signal(number, _hear) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hear(number: int, frame: object) -> None:
    now = time.monotonic()
    if _heard.number is not None and number != signal.SIGINT and now - _heard.when < SAME:
        return
    _heard.number, _heard.when = number, now
    signals, told = _heard.held or ([], None)
    signals.append(number)
    if told and len(signals) == 1:
        told()
        return
    if _heard.raised and len(signals) != 2:
        _end_children()
        if os.isatty(2):
            os.write(2, SHOW_CURSOR)
        os._exit(exit_code())
    _heard.raised = True
    raise KeyboardInterrupt


def _end_children() -> None:
    for process in set(_descendants()) - _heard.children:
        with contextlib.suppress(OSError):
            os.kill(process, signal.SIGTERM)


def _descendants(process: int | str = "self") -> Iterator[int]:
    """The processes that a process began, and those that they began; none where there is no /proc."""
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in file.read_text().split():
                yield int(child)
                yield from _descendants(int(child))
