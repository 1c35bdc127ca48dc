"""Locks between processes, each on an open file: free again once its holder, and what that forked, have ended in any way."""

import errno
import os
import socket
import stat
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

WITHOUT = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a file system without locks answers, such as some that lie on a network."""
POLL = 0.05
"""Seconds between two looks at what another process holds."""


def opened(path: Path, how: int = os.O_RDWR | os.O_CREAT) -> int:
    """An open file to lock. Raises OSError also for a link, which may lead to anybody's file, and for what is no regular file."""
    descriptor = os.open(path, how | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file")
    return descriptor


def take(descriptor: int) -> bool | None:
    """Lock an open file until it is closed, without waiting. False where another has it, None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in WITHOUT:
            return None
        raise
    return True


def awaited(path: Path, open_file: Callable[[], int], busy: Callable[[str], None]) -> int:
    """The file at `path`, opened by `open_file` and locked, once no other process has it; where there are no locks, open.

    As long as one has it, `busy` hears what it `signed`, before every further look; what that raises ends the wait.
    """
    while True:
        descriptor, holder = open_file(), None
        try:
            taken = take(descriptor)
            if taken is None or (taken and os.path.samestat(os.fstat(descriptor), os.stat(path))):
                return descriptor
            holder = None if taken else signed(descriptor)
        except FileNotFoundError:  # its holder removed it before it was locked
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if holder is not None:
            busy(holder)
            time.sleep(POLL)


def sign(descriptor: int, more: str = "") -> None:
    """Write into a file that was taken who has it, for those who wait."""
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%H:%M:%S on %Y-%m-%d}{more}".encode())


def signed(descriptor: int) -> str:
    """What `sign` wrote; nothing where it has not yet."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, 1000).decode(errors="replace").strip()
