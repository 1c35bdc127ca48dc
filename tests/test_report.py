"""Fronts, comparisons and reports: from run folders, honest or not, to tables and pictures."""

import csv
import html
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
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from gatebench.report import sheet
from gatebench.report.baseline import baseline_sheet
from gatebench.report.claims import exit_sheets, findings_sheet, realised_sheets, training_sheets
from gatebench.report.comparison import NOT_MEASURED, comparison_sheets
from gatebench.report.front import AXES, Panel, Point, cheapest, most_accurate, panels
from gatebench.report.front_figure import front
from gatebench.report.latency_table import sheets as time_sheets
from gatebench.report.latency_table import show as show_times
from gatebench.report.published import printed
from gatebench.report.published.audit import audit
from gatebench.report.quantities import value_of
from gatebench.report.results import every_way, groups, read_runs

ROW = {
    "model": "cosinegate", "recipe": "balanced", "changes": [], "digest": "0a", "dataset": "cifar10", "split": "test", "seed": 0,
    "epochs": 160, "recipe_epochs": 160, "device": "cpu", "machine": "desk, 2 cores", "threads": 1, "batch_size": 250,
    "schedule": "cosine 0.1", "precision": "bf16", "runtime": "torch", "execution": "sparse",
    "accuracy": 91.0, "accuracy_low": 90.4, "accuracy_high": 91.5, "accuracy_peak": 91.2,
    "peak_epoch": 2, "mean_gate_soft": 0.7, "mean_gate_hard": 0.75, "skip_pct": 25.0, "macs_dense": 40e6, "macs_executed": 30e6,
    "macs_ratio": 0.75, "audit": ["always on: blocks.0"],
}  # fmt: skip
TIMED = {"network": "net", "calls": 128, "rounds": 12, "noisy_rounds": 0, "latency_ms": 2.0,
         "latency_low": 1.9, "latency_high": 2.1, "speedup": 1.1, "speedup_low": 1.05,
         "speedup_high": 1.15, "rival": "its static twin", "batch_size": 1}  # fmt: skip


def write_run(path, times=(), **changes):
    """A finished run folder with one operating point, and rows of times."""
    row = {**ROW, **changes}
    path.mkdir(parents=True)
    rows = [row, *({**row, **TIMED, **each} for each in times)]
    (path / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    (path / "summary.json").write_text(json.dumps(row))
    (path / "recipe.yaml").write_text("model: {name: cosinegate, gate: {gamma: -2.5}}\nobjective: {budget: {weight: 3.0, target: 0.7}}\n")
    (path / "epochs.csv").write_text(
        "epoch,train_accuracy,test_accuracy,mean_gate_soft,mean_gate_hard\n1,50,51,0.9,1.0\n2,80,81,0.8,0.75\n"
    )
    return path


@pytest.fixture
def results(tmp_path):
    """Two seeds of a gated network, a static one, and another data set; timed on two machines."""
    for seed, accuracy in ((0, 91.0), (1, 91.4)):
        elsewhere = {"machine": "rack, 64 cores", "latency_ms": 0.5, "latency_low": 0.4, "latency_high": 0.6}
        write_run(tmp_path / f"gated-{seed}", [{}, elsewhere], seed=seed, accuracy=accuracy)
    static = {"model": "resnet20", "recipe": "default", "digest": "0b", "accuracy": 92.0, "accuracy_low": 91.5, "accuracy_high": 92.5,
              "macs_executed": 40e6, "macs_ratio": 1.0, "audit": []}  # fmt: skip
    path = write_run(tmp_path / "static", [{"latency_ms": 2.5, "latency_low": 2.4, "latency_high": 2.6}], **static)
    bare = [json.loads(line) for line in (path / "rows.jsonl").read_text().splitlines()]
    for row in bare:
        for key in ("mean_gate_soft", "mean_gate_hard", "skip_pct"):
            del row[key]
    (path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in bare))
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
    assert {("LAG", "Results"), ("Confidence-gated training", "Results")} <= names
    sheets = comparison_sheets(groups(read_runs(results)[0]))
    assert len(sheets) == len(names)
    for table, made in zip(printed(), sheets, strict=True):
        for line in table.lines:
            beside = [cells[1] for cells in made.lines if cells[0] == line.label]
            assert beside[0] == "published"
            assert any(NOT_MEASURED in each or each.startswith("measured") or line.match is None for each in beside[1:])


def test_a_comparison_shows_mean_difference_and_what_keeps_it_from_comparing(results):
    (table,) = [each for each in comparison_sheets(groups(read_runs(results)[0])) if each.name == "cosinegate-table-2"]
    rows = [dict(zip(table.headings, line, strict=True)) for line in table.lines if line[0] == "CosineGate Balanced"]
    published, measured, difference = rows
    assert published["accuracy % at the end"] == "91.3" and measured["accuracy % at the end"] == "91.20 ± 0.28 (88.66 to 93.74)"
    assert difference["accuracy % at the end"] == "-0.10" and difference["skip % at the end"] == "+1.50"
    assert measured["skip % at peak"] == "20.00 ± 0.00 (20.00 to 20.00)" and measured["accuracy % at epoch 100"] == NOT_MEASURED
    assert measured["comparable"] == "yes" and measured["audit of ours"] == "always on"
    write_run(results / "short", digest="0d", epochs=15, changes=["training.learning_rate=0.2"])
    (table,) = [each for each in comparison_sheets(groups(read_runs(results)[0])) if each.name == "cosinegate-table-3"]
    assert any("15 epochs, not 160; changed: training.learning_rate=0.2" in cell for line in table.lines for cell in line)


def test_only_seeds_of_one_setting_are_averaged(tmp_path):
    for number, changes in enumerate((
        {"seed": 0, "accuracy": 88.0}, {"seed": 1, "accuracy": 90.0}, {"accuracy": 50.0, "digest": "0e", "changes": ["model.gate.gamma=5"]},
        {"accuracy": 99.0, "dataset": "mnist"}, {"accuracy": 70.0, "device": "cuda"}, {"accuracy": 89.0, "machine": "rack"},
    )):  # fmt: skip
        ends = {"accuracy_low": changes["accuracy"] - 0.6, "accuracy_high": changes["accuracy"] + 0.5}
        write_run(tmp_path / str(number), epochs=15, **ends, **changes)
    sheets = training_sheets(groups(read_runs(tmp_path)[0]))
    assert [each.title for each in sheets] == [
        "cifar10 (test), 15 epochs, cosine 0.1, bf16 on CPU", "cifar10 (test), 15 epochs, cosine 0.1, bf16 on CUDA",
        "mnist (test), 15 epochs, cosine 0.1, bf16 on CPU",
    ]  # fmt: skip
    lines = {line[0] + line[1]: line[2] for line in sheets[0].lines}
    name = "cosinegate balanced (recipe: 160 epochs"
    assert lines[f"{name})0, 1"] == "89.00 ± 1.41 (76.29 to 101.71)" and lines[f"{name}, model.gate.gamma=5)0"] == "50.00 (49.40 to 50.50)"
    assert lines[f"{name})0"] == "89.00 (88.40 to 89.50)"  # seed 0 again, elsewhere: not averaged with itself
    labels = [group.label for group in groups(read_runs(tmp_path)[0]) if group.row["dataset"] == "cifar10"]
    assert len(set(labels)) == len(labels) == 4


def exit_run(path, recipe, seed, accuracy, ratio, **changes):
    """A run of exits at one budget, of a recipe that is to beat joint."""
    also = {"tradeoff": 0.5, "policy": "max-softmax, one threshold", "thresholds": [0.9], "shares": [0.6, 0.4]}
    also = {"digest": recipe, **also, **changes}
    write_run(path / f"{recipe}-{seed}", model="cgt", recipe=recipe, seed=seed, accuracy=accuracy, macs_ratio=ratio, **also)
    (path / f"{recipe}-{seed}" / "recipe.yaml").write_text("baseline: joint\n" if recipe != "joint" else "{}\n")


def test_a_method_stands_beside_its_baseline_seed_by_seed(tmp_path):
    for seed, (joint, soft) in enumerate(((91.0, 91.5), (92.0, 92.1), (93.0, 93.3))):
        exit_run(tmp_path, "joint", seed, joint, 0.50)
        exit_run(tmp_path, "soft", seed, soft, 0.48)
    exit_run(tmp_path, "hard", 7, 90.0, 0.5)
    found = groups(read_runs(tmp_path)[0])
    hard, soft = [dict(zip(baseline_sheet(found).headings, line, strict=True)) for line in baseline_sheet(found).lines]
    assert soft["seeds"] == "0, 1, 2" and soft["accuracy %"] == "92.30 / 92.00" and soft["executed MACs %"] == "48.0 / 50.0"
    half = 4.302653 * 0.2 / 3**0.5  # Student's, two degrees of freedom; the differences are 0.5, 0.1, 0.3
    assert soft["more accurate by"] == f"+0.30 ({0.3 - half:+.2f} to {0.3 + half:+.2f})"
    assert soft["more MACs by"].startswith("-2.0 (-2.0")
    assert hard["accuracy %"] == "no seed in common"
    (sheet,) = exit_sheets(found)
    assert len(sheet.lines) == 3 and sheet.lines[0][5] == "60.0 / 40.0"
    assert baseline_sheet([group for group in found if group.row["recipe"] == "joint"]) is None
    before = baseline_sheet(found).lines
    exit_run(tmp_path, "joint", 8, 50.0, 0.5, digest="1b", schedule="cosine 0.5")  # what was trained otherwise does not compare
    exit_run(tmp_path, "joint", 9, 50.0, 0.5, digest="2c", changes=["training.weight_decay=0.1"])
    assert baseline_sheet(groups(read_runs(tmp_path)[0])).lines == before


def test_a_method_stands_beside_each_of_its_baselines(tmp_path):
    for recipe, accuracy in (("joint", 91.0), ("annealed", 92.0), ("hard", 93.0)):
        exit_run(tmp_path, recipe, 0, accuracy, 0.5)
    (tmp_path / "hard-0" / "recipe.yaml").write_text("baseline: [joint, annealed, missing, 7]\n")
    sheet = baseline_sheet(groups(read_runs(tmp_path)[0]))
    beside = [("cgt annealed", "cgt joint", "+1.00"), ("cgt hard", "cgt joint", "+2.00"), ("cgt hard", "cgt annealed", "+1.00")]
    assert [(line[2], line[6], line[8]) for line in sheet.lines] == [*beside, ("cgt hard", "missing", "")]


def test_a_mean_that_is_a_whole_number_keeps_its_spread(tmp_path):
    for seed, last in enumerate((0.19, 0.21)):
        exit_run(tmp_path, "soft", seed, 93.0, 0.5, shares=[0.8 - last, 0.2, last])
    (table,) = [sheet for sheet in comparison_sheets(groups(read_runs(tmp_path)[0])) if sheet.name.startswith("confidence-gated")]
    (measured,) = [dict(zip(table.headings, line, strict=True)) for line in table.lines if line[1].startswith("measured")]
    assert measured["at exit 3 %"].startswith("20.00 ± 1.41 (")


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
        ways = [{**first, "policy": policy, "tradeoff": budget, "thresholds": [budget]} for policy, budget in others]
        rows.write_text("".join(json.dumps(row) + "\n" for row in (first, *ways)))
    runs, _ = read_runs(tmp_path)
    sheet = baseline_sheet(every_way(runs))
    one_threshold, one_each = "max-softmax, one threshold", "max-softmax, one each"
    assert [(line[3], line[4], line[8]) for line in sheet.lines] == [
        (one_threshold, "50", "+1.00"), (one_threshold, "80", "+1.00"), (one_each, "50", "+1.00")
    ]  # fmt: skip


def test_budgets_for_which_a_network_runs_alike_with_every_seed_are_one(tmp_path):
    also = {"model": "cgt", "policy": "max-softmax, one threshold", "shares": [0.6, 0.4], "macs_ratio": 0.5}
    for recipe, last in (("soft", 0.9), ("joint", 0.95)):  # the second seed of joint uses the largest budget
        for seed, thresholds in enumerate(((0.8, 0.9, 0.9), (0.8, 0.9, last))):
            run = write_run(tmp_path / f"{recipe}-{seed}", recipe=recipe, seed=seed, **also, thresholds=[0.9], tradeoff=0.5)
            rows = [
                {**ROW, **also, "recipe": recipe, "digest": recipe, "seed": seed, "tradeoff": budget, "thresholds": [each],
                 "accuracy": 100 * each - 0.1 * seed}
                for budget, each in zip((0.5, 0.65, 0.8), thresholds, strict=True)
            ]  # fmt: skip
            timed = [{**rows[0], **TIMED, "execution": execution} for execution in ("sparse", "masked")]
            (run / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (*rows, *timed)))
            (run / "recipe.yaml").write_text("baseline: joint\n" if recipe == "soft" else "{}\n")
    runs, _ = read_runs(tmp_path)
    found = groups(runs)
    (panel,) = panels([], found, "macs_executed")
    labels = [
        "cgt joint, budget 50 %",
        "cgt joint, budget 65 %",
        "cgt joint, budget 80 %",
        "cgt soft, budget 50 %",
        "cgt soft, budget 65, 80 %",
    ]
    assert sorted(point.label for point in panel.points) == labels
    (sheet,) = exit_sheets(found)
    assert [line[:2] for line in sheet.lines if "soft" in line[0]] == [("cgt soft", "50"), ("cgt soft", "65, 80")]
    beside = [(line[4], line[7], line[8]) for line in baseline_sheet(found).lines]
    assert [line[0] for line in beside] == ["50", "65", "80"]
    assert beside[2][1] == "89.95 / 92.45"
    assert len(panels(runs, found, "latency_ms")[0].points) == 4  # masked and sparse stay apart


def test_numbers_in_the_picture_cover_neither_points_nor_each_other():
    crowd = [(10.0 + 0.01 * number, 90.0 + 0.05 * number) for number in range(8)] + [(1.0, 80.0), (20.0, 91.0)]
    figure = front([Panel("macs_executed", "data", "test", None, points(crowd), [])])
    figure.canvas.draw()
    (axes,) = figure.axes
    numbers = [text.get_window_extent() for text in axes.texts if text.get_text().isdigit()]
    assert len(numbers) == 9
    (listed,) = [text.get_text() for text in axes.texts if not text.get_text().isdigit()]
    assert listed.endswith("below: 8") and len(listed.splitlines()) == 10, "far below the others: named, not numbered"
    assert not any(first.overlaps(second) for place, first in enumerate(numbers) for second in numbers[:place])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["on the front"], "what does not occur is not explained"


def test_what_lies_far_below_is_named_and_not_explained():
    best, low = points([(20.0, 91.0), (10.0, 80.0)])
    printed = [replace(best, label="printed", y=90.0), replace(low, label="misprinted")]
    (axes,) = front([Panel("macs_executed", "data", "test", None, [best, replace(low, x=30.0, static=True)], printed)]).axes
    assert [text.get_text() for text in axes.texts] == ["1", "a", "1  0\na  printed\nbelow: 2 more"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["on the front", "letters: published, at the MACs claimed"]


def test_what_the_audit_found_is_told_in_full_once_and_in_short_beside_the_row(results):
    found = groups(read_runs(results)[0])
    assert ("cifar10", "cosinegate balanced", "0, 1", "always on: blocks.0") in findings_sheet(found).lines
    (cifar, _) = training_sheets(found)
    assert [dict(zip(cifar.headings, line, strict=True))["audit"] for line in cifar.lines] == ["-", "always on"]


def test_times_of_two_machines_are_in_tables_of_their_own(results):
    desk, rack = realised_sheets(read_runs(results)[0])
    assert "desk, 2 cores; cpu, torch, 1 thread, batch 1; 128 calls x 12 rounds (0 noisy)" in desk.title and "rack" in rack.title
    assert (len(desk.lines), len(rack.lines)) == (3, 2)


@pytest.mark.parametrize(
    "width, changes", [(80, {}), (60, {}), (80, {"latency_p99": 1e4, "latency_p99_low": 9e3, "latency_p99_high": 2e4})]
)
def test_times_lose_no_digit_in_a_narrow_terminal(width, changes):
    """Those of the committed runs, at batch 1 and 64."""
    runs, _ = read_runs(Path(__file__).parents[1] / "results")
    times = [{**row, **changes} for run in runs for row in run.times]
    for row in times:
        console = Console(width=width, file=io.StringIO())
        show_times(console, [row])
        shown = console.file.getvalue().split()
        figures = [word.strip("()") for sheet in time_sheets([row]) for line in sheet.lines for cell in line[1:] for word in cell.split()]
        assert set(figures) - {"-", "its", "static", "twin"} <= set(shown), row["network"]
        assert row["network"].split()[0] in shown


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


def test_images_of_one_severity_are_a_part_of_their_own(tmp_path):
    for number, (severity, accuracy) in enumerate(((None, 80.0), ("clean", 94.0), ("severe", 70.0))):
        ends = {"accuracy": accuracy, "accuracy_low": accuracy - 1, "accuracy_high": accuracy + 1, "dataset": "intel", "model": "router"}
        also = {"severity": severity} if severity else {}
        write_run(tmp_path / str(number), tradeoff=0.8, digest="0a", **ends, **also)
    found = groups(read_runs(tmp_path)[0])
    assert [panel.split for panel in panels([], found, "macs_executed")] == ["test", "test, clean", "test, severe"]
    tables = {sheet.name: sheet for sheet in comparison_sheets(found)}
    measured = {
        name: [line for line in tables[f"routing-beats-latency-table-{name}"].lines if line[1].startswith("measured")] for name in "23"
    }
    assert [line[2][:5] for line in measured["2"]] == ["80.00"] and [line[2][:5] for line in measured["3"]] == ["94.00"]


def test_networks_are_told_apart_by_the_wider_of_seeds_and_each_run_s_own_interval(tmp_path):
    """Two seeds that happen to agree do not make an interval of nothing."""
    for name, digest, accuracy in (("a", "0a", 88.01), ("b", "0b", 88.0)):
        for seed in (0, 1):
            own = {"accuracy": accuracy, "accuracy_low": accuracy - 0.6, "accuracy_high": accuracy + 0.6}
            write_run(tmp_path / f"{name}{seed}", seed=seed, recipe=name, digest=digest, **own)
    (panel,) = panels([], groups(read_runs(tmp_path)[0]), "macs_executed")
    assert panel.states() == ["front", "tied"]
    assert panel.points[1].y_low == pytest.approx(87.4) and panel.points[1].y_high == pytest.approx(88.6)


HOSTILE = "<script>alert(1)</script> [red]x[/red] | \\input{/etc/passwd} =1+1 ../../up"


def test_what_is_broken_or_made_to_mislead_is_left_out_with_a_line(results, gatebench, tmp_path):
    write_run(results / "half").joinpath("summary.json").unlink()
    write_run(results / "torn").joinpath("rows.jsonl").write_text('{"model": "cosine')
    write_run(results / "old", accuracy="high")
    write_run(results / "endless", accuracy=float("inf"))
    write_run(results / "deep").joinpath("rows.jsonl").write_text("[" * 100_000)
    write_run(results / "listed").joinpath("rows.jsonl").write_text("[1]\n")
    write_run(results / "piped").joinpath("rows.jsonl").unlink()
    os.mkfifo(results / "piped" / "rows.jsonl")
    write_run(results / "bytes").joinpath("rows.jsonl").write_bytes(b"\xff\xfe\x00")
    (results / "loop").symlink_to(results)
    write_run(
        results / "b [bold]<i>", model=HOSTILE, recipe=HOSTILE, digest="0e", machine=HOSTILE, audit=[HOSTILE], times=[{"network": HOSTILE}]
    )
    write_run(results / "free", times=[{"latency_ms": 0}])
    write_run(results / "nameless", times=[{"recipe": 3}])
    write_run(results / "crowd", thresholds=[0.5], tradeoff=0.5, shares=[0.0001] * 5000)
    (results / "again").symlink_to(results / "static")
    (results / "begun").mkdir()
    (results / "begun" / "machine.json").write_text("{}")
    runs, left_out = read_runs(results)
    bad = ("half", "torn", "old", "endless", "deep", "listed", "piped", "bytes", "free", "nameless", "crowd", "static", "begun")
    assert len(runs) == 5 and all(line.split(":")[0] in bad for line in left_out) and len(left_out) == len(bad), left_out
    done = gatebench("report", str(results), "--out", str(tmp_path / "page"))
    assert done.returncode == 0 and "Traceback" not in done.stderr and done.stderr.count("left out") == len(bad)
    page = (tmp_path / "page" / "report.html").read_text()
    assert "<script" not in page and html.escape("<script>alert(1)</script>") in page
    assert "\\input{" not in (tmp_path / "page" / "report.tex").read_text()
    assert "<script" not in (tmp_path / "page" / "report.md").read_text()
    assert {path.parent for path in (tmp_path / "page").rglob("*")} == {tmp_path / "page"}
    shown = gatebench("pareto", str(results))
    assert shown.returncode == 0 and "[red]" in shown.stdout


BOMB = "data: &a [x, x, x]\nmodel: " + "".join(f"&l{n} [" for n in range(8)) + "*a" + "]" * 8


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("recipe.yaml", "[" * 200_000),
        ("recipe.yaml", BOMB),
        ("recipe.yaml", "baseline: joint\nmodel: {depth: .nan}\nobjective: {budget: {weight: " + "9" * 400 + "}}"),
        ("recipe.yaml", "a: [" + "x, " * 300_000 + "]"),
        ("recipe.yaml", b"\xff\xfe\x00"),
        ("epochs.csv", "epoch,train_accuracy,test_accuracy,mean_gate_soft\n1,50,51,0.9\n2,80"),
        ("epochs.csv", "epoch,test_accuracy\n1,nan\n2,inf\n3," + "9" * 400 + "\nx,1\n"),
        ("epochs.csv", 'epoch,test_accuracy\n1,"' + "x" * 200_000),
        ("epochs.csv", ",,,\n1,2,3,4,5,6,7\n"),
    ],
    ids=["deep", "aliases", "numbers", "long", "bytes", "cut", "endless", "cell", "nameless"],
)
def test_a_recipe_or_epochs_made_to_mislead_break_nothing(results, gatebench, tmp_path, name, content):
    (results / "static" / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    done = gatebench("report", str(results), "--out", str(tmp_path / "page"))
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "resnet20 default" in (tmp_path / "page" / "report.md").read_text()


def test_control_characters_reach_no_output(results, gatebench, tmp_path):
    write_run(results / "odd\nname", model="a\x00b\x07\x1b[31mRED", recipe="\u202egnp \ud800", digest="0f", dataset="$\\frac{$")
    done = gatebench("pareto", str(results), "--out", str(tmp_path / "front.svg"))
    assert done.returncode == 0 and "\x1b" not in done.stdout
    assert gatebench("report", str(results), "--out", str(tmp_path / "page.md")).returncode == 0
    text = (tmp_path / "page.md").read_text()
    assert not any(each in text for each in "\x00\x07\x1b\u202e") and not (tmp_path / "report.html").exists()
    xml.etree.ElementTree.parse(next(tmp_path.glob("front*macs_executed.svg")))


def test_pareto_marks_the_front_and_answers_budgets(results, gatebench):
    done = gatebench("pareto", str(results), "--max-ms", "2.2", "--min-accuracy", "91.5")
    assert done.returncode == 0, done.stderr
    assert "* front" in done.stdout and "best under a budget" in done.stdout
    assert (results / "pareto-latency_ms.png").read_bytes().startswith(b"\x89PNG") and "<svg" in (
        results / "pareto-macs_executed.svg"
    ).read_text()
    answer = json.loads(gatebench("pareto", str(results), "--x", "latency_ms", "--max-ms", "2.2", "--json").stdout)
    assert [panel["machine"] for panel in answer["panels"]] == ["desk, 2 cores", "rack, 64 cores"]
    assert answer["best"][0]["networks"][0]["label"] == "cosinegate balanced"
    assert "--max-ms wants latency_ms" in gatebench.refused("pareto", str(results), "--x", "macs_executed", "--max-ms", "2", code=2)
    assert {point["state"] for panel in answer["panels"] for point in panel["points"]} <= {"front", "tied", "dominated"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pareto", "nowhere"], "There is no folder nowhere. Name the folder that"),
        (["pareto", "."], "there is no finished run"),
        (["pareto", ".", "--x", "latency"], "--x wants macs_executed, latency_ms or energy_mj, not 'latency'. Did you mean 'latency_ms'?"),
        (["report", ".", "--format", "htm"], "--format wants html, md, csv or tex, not 'htm'. Did you mean 'html'?"),
        (["report", "nowhere"], "There is no folder nowhere"),
        (["report", "."], "there is no finished run"),
        (["pareto", ".", "--max-ms", "nan"], "--max-ms wants a number above 0, not nan"),
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
        "try: app(sys.argv[1:])\n"
        "except SystemExit as end: print('torch' in sys.modules, end.code)"
    )
    for command in ("pareto", "report"):
        done = subprocess.run([sys.executable, "-c", code, command, str(results)], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "False 0", done.stderr


def test_csv_can_be_read_back_and_holds_no_formula():
    made = sheet.Sheet("name", "title", ("a", "b"), [("=SUM(A1)", "+1.5"), ('two\nlines, quoted "', "-")])
    assert list(csv.reader(sheet.to_csv(made).splitlines(keepends=True))) == [
        ["a", "b"],
        ["'=SUM(A1)", "+1.5"],
        ['two\nlines, quoted "', "-"],
    ]


def test_the_latex_compiles(results, gatebench, tmp_path):
    latex = shutil.which("pdflatex") or shutil.which("tectonic")
    if not latex:
        pytest.skip("neither pdflatex nor tectonic is installed")
    write_run(results / "hostile", model=HOSTILE, recipe=HOSTILE, digest="0e", audit=[HOSTILE + " 100 % ± {}$&#_^~"])
    assert gatebench("report", str(results), "--out", str(tmp_path / "page"), "--format", "tex").returncode == 0
    quiet = ["-interaction=nonstopmode", "-halt-on-error"] if "pdflatex" in latex else []
    done = subprocess.run([latex, *quiet, "report.tex"], cwd=tmp_path / "page", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
