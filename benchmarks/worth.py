"""Write the tables of results/routing.md anew: what routing is worth beside experts alone, their random mix and the oracle.

    python benchmarks/worth.py [RESULTS]

Reads the runs of `router` and their pool. Times of a router are end to end: what the gater takes, as `profile-latency` measured it, and the
own times of the experts that run, as they are stored in the pool. Beside them stand the time that was measured of the whole and the
speed-up over the strongest expert, taken in turns with it. The objective is what routers minimise, on the test images. Each table stands
on the page between `<!-- table: NAME -->` and `<!-- end -->`.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pages import Table, with_tables
from scipy.integrate import trapezoid

from gatebench.evaluation.fixed import Mix
from gatebench.models.experts.objective import cross_entropies, normalised, objective
from gatebench.report.results import Run, read_runs, same_point

TIMED = {"measured": 1, "speedup": 2}
"""Columns of what was measured of the whole, and their digits."""
RESULTS = Path(__file__).parents[1] / "results"
DATA = "intel-scenes"


class Pool:
    """Accuracies (%) and times of the experts."""

    def __init__(self, folder: Path, curves: pd.DataFrame):
        """`curves` is the routing.csv of any run of these experts: accuracies alone and the oracle's are the same in all."""
        content = json.loads((folder / "pool.json").read_text())
        validation, test = (pd.read_parquet(folder / f"{part}.parquet") for part in ("validation", "test"))
        self.roles, self.curves = list(content["members"]), curves
        self.times = np.array([content["times"][0]["latency_ms"][role] for role in self.roles])
        self.severities = [name for name in dict.fromkeys(curves["severity"]) if name != "all"]
        self.alone = curves[(curves["curve"] == "experts") & (curves["severity"] == "all")].set_index("setting")["accuracy"]
        self.alone = self.alone[self.roles].to_numpy()
        right = [(np.stack(validation[role]).argmax(1) == validation["label"]).mean() for role in self.roles]
        self.mix = Mix.chosen_on(np.array(right), self.times)
        logits = np.stack([np.stack(test[role]) for role in self.roles], 1)
        self.losses = cross_entropies(torch.from_numpy(logits), torch.tensor(test["label"].to_numpy())).numpy()

    def mixed(self, milliseconds: float) -> float:
        """Accuracy (%) of the random mix at this mean time."""
        return self.mix.accuracy(self.alone, self.times, milliseconds)

    def objective(self, run: Run, weight: float) -> float:
        """What routers minimise (section 3.5), on the test images, by the decisions of a run with one lambda; NaN where it has none."""
        if not (run.folder / "decisions.npz").exists():
            return np.nan
        with np.load(run.folder / "decisions.npz") as packed:
            on = np.unpackbits(packed["decisions"], axis=1, count=int(packed["switches"])).astype(bool)
        losses = self.losses[np.arange(len(on)), on.argmax(1)].mean()
        return float(objective(losses, normalised(on @ self.times, self.times).mean(), weight))


def operating_points(runs: list, pool: Pool) -> pd.DataFrame:
    """Every router at every lambda and seed: accuracy, end-to-end times and the gain over the mix at equal time."""
    gaters = defaultdict(list)  # milliseconds by recipe
    for run in runs:
        gaters[run.headline["recipe"]] += [row["gate_ms"] for row in run.times if row["batch_size"] == 1 and "gate_ms" in row]
    gaters["expected"] += gaters["default"]  # the same network
    lines = []
    for run in runs:
        recipe = run.headline["recipe"]
        gater = 0.0 if recipe.startswith("cascade") else float(np.median(gaters[recipe] or [np.nan]))
        for row in run.points:
            if "severity" in row:
                continue
            time = gater + row["expected_ms"]
            measured = next((each for each in run.times if each["batch_size"] == 1 and same_point(each, row)), {})
            shift = pool.mixed(row["expected_ms"]) - pool.mixed(time)
            severities = {each["severity"]: each["accuracy"] for each in run.points if "severity" in each and _same(each, row)}
            own = sum("severity" not in each for each in run.points) == 1  # its decisions are those of the one lambda
            lines.append(
                {
                    "objective": pool.objective(run, row["tradeoff"]) if own else np.nan, "speedup": measured.get("speedup"),
                    "recipe": recipe, "lambda": row["tradeoff"], "seed": row["seed"], "accuracy": row["accuracy"], "ms": time, **severities,
                    "shares": np.array(row["shares"]), "measured": measured.get("latency_ms"), "low": measured.get("latency_ms_low"),
                    "high": measured.get("latency_ms_high"), "efficiency": measured.get("dispatch_efficiency"),
                    "gain": row["mix_gain"] + shift, "gain_low": row["mix_gain_low"] + shift, "gain_high": row["mix_gain_high"] + shift,
                    "agreement": row["oracle_agreement_pct"], "r2": row.get("entropy_r2"),
                }
            )  # fmt: skip
    return pd.DataFrame(lines).sort_values(["recipe", "lambda", "seed"])


def _same(first: dict, second: dict) -> bool:
    return (first.get("policy"), first.get("tradeoff")) == (second.get("policy"), second.get("tradeoff"))


def experts(pool: Pool) -> Table:
    names = [*pool.severities, "all"]
    rows = {f"{role} alone": pool.curves[pool.curves["setting"] == role] for role in pool.roles}
    rows["oracle: the cheapest that is right"] = pool.curves[pool.curves["curve"] == "oracle"]
    lines = [["", *names, "ms"]]
    for name, table in rows.items():
        table = table.set_index("severity")
        lines.append([name, *(f"{table['accuracy'][each]:.1f}" for each in names), f"{table['ms']['all']:.1f}"])
    return lines


def points(table: pd.DataFrame, pool: Pool) -> Table:
    names = pool.severities
    shares = [f"to {role} %" for role in pool.roles]
    after = ["ms", "measured ms", "speed-up over the strongest", "gain over mix (95 %)", "as the oracle %", "objective"]
    lines = [["router", "lambda", "seeds", "accuracy %", *names, *shares, *after]]
    for (recipe, weight), group in table.groupby(["recipe", "lambda"], sort=False):
        first = group.iloc[0]
        several = len(group) > 1

        def spread(column: str, digits: int = 1, group=group, several=several) -> str:
            return f"{group[column].mean():.{digits}f}" + (f" ± {group[column].std():.{digits}f}" if several else "")

        part = np.stack(group["shares"])
        sent = [
            f"{100 * share:.0f}" + (f" ± {100 * deviation:.0f}" if several else "")
            for share, deviation in zip(part.mean(0), part.std(0, ddof=1) if several else part.mean(0), strict=True)
        ]
        timed = {column: f"{group[column].mean():.{digits}f}" if group[column].notna().all() else "-" for column, digits in TIMED.items()}
        objective = spread("objective", 3) if group["objective"].notna().all() else "-"
        gain = f"{first['gain']:+.1f} ({first['gain_low']:+.1f} to {first['gain_high']:+.1f})" + (
            f"; seeds {group['gain'].min():+.1f} to {group['gain'].max():+.1f}" if several else ""
        )
        lines.append(
            [recipe, f"{weight:g}", ", ".join(map(str, group["seed"])), spread("accuracy"),
             *(f"{group[each].mean():.1f}" for each in names), *sent, spread("ms"), *timed.values(), gain,
             f"{group['agreement'].mean():.0f}", objective]
        )  # fmt: skip
    return lines


def curves(table: pd.DataFrame, pool: Pool) -> Table:
    """Mean accuracy over all times from the cheapest to the dearest expert, straight lines between a method's lambdas."""
    low, high = pool.times.min(), pool.times.max()
    alone = pool.alone
    grid = np.linspace(low, high, 500)

    def area(times: np.ndarray, accuracies: np.ndarray) -> float:
        order = np.argsort(times)
        return float(trapezoid(np.interp(grid, times[order], accuracies[order]), grid) / (high - low))

    rows = {"random mix": area(pool.times[pool.mix.corners], alone[pool.mix.corners])}
    ends = [int(pool.times.argmin()), int(pool.times.argmax())]
    for recipe, group in table.groupby("recipe"):
        each = [area(np.append(pool.times[ends], one["ms"]), np.append(alone[ends], one["accuracy"])) for _, one in group.groupby("seed")]
        rows[recipe] = float(np.mean(each))
    return [["", "mean accuracy %"], *([name, f"{value:.1f}"] for name, value in sorted(rows.items(), key=lambda pair: -pair[1]))]


def tables(results: Path) -> dict[str, Table]:
    """Today's tables of the runs in a folder."""
    runs, _ = read_runs(results)
    (folder,) = results.glob(f"pool-{DATA}-*")
    runs = [run for run in runs if (run.headline["model"], run.headline["dataset"]) == ("router", DATA)]
    pool = Pool(folder, pd.read_csv(runs[0].folder / "routing.csv"))
    table = operating_points(runs, pool)
    return {"experts": experts(pool), "points": points(table, pool), "curves": curves(table, pool)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=RESULTS, metavar="RESULTS")
    page = parser.parse_args().results / "routing.md"
    page.write_text(with_tables(page.read_text(), tables(page.parent)))


if __name__ == "__main__":
    main()
