"""Networks written elsewhere: a file with a factory, and what its code does besides."""

import contextlib
import ctypes
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from ..errors import GatebenchError, UsageError, first_line, nearest, with_article
from ..foreign import beside

Make = Callable[[], nn.Module]
"""Makes the network anew, with weights of its own."""
FAILURES = (Exception, SystemExit)
"""What somebody else's code may raise."""
ARGUMENTS = re.compile(r"missing \d+ required (positional|keyword-only) argument|takes .* positional arguments? but")
"""In errors of a function that was called with other arguments than it has."""
RULE = "A factory takes the number of classes alone, and binds the rest: def build(classes): return Net(classes, width=64)."


def maker(file: Path, factory: str, classes: int) -> Make:
    """What calls `factory(classes)` in `file`. The file may import its neighbours, as when Python runs it.

    Raises UsageError where file or factory do not exist; it, and what it returns, raise GatebenchError where the file's code raises or
    makes something else than a module.
    """
    file = existing(file).resolve()
    name = f"{file.stem}@{file.parent}"  # two files of one name are two modules
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where pickle and dataclasses look for what the file defines
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    with _as_sentence(f"{file} raised", "when it was imported"), _settings_kept(str(file)):
        spec.loader.exec_module(module)
    if not callable(getattr(module, factory, None)):
        functions = [name for name, value in vars(module).items() if callable(value)]
        raise UsageError(f"{file} has no function {factory!r}.{nearest(factory, functions)} Name one as {file}:FACTORY.")
    call = f"{file}:{factory}({classes})"

    def make() -> nn.Module:
        with _as_sentence(f"{call} raised"), _settings_kept(str(file)):
            model = getattr(module, factory)(classes)
        if not isinstance(model, nn.Module):
            given = "nothing: is a return missing?" if model is None else f"{with_article(type(model).__name__)}."
            raise GatebenchError(f"{call} gave {given} Let it return the network, a torch.nn.Module.")
        return model

    return make


def existing(file: Path) -> Path:
    """The file. Raises UsageError where there is none."""
    if not file.is_file():
        raise UsageError(f"There is no file {file}.{beside(file)}")
    return file


def reason(error: BaseException) -> str:
    """What an error of somebody else's says in one line, with its name; of one that says nothing the line of code that raised it."""
    name = type(error).__name__
    if str(error).strip():
        return f"{name}: {first_line(error)}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{name} in {Path(frames[-1].filename).name}, line {frames[-1].lineno}: {frames[-1].line}" if frames else name


def cause(error: BaseException) -> str:
    """Its `reason`, with file and line of somebody else's code where that does not say them."""
    said = reason(error)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_theirs(frame.filename)]
    at = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames and not isinstance(error, SyntaxError) else ""
    return said if not at or at in said else f"{said}; {at}"


def _is_theirs(file: str) -> bool:
    """Whether it is a file of code that is neither Python's nor torch's nor gatebench's."""
    path = Path(file)
    packaged = {"site-packages", "dist-packages"}.intersection(path.parts)
    nobodys = [Path(torch.__file__).parent, Path(__file__).parents[1], *([] if packaged else [Path(os.__file__).parent])]
    return not file.startswith("<") and not any(map(path.is_relative_to, nobodys))


@contextlib.contextmanager
def output_to_stderr() -> Iterator[None]:
    """What somebody else's code prints inside goes to stderr, also what its libraries and child processes print."""
    kept = None
    with contextlib.suppress(OSError, ValueError, AttributeError):  # a stream that was closed
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        kept = os.dup(1)
        os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            with contextlib.suppress(OSError, AttributeError):
                ctypes.CDLL(None).fflush(None)  # what C code printed and has not written yet
            os.dup2(kept, 1)
            os.close(kept)


@contextlib.contextmanager
def _settings_kept(file: str) -> Iterator[None]:
    """Let a file's code see a command line without options, and put back what it sets for the whole process."""
    arguments, dtype, device, folder = sys.argv, torch.get_default_dtype(), torch.get_default_device(), None
    with contextlib.suppress(OSError):  # a folder that was deleted
        folder = os.getcwd()
    sys.argv = [file]
    try:
        yield
    finally:
        sys.argv = arguments
        if folder:
            os.chdir(folder)
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(device)


@contextlib.contextmanager
def _as_sentence(before: str, after: str = "") -> Iterator[None]:
    """Turn whatever the file's code raises, `sys.exit` included, into a sentence around the error's name."""
    try:
        yield
    except FAILURES as error:
        name, _, particulars = cause(error).partition(" in " if not str(error).strip() else ": ")
        event = " ".join(filter(None, (before, name, after)))
        raise GatebenchError(f"{event}: {particulars}.{_mend(error)}") from error


def _mend(error: BaseException) -> str:
    """What to do about an error of a factory or its file, with a blank before it; "" where the error says it."""
    if isinstance(error, SyntaxError):
        return ""
    arguments = isinstance(error, TypeError) and ARGUMENTS.search(str(error))
    return f" {RULE}" if arguments else " `gatebench --debug ...` shows where."
