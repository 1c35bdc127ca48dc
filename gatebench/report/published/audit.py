"""What can be recomputed of the papers' tables, and every figure that does not come out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from . import Claim, Line, Printed, claims, printed

HALF = {"shares": 0.05, "latency": 0.005, "accuracy": 0.005, "percent": 0.05}
"""What rounding may have taken from a printed figure: half a unit of its last decimal. A mismatch is more than all figures' together."""


@dataclass(frozen=True)
class Mismatch:
    """A printed figure, and what the paper's own other figures make of it."""

    paper: str
    where: str
    what: str
    printed: float
    recomputed: float
    how: str


def audit() -> list[Mismatch]:
    """All mismatches of all papers, in the order of the papers."""
    tables = {(table.paper, table.name): table for table in printed()}
    cosinegate = {name: table for (paper, name), table in tables.items() if paper == "CosineGate"}
    routing = {name: table for (paper, name), table in tables.items() if paper == "Routing Beats Latency"}
    return [*_cosinegate(cosinegate), *_routing(routing), *(each for claim in claims() for each in _claim(claim))]


def _cosinegate(tables: dict[str, Printed]) -> Iterator[Mismatch]:
    """Skip % is 100 (1 - FLOPs); no epoch is later than the protocol's last; Table 3 repeats the end of Table 2."""
    second, third = tables["Table 2"], tables["Table 3"]
    for line in second.lines:
        values = line.values
        for when, suffix in (("at epoch 100", "_epoch_100"), ("at the end", "")):
            yield from _differs(second, line, f"skip % {when}", values[f"skip_soft_pct{suffix}"],
                                100 * (1 - values[f"mean_gate_soft{suffix}"]), "100 (1 - FLOPs)", 2 * HALF["percent"])  # fmt: skip
        if values["peak_epoch"] > second.epochs:
            yield Mismatch(
                second.paper, f"{second.name}, {line.label}", "peak epoch", values["peak_epoch"], second.epochs, "training's last"
            )
        for context in third.lines:
            if context.label == line.label:
                yield from _differs(third, context, "accuracy %", context.values["accuracy"], values["accuracy"], "Table 2, the end",
                                    2 * HALF["percent"])  # fmt: skip
                yield from _differs(third, context, "FLOPs %", context.values["mean_gate_soft_pct"], 100 * values["mean_gate_soft"],
                                    "Table 2, the end", 2 * HALF["percent"])  # fmt: skip


def _routing(tables: dict[str, Printed]) -> Iterator[Mismatch]:
    """Latency is the gater's and the experts' by their shares; shares add up; the whole test set is the mean of the four severities."""
    experts = {line.label: line.values["latency_ms"] for line in tables["Table 1"].lines}
    times = [experts["SqueezeNet"], experts["MobileViT-S"], experts["DeiT-S-16"]]
    severities = [tables[f"Table {number}"] for number in (3, 4, 5, 6)]
    for table in (tables["Table 2"], *severities):
        for line in table.lines:
            shares = [line.values[f"shares_pct.{number}"] for number in range(3)]
            looked_up = experts["Gater"] + sum(share / 100 * time for share, time in zip(shares, times, strict=True))
            unsure = HALF["shares"] / 100 * sum(times) + 3 * HALF["latency"]  # of the shares, one expert, the gater, and the figure itself
            yield from _differs(table, line, "latency ms", line.values["latency_ms"], looked_up, "gater + shares x Table 1", unsure)
            yield from _differs(table, line, "sum of shares %", sum(shares), 100.0, "all inputs", 3 * HALF["shares"])
    every_image = tables["Table 2"]
    for line in every_image.lines:
        parts = [each for table in severities for each in table.lines if each.label == line.label]
        for key, heading in every_image.columns.items():
            mean = sum(part.values[key] for part in parts) / len(parts)
            unsure = 2 * HALF[re.match("[a-z]+", key)[0]]
            yield from _differs(every_image, line, heading, line.values[key], mean, "mean of Tables 3-6", unsure)


def _claim(claim: Claim) -> Iterator[Mismatch]:
    first, second = claim.parts
    saving = 100 * (1 - first / second)
    if abs(claim.says - saving) > 0.5:
        yield Mismatch(claim.paper, claim.where, claim.what, claim.says, saving, f"100 (1 - {first:g} / {second:g})")


def _differs(table: Printed, line: Line, what: str, says: float, made: float, how: str, tolerance: float) -> Iterator[Mismatch]:
    if abs(says - made) > tolerance + 1e-9:
        yield Mismatch(table.paper, f"{table.name}, {line.label}", what, says, made, how)
