"""What only a GPU can show; `pytest -m cuda` runs these."""

import json

import pytest
import torch
from conftest import SMALL

from gatebench import models
from gatebench.execution.fold import folded
from gatebench.execution.graphs import GraphedBlocks

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU that torch can use here")]


@pytest.mark.parametrize("config", ["balanced", "predictive"])
def test_a_run_on_the_gpu(gatebench, tmp_path, config):
    (row,) = gatebench.json("train", "cosinegate", "--config", config, *SMALL, "--epochs", "2", "--device", "cuda", "--out", str(tmp_path))
    machine = json.loads(next(tmp_path.glob("*/machine.json")).read_text())
    assert row["device"] == "cuda" and machine["gpu"] == torch.cuda.get_device_name() and machine["gpu"] in row["machine"]


@pytest.mark.parametrize("gate", [{"kind": "cir"}, {"kind": "predictive"}])
def test_the_gpu_answers_as_the_cpu_does(gate):
    torch.manual_seed(0)
    net = models.create("cosinegate", depth=14, gate=gate).eval()
    x = torch.randn(16, 3, 32, 32)
    decisions = torch.rand(16, len(net.units)) < 0.5
    with torch.no_grad():
        expected = net.infer(x, "masked", decisions).logits
        found = net.cuda().infer(x.cuda(), "sparse", decisions.cuda()).logits.cpu()
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("gate", [{"kind": "cir"}, {"kind": "predictive"}, {"kind": "predictive", "decides": "before"}])
def test_recorded_graphs_answer_as_the_network_does(gate):
    torch.manual_seed(0)
    net = folded(models.create("cosinegate", depth=14, gate=gate).eval()).cuda()
    inputs = torch.randn(6, 1, 3, 32, 32, device="cuda")
    with torch.inference_mode():
        graphed = GraphedBlocks(net, inputs[0])
        twin = graphed.twin()
        for x in inputs:
            decisions = torch.rand(1, len(net.units), device="cuda") < 0.5
            for options in ({}, {"decisions": decisions}, {"execution": "masked"}, {"policy": 0.0}, {"policy": 1.0}):
                expected, found = net.infer(x, **options), graphed.infer(x, **options)
                assert torch.allclose(found.logits, expected.logits, rtol=1e-3, atol=1e-4)
                assert torch.equal(found.decisions, expected.decisions)
            assert torch.allclose(twin(x), net.twin()(x), rtol=1e-3, atol=1e-4)


def test_a_profile_on_the_gpu_uses_its_events(gatebench, tmp_path):
    train = ["train", "cosinegate", "--config", "predictive", *SMALL, "--epochs", "1", "--device", "cuda", "--out", str(tmp_path)]
    assert gatebench(*train).returncode == 0
    done = gatebench("profile-latency", str(tmp_path), "--device", "cuda", "--batch-size", "1,8", "--inputs", "16", "--json")
    assert done.returncode in (0, 3), done.stderr
    assert {row["batch_size"] for row in json.loads(done.stdout)} == {1, 8}
    conditions = json.loads(next(tmp_path.glob("*/latency.json")).read_text())
    assert conditions["sessions"][0]["clock"]["name"] == "cuda events" and conditions["sessions"][0]["measured_on"]["gpu"]
