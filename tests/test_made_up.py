"""A method that nobody has seen: 40 lines and a recipe, no file of gatebench touched, and it goes all the way to the report."""

import json

import pytest

METHOD = '''
import torch
from torch import nn

from gatebench.contract import GatedModel, Output, Unit
from gatebench.measure.macs import count_macs, count_params


class SecondLook(GatedModel):
    """A small network that looks a second time, more closely, at images with much contrast."""

    def __init__(self, num_classes, input_shape, contrast=1.0):
        super().__init__()
        self.input_shape, self.contrast = input_shape, contrast

        def look(width):
            layers = nn.Conv2d(input_shape[0], width, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
            return nn.Sequential(*layers, nn.Linear(4 * width, num_classes))

        self.first, self.second = look(4), look(32)
        self.macs_gate, self.macs_static = (count_macs(part, (1, *input_shape)) for part in (self.first, self.second))
        self.units = [Unit("second", "segment", 1, self.macs_static, count_params(self.second))]

    def twin(self):
        return self.second

    def forward(self, x):
        return Output(self.first(x) + self.second(x), self.gates(x))

    def gates(self, x):
        return torch.sigmoid(x.flatten(1).std(1, keepdim=True) - self.contrast)

    def _infer(self, x, execution, decisions, policy):
        logits, gates = self.first(x), self.gates(x)
        on = gates > 0.5 if decisions is None else decisions
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
    for contrast in ("0.9", "1.0"):
        (row,) = gatebench.json("train", *train, "--set", f"model.contrast={contrast}", "--out", str(results))
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
    assert labels == {"second-look look, model.contrast=0.9", "second-look look, model.contrast=1.0"}
    assert any(panel["cost"] == "latency_ms" for panel in front["panels"])
    assert gatebench("report", str(results), "--format", "html").returncode == 0
    assert "second-look look" in (results / "report" / "report.html").read_text()
