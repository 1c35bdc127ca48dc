"""The training loop beside one written out by hand, and what a recipe's settings reach."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL, Silent

from gatebench import assignment, device, outputs, plan, stages
from gatebench.data import reading
from gatebench.data.batches import Batches
from gatebench.data.images import Dataset
from gatebench.data.settings import Data
from gatebench.data.shapes import class_names, make_shapes
from gatebench.losses import Batch, Budget, Clock, CrossEntropy
from gatebench.models import registry
from gatebench.models.blocks.losses import Consistency, Prediction
from gatebench.models.blocks.settings import CirGate
from gatebench.recipe import Model, Recipe
from gatebench.runs import RunFolder
from gatebench.training.loop import Trainer, fit
from gatebench.training.settings import Training

EPOCHS = 4
SEED = 3


def recipe(gate, clip=None, losses=(), **training):
    settings = {"epochs": EPOCHS, "batch_size": 16, "learning_rate": 0.05, "momentum": 0.8, "weight_decay": 0.01, "clip_gradient": clip}
    return Recipe(
        name="by-hand",
        model=Model(name="cosinegate", depth=8, gate=gate),
        losses={loss.kind: loss for loss in (CrossEntropy(), *losses)},
        training=Training(**{**settings, **training}),
    )


def batches():
    images = make_shapes(48, 4, 16, 1)
    return Batches(images, (0.5,) * 3, (0.25,) * 3, batch_size=16, device=torch.device("cpu"), crop=True, flip=True)


def model(recipe):
    torch.manual_seed(0)
    return registry.create("cosinegate", 4, (3, 16, 16), **recipe.model.options).to(memory_format=torch.channels_last)


@pytest.fixture
def in_double_precision(monkeypatch):
    """Rounding differs between processors and thread counts; in single precision twelve steps let it turn a decision round."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.double)
    yield
    torch.set_default_dtype(torch.float)


def by_hand(recipe, term):
    """SGD with momentum and weight decay, a cosine, the loss of Eq. 17-21, clipping: all written out."""
    net, images = model(recipe), batches()
    velocity = {name: torch.zeros_like(weight) for name, weight in net.named_parameters()}
    rule, settings = recipe.losses["budget"], recipe.training
    steps, count, rates, budgets = len(images) * EPOCHS, 0, [], []
    for epoch in range(EPOCHS):
        torch.manual_seed(100_003 * SEED + epoch)
        net.train()
        net.begin_epoch(epoch / EPOCHS)
        spent = []
        for step, batch in enumerate(images.shuffled(100_003 * SEED + epoch)):
            output = net(batch.x)
            entropy = -output.logits.log_softmax(1)[torch.arange(len(batch.labels)), batch.labels].mean()
            progress = max(0.0, min(1.0, (epoch + step / len(images) - rule.start_epoch) / rule.warmup_epochs))
            costs = torch.tensor([float(unit.macs) for unit in net.units]) if rule.of == "macs" else torch.ones(len(net.units))
            mean = (output.gates * costs / costs.sum()).sum(1).mean()
            budget = rule.weight * progress * max(torch.tensor(0.0), mean - rule.target) ** 2
            (entropy + budget + recipe.losses[term].weight * output.terms[term].sum(1).mean()).backward()
            spent.append(budget.item())
            rate = settings.learning_rate * (1 + math.cos(math.pi * count / steps)) / 2
            count += 1
            gradients = {name: weight.grad for name, weight in net.named_parameters() if weight.grad is not None}
            norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients.values()))
            shrink = min(1.0, settings.clip_gradient / (norm + 1e-6)) if settings.clip_gradient else 1.0
            with torch.no_grad():
                for name, weight in net.named_parameters():
                    if name in gradients:
                        velocity[name] = settings.momentum * velocity[name] + shrink * gradients[name] + settings.weight_decay * weight
                        weight -= rate * velocity[name]
            net.zero_grad()
        rates.append(settings.learning_rate * (1 + math.cos(math.pi * count / steps)) / 2)
        budgets.append(float(np.mean(spent)))
    return net, rates, budgets


@pytest.mark.parametrize(
    "gate, term, clip, start, of",
    [
        ({"kind": "cir"}, Consistency, None, 0, "gates"),
        ({"kind": "cir"}, Consistency, 0.3, 0, "macs"),
        ({"kind": "predictive", "watch": 0.5}, Prediction, None, 1, "macs"),
    ],
)
def test_the_loop_does_what_one_written_out_does(in_double_precision, tmp_path, gate, term, clip, start, of):
    budget = Budget(weight=5, target=0.02, of=of, start_epoch=start, warmup_epochs=3)
    ours = recipe(gate, clip, [budget, term(weight=0.1)])
    view, net = Silent(), model(ours)
    shared = {"scored": "test", "seed": SEED, "precision": "fp32", "view": view}
    fit(net, ours.training, ours.losses, batches(), batches(), RunFolder(tmp_path), **shared)
    other, rates, budgets = by_hand(ours, term.kind)
    for (name, found), expected in zip(net.named_parameters(), other.parameters(), strict=True):
        assert torch.allclose(found, expected, rtol=1e-6, atol=1e-9), name
    table = pd.read_csv(tmp_path / "epochs.csv")
    assert table["learning_rate"].tolist() == pytest.approx(rates) and table["loss_budget"].tolist() == pytest.approx(budgets, rel=1e-3)
    assert budgets[-1] > 2 * budgets[0] if start == 0 else budgets[0] == 0 < budgets[-1], budgets  # the warm-up lets it act
    assert len(view.updates) == EPOCHS * 3 and [row["epoch"] for row in view.epochs] == [1, 2, 3, 4]


def test_torch_compile_is_used_where_it_is_asked_for(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda module: compiled.append(module) or module)
    for wanted in (False, True):
        ours = recipe({"kind": "cir"}, compile=wanted)
        Trainer(model(ours), ours.training, ours.losses, 3, "fp32")
    assert len(compiled) == 1


@pytest.mark.parametrize("native, expected", [(True, "bf16"), (False, "fp32")])
def test_auto_precision_is_bf16_where_it_is_native(monkeypatch, native, expected):
    monkeypatch.setattr(device, "computes_bf16", lambda place: native)
    assert device.choose_precision("auto", torch.device("cpu")) == expected
    assert device.choose_precision("fp32", torch.device("cpu")) == "fp32"


@pytest.mark.parametrize("mirrors", [False, True])
def test_digits_are_never_mirrored(monkeypatch, tmp_path, mirrors):
    """A set says whether its images have mirror images of the same label; crop-flip only crops the others."""
    made = []

    class Noting(Batches):
        def __init__(self, *arguments, **options):
            made.append((options.get("crop", False), options.get("flip", False)))
            super().__init__(*arguments, **options)

    monkeypatch.setattr(outputs, "Batches", Noting)
    images = make_shapes(48, 4, 16, 1)
    dataset = Dataset("digits", class_names(4), images, images, (0.5,) * 3, (0.25,) * 3, mirrors=mirrors)
    monkeypatch.setattr(reading, "_read", lambda data, root: dataset)
    ours = recipe({"kind": "cir"}, epochs=1).model_copy(update={"data": Data(augment="crop-flip")})
    jobs = plan.plan(ours, [0], data_root=tmp_path, device="cpu", precision="fp32", threads=1)
    list(stages.run(jobs, assignment.Place(tmp_path), Silent))
    assert made[0] == (True, mirrors) and made[1] == (False, False)  # and the scored images are left as they are


def test_a_gate_s_settings_reach_the_network():
    torch.manual_seed(0)
    x = torch.randn(8, 3, 16, 16)

    def built(**gate):
        return registry.create("cosinegate", 4, (3, 16, 16), depth=8, gate=CirGate(**gate).model_dump())

    shapes = {name: tuple(built(consistency=name)(x).terms["consistency"].shape) for name in ("all", "last")}
    assert shapes == {"all": (8, 3), "last": (8, 1)}
    nets = [built(noise=noise) for noise in ("gumbel-softmax", "gumbel-sigmoid")]
    logits = torch.zeros(200_000)
    softmax, sigmoid = (float(net.relax(logits, 1.0).mean()) for net in nets)
    assert softmax == pytest.approx(0.5, abs=0.005) and sigmoid > 0.57  # one Gumbel variable leans towards running


def test_the_budget_and_the_answer_move_the_predictive_head():
    """By straight-through gates, once they act; while the network only watches, nothing but the prediction does."""
    torch.manual_seed(0)
    net = registry.create("cosinegate", 4, (3, 16, 16), depth=8, gate={"kind": "predictive", "watch": 0.5}).train()
    x, labels = torch.randn(16, 3, 16, 16), torch.arange(16) % 4

    def moved(loss):
        net.zero_grad()
        loss.backward(retain_graph=True)
        return any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in net.up_front_head.parameters())

    for progress, acts in ((0.0, False), (0.75, True)):
        net.begin_epoch(progress)
        output = net(x)
        assert moved(output.terms["prediction"].sum())
        if acts:
            for loss in (Budget(weight=1, target=0.1), CrossEntropy()):
                assert moved(loss.bind(net, {})(output, Batch(x, labels), Clock(1.0, 2))), loss.kind


def test_the_headline_row_says_what_the_epochs_say(gatebench, tmp_path):
    """The peak is the best epoch, soft and hard gates are two things, and findings of the audit reach the row."""
    command = ["train", "cosinegate", "--config", "released", *SMALL, "--set", "training.learning_rate=0.05", "--epochs", "4"]
    (row,) = gatebench.json(*command, "--set", "model.depth=10", "--out", str(tmp_path))
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    epochs = pd.read_csv(folder / "epochs.csv")
    assert row["accuracy_peak"] == epochs["test_accuracy"].max() and row["accuracy"] == epochs["test_accuracy"].iloc[-1]
    assert row["peak_epoch"] == epochs.loc[epochs["test_accuracy"].idxmax(), "epoch"]
    assert row["mean_gate_soft"] not in (0.0, 1.0) and row["mean_gate_soft"] != row["mean_gate_hard"]
    assert any("penalty without gradient" in finding for finding in row["audit"])  # the notebook's penalty is a plain number
    assert row["skip_pct"] > 1 and any("claimed saving not executed" in finding for finding in row["audit"])
