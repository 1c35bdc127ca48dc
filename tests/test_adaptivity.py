"""What deciding per input is worth beside decisions that are the same for every input."""

import contextlib
import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from conftest import GATED, STATIC

from gatebench.contract import GatedModel, Output, Unit
from gatebench.data.batches import Batches
from gatebench.data.images import Dataset, Images
from gatebench.evaluation.adaptivity import adaptivity, contenders, images_to_choose_on, leaves_out, patterns
from gatebench.evaluation.explained import explained_by_running
from gatebench.evaluation.fixed import FixedChoices, Mix
from gatebench.evaluation.outcome import collect
from gatebench.evaluation.row import ADAPTIVITY
from gatebench.models.registry import create
from gatebench.runs import RunFolder

CHANNELS = ["--set", "model.width=0.125", "--set", "data.shapes.image_size=32", "--set", "data.shapes.test=40",
            "--set", "losses.sparsity.weight=30"]  # fmt: skip
"""Some of whose channels go off in an epoch."""
FIXED = FixedChoices(np.array([0.5, 0.8, 0.7]), np.array([10.0, 30.0, 40.0]), "validation")
"""The second of three choices is the best."""


def right(share, count=1000):
    return np.arange(count) < share * count


def test_at_equal_macs_two_choices_are_mixed():
    mix = FIXED.mix
    assert mix.shares(FIXED.macs, 15.0) == {0: pytest.approx(0.75), 1: pytest.approx(0.25)}
    assert mix.shares(FIXED.macs, 30.0) == mix.shares(FIXED.macs, 99.0) == {1: 1} and mix.shares(FIXED.macs, 1.0) == {0: 1}
    misled = Mix.chosen_on(np.array([0.9, 0.1]), np.array([10.0, 30.0]))  # validation says the cheap one is the better one
    assert misled.accuracy(np.array([0.0, 1.0]), np.array([10.0, 30.0]), 99.0) == 0.0


def test_the_gain_is_over_the_mix_and_the_best_fixed_choice_costs_no_more():
    row = FIXED.columns(right(0.7), np.full(1000, 20.0), lambda choice: right([0.4, 0.6, 1.0][choice]))
    assert set(row) == set(ADAPTIVITY)
    assert row["adaptivity_gain"] == pytest.approx(70 - 50) and row["fixed_chosen_on"] == "validation"
    assert (row["fixed_accuracy"], row["fixed_macs"]) == (40, 10.0)
    dearer = FIXED.columns(right(0.7), np.full(1000, 99.0), lambda choice: right([0.4, 0.6, 1.0][choice]))
    assert dearer["adaptivity_gain"] == pytest.approx(10), "what is better on the scored part alone is not chosen"
    assert (dearer["fixed_accuracy"], dearer["fixed_macs"]) == (60, 30.0)
    cheaper = FIXED.columns(right(0.7), np.full(1000, 5.0), lambda choice: right([0.4, 0.6, 1.0][choice]))
    assert "fixed_accuracy" not in cheaper and cheaper["adaptivity_gain"] == pytest.approx(30)


def test_a_fixed_choice_that_answers_the_same_is_equal_for_certain():
    row = FIXED.columns(right(0.6), np.full(1000, 30.0), lambda choice: right(0.6))
    assert row["adaptivity_gain"] == row["adaptivity_gain_low"] == row["adaptivity_gain_high"] == 0


@pytest.mark.parametrize("low", [0.5, 0.1])
def test_the_interval_holds_the_truth_in_95_of_100_draws(low):
    """Also where what is spent moves the fixed choices' accuracy as much as who is right."""
    draw = np.random.default_rng(0)
    held, truth = 0, 0.8 - (low + 0.7) / 2 - 0.01 * (0.7 - low)  # of MACs 10 and 30, 20.2 are spent
    for _ in range(1000):
        spent = np.where(draw.random(500) < 0.49, 10.0, 30.0)
        easy = draw.random(500)
        answers = [easy < low, easy < 0.7]
        own = np.where(draw.random(500) < 0.5, easy < 0.8, draw.random(500) < 0.8)
        row = FixedChoices(np.array([low, 0.7]), np.array([10.0, 30.0]), "validation").columns(own, spent, answers.__getitem__)
        held += row["adaptivity_gain_low"] <= 100 * truth <= row["adaptivity_gain_high"]
    assert 925 <= held <= 970


def test_severities_of_an_image_are_one_draw():
    own, source = np.random.default_rng(0).random(100) < 0.8, np.arange(100)
    once = FIXED.columns(own, np.full(100, 30.0), lambda choice: right(0.7, 100), source)
    four = FIXED.columns(np.tile(own, 4), np.full(400, 30.0), lambda choice: np.tile(right(0.7, 100), 4), np.tile(source, 4))
    for name in ADAPTIVITY:
        assert four[name] == (pytest.approx(once[name]) if isinstance(once[name], float) else once[name])


class Signs(GatedModel):
    """Three switches, each on where its own pixel is bright. The class is that of the first pixel, where its switch is on; else 0."""

    def __init__(self):
        super().__init__()
        self.input_shape, self.macs_static, self.macs_gate = (3, 1, 1), 60, 4
        self.units = [Unit(f"switch.{number}", "block", 1, macs, 0) for number, macs in enumerate((30, 20, 10))]
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.imposed = 0

    def _infer(self, x, execution, decisions, policy):
        pixels = x.flatten(1)
        on = pixels > 0 if decisions is None else decisions
        self.imposed += decisions is not None
        score = torch.where(on[:, 0], pixels[:, 0], -1)
        return Output(torch.stack([-score, score], 1), None, on, count=self.counting(on, decisions is None))


def parts(pixels, labels, difficulty=None):
    images = Images(np.asarray(pixels, np.uint8)[:, None, None, :], np.asarray(labels), difficulty)
    return Batches(images, (0.5,) * 3, (0.5,) * 3, batch_size=100, device=torch.device("cpu"))


def test_patterns_are_the_commonest_and_those_on_the_way_from_all_on():
    bright = [[255, 0, 0]] * 5 + [[255, 255, 0]] * 3 + [[0, 0, 255]] * 2
    tried = patterns(Signs(), parts(bright, [0] * 10), "fp32").int().tolist()
    assert tried[:3] == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert tried[3:] == [[1, 1, 1], [0, 0, 0]], "on the way the switch goes off that is on for the fewest: the third, then the second"


@contextlib.contextmanager
def counting(what, total, unit):
    yield lambda done: None


class BesideATwin(Signs):
    """Its twin is the surer the brighter the second pixel is, and says that everything is of class 1."""

    def references(self):
        class Twin(torch.nn.Module):
            def forward(self, x):
                return torch.stack([torch.zeros(len(x)), x[:, 1, 0, 0]], 1)

        return {"its static twin": Twin()}


def test_how_much_of_the_decisions_the_input_explains():
    bright, labels = [[255, 200, 0], [255, 100, 0], [0, 0, 255], [0, 30, 0], [255, 90, 0], [0, 80, 0]] * 5, [1, 1, 0, 0, 1, 0] * 5
    on = np.array(bright) > 127.5
    net, scored = BesideATwin(), parts(bright, labels, difficulty=on @ [3, 2, 1])
    row = explained_by_running(net, scored, collect(net, scored, "fp32"), "fp32")
    kinds = [5, 10, 5, 10]  # first and second; first; third; none
    assert row["patterns"] == 4 and row["pattern_entropy"] == pytest.approx(-sum(n / 30 * math.log2(n / 30) for n in kinds))
    other = on[np.random.default_rng(0).permutation(30)]
    lost = 1.0 - (np.where(other[:, 0], [pixels[0] > 127.5 for pixels in bright], False) == np.array(labels))
    gained, error = 100 * lost.mean(), 196 * lost.std(ddof=1) / math.sqrt(30)
    assert row["matching_gain"] == pytest.approx(gained)
    assert (row["matching_gain_low"], row["matching_gain_high"]) == pytest.approx((gained - error, gained + error), rel=1e-3)
    assert row["difficulty_correlation"] == pytest.approx(1)
    signal = np.array(bright)[:, 1] / 127.5 - 1
    losses = np.log(1 + np.exp(np.where(np.array(labels) == 1, -signal, signal)))
    assert row["loss_correlation"] == pytest.approx(scipy.stats.spearmanr(on @ [30, 20, 10], losses).statistic)


def test_decisions_that_cost_the_same_are_related_to_nothing():
    net, scored = BesideATwin(), parts([[255, 0, 0], [0, 255, 200]], [1, 0], np.arange(2))  # 30, and 20 and 10
    row = explained_by_running(net, scored, collect(net, scored, "fp32"), "fp32")
    assert row["patterns"] == 2 and "matching_gain" in row and not {"loss_correlation", "difficulty_correlation"} & set(row)


def test_decisions_that_are_always_the_same_explain_nothing():
    net, scored = Signs(), parts([[255, 0, 0], [200, 0, 0]], [1, 0], np.arange(2))
    assert explained_by_running(net, scored, collect(net, scored, "fp32"), "fp32") == {"patterns": 1, "pattern_entropy": 0.0}


def test_fixed_decisions_are_chosen_on_one_part_and_scored_on_another():
    net = Signs()
    to_choose = [parts([[255, 0, 0], [0, 0, 0], [255, 255, 0], [0, 255, 0]], [1, 0, 1, 0])] * 2
    scored = parts([[255, 0, 0], [0, 0, 0], [255, 0, 255], [0, 255, 255]], [1, 0, 1, 1])
    outcome, seen = collect(net, scored, "fp32"), []

    @contextlib.contextmanager
    def counted(what, total, unit):
        done = []
        yield done.append
        seen.append((what, total))
        assert done == list(range(1, total + 1)) and unit == "patterns"

    row = adaptivity(net, "validation", to_choose, scored, outcome, "fp32", counted)
    (_, tried), (more, best) = seen
    assert more == "imposes the best of them on more images" and best <= tried
    assert net.imposed - tried - best <= 3, "of all patterns only those that the columns need are scored"
    # own: 3 of 4 right at 30 x 2 / 4 + 20 / 4 + 10 x 2 / 4 + 4 = 29; the first switch always on: as good at 30; none: 1 of 4 at 0
    assert outcome.executed.mean() == 29 and outcome.accuracy == 75
    assert row["adaptivity_gain"] == pytest.approx(75 - (75 * 29 / 30 + 25 * 1 / 30), abs=1e-6)
    assert (row["fixed_accuracy"], row["fixed_macs"], row["fixed_chosen_on"]) == (25, 0, "validation")


def test_what_the_scored_part_would_choose_is_not_chosen():
    """Where they are chosen, everything is of class 0, which all off says for nothing."""
    net, bright = Signs(), [[255, 0, 0], [0, 0, 0], [255, 255, 0], [0, 255, 0]]
    scored = parts([[255, 0, 0], [0, 0, 0], [255, 0, 255], [0, 255, 255]], [1, 0, 1, 1])
    row = adaptivity(net, "train", [parts(bright, [0] * 4)] * 2, scored, collect(net, scored, "fp32"), "fp32", counting)
    assert (row["adaptivity_gain"], row["fixed_accuracy"], row["fixed_macs"]) == (50, 25, 0)


def test_only_patterns_that_may_be_best_are_tried_on_more_images():
    draw = np.random.default_rng(0)
    accuracies = np.array([0.3, 0.70, 0.80, 0.805, 0.79, 0.40])
    macs = np.array([1.0, 5.0, 7.0, 8.0, 9.0, 10.0])
    right = draw.random((6, 2000)) < accuracies[:, None]
    assert contenders(right, macs, 9.5).tolist() == [2, 3, 4], "cheap and bad, or dear and bad, is never the answer"
    assert contenders(right, macs, 6.0).tolist() == [1, 2, 3, 4], "between two choices both are needed"
    assert len(contenders(np.tile(right[2], (20, 1)), np.arange(20.0), 10.0)) == 6


def test_where_no_part_is_put_aside_fixed_decisions_are_chosen_on_training_images():
    part = [Images(np.full((count, 1, 1, 3), value, np.uint8), np.arange(count)) for count, value in ((40, 1), (12, 2), (20, 3))]
    dataset = Dataset("d", ["a"], part[0], part[1], (0.5,) * 3, (0.5,) * 3)
    name, (first, more) = images_to_choose_on(dataset)
    assert name == "train" and (len(first), len(more)) == (4, 12) and (first.pixels == 1).all()
    assert not set(first.labels) & set(more.labels), "no image counts twice"
    name, (first, more) = images_to_choose_on(Dataset("d", ["a"], part[0], part[1], (0.5,) * 3, (0.5,) * 3, validation=part[2][:5]))
    assert name == "validation" and (len(first), len(more)) == (4, 1) and (first.pixels == 3).all()


def test_fixed_decisions_are_chosen_on_the_first_images_where_there_are_no_more():
    first, none = (parts(np.zeros((count, 3)), np.zeros(count, int)) for count in (4, 0))
    row = adaptivity(Signs(), "train", [first, none], first, collect(Signs(), first, "fp32"), "fp32", counting)
    assert row["adaptivity_gain"] == 0 and row["fixed_accuracy"] == 100


def test_what_leaves_nothing_out_is_not_compared():
    all_on = collect(Signs(), parts([[255, 255, 255]] * 3, [1, 1, 0]), "fp32")
    assert not leaves_out(all_on) and leaves_out(collect(Signs(), parts([[255, 255, 0]] * 3, [1, 1, 0]), "fp32"))


@pytest.mark.parametrize("gate, inference", [({"kind": "input"}, "hard"), ({"kind": "saliency", "density": 0.5}, "scaled")])
def test_of_many_channels_some_steps_are_tried(gate, inference):
    torch.manual_seed(0)
    net = create("lag-vgg11", 4, (3, 32, 32), width=0.125, gate=gate, inference=inference)
    draw = np.random.default_rng(0)
    images = Images(draw.integers(0, 256, (4, 32, 32, 3)).astype(np.uint8), draw.integers(0, 4, 4))
    batches = Batches(images, (0.5,) * 3, (0.25,) * 3, batch_size=4, device=torch.device("cpu"))
    tried = patterns(net, batches, "fp32")
    assert 1 <= len(tried) <= 24 and net.legal(tried).all() and len(torch.unique(tried, dim=0)) == len(tried)
    assert tried.all(1).any() == (inference == "hard"), "half of the channels of every layer must be on, or all may be"
    row = adaptivity(net, "train", [batches, batches], batches, collect(net, batches, "fp32"), "fp32", counting)
    costs = net.tally(tried, deciding=inference == "scaled").sum(1)
    assert any(row["fixed_macs"] == pytest.approx(float(each)) for each in costs), "without the gates, unless channels are scaled by them"


def test_with_saliencies_as_many_channels_of_a_layer_are_kept_as_must_be():
    net = create("lag-vgg11", 4, (3, 32, 32), width=0.125, gate={"kind": "saliency", "density": 0.25}, inference="scaled")
    order = torch.arange(net.switches - 1, -1, -1)  # the last channels of each layer first
    for width, gate, on in zip(net.widths, net.gates, net.by_layer(net.keeping(order, 3)[None]), strict=True):
        assert on[0].tolist() == [number >= width - gate.count for number in range(width)]


@pytest.mark.parametrize(
    "command, compared",
    [
        (("cosinegate", *GATED), {None}),
        (("lag-vgg11", "--config", "input", *STATIC, *CHANNELS), {"hard", "scaled"}),
    ],
)
def test_training_says_what_deciding_per_input_is_worth(gatebench, tmp_path, command, compared):
    gatebench.json("train", *command, "--out", str(tmp_path))
    (folder,) = tmp_path.iterdir()
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert {row.get("policy") for row in rows if "adaptivity_gain" in row} == compared
    for row in rows:
        assert set(ADAPTIVITY) & set(row) == (set(ADAPTIVITY) if row.get("policy") in compared else set()), "soft leaves nothing out"
        if row.get("policy") in compared:
            assert row["adaptivity_gain_low"] <= row["adaptivity_gain"] <= row["adaptivity_gain_high"]
            assert row["fixed_chosen_on"] == "train" and row["fixed_macs"] <= row["macs_executed"]


def test_finished_runs_get_the_columns_from_their_weights(gatebench, tmp_path):
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    import rescore

    gatebench.json("train", "lag-vgg11", "--config", "input", *STATIC, *CHANNELS, "--out", str(tmp_path / "there"))
    (trained,) = (tmp_path / "there").iterdir()
    today = rescore.rows_of(RunFolder(trained))
    before = [{key: value for key, value in row.items() if key not in ADAPTIVITY} for row in today]
    folder = RunFolder(shutil.copytree(trained, tmp_path / "here" / trained.name))
    (folder / "model.safetensors").unlink()

    def rescored(rows, *others):
        folder.write_rows(rows)
        folder.write_json("summary.json", rows[0])
        said = rescore.rescore(folder, list(others), tmp_path, torch.device("cpu"))
        return said, rescore.rows_of(folder)

    assert rescored(before) == ("no weights", before)
    said, rows = rescored(before, tmp_path / "there")
    assert said.startswith("2 of 3 rows; hard ") and [set(row) for row in rows] == [set(row) for row in today]
    for row, own in zip(rows, today, strict=True):
        assert row == {**own, **{name: pytest.approx(own[name]) for name in ADAPTIVITY[:5] if name in own}}
    assert folder.read_json("summary.json") == rows[0]
    doctored = [{**row, "accuracy": 50.0} for row in before]
    said, rows = rescored(doctored, tmp_path / "there")
    assert said.startswith("0 of 3 rows; hard: 10.00 % here, 50.00 % there") and rows == doctored
