"""Write the tables of results/channels.md: what channel gates reach beside what LAG claims, what deciding per input is worth, where
channels are left out, and for whom.

    python benchmarks/channels_page.py [RESULTS]

Reads the runs of channel gates, of `pruned` networks with the channels that those keep on, and of static twins that were trained alike.
Each table stands on the page between `<!-- table: NAME -->` and `<!-- end -->`. The report says more of each run.
"""

import argparse
import functools
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pages import Table, with_tables
from scipy.stats import spearmanr
from torch import nn

from gatebench.models.channels.settings import FreeGate
from gatebench.report.claims import audit_of, name_of
from gatebench.report.groups import Group, groups
from gatebench.report.published import printed
from gatebench.report.quantities import estimate, spread, times_of, values_of
from gatebench.report.quantities import mean as mean_of
from gatebench.report.results import Run, read_runs
from gatebench.report.sheet import Heading, text_of
from gatebench.report.twins import twins, with_twins
from gatebench.training.loop import make_optimizer
from gatebench.training.schedule import make_schedule
from gatebench.training.settings import Training

RESULTS = Path(__file__).parents[1] / "results"
FIFTHS = 5
MODELS = "lag-vgg11", "lag-resnet18", "lag-compact", "pruned", "vgg11", "resnet18"
SOFT = "released", "input"
"""Recipes whose gates are soft in training: what those turn off when they are run hard says nothing of the network."""
ORDER = ("default", "released", "hard", "input", "input-hard", "fbs", "magnitude", "decisions", "retrained")
"""Of recipes in a table."""
DEVICES = {"cpu": "CPU", "cuda": "GPU"}
LEAST_ACCURACY = 10.0
"""Percent; what is below has collapsed."""
MOST_MACS = 10.5e6
"""A VGG-11 of a quarter of the width has fewer."""


def networks(runs: Iterable[Run], trunk: str, width: float) -> Table:
    """Every network of one trunk and width, at its recipe's own trade-off: accuracy on test and training images, what is claimed, executed
    and realised."""
    lines = [["network", "data", "trained on", "seeds", "gates run", "test accuracy %", "training accuracy %", "channels on %",
              "claimed skip %", "executed MACs, M", "executed saving %", "parameters kept %", "speed-up, batch 1", "audit"]]  # fmt: skip
    chosen = [run for run in runs if run.headline["model"] in (trunk, f"lag-{trunk}") and run.setting("model.width") == width]
    own = [group for group in groups(chosen) if not _changes(group) and _shown(group)]
    for group in sorted(own, key=lambda group: (group.row["dataset"], ORDER.index(group.row["recipe"]))):
        row, gated = group.row, group.row["adaptive"]
        lines.append([
            f"`{row['model']} {row['recipe']}`".replace(" default", ""), row["dataset"], DEVICES[row["device"]], _seeds(group),
            row.get("gates_run", "-"),
            _with_interval(group, "accuracy"), _trained(group), _mean(group, "mean_gate_hard", scale=100) if gated else "-",
            _mean(group, "skip_soft_pct") if gated and mean_of(group, "skip_soft_pct") is not None else "-",
            _mean(group, "macs_executed", 2, 1e-6), _mean(group, "saved_pct"), _mean(group, "params_kept", scale=100) if gated else "-",
            _speedup(group) if gated else "1", audit_of(group) or "-",
        ])  # fmt: skip
    return lines


def highlights(runs: Iterable[Run], trunk: str) -> Table:
    """What LAG's page claims, what the released code would print for our runs, and what holds on test images."""
    claim = next(line for line in next(table for table in printed() if table.paper == "LAG").lines if line.match["model"] == f"lag-{trunk}")
    data, (accuracy, params, flops) = claim.match["dataset"], claim.values.values()
    lines = [["", "accuracy over the static network, points", "parameters saved %", "FLOPs saved %"],
             [f"LAG's page: {claim.label}", *("-" if value is None else f"{value:g}" for value in (accuracy, params, flops))]]  # fmt: skip
    chosen = [
        group for group in groups(with_twins(runs))
        if group.row["model"] in (trunk, f"lag-{trunk}") and group.row["dataset"] == data and group.runs[0].setting("model.width") == 1
        and not _changes(group) and _shown(group) and mean_of(group, "accuracy_over_twin") is not None
    ]  # fmt: skip
    for group in sorted(chosen, key=lambda group: ORDER.index(group.row["recipe"])):
        row, seeds = group.row, f"seed{'s' * (len(group.seeds) > 1)} {_seeds(group)}"
        if row["recipe"] == "released" and row["policy"] == "soft":
            claimed = _mean(group, "skip_soft_pct")
            trained = _with_interval(group, "train_accuracy_over_twin", sign=True)
            lines.append([f"as the released code counts: training accuracy, 1 - mean soft gate, {seeds}", trained, claimed, claimed])
        measured = _with_interval(group, "accuracy_over_twin", sign=True), _mean(group, "params_saved_pct"), _mean(group, "saved_pct")
        lines.append([f"`{row['recipe']}`, gates run {row['policy']}, test images, {seeds}", *measured])
    return lines


def sweep(runs: Iterable[Run], width: float) -> Table:
    """LAG's networks by the weight of their L1 loss, soft and hard."""
    lines = [["network", "L1 weight", "mean soft gate", "of one logit that sees no image", "soft: accuracy %", "hard: channels on %",
              "hard: executed MACs %", "hard: accuracy %"]]  # fmt: skip
    chosen = [run for run in runs if run.headline["model"] == "lag-vgg11" and run.headline["recipe"] != "fbs"
              and run.setting("model.width") == width and run.headline["seed"] == 0]  # fmt: skip
    for run in sorted(chosen, key=lambda run: (ORDER.index(run.headline["recipe"]), run.headline["tradeoff"])):
        ways = {row["policy"]: row for row in run.points}
        soft, hard = ways.get("soft"), ways["hard"]
        lines.append([
            f"`{run.headline['recipe']}`", f"{run.headline['tradeoff']:g}", f"{(soft or hard)['mean_gate_soft']:.3f}", _without_images(run),
            f"{soft['accuracy']:.2f}" if soft else "-", f"{100 * hard['mean_gate_hard']:.1f}", f"{100 * hard['macs_ratio']:.1f}",
            f"{hard['accuracy']:.2f}",
        ])  # fmt: skip
    return lines


@functools.cache
def without_images(training: Training, gate: FreeGate, weight: float, steps: int) -> float:
    """The gate that training ends with where no image has a say: one logit under optimiser, weight decay and L1 loss, `steps` an epoch."""
    logit = nn.Parameter(torch.tensor([gate.start], dtype=torch.float64))
    optimizer = make_optimizer(training, [logit])
    schedule = make_schedule(training, optimizer, steps)
    for epoch in range(training.epochs):
        temperature = gate.temperature.at(epoch / training.epochs)
        for _ in range(steps):
            open_share = torch.sigmoid(logit.detach() / temperature)
            logit.grad = weight * open_share * (1 - open_share) / temperature
            optimizer.step()
            schedule.step()
    return float(torch.sigmoid(logit.detach() / temperature))


def rivals(runs: Iterable[Run]) -> Table:
    """VGG-11 by executed MACs: gates beside narrower static networks and pruned ones, seed 0, those of a quarter of the width and less."""
    lines = [["network", "changed", "executed MACs, M", "test accuracy %", "parameters in use"]]
    own = [run for run in runs if run.headline["dataset"] == "cifar100" and run.headline["macs_executed"] < MOST_MACS
           and not run.headline["seed"] and run.headline.get("policy") != "soft" and run.headline["accuracy"] > LEAST_ACCURACY]  # fmt: skip
    for run in sorted(own, key=lambda run: -run.headline["macs_executed"]):
        row, (group, *_) = run.headline, groups([run])
        params = row.get("params_used", row["params"])
        lines.append([f"`{row['model']} {row['recipe']}`", ", ".join(row["changes"]), f"{row['macs_executed'] / 1e6:.2f}",
                      _with_interval(group, "accuracy"), f"{params:,}"])  # fmt: skip
    return lines


def _without_images(run: Run) -> str:
    gate = run.setting("model.gate")
    if gate["kind"] != "free" or gate.get("estimator", "soft") != "soft":
        return "-"
    training = Training.model_validate(run.setting("training"))
    steps = -(-json.loads((run.folder / "data.json").read_text())["train"] // training.batch_size)
    return f"{without_images(training, FreeGate.model_validate(gate), run.headline['tradeoff'], steps):.3f}"


def _changes(group: Group) -> list[str]:
    """What was changed of the recipe, but for the network's width and the data."""
    return [each for each in group.row.get("changes", []) if not each.startswith(("model.width=", "data.name="))]


def _shown(group: Group) -> bool:
    """Scaled gates are shown where they are all there is, and of `input`, whose gates see other maps when they are run hard."""
    return group.row["recipe"] == "input" or group.row.get("policy") in (None, "hard", "soft", group.runs[0].headline.get("policy"))


def _seeds(group: Group) -> str:
    return ", ".join(map(str, group.seeds))


def _trained(group: Group) -> str:
    values = [run.epochs[-1].get("train_accuracy") for run in group.runs if run.epochs]
    return _spread(values) if values and None not in values else "-"


def _with_interval(group: Group, key: str, sign: bool = False) -> str:
    """A quantity's mean and standard deviation over seeds, and its 95 % interval."""
    return text_of(spread(group, key), Heading(key, key, digits=2, signed=sign))


def _mean(group: Group, key: str, digits: int = 1, scale: float = 1.0) -> str:
    values = values_of(group, key)
    return "not measured" if values is None else _spread((scale * value for value in values), digits)


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


def layers(runs: Iterable[Run]) -> Table:
    """Share of each layer's channels that are on, and that are on for some image, of VGG-11 trained with gates that are on or off."""
    lines: Table = []
    own = [run for run in runs if run.headline["model"] == "lag-vgg11" and run.headline["recipe"] not in SOFT
           and run.headline["dataset"] == "cifar100" and not run.headline["seed"]]  # fmt: skip
    for run in sorted(own, key=lambda run: (ORDER.index(run.headline["recipe"]), run.setting("model.width"), run.headline["tradeoff"])):
        row, table = run.headline, pd.read_csv(run.folder / "channels.csv")
        on = table.groupby("layer", sort=False)[f"on_{row['policy']}"]
        lines = lines or [["network", "width", "trade-off", "test accuracy %", *on.groups]]
        shares = [f"{100 * each.mean():.0f} ({100 * (each > 0).mean():.0f})" for _, each in on]
        lines.append([f"`{row['recipe']}`", f"{run.setting('model.width'):g}", f"{row['tradeoff']:g}", f"{row['accuracy']:.2f}", *shares])
    return lines


def easy(runs: list[Run]) -> Table:
    """Executed MACs by fifths of the images, from those of which the static twin is least sure to those of which it is surest."""
    lines = [["network", "data", *(f"fifth {number}, M MACs" for number in range(1, FIFTHS + 1)), "rank correlation"]]
    for run, twin in twins(runs):
        tables = [pd.read_parquet(each.folder / "inputs.parquet") for each in (run, twin) if (each.folder / "inputs.parquet").exists()]
        if len(tables) < 2 or tables[0]["macs_executed"].nunique() == 1 or run.headline["recipe"] in SOFT:
            continue
        macs, sure = tables[0]["macs_executed"].to_numpy() / 1e6, tables[1]["confidence"].to_numpy()
        parts = np.array_split(macs[np.argsort(sure, kind="stable")], FIFTHS)
        (group,) = groups([run])[:1]
        rho = spearmanr(sure, macs).statistic
        lines.append([name_of(group), run.headline["dataset"], *(f"{part.mean():.2f}" for part in parts), f"{rho:+.2f}"])
    return lines


def difficulty(runs: Iterable[Run]) -> Table:
    """Executed MACs of `shapes` by the difficulty of an image, which is known there."""
    lines: Table = []
    for run in runs:
        table = pd.read_csv(run.folder / "breakdown.csv")
        bins = table[table["by"] == "difficulty"]
        lines = lines or [["network", "", *bins["group"]]]
        name = name_of(groups([run])[0])
        if run.headline["adaptive"]:
            lines.append([name, "executed MACs, M", *(f"{macs / 1e6:.2f}" for macs in bins["macs_executed"])])
        lines.append([name, "test accuracy %", *(f"{accuracy:.1f}" for accuracy in bins["accuracy"])])
    return lines


def _speedup(group: Group) -> str:
    """Over the static twin, one image at a time, with its 95 % interval: of the seeds that were timed, the first."""
    times = [times_of(run, row) for run, row in zip(group.runs, group.rows, strict=True)]
    timed = next((each for each in times if "speedup" in each), None)
    return text_of(estimate(timed, "speedup"), Heading("speedup", "speed-up", digits=2)) if timed else "not measured"


def _spread(values: Iterable[float], digits: int = 2, sign: str = "") -> str:
    """Mean and standard deviation, where that is not nothing."""
    values = list(values)
    if not values:
        return "-"
    middle = round(np.mean(values), digits) + 0.0  # not -0.0
    deviation = f"{np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{middle:{sign}.{digits}f}" + (f" ± {deviation}" if deviation.strip("0.") else "")


def tables(results: Path) -> dict[str, Table]:
    """All tables of the page by name."""
    every = [run for run in read_runs(results)[0] if run.headline["model"] in MODELS]
    runs = [run for run in every if run.headline["dataset"] != "shapes"]
    shapes = [run for run in every if run.headline["dataset"] == "shapes"]
    made = {"adaptivity": adaptivity(runs), "easy": easy(runs), "rivals": rivals(runs), "layers": layers(runs)}
    made["difficulty"] = difficulty(shapes)
    for trunk in ("vgg11", "resnet18"):
        made[f"highlights {trunk}"] = highlights(runs, trunk)
        made |= {f"networks {trunk} {width:g}": networks(runs, trunk, width) for width in (1, 0.25)}
    return made | {f"sweep {width:g}": sweep(runs, width) for width in (1, 0.25)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=RESULTS, metavar="RESULTS")
    page = parser.parse_args().results / "channels.md"
    page.write_text(with_tables(page.read_text(), tables(page.parent)))


if __name__ == "__main__":
    main()
