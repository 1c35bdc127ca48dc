"""One timing at a time on a machine: two that run side by side would measure each other."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where timings are not kept apart
    fcntl = None

LOCK = Path(tempfile.gettempdir()) / "gatebench-timing.lock"


@contextlib.contextmanager
def alone(wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold off every other timing on this machine, and wait for one that runs; `wait` is called once if it has to."""
    descriptor = _opened()
    if descriptor is None:
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _opened() -> int | None:
    """The lock file, which all users share; None where it cannot be opened: a timing need not fail for that."""
    if fcntl is None:
        return None
    try:
        descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError:
        return None
    with contextlib.suppress(OSError):  # somebody else's
        os.fchmod(descriptor, 0o666)
    return descriptor
