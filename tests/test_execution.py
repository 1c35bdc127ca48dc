"""Sparse execution: the same answers as masked, with the work really left out."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from gatebench import models
from gatebench.execution.fold import folded, same_answers
from gatebench.execution.order import BatchOrder
from gatebench.exit_policy import ExitPolicy, all_scores

GATED = {
    "cir": ("cosinegate", {}),
    "cir, projections": ("cosinegate", {"depth": 14, "shortcut": "projection"}),
    "up-front": ("cosinegate", {"gate": {"kind": "predictive"}}),
    "before": ("cosinegate", {"gate": {"kind": "predictive", "decides": "before"}, "shortcut": "projection"}),
    "exits": ("cgt", {"backbone": {"kind": "resnet18", "widths": [8, 16, 32]}, "threshold": 0.3}),
    "exits, margin": ("cgt", {"backbone": {"kind": "cnn"}, "rule": "margin"}),
    "exits, patience": ("cgt", {"backbone": {"kind": "cnn", "widths": [8, 8, 8, 8, 8]}, "rule": "patience"}),
}


def test_every_registered_gated_model_is_tried():
    assert {name for name in models.list_models() if models.entry(name).family != "resnet"} == {name for name, _ in GATED.values()}


def make(kind, size=16):
    """A network with batch statistics of its own and gates that differ between inputs."""
    name, options = GATED[kind]
    torch.manual_seed(1)
    net = models.create(name, 10, (3, size, size), **options)
    for part, parameter in net.named_parameters():
        if "controllers" in part or "forecast" in part:
            torch.nn.init.normal_(parameter)
    for _ in range(10):
        net.train()(torch.randn(32, 3, size, size))
    net.eval()
    if net.exits > 1:
        leave_everywhere(net, inputs(200, size))
    return net


def leave_everywhere(net, x):
    """Thresholds, temperatures and answers by which some inputs leave at every exit, and patience looks back past those that left."""
    temperatures = tuple(1 + 0.5 * number for number in range(net.exits))
    with torch.no_grad():
        answers = [module for head in net.heads for module in head.modules() if isinstance(module, torch.nn.Linear)]
        for layer in answers:  # that differ from exit to exit ...
            torch.nn.init.normal_(layer.weight, 0.0, 3.0)
        for layer, mean in zip(answers, net.all_exits(x).mean(0), strict=True):  # ... and from input to input
            layer.bias -= mean
        scores = all_scores(net.all_exits(x), net.policy.rule, temperatures)
    if net.policy.rule == "patience":
        net.policy = ExitPolicy(net.policy.rule, (2.0,) * (net.exits - 1))
    else:
        net.policy = ExitPolicy(net.policy.rule, tuple(scores[:, :-1].quantile(0.7, dim=0).tolist()), temperatures)
    taken = net.infer(x).decisions[:, ::2].sum(1) - 1
    assert set(taken.tolist()) == set(range(net.policy.rule == "patience", net.exits)), "the tests want inputs at every exit"


@pytest.fixture(scope="module", params=GATED)
def net(request):
    return make(request.param)


def some_on(net, count, share, seed=0):
    """Legal decisions [N, S], in which about this share is on."""
    generator = torch.Generator().manual_seed(seed)
    if net.exits == 1:
        return torch.rand(count, net.switches, generator=generator) < share
    last = (torch.rand(count, net.exits - 1, generator=generator) < share).sum(1)
    return net.needed(torch.stack([torch.arange(net.exits) <= each for each in last]).repeat_interleave(2, 1))


def inputs(count, size=16):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(count)).contiguous(memory_format=torch.channels_last)


def assert_same(first, second):
    """Largest difference relative to the largest logit, in fp32."""
    assert (first - second).abs().max() <= 1e-4 * second.abs().max()


@pytest.mark.parametrize("count", [1, 2, 7, 64, 101])
@pytest.mark.parametrize("fold", [False, True])
def test_masked_equals_sparse_in_batches_of_every_size(net, count, fold):
    net, x = folded(net) if fold else net, inputs(count)
    with torch.inference_mode():
        own = net.infer(x, "masked")
        patterns = [own.decisions, net.least().expand_as(own.decisions), torch.ones_like(own.decisions)]
        patterns += [some_on(net, count, share, count) for share in (0.1, 0.5, 0.9, 0.98)]
        patterns += [net.random_decisions(count, np.random.default_rng(count))]
        sparse = net.infer(x, "sparse")
        assert_same(sparse.logits, net.infer(x, "masked", sparse.decisions).logits)
        assert (sparse.decisions == own.decisions).float().mean() > 0.99  # a logit on the threshold may fall either way
        assert own.gates is None or (sparse.gates - own.gates).abs().max() < 0.05  # which the blocks after it then follow
        for pattern in patterns:
            masked, sparse = net.infer(x, "masked", pattern), net.infer(x, "sparse", pattern)
            assert_same(sparse.logits, masked.logits)
            assert torch.equal(sparse.decisions, pattern) and masked.executed.all()
            assert (sparse.executed | ~pattern).all()  # whatever was decided was run


def test_one_by_one_an_input_decides_as_in_a_batch(net):
    x = inputs(101)
    with torch.inference_mode():
        batch, rows = net.infer(x), [net.infer(row[None]) for row in x]
        decisions, logits = (torch.cat([getattr(row, name) for row in rows]) for name in ("decisions", "logits"))
        same = (decisions == batch.decisions).all(1)
        assert same.float().mean() > 0.95  # a logit on the threshold may fall either way
        assert_same(logits[same], batch.logits[same])
        rows[0].decisions.zero_()  # what it was given is the caller's own
        assert torch.equal(net.infer(x[:1]).decisions, decisions[:1])


def test_no_inputs_are_no_work_and_no_error(net):
    x, none = inputs(1)[:0], torch.zeros(0, net.switches, dtype=torch.bool)
    with torch.inference_mode():
        for execution in ("masked", "sparse"):
            assert net.infer(x, execution, none).logits.shape == (0, 10)


def test_the_input_is_not_touched(net):
    x = inputs(9)
    before = x.clone()
    with torch.inference_mode():
        net.infer(x, decisions=some_on(net, 9, 0.5))
    assert torch.equal(x, before)


@given(st.integers(2, 40), st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_a_move_brings_both_decisions_together(count, seed, share, later_share):
    draw = np.random.default_rng(seed)
    order = BatchOrder(count)
    x = torch.arange(count, dtype=torch.float32).view(count, 1, 1, 1).expand(count, 2, 2, 2).contiguous(memory_format=torch.channels_last)
    for _ in range(3):
        on, later = draw.random(count) < share, draw.random(count) < later_share
        if not on.any():
            continue
        together = order.rows(on) is not None
        x, rows = order.arrange(x, on, later)
        assert rows == order.rows(on)
        assert set(order.inputs[rows]) == set(np.flatnonzero(on))
        assert together or not later.any() or order.rows(later) is not None
        assert x[:, 0, 0, 0].tolist() == order.inputs.tolist()
    assert order.restore(x)[:, 0, 0, 0].tolist() == list(range(count))


@pytest.mark.parametrize("kind", GATED)
@pytest.mark.parametrize("count, share", [(1, 0.5), (16, 0.5), (64, 0.98)])  # of so few off, the blocks are run for all
def test_macs_are_those_that_torch_counts_on_what_really_ran(kind, count, share):
    net, x = make(kind), inputs(count)
    pattern = some_on(net, count, share, seed=3)
    with torch.inference_mode():
        for decisions in (pattern, None):
            with FlopCounterMode(display=False) as counter:
                output = net.infer(x, "sparse", decisions)
            expected = net.macs(output.executed.numpy(), deciding=decisions is None).sum()
            # the cosines of the printed gate are inner products that torch's counter may or may not see
            cosines = 0 if getattr(net, "decides", None) != "after" or decisions is not None else count * (net.macs_gate - controllers(net))
            assert expected - cosines <= counter.get_total_flops() / 2 <= expected


def controllers(net):
    return sum(layer.weight.numel() for module in net.controllers for layer in module.layers if hasattr(layer, "weight"))


@pytest.mark.parametrize("kind", GATED)
def test_folding_changes_no_answer_and_leaves_no_norm(kind):
    net, x = make(kind), inputs(20)
    plain, other = net.infer(x), folded(net).infer(x)
    assert same_answers(other.logits, plain.logits)
    assert plain.gates is None or torch.allclose(other.gates, plain.gates, atol=1e-4)
    assert not any("Norm" in type(module).__name__ for module in folded(net).modules())
    assert any("Norm" in type(module).__name__ for module in net.modules())  # the original is left as it was


def test_the_twin_is_the_network_with_everything_on(net):
    x = inputs(8)
    with torch.inference_mode():
        on = net.infer(x, decisions=torch.ones(8, len(net.units), dtype=torch.bool))
        assert_same(net.twin()(x), on.logits)
    assert models.create("resnet20").twin() is None


@pytest.mark.parametrize("kind", GATED)
def test_fixed_policies_ask_the_gates_and_always_get_the_same_answer(kind):
    net, x = make(kind), inputs(8)
    with torch.inference_mode():
        assert net.infer(x, policy=net.fixed_policies["all on"]).decisions.all()
        assert (net.infer(x, policy=net.fixed_policies["all off"]).decisions == net.least()).all()
