"""Each equation of the paper against arithmetic written independently, in plain numpy and float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatebench import gating
from gatebench.contract import GatedModel, Output, Unit
from gatebench.errors import UsageError
from gatebench.gating import incompatibility
from gatebench.losses import Batch, Budget, Clock, CrossEntropy, warmup
from gatebench.models.backbones.feature_maps import gated_sum, global_average, inner_products, with_inner_products
from gatebench.models.blocks.cosinegate import Controller, CosineGate, consistency
from gatebench.models.blocks.losses import Consistency, Prediction
from gatebench.models.blocks.settings import CirGate
from gatebench.models.registry import create
from gatebench.recipe import load
from gatebench.training.loop import Trainer
from gatebench.training.settings import Training


def maps(seed=0, shape=(5, 6, 4, 4), dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    x, f = torch.randn(2, *shape, generator=generator).to(dtype)
    return (part.contiguous(memory_format=torch.channels_last) for part in (x, f))


class Costs(GatedModel):
    """What a loss asks of a model: units of these MACs, one switch each."""

    def __init__(self, *macs):
        super().__init__()
        self.units = [Unit(str(index), "block", 1, each, 0) for index, each in enumerate(macs)]


def loss_of(rule, output, labels, epoch, model):
    """A loss [] of one batch, `epoch` of 100."""
    return rule.bind(model, {})(output, Batch(torch.zeros(len(labels), 3, 4, 4), labels), Clock(epoch, 100))


def test_cir_is_one_minus_cosine():  # Eq. 6-7
    x, f = maps()
    a, b = x.double().numpy().reshape(5, -1), f.double().numpy().reshape(5, -1)
    expected = [1 - (p @ q) / (math.sqrt(p @ p) * math.sqrt(q @ q)) for p, q in zip(a, b, strict=True)]
    assert incompatibility(inner_products(x, f)).numpy() == pytest.approx(expected, abs=1e-6)


def test_cir_of_same_opposite_and_orthogonal_directions():
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
    assert net.logits(0, x, (), (x, f))[0].detach().numpy() == pytest.approx(-3 * (cir + controller), abs=1e-4)


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
    model = Costs(3, 1)
    assert Budget(weight=1, target=0.6).penalty(gates, model).item() == pytest.approx((0.75 - 0.6) ** 2)
    assert Budget(weight=1, target=0.8).penalty(gates, model).item() == 0
    share = (0.85 * 3 + 0.65 * 1) / 4
    assert Budget(weight=1, target=0.6, of="macs").penalty(gates, model).item() == pytest.approx((share - 0.6) ** 2)


def test_warmup_grows_linearly_to_one():  # Eq. 19
    assert [warmup(epoch, 40) for epoch in (0, 10, 40, 120)] == [0, 0.25, 1, 1]
    assert warmup(0, 0) == 1
    assert warmup(-1, 40) == warmup(-1, 0) == 0


def test_a_penalty_that_starts_later_is_nothing_before():
    output, labels = Output(torch.zeros(2, 2), torch.ones(2, 3)), torch.tensor([0, 1])
    rule = Budget(weight=2, target=0.5, start_epoch=4, warmup_epochs=8)
    spent = [loss_of(rule, output, labels, epoch, Costs(1, 1, 1)).item() for epoch in (0, 4, 6, 12, 20)]
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
    assert consistency(inner_products(x, f), gates).numpy() == pytest.approx(expected, rel=2e-3, abs=1e-9)


def test_consistency_of_the_last_block_is_the_last_of_all():
    every, last = (
        create("cosinegate", 10, (3, 16, 16), depth=8, gate={"kind": "cir", "consistency": of}).train() for of in ("all", "last")
    )
    last.load_state_dict(every.state_dict())
    x, _ = maps(2, shape=(4, 3, 16, 16))
    terms = []
    for net in (every, last):
        torch.manual_seed(0)
        terms.append(net(x).terms["consistency"])
    assert terms[0].shape == (4, 3) and torch.equal(terms[1], terms[0][:, -1:])


def test_total_is_the_weighted_sum_with_the_warmup_factor():  # Eq. 21
    class Fixed(Costs):
        """Gives the same output for every batch."""

        def __init__(self):
            super().__init__(1, 1)
            self.logits = torch.nn.Parameter(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))

        def forward(self, x):
            drift = torch.tensor([[0.1, 0.3], [0.5, 0.7]])
            return Output(self.logits, torch.tensor([[0.9, 0.9], [0.9, 0.9]]), terms={"consistency": drift})

    losses = {
        "cross_entropy": CrossEntropy(),
        "budget": Budget(weight=5, target=0.6, warmup_epochs=40),
        "consistency": Consistency(weight=0.01),
    }
    trainer = Trainer(Fixed(), Training(epochs=160), losses, 1, "fp32")
    loss, parts, _ = trainer.step(Batch(torch.zeros(2, 3, 4, 4), torch.tensor([0, 0])), 10)
    entropy = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    assert parts["cross_entropy"].item() == pytest.approx(entropy, abs=1e-6)
    assert parts["budget"].item() == pytest.approx(5 * 0.25 * 0.3**2, abs=1e-6)
    assert parts["consistency"].item() == pytest.approx(0.01 * ((0.1 + 0.3) + (0.5 + 0.7)) / 2)
    assert loss.item() == pytest.approx(sum(part.item() for part in parts.values()), abs=1e-6)


def test_a_term_of_one_number_an_input_is_averaged():
    output = Output(torch.zeros(2, 2), terms={"prediction": torch.tensor([1.0, 3.0])})
    assert loss_of(Prediction(weight=0.5), output, torch.tensor([0, 1]), 0, Costs()).item() == pytest.approx(1.0)


def test_label_smoothing_takes_a_share_of_the_truth():
    logits, labels = torch.tensor([[2.0, 0.0, 1.0]]), torch.tensor([0])
    logs = [value - math.log(math.exp(2) + 1 + math.exp(1)) for value in (2.0, 0.0, 1.0)]
    expected = -sum((0.9 * (index == 0) + 0.1 / 3) * log for index, log in enumerate(logs))
    assert loss_of(CrossEntropy(label_smoothing=0.1), Output(logits), labels, 0, Costs()).item() == pytest.approx(expected, rel=1e-6)


def test_a_loss_that_does_not_fit_the_model_is_refused():
    gated, static = create("cosinegate", depth=8), create("resnet8")
    Budget(weight=1, target=0.5).check(gated)
    Consistency(weight=1).check(gated)
    with pytest.raises(UsageError, match="losses.prediction: the model has no such term. It has: consistency."):
        Prediction(weight=1).check(gated)
    with pytest.raises(UsageError, match="losses.consistency: the model has no such term. It has: none."):
        Consistency(weight=1).check(static)
    with pytest.raises(UsageError, match="losses.budget: the model has no gates that a budget could hold down"):
        Budget(weight=1, target=0.5).check(static)


def test_a_misspelled_loss_is_named_with_the_nearest_one():
    with pytest.raises(UsageError, match="unknown key 'losses.consistancy'. Did you mean 'consistency'"):
        load("cosinegate", "cosinegate", "balanced", ["losses.consistancy.weight=1"])


def test_a_budget_on_a_method_whose_forward_gives_no_gates_is_nothing():
    assert loss_of(Budget(weight=1, target=0.0), Output(torch.zeros(2, 2)), torch.tensor([0, 1]), 9, Costs(1, 1)).item() == 0


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
    net = create("cosinegate", input_shape=(3, 16, 16), gate={"kind": "cir", "learn_gamma": True}).train()
    return net, net(torch.randn(8, 3, 16, 16).contiguous(memory_format=torch.channels_last))


@pytest.mark.parametrize("term", ["budget", "consistency", "cross_entropy"])
def test_every_term_reaches_every_gate(net_output, term):
    net, output = net_output
    rules = {
        "budget": Budget(weight=1, target=0),
        "consistency": Consistency(weight=1),
        "cross_entropy": CrossEntropy(),
    }
    loss_of(rules[term], output, torch.arange(8), 50, net).backward()
    assert net.gamma.grad is not None and (net.gamma.grad != 0).all()
    for controller in net.controllers:
        assert controller.layers[0].weight.grad.abs().sum() > 0
    assert net.stem[0].weight.grad.abs().sum() > 0


def test_a_detached_budget_shows_in_the_loss_and_moves_nothing(net_output):
    net, output = net_output
    penalty = loss_of(Budget(weight=3, target=0, detached=True), output, torch.arange(8), 50, net)
    assert penalty > 0 and not penalty.requires_grad


@pytest.mark.parametrize("decides", ["up-front", "before"])
def test_prediction_is_the_squared_error_of_cir_and_trains_the_predictor_alone(decides):
    torch.manual_seed(0)
    net = create("cosinegate", input_shape=(3, 16, 16), depth=14, gate={"kind": "predictive", "decides": decides, "watch": 0.5}).train()
    net.begin_epoch(0.0)  # every block runs: the network is its static twin
    x = torch.randn(8, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    output = net(x)
    y, errors = net.stem(x), []
    for block in net.blocks:  # a predictor starts with CIR = 1 everywhere
        a, b = (part.detach().double().numpy().reshape(8, -1) for part in (block.shortcut(y), block.residual(y)))
        errors.append(((a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))) ** 2)
        y = block(y)
    assert output.terms["prediction"].detach().numpy() == pytest.approx(np.stack(errors, 1), abs=1e-5)
    loss_of(Prediction(weight=1), output, torch.arange(8), 0, net).backward()
    heads = [net.up_front_head] if decides == "up-front" else net.block_heads
    assert all(head.forecast.linear.weight.grad.abs().sum() > 0 for head in heads)
    assert all(weight.grad is None or not weight.grad.any() for block in net.blocks[-1:] for weight in block.parameters())


def test_straight_through_is_hard_forward_and_soft_backward():
    soft = torch.tensor([0.3, 0.8], requires_grad=True)
    hard = gating.straight_through(soft)
    assert hard.tolist() == [0, 1]
    (hard * torch.tensor([2.0, 3.0])).sum().backward()
    assert soft.grad.tolist() == [2, 3]
