"""What is said of a run: audit findings, statistics, breakdown, schedules."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from gatebench.contract import GatedModel, Output, Unit
from gatebench.data.batches import Batches
from gatebench.data.images import Dataset, Images
from gatebench.data.shapes import make_shapes
from gatebench.evaluation.audit import audit, constant_gates, unexecuted_claim
from gatebench.evaluation.breakdown import breakdown, per_input
from gatebench.evaluation.outcome import Outcome, collect
from gatebench.evaluation.row import make_row
from gatebench.evaluation.scores import scores
from gatebench.losses import Batch, Budget, CrossEntropy
from gatebench.measure.statistics import wilson
from gatebench.models.registry import create
from gatebench.training.schedule import make_schedule
from gatebench.training.settings import Training


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return create("cosinegate", depth=8, input_shape=(3, 16, 16))


def outcome(decisions, labels=None, predictions=None, executed_macs=None):
    decisions = np.asarray(decisions, dtype=bool)
    count = len(decisions)
    labels = np.zeros(count, int) if labels is None else np.array(labels)
    return Outcome(
        labels=labels,
        predictions=labels if predictions is None else np.array(predictions),
        confidence=np.ones(count, np.float32),
        gates=decisions.astype(np.float32) * 0.5,
        decisions=decisions,
        executed_macs=np.zeros((count, decisions.shape[1] + 2)) if executed_macs is None else np.asarray(executed_macs),
    )


def batch():
    return Batch(torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(8))


BUDGET = Budget(weight=1, target=0.6)
BUSY = {"train_mean_gate": 0.7, "train_macs_share": 0.7}
"""An epoch in which the penalty is at work."""


def test_constant_gates_are_reported(net):
    assert constant_gates(net, outcome([[1, 0, 1], [1, 1, 1]])) == ["always on: blocks.0, blocks.2"]
    assert constant_gates(net, outcome([[1, 0, 0], [0, 1, 0]])) == ["always off: blocks.2"]
    findings = constant_gates(net, outcome([[1, 0, 1], [1, 0, 1]]))
    assert findings[0].startswith("gate constant over inputs") and "always off: blocks.1" in findings
    assert constant_gates(net, outcome([[1, 0, 0], [0, 1, 1]])) == []


def test_what_must_be_on_is_no_finding():
    exits = create("cgt", 10, (1, 28, 28))
    first, second, _ = exits.leaving()
    decisions = torch.cat([first, second, first]).numpy()
    assert constant_gates(exits, outcome(decisions)) == ["always off: segments.2, heads.2"]


def test_a_penalty_without_gradient_is_reported(net):
    weights = copy.deepcopy(net.state_dict())
    assert BUDGET.findings(net, batch(), BUSY, 25) == []
    (finding,) = BUDGET.model_copy(update={"detached": True}).findings(net, batch(), BUSY, 25)
    assert finding == "penalty without gradient: the budget's penalty cannot move any gate"
    assert all(torch.equal(tensor, weights[name]) for name, tensor in net.state_dict().items()), "the audit changes nothing"
    assert all(weight.grad is None for weight in net.parameters())


def test_gates_that_nothing_trained_decides_have_no_penalty_that_moves_them():
    frozen = create("cosinegate", depth=8, input_shape=(3, 16, 16)).requires_grad_(False)
    frozen.head.requires_grad_(True)
    (finding,) = BUDGET.findings(frozen, batch(), BUSY, 25)
    assert finding.startswith("penalty without gradient")


@pytest.mark.parametrize("gates", [None, torch.ones(8, 1), torch.ones(8, 1, requires_grad=True)])
def test_a_method_without_soft_gates_has_no_penalty_that_moves_one(gates):
    class Hard(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(768, 4)

        def forward(self, x):
            return Output(self.linear(x.flatten(1)), gates)

    (finding,) = BUDGET.findings(Hard(), batch(), {"train_mean_gate": None, "train_macs_share": None}, 25)
    assert finding == "penalty without gradient: the budget's penalty cannot move any gate"


def test_an_idle_penalty_is_reported(net):
    of_gates = [BUDGET.findings(net, batch(), {"train_mean_gate": gate, "train_macs_share": 0.3}, 25) for gate in (0.61, 0.598, 0.512)]
    assert of_gates == [[], [], ["penalty idle: in training the mean gate, 0.512, is under its target 0.60"]]
    by_macs = BUDGET.model_copy(update={"of": "macs"}).findings(net, batch(), {"train_mean_gate": 0.7, "train_macs_share": 0.3}, 25)
    assert by_macs == ["penalty idle: in training the share of the MACs, 0.300, is under its target 0.60"]
    assert BUDGET.findings(net, batch(), {"train_mean_gate": None, "train_macs_share": None}, 25) == []


def test_a_penalty_that_is_late_is_reported(net):
    late = BUDGET.model_copy(update={"start_epoch": 5, "warmup_epochs": 20})
    assert late.findings(net, batch(), BUSY, 25) == BUDGET.findings(net, batch(), BUSY, 1) == []
    assert late.findings(net, batch(), BUSY, 10) == ["penalty late: after 10 epochs it has 25 % of its weight"]
    assert late.findings(net, batch(), BUSY, 4) == ["penalty late: after 4 epochs it has 0 % of its weight"]


def test_a_penalty_of_no_weight_is_no_finding(net):
    nothing = Budget(weight=0, target=0.6, detached=True, start_epoch=50)
    assert nothing.findings(net, batch(), {"train_mean_gate": 0.1, "train_macs_share": 0.1}, 10) == []


def test_a_claimed_saving_that_is_not_executed_is_reported():
    assert unexecuted_claim(50.0, 40.0, 1.0) == []
    (finding,) = unexecuted_claim(50.0, -1.0, 1.0)
    assert finding == "claimed saving not executed: 50.0 % are claimed, -1.0 % of the MACs are saved"
    assert unexecuted_claim(0.0, 0.0, 1.0) == []
    assert unexecuted_claim(60.0, 14.0, 0.25) == [], "of a quarter of the network"


def test_the_audit_has_the_findings_of_gates_losses_and_claims_and_none_for_a_static_network(net):
    decisions = torch.tensor([[True, False, False], [True, False, True]])
    computed = net.tally(torch.ones(2, 3)).numpy()
    losses = [CrossEntropy(), Budget(weight=1, target=0.6, detached=True)]
    findings = audit(net, losses, outcome(decisions, executed_macs=computed), BUSY, 25, batch())
    assert findings == [
        "always on: blocks.0",
        "always off: blocks.1",
        "penalty without gradient: the budget's penalty cannot move any gate",
        f"claimed saving not executed: 50.0 % are claimed, {-100 * net.macs_gate / net.macs_static:.1f} % of the MACs are saved",
    ]
    nothing = torch.zeros(2, 0, dtype=torch.bool)
    static = create("resnet8", input_shape=(3, 16, 16))
    assert audit(static, [CrossEntropy()], outcome(nothing, executed_macs=static.tally(nothing)), BUSY, 25, batch()) == []


@given(st.integers(1, 10_000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_wilson_is_scipy_s(counts):
    expected = binomtest(*counts).proportion_ci(0.95, method="wilson")
    low, high = wilson(*counts)
    assert (low, high) == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-9)
    assert (low == 0) == (counts[0] == 0) and (high == 100) == (counts[0] == counts[1])


def test_units_of_several_switches_are_averaged():
    class Wide(GatedModel):
        units = [Unit("a", "block", 1, 0, 0), Unit("b", "channels", 3, 0, 0), Unit("c", "channels", 0, 0, 0)]

    decisions = np.array([[1, 1, 0, 0], [0, 1, 1, 1]])
    assert Wide().fractions(decisions).tolist() == [[1, pytest.approx(1 / 3), 1], [0, 1, 1]]
    assert Wide().claimed(decisions) == 37.5 and create("resnet8").fractions(np.zeros((2, 0))).shape == (2, 0)


def test_macs_are_the_base_the_gate_and_what_ran(net):
    macs = [unit.macs for unit in net.units]
    ran = torch.tensor([[True, False, True], [False, False, False]])
    base = net.macs_static - sum(macs)
    assert net.tally(ran).tolist() == [[macs[0], 0, macs[2], base, net.macs_gate], [0, 0, 0, base, net.macs_gate]]
    assert net.tally(ran, deciding=False).tolist() == [[macs[0], 0, macs[2], base, 0], [0, 0, 0, base, 0]]


def test_an_outcome_adds_up_what_was_executed_and_what_was_decided(net):
    first, second, third = (unit.macs for unit in net.units)
    base = net.macs_static - first - second - third
    computed = [[first, second, third, base, net.macs_gate], [first, 0, 0, base, net.macs_gate]]
    ran = outcome([[1, 0, 1], [1, 0, 0]], executed_macs=computed)
    assert ran.executed.tolist() == [net.macs_static + net.macs_gate, base + first + net.macs_gate]
    assert ran.decided_macs(net).tolist() == [base + first + third + net.macs_gate, base + first + net.macs_gate]
    assert ran.macs_ratio(net) == pytest.approx((net.macs_static + base + first + 2 * net.macs_gate) / 2 / net.macs_static)
    assert ran.gate_means() == {"mean_gate_soft": 0.25, "mean_gate_hard": 0.5}
    assert ran.gate_means_by_unit(net) == {"gate_blocks.0": 1, "gate_blocks.1": 0, "gate_blocks.2": 0.5}


@pytest.mark.parametrize("execution", ["masked", "sparse"])
def test_one_pass_over_a_split_is_the_network_asked_batch_by_batch(execution):
    torch.manual_seed(0)
    net = create("cosinegate", 4, (3, 16, 16), depth=8, gate={"kind": "predictive"})
    images = make_shapes(30, 4, 16, 1)
    batches = Batches(images, (0.5,) * 3, (0.25,) * 3, batch_size=12, device=torch.device("cpu"))
    taken = collect(net, batches, "fp32", execution)
    with torch.no_grad():
        outputs = [net.eval().infer(batch.x, execution) for batch in batches.in_order()]
        shares = torch.cat([output.logits for output in outputs]).softmax(1)
    assert np.array_equal(taken.labels, images.labels) and np.array_equal(taken.predictions, shares.argmax(1))
    assert np.allclose(taken.confidence, shares.amax(1))
    for name in ("gates", "decisions", "executed_macs"):
        assert np.array_equal(getattr(taken, name), torch.cat([getattr(output, name) for output in outputs]))
    assert taken.accuracy == pytest.approx(100 * (taken.predictions == images.labels).mean())


def test_the_row_of_a_run_has_the_last_epoch_first_and_the_peak_beside_it(net):
    history = [{"epoch": 1, "test_accuracy": 70.0}, {"epoch": 2, "test_accuracy": 80.0}, {"epoch": 3, "test_accuracy": 75.0}]
    computed = net.tally(torch.tensor([[True, False, True], [True, True, True]])).numpy()
    ran = outcome([[1, 0, 1], [1, 0, 0]], labels=[0, 1], predictions=[0, 0], executed_macs=computed)
    row = make_row(net, ran, history, ["a finding"], split="test", model="m", parents=None)
    assert row["accuracy"] == 50 and row["accuracy_peak"] == 80 and row["peak_epoch"] == 2
    assert row["adaptive"] is True and row["skip_pct"] == 50 and row["mean_gate_hard"] == 0.5 and row["mean_gate_soft"] == 0.25
    assert row["macs_dense"] == net.macs_static and row["macs_gate"] == net.macs_gate
    assert row["macs_executed"] == computed.sum(1).mean() and row["macs_decided"] == ran.decided_macs(net).mean()
    assert row["macs_ratio"] == pytest.approx(row["macs_executed"] / net.macs_static)
    assert row["audit"] == ["a finding"] and row["model"] == "m" and "parents" not in row
    static = create("resnet8", input_shape=(3, 16, 16))
    nothing = torch.zeros(2, 0, dtype=torch.bool)
    plain = outcome(nothing, labels=[0, 1], predictions=[0, 0], executed_macs=static.tally(nothing))
    plain.gates = None
    row = make_row(static, plain, history, [], split="test")
    assert row["adaptive"] is False and row["macs_executed"] == row["macs_decided"] == static.macs_static
    assert not {"skip_pct", "mean_gate_soft", "mean_gate_hard"} & set(row)


def test_breakdown_by_class_difficulty_and_unit(net):
    difficulty = np.array([0.05, 0.95, 0.9], np.float32)
    test = Images(np.zeros((3, 16, 16, 3), np.uint8), np.array([0, 1, 1]), difficulty)
    dataset = Dataset("made", ["cat", "dog"], test, test, (0,) * 3, (1,) * 3)
    computed = net.tally(torch.ones(3, 3)).numpy()
    ran = outcome([[0, 0, 1], [1, 1, 1], [1, 0, 1]], labels=[0, 1, 1], predictions=[0, 1, 0], executed_macs=computed)
    inputs = per_input(net, dataset, ran)
    assert inputs["macs_executed"].tolist() == [net.macs_static + net.macs_gate] * 3
    assert inputs["macs_decided"].tolist() == ran.decided_macs(net).tolist()
    assert inputs["blocks.0"].tolist() == [0, 1, 1] and inputs["blocks.0_soft"].tolist() == [0, 0.5, 0.5]
    table = breakdown(net, dataset, ran, inputs).set_index(["by", "group"])
    assert table.loc[("class", "cat"), ["inputs", "accuracy"]].tolist() == [1, 100]
    assert table.loc[("class", "dog"), ["inputs", "accuracy"]].tolist() == [2, 50]
    assert table.loc[("difficulty", "0.8-1.0"), "mean_gate_hard"] == pytest.approx(5 / 6)
    assert table.loc[("unit", "blocks.0"), "mean_gate_hard"] == pytest.approx(2 / 3)
    elsewhere = net.tally(torch.zeros(1, 3)).sum().item()
    assert table.loc["unit", "macs_executed"].sum() + elsewhere == pytest.approx(ran.executed.mean(), abs=1e-6)
    unit = net.units[0].macs
    assert table.loc[("unit", "blocks.0"), ["macs_decided", "macs_executed"]].tolist() == pytest.approx([unit * 2 / 3, unit])


def rates(settings, epochs, steps_per_epoch=10):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=settings.learning_rate)
    schedule = make_schedule(settings, optimizer, steps_per_epoch)
    rates = []
    for _ in range(epochs * steps_per_epoch):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_cosine_annealing_falls_from_the_rate_to_nothing():
    taken = rates(Training(epochs=4, learning_rate=0.1), 4)
    expected = [0.05 * (1 + math.cos(math.pi * step / 40)) for step in range(40)]
    assert taken == pytest.approx(expected)


def test_warm_restarts_start_again_after_one_and_three_cycles():
    taken = rates(Training(epochs=7, learning_rate=0.1, schedule="warm-restarts", restart_epochs=1, restart_factor=2), 7)
    assert taken[0] == taken[10] == taken[30] == pytest.approx(0.1)
    assert taken[9] < 0.01 and taken[29] < 0.01


def test_one_cycle_goes_up_to_the_rate_and_down_to_nothing():
    taken = rates(Training(epochs=10, learning_rate=0.2, schedule="one-cycle"), 10)
    top = taken.index(max(taken))
    assert max(taken) == pytest.approx(0.2, rel=0.02) and taken[0] < 0.01 and taken[-1] < 3e-3
    assert 18 <= top <= 22
    steps = np.diff(taken)
    assert steps[: top - 1] == pytest.approx(steps[0]) and steps[top + 1 :] == pytest.approx(steps[-1])


def test_steps_take_a_tenth_after_each_milestone():
    taken = rates(Training(epochs=10, learning_rate=0.1, schedule="steps", milestones=(5, 8)), 10)
    assert taken[49] == 0.1 and taken[50] == pytest.approx(0.01) and taken[-1] == pytest.approx(0.001)


def test_scores_are_means_over_classes():
    means = scores(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]))
    assert means["precision_macro"] == pytest.approx(100 * (1 / 2 + 1 / 2 + 0) / 3)
    assert means["recall_macro"] == pytest.approx(100 * (1 / 2 + 1 + 0) / 3)
    assert means["f1"] == pytest.approx(100 * (1 / 2 + 2 / 3 + 0) / 3)
    assert scores(np.array([0, 2]), np.array([0, 2]))["f1"] == 100  # a class between that nobody has
