"""One timing at a time on a machine: two that run side by side would measure each other."""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .. import locks

LOCK = Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()) / "gatebench-timing.lock"
"""The same for all, whatever their TMPDIR is."""
POLL = 0.1
"""Seconds."""


@contextlib.contextmanager
def alone(wait: Callable[[str], None] = lambda sentence: None) -> Iterator[None]:
    """Hold off every other timing on this machine, and wait for one that runs; `wait` is called once with a sentence if it has to."""
    descriptor = _opened()
    if descriptor is None:
        yield
        return
    try:
        waited = False
        while locks.take(descriptor) is False:
            if not waited:
                wait(f"another timing runs on this machine ({locks.signed(descriptor) or 'another process'}); waiting for its end.")
            waited = True
            time.sleep(POLL)
        with contextlib.suppress(OSError):  # somebody else's
            locks.sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def _opened() -> int | None:
    """The lock file, which all users share; None where it cannot be opened: a timing need not fail for that.

    One that is there is opened without O_CREAT, which Linux refuses for another user's file in /tmp (fs.protected_regular).
    """
    for how in (os.O_RDWR, os.O_RDWR | os.O_CREAT, os.O_RDONLY):
        with contextlib.suppress(OSError):
            descriptor = locks.opened(LOCK, how)
            with contextlib.suppress(OSError, AttributeError):  # somebody else's, or Windows
                os.fchmod(descriptor, 0o666)
            return descriptor
    return None
