"""One timing at a time on a machine: two that run side by side would measure each other."""

import contextlib
import fcntl
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold off every other timing of this user on this machine, and wait for one that runs; `wait` is called once if it has to."""
    path = Path(tempfile.gettempdir()) / f"gatebench-timing-{Path.home().name}.lock"
    with open(path, "w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait()
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
