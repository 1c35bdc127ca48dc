"""Rules of `report --check` on times."""

import math
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from ...foreign import is_number
from ...plain_data import fits
from ...row import NETWORK
from ..evidence import Evidence, Problem
from ..results import NEEDED_OF_TIMES, same_point
from .numbers import OF_RUN, PERCENTILES, at_most

ROUNDED = 1e-3
"""Relative error of quantiles, which are stored with five digits."""
APART = 1.2
"""Times by which a speed-up may differ from the ratios of two times within their intervals."""
CLOCKS = timedelta(days=1)
"""By which clocks may differ."""
WHEN = "%Y-%m-%dT%H:%M:%SZ"


def times_are_of_the_run(evidence: Evidence) -> Iterator[Problem]:
    """A run that was evaluated anew has another digest; its weights say that times are of it."""
    run = evidence.headline
    for file, row in evidence.timed():
        same, anew = row.get("digest") == run["digest"], row.get("weights") == run.get("weights", "")
        keys = sorted(NETWORK - {"policy", "tradeoff"}) if same else [key for key in OF_RUN if not (anew and key == "digest")]
        for key in (*keys, *(("dataset", "data_digest") if row.get("scored_inputs") else ())):
            if row.get(key) != run.get(key):
                yield file, f"{key} is {row.get(key)!r}, and the run's {run.get(key)!r}"
        if same and not any(same_point(row, point) for point in evidence.rows):
            yield file, "it times an operating point that rows.jsonl does not have"


def times_are_there_once(evidence: Evidence) -> Iterator[Problem]:
    counted = Counter(repr(row) for _, row in evidence.timed())
    yield from ((file, f"a row of times is there {counted[repr(row)]} times") for file, row in evidence.timed() if counted[repr(row)] > 1)


def places_of_times_are_named(evidence: Evidence) -> Iterator[Problem]:
    for file, row in evidence.timed():
        lacking = [key for key in NEEDED_OF_TIMES if key not in row]
        if lacking:
            yield file, f"a row lacks {', '.join(lacking)}, without which a time compares with no other"


def percentiles_ascend(evidence: Evidence) -> Iterator[Problem]:
    for file, row in evidence.timed():
        values = [row[key] for key in PERCENTILES if key in row]
        if values != sorted(values):
            yield file, f"percentiles do not ascend: {', '.join(f'{value:g}' for value in values)} ms"


def times_are_between_the_ends(evidence: Evidence) -> Iterator[Problem]:
    """Of the calls, where their quantiles were kept; of the rival's too."""
    ends = {**dict.fromkeys(("latency_ms", *PERCENTILES), "latency_quantiles_ms"), "rival_ms": "rival_quantiles_ms"}
    for file, row in evidence.timed():
        for key, quantiles in ends.items():
            calls = row.get(quantiles)
            if calls and not (all(map(is_number, calls)) and calls == sorted(calls)):
                yield file, f"{quantiles} do not ascend"
            elif calls and key in row and not calls[0] * (1 - ROUNDED) <= row[key] <= calls[-1] * (1 + ROUNDED):
                yield file, f"{key} = {row[key]:g} is not between the fastest and the slowest call, {calls[0]:g} and {calls[-1]:g}"


def speedup_is_of_the_times(evidence: Evidence) -> Iterator[Problem]:
    """Ratios are taken within rounds: they lie near those that the intervals of both times allow, which are wide on a busy machine."""
    for file, row in evidence.timed():
        for key, rival in (("speedup", "rival_ms"), ("speedup_fastest", "rival_fastest_ms")):
            if key in row and rival in row:
                (low, high), (rival_low, rival_high) = (
                    (row.get(f"{time}_low", row[time]), row.get(f"{time}_high", row[time])) for time in ("latency_ms", rival)
                )
                if not rival_low / APART <= row[key] * high or not row[key] * low <= rival_high * APART:
                    yield file, f"{key} = {row[key]:g}, and {row[rival]:g} over {row['latency_ms']:g} ms is another"


def realised_is_speedup_over_saving(evidence: Evidence) -> Iterator[Problem]:
    """realised = (1 - 1 / speed-up) / executed saving."""
    for file, row in evidence.timed():
        if {"realised", "speedup", "timed_saving_pct"} <= row.keys() and row["speedup"] > 0 and row["timed_saving_pct"]:
            realised = (1 - 1 / row["speedup"]) / (row["timed_saving_pct"] / 100)
            if not math.isclose(realised, row["realised"], rel_tol=0.01, abs_tol=0.01):
                told = f"a speed-up of {row['speedup']:g} at {row['timed_saving_pct']:g} % saved makes {realised:g}"
                yield file, f"realised = {row['realised']:g}, and {told}"


def saving_is_of_the_twin(evidence: Evidence) -> Iterator[Problem]:
    for file, row in evidence.timed():
        dense, over_twin = evidence.headline.get("macs_dense"), row.get("rival") == "its static twin"
        if dense and over_twin and {"timed_saving_pct", "timed_macs_executed"} <= row.keys():
            saving = 100 * (1 - row["timed_macs_executed"] / dense)
            if abs(saving - row["timed_saving_pct"]) > 1e-4:
                yield file, f"timed_saving_pct = {row['timed_saving_pct']:g}, and timed_macs_executed makes {saving:g}"


def timed_macs_are_in_order(evidence: Evidence) -> Iterator[Problem]:
    for file, row in evidence.timed():
        ends = [row.get(f"timed_macs_{name}") for name in ("least", "executed", "most")]
        if None not in ends and not (at_most(ends[0], ends[1]) and at_most(ends[1], ends[2])):
            yield file, f"timed_macs_executed = {ends[1]:g} is not between {ends[0]:g} and {ends[2]:g}"


def rounds_and_calls_are_counted(evidence: Evidence) -> Iterator[Problem]:
    for file, row in evidence.timed():
        if not row["calls"] or not row["rounds"] or row["noisy_rounds"] > row["rounds"]:
            yield file, f"{row['calls']} calls in {row['rounds']} rounds, {row['noisy_rounds']} of them noisy, cannot be"


def conditions_are_of_the_times(evidence: Evidence) -> Iterator[Problem]:
    for times in evidence.times:
        sessions, name = times.conditions.get("sessions", []), times.name.removesuffix("l")
        if not fits(sessions, list[dict[str, Any]]):
            yield name, "its sessions are no list"
            continue
        for row in times.rows if times.conditions else ():
            own = [each for each in sessions if all(each.get(key) == row.get(key) for key in ("threads", "batch_size"))]
            scored = evidence.inputs(evidence.headline) if row.get("scored_inputs") else None
            told = [problem for problem in (_other_conditions(each, row, scored) for each in own) if problem]
            if len(told) == len(own):
                yield name, told[0] if told else "it has no session of a row of times, by threads and batch size"


def _other_conditions(session: dict[str, Any], row: dict, scored: int | None) -> str:
    """In what a session is none of a row of times, whose inputs are of so many scored ones; empty where it may be its own."""
    place, inputs, noisy = session.get("measured_on"), session.get("inputs"), session.get("noisy_rounds")
    if isinstance(inputs, list) and len(inputs) != row["calls"]:
        return f"it lists other inputs than the {row['calls']} calls that were timed"
    if scored and fits(inputs, list[list[int]]) and not all(0 <= number < scored for call in inputs for number in call):
        return f"it lists inputs beyond the {scored:,} that are scored"
    if isinstance(noisy, list) and len(noisy) != row["noisy_rounds"]:
        return f"it lists {len(noisy)} noisy rounds, and the row has {row['noisy_rounds']}"
    if bool(session.get("interrupted")) != bool(row.get("interrupted")):
        return f"it says interrupted: {session.get('interrupted')}, and the row {row.get('interrupted')}"
    if isinstance(place, dict) and place.get("name") != row.get("machine"):
        return f"it is of {place.get('name')!r}, and the row of {row.get('machine')!r}"
    return ""


def dates_are_past(evidence: Evidence) -> Iterator[Problem]:
    for file, row in evidence.timed():
        try:
            when = datetime.strptime(row.get("when", "2000-01-01T00:00:00Z"), WHEN).replace(tzinfo=timezone.utc)
        except ValueError:
            yield file, f"when = {row['when']} is no time such as 2026-01-31T12:00:00Z"
            continue
        if when > datetime.now(timezone.utc) + CLOCKS:
            yield file, f"when = {row['when']} lies in the future"


RULES = (
    times_are_of_the_run,
    times_are_there_once,
    places_of_times_are_named,
    percentiles_ascend,
    times_are_between_the_ends,
    speedup_is_of_the_times,
    realised_is_speedup_over_saving,
    saving_is_of_the_twin,
    timed_macs_are_in_order,
    rounds_and_calls_are_counted,
    conditions_are_of_the_times,
    dates_are_past,
)
"""In the order in which they are applied."""
