"""What makes two runs the same run: all that decides its numbers, and nothing else; who may write to its folder, and when."""

import json
import os
import re
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SMALL, STATIC, copied, trained_run
from safetensors.torch import load_file

from gatebench import assignment, changed_code
from gatebench import recipe as recipes
from gatebench.errors import GatebenchError
from gatebench.models import registry
from gatebench.plan import Job
from gatebench.runs import RunFolder

TIMES = {"training_seconds", "peak_memory_mb"}
EXITS = ["train", "cgt", "--config", "hard", *SMALL, "--set", "data.validation=60", "--set", "model.backbone.widths=[8,16,32]",
         "--epochs", "2"]  # fmt: skip


def rows_of(folder):
    """rows.jsonl without what was timed."""
    lines = (folder / "rows.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in TIMES} for line in lines]


def results(folder):
    """Everything of a run that is not a time, and not of its training alone: names and contents."""
    files = {path.name: path for path in folder.iterdir() if path.name not in ("resume.pt", "machine.json", "epochs.csv", "times")}
    weights = {name: tensor.tolist() for name, tensor in load_file(files.pop("model.safetensors")).items()}
    rows = [files.pop(name) and rows_of(folder) for name in ("rows.jsonl", "summary.json")][0]
    return rows, weights, {name: path.read_bytes() for name, path in files.items()}


# Data


@pytest.fixture(scope="module")
def same_pixels(tmp_path_factory):
    """A root in which small files stand for CIFAR-10 and MNIST, and the same files under other names."""
    root, draw = tmp_path_factory.mktemp("same_pixels"), np.random.default_rng(0)
    for name, shape in (("cifar10", (32, 32, 3)), ("mnist", (28, 28, 1))):
        counts = {"train": 64, "test": 32}
        images = {f"{split}_images": draw.integers(0, 256, (count, *shape), dtype=np.uint8) for split, count in counts.items()}
        labels = {f"{split}_labels": np.arange(count) % 10 for split, count in counts.items()}
        np.savez(root / f"{name}.npz", **images, **labels)
        (root / "copies").mkdir(exist_ok=True)
        shutil.copy(root / f"{name}.npz", root / "copies" / f"{name}.npz")
        shutil.copy(root / f"{name}.npz", root / "copies" / f"another-{name}.npz")
    return root


@pytest.mark.parametrize("name, differs", [("cifar10", "mean"), ("mnist", "mirrors")])
def test_the_same_pixels_normalised_or_flipped_in_another_way_are_another_run(gatebench, same_pixels, tmp_path, name, differs):
    """CIFAR-10 by name has the papers' statistics, MNIST by name is not flipped; a file has its own statistics and is."""
    train = ["train", "resnet8", "--config", "default", "--epochs", "1", "--threads", "1", "--data-dir", str(same_pixels),
             "--out", str(tmp_path)]  # fmt: skip
    datasets = name, str(same_pixels / "copies" / f"{name}.npz"), str(same_pixels / "copies" / f"another-{name}.npz")
    rows, folders = [], []
    for dataset in datasets:
        before = set(tmp_path.iterdir())
        rows += gatebench.json(*train, "--dataset", dataset)
        folders += set(tmp_path.iterdir()) - before
    assert len(folders) == 3, "three runs, none of which took another's numbers"
    named, own, renamed = (json.loads((folder / "data.json").read_text()) for folder in folders)
    assert named["fingerprint"] == own["fingerprint"] == renamed["fingerprint"] and named["name"] == own["name"] == name
    assert named[differs] != own[differs]
    assert rows[0]["data_digest"] != rows[1]["data_digest"] and rows[0]["digest"] != rows[1]["digest"]
    assert rows[1]["digest"] == rows[2]["digest"] and rows[1]["data_digest"] == rows[2]["data_digest"], "a name decides nothing"
    assert rows[1]["accuracy"] == rows[2]["accuracy"] and renamed["name"] == f"another-{name}"


# Evaluation


@pytest.fixture(scope="module")
def exits_run(tmp_path_factory):
    """A finished run whose thresholds were chosen after training."""
    return trained_run(tmp_path_factory.mktemp("exits"), *EXITS)


@pytest.mark.parametrize("change", ["study={budgets: [0.9], rules: [max-softmax], temperature: true}", "study=null"])
def test_evaluation_is_the_same_whatever_files_were_kept(gatebench, exits_run, tmp_path, change):
    """Beside a run that was evaluated so from the start; a policy that was chosen before, kept with the weights, does not count."""
    (anew,) = gatebench.json(*EXITS, "--set", change, "--out", str(tmp_path / "anew"))
    kept, removed, back = (copied(exits_run, tmp_path / name) for name in ("kept", "removed", "back"))
    (removed / "resume.pt").unlink()
    for folder in (kept, removed):
        gatebench.json(*EXITS, "--set", change, "--out", str(folder.parent))
        assert len(list(folder.parent.iterdir())) == 1, "evaluated in its own folder"
    expected = results(next((tmp_path / "anew").iterdir()))
    assert results(kept) == results(removed) == expected
    assert ("policy" in anew) == (change != "study=null") and anew["digest"] == rows_of(exits_run)[0]["digest"]
    for again in (change, None):  # there and back
        gatebench.json(*EXITS, *(("--set", again) if again else ()), "--out", str(back.parent))
    assert results(back) == results(exits_run)


@pytest.mark.parametrize("names", [
    ["rows.jsonl"], pytest.param(["recipe.yaml", "exits.csv", "model.safetensors", "rows.jsonl", "summary.json"], marks=pytest.mark.slow),
])  # fmt: skip
def test_an_evaluation_that_is_killed_is_done_again_without_training(names, gatebench, gatebench_forks, exits_run, tmp_path):
    """At any of its files, with nothing to go on training from, by code that has changed since."""
    folder = copied(exits_run, tmp_path / "killed")
    (folder / "resume.pt").unlink()
    machine = json.loads((folder / "machine.json").read_text())
    (folder / "machine.json").write_text(json.dumps({**machine, "code": "another"}))
    command = [*EXITS, "--set", "study.budgets=[0.9]", "--out", str(folder.parent)]
    for name in names:
        process = gatebench_forks.start(*command, dies_writing=name)
        _, err = process.communicate()
        assert process.returncode == -signal.SIGKILL and "epoch" not in err, (name, err)
    done = gatebench(*command)
    assert done.returncode == 0 and "epoch" not in done.stderr
    other = copied(exits_run, tmp_path / "unbroken")
    gatebench.json(*EXITS, "--set", "study.budgets=[0.9]", "--out", str(other.parent))
    assert results(folder) == results(other)
    assert (folder / "epochs.csv").read_bytes() == (exits_run / "epochs.csv").read_bytes()
    assert json.loads((folder / "machine.json").read_text())["code"] == "another", "the code that trained it"


def test_tables_of_an_earlier_study_do_not_stay(gatebench, exits_run, tmp_path):
    folder = copied(exits_run, tmp_path)
    assert {path.name for path in folder.glob("*.csv")} == {"epochs.csv", "breakdown.csv", "exits.csv", "calibration.csv"}
    gatebench.json(*EXITS, "--set", "study=null", "--out", str(tmp_path))
    assert {path.name for path in folder.glob("*.csv")} == {"epochs.csv", "breakdown.csv"}


# Code


def test_changed_code_is_said_in_one_line_and_fresh_trains_anew(gatebench, static_run, tmp_path):
    folder = copied(static_run, tmp_path)
    command = ["train", "resnet8", *STATIC, "--out", str(tmp_path)]
    assert gatebench(*command).stderr == "", "the same code has nothing to say"
    machine = json.loads((folder / "machine.json").read_text())
    (folder / "machine.json").write_text(json.dumps({**machine, "code": "0" * 8}))
    done = gatebench(*command)
    assert done.returncode == 0 and re.findall(r".*other code.*", done.stderr) == done.stderr.splitlines(), "one line"
    assert "finished by other code than today's; --fresh trains it anew" in done.stderr
    assert rows_of(folder) == rows_of(static_run) and [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert "other code" not in gatebench(*command, "--fresh").stderr
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, f"{folder.name}-2"}
    assert "other code" not in gatebench(*command).stderr, "it goes on with the newest"


def test_code_that_changed_since_an_unfinished_run_was_begun_is_said(gatebench, static_run, tmp_path):
    folder = copied(static_run, tmp_path)
    for name in ("summary.json", "model.safetensors"):
        (folder / name).unlink()
    machine = json.loads((folder / "machine.json").read_text())
    (folder / "machine.json").write_text(json.dumps({**machine, "code": "0" * 8}))
    done = gatebench("train", "resnet8", *STATIC, "--out", str(tmp_path))
    assert done.returncode == 0 and "begun by other code than today's; --fresh trains it anew" in done.stderr


def test_which_code_counts(monkeypatch, tmp_path):
    """That of every layer that decides numbers and of the model's own family; what it does, and not what is said of it."""
    read = []
    monkeypatch.setattr(changed_code, "_digest", lambda path: read.append("/".join(path.parts[-2:])) or b"")
    changed_code.code_digest.__wrapped__("cosinegate")
    ours = {"gatebench/losses.py", "training/loop.py", "data/batches.py", "evaluation/outcome.py", "backbones/resnet.py", "measure/macs.py"}
    assert ours | {"blocks/network.py", "blocks/execution.py"} <= set(read)
    assert not {"exits/network.py", "report/front.py", "cli/train.py", "profiling/session.py"} & set(read)
    (tmp_path / "of_its_own.py").write_text("def build(num_classes):\n    return None\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry._entries, "elsewhere", registry.Entry("elsewhere", "of_its_own:build", "elsewhere"))
    read.clear()
    changed_code.code_digest.__wrapped__("elsewhere")
    assert f"{tmp_path.name}/of_its_own.py" in read and "blocks/network.py" not in read


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ('"""Another docstring."""\ndef f(x):\n    # why\n    return x + 1\n', True),
        ("def f(x):\n    '''Returns it.'''\n\n    return (x + 1)\n", True),
        ("def f(x):\n    return x + 2\n", False),
        ("def f(y):\n    return y + 1\n", False),
    ],
)
def test_comments_and_docstrings_are_no_code(tmp_path, text, same):
    for name, content in (("one", "def f(x):\n    return x + 1\n"), ("other", text)):
        (tmp_path / f"{name}.py").write_text(content)
    assert (changed_code._digest(tmp_path / "one.py") == changed_code._digest(tmp_path / "other.py")) is same


# Machines


def elsewhere(run, to, *gone):
    """A copy of a run of another machine, without some of its files."""
    folder = copied(run, to)
    machine = json.loads((folder / "machine.json").read_text())
    (folder / "machine.json").write_text(json.dumps({**machine, "name": "elsewhere, 8 cores"}))
    for name in gone:
        (folder / name).unlink()
    return folder, machine["name"]


@pytest.mark.parametrize("gone", [("summary.json", "model.safetensors"), ("summary.json",)], ids=["in training", "in evaluation"])
def test_another_machine_s_unfinished_run_is_taken_over_where_that_is_said(gatebench, static_run, tmp_path, gone):
    folder, here = elsewhere(static_run, tmp_path, *gone)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    command = ["train", "resnet8", *STATIC, "--out", str(tmp_path)]
    gatebench.json(*command)
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, f"{folder.name}-2"}, "a folder of its own"
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    shutil.rmtree(tmp_path / f"{folder.name}-2")
    (row,) = gatebench.json(*command, "--take-over")
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    machine = json.loads((folder / "machine.json").read_text())
    assert machine["name"] == row["machine"] == here and machine["earlier"] == ["elsewhere, 8 cores"]
    assert row["audit"] == ["taken over: trained on elsewhere, 8 cores before"]
    (unbroken,) = rows_of(static_run)
    assert {**unbroken, "audit": row["audit"]} == rows_of(folder)[0]
    (again,) = gatebench.json(*command)
    assert again == row and len(list(tmp_path.iterdir())) == 1, "now it is this machine's"


def test_a_run_that_cannot_be_taken_over_is_said_to_be_none(gatebench, static_run, tmp_path):
    """With other settings it is another run."""
    elsewhere(static_run, tmp_path, "summary.json")
    done = gatebench("train", "resnet8", *STATIC, "--set", "training.momentum=0.8", "--out", str(tmp_path), "--take-over")
    assert "there is no unfinished run with these settings, threads, device and precision to take over" in done.stderr


def test_a_finished_run_is_never_taken_over(gatebench, static_run, tmp_path):
    folder, _ = elsewhere(static_run, tmp_path)
    gatebench.json("train", "resnet8", *STATIC, "--out", str(tmp_path), "--take-over")
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, f"{folder.name}-2"}
    assert json.loads((folder / "machine.json").read_text())["name"] == "elsewhere, 8 cores"


# Writers


def test_a_second_command_says_who_writes_and_deletes_nothing(gatebench_forks, tmp_path):
    out = tmp_path / "out"
    command = ["train", "resnet8", *SMALL, "--out", str(out)]
    process = gatebench_forks.start(*command, "--epochs", "2000")
    while process.poll() is None and not list(out.glob("*/epochs.csv")):
        time.sleep(0.01)
    (folder,) = out.iterdir()
    half_written = folder / ".rows.jsonl.writing-abc"
    half_written.write_text("half")
    second = gatebench_forks.start(*command, "--epochs", "2000")
    second.process.join(timeout=60)
    assert second.poll() == 1, "without a lock it trains"
    said = " ".join(second.communicate()[1].split())
    assert f"{folder} is being written by process {process.pid} on " in said and "--fresh" in said and said.count("gatebench: ") == 1
    assert half_written.exists() and process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with RunFolder(folder).locked():
        assert str(os.getpid()) in (folder / ".lock").read_text(), "the lock of a process that died is free"


def test_a_lock_is_for_one_writer_and_leaves_nothing(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        said = f"run is being written by process {os.getpid()} on .*, since .*Wait for it"
        with pytest.raises(GatebenchError, match=said), folder.locked():
            pass
        assert (tmp_path / "run" / ".lock").exists()
    assert not (tmp_path / "run").exists(), "nothing was written"
    with pytest.raises(ZeroDivisionError), folder.locked():
        folder.write_text("kept", "")
        raise ZeroDivisionError
    assert [path.name for path in folder.path.iterdir()] == ["kept"]
    with folder.locked():
        pass


def test_a_lock_whose_file_its_holder_removes_meanwhile_is_taken_anew(tmp_path, monkeypatch):
    """Two processes that each lock a file of the same name would both write."""
    fcntl = pytest.importorskip("fcntl")
    folder, first = RunFolder(tmp_path), [True]
    locking = fcntl.flock

    def flock(stream, how):
        if first.pop() if first else False:
            (tmp_path / ".lock").unlink()
        locking(stream, how)

    monkeypatch.setattr("fcntl.flock", flock)
    with folder.locked():
        assert (tmp_path / ".lock").exists()
        with pytest.raises(GatebenchError, match="is being written"), folder.locked():
            pass


def test_a_refused_recipe_leaves_no_folder(gatebench, tmp_path):
    gatebench.refused(*EXITS, "--set", "study.budgets=[0.001]", "--out", str(tmp_path / "out"), code=2)
    assert not (tmp_path / "out").exists()


# Parents


def test_a_parent_s_identity_is_part_of_its_child_s(gatebench, tmp_path):
    """Another recipe of the parent, other weights for the child: another run, whatever the child's own recipe says."""
    child, parent, out = tmp_path / "child.yaml", tmp_path / "base.yaml", tmp_path / "out"
    child.write_text(json.dumps({"parents": {"weights": {"config": str(parent)}}, "training": {"learning_rate": 0.01}}))
    rows = []
    for rate in (0.1, 0.05):
        parent.write_text(json.dumps({"training": {"learning_rate": rate}}))
        rows += gatebench.json("train", "resnet8", "--config", str(child), *STATIC, "--out", str(out))
    assert rows[0]["digest"] != rows[1]["digest"] and rows[0]["parents"] != rows[1]["parents"]
    assert len(list(out.iterdir())) == 4
    texts = {path.read_text() for path in out.glob("resnet8-child-*/recipe.yaml")}
    assert len(texts) == 1, "the child's own recipe is the same"


def test_a_parent_that_a_run_contains_counts_with_what_was_chosen_for_it(exits_run, tmp_path):
    """A run that only starts from its weights does not see their thresholds."""
    recipe = recipes.read(exits_run / "recipe.yaml")
    changed = recipe.model_copy(update={"study": recipe.study.model_copy(update={"temperature": True})})
    parent, other = (
        assignment.Run(Job(each.content(), 0, str(tmp_path), "cpu", "fp32", 1), "digest", RunFolder(exits_run), exact=True, parents={})
        for each in (recipe, changed)
    )
    child = Job({"parents": {"expert": {}, "weights": {}}}, 0, str(tmp_path), "cpu", "fp32", 1)
    assert assignment.identity("expert", parent, child) != assignment.identity("expert", other, child)
    assert assignment.identity("weights", parent, child) == assignment.identity("weights", other, child)
    again = replace(parent, again="-2")
    assert assignment.identity("weights", parent, child) != assignment.identity("weights", again, child), "it has other weights"
    fixed = replace(child, recipe={"parents": {"weights": {"seed": 0}}})
    assert assignment.identity("weights", parent, child) != assignment.identity("weights", parent, fixed)


def test_a_run_keeps_its_own_preparation(exits_run):
    """Statistics of the data it was trained on, with its weights."""
    from gatebench.trained import load_run

    model, _, described = load_run(RunFolder(exits_run))
    assert model.prepare.mean == tuple(described["mean"]) and model.prepare.std == tuple(described["std"])
    assert model.prepare.size == (16, 16) and isinstance(model, torch.nn.Module)
