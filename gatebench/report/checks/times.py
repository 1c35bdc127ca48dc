"""Rules of `report --check` on times."""

import math
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from ...plain_data import fits
from ..evidence import Evidence, Found
from ..results import same_point
from .numbers import OF_RUN, at_most

ROUNDED = 1e-3
"""Relative error of quantiles, which are stored with five digits."""
APART = 2.0
"""Times by which a speed-up may differ from the ratio of two mean times, on a noisy machine."""
CLOCKS = timedelta(days=1)
"""By which clocks may differ."""
PERCENTILES = ("latency_p50", "latency_p90", "latency_p99")
WHEN = "%Y-%m-%dT%H:%M:%SZ"


def times_are_of_the_run(found: Evidence) -> Iterator[Found]:
    """A run that was evaluated anew has another digest; its weights say that times are of it."""
    for file, row in found.timed():
        anew = row.get("weights") == found.headline.get("weights", "")
        for key in OF_RUN:
            if row.get(key) != found.headline.get(key) and not (anew and key == "digest"):
                yield file, f"{key} is {row.get(key)!r}, and the run's {found.headline.get(key)!r}"
        if row.get("digest") == found.headline["digest"] and not any(same_point(row, point) for point in found.rows):
            yield file, "it times an operating point that rows.jsonl does not have"


def places_of_times_are_named(found: Evidence) -> Iterator[Found]:
    for file, row in found.timed():
        lacking = [key for key in ("machine", "device", "runtime", "threads", "batch_size", "execution") if key not in row]
        if lacking:
            yield file, f"a row lacks {', '.join(lacking)}, without which a time compares with no other"


def percentiles_ascend(found: Evidence) -> Iterator[Found]:
    for file, row in found.timed():
        values = [row[key] for key in PERCENTILES if key in row]
        if values != sorted(values):
            yield file, f"percentiles do not ascend: {', '.join(f'{value:g}' for value in values)} ms"


def mean_time_is_between_the_ends(found: Evidence) -> Iterator[Found]:
    """Of the calls, where their quantiles were kept; of the rival's too."""
    for file, row in found.timed():
        for key, quantiles in (("latency_ms", "latency_quantiles_ms"), ("rival_ms", "rival_quantiles_ms")):
            ends = row.get(quantiles)
            if ends and key in row and not ends[0] * (1 - ROUNDED) <= row[key] <= ends[-1] * (1 + ROUNDED):
                yield file, f"{key} = {row[key]:g} is not between the fastest and the slowest call, {ends[0]:g} and {ends[-1]:g}"


def speedup_is_of_the_times(found: Evidence) -> Iterator[Found]:
    """Ratios are taken within rounds, so that they differ a little from the ratio of the means."""
    for file, row in found.timed():
        if "speedup" in row and "rival_ms" in row and not 1 / APART < row["speedup"] * row["latency_ms"] / row["rival_ms"] < APART:
            yield file, f"speedup = {row['speedup']:g}, and {row['rival_ms']:g} over {row['latency_ms']:g} ms is another"


def realised_is_speedup_over_saving(found: Evidence) -> Iterator[Found]:
    """realised = (1 - 1 / speed-up) / executed saving."""
    for file, row in found.timed():
        if {"realised", "speedup", "timed_saving_pct"} <= row.keys() and row["speedup"] > 0 and row["timed_saving_pct"]:
            realised = (1 - 1 / row["speedup"]) / (row["timed_saving_pct"] / 100)
            if not math.isclose(realised, row["realised"], rel_tol=0.01, abs_tol=0.01):
                told = f"a speed-up of {row['speedup']:g} at {row['timed_saving_pct']:g} % saved makes {realised:g}"
                yield file, f"realised = {row['realised']:g}, and {told}"


def saving_is_of_the_twin(found: Evidence) -> Iterator[Found]:
    for file, row in found.timed():
        dense, over_twin = found.headline.get("macs_dense"), row.get("rival") == "its static twin"
        if dense and over_twin and {"timed_saving_pct", "timed_macs_executed"} <= row.keys():
            saving = 100 * (1 - row["timed_macs_executed"] / dense)
            if abs(saving - row["timed_saving_pct"]) > 1e-4:
                yield file, f"timed_saving_pct = {row['timed_saving_pct']:g}, and timed_macs_executed makes {saving:g}"


def timed_macs_are_in_order(found: Evidence) -> Iterator[Found]:
    for file, row in found.timed():
        ends = [row.get(f"timed_macs_{name}") for name in ("least", "executed", "most")]
        if None not in ends and not (at_most(ends[0], ends[1]) and at_most(ends[1], ends[2])):
            yield file, f"timed_macs_executed = {ends[1]:g} is not between {ends[0]:g} and {ends[2]:g}"


def rounds_and_calls_are_counted(found: Evidence) -> Iterator[Found]:
    for file, row in found.timed():
        if not row["calls"] or not row["rounds"] or row["noisy_rounds"] > row["rounds"]:
            yield file, f"{row['calls']} calls in {row['rounds']} rounds, {row['noisy_rounds']} of them noisy, cannot be"


def conditions_are_of_the_times(found: Evidence) -> Iterator[Found]:
    for times in found.times:
        sessions = times.conditions.get("sessions", [])
        name = times.name.removesuffix("l")
        if not fits(sessions, list[dict[str, Any]]):
            yield name, "its sessions are no list"
            continue
        counted = {str((each.get("threads"), each.get("batch_size"))): each.get("inputs") for each in sessions}
        for row in times.rows:
            calls = counted.get(str((row.get("threads"), row.get("batch_size"))))
            if isinstance(calls, list) and len(calls) != row["calls"]:
                yield name, f"it lists other inputs than the {row['calls']} calls that were timed"


def dates_are_past(found: Evidence) -> Iterator[Found]:
    for file, row in found.timed():
        try:
            when = datetime.strptime(row.get("when", "2000-01-01T00:00:00Z"), WHEN).replace(tzinfo=timezone.utc)
        except ValueError:
            yield file, f"when = {row['when']} is no time such as 2026-01-31T12:00:00Z"
            continue
        if when > datetime.now(timezone.utc) + CLOCKS:
            yield file, f"when = {row['when']} lies in the future"


RULES = (
    times_are_of_the_run,
    places_of_times_are_named,
    percentiles_ascend,
    mean_time_is_between_the_ends,
    speedup_is_of_the_times,
    realised_is_speedup_over_saving,
    saving_is_of_the_twin,
    timed_macs_are_in_order,
    rounds_and_calls_are_counted,
    conditions_are_of_the_times,
    dates_are_past,
)
"""In the order in which they are applied."""
