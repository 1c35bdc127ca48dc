"""Every registered model keeps the contract; sizes are the published ones."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from gatebench import recipe
from gatebench.contract import GatedModel, Unit
from gatebench.data.batches import Batches
from gatebench.data.images import Images
from gatebench.errors import UsageError
from gatebench.losses import macs_share
from gatebench.measure.macs import count_params
from gatebench.models.blocks.forecast import interior
from gatebench.models.registry import create, entry, list_models

PREDICTIVE = {"kind": "predictive"}
VARIANTS = {
    "resnet8": ("resnet8", {}),
    "cir": ("cosinegate", {"depth": 14}),
    "up-front": ("cosinegate", {"depth": 14, "gate": PREDICTIVE}),
    "before": ("cosinegate", {"depth": 14, "gate": {**PREDICTIVE, "decides": "before"}}),
    "released": ("cosinegate", {"depth": 10, "widths": [8, 16, 32, 64], "shortcut": "projection"}),
}


@pytest.fixture(scope="module", params=VARIANTS)
def net(request):
    """Each kind of network, its gates jolted so that they really decide per input."""
    name, options = VARIANTS[request.param]
    torch.manual_seed(3)
    net = create(name, 10, (3, 16, 16), **options).to(memory_format=torch.channels_last)
    for part_name, parameter in net.named_parameters():
        if any(part in part_name for part in ("controllers", "forecast.linear")):
            torch.nn.init.normal_(parameter, 0.0, 1.0)
    settle_norms(net, [images(64, seed) for seed in range(4)])
    return net.eval()


def settle_norms(net, batches):
    """Give batch norm the statistics of these batches, each counting alike."""
    norms = [module for module in net.modules() if "BatchNorm" in type(module).__name__]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        for batch in batches:
            net.train()(batch)


def images(count, seed=0, size=16, channels=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, size, size, generator=generator).contiguous(memory_format=torch.channels_last)


def batches_of(count, size=16):
    """Random images, cropped and flipped in training."""
    draw = np.random.default_rng(0)
    split = Images(draw.integers(0, 256, (count, size, size, 3)).astype(np.uint8), np.arange(count) % 5)
    return Batches(split, (0.5,) * 3, (0.25,) * 3, batch_size=32, device=torch.device("cpu"), crop=True, flip=True)


def close(a, b):
    return torch.allclose(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))


@pytest.mark.parametrize(("depth", "params", "macs"), [(20, 269_722, 40_551_040), (32, 464_154, 68_862_592), (110, 1_727_962, 252_887_680)])
def test_resnets_have_the_published_sizes(depth, params, macs):
    """0.27 M, 0.46 M and 1.7 M parameters (He et al., Table 6)."""
    net = create(f"resnet{depth}")
    assert count_params(net) == params
    assert net.macs_static == macs


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [("vgg11", 9_228_362, 152_769_536), ("resnet18", 11_173_962, 555_422_720), ("resnet34", 21_282_122, 1_159_402_496)],
)
def test_wide_networks_have_the_known_sizes_and_gated_ones_the_same(name, params, macs):
    """9.2 M, 11.2 M and 21.3 M parameters on CIFAR-10, and a free gate for each channel."""
    net, gated = create(name), create(f"lag-{name}")
    assert count_params(net) == params and net.macs_static == macs
    assert count_params(gated) == params + gated.switches and gated.macs_static == macs and gated.macs_gate == 0


def test_cosinegate_adds_less_than_one_percent_of_parameters():
    assert 0 < count_params(create("cosinegate")) - 269_722 < 2_697


def test_the_released_network_has_the_size_of_the_notebook_s():
    net = create(**recipe.load("cosinegate", "cosinegate", "released").model.model_dump())
    assert len(net.units) == 8
    assert count_params(net) / 1e6 == pytest.approx(2.86, abs=0.005)
    assert net.macs_static / 1e6 == pytest.approx(139, abs=0.5)


def without_the_deep_ones():
    """The deeper ResNets are the same class as the smaller ones."""
    return [name for name in list_models() if not (name.startswith("resnet") and int(name[6:]) > 26)]


SMALL = {"expert": {"pretrained": False}, "router": {"gater": {"kind": "learned", "size": 28, "pretrained": False}}}
"""Options of models whose defaults are for large RGB images."""


def parents_of(name, classes, shape):
    """Networks for a model that is made of others."""
    if name in ("lag-compact", "pruned"):
        return {entry(name).parents[0]: create("lag-vgg11", classes, shape, width=0.125)}
    if name == "fixed-blocks":
        return {"network": create("resnet20", classes, shape)}
    return {size: create(size, classes, shape).eval() for size in ("resnet8", "resnet14")} if "parents" in entry(name).parameters else None


@pytest.fixture(scope="module", params=without_the_deep_ones())
def registered(request):
    """Each registered model with its default options, as far as they fit small grey images."""
    torch.manual_seed(0)
    shape = 1, 28, 28
    return create(request.param, 7, shape, parents_of(request.param, 7, shape), **SMALL.get(request.param, {}))


def test_every_registered_model_trains_and_infers(registered):
    net, x = registered, images(4, size=28, channels=1)
    assert net.train()(x).logits.shape == (4, 7)
    output = net.eval().infer(x)
    switches = sum(unit.width for unit in net.units)
    assert output.decisions.shape == (4, switches) and output.decisions.dtype == torch.bool
    assert output.executed_macs.shape == (4, len(net.units) + 2) and output.executed_macs.dtype == torch.float64
    assert (output.executed_macs >= 0).all() and output.executed_macs.sum(1).min() > 0


def test_most_least_and_random_decisions_are_legal_and_can_be_run(registered):
    net, draw = registered.eval(), np.random.default_rng(0)
    most, least = net.most(), net.least()
    drawn = torch.cat([net.random_decisions(7, draw) for _ in range(20)])
    assert most.shape == least.shape == (net.switches,) and drawn.shape == (140, net.switches)
    decisions = torch.cat([most[None], least[None], drawn])
    assert decisions.dtype == torch.bool and net.legal(decisions).all()
    cost = net.tally(decisions).sum(1)
    assert (cost <= cost[0]).all() and (cost >= cost[1]).all()
    needed = net.needed(decisions)
    assert net.legal(needed).all() and not (needed & ~decisions).any()
    with torch.no_grad():
        for some in (decisions[:5], needed[:5]):
            assert torch.equal(net.infer(images(5, size=28, channels=1), decisions=some).decisions, some)
    if net.units:
        assert len(drawn.unique(dim=0)) > 1 and (cost[1] < cost[0])


def test_masked_equals_sparse_in_every_registered_model(registered):
    net, x = registered.eval(), images(5, size=28, channels=1)
    decisions = net.needed(torch.cat([net.most()[None], net.least()[None], net.random_decisions(3, np.random.default_rng(1))]))
    with torch.no_grad():
        masked, sparse = net.infer(x, "masked", decisions), net.infer(x, "sparse", decisions)
    assert close(sparse.logits, masked.logits)
    assert torch.equal(sparse.decisions, decisions) and torch.equal(sparse.executed_macs, net.tally(decisions, deciding=False))


def test_unit_macs_are_differentiable_and_agree_with_tally(registered):
    net = registered
    on = torch.from_numpy(np.random.default_rng(1).random((5, net.switches))).requires_grad_()
    units = net.unit_macs(on)
    assert units.shape == (5, len(net.units))
    tally = net.tally(on)
    assert torch.equal(tally[:, :-2], units) and tally.dtype == torch.float64
    assert (tally[:, -2] == net.macs_outside).all() and (tally[:, -1] == net.macs_gate).all()
    assert (net.tally(on, deciding=False)[:, -1] == 0).all()
    hard = on.detach() > 0.5
    assert torch.equal(net.tally(hard), net.tally(hard.double()))
    if net.units:
        (gradient,) = torch.autograd.grad(units.sum(), on, retain_graph=True)
        step = 1e-6 * torch.from_numpy(np.random.default_rng(2).standard_normal(on.shape))
        moved = (net.unit_macs(on.detach() + step).sum() - net.unit_macs(on.detach() - step).sum()).item() / 2
        assert (gradient * step).sum().item() == pytest.approx(moved, rel=1e-4) and gradient.abs().min() > 0
        assert net.macs_most == net.tally(net.most()[None])[:, :-2].sum()
        share = macs_share(on, net)
        assert share.requires_grad and share.detach().item() == pytest.approx(units.detach().sum(1).mean().item() / net.macs_most)


def test_everything_on_is_macs_static_with_the_parts_outside(registered):
    net = registered
    everything = net.tally(net.needed(net.most()[None]), deciding=False)
    assert everything.sum() == net.macs_static


def test_units_of_several_switches_or_none_have_their_parts_of_the_macs():
    class Wide(GatedModel):
        units = [Unit("a", "channels", 2, 10, 0), Unit("b", "channels", 0, 7, 0)]
        macs_static = 20

    net, on = Wide(), torch.tensor([[1.0, 0.0], [0.5, 0.25]], requires_grad=True)
    assert net.unit_macs(on).tolist() == [[5, 7], [3.75, 7]]
    assert net.tally(torch.tensor([[True, False]])).tolist() == [[5, 7, 3, 0]]
    net.unit_macs(on)[0].sum().backward()
    assert on.grad.tolist() == [[5, 5], [0, 0]]


def test_block_macs_are_what_torch_counts(net):
    x, blocks = images(1), len(net.units)
    everything = torch.ones(1, blocks, dtype=torch.bool)
    for index, unit in enumerate(net.units):
        without = everything.clone()
        without[0, index] = False
        assert flops(net, x, everything) - flops(net, x, without) == 2 * unit.macs
    assert flops(net, x, everything) == 2 * net.macs_static


def flops(net, x, decisions):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.infer(x, "sparse", decisions)
    return counter.get_total_flops()


def test_gate_macs_are_what_torch_counts(net):
    """The gate's own price: what an inference that decides costs more than one under imposed decisions (cosines counted by hand)."""
    x = images(1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        own = net.infer(x, "masked")
    cosines = 0
    if getattr(net, "when", None) == "after":
        cosines = sum(3 * shape[1] * shape[2] * shape[3] for shape in net.map_shapes()[1:])
    assert counter.get_total_flops() - flops(net, x, torch.ones_like(own.decisions)) == 2 * (net.macs_gate - cosines)


def test_everything_on_is_the_static_twin(net):
    x = images(6)
    with torch.no_grad():
        assert close(net.infer(x, "sparse", net.most().expand(6, -1)).logits, net.static_logits(x))


def test_masked_equals_sparse_on_own_decisions(net):
    with torch.no_grad():
        masked, sparse = net.infer(images(24, 5), "masked"), net.infer(images(24, 5), "sparse")
    assert close(sparse.logits, masked.logits)
    assert torch.equal(sparse.decisions, masked.decisions)
    everything = torch.ones_like(sparse.decisions)
    assert torch.equal(masked.executed_macs, net.tally(everything))
    if net.units:
        assert 0 < sparse.decisions.float().mean() < 1, "the test wants gates that decide"
        assert torch.equal(sparse.executed_macs, net.tally(everything if net.when == "after" else sparse.decisions))


@given(count=st.integers(1, 9), seed=st.integers(0, 1000), share=st.sampled_from([0.0, 0.3, 0.7, 1.0]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_masked_equals_sparse_on_imposed_decisions(net, count, seed, share):
    x = images(count, seed)
    decisions = torch.rand(count, net.switches, generator=torch.Generator().manual_seed(seed)) < share
    with torch.no_grad():
        masked, sparse = net.infer(x, "masked", decisions), net.infer(x, "sparse", decisions)
    assert close(sparse.logits, masked.logits)
    assert torch.equal(sparse.decisions, decisions) and torch.equal(sparse.executed_macs, net.tally(decisions, deciding=False))
    assert torch.equal(masked.executed_macs, net.tally(torch.ones_like(decisions), deciding=False))


def test_the_policy_is_the_threshold(net):
    x = images(16)
    with torch.no_grad():
        assert net.infer(x, policy=0.0).decisions.all() and not net.infer(x, policy=1.0).decisions.any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"execution": "dense"}, "execution must be one of masked, sparse, not 'dense'"),
        ({"decisions": torch.ones(4, 99, dtype=torch.bool)}, r"decisions must be boolean \[4, \d+\], not torch.bool \[4, 99\]"),
        ({"decisions": torch.ones(4, 6)}, "not torch.float32"),
    ],
)
def test_an_inference_that_cannot_be_is_refused(net, wrong, message):
    with pytest.raises(ValueError, match=message):
        net.infer(images(4), **wrong)


def test_a_decision_depends_on_its_own_input_alone(net):
    x = images(8, 9)
    with torch.no_grad():
        together, alone = net.infer(x), [net.infer(x[index : index + 1]) for index in range(8)]
    assert torch.equal(together.decisions, torch.cat([output.decisions for output in alone]))


def test_predictive_gates_do_not_see_the_zeros_of_a_random_crop():
    torch.manual_seed(0)
    net = create("cosinegate", gate=PREDICTIVE).eval()
    x = images(8, size=32)
    padded = x.clone()
    padded[:, :, :4], padded[:, :, :, :4] = 0, 0
    with torch.no_grad():
        assert torch.equal(net.infer(x).gates, net.infer(padded).gates)


@pytest.mark.parametrize("decides", ["up-front", "before"])
def test_predictive_gates_start_where_the_budget_allows_and_differ_between_inputs(decides):
    torch.manual_seed(0)
    net = create("cosinegate", input_shape=(3, 16, 16), gate={**PREDICTIVE, "decides": decides, "watch": 0.0}).train()
    net.begin_epoch(0.0)
    with torch.no_grad():
        noisy = torch.stack([net(images(64, seed)).gates for seed in range(8)])
        net.begin_epoch(1.0)
        quiet = net(images(256)).gates
    assert 0.7 < noisy.mean() < 0.8
    assert (quiet.mean(0) > 0.8).all() and (quiet.mean(0) < 1).all()


def test_predictive_gates_watch_first_and_then_act():
    torch.manual_seed(0)
    net = create("cosinegate", input_shape=(3, 16, 16), gate={**PREDICTIVE, "watch": 0.2}).train()
    net.begin_epoch(0.1)
    watching = net(images(8))
    assert (watching.gates == 1).all() and not watching.gates.requires_grad
    watching.terms["prediction"].sum().backward()
    assert net.up_front_head.forecast.linear.weight.grad[:9].abs().sum() > 0
    net.begin_epoch(0.5)
    acting = net(images(64))
    assert set(acting.gates.detach().unique().tolist()) == {0.0, 1.0} and acting.gates.requires_grad


def test_predictive_gates_explore_until_they_settle():
    torch.manual_seed(0)
    net = create("cosinegate", input_shape=(3, 16, 16), depth=14, gate={**PREDICTIVE, "watch": 0.1, "settle": 0.6}).train()
    x, explored = images(64), []
    for progress in (0.1, 0.4, 0.6, 0.9):
        net.begin_epoch(progress)
        with torch.no_grad():
            explored.append(sum((net(x).gates != net(x).gates).sum().item() for _ in range(4)))
    assert explored[0] > explored[1] > 0 == explored[2] == explored[3]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cosinegat", {}, "No model is named 'cosinegat'. Did you mean 'cosinegate'?"),
        ("resnet21", {}, "No model is named 'resnet21'. Did you mean 'resnet20'"),
        ("resnet20", {"shortcut": "zeropad"}, "shortcut = 'zeropad' is not allowed.*'zero-pad' or 'projection'.*Did you mean 'zero-pad'"),
        ("cosinegate", {"dept": 20}, "unknown key 'dept'. Did you mean 'depth'"),
        ("cosinegate", {"depth": 21}, "depth 21 is not 2 . 6 x blocks per stage; the nearest is 20"),
        ("cosinegate", {"gate": {"kind": "cir", "gama": -2}}, "unknown key 'gate.gama'. Did you mean 'gamma'"),
        ("cosinegate", {"gate": {"kind": "sir"}}, "'cir', 'predictive'"),
        ("cosinegate", {"gate": {"kind": "cir", "threshold": 1.5}}, "gate.threshold = 1.5 is not allowed.*less than 1"),
    ],
)
def test_wrong_names_options_and_values_are_named(name, options, message):
    with pytest.raises(UsageError, match=message):
        create(name, **options)


@pytest.mark.parametrize("side", range(1, 9))
def test_something_of_a_small_map_is_left_to_decide_by(side):
    assert interior(torch.zeros(1, 1, side, side)).numel() > 0
