"""Fronts and answers to budgets for a terminal, and for programs."""

from rich import box
from rich.table import Table
from rich.text import Text

from .front import AXES, Best, Panel, Point

SAYS = {"front": "* front", "tied": "~ tied", "dominated": "dominated"}


def front_table(panel: Panel) -> Table:
    """Every network of a panel by its cost, the front marked."""
    axis = AXES[panel.cost]
    table = Table(title=Text(panel.title, "italic"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    box_said = f"accuracy x log cost, {axis.least:g} {axis.unit} to the reference {axis.most:g} {axis.unit}, 0 %"
    volume = f"hypervolume {panel.hypervolume():.2f} % ({box_said})"
    table.caption, table.caption_justify = Text(volume), "left"
    table.add_column("network", min_width=18)
    cost = "million MACs" if panel.cost == "macs_executed" else axis.unit
    for heading in ("seeds", f"{cost} (95 %)", "accuracy % (95 %)"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("front", no_wrap=True)
    for point, state in sorted(zip(panel.points, panel.states(), strict=True), key=lambda each: each[0].x):
        table.add_row(Text(point.label), str(len(point.by_seed)), _interval(point.x, point.x_low, point.x_high, 3 if point.x < 10 else 2),
                      _interval(point.y, point.y_low, point.y_high, 2), Text(SAYS[state], "bold" if state == "front" else ""))  # fmt: skip
    return table


def best_table(answers: list[Best]) -> Table:
    """The best network under each budget, and those that its interval does not tell from it."""
    table = Table(title="best under a budget", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("on", "question", "best", "not told from it"):
        table.add_column(heading)
    for answer in answers:
        best, *ties = answer.points or [None]
        named = f"{best.label}: {best.y:.2f} %, {best.x:.4g} {AXES[answer.panel.cost].unit}" if best else "none"
        table.add_row(*map(Text, (answer.panel.title, answer.question, named, ", ".join(each.label for each in ties) or "-")))
    return table


def as_dict(shown: dict[str, list[Panel]], answers: list[Best]) -> dict:
    """The same for programs."""
    return {
        "panels": [
            {
                **_panel(panel), "hypervolume_pct": panel.hypervolume(),
                "hypervolume_reference": {"cost": AXES[panel.cost].most, "accuracy": 0.0, "least_cost": AXES[panel.cost].least},
                "points": [{**_point(point), "state": state} for point, state in zip(panel.points, panel.states(), strict=True)],
                "published": [_point(point) for point in panel.published],
                "attainment": {name: surface.tolist() for name, surface in panel.attainment().items()},
            }
            for panels in shown.values() for panel in panels
        ],
        "best": [
            {**_panel(each.panel), "question": each.question, "networks": [_point(point) for point in each.points]} for each in answers
        ],
    }  # fmt: skip


def _panel(panel: Panel) -> dict:
    where = dict(zip(("machine", "device", "runtime", "threads", "batch_size"), panel.where or (), strict=False))
    return {"cost": panel.cost, "unit": AXES[panel.cost].unit, "dataset": panel.dataset, "split": panel.split, **where}


def _point(point: Point) -> dict:
    keys = ("label", "x", "x_low", "x_high", "y", "y_low", "y_high", "static")
    return {{"x": "cost", "x_low": "cost_low", "x_high": "cost_high", "y": "accuracy", "y_low": "accuracy_low", "y_high": "accuracy_high"}
            .get(key, key): getattr(point, key) for key in keys} | {"seeds": sorted(point.by_seed)}  # fmt: skip


def _interval(value: float, low: float, high: float, digits: int) -> str:
    return f"{value:.{digits}f}" + (f" ({low:.{digits}f}-{high:.{digits}f})" if low != high else "")
