"""Sweeps over a trade-off: the grid, its runs and times, the table, and what an interruption leaves."""

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from conftest import GATED, SMALL, STATIC

from gatebench import recipe as recipes
from gatebench import stages, timing
from gatebench.errors import GatebenchError, UsageError
from gatebench.measure.conditions import Conditions
from gatebench.models import registry
from gatebench.plan import plan_all
from gatebench.report import front_figure
from gatebench.report.results import Run
from gatebench.row import Column
from gatebench.runs import RunFolder
from gatebench.sweep import points
from gatebench.sweep.grid import grid
from gatebench.sweep.points import counts, timed, untimed
from gatebench.sweep.table import gathered, rows, sheet, timed_points
from gatebench.untrained import build

HEAVY = ("torchvision", "timm", "torch._dynamo", "torch.utils.flop_counter", "matplotlib", "scipy.stats")
"""What trains, counts, decodes or draws, and takes a second to import."""
BLOCKS = ["sweep-lambda", "cosinegate", *GATED]
QUICK = ["--inputs", "8", "--repeats", "5", "--max-seconds", "2", "--threads", "1"]
EXITS = ["sweep-lambda", "cgt", "--config", "hard", *SMALL, "--epochs", "1", "--set", "data.validation=40"]
PLACE = {"device": "cpu", "precision": "fp32", "threads": 1}


@pytest.fixture(autouse=True)
def short_times(monkeypatch):
    for name, value in (("INPUTS", 8), ("ROUNDS", 5), ("SECONDS", 1.0)):
        monkeypatch.setattr(timing, name, value)


@pytest.fixture
def untimed_sweeps(monkeypatch):
    """Sweeps that stop before they time anything."""
    monkeypatch.setattr(points, "untimed", lambda runs: [])


def heavy(process, command):
    """What a command imports of these, in a process of its own."""
    script = "import atexit, sys; from gatebench import cli; atexit.register(lambda: print(*set(sys.modules))); cli.app(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", script, *command], env=process.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "gatebench.stages" in done.stdout.split()
    return set(HEAVY) & set(done.stdout.split())


def lines(out, name):
    """The lines of a sweep's CSV."""
    with open(out / f"sweep-{name}-shapes.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_number_makes_a_recipe_for_each_value_and_a_list_one_for_all():
    balanced = grid(recipes.load("cosinegate", "cosinegate", "balanced"), [0.5, 4.0])
    assert [each.losses["budget"].weight for each in balanced] == [each.tradeoff_value() for each in balanced] == [0.5, 4.0]
    assert [each.changes for each in balanced] == [["losses.budget.weight=0.5"], ["losses.budget.weight=4.0"]]
    (hard,), (other,) = (grid(recipes.load("cgt", "cgt", "hard"), values) for values in ([0.4, 0.9, 0.7], [0.9, 0.7, 0.4]))
    assert hard.study.budgets == (0.4, 0.7, 0.9) and hard.tradeoff_value() is None
    assert other == hard, "one list in any order is one run"


def test_parents_of_several_values_are_made_once(tmp_path):
    child = recipes.changed(recipes.load("cgt", "cgt", "hard"), ["parents.weights={config: joint}", "tradeoff=losses.exits.confidence"])
    planned = plan_all(grid(child, [0.5, 0.9]), [0, 1], data_root=tmp_path, **PLACE)
    assert [(job.recipe["name"], job.seed, job.wanted) for job in planned] == [
        ("joint", 0, False), ("hard", 0, True), ("joint", 1, False), ("hard", 1, True), ("hard", 0, True), ("hard", 1, True)
    ]  # fmt: skip
    assert len({job.key for job in planned}) == 6


def test_the_trade_off_does_not_enter_a_run_s_identity():
    named = recipes.load("cosinegate", "cosinegate", "balanced")
    assert named.digest() == named.model_copy(update={"tradeoff": None}).digest()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("losses.budget.wieght", "there is no setting 'losses.budget.wieght'. Did you mean 'weight'"),
        ("losses.budget", "is neither a number nor a list of numbers"),
        ("data.name", "data.name = 'cifar10' is neither a number"),
    ],
)
def test_a_trade_off_that_is_no_number_is_refused(path, said):
    with pytest.raises(UsageError, match="In --set tradeoff=.* of recipe balanced: tradeoff: ") as refusal:
        recipes.load("cosinegate", "cosinegate", "balanced", [f"tradeoff={path}"])
    assert said in str(refusal.value)


def test_a_recipe_whose_study_is_left_out_has_no_trade_off():
    left_out = recipes.load("cgt", "cgt", "hard", ["study=null"])
    assert left_out.tradeoff_setting() is None
    with pytest.raises(UsageError, match="Recipe hard of cgt names no trade-off .*--config annealed or") as refusal:
        grid(left_out, [0.5])
    assert " hard or" not in str(refusal.value) and "router" not in str(refusal.value), "other recipes of this model alone"


def test_an_empty_list_of_values_is_for_its_study_to_refuse_and_a_sweep_to_fill():
    empty = recipes.load("router", "router", "neighbours-small", ["study.values=[]"])
    with pytest.raises(UsageError, match="study.values: this router has thresholds to choose"):
        build(empty, {})
    assert grid(empty, [0.7, 0.5])[0].study.values == (0.5, 0.7)


def test_the_data_set_of_a_stand_in_recipe_takes_that_recipe(gatebench, tmp_path, monkeypatch):
    """Unless another is named."""
    planned = []
    monkeypatch.setattr(stages, "run", lambda jobs, *others: planned.append(jobs[-1].recipe["name"]) or iter(()))
    tiny = ["--set", "data.shapes={train: 100, test: 10}", "--set", "data.validation=10", "--set", "data.holdout=10", "--threads", "1"]
    command = ["sweep-lambda", "--values", "0.7", "--dataset", "shapes", *tiny, "--out", str(tmp_path)]
    done = gatebench(*command)
    assert "recipe small, which is for shapes, instead of default; --config default takes that one" in done.stderr
    for name in ("default", "expected", "expected-small"):
        assert gatebench(*command, "--config", name).stderr == ""
    assert planned == ["small", "default", "expected", "expected-small"]
    said = gatebench.refused(*command, "--set", "parents.lite0.epochs=1", code=2)
    assert "The stand-in recipe small does not take --set parents.lite0.epochs=1. Leave it out, or take the other recipe" in said


def test_a_stand_in_recipe_says_which_setting_it_does_not_take(gatebench, tmp_path):
    """There are no Intel scenes."""
    command = ["sweep-lambda", "--values", "0.7", "--set", "training.batch_size=16", "--set", "parents.lite0.epochs=1"]
    said = gatebench.refused(*command, "--out", str(tmp_path / "out"), code=2)
    assert "The stand-in recipe small does not take --set parents.lite0.epochs=1. Leave it out, or give the data" in said


def test_a_sweep_over_a_number_trains_times_and_shows_each_value(gatebench, gatebench_process, tmp_path):
    command = [*BLOCKS, "--values", "1,5", "--seed", "0,1", "--out", str(tmp_path)]
    done = gatebench(*command)
    assert done.returncode == 0, done.stderr
    progress = ["0 of 4 done; budget weight 1, seed 0 next", "3 of 4 done; budget weight 5, seed 1 next", "4 of 4 done", "timing 4 "]
    where = [done.stderr.index(line) for line in progress]
    assert where == sorted(where) and "budget" in done.stdout and "sweep-cosinegate-balanced-shapes.csv" in done.stdout
    table = lines(tmp_path, "cosinegate-balanced")
    assert [(line["tradeoff"], line["seeds"]) for line in table] == [("1", "2"), ("5", "2")]
    assert all(float(line["latency_ms"]) > 0 and line["accuracy_sd"] for line in table)
    assert (tmp_path / "sweep-cosinegate-balanced-shapes.png").read_bytes()[:4] == b"\x89PNG"
    files = {path: path.stat().st_mtime_ns for path in (*tmp_path.glob("*-s[01]-*/**/*"), *tmp_path.glob("sweep-*"))}
    again = gatebench(*command)
    assert "4 of 4 done; the sweep was finished and timed before" in again.stderr and "next" not in again.stderr
    rows = gatebench.json(*command)
    assert {path: path.stat().st_mtime_ns for path in files} == files, "nothing is made or written again"
    assert not heavy(gatebench_process, command)
    assert sorted((row["tradeoff"], row["seed"]) for row in rows) == list(product((1.0, 5.0), (0, 1)))
    assert all(row["latency_ms_low"] <= row["latency_ms"] <= row["latency_ms_high"] for row in rows)


def test_a_sweep_over_a_list_trains_once_and_times_every_value(gatebench, tmp_path):
    done = gatebench(*EXITS, "--values", "0.5,0.9", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("cgt-hard-*")
    trained, picture = (run / "epochs.csv").stat().st_mtime_ns, tmp_path / "sweep-cgt-hard-shapes.png"
    drawn = picture.read_bytes()
    times = [json.loads(line) for path in sorted(run.glob("times/*.jsonl")) for line in path.read_text().splitlines()]
    assert sorted(row["tradeoff"] for row in times) == [0.5, 0.9] and len({row["policy"] for row in times}) == 1
    assert "budget" in done.stdout and [line["tradeoff"] for line in lines(tmp_path, "cgt-hard")] == ["0.5", "0.9"]
    again = gatebench(*EXITS, "--values", "0.5,0.7,0.9", "--out", str(tmp_path))
    assert again.returncode == 0, again.stderr
    table = lines(tmp_path, "cgt-hard")
    assert [line["tradeoff"] for line in table] == ["0.5", "0.7", "0.9"] and all(line["latency_ms"] for line in table)
    assert list(tmp_path.glob("cgt-hard-*")) == [run] and (run / "epochs.csv").stat().st_mtime_ns == trained
    assert picture.read_bytes() != drawn
    rows = [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]
    assert {(row["tradeoff"], f"{row['accuracy']:.10g}") for row in rows if row["policy"] == rows[0]["policy"]} == {
        (float(line["tradeoff"]), line["accuracy"]) for line in table
    }


@pytest.fixture
def drawn(monkeypatch):
    """Of the pictures that were drawn since, the points of each panel by its cost: label and whether static."""
    pictures, draw = [], front_figure.front

    def front(panels):
        pictures.append({panel.cost: [(point.label, point.static) for point in panel.points] for panel in panels})
        return draw(panels)

    monkeypatch.setattr(front_figure, "front", front)
    return pictures


WAYS = ("soft", "hard", "scaled")
CHANNELS = ["--set", "model.width=0.125", *STATIC]
"""The shortest run of lag-vgg11."""


def test_channel_gates_have_a_line_for_each_way_and_the_headline_s_alone_is_timed(gatebench, drawn, tmp_path):
    command = ["sweep-lambda", "lag-vgg11", *CHANNELS, "--values", "1e-5,0", "--seed", "0,1", "--out", str(tmp_path)]
    done = gatebench(*command)
    assert done.returncode == 0, done.stderr
    assert "0 of 4 done; L1 weight 1e-05, seed 0 next" in done.stderr and "timing 4 " in done.stderr
    assert "1e-05" in done.stdout and "0.00001" not in done.stdout
    table = lines(tmp_path, "lag-vgg11-released")
    assert [(line["tradeoff"], line["gates_run"]) for line in table] == list(product(("0", "1e-05"), WAYS))
    assert all(line["seeds"] == "2" and bool(line["latency_ms"]) == (line["gates_run"] == "soft") for line in table)
    rows = gatebench.json(*command)
    assert sorted((row["tradeoff"], row["seed"], row["policy"]) for row in rows) == sorted(product((0, 1e-5), (0, 1), WAYS))
    names = [f"lag-vgg11 released, L1 weight {value}" for value in ("1e-05", "0")]
    assert drawn == [
        {
            "latency_ms": [(name, False) for name in names],
            "macs_executed": [(f"{name}, {way}", False) for name, way in product(names, WAYS)],
        }
    ], "and not again with --json"  # fmt: skip


def test_static_networks_trained_as_the_sweep_was_stand_in_its_picture(gatebench, drawn, tmp_path):
    """In that of latency once they are timed; the table stays as it is."""
    sweep = ["sweep-lambda", "lag-vgg11", *CHANNELS, "--values", "0", "--out", str(tmp_path)]

    def static_points():
        """In the picture that the sweep's command, given again, draws; None where it draws none."""
        drawn.clear()
        assert gatebench(*sweep).returncode == 0
        return {cost: [label for label, static in points if static] for picture in drawn for cost, points in picture.items()} or None

    assert static_points() == {"latency_ms": [], "macs_executed": []}
    table = lines(tmp_path, "lag-vgg11-released")
    other = ["train", "vgg11", *STATIC, "--out", str(tmp_path), "--set", "model.width=0.05"]
    assert gatebench(*other).returncode == 0
    (static,) = tmp_path.glob("vgg11-*")
    other[-1] = "model.width=0.1"
    for settings in ([], ["--set", "data.shapes.seed=1"], ["--set", "training.learning_rate=0.01"], ["--epochs", "2"]):
        assert gatebench(*other, *settings).returncode == 0
    names = [f"vgg11 default, model.width={width}" for width in (0.05, 0.1)]
    unordered = static_points()
    assert unordered["latency_ms"] == [] and sorted(unordered["macs_executed"]) == names
    timing_of = ["profile-latency", str(static), *QUICK]
    assert gatebench(*timing_of, "--batch-size", "4").returncode in (0, 3) and static_points() is None
    assert gatebench(*timing_of).returncode in (0, 3)
    assert static_points() == {"latency_ms": ["vgg11 default"], "macs_executed": unordered["macs_executed"]}
    assert static_points() is None
    shutil.rmtree(static)
    assert static_points() == {"latency_ms": [], "macs_executed": ["vgg11 default"]}
    assert lines(tmp_path, "lag-vgg11-released") == table


@pytest.mark.parametrize(
    ("model", "recipe", "changes", "heading"),
    [
        ("lag-vgg11", "released", [], "L1 weight"),
        ("lag-resnet18", "input-hard", [], "L1 weight"),
        ("lag-vgg11", "fbs", [], "density"),
        ("pruned", "magnitude", [], "density"),
        ("lag-vgg11", "released", ["tradeoff=model.width"], "trade-off"),
        ("cosinegate", "balanced", [], "budget weight"),
    ],
)
def test_the_trade_off_has_the_name_of_the_setting_that_the_recipe_says(model, recipe, changes, heading):
    loaded = recipes.load(registry.entry(model).recipes, model, recipe, changes)
    columns = registry.entry(model).columns_of(loaded.tradeoff)
    assert [column.heading for column in columns if column.name == "tradeoff"] == [heading]


@pytest.mark.usefixtures("untimed_sweeps")
def test_a_sweep_that_was_killed_goes_on_and_ends_with_the_same_table(gatebench, gatebench_forks, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    command = [*BLOCKS, "--values", "1,5"]
    assert gatebench(*command, "--out", str(whole)).returncode == 0
    first = ["train", "cosinegate", *GATED, "--set", "losses.budget.weight=1", "--out", str(broken)]
    assert gatebench(*first).returncode == 0
    (done,) = broken.iterdir()
    killed = gatebench_forks.start(*command, "--out", str(broken), dies_writing="model.safetensors")
    killed.communicate()
    assert killed.returncode == -9 and len(list(broken.glob("cosinegate-*"))) == 2
    kept = (done / "summary.json").stat().st_mtime_ns
    again = gatebench(*command, "--out", str(broken))
    assert again.returncode == 0, again.stderr
    assert (done / "summary.json").stat().st_mtime_ns == kept
    assert lines(broken, "cosinegate-balanced") == lines(whole, "cosinegate-balanced")


@pytest.mark.usefixtures("untimed_sweeps")
def test_what_is_done_is_shown_where_a_later_value_fails(gatebench, tmp_path, monkeypatch):
    evaluate = stages.evaluate

    def full(run, view):
        if run.job.parsed.tradeoff_value() == 5:
            raise GatebenchError("the disk is full")
        evaluate(run, view)

    monkeypatch.setattr(stages, "evaluate", full)
    command = [*BLOCKS, "--values", "1,5", "--out", str(tmp_path)]
    assert "the disk is full" in gatebench.refused(*command, code=1)
    assert [line["tradeoff"] for line in lines(tmp_path, "cosinegate-balanced")] == ["1"]


@pytest.mark.usefixtures("untimed_sweeps")
def test_ctrl_c_says_how_to_go_on_and_shows_what_is_done(gatebench, tmp_path, monkeypatch):
    evaluate = stages.evaluate

    def interrupted(run, view):
        if run.job.parsed.tradeoff_value() == 5:
            raise KeyboardInterrupt
        evaluate(run, view)

    monkeypatch.setattr(stages, "evaluate", interrupted)
    said = gatebench.refused(*BLOCKS, "--values", "1,5", "--out", str(tmp_path), code=130)
    assert "interrupted; the same command (without --fresh) goes on where it was" in said
    assert [line["tradeoff"] for line in lines(tmp_path, "cosinegate-balanced")] == ["1"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*BLOCKS, "--values", "a,b"], "--values wants numbers such as 0.7,0.8,0.9,1.0, not 'a,b'."),
        ([*BLOCKS, "--values", ""], "--values wants numbers such as 0.7,0.8,0.9,1.0, not ''."),
        ([*BLOCKS, "--values", "nan"], "--values wants numbers"),
        ([*BLOCKS, "--values", "0.7,0.8,0.70"], "--values has 0.7 twice"),
        ([*BLOCKS, "--values=-1"], "losses.budget.weight = -1.0 is not allowed: input should be greater than or equal to 0"),
        ([*EXITS, "--values", "0.5,2"], "study.budgets.1 = 2.0 is not allowed: input should be less than or equal to 1"),
        (["sweep-lambda", "rooter", "--values", "1"], "No model is named 'rooter'. Did you mean 'router'?"),
        (["sweep-lambda", "resnet8", *SMALL, "--values", "1"], "or take a model whose recipe has it: cosinegate, convnet-aig,"),
        (["sweep-lambda", "cgt", "--dataset", "cifar10", "--values", "1"], "cifar10 is not below"),
        (["sweep-lambda", "cosinegate"], "gatebench: Give --values, such as --values 0.7,0.8,0.9,1.0."),
    ],
)
def test_bad_input_gets_one_clear_sentence(gatebench, tmp_path, arguments, said):
    refused = gatebench(*arguments, "--out", str(tmp_path / "out"))
    assert refused.returncode in (1, 2) and "Traceback" not in refused.stderr
    assert said in " ".join(refused.stderr.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


ROW = {
    "model": "router", "recipe": "made-up", "changes": [], "digest": "0a", "seed": 0, "epochs": 1, "dataset": "scenes", "split": "test",
    "device": "cpu", "precision": "fp32", "execution": "sparse", "adaptive": True, "tradeoff": 0.9, "accuracy": 80.0, "accuracy_low": 75.0,
    "accuracy_high": 85.0, "macs_executed": 1e6, "shares": [0.6, 0.4], "share_names": ["small", "large"],
}  # fmt: skip


EXPECTED = Column(name="expected_ms", kind="number", unit="ms", heading="looked-up time", meaning="of the experts that run")


@pytest.fixture
def severe(tmp_path):
    """A run on clean and severely corrupted images, of which every second one was timed: 1 ms where clean, 3 ms where severe."""
    rounds, calls = np.indices((5, 8))
    inputs = 2 * calls.ravel()
    seconds = np.where(inputs < 8, 1e-3, 3e-3) * (1 + 0.01 * rounds.ravel())
    (tmp_path / "times").mkdir()
    raw = {"threads": 1, "batch_size": 1, "subject": "sparse", "round": rounds.ravel(), "call": calls.ravel(), "input": inputs}
    pd.DataFrame({**raw, "seconds": seconds}).to_csv(tmp_path / "times" / "desk.csv", index=False)
    pd.DataFrame({"severity": ["clean"] * 8 + ["severe"] * 8}).to_parquet(tmp_path / "inputs.parquet")
    parts = [{**ROW, "severity": name, "accuracy": accuracy} for name, accuracy in (("clean", 90.0), ("severe", 70.0))]
    reference = {**ROW, "reference": "small alone", "accuracy": 60.0, "expected_ms": 0.7}
    del reference["tradeoff"]
    references = reference, {**reference, "severity": "severe", "accuracy": 40.0}
    times = {**ROW, "machine": "desk", "threads": 1, "batch_size": 1, "session": "desk", "scored_inputs": True, "latency_ms": 2.0,
             "latency_ms_low": 1.0, "latency_ms_high": 3.0}  # fmt: skip
    return Run(RunFolder(tmp_path), [ROW, *parts], [times], (EXPECTED,), references)


def test_latency_by_severity_is_that_of_the_timed_inputs_of_that_severity(severe):
    by_severity = {row.get("severity"): row for row in timed_points(severe)}
    assert by_severity[None]["latency_ms"] == 2.0
    assert by_severity["clean"]["latency_ms"] == pytest.approx(1.02) and by_severity["severe"]["latency_ms"] == pytest.approx(3.06)
    assert by_severity["severe"]["latency_ms_low"] < 3.06 < by_severity["severe"]["latency_ms_high"]


def test_a_table_holds_one_severity_and_each_reference_once_after_the_values(severe):
    other = replace(severe, points=[{**row, "tradeoff": 0.7} for row in severe.points], times=[])
    complete = sheet(gathered([severe, other]), "title")
    assert [(line.get("tradeoff"), line.get("reference"), line["accuracy"]) for line in complete.records] == [
        (0.7, None, 80.0), (0.9, None, 80.0), (None, "small alone", 60.0)
    ]  # fmt: skip
    alone = complete.records[-1]
    assert alone["expected_ms"] == 0.7 and not {"latency_ms", "speedup", "seeds"} & alone.keys(), "its time is looked up, and no router's"
    assert [line["accuracy"] for line in sheet(gathered([severe]), "title", "severe").records] == [70.0, 40.0]
    every = sheet(gathered([severe, other]), "title", every=True).records
    assert [line.get("severity") for line in every] == [None] * 3 + ["clean"] * 2 + ["severe"] * 3


def test_a_reference_is_a_mean_over_seeds_only_where_they_made_different_ones(severe):
    def seed(number, accuracy):
        parts = (severe.points, severe.references)
        scored = {"seed": number, "accuracy": accuracy, "accuracy_low": accuracy - 3, "accuracy_high": accuracy + 3}
        points, references = ([row | scored for row in rows] for rows in parts)
        return replace(severe, points=points, times=[], references=tuple(references))

    def reference(*runs):
        (line,) = (line for line in sheet(gathered(runs), "title").records if "reference" in line)
        return line.get("seeds"), line["accuracy"], line["accuracy_low"]

    assert reference(seed(0, 60.0), seed(1, 60.0)) == (None, 60.0, 57.0), "the same experts: with their own interval"
    assert reference(seed(0, 60.0), seed(1, 64.0))[:2] == (2, 62.0)


def test_rows_have_each_reference_once_after_the_operating_points(severe):
    other = replace(severe, points=[{**row, "tradeoff": 0.7} for row in severe.points], times=[])
    first, second = (
        replace(severe, references=tuple({**row, "seed": seed, "accuracy": accuracy} for row in severe.references))
        for seed, accuracy in ((0, 60.0), (1, 64.0))
    )
    for runs, count in (([severe, other], 2), ([first, other, second], 4)):
        references = [row.get("reference") for row in rows(runs)]
        assert references == [None] * 3 * len(runs) + ["small alone"] * count


def test_a_run_is_timed_again_where_one_operating_point_was_not(severe):
    assert untimed([severe]) == []
    assert untimed([Run(severe.folder, severe.points, [])]) == [[]]
    chosen = [{**ROW, "policy": "entropy", "tradeoff": value} for value in (0.5, 0.8)]
    half = Run(severe.folder, chosen, [{**severe.times[0], "policy": "entropy", "tradeoff": 0.5}])
    assert untimed([half]) == [[chosen[1]]]


def test_only_times_of_this_place_count():
    here = {
        "machine": "desk", "device": "cpu", "threads": 1, "batch_size": 1, "execution": "sparse", "runtime": "torch", "dataset": "scenes",
        "rival": "its static twin",
    }  # fmt: skip
    others = (
        {"machine": "rack"}, {"threads": 2}, {"batch_size": 8}, {"execution": "masked"}, {"interrupted": True},
        {"dataset": "photos"}, {"runtime": "onnxruntime"}, {"rival": "resnet14", "vs": True},
    )  # fmt: skip
    assert all(counts({**here, **same}, Conditions("desk", "cpu", 1), "scenes") for same in ({}, {"runtime": "torch, CUDA graphs"}))
    assert not any(counts({**here, **other}, Conditions("desk", "cpu", 1), "scenes") for other in others)


def test_of_several_times_the_newest_counts(severe):
    newest, older = ({**severe.times[0], "when": f"2026-01-0{day}T00:00:00Z", "latency_ms": day} for day in (2, 1))
    for times in ([newest, older], [older, newest]):
        assert timed(replace(severe, times=times), ROW)["latency_ms"] == 2


def test_times_beside_another_network_do_not_count(gatebench, tmp_path):
    command = [*BLOCKS, "--values", "1", "--out", str(tmp_path)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "untimed", lambda runs: [])
        assert gatebench(*command).returncode == 0
    (run,) = tmp_path.glob("cosinegate-*")
    beside = gatebench("profile-latency", str(run), "--vs", "resnet14", *QUICK)
    assert beside.returncode in (0, 3) and [json.loads(path.read_text())["vs"] for path in run.glob("times/*.jsonl")] == [True]
    (row,) = gatebench.json(*command)
    assert row["rival"] == "its static twin" and len(list(run.glob("times/*.jsonl"))) == 2
