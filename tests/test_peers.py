"""The block-skipping peers, and the baselines that every gate has to beat: equations against independently written arithmetic."""

import itertools
import math

import numpy as np
import pytest
import torch
from conftest import GATED
from test_models import batches_of, images, settle_norms
from torch import nn
from torch.nn.functional import cross_entropy

from gatebench import recipe
from gatebench.contract import Output
from gatebench.errors import UsageError
from gatebench.evaluation.most_used import most_used
from gatebench.gating import gumbel_softmax
from gatebench.losses import Batch, Clock
from gatebench.models.blocks import fixed, search
from gatebench.models.blocks.blockdrop import PolicyNetwork
from gatebench.models.blocks.chance import drawn
from gatebench.models.blocks.convnet_aig import PooledGate
from gatebench.models.blocks.losses import DecisionEntropy, EarlyAnswer, PolicyGradient, Reinforce, TargetRate
from gatebench.models.blocks.search import best_subset
from gatebench.models.blocks.skipnet import ConvolutionalGate
from gatebench.models.registry import create
from gatebench.runtimes.fold import folded
from gatebench.untrained import build

SIZE = 16
CLOCK = Clock(0.0, 1)


def make(name, depth=8, **options):
    torch.manual_seed(1)
    return create(name, 10, (3, SIZE, SIZE), depth=depth, **options).to(memory_format=torch.channels_last)


def trained_by(recipe_of, name, net, steps=1):
    """The network after some steps on random images with the losses of a recipe; the gradients of the last are kept."""
    losses = recipe.load(recipe_of, recipe_of, name).losses
    bound = [loss.bind(net, {}) for loss in losses.values()]
    x, labels = images(32, size=SIZE), torch.arange(32) % 10
    net.train()
    for _ in range(steps):
        net.zero_grad()
        output = net(x)
        sum(loss(output, Batch(x, labels), CLOCK) for loss in bound).backward()
    return output


PEERS = {
    "recurrent": ("skipnet", "default", {}, "gates"),
    "feed-forward": ("skipnet", "default", {"gate": {"kind": "feed-forward"}}, "gates"),
    "one convolution": ("skipnet", "default", {"gate": {"kind": "feed-forward", "convolutions": 1}}, "gates"),
    "drawn": ("skipnet", "hrl", {}, "gates"),
    "convnet-aig": ("convnet-aig", "default", {}, "gates"),
    "blockdrop": ("blockdrop", "default", {}, "decider"),
    "slat": ("slat", "default", {}, "look"),
    "when-unsure": ("when-unsure", "default", {}, "early"),
}


@pytest.mark.parametrize("peer", PEERS)
def test_every_gate_is_moved_by_its_recipe_s_losses(peer):
    name, config, options, part = PEERS[peer]
    net = make(name, 14, **options)
    trained_by(name, config, net)
    gradients = {key: each.grad for key, each in net.named_parameters() if part in key}
    moved = {key for key, each in gradients.items() if each is not None and each.abs().max() > 0}
    assert gradients and moved == gradients.keys()


@pytest.mark.parametrize("depth", [38, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (74, 110))])
@pytest.mark.parametrize("peer", ["recurrent", "feed-forward", "one convolution", "convnet-aig", "blockdrop"])
def test_the_authors_depths_have_a_gate_a_block_and_what_is_off_is_not_computed(peer, depth):
    """ResNet-38, 74 and 110 of the papers: legal decisions that differ, gradients, and masked execution's logits without its work."""
    name, config, options, part = PEERS[peer]
    net = make(name, depth, shortcut="projection", **options)
    trained_by(name, config, net)
    gradients = [each.grad for key, each in net.named_parameters() if part in key]
    assert gradients and all(each is not None and each.abs().max() > 0 for each in gradients)
    assert len(net.units) == (depth - 2) // 2 - net.always_on
    settle_norms(net, [images(16, seed, SIZE) for seed in range(2)])
    net.eval()
    torch.manual_seed(2)
    on = torch.rand(4, len(net.units)) > 0.5
    with torch.no_grad():
        masked, sparse = (net.infer(images(4, 7, SIZE), execution, decisions=on) for execution in ("masked", "sparse"))
    torch.testing.assert_close(sparse.logits, masked.logits, rtol=1e-3, atol=1e-4)
    assert torch.equal(sparse.decisions, on) and bool((sparse.count().sum(1) < masked.count().sum(1)).all())


def test_skipnet_s_first_block_has_no_gate_and_belongs_to_no_unit():
    net, plain = make("skipnet", 14), create("resnet14", 10, (3, SIZE, SIZE))
    assert len(net.units) == 5 and net.macs_static == plain.macs_static
    first = 2 * SIZE * SIZE * 16 * 16 * 9
    assert net.macs_outside == net.macs_static - sum(unit.macs for unit in net.units) >= first


def test_skipnet_s_recurrent_gate_is_torch_s_lstm_over_the_blocks():
    net = make("skipnet", 14).eval()
    x = net.stem(images(4, size=SIZE))
    lstm = nn.LSTM(10, 10)
    lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0, lstm.bias_hh_l0 = (
        getattr(net.gates.cell, name) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    with torch.no_grad():
        state, seen, logits = net.start(x), [], []
        for index, block in enumerate(net.blocks):
            logit, state = net.logits(index, x, state, None)
            seen.append(net.gates.looks[index](x.mean((2, 3))))
            logits.append(logit)
            x = block(x)
        wanted = net.gates.answer(lstm(torch.stack(seen))[0]).squeeze(2)
    torch.testing.assert_close(torch.stack(logits), wanted)


def any_norms(net):
    """Gives batch norms statistics and weights of which none is trivial, and the network in fp64 for numpy to follow."""
    torch.manual_seed(3)
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for each in (module.running_var, module.weight.data):
                each.uniform_(0.5, 2)
            for each in (module.running_mean, module.bias.data):
                each.normal_()
    return net.double().eval()


def normed(x, norm):
    mean, var, weight, bias = (each.detach().numpy() for each in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
    scale = weight / np.sqrt(var + norm.eps)
    return ((x.T - mean) * scale + bias).T  # channels first, whatever follows


def convolved(x, convolution):
    """3x3 with zeros around, pixel by pixel. x is [C, H, W]."""
    weight, stride = convolution.weight.detach().numpy(), convolution.stride[0]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    rows, columns = (range(0, size, stride) for size in x.shape[1:])
    pixels = [[(weight * padded[:, i : i + 3, j : j + 3]).sum((1, 2, 3)) for j in columns] for i in rows]
    return np.array(pixels).transpose(2, 0, 1)


def affine(x, linear):
    return linear.weight.detach().numpy() @ x + linear.bias.detach().numpy()


def maps(channels, size=SIZE, count=4):
    return torch.randn(count, channels, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def test_convnet_aig_s_gate_is_a_hidden_layer_with_norm_and_relu_on_the_average():
    gate, x = any_norms(PooledGate(16, 16)), maps(16)
    nn.init.normal_(gate.answer.weight)
    wanted = []
    for image in x.numpy():
        left_out, runs = affine(np.maximum(normed(affine(image.mean((1, 2)), gate.hidden), gate.norm), 0), gate.answer)
        wanted.append(runs - left_out)
    for each in (gate, gate.merged()):
        assert each(x).tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("convolutions", [2, 1])
def test_skipnet_s_feed_forward_gate_is_maxima_and_convolutions(convolutions):
    gate, x = any_norms(ConvolutionalGate(4, convolutions)), maps(4, size=8)
    wanted = []
    for image in x.numpy():
        if convolutions == 2:  # FFGate-I
            image = image.reshape(4, 4, 2, 4, 2).max((2, 4))
        for convolution, norm in zip(gate.layers[::3], gate.layers[1::3], strict=True):
            image = np.maximum(normed(convolved(image, convolution), norm), 0)
        left_out, runs = affine(image.mean((1, 2)), gate.answer)
        wanted.append(runs - left_out)
    assert gate(x).tolist() == pytest.approx(wanted)


def test_blockdrop_s_policy_is_a_residual_block_a_stage_on_means_of_pixels():
    decider, x = any_norms(PolicyNetwork((4, 6), 5, 2)), maps(4)
    wanted = []
    for image in x.numpy():
        image = image.reshape(4, 8, 2, 8, 2).mean((2, 4))
        for block, (step, more) in zip(decider.blocks, [(1, 0), (2, 2)], strict=True):
            path = block.residual
            hidden = np.maximum(normed(convolved(image, path.conv1), path.bn1), 0)
            shortcut = np.pad(image[:, ::step, ::step], ((more // 2, more // 2), (0, 0), (0, 0)))
            image = np.maximum(normed(convolved(hidden, path.conv2), path.bn2) + shortcut, 0)
        wanted.append(affine(image.mean((1, 2)), decider.answer))
    np.testing.assert_allclose(decider(x).detach().numpy(), wanted)


@pytest.mark.parametrize(("convolutions", "pixels"), [(2, 64 + 16), (1, 64)])
def test_what_a_feed_forward_gate_costs(convolutions, pixels):
    """On 16 channels of 16 x 16: maxima of 8 x 8, convolved, and again to 4 x 4; or convolved to 8 x 8 alone. The second gate looks at the
    same, the third at 32 channels of 8 x 8: a quarter of the pixels, four times the weights."""
    net = make("skipnet", 14, gate={"kind": "feed-forward", "convolutions": convolutions})
    gates = [16 * 16 * 9 * pixels + 2 * 16] * 2 + [32 * 32 * 9 * pixels // 4 + 2 * 32] * 2 + [64 * 64 * 9 * pixels // 16 + 2 * 64]
    assert net.macs_gate == sum(gates)


def test_reinforce_is_the_sum_over_blocks_of_log_probability_times_what_follows():
    draw = np.random.default_rng(0)
    logits, gates, scores = draw.normal(size=(3, 4)), (draw.random((3, 4)) < 0.5).astype(float), draw.normal(size=(3, 5))
    labels, weight, reward = [0, 3, 4], 0.01, 0.1
    total = 0.0
    for n in range(3):
        wrong = math.log(sum(math.exp(s) for s in scores[n])) - scores[n][labels[n]]
        for b in range(4):
            on = 1 / (1 + math.exp(-logits[n, b]))
            likely = math.log(on if gates[n, b] else 1 - on)
            total += likely * (-wrong + sum(reward / 4 * (1 - gates[n, later]) for later in range(b, 4)))
    output = Output(torch.tensor(scores), torch.tensor(gates), details={"gate_logits": torch.tensor(logits)})
    net = make("skipnet")
    loss = Reinforce(weight=weight, reward=reward).bind(net, {})(output, Batch(None, torch.tensor(labels)), CLOCK)
    assert float(loss) == pytest.approx(-weight * total, rel=1e-5)


def test_reinforce_draws_the_gates_and_no_others_do():
    net, x = make("skipnet", 14).train(), images(64, size=SIZE)
    assert not net.draws and torch.equal(net(x).gates, net(x).gates)
    Reinforce().bind(net, {})
    assert not torch.equal(net(x).gates, net(x).gates) and not net(x).gates.requires_grad
    on = net.relax(torch.tensor(2.0).expand(20_000))  # as likely as the gate makes it
    assert set(on.tolist()) == {0, 1} and on.mean().item() == pytest.approx(1 / (1 + math.exp(-2)), abs=0.01)
    with pytest.raises(UsageError, match="only skipnet's gates can be drawn"):
        Reinforce().check(make("slat"))


def test_a_budget_on_gates_that_are_drawn_is_refused():
    budget = "losses.budget={weight: 3, target: 0.5}"
    build(recipe.load("skipnet", "skipnet", "default", [budget]), {})
    with pytest.raises(UsageError, match="losses.budget: .* has no gradient; leave it out and set losses.reinforce.reward"):
        build(recipe.load("skipnet", "skipnet", "hrl", [budget]), {})


def test_the_target_rate_is_held_block_by_block():
    """Two blocks at 0 and 1 are as far from their target as two at 0.5 are near."""
    loss = TargetRate(weight=2.0, target=0.5).bind(make("convnet-aig"), {})

    def of(gates):
        return float(loss(Output(torch.zeros(2, 2), torch.tensor(gates)), Batch(None, torch.zeros(2)), CLOCK))

    assert of([[0.0, 1.0], [0.0, 1.0]]) == pytest.approx(2 * 0.25)
    assert of([[0.0, 1.0], [1.0, 0.0]]) == 0


def test_the_entropy_of_decisions_is_highest_where_blocks_run_for_half_of_the_inputs():
    net = create("cosinegate", 10, (3, SIZE, SIZE), depth=8, gate={"kind": "predictive"})
    DecisionEntropy().check(net)
    loss = DecisionEntropy(weight=0.5).bind(net, {})

    def of(gates):
        gates = torch.tensor(gates, requires_grad=True)
        value = loss(Output(torch.zeros(2, 2), gates), Batch(None, torch.zeros(2)), CLOCK)
        value.backward()
        return value.item(), gates.grad

    quarter = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))  # of no input of two: (0 + 1) of (2 + 2)
    alike, gradient = of([[0.0, 1.0], [0.0, 1.0]])
    assert (
        alike == pytest.approx(-0.5 * quarter) and gradient.isfinite().all() and (gradient[:, 0] < 0).all() and (gradient[:, 1] > 0).all()
    )
    assert of([[0.0, 1.0], [1.0, 0.0]])[0] == pytest.approx(-0.5) and of([[0.0, 1.0], [0.0, 0.0]])[0] == pytest.approx(
        -0.25 * (quarter + 1)
    )
    with pytest.raises(UsageError, match="the model has no gates whose decisions could differ"):
        DecisionEntropy().check(create("resnet8", 10, (3, SIZE, SIZE)))


def test_convnet_aig_starts_with_87_percent_of_the_gates_on():
    net = make("convnet-aig", 20)
    on = torch.stack([net.train()(images(64, seed, SIZE)).gates.detach() for seed in range(8)]).mean()
    assert float(on) == pytest.approx(1 / (1 + math.exp(-1.9)), abs=0.02)


def test_convnet_aig_decides_without_noise_and_folded_as_before():
    net = make("convnet-aig", 14)
    settle_norms(net, [images(32, seed, SIZE) for seed in range(2)])
    x = images(16, 5, SIZE)
    with torch.no_grad():
        first, second, other = (each.eval().infer(x) for each in (net, net, folded(net)))
    assert torch.equal(first.gates, second.gates)
    torch.testing.assert_close(other.gates, first.gates, rtol=1e-4, atol=1e-5)


def test_blockdrop_s_gradient_is_that_of_the_reward_over_the_surest_decisions():
    draw = np.random.default_rng(1)
    drawn_gates, greedy = (draw.random((2, 4, 3)) < 0.5).astype(float)
    scores, greedy_scores, labels = draw.normal(size=(4, 5)), draw.normal(size=(4, 5)), [0, 1, 2, 3]
    likely = -draw.random((4, 3))

    def reward(gates, answer, label):
        return 1 - (sum(gates) / 3) ** 2 if answer == label else -10

    total = 0.0
    for n in range(4):
        gain = reward(drawn_gates[n], scores[n].argmax(), labels[n]) - reward(greedy[n], greedy_scores[n].argmax(), labels[n])
        total -= sum(likely[n]) * gain / 4
    details = {"greedy": greedy, "greedy_logits": greedy_scores, "log_probability": likely}
    output = Output(torch.tensor(scores), torch.tensor(drawn_gates), details={key: torch.tensor(each) for key, each in details.items()})
    loss = PolicyGradient(penalty=10).bind(make("blockdrop"), {})(output, Batch(None, torch.tensor(labels)), CLOCK)
    assert float(loss) == pytest.approx(total, rel=1e-5)


def test_blockdrop_s_curriculum_goes_from_the_last_block_to_all():
    net, undecided = make("blockdrop", 20), []
    assert net.undecided == 0
    PolicyGradient(curriculum=0.5).bind(net, {})
    for progress in np.linspace(0, 1, 21):
        net.begin_epoch(progress)
        undecided.append(net.undecided)
    assert undecided[0] == 8 and undecided[10:] == [0] * 11 and undecided == sorted(undecided, reverse=True)
    net.begin_epoch(0.0)
    nn.init.zeros_(net.decider.answer.weight)
    nn.init.constant_(net.decider.answer.bias, -9.0)  # as sure as can be that no block is to run
    output = net.train()(images(32, size=SIZE))
    assert (output.details["greedy"] == torch.tensor([1.0] * 8 + [0.0])).all()
    assert (output.gates[:, :8] == 1).all() and (output.details["log_probability"][:, :8] == 0).all()
    assert (output.details["log_probability"][:, 8] < 0).all()


@pytest.mark.parametrize(("shrink", "percent"), [(4, 2), (1, 29)])
def test_what_the_policy_network_costs_beside_a_resnet20(shrink, percent):
    """As docs/blocks.md says."""
    net = create("blockdrop", gate={"shrink": shrink})
    assert round(100 * net.macs_gate / net.macs_static) == percent


def test_blockdrop_s_loss_is_given_what_was_drawn_and_what_is_surest():
    net, x = make("blockdrop", 14).train(), images(16, size=SIZE)
    nn.init.normal_(net.decider.answer.weight)
    output = net(x)
    with torch.no_grad():
        stem = net.stem(x)
        probable = torch.sigmoid(net.decider(stem)).double().numpy()
        surest = torch.from_numpy(probable > 0.5).float()
        assert torch.equal(output.details["greedy"], surest) and 0 < surest.mean() < 1
        for gates, logits in ((surest, output.details["greedy_logits"]), (output.gates, output.logits)):
            torch.testing.assert_close(logits, net.under(stem, gates))
    bounded, on = 0.8 * probable + 0.2 * (1 - probable), output.gates.numpy() > 0
    likely = np.log(np.where(on, bounded, 1 - bounded))
    np.testing.assert_allclose(output.details["log_probability"].detach().numpy(), likely, rtol=1e-4)
    output.details["log_probability"].sum().backward()
    assert net.decider.answer.weight.grad.abs().max() > 0
    assert all(each.grad is None for name, each in net.named_parameters() if not name.startswith("decider."))


def test_random_skip_draws_by_its_rate_in_training_too():
    net = make("random-skip", 20, gate={"rate": 0.8}).train()
    on = torch.stack([net(images(64, seed, SIZE)).gates.detach() for seed in range(4)]).mean()
    assert float(on) == pytest.approx(0.8, abs=0.03)


def test_convnet_aig_s_gradient_is_that_of_the_gumbel_softmax_at_its_temperature():
    """Two logits with noise each, over the temperature: a softmax of the one that runs."""
    net = make("convnet-aig", gate={"temperature": 0.5})
    logits = torch.tensor([0.3, -1.0], dtype=torch.float64, requires_grad=True)
    torch.manual_seed(4)
    gates = net.relax(logits)
    gates.sum().backward()
    torch.manual_seed(4)
    soft = gumbel_softmax(logits.detach(), 0.5).numpy()
    assert gates.tolist() == (soft > 0.5).tolist()
    np.testing.assert_allclose(logits.grad.numpy(), soft * (1 - soft) / 0.5)


PUBLISHED = {
    ("skipnet", "resnet110"): {"training.batch_size": 128, "training.learning_rate": 0.1, "training.momentum": 0.9,
                               "training.weight_decay": 1e-4, "model.gate.kind": "recurrent", "model.gate.size": 10,
                               "training.schedule": "steps"},
    ("skipnet", "hrl"): {"training.learning_rate": 1e-4, "losses.reinforce.weight": 0.01, "losses.reinforce.reward": 0.1},
    ("skipnet", "resnet110-hrl"): {"model.depth": 110, "training.learning_rate": 1e-4, "losses.reinforce.weight": 0.01},
    ("convnet-aig", "default"): {"model.gate.hidden": 16, "model.gate.temperature": 1.0, "losses.target_rate.weight": 2.0},
    ("convnet-aig", "resnet110"): {"training.epochs": 350, "training.batch_size": 256, "training.learning_rate": 0.1,
                                   "training.weight_decay": 5e-4, "losses.target_rate.target": 0.6, "losses.target_rate.weight": 2.0,
                                   "training.schedule": "steps", "training.milestones": (150, 250)},
    ("blockdrop", "curriculum"): {"model.gate.sureness": 0.8},
    ("blockdrop", "resnet110-curriculum"): {"training.epochs": 5000, "training.batch_size": 2048, "training.learning_rate": 1e-3,
                                            "training.optimizer": "adam", "losses.policy_gradient.penalty": 1.0,
                                            "losses.policy_gradient.curriculum": 54 / 5000},
    ("blockdrop", "resnet110"): {"training.epochs": 2000, "training.batch_size": 256, "training.learning_rate": 1e-4,
                                 "losses.policy_gradient.penalty": 10.0, "model.gate.sureness": 0.8},
}  # fmt: skip


@pytest.mark.parametrize(("peer", "config"), PUBLISHED)
def test_recipes_have_the_published_settings(peer, config):
    settings = recipe.load(peer, peer, config).model_dump()
    for name, value in PUBLISHED[peer, config].items():
        found = settings
        for part in name.split("."):
            found = found[part]
        assert found == value, name


@pytest.mark.parametrize(
    ("config", "name", "iterations"),
    [("resnet110", "epochs", [64_000]), ("resnet110", "milestones", [32_000, 48_000]), ("hrl", "epochs", [10_000]),
     ("resnet110-hrl", "epochs", [10_000])],
)  # fmt: skip
def test_skipnet_is_trained_for_the_published_iterations(config, name, iterations):
    """In whole epochs: of CIFAR-10's 50,000 images an epoch has 391 batches of 128."""
    found = getattr(recipe.load("skipnet", "skipnet", config).training, name)
    assert list(found if name == "milestones" else [found]) == [round(each / 391) for each in iterations]


def test_blockdrop_draws_within_its_bounds():
    net = make("blockdrop", 14)
    nn.init.zeros_(net.decider.answer.weight)
    nn.init.constant_(net.decider.answer.bias, 9.0)  # as sure as can be, and bounded to 0.8
    on = torch.stack([net.train()(images(64, seed, SIZE)).gates for seed in range(8)]).mean()
    assert float(on) == pytest.approx(0.8, abs=0.03)


def test_blockdrop_starts_from_a_plain_network_or_its_own():
    net, plain = make("blockdrop", 14), create("resnet14", 10, (3, SIZE, SIZE))
    own = net.decider.answer.weight.clone()
    net.start_from(plain.state_dict())
    assert torch.equal(net.blocks[0].residual.conv1.weight, plain.blocks[0].residual.conv1.weight)
    assert torch.equal(net.decider.answer.weight, own)
    make("blockdrop", 14).start_from(net.state_dict())
    with pytest.raises(ValueError, match="lack"):
        net.start_from(create("resnet8", 10, (3, SIZE, SIZE)).state_dict())


def test_slat_is_the_sum_of_the_shortcut_and_the_attended_path():
    net = make("slat", 8).eval()
    settle_norms(net, [images(32, seed, SIZE) for seed in range(2)])
    x = images(3, 7, SIZE)
    with torch.no_grad():
        wanted, means = net.eval().stem(x), []
        for block in net.blocks:
            path = block.residual
            look = torch.einsum("oc,nchw->nohw", path.look.weight[:, :, 0, 0], wanted[:, :, :: path.look.stride[0], :: path.look.stride[1]])
            attention = 1 / (1 + torch.exp(-(look + path.look.bias)))
            means.append(attention.mean((1, 2, 3)))
            plain = path.bn2(path.conv2(torch.relu(path.bn1(path.conv1(wanted)))))
            wanted = torch.relu(block.shortcut(wanted) + attention * plain)
        output = net.infer(x, "masked")
    torch.testing.assert_close(output.logits, net.classify(wanted), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.gates, torch.stack(means, 1), rtol=1e-4, atol=1e-5)


def test_every_block_of_a_new_slat_runs():
    net = make("slat", 20).eval()
    with torch.no_grad():
        output = net.infer(images(8, 3, SIZE), "sparse")
    assert output.decisions.all() and (output.gates - 1 / (1 + math.exp(-1))).abs().max() < 0.1


def test_stochastic_depth_survives_linearly_and_keeps_the_expected_sum():
    net = make("stochastic-depth", 20, survival=0.5).train()
    assert net.survival[-1] == 0.5 and net.survival[0] == pytest.approx(1 - 1 / 18)
    torch.manual_seed(0)
    with torch.no_grad():
        on = torch.stack([net(images(2, size=SIZE)).gates[0] for _ in range(300)])
    np.testing.assert_allclose(on.mean(0), net.survival, atol=0.1)
    assert bool((net(images(4, size=SIZE)).gates.std(0) == 0).all())  # one draw a batch


def test_a_block_that_survives_is_scaled_so_that_the_expected_path_is_the_whole_one():
    net = make("stochastic-depth", 8, survival=0.25).eval()
    x, seen = images(2, size=SIZE), []
    net.classify = lambda last: seen.append(last) or last.mean((2, 3))
    with torch.no_grad():
        torch.manual_seed(0)
        while not net(x).gates[0].bool().all():
            pass
        wanted = net.stem(x)
        for block, probability in zip(net.blocks, (0.75, 0.5, 0.25), strict=True):
            wanted = torch.relu(block.shortcut(wanted) + block.residual(wanted) / probability)
    torch.testing.assert_close(seen[-1], wanted)


@pytest.mark.parametrize("survival", [0, 1.5])
def test_a_survival_that_is_no_probability_is_refused(survival):
    with pytest.raises(UsageError, match="survival"):
        make("stochastic-depth", survival=survival)


@pytest.mark.parametrize("gated", ["skipnet", "convnet-aig"])
def test_decided_blocks_are_those_of_any_gated_network_and_its_first_one(gated):
    parent = create(gated, 10, (3, SIZE, SIZE), depth=14).eval()
    for name, weights in parent.gates.named_parameters():
        if "answer" in name:
            nn.init.zeros_(weights)
    decisive = getattr(parent.gates, "answer", None) or parent.gates[2].answer
    with torch.no_grad():
        decisive.bias[-1] = 5.0  # SkipNet's one layer opens every gate; ConvNet-AIG's third opens the third
    net = create("fixed-blocks", 10, (3, SIZE, SIZE), {"network": parent}, depth=14, subset={"kind": "decisions"})
    net.learn(batches_of(8))
    assert net.kept.tolist() == ([True] * 6 if gated == "skipnet" else [False, False, True, False, False, False])
    assert net.infer(images(3, size=SIZE)).gates.unique().tolist() == ([1] if gated == "skipnet" else [0, 1])


def test_blocks_that_keep_their_weights_get_statistics_of_their_own():
    parent = create("resnet8", 10, (3, SIZE, SIZE)).to(memory_format=torch.channels_last).eval()
    net = create("fixed-blocks", 10, (3, SIZE, SIZE), {"network": parent}, depth=8, subset={"kind": "search", "macs": 0.7})
    net.learn(batches := batches_of(96))
    convolution, norm, _ = net.stem
    assert torch.equal(convolution.weight, parent.stem[0].weight)
    with torch.no_grad():
        seen = [batch.x for batch in batches.shuffled(0)]  # cropped and flipped, as in training
        means = torch.stack([convolution(x).mean((0, 2, 3)) for x in seen]).mean(0)
    torch.testing.assert_close(norm.running_mean, means, rtol=1e-4, atol=1e-5)
    assert not torch.equal(norm.running_mean, parent.stem[1].running_mean)


def test_blocks_are_chosen_on_images_from_all_over_the_set(monkeypatch):
    """A set may be sorted by class."""
    seen = []
    monkeypatch.setattr(fixed, "IMAGES", 100)
    monkeypatch.setattr(fixed, "best_subset", lambda net, batches, *_: seen.extend(batches) or torch.tensor([True, False, True]))
    parent = create("resnet8", 10, (3, SIZE, SIZE)).eval()
    net = create("fixed-blocks", 10, (3, SIZE, SIZE), {"network": parent}, depth=8, subset={"kind": "search", "macs": 0.7})
    net.learn(batches := batches_of(224))
    assert [batch.x.sum() for batch in seen] == [batch.x.sum() for batch in list(batches)[::3]]


def test_stochastic_depth_is_run_at_reduced_depth_by_its_best_blocks():
    parent = make("stochastic-depth", 8).eval()
    net = create("fixed-blocks", 10, (3, SIZE, SIZE), {"network": parent}, depth=8, subset={"kind": "search", "macs": 0.7})
    net.learn(batches := batches_of(32))
    best = best_subset(parent, list(batches), 0.7 * net.macs_static, lambda on: float(net.tally(on[None], deciding=False).sum()))
    assert net.kept.tolist() == best.tolist() and not best.all()
    assert torch.equal(net.blocks[2].residual.conv1.weight, parent.blocks[2].residual.conv1.weight)


def test_a_parent_without_gates_or_with_other_blocks_is_refused():
    plain, deeper = create("resnet8", 10, (3, SIZE, SIZE)), create("convnet-aig", 10, (3, SIZE, SIZE), depth=14)
    for parent, subset, said in (
        (plain, "decisions", "no gates"),
        (deeper, "search", "no plain ResNet"),
        (deeper, "decisions", "other blocks"),
    ):
        with pytest.raises(UsageError, match=said):
            create("fixed-blocks", 10, (3, SIZE, SIZE), {"network": parent}, depth=8, subset={"kind": subset})


@pytest.mark.parametrize("rate", [0.3, 0.8])
def test_random_skipping_is_the_same_alone_and_in_a_batch_and_even_over_inputs(rate):
    net, x = make("random-skip", 20, gate={"rate": rate}).eval(), images(2000, 3, SIZE)
    numbers = drawn(x, 9)
    together = torch.cat([net.infer(part).decisions for part in x[:64].split(16)])
    alone = torch.cat([net.infer(each[None]).decisions for each in x[:64]])
    assert torch.equal(together, alone) and torch.equal(together, numbers[:64] < rate)
    np.testing.assert_allclose((numbers < rate).double().mean(0), rate, atol=0.04)
    assert (drawn(x.flip(3), 9) != numbers).all(), "the same pixels in other places"
    apart = np.corrcoef(numbers.numpy().T) - np.eye(9)
    assert np.abs(apart).max() < 0.1


def labelled(net, batches):
    """Batches whose labels are the network's own answers, so that it is right on all of them."""
    with torch.inference_mode():
        return [Batch(x, net.eval().static_logits(x).argmax(1)) for x in batches]


@pytest.mark.parametrize("budget", [0.85, 0.7, 0.5])
def test_the_best_subset_is_that_of_trying_all(budget, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(search, "BEAM", 64)  # all of a size
    net = create("resnet14", 10, (3, SIZE, SIZE)).to(memory_format=torch.channels_last)
    settle_norms(net, [images(64, seed, SIZE) for seed in range(2)])
    batches = labelled(net, [images(64, seed, SIZE) for seed in range(2, 5)])
    blocks = [2 * SIZE * SIZE * 16 * 16 * 9] * 2 + [SIZE * SIZE // 4 * 9 * (16 * 32 + 32 * 32), SIZE * SIZE // 4 * 9 * 2 * 32 * 32]
    blocks += [SIZE * SIZE // 16 * 9 * (32 * 64 + 64 * 64), SIZE * SIZE // 16 * 9 * 2 * 64 * 64]

    def cost(on):
        return net.macs_static - sum(macs for macs, runs in zip(blocks, on.tolist(), strict=True) if not runs)

    def right(on):
        with torch.inference_mode():
            return sum(int((net.run(net.stem(batch.x), on).argmax(1) == batch.labels).sum()) for batch in batches)

    def pays(on):
        return cost(torch.tensor(on)) <= budget * net.macs_static

    def one_more(on):
        return [on[:index] + (True,) + on[index + 1 :] for index in range(6) if not on[index]]

    every = [on for on in itertools.product([True, False], repeat=6) if pays(on) and not any(map(pays, one_more(on)))]
    found = best_subset(net, batches, budget * net.macs_static, cost)
    assert pays(tuple(found.tolist()))
    monkeypatch.setattr(search, "BEAM", 2)
    few = best_subset(net, batches, budget * net.macs_static, cost)
    assert pays(tuple(few.tolist())) and right(few.tolist()) <= right(found.tolist())
    assert right(found.tolist()) == max(map(right, every))


def test_of_subsets_that_do_alike_the_one_with_fewer_blocks_is_best():
    """The first block costs as much as both others, which can be left out instead."""
    net = create("resnet8", 10, (3, SIZE, SIZE)).requires_grad_(False)
    net.head.weight.zero_()
    kept = best_subset(net, labelled(net, [images(8, size=SIZE)]), 3.0, lambda on: float((on * torch.tensor([2, 1, 1])).sum()) + 1)
    assert kept.sum() == 1


def test_a_budget_that_no_subset_keeps_to_is_refused():
    net = create("resnet8", 10, (3, SIZE, SIZE))
    with pytest.raises(ValueError, match="model.subset.macs"):
        best_subset(net, labelled(net, [images(4, size=SIZE)]), 1.0, lambda on: 2.0)


class Given(nn.Module):
    """Decisions as they are given."""

    def __init__(self, decisions):
        super().__init__()
        self.decisions = decisions

    def infer(self, x, execution):
        return Output(x, decisions=self.decisions)

    def tally(self, on):
        return on.double() * torch.tensor([3.0, 2.0, 1.0])


def test_most_used_takes_as_many_switches_as_the_mean_pays_for():
    gated = Given(torch.tensor([[True, False, True], [True, True, False], [True, True, False], [False, True, False]]))
    mean = (3 * 3 + 2 * 3 + 1 * 1) / 4  # the first and the second are on for three each

    def cost(on):
        return float((on.double() * torch.tensor([3.0, 2.0, 1.0])).sum())

    kept = most_used(gated, [Batch(torch.zeros(4, 1), None)], cost)
    assert kept.tolist() == [True, False, False] and cost(kept) <= mean


def test_skipnet_s_gates_begin_with_the_released_spread():
    """Nothing opens a gate that has closed for all inputs, as all of them do with torch's own spread."""
    gates = make("skipnet", 56).gates
    looks = torch.cat([layer.weight.flatten() for layer in gates.looks])
    answers = torch.stack([make("skipnet", 8).gates.answer.weight.flatten(), gates.answer.weight.flatten()])
    assert looks.std().item() == pytest.approx(math.sqrt(2 / 10), rel=0.05)
    assert answers.std().item() == pytest.approx(math.sqrt(2 / 10), rel=0.5)
    convolutional = make("skipnet", 56, gate={"kind": "feed-forward"}).gates.gates
    last = torch.stack([gate.answer.weight for gate in convolutional if gate.answer.in_features == 64])
    assert last.std().item() == pytest.approx(math.sqrt(2 / (2 * 64)), rel=0.1)


# Our own


def unsure(depth=20, whole=0.0, **options):
    """The network past its first epochs, with norms that have seen images."""
    net = make("when-unsure", depth, gate={"whole": whole}, **options)
    settle_norms(net, [images(32, seed, SIZE) for seed in range(2)])
    net.begin_epoch(0.5)
    return net.eval()


def test_the_rest_of_the_last_stage_runs_where_two_classes_are_close_together():
    net, x = unsure(), images(64, 5, SIZE)
    assert len(net.blocks) == 2 and net.macs_gate == 64 * 10
    with torch.no_grad():
        net.early.offset.fill_(0.3)
        maps = net.stem(x).double().numpy()
        output, seen = net(x), net.infer(x)
    weight, bias = (each.detach().double().numpy() for each in (net.early.classifier.weight, net.early.classifier.bias))
    answers = maps.mean((2, 3)) @ weight.T + bias
    best = np.sort(answers, 1)
    mean, spread = float(net.early.normalise.running_mean), math.sqrt(float(net.early.normalise.running_var) + 1e-5)
    logits = 0.3 - ((best[:, -1] - best[:, -2]) - mean) / spread
    clear = np.abs(logits) > 1e-4
    assert output.details["early_answer"].numpy() == pytest.approx(answers, abs=1e-4)
    for decided in (output.gates > 0.5, seen.decisions):
        assert (decided.numpy() == (logits > 0)[:, None])[clear].all(), "both blocks alike"
    assert 0 < (logits > 0).sum() < 64 and seen.gates.numpy()[:, 0] == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-4)


def test_some_images_run_whole_in_training_whatever_is_decided():
    x = images(16, 5, SIZE)
    with torch.no_grad():
        net = unsure(whole=0.0)
        torch.testing.assert_close(net(x).logits, net.infer(x, decisions=net(x).gates > 0.5).logits)
        watching, always = unsure(whole=0.0), unsure(whole=1.0)
        watching.begin_epoch(0.0)
        own, everything, half = net(x).logits, net.static_logits(x), unsure(whole=0.5)
        apart = (own - everything).abs().amax(1) > 1e-2
        draws = [(half(x).logits - everything).abs().amax(1)[apart] < 1e-4 for _ in range(20)]
        assert 0.3 < torch.stack(draws).double().mean() < 0.7
        assert any(0 < each.sum() < len(each) for each in draws), "each image for itself"
        for each in (watching, always):
            assert 0 < each(x).gates.mean() < 1
            torch.testing.assert_close(each(x).logits, each.static_logits(x))


def test_the_early_answer_learns_without_changing_the_network():
    net, x, labels = unsure(depth=14), images(8, 5, SIZE), torch.arange(8)
    output = net.train()(x)
    logs = output.details["early_answer"].detach().double().log_softmax(1)[range(8), labels].numpy()
    loss = EarlyAnswer(weight=3.0).bind(net, {})(output, Batch(x, labels), CLOCK)
    assert loss.item() == pytest.approx(-3 * np.mean(logs), rel=1e-5)
    loss.backward()
    assert moved(net) == {"early.classifier.weight", "early.classifier.bias"}
    with pytest.raises(UsageError, match="only when-unsure has an early answer"):
        EarlyAnswer().check(make("slat"))


def moved(net):
    """Names of the parameters with a gradient."""
    return {name for name, each in net.named_parameters() if each.grad is not None and each.grad.abs().max() > 0}


def test_the_answer_moves_the_gate_and_no_gate_moves_the_early_classifier():
    net, x = unsure(), images(32, 5, SIZE)
    cross_entropy(net(x).logits, torch.arange(32) % 10).backward()
    assert "early.offset" in moved(net) and not any("classifier" in name for name in moved(net))
    net.zero_grad(set_to_none=True)
    TargetRate(weight=2.0, target=0.9).bind(net, {})(net(x), Batch(x, torch.zeros(32)), CLOCK).backward()
    assert moved(net) == {"early.offset"}


def test_a_last_stage_of_one_block_has_nothing_to_leave_out():
    with pytest.raises(UsageError, match="take 14"):
        make("when-unsure", 8)


def test_when_unsure_decides_folded_as_before():
    net, x = unsure(), images(64, 5, SIZE)
    with torch.no_grad():
        first, other = net.infer(x), folded(net).infer(x)
    torch.testing.assert_close(first.gates, other.gates, atol=1e-3, rtol=0)


def test_weights_of_a_network_of_another_depth_are_refused_in_a_sentence(gatebench, tmp_path):
    other = ["--set", "parents.weights.model=resnet14", "--set", "parents.weights.epochs=1"]
    said = gatebench.refused("train", "blockdrop", "--config", "curriculum", *GATED, *other, "--out", str(tmp_path), code=2)
    assert "parents.weights is another network" in said and "--set parents.weights.model=resnet8" in said
