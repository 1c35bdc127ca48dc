"""Networks written elsewhere: a file with a factory."""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from ..errors import GatebenchError, UsageError, first_line, nearest


def build(file: Path, factory: str, classes: int) -> nn.Module:
    """The module that `factory(classes)` in `file` makes. The file may import its neighbours, as when Python runs it.

    Raises UsageError where file or factory do not exist, GatebenchError where the factory raises or makes something else.
    """
    if not file.is_file():
        raise UsageError(f"There is no file {file}.")
    file = file.resolve()
    name = f"{file.stem}@{file.parent}"  # two files of one name are two modules
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where pickle and dataclasses look for what the file defines
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    with _as_sentence(f"{file} raised", "when it was imported"):
        spec.loader.exec_module(module)
    if not callable(getattr(module, factory, None)):
        functions = [name for name, value in vars(module).items() if callable(value)]
        raise UsageError(f"{file} has no function {factory!r}.{nearest(factory, functions)} Name one as {file}:FACTORY.")
    call = f"{file}:{factory}({classes})"
    with _as_sentence(f"{call} raised"):
        model = getattr(module, factory)(classes)
    if not isinstance(model, nn.Module):
        raise GatebenchError(f"{call} gave a {type(model).__name__}, not a torch.nn.Module.")
    return model


@contextlib.contextmanager
def _as_sentence(before: str, after: str = "") -> Iterator[None]:
    """Turn whatever the file's code raises, `sys.exit` included, into a sentence around the error's name."""
    try:
        yield
    except (Exception, SystemExit) as error:
        event = " ".join(filter(None, (before, type(error).__name__, after)))
        raise GatebenchError(f"{event}: {first_line(error)}. `gatebench --debug ...` shows where.") from error
