"""Whether the code that decides a run's numbers has changed since the run was begun."""

import ast
import contextlib
import functools
import hashlib
import inspect
from pathlib import Path

from .models import registry
from .runs import RunFolder

DECISIVE = (
    "assignment.py", "components.py", "contract.py", "device.py", "gating.py", "losses.py", "outputs.py", "plan.py", "recipe.py",
    "settings.py", "stages.py", "studies.py", "trained.py", "weights", "data", "evaluation", "measure/macs.py", "measure/statistics.py",
    "models/registry.py", "models/backbones", "training",
)  # fmt: skip
"""Code that decides a run's numbers, whatever its family."""


def other_code(model: str, folder: RunFolder) -> bool:
    """Whether a run was begun by other code than today's."""
    return folder.has("machine.json") and folder.read_json("machine.json").get("code") != code_digest(model)


@functools.cache
def code_digest(model: str) -> str:
    """Eight hexadecimal digits of the code that decides a run's numbers; comments and docstrings do not count.

    Of the model's own code that is its family's package, or the file of a network from elsewhere.
    """
    here = Path(__file__).parent
    places = [here / name for name in DECISIVE]
    with contextlib.suppress(TypeError):  # a partial or an object that is called has no file
        source = Path(inspect.getsourcefile(inspect.unwrap(registry.entry(model).factory)) or here)
        places.append(source.parent if here in source.parents else source)
    files = [path for place in places for path in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]
    return hashlib.sha256(b"".join(map(_digest, files))).hexdigest()[:8]


@functools.cache  # most files are those of every model
def _digest(path: Path) -> bytes:
    """Hash of a file's code, without comments and strings that stand alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(getattr(node, "body", None), list):
            node.body = [each for each in node.body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))]
    return hashlib.sha256(ast.dump(tree).encode()).digest()
