"""What only a GPU can show; `pytest -m cuda` runs these."""

import json

import numpy as np
import pytest
import torch
from conftest import SMALL, Silent
from test_channels import make
from test_models import parents_of

from gatebench import assignment, recipe, stages, trained
from gatebench.models import registry
from gatebench.plan import plan
from gatebench.runtimes.fold import folded
from gatebench.runtimes.graphs import Recorder

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU that torch can use here")]


@pytest.mark.parametrize("config", ["balanced", "predictive"])
def test_a_run_on_the_gpu(gatebench, tmp_path, config):
    (row,) = gatebench.json("train", "cosinegate", "--config", config, *SMALL, "--epochs", "2", "--device", "cuda", "--out", str(tmp_path))
    machine = json.loads(next(tmp_path.glob("*/machine.json")).read_text())
    assert row["device"] == "cuda" and machine["gpu"] == torch.cuda.get_device_name() and machine["gpu"] in row["machine"]


@pytest.mark.parametrize("name, options", [
    ("cosinegate", {"depth": 14, "gate": {"kind": "cir"}}),
    ("cosinegate", {"depth": 14, "gate": {"kind": "predictive"}}),
    ("cgt", {"input_shape": (3, 32, 32)}),
    ("router", {"gater": {"kind": "learned", "size": 24, "pretrained": False}, "latency_ms": (1.0, 2.0)}),
    ("router", {"gater": {"kind": "cascade"}, "latency_ms": (1.0, 2.0)}),
    ("lag-vgg11", {"width": 0.125}),
    ("lag-resnet18", {"width": 0.125, "gate": {"kind": "input"}, "inference": "hard"}),
    ("lag-resnet18", {"width": 0.125, "gate": {"kind": "input"}, "inference": "scaled"}),
])  # fmt: skip
def test_the_gpu_answers_as_the_cpu_does(name, options):
    torch.manual_seed(0)
    net = registry.create(name, parents=parents_of(name, 10, (3, 32, 32)), **options).eval()
    x = torch.randn(16, 3, 32, 32)
    decisions = net.random_decisions(16, np.random.default_rng(0))
    with torch.no_grad():
        expected = net.infer(x, "masked", decisions).logits
        net.cuda()
        for rows in (slice(16), *(slice(row, row + 1) for row in range(16))):
            output = net.infer(x[rows].cuda(), "sparse", decisions[rows].cuda())
            assert torch.allclose(output.logits.cpu(), expected[rows], rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
            own = net.infer(x[rows].cuda())
            assert own.decisions.device.type == "cuda"
            assert own.executed_macs.shape == (len(x[rows]), len(net.units) + 2) and (own.executed_macs >= 0).all()


@pytest.mark.parametrize("gate", [{"kind": "cir"}, {"kind": "predictive"}, {"kind": "predictive", "decides": "before"}])
def test_recorded_graphs_answer_as_the_network_does(gate):
    torch.manual_seed(0)
    net = folded(registry.create("cosinegate", depth=14, gate=gate).eval()).cuda()
    inputs = torch.randn(6, 1, 3, 32, 32, device="cuda")
    with torch.inference_mode():
        graphed = net.recorded(inputs[0], Recorder())
        (twin,), (graphed_twin,) = net.references().values(), graphed.references().values()
        for x in inputs:
            decisions = torch.rand(1, len(net.units), device="cuda") < 0.5
            for options in ({}, {"decisions": decisions}, {"execution": "masked"}, {"policy": 0.0}, {"policy": 1.0}):
                expected, output = net.infer(x, **options), graphed.infer(x, **options)
                assert torch.allclose(output.logits, expected.logits, rtol=1e-3, atol=1e-4)
                assert torch.equal(output.decisions, expected.decisions)
                assert expected.gates is None or torch.allclose(output.gates, expected.gates, rtol=1e-3, atol=1e-4)
            assert torch.allclose(graphed_twin(x), twin(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("config", ["released", "input-hard"])
def test_gates_on_channels_are_trained_on_the_gpu(gatebench, tmp_path, config):
    train = ["train", "lag-vgg11", "--config", config, *SMALL, "--set", "model.width=0.125", "--epochs", "1", "--out", str(tmp_path)]
    (row,) = gatebench.json(*train, "--device", "cuda")
    assert row["device"] == "cuda" and row["params_used"] > 0
    (folder,) = tmp_path.glob("lag-*")
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert {"hard", "scaled"} & {each["policy"] for each in rows}


@pytest.mark.parametrize("count", [1, 8])
@pytest.mark.parametrize("kind", ["free", "input", "saliency"])
@pytest.mark.parametrize("name", ["lag-vgg11", "lag-resnet18"])
def test_a_network_tuned_on_the_gpu_answers_as_its_masked_run_does(name, kind, count):
    """With its own decisions, at the batch size that it was tuned for; kernels and ways are chosen by the GPU's own times."""
    net = folded(make(name, kind, width=1 / 8, input_shape=(3, 32, 32))).cuda()
    calls = torch.randn(4, count, 3, 32, 32, generator=torch.Generator().manual_seed(0)).cuda()
    chosen = net.tune(calls[0])
    with torch.inference_mode():
        for x in calls:
            tuned, own = net.infer(x), net.infer(x, "masked")
            masked = net.infer(x, "masked", tuned.decisions)
            assert torch.allclose(tuned.logits, masked.logits, rtol=1e-3, atol=1e-3 * float(masked.logits.abs().max()))
            assert (tuned.decisions == own.decisions).float().mean() > 0.99  # a gate very near 0 may be rounded to either side
            asked, ran = net.tally(tuned.decisions.cpu()).sum(1), tuned.executed_macs.sum(1).cpu()
            assert (ran >= asked - 1e-6).all() and (ran <= own.executed_macs.sum(1).cpu() + 1e-6).all()
    assert kind == "free" or set(chosen["layers"]) >= {unit.name for unit in net.units if unit.width}


def test_a_profile_on_the_gpu_uses_its_events(gatebench, tmp_path):
    train = ["train", "cosinegate", "--config", "predictive", *SMALL, "--epochs", "1", "--device", "cuda", "--out", str(tmp_path)]
    assert gatebench(*train).returncode == 0
    done = gatebench("profile-latency", str(tmp_path), "--device", "cuda", "--batch-size", "1,8", "--inputs", "16", "--json")
    assert done.returncode in (0, 3), done.stderr
    assert {row["batch_size"] for row in json.loads(done.stdout)} == {1, 8}
    conditions = json.loads(next(tmp_path.glob("*/times/*.json")).read_text())
    assert conditions["sessions"][0]["clock"]["name"] == "cuda events" and conditions["sessions"][0]["measured_on"]["gpu"]


@pytest.mark.parametrize("config", ["small", "neighbours-small", "entropy-small", "cascade-small"])
def test_a_router_on_the_gpu_is_trained_on_what_its_experts_answer_there(tmp_path, config):
    """Outputs are computed on the GPU, times measured with its events, and a replay says what running the experts says."""
    changes = ["data.shapes.train=200", "data.shapes.test=40", "data.validation=20", "data.holdout=40"]
    chosen = recipe.load("router", "router", config, changes)
    for role, parent in chosen.parents.items():
        chosen.parents[role] = parent.model_copy(update={"epochs": 1})
    jobs = plan(chosen.with_epochs(1), [0], data_root=tmp_path, device="cuda", precision="fp32", threads=1)
    (*_, folder) = [each for _, each in stages.run(jobs, assignment.Place(tmp_path), Silent)]
    (pool,) = tmp_path.glob("pool-*")
    (times,) = json.loads((pool / "pool.json").read_text())["times"]
    assert times["device"] == "cuda" and torch.cuda.get_device_name() in times["machine"]
    model, _, _ = trained.load_run(folder)
    model.cuda()
    x = torch.randn(32, *model.input_shape, device="cuda").contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        ran, replayed = model.infer(x), model.replay(x, model.answers(x))
    assert torch.equal(ran.decisions, replayed.decisions) and torch.allclose(ran.logits, replayed.logits, rtol=1e-3, atol=1e-3)
