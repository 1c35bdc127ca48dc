"""Networks written elsewhere: a file with a factory."""

import importlib.util
import sys
from pathlib import Path

from torch import nn

from ..errors import GatebenchError, UsageError, first_line, nearest


def build(file: Path, factory: str, classes: int) -> nn.Module:
    """The module that `factory(classes)` in `file` makes.

    Raises UsageError where file or factory do not exist, GatebenchError where it raises or makes something else.
    """
    if not file.is_file():
        raise UsageError(f"There is no file {file}.")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(spec.name, module)  # where pickle and dataclasses look for what the file defines
    call = f"{file}:{factory}({classes})"
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise GatebenchError(f"{file} raised {type(error).__name__} when it was imported: {first_line(error)}.") from error
    if not callable(getattr(module, factory, None)):
        raise UsageError(f"{file} has no function {factory!r}.{nearest(factory, vars(module))} Name one as {file}:FACTORY.")
    try:
        model = getattr(module, factory)(classes)
    except Exception as error:
        raise GatebenchError(f"{call} raised {type(error).__name__}: {first_line(error)}.") from error
    if not isinstance(model, nn.Module):
        raise GatebenchError(f"{call} gave a {type(model).__name__}, not a torch.nn.Module.")
    return model
