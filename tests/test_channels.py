"""Channel gates: cost against hand counts, gates and inference against their definitions, and what the audit and the study say."""

import copy
import itertools
import json
import math

import numpy as np
import pytest
import torch
from conftest import SMALL, trained_run
from hypothesis import given, settings
from hypothesis import strategies as st
from test_models import settle_norms

from gatebench import trained
from gatebench.assignment import load_data
from gatebench.errors import UsageError
from gatebench.evaluation.outcome import collect
from gatebench.losses import Batch, Clock
from gatebench.measure.macs import count_params
from gatebench.models.backbones.feature_maps import max_pool
from gatebench.models.channels import timed, tuning
from gatebench.models.channels.absorbed import absorbed, with_gates
from gatebench.models.channels.batches import WAYS, executed
from gatebench.models.channels.batches import run as run_groups
from gatebench.models.channels.cuts import LAYOUTS, layout_of
from gatebench.models.channels.engines import Fixed
from gatebench.models.channels.gates import InputGates, SaliencyGates
from gatebench.models.channels.kernels import NAMES, Bags, Dense, Slice, kernels
from gatebench.models.channels.layouts import best_split
from gatebench.models.channels.settings import InputGate, SaliencyGate, Sparsity
from gatebench.models.registry import create
from gatebench.outputs import scoring_batches
from gatebench.plan import plan
from gatebench.runs import RunFolder
from gatebench.runtimes.fold import folded

SHAPE = 3, 16, 16
TINY = {"num_classes": 5, "input_shape": SHAPE, "width": 1 / 32}
KINDS = {"free": {"kind": "free"}, "input": {"kind": "input"}, "saliency": {"kind": "saliency"}}
TEMPERATURE = 0.5 / math.log(3)
"""A temperature at which a gate with logit 0.5 is sigmoid(log 3) = 3/4."""


def images(count, size=16, seed=0):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def make(name, kind="free", **options):
    """A network with norms of its own, whose gates differ between channels, and between inputs where they read them."""
    torch.manual_seed(0)
    gate = options.pop("gate", {}) | KINDS[kind]
    inference = options.pop("inference", "scaled" if kind == "saliency" else "hard")
    net = create(name, **{**TINY, "gate": gate, "inference": inference, **options})
    with torch.no_grad():
        for gate in net.gates:
            if kind == "free":
                gate.logits.normal_()
            else:
                gate.layers[-1].weight.mul_(0.1 if kind == "saliency" else 3)
                gate.layers[-1].bias.normal_(1.0 if kind == "saliency" else 0.0, 0.3)
    settle_norms(net, [images(32, net.input_shape[1], seed) for seed in range(3)])
    return net.eval()


def pattern(*layers):
    """Decisions [1, S] from the channels of each layer, "101" for example."""
    return torch.tensor([[each == "1" for each in "".join(layers)]])


def first(*counts):
    """A layer for each pair of active and all channels, the first ones active."""
    return ["1" * on + "0" * (of - on) for on, of in counts]


def close(a, b, tolerance=1e-4):
    return bool((a - b).abs().max() <= tolerance * b.abs().max())


# Cost

VGG = pattern(*first((2, 2), (1, 4), (5, 8), (3, 8), (10, 16), (6, 16), (9, 16), (4, 16)))
VGG_MACS = [
    3 * 2 * 9 * 256, 2 * 1 * 9 * 64, 1 * 5 * 9 * 16, 5 * 3 * 9 * 16, 3 * 10 * 9 * 4, 10 * 6 * 9 * 4, 6 * 9 * 9, 9 * 4 * 9, 4 * 5,
]  # fmt: skip
"""Inputs x outputs x 3 x 3 x pixels: 16 x 16, then pooled after each stage; the last two layers see one pixel."""
VGG_PARAMS = 54 + 18 + 45 + 135 + 270 + 540 + 486 + 324 + 2 * 40 + 4 * 5 + 5
"""Convolutions, scale and shift of the 40 active channels, the linear layer."""
RESNET = pattern(
    "10", "11", "10", "01", "01",  # the stream: 1 channel, 1 still, 2
    *first((3, 4), (2, 4), (1, 4), (4, 4)), *first((5, 8), (0, 8), (0, 8), (6, 8)), *first((3, 16), (16, 16), (7, 16), (2, 16)),
)  # fmt: skip
RESNET_MACS = [
    3 * 1 * 9 * 256,
    1 * 2 * 9 * 256, 2 * 1 * 9 * 256,
    1 * 1 * 9 * 256, 1 * 1 * 9 * 256,
    2 * 3 * 9 * 64, 3 * 2 * 9 * 64, 2 * 4 * 64,  # the projection, behind which all 4 are active
    4 * 1 * 9 * 64, 1 * 4 * 9 * 64,
    4 * 5 * 9 * 16, 0, 4 * 8 * 16,
    0, 0,
    8 * 3 * 9 * 4, 3 * 16 * 9 * 4, 8 * 16 * 4,
    16 * 7 * 9 * 4, 7 * 2 * 9 * 4,
    16 * 5,
]  # fmt: skip
RESNET_PARAMS = (
    27 + 18 + 18 + 9 + 9 + (54 + 54 + 8) + (36 + 36) + (180 + 0 + 32) + 0 + (216 + 432 + 128) + (1008 + 126)
    + 2 * (1 + 2 + 1 + 1 + 1 + 3 + 2 + 4 + 1 + 4 + 5 + 0 + 8 + 0 + 6 + 3 + 16 + 16 + 7 + 2) + 16 * 5 + 5
)  # fmt: skip
CASES = {"lag-vgg11": (VGG, VGG_MACS, VGG_PARAMS), "lag-resnet18": (RESNET, RESNET_MACS, RESNET_PARAMS)}


@pytest.mark.parametrize("name", CASES)
def test_macs_and_weights_against_arithmetic_by_hand(name):
    on, macs, params = CASES[name]
    net = make(name)
    assert net.tally(on).tolist() == [[*macs, 0, 0]]
    assert net.params_used(on[0]) == params
    assert net.params_used(net.most()) == count_params(net) - count_params(net.gates)
    with torch.no_grad():
        sparse, masked = net.infer(images(1), "sparse", on), net.infer(images(1), "masked", on)
    assert sparse.executed_macs.tolist() == [[*macs, 0, 0]] and masked.executed_macs.sum() == net.macs_static
    assert close(sparse.logits, masked.logits)


def test_gates_of_the_input_cost_what_their_layers_do():
    net = make("lag-vgg11", "input")
    macs = 8 * ((3 + 2) + (2 + 4) + (4 + 8) + (8 + 8) + (8 + 16) + (16 + 16) + (16 + 16) + (16 + 16))  # eight hidden units each
    assert net.macs_gate == macs
    assert net.params_used(VGG[0]) == VGG_PARAMS + macs + 8 * 8 + (2 + 4 + 8 + 8 + 4 * 16)
    x = images(1)
    with torch.no_grad():
        deciding, imposed, scaled = net.infer(x), net.infer(x, decisions=VGG), net.infer(x, decisions=VGG, policy="scaled")
    assert deciding.executed_macs[0, -1] == macs and imposed.executed_macs[0, -1] == 0
    assert scaled.executed_macs[0, -1] == macs  # gates are evaluated for their scales


def test_saliency_gates_cost_one_linear_layer():
    net = make("lag-vgg11", "saliency")
    assert net.macs_gate == 3 * 2 + 2 * 4 + 4 * 8 + 8 * 8 + 8 * 16 + 3 * 16 * 16


def test_a_soft_gate_counts_as_a_share_of_a_channel_and_of_the_stream_as_a_chance():
    """A channel of the stream is active where any summand is: of halves 1 - 1/2 x 1/2, then 1 - 1/2 x 1/2 x 1/2."""
    net = make("lag-resnet18")
    macs = net.unit_macs(torch.full((1, net.switches), 0.5, dtype=torch.float64))[0].tolist()
    stem, whole = 3 * 1 * 9 * 256, 1 * 1 * 9 * 256
    assert macs[:5] == [stem, whole, whole, 1.5 * whole, whole]
    assert macs[5:9] == [1.75 * 2 * 9 * 64, 2 * 2 * 9 * 64, 1.75 * 4 * 64, 4 * 2 * 9 * 64]


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [16, 28])  # the second is pooled to an odd size
def test_a_layer_without_an_active_channel(name, size, fold):
    net, x = make(name, input_shape=(3, size, size)), images(2, size)
    net = folded(net) if fold else net
    draw = torch.Generator().manual_seed(1)
    for layer in range(len(net.widths)):
        parts = [torch.rand(1, width, generator=draw) < (0.7 if index != layer else -1) for index, width in enumerate(net.widths)]
        on = torch.cat(parts, 1).expand(2, -1)
        with torch.no_grad():
            sparse, masked = net.infer(x, "sparse", on), net.infer(x, "masked", on)
        assert close(sparse.logits, masked.logits), layer
        assert net.by_layer(sparse.decisions)[layer].sum() == 0 and sparse.executed_macs[0, layer] >= 0


def test_a_network_whose_head_reads_nothing_answers_its_bias():
    net = make("lag-vgg11")
    with torch.no_grad():
        output = net.infer(images(3), "sparse", net.least().expand(3, -1))
    assert torch.equal(output.logits, net.head.bias.expand(3, -1)) and output.executed_macs.sum() == 0


@pytest.mark.parametrize("name", CASES)
def test_bf16_runs_every_pattern(name):
    net, x, draw = make(name), images(3), np.random.default_rng(0)
    nothing_of_the_stem = net.most()
    nothing_of_the_stem[: net.widths[0]] = False
    without_block = nothing_of_the_stem.clone()
    without_block[net.widths[0] : 2 * net.widths[0]] = False
    imposed = [net.least().expand(3, -1), nothing_of_the_stem.expand(3, -1), without_block.expand(3, -1), net.random_decisions(3, draw)]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for on in imposed:
            sparse, masked = (net.infer(x, execution, on).logits.float() for execution in ("sparse", "masked"))
            assert close(sparse, masked, 0.1)


# Gates


def test_temperature_falls_as_released():
    for options in ({"kind": "free"}, {"kind": "input"}):
        net = create("lag-vgg11", **{**TINY, "gate": options})
        assert net.gates[0].temperature == 5
        for epoch in range(25):
            net.begin_epoch(epoch / 25)
            wanted = max(0.5, 5 * 0.9**epoch)
            assert all(float(gate.temperature) == pytest.approx(wanted, rel=1e-6) for gate in net.gates)


def test_gates_begin_nearly_the_same_for_all():
    """Logits of 2 at temperature 5: every gate is sigmoid(0.4)."""
    net = create("lag-vgg11", **TINY)
    assert torch.allclose(net.train()(images(4)).gates, torch.full((4, net.switches), 1 / (1 + math.exp(-0.4))))


@pytest.mark.parametrize(
    "density, channels, count", [(0.5, 5, 3), (0.3, 10, 3), (0.7, 10, 7), (0.1, 30, 3), (0.31, 10, 4), (1e-7, 4, 1), (1, 7, 7)]
)
def test_as_many_channels_are_on_as_the_density_rounded_up(density, channels, count):
    gate = SaliencyGates(SaliencyGate(kind="saliency", density=density), 6, channels)
    gate.begin_epoch(1.0)
    on = gate.on(torch.randn(20, channels))
    assert (on.sum(1) == count).all() and gate.count == count


def test_density_falls_linearly_in_training_and_is_that_of_the_settings_at_inference():
    net = make("lag-vgg11", "saliency")
    for progress, density in ((0.0, 1.0), (0.125, 0.875), (0.25, 0.75), (0.5, 0.5), (0.9, 0.5)):
        net.begin_epoch(progress)
        for training, expected in ((True, density), (False, 0.5)):
            net.train(training)
            with torch.no_grad():
                on = net(images(9)).gates if training else net.infer(images(9)).decisions
            assert [each.sum(1).unique().tolist() for each in net.by_layer(on)] == [[math.ceil(expected * width)] for width in net.widths]
            assert net.legal(net.random_decisions(5, np.random.default_rng(0))).all()
            assert not net.legal(torch.zeros(1, net.switches, dtype=torch.bool)).any()
    other = make("lag-vgg11", "saliency")
    other.load_state_dict(net.state_dict())
    assert other.gates[0].count == 1 and other.gates[7].count == 8


def by_definition(net, x, factors):
    """Logits of the network without gates, whose norms are followed by `factors(gate, input of the convolution)`."""
    copied, scales = copy.deepcopy(net), {}
    for gate, (conv, norm, *_) in zip(copied.gates, copied.gated_layers(), strict=True):
        conv.register_forward_pre_hook(lambda conv, given, gate=gate: scales.update({gate: factors(gate, given[0])}))
        norm.register_forward_hook(lambda norm, given, z, gate=gate: z * scales[gate][..., None, None])
    with torch.no_grad():
        return copied.static_logits(x)


def logits_of(gate, x):
    if not gate.of_input:
        return gate.logits[None]
    hidden, out = gate.layers[0], gate.layers[2]
    return torch.relu(x.mean((2, 3)) @ hidden.weight.T + hidden.bias) @ out.weight.T + out.bias


DEFINITIONS = {
    "hard": lambda gate, x: (logits_of(gate, x) > 0).float(),
    "soft": lambda gate, x: 1 / (1 + torch.exp(-logits_of(gate, x) / gate.temperature)),
    "scaled": lambda gate, x: (logits_of(gate, x) > 0) / (1 + torch.exp(-logits_of(gate, x) / gate.temperature)),
}


@pytest.mark.parametrize("kind", ["free", "input"])
@pytest.mark.parametrize("name", CASES)
def test_hard_soft_and_scaled_inference_are_what_they_are_called(name, kind):
    net, x = make(name, kind), images(6)
    net.begin_epoch(1.0)
    answers = []
    for inference, factors in DEFINITIONS.items():
        wanted = by_definition(net, x, factors)
        for execution in ("masked", "sparse"):
            with torch.no_grad():
                output = net.infer(x, execution, policy=inference)
            assert close(output.logits, wanted)
            on = output.decisions.float().mean()
            assert on == 1 if inference == "soft" else 0 < on < 1
            assert output.gates.shape == output.decisions.shape
        answers.append(wanted)
    assert not any(close(one, other, 1e-2) for one, other in itertools.combinations(answers, 2))


def test_training_is_soft_inference():
    net, x = make("lag-resnet18", "input"), images(6)
    with torch.no_grad():
        training, soft = net(x), net.infer(x, policy="soft")
    assert close(training.logits, soft.logits) and torch.allclose(training.gates, soft.gates, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_saliencies_scale_the_channels_that_win(name):
    net, x = make(name, "saliency"), images(6)
    net.begin_epoch(1.0)
    winners, sums = [], []

    def factors(gate, given):
        linear = gate.layers[0]
        saliency = (given.abs().mean((2, 3)) @ linear.weight.T + linear.bias).clamp(min=0)
        rank = saliency.argsort(1, descending=True).argsort(1)
        winners.append(rank < math.ceil(0.5 * gate.channels))
        sums.append(saliency.sum(1))
        return saliency / saliency.mean(1, keepdim=True) * winners[-1]

    wanted = by_definition(net, x, factors)
    with torch.no_grad():
        for execution in ("masked", "sparse"):
            output = net.infer(x, execution)
            assert close(output.logits, wanted) and torch.equal(output.decisions, torch.cat(winners, 1)) and output.gates is None
        training = net(x)
    assert torch.equal(training.gates.bool(), output.decisions)
    assert torch.allclose(training.terms["saliency"], torch.stack(sums, 1), rtol=1e-4)
    assert len(output.decisions.unique(dim=0)) > 1, "the test wants gates that decide by the input"


def test_straight_through_gates_are_hard_with_the_gradient_of_soft_ones():
    gate = InputGates(InputGate(kind="input", estimator="straight-through"), 4, 3)
    gate.temperature.fill_(TEMPERATURE)
    logits = torch.tensor([[0.5, -0.5, 0.0]], requires_grad=True)
    factors, gates = gate.relaxed(logits)
    assert torch.allclose(factors, torch.tensor([[1.0, 0.0, 0.0]]), atol=1e-6) and gates is factors
    factors.sum().backward()
    shares = torch.tensor([[0.75, 0.25, 0.5]])
    assert torch.allclose(logits.grad, shares * (1 - shares) / TEMPERATURE)


def test_hard_training_computes_what_hard_inference_does_and_moves_the_gates():
    net, x = make("lag-vgg11", "input", gate={"estimator": "straight-through"}), images(8)
    output = net(x)
    with torch.no_grad():
        hard = net.infer(x, policy="hard")
    assert torch.equal(output.gates > 0.5, hard.decisions) and set(output.gates.detach().round(decimals=5).unique().tolist()) == {0, 1}
    assert close(output.logits.detach(), hard.logits)
    output.logits.square().sum().backward()
    assert all(gate.layers[0].weight.grad.abs().max() > 0 for gate in net.gates)


def test_sparsity_is_the_weighted_sum_of_the_gates():
    net, x = make("lag-vgg11", "input"), images(4)
    output = net(x)
    loss = Sparsity(weight=0.25).bind(net, {})(output, Batch(x, torch.zeros(4)), Clock(0, 1))
    assert loss.item() == pytest.approx(0.25 * sum(sum(row) for row in output.gates.tolist()) / 4, rel=1e-5)
    loss.backward()
    assert net.gates[0].layers[2].bias.grad.min() > 0


# What the numbers mean


def test_the_claim_is_one_minus_the_mean_soft_gate():
    net = make("lag-vgg11")
    gates, on = np.full((2, net.switches), 0.75, np.float32), np.ones((2, net.switches), bool)
    assert net.claimed(on, gates) == pytest.approx(25)
    on[:, : net.switches // 2] = False
    assert net.claimed(on, None) == pytest.approx(50) and net.claimed(on, gates) == pytest.approx(25)


@pytest.mark.parametrize("name", CASES)
def test_the_mean_of_free_gates_is_absorbed_by_the_norms(name):
    net, x = make(name, inference="soft"), images(8)
    half = with_gates(net, 0.5)
    with torch.no_grad():
        before, after = net.infer(x, policy="soft"), half.infer(x, policy="soft")
        for norm, (_, own, *_) in zip(half.gated_layers(), net.gated_layers(), strict=True):
            norm[1].load_state_dict(own.state_dict())
        alone = half.infer(x, policy="soft")
    assert torch.allclose(after.gates, before.gates / 2) and close(after.logits, before.logits)
    assert not close(alone.logits, before.logits, 1e-2)  # it is the norms that make up for it
    means = [float(each.gates.mean()) for each in (before, after)]
    (finding,) = absorbed(net, x)
    assert finding.startswith(f"mean gate is absorbed: equal logits at mean gate {means[0]:.2f} and {means[1]:.2f},")
    assert Sparsity(weight=0.1).findings(net, Batch(x, torch.zeros(8)), {}, 1) == [finding]


@pytest.mark.parametrize("kind", ["input", "saliency"])
def test_no_norm_absorbs_gates_that_depend_on_the_input(kind):
    assert absorbed(make("lag-vgg11", kind, inference="scaled"), images(8)) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gate": {"kind": "saliency"}}, "saliencies scale their channels, so inference must be scaled, not hard"),
        ({"gate": {"kind": "saliency", "density": 0}, "inference": "scaled"}, "gate.density = 0 is not allowed.*greater than 0"),
        ({"inference": "softly"}, "inference = 'softly' is not allowed.*'hard', 'soft' or 'scaled'"),
        ({"gate": {"kind": "fre"}}, "'free', 'input'"),
    ],
)
def test_gates_that_cannot_be_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        create("lag-vgg11", **{**TINY, **options})


# Execution that is chosen by measurement


def some(count, share, draw):
    """Numbers of about this share of the channels, one at least; None: all are."""
    on = draw.random(count) < share
    on[draw.integers(count)] = True
    return None if on.all() else torch.from_numpy(on.nonzero()[0])


@given(
    st.sampled_from([(3, 8, 8, 3, 1), (8, 16, 4, 3, 2), (16, 8, 2, 3, 1), (70, 12, 2, 3, 1), (300, 9, 1, 3, 1), (8, 16, 3, 1, 2)]),
    st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**32 - 1),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_every_kernel_computes_the_masked_convolution(layer, held_share, active_share, seed):
    inputs, filters, size, taps, stride = layer
    draw = np.random.default_rng(seed)
    torch.manual_seed(seed % 1000)
    conv = torch.nn.Conv2d(inputs, filters, taps, stride, taps // 2).to(memory_format=torch.channels_last).requires_grad_(False)
    held, active = some(inputs, held_share, draw), some(filters, active_share, draw)
    x = torch.zeros(1, inputs, size, size)
    kept = slice(None) if held is None else held
    x[:, kept] = torch.randn(x[:, kept].shape)
    wanted = conv(x)
    for kernel in kernels(conv, (size, size)):
        given_map = (x if kernel.whole else x[:, kept]).contiguous(memory_format=LAYOUTS[kernel.layout or "contiguous"])
        y = kernel(given_map, held, active)
        expected = wanted if y.shape[1] == filters or active is None else wanted[:, active]
        assert y.shape == expected.shape and torch.allclose(y, expected, atol=1e-4), kernel.name
    assert {kernel.name for kernel in kernels(conv, (size, size))} == set(NAMES) - (set() if size <= 2 * stride else {"bags"})


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_a_batch_computes_the_masked_convolution(way):
    torch.manual_seed(0)
    conv, x = torch.nn.Conv2d(6, 8, 3, 1, 1).requires_grad_(False), torch.randn(5, 6, 4, 4)
    channels, filters = torch.rand(5, 6) < 0.5, torch.rand(5, 8) < 0.5
    channels[3], filters[3] = channels[0], filters[0]  # which may be run together
    channels[1], filters[2] = False, False
    alike = channels[:1].expand(5, -1), filters[:1].expand(5, -1)
    for read, on in ((channels, filters), (None, filters), (channels, None), (None, None), alike):
        given_map = x if read is None else x * read[:, :, None, None]
        groups = WAYS[way](read, on)
        mask = 1 if on is None else on[:, :, None, None]
        assert torch.allclose(run_groups([conv], groups, given_map) * mask, conv(given_map) * mask, atol=1e-5)
        reads, makes = (torch.ones(5, count, dtype=torch.bool) if each is None else each for each, count in ((read, 6), (on, 8)))
        if way == "dense":
            wanted = torch.ones(5)
        elif way == "union":
            wanted = (reads.any(0).sum() * makes.any(0).sum() / 48).expand(5)
        else:
            wanted = reads.sum(1) * makes.sum(1) / 48
        assert torch.allclose(executed(conv, groups, 5), wanted.double())
    assert len(WAYS[way](channels, filters)) == (4 if way == "equal" else 1)


class Dice:
    """A clock by which everything is fastest somewhere."""

    def __init__(self, seed):
        self.draw = np.random.default_rng(seed)

    def seconds(self, work):
        work()
        return float(self.draw.random())


@pytest.fixture
def throw(monkeypatch):
    """Have everything be chosen by dice with this seed."""
    monkeypatch.setattr(timed, "ROUNDS", 1)
    return lambda seed: monkeypatch.setattr(timed, "clock_for", lambda device, clock=Dice(seed): clock)


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow), 5])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_masked_equals_sparse_whatever_was_chosen(name, kind, count, device, throw):
    net, x = folded(make(name, kind, width=1 / 16)).to(device), images(count).to(device)
    draw = np.random.default_rng(count)
    shares = torch.from_numpy(draw.random((4, 1, 1)))
    for seed in range(2):
        throw(seed)
        net.tune(x)
        patterns = [net.least().expand(count, -1), net.most().expand(count, -1), *(torch.rand(4, count, net.switches) < shares)]
        (twin,) = net.references().values()
        with torch.inference_mode():
            assert close(twin(x), net.static_logits(x), 1e-3 if device == "cuda" else 1e-4)
            for on in (None, *patterns):
                for policy in ("hard", "soft", "scaled") if net.bounded else ("scaled",):
                    sparse, masked = net.infer(x, "sparse", on, policy), net.infer(x, "masked", on, policy)
                    assert close(sparse.logits, masked.logits, 1e-3 if device == "cuda" else 1e-4)
                    assert torch.equal(sparse.decisions, masked.decisions)
                    evaluated = on is None or policy != "hard"
                    assert sparse.executed_macs.shape == masked.executed_macs.shape
                    assert (sparse.executed_macs.cpu() >= net.tally(sparse.decisions, net.of_input and evaluated).cpu() - 1e-6).all()
                    assert (sparse.executed_macs.cpu() <= masked.executed_macs.cpu() + 1e-6).all()


@pytest.mark.parametrize("kind", ["free", pytest.param("input", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CASES)
def test_bf16_runs_whatever_was_chosen(name, kind, throw):
    net, x = folded(make(name, kind, width=1 / 16)), images(1)
    for seed in range(3):
        throw(seed)
        net.tune(x)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            for on in (net.least()[None], net.most()[None], net.random_decisions(1, np.random.default_rng(seed))):
                sparse, masked = (net.infer(x, execution, on).logits.float() for execution in ("sparse", "masked"))
                assert close(sparse, masked, 0.1)


MAPS = 16, 8, 4, 4, 2, 2, 1, 1
"""Sizes of what the layers of VGG-11 read."""


def always(net, names):
    """Have the layers of a tuned VGG-11 run these kernels."""
    for conv, size, name in zip(net.tuned.chosen, MAPS, names, strict=True):
        (kernel,) = (each for each in kernels(conv, (size, size)) if each.name == name)
        net.tuned.chosen[conv] = tuning.KernelTable(conv, {kernel: {1.0: [1.0]}})


def test_the_fastest_kernel_of_every_density_is_chosen():
    conv, draw = torch.nn.Conv2d(16, 32, 3, padding=1), np.random.default_rng(0)
    slicing, *others = kernels(conv, (4, 4))
    times = {each: {share: draw.random(3) * 1e-3 for share in (0.1, 0.4, 1.0)} for each in (slicing, *others)}

    def seconds(kernel, held, active):
        means = [float(np.mean(times[kernel][share])) for share in (0.1, 0.4, 1.0)]
        return (1 if kernel.whole else tuning.AROUND) * np.interp(kernel.share(held / 16, active / 16), (0.1, 0.4, 1.0), means)

    table = tuning.KernelTable(conv, times)
    for held in range(1, 17):
        for active in range(1, 17):
            assert table.kernel(held, 2 * active) is min(times, key=lambda kernel, on=(held, active): seconds(kernel, *on))
    assert table.seconds == pytest.approx(sum(min(seconds(kernel, on, on) for kernel in times) for on in range(1, 17)))
    assert table.kernel(0, 32) is table.kernel(16, 0) is slicing


def test_executed_macs_are_those_of_the_kernels_that_ran():
    """By hand; the evaluation counts active inputs x active outputs, whatever was chosen for the times."""
    net, x = make("lag-vgg11", "input"), images(1)
    lean = folded(net)
    lean.tune(x)
    dense = "dense, contiguous"
    names = "slice, contiguous", dense, "dense, channels_last", "slice, channels_last", "dense, channels_last", "bags", dense
    macs = [
        3 * 2 * 9 * 256, 2 * 4 * 9 * 64, 4 * 8 * 9 * 16, 5 * 3 * 9 * 16, 8 * 16 * 9 * 4, 10 * 16 * 9 * 4, 16 * 16 * 9, 9 * 4 * 9, 4 * 5,
    ]  # fmt: skip
    for last, ran, head in (("slice, contiguous", 9 * 4 * 9, 4 * 5), ("bags", 9 * 16 * 9, 4 * 5), (dense, 16 * 16 * 9, 16 * 5)):
        always(lean, [*names, last])
        with torch.inference_mode():
            output, masked = lean.infer(x, decisions=VGG), lean.infer(x, "masked", VGG)
            assert close(output.logits, masked.logits)
            assert output.executed_macs.tolist() == [[*macs[:-2], ran, head, 0, 0]]
            assert net.infer(x, decisions=VGG).executed_macs.tolist() == [[*VGG_MACS, 0, 0]]
            assert lean.infer(x).executed_macs[0, -1] == lean.macs_gate


def test_what_was_chosen_is_what_runs(throw, monkeypatch):
    """Where the same share of a layer's channels and filters is on."""
    net, x, ran = folded(make("lag-vgg11", "input", width=1 / 4)), images(1), []
    throw(0)
    chosen = net.tune(x)
    for kind in (Slice, Dense, Bags):
        monkeypatch.setattr(kind, "__call__", lambda self, *given, call=kind.__call__: (ran.append(self.name), call(self, *given))[1])
    for step, density in enumerate(chosen["densities"]):
        on = pattern(*first(*((round(density * width), width) for width in net.widths)))
        with torch.inference_mode():
            net.infer(x, decisions=on)
        assert ran[1:] == [kinds[step] for kinds in chosen["layers"].values()][1:]  # the first layer reads all of the image's channels
        ran.clear()
    assert len({name for kinds in chosen["layers"].values() for name in kinds}) > 3, "the test wants several kernels"


def test_every_layer_of_a_batch_has_its_way(throw):
    net, x = folded(make("lag-resnet18", "input")), images(6)
    throw(1)
    chosen = net.tune(x)
    ways = {name: way.split(", ")[0] for name, way in chosen["layers"].items()}
    assert list(ways) == [unit.name for unit in net.units[:-1]] and set(ways.values()) == set(WAYS)
    with torch.inference_mode():
        output = net.infer(x)
    dense = [ways.get(unit.name, "dense") == "dense" for unit in net.units]
    everything = torch.tensor([unit.macs for unit in net.units], dtype=torch.float64)
    assert (output.executed_macs[:, :-2][:, dense] == everything[dense]).all() and output.executed_macs.sum(1).max() < net.macs_static


def test_only_a_tuned_copy_runs_what_was_chosen_and_only_in_calls_of_its_size():
    net, x = make("lag-vgg11", "input"), images(4)
    lean = folded(net)
    with pytest.raises(ValueError, match="tuned once its norms are folded"):
        net.tune(x[:2])
    lean.tune(x[:2])
    lean.tuned.chosen = {conv: each._replace(way="dense") for conv, each in lean.tuned.chosen.items()}
    for each, count in itertools.product((net, folded(net), lean), (1, 2, 4)):
        with torch.inference_mode():
            output = each.infer(x[:count])
        assert torch.equal(output.executed_macs, each.tally(output.decisions)) != (each is lean and count == 2)


@pytest.mark.parametrize(
    ("first", "second", "layouts"),
    [
        ([1, 1, 3, 3], [2, 2, 1, 1], ["channels_last", "channels_last", "contiguous", "contiguous"]),
        ([1, 1, 3, 1], [2, 2, 2, 3], ["channels_last"] * 4),  # converting twice is not timed
        ([3, 1, 1, 3], [1, 2, 2, 1], ["contiguous"] * 4),
    ],
)
def test_layers_change_their_layout_once_where_that_is_fastest(first, second, layouts):
    assert best_split({"channels_last": first, "contiguous": second}) == layouts


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_cut_reads_maps_and_weights_of_its_layout(layout, monkeypatch):
    net, x, seen = folded(make("lag-vgg11")), images(3), set()
    plain, convolve = Fixed(net, "hard", None), torch.nn.functional.conv2d
    engine = Fixed(net, "hard", None, {module: layout for _, module, _ in net.weighted_layers()})
    with torch.inference_mode():
        wanted = net.walk(x, plain)
        for _ in range(2):
            assert close(net.walk(x, engine), wanted)

        def watched(x, weight, *rest):
            seen.update([layout_of(x), layout_of(weight)])
            return convolve(x, weight, *rest)

        monkeypatch.setattr(torch.nn.functional, "conv2d", watched)
        net.walk(x, engine)
    assert layout in seen and len(seen - {"contiguous"}) == (layout != "contiguous")  # a map of one pixel is both


def test_decisions_of_a_tuned_copy_are_cut_once_and_again_when_they_change():
    net, x = folded(make("lag-vgg11")), images(1)
    net.tune(x)
    imposed = net.most()[None]
    with torch.inference_mode():
        for change in (slice(0, 0), slice(0, 1), slice(2, 9)):
            imposed[:, change] = False  # in place: what was cut for it no longer holds
            for _ in range(2):
                assert close(net.infer(x, decisions=imposed).logits, net.infer(x, "masked", imposed).logits)
            assert net.tuned.engine(net, "hard", imposed) is net.tuned.engine(net, "hard", imposed.clone())
        assert close(net.infer(x).logits, net.infer(x, "masked").logits)


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (2, 3)])
@pytest.mark.parametrize("layout", LAYOUTS.values())
def test_pooling_takes_the_maxima_of_two_by_two_pixels(size, layout):
    x = torch.randn(2, 3, *size).contiguous(memory_format=layout)
    assert torch.equal(max_pool(x), torch.nn.functional.max_pool2d(x, 2))


# Through the command line


TRAIN = ["train", "lag-vgg11", *SMALL, "--epochs", "1", "--set", "model.width=0.125"]


@pytest.fixture(scope="module", params=["released", "input-hard"])
def run(request, tmp_path_factory):
    return request.param, trained_run(tmp_path_factory.mktemp(request.param), *TRAIN, "--config", request.param)


def test_a_run_has_a_row_for_each_way_of_running_its_gates(run):
    config, folder = run
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    policies = [row["policy"] for row in rows]
    assert policies == (["soft", "hard", "scaled"] if config == "released" else ["hard", "scaled"])
    assert json.loads((folder / "summary.json").read_text()) == rows[0] and all(("audit" in row) == (row is rows[0]) for row in rows)
    for row in rows:
        assert row["skip_pct"] == pytest.approx(100 * (1 - row["mean_gate_soft"])) and row["params_used"] > 0
        assert (row["mean_gate_hard"] == 1) or row["policy"] != "soft"
    assert any("mean gate is absorbed" in each for each in rows[0]["audit"]) == (config == "released")


def test_a_loaded_network_runs_as_a_row_says(run):
    _, folder = run
    model, recipe, _ = trained.load_run(RunFolder(folder))
    assert model.policy == recipe.model.options["inference"]
    assert float(model.gates[0].temperature) == 5  # of the only epoch
    (job,) = plan(recipe, [0], data_root=folder, device="cpu", precision="fp32", threads=1)
    batches = scoring_batches(model, load_data(job).test, torch.device("cpu"), None)
    for row in map(json.loads, (folder / "rows.jsonl").read_text().splitlines()):
        model.operate(row)
        outcome = collect(model, batches, row["precision"])
        assert model.policy == row["policy"] and outcome.accuracy == pytest.approx(row["accuracy"])
        assert outcome.executed.mean() == pytest.approx(row["macs_executed"])


def test_train_prints_operating_points_without_the_claim_that_all_were_chosen(gatebench, run):
    config, folder = run
    done = gatebench(*TRAIN, "--config", config, "--details", "--out", str(folder.parent))
    assert done.returncode == 0 and "operating points: scored once;" in done.stdout


def test_times_carry_what_was_chosen(gatebench, run):
    config, folder = run
    done = gatebench("profile-latency", str(folder), *["--inputs", "8", "--max-seconds", "1", "--threads", "1", "--json"])
    assert done.returncode in (0, 3), done.stderr
    (row,) = json.loads(done.stdout)
    (session,) = json.loads(next(folder.glob("times/*.json")).read_text())["sessions"]
    assert row["batch_norm_folded"] and len(session["chosen"]["layers"]) == len(session["chosen"]["static twin"]) == 8
    assert ("densities" in session["chosen"]) == (config == "input-hard")


def test_a_study_begins_with_the_model_s_own_way(gatebench, tmp_path):
    message = gatebench.refused(*TRAIN, "--set", "study.inference=[hard,soft]", "--out", str(tmp_path), code=2)
    assert "study.inference: the first must be the model's own, 'soft'; --set model.inference changes that." in message


@pytest.mark.parametrize("inference", ["hard", "soft", "scaled"])
@pytest.mark.parametrize("name", CASES)
def test_a_compact_network_answers_as_the_gated_one_with_the_weights_that_it_uses(name, inference):
    net, x = make(name, "free", inference=inference), images(6)
    with torch.no_grad():
        for gate in net.gates:
            gate.logits[0] = 1.0  # a layer without any would keep one
    compact = create("lag-compact", 5, x.shape[1:], {"gated": net}).eval()
    with torch.no_grad():
        gated, alone = net.infer(x), compact.infer(x)
        assert close(alone.logits, gated.logits) and close(folded(compact).infer(x).logits, gated.logits)
    assert count_params(compact) == net.params_used(gated.decisions[0])
    assert compact.macs_static == gated.executed_macs[0].sum() == alone.executed_macs[0].sum()
    assert inference == "soft" or compact.macs_static < net.macs_static


def test_a_compact_network_without_any_channel_of_a_layer_answers_as_the_gated_one():
    net, x = make("lag-vgg11", "free"), images(3)
    with torch.no_grad():
        net.gates[3].logits.fill_(-1.0)
        compact = create("lag-compact", 5, x.shape[1:], {"gated": net}).eval()
        assert close(compact.infer(x).logits, net.infer(x).logits)
    assert compact.layers[3][0].out_channels == 1


def test_only_channels_that_are_off_for_good_are_cut_out():
    for parents, said in (
        ({"gated": create("lag-vgg11", 10, width=0.125, gate={"kind": "input"})}, "parents.gated depend on the input"),
        ({"gated": create("resnet8", 10)}, "parents.gated has no gates on channels"),
    ):
        with pytest.raises(UsageError, match=said):
            create("lag-compact", 5, (3, 32, 32), parents)
