"""One timing at a time on a machine: two that run side by side would measure each other."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from .. import locks

LOCK = Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()) / "gatebench-timing.lock"
"""The same for all, whatever their TMPDIR is."""


@contextlib.contextmanager
def alone(wait: Callable[[str], None] = lambda sentence: None) -> Iterator[None]:
    """Hold off every other timing on this machine, and wait for one that runs; `wait` is called once with a sentence if it has to."""
    waiting = False

    def busy(holder: str) -> None:
        nonlocal waiting
        if not waiting:
            wait(f"another timing runs on this machine ({holder or 'another process'}); waiting for its end.")
        waiting = True

    try:
        descriptor = locks.awaited(LOCK, _opened, busy)
    except OSError:  # a timing need not fail for that
        yield
        return
    try:
        with contextlib.suppress(OSError):  # somebody else's
            locks.sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def _opened() -> int:
    """The lock file, which all users share. Raises OSError where it cannot be opened.

    One that is there is opened without O_CREAT, which Linux refuses for another user's file in /tmp (fs.protected_regular).
    """
    for how in (os.O_RDWR, os.O_RDWR | os.O_CREAT):
        with contextlib.suppress(OSError):
            descriptor = locks.opened(LOCK, how)
            with contextlib.suppress(OSError, AttributeError):  # somebody else's, or Windows
                os.fchmod(descriptor, 0o666)
            return descriptor
    return locks.opened(LOCK, os.O_RDONLY)
