"""The tables of results/cosinegate.md: the paper's beside ours; what is claimed, executed and realised."""

from pages import Parts, beside, savings, short_name, usual_tables

from gatebench.report import verdict
from gatebench.report.comparison import comparison_sheets
from gatebench.report.groups import groups
from gatebench.report.quantities import estimate
from gatebench.report.results import Run
from gatebench.report.sheet import Heading, Sheet, make_sheet

MODELS = "cosinegate", "skipnet", "slat", "resnet20", "resnet14"
ORDER = ("resnet20", "resnet14", "cosinegate aggressive", "cosinegate balanced", "cosinegate conservative", "cosinegate sign-corrected",
         "cosinegate predictive", "resnet20 mnist", "cosinegate mnist", "cosinegate mnist-scaled")  # fmt: skip
"""Of networks. `released`, which was trained for 5 epochs and not timed, is in the full tables, and so are the peers, which have a page
of their own."""
TIMED_IN = "bf16"
"""The precision in which the networks that were timed were trained."""
PRINTED = "cosinegate-table-2", "cosinegate-section-4-4"
WORTH = (
    Heading("network", "network"), Heading("seed", "seed", digits=0),
    Heading("accuracy", "accuracy", "%", 2), Heading("macs_pct", "executed MACs", "%", 1),
    Heading("fixed_accuracy", "fixed: accuracy", "%", 2), Heading("fixed_macs_pct", "fixed: MACs", "%", 1),
    Heading(verdict.GAIN, "gain of deciding", "points", 2, signed=True),
)  # fmt: skip


def tables(runs: list[Run]) -> Parts:
    """What the page shows."""
    own = groups(_own(runs))
    shown = {short_name(group): group for group in own if group.row["precision"] == TIMED_IN}
    printed = [sheet for sheet in comparison_sheets(own) if sheet.name in PRINTED]
    return {
        "beside": beside(printed, {"accuracy": "accuracy %", "skip_soft_pct": "gates off (soft) %"}),
        "savings": savings(shown[name] for name in ORDER),
        "worth": worth(_own(runs)),
    }


def full(runs: list[Run]) -> dict[str, list[Sheet]]:
    """What is linked."""
    return usual_tables("cosinegate", _own(runs))


def worth(runs: list[Run]) -> Sheet:
    """Each run's own decisions beside the best fixed ones that cost no more, with the same weights."""
    rows = [run.headline for run in runs if "fixed_accuracy" in run.headline and _name(run.headline) in ORDER]
    lines = [
        (
            _name(row) + ("" if row["precision"] == TIMED_IN else f", {row['precision']}"),
            row["seed"], row["accuracy"], 100 * row["macs_ratio"],
            row["fixed_accuracy"], 100 * row["fixed_macs"] / row["macs_dense"], estimate(row, verdict.GAIN),
        )
        for row in sorted(rows, key=lambda row: (ORDER.index(_name(row)), row["precision"]))
    ]  # fmt: skip
    return make_sheet("worth", "Deciding for each image", WORTH, lines)


def _name(row: dict) -> str:
    return f"{row['model']} {row['recipe']}".removesuffix(" default")


def _own(runs: list[Run]) -> list[Run]:
    """Without what was tried and is on the page of block gates."""
    return [run for run in runs if run.headline["model"] in MODELS and run.setting("losses.decision_entropy") is None]
