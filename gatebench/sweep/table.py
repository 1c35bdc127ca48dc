"""The table of a sweep: a line a value of the trade-off, means over seeds; the whole scored part, then every severity of corruption.

Where a family shows all policies, a value has a line for each way.

Nothing here imports torch.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from ..foreign import LARGEST_TABLE, naming, size_of
from ..measure.statistics import Estimate, mean_latency
from ..models import registry
from ..report.claims import seeds_cell
from ..report.declared import cell_of_group, heading_of, shares_heading, shares_of_group, tradeoff_heading
from ..report.groups import BEHAVIOUR, Group, shows_all
from ..report.quantities import mean, spread
from ..report.results import Run
from ..report.sheet import Heading, Sheet, make_sheet
from .points import swept, timed

NAMES = (Heading("reference", "reference"), Heading("severity", "severity"), Heading("seeds", "seeds"))
MEASURED = (
    Heading("accuracy", "accuracy % (95 %)", digits=2), Heading("latency_ms", "latency ms (95 %)", digits=3),
    Heading("speedup", "speed-up (95 %)", digits=2), Heading("skip_pct", "claimed skip", "%", 1),
    Heading("saved_pct", "executed saving", "%", 1),
)  # fmt: skip
TIMES = ("latency_ms", "latency_ms_low", "latency_ms_high", "speedup", "speedup_low", "speedup_high", "rival", "rival_ms")
"""What an operating point's row takes from its times."""


def rows(runs: Sequence[Run]) -> list[dict]:
    """The operating points of all runs with their times, then the references, which have none.

    A reference is in every run: it counts once, unless other seeds made another one.
    """
    references: list[dict] = []
    for row in (row for run in runs for row in run.references):
        if not any(_same_reference(row, other) for other in references):
            references.append(row)
    return [*(row for run in runs for row in timed_points(run)), *references]


def timed_points(run: Run) -> list[dict]:
    """The operating points of a sweep's run with their times."""
    return [row | _times(run, row) | _known_with_times(run, row) for row in swept(run)]


def sheet(points: Sequence[Group], title: str, severity: str | None = None, every: bool = False) -> Sheet:
    """The lines of one severity, or of the whole scored part, of what `gathered` gave; with `every` both.

    Student's intervals where there are several seeds.
    """
    members = [each for each in points if every or each.row.get("severity") == severity]
    rows = [row for group in members for row in group.rows]
    shares, own, declared = shares_heading(rows), points[0].columns, points[0].runs[0].columns
    extra, tradeoff = [heading_of(column, rows) for column in own], tradeoff_heading(each for each in declared if each.name == "tradeoff")
    lines = [
        (
            group.row.get("tradeoff"), group.row.get("reference"), group.row.get("severity") if every else None,
            None if "reference" in group.row and len(group.rows) == 1 else seeds_cell(group.seeds), spread(group, "accuracy"),
            spread(group, "latency_ms"), spread(group, "speedup"), mean(group, "skip_pct"), mean(group, "saved_pct"),
            shares_of_group(shares, group),
            *(cell_of_group(column, heading, group) for column, heading in zip(own, extra, strict=True)),
        )
        for group in members
    ]  # fmt: skip
    return make_sheet("sweep", title, (tradeoff, *NAMES, *MEASURED, shares, *extra), lines)


def severities(runs: Sequence[Run]) -> list[str]:
    """Those that were scored, in their order."""
    return list(dict.fromkeys(row["severity"] for run in runs for row in run.points if "severity" in row))


def gathered(runs: Sequence[Run]) -> list[Group]:
    """Operating points with their times, those together that differ in the seed alone; a reference counts as in `rows`.

    The whole scored part comes first, then one severity after the other; in each, values of the trade-off from the least on, then
    references. A value has a group for each way, where a family shows all.
    """
    made: dict[tuple, Group] = defaultdict(Group)
    order = [None, *severities(runs)]
    for run in runs:
        for row in (*timed_points(run), *run.references):
            way = row.get("policy") if shows_all(run) else None
            group = made[row.get("severity"), row.get("tradeoff"), row.get("reference"), way]
            again = "reference" in row and any(_same_reference(row, other) for other in group.rows)
            if row["seed"] not in group.seeds and not again:
                group.runs.append(run)
                group.rows.append(row)
    return [made[key] for key in sorted(made, key=lambda key: (order.index(key[0]), key[1] is None, key[1] or 0))]


def _same_reference(first: dict, second: dict) -> bool:
    """Whether two rows are of one reference: of the same name and images, and of one seed or the same behaviour."""
    named = all(first.get(key) == second.get(key) for key in ("reference", "severity"))
    return named and (first["seed"] == second["seed"] or all(first.get(key) == second.get(key) for key in BEHAVIOUR))


def _times(run: Run, row: dict) -> dict:
    """Of an operating point; on images of one severity the mean latency of those among the timed inputs."""
    times = timed(run, {key: value for key, value in row.items() if key != "severity"})
    if times is None:
        return {}
    if "severity" not in row:
        return {key: times[key] for key in TIMES if key in times}
    if not times.get("scored_inputs"):
        return {}
    raw = f"times/{times['session']}.csv"
    with run.folder.understood(raw):
        estimate = _latencies(run.folder / raw, run.folder / "inputs.parquet", times["threads"], times["execution"]).get(row["severity"])
    if estimate is None:
        return {}
    return {"latency_ms": 1e3 * estimate.value, "latency_ms_low": 1e3 * estimate.low, "latency_ms_high": 1e3 * estimate.high}


def _known_with_times(run: Run, row: dict) -> dict:
    """What the model's family knows of an operating point once it was timed."""
    times, model = timed(run, {key: value for key, value in row.items() if key != "severity"}), registry.registered(row["model"])
    if times is None or model is None or model.with_times is None:
        return {}
    return registry.imported(model.with_times)(run.folder.path, row, times)


@lru_cache(maxsize=256)
def _latencies(raw: Path, inputs: Path, threads: int, execution: str) -> dict[str, Estimate]:
    """Seconds of an input of each severity, from raw times at batch 1; nothing where these or the severities were not kept."""
    severity = _severity(inputs)
    if severity is None or not os.path.lexists(raw):
        return {}
    with naming(raw):
        size_of(raw, LARGEST_TABLE)
    table = pd.read_csv(raw)
    same = (table["threads"] == threads) & (table["batch_size"] == 1) & (table["subject"] == execution)
    table = table[same].assign(severity=lambda each: severity[each["input"]].to_numpy())
    seconds = table.pivot_table(index="round", columns=["severity", "call"], values="seconds")
    return {name: mean_latency(seconds[name].to_numpy()) for name in seconds.columns.get_level_values(0).unique()}


def _severity(inputs: Path) -> pd.Series | None:
    """The severity of each scored input, by its number."""
    if not os.path.lexists(inputs):
        return None
    with naming(inputs):
        size_of(inputs, LARGEST_TABLE)
    table = pd.read_parquet(inputs, columns=["severity"]) if "severity" in pq.read_schema(inputs).names else pd.DataFrame()
    return table["severity"].astype(str) if "severity" in table else None
