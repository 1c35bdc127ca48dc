"""The tables of results/channels.md: what LAG claims beside what is found, what deciding per input is worth, where channels are left out,
and for whom.

Reads the runs of channel gates, of `pruned` networks with the channels that those keep on, and of static twins that were trained alike.
"""

import functools
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from pages import Parts, savings, short, usual_tables
from scipy.stats import spearmanr
from torch import nn

from gatebench.models.channels.settings import FreeGate
from gatebench.report.claims import name_of, seeds_cell
from gatebench.report.comparison import comparison_sheets
from gatebench.report.groups import Group, groups
from gatebench.report.quantities import spread
from gatebench.report.results import Run
from gatebench.report.sheet import Cell, Heading, Sheet, make_sheet
from gatebench.report.twins import twins, with_twins
from gatebench.training.loop import make_optimizer
from gatebench.training.schedule import make_schedule
from gatebench.training.settings import Training

FIFTHS = 5
MODELS = "lag-vgg11", "lag-resnet18", "lag-compact", "pruned", "vgg11", "resnet18"
SOFT = "released", "input"
"""Recipes whose gates are soft in training: what those turn off when they are run hard says nothing of the network."""
ORDER = ("default", "released", "hard", "input", "input-hard", "fbs", "magnitude", "decisions", "retrained")
"""Of recipes in a table."""
WITH_L1 = "released", "hard", "input", "input-hard"
DATA = {"vgg11": "cifar100", "resnet18": "cifar10"}
"""Trunks that LAG's page names, and the data of each."""
QUARTER = 0.25
LEAST_ACCURACY = 10.0
"""Percent; what is below has collapsed."""
MOST_MACS = 10.5e6
"""A VGG-11 of a quarter of the width has fewer."""
VERDICTS = {
    "accuracy over the baseline, points": "no: the figure printed is of training images",
    "parameters saved %": "no: every channel is used",
    "FLOPs saved %": "no: every channel is computed",
}
"""Of what LAG prints above 0."""


def highlights(runs: Iterable[Run]) -> Sheet:
    """Each claim of LAG's page: what the released code would print for our runs, and what holds on test images with the gates run as they
    were trained, soft."""
    sheets = {sheet.name: sheet for sheet in comparison_sheets(groups(with_twins(runs)))}
    counted, found = (_measured(sheets[name]) for name in ("lag-highlights-as-released", "lag-highlights"))
    lines = []
    for (row, text), (printed, ours) in found.items():
        if (row, text) in counted and printed.value is not None:
            apart = Cell(ours.value - printed.value)
            verdict = VERDICTS[text] if printed.value else "yes: nothing is gained or lost"
            lines.append([row, text, printed, short(counted[row, text][1]), short(ours), apart, verdict])
    headings = [Heading("network", "network"), Heading("claim", "what"), Heading("printed", "LAG's page"),
                Heading("counted", "ours, counted as the released code does", digits=2), Heading("ours", "ours, on test images", digits=2),
                Heading("apart", "apart from LAG's page", digits=2, signed=True), Heading("verdict", "holds?")]  # fmt: skip
    return make_sheet("highlights", "LAG's highlights", headings, lines)


def _measured(sheet: Sheet) -> dict[tuple[str, str], tuple[Cell, Cell]]:
    """Printed and ours of every quantity of `released` run soft."""
    texts = [heading.text for heading in sheet.headings]
    made: dict[tuple[str, str], tuple[Cell, Cell]] = {}
    for cells in (dict(zip(texts, line, strict=True)) for line in sheet.lines):
        if cells["source"].value == "published":
            printed = cells
        if cells["source"].value == "measured" and {"released", "soft"} <= set(cells["network"].value.replace(",", "").split()):
            made |= {(cells["row"].value, text): (printed[text], cells[text]) for text in VERDICTS if text in cells}
    return made


def networks(runs: Iterable[Run]) -> Sheet:
    """Every network at full width, in every way in which its gates are run."""
    own = [
        group for group in groups(runs)
        if group.row["dataset"] == DATA.get(group.row["model"].removeprefix("lag-")) and not group.row.get("changes") and _says_more(group)
    ]  # fmt: skip
    order = sorted(own, key=lambda group: (group.row["dataset"] != "cifar100", ORDER.index(group.row["recipe"])))
    return savings(order, claimed="skip_soft_pct", policies=True)


def _says_more(group: Group) -> bool:
    """Scaled gates are shown where they are all there is, and of `input`, whose gates see other maps when they are run hard."""
    return group.row["recipe"] == "input" or group.row.get("policy") in (None, "hard", "soft", group.runs[0].headline.get("policy"))


def sweep(runs: Iterable[Run], width: float, recipes: tuple[str, ...] = WITH_L1) -> Sheet:
    """LAG's VGG-11 by the weight of their L1 loss, soft and hard."""
    headings = [
        Heading("recipe", "recipe"), Heading("width", "width"), Heading("weight", "L1 weight"), Heading("gate", "mean soft gate", digits=3),
        Heading("no_images", "of one logit that sees no image", digits=3), Heading("soft", "accuracy, run soft", "%", 2),
        Heading("on", "channels on, run hard", "share", 1), Heading("macs", "executed MACs, run hard", "share", 1),
        Heading("hard", "accuracy, run hard", "%", 2),
    ]  # fmt: skip
    wanted = {"model": "lag-vgg11", "dataset": DATA["vgg11"], "seed": 0}
    chosen = [run for run in runs if all(run.headline[key] == value for key, value in wanted.items())
              and run.headline["recipe"] in recipes and run.setting("model.width") == width]  # fmt: skip
    lines, free = [], _without_images(chosen)
    for run in sorted(chosen, key=lambda run: (ORDER.index(run.headline["recipe"]), run.headline["tradeoff"])):
        by_policy = {row["policy"]: row for row in run.points}
        soft, hard = by_policy.get("soft"), by_policy["hard"]
        lines.append([
            run.headline["recipe"], width, run.headline["tradeoff"], (soft or hard)["mean_gate_soft"], free.get(run.name),
            soft["accuracy"] if soft else None, hard["mean_gate_hard"], hard["macs_ratio"], hard["accuracy"],
        ])  # fmt: skip
    return make_sheet("l1", f"By L1 weight, width {width:g}", headings, lines)


def free_gates(runs: Iterable[Run]) -> Sheet:
    """The sweep of `released` at a quarter of the width, what is the same everywhere left out."""
    sheet = sweep(runs, QUARTER, ("released",))
    kept = [index for index, heading in enumerate(sheet.headings) if heading.name not in ("recipe", "width", "macs")]
    lines = [[line[index] for index in kept] for line in sheet.lines]
    return make_sheet("free-gates", "", [sheet.headings[index] for index in kept], lines)


@functools.cache
def without_images(training: Training, gate: FreeGate, weights: tuple[float, ...], steps: int) -> tuple[float, ...]:
    """The gates that training ends with where no image has a say, for each L1 weight: one logit under optimiser, weight decay and L1 loss,
    `steps` an epoch."""
    logits = nn.Parameter(torch.full((len(weights),), gate.start, dtype=torch.float64))
    optimizer = make_optimizer(training, [logits])
    schedule = make_schedule(training, optimizer, steps)
    for epoch in range(training.epochs):
        temperature = gate.temperature.at(epoch / training.epochs)
        for _ in range(steps):
            open_share = torch.sigmoid(logits.detach() / temperature)
            logits.grad = torch.tensor(weights, dtype=torch.float64) * open_share * (1 - open_share) / temperature
            optimizer.step()
            schedule.step()
    return tuple(torch.sigmoid(logits.detach() / temperature).tolist())


def rivals(runs: Iterable[Run]) -> Sheet:
    """VGG-11 by executed MACs: gates beside narrower static networks and pruned ones, seed 0, those of a quarter of the width and less."""
    headings = [Heading("network", "network"), Heading("changed", "changed"), Heading("macs_executed", "executed", "MACs", 2),
                Heading("accuracy", "test accuracy", "%", 2), Heading("params", "parameters in use", digits=0)]  # fmt: skip
    own = [run for run in runs if run.headline["dataset"] == "cifar100" and run.headline["macs_executed"] < MOST_MACS
           and not run.headline["seed"] and run.headline.get("policy") != "soft" and run.headline["accuracy"] > LEAST_ACCURACY]  # fmt: skip
    lines = []
    for run in sorted(own, key=lambda run: -run.headline["macs_executed"]):
        row, (group, *_) = run.headline, groups([run])
        lines.append([f"{row['model']} {row['recipe']}", ", ".join(row["changes"]), row["macs_executed"], spread(group, "accuracy"),
                      row.get("params_used", row["params"])])  # fmt: skip
    return make_sheet("rivals", "Beside other ways of spending the same MACs, seed 0", headings, lines)


def adaptivity(runs: list[Run]) -> Sheet:
    """Each network whose gates look at the input beside networks with the same channels for every input, at equal MACs."""
    headings = [
        Heading("network", "network"), Heading("tradeoff", "L1 weight"), Heading("seeds", "seeds"),
        Heading("macs", "executed MACs", "share", 1), Heading("accuracy", "accuracy", "%", 2),
        Heading("fixed_macs", "the same channels for all: executed MACs", "share", 1),
        *(Heading(f"{recipe}{end}", text, unit, 2, signed) for recipe, name in (("decisions", "same weights"), ("retrained", "retrained"))
          for end, text, unit, signed in (("", f"{name}: accuracy", "%", False), ("_gain", "the gates' gain over it", "points", True))),
    ]  # fmt: skip
    lines = []
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
        rows = list(names.values())
        cells = [f"{group.row['model']} {group.row['recipe']}", group.row["tradeoff"], seeds_cell([row["seed"] for row in rows]),
                 _mean(row["macs_ratio"] for row in rows), _mean(row["accuracy"] for row in rows),
                 statistics.mean(row["macs_ratio"] for _, row in every)]  # fmt: skip
        for each in pairs.values():
            cells += [_mean(row["accuracy"] for _, row in each), _mean(own["accuracy"] - row["accuracy"] for own, row in each)]
        lines.append(cells)
    return make_sheet("adaptivity", "The same channels for every image", headings, lines)


def layers(runs: Iterable[Run]) -> Sheet:
    """Share of each layer's channels that are on, and that are on for some image, of VGG-11 trained with gates that are on or off."""
    lines, names = [], []
    own = [run for run in runs if run.headline["model"] == "lag-vgg11" and run.headline["recipe"] not in SOFT
           and run.headline["dataset"] == "cifar100" and not run.headline["seed"]]  # fmt: skip
    for run in sorted(own, key=lambda run: (ORDER.index(run.headline["recipe"]), run.setting("model.width"), run.headline["tradeoff"])):
        row, table = run.headline, pd.read_csv(run.folder / "channels.csv")
        on = table.groupby("layer", sort=False)[f"on_{row['policy']}"]
        names = list(on.groups)
        shares = [float(value) for _, each in on for value in (each.mean(), (each > 0).mean())]
        lines.append([row["recipe"], run.setting("model.width"), row["tradeoff"], row["accuracy"], *shares])
    headings = [Heading(name, name) for name in ("recipe", "width", "tradeoff")] + [Heading("accuracy", "test accuracy", "%", 2)]
    headings += [Heading(f"{name}{end}", name, "share") for name in names for end in ("_on", "_on_for_some")]
    return make_sheet("layers", "Share of each layer's channels that are on", headings, lines)


def easy(runs: list[Run]) -> Sheet:
    """Executed MACs by fifths of the images, from those of which the static twin is least sure to those of which it is surest."""
    lines = []
    for run, twin in twins(runs):
        tables = [pd.read_parquet(each.folder / "inputs.parquet") for each in (run, twin) if (each.folder / "inputs.parquet").exists()]
        if len(tables) < 2 or tables[0]["macs_executed"].nunique() == 1 or run.headline["recipe"] in SOFT:
            continue
        macs, sure = tables[0]["macs_executed"].to_numpy(), tables[1]["confidence"].to_numpy()
        parts = np.array_split(macs[np.argsort(sure, kind="stable")], FIFTHS)
        (group,) = groups([run])[:1]
        correlation = float(spearmanr(sure, macs).statistic)
        lines.append([name_of(group), run.headline["dataset"], *(float(part.mean()) for part in parts), correlation])
    headings = [Heading("network", "network"), Heading("dataset", "data"),
                *(Heading(f"macs_fifth_{number}", f"fifth {number}", "MACs", 2) for number in range(1, FIFTHS + 1)),
                Heading("rank_correlation", "rank correlation", digits=2)]  # fmt: skip
    return make_sheet("easy", "By how sure the static twin is, least sure fifth first", headings, lines)


def difficulty(runs: Iterable[Run]) -> Sheet:
    """Executed MACs of `shapes` by the difficulty of an image, which is known there."""
    lines = []
    for run in runs:
        table = pd.read_csv(run.folder / "breakdown.csv")
        name = name_of(groups([run])[0])
        for line in table[table["by"] == "difficulty"].itertuples():
            macs = line.macs_executed if run.headline["adaptive"] else None
            lines.append([name, run.headline["dataset"], line.group, macs, line.accuracy])
    headings = [Heading("network", "network"), Heading("dataset", "data"), Heading("difficulty", "difficulty"),
                Heading("macs_executed", "executed", "MACs", 2), Heading("accuracy", "test accuracy", "%", 1)]  # fmt: skip
    return make_sheet("difficulty", "By difficulty", headings, lines)


def tables(runs: list[Run]) -> Parts:
    """What the page shows."""
    own, _ = _own(runs)
    return {"beside": highlights(own), "savings": networks(own), "free gates": free_gates(own), "adaptivity": adaptivity(own)}


def full(runs: list[Run]) -> dict[str, list[Sheet]]:
    """What is linked."""
    own, shapes = _own(runs)
    return {
        **usual_tables("channels", own + shapes), "channels-l1-weights": [sweep(own, width) for width in (1, QUARTER)],
        "channels-rivals": [rivals(own), adaptivity(own)], "channels-layers": [layers(own)],
        "channels-images": [easy(own), difficulty(shapes)],
    }  # fmt: skip


def _own(runs: list[Run]) -> tuple[list[Run], list[Run]]:
    """On photographs, and on `shapes`."""
    every = [run for run in runs if run.headline["model"] in MODELS]
    shapes = [run for run in every if run.headline["dataset"] == "shapes"]
    return [run for run in every if run not in shapes], shapes


def _without_images(runs: Iterable[Run]) -> dict[str, float]:
    """`without_images` of each run whose gates are free and soft in training, by its name."""
    alike, made = defaultdict(list), {}
    for run in runs:
        gate = run.setting("model.gate")
        if gate["kind"] == "free" and gate.get("estimator", "soft") == "soft":
            training = Training.model_validate(run.setting("training"))
            steps = -(-json.loads((run.folder / "data.json").read_text())["train"] // training.batch_size)
            alike[training, FreeGate.model_validate(gate), steps].append(run)
    for (training, gate, steps), members in alike.items():
        ends = without_images(training, gate, tuple(run.headline["tradeoff"] for run in members), steps)
        made |= {run.name: end for run, end in zip(members, ends, strict=True)}
    return made


def _mean(values: Iterable[float]) -> Cell:
    """With the standard deviation over several seeds."""
    values = list(values)
    if not values:
        return Cell()
    return Cell(statistics.mean(values), deviation=statistics.stdev(values) if len(values) > 1 else None)
