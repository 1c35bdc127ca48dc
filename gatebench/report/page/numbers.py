"""Numbers as a page carries them: short, and with their interval where there is one."""

from ..groups import Group
from ..quantities import interval, mean

DIGITS = 5


def rounded(value: float | None) -> float | None:
    """To the digits that a page can show."""
    return None if value is None else float(f"{value:.{DIGITS}g}")


def measured(group: Group, key: str) -> list[float] | None:
    """Mean over the group's rows, and both ends of the interval that fronts have; None where a row lacks it."""
    if not all(key in row for row in group.rows):
        return None
    value = mean(group, key)
    low, high = interval(group, key) or (value, value)
    return [rounded(each) for each in (value, low, high)]


def average(group: Group, key: str) -> float | None:
    """The mean alone."""
    return rounded(mean(group, key)) if all(key in row for row in group.rows) else None
