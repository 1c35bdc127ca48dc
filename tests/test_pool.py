"""The pool of a router's experts: what a kill or a full disk leaves of it, and what the same command makes of that."""

import errno
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import Command, copied
from test_cluster import rows, tables

from gatebench import recipe as recipes
from gatebench import timing
from gatebench.errors import GatebenchError
from gatebench.models import registry
from gatebench.runs import RunFolder
from gatebench.sweep import points
from gatebench.untrained import build

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

SWEEP = ["sweep-lambda", "--config", "small", "--threads", "1"]
for change in ("data.shapes.train=320", "data.shapes.test=30", "data.shapes.image_size=20", "data.validation=20", "data.holdout=160",
               "model.gater.size=20", "training.batch_size=16", *(f"parents.resnet{depth}.epochs=1" for depth in (8, 14, 26))):  # fmt: skip
    SWEEP += ["--set", change]
SHORT = [*SWEEP, "--values", "0.7", "--epochs", "1"]
FULL = "the disk is full. What was written before is kept; make room or choose another --out, then run the same command again."


def shorten(patch) -> None:
    """In this process experts are timed for a moment, and sweeps not at all."""
    for name, value in (("INPUTS", 8), ("ROUNDS", 5), ("SECONDS", 1.0)):
        patch.setattr(timing, name, value)
    patch.setattr(points, "untimed", lambda runs: [])


@pytest.fixture(autouse=True)
def short_times(monkeypatch):
    shorten(monkeypatch)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A finished sweep, whose experts were timed."""
    home = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        done = Command(home)(*SHORT, "--out", str(home / "out"))
    assert done.returncode == 0, done.stderr
    return home / "out"


def pool_of(out: Path) -> Path:
    (pool,) = out.glob("pool-*")
    return pool


def times_of(out: Path) -> list[dict]:
    return json.loads((pool_of(out) / "pool.json").read_text())["times"]


def with_experts_of(other: Path, out: Path, *files: str) -> Path:
    """A folder of results with the experts of another, and these files of its pool."""
    for expert in other.glob("resnet*"):
        copied(expert, out)
    pool = pool_of(other)
    (out / pool.name).mkdir()
    for name in files:
        shutil.copy(pool / name, out / pool.name)
    return out


def content(out: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != ".lock"}


def wait_for(happened, process) -> None:
    until = time.monotonic() + 120
    while not happened() and time.monotonic() < until:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    assert happened()


# Killed


@pytest.mark.slow
def test_a_sweep_killed_while_it_times_writes_and_trains_ends_with_the_same_table(gatebench, gatebench_forks, tmp_path):
    out, unbroken = tmp_path / "out", tmp_path / "unbroken"
    command = [*SWEEP, "--values", "0.6,0.9", "--epochs", "8", "--out"]

    process = gatebench_forks.start(*command, str(out))
    wait_for(lambda: process.files[1].exists() and "rounds" in process.files[1].read_text(), process)
    time.sleep(0.5)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL and len(list(out.glob("resnet*/summary.json"))) == 3
    assert not list(out.glob("pool-*/pool.json"))

    process = gatebench_forks.start(*command, str(out), dies_writing="train.parquet")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    (stored,) = times_of(out)
    assert list(pool_of(out).glob(".train.parquet.writing-*")) and not list(pool_of(out).glob("*.parquet"))

    process = gatebench_forks.start(*command, str(out))
    wait_for(lambda: list(out.glob("router-*/resume.pt")), process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not list(out.glob("router-*/summary.json"))

    done = gatebench(*command, str(out))
    assert done.returncode == 0, done.stderr
    assert "goes on after epoch" in done.stderr and "rounds" not in done.stderr and times_of(out) == [stored]
    assert not list(out.glob("*/.*")), "neither a lock nor a temporary file is left"
    with_experts_of(out, unbroken, "pool.json")
    assert gatebench(*command, str(unbroken)).returncode == 0
    assert len(rows(out)) == 5 and rows(out) == rows(unbroken) and tables(out) == tables(unbroken)
    for part in ("train", "validation", "test"):
        pd.testing.assert_frame_equal(*(pd.read_parquet(pool_of(each) / f"{part}.parquet") for each in (out, unbroken)))


# What is changed by hand


def test_times_that_are_deleted_are_measured_again(gatebench, swept, tmp_path):
    out = with_experts_of(swept, tmp_path / "out", "pool.json")
    stored = pool_of(out) / "pool.json"
    content = json.loads(stored.read_text())
    del content["times"]
    stored.write_text(json.dumps(content))
    done = gatebench(*SHORT, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "rounds" in done.stderr and len(times_of(out)) == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"times": [{"machine": "desk"}]}', '{"times": null}'])
def test_a_damaged_pool_says_what_to_do_with_it(gatebench, swept, tmp_path, text):
    out = with_experts_of(swept, tmp_path / "out")
    stored = pool_of(out) / "pool.json"
    stored.write_text(text)
    said = gatebench.refused(*SHORT, "--out", str(out), code=1)
    assert f"{stored} is damaged (" in said and "). Remove it, and the networks are timed again." in said and "--fresh" not in said


def test_the_registry_knows_which_networks_replay_outputs():
    for name, config in (("router", "small"), ("router", "cascade-small"), ("cosinegate", "predictive")):
        network = build(recipes.load(registry.entry(name).recipes, name, config), {})
        assert registry.entry(name).replays == network.replays == (name == "router")


# Published


def test_a_sweep_is_published_with_its_pool(swept, tmp_path):
    from publish import publish_all

    (unfinished,) = shutil.copytree(swept, tmp_path / "out").glob("router-*")
    (unfinished / "summary.json").unlink()
    assert publish_all(swept, tmp_path / "results") == [] and publish_all(tmp_path / "out", tmp_path / "part") == [unfinished.name]
    for name in ("results", "part"):
        assert sorted(path.name for path in pool_of(tmp_path / name).iterdir()) == [
            "pool.json", "test.parquet", "train.parquet", "validation.parquet"
        ]  # fmt: skip
    assert tables(tmp_path / "results") == tables(swept) and rows(tmp_path / "results") == rows(swept)
    kept = {path.name for path in (tmp_path / "results").glob("r*/*")}
    assert "decisions.npz" in kept and not kept & {"model.safetensors", "examples.npz", "inputs.parquet", "resume.pt"}
    assert len(list((tmp_path / "part").glob("resnet*"))) == 3 and not list((tmp_path / "part").glob("router-*"))


# A full disk


@pytest.fixture
def full(monkeypatch):
    """Call with a file's name, and after how many times that it was written the disk is full."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full, which answers as a full disk does")
    create = tempfile.mkstemp

    def fill(name: str, after: int = 0) -> None:
        written = []

        def create_or_fail(*arguments, prefix=None, **options):
            descriptor, path = create(*arguments, prefix=prefix, **options)
            if prefix == f".{name}.writing-":
                written.append(path)
                if len(written) > after:
                    os.close(descriptor)
                    descriptor = os.open("/dev/full", os.O_WRONLY)
            return descriptor, path

        monkeypatch.setattr(tempfile, "mkstemp", create_or_fail)

    yield fill
    with pytest.raises(OSError) as error, open("/dev/full", "wb", buffering=0) as stream:
        stream.write(b"x")
    assert error.value.errno == errno.ENOSPC


def test_times_that_find_the_disk_full_leave_those_that_were_stored(gatebench, swept, tmp_path, full, monkeypatch):
    out = with_experts_of(swept, tmp_path / "out", "pool.json")
    stored = pool_of(out) / "pool.json"
    about = json.loads(stored.read_text())
    about["times"][0]["machine"] = "another machine"
    stored.write_text(json.dumps(about))
    before = content(out)
    full("pool.json")
    assert f"Cannot write {stored}: {FULL}" in gatebench.refused(*SHORT, "--out", str(out), code=1)
    assert content(out).items() >= before.items() and not list(pool_of(out).glob(".*.writing-*"))
    monkeypatch.undo()
    shorten(monkeypatch)
    assert gatebench(*SHORT, "--out", str(out)).returncode == 0
    assert [each["machine"] == "another machine" for each in times_of(out)] == [True, False]
    assert len(list(out.glob("router-*"))) == 1


@pytest.mark.parametrize("part", ["train", "validation"])
def test_outputs_that_find_the_disk_full_leave_those_that_were_computed(gatebench, swept, tmp_path, full, monkeypatch, part):
    out = with_experts_of(swept, tmp_path / "out", "pool.json")
    before = content(out)
    table = pool_of(out) / f"{part}.parquet"
    full(table.name, after=1)
    assert f"Cannot write {table}: {FULL}" in gatebench.refused(*SHORT, "--out", str(out), code=1)
    assert content(out).items() >= before.items() and not list(pool_of(out).glob(".*.writing-*"))
    assert pq.read_schema(table).names[3:] == ["resnet8"], "the first expert's were written"
    monkeypatch.undo()
    shorten(monkeypatch)
    done = gatebench(*SHORT, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert f"resnet14 on the {part} part" in done.stderr and f"resnet8 on the {part} part" not in done.stderr
    assert rows(out) == rows(swept) and tables(out) == tables(swept)


def test_a_lock_that_finds_the_disk_full_is_said_and_removed(tmp_path, monkeypatch):
    def full(descriptor, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gatebench.runs.os.write", full)
    with pytest.raises(GatebenchError, match=f"Cannot write {tmp_path / 'run' / '.lock'}: {FULL}"), RunFolder(tmp_path / "run").locked():
        pytest.fail("the folder is not locked")
    assert not list(tmp_path.iterdir())
