"""Networks of which some channels stay for every input: which ones, with which weights, and as runs."""

import json

import numpy as np
import pytest
import torch
from conftest import SMALL, Command
from test_channels import close, images, make
from test_models import batches_of

from gatebench.errors import UsageError
from gatebench.models.registry import create

STATIC = {"lag-vgg11": "vgg11", "lag-resnet18": "resnet18"}
BATCHES = batches_of(96)


def learned(network, **options):
    net = create("pruned", 5, (3, 16, 16), {"network": network}, **options)
    net.learn(BATCHES)
    return net.eval()


@pytest.mark.parametrize("name", STATIC.values())
@pytest.mark.parametrize("density", [0.25, 0.5, 1.0])
def test_the_largest_filters_of_each_layer_stay_with_their_weights(name, density):
    torch.manual_seed(1)
    static = create(name, 5, (3, 16, 16), width=0.125).eval()
    net = learned(static, channels={"kind": "magnitude", "density": density})
    for gate, (conv, *_) in zip(net.gates, net.gated_layers(), strict=True):
        norms = conv.weight.detach().abs().sum((1, 2, 3)).numpy()
        largest = np.argsort(-norms)[: max(1, round(density * len(norms)))]
        assert set(gate.kept.nonzero().flatten().tolist()) == set(largest.tolist())
    kept = {name: each for name, each in static.state_dict().items() if name.endswith("weight") and each.dim() > 1}
    assert all(torch.equal(net.state_dict()[name], each) for name, each in kept.items())
    x = images(5, seed=9)
    with torch.no_grad():
        assert close(net.infer(x, "sparse").logits, net.infer(x, "masked").logits)
    assert torch.isclose(net.infer(x).executed_macs.sum(1)[0], torch.tensor(net.macs_static, dtype=torch.double)) == (density == 1)


def test_batch_norm_gets_the_statistics_of_the_narrower_network():
    static = create("vgg11", 5, (3, 16, 16), width=0.125).eval()
    net = learned(static, channels={"kind": "magnitude", "density": 0.5})
    x = torch.cat([batch.x for batch in BATCHES.shuffled(0)])  # cropped and flipped, as in training
    with torch.no_grad():
        first, second = net.layers[0], net.layers[1]
        z = first[0](x)
        batches = torch.stack([each.mean((0, 2, 3)) for each in z.split(32)])
        assert torch.allclose(first[1].running_mean, batches.mean(0), atol=1e-6)
        parts = []
        for each in z.split(32):  # as in training: each batch's own statistics
            mean, variance = each.mean((0, 2, 3), keepdim=True), each.var((0, 2, 3), keepdim=True, unbiased=False)
            y = ((each - mean) / (variance + first[1].eps).sqrt()).mul(net.gates[0].kept[:, None, None])
            parts.append(second[0](torch.nn.functional.max_pool2d(y.relu(), 2)).mean((0, 2, 3)))
        assert torch.allclose(second[1].running_mean, torch.stack(parts).mean(0), atol=1e-5)


@pytest.mark.parametrize("name", STATIC)
@pytest.mark.parametrize("retrained", [False, True])
def test_the_channels_that_are_on_for_most_images_stay_at_equal_macs(name, retrained):
    gated = make(name, "input", width=0.125)
    net = learned(gated, channels={"kind": "decisions", "retrained": retrained})
    x = torch.cat([batch.x for batch in BATCHES])
    with torch.no_grad():
        output = gated.infer(x, "masked")
    used, kept = output.decisions.float().mean(0), torch.cat([gate.kept for gate in net.gates])
    assert used[kept].min() >= used[~kept].max()
    allowed, spent = float(gated.tally(output.decisions).sum(1).mean()), float(net.tally(kept[None]).sum())
    dearest = max(unit.macs for unit in net.units) / min(net.widths)
    assert allowed - 2 * dearest < spent <= allowed < net.macs_static
    same = torch.equal(net.head.weight, gated.head.weight)
    assert same != retrained


def test_what_stays_is_said_of_a_network_that_has_it():
    decisions = {"channels": {"kind": "decisions"}}
    for parents, options, said in (
        ({"network": create("lag-vgg11", 5, width=0.125, inference="soft")}, decisions, "is run soft"),
        ({"network": create("resnet8", 5)}, {}, "neither a VGG nor a wide ResNet"),
        ({}, {}, "neither a VGG nor a wide ResNet"),
        ({"network": create("vgg11", 5, width=0.125)}, decisions, "no gates that decide"),
    ):
        with pytest.raises(UsageError, match=said):
            create("pruned", 5, (3, 32, 32), parents, **options)


@pytest.mark.parametrize("config", ["magnitude", "decisions", "retrained"])
def test_a_network_is_trained_and_then_pruned(tmp_path, config):
    gatebench, out = Command(tmp_path), tmp_path / "results"
    width = ["--set", "parents.network.changes=[model.width=0.0625, training.batch_size=32]"]
    done = gatebench("train", "pruned", "--config", config, *SMALL, "--epochs", "1", *width, "--out", str(out))
    assert done.returncode == 0, done.stderr
    rows = {row["model"]: row for row in (json.loads((each / "summary.json").read_text()) for each in out.iterdir())}
    pruned, network = rows["pruned"], rows["vgg11" if config == "magnitude" else "lag-vgg11"]
    assert pruned["parents"] == [each.name for each in out.iterdir() if each.name.startswith(network["model"] + "-")]
    assert pruned["macs_executed"] <= network["macs_executed"] and pruned["macs_dense"] == network["macs_dense"]
    assert not pruned["adaptive"] and network["adaptive"] == (config != "magnitude")
    assert any("every input gets the same decisions" in each for each in pruned["audit"])
    again = gatebench("train", "pruned", "--config", config, *SMALL, "--epochs", "1", *width, "--out", str(out))
    assert again.returncode == 0 and "was finished before" in again.stdout
