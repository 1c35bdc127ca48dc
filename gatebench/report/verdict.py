"""What a run, a timing or a sweep comes to, in a sentence or two; from plain rows."""

import math
from collections.abc import Sequence

from .groups import Group, tradeoff_text
from .quantities import interval, mean

GAIN = "adaptivity_gain"
WORTH_SAYING = 1.1
"""Times the median from which on the slowest tenth is mentioned, and times the easiest inputs' MACs for the hardest."""
SURE = 2.0
"""Points of accuracy: an interval of a gain that is wider and holds 0 says nothing."""
SMALLEST = 0.05
"""Percent that is more than nothing."""
AS_GOOD = 1.0
"""Points of accuracy within which an operating point of a sweep is as good as the best."""
FEWEST = 20
"""Inputs of a difficulty below which it is not compared with another."""


def timed(row: dict) -> str:
    """Of a row of times: claimed, executed, how fast, how the times of inputs differ.

    With the adaptivity gain of its operating point in the row, also what deciding per input is worth.
    """
    seen = "on inputs that it has seen before " * row.get("seen_before", False)
    said = [f"{row['network']} {_join([*_savings(row), seen + _speed(row)])}.", worth(row)]
    said += [_spread(row)] if "rival" in row else []
    said += ["The machine was busy, so time it again."] if row.get("busy") else []
    return " ".join(filter(None, said))


def in_runtimes(rows: Sequence[dict]) -> str:
    """Of one network's rows in several runtimes: the fastest, over what it is compared with in its own fastest."""
    best = min(rows, key=lambda row: row["latency_ms"])
    if "speedup_fastest" not in best:
        return f"{best['network']} is fastest in {best['runtime']}: {_ms(best['latency_ms'])} ms."
    low, high = best["speedup_fastest_low"], best["speedup_fastest_high"]
    range_ = f"{_before_and_after(best['rival_fastest_ms'], best['latency_ms'])}{_times(low)} to {_times(high)}"
    rival = f"{best['rival']} in its fastest, {best['rival_fastest']}"
    said = _faster(best["speedup_fastest"], low, high, rival, range_, low <= 1 <= high and "repeats_needed" in best)
    return f"In its fastest runtime, {best['runtime']}, {best['network']} {said}."


def trained(row: dict, breakdown: list[dict]) -> str:
    """Of a finished run: its row and the lines of breakdown.csv."""
    name, where = f"{row['model']} {row['recipe']}", f"{row['dataset']} ({row['split']})"
    accuracy = f"{row['accuracy']:.2f} % ({row['accuracy_low']:.2f} to {row['accuracy_high']:.2f})"
    if not row.get("adaptive"):
        return f"{name} reaches {accuracy} on {where}. It decides nothing: all inputs take the same work."
    parts = [f"reaches {accuracy} on {where}"]
    parts += [_claimed(row["skip_pct"])] if "skip_pct" in row else []
    parts += [executed(100 * (1 - row["macs_ratio"]))] if "macs_ratio" in row else []
    return " ".join(filter(None, [f"{name} {_join(parts)}.", _difficulty(breakdown), worth(row)]))


def swept(points: Sequence[Group]) -> str:
    """Of a sweep, given its operating points on the whole scored part: the cheapest within a point of the most accurate.

    Cheapest is the fastest, or where not all were timed that which executes least.
    """
    points = [group for group in points if "severity" not in group.row and "reference" not in group.row]
    cost = "latency_ms" if all(mean(group, "latency_ms") is not None for group in points) else "macs_executed"
    best = max(points, key=lambda group: (mean(group, "accuracy"), -mean(group, cost)))
    as_good = [group for group in points if mean(group, "accuracy") >= mean(best, "accuracy") - AS_GOOD]
    chosen = min(as_good, key=lambda group: mean(group, cost))
    saved, speedup, ends = mean(chosen, "saved_pct"), mean(chosen, "speedup"), interval(chosen, "speedup")
    parts = [f"reaches {mean(chosen, 'accuracy'):.2f} %"] + ([executed(saved)] if saved is not None else [])
    if speedup is not None and ends:
        low, high = ends
        both = _before_and_after(mean(chosen, "rival_ms"), mean(chosen, "latency_ms"))
        parts.append(_faster(speedup, low, high, chosen.row["rival"], f"{both}{_times(low)} to {_times(high)}", low <= 1 <= high))
    beside = "" if chosen is best else f"Nothing is more accurate than {_named(best)}, at {mean(best, 'accuracy'):.2f} %."
    return " ".join(filter(None, [f"{_named(chosen)} {_join(parts)}.", worth(_gain_over_seeds(chosen)), beside]))


def _named(group: Group) -> str:
    """ "lambda 0.8"."""
    return tradeoff_text(group.tradeoff, [group.row["tradeoff"]])


def _gain_over_seeds(group: Group) -> dict:
    """As `gain_of`, of all seeds."""
    low, high = interval(group, GAIN) or (None, None)
    return {GAIN: mean(group, GAIN), f"{GAIN}_low": low, f"{GAIN}_high": high}


def gain_of(row: dict) -> dict:
    """The columns of a run's row that say what deciding per input is worth."""
    return {key: value for key, value in row.items() if key.startswith(GAIN)}


def _signed(value: float) -> str:
    """With two digits; nothing is +0.00."""
    return f"{round(value, 2) + 0.0:+.2f}"


def worth(row: dict) -> str:
    """What deciding per input is worth over fixed decisions with the same weights; nothing where that was not measured."""
    gain, low, high = (row.get(f"{GAIN}{end}") for end in ("", "_low", "_high"))
    if gain is None:
        return ""
    if not gain and not low and not high:
        return "Deciding per input is worth nothing: the same is reached by one choice for all."
    interval_text = f", {_signed(low)} to {_signed(high)}" if low is not None and high is not None else ""
    points = f"{_signed(gain)} points{interval_text}"
    fixed = "fixed decisions for all inputs"
    if low is None or high is None:
        return f"Deciding per input is worth {points} over {fixed} at equal MACs."
    if low > 0:
        return f"Deciding per input gains accuracy over {fixed} at equal MACs ({points})."
    if high < 0:
        return f"Deciding per input loses accuracy to {fixed} at equal MACs ({points})."
    if high - low <= SURE:
        return f"Yet {fixed} do as well at equal MACs ({points})."
    return f"Whether deciding per input is worth anything is open ({points} over {fixed}): score more inputs."


def _savings(row: dict) -> list[str]:
    parts = [_claimed(row["timed_claimed_pct"])] if "timed_claimed_pct" in row else []
    if "timed_saving_pct" in row:
        return [*parts, executed(row["timed_saving_pct"])]
    if row.get("uncounted") or row.get("rival_uncounted"):
        return [*parts, "executes MACs that are not counted"]
    return parts


def _claimed(saved: float) -> str:
    return "claims nothing" if abs(saved) < SMALLEST else f"claims {_percent(saved)}"


def executed(saved: float) -> str:
    """A saving in percent of the reference's MACs."""
    if abs(saved) < SMALLEST:
        return "executes as much"
    return f"executes {_percent(abs(saved))} {'less' if saved > 0 else 'more'}"


def _speed(row: dict) -> str:
    if "speedup" not in row:
        return f"takes {_ms(row['latency_ms'])} ms ({_ms(row['latency_ms_low'])} to {_ms(row['latency_ms_high'])})"
    low, high, rival = row["speedup_low"], row["speedup_high"], row["rival"]
    range_ = f"{_before_and_after(row.get('rival_ms'), row['latency_ms'])}{_times(low)} to {_times(high)}"
    return _faster(row["speedup"], low, high, rival, range_, "repeats_needed" in row)


def _before_and_after(rival_ms: float | None, ms: float) -> str:
    """ "1.95 -> 1.63 ms; "; nothing where the rival's own time was not measured."""
    return "" if rival_ms is None else f"{_ms(rival_ms)} -> {_ms(ms)} ms; "


def _faster(speedup: float, low: float, high: float, rival: str, range_: str, is_open: bool) -> str:
    """Of a speed-up and its interval, which `range_` shows; `is_open`: it holds 1 and is wide."""
    if low > 1:
        return f"is {_times(speedup)}x as fast as {rival} ({range_})"
    if high < 1:
        return f"is slower, {_times(speedup)}x as fast as {rival} ({range_})"
    return f"may be faster or slower than {rival} ({range_})" if is_open else f"takes as long as {rival} ({range_})"


def _spread(row: dict) -> str:
    """How the times of single inputs differ, where they do."""
    median, slow = row.get("latency_p50"), row.get("latency_p90")
    if row["batch_size"] != 1 or median is None or slow is None or slow < WORTH_SAYING * median:
        return ""
    return f"Half of the inputs take {_ms(median)} ms or less, one in ten {_ms(slow)} ms or more."


def _difficulty(breakdown: list[dict]) -> str:
    """How much more the hardest inputs get than the easiest, where the data say which are hard."""
    bins = [each for each in breakdown if each["by"] == "difficulty" and each["inputs"] >= FEWEST]
    if len(bins) < 2 or not bins[0]["macs_executed"]:
        return ""
    ratio = bins[-1]["macs_executed"] / bins[0]["macs_executed"]
    if ratio >= WORTH_SAYING:
        return f"The hardest inputs get {ratio:.2f} times the MACs of the easiest."
    return "Hard inputs get about as much work as easy ones." if ratio * WORTH_SAYING >= 1 else "Hard inputs get less work than easy ones."


def _join(parts: list[str]) -> str:
    """ "a", "a and b", "a, b, and c"."""
    *others, last = parts
    return " and ".join([", ".join(others), last]) if len(others) == 1 else f"{', '.join(others)}, and {last}" if others else last


def _percent(value: float) -> str:
    return f"{value:.0f} %" if abs(value) >= 10 else f"{value:.1f} %"


def _times(value: float) -> str:
    """Three digits; four near 1."""
    return f"{value:.3f}" if abs(value - 1) < 0.02 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _ms(value: float) -> str:
    """Three digits."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"
