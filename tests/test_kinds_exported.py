"""Every kind of network that can be exported, as one model: classes, decisions and MACs of images are those of the network."""

import numpy as np
import pytest
import torch
from test_execution import SIZE, has_exits, leave_everywhere, make
from test_routing import GATERS, learned
from torch.nn.functional import interpolate

from gatebench.models.registry import create
from gatebench.pieces import APART, Part
from gatebench.runs import RunFolder
from gatebench.runtimes.bundle import run, write
from gatebench.runtimes.bundle.onnx import to_onnx
from gatebench.runtimes.bundle.openvino import for_openvino

pytest.importorskip("onnx", reason="export needs pip install 'gatebench[export]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="export needs pip install 'gatebench[export]'")
pytestmark = pytest.mark.usefixtures("operators_read_once")

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
NETWORKS = {
    "patience": lambda: make("exits, patience"),
    "margin": lambda: make("exits, margin"),
    "when unsure": lambda: make("when unsure"),
    "always the same": lambda: create("stochastic-depth", 10, (3, SIZE, SIZE), depth=8),
    **{name: lambda name=name: learned(name)[0] for name in (*GATERS, "learned")},
}
FAST = ("patience",)


def choose_differently(name, net, x):
    """A policy, or answers of a gater, by which every expert is somebody's."""
    scores = net.scores(x, net.answers(x))
    if name == "learned":
        *_, answer = (module for module in net.gater.modules() if isinstance(module, torch.nn.Linear))
        torch.nn.init.normal_(answer.weight, std=100.0)
        answer.bias -= net.scores(x, None).mean(0)
    elif name.startswith("cascade"):
        net.policy = tuple(scores[:, :-1].quantile(0.4, 0).tolist())
    elif name in ("entropy", "complexity"):
        low, high = scores[:, 0].quantile(torch.tensor([0.3, 0.6])).tolist()
        net.policy = low, high, 0.0, 1.0, 2.0


@pytest.mark.parametrize("size", [(64, 48), (150, 90), (160, 200)])
def test_images_are_scaled_down_as_in_torch_in_both_runtimes(size, tmp_path):
    openvino = pytest.importorskip("openvino")
    x = torch.rand(1, 3, 150, 140, generator=torch.Generator().manual_seed(0))
    smooth = Part(torch.nn.Identity(), lambda image: (interpolate(image * 2, size, mode="bilinear", antialias=size[0] < 150) + 1,))
    content, _ = to_onnx(smooth, {"image": x}, ("y",))
    wanted = smooth(x)[0].numpy()
    assert onnxruntime.InferenceSession(content).run(None, {"image": x.numpy()})[0] == pytest.approx(wanted, abs=1e-4)
    model = openvino.Core().compile_model(
        openvino.Core().read_model(for_openvino(content, "fp32")), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    assert model(x.numpy().transpose(0, 2, 3, 1))[0].transpose(0, 3, 1, 2) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("format_", ["onnx", "openvino"])
@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in NETWORKS])
@torch.inference_mode()
def test_one_model_answers_as_the_network_does(name, format_, tmp_path):
    net, draw = NETWORKS[name]().eval(), np.random.default_rng(0)
    type_ = np.dtype("int16" if name in ("margin", "complexity") else "uint8")
    most = np.iinfo(type_).max
    images = torch.from_numpy((draw.random((48, 1, 1, 3)) * draw.random((48, SIZE, SIZE, 3)) * most).astype(type_))  # bright and dark ones
    x = ((images.to(torch.float32) / most - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)
    if has_exits(net):
        leave_everywhere(net, x)
    elif hasattr(net, "experts"):
        choose_differently(name, net, x)
    own = net.infer(x)
    models = write.converted(net.pieces(own.decisions, APART), MEAN, STD, images)
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[format_])
    write.write(
        RunFolder(tmp_path),
        models,
        format_,
        "fp32",
        {"classes": [str(each) for each in range(own.logits.shape[1])], "switches": [unit.name for unit in net.units]},
    )
    network = run.Network(tmp_path)
    for image, logits, decided, macs in zip(images, own.logits, own.decisions, net.tally(own.decisions), strict=True):
        answer = network(image.numpy())
        assert answer.on == decided.nonzero().flatten().tolist()
        assert answer.logits == pytest.approx(logits.numpy(), rel=1e-3, abs=1e-4) and answer.macs == pytest.approx(float(macs.sum()))
    assert (len({tuple(each) for each in own.decisions.tolist()}) > 1) == (name != "always the same")
