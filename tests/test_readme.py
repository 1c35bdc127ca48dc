"""The README and that of results/ say what is in the repository, and results/ holds what it should."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from gatebench.data import catalogue
from gatebench.data.shapes import make_shapes
from gatebench.results import PER_RUN
from gatebench.row import Row, TimeRow
from gatebench.rows import read_columns
from gatebench.runs import RunFolder
from gatebench.trained import load_run

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
README = (ROOT / "README.md").read_text()
MEASURED = (RESULTS / "README.md").read_text()
RUNS = sorted(path.parent for path in RESULTS.glob("*/recipe.yaml"))
MOST_PARAMS = 375_000
"""Weights of 1.5 MB and more are not committed unless they are named; smaller ones are, of seed 0."""
MOST_BYTES = 40_000_000
"""Of all that is committed."""
sys.path.insert(0, str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def committed():
    """Skips where results/ holds more than was committed: a user's own runs and times, of which no README says anything."""
    done = subprocess.run(["git", "status", "--porcelain", "--ignored", "results"], cwd=ROOT, capture_output=True, text=True)
    ours = ("README.md", "benchmarks/", "pictures/", "report/", "pareto-")
    if any(not line[3:].removeprefix("results/").startswith(ours) for line in done.stdout.splitlines()):
        pytest.skip("results/ holds runs or times of your own; its README speaks of the committed ones")


def test_the_tables_are_those_of_the_committed_runs(committed):
    """As `python benchmarks/results.py` writes them."""
    from results import sheets, shown, with_tables

    runs, left_out = shown(RESULTS)
    assert runs and not left_out and with_tables(MEASURED, sheets(runs)) == MEASURED
    with pytest.raises(ValueError, match="0 parts of the README take the table"):
        with_tables("", sheets(runs))


def test_the_tables_of_channels_are_those_of_the_committed_runs(committed):
    """As `python benchmarks/channels_page.py` writes them."""
    from channels_page import tables
    from pages import with_tables

    text = (RESULTS / "channels.md").read_text()
    assert "| `lag-vgg11 released` |" in text and with_tables(text, tables(RESULTS)) == text


def test_the_tables_of_routing_are_those_of_the_committed_runs(committed):
    """As `python benchmarks/worth.py` writes them."""
    from pages import with_tables
    from worth import tables

    text = (RESULTS / "routing.md").read_text()
    assert "| neighbours | 0.7 |" in text and with_tables(text, tables(RESULTS)) == text


def test_the_pictures_are_there():
    shown = re.findall(r'<img src="([^"]+)"', MEASURED)
    assert {path.name for path in (RESULTS / "pictures").iterdir()} == {Path(each).name for each in shown}
    assert all((RESULTS / each).is_file() for each in shown)


def test_what_each_exit_gets_alone_is_that_of_the_committed_runs(committed):
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "exits.py"], capture_output=True, text=True, check=True)
    assert done.stdout == (RESULTS / "benchmarks" / "exits.txt").read_text() and "over annealed, exit 3" in done.stdout


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_a_committed_run_is_complete(committed, path):
    names = {file.name for file in path.iterdir()}
    assert {"machine.json", "data.json", "epochs.csv", "rows.jsonl", "summary.json", "breakdown.csv"} <= names
    summary = json.loads((path / "summary.json").read_text())
    if summary["dataset"] == "intel-scenes":  # the pool's tables say what each expert answers; a router cannot be run without experts
        assert not names & {"model.safetensors", "examples.npz"}
    else:
        kept = names & set(PER_RUN)
        if summary["seed"] or summary["params"] < MOST_PARAMS:
            assert kept | {"model.safetensors"} == set(PER_RUN) if not summary["seed"] else not kept  # weights, where there is room
        else:  # heavy: without weights, or named when it was published
            assert kept in (set(), {"examples.npz", "inputs.parquet"}, set(PER_RUN))
    assert not list(path.rglob("*.png")) and not list(path.rglob("*.svg")) and not list(path.glob("times/*.csv"))
    content = yaml.safe_load((path / "recipe.yaml").read_text())
    assert content["training"]["epochs"] == len((path / "epochs.csv").read_text().splitlines()) - 1
    if "model.safetensors" in names:  # today's code builds the network that the weights were trained in
        model, recipe, _ = load_run(RunFolder(path))
        assert recipe.name == summary["recipe"] and model.macs_static == summary["macs_dense"]


def test_every_column_of_a_committed_row_is_documented(committed):
    timed = 0
    for path in RUNS:
        columns = read_columns(path / "columns.json")
        for line in (path / "rows.jsonl").read_text().splitlines():
            row = json.loads(line)
            assert Row.model_validate(row, strict=True).model_extra.keys() <= {column.name for column in columns}, path
        assert json.loads((path / "summary.json").read_text()) == json.loads((path / "rows.jsonl").read_text().splitlines()[0])
        for times in path.glob("times/*.jsonl"):
            for line in times.read_text().splitlines():
                assert not TimeRow.model_validate(json.loads(line), strict=True).model_extra, times
                timed += 1
    assert timed > 40


def test_what_is_committed_is_small():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a checkout")
    files = [ROOT / name for name in done.stdout.split("\0") if name]
    assert sum(file.stat().st_size for file in files if file.exists()) < MOST_BYTES


def test_the_network_of_your_own_is_timed_as_shown(gatebench, tmp_path, monkeypatch):
    """Its code, and the command under it, with weights as it says they are made, and data that need no download."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    (tmp_path / "early.py").write_text(code)
    namespace = {}
    exec(code, namespace)
    torch.manual_seed(0)
    torch.save(namespace["build"](10).state_dict(), tmp_path / "early.pt")
    (command,) = re.findall(r"gatebench (profile-latency --model-file.*)", README)
    command += " --weights early.pt"
    words = [str(tmp_path / word) if word.startswith("early.") else word for word in command.split()]
    monkeypatch.setattr(catalogue, "make_shapes", lambda count, *others: make_shapes(min(count, 200), *others))
    done = gatebench(*words, "--inputs", "16", "--repeats", "5", "--threads", "1", "--json")
    assert done.returncode in (0, 3), done.stderr
    (row,) = json.loads(done.stdout)
    assert row["network"] == "early" and row["rival"] == "early:whole" and row["timed_saving_pct"] > 0
