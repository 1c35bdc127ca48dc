"""A method that nobody has seen: 40 lines and a recipe, no file of gatebench touched, and it goes all the way to the report."""

import json

import pytest

METHOD = '''
import torch
from torch import nn

from gatebench.contract import GatedModel, Output, Unit
from gatebench.measure.macs import count_macs, count_params


class SecondLook(GatedModel):
    """A small network that looks a second time, more closely, at images whose first answer is not sure enough."""

    def __init__(self, num_classes, input_shape, sure=0.3):
        super().__init__()
        self.input_shape, self.sure = input_shape, sure
        self.first = nn.Sequential(nn.Conv2d(input_shape[0], 8, 3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, num_classes))
        self.second = nn.Sequential(nn.Conv2d(input_shape[0], 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, num_classes))
        shape = (1, *input_shape)
        self.macs_gate, self.macs_static = count_macs(self.first, shape), count_macs(self.second, shape)
        self._units = [Unit("second", "segment", 1, self.macs_static, count_params(self.second))]

    @property
    def units(self):
        return self._units

    def twin(self):
        return self.second

    def forward(self, x):
        first, second = self.first(x), self.second(x)
        doubt = 1 - first.softmax(1).amax(1, keepdim=True)
        return Output(first + second, doubt)

    def _infer(self, x, execution, decisions, policy):
        logits = self.first(x)
        gates = 1 - logits.softmax(1).amax(1, keepdim=True)
        on = gates > 1 - self.sure if decisions is None else decisions
        rows = on[:, 0]
        if execution == "sparse":
            logits[rows] = logits[rows] + self.second(x[rows])
        else:
            logits = torch.where(on, logits + self.second(x), logits)
        return Output(logits, gates, decisions=on, executed=on if execution == "sparse" else torch.ones_like(on))
'''
RECIPE = """
source: made up for this test
data: {name: shapes, augment: none, shapes: {train: 400, test: 120, image_size: 16, classes: 4}}
training: {epochs: 3, batch_size: 32, learning_rate: 0.02, weight_decay: 0.0}
"""


@pytest.fixture
def made_up(gatebench, tmp_path):
    """A command line in whose environment the method is installed, and the recipe's file."""
    (tmp_path / "second_look.py").write_text(METHOD)
    about = tmp_path / "second_look-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: second-look\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[gatebench.models]\nsecond-look = second_look:SecondLook\n")
    (tmp_path / "look.yaml").write_text(RECIPE)
    gatebench.environment["PYTHONPATH"] = f"{tmp_path}:{gatebench.environment.get('PYTHONPATH', '')}"
    return gatebench, ["second-look", "--config", str(tmp_path / "look.yaml"), "--threads", "1"]


def test_from_recipe_to_report(made_up, tmp_path):
    gatebench, train = made_up
    results = tmp_path / "results"
    for sure in ("0.3", "0.6"):
        (row,) = gatebench.json("train", *train, "--set", f"model.sure={sure}", "--out", str(results))
        assert row["model"] == "second-look" and 0 < row["skip_pct"] < 100
        assert row["macs_executed"] == pytest.approx(row["macs_gate"] + row["mean_gate_hard"] * row["macs_dense"])
    done = gatebench(
        "profile-latency", str(results), "--inputs", "32", "--repeats", "5", "--threads", "1", "--execution", "sparse,masked", "--json"
    )
    assert done.returncode in (0, 3), done.stderr
    assert {(row["execution"], row["rival"]) for row in json.loads(done.stdout)} == {
        ("sparse", "its static twin"),
        ("masked", "its static twin"),
    }
    front = json.loads(gatebench("pareto", str(results), "--json").stdout)
    labels = {point["label"] for panel in front["panels"] if panel["cost"] == "macs_executed" for point in panel["points"]}
    assert labels == {"second-look look, model.sure=0.3", "second-look look, model.sure=0.6"}
    assert any(panel["cost"] == "latency_ms" for panel in front["panels"])
    assert gatebench("report", str(results), "--format", "html").returncode == 0
    assert "second-look look" in (results / "report" / "report.html").read_text()
