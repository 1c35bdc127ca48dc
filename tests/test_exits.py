"""Networks with exits: their loss, their rules, what is chosen and how it is scored, against arithmetic written anew."""

import copy
import itertools
import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL, Command, copied
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from gatebench import trained
from gatebench.data.batches import Batches
from gatebench.data.catalogue import load
from gatebench.errors import UsageError
from gatebench.evaluation.explained import explained_by_running
from gatebench.evaluation.outcome import collect
from gatebench.evaluation.row import EXPLAINED
from gatebench.gating import first_sure, means_of_first_sure
from gatebench.library import LIBRARY
from gatebench.losses import Batch, Clock
from gatebench.models.exits import calibration as reliability
from gatebench.models.exits import study, thresholds
from gatebench.models.exits.answers import Answers, ask_all
from gatebench.models.exits.columns import COLUMNS
from gatebench.models.exits.execution import leave_at
from gatebench.models.exits.loss import eligibility, exit_loss, exit_weights
from gatebench.models.exits.network import EarlyExit
from gatebench.models.exits.pictures import pictures
from gatebench.models.exits.policy import BEYOND, NEVER, ExitPolicy, all_scores
from gatebench.models.exits.settings import ExitChoice, ExitLoss
from gatebench.models.exits.trunks import PooledLinear
from gatebench.models.registry import create
from gatebench.plan import parent_recipe
from gatebench.recipe import load as recipe_of
from gatebench.report.claims import point_sheets
from gatebench.report.groups import groups
from gatebench.report.results import read_runs
from gatebench.row import Row
from gatebench.runs import RunFolder
from gatebench.runtimes.fold import folded

LOGITS = [[[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [5.0, 0.0, 0.0]], [[0.0, 0.0, 3.0], [0.0, 0.0, 4.0], [1.0, 0.0, 0.0]]]
LABELS = [0, 1]


def softmax(values):
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def rule(**settings):
    return ExitLoss(**{"weights": (1.0, 0.5, 0.1), **settings})


def expected_eligibility(failed):
    """1, then the products of what failed before."""
    return [[1.0, first, first * second] for first, second, _ in failed]


def test_hard_gates_open_the_next_exit_where_the_ones_before_are_not_sure_and_right():
    failed = []
    for exits, label in zip(LOGITS, LABELS, strict=True):
        answers = [softmax(values) for values in exits]
        failed.append([0.0 if max(each) >= 0.7 and each.index(max(each)) == label else 1.0 for each in answers])
    eligible = eligibility(torch.tensor(LOGITS), torch.tensor(LABELS), rule(eligibility="hard", confidence=0.7))
    assert eligible.tolist() == expected_eligibility(failed)
    assert eligible.tolist() == [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]  # the second is sure, but wrong


@pytest.mark.parametrize("kind", ["soft", "residual"])
def test_soft_gates_as_released_and_as_printed(kind):
    failed = []
    for exits, label in zip(LOGITS, LABELS, strict=True):
        truths = [softmax(values)[label] for values in exits]
        failed.append([1 - truth if kind == "residual" else 1 - 1 / (1 + math.exp(-4 * (truth - 0.9))) for truth in truths])
    eligible = eligibility(torch.tensor(LOGITS), torch.tensor(LABELS), rule(eligibility=kind, confidence=0.9, scale=4.0))
    assert np.allclose(eligible, expected_eligibility(failed), atol=1e-6)


def test_the_released_soft_gate_hardly_depends_on_the_input():
    """With scale 1 and tau 0.9 it lies between 0.475 and 0.711, whatever the network says."""
    extreme = torch.tensor([[[50.0, 0.0], [0.0, 0.0]], [[-50.0, 0.0], [0.0, 0.0]]])
    eligible = eligibility(extreme, torch.tensor([0, 0]), rule(weights=(1.0, 1.0), eligibility="soft"))
    assert eligible[:, 1].tolist() == pytest.approx([0.475, 0.711], abs=5e-4)


def test_weights_anneal_and_add_up_to_one():
    annealed = rule(weights=(1.0, 0.55, 0.1), final_weights=(0.2, 0.65, 1.0), anneal_epochs=10, floor=1e-3)
    for epoch, lambdas in ((0, (1.0, 0.55, 0.1)), (5, (0.6, 0.6, 0.55)), (10, (0.2, 0.65, 1.0)), (30, (0.2, 0.65, 1.0))):
        weights = exit_weights(torch.tensor(LOGITS), torch.tensor(LABELS), annealed, epoch)
        floored = [value + 1e-3 for value in lambdas]
        assert np.allclose(weights, [[value / sum(floored) for value in floored]] * 2, atol=1e-6)


def test_the_loss_is_the_weighted_cross_entropy_of_all_exits():
    hard = rule(eligibility="hard", confidence=0.7, floor=0.01)
    total = 0.0
    for exits, label, eligible in zip(LOGITS, LABELS, [[1, 0, 0], [1, 1, 1]], strict=True):
        weights = [value * each + 0.01 for value, each in zip((1.0, 0.5, 0.1), eligible, strict=True)]
        total += sum(weight / sum(weights) * -math.log(softmax(values)[label]) for weight, values in zip(weights, exits, strict=True)) / 2
    assert float(exit_loss(torch.tensor(LOGITS), torch.tensor(LABELS), hard, 0.0)) == pytest.approx(total, rel=1e-5)


def test_label_smoothing_reaches_every_exit():
    logits, labels = torch.tensor(LOGITS), torch.tensor(LABELS)
    smoothed = rule(eligibility="all", floor=0.0, label_smoothing=0.1)
    expected = 0.0
    for exits, label in zip(LOGITS, LABELS, strict=True):
        for values, weight in zip(exits, (1.0, 0.5, 0.1), strict=True):
            wanted = [0.1 / 3 + 0.9 * (number == label) for number in range(3)]
            logs = [math.log(each) for each in softmax(values)]
            expected -= weight / 1.6 * sum(share * each for share, each in zip(wanted, logs, strict=True)) / 2
    assert float(exit_loss(logits, labels, smoothed, 0.0)) == pytest.approx(expected, rel=1e-6)


def test_gates_carry_no_gradient_and_a_closed_exit_learns_almost_nothing():
    exits = torch.tensor(LOGITS, requires_grad=True)
    hard = rule(eligibility="hard", confidence=0.7, floor=0.0)
    exit_loss(exits, torch.tensor(LABELS), hard, 0.0).backward()
    by_exit = exits.grad.abs().sum(2)
    assert by_exit[0].tolist()[1:] == [0.0, 0.0] and (by_exit[1] > 0).all()
    for values, label, gradient in zip(LOGITS[0][:1], LABELS[:1], exits.grad[0][:1], strict=True):  # p - onehot, over two inputs
        expected = [(share - (index == label)) / 2 for index, share in enumerate(softmax(values))]
        assert gradient.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["soft", "residual"])
def test_soft_gates_carry_no_gradient_either(kind):
    """The gradient of every logit is the exit's weight times p - onehot: nothing comes through the gates."""
    exits = torch.tensor(LOGITS, requires_grad=True)
    soft = rule(eligibility=kind, scale=3.0, floor=0.01)
    exit_loss(exits, torch.tensor(LABELS), soft, 0.0).backward()
    weights = exit_weights(exits, torch.tensor(LABELS), soft, 0.0)
    for values, label, weight, gradient in zip(LOGITS, LABELS, weights.tolist(), exits.grad.tolist(), strict=True):
        for logits, each, slopes in zip(values, weight, gradient, strict=True):
            expected = [each * (share - (index == label)) / 2 for index, share in enumerate(softmax(logits))]
            assert slopes == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("config, trains", [("deepest", {2}), ("joint", {0, 1, 2})])
def test_which_heads_a_recipe_trains(config, trains):
    recipe = recipe_of("cgt", "cgt", config)
    torch.manual_seed(0)
    net = create("cgt", 10, (1, 28, 28), **recipe.model.options).train()
    batch = Batch(torch.randn(8, 1, 28, 28), torch.arange(8) % 10)
    assert list(recipe.losses) == ["exits"]
    recipe.losses["exits"].bind(net, {})(net(batch.x), batch, Clock(0.0, 30)).backward()
    moved = {index for index, head in enumerate(net.heads) if head.linear.weight.grad is not None and head.linear.weight.grad.any()}
    assert moved == trains
    assert all(segment[-3].weight.grad.any() for segment in net.segments)


def test_the_bound_loss_is_that_of_the_clock_s_epoch():
    annealed = rule(weights=(1.0, 0.0, 0.0), final_weights=(0.0, 0.0, 1.0), anneal_epochs=10, eligibility="residual")
    net, batch = create("cgt", 3, (1, 28, 28)), Batch(torch.randn(2, 1, 28, 28), torch.tensor(LABELS))
    output = net(batch.x)
    for epoch in (0.0, 2.5, 10.0):
        expected = exit_loss(output.details["exits"], batch.labels, annealed, epoch)
        assert torch.equal(annealed.bind(net, {})(output, batch, Clock(epoch, 30)), expected)


@pytest.mark.parametrize("gated", ["hard", "soft", "soft-printed"])
def test_annealing_without_gates_differs_in_the_gates_alone(gated):
    ours, theirs = recipe_of("cgt", "cgt", "annealed"), recipe_of("cgt", "cgt", gated)
    assert (ours.model, ours.data, ours.training, ours.study) == (theirs.model, theirs.data, theirs.training, theirs.study)
    assert ours.baseline == ("joint",) and theirs.baseline == ("joint", "annealed")
    assert list(ours.losses) == list(theirs.losses) == ["exits"]
    assert ours.losses["exits"] == theirs.losses["exits"].model_copy(update={"eligibility": "all"})
    halfway = exit_weights(torch.tensor(LOGITS), torch.tensor(LABELS), ours.losses["exits"], 15)
    torch.testing.assert_close(halfway, torch.tensor([[0.601, 0.601, 0.551]] * 2) / 1.753)


def test_scores_of_the_four_rules():
    exits = torch.tensor(LOGITS)
    shares = [[softmax(values) for values in each] for each in LOGITS]
    for name, score in (
        ("max-softmax", max),
        ("margin", lambda each: sorted(each)[-1] - sorted(each)[-2]),
        ("entropy", lambda each: 1 + sum(share * math.log(share) for share in each) / math.log(3)),
    ):
        assert np.allclose(all_scores(exits, name), [[score(each) for each in row] for row in shares], atol=1e-6)
    assert all_scores(exits, "patience").tolist() == [[1, 1, 1], [1, 2, 1]]  # answers 0 1 0 and 2 2 0
    warm = all_scores(exits, "max-softmax", (1.0, 2.0, 4.0))
    assert float(warm[0, 2]) == pytest.approx(max(softmax([5 / 4, 0, 0])), rel=1e-6)


def test_inputs_leave_at_the_first_sure_exit():
    scores = torch.tensor([[0.9, 0.1, 0.2], [0.3, 0.8, 0.1], [0.3, 0.4, 0.0]])
    assert first_sure(scores, (0.9, 0.5)).tolist() == [0, 1, 2]
    assert first_sure(scores, (NEVER, NEVER)).tolist() == [2, 2, 2]
    assert first_sure(scores[:, :1], ()).tolist() == [0, 0, 0]
    several = [(0.9, 0.5), (NEVER, NEVER), (0.3, NEVER)]
    assert first_sure(scores, several).tolist() == [first_sure(scores, each).tolist() for each in several]
    accuracies, costs = means_of_first_sure(scores.numpy(), several, np.eye(3), np.array([1.0, 2.0, 6.0]))
    assert accuracies.tolist() == [1, pytest.approx(1 / 3), pytest.approx(1 / 3)] and costs.tolist() == [3, 6, 1]


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 1.0))
@settings(max_examples=8, deadline=None)
def test_chosen_thresholds_keep_to_the_budget(seed, budget):
    draw = np.random.default_rng(seed)
    scores, right, costs = draw.random((200, 3)), draw.random((200, 3)) < [0.5, 0.7, 0.9], np.array([0.1, 0.5, 1.01])
    one = thresholds.one_for_all(scores, right, costs, [budget])[0]
    taken = thresholds.leave(scores, one)
    assert len(set(one) - {NEVER}) <= 1 and costs[taken].mean() <= budget + 1e-9
    for threshold in np.quantile(scores, np.linspace(0, 1, 30)):  # none within the budget is better
        other = first_sure(torch.from_numpy(scores), (threshold, threshold)).numpy()
        if costs[other].mean() <= budget:
            everyone = np.arange(200)
            assert right[everyone, other].mean() <= right[everyone, taken].mean() + 0.02  # the candidates are quantiles
    each = thresholds.leave(scores, thresholds.one_each(scores, right, costs, [budget])[0])
    assert costs[each].mean() <= budget + 1e-9
    shares = thresholds.leave(scores, thresholds.by_shares(scores, costs, budget))
    assert costs[shares].mean() == pytest.approx(min(budget, costs.max()), abs=0.02)


def test_one_threshold_for_each_exit_leaves_a_bad_exit_out():
    """Surest where it is wrong: one threshold for all has to take it, shares always do."""
    draw = np.random.default_rng(0)
    scores = draw.random((500, 3)) * [1.0, 0.8, 1.0]
    right = np.stack([draw.random(500) < 0.1, draw.random(500) < 0.5 + 0.6 * scores[:, 1], draw.random(500) < 0.9], 1)
    costs = np.array([0.1, 0.3, 1.0])
    accuracy = {}
    for name, chosen in (
        ("all", thresholds.one_for_all(scores, right, costs, [0.6])[0]),
        ("each", thresholds.one_each(scores, right, costs, [0.6])[0]),
        ("shares", thresholds.by_shares(scores, costs, 0.6)),
    ):
        accuracy[name] = right[np.arange(500), thresholds.leave(scores, chosen)].mean()
    assert accuracy["each"] > accuracy["all"] + 0.05 and accuracy["each"] > accuracy["shares"] + 0.05


@pytest.mark.parametrize("way", ["one_for_all", "one_each", "by_shares"])
def test_an_exit_at_which_no_validation_image_leaves_is_closed(way):
    draw = np.random.default_rng(0)
    scores, costs = draw.random((300, 3)) * [0.1, 1.0, 1.0], np.array([0.1, 0.5, 1.0])
    right = draw.random((300, 3)) < [0.1, 0.9, 0.95]
    chosen = thresholds.by_shares(scores, costs, 1.0) if way == "by_shares" else getattr(thresholds, way)(scores, right, costs, [0.8])[0]
    taken = thresholds.leave(scores, chosen)
    for number, threshold in enumerate(chosen):
        assert (threshold == NEVER) == (number not in taken)
    assert chosen[0] == NEVER


def test_thresholds_of_many_exits_are_drawn_at_random():
    """Three thresholds for each of fifteen exits would be fourteen million combinations."""
    draw = np.random.default_rng(0)
    scores, right, costs = draw.random((200, 16)), draw.random((200, 16)) < np.linspace(0.5, 0.9, 16), np.linspace(0.1, 1.0, 16)
    chosen = thresholds.one_each(scores, right, costs, [0.4, 1.0])
    spent = [costs[thresholds.leave(scores, each)].mean() for each in chosen]
    assert 0.1 < spent[0] <= 0.4 and chosen == thresholds.one_each(scores, right, costs, [0.4, 1.0])


def test_shares_make_up_for_scores_that_many_inputs_have():
    draw = np.random.default_rng(1)
    scores = draw.random((1000, 3))
    scores[:500, 0] = 1.0
    costs = np.array([0.1, 0.5, 1.0])
    for budget in (0.5, 0.65, 0.8):
        taken = thresholds.leave(scores, thresholds.by_shares(scores, costs, budget))
        assert costs[taken].mean() == pytest.approx(budget, abs=0.1)


def answers(logits, labels):
    return Answers(np.array(labels), torch.tensor(logits))


def test_overthinking_oracle_and_calibration():
    two = answers(LOGITS, LABELS)  # the first input: right, wrong, right; the second: never right
    assert study.overthinking(two) == 0.0
    assert study.overthinking(answers([LOGITS[0][:2], LOGITS[1][:2]], LABELS)) == 50.0
    once = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 4.0, 0.0]]  # right at the first of three exits alone
    assert study.overthinking(answers([once], [0])) == 100.0
    assert study.oracle(two).tolist() == [0, 0]
    table = reliability.calibration(two, None)
    first = table[table["exit"] == 0]
    sure = [100 * max(softmax(LOGITS[0][0])), 100 * max(softmax(LOGITS[1][0]))]
    assert first["ece"].iloc[0] == pytest.approx((100 - sure[0] + sure[1]) / 2, rel=1e-5)
    assert first["inputs"].sum() == 2


def test_temperatures_bring_back_planted_ones():
    draw = torch.Generator().manual_seed(0)
    true = torch.randn(4000, 2, 5, generator=draw) * 2
    labels = torch.distributions.Categorical(logits=true[:, 0]).sample().numpy()
    true[:, 1] = true[:, 0]
    temperatures = reliability.fit_temperatures(Answers(labels, true * torch.tensor([3.0, 0.5])[None, :, None]))
    assert temperatures == pytest.approx((3.0, 0.5), rel=0.1)


@pytest.mark.parametrize(
    "backbone, shape",
    [
        ({"kind": "cnn"}, (1, 28, 28)),
        ({"kind": "spectral"}, (20, 9, 9)),
        ({"kind": "resnet"}, (3, 32, 32)),
        ({"kind": "resnet", "depth": 14, "widths": [16, 16, 32]}, (3, 32, 32)),
        ({"kind": "resnet18"}, (3, 32, 32)),
        ({"kind": "resnet18", "widths": [16, 32, 32]}, (1, 28, 28)),
    ],
)
def test_units_add_up_and_leaving_early_costs_less(backbone, shape):
    net = create("cgt", 10, shape, backbone=backbone)
    costs = study.leaving_macs(net)
    assert (np.diff(costs) > 0).all() and costs[-1] > net.macs_static > costs[-2]
    assert sum(unit.macs for unit in net.units) == costs[-1] == net.tally(net.most()[None]).sum()
    assert net.tally(net.needed(net.most()[None])).sum() == net.macs_static
    assert [unit.kind for unit in net.units] == ["segment", "head"] * net.exits


def test_resnet18_has_its_published_size():
    net = create("cgt", 100, (3, 32, 32), backbone={"kind": "resnet18"})
    trunk = sum(parameter.numel() for part in (*net.segments, net.heads[-1]) for parameter in part.parameters())
    assert trunk == 11_220_132 and round(net.macs_static / 1e6) == 555  # as torchvision's with a stride-1 3x3 stem


def test_the_whole_budget_pays_for_the_heads_on_the_way():
    """Where the last exit alone is right, nothing leaves before it, though asking the others makes that dearer than the static twin."""
    labels, draw = np.arange(100) % 10, torch.Generator().manual_seed(0)
    logits = torch.randn(100, 3, 10, generator=draw)
    logits[:, 2] += 20 * torch.nn.functional.one_hot(torch.from_numpy(labels), 10)
    net, choice = create("cgt", 10, (1, 28, 28)), ExitChoice(budgets=(1.0, 0.5))
    assert study.leaving_macs(net)[-1] > net.macs_static
    whole = {each.way: each.policy for each in study.choose(net, Answers(labels, logits), choice, None) if each.budget == 1}
    assert len(whole) == 3
    for policy in whole.values():
        assert (first_sure(all_scores(logits, "max-softmax"), policy.thresholds) == 2).all()
        assert study.leaving_macs(net, policy)[-1] == net.macs_static, "they are not asked where none leaves"


EXITS = [*SMALL, "--set", "data.validation=60", "--set", "model.backbone.widths=[8,16,32]"]
QUICK = ["--inputs", "32", "--repeats", "5", "--max-seconds", "2", "--threads", "1"]
HARD = ["train", "cgt", "--config", "hard", *EXITS, "--epochs", "2"]
ONE_THRESHOLD = "max-softmax, one threshold"


@pytest.fixture(scope="module")
def hard(tmp_path_factory):
    """The finished run of HARD; to be read, or copied with `copied`."""
    home = tmp_path_factory.mktemp("exits")
    (row,) = Command(home).json(*HARD, "--out", str(home))
    (folder,) = home.glob("cgt-hard-*")
    assert row == RunFolder(folder).read_json("summary.json")
    return folder


@pytest.fixture(scope="module")
def on_disk(hard):
    """The run's network, what its exits say of validation and test, and its headline row."""
    model, recipe, _ = trained.load_run(RunFolder(hard))
    dataset, row = load(recipe.data, hard), RunFolder(hard).read_json("summary.json")
    parts = (
        ask_all(model, Batches(part, dataset.mean, dataset.std, batch_size=250, device=torch.device("cpu")), row["precision"])
        for part in (dataset.validation, dataset.test)
    )
    return model, *parts, row


def rows_of(folder):
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def test_a_run_has_a_row_for_every_rule_way_and_budget(hard):
    rows = rows_of(hard)
    row = rows[0]
    assert row["split"] == "test" and row["policy"] == ONE_THRESHOLD and row["tradeoff"] == 0.5
    assert len(rows) == len({(each["policy"], each["tradeoff"]) for each in rows}) == 4 * (3 * 3 + 1)
    declared = {column.name for column in COLUMNS}
    assert json.loads((hard / "columns.json").read_text()) == [column.model_dump(exclude_defaults=True) for column in COLUMNS]
    for each in rows:
        assert set(each) <= set(Row.model_fields) | declared and sum(each["shares"]) == pytest.approx(1)
        assert each["share_names"] == ["exit 1", "exit 2", "exit 3"] and each["adaptive"]
    assert {"f1", "overthinking_pct", "oracle_accuracy", "calibration_error_pct", "thresholds"} <= set(row)
    assert all(("audit" in each) == (each is row) for each in rows)


def test_thresholds_are_chosen_on_validation_scored_on_test_and_kept_with_the_weights(hard, on_disk):
    model, validation, test, row = on_disk
    macs = study.leaving_macs(model)
    costs = macs / model.macs_static
    (expected,) = thresholds.one_for_all(validation.scores("max-softmax", None).numpy(), validation.right, costs, [0.5])
    assert [NEVER if each is None else each for each in row["thresholds"]] == pytest.approx(expected, abs=1e-6)
    assert model.policy.thresholds == pytest.approx(expected, abs=1e-6)
    taken = thresholds.leave(test.scores("max-softmax", None).numpy(), expected)
    assert row["accuracy"] == pytest.approx(100 * test.right[np.arange(len(taken)), taken].mean())
    assert row["macs_executed"] == pytest.approx(study.leaving_macs(model, model.policy)[taken].mean())
    assert row["macs_dense"] == model.macs_static
    assert row["oracle_macs"] == pytest.approx(macs[study.oracle(test)].mean())
    fixed = study.fixed_exits(model, validation)
    mixed = 100 * fixed.mix.accuracy(test.right.mean(0), fixed.macs, row["macs_executed"])
    assert row["adaptivity_gain"] == pytest.approx(row["accuracy"] - mixed)
    assert row["adaptivity_gain_low"] <= row["adaptivity_gain"] <= row["adaptivity_gain_high"]
    best = max((number for number in range(3) if fixed.macs[number] <= row["macs_executed"]), key=lambda each: fixed.accuracies[each])
    assert row["fixed_accuracy"] == pytest.approx(100 * test.right[:, best].mean()) and row["fixed_macs"] == fixed.macs[best]
    assert row["fixed_chosen_on"] == "validation"


def test_what_the_input_explains_is_the_same_from_kept_answers_as_from_running_the_network(hard, on_disk):
    model, _, _, row = on_disk
    dataset = load(trained.load_run(RunFolder(hard))[1].data, hard)
    scored = Batches(dataset.test, dataset.mean, dataset.std, batch_size=250, device=torch.device("cpu"))
    columns = explained_by_running(model, scored, collect(model, scored, row["precision"]), row["precision"])
    assert columns.keys() == set(EXPLAINED) and columns["patterns"] > 1
    assert {name: row[name] for name in columns} == pytest.approx(columns, rel=1e-4)
    assert all(each["patterns"] <= 3 for each in rows_of(hard))


def test_the_tables_of_a_run_say_what_its_row_says(hard, on_disk):
    model, validation, test, row = on_disk
    inputs = pd.read_parquet(hard / "inputs.parquet")
    assert row["accuracy"] == pytest.approx(100 * (inputs["label"] == inputs["prediction"]).mean())
    assert row["macs_executed"] == pytest.approx(inputs["macs_executed"].mean())
    assert row["shares"][0] == pytest.approx(1 - inputs["segments.1"].mean())
    curve, macs = pd.read_csv(hard / "exits.csv"), study.leaving_macs(model)
    assert {"anytime", "oracle", "max-softmax", "max-softmax, budgeted batch", "patience"} <= set(curve["curve"])
    shared = curve[curve["curve"] == "max-softmax, budgeted batch"]
    assert len(shared) == 19
    for _, at in shared.iterrows():  # shares of validation, scored on test
        chosen = thresholds.by_shares(validation.scores("max-softmax", None).numpy(), macs / model.macs_static, at["setting"])
        spent = study.leaving_macs(model, ExitPolicy("max-softmax", chosen))
        assert at["macs"] == pytest.approx(spent[thresholds.leave(test.scores("max-softmax", None).numpy(), chosen)].mean(), rel=1e-5)
    assert curve.loc[curve["curve"] == "oracle", "accuracy"].item() >= curve.loc[curve["curve"] == "anytime", "accuracy"].max()
    reliable = pd.read_csv(hard / "calibration.csv")
    assert [reliable.loc[reliable["exit"] == number, "ece"].iloc[0] for number in range(3)] == pytest.approx(row["calibration_error_pct"])
    drawn = pictures(RunFolder(hard))
    assert set(drawn) == {"exits", "calibration"} and not list(hard.glob("*.png"))


def test_a_run_is_timed_by_its_own_thresholds_which_others_outdate(gatebench, hard, tmp_path):
    folder = copied(hard, tmp_path)
    (row, *_) = rows_of(folder)
    for named in ((), ("--dataset", row["dataset"])):  # named or not, its own test images are those that it was scored on
        done = gatebench("profile-latency", str(folder), *QUICK, "--json", *named)
        assert done.returncode in (0, 3), done.stderr
        (timed,) = json.loads(done.stdout)
        assert timed["policy"] == ONE_THRESHOLD and timed["tradeoff"] == 0.5 and timed["execution"] == "sparse" and "gate_ms" in timed
        assert timed["scored_inputs"] and timed["weights"] == row["weights"] and "accuracy" not in timed
    (run,), left_out = read_runs(tmp_path)
    assert not left_out and len(list((folder / "times").glob("*.jsonl"))) == 2
    (joined,) = run.joined_times
    assert joined["accuracy"] == row["accuracy"]
    (first, _) = sorted((folder / "times").glob("*.jsonl"))
    (folder / "times" / "unsigned.jsonl").write_text("".join(
        json.dumps({key: value for key, value in json.loads(line).items() if key != "weights"}) for line in first.read_text().splitlines()
    ))  # fmt: skip
    (folder / "times" / "damaged.jsonl").write_text("{")
    kept = {path.name for path in folder.iterdir()}
    done = gatebench(*HARD, "--set", "study.budgets=[0.35]", "--out", str(tmp_path))
    assert done.returncode == 0 and done.stderr.count("removed 2 timings of the weights that it had before") == 1
    again = RunFolder(folder).read_json("summary.json")
    assert again["thresholds"] != row["thresholds"] and again["weights"] != row["weights"]
    assert {path.name for path in (folder / "times").iterdir()} == {"unsigned.jsonl", "damaged.jsonl"}
    assert {path.name for path in folder.iterdir()} == kept
    assert "removed" not in gatebench(*HARD, "--out", str(tmp_path)).stderr


def test_training_that_comes_to_the_same_weights_keeps_their_times(gatebench, hard, tmp_path):
    folder = copied(hard, tmp_path)
    assert gatebench("profile-latency", str(folder), *QUICK).returncode in (0, 3)
    times = {path.name: path.read_bytes() for path in (folder / "times").iterdir()}
    (folder / "summary.json").unlink()  # as if it had been killed before its end
    done = gatebench(*HARD, "--out", str(tmp_path))
    assert done.returncode == 0 and "removed" not in done.stderr
    assert {path.name: path.read_bytes() for path in (folder / "times").iterdir()} == times and len(times) == 3


def test_the_accuracy_of_training_is_told_from_that_of_the_row(gatebench, hard, tmp_path):
    folder = copied(hard, tmp_path)
    done = gatebench(*HARD, "--set", "study.budgets=[0.35]", "--out", str(tmp_path))
    (said,) = (line for line in done.stderr.splitlines() if "training ended at" in line)
    seen = pd.read_csv(folder / "epochs.csv")["test_accuracy"].iloc[-1]
    assert f"training ended at {seen:.2f} % on test, deciding as the recipe says" in said
    assert f'the row\'s {rows_of(folder)[0]["accuracy"]:.2f} % is by the policy "{ONE_THRESHOLD}"' in said


def test_thresholds_are_chosen_anew_without_training_again(gatebench, hard, tmp_path):
    folder = copied(hard, tmp_path)
    (row, *_), epochs = rows_of(folder), (folder / "epochs.csv").read_text()
    here = ("--out", str(tmp_path))
    (again,) = gatebench.json(*HARD, "--set", "study.budgets=[0.7]", *here)
    assert again["tradeoff"] == 0.7 and (folder / "epochs.csv").read_text() == epochs and len(list(tmp_path.glob("cgt-hard-*"))) == 1
    assert again["training_seconds"] == row["training_seconds"] and again["digest"] == row["digest"]
    assert {each["tradeoff"] for each in rows_of(folder)} == {0.7} and again == RunFolder(folder).read_json("summary.json")
    (anew,) = gatebench.json(*HARD, *here)
    assert anew == row and rows_of(folder) == rows_of(hard)
    names = {path.name for path in hard.iterdir()}
    assert {path.name for path in folder.iterdir()} == names
    for name in names - {"resume.pt"}:
        assert (folder / name).read_bytes() == (hard / name).read_bytes(), name


def test_temperatures_are_fitted_on_validation_and_kept_with_the_weights(gatebench, hard, on_disk, tmp_path):
    _, validation, _, row = on_disk
    folder = copied(hard, tmp_path)
    (scaled,) = gatebench.json(*HARD, "--set", "study.temperature=true", "--out", str(tmp_path))
    temperatures = trained.load_run(RunFolder(folder))[0].policy.temperatures
    assert temperatures == pytest.approx(reliability.fit_temperatures(validation), rel=1e-5) and scaled["shares"] != row["shares"]
    assert scaled["temperatures"] == pytest.approx(temperatures) and scaled["policy"] == f"{ONE_THRESHOLD}, temperatures"
    calibration = pd.read_csv(folder / "calibration.csv")
    assert sorted(set(calibration["temperature"])) == pytest.approx(sorted({1.0, *temperatures}), rel=1e-6)
    mended = [calibration.loc[calibration["temperature"].sub(each).abs() < 1e-6, "ece"].iloc[0] for each in temperatures]
    assert scaled["calibration_error_pct"] == pytest.approx(mended, rel=1e-6)


def test_what_an_evaluation_needs_is_weights_and_epochs(gatebench, hard, tmp_path):
    folder = copied(hard, tmp_path)
    command = (*HARD, "--set", "study.budgets=[0.7]", "--out", str(tmp_path))
    (folder / "epochs.csv").unlink()
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != ".lock"}
    message = gatebench.refused(*command, code=1)
    assert "cannot be evaluated: epochs.csv is damaged or not there" in message and "--fresh" in message
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"} == before, "what failed costs nothing"
    shutil.copy(hard / "epochs.csv", folder)
    whole = (folder / "resume.pt").read_bytes()
    (folder / "resume.pt").write_bytes(whole[:-1000])
    (row,) = gatebench.json(*command)
    (folder / "resume.pt").unlink()
    gatebench.json(*HARD, "--out", str(tmp_path))
    assert gatebench.json(*command) == [row]


def test_budgets_of_one_operating_point_share_a_line_of_the_report(hard):
    (row, *_) = rows_of(hard)
    exits = groups(read_runs(hard)[0])
    assert sorted(budget for each in exits for budget in each.tradeoffs) == [0.35, 0.5, 0.65, 0.8]
    (sheet,) = point_sheets(exits)
    (half,) = [record for record in sheet.records if record.get("tradeoff", record.get("tradeoff_from")) <= 0.5 <= upper(record)]
    assert half["run"].startswith("cgt hard (recipe: 30 epochs") and half["accuracy"] == row["accuracy"]
    assert half.get("audit") != "not audited"
    assert [half[f"shares_exit_{number}"] for number in (1, 2, 3)] == pytest.approx(row["shares"])
    for name in ("overthinking_pct", "oracle_accuracy", "oracle_macs"):
        assert half[name] == pytest.approx(row[name])


def upper(record):
    """The largest budget of a line."""
    return record.get("tradeoff", record.get("tradeoff_to"))


def test_exits_are_trained_on_the_frozen_trunk_of_a_parent(gatebench, hard, tmp_path):
    train = (*EXITS, "--epochs", "2", "--out", str(tmp_path))
    (deepest,) = gatebench.json("train", "cgt", "--config", "deepest", *train, "--set", "study.budgets=[0.7]")
    (wise,) = gatebench.json("train", "cgt", "--config", "exit-wise", *train)  # its parent is as good when it was scored otherwise
    (parent,) = tmp_path.glob("cgt-deepest-*")
    assert RunFolder(parent).read_json("summary.json") == deepest
    (headline, *_) = rows_of(hard)
    assert wise["parents"] == [parent.name] and wise["params"] == headline["params"]  # the frozen ones are there too
    (child,) = tmp_path.glob("cgt-exit-wise-*")
    first, second = (load_file(each / "model.safetensors") for each in (parent, child))
    frozen = [name for name in first if name.startswith(("segments.", "heads.2"))]
    assert frozen and all(torch.equal(first[name], second[name]) for name in frozen)
    assert not torch.equal(first["heads.0.linear.weight"], second["heads.0.linear.weight"])


def test_a_missing_parent_is_made_first(gatebench, tmp_path):
    small = [*EXITS, "--out", str(tmp_path), "--epochs", "1"]
    small += ["--set", "model.rule=entropy", "--set", "study.rules=[entropy]"]  # which the parent's own recipe does not allow
    done = gatebench("train", "cgt", "--config", "exit-wise", *small)
    assert done.returncode == 0, done.stderr
    assert done.stderr.index("cgt deepest on shapes, seed 0: epoch 1/1") < done.stderr.index("cgt exit-wise on shapes, seed 0: epoch 1/1")
    (parent,) = tmp_path.glob("cgt-deepest-*")
    assert {"model.rule=entropy", "data.validation=60"} <= set(RunFolder(parent).read_json("summary.json")["changes"])


def test_a_finished_run_needs_its_parent_no_more(gatebench, tmp_path):
    train = ("train", "cgt", "--config", "exit-wise", *EXITS, "--out", str(tmp_path), "--epochs", "1")
    (row,) = gatebench.json(*train)
    (parent,) = tmp_path.glob("cgt-deepest-*")
    shutil.rmtree(parent)
    assert gatebench.json(*train) == [row]
    assert not list(tmp_path.glob("cgt-deepest-*"))


def test_what_is_wrong_with_exits_is_said(gatebench, tmp_path):
    where = [*SMALL, "--epochs", "1", "--out", str(tmp_path), "--set", "data.validation=40"]
    floorless = ("--set", "losses.exits.weights=[0,0,1]", "--set", "losses.exits.floor=0")
    assert "an input might train no exit" in gatebench.refused("train", "cgt", "--config", "hard", *where, *floorless, code=2)
    for setting, message in {
        "losses.exits.weights=[1,1]": "losses.exits.weights: the model has 3 exits; give one weight for each",
        "losses.exits.anneal_epochs=0": "losses.exits: final_weights and anneal_epochs want each other",
        "losses.budget={weight: 1, target: 0.5}": "losses.budget: the model has no gates that a budget could hold down",
        "training.freeze=[head]": "Did you mean 'heads'?",
        "training.freeze=[segments,heads]": "nothing is left to train",
        "study.budgets=[0.001]": "study.budgets: 0.001 is less of the static twin's MACs than the first exit costs",
        "study.budgets=[0.5,0.5]": "each is to be given once",
        "study.budgets=[-1]": "greater than 0",
        "study.rules=[entropie]": "Did you mean 'entropy'?",
        "study.rules=[margin]": "study.rules: the first must be the model's own, 'max-softmax'",
        "study.rules=[]": "at least 1 item",
        "data.validation=0": "study: thresholds are chosen on a validation part",
        "data.scored=validation": "leave data.scored at test",
        "baseline=[joint,joint]": "each is to be given once",
        "baseline=7": "baseline = 7 is not allowed",
    }.items():
        refusal = gatebench.refused("train", "cgt", *where, "--set", setting, code=2)
        assert message in refusal and "epoch 1" not in refusal, setting
    assert not list(tmp_path.glob("cgt-*")), "refused before anything is trained"
    refusal = gatebench.refused("train", "resnet8", *where, "--set", "losses.exits.weights=[1]", code=2)
    assert "unknown key 'losses.exits'" in refusal
    refusal = gatebench.refused("train", "resnet8", *where, "--set", "study.budgets=[0.5]", code=2)
    assert "there is nothing to choose for resnet8" in refusal
    refusal = gatebench.refused("train", "resnet8", *SMALL, "--out", str(tmp_path), "--set", "data.scored=validation", code=2)
    assert "wants data.validation" in refusal


def test_a_loss_or_study_of_exits_wants_a_model_that_has_them():
    static = create("resnet8")
    with pytest.raises(UsageError, match="losses.exits: the model has one answer and no exits before it"):
        rule().check(static)
    with pytest.raises(UsageError, match="study: there are thresholds to choose only for a model with exits"):
        ExitChoice(budgets=(0.5,)).check(static, recipe_of("cgt", "cgt", "soft").data, sized=False)


def test_a_budget_is_too_small_only_for_the_data_that_it_is_for():
    """Of one channel and 28 x 28 pixels the first exit costs less of the twin than of three and 32 x 32."""
    recipe = recipe_of("cgt", "cgt", "soft", ["study.budgets=[0.07]", "model.backbone.convolutions=1"])
    trained.create(recipe)

    def check(shape):
        recipe.study.check(create("cgt", 10, shape, **recipe.model.options), recipe.data, sized=True)

    check((1, 28, 28))
    with pytest.raises(UsageError, match="than the first exit costs"):
        check((3, 32, 32))


def test_a_run_that_starts_from_itself_is_refused(gatebench, tmp_path):
    recipe = tmp_path / "loop.yaml"
    recipe.write_text((LIBRARY / "cgt" / "exit-wise.yaml").read_text().replace("config: deepest", f"config: {recipe}"))
    refusal = gatebench.refused(
        "train", "cgt", "--config", str(recipe), *SMALL, "--set", "data.validation=60", "--out", str(tmp_path), code=2
    )
    assert "starts from itself" in refusal


def test_settings_given_as_a_group_reach_the_parent():
    given = {"training.learning_rate=0.2", "training.momentum=0.5", "data.validation=77"}
    recipe = recipe_of("cgt", "cgt", "exit-wise", ["training={learning_rate: 0.2, momentum: 0.5}", "data={validation: 77}"])
    parent = parent_recipe(recipe, recipe.parents["weights"])
    assert set(recipe.changes) == set(parent.changes) == given
    assert parent.training.learning_rate == 0.2 and parent.training.momentum == 0.5 and parent.data.validation == 77


@pytest.fixture(scope="module")
def small():
    """Three exits of a few thousand MACs."""
    torch.manual_seed(0)
    return create("cgt", 4, (1, 4, 4), backbone={"kind": "cnn", "widths": [4, 4, 4], "convolutions": 1}, threshold=0.5).eval()


def runs(net, x, execution, decisions):
    """Whether the executor accepts imposed decisions."""
    try:
        with torch.inference_mode():
            output = net.infer(x, execution, decisions)
    except ValueError as error:
        assert "legal decisions run the segments up to one and its head" in str(error)
        return False
    assert torch.equal(output.decisions, decisions)
    return True


@pytest.mark.parametrize("execution", ["masked", "sparse"])
def test_the_executor_runs_just_the_legal_decisions(small, execution):
    """All patterns of three exits, one by one."""
    patterns = torch.tensor(list(itertools.product([False, True], repeat=6)))
    accepted = [runs(small, torch.zeros(1, 1, 4, 4), execution, pattern[None]) for pattern in patterns]
    assert accepted == small.legal(patterns).tolist()
    assert sum(accepted) == 1 + 2 + 4  # the heads before the last one are free


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=4), st.sampled_from(["masked", "sparse"]))
@settings(max_examples=60, deadline=None)
def test_a_batch_is_run_where_all_of_its_decisions_are_legal(small, rows, execution):
    decisions = torch.tensor(rows)
    legal = small.legal(decisions)
    assert legal.shape == (len(rows),) and legal.dtype == torch.bool
    assert runs(small, torch.zeros(len(rows), 1, 4, 4), execution, decisions) == bool(legal.all())


@given(st.integers(1, 8), st.integers(1, 20), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_random_decisions_are_legal_whatever_the_number_of_exits(exits, count, seed):
    parts = [torch.nn.Identity() for _ in range(exits)], [PooledLinear(3, 4, normalise=False) for _ in range(exits)]
    net = EarlyExit(*parts, (3, 2, 2), "margin", 0.5)
    decisions = net.random_decisions(count, np.random.default_rng(seed))
    everywhere = leave_at(torch.arange(exits), exits)
    assert net.legal(decisions).all() and net.legal(everywhere).all() and net.legal(net.needed(everywhere)).all()
    assert net.legal(torch.stack([net.most(), net.least()])).all()
    assert torch.equal(net.needed(everywhere).sum(1), torch.arange(exits) + 2)  # the segments up to one, and its head


def test_imposed_decisions_that_are_not_legal_are_refused():
    net = create("cgt", 10, (1, 28, 28)).eval()
    for wanted in ([0] * 6, [1, 1, 0, 1, 0, 0], [0, 0, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0]):
        for count in (1, 3):
            with pytest.raises(ValueError, match="legal decisions"):
                net.infer(torch.zeros(count, 1, 28, 28), decisions=torch.tensor([wanted] * count, dtype=torch.bool))


@pytest.mark.parametrize("rule, skipped", [("max-softmax", {0, 2}), ("entropy", {0, 2}), ("patience", {2})])
def test_a_head_at_which_nothing_can_leave_is_not_run(rule, skipped):
    """Answers stay the same, those that it asks keep their temperatures, and patience goes on counting."""
    torch.manual_seed(0)
    net = create("cgt", 4, (1, 16, 16), backbone={"kind": "cnn", "widths": [8] * 4, "convolutions": 1}, rule=rule).eval()
    images, temperatures, asked = torch.randn(40, 1, 16, 16), (1.0, 2.0, 3.0, 4.0), set()
    with torch.inference_mode():
        for head in net.heads:
            torch.nn.init.normal_(head.linear.weight, 0.0, 3.0)
        for head, mean in zip(net.heads, net.all_exits(images).mean(0), strict=True):
            head.linear.bias -= mean  # answers that differ from image to image
        middle = float(all_scores(net.all_exits(images), rule, temperatures)[:, 1].median()) if rule != "patience" else 2.0
        closed, open_ = (ExitPolicy(rule, (each, middle, each), temperatures) for each in (NEVER, BEYOND))
        for number, head in enumerate(net.heads):
            head.register_forward_hook(lambda *_, number=number: asked.add(number))
        for x in (images, *images.split(1)):
            every = net.infer(x, policy=open_)
            masked = net.infer(x, "masked", policy=closed)
            asked.clear()
            sparse = net.infer(x, policy=closed)
            assert asked <= set(range(4)) - skipped and torch.equal(sparse.logits, every.logits)
            assert torch.equal(sparse.decisions, masked.decisions) and torch.allclose(sparse.logits, masked.logits, atol=1e-5)
            assert net.legal(sparse.decisions).all() and torch.equal(sparse.decisions[:, ::2], every.decisions[:, ::2])
            left_out = every.executed_macs - sparse.executed_macs
            costs = torch.tensor([unit.macs * (number % 2 and number // 2 in skipped) for number, unit in enumerate(net.units)])
            assert torch.equal(left_out[:, :8], every.decisions * costs) and not left_out[:, 8:].any()
            assert net.claimed(sparse.decisions.numpy()) == net.claimed(every.decisions.numpy()), "a head is no part of the claim"
        assert set(net.infer(images, policy=closed).decisions[:, ::2].sum(1).tolist()) == {2, 4}


def test_a_policy_of_another_network_is_refused():
    net, x = create("cgt", 10, (1, 28, 28)).eval(), torch.zeros(1, 1, 28, 28)
    for policy, fault in (
        (ExitPolicy("max-softmax", (0.5,)), "3 exits want 2 thresholds"),
        (ExitPolicy("max-softmax", (0.5, 0.5), (2.0,)), "3 exits want 3 temperatures"),
    ):
        with pytest.raises(ValueError, match=fault):
            net.policy = policy
        with pytest.raises(ValueError, match=fault):
            net.infer(x, policy=policy)
    with pytest.raises(ValueError, match="one of max-softmax, .*, not 'max_softmax'"):
        ExitPolicy("max_softmax", (0.5, 0.5))
    for temperature in (0.0, math.nan):
        with pytest.raises(ValueError, match="must be positive"):
            ExitPolicy("max-softmax", (0.5, 0.5), (1.0, temperature, 1.0))
    with pytest.raises(ValueError, match="must be numbers"):
        ExitPolicy("max-softmax", (math.nan, 0.5))


def test_an_image_too_small_for_its_widths_is_refused_with_what_would_do():
    with pytest.raises(UsageError, match="24x24 can be halved for 5 widths, not 6"):
        create("cgt", 10, (3, 24, 24), backbone={"kind": "cnn", "widths": [8] * 6})


def test_what_it_answers_with_moves_where_it_moves():
    net = create("cgt")
    assert net.leaving()[0].device.type == "cpu" and copy.deepcopy(net).to("meta").leaving()[0].device.type == "meta"


def test_a_trunk_without_maps_goes_on_with_those_that_stay():
    torch.manual_seed(0)
    parts = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 8)), torch.nn.Linear(8, 8)]
    net = EarlyExit(parts, [torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)], (3, 2, 2), "max-softmax", 0.35).eval()
    x = torch.randn(40, 3, 2, 2)
    with torch.no_grad():
        masked, sparse = net.infer(x, "masked"), net.infer(x, "sparse")
    assert 0 < masked.decisions[:, 2].sum() < 40 and torch.equal(masked.decisions, sparse.decisions)
    assert torch.allclose(masked.logits, sparse.logits, atol=1e-6)


def test_making_a_network_leaves_it_in_training():
    assert all(module.training for module in create("cgt", 10, (1, 28, 28)).modules())


def test_temperatures_stay_within_reason():
    sure = answers([[[9.0, 0.0]]] * 50, [0] * 50)  # always right: no temperature is low enough
    wrong = answers([[[9.0, 0.0]]] * 50, [1] * 50)
    assert reliability.fit_temperatures(sure)[0] >= 0.049 and reliability.fit_temperatures(wrong)[0] <= 20.1


def test_policies_are_kept_with_the_weights():
    net = create("cgt", 10, (1, 28, 28), rule="entropy")
    net.policy = ExitPolicy("margin", (0.5, NEVER), (1.0, 1.1, 1.3))
    other = create("cgt", 10, (1, 28, 28))
    other.load_state_dict(net.state_dict())
    assert other.policy == net.policy
    assert {policy.temperatures for policy in other.fixed_policies.values()} == {net.policy.temperatures}  # they cost the same to ask


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_a_batch_that_shrinks_leaves_its_images_as_they_were(layout):
    """Rows are moved within a segment's output, and that of a segment that does nothing is the images themselves."""
    torch.manual_seed(0)
    heads = [PooledLinear(3, 4, normalise=False), PooledLinear(3, 4, normalise=False), PooledLinear(5, 4, normalise=False)]
    net = EarlyExit([torch.nn.Identity(), torch.nn.Conv2d(3, 3, 3), torch.nn.Conv2d(3, 5, 3)], heads, (3, 8, 8), "max-softmax", 0.3)
    net = net.eval().to(memory_format=layout)
    images = torch.randn(40, 3, 8, 8).contiguous(memory_format=layout)
    before, draw = images.clone(), np.random.default_rng(0)
    with torch.inference_mode():
        for decisions in (None, *(net.random_decisions(40, draw) for _ in range(10))):
            masked, sparse = (net.infer(images, execution, decisions) for execution in ("masked", "sparse"))
            assert torch.equal(masked.decisions, sparse.decisions) and torch.allclose(masked.logits, sparse.logits, atol=1e-5)
            assert torch.equal(images, before)
        taken = net.infer(images).decisions.sum(1)
    assert len(set(taken.tolist())) > 1


def test_folding_leaves_nothing_that_does_nothing():
    net = create("cgt", 10, (1, 28, 28))
    for module in net.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    plain, lean = net.eval(), folded(net)
    assert not any(isinstance(module, torch.nn.Identity) for module in lean.modules())
    images = torch.randn(5, 1, 28, 28)
    with torch.inference_mode():
        assert torch.allclose(plain.all_exits(images), lean.all_exits(images), atol=1e-4)
        (twin,), (lean_twin,) = plain.references().values(), lean.references().values()
        assert torch.allclose(twin(images), lean_twin(images), atol=1e-4)
