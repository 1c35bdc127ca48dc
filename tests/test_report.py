"""Fronts, comparisons and reports: from run folders, honest or not, to tables and pictures."""

import csv
import html
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from rich.console import Console

from gatebench.report import train_table
from gatebench.report.baseline import baseline_sheet
from gatebench.report.claims import findings_sheet, point_sheets, realised_sheets
from gatebench.report.comparison import NOT_MEASURED, comparison_sheets
from gatebench.report.flat import all_points, all_times
from gatebench.report.formats import to_csv, to_markdown
from gatebench.report.front import AXES, Panel, Point, cheapest, most_accurate, panels
from gatebench.report.front_figure import front, label, write_fronts
from gatebench.report.front_limits import answers
from gatebench.report.front_table import front_sheets, points_of
from gatebench.report.front_words import sentence
from gatebench.report.groups import every_way, groups
from gatebench.report.latency_table import sheets as time_sheets
from gatebench.report.latency_table import show as show_times
from gatebench.report.published import printed
from gatebench.report.published.audit import audit
from gatebench.report.quantities import value_of
from gatebench.report.results import read_runs
from gatebench.report.run_pictures import draw_all
from gatebench.report.sheet import Cell, Heading, Sheet, make_sheet
from gatebench.report.twins import with_twins
from gatebench.row import NETWORK, Column

ROOT = Path(__file__).parents[1]
ROW = {
    "model": "cosinegate", "recipe": "balanced", "changes": [], "digest": "0a", "dataset": "cifar10", "split": "test", "seed": 0,
    "epochs": 160, "recipe_epochs": 160, "device": "cpu", "machine": "desk, 2 cores", "threads": 1, "batch_size": 250,
    "schedule": "cosine 0.1", "precision": "bf16", "runtime": "torch", "execution": "sparse", "adaptive": True,
    "accuracy": 91.0, "accuracy_low": 90.4, "accuracy_high": 91.5, "accuracy_peak": 91.2,
    "peak_epoch": 2, "mean_gate_soft": 0.7, "mean_gate_hard": 0.75, "skip_pct": 25.0, "macs_dense": 40e6, "macs_executed": 30e6,
    "macs_ratio": 0.75, "audit": ["always on: blocks.0"],
}  # fmt: skip
TIMED = {"dataset": "cifar10", "device": "cpu", "machine": "desk, 2 cores", "threads": 1, "batch_size": 1, "precision": "fp32",
         "runtime": "torch", "execution": "sparse", "scored_inputs": True,
         "network": "net", "calls": 128, "rounds": 12, "noisy_rounds": 0, "latency_ms": 2.0, "latency_ms_low": 1.9, "latency_ms_high": 2.1,
         "speedup": 1.1, "speedup_low": 1.05, "speedup_high": 1.15, "rival": "its static twin"}  # fmt: skip


def write_run(path, times=(), others=(), **changes):
    """A finished run folder: its headline (without what is None), other operating points that differ from it, and a session of times."""
    row = {key: value for key, value in {**ROW, **changes}.items() if value is not None}
    path.mkdir(parents=True)
    (path / "rows.jsonl").write_text("".join(json.dumps({**row, **each}) + "\n" for each in ({}, *others)))
    if times:
        write_times(path, *times)
    (path / "summary.json").write_text(json.dumps(row))
    (path / "recipe.yaml").write_text("model: {name: cosinegate, gate: {gamma: -2.5}}\nlosses: {budget: {weight: 3.0, target: 0.7}}\n")
    (path / "epochs.csv").write_text(
        "epoch,train_accuracy,test_accuracy,mean_gate_soft,mean_gate_hard\n1,50,51,0.9,1.0\n2,80,81,0.8,0.75\n"
    )
    return path


def write_times(path, *times, session="desk"):
    """A session of the run's headline."""
    row = json.loads((path / "rows.jsonl").read_text().splitlines()[0])
    network = {key: row[key] for key in NETWORK if key in row}
    (path / "times").mkdir(exist_ok=True)
    lines = [json.dumps({**network, **TIMED, **each}) + "\n" for each in times]
    (path / "times" / f"{session}.jsonl").write_text("".join(lines))


def lines_of(sheet):
    """What people see of a sheet, each line by the names of its columns."""
    return [dict(zip([heading.name for heading in sheet.headings], line, strict=True)) for line in sheet.texts]


@pytest.fixture
def results(tmp_path):
    """Two seeds of a gated network, a static one, and another data set; timed on two machines."""
    for seed, accuracy in ((0, 91.0), (1, 91.4)):
        elsewhere = {"machine": "rack, 64 cores", "latency_ms": 0.5, "latency_ms_low": 0.4, "latency_ms_high": 0.6}
        write_run(tmp_path / f"gated-{seed}", [{}, elsewhere], seed=seed, accuracy=accuracy)
    static = {"model": "resnet20", "recipe": "default", "digest": "0b", "accuracy": 92.0, "accuracy_low": 91.5, "accuracy_high": 92.5,
              "macs_executed": 40e6, "macs_ratio": 1.0, "audit": [], "adaptive": False,
              **dict.fromkeys(("mean_gate_soft", "mean_gate_hard", "skip_pct"))}  # fmt: skip
    write_run(tmp_path / "static", [{"latency_ms": 2.5, "latency_ms_low": 2.4, "latency_ms_high": 2.6}], **static)
    write_run(tmp_path / "other", dataset="mnist", recipe="mnist", digest="0c", accuracy=99.5, accuracy_low=99.3, accuracy_high=99.6)
    return tmp_path


def test_the_papers_contradictions_are_found():
    """Those that a reader found by hand, and none in the rows that come out."""
    found = {(each.where, each.what): each for each in audit()}
    assert found["Table 2, lambda 0.80", "latency ms"].recomputed == pytest.approx(7.77, abs=0.005)  # the mean of Tables 3-6
    assert found["Table 3, lambda 0.90", "latency ms"].recomputed == pytest.approx(8.38)
    assert found["Table 2, lambda 0.90", "to SqueezeNet %"].recomputed == 0
    assert found["Table 6, lambda 0.90", "sum of shares %"].recomputed == 100
    assert found["section 4", "computation saved over DeiT-S, %"].recomputed == pytest.approx(28.7, abs=0.01)
    assert found["Table 3, CosineGate Conservative", "accuracy %"].recomputed == 82.2
    assert found["Table 2, SkipNet", "peak epoch"].printed == 200
    assert not any("Balanced" in where or "lambda 0.70" in where and where.startswith("Table 2") for where, _ in found)


def test_every_published_table_is_there_with_a_measured_line_or_a_plain_word(results):
    names = {(table.paper, table.name) for table in printed()}
    assert {("CosineGate", name) for name in ("Table 1", "Table 2", "Table 3", "Section 4.4")} <= names
    assert {("Routing Beats Latency", f"Table {number}") for number in range(1, 7)} <= names
    assert {("LAG", "Highlights"), ("LAG", "Highlights as released"), ("Confidence-gated training", "Results")} <= names
    sheets = comparison_sheets(groups(read_runs(results)[0]))
    assert len(sheets) == len(names)
    for table, made in zip(printed(), sheets, strict=True):
        for line in table.lines:
            beside = [cells["source"] for cells in lines_of(made) if cells["row"] == line.label]
            assert beside[0] == "published"
            assert line.match is None or {NOT_MEASURED, "measured"} & set(beside[1:])


def test_a_comparison_shows_mean_difference_and_what_keeps_it_from_comparing(results):
    (table,) = [each for each in comparison_sheets(groups(read_runs(results)[0])) if each.name == "cosinegate-table-2"]
    published, measured, difference = [line for line in lines_of(table) if line["row"] == "CosineGate Balanced"]
    assert published["accuracy"] == "91.3" and measured["accuracy"] == "91.20 ± 0.28 (88.66 to 93.74)"
    assert difference["accuracy"] == "-0.10" and difference["skip_soft_pct"] == "+1.50"
    assert measured["skip_soft_pct_peak"] == "20.00 ± 0.00 (20.00 to 20.00)" and measured["accuracy_epoch_100"] == NOT_MEASURED
    assert measured["comparable"] == "yes" and measured["audit"] == "always on"
    assert (measured["network"], measured["data"], measured["seeds"]) == ("cosinegate balanced", "cifar10", "2")
    (record,) = [each for each in table.records if each["row"] == "CosineGate Balanced" and each["source"] == "measured"]
    assert record["accuracy_low"] == pytest.approx(88.66, abs=0.01) and "accuracy_epoch_100" not in record
    write_run(results / "short", digest="0d", epochs=15, changes=["training.learning_rate=0.2"])
    (table,) = [each for each in comparison_sheets(groups(read_runs(results)[0])) if each.name == "cosinegate-table-3"]
    assert any("15 epochs, not 160; changed: training.learning_rate=0.2" in line["comparable"] for line in lines_of(table))


def test_settings_of_a_recipe_stand_beside_the_printed_ones(results):
    (table,) = [each for each in comparison_sheets(groups(read_runs(results)[0])) if each.name == "cosinegate-table-1"]
    (measured,) = [line for line in lines_of(table) if line["row"] == "Balanced" and line["source"] == "measured"]
    assert (measured["losses_budget_weight"], measured["losses_budget_target"]) == ("3", "0.7")
    assert measured["model_gate_gamma"] == "-2.5" and measured["losses_consistency_weight"] == NOT_MEASURED


def test_only_seeds_of_one_setting_are_averaged(tmp_path):
    for number, changes in enumerate((
        {"seed": 0, "accuracy": 88.0}, {"seed": 1, "accuracy": 90.0}, {"accuracy": 50.0, "digest": "0e", "changes": ["model.gate.gamma=5"]},
        {"accuracy": 99.0, "dataset": "mnist"}, {"accuracy": 70.0, "device": "cuda"}, {"accuracy": 89.0, "machine": "rack"},
    )):  # fmt: skip
        ends = {"accuracy_low": changes["accuracy"] - 0.6, "accuracy_high": changes["accuracy"] + 0.5}
        write_run(tmp_path / str(number), epochs=15, **ends, **changes)
    sheets = point_sheets(groups(read_runs(tmp_path)[0]))
    assert [each.title for each in sheets] == [
        "cifar10 (test), 15 epochs, cosine 0.1, bf16 on CPU", "cifar10 (test), 15 epochs, cosine 0.1, bf16 on CUDA",
        "mnist (test), 15 epochs, cosine 0.1, bf16 on CPU",
    ]  # fmt: skip
    lines = {line["run"] + line["seeds"]: line["accuracy"] for line in lines_of(sheets[0])}
    name = "cosinegate balanced (recipe: 160 epochs"
    assert lines[f"{name})0, 1"] == "89.00 ± 1.41 (76.29 to 101.71)" and lines[f"{name}, model.gate.gamma=5)0"] == "50.00 (49.40 to 50.50)"
    assert lines[f"{name})0"] == "89.00 (88.40 to 89.50)"  # seed 0 again, elsewhere: not averaged with itself
    labels = [group.label for group in groups(read_runs(tmp_path)[0]) if group.row["dataset"] == "cifar10"]
    assert len(set(labels)) == len(labels) == 4


EXITS = {"shares": [0.6, 0.4], "share_names": ["exit 1", "exit 2"]}


def exit_run(path, recipe, seed, accuracy, ratio, **changes):
    """A run of exits at one budget, of a recipe that is to beat joint."""
    own = {"digest": recipe, "tradeoff": 0.5, "policy": "max-softmax, one threshold", **EXITS, **changes}
    write_run(path / f"{recipe}-{seed}", model="cgt", recipe=recipe, seed=seed, accuracy=accuracy, macs_ratio=ratio, **own)
    (path / f"{recipe}-{seed}" / "recipe.yaml").write_text("baseline: joint\n" if recipe != "joint" else "{}\n")


def test_a_method_stands_beside_its_baseline_seed_by_seed(tmp_path):
    for seed, (joint, soft) in enumerate(((91.0, 91.5), (92.0, 92.1), (93.0, 93.3))):
        exit_run(tmp_path, "joint", seed, joint, 0.50)
        exit_run(tmp_path, "soft", seed, soft, 0.48)
    exit_run(tmp_path, "hard", 7, 90.0, 0.5)
    members = groups(read_runs(tmp_path)[0])
    hard, soft = lines_of(baseline_sheet(members))
    assert (soft["seeds"], soft["accuracy"], soft["baseline_accuracy"]) == ("0, 1, 2", "92.30", "92.00")
    assert (soft["macs_pct"], soft["baseline_macs_pct"]) == ("48.0", "50.0")
    half = 4.302653 * 0.2 / 3**0.5  # Student's, two degrees of freedom; the differences are 0.5, 0.1, 0.3
    assert soft["accuracy_gain"] == f"+0.30 ({0.3 - half:+.2f} to {0.3 + half:+.2f})"
    assert soft["macs_gain"].startswith("-2.0 (-2.0")
    assert hard["seeds"] == "none in common" and hard["accuracy"] == "-"
    (sheet,) = point_sheets(members)
    assert [line["shares"] for line in lines_of(sheet)] == ["60.0 / 40.0"] * 3
    assert sheet.records[0]["shares_exit_1"] == pytest.approx(0.6)
    assert baseline_sheet([group for group in members if group.row["recipe"] == "joint"]) is None
    before = baseline_sheet(members).lines
    exit_run(tmp_path, "joint", 8, 50.0, 0.5, digest="1b", schedule="cosine 0.5")  # what was trained otherwise does not compare
    exit_run(tmp_path, "joint", 9, 50.0, 0.5, digest="2c", changes=["training.weight_decay=0.1"])
    assert baseline_sheet(groups(read_runs(tmp_path)[0])).lines == before


def test_a_method_stands_beside_each_of_its_baselines(tmp_path):
    for recipe, accuracy in (("joint", 91.0), ("annealed", 92.0), ("hard", 93.0)):
        exit_run(tmp_path, recipe, 0, accuracy, 0.5)
    (tmp_path / "hard-0" / "recipe.yaml").write_text("baseline: [joint, annealed, missing, 7]\n")
    sheet = baseline_sheet(groups(read_runs(tmp_path)[0]))
    beside = [("cgt annealed", "cgt joint", "+1.00"), ("cgt hard", "cgt joint", "+2.00"), ("cgt hard", "cgt annealed", "+1.00")]
    lines = [(line["network"], line["baseline"], line["accuracy_gain"]) for line in lines_of(sheet)]
    assert lines == [*beside, ("cgt hard", "missing", "-")]


def test_a_mean_that_is_a_whole_number_keeps_its_spread(tmp_path):
    for seed, last in enumerate((0.19, 0.21)):
        exit_run(tmp_path, "soft", seed, 93.0, 0.5, shares=[0.8 - last, 0.2, last], share_names=["exit 1", "exit 2", "exit 3"])
    (table,) = [sheet for sheet in comparison_sheets(groups(read_runs(tmp_path)[0])) if sheet.name.startswith("confidence-gated")]
    (measured,) = [line for line in lines_of(table) if line["source"] == "measured"]
    assert measured["shares_pct_2"].startswith("20.00 ± 1.41 (")


def test_a_method_stands_beside_its_baseline_in_every_way_of_its_rule(tmp_path):
    """The headline's way at every budget; at its budget the other ways too; another rule's nowhere."""
    others = [
        ("max-softmax, one threshold", 0.8),
        ("max-softmax, one each", 0.5),
        ("max-softmax, one each", 0.8),
        ("entropy, one each", 0.5),
    ]
    for recipe, accuracy in (("joint", 91.0), ("soft", 92.0)):
        exit_run(tmp_path, recipe, 0, accuracy, 0.5)
        rows = tmp_path / f"{recipe}-0" / "rows.jsonl"
        first = json.loads(rows.read_text().splitlines()[0])
        ways = [{**first, "policy": policy, "tradeoff": budget, "macs_executed": 1e7 * budget} for policy, budget in others]
        rows.write_text("".join(json.dumps(row) + "\n" for row in (first, *ways)))
    runs, _ = read_runs(tmp_path)
    sheet = baseline_sheet(every_way(runs))
    one_threshold, one_each = "max-softmax, one threshold", "max-softmax, one each"
    assert [(line["policy"], line["tradeoff"], line["accuracy_gain"]) for line in lines_of(sheet)] == [
        (one_threshold, "50", "+1.00"), (one_threshold, "80", "+1.00"), (one_each, "50", "+1.00")
    ]  # fmt: skip


def test_budgets_that_lead_to_one_operating_point_with_every_seed_are_one(tmp_path):
    same = {"model": "cgt", "policy": "max-softmax, one threshold", "macs_ratio": 0.5, **EXITS}
    for recipe, last in (("soft", 90.0), ("joint", 95.0)):  # the second seed of joint uses the largest budget
        for seed, accuracies in enumerate(((80.0, 90.0, 90.0), (80.0, 90.0, last))):
            points = [
                {"tradeoff": budget, "accuracy": accuracy - 0.1 * seed, "macs_executed": 1e5 * accuracy}
                for budget, accuracy in zip((0.5, 0.65, 0.8), accuracies, strict=True)
            ]
            timed = [{"execution": execution, "tradeoff": 0.5} for execution in ("sparse", "masked")]
            own = {**same, "recipe": recipe, "digest": recipe, "seed": seed, **points[0]}
            run = write_run(tmp_path / f"{recipe}-{seed}", timed, points[1:], **own)
            (run / "recipe.yaml").write_text("baseline: joint\n" if recipe == "soft" else "{}\n")
    runs, _ = read_runs(tmp_path)
    members = groups(runs)
    (panel,) = panels([], members, "macs_executed")
    labels = [
        "cgt joint, budget 50 %",
        "cgt joint, budget 65 %",
        "cgt joint, budget 80 %",
        "cgt soft, budget 50 %",
        "cgt soft, budget 65, 80 %",
    ]
    assert sorted(point.label for point in panel.points) == labels
    (sheet,) = point_sheets(members)
    assert [(line["run"], line["tradeoff"]) for line in lines_of(sheet) if "soft" in line["run"]] == [
        ("cgt soft", "50"),
        ("cgt soft", "65 to 80"),
    ]
    (merged,) = [record for record in sheet.records if "tradeoff_to" in record]
    assert (merged["tradeoff_from"], merged["tradeoff_to"]) == (0.65, 0.8) and "tradeoff" not in merged
    beside = [(line["tradeoff"], line["accuracy"], line["baseline_accuracy"]) for line in lines_of(baseline_sheet(members))]
    assert [line[0] for line in beside] == ["50", "65", "80"]
    assert beside[2][1:] == ("89.95", "92.45")
    assert len(panels(runs, members, "latency_ms")[0].points) == 4  # masked and sparse stay apart


def labels_of(axes):
    """The names beside points, without the title."""
    return {text.get_text().replace("\n", " "): text for text in axes.texts[1:]}


def test_names_in_the_picture_cover_neither_points_nor_each_other():
    crowd = [(10.0 + 3 * number, 84.0 + number) for number in range(8)] + [(1.0, 45.0), (50.0, 91.5)]
    members = [replace(point, label=f"network {point.label} with a long name of its own") for point in points(crowd)]
    figure = front([Panel("macs_executed", "data", "test", None, members, [])])
    figure.canvas.draw()
    (axes,) = figure.axes
    boxes = [Text.get_window_extent(text) for text in labels_of(axes).values()]
    assert len(boxes) >= 7
    assert not any(first.overlaps(second) for place, first in enumerate(boxes) for second in boxes[:place])
    marks = [axes.transData.transform((x, y)) for x, y in crowd]
    assert not any(box.contains(*mark) for box in boxes for mark in marks)
    assert all(axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1) for box in boxes)
    said = [text.get_text() for text in axes.get_legend().get_texts()]
    assert said == ["on the front", "1 far below is not drawn"], "what does not occur is not explained"


def test_marks_side_by_side_are_all_named_and_no_line_to_a_name_covers_another_mark():
    """On axes of 432 x 288 points a unit is a point: marks of 6 points are 7 apart, but for the last, which covers the first."""
    axes = Figure((6, 4)).add_axes((0, 0, 1, 1), xlim=(0, 432), ylim=(0, 288))
    FigureCanvasAgg(axes.figure)
    places = [(200 + x, 150 + y) for x, y in ((0, 0), (7, 0), (0, 7), (7, 7), (0, -3))]
    crowd = [replace(point, label=f"network {point.label}") for point in points(places)]
    label(axes, Panel("macs_executed", "data", "test", None, crowd, []), [(each, "black") for each in crowd])
    assert [text.get_text() for text in axes.texts] == [each.label for each in crowd[:-1]]
    for text in (text for text in axes.texts if text.arrowprops):
        line = np.linspace(text.xy, np.add(text.xy, text.xyann), 100)
        others = [place for place in places[:-1] if place != text.xy]
        assert min(np.abs(line - other).max(1).min() for other in others) > 3, text.get_text()


def test_what_lies_far_below_is_counted_and_not_explained():
    best, low = points([(20.0, 91.0), (10.0, 80.0)])
    (axes,) = front([Panel("macs_executed", "data", "test", None, [best, low], [])]).axes
    assert axes.get_ylim()[0] < 80 and len(axes.get_legend().get_texts()) == 1, "on the front, it is drawn"
    printed = [replace(best, label="printed", y=90.0, y_low=90.0, y_high=90.0), replace(low, label="misprinted")]
    (axes,) = front([Panel("macs_executed", "data", "test", None, [best, replace(low, x=30.0, static=True)], printed)]).axes
    assert labels_of(axes).keys() == {"0", "printed"}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "on the front", "published, at the MACs claimed", "2 far below are not drawn",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pairs", "static", "said"),
    [
        ([(10, 90), (20, 91)], (), "All 2 networks are on the front"),
        ([(10, 90), (20, 89)], (), "1 of 2 networks is on the front"),
        ([(10, 90), (20, 91), (30, 80)], (1,), "2 of 3 networks are on the front, 1 of them static"),
        ([(10, 90), (20, 91), (30, 80)], (2,), "2 of 3 networks are on the front, none of them static"),
        ([(10, 90), (20, 91), (30, 80)], (0, 1), "2 of 3 networks are on the front, all of them static"),
        ([(10, 90), (10.001, 91)], (), "All 2 networks cost the same: accuracy alone tells them apart"),
    ],
)
def test_the_title_of_a_front_is_its_message(pairs, static, said):
    members = [replace(point, static=number in static) for number, point in enumerate(points(pairs))]
    (axes,) = front([Panel("macs_executed", "data", "test", None, members, [])]).axes
    assert axes.texts[0].get_text() == said


def test_a_panel_of_one_point_is_not_drawn(tmp_path):
    alone = Panel("macs_executed", "a", "test", None, points([(1, 2)]), [])
    both = Panel("macs_executed", "b", "test", None, points([(1, 2), (3, 4)]), [])
    assert len(front([alone, both]).axes) == 1
    assert write_fronts({"macs_executed": [alone]}, tmp_path, None) == [tmp_path / "pareto-macs_executed.csv"]
    assert len(write_fronts({"macs_executed": [alone, both]}, tmp_path, None)) == 3
    lines = list(csv.DictReader((tmp_path / "pareto-macs_executed.csv").open()))
    assert [(line["dataset"], float(line["macs_executed"]), line["state"]) for line in lines] == [
        ("a", 1e6, "front"), ("b", 1e6, "front"), ("b", 3e6, "front"),
    ]  # fmt: skip


def test_what_the_audit_found_is_told_in_full_once_and_in_short_beside_the_row(results):
    members = groups(read_runs(results)[0])
    assert ("cifar10", "cosinegate balanced", "0, 1", "always on: blocks.0") in findings_sheet(members).texts
    (cifar, _) = point_sheets(members)
    assert [(line["run"], line["audit"]) for line in lines_of(cifar)] == [("resnet20 default", "-"), ("cosinegate balanced", "always on")]


def test_times_of_two_machines_are_in_tables_of_their_own(results):
    desk, rack = realised_sheets(read_runs(results)[0])
    assert "desk, 2 cores; cpu, torch, 1 thread, batch 1; 128 calls x 12 rounds (0 noisy)" in desk.title and "rack" in rack.title
    assert (len(desk.lines), len(rack.lines)) == (3, 2)


def test_times_have_the_accuracy_of_the_operating_point_that_was_timed(tmp_path):
    """Of the same policy and budget; none where other inputs were timed, or other weights."""
    points = [{"tradeoff": 0.8, "accuracy": 95.0}]
    timed = [{}, {"batch_size": 64, "tradeoff": 0.8}, {"batch_size": 8, "tradeoff": 0.3}, {"dataset": "mnist", "scored_inputs": False}]
    path = write_run(tmp_path / "a", timed, points, tradeoff=0.5, policy="max-softmax", weights="0a")
    run = read_runs(path)[0][0]
    joined = {(row["dataset"], row["batch_size"]): (row.get("accuracy"), row.get("scored_in")) for row in run.joined_times}
    assert joined["cifar10", 1] == (91.0, "bf16") and joined["cifar10", 64] == (95.0, "bf16")
    assert joined["cifar10", 8] == joined["mnist", 1] == (None, None)
    (sheet, *_) = realised_sheets([run])
    assert (lines_of(sheet)[0]["accuracy"], lines_of(sheet)[0]["scored_in"]) == ("91.00", "bf16")
    panel = panels([run], [], "latency_ms")[0]
    assert [(point.y, point.scored_in) for point in panel.points] == [(91.0, "bf16")]
    assert [record["scored_in"] for record in points_of([panel]).records] == ["bf16"]
    assert "scored in bf16" in front([replace(panel, points=panel.points * 2)]).axes[0].get_ylabel()
    assert json.loads((path / "times" / "desk.jsonl").read_text().splitlines()[0]).get("accuracy") is None
    write_times(path, {"weights": "0b"}, session="later")
    (run,), (line,) = read_runs(path)
    assert len(run.times) == 4 and "in times/, later.jsonl: its times are of other weights" in line


def test_scores_in_the_precision_of_the_times_need_no_word(tmp_path):
    write_run(tmp_path / "a", [{}], precision="fp32")
    runs, _ = read_runs(tmp_path)
    (panel,) = panels(runs, [], "latency_ms")
    assert panel.points[0].scored_in is None and "scored_in" not in points_of([panel]).columns


def test_the_newest_complete_timing_counts(tmp_path):
    path = write_run(tmp_path / "a")

    def time(session, latency, when=None, **changes):
        write_times(path, {"latency_ms": latency, "when": when, **changes}, session=session)

    time("desk-converted", 1.0)
    time("desk-20260102T000000Z", 2.0, "2026-01-02T00:00:00Z")
    time("desk-20260101T000000Z", 3.0, "2026-01-01T00:00:00Z")
    time("desk-20260103T000000Z", 4.0, "2026-01-03T00:00:00Z", interrupted=True)
    time("rack", 5.0, "2026-01-01T00:00:00Z", machine="rack", interrupted=True)
    time("other-rival", 6.0, "2026-01-01T00:00:00Z", rival="resnet20")
    ((run,), left_out) = read_runs(tmp_path)
    assert not left_out
    counting = {(row["machine"], row["rival"]): (row["latency_ms"], row["session"]) for row in run.times}
    assert counting == {
        ("desk, 2 cores", "its static twin"): (2.0, "desk-20260102T000000Z"), ("rack", "its static twin"): (5.0, "rack"),
        ("desk, 2 cores", "resnet20"): (6.0, "other-rival"),
    }  # fmt: skip
    assert "net (interrupted)" in [line["network"] for sheet in time_sheets(run.times) for line in lines_of(sheet)]


@pytest.mark.parametrize(
    "width, changes",
    [
        (80, {}),
        (60, {}),
        (80, {"latency_p99": 1e4, "latency_p99_low": 9e3, "latency_p99_high": 2e4}),
        (80, {"gate_ms": -0.4, "gate_price": 0.99, "gate_price_low": 0.97, "gate_price_high": 1.01, "all_on": 1.2, "cost_base_ms": 1.25}),
    ],
)
def test_times_lose_no_digit_in_a_narrow_terminal(width, changes):
    row = {**TIMED, "network": "cosinegate predictive cifar10 s0", "timed_claimed_pct": 20.2, "timed_saving_pct": 20.7, "realised": 0.78,
           "realised_low": 0.73, "realised_high": 0.82, **changes}  # fmt: skip
    for rank in (50, 90, 99):
        row = {f"latency_p{rank}": 12.345, f"latency_p{rank}_low": 11.234, f"latency_p{rank}_high": 13.456} | row
    console = Console(width=width, file=io.StringIO())
    show_times(console, [row])
    shown = console.file.getvalue().replace("-", " ").split()
    texts = [cell for sheet in time_sheets([row]) for line in lines_of(sheet) for name, cell in line.items() if name != "rival"]
    figures = [word.strip("()-") for cell in texts for word in cell.split() if any(each.isdigit() for each in word)]
    assert len(figures) > 12 and set(figures) <= set(shown), set(figures) - set(shown)
    assert "cosinegate" in shown


def test_parts_of_a_network_are_reported_as_dispatch_efficiency(tmp_path):
    parts = {"dispatch_efficiency": 0.8, "dispatch_efficiency_low": 0.75, "dispatch_efficiency_high": 0.85, "timed_saving_pct": 30.0}
    write_run(tmp_path / "a", [{**parts, "network": "router"}, {"batch_size": 8, "timed_saving_pct": 0.0}])
    router, other = realised_sheets(read_runs(tmp_path)[0])
    assert lines_of(router)[0]["dispatch_efficiency"] == "0.80 (0.75 to 0.85)" and "realised" not in lines_of(router)[0]
    assert lines_of(other)[0]["realised"] == "no saving" and "realised" not in other.records[0]


def test_the_epoch_of_the_paper_s_table_2_is_read_where_a_run_has_it(tmp_path):
    lines = [f"{number},0,{number - 10},0.6,0.5" for number in range(1, 121)]
    header = "epoch,train_accuracy,test_accuracy,mean_gate_soft,mean_gate_hard"
    (write_run(tmp_path / "long") / "epochs.csv").write_text("\n".join([header, *lines]))
    ((run,), _) = read_runs(tmp_path)
    found = {key: value_of(run, run.headline, f"{key}_epoch_100") for key in ("accuracy", "mean_gate_soft", "skip_soft_pct")}
    assert found == {"accuracy": 90, "mean_gate_soft": 0.6, "skip_soft_pct": pytest.approx(40)}


def points(pairs):
    return [Point(str(number), x, x, x, y, y, y) for number, (x, y) in enumerate(pairs)]


def volume(pairs, axis):
    """The share of the box under the stairs, summed strip by strip: log cost to the right, accuracy upwards."""
    decades, best, total = np.log10(axis.most / axis.least), 0.0, 0.0
    corners = sorted((np.log10(max(x, axis.least) / axis.least), y) for x, y in pairs if x < axis.most)
    for number, (place, y) in enumerate(corners):
        best = max(best, y)
        following = corners[number + 1][0] if number + 1 < len(corners) else decades
        total += best * (following - place)
    return total / decades


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.tuples(st.floats(0.5, 20_000), st.floats(1, 100)), min_size=1, max_size=25))
def test_front_and_hypervolume_agree_with_arithmetic_written_anew(pairs):
    panel = Panel("macs_executed", "data", "test", None, points(pairs), [])
    on_front = [not any(a <= x and b >= y and (a < x or b > y) for a, b in pairs) for x, y in pairs]
    assert [state == "front" for state in panel.states()] == on_front
    assert panel.hypervolume() == pytest.approx(volume(pairs, AXES["macs_executed"]), rel=1e-9, abs=1e-9)


def test_only_intervals_call_a_point_dominated():
    best = Point("best", 10, 9, 11, 90, 89, 91)
    near, far, dear = (
        Point("near", 12, 10.5, 13, 89.5, 88.5, 90.5),
        Point("far", 20, 19, 21, 80, 79, 81),
        Point("dear", 20, 19, 21, 95, 94, 96),
    )
    panel = Panel("latency_ms", "data", "test", None, [best, near, far, dear], [])
    assert panel.states() == ["front", "tied", "dominated", "front"]
    assert [each.label for each in most_accurate(panel, 15).points] == ["best", "near"]
    assert [each.label for each in cheapest(panel, 89).points] == ["best", "near"]
    assert [each.label for each in cheapest(panel, 92).points] == ["dear"] and [each.label for each in cheapest(panel, 90).points] == [
        "best",
        "near",  # its interval holds 90 % too
    ]
    assert most_accurate(panel, 1).points == [] and [each.label for each in most_accurate(panel, 100).points] == ["dear"]


def test_machines_and_data_sets_are_kept_apart_and_seeds_together(results):
    runs, left_out = read_runs(results)
    assert not left_out
    timed = panels(runs, groups(runs), "latency_ms")
    assert [(panel.where[0], [point.label for point in panel.points]) for panel in timed] == [
        ("desk, 2 cores", ["cosinegate balanced", "resnet20 default"]), ("rack, 64 cores", ["cosinegate balanced"]),
    ]  # fmt: skip
    cifar, mnist = panels(runs, groups(runs), "macs_executed")
    gated, static = cifar.points
    assert (gated.y, sorted(gated.by_seed), static.static, gated.static) == (pytest.approx(91.2), [0, 1], True, False)
    assert gated.y_high - gated.y == pytest.approx(12.706 * 0.2828 / 2**0.5, rel=1e-3)  # Student's, one degree of freedom
    assert cifar.attainment()["best seed"].tolist() == [[30.0, 91.4]] and cifar.attainment()["worst seed"].tolist() == [[30.0, 91.0]]
    balanced = [point for point in cifar.published if point.label.startswith("CosineGate Balanced, Table")]
    assert [(point.x, point.y) for point in balanced] == [(pytest.approx(0.715 * 40), 91.3)]
    assert mnist.dataset == "mnist" and not mnist.published


def test_a_published_time_has_ours_beside_it_where_one_place_alone_was_timed(results):
    found = {run.name: value_of(run, run.headline, "latency_ms") for run in read_runs(results)[0]}
    assert found == {"gated-0": None, "gated-1": None, "other": None, "static": 2.5}


ROUTER = {"model": "router", "recipe": "default", "dataset": "intel-scenes", "epochs": 10, "recipe_epochs": 10}
SHARES = {"shares": [0.5, 0.1, 0.4], "share_names": ["squeezenet", "lite0", "lite2"]}


def test_tables_of_routing_have_ours_beside_them_and_say_which_experts_stand_where(tmp_path):
    """Of three seeds one was timed; another recipe of the same trade-off is another router."""
    timed = {"dataset": "intel-scenes", "latency_ms": 14.0, "latency_ms_low": 13.0, "latency_ms_high": 15.0, "gate_ms": 1.4}
    for seed in range(3):
        row = {**ROUTER, **SHARES, "seed": seed, "accuracy": 72.0 + seed, "changes": ["losses.routing.weight=0.7"], "digest": "70"}
        path = write_run(tmp_path / f"default-{seed}", [timed] * (seed == 0), tradeoff=0.7, **row)
        (path / "recipe.yaml").write_text("tradeoff: losses.routing.weight\n")
    write_run(tmp_path / "neighbours", **ROUTER | SHARES | {"recipe": "neighbours"}, tradeoff=0.7, digest="71")
    write_run(tmp_path / "gater", [timed], **ROUTER | SHARES, tradeoff=0.95, digest="95")
    write_run(tmp_path / "expert", [{**timed, "latency_ms": 3.0}], **ROUTER | {"model": "expert", "recipe": "squeezenet"}, digest="72")
    tables = {sheet.name: sheet for sheet in comparison_sheets(groups(read_runs(tmp_path)[0]))}
    second = tables["routing-beats-latency-table-2"]
    measured = [line for line in lines_of(second) if line["source"] == "measured" and line["row"] == "lambda 0.70"]
    assert len(measured) == 1 and measured[0]["network"].startswith("router default")
    assert measured[0]["accuracy"].startswith("73.00") and measured[0]["latency_ms"] == "14.00 (13.00 to 15.00)"
    assert measured[0]["seeds"] == "3, 1 timed" and measured[0]["shares_pct_2"].startswith("40.00")
    assert measured[0]["comparable"].startswith("no: Lite0 stands for MobileViT-S and Lite2 for DeiT-S") and "weight" not in str(measured)
    assert "the strongest is DeiT-S-16 there and EfficientNet-Lite2 here" in second.note
    first = {(line["row"], line["source"]): line for line in lines_of(tables["routing-beats-latency-table-1"])}
    assert first["SqueezeNet", "measured"]["latency_ms"].startswith("3.00")
    assert first["Gater", "measured"]["latency_ms"] == "1.400" and first["Gater", "measured"]["accuracy"] == ""
    assert ("DeiT-S-16", NOT_MEASURED) in first and ("MobileViT-S", NOT_MEASURED) in first


def test_highlights_of_lag_are_over_the_twin_that_was_trained_alike(tmp_path):
    """In training and on test, seed by seed; parameters as they are used, and as the released code counts them."""
    lag = {"model": "lag-vgg11", "recipe": "released", "dataset": "cifar100", "epochs": 25, "recipe_epochs": 25, "policy": "soft",
           "tradeoff": 1e-4, "gates_run": "soft"}  # fmt: skip
    gates_run = Column(name="gates_run", kind="text", meaning="how gates run")
    static = {"model": "vgg11", "recipe": "default", "dataset": "cifar100", "epochs": 25, "recipe_epochs": 25, "adaptive": False,
              "macs_ratio": 1.0, "params": 1000}  # fmt: skip
    for seed in range(2):
        gated = {**lag, "seed": seed, "accuracy": 60.0 + seed, "params": 1040, "params_used": 950, "digest": "g"}
        folder = declare(write_run(tmp_path / f"gated-{seed}", **gated), gates_run)
        (folder / "epochs.csv").write_text("epoch,train_accuracy\n1,50\n2,83\n")
        (folder / "recipe.yaml").write_text("model: {name: lag-vgg11, width: 1.0}\n")
        write_run(tmp_path / f"static-{seed}", **static, seed=seed, accuracy=58.0, digest="s")
    write_run(tmp_path / "narrow", **static, seed=0, accuracy=40.0, macs_dense=10e6, digest="n")
    write_run(tmp_path / "pruned", **{**static, "model": "pruned", "macs_ratio": 0.5}, seed=0, accuracy=20.0, digest="p")
    write_run(tmp_path / "shorter", **{**static, "epochs": 3}, seed=0, accuracy=30.0, digest="e")
    alone = declare(write_run(tmp_path / "alone", **{**lag, "seed": 2, "digest": "h"}, accuracy=70.0), gates_run)
    (alone / "recipe.yaml").write_text("model: {name: lag-vgg11, width: 1.0}\n")
    sheets = {sheet.name: sheet for sheet in comparison_sheets(groups(with_twins(read_runs(tmp_path)[0])))}
    found = {}
    for name in ("lag-highlights", "lag-highlights-as-released"):
        lines = [line for line in lines_of(sheets[name]) if line["source"] == "measured" and line["row"].startswith("VGG-11")]
        found[name] = {line["seeds"]: (line["accuracy_over_twin"], line["params_saved_pct"], line["saved_pct"]) for line in lines}
    after, before = found["lag-highlights"]["2"], found["lag-highlights-as-released"]["2"]
    assert after[0].startswith("2.50 ± 0.71") and after[1].startswith("5.00") and after[2].startswith("25.00")
    assert before[0].startswith("3.00") and before[1].startswith("30.00") and not before[2]
    assert found["lag-highlights"]["1"][0] == NOT_MEASURED


def test_references_stand_once_in_tables_of_points_and_are_no_points(tmp_path):
    references = [{"reference": "lite0 alone", "accuracy": 54.0}, {"reference": "lite0 alone", "accuracy": 20.0, "severity": "severe"}]
    for seed in range(2):
        run = {**ROUTER, **SHARES, "seed": seed, "digest": "70", "tradeoff": 0.7}
        write_run(tmp_path / str(seed), [{"dataset": "intel-scenes"}], [{"severity": "severe", "accuracy": 60.0}, *references], **run)
    runs, left_out = read_runs(tmp_path)
    assert not left_out and [[row["accuracy"] for row in run.references] for run in runs] == [[54.0, 20.0]] * 2
    members = groups(runs)
    for cost in ("macs_executed", "latency_ms"):
        assert not any(54.0 in (point.y, point.y_low) for panel in panels(runs, members, cost) for point in panel.points)
    every, severe = point_sheets(members)
    assert [(line["run"], line["accuracy"][:5]) for line in lines_of(every)] == [("router default", "91.00"), ("lite0 alone", "54.00")]
    assert [(line["run"], line["accuracy"][:5]) for line in lines_of(severe)] == [("router default", "60.00"), ("lite0 alone", "20.00")]
    points, severities = train_table.run_tables([*runs[0].points, *runs[0].references], ())
    assert [line.get("reference") for line in points.records] == [None, "lite0 alone"]
    assert [line["reference_lite0_alone"] for line in severities.records] == [20.0]
    (tmp_path / "0" / "rows.jsonl").write_text(json.dumps({**ROW, **references[0]}) + "\n")
    assert read_runs(tmp_path)[1] == ["0: rows.jsonl has references alone, and no operating point"]


def test_images_of_one_severity_are_a_part_of_their_own(tmp_path):
    for number, (severity, accuracy) in enumerate(((None, 80.0), ("clean", 94.0), ("severe", 70.0))):
        ends = {"accuracy": accuracy, "accuracy_low": accuracy - 1, "accuracy_high": accuracy + 1}
        write_run(tmp_path / str(number), **ROUTER | ends, tradeoff=0.8, digest="0a", severity=severity)
    members = groups(read_runs(tmp_path)[0])
    assert [panel.split for panel in panels([], members, "macs_executed")] == ["test", "test, clean", "test, severe"]
    tables = {sheet.name: sheet for sheet in comparison_sheets(members)}
    measured = {
        name: [line["accuracy"][:5] for line in lines_of(tables[f"routing-beats-latency-table-{name}"]) if line["source"] == "measured"]
        for name in "23"
    }
    assert measured == {"2": ["80.00"], "3": ["94.00"]}


def test_each_family_s_trade_off_stands_under_its_own_heading(tmp_path):
    """One heading where all networks of a table share it; else a common one, and every value says what it is."""
    weight = Column(name="tradeoff", kind="number", heading="budget weight", digits=1, meaning="of a loss")
    for number, value in enumerate((3.0, 10.0)):
        path = write_run(tmp_path / f"blocks-{number}", tradeoff=value, digest=str(number), changes=[f"losses.budget.weight={value}"])
        (path / "columns.json").write_text(json.dumps([weight.model_dump()]))
    (sheet,) = point_sheets(groups(read_runs(tmp_path)[0]))
    assert [line["tradeoff"] for line in lines_of(sheet)] == ["3.0", "10.0"] and sheet.headings[1].shown == "budget weight"
    exit_run(tmp_path, "soft", 0, 92.0, 0.5, recipe_epochs=160)
    write_run(tmp_path / "static", model="resnet20", recipe="default", digest="0b", adaptive=False)
    members = groups(read_runs(tmp_path)[0])
    labels = ["cgt soft, budget 50 %", "cosinegate balanced, budget weight 10", "cosinegate balanced, budget weight 3", "resnet20 default"]
    assert sorted(group.label for group in members) == labels
    (sheet,) = point_sheets(members)
    assert sheet.headings[1].shown == "trade-off"
    assert [line["tradeoff"] for line in lines_of(sheet)] == ["-", "budget 50 %", "budget weight 3", "budget weight 10"]


def test_a_trade_off_that_is_a_setting_of_the_run_does_not_part_seeds(tmp_path):
    """Those of an earlier version, whose rows do not hold it, and today's."""
    write_run(tmp_path / "earlier", [{}], seed=0)
    write_run(tmp_path / "today", [{}], seed=1, tradeoff=3.0)
    runs, _ = read_runs(tmp_path)
    (group,) = groups(runs)
    assert group.seeds == [0, 1] and group.label == "cosinegate balanced"
    assert [value_of(run, run.headline, "latency_ms") for run in runs] == [2.0, 2.0]


def test_the_newest_times_of_each_operating_point_count(tmp_path):
    own = {"policy": "max-softmax, one threshold", "model": "cgt", **EXITS}
    path = write_run(tmp_path / "a", [{"tradeoff": 0.5}, {"tradeoff": 0.8, "latency_ms": 3.0}], [{"tradeoff": 0.8}], tradeoff=0.5, **own)
    write_times(path, {"tradeoff": 0.8, "latency_ms": 4.0, "when": "2026-01-01"}, session="later")
    (run,) = read_runs(tmp_path)[0]
    assert {row["tradeoff"]: row["latency_ms"] for row in run.times} == {0.5: 2.0, 0.8: 4.0}


def test_rows_of_one_severity_stand_apart_from_those_of_all(tmp_path):
    parts = [{"severity": name, "accuracy": accuracy} for name, accuracy in (("clean", 94.0), ("severe", 70.0))]
    exit_run(tmp_path, "joint", 0, 80.0, 0.5)
    policy = {"policy": "max-softmax, one threshold", "tradeoff": 0.5}
    write_run(tmp_path / "soft", others=parts, model="cgt", recipe="soft", digest="1", **policy, **EXITS)
    (tmp_path / "soft" / "recipe.yaml").write_text("baseline: joint\n")
    (run,) = (run for run in read_runs(tmp_path)[0] if run.headline["recipe"] == "soft")
    members = groups(read_runs(tmp_path)[0])
    assert [sheet.title.split(",")[:2] for sheet in point_sheets(members)] == [
        ["cifar10 (test)", " 160 epochs"], ["cifar10 (test", " clean)"], ["cifar10 (test", " severe)"]
    ]  # fmt: skip
    assert [len(sheet.lines) for sheet in point_sheets(members)] == [2, 1, 1] and len(baseline_sheet(every_way([run])).lines) == 1
    (table,) = train_table.run_tables(run.points, ())
    assert [(line["severity"], line["accuracy"][:5], line["shares"]) for line in lines_of(table)] == [
        ("clean", "94.00", "60.0 / 40.0"), ("severe", "70.00", "60.0 / 40.0")
    ]  # fmt: skip


def test_networks_are_told_apart_by_the_wider_of_seeds_and_each_run_s_own_interval(tmp_path):
    """Two seeds that happen to agree do not make an interval of nothing."""
    for name, digest, accuracy in (("a", "0a", 88.01), ("b", "0b", 88.0)):
        for seed in (0, 1):
            own = {"accuracy": accuracy, "accuracy_low": accuracy - 0.6, "accuracy_high": accuracy + 0.6}
            write_run(tmp_path / f"{name}{seed}", seed=seed, recipe=name, digest=digest, **own)
    (panel,) = panels([], groups(read_runs(tmp_path)[0]), "macs_executed")
    assert panel.states() == ["front", "tied"]
    assert panel.points[1].y_low == pytest.approx(87.4) and panel.points[1].y_high == pytest.approx(88.6)


def keep_inputs(path, macs):
    """A table of what each input was decided to cost, as inputs.parquet."""
    pd.DataFrame({"label": 0, "macs_decided": macs}).to_parquet(path / "inputs.parquet")


def keep_decisions(path, on, costs):
    """Decisions about units of one switch each, and what each unit costs on average, as breakdown.csv has it."""
    np.savez(path / "decisions.npz", decisions=np.packbits(np.array(on, dtype=bool), axis=1), switches=len(costs))
    shares = np.mean(on, axis=0)
    lines = [f"unit,u{unit},{share:.10g},{share * cost:.10g}" for unit, (share, cost) in enumerate(zip(shares, costs, strict=True))]
    (path / "breakdown.csv").write_text("\n".join(["by,group,mean_gate_hard,macs_decided", "class,cat,1,77", *lines]))


@pytest.mark.parametrize(
    ("keep", "seeds", "agreement"),
    [
        # 1 - 6 sum(d^2) / (n (n^2 - 1)) of the three pairs: 0.8, -1, -0.8
        (keep_inputs, [([10, 20, 30, 40],), ([1, 2, 8, 3],), ([9, 8, 7, 0],)], -1 / 3),
        (keep_inputs, [([5, 5, 6, 7],), ([20, 40, 10, 30],)], -1 / 22.5**0.5),  # ranks 1.5, 1.5, 3, 4 and 2, 4, 1, 3
        # 10, 40, 50 and 10, 50, 40 MACs, where as many units are on as for another input
        (keep_decisions, [([[1, 0], [0, 1], [1, 1]], (10, 40)), ([[1, 0], [1, 1], [0, 1]], (10, 40))], 0.5),
        # two of three inputs run the one block, one the other: on average 666667.3333 and 333333.6667 MACs
        (keep_decisions, [([[1, 0], [0, 1], [1, 0]], (1000001, 1000001)), ([[1, 0], [1, 1], [0, 1]], (1000001, 1000001))], None),
        (keep_decisions, [([[1, 0, 0], [0, 1, 0], [1, 1, 0]], (10, 40, 50)), ([[1, 1, 1], [1, 1, 0], [0, 1, 1]], (10, 40, 50))], -0.5),
        (keep_inputs, [([10, 20, 30],), ([5, 5, 5],)], None),
        (keep_inputs, [([10, 20, 30],), ([5, 6],)], None),
        (keep_inputs, [([10, 20, 30],), ([5, 6, float("nan")],)], None),
        (keep_inputs, [([10, 20, 30],), ()], None),
        (keep_inputs, [([10, 20, 30],)], None),
    ],
    ids=["three seeds", "ties", "decisions", "blocks of one cost", "a unit never on", "the same for all", "fewer", "no number", "no file",
         "one seed"],
)  # fmt: skip
def test_seeds_agree_as_far_as_they_spend_on_the_same_inputs(tmp_path, keep, seeds, agreement):
    """At the headline, of which alone there are tables of inputs; nothing stands where nothing can be said."""
    for seed, kept in enumerate(seeds):
        path = write_run(tmp_path / str(seed), others=[{"policy": "p", "tradeoff": 0.9, "macs_executed": 1.0}],
                         policy="p", tradeoff=0.8, seed=seed)  # fmt: skip
        if kept:
            keep(path, *kept)
    (sheet,) = point_sheets(groups(read_runs(tmp_path)[0]))
    shown = {record["tradeoff"]: record.get("seed_agreement") for record in sheet.records}
    assert shown == {0.8: None if agreement is None else pytest.approx(agreement), 0.9: None}
    assert ("seed_agreement" in sheet.columns) == (agreement is not None)


EXTRA = (
    Column(name="oracle", kind="number", meaning="best", unit="%", heading="oracle", digits=1, of_run=True),
    Column(name="depth", kind="numbers", meaning="mean", heading="depth", digits=1),
    Column(name="rate", kind="number", meaning="share", unit="share", heading="rate", digits=0),
    Column(name="note", kind="text", meaning="words", heading="note"),
    Column(name="hidden", kind="number", meaning="no table shows it"),
)


def declare(path, *columns):
    (path / "columns.json").write_text(json.dumps([column.model_dump(mode="json") for column in columns]))
    return path


def test_extra_columns_are_those_that_a_run_declares(tmp_path):
    extra = {"oracle": 95.25, "oracle_low": 95.0, "oracle_high": 95.5, "depth": [1.0, 2.5], "rate": 0.25, "note": "slow", "hidden": 7,
             "undeclared": 3.0, **EXITS}  # fmt: skip
    for seed in (0, 1):
        declare(write_run(tmp_path / f"a{seed}", seed=seed, **{**extra, "oracle": 95.25 + seed}), *EXTRA)
    write_run(tmp_path / "b", recipe="other", digest="0b", **extra)  # declares nothing
    runs, left_out = read_runs(tmp_path)
    assert not left_out and "undeclared" not in runs[0].headline and "oracle" not in runs[2].headline
    assert (runs[0].headline["hidden"], runs[0].headline["oracle_low"]) == (7, 95.0)
    plain, declared = sorted(point_sheets(groups(runs)), key=lambda sheet: len(sheet.headings))
    assert "oracle" not in lines_of(plain)[0] and plain.title == declared.title
    (line,) = lines_of(declared)
    assert line["oracle"].startswith("95.8 ± 0.7 (") and (line["rate"], line["note"]) == ("25 ± 0 (25 to 25)", "slow")
    assert line["depth"] == "1.0 / 2.5" and "hidden" not in line
    (record,) = declared.records
    assert record["oracle_sd"] == pytest.approx(0.7071, abs=1e-4) and record["rate"] == 0.25
    assert (record["depth_exit_1"], record["depth_exit_2"]) == (1.0, 2.5)
    assert "depth (exit 1 / exit 2)" in to_markdown(declared)


def test_a_family_whose_columns_name_the_policy_has_a_line_for_each(tmp_path):
    others = [{"policy": "hard", "way": "hard", "accuracy": 20.0}]
    for name, shown in (("all", True), ("first", False)):
        path = write_run(tmp_path / name / "run", others=others, policy="soft", way="soft")
        declare(path, Column(name="way", kind="text", meaning="how", heading="way", names_policy=shown))
        made = groups(read_runs(tmp_path / name)[0])
        assert [group.label for group in made] == [f"cosinegate balanced{policy}" for policy in ((", soft", ", hard") if shown else ("",))]
        (sheet,) = point_sheets(made)
        assert [(line["way"], line["accuracy"][:2]) for line in lines_of(sheet)] == [("soft", "91"), ("hard", "20")][: 1 + shown]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[", "columns.json is damaged"),
        ('[{"name": "A b", "kind": "number", "meaning": ""}]', "columns.json is damaged"),
        ('[{"name": "a", "kind": "pickle", "meaning": ""}]', "columns.json is damaged"),
        ('[{"name": "accuracy", "kind": "number", "meaning": ""}]', "declares accuracy, which there is already"),
        (json.dumps([{"name": f"a{n}", "kind": "number", "meaning": ""} for n in range(50)]), "declares 50 columns"),
        ('[{"name": "extra", "kind": "number", "meaning": ""}]', "extra = 'high' does not fit its declaration in columns.json (number)"),
        ('[{"name": "extra", "kind": "texts", "meaning": ""}]', "extra = 'high' does not fit"),
    ],
    ids=["cut", "name", "kind", "common", "many", "number", "texts"],
)
def test_declarations_made_to_mislead_are_refused_with_a_reason(tmp_path, content, reason):
    (write_run(tmp_path / "a", extra="high") / "columns.json").write_text(content)
    runs, (line,) = read_runs(tmp_path)
    assert not runs and reason in line


HOSTILE = "<script>alert(1)</script> [red]x[/red] | \\input{/etc/passwd} =1+1 ../../up"


def test_what_is_broken_or_made_to_mislead_is_left_out_with_a_line(results, gatebench, tmp_path):
    write_run(results / "half").joinpath("summary.json").unlink()
    write_run(results / "torn").joinpath("rows.jsonl").write_text('{"model": "cosine')
    write_run(results / "old", accuracy="high")
    write_run(results / "over", accuracy=101)
    write_run(results / "first-layout", adaptive=None)
    write_run(results / "endless", accuracy=float("inf"))
    write_run(results / "large", params=10**400)
    write_run(results / "deep").joinpath("rows.jsonl").write_text("[" * 100_000)
    write_run(results / "listed").joinpath("rows.jsonl").write_text("[1]\n")
    write_run(results / "empty").joinpath("rows.jsonl").write_text("\n")
    write_run(results / "piped").joinpath("rows.jsonl").unlink()
    os.mkfifo(results / "piped" / "rows.jsonl")
    write_run(results / "bytes").joinpath("rows.jsonl").write_bytes(b"\xff\xfe\x00")
    write_run(results / "huge").joinpath("rows.jsonl").write_text(" " * 2_000_001)
    (results / "loop").symlink_to(results)
    hostile = {"model": HOSTILE, "recipe": HOSTILE, "digest": "0e", "machine": HOSTILE, "audit": [HOSTILE], "accuracy": 91.45}
    path = write_run(results / "b [bold]<i>", [{"network": HOSTILE}], text=HOSTILE, shares=[1.0], share_names=[HOSTILE], **hostile)
    declare(path, Column(name="text", kind="text", meaning="", heading=HOSTILE, unit=HOSTILE))
    write_run(results / "free", [{"latency_ms": 0}], recipe="free", digest="0f")
    write_run(results / "nameless", [{"machine": None}], recipe="nameless", digest="1f")
    write_run(results / "crowd", shares=[0.0001] * 5000)
    (results / "again").symlink_to(results / "static")
    (results / "begun").mkdir()
    (results / "begun" / "machine.json").write_text("{}")
    runs, left_out = read_runs(results)
    bad = ("half", "torn", "old", "over", "first-layout", "endless", "large", "deep", "listed", "empty", "piped", "bytes", "huge", "free",
           "nameless", "crowd", "static", "begun")  # fmt: skip
    assert len(runs) == 7 and all(line.split(":")[0] in bad for line in left_out) and len(left_out) == len(bad), left_out
    assert any("first-layout" in line and "lacks adaptive (another version of gatebench?" in line for line in left_out)
    assert any(line.startswith("free: in times/, latency_ms = 0 in desk.jsonl: input should be greater than 0") for line in left_out)
    done = gatebench("report", str(results), "--out", str(tmp_path / "page"))
    assert done.returncode == 0 and done.stderr.count("left out") == len(bad)
    page = (tmp_path / "page" / "report.html").read_text()
    assert page.count("<script") == 3 and "<script>alert" not in page and html.escape("<script>alert(1)</script>") in page
    assert "\\input{" not in (tmp_path / "page" / "report.tex").read_text()
    assert "<script" not in (tmp_path / "page" / "report.md").read_text()
    assert {path.parent for path in (tmp_path / "page").rglob("*")} == {tmp_path / "page"}
    shown = gatebench("pareto", str(results))
    assert shown.returncode == 0 and "[red]" in shown.stdout


def test_a_damaged_session_of_times_is_left_out_alone(tmp_path):
    path = write_run(tmp_path / "a", [{}])
    (path / "times" / "torn.jsonl").write_text('{"network": ')
    (path / "times" / "odd\x1bname.jsonl").write_text("[1]\n")
    (path / "times" / "notes.txt").write_text("kept")
    ((run,), left_out) = read_runs(tmp_path)
    assert len(run.times) == 1 and len(left_out) == 2 and not any("\x1b" in line for line in left_out)
    assert "a: in times/, torn.jsonl is damaged" in left_out


BOMB = "data: &a [x, x, x]\nmodel: " + "".join(f"&l{n} [" for n in range(8)) + "*a" + "]" * 8


MISLEADING = {
    "deep": ("recipe.yaml", "[" * 200_000),
    "aliases": ("recipe.yaml", BOMB),
    "numbers": ("recipe.yaml", "baseline: joint\nmodel: {depth: .nan}\nlosses: {budget: {weight: " + "9" * 400 + "}}"),
    "long": ("recipe.yaml", "a: [" + "x, " * 300_000 + "]"),
    "bytes": ("recipe.yaml", b"\xff\xfe\x00"),
    "cut": ("epochs.csv", "epoch,train_accuracy,test_accuracy,mean_gate_soft\n1,50,51,0.9\n2,80"),
    "endless": ("epochs.csv", "epoch,test_accuracy\n1,nan\n2,inf\n3," + "9" * 400 + "\nx,1\n"),
    "cell": ("epochs.csv", 'epoch,test_accuracy\n1,"' + "x" * 200_000),
    "nameless": ("epochs.csv", ",,,\n1,2,3,4,5,6,7\n"),
    "parquet": ("inputs.parquet", b"PAR1" + b"\0" * 100 + b"PAR1"),
    "times": ("times/desk.csv", "threads,batch_size,subject\n1,1,sparse"),
}
FAST = "aliases", "cell", "parquet"


@pytest.mark.parametrize("case", [pytest.param(case, marks=() if case in FAST else pytest.mark.slow) for case in MISLEADING])
def test_a_table_made_to_mislead_breaks_nothing(results, gatebench, tmp_path, case):
    name, content = MISLEADING[case]
    (results / "static" / "breakdown.csv").write_text("by,group,inputs\nunit,blocks.0,10\n")
    (results / "static" / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    done = gatebench("report", str(results), "--out", str(tmp_path / "page"))
    assert done.returncode == 0, done.stderr
    assert ("left out: static: its pictures: " in done.stderr) == (name in ("inputs.parquet", "times/desk.csv"))
    assert "resnet20 default" in (tmp_path / "page" / "report.md").read_text()


def test_control_characters_reach_no_output(results, gatebench, tmp_path):
    write_run(results / "odd\nname", model="a\x00b\x07\x1b[31mRED", recipe="\u202egnp", digest="0f", dataset="$\\frac{$")
    write_run(results / "surrogate", recipe="\ud800")
    done = gatebench("pareto", str(results), "--out", str(tmp_path / "front.svg"))
    assert done.returncode == 0 and "\x1b" not in done.stdout and "left out: surrogate: rows.jsonl is damaged" in done.stderr
    assert gatebench("report", str(results), "--out", str(tmp_path / "page.md")).returncode == 0
    text = (tmp_path / "page.md").read_text()
    assert "31mRED" in text and not any(each in text for each in "\x00\x07\x1b\u202e") and not (tmp_path / "report.html").exists()
    xml.etree.ElementTree.parse(next(tmp_path.glob("front*macs_executed.svg")))


def test_pareto_answers_a_budget_with_a_sentence(results, gatebench):
    done = gatebench("pareto", str(results), "--max-ms", "2.2", "--dataset", "cifar10", "--machine", "DESK", "--x", "latency_ms")
    assert done.returncode == 0, done.stderr
    first, *others = done.stdout.replace("\n", " ").split("written to")
    assert first.strip() == "Under 2.2 ms on cifar10 (desk, 2 cores, 1 thread, batch 1): cosinegate balanced, 91.20 % at 2.00 ms."
    assert len(others) == 3 and others[-1].strip().endswith(f"gatebench report {results}")
    answer = json.loads(gatebench("pareto", str(results), "--x", "latency_ms", "--max-ms", "2.2", "--json").stdout)
    assert [panel["machine"] for panel in answer["panels"]] == ["desk, 2 cores", "rack, 64 cores"]
    assert answer["best"][0]["networks"][0]["label"] == "cosinegate balanced" and answer["best"][0]["answer"].startswith("Under 2.2 ms")
    points = [point for panel in answer["panels"] for point in panel["points"]]
    assert {point["state"] for point in points} <= {"front", "tied", "dominated"}
    assert {point["scored_in"] for point in points} == {"bf16"}
    assert "--max-ms wants latency_ms" in gatebench.refused("pareto", str(results), "--x", "macs_executed", "--max-ms", "2", code=2)


def test_pareto_shows_the_front_of_each_data_set_in_a_short_table(results, gatebench):
    done = gatebench("pareto", str(results))
    assert done.returncode == 0, done.stderr
    cifar, mnist = done.stdout.split("mnist: nothing else is both cheaper and more accurate")
    (gated,) = [line for line in cifar.splitlines() if line.startswith("cosinegate balanced")]
    assert gated.split() == ["cosinegate", "balanced", "2", "91.20", "88.66", "to", "93.74", "30.00", "2.000", "A", "B"]
    (static,) = [line for line in cifar.splitlines() if line.startswith("resnet20 default")]
    assert static.split()[-3:] == ["2.500", "A", "B"]
    assert "A: Executed MACs per input: all 2 networks are on the front." in cifar
    assert "rack" not in cifar, "one network is compared with nothing"
    assert "one network, and nothing to compare it with" in mnist.replace("\n", " ")
    assert (results / "pareto-latency_ms.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (results / "pareto-macs_executed.svg").read_text()
    states = [line["state"] for line in csv.DictReader((results / "pareto-latency_ms.csv").open())]
    assert states == ["front"] * 3
    assert done.stdout.splitlines()[-1] == f"next: gatebench pareto {results} --dataset cifar10 --max-ms 2.5"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--dataset", "cifar"], "--dataset cifar: no network was scored on it. There are cifar10, mnist."),
        (["--machine", "epyc"], "--machine epyc: no times are of such a machine. There are: desk, 2 cores; rack, 64 cores."),
        (["--batch-size", "8"], "--batch-size 8: no times are of it. There are 1."),
        (["--dataset", "mnist", "--machine", "desk"], "choose among times, and there are none"),
        (["--machine", "rack", "--batch-size", "64"], "--batch-size 64: no times are of it. There are 1."),
        (["--x", "macs_executed", "--machine", "desk"], "--x macs_executed shows none. Leave --x out, or both of them."),
    ],
)
def test_pareto_names_what_there_is_where_a_filter_finds_nothing(results, gatebench, options, said):
    assert said in gatebench.refused("pareto", str(results), *options, code=2)


def test_filters_leave_macs_as_they_are(results, gatebench):
    panels = gatebench.json("pareto", str(results), "--machine", "rack", "--batch-size", "1", "--dataset", "cifar10")["panels"]
    assert [(panel["cost"], panel.get("machine"), len(panel["points"])) for panel in panels] == [
        ("macs_executed", None, 2), ("latency_ms", "rack, 64 cores", 1),
    ]  # fmt: skip


def test_an_answer_names_what_is_as_good_and_what_may_keep_to_the_budget():
    best, good = Point("best", 1.5, 1.4, 1.6, 88, 87, 89), Point("good", 1.2, 1.1, 1.3, 87.5, 86, 88.2)
    over = Point("over", 2.1, 1.9, 2.3, 90, 89, 91)
    panel = Panel("latency_ms", "cifar10", "test", ("AMD EPYC", "cuda", "torch, CUDA graphs", 4, 8), [best, good, over], [])
    where = "cifar10 (AMD EPYC, cuda, torch, CUDA graphs, 4 threads, batch 8)"
    assert sentence(most_accurate(panel, 2.0)) == (
        f"Under 2 ms on {where}: best, 88.00 % at 1.50 ms; good is as good within its interval; over may keep to it, too."
    )
    assert sentence(most_accurate(panel, 1.0)) == f"Under 1 ms on {where}: none of 3. The cheapest is good, 87.50 % at 1.20 ms."
    assert sentence(cheapest(panel, 87.9)) == (
        f"At 87.9 % or more, least latency per call on {where}: best, 88.00 % at 1.50 ms; good may keep to it, too."
    )
    macs = Panel("macs_executed", "mnist", "validation", None, points([(10, 98), (12, 98), (14, 98)]), [])
    assert sentence(most_accurate(macs, 20)) == (
        "Under 20 M MACs on mnist (validation): 0, 98.00 % at 10.00 M MACs; 2 more are as good within their intervals, such as 1."
    )
    assert sentence(cheapest(macs, 99)).endswith("none of 3. The best is 0, 98.00 % at 10.00 M MACs.")


def test_networks_that_may_keep_to_a_budget_are_counted():
    best, over = Point("best", 1.5, 1.4, 1.6, 88, 87, 89), Point("over", 2.1, 1.9, 2.3, 90, 89, 91)
    dear = Point("dear", 2.2, 2.0, 2.4, 90, 89, 91)
    panel = Panel("latency_ms", "cifar10", "test", ("desk", "cpu", "torch", 1, 1), [best, over, dear], [])
    assert sentence(most_accurate(panel, 2.0)).endswith("88.00 % at 1.50 ms; 2 more may keep to it, such as over.")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--max-ms", "2.6", "--min-accuracy", "90"],
            "Under 2.6 ms, at 90 % or more on cifar10 (desk, 2 cores, 1 thread, batch 1): 2 of 2 do. The most accurate is resnet20 "
            "default, 92.00 % at 2.50 ms; the cheapest is cosinegate balanced, 91.20 % at 2.00 ms.",
        ),
        (["--max-ms", "2.2", "--min-accuracy", "90"], "1 of 2 does: cosinegate balanced, 91.20 % at 2.00 ms."),
        (
            ["--max-ms", "2.2", "--min-accuracy", "91.5"],
            "none of 2 does. The nearest are resnet20 default, 92.00 % at 2.50 ms and cosinegate balanced, 91.20 % at 2.00 ms.",
        ),
        (
            ["--max-ms", "2.6", "--max-macs", "35"],
            "Under 2.6 ms and 35 M MACs on cifar10 (desk, 2 cores, 1 thread, batch 1): 1 of 2 does: cosinegate balanced, 91.20 % at 2.00 "
            "ms and 30.00 M MACs.",
        ),
        (
            ["--max-ms", "1", "--max-macs", "20", "--min-accuracy", "95"],
            "none of 2 does. The nearest are cosinegate balanced, 91.20 % at 2.00 ms and 30.00 M MACs and resnet20 default, 92.00 %",
        ),
        (["--max-macs", "35", "--min-accuracy", "91.5"], "Under 35 M MACs, at 91.5 % or more on cifar10: none of 2 does. The nearest are"),
    ],
)
def test_limits_are_answered_together(results, gatebench, options, said):
    answer = gatebench.json("pareto", str(results), "--dataset", "cifar10", *options)["best"][0]
    assert said in answer["answer"] and len(answer["networks"]) == ("none" not in said) + ("2 of 2" in said)


def test_an_answer_says_where_fewer_seeds_were_timed_and_names_networks_as_the_table_does(tmp_path):
    for epochs, digest in ((15, "0a"), (20, "0b")):
        for seed in range(3):
            times = [{}] * (seed == 0 and epochs == 15)
            write_run(tmp_path / f"{epochs}-{seed}", times, seed=seed, epochs=epochs, digest=digest)
    runs, _ = read_runs(tmp_path)
    shown = {cost: panels(runs, groups(runs), cost) for cost in ("macs_executed", "latency_ms")}
    (answer,) = answers({"latency_ms": 3.0}, shown)
    assert sentence(answer).endswith(": cosinegate balanced, 15 epochs, 91.00 % at 2.00 ms (1 of 3 seeds timed).")
    (sheet,) = front_sheets(shown)
    assert answer.best.label in {line["network"] for line in lines_of(sheet)}


def test_a_table_of_a_front_says_where_fewer_seeds_were_timed(tmp_path):
    for seed in range(3):
        write_run(tmp_path / f"gated-{seed}", [{}] * (seed == 0), seed=seed)
    write_run(tmp_path / "static", [{"latency_ms": 2.5}], model="resnet20", recipe="default", digest="0b", adaptive=False, accuracy=92.0)
    runs, _ = read_runs(tmp_path)
    members = groups(runs)
    (sheet,) = front_sheets({cost: panels(runs, members, cost) for cost in ("macs_executed", "latency_ms")})
    assert {line["network"]: line["seeds"] for line in lines_of(sheet)} == {"cosinegate balanced": "3, 1 in B", "resnet20 default": "1"}
    assert "A front with fewer takes the accuracy of these alone." in sheet.note


def test_a_table_of_a_front_is_short():
    many = points([(float(number), 50.0 + number) for number in range(1, 40)])
    (sheet,) = front_sheets({"macs_executed": [Panel("macs_executed", "data", "test", None, many, [])]})
    assert [line["network"] for line in lines_of(sheet)][::7] == ["0", "38"] and len(sheet.lines) == 8
    assert "31 more on a front are in --json" in sheet.note


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pareto", "nowhere"], "There is no folder nowhere. Name the folder that"),
        (["pareto", "."], "there is no finished run"),
        (["pareto", ".", "--x", "latency"], "--x wants macs_executed, latency_ms or energy_mj, not 'latency'. Did you mean 'latency_ms'?"),
        (["report", ".", "--format", "htm"], "--format wants html, md, csv or tex, not 'htm'. Did you mean 'html'?"),
        (["report", "nowhere"], "There is no folder nowhere"),
        (["report", "."], "there is no finished run"),
        (["report", ".", "--format", "csv", "--out", "page.html"], "--format csv is not its format. Leave --format away, or name"),
        (["report", ".", "--check", "--format", "html"], "--check writes nothing. Leave --out and --format away."),
        (["report", ".", "--format", "csv,md", "--out", "x.csv"], "--out x.csv is one file, and CSV is one file for each table. Name a"),
        (["pareto", ".", "--max-ms", "nan"], "gatebench: --max-ms wants a number above 0, not nan."),
        (["pareto", ".", "--max-macs", "two"], "gatebench: --max-macs wants a number above 0, not two."),
        (["pareto", ".", "--min-accuracy", "120"], "gatebench: --min-accuracy wants a number above 0, and 100 at most, not 120."),
    ],
)
def test_bad_input_gets_one_clear_sentence(gatebench, arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in gatebench.refused(*arguments, code=2)


def test_a_picture_that_cannot_be_written_or_named_says_so(results, gatebench):
    assert "--out wants a .png or .svg file" in gatebench.refused("pareto", str(results), "--out", "front.gif", code=2)
    assert "Cannot write" in gatebench.refused("pareto", str(results), "--out", "/proc/front.png", code=1)
    assert "Cannot write" in gatebench.refused("report", str(results), "--out", "/proc/page", code=1)


def test_neither_command_imports_torch(results):
    code = (
        "import sys; from gatebench.cli import app\n"
        "for command in ('pareto', 'report'):\n"
        "    try: app([command, sys.argv[1]])\n"
        "    except SystemExit as end: print('torch' in sys.modules, end.code)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(results)], capture_output=True, text=True)
    assert [line for line in done.stdout.splitlines() if line.startswith(("True", "False"))] == ["False 0", "False 0"], done.stderr


def test_csv_and_json_hold_one_number_or_text_a_cell(results, gatebench, tmp_path):
    answer = json.loads(gatebench("report", str(results), "--out", str(tmp_path / "page"), "--json").stdout)
    files = {Path(file).stem: Path(file) for file in answer["files"] if file.endswith(".csv")}
    tables = {table["name"]: table for table in answer["tables"]} | {name: answer[name] for name in ("results", "times")}
    assert files.keys() == tables.keys()
    for name, table in tables.items():
        header, *lines = csv.reader(files[name].open(newline=""))
        assert header == list(table["units"]) and len(lines) == len(table["rows"])
        for line, record in zip(lines, table["rows"], strict=True):
            cells = {name: cell for name, cell in zip(header, line, strict=True) if cell}
            assert cells.keys() == {name for name, value in record.items() if value != ""}
            for name, value in record.items():
                assert isinstance(value, (str, bool)) or float(cells[name]) == pytest.approx(value, rel=1e-9)
    (points,) = [table for table in answer["tables"] if table["title"].startswith("cifar10 (test)")]
    gated = next(row for row in points["rows"] if row["run"] == "cosinegate balanced")
    assert gated["accuracy"] == pytest.approx(91.2) and gated["accuracy_sd"] == pytest.approx(0.2828, abs=1e-4)
    assert gated["macs_executed"] == 30e6 and points["units"]["macs_executed"] == "MACs"
    assert gated["seeds"] == 2, "people see 0, 1"
    realised = [table for name, table in tables.items() if name.startswith("realised-")]
    assert {(row["machine"], row["batch_size"]) for table in realised for row in table["rows"]} == {
        ("desk, 2 cores", 1), ("rack, 64 cores", 1),
    }  # fmt: skip


def test_every_operating_point_and_every_timing_is_a_line_for_programs(tmp_path):
    import pandas as pd

    shares = {"shares": [0.25, 0.75], "share_names": ["exit 1", "exit 2"], "policy": "rule", "tradeoff": 0.5, "changes": ["a=1", "b=2"]}
    point = {"policy": "rule", "tradeoff": 0.8, "accuracy": 92.0, "accuracy_high": 92.5, "params": 2**40 + 1, "shares": [0.1, 0.9]}
    expert = {"reference": "lite0", "accuracy": 80.0, "accuracy_low": 79.0, "accuracy_high": 81.0}
    write_run(tmp_path / "exits-s0", [{"cost_units_ms": [0.5, None, 2.0]}], [point, expert], **shares)
    write_run(tmp_path / "static-s0", [{}, {"machine": "rack, 64 cores"}, {"batch_size": 64}], model="resnet20", adaptive=False)
    runs, _ = read_runs(tmp_path)
    for name, table in (("results", all_points(runs)), ("times", all_times(runs))):
        (tmp_path / f"{name}.csv").write_text(to_csv(table))
    found = pd.read_csv(tmp_path / "results.csv")
    assert list(found["run"]) == ["exits-s0", "exits-s0", "static-s0"], "what they are compared with is none of them"
    assert list(found["tradeoff"][:2]) == [0.5, 0.8] and set(found["tradeoff_is"][:2]) == {"budget"}
    assert list(found["shares_exit_2"][:2]) == [0.75, 0.9] and found["params"][1] == 2**40 + 1
    assert found["accuracy_low"][0] == 90.4 and found["changes"][0] == "a=1; b=2"
    assert found["latency_ms"][0] == 2.0 and found["latency_ms_low"][0] == 1.9 and found["timed_machine"][0] == "desk, 2 cores"
    assert found["latency_ms"][1:].isna().all(), "not timed, and timed in two places"
    times = pd.read_csv(tmp_path / "times.csv")
    assert list(zip(times["run"], times["machine"], times["batch_size"], strict=True)) == [
        ("exits-s0", "desk, 2 cores", 1), ("static-s0", "desk, 2 cores", 1), ("static-s0", "rack, 64 cores", 1),
        ("static-s0", "desk, 2 cores", 64),
    ]  # fmt: skip
    assert list(times["accuracy"]) == [91.0] * 4 and list(times.filter(like="cost_units_ms").iloc[0]) == [0.5, 2.0]
    assert all_times(runs).columns["latency_ms_low"] == "ms" and all_points(runs).columns["shares_exit_1"] == "share"


def test_csv_can_be_read_back_and_holds_no_formula():
    headings = (Heading("a", "a", digits=1), Heading("b", "b"), Heading("c", "c", parts=("x y", "z")), Heading("d", "d"))
    lines = [(Cell(1.25, 1.0, 1.5, 0.1), "=SUM(A1)", Cell(parts=(1.0, None)), None), (-3, 'two\nlines, "quoted"', None, None)]
    made = make_sheet("name", "title", headings, lines)
    assert list(csv.reader(to_csv(made).splitlines(keepends=True))) == [
        ["a", "a_sd", "a_low", "a_high", "b", "c_x_y"],
        ["1.25", "0.1", "1", "1.5", "'=SUM(A1)", "1"],
        ["-3", "", "", "", 'two\nlines, "quoted"', ""],
    ]
    assert made.texts[0] == ("1.2 ± 0.1 (1.0 to 1.5)", "=SUM(A1)", "1 / -") and [each.name for each in made.headings] == ["a", "b", "c"]


def test_people_see_units_signs_and_ranges():
    headings = (Heading("m", "executed", "MACs", 2), Heading("s", "share", "share", 0), Heading("g", "gain", "points", 1, signed=True))
    sheet = make_sheet("n", "t", headings, [(2.5e6, Cell(low=0.5, high=0.8), Cell(-0.01, -0.2, 0.2)), (None, 0.65, 1.0)])
    assert [heading.shown for heading in sheet.headings] == ["executed (M MACs)", "share %", "gain (points)"]
    assert sheet.texts == [("2.50", "50 to 80", "-0.0 (-0.2 to +0.2)"), ("-", "65", "+1.0")]
    assert sheet.columns == {"m": "MACs", "s": "share", "s_from": "share", "s_to": "share",
                             "g": "points", "g_low": "points", "g_high": "points"}  # fmt: skip
    assert isinstance(sheet, Sheet) and "m" not in sheet.records[1]


def test_train_prints_where_compute_goes_then_operating_points_then_what_is_claimed(capsys):
    ways = [("max-softmax, one", 0.5), ("max-softmax, one", 0.8), ("max-softmax, each", 0.5), ("max-softmax, each", 0.8)]
    points = [{**ROW, **EXITS, "policy": policy, "tradeoff": budget, "f1": 90.0, "adaptivity_gain": 1.5, "oracle": 95.0,
               "depth": [1.0, 2.0], "macs_decided": 20e6} for policy, budget in ways]  # fmt: skip
    (sheet,) = train_table.run_tables(points, EXTRA)
    assert [(line["policy"], line["tradeoff"]) for line in lines_of(sheet)] == [
        ("max-softmax, one", "50"),
        ("max-softmax, one", "80"),
        ("max-softmax, each", "50"),
    ]
    assert lines_of(sheet)[0]["shares"] == "60.0 / 40.0" and lines_of(sheet)[0]["depth"] == "1.0 / 2.0"
    assert "oracle" not in lines_of(sheet)[0] and train_table.run_note(points[0], EXTRA) == "oracle %: 95.0"
    breakdown = [{"by": "class", "group": number, "inputs": 10, "accuracy": 90.0, "macs_executed": 3e7} for number in range(30)]
    console, last = Console(width=80), {**points[0], "seed": 1}
    train_table.show_details(console, last, points, EXTRA, breakdown)
    train_table.show(console, [points[0], last])
    shown = capsys.readouterr().out
    order = ["where the compute goes (seed 1)", "10 more by class in breakdown.csv", "operating points", "oracle %: 95.0", "claimed beside"]
    assert [shown.index(part) for part in order] == sorted(shown.index(part) for part in order)
    assert "90.40-91.50" in shown and max(map(len, shown.splitlines())) <= 80
    assert train_table.run_tables([{**ROW}], EXTRA) == []


def picture_run(path):
    """A run that kept its per-input table, the tables of its family and raw times."""
    import pandas as pd

    path = write_run(path, [{}], model="cgt", recipe="soft", **EXITS, tradeoff=0.5, policy="max-softmax, one")
    (path / "data.json").write_text(json.dumps({"classes": ["cat", "dog"]}))
    (path / "breakdown.csv").write_text("by,group,inputs\nclass,cat,3\nunit,segments.0,6\nunit,heads.0,6\n")
    units = {"segments.0": np.float32([1, 1, 1, 0, 0, 1]), "heads.0": np.float32([0, 1, 0, 1, 0, 1])}
    table = {"label": [0, 0, 0, 1, 1, 1], "difficulty": [0.0, 0.1, 0.3, 0.5, 0.9, 1.0], **units}
    pd.DataFrame(table).to_parquet(path / "inputs.parquet", index=False)
    curves = [("anytime", 1e6, 80), ("oracle", 1.2e6, 95), ("max-softmax", 1e6, 80), ("max-softmax", 2e6, 90), ("=odd", 1e6, 1)]
    (path / "exits.csv").write_text("curve,setting,accuracy,macs\n" + "".join(f"{name},0,{y},{x}\n" for name, x, y in curves))
    bins = "".join(f"{number},20,{10 * number},{9 * number},0,1.5,1.0\n" for number in range(3, 9))
    (path / "calibration.csv").write_text("bin,inputs,confidence,accuracy,exit,ece,temperature\n" + bins)
    raw = [(1, 1, subject, number, call, call, 0.001 * (call + 1), 1e6 * (call + 1) if subject == "sparse" else "", False)
           for subject in ("sparse", "rival", "random") for number in range(3) for call in range(20)]  # fmt: skip
    header = "threads,batch_size,subject,round,call,input,seconds,macs,noisy\n"
    (path / "times" / "desk.csv").write_text(header + "".join(",".join(map(str, line)) + "\n" for line in raw))
    return path


def test_pictures_of_single_runs_are_drawn_linked_and_kept_while_nothing_changes(tmp_path, gatebench):
    path = picture_run(tmp_path / "results" / "cgt-soft")
    done = gatebench("report", str(tmp_path / "results"), "--format", "html,md")
    assert done.returncode == 0 and "5 pictures of single runs" in done.stdout, done.stderr
    folder = tmp_path / "results" / "report"
    names = ["calibration", "decisions", "exits", "latency-inputs-batch1-threads1", "latency-macs-batch1-threads1"]
    files = [f"runs/cgt-soft--{name}.png" for name in names]
    assert sorted(str(each.relative_to(folder)) for each in (folder / "runs").iterdir()) == files
    assert all((folder / file).read_bytes().startswith(b"\x89PNG") for file in files)
    for text in ((folder / "report.html").read_text(), (folder / "report.md").read_text()):
        assert all(file in text for file in files)
    before = {file: (folder / file).stat().st_mtime_ns for file in files}
    runs, _ = read_runs(tmp_path / "results")
    links, left_out = draw_all(runs, folder)
    assert links == {"cgt-soft": dict(zip(names, files, strict=True))} and not left_out
    assert {file: (folder / file).stat().st_mtime_ns for file in files} == before, "nothing changed"
    (path / "times" / "desk.csv").unlink()
    draw_all(runs, folder)
    assert len(list((folder / "runs").iterdir())) == 3, "the raw times are gone"


def test_inputs_go_where_their_rows_say(tmp_path):
    from gatebench.report.paper_figures import destinations

    write_run(tmp_path / "a", model="router", shares=[0.7, 0.3], share_names=["small", "large"])
    write_run(tmp_path / "b", model="cgt", recipe="soft", **EXITS)
    figure = destinations(groups(read_runs(tmp_path)[0]))
    figure.canvas.draw()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["small", "large", "exit 1", "exit 2"]
    assert sorted(round(bar.get_width()) for bar in figure.axes[0].patches) == [0, 0, 0, 0, 30, 40, 60, 70]


def test_the_latex_compiles(results, gatebench, tmp_path):
    latex = shutil.which("pdflatex") or shutil.which("tectonic")
    if not latex:
        pytest.skip("neither pdflatex nor tectonic is installed")
    write_run(results / "hostile", model=HOSTILE, recipe=HOSTILE, digest="0e", audit=[HOSTILE + " 100 % ± {}$&#_^~"])
    assert gatebench("report", str(results), "--out", str(tmp_path / "page"), "--format", "tex").returncode == 0
    quiet = ["-interaction=nonstopmode", "-halt-on-error"] if "pdflatex" in latex else []
    done = subprocess.run([latex, *quiet, "report.tex"], cwd=tmp_path / "page", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


OLD_RECIPE = """name: soft
source: here
model: {name: cgt, rule: max-softmax}
data: {name: fashion-mnist}
objective:
  exits: {eligibility: soft, weights: [1.0, 0.5]}
  label_smoothing: 0.1
  budget: {weight: 3.0, target: 0.7}
  terms: {consistency: 0.01}
training: {epochs: 3}
evaluation:
  exits: {budgets: [0.5], rules: [max-softmax]}
parent: deepest
baseline: [joint]
changes: [objective.budget.weight=3.0, objective.terms.consistency=0.01, 'evaluation.exits.budgets=[0.5]', training.epochs=3]
scaled_from_epochs: null
"""


def old_run(path):
    """A run of the first layout: exits, timed on its own inputs and on others."""
    renamed = {"latency_ms_low": "latency_low", "latency_ms_high": "latency_high"}
    row = {key: value for key, value in ROW.items() if key != "adaptive"} | {"model": "cgt", "recipe": "soft", "seed": 1}
    row |= {"policy": "max-softmax, one", "tradeoff": 0.5, "thresholds": [0.9], "shares": [0.6, 0.4], "adaptivity_gain_same_weights": 1.0,
            "overthinking_pct": 2.5, "changes": ["objective.label_smoothing=0.1"]}  # fmt: skip
    timed = {renamed.get(key, key): value for key, value in TIMED.items() if key != "scored_inputs"}
    scores = ("split", "accuracy", "accuracy_low", "accuracy_high", "shares", "overthinking_pct")
    elsewhere = {key: value for key, value in {**row, **timed, "dataset": "mnist"}.items() if key not in scores}
    path.mkdir()
    (path / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in (row, {**row, **timed}, elsewhere)))
    (path / "summary.json").write_text(json.dumps(row))
    (path / "recipe.yaml").write_text(OLD_RECIPE)
    data = {"name": "fashion-mnist", "input_shape": [1, 28, 28], "classes": ["a", "b"], "mean": [0.5], "std": [0.25], "scored": "test",
            "fingerprint": "0c"}  # fmt: skip
    (path / "data.json").write_text(json.dumps(data))
    session = {key: TIMED.get(key) for key in ("dataset", "machine", "device", "threads", "batch_size", "rival")}
    (path / "latency.json").write_text(json.dumps({"sessions": [{**session, "interrupted": True, "clock": {}, "rows": [{}]}]}))
    for name in ("exits.png", "latency.csv", "model.safetensors", "inputs.parquet", "epochs.csv"):
        (path / name).write_text("")
    return path


def test_a_run_of_the_first_layout_is_carried_over(tmp_path, capsys, monkeypatch):
    old_run(tmp_path / "old")
    specification = importlib.util.spec_from_file_location("convert_results", ROOT / "benchmarks" / "convert_results.py")
    converter = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(converter)
    runs, (line,) = read_runs(tmp_path)
    assert not runs and "convert_results.py" in line
    monkeypatch.setattr(sys, "argv", ["convert", str(tmp_path), "--to", str(tmp_path / "new"), "--keep-weights-of", "0"])
    converter.main()
    path = tmp_path / "new" / "old"
    ((run,), left_out) = read_runs(path)
    row = run.headline
    assert not left_out and row["digest"] == "v1:0a" and row["adaptive"] is True and row["adaptivity_gain"] == 1.0
    assert row["share_names"] == ["exit 1", "exit 2"] and row["overthinking_pct"] == 2.5 and row["accuracy"] == ROW["accuracy"]
    assert row["changes"] == ["losses.cross_entropy.label_smoothing=0.1"]
    data = json.loads((path / "data.json").read_text())
    assert data["mirrors"] is True and data["digest"] == row["data_digest"] and len(data["digest"]) == 8
    own, elsewhere = run.joined_times
    assert (own["latency_ms_low"], own["interrupted"], own["accuracy"], own["scored_in"]) == (1.9, True, 91.0, "bf16")
    assert elsewhere["dataset"] == "mnist" and "accuracy" not in elsewhere and not elsewhere["interrupted"]
    assert "accuracy" not in (path / "times" / "desk-2-cores-converted.jsonl").read_text()
    (session,) = json.loads((path / "times" / "desk-2-cores-converted.json").read_text())["sessions"]
    assert session["clock"] == {} and "rows" not in session
    assert run.setting("losses.exits.label_smoothing") == 0.1 and run.setting("losses.consistency.weight") == 0.01
    assert run.setting("study.kind") == "exits" and run.setting("parents.weights.config") == "deepest"
    first, second, third, last = run.setting("changes")
    assert (first, second) == ("losses.budget.weight=3.0", "losses.consistency.weight=0.01")
    assert (third, last) == ("study.budgets=[0.5]", "training.epochs=3")
    names = {each.name for each in path.iterdir()}
    assert names == {"rows.jsonl", "summary.json", "recipe.yaml", "data.json", "columns.json", "epochs.csv", "times"}
    assert json.loads((path / "summary.json").read_text())["digest"] == "v1:0a"
    monkeypatch.setattr(sys, "argv", ["convert", str(tmp_path / "new")])
    capsys.readouterr()
    converter.main()
    assert "is in the present layout" in capsys.readouterr().out
