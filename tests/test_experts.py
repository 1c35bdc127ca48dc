"""Experts: networks of timm and torchvision, and the files of weights that they start from."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gatebench.contract import Prepare
from gatebench.errors import GatebenchError, UsageError
from gatebench.library import available
from gatebench.models import registry
from gatebench.models.experts import weights
from gatebench.recipe import load
from gatebench.runtimes.fold import folded, same_answers

SMALL = "torchvision:squeezenet1_1"
NETWORKS = {SMALL: (32, 64), "timm:tf_efficientnet_lite0": (48, 32), "timm:vit_tiny_patch16_224": (224, 32)}
"""The side that each scales images to, and that of the images."""


def build(network=SMALL, classes=6, shape=(3, 32, 32), size=32, pretrained=False):
    torch.manual_seed(0)
    return registry.create("expert", classes, shape, network=network, size=size, pretrained=pretrained)


@pytest.mark.parametrize("network", NETWORKS)
def test_network_of_a_library_classifies_images_of_any_size(network):
    size, side = NETWORKS[network]
    model = build(network, shape=(3, side, side), size=size).eval()
    x = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        output = model.infer(x)
        assert output.logits.shape == (2, 6) and output.decisions.shape == (2, 0)
        assert torch.equal(output.executed_macs.sum(1), torch.full((2,), model.macs_static, dtype=torch.double))
        assert same_answers(output.logits, folded(model).infer(x).logits)


def test_folding_keeps_the_activation_in_a_norm():
    model = build("timm:tf_efficientnet_lite0").eval()
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    faster = folded(model)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in faster.modules())
    with torch.inference_mode():
        x = torch.randn(2, 3, 32, 32)
        assert same_answers(model.infer(x).logits, faster.infer(x).logits)


def test_a_pretrained_network_has_its_own_normalisation():
    assert build(pretrained=True).prepare == Prepare((32, 32), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert build("timm:tf_efficientnet_lite0", pretrained=True).prepare == Prepare((32, 32), (0.5,) * 3, (0.5,) * 3)
    assert build().prepare is None  # that of the data


def test_grey_images():
    model = build(shape=(1, 32, 32)).eval()
    assert model.infer(torch.randn(2, 1, 32, 32)).logits.shape == (2, 6)
    with pytest.raises(UsageError, match="these have 1 channel. Add --set model.pretrained=false"):
        build(shape=(1, 32, 32), pretrained=True)


@pytest.mark.parametrize(
    "network, message",
    [
        ("squeezenet1_1", "names no library. Write timm:NAME or torchvision:NAME"),
        ("torchvision:squeezenet1_2", "Did you mean 'squeezenet1_0'"),
        ("timm:tf_efficientnet_lit0", "Did you mean 'tf_efficientnet_lite0'"),
        ("timm:vit_tiny_patch16_224", "cannot take images of 32 x 32 .* Add --set model.size=224"),
        ("torchvision:vit_b_16", "cannot take images of 32 x 32 .* Add --set model.size=224"),
    ],
)
def test_wrong_networks_and_sizes_are_named(network, message):
    with pytest.raises(UsageError, match=message):
        build(network)


def test_weights_with_another_head_leave_the_head_as_it_is():
    other, model = build(classes=10), build(classes=6)
    head = model.network.classifier[1].weight.clone()
    with torch.no_grad():
        other.network.features[0].weight.fill_(0.25)
    model.start_from(other.network.state_dict())
    assert torch.equal(model.network.classifier[1].weight, head)
    assert (model.network.features[0].weight == 0.25).all()


def test_weights_with_the_same_head_are_all_taken():
    other, model = build("torchvision:resnet18"), build("torchvision:resnet18")
    with torch.no_grad():
        other.network.fc.weight.fill_(0.5)
    state = {name: tensor for name, tensor in other.network.state_dict().items() if not name.endswith("num_batches_tracked")}
    model.start_from(state)
    assert (model.network.fc.weight == 0.5).all()
    model.start_from(other.state_dict())  # of a run of ours
    assert (model.network.fc.weight == 0.5).all()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: state.pop("features.0.bias"), "they have no features.0.bias"),
        (lambda state: state.update(extra=torch.zeros(1)), "they have extra too"),
        (lambda state: state.update(epoch=3), "they are not tensors by name"),
        (lambda state: state.update({"features.0.weight": torch.zeros(64, 1, 3, 3)}), r"features.0.weight is \[64, 1, 3, 3\], wanted is"),
        (lambda state: state.update({"classifier.1.weight": torch.zeros(9, 99, 1, 1)}), r"classifier.1.weight is \[9, 99, 1, 1\]"),
    ],
)
def test_weights_of_another_network_are_named(change, message):
    model = build()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = dict(build().network.state_dict())
    change(state)
    with pytest.raises(ValueError, match=message):
        model.start_from(state)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def find(options, root):
    said = []
    return weights.find({"network": SMALL, "pretrained": True, **options}, root, said.append), said


def test_a_file_below_the_root_is_taken_before_any_download(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "_torchvision", lambda name: pytest.fail("downloaded"))
    path = tmp_path / "experts" / "squeezenet1_1.safetensors"
    path.parent.mkdir()
    path.touch()
    assert find({}, tmp_path) == (path, [])
    assert find({"pretrained": False}, tmp_path) == (None, [])


def test_a_download_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "_timm", lambda name: name.encode())
    path, said = find({"network": "timm:mobilevit_s"}, tmp_path)
    assert path == tmp_path / "experts" / "timm-mobilevit_s.safetensors" and path.read_bytes() == b"mobilevit_s" and not said
    assert list(path.parent.iterdir()) == [path]
    monkeypatch.setattr(weights, "_timm", lambda name: pytest.fail("downloaded twice"))
    assert find({"network": "timm:mobilevit_s"}, tmp_path) == (path, [])


def test_networks_of_two_libraries_with_one_name_have_files_of_their_own(tmp_path, monkeypatch):
    for library in ("timm", "torchvision"):
        monkeypatch.setattr(weights, f"_{library}", lambda name, library=library: f"{name} of {library}".encode())
    for library in ("timm", "torchvision", "timm"):
        path, said = find({"network": f"{library}:resnet18"}, tmp_path)
        assert path.read_text() == f"resnet18 of {library}" and not said


def test_a_download_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "_timm", lambda name: b"")
    (tmp_path / "experts").touch()
    with pytest.raises(GatebenchError, match="Cannot write .*timm-mobilevit_s.safetensors .* --data-dir"):
        find({"network": "timm:mobilevit_s"}, tmp_path)


@pytest.mark.parametrize("network", [SMALL, "timm:mobilevit_s"])
def test_without_file_and_network_it_trains_from_scratch_and_says_so(network, tmp_path, monkeypatch):
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    path, (sentence,) = find({"network": network}, tmp_path)
    assert path is None
    assert sentence.startswith(f"NO PRETRAINED WEIGHTS for {network}") and "It trains from scratch" in sentence
    assert str(tmp_path / "experts" / network.replace(":", "-")) in sentence
    assert "--weights" not in sentence, "an expert of a router cannot be given it"


@pytest.mark.parametrize("name", [name for _, name in available("expert")])
def test_recipes_fit_their_networks(name):
    recipe = load("expert", "expert", name)
    model = registry.create("expert", 6, (3, 128, 128), **recipe.resolved().model.options)
    assert {*recipe.training.freeze} <= {name for name, _ in model.named_modules()}
    assert recipe.data.holdout == 900 and list(recipe.data.severities) == ["clean", "mild", "moderate", "severe"]


ARGUMENTS = (
    "train", "expert", "--dataset", "shapes", "--epochs", "1", "--threads", "1",
    *(part for setting in (
        "data.shapes.train=60", "data.shapes.test=20", "data.shapes.image_size=32", "data.validation=10", "data.holdout=10",
        f"model.network={SMALL}", "model.size=32",
    ) for part in ("--set", setting)),
)  # fmt: skip
"""A run of about a second."""


def run(gatebench, out: Path, *more: str) -> dict:
    (row,) = gatebench.json(*ARGUMENTS, "--out", str(out), *more)
    return row


def test_train_expert(gatebench, tmp_path):
    row = run(gatebench, tmp_path, "--set", "model.pretrained=false")
    assert row["model"] == "expert" and row["macs_executed"] == row["macs_dense"]


def test_weights_enter_the_identity_of_a_run(gatebench, tmp_path):
    digests = set()
    for value in (0.0, 1.0):
        state = build(classes=1000).network.state_dict()
        state["classifier.1.bias"] += value
        path = tmp_path / f"{value}" / "experts" / "squeezenet1_1.safetensors"
        path.parent.mkdir(parents=True)
        save_file(state, path)
        digests.add(run(gatebench, tmp_path / "results", "--data-dir", str(path.parents[1]))["digest"])
    assert len(digests) == 2


def test_weights_of_another_network_end_a_run_with_a_sentence(gatebench, tmp_path):
    path = tmp_path / "experts" / "squeezenet1_1.safetensors"
    path.parent.mkdir()
    save_file({"fc.weight": torch.zeros(1)}, path)
    said = gatebench.refused(*ARGUMENTS, "--data-dir", str(tmp_path), "--out", str(tmp_path / "results"), code=1)
    assert f"{path} holds the weights of another network: they have no features.0.weight" in said
