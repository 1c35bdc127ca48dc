"""The tables of results/cgt.md: the paper's beside ours; gates beside joint and annealed training; claimed, executed and realised."""

import statistics

from exits import read
from pages import Parts, beside, savings, short, short_name, timed, usual_tables

from gatebench.report.baseline import baseline_sheet
from gatebench.report.comparison import comparison_sheets
from gatebench.report.groups import Group, every_way, groups
from gatebench.report.quantities import mean, over_seeds, spread
from gatebench.report.results import Run
from gatebench.report.sheet import Cell, Heading, Sheet, make_sheet

MODEL, DATA = "cgt", "fashion-mnist"
TRAININGS = {"soft": "soft gates, as released", "soft-printed": "soft gates, as printed", "hard": "hard gates",
             "annealed": "no gates, annealed weights", "exit-wise": "each exit by itself, trunk frozen"}  # fmt: skip
GATED = "soft", "soft-printed", "hard"
ONE, SPENT = "max-softmax, one threshold", "max-softmax, budgeted batch"
SPLITS = {"indian-pines": "squares", "indian-pines-random": "single pixels"}
"""Of Indian Pines: what is drawn for training."""
PINES = (
    Heading("trained", "trained with"), *(Heading(f"f1_{number}", f"F1, by {text}", "%", 2) for number, text in enumerate(SPLITS.values())),
    Heading("apart", "apart", "points", 2, signed=True),
    *(Heading(f"macs_{number}", f"executed MACs, by {text}", "%", 1) for number, text in enumerate(SPLITS.values())),
)  # fmt: skip
QUANTITIES = {"f1": "F1 %", "shares_pct_0": "leave at exit 1 %"}


def tables(runs: list[Run]) -> Parts:
    """What the page shows."""
    own = _own(runs)
    members = groups(own)
    half = [group for group in members if 0.5 in group.tradeoffs or group.row["recipe"] == "deepest"]
    printed = [sheet for sheet in comparison_sheets(members) if sheet.name.startswith("confidence-gated-training")]
    return {
        "beside": beside(printed, QUANTITIES, lambda network: "budget 50" in network),
        "over joint": over_joint(baseline_sheet(every_way(own))),
        "exits alone": exits_alone(own),
        "savings": savings(sorted(filter(was_timed, half), key=lambda group: (group.row["dataset"], short_name(group)))),
        "pines": pines([group for group in half if group.row["dataset"] in SPLITS and "one threshold" in group.row["policy"]]),
    }


def full(runs: list[Run]) -> dict[str, list[Sheet]]:
    """What is linked."""
    own = _own(runs)
    return {**usual_tables("cgt", own), "cgt-beside-joint-training": [baseline_sheet(every_way(own))]}


def over_joint(sheet: Sheet) -> Sheet:
    """Each training beside joint training: at half of the MACs, with half of them spent, and at 35 %."""
    named = [dict(zip((heading.name for heading in sheet.headings), line, strict=True)) for line in sheet.lines]

    def gain(recipe: str, policy: str, budget: float, key: str) -> Cell:
        (cell,) = (
            line[key] for line in named
            if (line["network"].value, line["baseline"].value, line["policy"].value) == (f"cgt {recipe}", "cgt joint", policy)
            and budget in (line["tradeoff"].value, line["tradeoff"].low)
        )  # fmt: skip
        return cell

    headings = [
        Heading("trained", "trained with"), Heading("accuracy_gain", "accuracy, points", digits=2, signed=True),
        Heading("macs_gain", "MACs, points", digits=1, signed=True),
        Heading("spent_gain", "accuracy with the budget spent", digits=2, signed=True),
        Heading("accuracy_gain_35", "accuracy at 35 % of the MACs", digits=2, signed=True),
    ]  # fmt: skip
    lines = [
        (text, gain(recipe, ONE, 0.5, "accuracy_gain"), gain(recipe, ONE, 0.5, "macs_gain"), gain(recipe, SPENT, 0.5, "accuracy_gain"),
         gain(recipe, ONE, 0.35, "accuracy_gain"))
        for recipe, text in TRAININGS.items()
    ]  # fmt: skip
    return make_sheet("over-joint", "", headings, lines)


def exits_alone(runs: list[Run]) -> Sheet:
    """Accuracy where every input leaves at one exit: each gate's over annealed weights, and at the first exit over joint training."""
    alone, _ = read(runs[0].folder.path.parent, DATA)

    def gain(recipe: str, rival: str, number: int) -> Cell:
        apart = [alone[recipe][seed][number] - alone[rival][seed][number] for seed in sorted(alone[recipe].keys() & alone[rival].keys())]
        return Cell(statistics.mean(apart), *over_seeds(apart))

    headings = [Heading("trained", "trained with"), Heading("joint_1", "first exit, over joint training", digits=2, signed=True)]
    headings += [Heading(f"annealed_{number}", f"{name} exit, over annealed", digits=2, signed=True)
                 for number, name in enumerate(("first", "second", "last"), start=1)]  # fmt: skip
    lines = [(TRAININGS[each], gain(each, "joint", 0), *(gain(each, "annealed", number) for number in range(3))) for each in GATED]
    return make_sheet("exits-alone", "", headings, lines)


def pines(members: list[Group]) -> Sheet:
    """A line for each training on Indian Pines, at half of the MACs: by squares of the scene beside by single pixels, seed by seed."""
    lines = []
    for recipe, text in (*TRAININGS.items(), ("joint", "joint training")):
        named = "indian-pines" if recipe == "soft" else f"indian-pines-{recipe}"
        own = {group.row["dataset"]: group for group in members if group.row["recipe"] == named}
        if own.keys() == SPLITS.keys():
            squares, pixels = (own[split] for split in SPLITS)
            scored = [dict(zip(group.seeds, (row["f1"] for row in group.rows), strict=True)) for group in (squares, pixels)]
            apart = [scored[1][seed] - scored[0][seed] for seed in sorted(scored[0].keys() & scored[1].keys())]
            macs = (100 * mean(group, "macs_executed") / group.row["macs_dense"] for group in (squares, pixels))
            f1 = (short(spread(group, "f1")) for group in (squares, pixels))
            lines.append((text, *f1, Cell(statistics.mean(apart), *over_seeds(apart)), *macs))
    return make_sheet("pines", "Indian Pines", PINES, lines)


def was_timed(group: Group) -> bool:
    return bool(timed(group, 1).rows)


def _own(runs: list[Run]) -> list[Run]:
    return [run for run in runs if run.headline["model"] == MODEL]
