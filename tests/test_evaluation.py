"""What is said of a run: audit findings, statistics, breakdown, schedules."""

import copy
import math

import numpy as np
import pytest
import torch

from gatebench import models
from gatebench.contract import GatedModel, Output, Unit
from gatebench.data.images import Dataset, Images
from gatebench.evaluation import audit
from gatebench.evaluation.breakdown import breakdown, per_input
from gatebench.evaluation.outcome import Outcome, scores
from gatebench.measure.statistics import wilson
from gatebench.recipe import Budget, Training
from gatebench.training.schedule import make_schedule


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return models.create("cosinegate", depth=8, input_shape=(3, 16, 16))


def outcome(decisions, labels=None, predictions=None, executed=None):
    decisions = np.array(decisions, dtype=bool)
    count = len(decisions)
    labels = np.zeros(count, int) if labels is None else np.array(labels)
    return Outcome(
        labels=labels,
        predictions=labels if predictions is None else np.array(predictions),
        confidence=np.ones(count, np.float32),
        gates=decisions.astype(np.float32) * 0.5,
        decisions=decisions,
        executed=decisions if executed is None else np.array(executed),
    )


def test_constant_gates_are_found(net):
    assert audit.constant_gates(net, outcome([[1, 0, 1], [1, 1, 1]])) == ["always on: blocks.0, blocks.2"]
    assert audit.constant_gates(net, outcome([[1, 0, 0], [0, 1, 0]])) == ["always off: blocks.2"]
    found = audit.constant_gates(net, outcome([[1, 0, 1], [1, 0, 1]]))
    assert found[0].startswith("gate constant over inputs") and "always off: blocks.1" in found
    assert audit.constant_gates(net, outcome([[1, 0, 0], [0, 1, 1]])) == []


def test_a_penalty_without_gradient_is_found(net):
    batch = torch.randn(8, 3, 16, 16), torch.arange(8)
    weights = copy.deepcopy(net.state_dict())
    assert audit.penalty_gradient(net, Budget(weight=1, target=0.6), batch, "fp32") == []
    (found,) = audit.penalty_gradient(net, Budget(weight=1, target=0.6, detached=True), batch, "fp32")
    assert found.startswith("penalty without gradient")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in net.state_dict().items()), "the audit changes nothing"


def test_a_method_without_soft_gates_has_no_penalty_that_moves_one():
    class Hard(torch.nn.Module):
        def forward(self, x):
            return Output(x.flatten(1))

    found = audit.penalty_gradient(Hard(), Budget(weight=1, target=0.6), (torch.randn(2, 3, 4, 4), torch.arange(2)), "fp32")
    assert found == ["penalty without gradient: the budget's penalty cannot move any gate"]


def test_an_idle_penalty_is_found():
    rule = Budget(weight=1, target=0.6)
    found = [audit.penalty_inactive(rule, {"train_mean_gate": gate, "train_macs_share": 0.3}) for gate in (0.61, 0.598, 0.512)]
    assert found == [[], [], ["penalty idle: in training the mean gate, 0.512, is under its target 0.60"]]
    by_macs = rule.model_copy(update={"of": "macs"})
    found = audit.penalty_inactive(by_macs, {"train_mean_gate": 0.7, "train_macs_share": 0.3})
    assert audit.penalty_inactive(rule, {"train_mean_gate": None, "train_macs_share": None}) == []
    assert found == ["penalty idle: in training the share of the MACs, 0.300, is under its target 0.60"]


def test_a_penalty_that_is_late_is_found():
    rule = Budget(weight=1, target=0.6, start_epoch=5, warmup_epochs=20)
    assert audit.penalty_late(rule, 25) == audit.penalty_late(Budget(weight=1, target=0.6), 1) == []
    assert audit.penalty_late(rule, 10) == ["penalty late: after 10 epochs it has 25 % of its weight"]
    assert audit.penalty_late(rule, 4) == ["penalty late: after 4 epochs it has 0 % of its weight"]


def test_a_claimed_saving_that_is_not_executed_is_found():
    assert audit.unexecuted_claim(50.0, 40.0) == []
    (found,) = audit.unexecuted_claim(50.0, -1.0)
    assert found == "claimed saving not executed: 50.0 % of the gates are off, -1.0 % of the MACs are saved"
    assert audit.unexecuted_claim(0.0, 0.0) == []


def test_wilson_against_its_formula():
    n, share, z = 10_000, 0.9125, 1.959963984540054
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    assert wilson(9125, n) == pytest.approx((100 * (centre - half), 100 * (centre + half)), abs=1e-9)


def test_units_of_several_switches_are_averaged():
    class Wide(GatedModel):
        units = [Unit("a", "block", 1, 0, 0), Unit("b", "channels", 3, 0, 0)]

    decisions = np.array([[1, 1, 0, 0], [0, 1, 1, 1]])
    assert Wide().fractions(decisions).tolist() == [[1, pytest.approx(1 / 3)], [0, 1]]
    assert Wide().claimed(decisions) == 37.5 and models.create("resnet8").fractions(np.zeros((2, 0))).shape == (2, 0)


def test_macs_are_the_base_the_gate_and_what_ran(net):
    first, second, third = (unit.macs for unit in net.units)
    ran = np.array([[1, 0, 1], [0, 0, 0]], bool)
    base = net.macs_static - first - second - third
    assert net.macs(ran).tolist() == [base + net.macs_gate + first + third, base + net.macs_gate]
    assert net.macs(ran, deciding=False).tolist() == [base + first + third, base]


def test_breakdown_by_class_difficulty_and_unit(net):
    difficulty = np.array([0.05, 0.95, 0.9], np.float32)
    test = Images(np.zeros((3, 16, 16, 3), np.uint8), np.array([0, 1, 1]), difficulty)
    dataset = Dataset("made", ["cat", "dog"], test, test, (0,) * 3, (1,) * 3)
    found = outcome([[0, 0, 1], [1, 1, 1], [1, 0, 1]], labels=[0, 1, 1], predictions=[0, 1, 0], executed=np.ones((3, 3)))
    table = breakdown(net, dataset, found, per_input(net, dataset, found)).set_index(["by", "group"])
    assert table.loc[("class", "cat"), ["inputs", "accuracy"]].tolist() == [1, 100]
    assert table.loc[("class", "dog"), ["inputs", "accuracy"]].tolist() == [2, 50]
    assert table.loc[("difficulty", "0.8-1.0"), "mean_gate_hard"] == pytest.approx(5 / 6)
    assert table.loc[("unit", "blocks.0"), "mean_gate_hard"] == pytest.approx(2 / 3)
    ran = table.loc["unit", "macs_executed"].sum() + net.macs(np.zeros((1, 3)))[0]
    assert ran == pytest.approx(found.executed_macs(net).mean(), abs=1e-6)
    unit = net.units[0].macs
    assert table.loc[("unit", "blocks.0"), ["macs_decided", "macs_executed"]].tolist() == pytest.approx([unit * 2 / 3, unit])


def rates(settings, epochs, steps_per_epoch=10):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=settings.learning_rate)
    schedule = make_schedule(settings, optimizer, steps_per_epoch)
    found = []
    for _ in range(epochs * steps_per_epoch):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_cosine_annealing_falls_from_the_rate_to_nothing():
    found = rates(Training(epochs=4, learning_rate=0.1), 4)
    expected = [0.05 * (1 + math.cos(math.pi * step / 40)) for step in range(40)]
    assert found == pytest.approx(expected)


def test_warm_restarts_start_again_after_one_and_three_cycles():
    found = rates(Training(epochs=7, learning_rate=0.1, schedule="warm-restarts", restart_epochs=1, restart_factor=2), 7)
    assert found[0] == found[10] == found[30] == pytest.approx(0.1)
    assert found[9] < 0.01 and found[29] < 0.01


def test_one_cycle_goes_up_to_the_rate_and_down_to_nothing():
    found = rates(Training(epochs=10, learning_rate=0.2, schedule="one-cycle"), 10)
    top = found.index(max(found))
    assert max(found) == pytest.approx(0.2, rel=0.02) and found[0] < 0.01 and found[-1] < 3e-3
    assert 18 <= top <= 22
    steps = np.diff(found)
    assert steps[: top - 1] == pytest.approx(steps[0]) and steps[top + 1 :] == pytest.approx(steps[-1])


def test_steps_take_a_tenth_after_each_milestone():
    found = rates(Training(epochs=10, learning_rate=0.1, schedule="steps", milestones=(5, 8)), 10)
    assert found[49] == 0.1 and found[50] == pytest.approx(0.01) and found[-1] == pytest.approx(0.001)


def test_scores_are_means_over_classes():
    found = scores(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]))
    assert found["precision_macro"] == pytest.approx(100 * (1 / 2 + 1 / 2 + 0) / 3)
    assert found["recall_macro"] == pytest.approx(100 * (1 / 2 + 1 + 0) / 3)
    assert found["f1"] == pytest.approx(100 * (1 / 2 + 2 / 3 + 0) / 3)
    assert scores(np.array([0, 2]), np.array([0, 2]))["f1"] == 100  # a class between that nobody has
