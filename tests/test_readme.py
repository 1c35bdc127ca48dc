"""The README and that of results/ say what is in the repository."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from gatebench.columns import KINDS
from gatebench.profiling.networks import trained
from gatebench.recipe import parse
from gatebench.report.document import compose
from gatebench.report.results import read_runs
from gatebench.report.sheet import to_markdown
from gatebench.runs import RunFolder

MOST_PARAMS = 500_000
"""Weights of 2 MB and more are not committed; smaller ones are, of seed 0 at least."""
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MEASURED = (ROOT / "results" / "README.md").read_text()


@pytest.fixture(scope="module", autouse=True)
def committed():
    """Skips where results/ holds more than was committed: a user's own runs and times, of which no README says anything."""
    done = subprocess.run(["git", "status", "--porcelain", "results"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0 and done.stdout:
        pytest.skip("results/ holds runs or times of your own; its README speaks of the committed ones")


def test_the_tables_are_those_of_the_committed_runs():
    """Those of the first section of what `gatebench report results/ --format md` writes."""
    runs, left_out = read_runs(ROOT / "results")
    assert runs and not left_out
    claims, *_ = compose(runs, left_out).sections
    for sheet in claims.sheets:
        assert to_markdown(sheet) in MEASURED, sheet.title


def test_what_each_exit_gets_alone_is_that_of_the_committed_runs():
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "exits.py"], capture_output=True, text=True, check=True)
    assert done.stdout == (ROOT / "results" / "benchmarks" / "exits.txt").read_text() and "over annealed, exit 3" in done.stdout


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*/recipe.yaml")), ids=lambda path: path.parent.name)
def test_a_committed_run_is_whole(path):
    names = {file.name for file in path.parent.iterdir()}
    assert {"machine.json", "data.json", "epochs.csv", "rows.jsonl", "summary.json", "inputs.parquet"} <= names
    summary = json.loads((path.parent / "summary.json").read_text())
    assert "model.safetensors" in names or summary["params"] >= MOST_PARAMS or summary["seed"] > 0
    content = yaml.safe_load(path.read_text())
    assert content["training"]["epochs"] == len((path.parent / "epochs.csv").read_text().splitlines()) - 1
    if "model.safetensors" in names:  # today's code builds the network that the weights were trained in
        trained(RunFolder(path.parent), parse(content, str(path)), json.loads((path.parent / "data.json").read_text()))


def test_every_column_of_a_committed_row_is_documented():
    for path in (ROOT / "results").glob("*/rows.jsonl"):
        for line in path.read_text().splitlines():
            assert set(json.loads(line)) <= set(KINDS), path


def test_the_modules_its_map_names_are_there():
    named = re.findall(r"`(?:gatebench/)?((?:\w+/)*\w+\.py)`", README)
    assert len(named) > 10
    for name in named:
        assert (ROOT / "gatebench" / name).exists() or (ROOT / name).exists(), name


def test_the_network_of_your_own_is_timed_as_shown(gatebench, tmp_path):
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
    done = gatebench(*words, "--inputs", "16", "--repeats", "5", "--threads", "1", "--json")
    assert done.returncode in (0, 3), done.stderr
    (row,) = json.loads(done.stdout)
    assert row["network"] == "early" and row["rival"] == "early:whole" and row["timed_saving_pct"] > 0
