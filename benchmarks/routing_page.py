"""The tables of results/routing.md: the paper's beside ours; what routing is worth beside experts alone, their random mix and the oracle.

Reads the runs of `router` and their pool. Times of a router are end to end: what the gater takes, as `profile-latency` measured it, and the
own times of the experts that run, as they are stored in the pool. Beside them stand the time that was measured of the whole and the
speed-up over the strongest expert, taken in turns with it. The objective is what routers minimise, on the test images.
"""

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pages import Parts, beside, usual_tables
from scipy.integrate import trapezoid

from gatebench.evaluation.fixed import Mix
from gatebench.models.experts.objective import cross_entropies, normalised, objective
from gatebench.report.claims import seeds_cell
from gatebench.report.comparison import comparison_sheets
from gatebench.report.groups import groups
from gatebench.report.results import Run, same_point
from gatebench.report.sheet import Cell, Heading, Sheet, make_sheet

DATA = "intel-scenes"
LAMBDA = 0.7
"""At which every way to decide was timed that was timed at all."""
QUANTITIES = {"accuracy": "accuracy %", "shares_pct_0": "to SqueezeNet %", "shares_pct_2": "to the strongest %"}
WAYS = {"default": "the paper's router", "neighbours": "nearest neighbours, untrained", "expected": "trained on every expert's loss",
        "entropy": "predicted entropy", "complexity": "image complexity", "cascade": "cascade, confidence",
        "cascade-entropy": "cascade, entropy", "cascade-margin": "cascade, margin"}  # fmt: skip


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


def experts(pool: Pool) -> Sheet:
    names = [*pool.severities, "all"]
    rows = {f"{role} alone": pool.curves[pool.curves["setting"] == role] for role in pool.roles}
    rows["oracle: the cheapest that is right"] = pool.curves[pool.curves["curve"] == "oracle"]
    lines = []
    for name, table in rows.items():
        table = table.set_index("severity")
        lines.append([name, *(float(table["accuracy"][each]) for each in names), float(table["ms"]["all"])])
    headings = [Heading("expert", ""), *(Heading(each, each, "%", 1) for each in names), Heading("ms", "ms", digits=1)]
    return make_sheet("experts", "Experts alone", headings, lines)


def points(table: pd.DataFrame, pool: Pool) -> Sheet:
    """Every router at every lambda. The gain's interval is that of seed 0 over images; over seeds stand the least and the most."""
    headings = [
        Heading("router", "router"), Heading("lambda", "lambda"), Heading("seeds", "seeds"), Heading("accuracy", "accuracy", "%", 1),
        *(Heading(each, each, "%", 1) for each in pool.severities),
        *(Heading(f"to_{role}", f"to {role}", "share", 0) for role in pool.roles),
        Heading("ms", "ms", digits=1), Heading("measured_ms", "measured ms", digits=1),
        Heading("speedup", "speed-up over the strongest", digits=2),
        Heading("gain", "gain over mix, seed 0", "points", 1, signed=True),
        Heading("gain_over_seeds", "over seeds", "points", 1, signed=True),
        Heading("as_oracle", "as the oracle", "%", 0), Heading("objective", "objective", digits=3),
    ]  # fmt: skip
    lines = []
    for (recipe, weight), group in table.groupby(["recipe", "lambda"], sort=False):
        first, several = group.iloc[0], len(group) > 1
        shares = [_spread(pd.Series(each)) for each in np.stack(group["shares"]).T]
        over = Cell(low=group["gain"].min(), high=group["gain"].max()) if several else None
        gain = Cell(*(round(float(first[key]), 6) + 0.0 for key in ("gain", "gain_low", "gain_high")))  # not -0.0
        lines.append([
            recipe, weight, seeds_cell([*map(int, group["seed"])]), _spread(group["accuracy"]),
            *(float(group[each].mean()) for each in pool.severities), *shares,
            *(_spread(group[key]) for key in ("ms", "measured", "speedup")), gain, over,
            float(group["agreement"].mean()), _spread(group["objective"]),
        ])  # fmt: skip
    return make_sheet("routers", "Routers at every lambda", headings, lines)


def curves(table: pd.DataFrame, pool: Pool) -> dict[str, float]:
    """Mean accuracy (%) over all times from the cheapest to the dearest expert, straight lines between a method's lambdas."""
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
    return rows


def ways(sheet: Sheet, areas: dict[str, float]) -> Sheet:
    """Every way to decide at one lambda, and over all times, best first."""
    at = {line["router"].value: line for line in map(_named(sheet), sheet.lines) if line["lambda"].value == LAMBDA}
    keys = "accuracy", "ms", "speedup", "gain"
    headings = [Heading("way", "way to decide"), Heading("area", "mean accuracy over all times", "%", 1)]
    headings += [replace(heading, text=f"{heading.text}, lambda {LAMBDA:g}") for heading in sheet.headings if heading.name in keys]
    lines = [(f"{WAYS[way]} ({way})" if way in at else way, area, *(at[way][key] if way in at else None for key in keys))
             for way, area in sorted(areas.items(), key=lambda pair: -pair[1])]  # fmt: skip
    return make_sheet("ways", "", headings, lines)


def by_lambda(sheet: Sheet) -> Sheet:
    """The paper's router."""
    hidden = ("router", "seeds", "as_oracle", "objective", "ms", "clean", "mild", "moderate", "severe")
    kept = [index for index, heading in enumerate(sheet.headings) if heading.name not in hidden]
    lines = [[line[index] for index in kept] for line in sheet.lines if line[0].value == "default"]
    return make_sheet("by-lambda", "", [sheet.headings[index] for index in kept], lines)


def tables(runs: list[Run]) -> Parts:
    """What the page shows."""
    pool, table = _measured(runs)
    every = points(table, pool)
    printed = [sheet for sheet in comparison_sheets(groups(_own(runs))) if sheet.name == "routing-beats-latency-table-2"]
    return {
        "beside": beside(printed, QUANTITIES, networks=False), "experts": experts(pool), "by lambda": by_lambda(every),
        "ways": ways(every, curves(table, pool)),
    }  # fmt: skip


def full(runs: list[Run]) -> dict[str, list[Sheet]]:
    """What is linked."""
    pool, table = _measured(runs)
    own = [run for run in runs if run.headline["model"] in ("router", "expert")]
    return {**usual_tables("routing", own), "routing-routers": [points(table, pool)]}


def _own(runs: list[Run]) -> list[Run]:
    return [run for run in runs if (run.headline["model"], run.headline["dataset"]) == ("router", DATA)]


def _measured(runs: list[Run]) -> tuple[Pool, pd.DataFrame]:
    own = _own(runs)
    (folder,) = own[0].folder.path.parent.glob(f"pool-{DATA}-*")
    pool = Pool(folder, pd.read_csv(own[0].folder / "routing.csv"))
    return pool, operating_points(own, pool)


def _spread(values: pd.Series) -> Cell:
    """Mean and standard deviation over seeds; nothing where one is missing."""
    if values.isna().any():
        return Cell()
    return Cell(float(values.mean()), deviation=float(values.std()) if len(values) > 1 else None)


def _named(sheet: Sheet):
    return lambda line: dict(zip((heading.name for heading in sheet.headings), line, strict=True))
