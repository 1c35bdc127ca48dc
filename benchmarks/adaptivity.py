"""Write the tables of results/channels.md that no report has: what deciding per input is worth, where channels are left out, and for whom.

    python benchmarks/adaptivity.py [RESULTS]

Reads the runs of channel gates, of `pruned` networks with the channels that those keep on, and of static twins that were trained alike.
Each table stands on the page between `<!-- table: NAME -->` and `<!-- end -->`; `python benchmarks/results.py` writes the others.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from pages import Table, with_tables
from scipy.stats import spearmanr

from gatebench.report.claims import name_of
from gatebench.report.groups import groups
from gatebench.report.results import Run, read_runs
from gatebench.report.twins import twins

RESULTS = Path(__file__).parents[1] / "results"
FIFTHS = 5


def adaptivity(runs: list[Run]) -> Table:
    """Each network whose gates look at the input beside networks with the same channels for every input, at equal MACs."""
    lines = [["network", "data", "seeds", "executed MACs %", "accuracy %", "fixed channels: MACs %", "same weights: accuracy %",
              "gain over it", "retrained: accuracy %", "gain over it"]]  # fmt: skip
    fixed = [run for run in runs if run.headline["model"] == "pruned"]
    for group in groups(runs):
        names = {run.name: row for run, row in zip(group.runs, group.rows, strict=True) if row.get("policy") == run.headline.get("policy")}
        pairs = {
            recipe: [(names[name], each.headline) for each in fixed for name in each.headline["parents"]
                     if name in names and each.headline["recipe"] == recipe]
            for recipe in ("decisions", "retrained")
        }  # fmt: skip
        every = [pair for each in pairs.values() for pair in each]
        if not every:
            continue
        cells = [name_of(group), group.row["dataset"], ", ".join(str(row["seed"]) for row in names.values()),
                 _spread((100 * row["macs_ratio"] for row in names.values()), 1), _spread(row["accuracy"] for row in names.values()),
                 _spread((100 * each["macs_ratio"] for _, each in every), 1)]  # fmt: skip
        for each in pairs.values():
            gains = (own["accuracy"] - row["accuracy"] for own, row in each)
            cells += [_spread(row["accuracy"] for _, row in each), _spread(gains, sign="+")]
        lines.append(cells)
    return lines


def layers(runs: Iterable[Run]) -> dict[str, Table]:
    """Share of each layer's channels that are on, and that are on for some image: a table for each architecture."""
    tables: dict[str, Table] = {}
    for run in runs:
        path = run.folder / "channels.csv"
        if run.headline["seed"] or not path.is_file():
            continue
        table = pd.read_csv(path)
        names = list(dict.fromkeys(table["layer"]))
        lines = tables.setdefault(f"layers {run.headline['model']}", [["network", "gates run", *names]])
        (group,) = groups([run])[:1]
        for column in (name for name in table if name.startswith("on_") and name != "on_soft"):
            on = table.groupby("layer")[column]
            shares = [f"{100 * on.mean()[name]:.0f} ({100 * (on.get_group(name) > 0).mean():.0f})" for name in names]
            lines.append([name_of(group), column.removeprefix("on_"), *shares])
        soft = next((name for name in table if name.startswith("gate_")), None)
        if soft:
            gates = table.groupby("layer")[soft].mean()
            lines.append([name_of(group), "mean gate", *(f"{100 * gates[name]:.0f}" for name in names)])
    return tables


def easy(runs: list[Run]) -> Table:
    """Executed MACs by fifths of the images, from those of which the static twin is least sure to those of which it is surest."""
    lines = [["network", "data", *(f"fifth {number}, M MACs" for number in range(1, FIFTHS + 1)), "rank correlation"]]
    for run, twin in twins(runs):
        tables = [pd.read_parquet(each.folder / "inputs.parquet") for each in (run, twin) if (each.folder / "inputs.parquet").exists()]
        if len(tables) < 2 or tables[0]["macs_executed"].nunique() == 1:
            continue
        macs, sure = tables[0]["macs_executed"].to_numpy() / 1e6, tables[1]["confidence"].to_numpy()
        parts = np.array_split(macs[np.argsort(sure, kind="stable")], FIFTHS)
        (group,) = groups([run])[:1]
        rho = spearmanr(sure, macs).statistic
        lines.append([name_of(group), run.headline["dataset"], *(f"{part.mean():.2f}" for part in parts), f"{rho:+.2f}"])
    return lines


def _spread(values: Iterable[float], digits: int = 2, sign: str = "") -> str:
    """Mean and standard deviation."""
    values = list(values)
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):{sign}.{digits}f}{deviation}" if values else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=RESULTS, metavar="RESULTS")
    page = parser.parse_args().results / "channels.md"
    runs, _ = read_runs(page.parent)
    page.write_text(with_tables(page.read_text(), {"adaptivity": adaptivity(runs), "easy": easy(runs), **layers(runs)}))


if __name__ == "__main__":
    main()
