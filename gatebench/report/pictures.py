"""Pictures of the report as files, written whole or not at all."""

from pathlib import Path

from ..errors import UsageError
from ..runs import RunFolder
from . import figures
from .front import Panel
from .front_figure import front

FORMATS = ("png", "svg")


def write_fronts(shown: dict[str, list[Panel]], results: Path, out: Path | None) -> list[Path]:
    """pareto-<cost>.png and .svg in `results`, or the one file `out`. Raises UsageError where `out` is neither PNG nor SVG."""
    if out is None:
        wanted = [(cost, results / f"pareto-{cost}.{kind}") for cost in shown for kind in FORMATS]
    elif out.suffix[1:] not in FORMATS:
        raise UsageError(f"--out wants a .png or .svg file, not {str(out)!r}.")
    else:
        several = len(shown) > 1
        wanted = [(cost, out.with_stem(f"{out.stem}-{cost}") if several else out) for cost in shown]
    drawn = {cost: front(panels) for cost, panels in shown.items()}
    for cost, path in wanted:
        RunFolder(path.parent).write(path.name, lambda stream, cost=cost, kind=path.suffix[1:]: figures.save(drawn[cost], stream, kind))
    return [path for _, path in wanted]
