"""What only a GPU can show; `pytest -m cuda` runs these."""

import json

import pytest
import torch
from conftest import SMALL

from gatebench import models

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU that torch can use here")]


@pytest.mark.parametrize("config", ["balanced", "predictive"])
def test_a_run_on_the_gpu(gatebench, tmp_path, config):
    (row,) = gatebench.json("train", "cosinegate", "--config", config, *SMALL, "--epochs", "2", "--device", "cuda", "--out", str(tmp_path))
    machine = json.loads(next(tmp_path.glob("*/machine.json")).read_text())
    assert row["device"] == "cuda" and machine["gpu"] == torch.cuda.get_device_name() and machine["gpu"] in row["machine"]


@pytest.mark.parametrize("gate", [{"kind": "cir"}, {"kind": "predictive"}])
def test_the_gpu_decides_as_the_cpu_does(gate):
    torch.manual_seed(0)
    net = models.create("cosinegate", depth=14, gate=gate).eval()
    x = torch.randn(16, 3, 32, 32)
    decisions = torch.rand(16, len(net.units)) < 0.5
    with torch.no_grad():
        expected = net.infer(x, "masked", decisions).logits
        found = net.cuda().infer(x.cuda(), "sparse", decisions.cuda()).logits.cpu()
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
