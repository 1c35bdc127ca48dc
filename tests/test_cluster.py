"""Runs on a cluster: options, files in transit, a worker's task, and with Ray the same rows whatever is killed."""

import errno
import importlib.util
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import GATED, Command, Silent, copied, routers

from gatebench import assignment, stages
from gatebench import recipe as recipes
from gatebench.changed_code import code_digest
from gatebench.cli.training import choose_executor
from gatebench.errors import UsageError
from gatebench.plan import plan
from gatebench.runs import RunFolder, choose_folder
from gatebench.sweep import cluster, driver, parcel, points, worker

with_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'gatebench[ray]'")
BLOCKS = ["sweep-lambda", "cosinegate", *GATED, "--values", "1,5"]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Home of all commands in this process: there Ray keeps a token, which it reads once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def gatebench(home, tmp_path) -> Command:
    command = Command(home)
    command.environment |= scratch_in(tmp_path)
    return command


def scratch_in(folder: Path) -> dict[str, str]:
    """Variables with which workers keep there what they leave where they are killed; Ray itself wants a short path."""
    return {"TMPDIR": str(folder), "RAY_TMPDIR": tempfile.gettempdir()}


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """A cluster that hangs fails its test."""

    def fail(number, frame):
        pytest.fail("it hangs")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(400)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


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
def long(home) -> list[str]:
    """A sweep of runs that take so long that two of them are under way at once."""
    epochs = ["--epochs", "20", "--set", "parents.sharp.epochs=12", "--set", "parents.blurred.epochs=12"]
    return [*routers(home, "[1.0, 2.0]"), *epochs]


@pytest.fixture(scope="module")
def local(home, long) -> Path:
    """The results of a sweep in this process, by which those on a cluster are judged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "untimed", lambda runs: [])
        done = Command(home)(*long, "--out", str(home / "results"))
    assert done.returncode == 0, done.stderr
    return home / "results"


def check_same(out: Path, local: Path) -> None:
    """Fails where results are not those of a sweep without a cluster, or anything unfinished is left."""
    assert len(rows(out)) == 4 and rows(out) == rows(local) and tables(out) == tables(local)
    here, there = (sorted(path.relative_to(each) for path in each.rglob("*")) for each in (local, out))
    assert here == there


@pytest.fixture
def checkpoints(monkeypatch) -> list:
    """Functions that are called with a run's folder once a checkpoint of it was brought back."""
    heard, write = [], RunFolder.write

    def write_and_tell(folder, name, fill):
        write(folder, name, fill)
        if name == "resume.pt":
            for each in heard:
                each(folder)

    monkeypatch.setattr(RunFolder, "write", write_and_tell)
    monkeypatch.setattr(cluster, "default_threads", lambda: 2)  # on any machine there are two workers
    return heard


@pytest.mark.slow
@with_ray
def test_two_workers_give_the_rows_of_a_sweep_without_a_cluster(gatebench, long, local, checkpoints, tmp_path):
    out, seen = tmp_path / "out", []

    def look(folder):
        under_way = [path.parent.name for path in out.glob("*/resume.pt") if not (path.parent / "summary.json").exists()]
        seen.append((folder.path.name, set(under_way), set(workers())))

    checkpoints.append(look)
    done = gatebench(*long, "--executor", "ray", "--out", str(out))
    assert done.returncode == 0, done.stderr
    for model in ("resnet", "router"):
        at_once = [(runs, processes) for name, runs, processes in seen if name.startswith(model)]
        assert any(len(runs) == len(processes) == 2 for runs, processes in at_once), "two runs went on in two processes"
    assert "outputs of its parents are computed" in done.stderr and "done (4 of 4 done, 0 with the cluster)" in done.stderr
    check_same(out, local)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*")}
    again = gatebench(*long, "--out", str(out))
    assert again.returncode == 0 and {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
@with_ray
def test_times_of_experts_on_a_cluster_are_measured_once_for_all_runs(gatebench, tmp_path):
    there, here, measured = tmp_path / "there", tmp_path / "here", [*routers(tmp_path, "measured"), "--seed", "0,1"]
    done = gatebench(*measured, "--executor", "ray", "--out", str(there))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("rounds") == 1
    (pool,) = there.glob("pool-*")
    (stored,) = json.loads((pool / "pool.json").read_text())["times"]
    vectors = [recipes.read(folder / "recipe.yaml").model.options["latency_ms"] for folder in there.glob("router-*")]
    assert vectors == [list(stored["latency_ms"].values())] * 4
    for expert in there.glob("resnet*"):
        copied(expert, here)
    (here / pool.name).mkdir()
    shutil.copy(pool / "pool.json", here / pool.name)
    without = gatebench(*measured, "--out", str(here))
    assert without.returncode == 0, without.stderr
    assert len(rows(here)) == 6 and rows(here) == rows(there) and tables(here) == tables(there)


@pytest.mark.slow
@with_ray
@pytest.mark.parametrize(("model", "count"), [("resnet", 1), ("router", 2)])
def test_workers_that_are_killed_while_they_train_cost_one_retry(gatebench, long, local, checkpoints, tmp_path, model, count):
    killed = []

    def kill(folder):
        if folder.path.name.startswith(model) and not killed:
            killed.extend(workers()[:count])
            for process in killed:
                os.kill(process, signal.SIGKILL)

    checkpoints.append(kill)
    done = gatebench(*long, "--executor", "ray", "--out", str(tmp_path / "out"))
    assert done.returncode == 0 and killed, done.stderr
    assert done.stderr.count("its worker was lost; it goes on after what was brought back") == len(killed)
    check_same(tmp_path / "out", local)


@pytest.mark.slow
@with_ray
def test_a_worker_that_is_killed_while_it_computes_outputs_costs_one_retry(gatebench, long, local, tmp_path, monkeypatch):
    for expert in local.glob("resnet*"):
        copied(expert, tmp_path / "out")
    killed, send = [], driver.Driver._send

    def send_and_kill(self, sent):
        send(self, sent)
        until = time.monotonic() + 60
        while not killed and time.monotonic() < until:
            killed.extend(workers())
            time.sleep(0.01)
        if sent.attempt == 1 and sent.pool:
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(driver.Driver, "_send", send_and_kill)
    done = gatebench(*long, "--executor", "ray", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("its worker was lost") == len(killed) == 1
    check_same(tmp_path / "out", local)


@pytest.mark.slow
@with_ray
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_nothing_half_written(gatebench_process, tmp_path, number, code):
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
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code and "interrupted; the same command (without --fresh) goes on where it was" in said
    assert not [path for path in out.glob("*/.*") if path.name != ".lock"] and not list(out.glob("*/summary.json"))
    assert not scratch()
    shutil.rmtree(workplace)


@pytest.mark.slow
@with_ray
def test_a_run_that_fails_does_not_stop_the_others(gatebench, local, long, tmp_path):
    out = tmp_path / "out"
    for run in local.glob("r*-s0-*"):
        copied(run, out)
    broken, other = (RunFolder(path) for path in sorted(out.glob("router-*")))
    for folder in (broken, other):
        folder.remove("summary.json", "model.safetensors")
    broken.write_text("resume.pt", "not one")
    refused = gatebench.refused(*long, "--executor", "ray", "--out", str(out), code=1)
    assert f"{broken / 'resume.pt'} is damaged" in refused and "1 of 4 runs failed" in refused
    assert other.finished and not broken.finished


@pytest.mark.slow
@with_ray
def test_a_disk_that_is_full_costs_no_other_run(gatebench, long, local, tmp_path):
    out, failed, write = tmp_path / "out", [], RunFolder.write
    for folder in (*local.glob("resnet*"), *local.glob("pool-*")):
        copied(folder, out)

    def fill(stream):
        raise OSError(errno.ENOSPC, "No space left on device")

    def write_or_fail(folder, name, original):
        if name == "resume.pt" and not failed:
            failed.append(folder)
        write(folder, name, fill if folder.path in [each.path for each in failed] else original)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "write", write_or_fail)
        refused = gatebench.refused(*long, "--executor", "ray", "--out", str(out), code=1)
    (full,) = failed
    assert f"Cannot write {full / 'resume.pt'}: the disk is full. What was written before is kept" in refused
    assert "1 of 4 runs failed" in refused and len(list(out.glob("router-*/summary.json"))) == 1
    done = gatebench(*long, "--executor", "ray", "--out", str(out))
    assert done.returncode == 0, done.stderr
    check_same(out, local)


@pytest.mark.slow
@with_ray
def test_what_no_machine_has_is_said(gatebench, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "needs", lambda job: {"num_cpus": job.threads, "num_gpus": 64})
    command = ["train", "cosinegate", *GATED, "--executor", "ray", "--out", str(tmp_path / "out")]
    assert "No machine of the cluster has a GPU" in gatebench.refused(*command, code=1)
