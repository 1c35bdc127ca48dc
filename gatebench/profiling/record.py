"""What a session leaves behind in a run folder: rows, raw times, conditions, pictures."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ..evaluation.breakdown import difficulty_bins
from ..evaluation.outcome import by_unit
from ..measure.clock import clock_for, overhead
from ..measure.statistics import per_input
from ..report import figures
from ..runs import RunFolder
from .contender import Contender
from .networks import Network
from .session import Session

SAME = ("machine", "device", "threads", "batch_size", "execution", "runtime", "rival")
"""A row of `latency_ms` replaces the one before that agrees in these."""


def record(sessions: list[Session], machine: dict, out: Path | None) -> list[RunFolder]:
    """Write every network's rows, times and pictures to its run folder, or to a folder below `out`; nowhere for a network that is
    no run where `out` is not given. `sessions` are all sessions of one command so far, over the same networks. Returns the folders.

    Raises GatebenchError where the disk is full or not writable.
    """
    folders = []
    for index, contender in enumerate(sessions[-1].contenders):
        network = contender.network
        name = network.folder.path.name if network.folder else network.label.replace(":", "-")
        folder = RunFolder(out / name) if out else network.folder
        if folder is None:
            continue
        common = {"device": sessions[-1].plan.device.type, "machine": machine["name"], "precision": "fp32", "runtime": "torch"}
        rows = [{**network.row, **common, **timing.row()} for session in sessions for timing in session.timings[index]]
        kept = [row for row in folder.read_rows() if not any(_same(row, new) for new in rows)]
        folder.write_rows([*kept, *rows])
        folder.write_text("latency.csv", pd.concat(_raw_times(each, index) for each in sessions).to_csv(index=False, float_format="%.9g"))
        folder.write_json("latency.json", {"machine": machine, "sessions": [_conditions(each, index) for each in sessions]})
        for name, figure in _figures(sessions[0], index).items():
            folder.write(name, lambda stream, figure=figure: figures.save(figure, stream))
        folders.append(folder)
    return folders


def _same(old: dict, new: dict) -> bool:
    return "latency_ms" in old and all(old.get(key) == new.get(key) for key in SAME)


def _raw_times(session: Session, index: int) -> pd.DataFrame:
    """Every time of one contender: subject, round, call, first input of the call, seconds, whether the round was noisy."""
    contender, times = session.contenders[index], session.times
    parts = []
    for name in times.names:
        number, subject = name.split(" ", 1)
        if int(number) == index:
            rounds, calls = np.indices(times.of(name).shape)
            parts.append(
                pd.DataFrame(
                    {
                        "threads": session.plan.threads,
                        "batch_size": session.plan.batch_size,
                        "subject": subject,
                        "round": rounds.ravel(),
                        "call": calls.ravel(),
                        "input": contender.numbers[calls.ravel(), 0],
                        "seconds": times.of(name).ravel(),
                        "noisy": times.noisy[rounds.ravel()],
                    }
                )
            )
    return pd.concat(parts)


def _conditions(session: Session, index: int) -> dict:
    """With which clock, on which inputs, in which state of the machine; and the results."""
    clock = clock_for(session.plan.device)
    return {
        "threads": session.plan.threads,
        "batch_size": session.plan.batch_size,
        "clock": {"name": clock.name, "resolution_s": clock.resolution, "overhead_s": overhead(clock)},
        "machine_before": session.state_before,
        "machine_after": session.state_after,
        "seed": session.plan.seed,
        "inputs": session.contenders[index].numbers.tolist(),
        "noisy_rounds": np.flatnonzero(session.times.noisy).tolist(),
        "rows": [timing.row() for timing in session.timings[index]],
    }


def _figures(session: Session, index: int) -> dict:
    """Pictures by file name, of the first session's sparse execution."""
    network, timing = session.contenders[index].network, session.timings[index][0]
    unit = "input" if timing.batch_size == 1 else f"batch of {timing.batch_size}"
    typical, rival = per_input(timing.seconds), None if timing.rival_seconds is None else per_input(timing.rival_seconds)
    found = {"latency-inputs.png": figures.latency_distribution(timing.label, typical, timing.rival, rival, unit)}
    if timing.shares is not None:
        found["latency-macs.png"] = figures.latency_against_macs(timing.label, timing.macs, typical, timing.rival, rival.mean(), unit)
        found["decisions.png"] = figures.decisions(timing.label, *_decisions(network, session.contenders[index]))
    return found


def _decisions(network: Network, contender: Contender) -> tuple[pd.DataFrame, dict[str, pd.Series]]:
    """Per input the share of each unit that was on, and its class and difficulty: of all test inputs where the run kept them."""
    names = [unit.name for unit in contender.model.units]
    if network.folder and (network.folder / "inputs.parquet").exists():
        table = pd.read_parquet(network.folder / "inputs.parquet")
        shares, labels, difficulty = table[names], table["label"], table.get("difficulty")
    else:
        numbers = contender.numbers.ravel()
        on = torch.cat([output.decisions for output in contender.own]).cpu().numpy()
        shares = pd.DataFrame(by_unit(on, contender.model.units), columns=names)
        labels = pd.Series(network.data.test.labels[numbers])
        difficulty = None if network.data.test.difficulty is None else pd.Series(network.data.test.difficulty[numbers])
    groups = {"class": pd.Categorical.from_codes(labels, [str(name) for name in network.data.classes])}
    if difficulty is not None:
        groups["difficulty"] = difficulty_bins(difficulty)
    return shares, groups
