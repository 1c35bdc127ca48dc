"""The tables of results/cosinegate.md: the paper's beside ours; what is claimed, executed and realised."""

from pages import Parts, beside, compared, savings, short_name, usual_tables

from gatebench.report import verdict
from gatebench.report.comparison import comparison_sheets
from gatebench.report.groups import Group, groups
from gatebench.report.results import Run
from gatebench.report.sheet import Sheet

MODELS = "cosinegate", "resnet20", "resnet14"
ORDER = ("resnet20", "resnet14", "cosinegate aggressive", "cosinegate balanced", "cosinegate conservative", "cosinegate sign-corrected",
         "cosinegate predictive", "resnet20 mnist", "cosinegate mnist", "cosinegate mnist-scaled")  # fmt: skip
"""Of networks; `released`, which was trained for 5 epochs and not timed, is in the full tables."""
PRINTED = "cosinegate-table-2", "cosinegate-section-4-4"
NOT_YET = "What deciding per image is worth beside one fixed pattern of blocks is not measured yet."


def tables(runs: list[Run]) -> Parts:
    """What the page shows."""
    own = groups(_own(runs))
    shown = {short_name(group): group for group in own}
    printed = [sheet for sheet in comparison_sheets(own) if sheet.name in PRINTED]
    return {
        "beside": beside(printed, {"accuracy": "accuracy %", "skip_soft_pct": "gates off (soft) %"}),
        "savings": savings(shown[name] for name in ORDER),
        "worth": worth(shown["cosinegate predictive"]),
    }


def full(runs: list[Run]) -> dict[str, list[Sheet]]:
    """What is linked."""
    return usual_tables("cosinegate", _own(runs))


def worth(group: Group) -> str:
    """What deciding per input is worth, in a sentence."""
    gain = compared(group, verdict.GAIN)
    return verdict.worth({verdict.GAIN: gain.value, f"{verdict.GAIN}_low": gain.low, f"{verdict.GAIN}_high": gain.high}) or NOT_YET


def _own(runs: list[Run]) -> list[Run]:
    return [run for run in runs if run.headline["model"] in MODELS]
