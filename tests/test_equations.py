"""Each equation of the paper against arithmetic written independently, in plain numpy and float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatebench import gating, models, objectives
from gatebench.compatibility import check
from gatebench.contract import Output
from gatebench.errors import UsageError
from gatebench.feature_maps import gated_sum, global_average, inner_products, with_inner_products
from gatebench.gating import incompatibility
from gatebench.models.cosinegate import CirGate, Controller, CosineGate
from gatebench.recipe import Budget, Model, Objective, Recipe


def maps(seed=0, shape=(5, 6, 4, 4), dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    x, f = torch.randn(2, *shape, generator=generator).to(dtype)
    return (part.contiguous(memory_format=torch.channels_last) for part in (x, f))


def test_cir_is_one_minus_cosine():  # Eq. 6-7
    x, f = maps()
    a, b = x.double().numpy().reshape(5, -1), f.double().numpy().reshape(5, -1)
    expected = [1 - (p @ q) / (math.sqrt(p @ p) * math.sqrt(q @ q)) for p, q in zip(a, b, strict=True)]
    assert incompatibility(inner_products(x, f)).numpy() == pytest.approx(expected, abs=1e-6)


def test_cir_of_known_directions():
    x = torch.ones(4, 1, 2, 2)
    f = torch.stack([x[0], -x[0], torch.tensor([[[1.0, -1.0], [1.0, -1.0]]]), 7 * x[0]])
    assert incompatibility(inner_products(x, f)).tolist() == pytest.approx([0, 2, 1, 0], abs=1e-6)


def test_cir_in_bf16_is_as_exact_as_its_inputs():
    x, f = maps(shape=(8, 16, 32, 32))
    f = 0.5 * x + f
    exact = incompatibility(inner_products(x, f))
    assert incompatibility(inner_products(x.bfloat16(), f.bfloat16())).numpy() == pytest.approx(exact.numpy(), abs=4e-3)


def test_controller_is_two_layers_on_the_average():  # Eq. 12
    controller = Controller(6, (4,), bias=False)
    first, second = (layer.weight.detach().double().numpy() for layer in (controller.layers[0], controller.layers[2]))
    x, _ = maps()
    expected = (second @ np.maximum(first @ x.double().numpy().mean((2, 3)).T, 0))[0]
    assert controller(x).detach().numpy() == pytest.approx(expected, abs=1e-5)


def test_gate_logit_is_gamma_times_cir_plus_controller():  # Eq. 11
    net = CosineGate(gate=CirGate(gamma=-3.0))
    x, f = maps(shape=(5, 16, 4, 4))
    a, b = x.double().numpy().reshape(5, -1), f.double().numpy().reshape(5, -1)
    cir = 1 - (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
    controller = net.controllers[0](x).detach().double().numpy()
    assert net.logits_after(0, x, x, f).detach().numpy() == pytest.approx(-3 * (cir + controller), abs=1e-4)


def test_gumbel_softmax_is_the_residual_share():  # Eq. 13-15
    logits = torch.tensor([-3.0, 0.0, 2.0])
    torch.manual_seed(1)
    relaxed = gating.gumbel_softmax(logits, 0.7)
    torch.manual_seed(1)
    uniform = torch.rand(3, 2).double().numpy()
    noise = -np.log(-np.log(uniform))
    for index, logit in enumerate(logits.tolist()):
        identity, residual = np.exp(np.array([0 + noise[index, 0], logit + noise[index, 1]]) / 0.7)
        assert relaxed[index].item() == pytest.approx(residual / (identity + residual), abs=1e-5)


def test_gumbel_softmax_runs_a_block_with_the_probability_of_its_sigmoid():
    torch.manual_seed(0)
    relaxed = gating.gumbel_softmax(torch.full((200_000,), 0.8), 1.0)
    assert (relaxed > 0.5).float().mean().item() == pytest.approx(1 / (1 + math.exp(-0.8)), abs=0.005)


def test_released_relaxation_has_one_gumbel_variable():
    torch.manual_seed(2)
    relaxed = gating.gumbel_sigmoid(torch.tensor([0.3]), 0.6)
    torch.manual_seed(2)
    noise = -math.log(-math.log(torch.rand(1).item()))
    assert relaxed.item() == pytest.approx(1 / (1 + math.exp(-(0.3 + noise) / 0.6)), abs=1e-5)


def test_threshold_decides_strictly_above():  # Eq. 16
    boundary = math.log(0.45 / 0.55)
    _, decided = gating.decide(torch.tensor([boundary - 1e-3, boundary + 1e-3], dtype=torch.float64), 0.45)
    assert decided.tolist() == [False, True]


@pytest.mark.parametrize(("gamma", "bound"), [(-3.0, 0.067), (-2.5, 0.080), (-2.0, 0.100)])
def test_printed_sign_runs_a_block_only_below_a_small_incompatibility(gamma, bound):
    """With gamma < 0 the gate falls as CIR rises, the opposite of the paper's prose."""
    _, run = gating.decide(torch.tensor([gamma * (bound - 0.001), gamma * (bound + 0.001)]), 0.45)
    assert run.tolist() == [True, False]


def test_budget_is_the_squared_excess_of_the_mean_gate():  # Eq. 17-18
    gates = torch.tensor([[0.9, 0.7], [0.8, 0.6]])
    macs = torch.tensor([3.0, 1.0])
    assert objectives.budget(gates, Budget(weight=1, target=0.6), macs).item() == pytest.approx((0.75 - 0.6) ** 2)
    assert objectives.budget(gates, Budget(weight=1, target=0.8), macs).item() == 0
    share = (0.85 * 3 + 0.65 * 1) / 4
    assert objectives.budget(gates, Budget(weight=1, target=0.6, of="macs"), macs).item() == pytest.approx((share - 0.6) ** 2)


def test_warmup_grows_linearly_to_one():  # Eq. 19
    assert [objectives.warmup(epoch, 40) for epoch in (0, 10, 40, 120)] == [0, 0.25, 1, 1]
    assert objectives.warmup(0, 0) == 1
    assert objectives.warmup(-1, 40) == objectives.warmup(-1, 0) == 0


def test_a_penalty_that_starts_later_is_nothing_before():
    logits, labels, gates = torch.zeros(2, 2), torch.tensor([0, 1]), torch.ones(2, 3)
    objective = Objective(budget=Budget(weight=2, target=0.5, start_epoch=4, warmup_epochs=8))
    spent = [
        objectives.total(objective, Output(logits, gates), labels, epoch, torch.ones(3))[1]["budget"].item() for epoch in (0, 4, 6, 12, 20)
    ]
    assert spent == pytest.approx([0, 0, 0.125, 0.5, 0.5])


@given(seed=st.integers(0, 10_000), gate=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_consistency_from_three_products_is_the_distance_of_the_normalised_sums(seed, gate):  # Eq. 20
    x, f = maps(seed, shape=(3, 4, 4, 4))
    gates = torch.full((3,), gate)
    a, b = x.double().numpy().reshape(3, -1), f.double().numpy().reshape(3, -1)
    full, gated = a + b, a + gate * b
    full, gated = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (full, gated))
    expected = ((full - gated) ** 2).sum(1)
    assert objectives.consistency(inner_products(x, f), gates).numpy() == pytest.approx(expected, rel=2e-3, abs=1e-9)


def test_total_is_the_weighted_sum_with_the_warmup_factor():  # Eq. 21
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    gates, drift = torch.tensor([[0.9, 0.9], [0.9, 0.9]]), torch.tensor([[0.1, 0.3], [0.5, 0.7]])
    objective = Objective(budget=Budget(weight=5, target=0.6, warmup_epochs=40), terms={"consistency": 0.01})
    loss, parts = objectives.total(objective, Output(logits, gates, terms={"consistency": drift}), labels, 10, torch.ones(2))
    entropy = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    assert parts["cross_entropy"].item() == pytest.approx(entropy, abs=1e-6)
    assert parts["budget"].item() == pytest.approx(5 * 0.25 * 0.3**2, abs=1e-6)
    assert parts["consistency"].item() == pytest.approx(0.01 * ((0.1 + 0.3) + (0.5 + 0.7)) / 2)
    assert loss.item() == pytest.approx(sum(part.item() for part in parts.values()), abs=1e-6)


def test_a_term_of_one_number_an_input_is_averaged():
    output = Output(torch.zeros(2, 2), terms={"depth": torch.tensor([1.0, 3.0])})
    _, parts = objectives.total(Objective(terms={"depth": 0.5}), output, torch.tensor([0, 1]), 0, torch.ones(0))
    assert parts["depth"].item() == pytest.approx(1.0)


def test_an_objective_that_does_not_fit_the_model_is_refused():
    gated, static = models.create("cosinegate", depth=8), models.create("resnet8")

    def fits(model, **objective):
        check(Recipe(name="r", model=Model(name="m"), objective=Objective(**objective)), model, sized=False)

    fits(gated, budget=Budget(weight=1, target=0.5), terms={"consistency": 1})
    with pytest.raises(UsageError, match="objective.terms.consistancy: the model has no such term. Did you mean 'consistency'"):
        fits(gated, terms={"consistancy": 1})
    with pytest.raises(UsageError, match="has no gates that a budget could hold down"):
        fits(static, budget=Budget(weight=1, target=0.5))


def gradient_by_autograd(function, *inputs):
    inputs = [value.clone().requires_grad_() for value in inputs]
    function(*inputs).sum().backward()
    return [value.grad for value in inputs]


def test_own_backward_of_inner_products_is_autograd_s():
    """Of the products, and of what the maps that are handed on are used for."""
    x, f = maps()
    weights, to_x, to_f = torch.tensor([0.3, -1.2, 0.7]), torch.randn_like(x), torch.randn_like(f)

    def plain(a, b):
        return a, b, torch.stack([(a * a).sum((1, 2, 3)), (a * b).sum((1, 2, 3)), (b * b).sum((1, 2, 3))], 1)

    def used(function):
        def summed(a, b):
            first, second, products = function(a, b)
            return (first * to_x).sum() + (second * to_f).sum() + (products * weights).sum()

        return gradient_by_autograd(summed, x, f)

    for one, other in zip(used(with_inner_products), used(plain), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
        assert one.is_contiguous(memory_format=torch.channels_last)


def test_gated_sum_and_its_backward():  # Eq. 5, with He et al.'s ReLU
    x, f = maps()
    gate, weights = torch.rand(5), torch.randn(5, 6, 4, 4)
    assert torch.allclose(gated_sum(x, f, gate), torch.relu(x + gate[:, None, None, None] * f), atol=1e-6)
    ours = gradient_by_autograd(lambda a, b, g: gated_sum(a, b, g) * weights, x, f, gate)
    plain = gradient_by_autograd(lambda a, b, g: torch.relu(a + g[:, None, None, None] * b) * weights, x, f, gate)
    for one, other in zip(ours, plain, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_global_average_is_the_mean():
    x, _ = maps()
    expected = x.double().numpy().mean((2, 3))
    for grad in (False, True):
        assert global_average(x.requires_grad_(grad)).detach().numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("side", [6, 7, 8])
def test_global_average_is_the_same_in_training_and_at_inference(side):
    x = torch.ones(1, 3, side, side, dtype=torch.bfloat16)  # 1/36 and 1/49 are no numbers of bf16
    assert global_average(x).tolist() == global_average(x.clone().requires_grad_()).tolist() == [[1.0, 1.0, 1.0]]


@pytest.fixture
def net_output():
    torch.manual_seed(0)
    net = models.create("cosinegate", gate={"kind": "cir", "learn_gamma": True}).train()
    return net, net(torch.randn(8, 3, 32, 32).contiguous(memory_format=torch.channels_last))


@pytest.mark.parametrize("term", ["budget", "consistency", "cross_entropy"])
def test_every_term_reaches_every_gate(net_output, term):
    net, output = net_output
    values = {
        "budget": lambda: objectives.budget(output.gates, Budget(weight=1, target=0), torch.ones(9)),
        "consistency": lambda: output.terms["consistency"].sum(1).mean(),
        "cross_entropy": lambda: torch.nn.functional.cross_entropy(output.logits, torch.arange(8)),
    }
    values[term]().backward()
    assert net.gamma.grad is not None and (net.gamma.grad != 0).all()
    for controller in net.controllers:
        assert controller.layers[0].weight.grad.abs().sum() > 0
    assert net.stem[0].weight.grad.abs().sum() > 0


def test_a_detached_budget_shows_in_the_loss_and_moves_nothing(net_output):
    _, output = net_output
    rule = Budget(weight=3, target=0, detached=True)
    penalty = objectives.budget(output.gates, rule, torch.ones(9))
    assert penalty > 0 and not penalty.requires_grad


def test_prediction_trains_the_predictor_and_not_the_signal():
    predicted, observed = torch.tensor([1.0], requires_grad=True), torch.tensor([0.4], requires_grad=True)
    objectives.prediction(predicted, observed).sum().backward()
    assert predicted.grad.item() == pytest.approx(1.2) and observed.grad is None


def test_straight_through_is_hard_forward_and_soft_backward():
    soft = torch.tensor([0.3, 0.8], requires_grad=True)
    hard = gating.straight_through(soft)
    assert hard.tolist() == [0, 1]
    (hard * torch.tensor([2.0, 3.0])).sum().backward()
    assert soft.grad.tolist() == [2, 3]
