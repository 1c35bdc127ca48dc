"""The pool of a router's experts: what a damaged file or a full disk leaves of it, and what the same command makes of that."""

import errno
import json
import os
import shutil
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path

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


SHORTENED = {"INPUTS": 8, "ROUNDS": 5, "SECONDS": 1.0}


def shorten(patch) -> None:
    """In this process experts are timed for a moment, and sweeps not at all."""
    for name, value in SHORTENED.items():
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


# What is changed by hand


def test_an_expert_that_is_gone_is_made_again_only_for_a_new_router(gatebench, swept, tmp_path):
    out = Path(shutil.copytree(swept, tmp_path / "out"))
    (gone,) = out.glob("resnet8-*")
    shutil.rmtree(gone)
    assert gatebench(*SHORT, "--out", str(out)).returncode == 0 and not gone.exists()
    done = gatebench(*SHORT, "--values", "0.7,0.8", "--out", str(out))
    assert done.returncode == 0 and "resnet8 clean on shapes, seed 0: epoch 1/1" in done.stderr, done.stderr
    assert rows(out).items() > rows(swept).items() and len(rows(out)) == 5 and len(list(out.glob("pool-*"))) == 1


def test_an_expert_with_the_weights_of_another_network_is_named(gatebench, swept, tmp_path):
    out = Path(shutil.copytree(swept, tmp_path / "out"))
    (expert,), (other,) = out.glob("resnet14-*"), out.glob("resnet26-*")
    shutil.copy(other / "model.safetensors", expert)
    before = content(out)
    said = gatebench.refused(*SHORT, "--values", "0.7,0.8", "--out", str(out), code=1)
    assert f"{expert / 'model.safetensors'} holds the weights of another network: " in said
    assert content(out).items() >= before.items(), "the table too: the new router is not in it"
    assert gatebench(*SHORT, "--out", str(out)).returncode == 0 and tables(out) == tables(swept)


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
    """Call with a pattern of a file's name, and after how many such files that were written the disk is full."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full, which answers as a full disk does")
    create = tempfile.mkstemp

    def fill(name: str, after: int = 0) -> None:
        written = []

        def create_or_fail(*arguments, prefix=None, **options):
            descriptor, path = create(*arguments, prefix=prefix, **options)
            if fnmatch(prefix or "", f".{name}.writing-"):
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["*Z.csv", "*Z.jsonl"])
def test_a_sweep_s_times_that_find_the_disk_full_leave_its_routers_and_a_table(gatebench, swept, tmp_path, full, monkeypatch, name):
    out = Path(shutil.copytree(swept, tmp_path / "out"))
    (router,) = out.glob("router-*")
    before = content(router)
    monkeypatch.undo()
    for each, value in SHORTENED.items():
        monkeypatch.setattr(timing, each, value)
    full(name)
    said = gatebench.refused(*SHORT, "--out", str(out), code=1)
    assert f"Cannot write {router / 'times'}" in said and FULL in said
    assert tables(out) == tables(swept) and content(router).items() >= before.items()
    monkeypatch.undo()
    for each, value in SHORTENED.items():
        monkeypatch.setattr(timing, each, value)
    assert gatebench(*SHORT, "--out", str(out)).returncode == 0
    assert sorted(path.suffix for path in router.glob("times/*")) == [".csv", ".json", ".jsonl"] and not list(router.glob("times/.*"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "png"])
def test_a_table_or_a_picture_that_finds_the_disk_full_is_written_by_the_next_command(gatebench, swept, tmp_path, full, monkeypatch, kind):
    out = Path(shutil.copytree(swept, tmp_path / "out"))
    file = out / f"sweep-router-small-shapes.{kind}"
    before = content(out)
    full(file.name)
    assert f"Cannot write {file}: {FULL}" in gatebench.refused(*SHORT, "--values", "0.7,0.8", "--out", str(out), code=1)
    assert content(out).items() >= {path: each for path, each in before.items() if path.parent != out}.items() and file.exists()
    monkeypatch.undo()
    shorten(monkeypatch)
    done = gatebench(*SHORT, "--values", "0.7,0.8", "--out", str(out))
    assert done.returncode == 0 and "epoch 1/1" not in done.stderr, done.stderr
    assert ",0.8," in f",{tables(out)['sweep-router-small-shapes.csv']}".replace("\n", "\n,") and not list(out.glob(".*"))


def test_a_lock_that_finds_the_disk_full_is_said_and_removed(tmp_path, monkeypatch):
    def full(descriptor, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gatebench.runs.os.write", full)
    with pytest.raises(GatebenchError, match=f"Cannot write {tmp_path / 'run' / '.lock'}: {FULL}"), RunFolder(tmp_path / "run").locked():
        pytest.fail("the folder is not locked")
    assert not list(tmp_path.iterdir())
