"""What a timing leaves in a run folder: times/NAME.jsonl (rows), times/NAME.csv (raw times) and times/NAME.json (conditions).

A command writes one such set for each network, once, under a name that no other command has. Nothing is replaced.
"""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from ..contract import GatedModel
from ..errors import UsageError
from ..measure.clock import clock_for, overhead
from ..row import NETWORK, TimeRow
from ..runs import RunFolder, slug
from .networks import Network
from .session import Session

LONGEST_NAME = 80
"""Characters of a machine's name in a file's."""


@dataclass(frozen=True)
class Destination:
    """Where a network's times go: a folder, and the name of the files in it without their ending."""

    folder: RunFolder
    name: str
    reserved: IO
    """By which the name is this process's."""

    @property
    def rows(self) -> Path:
        """The file of rows, which is written last."""
        return self.folder / f"{self.name}.jsonl"

    def release(self) -> None:
        """Give the name back, where nothing was measured."""
        self.reserved.close()
        (self.folder / f"{self.name}.json").unlink(missing_ok=True)


def folders(networks: list[Network], out: Path | None) -> list[RunFolder | None]:
    """Where each network's times go: its run folder, or a folder below `out`; None for one that is no run where `out` is not given.

    Raises UsageError where two would share a folder.
    """
    names = [network.folder.path.name if network.folder else slug(network.label) or "network" for network in networks]
    if out and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"Two networks would be written to {out / twice}. Rename one of them, or leave --out away.")
    return [RunFolder(out / name) if out else network.folder for network, name in zip(networks, names, strict=True)]


def reserve(folder: RunFolder, machine: str, started: datetime, say: Callable[[str], None] = lambda sentence: None) -> Destination:
    """A name in times/ that no other timing has: MACHINE-STARTED, with -2, -3 ... where that is taken.

    Another process that writes to the folder for a moment is waited for, and said. Raises GatebenchError where the folder is not writable,
    or another process writes to it for longer.
    """
    stem = f"times/{slug(machine).lower()[:LONGEST_NAME]}-{started:%Y%m%dT%H%M%SZ}"
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    with folder.locked("Wait for it, then time it", brief=True, say=say):
        return next(Destination(folder, name, held) for name in names if (held := folder.reserve(f"{name}.json")))


def rows(session: Session, index: int) -> list[dict]:
    """One network's rows, one an execution, checked against `row.TimeRow`.

    Of the run's headline row they copy what was measured (`row.NETWORK`), never its scores.
    """
    network = session.contenders[index].network
    copied = {key: network.row[key] for key in NETWORK if key in network.row}
    if not network.folder and isinstance(network.model, GatedModel):
        copied["adaptive"] = network.model.adaptive
    here = {
        "dataset": network.data.name, "device": session.plan.device.type, "machine": session.machine["name"],
        "when": f"{session.started:%Y-%m-%dT%H:%M:%SZ}", "interrupted": session.times.interrupted,
    }  # fmt: skip
    if session.rival:
        here["vs"] = True
    if network.folder:
        here["scored_inputs"] = network.scored
    if network.scored and "data_digest" in network.row:
        here["data_digest"] = network.row["data_digest"]
    checked = [TimeRow.model_validate({**copied, **here, **timing.row()}) for timing in session.timings[index]]
    return [row.model_dump(exclude_none=True) for row in checked]


def write(
    sessions: Sequence[Session],
    index: int,
    destination: Destination,
    measured: Sequence[dict],
    say: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Write one network's times of all sessions of a command, once no other process writes to the folder; `say` hears which one does.

    `measured` are its `rows` of all of them.
    Raises GatebenchError where the disk is full or not writable.
    """
    folder, name = destination.folder, destination.name
    times = pd.concat([_raw_times(session, index) for session in sessions]).to_csv(index=False, float_format="%.9g")
    lines = [json.dumps(row, allow_nan=False) + "\n" for row in measured]
    with folder.locked(None, brief=True, say=say):
        destination.reserved.close()
        folder.write_text(f"{name}.csv", times)
        folder.write_json(f"{name}.json", {"sessions": [_conditions(session, index) for session in sessions]})
        folder.write_text(f"{name}.jsonl", "".join(lines))


def _raw_times(session: Session, index: int) -> pd.DataFrame:
    """Every time of one contender and of what it is compared with.

    Threads, batch size, subject, round, call, first input of the call, seconds, executed MACs of an input where the subject is an
    execution or the rival, whether the round was noisy. Calls for which a subject had nothing to do are left out.
    """
    contender, noisy, timings = session.contenders[index], session.times.noisy, session.timings[index]
    macs = {}
    for timing in timings:
        runtime = "" if timing.runtime == contender.runtime else f"{timing.runtime} "
        macs[f"{runtime}{timing.execution}"] = timing.macs
        if timing.rival:
            macs[f"{runtime}rival"] = timing.rival.macs
    parts = []
    for subject, seconds in session.seconds(index).items():
        rounds, calls = (each.ravel() for each in np.indices(seconds.shape))
        columns = {"subject": subject, "round": rounds, "call": calls, "input": contender.numbers[calls, 0], "seconds": seconds.ravel()}
        executed = macs[subject][calls] if subject in macs else np.nan
        parts.append(pd.DataFrame({**columns, "macs": executed, "noisy": noisy[rounds]}))
    table = pd.concat(parts).dropna(subset="seconds")
    table.insert(0, "threads", session.plan.threads)
    table.insert(1, "batch_size", session.plan.batch_size)
    return table


def _conditions(session: Session, index: int) -> dict:
    """With which clock, on which inputs, in which state of the machine."""
    contender, clock, plan = session.contenders[index], clock_for(session.plan.device), session.plan
    mean, std = contender.network.statistics
    random = {"random_decisions": contender.shares(contender.random).round(6).tolist()} if contender.gated else {}
    return {
        "threads": plan.threads,
        "batch_size": plan.batch_size,
        "executions": [timing.execution for timing in session.timings[index]],
        "clock": {"name": clock.name, "resolution_s": clock.resolution, "overhead_s": overhead(clock)},
        "measured_on": session.machine,
        "machine_before": session.state_before,
        "machine_after": session.state_after,
        "seed": plan.seed,
        "warm_up_rounds": session.times.warm_up_rounds,
        "interrupted": session.times.interrupted,
        "noisy_rounds": np.flatnonzero(session.times.noisy).tolist(),
        "waiting": session.waiting.record(),
        "mean": list(mean),
        "std": list(std),
        "inputs": contender.numbers.tolist(),
        **random,
        **({"chosen": contender.chosen} if contender.chosen else {}),
    }
