"""Runs on a cluster: options, files in transit, a worker's task, and with Ray the same rows whatever is killed."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import GATED, Command, Silent, copied

from gatebench import assignment, stages
from gatebench import recipe as recipes
from gatebench.changed_code import code_digest
from gatebench.cli.training import choose_executor
from gatebench.errors import UsageError
from gatebench.plan import plan
from gatebench.runs import RunFolder, choose_folder
from gatebench.sweep import cluster, parcel, points, worker

with_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'gatebench[ray]'")
BLOCKS = ["sweep-lambda", "cosinegate", *GATED, "--values", "1,5"]
MEASURED = ["sweep-lambda", "--config", "small", "--values", "0.6,0.9", "--threads", "1", "--epochs", "2"]
for change in ("data.shapes.train=320", "data.shapes.test=30", "data.shapes.image_size=20", "data.validation=20", "data.holdout=40",
               "model.gater.size=20", "training.batch_size=16"):  # fmt: skip
    MEASURED += ["--set", change]
ROUTER = [*MEASURED, "--set", "model.latency_ms=[1.0, 2.0, 4.0]"]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Home of all commands in this process: there Ray keeps a token, which it reads once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def gatebench(home) -> Command:
    return Command(home)


@pytest.fixture(autouse=True)
def untimed(monkeypatch):
    """Sweeps that stop before they time anything."""
    monkeypatch.setattr(points, "untimed", lambda runs: [])


def rows(out: Path) -> dict[str, list[dict]]:
    """The rows of every run by its folder's name, without what a clock or a memory said."""
    kept = {}
    for path in out.glob("*/rows.jsonl"):
        lines = map(json.loads, path.read_text().splitlines())
        kept[path.parent.name] = [{key: line[key] for key in line.keys() - {"training_seconds", "peak_memory_mb"}} for line in lines]
    return kept


def tables(out: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in out.glob("sweep-*.csv")}


# Options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--executor", "rey"], "--executor wants local or ray, not 'rey'. Did you mean 'ray'?"),
        (["--address", "auto"], "--address is that of a Ray cluster. Add --executor ray, or leave it out."),
    ],
)
def test_wrong_options_get_one_sentence(gatebench, tmp_path, options, said):
    for command in (["train", "cosinegate", *GATED], BLOCKS):
        assert said in gatebench.refused(*command, *options, "--out", str(tmp_path / "out"), code=2)
    assert not (tmp_path / "out").exists()


def test_where_ray_is_not_installed_that_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"needs Ray, which is not installed. Run `pip install 'gatebench\[ray\]'`"):
        choose_executor("ray", None)


@with_ray
@pytest.mark.parametrize("address", ["ray://head:10001", "head", "head:", ":6379"])
def test_an_address_of_another_kind_is_refused(address):
    with pytest.raises(UsageError, match="--address wants auto or host:port of the cluster's head"):
        cluster.check(address)


@with_ray
def test_an_address_where_no_cluster_answers_is_named_soon(gatebench, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as other:  # it listens, and says nothing
        for port in (9, other.getsockname()[1]):
            command = ["train", "cosinegate", *GATED, "--executor", "ray", "--address", f"127.0.0.1:{port}", "--out", str(tmp_path / "out")]
            assert f"No Ray cluster answers at 127.0.0.1:{port}. Start one with `ray start --head`" in gatebench.refused(*command, code=1)


# Files in transit


def test_files_arrive_as_they_were_and_the_summary_last(tmp_path, monkeypatch):
    there = RunFolder(tmp_path / "there" / "run")
    for name in ("summary.json", "a.csv", "b.csv"):
        there.write_text(name, name)
    there.write_text(".lock", "")
    (there / "times").mkdir()
    written, write = [], RunFolder.write
    monkeypatch.setattr(RunFolder, "write", lambda self, name, fill: written.append(name) or write(self, name, fill))
    here = parcel.unpack(parcel.pack(there, "b.csv"), tmp_path / "here")
    assert here.path == tmp_path / "here" / "run" and written == ["a.csv", "summary.json"]
    assert {path.name: path.read_text() for path in here.path.iterdir()} == {"a.csv": "a.csv", "summary.json": "summary.json"}


def test_only_what_changed_is_sent_and_what_is_gone_is_removed(tmp_path):
    there = RunFolder(tmp_path / "there" / "run")
    for name in ("same", "changed", "gone"):
        there.write_text(name, "before")
    here = parcel.unpack(parcel.pack(there), tmp_path / "here")
    changes = parcel.Changes(there)
    there.write_text("changed", "after")
    there.write_text("new", "after")
    there.remove("gone")
    sent = changes.pack()
    assert sent.files == {"changed": b"after", "new": b"after"} and sent.gone == ("gone",)
    parcel.unpack(sent, tmp_path / "here")
    assert {path.name: path.read_text() for path in here.path.iterdir()} == {"same": "before", "changed": "after", "new": "after"}
    assert not changes.pack().files


def test_a_run_made_by_another_machine_for_this_one_is_its_own(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.write_json("machine.json", {"name": "worker"})
    folder.write_text("model.safetensors", "")
    for name in ("model.safetensors", "summary.json"):  # unfinished, finished
        folder.write_text(name, "")
        folder.write_json("machine.json", {"name": "worker"})
        assert choose_folder(tmp_path, "run", "driver", False, False).path.name == "run-2"
        folder.write_json("machine.json", {"name": "worker", "driver": "driver"})
        assert choose_folder(tmp_path, "run", "driver", False, False).path == folder.path


# A worker's task, without Ray


@pytest.fixture
def task(tmp_path):
    """The shortest run of cosinegate, for a worker."""
    small = [each for before, each in zip(GATED, GATED[1:], strict=False) if before == "--set"]
    recipe = recipes.load("cosinegate", "cosinegate", "balanced", small).with_dataset("shapes").with_epochs(2)
    jobs = plan(recipe, [0], data_root=tmp_path / "data", device="cpu", precision="fp32", threads=1)
    (run,) = assignment.Assignment(jobs, assignment.Place(tmp_path / "out"), Silent).runs.values()
    return worker.Task(run, False, assignment.load_data(run.job).describe()["digest"], code_digest("cosinegate"))


def test_a_worker_sends_each_epoch_and_then_the_rest(task, tmp_path):
    news = list(worker.perform(task, parcel.pack(task.run.folder)))
    assert not (tmp_path / "out").exists(), "it writes in a folder of its own"
    sent = [each.parcel for each in news if each.parcel]
    assert [("resume.pt" in each.files, "summary.json" in each.files) for each in sent] == [(True, False), (True, False), (False, True)]
    assert sum("epoch 1/2" in line or "epoch 2/2" in line for line in (each.line or "" for each in news)) == 2 and news[-1].done
    for each in sent:
        parcel.unpack(each, tmp_path / "brought")
    list(stages.run([task.run.job], assignment.Place(tmp_path / "out"), Silent))
    assert rows(tmp_path / "brought") == rows(tmp_path / "out")


def test_a_worker_goes_on_after_what_was_brought_back(task, tmp_path):
    first = next(each.parcel for each in worker.perform(task) if each.parcel)
    lines = [each.line for each in worker.perform(task, first)]
    assert "goes on after epoch 1 of 2" in lines and not any(line and "epoch 1/2" in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"code": "other"}, "is not the driver's version. Install the same"),
        ({"data": "other"}, "is not the driver's data. Copy the driver's"),
    ],
)
def test_a_worker_with_other_code_or_data_says_so(task, changes, said):
    (last,) = worker.perform(replace(task, **changes))
    assert said in last.failed and last.parcel is None


def test_what_fails_on_a_worker_names_the_driver_s_files(task):
    broken = parcel.Parcel(task.run.folder.path.name, {"resume.pt": b"not one"})
    *_, last = worker.perform(task, broken)
    assert f"{task.run.folder / 'resume.pt'} is damaged" in last.failed


# With Ray


def workers() -> list[int]:
    """Processes in which a task of this process runs."""
    processes = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::perform" in (path / "cmdline").read_bytes() and parent(parent(int(path.name))) == os.getpid():
                processes.append(int(path.name))
        except OSError:  # it has ended
            continue
    return processes


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture(scope="module")
def local(home):
    """A sweep in this process, by which those on a cluster are judged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "untimed", lambda runs: [])
        done = Command(home)(*BLOCKS, "--out", str(home / "results"))
    assert done.returncode == 0, done.stderr
    return home / "results"


@pytest.mark.slow
@with_ray
def test_a_router_s_sweep_on_a_cluster_gives_the_same_rows(gatebench, tmp_path):
    for name, options in (("local", []), ("cluster", ["--executor", "ray"])):
        done = gatebench(*ROUTER, *options, "--out", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
    assert "outputs of its parents are computed" in done.stderr and "done (5 of 5 done, 0 with the cluster)" in done.stderr
    here, there = rows(tmp_path / "local"), rows(tmp_path / "cluster")
    assert len(here) == 5 and here == there and tables(tmp_path / "local") == tables(tmp_path / "cluster")
    pools = [sorted(path.name for path in out.glob("pool-*/*")) for out in (tmp_path / "local", tmp_path / "cluster")]
    assert pools[0] == pools[1] and len(pools[0]) == 4
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cluster").glob("*/*")}
    again = gatebench(*ROUTER, "--out", str(tmp_path / "cluster"))
    assert again.returncode == 0 and {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
@with_ray
def test_times_of_experts_on_a_cluster_are_measured_once_for_all_runs(gatebench, tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    done = gatebench(*MEASURED, "--seed", "0,1", "--executor", "ray", "--out", str(there))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("rounds") == 1
    (pool,) = there.glob("pool-*")
    (measured,) = json.loads((pool / "pool.json").read_text())["times"]
    routers = [recipes.read(folder / "recipe.yaml").model.options["latency_ms"] for folder in there.glob("router-*")]
    assert routers == [list(measured["latency_ms"].values())] * 4
    for expert in there.glob("resnet*"):
        copied(expert, here)
    (here / pool.name).mkdir()
    shutil.copy(pool / "pool.json", here / pool.name)
    local = gatebench(*MEASURED, "--seed", "0,1", "--out", str(here))
    assert local.returncode == 0, local.stderr
    assert len(rows(here)) == 7 and rows(here) == rows(there) and tables(here) == tables(there)


@pytest.mark.slow
@with_ray
def test_a_worker_that_is_killed_costs_one_retry(gatebench, local, tmp_path, monkeypatch):
    killed, write = [], RunFolder.write

    def kill_once(folder, name, fill):
        write(folder, name, fill)
        if name == "resume.pt" and not killed:
            killed.extend(workers())
            for process in killed:
                os.kill(process, signal.SIGKILL)

    monkeypatch.setattr(RunFolder, "write", kill_once)
    done = gatebench(*BLOCKS, "--executor", "ray", "--out", str(tmp_path / "out"))
    assert done.returncode == 0 and killed, done.stderr
    said = done.stderr.count("its worker was lost; it goes on after what was brought back")
    assert 1 <= said <= len(killed)
    assert rows(tmp_path / "out") == rows(local) and tables(tmp_path / "out") == tables(local)


@pytest.mark.slow
@with_ray
def test_a_driver_that_is_killed_goes_on_where_it_was(gatebench, gatebench_forks, local, tmp_path):
    out = tmp_path / "out"
    driver = gatebench_forks.start(*BLOCKS, "--executor", "ray", "--out", str(out), dies_writing="columns.json")
    driver.communicate()
    assert driver.returncode == -signal.SIGKILL
    trained = len(list(out.glob("*/resume.pt")))
    assert trained and not list(out.glob("*/summary.json"))
    done = gatebench(*BLOCKS, "--executor", "ray", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 1/1") == 2 - trained, "what was brought back is not trained again"
    assert rows(out) == rows(local) and tables(out) == tables(local)


@pytest.mark.slow
@with_ray
def test_ctrl_c_leaves_nothing_half_written(gatebench_process, tmp_path):
    out, workplace = tmp_path / "out", Path(tempfile.mkdtemp())  # Ray wants a short path
    gatebench_process.environment["TMPDIR"] = str(workplace)

    def scratch():
        return list(workplace.glob("gatebench-*/"))

    command = [*BLOCKS, "--epochs", "500", "--executor", "ray", "--out", str(out)]
    process = gatebench_process.start(*command)
    until = time.monotonic() + 80
    while not list(out.glob("*/resume.pt")) and time.monotonic() < until:
        time.sleep(0.2)
    assert scratch()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted; the same command (without --fresh) goes on where it was" in said
    assert not [path for path in out.glob("*/.*") if path.name != ".lock"] and not list(out.glob("*/summary.json"))
    assert not scratch()
    shutil.rmtree(workplace)


@pytest.mark.slow
@with_ray
def test_a_run_that_fails_does_not_stop_the_others(gatebench, local, tmp_path):
    broken, other = (RunFolder(copied(run.parent, tmp_path / "out")) for run in sorted(local.glob("*/rows.jsonl")))
    for folder in (broken, other):
        folder.remove("summary.json", "model.safetensors")
    broken.write_text("resume.pt", "not one")
    refused = gatebench.refused(*BLOCKS, "--executor", "ray", "--out", str(tmp_path / "out"), code=1)
    assert f"{broken / 'resume.pt'} is damaged" in refused and "1 of 2 runs failed" in refused
    assert other.finished and not broken.finished


@pytest.mark.slow
@with_ray
def test_what_no_machine_has_is_said(gatebench, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "needs", lambda job: {"num_cpus": job.threads, "num_gpus": 64})
    command = ["train", "cosinegate", *GATED, "--executor", "ray", "--out", str(tmp_path / "out")]
    assert "No machine of the cluster has a GPU" in gatebench.refused(*command, code=1)
