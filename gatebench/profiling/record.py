"""What a session leaves behind in a run folder: rows, raw times, conditions, pictures."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from .. import columns, figures
from ..errors import GatebenchError, UsageError
from ..evaluation.breakdown import difficulty_bins
from ..measure.clock import clock_for, overhead
from ..measure.statistics import per_input
from ..runs import RunFolder
from .contender import Contender
from .networks import Network
from .session import Session

SAME = ("dataset", "machine", "device", "threads", "batch_size", "execution", "runtime", "rival")
"""A row of times replaces the one before that agrees in these."""
SAME_SESSION = ("dataset", "machine", "device", "threads", "batch_size", "rival", "executions")
"""And so do the raw times of a session."""


def destinations(networks: list[Network], out: Path | None) -> list[RunFolder | None]:
    """Where each network's rows go: its run folder, or a folder below `out`; None for one that is no run where `out` is not given.

    Raises UsageError where two would share a folder, GatebenchError where one is damaged or not writable: before anything is timed.
    """
    names = [network.folder.path.name if network.folder else _slug(network.label) for network in networks]
    if out and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"Two networks would be written to {out / twice}. Rename one of them, or leave --out away.")
    folders = [RunFolder(out / name) if out else network.folder for network, name in zip(networks, names, strict=True)]
    for folder in filter(None, folders):
        folder.write_rows(folder.read_rows())
    return folders


def rows(session: Session, index: int) -> list[dict]:
    """One network's rows, one an execution: what is known of its run, where it was measured, and `Timing.row`."""
    network = session.contenders[index].network
    where = {
        "dataset": network.data.name, "device": session.plan.device.type, "machine": session.machine["name"], "precision": "fp32",
    }  # fmt: skip
    found = []
    for timing in session.timings[index]:
        # what it executes depends on the batch size, and was counted anew
        known = columns.names((*columns.NETWORK, *columns.SCORES) if network.scored else columns.NETWORK)
        found.append({**{key: network.row[key] for key in known if key in network.row}, **where, **timing.row()})
    return found


def record(session: Session, index: int, folder: RunFolder) -> bool:
    """Write one network's rows, times and pictures, beside those of other sessions; an interrupted one replaces none.

    Returns whether it wrote. Raises GatebenchError where the disk is full or not writable.
    """
    new, old = rows(session, index), folder.read_rows()
    kept = [row for row in old if not any(_same(row, each) for each in new)]
    if session.times.interrupted and len(kept) < len(old):
        return False
    folder.write_rows([*kept, *new])
    this = {key: new[0].get(key) for key in SAME_SESSION} | {"executions": ",".join(row["execution"] for row in new)}
    times = pd.concat([*_earlier_times(folder, this), _raw_times(session, index, this)])
    folder.write_text("latency.csv", times.to_csv(index=False, float_format="%.9g"))
    others = [each for each in _earlier_conditions(folder) if {key: each.get(key) for key in SAME_SESSION} != this]
    folder.write_json("latency.json", {"sessions": [*others, {**this, **_conditions(session, index), "rows": new}]})
    for name, figure in _figures(session, index).items():
        folder.write(name, lambda stream, figure=figure: figures.save(figure, stream))
    return True


def _same(old: dict, new: dict) -> bool:
    return "latency_ms" in old and all(old.get(key) == new.get(key) for key in SAME)


def _earlier_times(folder: RunFolder, this: dict) -> list[pd.DataFrame]:
    """The raw times of other sessions than `this`."""
    try:
        old = pd.read_csv(folder / "latency.csv", dtype={key: str for key in SAME_SESSION}, keep_default_na=False)
        return [old[(old[list(SAME_SESSION)] != [str(value or "") for value in this.values()]).any(axis=1)]]
    except (OSError, ValueError, KeyError):  # none, or not ours
        return []


def _earlier_conditions(folder: RunFolder) -> list[dict]:
    try:
        return [each for each in folder.read_json("latency.json")["sessions"] if isinstance(each, dict)]
    except (GatebenchError, KeyError, TypeError):  # none, or not ours
        return []


def _raw_times(session: Session, index: int, this: dict) -> pd.DataFrame:
    """Every time of one contender and of what it is compared with.

    Subject, round, call, first input of the call, seconds, MACs where the subject decides by itself, whether the round was noisy.
    """
    contender, noisy = session.contenders[index], session.times.noisy
    macs = {timing.execution: timing.macs for timing in session.timings[index]}
    parts = []
    for subject, seconds in session.seconds(index).items():
        rounds, calls = (each.ravel() for each in np.indices(seconds.shape))
        columns = {"subject": subject, "round": rounds, "call": calls, "input": contender.numbers[calls, 0], "seconds": seconds.ravel()}
        executed = macs[subject][calls] if subject in macs else np.nan
        parts.append(pd.DataFrame({**this, **columns, "macs": executed, "noisy": noisy[rounds]}))
    return pd.concat(parts)


def _conditions(session: Session, index: int) -> dict:
    """With which clock, on which inputs, in which state of the machine."""
    contender, clock = session.contenders[index], clock_for(session.plan.device)
    random = {"random_decisions": contender.shares(contender.random).round(6).tolist()} if contender.gated else {}
    return {
        "clock": {"name": clock.name, "resolution_s": clock.resolution, "overhead_s": overhead(clock)},
        "measured_on": session.machine,
        "machine_before": session.state_before,
        "machine_after": session.state_after,
        "seed": session.plan.seed,
        "warm_up_rounds": session.times.warm_up_rounds,
        "interrupted": session.times.interrupted,
        "noisy_rounds": np.flatnonzero(session.times.noisy).tolist(),
        "inputs": contender.numbers.tolist(),
        **random,
    }


def _figures(session: Session, index: int) -> dict:
    """Pictures by file name, of the sparse execution."""
    network, timing, size = session.contenders[index].network, session.timings[index][0], session.plan.batch_size
    data = "" if network.scored or not network.folder else f"-{_slug(network.data.name)}"
    rivals = f"-vs-{_slug(session.rival.label)}" if session.rival else ""
    device = "" if session.plan.device.type == "cpu" else f"-{session.plan.device.type}"
    ending = f"{data}{rivals}{device}-batch{size}-threads{timing.threads}.png"
    label, typical = figures.short(timing.label), per_input(timing.seconds)
    rival = (figures.short(timing.rival.label), per_input(timing.rival.seconds)) if timing.rival else None
    found = {f"latency-inputs{ending}": figures.latency_distribution(label, typical, rival, size)}
    if timing.shares is not None or np.ptp(timing.macs) > 0:
        found[f"latency-macs{ending}"] = figures.latency_against_macs(label, timing.macs, typical, rival, size)
    if timing.shares is not None:
        found[f"decisions{data}.png"] = figures.decisions(label, *_decisions(network, session.contenders[index]))
    return found


def _slug(name: str) -> str:
    """As a part of a file's name."""
    return re.sub(r"[^\w.]+", "-", name).strip("-")


def _decisions(network: Network, contender: Contender) -> tuple[pd.DataFrame, dict[str, pd.Series]]:
    """Per input the share of each unit that was on, and its class and difficulty: of all scored inputs where the run kept them."""
    names = [unit.name for unit in contender.model.units]
    if network.scored and (network.folder / "inputs.parquet").exists():
        table = pd.read_parquet(network.folder / "inputs.parquet")
        shares, labels, difficulty = table[names], table["label"], table.get("difficulty")
    else:
        numbers = contender.numbers.ravel()
        on = torch.cat([output.decisions for output in contender.own]).cpu().numpy()
        shares = pd.DataFrame(contender.model.fractions(on), columns=names)
        labels = pd.Series(network.data.test.labels[numbers])
        difficulty = None if network.data.test.difficulty is None else pd.Series(network.data.test.difficulty[numbers])
    groups = {"class": pd.Categorical.from_codes(labels, [str(name) for name in network.data.classes])}
    if difficulty is not None:
        groups["difficulty"] = difficulty_bins(difficulty)
    return shares, groups
