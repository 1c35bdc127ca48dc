"""Sparse execution: the same answers as masked, with the work really left out."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from test_models import parents_of, settle_norms
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gatebench.measure.macs import count_macs
from gatebench.models.blocks.chance import RandomSkip
from gatebench.models.blocks.convnet_aig import ConvNetAig
from gatebench.models.blocks.cosinegate import CosineGate
from gatebench.models.blocks.network import BlockGatedResNet
from gatebench.models.blocks.order import BatchOrder
from gatebench.models.blocks.skipnet import SkipNet
from gatebench.models.blocks.slat import Slat
from gatebench.models.channels.network import ChannelGated
from gatebench.models.exits.policy import BEYOND, NEVER, ExitPolicy, all_scores
from gatebench.models.experts.router import Router
from gatebench.models.registry import create, entry, list_models
from gatebench.runtimes.fold import folded, same_answers

SIZE = 16


class Centred(BlockGatedResNet):
    """Gates that are on for half of the inputs that it was centred on, block by block."""

    def __init__(self, **backbone):
        super().__init__(**backbone)
        self.register_buffer("middle", torch.zeros(len(self.blocks)))
        self.centring = False

    def centre(self, x):
        self.centring = True
        with torch.no_grad():
            self.infer(x, "masked")
        self.centring = False

    def centred(self, index, score):
        if self.centring:
            self.middle[index] = score.median()
        return 100 * (score - self.middle[index])


class Recurrent(Centred):
    """One LSTM cell looks at every block's input before the block is computed."""

    when = "before"

    def __init__(self, size=6, **backbone):
        super().__init__(**backbone)
        channels = [shape[1] for shape in self.map_shapes()[:-1]]
        self.looks = nn.ModuleList(nn.Linear(each, size) for each in channels)
        self.cell, self.answer = nn.LSTMCell(size, size), nn.Linear(size, 1)
        self.macs_gate = sum(each * size for each in channels) + len(channels) * (8 * size * size + size)

    def start(self, x):
        return x.new_zeros(len(x), self.cell.hidden_size), x.new_zeros(len(x), self.cell.hidden_size)

    def logits(self, index, x, state, paths):
        hidden, memory = self.cell(self.looks[index](x.mean((2, 3))), state)
        return self.centred(index, self.answer(hidden).squeeze(1)), (hidden, memory)


class Spatial(Centred):
    """A map of the stem's output scales every F(x), and fades with every block; a block is left out where the rest of it is dark."""

    when = "before"

    def __init__(self, **backbone):
        super().__init__(**backbone)
        self.look = nn.Conv2d(self.map_shapes()[0][1], 1, 1)
        self.macs_look = count_macs(self.look, self.map_shapes()[0])

    @property
    def macs_outside(self):
        return super().macs_outside + self.macs_look  # under imposed decisions too

    def start(self, x):
        return (torch.sigmoid(self.look(x)),)

    def logits(self, index, x, state, paths):
        (attention,) = state
        return self.centred(index, attention.mean((1, 2, 3))), (attention * (0.8 + 0.2 * torch.tanh(x.mean((1, 2, 3), keepdim=True))),)

    def residual(self, index, x, state):
        residual = super().residual(index, x, state)
        return residual * F.adaptive_avg_pool2d(state[0], residual.shape[2:])


class LooksBack(Centred):
    """What a block decides by, and scales F(x) by, is the stem's output, which is the state as it is."""

    when = "before"

    def start(self, x):
        return (x,)

    def logits(self, index, x, state, paths):
        return self.centred(index, x.square().mean((1, 2, 3)) - state[0].mean((1, 2, 3))), state

    def residual(self, index, x, state):
        return super().residual(index, x, state) * state[0].square().mean((1, 2, 3), keepdim=True)


class Remembers(Centred):
    """What a block decides by is its F(x) and that of the block before, which is the state as it is."""

    when = "after"

    def start(self, x):
        return (x,)

    def logits(self, index, x, state, paths):
        return self.centred(index, paths[1].square().mean((1, 2, 3)) - state[0].square().mean((1, 2, 3))), (paths[1],)


class Unrectified(Centred):
    """A block hands on relu(shortcut) + F(x), which may be negative; no block with an identity shortcut comes after."""

    when = "up-front"

    def __init__(self, **backbone):
        super().__init__(**backbone)
        self.look = nn.Linear(self.map_shapes()[0][1], len(self.blocks))
        self.macs_gate = count_macs(self.look, (1, self.look.in_features))

    def up_front_logits(self, x):
        scores = self.look(x.mean((2, 3))).unbind(1)
        return torch.stack([self.centred(index, score) for index, score in enumerate(scores)], 1)

    def combine(self, shortcut, residual):
        return F.relu(shortcut) + residual


BACKBONE = {"num_classes": 10, "input_shape": (3, SIZE, SIZE), "depth": 14}
OWN = {
    "recurrent": lambda: Recurrent(**BACKBONE),
    "recurrent, projections": lambda: Recurrent(shortcut="projection", **BACKBONE),
    "spatial": lambda: Spatial(**BACKBONE),
    "looks back": lambda: LooksBack(**BACKBONE),
    "remembers": lambda: Remembers(**BACKBONE),
    "unrectified": lambda: Unrectified(shortcut="projection", **BACKBONE | {"depth": 8}),
}
"""Methods of block gates that use what a method may override."""
REGISTERED = {
    "cir": ("cosinegate", {}),
    "cir, projections": ("cosinegate", {"depth": 14, "shortcut": "projection"}),
    "up-front": ("cosinegate", {"gate": {"kind": "predictive"}}),
    "before": ("cosinegate", {"gate": {"kind": "predictive", "decides": "before"}, "shortcut": "projection"}),
    "when unsure": ("when-unsure", {"depth": 20, "shortcut": "projection"}),
    "exits": ("cgt", {"backbone": {"kind": "resnet18", "widths": [8, 16, 32]}, "threshold": 0.3}),
    "exits, margin": ("cgt", {"backbone": {"kind": "cnn"}, "rule": "margin"}),
    "router": ("router", {"gater": {"kind": "learned", "size": SIZE, "pretrained": False}}),
    "exits, patience": ("cgt", {"backbone": {"kind": "cnn", "widths": [8, 8, 8, 8, 8]}, "rule": "patience"}),
    "skipnet": ("skipnet", {}),
    "skipnet, projections": ("skipnet", {"gate": {"kind": "feed-forward"}, "shortcut": "projection"}),
    "convnet-aig": ("convnet-aig", {"depth": 14}),
    "blockdrop": ("blockdrop", {"depth": 14}),
    "slat": ("slat", {"depth": 14, "shortcut": "projection"}),
    "chance": ("random-skip", {"depth": 14}),
    "channels, free": ("lag-resnet34", {"width": 0.125}),
    "channels, input": ("lag-vgg11", {"width": 0.125, "gate": {"kind": "input"}}),
    "channels of a stream": ("lag-resnet18", {"width": 0.125, "gate": {"kind": "input"}, "inference": "scaled"}),
    "channels, saliency": ("lag-vgg13", {"width": 0.125, "gate": {"kind": "saliency"}, "inference": "scaled"}),
}


def test_every_registered_gated_model_is_tried():
    static = "static", "experts.expert:expert", "channels.compact", "channels.pruned", "blocks.fixed"
    gated = {name for name in list_models() if not str(entry(name).source).removeprefix("gatebench.models.").startswith(static)}
    assert gated == {name for name, _ in REGISTERED.values()}


def make(kind):
    """A network with batch statistics of its own and gates that differ between inputs."""
    torch.manual_seed(1)
    if kind in OWN:
        net = OWN[kind]()
    else:
        name, options = REGISTERED[kind]
        net = create(name, 10, (3, SIZE, SIZE), parents_of(name, 10, (3, SIZE, SIZE)), **options)
        for part, parameter in net.named_parameters():
            if any(name in part for name in ("controllers", "forecast", "decider.answer")):
                torch.nn.init.normal_(parameter)
            if not getattr(net, "bounded", True) and "gates" in part and part.endswith("weight"):
                parameter.data.mul_(0.1)  # saliencies that are about 1: many layers that scale by more would explode
    settle_norms(net, [torch.randn(32, 3, SIZE, SIZE) for _ in range(4)])
    net.eval()
    if kind in OWN:
        net.centre(inputs(200))
    if has_exits(net):
        leave_everywhere(net, inputs(200))
    if isinstance(net, Router):
        send_everywhere(net, inputs(200))
    if isinstance(net, ChannelGated):
        open_half(net, inputs(200))
    if isinstance(net, (SkipNet, ConvNetAig, Slat)):
        centre_answers(net, inputs(200))
    return net


def centre_answers(net, x):
    """Gates by which each block is on for about half of the inputs; for half over all blocks, where they share a last layer."""

    def keep(layer, given, answer):
        answers[layer].append(answer.flatten(2).mean(2) if answer.dim() == 4 else answer)

    layers = [part for name, part in net.named_modules() if name.endswith(("answer", "look"))]
    answers = {layer: [] for layer in layers}
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    with torch.no_grad():
        for layer in layers:
            layer.weight.mul_(10)
        net.infer(x, "masked")
        for layer, given in answers.items():
            given = torch.cat(given)
            layer.bias -= (given - given[:, :1] * (given.shape[1] == 2)).median(0).values
    for hook in hooks:
        hook.remove()


def open_half(net, x):
    """Gates by which each channel is on for about half of the inputs, or half of the channels for every input; saliencies are about 1."""
    net.begin_epoch(1.0)

    def centre(gate, pooled, logits):
        middle = logits.median(0).values - (0 if gate.bounded else 1)
        gate.layers[-1].bias -= middle
        return logits - middle

    with torch.no_grad():
        for gate in net.gates:
            if net.of_input:
                gate.register_forward_hook(centre)
            else:
                torch.nn.init.normal_(gate.logits)
        net.infer(x, "masked")
    for gate in net.gates:
        gate._forward_hooks.clear()


def send_everywhere(net, x):
    """Scores by which every expert gets some images."""
    head = net.method.head
    with torch.no_grad():
        torch.nn.init.normal_(head.weight, 0.0, 3.0)
        head.bias -= net.gater(x).median(0).values
    assert net.infer(x).decisions.any(0).all(), "the tests want images at every expert"


def has_exits(net):
    return hasattr(net, "exits")


def leave_everywhere(net, x):
    """Thresholds, temperatures and answers by which some inputs leave at every exit, and patience looks back past those that left."""
    temperatures = tuple(1 + 0.5 * number for number in range(net.exits))
    with torch.no_grad():
        answers = [module for head in net.heads for module in head.modules() if isinstance(module, nn.Linear)]
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


@pytest.fixture(scope="module", params=[*REGISTERED, *OWN])
def net(request):
    return make(request.param)


@pytest.fixture(scope="module")
def lean(net):
    return folded(net)


def some_on(net, count, share, seed=0):
    """Legal decisions [N, S], in which about this share is on."""
    generator = torch.Generator().manual_seed(seed)
    if isinstance(net, Router) or not getattr(net, "bounded", True):
        return net.random_decisions(count, np.random.default_rng(seed))
    if not has_exits(net):
        return torch.rand(count, net.switches, generator=generator) < share
    last = (torch.rand(count, net.exits - 1, generator=generator) < share).sum(1)
    return net.needed(torch.stack([torch.arange(net.exits) <= each for each in last]).repeat_interleave(2, 1))


def asked(net):
    """Whether the gates are evaluated under imposed decisions too: they scale the channels that run."""
    return isinstance(net, ChannelGated) and net.policy != "hard"


def inputs(count):
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(count)).contiguous(memory_format=torch.channels_last)


def assert_same(first, second):
    """Largest difference relative to the largest logit, in fp32."""
    assert (first - second).abs().max() <= 1e-4 * second.abs().max()


def test_recorded_pieces_decide_as_the_network_does(net):
    """With pieces that are run instead of replayed; on a GPU they are CUDA graphs."""
    x = inputs(8)
    with torch.inference_mode():
        pieces = net.recorded(x[:1], lambda work, example, share_memory=False: work)
        for each in x[:, None] if pieces else ():
            for execution in ("sparse", "masked"):
                own, replayed = net.infer(each, execution), pieces.infer(each, execution)
                assert torch.equal(own.decisions, replayed.decisions)
                assert_same(replayed.logits, own.logits)


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow), 7, pytest.param(64, marks=pytest.mark.slow), 101])
@pytest.mark.parametrize("fold", [False, True])
def test_masked_equals_sparse_in_batches_of_every_size(net, lean, count, fold):
    net, x = lean if fold else net, inputs(count)
    with torch.inference_mode():
        own, everything = net.infer(x, "masked"), net.most().expand(count, -1)
        assert torch.equal(own.executed_macs, net.tally(torch.ones_like(everything)))
        patterns = [own.decisions, net.least().expand(count, -1), everything]
        patterns += [some_on(net, count, share, count) for share in (0.1, 0.5, 0.9, 0.98)]
        patterns += [net.random_decisions(count, np.random.default_rng(count))]
        if isinstance(net, ChannelGated) and count > 7:  # inputs that differ are run one by one, as their own decisions are anyway
            patterns = [net.least().expand(count, -1), everything]
        sparse = net.infer(x, "sparse")
        state_matters = type(net) is Spatial  # which scales F(x) by the gates make of the map
        assert_same(sparse.logits, own.logits if state_matters else net.infer(x, "masked", sparse.decisions).logits)
        assert (sparse.decisions == own.decisions).float().mean() > 0.99  # a logit on the threshold may fall either way
        assert own.gates is None or (sparse.gates - own.gates).abs().max() < 0.05  # which the blocks after it then follow
        assert count < 64 or 0 < own.decisions[:, :-1].float().mean() < 1, "the test wants gates that decide"
        if isinstance(net, Centred) and count > 64:
            shares = own.decisions.float().mean(0)
            assert shares.min() > 0.25 and shares.max() < 0.75
        for pattern in patterns:
            masked, sparse = net.infer(x, "masked", pattern), net.infer(x, "sparse", pattern)
            assert_same(sparse.logits, masked.logits)
            assert torch.equal(sparse.decisions, pattern) and torch.equal(masked.decisions, pattern)
            assert torch.equal(masked.executed_macs, net.tally(torch.ones_like(pattern), deciding=asked(net)))
            wanted = net.tally(pattern, deciding=asked(net))
            assert (sparse.executed_macs >= wanted).all()  # whatever was decided was run
            alone = count == 1 or isinstance(net, ChannelGated)  # of which a batch is run one by one
            assert not alone or torch.equal(sparse.executed_macs, wanted)


def test_one_by_one_an_input_decides_as_in_a_batch(net):
    x = inputs(101)
    with torch.inference_mode():
        batch, rows = net.infer(x), [net.infer(row[None]) for row in x]
        decisions, logits = (torch.cat([getattr(row, name) for row in rows]) for name in ("decisions", "logits"))
        same = (decisions == batch.decisions).all(1)
        assert same.float().mean() > 0.95  # a logit on the threshold may fall either way
        assert_same(logits[same], batch.logits[same])
        rows[0].decisions.zero_()  # the caller's own
        assert torch.equal(net.infer(x[:1]).decisions, decisions[:1])


def test_no_inputs_are_no_work_and_no_error(net):
    x, none = inputs(1)[:0], torch.zeros(0, net.switches, dtype=torch.bool)
    with torch.inference_mode():
        for execution in ("masked", "sparse"):
            output = net.infer(x, execution, none)
            assert output.logits.shape == (0, 10) and output.executed_macs.shape == (0, len(net.units) + 2)


def test_the_input_is_not_touched(net):
    x = inputs(9)
    before = x.clone()
    with torch.inference_mode():
        for execution in ("masked", "sparse"):
            for decisions in (None, some_on(net, 9, 0.5)):
                net.infer(x, execution, decisions)
    assert torch.equal(x, before)


@given(st.integers(2, 40), st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_a_move_brings_both_decisions_together_and_takes_the_state_along(count, seed, share, later_share):
    draw = np.random.default_rng(seed)
    order = BatchOrder(count)
    numbers = torch.arange(count, dtype=torch.float32)
    x = numbers.view(count, 1, 1, 1).expand(count, 2, 2, 2).contiguous(memory_format=torch.channels_last)
    state = (numbers.clone(), numbers.view(count, 1).expand(count, 5).contiguous(), x.clone())
    for _ in range(3):
        on, later = draw.random(count) < share, draw.random(count) < later_share
        if not on.any():
            continue
        together = order.rows(on) is not None
        x, state, rows = order.arrange(x, state, on, later)
        assert rows == order.rows(on)
        assert set(order.inputs[rows]) == set(np.flatnonzero(on))
        assert together or not later.any() or order.rows(later) is not None
        assert x[:, 0, 0, 0].tolist() == order.inputs.tolist()
        for each in state:
            assert each.flatten(1).T.tolist() == [order.inputs.tolist()] * each[0].numel() if each.dim() > 1 else each.tolist()
    assert order.restore(x)[:, 0, 0, 0].tolist() == list(range(count))


@pytest.mark.parametrize("count, share", [(1, 0.5), (16, 0.5), (64, 0.98)])  # of so few off, the blocks are run for all
def test_macs_are_those_that_torch_counts_on_what_really_ran(net, count, share):
    count = min(count, 3) if isinstance(net, ChannelGated) else count  # of which a batch is run one by one
    x = inputs(count)
    pattern = some_on(net, count, share, seed=3)
    with torch.inference_mode():
        for execution in ("sparse", "masked"):
            for decisions in (pattern, None):
                with FlopCounterMode(display=False) as counter:
                    output = net.infer(x, execution, decisions)
                expected = output.executed_macs.sum().item()
                # the cosines of the printed gate are inner products that torch's counter may or may not see
                printed = type(net) is CosineGate and decisions is None
                cosines = count * (net.macs_gate - controllers(net)) if printed else 0
                assert expected - cosines <= counter.get_total_flops() / 2 <= expected


def controllers(net):
    return sum(layer.weight.numel() for module in net.controllers for layer in module.layers if hasattr(layer, "weight"))


OUTSIDE = SIZE * SIZE * 9 * 3 * 16 + 64 * 10
"""MACs of the stem and of the linear layer of a network of 8 layers."""
BLOCKS = [SIZE**2 * 9 * 16 * (16 + 16), (SIZE // 2) ** 2 * 9 * 32 * (16 + 32), (SIZE // 4) ** 2 * 9 * 64 * (32 + 64)]
"""Of its blocks."""
GATES = {
    "cir": ({"kind": "cir"}, 3 * (16 * SIZE**2 + 32 * (SIZE // 2) ** 2 + 64 * (SIZE // 4) ** 2) + 4 * (16 + 16 + 32) + 3 * 4),
    "up-front": ({"kind": "predictive"}, 3 * 3 * 9 * 16 * 32 + 32 * 2 * 3),  # 10 x 10 pixels of the interior, pooled to 3 x 3
    "before": ({"kind": "predictive", "decides": "before"}, 32 * (16 + 16 + 32) + 3 * 32 * 2),
}


@pytest.mark.parametrize("kind", GATES)
def test_executed_macs_of_blocks_against_arithmetic_by_hand(kind):
    gate, price = GATES[kind]
    torch.manual_seed(1)
    net = create("cosinegate", 10, (3, SIZE, SIZE), depth=8, gate=gate).eval()
    for part, parameter in net.named_parameters():
        if "controllers" in part or "forecast" in part:
            torch.nn.init.normal_(parameter)
    assert net.macs_static == OUTSIDE + sum(BLOCKS) and net.macs_gate == price
    imposed = [[True, False, True], [False, False, False], [True, True, True], [False, True, True], [True, False, False]]

    def macs(decisions, deciding):
        return [[*(ran * cost for ran, cost in zip(row, BLOCKS, strict=True)), OUTSIDE, price * deciding] for row in decisions]

    everything = [[True] * 3] * 5
    with torch.inference_mode():
        x = inputs(5)
        assert net.infer(x, "sparse", torch.tensor(imposed)).executed_macs.tolist() == macs(imposed, False)
        assert net.infer(x, "masked", torch.tensor(imposed)).executed_macs.tolist() == macs(everything, False)
        assert net.infer(x, "masked").executed_macs.tolist() == macs(everything, True)
        own = net.infer(x, "sparse")
        assert 0 < own.decisions.sum() < 15, "the test wants gates that decide"
        ran = everything if kind == "cir" else own.decisions.tolist()  # which reads F(x)
        assert own.executed_macs.tolist() == macs(ran, True)
        for row in range(5):
            assert net.infer(x[row : row + 1]).executed_macs.tolist() == macs(ran[row : row + 1], True)


def test_blocks_that_are_off_for_few_are_executed_for_all():
    net = create("cosinegate", 10, (3, SIZE, SIZE), depth=8, gate={"kind": "predictive"}).eval()
    decisions = torch.ones(64, 3, dtype=torch.bool)
    decisions[:2, 0], decisions[:3, 1] = False, False  # 4 % of 64 inputs are between two and three
    with torch.inference_mode():
        executed = net.infer(inputs(64), "sparse", decisions).executed_macs
    assert executed.sum(0).tolist() == [64 * BLOCKS[0], 61 * BLOCKS[1], 64 * BLOCKS[2], 64 * OUTSIDE, 0]
    assert net.tally(decisions, deciding=False).sum(0).tolist() == [62 * BLOCKS[0], 61 * BLOCKS[1], 64 * BLOCKS[2], 64 * OUTSIDE, 0]


def test_executed_macs_of_exits_against_arithmetic_by_hand():
    torch.manual_seed(0)
    net = create("cgt", 4, (1, 8, 8), backbone={"kind": "cnn", "widths": [8, 16, 16], "convolutions": 1}, threshold=0.3).eval()
    parts = [8 * 8 * 9 * 1 * 8, 8 * 4, 4 * 4 * 9 * 8 * 16, 16 * 4, 2 * 2 * 9 * 16 * 16, 16 * 4]
    assert net.macs_static == sum(parts) - parts[1] - parts[3]
    imposed = [[1, 0, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0], [1, 0, 1, 0, 1, 1], [1, 1, 1, 0, 1, 1]]
    x = torch.randn(4, 1, 8, 8)

    def macs(decisions):
        return [[*(ran * cost for ran, cost in zip(row, parts, strict=True)), 0, 0] for row in decisions]

    with torch.inference_mode():
        for execution, ran in (("sparse", imposed), ("masked", [[1] * 6] * 4)):
            assert net.infer(x, execution, torch.tensor(imposed).bool()).executed_macs.tolist() == macs(ran)
        assert net.infer(x, "masked").executed_macs.tolist() == macs([[1] * 6] * 4)
        for threshold, ran in ((0.0, [1, 1, 0, 0, 0, 0]), (BEYOND, [1] * 6), (NEVER, [1, 0, 1, 0, 1, 1])):
            assert net.infer(x, policy=ExitPolicy("margin", (threshold,) * 2)).executed_macs.tolist() == macs([ran] * 4)
        ran = net.infer(x, policy=ExitPolicy("margin", (BEYOND, 0.0))).executed_macs.tolist()
        assert ran == macs([[1, 1, 1, 1, 0, 0]] * 4)  # a head that says go on has been run
        assert net.infer(x[:1], policy=ExitPolicy("margin", (BEYOND, 0.0))).executed_macs.tolist() == ran[:1]


def test_folding_changes_no_answer_and_leaves_no_norm(net, lean):
    x = inputs(20)
    with torch.inference_mode():
        plain, other = net.infer(x), lean.infer(x)
    assert same_answers(other.logits, plain.logits)
    assert plain.gates is None or torch.allclose(other.gates, plain.gates, atol=1e-4)
    assert not any("Norm" in type(module).__name__ for module in lean.modules())
    assert any("Norm" in type(module).__name__ for module in net.modules())  # the original is left as it was


def test_the_twin_is_the_network_with_everything_on(net):
    x = inputs(8)
    twin = next(iter(net.references().values()))
    if type(net) in (Spatial, LooksBack, Unrectified):
        return  # of which a block that is on is not the twin's
    if not getattr(net, "bounded", True):
        return  # of which some channels are always off
    policy = "hard" if isinstance(net, ChannelGated) else None
    with torch.inference_mode():
        assert_same(twin(x), net.infer(x, decisions=net.most().expand(8, -1), policy=policy).logits)


def test_a_static_network_has_no_twin():
    assert create("resnet20").references() == {}


def test_fixed_policies_evaluate_the_gates_and_always_get_the_same_answer(net):
    x = inputs(8)
    if not net.fixed_policies:
        return
    with torch.inference_mode():
        for execution in ("masked", "sparse"):
            assert net.infer(x, execution, policy=net.fixed_policies["all on"]).decisions.all()
            assert (net.infer(x, execution, policy=net.fixed_policies["all off"]).decisions == net.least()).all()


def test_in_training_a_method_of_its_own_is_what_it_is_at_inference(net):
    """With the decisions that its gates take; in evaluation mode, so that batch norm is the same."""
    if type(net).forward is not BlockGatedResNet.forward or isinstance(net, (ConvNetAig, RandomSkip)):  # whose training is noisy
        return
    x = inputs(20)
    training = net(x)
    with torch.inference_mode():
        inference = net.infer(x, "masked")
    assert torch.equal(training.gates.round().bool(), inference.decisions)
    assert_same(training.logits.detach(), inference.logits)
