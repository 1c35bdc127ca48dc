"""The run folder, and runs that are killed."""

import errno
import json
import random
import signal
import time

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL, copied, trained_run
from safetensors.torch import load_file

from gatebench.errors import GatebenchError
from gatebench.report.check import check
from gatebench.runs import RunFolder, choose_folder, slug
from gatebench.training import checkpoint

EPOCHS = 25
TRAIN = ["train", "cosinegate", "--config", "predictive", *SMALL, "--set", "model.depth=8", "--epochs", str(EPOCHS)]
TIMES = {"training_seconds", "peak_memory_mb"}


def only_folder(out):
    (folder,) = [path for path in out.iterdir() if path.is_dir()]
    return folder


@pytest.mark.parametrize(
    ("text", "name"),
    [("Intel Xeon; 2 cores", "Intel-Xeon-2-cores"), ("net:build", "net-build"), ("größe/x..", "gr-e-x"), ("../..", ""), ("ネット", "")],
)
def test_a_name_as_part_of_a_file_s(text, name):
    assert slug(text) == name


def numbers(folder):
    """Everything a run computed that is not a time."""
    summary = {key: value for key, value in json.loads((folder / "summary.json").read_text()).items() if key not in TIMES}
    epochs = pd.read_csv(folder / "epochs.csv").drop(columns=["images_per_second", "seconds"])
    return summary, epochs.to_csv(), load_file(folder / "model.safetensors")


def assert_same(one, other):
    assert one[0] == other[0]
    assert one[1] == other[1]
    assert one[2].keys() == other[2].keys()
    for name, tensor in one[2].items():
        assert torch.equal(tensor, other[2][name]), name


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return trained_run(tmp_path_factory.mktemp("unbroken"), *TRAIN)


def kill_and_go_on(commands, out, moments):
    """Start the same command once a moment, kill it there, and at last let it finish."""
    for moment in moments:
        process = commands.start(*TRAIN, "--out", str(out))
        moment(process, out)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it had ended before it could be killed"
    done = commands(*TRAIN, "--out", str(out))
    assert done.returncode == 0, done.stderr
    return only_folder(out)


def after(seconds):
    def wait(process, out):
        time.sleep(seconds)

    return wait


def working(seconds):
    """Some time after the run's folder is there."""

    def wait(process, out):
        while process.poll() is None and not list(out.glob("*/data.json")):
            time.sleep(0.001)
        time.sleep(seconds)

    return wait


def writing(name):
    """The moment at which a file of that name is being written."""

    def wait(process, out):
        before = set(out.glob("*/.*"))
        while process.poll() is None and not set(out.glob(f"*/.{name}.*")) - before:
            time.sleep(0.0005)

    return wait


@pytest.mark.slow
def test_killed_while_writing_each_of_its_files(gatebench, gatebench_forks, unbroken, tmp_path):
    """In the order in which they are first written."""
    names = ("machine.json", "data.json", "recipe.yaml", "identity.json", "resume.pt", "epochs.csv", "model.safetensors", "breakdown.csv",
             "inputs.parquet", "decisions.npz", "examples.npz", "columns.json", "rows.jsonl", "summary.json")  # fmt: skip
    assert set(names) == {path.name for path in unbroken.iterdir()}
    command = [*TRAIN, "--out", str(tmp_path / "out")]
    for name in names:
        process = gatebench_forks.start(*command, dies_writing=name)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, name
        folder = only_folder(tmp_path / "out")
        assert not (folder / name).exists() and list(folder.glob(f".{name}.writing-*")), "what is half written has another name"
    assert gatebench(*command).returncode == 0
    assert_same(numbers(folder), numbers(unbroken))
    assert not list(folder.glob(".*")), "neither a lock nor anything half written is left"


def test_ten_kills_lose_nothing(gatebench_forks, unbroken, tmp_path):
    """At random moments of the start-up and of the work, and while a checkpoint is written."""
    random.seed(1)
    moments = (
        [after(random.uniform(0, 0.5)) for _ in range(4)] + [working(random.uniform(0, 0.3)) for _ in range(3)] + [writing("resume.pt")] * 3
    )
    random.shuffle(moments)
    assert_same(numbers(kill_and_go_on(gatebench_forks, tmp_path / "out", moments)), numbers(unbroken))


def test_an_epoch_that_was_saved_but_not_listed_is_listed_at_last(gatebench, unbroken, tmp_path):
    """Killed between the last checkpoint and epochs.csv."""
    folder = copied(unbroken, tmp_path)
    lines = (folder / "epochs.csv").read_text().splitlines(keepends=True)
    (folder / "epochs.csv").write_text("".join(lines[:-1]))
    for name in ("summary.json", "model.safetensors"):
        (folder / name).unlink()
    assert gatebench(*TRAIN, "--out", str(tmp_path)).returncode == 0
    assert_same(numbers(folder), numbers(unbroken))


def test_ctrl_c_keeps_what_is_there(gatebench, gatebench_forks, unbroken, tmp_path):
    for attempt in range(3):  # on a busy machine a run may be over before it can be interrupted
        out = tmp_path / f"out{attempt}"
        process = gatebench_forks.start(*TRAIN, "--out", str(out))
        while process.poll() is None and not list(out.glob("*/epochs.csv")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        if process.returncode != 0:
            break
    assert (
        process.returncode == 130
        and "interrupted; the same command (without --fresh) goes on" in " ".join(err.split())
        and "Traceback" not in err
    )
    done = gatebench(*TRAIN, "--out", str(out))
    assert done.returncode == 0 and "goes on after epoch" in done.stderr
    assert_same(numbers(only_folder(out)), numbers(unbroken))


def test_a_run_folder_holds_what_later_commands_read(unbroken):
    summary = json.loads((unbroken / "summary.json").read_text())
    assert json.loads((unbroken / "rows.jsonl").read_text()) == summary
    inputs = pd.read_parquet(unbroken / "inputs.parquet")
    assert len(inputs) == 80
    assert 100 * (inputs["label"] == inputs["prediction"]).mean() == pytest.approx(summary["accuracy"])
    assert inputs["macs_executed"].mean() == pytest.approx(summary["macs_executed"])
    packed = np.load(unbroken / "decisions.npz")
    decisions = np.unpackbits(packed["decisions"], axis=1, count=int(packed["switches"]))
    assert decisions.mean() == pytest.approx(summary["mean_gate_hard"])
    assert np.load(unbroken / "examples.npz")["pixels"].shape == (48, 16, 16, 3)
    assert check(unbroken) == (1, [])
    epochs = pd.read_csv(unbroken / "epochs.csv")
    assert list(epochs["epoch"]) == list(range(1, EPOCHS + 1))
    assert {"train_accuracy", "test_accuracy", "mean_gate_soft", "mean_gate_hard", "loss_budget", "loss_prediction"} <= set(epochs)
    assert not list(unbroken.glob(".*")), "neither a lock nor a temporary file is left"
    columns = json.loads((unbroken / "columns.json").read_text())
    assert [column["name"] for column in columns] == ["tradeoff"], "block gates declare no column of their own"


def test_a_write_that_fails_keeps_the_old_file_and_names_the_fix(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_text("summary.json", "old")

    def full(stream):
        stream.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(GatebenchError, match="Cannot write .*summary.json: the disk is full.*choose another --out"):
        folder.write("summary.json", full)
    assert (tmp_path / "summary.json").read_text() == "old" and [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_a_checkpoint_that_cannot_be_written_is_told_with_its_reason(tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python does by itself; pytest's own files are small
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(GatebenchError, match="resume.pt: File too large. Choose another --out"):
            checkpoint.save(RunFolder(tmp_path), checkpoint.Progress([]), model=torch.nn.Linear(200, 200))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not list(tmp_path.iterdir())


def run_of(path, machine="here", finished=True, weights=True):
    path.mkdir(parents=True)
    (path / "recipe.yaml").write_text("")
    if machine:
        (path / "machine.json").write_text(json.dumps({"name": machine}))
    for name, wanted in (("summary.json", finished), ("model.safetensors", weights)):
        if wanted:
            (path / name).write_text("{}")


@pytest.mark.parametrize(
    ("state", "option", "chosen"),
    [
        ({}, "", "run"),
        ({"finished": False, "weights": False}, "", "run"),
        ({"machine": "elsewhere"}, "", "run-2"),
        ({"machine": "elsewhere", "finished": False}, "", "run-2"),
        ({"machine": "elsewhere", "finished": False}, "take_over", "run"),
        ({"machine": "elsewhere"}, "take_over", "run-2"),
        ({"weights": False}, "", "run-2"),
        ({}, "fresh", "run-2"),
        ({"machine": None, "finished": False, "weights": False}, "", "run"),
        ({"machine": None}, "", "run-2"),
    ],
)
def test_what_is_resumed_and_what_gets_a_folder_of_its_own(tmp_path, state, option, chosen):
    run_of(tmp_path / "run", **state)
    options = {name: name == option for name in ("fresh", "take_over")}
    assert choose_folder(tmp_path, "run", "here", **options).path.name == chosen
    assert choose_folder(tmp_path, "new", "here", **options).path.name == "new"


@pytest.mark.parametrize("name", ["007", "1_000", "1e5", "\uff11\uff12", "nan", "infinity", "+1", ".5", "1.", "0x1"])
def test_a_class_that_looks_like_a_number_keeps_its_name(tmp_path, name):
    folder = RunFolder(tmp_path)
    folder.write_text("breakdown.csv", f"class,share,small,large,count\n{name},0.25,1e-05,1.5e+16,-12\n")
    assert folder.read_csv("breakdown.csv") == [{"class": name, "share": 0.25, "small": 1e-05, "large": 1.5e16, "count": -12}]
