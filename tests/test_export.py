"""Networks as files: they say what the network says, run without torch, and what is wrong with them is said."""

import hashlib
import io
import itertools
import json
import logging
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import GATED, SMALL, STATIC, Command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rich.console import Console

from gatebench import forks
from gatebench.contract import Output
from gatebench.data.catalogue import load
from gatebench.errors import GatebenchError
from gatebench.export.check import check, check_patterns, one_file
from gatebench.export.place import check_place, put
from gatebench.models import registry
from gatebench.models.backbones.resnet import ZeroPadShortcut
from gatebench.pieces import Part, Piece, Step
from gatebench.runs import RunFolder
from gatebench.runtimes.bundle import apart, write
from gatebench.runtimes.bundle.compare import Compared
from gatebench.runtimes.bundle.images import Raw
from gatebench.runtimes.bundle.joined import joined
from gatebench.runtimes.bundle.onnx import for_onnxruntime, to_onnx
from gatebench.runtimes.bundle.run import Answer
from gatebench.trained import load_run
from gatebench.training.view import View

onnx = pytest.importorskip("onnx", reason="export needs pip install 'gatebench[export]'")
ort = pytest.importorskip("onnxruntime", reason="export needs pip install 'gatebench[export]'")
pytestmark = pytest.mark.usefixtures("operators_read_once")

TRAINED = {
    "static": ["resnet8", *STATIC],
    "up front": ["cosinegate", "--config", "predictive", *GATED],
    "before": ["skipnet", *GATED],
    "exits": ["cgt", "--config", "hard", *SMALL, "--epochs", "1", "--set", "data.validation=40", "--set", "study.rules=[max-softmax]"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs by name, made when they are first asked for."""
    home, runs = tmp_path_factory.mktemp("export"), {}

    def run(name):
        if name not in runs:
            Command(home).json("train", *TRAINED[name], "--out", str(home / name))
            (folder,) = (path.parent for path in (home / name).glob("*/summary.json"))
            runs[name] = folder
        return runs[name]

    return run


@pytest.fixture(scope="module")
def exported(made, tmp_path_factory):
    """Folders of exported networks by name."""
    home, folders = tmp_path_factory.mktemp("exported"), {}

    def export(name):
        if name not in folders:
            folders[name] = home / name.replace(" ", "-")
            Command(home).json("export", str(made(name)), "--out", str(folders[name]))
        return folders[name]

    return export


def network_and_images(run):
    model, recipe, _ = load_run(RunFolder(run))
    return model.eval(), load(recipe.data, run).test


ALONE = """
import sys
for name in ("torch", "gatebench", "onnx", "openvino"):
    sys.modules[name] = None  # importing it fails
sys.path.insert(0, sys.argv[1])
import json, numpy, run
network = run.Network(sys.argv[1])
answers = [network(image) for image in numpy.load(sys.argv[2])]
print(json.dumps([[each.label, each.logits.tolist(), each.on, each.macs] for each in answers]))
"""


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name == "exits" else pytest.mark.slow) for name in TRAINED])
def test_files_answer_as_the_network_does_without_torch(made, exported, tmp_path, name):
    model, test = network_and_images(made(name))
    np.save(tmp_path / "images.npy", test.pixels[:24])
    done = subprocess.run([sys.executable, "-c", ALONE, exported(name), tmp_path / "images.npy"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    data = load(load_run(RunFolder(made(name)))[1].data, made(name))
    mean, std = (np.array(each, np.float32)[:, None, None] for each in (data.mean, data.std))
    x = torch.from_numpy((test.pixels[:24].transpose(0, 3, 1, 2) / np.float32(255) - mean) / std)
    with torch.inference_mode():
        own = [model.infer(each) for each in x.split(1)]
    for (label, logits, on, macs), output in zip(answers, own, strict=True):
        wanted = output.decisions[0].nonzero().flatten().tolist()
        assert on == wanted and logits == pytest.approx(output.logits[0].tolist(), abs=1e-4)
        assert macs == float(model.tally(output.decisions).sum()) and label == data.classes[int(np.argmax(logits))]
    said = json.loads((exported(name) / "bundle.json").read_text())
    assert said["model"] == TRAINED[name][0] and said["classes"] == data.classes and said["switches"] == [unit.name for unit in model.units]
    row = json.loads((made(name) / "rows.jsonl").read_text().splitlines()[0])
    assert {key: said[key] for key in ("recipe", "seed", "dataset", "split")} == {
        key: row[key] for key in ("recipe", "seed", "dataset", "split")
    }
    assert said["accuracy_in_torch"] == pytest.approx(row["accuracy"], abs=1e-6) and said["run"] == made(name).name
    assert "accuracy" not in said  # of the files it is not known
    assert (said["format"], said["precision"], said["gatebench"]) == ("onnx", "fp32", version("gatebench"))


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name == "exits" else pytest.mark.slow) for name in TRAINED])
def test_one_file_answers_as_the_network_does(made, tmp_path, gatebench, name):
    model, test = network_and_images(made(name))
    gatebench.json("export", str(made(name)), "--out", str(tmp_path / "net.onnx"))
    assert [each.name for each in tmp_path.iterdir()] == ["net.onnx"]
    session = ort.InferenceSession(tmp_path / "net.onnx")
    data = load(load_run(RunFolder(made(name)))[1].data, made(name))
    mean, std = (np.array(each, np.float32)[:, None, None] for each in (data.mean, data.std))
    for image in test.pixels[:24]:
        logits, on, macs = session.run(["logits", "on", "macs"], {"image": image[None]})
        with torch.inference_mode():
            own = model.infer(torch.from_numpy((image.transpose(2, 0, 1)[None] / np.float32(255) - mean) / std))
        assert on.astype(bool).tolist() == own.decisions[0].tolist()
        assert logits[0] == pytest.approx(own.logits[0].numpy(), abs=1e-4)
        assert macs == pytest.approx(float(model.tally(own.decisions).sum()), rel=1e-6)
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == data.classes


def test_one_file_is_of_onnx_alone(made, tmp_path, gatebench):
    said = gatebench.refused("export", str(made("exits")), "--format", "openvino", "--out", str(tmp_path / "net.onnx"), code=2)
    assert "is one ONNX file. Leave out --format openvino" in said


@pytest.mark.slow
def test_another_operating_point_is_exported_and_timed_by_its_name(made, tmp_path, gatebench):
    run = made("exits")
    headline, *others = [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]
    row = next(each for each in others if each["policy"] != headline["policy"] and each["tradeoff"] == headline["tradeoff"])
    said = gatebench.json("export", str(run), "--policy", row["policy"], "--out", str(tmp_path / "net"))
    assert (said["bundle"]["policy"], said["bundle"]["tradeoff"]) == (row["policy"], row["tradeoff"])
    assert said["bundle"]["accuracy_in_torch"] == pytest.approx(row["accuracy"], abs=1e-6)
    assert said["images"] == min(256, len(load(load_run(RunFolder(run))[1].data, run).test))
    short = ["--inputs", "8", "--repeats", "5", "--max-seconds", "1", "--out", str(tmp_path / "times")]
    done = gatebench("profile-latency", str(run), "--policy", row["policy"], *short, "--json")
    (timed,) = json.loads(done.stdout)
    assert (timed["policy"], timed["tradeoff"]) == (row["policy"], row["tradeoff"])
    refused = gatebench.refused("export", str(run), "--tradeoff", "7", code=2)
    assert "has no operating point" in refused and row["policy"] in refused


@given(shares=st.lists(st.floats(0, 1), min_size=1, max_size=9), others=st.none() | st.floats(0, 1))
def test_forks_lead_to_every_way_and_ask_seldom_for_what_is_often_taken(shares, others):
    top, ways = forks.fork(shares, others), [*range(len(shares)), *([] if others is None else [None])]

    def asked(way, wanted):
        return 0 if not isinstance(way, forks.Fork) else 1 + asked(way.yes if wanted in way.ways else way.no, wanted)

    def reached(way, wanted):
        return reached(way.yes if wanted in way.ways else way.no, wanted) if isinstance(way, forks.Fork) else way

    assert [reached(top, way) for way in ways] == ways
    often = [max(each, forks.RARE) for each in (*shares, *([] if others is None else [others]))]
    for (way, share), (other, more) in itertools.permutations(zip(ways, often, strict=True), 2):
        assert share >= more or asked(top, way) >= asked(top, other)
    if len(ways) > 1:
        assert top.asked == pytest.approx(sum(share * asked(top, way) for way, share in zip(ways, often, strict=True)))
        assert all(None not in each.ways for each in top)


@pytest.fixture(scope="module")
def up_front():
    """A network whose decisions differ from image to image, its pieces as models, of which two patterns are ready, and images."""
    torch.manual_seed(0)
    net = registry.create("cosinegate", depth=8, input_shape=(3, 16, 16), gate={"kind": "predictive"}).eval()
    for parameter in net.up_front_head.parameters():
        torch.nn.init.normal_(parameter)
    images = (torch.rand(24, 1, 1, 3) * torch.rand(24, 16, 16, 3) * 255).to(torch.uint8)  # bright and dark ones
    decided = torch.tensor([[0, 1, 0]] * 9 + [[1, 1, 0]] * 8 + [[0, 0, 1]] * 3).bool()
    return net, write.converted(net.pieces(decided, 2), [0.5] * 3, [0.25] * 3, images), images


SAID = {"classes": list("0123456789"), "switches": ["block 0", "block 1", "block 2"]}


@given(decided=arrays(bool, st.tuples(st.integers(1, 40), st.just(3))), most=st.integers(1, 4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_common_patterns_of_blocks_are_ready_the_commonest_first(up_front, decided, most):
    net, *_ = up_front
    step = net.pieces(torch.from_numpy(decided), most)["start"].next
    own = ["".join(str(int(each)) for each in row) for row in decided]
    assert step.shares == tuple(own.count(each) / len(own) for each in step.ways)
    common = [each for each in step.ways if each in own]
    assert "111" in step.ways and len(step.ways) <= most + 1 and own.count(common[0]) == max(map(own.count, own))
    assert max((own.count(each) for each in own if each not in common), default=0) <= min(map(own.count, common[:most]))


@pytest.fixture(scope="module")
def deciding(up_front):
    """Their models by a pattern of blocks that is decided whatever the image."""
    _, models, images = up_front
    start, made = models.pieces["start"], {}
    written = torch.tensor([[5, 6, 7]], dtype=torch.uint8)
    decides = Part(start.module, lambda image: (start.module(image)[0], start.module(image)[1] * 0 + written))
    content, _ = to_onnx(decides, {"image": images[:1]}, start.outputs)
    for pattern in itertools.product((0, 1), repeat=3):
        assert content.count(b"\5\6\7") == 1
        made[pattern] = replace(models, contents={**models.contents, "start": content.replace(b"\5\6\7", bytes(pattern))})
    return made


@pytest.fixture
def in_files(monkeypatch):
    """Patterns are files of their own, however seldom branches would ask."""
    monkeypatch.setitem(apart.CALL, "openvino", 0)


@pytest.mark.parametrize("share, files", [(0.5, True), (0.9, False)])
def test_patterns_are_branches_where_that_takes_few_questions_of_openvino(share, files):
    shares = (share, *[(1 - share) / 7] * 7)
    step = Step({f"{number:03b}": "pattern" for number in range(8)}, (("", "block"),) * 3, shares)
    pieces = {"start": Piece(torch.nn.Identity(), ("image",), ("x", "bits"), next=step)}
    assert (apart.is_apart(pieces, "openvino"), apart.is_apart(pieces, "onnx")) == (files, True)


@pytest.mark.parametrize("all_on", [False, True])
@pytest.mark.parametrize("format_", ["onnx", "openvino"])
def test_patterns_answer_as_the_network_does_whatever_is_decided(up_front, deciding, in_files, tmp_path, format_, all_on):
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[format_])
    net, _, images = up_front
    x = ((images[:1] / 255 - 0.5) / 0.25).permute(0, 3, 1, 2)
    for pattern, models in deciding.items():
        bundle = write.write(RunFolder(tmp_path), models, format_, "fp32", SAID, all_on)
        assert list(bundle["patterns"]) == ([] if all_on else ["010", "110", "111"])
        answer, runs = runner(tmp_path)(tmp_path)(images[0].numpy()), torch.tensor([[1, 1, 1] if all_on else pattern]).bool()
        with torch.inference_mode():
            wanted = net.infer(x, decisions=runs)
        assert answer.logits == pytest.approx(wanted.logits[0].numpy(), abs=1e-4)
        assert answer.on == runs[0].nonzero().flatten().tolist()
        assert answer.macs == float(net.tally(runs).sum())


@pytest.mark.parametrize("all_on", [False, True])
def test_one_file_answers_as_the_network_does_whatever_is_decided(up_front, deciding, tmp_path, all_on):
    net, _, images = up_front
    for pattern, models in deciding.items():
        (tmp_path / "net.onnx").write_bytes(joined(models.pieces, models.contents, {}, 3, all_on))
        answer, runs = (
            one_file(tmp_path / "net.onnx", images[:1].numpy())(images[0].numpy()),
            torch.tensor([[1] * 3 if all_on else pattern]),
        )
        with torch.inference_mode():
            wanted = net.infer(((images[:1] / 255 - 0.5) / 0.25).permute(0, 3, 1, 2), decisions=runs.bool())
        assert answer.logits == pytest.approx(wanted.logits[0].numpy(), abs=1e-4)
        assert answer.on == runs[0].nonzero().flatten().tolist() and answer.macs == float(net.tally(runs.bool()).sum())


def test_what_is_added_to_a_convolution_is_brought_into_its_layout(up_front):
    _, models, _ = up_front
    for name, wanted in (("block 0", 1), ("block 1", 0)):  # a block that halves the map reads it by convolutions alone
        graph = onnx.load_from_string(for_onnxruntime(models.contents[name], "fp32")).graph
        pooled = [node.output[0] for node in graph.node if node.op_type == "MaxPool"]
        added = [each for node in graph.node if node.op_type == "Add" for each in node.input]
        assert len(pooled) == wanted == len(set(added) & set(pooled))


def test_a_padded_shortcut_is_exported_as_one_convolution():
    shortcut, x, before = ZeroPadShortcut(5, 12).eval(), torch.randn(1, 5, 9, 8), logging.getLogger("torch.onnx").level
    content, _ = to_onnx(Part(shortcut, lambda x: (shortcut(x),)), {"x": x}, ("y",))
    assert [node.op_type for node in onnx.load_from_string(content).graph.node] == ["Conv"]
    np.testing.assert_array_equal(ort.InferenceSession(content).run(None, {"x": x.numpy()})[0], shortcut(x).numpy())
    assert logging.getLogger("torch.onnx").level == before
    assert shortcut(x)[0, 3:8].equal(x[0, :, ::2, ::2]) and not shortcut(x)[0, [0, 1, 2, 8, 9, 10, 11]].any()


@pytest.mark.parametrize(
    ("work", "multiplied"),
    [
        (lambda x: (F.avg_pool2d(x[:, :, 2:-2, 3:-1], 4, ceil_mode=True),), True),  # of 9 and 12 pixels: windows of 4, 4, 1
        (lambda x: (F.avg_pool2d(x[:, :, 1:], (3, 2), stride=(2, 1)),), True),
        (lambda x: (F.avg_pool2d(cut := x[:, :, 1:], 3), cut), True),  # what is cut is given out too
        (lambda x: (F.avg_pool2d(x, 4),), False),
        (lambda x: (F.avg_pool2d(x.relu()[:, :, 4:] + 1, 2),), False),
        (lambda x: (F.avg_pool2d(x[:, :, 1:], 3, padding=1),), False),
        (lambda x: (F.avg_pool2d(x[:, 2:5], 4),), False),
        (lambda x: (F.avg_pool2d(x.flip(1)[:, :, 1:], 4),), False),
    ],
)
def test_averages_over_the_inside_of_a_map_are_products(work, multiplied):
    torch.manual_seed(0)
    conv, x = torch.nn.Conv2d(3, 8, 1), torch.randn(1, 3, 13, 16)
    head = Part(conv, lambda x: work(conv(x)))
    wanted = head(x)
    content = for_onnxruntime(to_onnx(head, {"x": x}, tuple(f"output {number}" for number in range(len(wanted))))[0], "fp32")
    kinds = [node.op_type for node in onnx.load_from_string(content).graph.node]
    assert kinds.count("MatMul") == 2 * multiplied and ("AveragePool" in kinds) != multiplied
    assert not multiplied or kinds.count("Slice") == len(wanted) - 1
    _answers_the_same(content, x, wanted)


@pytest.mark.parametrize(
    ("work", "size", "halved"),
    [
        (
            lambda x: F.avg_pool2d(x[:, :, 3:-3, 1:-1], 4, ceil_mode=True),
            (14, 16),
            True,
        ),  # of 8 and 12 pixels; pairs from -1 on
        (lambda x: F.avg_pool2d(x[:, :, 2:-4, 5:-5], 4, ceil_mode=True), (14, 16), True),  # from 0 on, and a last window of two columns
        (lambda x: F.avg_pool2d(x[:, :, 2:, 1:], 2, ceil_mode=True), (14, 16), False),  # the last column is in no pair
        (lambda x: F.avg_pool2d(x[:, :, 2:-2, 3:-3], 3), (14, 16), False),
        (lambda x: F.avg_pool2d(x[:, :, 2:-2, 2:-2], 2), (60, 60), False),  # of so many averages it would compute too much
    ],
)
def test_averages_of_whole_pairs_are_one_product_of_half_a_map(work, size, halved):
    torch.manual_seed(0)
    conv, x = torch.nn.Conv2d(3, 8, 1), torch.randn(1, 3, *size)
    head = Part(conv, lambda x: (work(conv(x)),))
    content = for_onnxruntime(to_onnx(head, {"x": x}, ("averages",))[0], "fp32")
    kinds = [node.op_type for node in onnx.load_from_string(content).graph.node]
    assert (kinds.count("AveragePool"), kinds.count("MatMul")) == ((1, 1) if halved else (0, 2))
    _answers_the_same(content, x, head(x))


def _answers_the_same(content, x, wanted):
    for answer, own in zip(ort.InferenceSession(content).run(None, {"x": x.numpy()}), wanted, strict=True):
        np.testing.assert_allclose(answer, own.detach().numpy(), rtol=1e-4, atol=1e-5)


HEADS = {  # on a map behind a convolution, and whether its sums become poolings
    "divided by a linear layer": (lambda x, weight: (torch.addmm(torch.ones(5), x.sum((2, 3)), weight, alpha=0.01),), True),
    "a mean": (lambda x, weight: (x.mean((2, 3)),), True),
    "a mean that keeps its axes": (lambda x, weight: (x.mean((2, 3), keepdim=True),), False),
    "a sum": (lambda x, weight: (x.sum((2, 3)),), False),
    "given out and divided": (lambda x, weight: ((total := x.sum((2, 3))), torch.addmm(torch.ones(5), total, weight, alpha=0.01)), False),
    "added by a linear layer": (
        lambda x, weight: (torch.addmm(x.sum((2, 3)), torch.ones(1, 8), torch.ones(8, 8), alpha=0.5),),
        False,
    ),
    "with a constant beside it": (lambda x, weight: (x.mean((2, 3)), torch.ones(3)), True),
}


class Head(torch.nn.Module):
    """What becomes of a map behind a convolution, by its name in HEADS."""

    def __init__(self, kind):
        super().__init__()
        self.work, self.before, self.weight = HEADS[kind][0], torch.nn.Conv2d(3, 8, 3), torch.nn.Parameter(torch.randn(8, 5))

    def forward(self, x):
        return self.work(self.before(x), self.weight)


@pytest.mark.parametrize("kind", HEADS)
def test_what_is_summed_over_a_map_is_pooled_in_its_layout(kind):
    torch.manual_seed(0)
    head, x = Head(kind).eval(), torch.randn(1, 3, 9, 12)
    wanted, pooled = head(x), HEADS[kind][1]
    content = for_onnxruntime(to_onnx(head, {"x": x}, tuple(f"output {number}" for number in range(len(wanted))))[0], "fp32")
    graph = onnx.load_from_string(content).graph
    kinds = {node.op_type for node in graph.node}
    assert {each.name for each in graph.initializer} <= {each.name for each in graph.output}.union(*(node.input for node in graph.node))
    assert ("GlobalAveragePool" in kinds) == pooled and bool(kinds & {"ReduceSum", "ReduceMean"}) != pooled
    _answers_the_same(content, x, wanted)


CHAINS = {  # of convolutions a to b to c, of 13, 20 and 5 channels, and how many they have once blocks are filled
    "one behind the other": (lambda x, a, b, c: (c(F.max_pool2d(b(a(x).relu()).relu(), 2)),), [16, 32, 5]),
    "what is given out stays": (lambda x, a, b, c: ((y := a(x).relu()), c(b(y))), [13, 32, 5]),
    "what is added stays": (lambda x, a, b, c: (c(b(a(x).relu()) + 1),), [16, 20, 5]),
    "what is averaged stays": (lambda x, a, b, c: (c(F.adaptive_avg_pool2d(b(a(x)), 1).sigmoid()),), [16, 20, 5]),
    "twice the same weights": (lambda x, a, b, c: (c(b(a(x)) + b(a(x.flip(3)))),), [13, 20, 5]),
}


@pytest.mark.parametrize("kind", CHAINS)
def test_channels_between_convolutions_fill_blocks(kind):
    torch.manual_seed(0)
    (work, wanted), x = CHAINS[kind], torch.randn(1, 3, 9, 12)
    convolutions = [torch.nn.Conv2d(*sizes, 3, padding=1, bias=bias) for *sizes, bias in ((3, 13, True), (13, 20, False), (20, 5, True))]
    chain = Part(torch.nn.ModuleList(convolutions), lambda x: work(x, *convolutions)).eval()
    outputs = chain(x)
    content = for_onnxruntime(to_onnx(chain, {"x": x}, tuple(f"output {number}" for number in range(len(outputs))))[0], "fp32")
    graph = onnx.load_from_string(content).graph
    weights = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    assert sorted(each.dims[0] for each in graph.initializer if each.name in weights) == sorted(wanted)
    _answers_the_same(content, x, outputs)


def test_a_branch_asks_the_comparison_itself(exported):
    """Each operation takes its time, however little it computes."""
    nodes, asked = [*onnx.load(exported("exits") / "network.onnx").graph.node], 0
    while nodes:
        made = {name: node.op_type for node in nodes for name in node.output}
        branches = [node for node in nodes if node.op_type == "If"]
        assert all(made[node.input[0]] in ("Greater", "GreaterOrEqual") for node in branches)
        asked += len(branches)
        nodes = [node for branch in branches for each in branch.attribute for node in each.g.node]
    assert asked == 2


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("format_", ["onnx", "openvino"])
def test_patterns_decide_as_the_network_does(up_front, in_files, tmp_path, format_, precision):
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[format_])
    if precision not in write.PRECISIONS[format_]:
        pytest.skip(f"{format_} has no {precision}")
    net, models, images = up_front
    bundle = write.write(RunFolder(tmp_path), models, format_, precision, SAID)
    network, seen, tolerance = runner(tmp_path)(tmp_path), set(), {"fp32": 1e-4, "bf16": 0.1, "int8": 0.1}[precision]
    for image in images:
        answer = network(image.numpy())
        x, runs = ((image / 255 - 0.5) / 0.25).permute(2, 0, 1)[None], torch.zeros(1, 3, dtype=torch.bool)
        runs[0, answer.on] = True
        with torch.inference_mode():
            assert precision != "fp32" or answer.on == net.infer(x).decisions[0].nonzero().flatten().tolist()
            wanted = net.infer(x, decisions=runs)
        seen.add(tuple(answer.on))
        assert answer.logits == pytest.approx(wanted.logits[0].numpy(), abs=tolerance) and answer.macs == float(net.tally(runs).sum())
    assert len(seen) > 2 and bundle["ahead"] == [f"patterns/{each}.{write.ENDING[format_][1:]}" for each in ("1", "2", "others")]
    weights = sum(each.numel() * each.element_size() for each in net.parameters())
    assert (tmp_path / "patterns" / "weights.bin").stat().st_size < 1.1 * weights  # of four files


def test_patterns_share_their_weights_and_are_opened_when_they_are_decided(up_front, deciding, tmp_path, monkeypatch):
    _, _, images = up_front
    models, opened, session = deciding[1, 1, 1], [], ort.InferenceSession
    bundle = write.write(RunFolder(tmp_path), models, "onnx", "fp32", SAID)
    (tmp_path / "bundle.json").write_text(json.dumps({**bundle, "ahead": ["patterns/1.onnx"]}))
    weights = sum(each.numel() * each.element_size() for each in up_front[0].parameters())
    assert (tmp_path / "patterns" / "weights.bin").stat().st_size < weights
    assert all(each.stat().st_size < weights / 4 for each in tmp_path.rglob("*.onnx"))
    monkeypatch.setattr(ort, "InferenceSession", lambda path, *more: opened.append(path.rsplit("/", 1)[1]) or session(path, *more))
    monkeypatch.chdir(tmp_path.parent)
    network = runner(tmp_path)(Path(tmp_path.name))
    monkeypatch.chdir("/")
    assert opened == ["network.onnx", "1.onnx"]
    for _ in range(2):
        network(images[0].numpy())
    assert opened == ["network.onnx", "1.onnx", "3.onnx"]


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:100])])
def test_a_file_that_is_gone_or_cut_off_is_refused_in_a_sentence(exported, tmp_path, spoil):
    folder = shutil.copytree(exported("exits"), tmp_path / "net")
    spoil(folder / "network.onnx")
    with pytest.raises(ValueError, match=r"network.onnx is not the file that was exported\. Export the network again\."):
        runner(folder)(folder)


def runner(folder):
    namespace = {"__name__": "run", "__file__": str(folder / "run.py")}
    exec(compile((folder / "run.py").read_text(), "run.py", "exec"), namespace)
    return namespace["Network"]


def test_the_program_is_short_and_needs_little(exported):
    text = (exported("exits") / "run.py").read_text()
    assert len(text.splitlines()) < 150
    assert {line.split()[1].split(".")[0] for line in text.splitlines() if line.lstrip().startswith(("import ", "from "))} <= {
        "collections", "hashlib", "json", "sys", "pathlib", "numpy", "onnxruntime", "openvino", "run",
    }  # fmt: skip


def test_an_image_of_another_shape_or_type_is_refused(exported):
    network = runner(exported("exits"))(exported("exits"))
    for image in (np.zeros((16, 16, 1), np.uint8), np.zeros((16, 16, 3), np.float32), [[1, 2], [3]], None):
        with pytest.raises(ValueError, match=r"The image must be an array \[16, 16, 3\] of uint8\. Give it as the data set has it\.$"):
            network(image)


PROGRAM = hashlib.sha256(Path(apart.__file__).with_name("run.py").read_bytes()).hexdigest()
SPOILT = {
    "no object": ([], "holds no network that gatebench exported"),
    "a file without a name": ({"file": None}, "holds no network that gatebench exported"),
    "classes that are numbers": ({"classes": [1, 2]}, "holds no network that gatebench exported"),
    "patterns without others": ({"patterns": {"1": "network.onnx"}, "others": None}, "holds no network that gatebench exported"),
    "a shape that no memory has": ({"image": {"shape": [10**8, 10**8, 3], "type": "uint8"}}, "holds no network that gatebench exported"),
    "other classes": ({"classes": ["a", "b"]}, "does not have the network's classes"),
    "another type": ({"image": {"shape": [16, 16, 3], "type": "int32"}}, r"network.onnx cannot be opened \(.+\)"),
    "another shape": ({"image": {"shape": [16, 48, 1], "type": "uint8"}}, r"network.onnx cannot be opened \(.+\)"),
    "files without a hash": ({"sha256": {}}, "holds no network that gatebench exported"),
    "not read by the runtime": ({"file": "run.py", "sha256": {"run.py": PROGRAM}}, r"run.py cannot be opened \(.+\)\. Export"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_folder_is_refused_in_a_sentence(exported, tmp_path, case):
    folder = shutil.copytree(exported("exits"), tmp_path / "net")
    changes, said = SPOILT[case]
    bundle = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**bundle, **changes} if changes else []))
    with pytest.raises(ValueError, match=said):
        runner(folder)(folder)


@pytest.mark.parametrize("format_, files", [("onnx", 6), ("openvino", 7)])
def test_every_file_that_is_opened_must_have_its_hash(up_front, in_files, tmp_path, format_, files):
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[format_])
    bundle = write.write(RunFolder(tmp_path), up_front[1], format_, "fp32", SAID)
    assert len(bundle["sha256"]) == files
    for lacking in bundle["sha256"]:
        hashes = {name: each for name, each in bundle["sha256"].items() if name != lacking}
        (tmp_path / "bundle.json").write_text(json.dumps({**bundle, "sha256": hashes}))
        with pytest.raises(ValueError, match="holds no network that gatebench exported"):
            runner(tmp_path)(tmp_path)


def test_why_openvino_does_not_open_a_file_is_said(made, tmp_path, gatebench):
    pytest.importorskip("openvino")
    gatebench.json("export", str(made("exits")), "--format", "openvino", "--out", str(tmp_path))
    bundle = json.loads((tmp_path / "bundle.json").read_text())
    hashes = {**bundle["sha256"], "network.bin": hashlib.sha256(b"").hexdigest()}
    (tmp_path / "bundle.json").write_text(json.dumps({**bundle, "sha256": hashes}))
    (tmp_path / "network.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"cannot be opened \(Incorrect weights in bin file.*\)"):
        runner(tmp_path)(tmp_path)


@pytest.mark.parametrize("threads", [0, -1, "2", None, np.int64(2)])
def test_threads_are_a_whole_number(exported, threads):
    with pytest.raises(ValueError, match=r"threads must be a whole number from 1 on\. Give an int, such as threads=1\.$"):
        runner(exported("exits"))(exported("exits"), threads)


def test_a_runtime_is_given_the_threads(exported, monkeypatch):
    seen, session = [], ort.InferenceSession
    monkeypatch.setattr(ort, "InferenceSession", lambda path, options, *more: seen.append(options) or session(path, options, *more))
    for threads in (1, 2):
        runner(exported("exits"))(exported("exits"), threads)
    assert [each.intra_op_num_threads for each in seen] == [1, 2]


def test_numpy_that_is_missing_is_named(exported):
    words = f"import runpy, sys; sys.modules['numpy'] = None; runpy.run_path({str(exported('exits') / 'run.py')!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "Running a network needs numpy: pip install numpy.\n")


def test_a_runtime_that_is_missing_is_named(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match="needs onnxruntime: pip install onnxruntime"):
        runner(exported("exits"))(exported("exits"))


INTERRUPTED = """
import gc, importlib, signal, sys
sys.path.insert(0, sys.argv[1])

def opened():  # by a copy of the program of its own
    sys.modules.pop("run", None)
    return importlib.import_module("run").Network(sys.argv[1])

first, second = opened(), opened()
sys.modules.pop("run")
del first
gc.collect()
del second
gc.collect()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_is_heard_when_networks_of_openvino_are_gone(made, tmp_path, gatebench):
    pytest.importorskip("openvino")
    gatebench.json("export", str(made("exits")), "--format", "openvino", "--out", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, tmp_path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_what_is_exported_to_a_folder_replaces_what_was(made, exported, tmp_path, gatebench):
    pytest.importorskip("openvino")
    folder = shutil.copytree(exported("exits"), tmp_path / "net")
    gatebench.json("export", str(made("static")), "--format", "openvino", "--out", str(folder))
    assert {each.name for each in folder.iterdir()} == {"network.xml", "network.bin", "bundle.json", "run.py"}


def test_what_lies_beside_a_network_is_not_taken_for_its_weights(made, tmp_path, gatebench):
    pytest.importorskip("openvino")
    gatebench.json("export", str(made("exits")), "--format", "openvino", "--out", str(tmp_path))
    (tmp_path / "weights.bin").write_bytes(b"of something else")
    assert np.isfinite(runner(tmp_path)(tmp_path)(np.zeros((16, 16, 3), np.uint8)).logits).all()


def test_patterns_replace_a_network_and_are_replaced(up_front, exported, tmp_path):
    _, models, _ = up_front
    patterns, exits, folder = tmp_path / "made", exported("exits"), tmp_path / "net"
    write.write(RunFolder(patterns), models, "onnx", "fp32", SAID)
    files = {"network.onnx", "patterns", "bundle.json", "run.py"}
    for made, wanted in (
        (exits, files - {"patterns"}),
        (patterns, files),
        (patterns, files),
        (exits, files - {"patterns"}),
        (patterns, files),
    ):
        check_place(folder, False)
        written = put(made, folder)
        assert {each.name for each in folder.iterdir()} == wanted and set(written) == {each for each in folder.rglob("*") if each.is_file()}
        runner(folder)(folder)
    (folder / "patterns" / "mine.onnx").write_text("mine")
    put(exits, folder)
    assert {each.name for each in folder.iterdir()} == files and [each.name for each in folder.glob("patterns/*")] == ["mine.onnx"]


def test_a_disk_that_is_full_leaves_the_old_files_that_are_not_replaced(up_front, exported, tmp_path, monkeypatch):
    _, models, _ = up_front
    patterns, folder = tmp_path / "made", shutil.copytree(exported("exits"), tmp_path / "net")
    write.write(RunFolder(patterns), models, "onnx", "fp32", SAID)
    put(patterns, folder)
    kept = {each for each in folder.rglob("*.*")}

    def full(self, name, fill):
        raise GatebenchError("the disk is full")

    monkeypatch.setattr(RunFolder, "write", full)
    with pytest.raises(GatebenchError):
        put(exported("exits"), folder)
    assert {each for each in folder.rglob("*.*")} == kept and runner(folder)(folder)


@pytest.mark.parametrize("count, said", [(1, "1 piece"), (2, "2 pieces"), (1000, "1,000 pieces")])
def test_progress_is_said_of_one_as_of_several(count, said):
    written = io.StringIO()
    with View(Console(file=written), "net").counting("converts it", count, "piece"):
        assert written.getvalue() == f"net: converts it: {said}\n"


@pytest.mark.slow
def test_what_was_written_is_named(made, tmp_path, gatebench):
    said = gatebench("export", str(made("up front")), "--out", str(tmp_path / "net")).stdout
    assert "net: network.onnx, patterns/, run.py, bundle.json" in " ".join(said.split())


@pytest.mark.parametrize("name", ["run.py", "bundle.json", "net.onnx", "file"])
def test_files_of_something_else_are_kept(made, tmp_path, gatebench, name):
    (tmp_path / name).write_text("{}")
    out = {"net.onnx": tmp_path / name, "file": tmp_path / name / "net"}.get(name, tmp_path)
    said = gatebench.refused("export", str(made("exits")), "--out", str(out), code=2)
    assert f"{tmp_path / name} is {'a file' if name == 'file' else 'of no exported network'}" in said and "Give --out another name" in said
    assert [each.read_text() for each in tmp_path.iterdir()] == ["{}"]


def test_a_file_where_patterns_may_have_to_be_is_kept(made, exported, tmp_path, gatebench):
    folder = shutil.copytree(exported("exits"), tmp_path / "net")
    (folder / "patterns").write_text("mine")
    said = gatebench.refused("export", str(made("static")), "--out", str(folder), code=2)
    assert (
        "patterns is no folder, where one may have to be. Give --out another name." in said and (folder / "patterns").read_text() == "mine"
    )


@pytest.mark.parametrize("content", [b"", b"PK\3\4 not a zip", b"text"])
def test_what_is_no_image_is_refused_in_a_sentence(exported, tmp_path, content):
    (tmp_path / "image.npy").write_bytes(content)
    done = subprocess.run([sys.executable, exported("exits") / "run.py", tmp_path / "image.npy"], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr == f"{tmp_path / 'image.npy'} cannot be read as an image. Give a file that numpy.save wrote.\n"


def said_by_torch(logits):
    """Logits, one switch that is on, and 1 MAC."""
    return Output(torch.tensor([logits]), decisions=torch.ones(1, 1, dtype=torch.bool), count=lambda: torch.ones(1, 1))


def test_answers_are_compared_by_logits_decisions_classes_and_macs():
    compared = Compared("net")
    for logits, on in (([4.0, 0.0], [0]), ([4.0, 0.2], [0]), ([0.0, 4.0], []), ([3.0, 3.9], [0])):
        compared.add(Answer("a", np.array(logits, np.float32), on, 1.0), said_by_torch([4.0, 0.0]))
    assert (compared.images, compared.turned, compared.relabelled) == (4, 1, 2) and compared.apart == pytest.approx(3.9 / 4)
    compared.check(0.98, 0.25)
    for bounds in ((0.97, 0.25), (0.98, 0.24)):
        with pytest.raises(GatebenchError, match="net does not answer as the network does: .* 1 of 4 images"):
            compared.check(*bounds)
    with pytest.raises(GatebenchError, match="net counts other MACs"):
        compared.add(Answer("a", np.zeros(2, np.float32), [0], 1.1), said_by_torch([0.0, 0.0]))


def test_every_pattern_is_compared_whether_it_is_decided_or_not(up_front, deciding, tmp_path):
    net, _, images = up_front
    x, models = ((images[:1] / 255 - 0.5) / 0.25).permute(0, 3, 1, 2), deciding[0, 1, 0]
    write.write(RunFolder(tmp_path), models, "onnx", "fp32", SAID)
    check_patterns(runner(tmp_path)(tmp_path), net, x, images[0].numpy(), 1e-4)
    spoilt = {**models.contents, "pattern 111": models.contents["pattern 110"]}
    write.write(RunFolder(tmp_path), replace(models, contents=spoilt), "onnx", "fp32", SAID)
    with pytest.raises(GatebenchError, match=r"patterns/3.onnx of the exported network does not answer as the network does"):
        check_patterns(runner(tmp_path)(tmp_path), net, x, images[0].numpy(), 1e-4)


@given(shares=st.dictionaries(st.text(), st.floats(0, 1), min_size=1), enough=st.floats(0.01, 1))
def test_as_few_are_common_as_have_enough(shares, enough):
    names = apart.common(shares, enough)
    kept = [shares[name] for name in names]
    assert kept == sorted(shares.values(), reverse=True)[: len(kept)]
    assert sum(kept[:-1]) < enough and (sum(kept) >= enough or len(kept) == len(shares))


def test_decisions_away_from_a_threshold_must_be_the_network_s(made, exported):
    model, test = network_and_images(made("exits"))
    x, infer = torch.zeros(4, 3, 16, 16), model.infer
    model.infer = lambda x: replace(infer(x), decisions=~infer(x).decisions)
    with pytest.raises(GatebenchError, match="decides otherwise than the network does"):
        check(exported("exits"), model, test.pixels[:4], x, "fp32", print)


@pytest.mark.parametrize("worst", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_found(worst):
    compared, output = Compared("net"), said_by_torch([0.0, 0.0])
    compared.add(Answer("a", np.zeros(2, np.float32), [0], 1.0), output)
    assert (compared.images, compared.apart, compared.turned, compared.relabelled) == (1, 0, 0, 0)
    with pytest.raises(GatebenchError, match="net gives logits that are no numbers"):
        compared.add(Answer("a", np.array([0, worst], np.float32), [0], 1.0), output)


def test_what_cannot_be_exported_says_so_by_name(gatebench, tmp_path, monkeypatch):
    gatebench.json("train", "cosinegate", *GATED, "--out", str(tmp_path))
    (run,) = (path.parent for path in tmp_path.glob("*/summary.json"))
    said = gatebench.refused("export", str(run), "--out", str(tmp_path / "net"), code=2)
    assert "CosineGate decides about a block once it is computed" in said and not (tmp_path / "net").exists()
    said = gatebench.refused("export", str(tmp_path / "nothing"), code=2)
    assert "nothing is no run folder" in said
    gatebench.json("train", "random-skip", *GATED, "--out", str(tmp_path / "chance"))
    (chance,) = (path.parent for path in (tmp_path / "chance").glob("*/summary.json"))
    assert "random-skip decides by chance" in gatebench.refused("export", str(chance), code=2)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert "pip install 'gatebench[export]'" in gatebench.refused("export", str(run), code=2)


CHANNELS = ["lag-vgg11", *STATIC, "--set", "model.width=0.125"]


@pytest.mark.parametrize("words, said", [(["cosinegate", *GATED], "once it is computed"), (CHANNELS, "other channels for each image")])
def test_what_cannot_be_exported_is_not_asked_for_weights(gatebench, tmp_path, words, said):
    gatebench.json("train", *words, "--out", str(tmp_path))
    (run,) = (path.parent for path in tmp_path.glob("*/summary.json"))
    (run / "model.safetensors").unlink()
    assert said in gatebench.refused("export", str(run), code=2)


def test_weights_that_are_gone_are_wanted_to_export_a_run(made, gatebench, tmp_path):
    run = shutil.copytree(made("exits"), tmp_path / made("exits").name)
    (run / "model.safetensors").unlink()
    assert "its weights were not kept. Train it again to export it." in gatebench.refused("export", str(run), code=1)


def test_files_that_answer_otherwise_are_found(made, tmp_path, gatebench, monkeypatch):
    monkeypatch.setattr(write, "Raw", lambda piece, mean, std, largest: Raw(piece, mean, std, 2 * largest))
    assert "does not answer as the network does" in gatebench.refused("export", str(made("static")), "--out", str(tmp_path / "net"), code=1)
    assert not (tmp_path / "net").exists()
