"""A router's gain over the random mix once its gater is paid for, which is known when the router was timed. Nothing here imports torch."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...runs import RunFolder
from .columns import TABLE

GAIN = ("mix_gain", "mix_gain_low", "mix_gain_high")


def with_gater(folder: Path, row: dict[str, Any], times: dict[str, Any]) -> dict[str, float]:
    """`mix_gain_paid` with its interval, in points, of an operating point's row and its times; nothing where either is not known.

    The mix gets the time that the gater takes, too, up to the dearest expert's.
    """
    run = RunFolder(folder)
    if not run.has(TABLE) or any(name not in row for name in GAIN):
        return {}
    table = pd.DataFrame(run.read_csv(TABLE))
    with run.understood(TABLE):
        mix = table[(table["curve"] == "random mix") & (table["severity"] == row.get("severity", "all"))].sort_values("ms")
        free, paid = np.interp([row["expected_ms"], row["expected_ms"] + times.get("gate_ms", 0.0)], mix["ms"], mix["accuracy"])
    return {name.replace("gain", "gain_paid"): row[name] - float(paid - free) for name in GAIN}
