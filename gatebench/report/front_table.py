"""Fronts and answers to budgets for a terminal, and for programs."""

from .front import AXES, Best, Panel, Point
from .quantities import PLACE
from .sheet import Cell, Heading, Sheet, make_sheet

STATES = {"front": "* front", "tied": "~ tied", "dominated": "dominated", "constant": "runs nothing"}
POINT = (
    ("cost", "x"), ("cost_low", "x_low"), ("cost_high", "x_high"),
    ("accuracy", "y"), ("accuracy_low", "y_low"), ("accuracy_high", "y_high"),
)  # fmt: skip
"""Names for programs."""


def front_sheet(panel: Panel) -> Sheet:
    """Every network of a panel by its cost, the front marked."""
    axis = AXES[panel.cost]
    box = f"accuracy x log cost, {axis.least:g} {axis.unit} to the reference {axis.most:g} {axis.unit}, 0 %"
    headings = (
        Heading("network", "network"), Heading("seeds", "seeds", digits=0), Heading("cost", axis.column, digits=2),
        Heading("accuracy", "accuracy % (95 %)", digits=2), Heading("scored_in", "accuracy in"), Heading("state", "front"),
    )  # fmt: skip
    lines = [
        (
            point.label, len(point.by_seed), _estimate(point.x, point.x_low, point.x_high, 3 if point.x < 10 else 2),
            _estimate(point.y, point.y_low, point.y_high, 2), point.scored_in, STATES[state],
        )
        for point, state in sorted(zip(panel.points, panel.states(), strict=True), key=lambda each: each[0].x)
    ]  # fmt: skip
    return make_sheet("front", panel.title, headings, lines, f"hypervolume {panel.hypervolume():.2f} % ({box})")


def best_sheet(answers: list[Best]) -> Sheet:
    """The best network under each budget, and those whose interval overlaps with its own."""
    lines = []
    for answer in answers:
        best, *ties = answer.points or [None]
        named = f"{best.label}: {best.y:.2f} %, {best.x:.4g} {AXES[answer.panel.cost].unit}" if best else "none"
        lines.append((answer.panel.title, answer.question, named, ", ".join(each.label for each in ties) or None))
    headings = (Heading("panel", "on"), Heading("question", "question"), Heading("best", "best"), Heading("tied", "tied with it"))
    return make_sheet("best", "best under a budget", headings, lines)


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
    where = dict(zip(PLACE, panel.where or (), strict=False))
    return {"cost": panel.cost, "unit": AXES[panel.cost].unit, "dataset": panel.dataset, "split": panel.split, **where}


def _point(point: Point) -> dict:
    values = {name: getattr(point, key) for name, key in POINT}
    scored_in = {"scored_in": point.scored_in} if point.scored_in else {}
    return {"label": point.label, **values, "static": point.static, **scored_in, "seeds": sorted(point.by_seed)}


def _estimate(value: float, low: float, high: float, digits: int) -> Cell:
    return Cell(value, digits=digits) if low == high else Cell(value, low, high, digits=digits)
