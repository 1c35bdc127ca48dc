"""Channel gates in tables and pictures: channels.csv, networks that run nothing, what a mean gate says."""

import json

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL, trained_run
from test_channels import CASES, close, images, make
from test_pruned import learned
from test_report import write_run

from gatebench import recipe
from gatebench.figures import COLOURS, LINE
from gatebench.models.channels.absorbed import absorbed, with_gates
from gatebench.models.channels.pictures import densities, pictures
from gatebench.models.registry import create
from gatebench.report.document import Report
from gatebench.report.front import AXES, Panel, Point
from gatebench.report.front_figure import front
from gatebench.report.groups import groups
from gatebench.report.results import read_runs
from gatebench.report.run_figures import decisions
from gatebench.report.run_pictures import draw_all
from gatebench.runs import RunFolder

TRAIN = ["train", "lag-vgg11", *SMALL, "--epochs", "1", "--set", "model.width=0.125"]
INPUT = ["--config", "input-hard", "--set", "model.gate.start=0.1"]
"""Gates of the input of which many are near 0, so that some change with the input."""
OFF = ["--set", "model.gate.start=-2", "--set", "model.inference=hard", "--set", "study.inference=[hard,soft,scaled]"]
"""Free gates that all end up off: they hardly move in an epoch."""


def rows_of(folder):
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


# channels.csv and its picture


@pytest.fixture(scope="module", params=["input-hard", "hard", "fbs"])
def run(request, tmp_path_factory):
    options = INPUT if request.param == "input-hard" else ["--config", request.param]
    return trained_run(tmp_path_factory.mktemp(request.param), *TRAIN, *options)


def decided(folder):
    """Decisions [N, S] of the headline."""
    kept = np.load(folder / "decisions.npz")
    return np.unpackbits(kept["decisions"], axis=1)[:, : int(kept["switches"])].astype(bool)


def test_the_table_of_channels_agrees_with_decisions_and_rows(run):
    table, rows, on = pd.read_csv(run / "channels.csv"), rows_of(run), decided(run)
    ways = [row["policy"] for row in rows]
    soft = [f"gate_{way}" for way in ways if "mean_gate_soft" in rows[0]]
    assert sorted(table.columns) == sorted(["layer", "channel", *(f"on_{way}" for way in ways), *soft])
    shares = table.drop(columns=["layer", "channel"])
    assert (shares >= 0).all(axis=None) and (shares <= 1).all(axis=None)
    assert list(dict.fromkeys(table["layer"])) == [f"layers.{number}" for number in range(8)]
    assert (table["channel"] == table.groupby("layer").cumcount()).all()
    assert on.shape == (80, len(table)) and np.allclose(table[f"on_{ways[0]}"], on.mean(0), atol=1e-5)
    for row in rows:
        assert table[f"on_{row['policy']}"].mean() == pytest.approx(row["mean_gate_hard"], abs=1e-5)
        if soft:
            assert table[f"gate_{row['policy']}"].mean() == pytest.approx(row["mean_gate_soft"], abs=1e-5)


def test_the_picture_of_channels_shows_what_the_table_says(run):
    table = pd.read_csv(run / "channels.csv")
    (axes,) = pictures(RunFolder(run))["channels"].axes
    layers = list(dict.fromkeys(table["layer"]))
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    ways = [row["policy"] for row in rows_of(run)]
    assert [text.get_text() for text in axes.get_xticklabels()] == layers
    for way in ways:
        assert lines.pop(f"on, {way}") == pytest.approx([100 * table[table["layer"] == each][f"on_{way}"].mean() for each in layers])
    ever = [100 * (table[table["layer"] == each][f"on_{ways[0]}"] > 0).mean() for each in layers]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx(ever)
    if f"gate_{ways[0]}" in table:
        gates = [100 * table[table["layer"] == each][f"gate_{ways[0]}"].mean() for each in layers]
        assert lines.pop("mean soft gate") == pytest.approx(gates)
    assert not lines


def test_neither_the_legend_nor_a_second_way_covers_the_first():
    """Two ways with the same channels: both are seen, and the legend stands above the axes."""
    layers = [f"layers.{number}" for number in range(8) for _ in range(4)]
    same = np.tile([1.0, 0.0, 1.0, 0.5], 8)
    figure = densities(pd.DataFrame({"layer": layers, "channel": 0, "on_hard": same, "gate_hard": same, "on_scaled": same}))
    figure.canvas.draw()
    (axes,) = figure.axes
    assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1 - 1
    first, second = (line for line in axes.lines if line.get_label().startswith("on,"))
    assert second.get_markerfacecolor() == "none" and second.get_markersize() > first.get_markersize() and second.get_linestyle() == "--"
    colours = [line.get_color() for line in axes.lines]
    assert colours == [*COLOURS[:2], LINE] and len({matplotlib.colors.to_hex(each) for each in colours}) == 3


def test_the_picture_is_drawn_anew_when_what_draws_it_is_newer(run, tmp_path, monkeypatch):
    runs, _ = read_runs(run)
    links, left_out = draw_all(runs, tmp_path)
    (name,) = links
    assert not left_out and {"channels", "decisions"} <= set(links[name])
    picture = tmp_path / links[name]["channels"]
    before = picture.stat().st_mtime_ns
    draw_all(runs, tmp_path)
    assert picture.stat().st_mtime_ns == before, "nothing changed"
    code = tmp_path / "pictures.py"
    code.write_text("newer")
    monkeypatch.setattr("inspect.getfile", lambda _: str(code))
    draw_all(runs, tmp_path)
    assert picture.stat().st_mtime_ns > before


# What is said of times


def test_times_hold_the_macs_of_what_ran(gatebench, run):
    """Of every call its own: at least what its decisions ask for, at most the whole network and its gates."""
    options = ["--inputs", "8", "--batch-size", "1,8", "--max-seconds", "1", "--threads", "1", "--json"]
    done = gatebench("profile-latency", str(run), *options)
    assert done.returncode in (0, 3), done.stderr
    raw = pd.read_csv(next(run.glob("times/*.csv")))
    sessions = json.loads(next(run.glob("times/*.json")).read_text())["sessions"]
    headline, asked = rows_of(run)[0], pd.read_parquet(run / "inputs.parquet")["macs_decided"].to_numpy()
    for row in json.loads(done.stdout):
        own = raw[(raw["batch_size"] == row["batch_size"]) & (raw["subject"] == row["execution"])]
        calls = own.groupby("call").first()
        assert row["timed_macs_executed"] == pytest.approx(calls["macs"].mean())
        assert calls["macs"].max() <= headline["macs_dense"] + headline["macs_gate"] + 1e-6
        (session,) = (each for each in sessions if each["batch_size"] == row["batch_size"])
        inputs = [asked[each].mean() for each in session["inputs"]]
        assert (calls["macs"] >= np.array(inputs) - 1e-6).all()
        assert headline["recipe"] == "hard" or list(session["chosen"]["layers"]) == [f"layers.{number}" for number in range(8)]


# Networks that run nothing


@pytest.fixture(scope="module")
def nothing(tmp_path_factory):
    """A run whose gates are off for every input."""
    return trained_run(tmp_path_factory.mktemp("nothing"), *TRAIN, "--config", "released", *OFF)


def test_a_network_that_runs_nothing_has_a_row_of_zeros(nothing):
    hard, soft, scaled = rows_of(nothing)
    for row in (hard, scaled):
        assert row["macs_executed"] == row["macs_decided"] == row["macs_ratio"] == row["mean_gate_hard"] == 0
        assert row["params_used"] == 10 and row["params_kept"] == pytest.approx(10 / soft["params_used"])  # the head's biases
    assert soft["macs_executed"] == soft["macs_dense"] and soft["params_kept"] == 1
    kinds = [finding.partition(":")[0] for finding in hard["audit"]]
    assert kinds == ["gate constant over inputs", "always off", "mean soft gate is not used"]


def test_a_network_that_runs_nothing_is_reported_and_not_on_the_front(gatebench, nothing, tmp_path):
    done = gatebench("report", str(nothing.parent), "--out", str(tmp_path / "report"), "--format", "html,md,csv,tex")
    assert done.returncode == 0 and "left out" not in done.stdout + done.stderr, done.stderr
    points = pd.read_csv(tmp_path / "report" / "points-1.csv").set_index("gates_run")
    assert points.loc["hard", "macs_executed"] == 0 and points.loc["hard", "saved_pct"] == 100
    assert points.loc["soft", "saved_pct"] == 0 and points.loc["soft", "params_kept"] == 1
    options = ["--x", "macs_executed", "--max-macs", "0.1", "--min-accuracy", "1", "--out", str(tmp_path / "front.png")]
    shown = gatebench("pareto", str(nothing.parent), *options)
    assert shown.returncode == 0 and shown.stdout.replace("\n", " ").count("(it executes nothing)") == 1, shown.stderr
    tables = gatebench("pareto", str(nothing.parent), *options[:2])
    assert tables.returncode == 0 and "0 of 3 networks are on the front" in tables.stdout, tables.stderr
    (panel,) = json.loads(gatebench("pareto", str(nothing.parent), *options, "--json").stdout)["panels"]
    assert sorted(point["state"] for point in panel["points"]) in (["constant", "constant", "dominated"], ["constant", "constant", "tied"])
    assert panel["hypervolume_pct"] == pytest.approx(rows_of(nothing)[0]["accuracy"])  # over all of the box's costs


@pytest.mark.slow
def test_a_sweep_that_ends_in_nothing_has_a_table_and_a_picture(gatebench, tmp_path):
    sweep = ["sweep-lambda", *TRAIN[1:], "--config", "released", *OFF, "--values", "0,0.1", "--out", str(tmp_path)]
    done = gatebench(*sweep)
    assert done.returncode == 0, done.stderr
    (table,) = tmp_path.glob("sweep-*.csv")
    lines = pd.read_csv(table)
    for weight in (0, 0.1):
        assert lines[lines["tradeoff"] == weight]["saved_pct"].max() == 100
    assert table.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_a_network_whose_gates_are_all_off_leaves_others_that_run_nothing():
    net, x = make("lag-vgg11"), images(4)
    with torch.no_grad():
        for gate in net.gates:
            gate.logits.fill_(-1.0)
        compact = create("lag-compact", 5, x.shape[1:], {"gated": net}).eval()
        assert close(compact.infer(x).logits, net.infer(x).logits)
        for retrained in (False, True):
            pruned = learned(net, channels={"kind": "decisions", "retrained": retrained}).infer(x)
            assert pruned.executed_macs.sum() == 0 and torch.equal(pruned.logits, pruned.logits[:1].expand(4, -1))


def panel(*points, static=()):
    made = [Point(str(number), x, x, x, y, y, y, static=number in static, runs_nothing=not x) for number, (x, y) in enumerate(points)]
    return Panel("macs_executed", "made-up", "test", None, made, [])


def test_what_runs_nothing_beats_others_and_is_on_no_front():
    shown = panel((0.0, 10.0), (0.0, 5.0), (0.02, 9.0), (3.0, 50.0))
    assert shown.states() == ["constant", "constant", "dominated", "front"]
    decades = np.log10(AXES["macs_executed"].most)
    assert shown.hypervolume() == pytest.approx((10 * np.log10(3) + 50 * (decades - np.log10(3))) / decades)
    figure = front([shown, panel((0.0, 10.0), (0.0, 5.0))])  # a panel of nothing else, too
    figure.canvas.draw()
    assert [axes.get_xscale() for axes in figure.axes] == ["linear", "linear"]


def test_a_wide_range_of_costs_is_drawn_by_its_logarithm():
    narrow, wide = panel((25.0, 50.0), (200.0, 55.0)), panel((5.0, 50.0), (200.0, 55.0))
    figure = front([narrow, wide])
    figure.canvas.draw()
    assert [axes.get_xscale() for axes in figure.axes] == ["linear", "log"]
    for axes, each in zip(figure.axes, (narrow, wide), strict=True):
        low, high = axes.get_xlim()
        assert 0 < low < min(point.x for point in each.points) and high > 200


def test_the_line_of_the_static_networks_joins_the_best_of_them():
    figure = front([panel((10.0, 50.0), (20.0, 47.0), (30.0, 52.0), (30.0, 55.0), static=(0, 1, 3))])
    (line,) = (each for each in figure.axes[0].lines if each.get_linestyle() == ":" and len(each.get_xdata()))
    assert line.get_xdata().tolist() == [10, 30] and line.get_ydata().tolist() == [50, 55]


def test_names_beside_a_front_tell_long_ones_apart():
    name = "lag-resnet18 released, L1 weight (fbs: density) 0.0001, {}, model.width=0.25"
    points = [Point(name.format(way), x, x, x, y, y, y) for way, x, y in (("hard", 1.0, 50.0), ("scaled", 2.0, 55.0))]
    (axes,) = front([Panel("macs_executed", "made-up", "test", None, points, [])]).axes
    named = {" ".join(text.get_text().split()) for text in axes.texts}
    assert {name.format(way) for way in ("hard", "scaled")} <= named


def test_labels_name_a_trade_off_once(tmp_path):
    gated = {"model": "lag-vgg11", "recipe": "released", "policy": "soft", "dataset": "cifar100"}
    for number, (weight, width) in enumerate(((1e-4, []), (0.01, []), (0.01, ["model.width=0.25"]))):
        changes = [*width, f"losses.sparsity.weight={weight}"]
        folder = write_run(tmp_path / str(number), **gated, tradeoff=weight, changes=changes, digest=str(number))
        (folder / "recipe.yaml").write_text("tradeoff: losses.sparsity.weight\n")
    labels = [group.label for group in groups(read_runs(tmp_path)[0])]
    assert len(set(labels)) == 3 and not any("sparsity" in label for label in labels)
    assert sum("model.width=0.25" in label for label in labels) == 1


def test_curves_are_of_the_runs_that_change_least_and_say_what_they_change(tmp_path):
    gated = {"model": "lag-vgg11", "dataset": "cifar100", "policy": "soft"}
    for number, (name, changes) in enumerate(
        (
            ("released", ["model.width=0.25"]), ("released", []),
            ("input", ["model.width=0.25", "training.learning_rate=0.1"]), ("input", ["model.width=0.1", "a.b=1", "c.d=1"]),
        )
    ):  # fmt: skip
        write_run(tmp_path / f"{number}", **gated, recipe=name, changes=changes, digest=str(number))
    sections = Report(read_runs(tmp_path)[0]).sections
    (picture,) = (each for section in sections if section.title == "Over the epochs" for each in section.pictures)
    labels = [text.get_text() for text in picture.figure.legends[0].get_texts()]
    assert labels == ["lag-vgg11 input s0, model.width=0.25", "lag-vgg11 released s0"]


@pytest.mark.parametrize("share, said", [(np.ones(100), "class: 24 of 100"), (np.linspace(0, 1, 100), "class: 12 for which most runs")])
def test_classes_are_called_those_for_which_most_runs_only_where_that_differs(share, said):
    figure = decisions("made up", ["layers.0"], share[:, None], {"class": (np.arange(100), [str(each) for each in range(100)])})
    assert figure.axes[0].get_xlabel().startswith(said)


# What the mean gate says


@pytest.mark.parametrize("kind", ["free", "input"])
@pytest.mark.parametrize("name", CASES)
def test_the_mean_soft_gate_of_a_network_that_is_run_hard_may_be_anything(name, kind):
    """At a very high temperature gates are 1/2, at a very low one they are 0 or 1; both between the bounds that the audit gives."""
    net, x = make(name, kind), images(8)
    (finding,) = absorbed(net, x)
    on = net.infer(x).decisions.float().mean().item()
    assert 0 < on < 1
    assert finding == (
        f"mean soft gate is not used: run hard, a channel is on or off; with these channels on ({100 * on:.1f} %) the logits are the same"
        f" at any mean gate from {on / 2:.2f} to {0.5 + on / 2:.2f}"
    )
    for temperature, mean in ((1e6, 0.5), (1e-6, on)):
        other = make(name, kind)
        for gate in other.gates:
            gate.temperature.fill_(temperature)
        with torch.no_grad():
            changed, own = other.infer(x), net.infer(x)
        assert torch.equal(changed.logits, own.logits) and changed.gates.mean().item() == pytest.approx(mean, abs=1e-3)


def test_free_gates_that_scale_what_is_on_are_absorbed_with_the_same_channels_on():
    net, x = make("lag-vgg11", inference="scaled"), images(8)
    moved = with_gates(net, 0.5)
    with torch.no_grad():
        before, after = net.infer(x), moved.infer(x)
    assert torch.equal(before.decisions, after.decisions) and 0 < before.decisions.float().mean() < 1
    assert close(after.logits, before.logits)
    means = [float(each.gates.mean()) for each in (before, after)]
    (finding,) = absorbed(net, x)
    assert means[0] > means[1] + 0.1
    assert finding.startswith(f"mean gate is absorbed: equal logits at mean gate {means[0]:.2f} and {means[1]:.2f},")


# Free gates that are hard in training


@pytest.mark.parametrize("name", CASES)
def test_free_gates_that_are_hard_in_training_switch_channels_off_and_are_trained(name):
    net, x = make(name, gate={"estimator": "straight-through"}), images(8)
    output = net(x)
    on = torch.cat([gate.logits for gate in net.gates]) > 0
    assert 0 < on.float().mean() < 1 and torch.equal(output.gates > 0.5, on.expand_as(output.gates))
    with torch.no_grad():
        assert close(output.logits.detach(), net.infer(x, "masked", on[None].expand(8, -1), policy="hard").logits)
        assert not close(output.logits.detach(), make(name)(x).logits, 1e-2)  # soft ones give others
    gradient = gradients(net, output)
    assert gradient[on].max() > 0 and gradient.isfinite().all()


@pytest.mark.parametrize("name", ["lag-vgg11", "lag-resnet18"])
def test_a_channel_that_is_off_in_training_may_come_back(name):
    net = make(name, gate={"estimator": "straight-through"})
    gradients(net, net(images(8)))
    off = [gate.logits.grad[gate.logits <= 0].abs() for gate in net.gates if (gate.logits <= 0).any()]
    learning = [bool(each.max() > 0) for each in off]
    assert sum(learning) >= len(learning) - 1, "but for a layer that is read by one that is off as a whole"


def gradients(net, output):
    """Of every free gate, its size."""
    output.logits.square().sum().backward()
    return torch.cat([gate.logits.grad for gate in net.gates]).abs()


@pytest.mark.parametrize("family, model", [("lag-vgg", "lag-vgg11"), ("lag-resnet", "lag-resnet18")])
def test_a_recipe_keeps_its_digest_when_a_default_is_named(family, model):
    plain = recipe.load(family, model, "released").resolved()
    changes = [[f"model.gate.estimator={each}"] for each in ("soft", "straight-through")]
    named, hard = (recipe.load(family, model, "released", each).resolved() for each in changes)
    assert plain.digest() == named.digest() != hard.digest()
    assert plain.dump().replace("changes: []", "") == named.dump().replace("changes:\n- model.gate.estimator=soft", "")
    assert "estimator" not in plain.dump()
