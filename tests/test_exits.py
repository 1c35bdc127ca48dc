"""Networks with exits: their loss, their rules, what is chosen and how it is scored, against arithmetic written anew."""

import copy
import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL
from hypothesis import given, settings
from hypothesis import strategies as st

from gatebench import models
from gatebench.columns import KINDS
from gatebench.contract import Output
from gatebench.data.batches import Batches
from gatebench.data.catalogue import load
from gatebench.errors import UsageError
from gatebench.evaluation import calibration as reliability
from gatebench.evaluation import exits as study
from gatebench.evaluation import thresholds
from gatebench.evaluation.answers import Answers, ask_all
from gatebench.execution.fold import folded
from gatebench.exit_policy import NEVER, ExitPolicy, all_scores, first_sure
from gatebench.models.backbones import PooledLinear
from gatebench.models.early_exit import EarlyExit
from gatebench.objectives import eligibility, exit_loss, exit_weights, total
from gatebench.pipeline import create, parent_of
from gatebench.profiling.networks import trained
from gatebench.recipe import LIBRARY, ExitChoice, ExitLoss, Objective, read
from gatebench.recipe import load as recipe_of
from gatebench.report.claims import exit_sheets
from gatebench.report.results import groups, read_runs
from gatebench.runs import RunFolder

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
    found = eligibility(torch.tensor(LOGITS), torch.tensor(LABELS), rule(eligibility="hard", confidence=0.7))
    assert found.tolist() == expected_eligibility(failed)
    assert found.tolist() == [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]  # the second is sure, but wrong


@pytest.mark.parametrize("kind", ["soft", "residual"])
def test_soft_gates_as_released_and_as_printed(kind):
    failed = []
    for exits, label in zip(LOGITS, LABELS, strict=True):
        truths = [softmax(values)[label] for values in exits]
        failed.append([1 - truth if kind == "residual" else 1 - 1 / (1 + math.exp(-4 * (truth - 0.9))) for truth in truths])
    found = eligibility(torch.tensor(LOGITS), torch.tensor(LABELS), rule(eligibility=kind, confidence=0.9, scale=4.0))
    assert np.allclose(found, expected_eligibility(failed), atol=1e-6)


def test_the_released_soft_gate_hardly_depends_on_the_input():
    """With scale 1 and tau 0.9 it lies between 0.475 and 0.711, whatever the network says."""
    extreme = torch.tensor([[[50.0, 0.0], [0.0, 0.0]], [[-50.0, 0.0], [0.0, 0.0]]])
    found = eligibility(extreme, torch.tensor([0, 0]), rule(weights=(1.0, 1.0), eligibility="soft"))
    assert found[:, 1].tolist() == pytest.approx([0.475, 0.711], abs=5e-4)


def test_weights_anneal_and_add_up_to_one():
    annealed = rule(weights=(1.0, 0.55, 0.1), final_weights=(0.2, 0.65, 1.0), anneal_epochs=10, floor=1e-3)
    for epoch, lambdas in ((0, (1.0, 0.55, 0.1)), (5, (0.6, 0.6, 0.55)), (10, (0.2, 0.65, 1.0)), (30, (0.2, 0.65, 1.0))):
        found = exit_weights(torch.tensor(LOGITS), torch.tensor(LABELS), annealed, epoch)
        floored = [value + 1e-3 for value in lambdas]
        assert np.allclose(found, [[value / sum(floored) for value in floored]] * 2, atol=1e-6)


def test_the_loss_is_the_weighted_cross_entropy_of_all_exits():
    hard = rule(eligibility="hard", confidence=0.7, floor=0.01)
    total = 0.0
    for exits, label, eligible in zip(LOGITS, LABELS, [[1, 0, 0], [1, 1, 1]], strict=True):
        weights = [value * each + 0.01 for value, each in zip((1.0, 0.5, 0.1), eligible, strict=True)]
        total += sum(weight / sum(weights) * -math.log(softmax(values)[label]) for weight, values in zip(weights, exits, strict=True)) / 2
    assert float(exit_loss(torch.tensor(LOGITS), torch.tensor(LABELS), hard, 0.0)) == pytest.approx(total, rel=1e-5)


def test_label_smoothing_reaches_every_exit():
    logits, labels = torch.tensor(LOGITS), torch.tensor(LABELS)
    objective = Objective(exits=rule(eligibility="all", floor=0.0), label_smoothing=0.1)
    expected = 0.0
    for exits, label in zip(LOGITS, LABELS, strict=True):
        for values, weight in zip(exits, (1.0, 0.5, 0.1), strict=True):
            wanted = [0.1 / 3 + 0.9 * (number == label) for number in range(3)]
            logs = [math.log(each) for each in softmax(values)]
            expected -= weight / 1.6 * sum(share * each for share, each in zip(wanted, logs, strict=True)) / 2
    assert float(total(objective, Output(logits[:, -1], exits=logits), labels, 0.0, None)[0]) == pytest.approx(expected, rel=1e-6)


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
        for logits, each, found in zip(values, weight, gradient, strict=True):
            expected = [each * (share - (index == label)) / 2 for index, share in enumerate(softmax(logits))]
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("config, trains", [("deepest", {2}), ("joint", {0, 1, 2})])
def test_which_heads_a_recipe_trains(config, trains):
    from gatebench import recipe
    from gatebench.objectives import total

    plan = recipe.load("cgt", "cgt", config)
    torch.manual_seed(0)
    net = models.create("cgt", 10, (1, 28, 28), **plan.model.options).train()
    loss, _ = total(plan.objective, net(torch.randn(8, 1, 28, 28)), torch.arange(8) % 10, 0.0, torch.ones(6))
    loss.backward()
    moved = {index for index, head in enumerate(net.heads) if head.linear.weight.grad is not None and head.linear.weight.grad.any()}
    assert moved == trains
    assert all(segment[-3].weight.grad.any() for segment in net.segments)


@pytest.mark.parametrize("gated", ["hard", "soft", "soft-printed"])
def test_annealing_without_gates_differs_in_the_gates_alone(gated):
    ours, theirs = recipe_of("cgt", "cgt", "annealed", []), recipe_of("cgt", "cgt", gated, [])
    assert (ours.model, ours.data, ours.training, ours.evaluation) == (theirs.model, theirs.data, theirs.training, theirs.evaluation)
    assert ours.baseline == ("joint",) and theirs.baseline == ("joint", "annealed")
    assert ours.objective.exits == theirs.objective.exits.model_copy(update={"eligibility": "all"})
    halfway = exit_weights(torch.tensor(LOGITS), torch.tensor(LABELS), ours.objective.exits, 15)
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


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 1.0))
@settings(max_examples=8, deadline=None)
def test_chosen_thresholds_keep_to_the_budget(seed, budget):
    draw = np.random.default_rng(seed)
    scores, right, costs = draw.random((200, 3)), draw.random((200, 3)) < [0.5, 0.7, 0.9], np.array([0.1, 0.5, 1.01])
    one = thresholds.one_for_all(scores, right, costs, [budget])[0]
    taken = thresholds.leave(scores, one)
    assert len(set(one)) == 1 and costs[taken].mean() <= budget + 1e-9
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


def test_thresholds_of_many_exits_are_drawn_by_lot():
    """Three thresholds for each of fifteen exits would be fourteen million combinations."""
    draw = np.random.default_rng(0)
    scores, right, costs = draw.random((200, 16)), draw.random((200, 16)) < np.linspace(0.5, 0.9, 16), np.linspace(0.1, 1.0, 16)
    found = thresholds.one_each(scores, right, costs, [0.4, 1.0])
    spent = [costs[thresholds.leave(scores, each)].mean() for each in found]
    assert 0.1 < spent[0] <= 0.4 and found == thresholds.one_each(scores, right, costs, [0.4, 1.0])


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
    found = answers(LOGITS, LABELS)  # the first input: right, wrong, right; the second: never right
    assert study.overthinking(found) == 0.0
    assert study.overthinking(answers([LOGITS[0][:2], LOGITS[1][:2]], LABELS)) == 50.0
    once = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 4.0, 0.0]]  # right at the first of three exits alone
    assert study.overthinking(answers([once], [0])) == 100.0
    assert study.oracle(found).tolist() == [0, 0]
    table = reliability.calibration(found, None)
    first = table[table["exit"] == 0]
    sure = [100 * max(softmax(LOGITS[0][0])), 100 * max(softmax(LOGITS[1][0]))]
    assert first["ece"].iloc[0] == pytest.approx((100 - sure[0] + sure[1]) / 2, rel=1e-5)
    assert first["inputs"].sum() == 2


def test_temperatures_bring_back_planted_ones():
    draw = torch.Generator().manual_seed(0)
    true = torch.randn(4000, 2, 5, generator=draw) * 2
    labels = torch.distributions.Categorical(logits=true[:, 0]).sample().numpy()
    true[:, 1] = true[:, 0]
    found = reliability.fit_temperatures(Answers(labels, true * torch.tensor([3.0, 0.5])[None, :, None]))
    assert found == pytest.approx((3.0, 0.5), rel=0.1)


def test_a_fixed_pattern_leaves_by_lot():
    found = answers([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]], [0, 0])  # 0 % at the first exit, 100 % at the second
    costs = np.array([10.0, 30.0])
    assert study.fixed_accuracy(found, found, costs, 15.0) == pytest.approx(25.0)
    assert study.fixed_accuracy(found, found, costs, 30.0) == study.fixed_accuracy(found, found, costs, 99.0) == pytest.approx(100.0)
    assert study.fixed_accuracy(found, found, costs, 1.0) == 0.0
    misled = answers([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]], [0, 0])  # validation says the first exit is the better one
    assert study.fixed_accuracy(misled, found, costs, 99.0) == 0.0


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
    net = models.create("cgt", 10, shape, backbone=backbone)
    costs = study.leaving_macs(net)
    assert (np.diff(costs) > 0).all() and costs[-1] > net.macs_static > costs[-2]
    assert sum(unit.macs for unit in net.units) == costs[-1]
    assert net.macs(net.needed(torch.ones(1, net.switches, dtype=torch.bool)).numpy())[0] == net.macs_static


def test_resnet18_has_its_known_size():
    net = models.create("cgt", 100, (3, 32, 32), backbone={"kind": "resnet18"})
    trunk = sum(parameter.numel() for part in (*net.segments, net.heads[-1]) for parameter in part.parameters())
    assert trunk == 11_220_132 and round(net.macs_static / 1e6) == 555  # as torchvision's with a stride-1 3x3 stem


def test_the_whole_budget_pays_for_the_heads_on_the_way():
    """Where the last exit alone is right, nothing leaves before it, though asking the others makes that dearer than the static twin."""
    labels, draw = np.arange(100) % 10, torch.Generator().manual_seed(0)
    logits = torch.randn(100, 3, 10, generator=draw)
    logits[:, 2] += 20 * torch.nn.functional.one_hot(torch.from_numpy(labels), 10)
    net, asked = models.create("cgt", 10, (1, 28, 28)), ExitChoice(budgets=(1.0, 0.5))
    assert study.leaving_macs(net)[-1] > net.macs_static
    whole = {choice.way: choice.policy for choice in study.choose(net, Answers(labels, logits), asked, None) if choice.budget == 1}
    assert len(whole) == 3
    for policy in whole.values():
        assert (first_sure(all_scores(logits, "max-softmax"), policy.thresholds) == 2).all()


def test_a_run_from_recipe_to_rows(gatebench, tmp_path):
    """Thresholds are chosen on validation, scored on test, kept with the weights, and the network is timed by them."""
    train = [*SMALL, "--set", "data.validation=60", "--set", "model.backbone.widths=[8,16,32]", "--out", str(tmp_path), "--epochs", "2"]
    (row,) = gatebench.json("train", "cgt", "--config", "hard", *train)
    (folder,) = tmp_path.glob("cgt-hard-*")
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert rows[0] == row and len(rows) == 4 * (3 * 3 + 1)
    assert row["split"] == "test" and row["policy"] == "max-softmax, one threshold" and row["tradeoff"] == 0.5
    assert sum(row["shares"]) == pytest.approx(1) and {"f1", "overthinking_pct"} <= set(row)
    plan = read(folder / "recipe.yaml")
    dataset = load(plan.data, tmp_path)
    model = trained(RunFolder(folder), plan, json.loads((folder / "data.json").read_text()))
    chosen_on = Batches(dataset.validation, dataset.mean, dataset.std, batch_size=250, device=torch.device("cpu"))
    scored_on = Batches(dataset.test, dataset.mean, dataset.std, batch_size=250, device=torch.device("cpu"))
    known, costs = ask_all(model, chosen_on, row["precision"]), study.leaving_macs(model) / model.macs_static
    answers, asking = ask_all(model, scored_on, row["precision"]), study.leaving_macs(model)
    assert row["oracle_macs"] == pytest.approx(asking[study.oracle(answers)].mean())
    fixed = study.fixed_accuracy(known, answers, study.fixed_macs(model), row["macs_executed"])
    assert row["adaptivity_gain_same_weights"] == pytest.approx(row["accuracy"] - fixed)
    (expected,) = thresholds.one_for_all(known.scores("max-softmax", None).numpy(), known.right, costs, [0.5])
    assert row["thresholds"] == pytest.approx(expected, abs=1e-6) and model.policy.thresholds == pytest.approx(expected, abs=1e-6)

    inputs = pd.read_parquet(folder / "inputs.parquet")
    assert row["accuracy"] == pytest.approx(100 * (inputs["label"] == inputs["prediction"]).mean())
    assert row["macs_executed"] == pytest.approx(inputs["macs_executed"].mean())
    assert row["shares"][0] == pytest.approx(1 - inputs["segments.1"].mean())
    curve = pd.read_csv(folder / "exits.csv")
    assert {"anytime", "oracle", "max-softmax", "max-softmax, budgeted batch", "patience"} <= set(curve["curve"])
    for _, at in curve[curve["curve"] == "max-softmax, budgeted batch"].iterrows():  # shares of validation, scored on test
        shared = thresholds.by_shares(known.scores("max-softmax", None).numpy(), costs, at["setting"])
        assert at["macs"] == pytest.approx(asking[thresholds.leave(answers.scores("max-softmax", None).numpy(), shared)].mean(), rel=1e-5)
    assert curve.loc[curve["curve"] == "oracle", "accuracy"].item() >= curve.loc[curve["curve"] == "anytime", "accuracy"].max()
    assert (folder / "exits.png").read_bytes().startswith(b"\x89PNG") and (folder / "calibration.csv").exists()
    done = gatebench("profile-latency", str(folder), "--inputs", "32", "--repeats", "5", "--threads", "1", "--json")
    assert done.returncode in (0, 3), done.stderr
    (timed,) = json.loads(done.stdout)
    assert timed["policy"] == "max-softmax, one threshold" and timed["execution"] == "sparse" and "gate_ms" in timed
    named = ("--dataset", plan.data.name, "--inputs", "32", "--repeats", "5", "--threads", "1", "--json")
    (timed,) = json.loads(gatebench("profile-latency", str(folder), *named).stdout)
    assert timed["accuracy"] == row["accuracy"], "named or not, its own test images are those that it was scored on"
    (folder / "decisions-elsewhere.png").touch()

    weights, epochs = (folder / "model.safetensors").read_bytes(), (folder / "epochs.csv").read_text()
    again_at = ("--set", "evaluation.exits.budgets=[0.7]")
    whole = (folder / "resume.pt").read_bytes()
    (folder / "resume.pt").write_bytes(whole[:-1000])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert "resume.pt is damaged" in gatebench.refused("train", "cgt", "--config", "hard", *train, *again_at, code=1)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before, "what failed costs nothing"
    (folder / "resume.pt").unlink()
    (folder / "epochs.csv").unlink()
    said = gatebench.refused("train", "cgt", "--config", "hard", *train, *again_at, code=1)
    assert "neither resume.pt nor an epochs.csv of all its epochs" in said and "--fresh" in said and not (folder / "epochs.csv").exists()
    (folder / "epochs.csv").write_text(epochs)
    (folder / "resume.pt").write_bytes(whole)
    (again,) = gatebench.json("train", "cgt", "--config", "hard", *train, *again_at)  # without training again
    assert again["tradeoff"] == 0.7 and (folder / "epochs.csv").read_text() == epochs and len(list(tmp_path.glob("cgt-hard-*"))) == 1
    assert again["training_seconds"] == row["training_seconds"] and again["digest"] == row["digest"]
    assert not [*folder.glob("latency*"), *folder.glob("decisions*.png")]  # those of other thresholds
    assert "latency_ms" not in (folder / "rows.jsonl").read_text()
    (scaled,) = gatebench.json("train", "cgt", "--config", "hard", *train, "--set", "evaluation.exits.temperature=true")
    temperatures = trained(RunFolder(folder), plan, json.loads((folder / "data.json").read_text())).policy.temperatures
    assert temperatures == pytest.approx(reliability.fit_temperatures(known), rel=1e-5) and scaled["shares"] != row["shares"]
    calibration = pd.read_csv(folder / "calibration.csv")
    assert sorted(set(calibration["temperature"])) == pytest.approx(sorted({1.0, *temperatures}), rel=1e-6)
    assert scaled["temperatures"] == pytest.approx(temperatures) and scaled["policy"] == "max-softmax, one threshold, temperatures"
    mended = [calibration.loc[calibration["temperature"].sub(each).abs() < 1e-6, "ece"].iloc[0] for each in temperatures]
    assert scaled["calibration_error_pct"] == pytest.approx(mended, rel=1e-6)
    (folder / "resume.pt").unlink()  # as a run is handed on
    (anew,) = gatebench.json("train", "cgt", "--config", "hard", *train)
    assert {key: anew[key] for key in anew if key != "peak_memory_mb"} == {key: row[key] for key in row if key != "peak_memory_mb"}
    assert (folder / "model.safetensors").read_bytes() == weights and (folder / "epochs.csv").read_text() == epochs

    assert all(set(each) <= set(KINDS) for each in RunFolder(folder).read_rows())
    exits = groups(read_runs(tmp_path)[0])
    assert sorted(budget for each in exits for budget in each.budgets) == [0.35, 0.5, 0.65, 0.8]
    (sheet,) = exit_sheets(exits)
    (half,) = [dict(zip(sheet.headings, line, strict=True)) for line in sheet.lines if "50" in line[1].split(", ")]
    assert half["run"].startswith("cgt hard (recipe: 30 epochs") and half["accuracy %"].startswith(f"{row['accuracy']:.2f} (")
    assert half["audit"] != "not audited"
    assert half["leaving at each exit %"] == " / ".join(f"{100 * share:.1f}" for share in row["shares"])

    (deepest,) = gatebench.json("train", "cgt", "--config", "deepest", *train, "--set", "evaluation.exits.budgets=[0.7]")
    (wise,) = gatebench.json("train", "cgt", "--config", "exit-wise", *train)  # its parent is as good when it was scored otherwise
    (parent,) = tmp_path.glob("cgt-deepest-*")
    assert json.loads((parent / "summary.json").read_text()) == deepest
    assert wise["parents"] == [parent.name] and wise["params"] == row["params"]  # the frozen ones are there too
    from safetensors.torch import load_file

    (child,) = tmp_path.glob("cgt-exit-wise-*")
    first, second = (load_file(each / "model.safetensors") for each in (parent, child))
    frozen = [name for name in first if name.startswith(("segments.", "heads.2"))]
    assert frozen and all(torch.equal(first[name], second[name]) for name in frozen)
    assert not torch.equal(first["heads.0.linear.weight"], second["heads.0.linear.weight"])


def test_a_missing_parent_is_made_first(gatebench, tmp_path):
    small = [*SMALL, "--set", "data.validation=60", "--set", "model.backbone.widths=[8,16,32]", "--out", str(tmp_path), "--epochs", "1"]
    small += ["--set", "model.rule=entropy", "--set", "evaluation.exits.rules=[entropy]"]  # which the parent's own recipe does not allow
    done = gatebench("train", "cgt", "--config", "exit-wise", *small)
    assert done.returncode == 0, done.stderr
    assert done.stderr.index("cgt deepest on shapes, seed 0: epoch 1/1") < done.stderr.index("cgt exit-wise on shapes, seed 0: epoch 1/1")
    (parent,) = tmp_path.glob("cgt-deepest-*")
    assert {"model.rule=entropy", "data.validation=60"} <= set(RunFolder(parent).read_json("summary.json")["changes"])
    shutil.rmtree(parent)
    assert gatebench("train", "cgt", "--config", "exit-wise", *small).returncode == 0
    assert not list(tmp_path.glob("cgt-deepest-*")), "a finished run needs its parent no more"


def test_what_is_wrong_with_exits_is_said(gatebench, tmp_path):
    where = [*SMALL, "--epochs", "1", "--out", str(tmp_path), "--set", "data.validation=40"]
    said = gatebench.refused("train", "cgt", *where, "--set", "objective.exits.weights=[1,1]", code=2)
    assert "the model has 3 exits; give one weight for each" in said
    assert "Did you mean 'heads'?" in gatebench.refused("train", "cgt", *where, "--set", "training.freeze=[head]", code=2)
    said = gatebench.refused("train", "cgt", *where, "--set", "evaluation.exits.budgets=[0.001]", code=2)
    assert "0.001 is less of the static twin's MACs than the first exit costs" in said and "epoch" not in said
    said = gatebench.refused("train", "cgt", *where, "--set", "data.validation=0", code=2)
    assert "thresholds are chosen on a validation part" in said
    said = gatebench.refused("train", "resnet8", *where, "--set", "objective.exits.weights=[1]", code=2)
    assert "one answer and no exits" in said
    said = gatebench.refused(
        "train", "cgt", "--config", "hard", *where, "--set", "objective.exits.weights=[0,0,1]", "--set", "objective.exits.floor=0", code=2
    )
    assert "an input might train no exit" in said
    assert "Did you mean 'entropy'?" in gatebench.refused("train", "cgt", *where, "--set", "evaluation.exits.rules=[entropie]", code=2)
    for setting, said in {
        "evaluation.exits.rules=[margin]": "the first must be the model's own, 'max-softmax'",
        "evaluation.exits.rules=[]": "at least 1 item",
        "evaluation.exits.budgets=[0.5,0.5]": "each is to be given once",
        "evaluation.exits.budgets=[-1]": "greater than 0",
        "objective.budget={weight: 1, target: 0.5}": "the model has no gates that a budget could hold down",
        "training.freeze=[segments,heads]": "nothing is left to train",
        "objective.exits.anneal_epochs=0": "final_weights and anneal_epochs want each other",
        "data.scored=validation": "leave data.scored at test",
        "baseline=[joint,joint]": "each is to be given once",
        "baseline=7": "baseline = 7 is not allowed",
    }.items():
        assert said in gatebench.refused("train", "cgt", *where, "--set", setting, code=2), setting
    said = gatebench.refused("train", "resnet8", *SMALL, "--out", str(tmp_path), "--set", "data.scored=validation", code=2)
    assert "wants data.validation" in said


def test_a_budget_is_too_small_only_for_the_data_it_is_asked_for():
    """Of one channel and 28 x 28 pixels the first exit costs less of the twin than of three and 32 x 32."""
    recipe = recipe_of("cgt", "cgt", "soft", ["evaluation.exits.budgets=[0.07]", "model.backbone.convolutions=1"])
    create(recipe)
    create(recipe, num_classes=10, input_shape=(1, 28, 28))
    with pytest.raises(UsageError, match="than the first exit costs"):
        create(recipe, num_classes=10, input_shape=(3, 32, 32))


def test_a_run_that_starts_from_itself_is_refused(gatebench, tmp_path):
    recipe = tmp_path / "loop.yaml"
    recipe.write_text((LIBRARY / "cgt" / "exit-wise.yaml").read_text().replace("parent: deepest", f"parent: {recipe}"))
    done = gatebench("train", "cgt", "--config", str(recipe), *SMALL, "--set", "data.validation=60", "--out", str(tmp_path))
    assert done.returncode == 2 and "starts from itself" in done.stderr


def test_settings_given_as_a_group_reach_the_parent():
    known = {"training.learning_rate=0.2", "training.momentum=0.5", "data.validation=77"}
    recipe = recipe_of("cgt", "cgt", "exit-wise", ["training={learning_rate: 0.2, momentum: 0.5}", "data={validation: 77}"])
    parent = parent_of(recipe)
    assert set(recipe.changes) == set(parent.changes) == known
    assert parent.training.learning_rate == 0.2 and parent.training.momentum == 0.5 and parent.data.validation == 77


def test_imposed_decisions_that_are_not_legal_are_refused():
    net = models.create("cgt", 10, (1, 28, 28)).eval()
    for wanted in ([0] * 6, [1, 1, 0, 1, 0, 0], [0, 0, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0]):
        for count in (1, 3):
            with pytest.raises(ValueError, match="legal decisions"):
                net.infer(torch.zeros(count, 1, 28, 28), decisions=torch.tensor([wanted] * count, dtype=torch.bool))


def test_a_policy_of_another_network_is_refused():
    net, x = models.create("cgt", 10, (1, 28, 28)).eval(), torch.zeros(1, 1, 28, 28)
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
        models.create("cgt", 10, (3, 24, 24), backbone={"kind": "cnn", "widths": [8] * 6})


def test_what_it_answers_with_moves_where_it_moves():
    assert copy.deepcopy(models.create("cgt")).to("meta").rows[0].device.type == "meta"


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
    assert all(module.training for module in models.create("cgt", 10, (1, 28, 28)).modules())


def test_temperatures_stay_within_reason():
    sure = answers([[[9.0, 0.0]]] * 50, [0] * 50)  # always right: no temperature is low enough
    wrong = answers([[[9.0, 0.0]]] * 50, [1] * 50)
    assert reliability.fit_temperatures(sure)[0] >= 0.049 and reliability.fit_temperatures(wrong)[0] <= 20.1


def test_policies_are_kept_with_the_weights():
    net = models.create("cgt", 10, (1, 28, 28), rule="entropy")
    net.policy = ExitPolicy("margin", (0.5, NEVER), (1.0, 1.1, 1.3))
    other = models.create("cgt", 10, (1, 28, 28))
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
    net = models.create("cgt", 10, (1, 28, 28))
    for module in net.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    plain, lean = net.eval(), folded(net)
    assert not any(isinstance(module, torch.nn.Identity) for module in lean.modules())
    images = torch.randn(5, 1, 28, 28)
    with torch.inference_mode():
        assert torch.allclose(plain.all_exits(images), lean.all_exits(images), atol=1e-4)
        assert torch.allclose(plain.twin()(images), lean.twin()(images), atol=1e-4)
