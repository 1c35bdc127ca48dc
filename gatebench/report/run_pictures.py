"""Pictures of single runs, drawn from the tables that they kept: files beside the report, which links them.

Images that the gates find easiest and hardest (from examples.npz), decisions (from inputs.parquet), times of calls beside the rival's and
against their MACs (from times/*.csv), and what the model's family draws. Nothing a table holds can break the report: what cannot be drawn
is left out with a line that says so.
"""

import inspect
import io
import math
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from .. import figures
from ..errors import GatebenchError
from ..foreign import LARGEST_TABLE, naming, plain, size_of
from ..models import registry
from ..runs import RunFolder
from . import run_figures
from .page.examples import read_examples
from .reading import read_breakdown, read_inputs
from .results import Run, is_masked
from .run_figures import short
from .sheet import slug

FOLDER = "runs"
"""Below that of the report."""
MOST_UNITS = 200
MOST_CLASSES = 2_000
DIFFICULTY_BINS = 5


def draw_all(runs: Iterable[Run], report: Path) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Draw and write the pictures of all runs below the report's folder; those of a run that has not changed since are kept.

    Returns for each run that has some their files, relative to that folder, by name, and a line for each run whose cannot be drawn.
    Raises GatebenchError where the folder is not writable.
    """
    target, links, left_out = RunFolder(report / FOLDER), {}, []
    for run in runs:
        prefix = f"{slug(run.name)}--"  # no slug holds two hyphens, so that no run's pictures are taken for another's
        earlier = sorted(target.path.glob(f"{prefix}*.png"))
        if earlier and _fresh(run, earlier):
            links[run.name] = {path.stem.removeprefix(prefix): f"{FOLDER}/{path.name}" for path in earlier}
            continue
        drawn: dict[str, bytes] = {}
        try:
            for name, figure in _pictures(run):
                drawn[slug(name if name not in drawn else f"{name}-{len(drawn)}")] = _png(figure)
        except Exception as error:  # tables may hold anything, and a family draws with code of its own
            reason = str(error) if isinstance(error, GatebenchError) else f"a table is damaged ({type(error).__name__})"
            left_out.append(f"{run.name}: its pictures: {plain(reason)}")
            drawn = {}
        target.remove(f"{prefix}*.png")
        for name, content in drawn.items():
            target.write(f"{prefix}{name}.png", lambda stream, content=content: stream.write(content))
            links.setdefault(run.name, {})[name] = f"{FOLDER}/{prefix}{name}.png"
    return links, left_out


def _fresh(run: Run, pictures: list[Path]) -> bool:
    """Whether a run's pictures are newer than all that they are drawn from, and than the code that draws."""
    entry = registry.registered(run.headline["model"])
    own = [Path(inspect.getfile(registry.imported(entry.pictures)))] if entry and entry.pictures else []
    code = [Path(__file__), Path(run_figures.__file__), Path(figures.__file__), *own]
    folder = run.folder.path
    newest = max(map(_changed, (folder, *folder.iterdir(), *(folder / "times").glob("*"), *code)))
    return all(picture.stat().st_mtime > newest for picture in pictures)


def _changed(path: Path) -> float:
    """When a file was; infinity for one that is gone meanwhile: a process writes there."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return math.inf


def _pictures(run: Run) -> Iterator[tuple[str, Figure]]:
    row = run.headline
    label = short(f"{row['model']} {row['recipe']} {row['dataset']} s{row['seed']}")
    entry = registry.registered(row["model"])
    if entry and entry.pictures:
        yield from registry.imported(entry.pictures)(run.folder).items()
    examples = read_examples(run)
    if examples:
        yield "examples", run_figures.examples(label, examples.pixels, examples.labels)
    if run.folder.has("inputs.parquet") and run.folder.has("breakdown.csv"):
        yield from _decisions(run, label)
    for timed in run.times:
        if not is_masked(timed):
            yield from _latency(run, timed)


def _decisions(run: Run, label: str) -> Iterator[tuple[str, Figure]]:
    """How often each unit runs by class, and by difficulty where that is known."""
    with naming(Path("breakdown.csv")):
        lines = read_breakdown(run.folder / "breakdown.csv")
    units = [line["group"] for line in lines if line["by"] == "unit" and line["group"]][:MOST_UNITS]
    if not units:
        return
    with naming(Path("inputs.parquet")):
        table = read_inputs(run.folder / "inputs.parquet")
    shares = np.stack([table[unit].astype(np.float64) for unit in units], 1)
    classes = run.folder.read_json("data.json", classes=list[str])["classes"][:MOST_CLASSES]
    groups = {"class": (table["label"], [plain(name)[:20] for name in classes])}
    if "difficulty" in table:
        edges = np.linspace(0, 1, DIFFICULTY_BINS + 1).round(1)
        names = [f"{low}-{high}" for low, high in zip(edges, edges[1:], strict=False)]
        groups["difficulty"] = (np.digitize(table["difficulty"], edges[1:-1], right=True), names)
    yield "decisions", run_figures.decisions(label, [plain(unit)[:20] for unit in units], shares, groups)


def _latency(run: Run, timed: dict) -> Iterator[tuple[str, Figure]]:
    """Of one row of times; nothing where its raw times were not kept."""
    path = run.folder / "times" / f"{timed['session']}.csv"
    if not os.path.lexists(path):
        return
    calls = {
        subject: _typical(path, timed["threads"], timed["batch_size"], subject) for subject in (timed["execution"], "rival")
    }  # fmt: skip
    seconds, macs = calls[timed["execution"]]
    if not len(seconds):
        return
    label, other, size = short(timed["network"]), calls["rival"][0], timed["batch_size"]
    rival = (short(timed["rival"]), other) if "rival" in timed and len(other) else None
    data = f"-{timed['dataset']}" if timed["dataset"] != run.headline["dataset"] else ""
    ending = f"{data}-batch{size}-threads{timed['threads']}"
    yield f"latency-inputs{ending}", run_figures.latency_distribution(label, seconds, rival, size)
    if np.ptp(macs) > 0:
        yield f"latency-macs{ending}", run_figures.latency_against_macs(label, macs, seconds, rival, size)


def _typical(path: Path, threads: int, batch_size: int, subject: str) -> tuple[np.ndarray, np.ndarray]:
    """The median time of each call over rounds, seconds [N], and the MACs of an input of it [N]."""
    columns = _raw_times(path)
    rows = (columns["threads"] == threads) & (columns["batch_size"] == batch_size) & (columns["subject"] == subject)
    calls, seconds, macs = (columns[name][rows] for name in ("call", "seconds", "macs"))
    order = np.argsort(calls, kind="stable")
    _, starts = np.unique(calls[order], return_index=True)
    times, costs = (np.split(each[order], starts[1:]) if len(starts) else [] for each in (seconds, macs))
    return np.array([np.median(each) for each in times]), np.array([each[0] for each in costs])


@lru_cache(maxsize=1)
def _raw_times(path: Path) -> dict[str, np.ndarray]:
    """Columns of a table of raw times; the sessions of one command are in one file."""
    import pyarrow.csv

    table = pyarrow.csv.read_csv(_bounded(path))
    return {name: table[name].to_numpy() for name in ("threads", "batch_size", "subject", "call", "seconds", "macs")}


def _bounded(path: Path) -> Path:
    with naming(path):
        size_of(path, LARGEST_TABLE)
    return path


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figures.save(figure, stream)
    return stream.getvalue()
