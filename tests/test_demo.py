"""`make demo` shows the point: a network that is right, computes less than its static twin, and spends more on harder images."""

import json
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
import typer
from conftest import masked

from gatebench import cli
from gatebench.models import registry
from gatebench.recipe import load

TARGET = re.search(r"^demo:.*\n((?:\t.*\n)+)", (Path(__file__).parents[1] / "Makefile").read_text(), re.M)[1]
TRAIN, TIME = (shlex.split(command) for command in re.findall(r"^\t\$\(BIN\)/gatebench (.*?)(?: \|\||$)", TARGET, re.M))


def test_its_commands_exist_and_need_no_download():
    group = typer.main.get_command(cli.app)
    for words in (TRAIN, TIME):
        with group.make_context("gatebench", words[:1], resilient_parsing=True) as context:
            name, command, _ = group.resolve_command(context, words)
        assert command.make_context(name, words[1:]).params
    _, model, _, recipe, *_ = TRAIN
    assert load(registry.entry(model).recipes, model, recipe).data.name == "shapes"


@pytest.mark.slow
def test_it_shows_the_point(gatebench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = gatebench(*TRAIN, "--threads", "1")
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "demo-results").iterdir()
    row = json.loads((run / "summary.json").read_text())
    assert row["accuracy"] >= 80 and row["macs_ratio"] < 0.7 and row["skip_pct"] > 20

    table = pd.read_csv(run / "breakdown.csv")
    by_difficulty = table[table["by"] == "difficulty"]
    assert len(by_difficulty) == 5 and by_difficulty["macs_executed"].is_monotonic_increasing
    easiest, *_, hardest = by_difficulty["macs_executed"]
    assert hardest > 1.2 * easiest

    timed = gatebench(*TIME, "--inputs", "16", "--max-seconds", "2")
    assert timed.returncode in (0, 3), timed.stderr
    assert list(run.glob("times/*.jsonl")) and (run.parent / "savings.png").exists()
    readme = masked((Path(__file__).parents[1] / "README.md").read_text())
    (trained,) = (line for line in done.stdout.splitlines() if line.startswith("cgt demo reaches"))
    (faster,) = (line for line in timed.stdout.splitlines() if line.startswith("cgt demo shapes s0 claims"))
    assert masked(trained.partition(" Deciding")[0]) in readme and masked(faster.partition(" and is")[0]) in readme

    again = gatebench(*TRAIN, "--threads", "1")
    assert again.returncode == 0 and "finished before" in again.stdout
    assert [path.name for path in run.parent.iterdir() if path.is_dir()] == [run.name]
