"""A sweep that is killed anywhere and started again ends as one that nothing killed, times apart.

Results change only where a file is written, so that is where most kills are: just before the file would be there, with what was written of
it left under its temporary name.
"""

import csv
import itertools
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from conftest import Command, copied, routers
from test_cluster import rows, scratch_in, with_ray

from gatebench import timing

pytestmark = pytest.mark.slow

TIMED = ("latency_ms", "speedup", "mix_gain_paid")
"""How columns of times begin; the last is a gain with the gater's own time paid for."""
CLOCKED = {"seconds", "images_per_second"}
"""Columns of epochs.csv."""


def shorten() -> None:
    timing.INPUTS, timing.ROUNDS, timing.SECONDS = 8, 5, 1.0


def die_while_timing() -> None:
    """From now on this process is killed after the second round of a timing."""
    shorten()
    time = timing.time

    def time_and_die(*arguments, **options):
        return time(*arguments, **options | {"after_round": lambda done: done == 2 and os.kill(os.getpid(), signal.SIGKILL)})

    timing.time = time_and_die


@pytest.fixture(scope="module", autouse=True)
def short_times() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("INPUTS", "ROUNDS", "SECONDS"):
            patch.setattr(timing, name, getattr(timing, name))
        shorten()
        yield


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> list[str]:
    """A sweep of two routers with a fixed latency vector; the folder of its results is to follow."""
    return [*routers(tmp_path_factory.mktemp("recipe"), "[1.0, 2.0]"), "--out"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, sweep) -> Path:
    """The results of `sweep` where nothing kills it."""
    home = tmp_path_factory.mktemp("undisturbed")
    done = Command(home)(*sweep, str(home / "out"))
    assert done.returncode == 0, done.stderr
    return home / "out"


@pytest.fixture
def killed(gatebench_forks):
    """Runs a command until it is killed where the options of `Forks.start` say."""

    def run(*arguments: str, **options) -> None:
        process = gatebench_forks.start(*arguments, **{"begin": shorten} | options)
        _, said = process.communicate()
        assert process.returncode == -signal.SIGKILL, said

    return run


def lines(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def table(out: Path) -> list[dict[str, str]]:
    """The lines of the sweep's CSV without what was timed."""
    (file,) = out.glob("sweep-*.csv")
    return [{name: text for name, text in line.items() if not name.startswith(TIMED)} for line in lines(file)]


def epochs(out: Path) -> dict[str, list[dict[str, str]]]:
    """The lines of epochs.csv of every run by its folder's name, without what a clock said."""
    kept = {}
    for path in out.glob("*/epochs.csv"):
        kept[path.parent.name] = [{name: line[name] for name in line.keys() - CLOCKED} for line in lines(path)]
    return kept


def outputs(out: Path) -> dict[str, list[dict]]:
    """The pool's tables."""
    return {path.name: pd.read_parquet(path).map(str).to_dict("records") for path in out.glob("pool-*/*.parquet")}


def files(out: Path) -> list[Path]:
    """All files but times, hidden ones too."""
    return sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file() and path.parent.name != "times")


def check_same(out: Path, undisturbed: Path) -> None:
    """Fails where results are not those of a sweep that nothing killed, or anything unfinished is left."""
    assert files(out) == files(undisturbed)
    assert len(table(out)) == 15 and table(out) == table(undisturbed)
    assert rows(out) == rows(undisturbed) and epochs(out) == epochs(undisturbed) and outputs(out) == outputs(undisturbed)
    for run in out.glob("router-*"):
        timings = {path.stem for path in run.glob("times/*.jsonl")}
        wanted = {f"{name}.{ending}" for name in timings for ending in ("csv", "json", "jsonl")}
        assert timings and {path.name for path in run.glob("times/*")} == wanted
    (file,) = out.glob("sweep-*.csv")
    assert all(line["latency_ms"] for line in lines(file) if not line["reference"])


def with_experts_of(other: Path, out: Path) -> Path:
    """A folder of results with the experts of another."""
    for expert in other.glob("resnet*"):
        copied(expert, out)
    return out


def check_goes_on(process, out: Path, undisturbed: Path) -> None:
    """Fails unless the same command, again, ends as `check_same` wants."""
    _, said = process.communicate()
    assert process.returncode == 0, said
    check_same(out, undisturbed)


@pytest.mark.parametrize(
    ("dies_writing", "after"),
    [
        pytest.param("resnet*/resume.pt", 4, id="an expert trains"),
        pytest.param("pool-*/train.parquet", 1, id="outputs are computed"),
        pytest.param("router-*/resume.pt", 1, id="a router trains"),
        pytest.param("router-*/columns.json", 1, id="a router is evaluated"),
        pytest.param("router-*/times/*.csv", 1, id="times are written"),
        pytest.param("sweep-*.csv", 0, id="the table is written"),
        pytest.param("sweep-*.png", 0, id="the picture is written"),
    ],
)
def test_a_sweep_killed_while(gatebench_forks, killed, sweep, undisturbed, tmp_path, dies_writing, after):
    out = tmp_path / "out"
    if not dies_writing.startswith("resnet"):
        with_experts_of(undisturbed, out)
    killed(*sweep, str(out), dies_writing=dies_writing, after=after)
    assert len(list(out.rglob(f".{Path(dies_writing).name}.writing-*"))) == 1
    check_goes_on(gatebench_forks.start(*sweep, str(out), begin=shorten), out, undisturbed)


def test_a_sweep_killed_during_its_last_timing(gatebench_forks, killed, sweep, undisturbed, tmp_path):
    out = with_experts_of(undisturbed, tmp_path / "out")
    killed(*sweep, str(out), begin=die_while_timing)
    assert len(list(out.glob("router-*/summary.json"))) == 2 and not list(out.glob("router-*/times/*.jsonl"))
    check_goes_on(gatebench_forks.start(*sweep, str(out), begin=shorten), out, undisturbed)


def test_a_sweep_killed_again_and_again_each_time_some_files_later(gatebench_forks, sweep, undisturbed, tmp_path):
    for count in itertools.count(1):
        process = gatebench_forks.start(*sweep, str(tmp_path / "out"), dies_writing="*", after=count, begin=shorten)
        _, said = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL and count < 60, said
    assert count > 10, "it was killed that often"
    check_same(tmp_path / "out", undisturbed)


def test_a_sweep_killed_before_and_after_its_experts_times_are_stored(gatebench_forks, killed, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    measured = [*routers(tmp_path, "measured"), "--out"]
    killed(*measured, str(out), begin=die_while_timing)
    assert len(list(out.glob("resnet*/summary.json"))) == 2 and not list(out.glob("pool-*/*.json"))
    killed(*measured, str(out), dies_writing="train.parquet")
    (stored,) = out.glob("pool-*/pool.json")
    times = json.loads(stored.read_text())["times"]
    pool = with_experts_of(out, other) / stored.parent.name
    pool.mkdir()
    shutil.copy(stored, pool)
    for each in (out, other):
        process = gatebench_forks.start(*measured, str(each), begin=shorten)
        _, said = process.communicate()
        assert process.returncode == 0, said
    assert len(times) == 1 and json.loads(stored.read_text())["times"] == times
    check_same(out, other)


@with_ray
@pytest.mark.parametrize(
    ("dies_writing", "after"),
    [
        pytest.param("resnet*/resume.pt", 1, id="experts train"),
        pytest.param("pool-*/train.parquet", 0, id="outputs are brought back"),
        pytest.param("router-*/resume.pt", 1, id="routers train"),
        pytest.param(None, 0, id="all are timed"),
    ],
)
def test_a_driver_killed_while(gatebench_forks, killed, sweep, undisturbed, tmp_path, dies_writing, after):
    out, cluster = tmp_path / "out", ["--executor", "ray"]
    gatebench_forks.environment |= scratch_in(tmp_path)
    killed(*sweep, str(out), *cluster, dies_writing=dies_writing, after=after, begin=shorten if dies_writing else die_while_timing)
    checkpoints = list(out.glob(dies_writing or "router-*/resume.pt"))
    kept = {path: path.read_bytes() for path in out.glob("*/summary.json")}
    process = gatebench_forks.start(*sweep, str(out), *cluster, begin=shorten)
    check_goes_on(process, out, undisturbed)
    _, said = process.communicate()
    if dies_writing and dies_writing.endswith("resume.pt"):
        assert len(checkpoints) >= 1 and "goes on after epoch" in said, "what was brought back is not trained again"
    assert all(path.read_bytes() == content for path, content in kept.items()), "what was finished is left alone"
