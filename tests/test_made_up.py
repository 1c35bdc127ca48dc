"""Methods that nobody has seen: a module and a recipe each, no file of gatebench touched, and they go all the way to the report."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from gatebench.measure.macs import count_macs

HERE = Path(__file__).parent / "made_up"
DATA = "data: {name: shapes, augment: none, validation: 80, shapes: {train: 400, test: 128, image_size: 16, classes: 4}}\n"
TRAINING = "training: {epochs: 2, batch_size: 32, learning_rate: 0.02, weight_decay: 0.0, precision: fp32}\n"
RECIPES = {
    "second-look": "study: {kind: contrast, candidates: [0.9, 1.0, 1.1]}\n",
    "two-experts": "losses: {cross_entropy: {}, expected_cost: {weight: 0.1}}\ntraining_optimizer: adam\n",
    "thin-channels": "losses: {cross_entropy: {}, l1: {weight: 0.05}}\n",
    "recurrent-gate": "model: {depth: 14}\nlosses: {cross_entropy: {}, budget: {weight: 1.0, target: 0.5, of: macs}}\n",
    "spatial-map": "losses: {cross_entropy: {}, budget: {weight: 1.0, target: 0.5}}\n",
}
CLASSES = {
    "second-look": "second_look:SecondLook", "two-experts": "two_experts:TwoExperts", "thin-channels": "thin_channels:ThinChannels",
    "recurrent-gate": "recurrent_gate:RecurrentGate", "spatial-map": "spatial_map:SpatialMap",
}  # fmt: skip
SESSION = """
import contextlib, io, json, sys
from gatebench.cli import app
answers = []
for command in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            code = app(command, standalone_mode=False) or 0
        except BaseException as error:
            code = getattr(error, "exit_code", repr(error))
    answers.append({"code": code, "printed": printed.getvalue()})
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """All commands with every method, in an environment in which the methods are installed as packages."""
    place = tmp_path_factory.mktemp("made_up")
    for file in HERE.glob("*.py"):
        shutil.copy(file, place)
    about = place / "made_up-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n")
    points = "".join(f"{name} = {source}\n" for name, source in CLASSES.items())
    (about / "entry_points.txt").write_text(f"[gatebench.models]\n{points}")
    results, commands = place / "results", []
    for name, recipe in RECIPES.items():
        training = TRAINING.replace("}", ", optimizer: adam}") if "optimizer" in recipe else TRAINING
        (place / f"{name}.yaml").write_text(DATA + training + recipe.replace("training_optimizer: adam\n", ""))
        commands.append(["train", name, "--config", str(place / f"{name}.yaml"), "--threads", "1", "--out", str(results), "--json"])
    quick = ["--inputs", "16", "--repeats", "5", "--max-seconds", "1", "--threads", "1"]
    commands.append(["profile-latency", str(results), *quick, "--execution", "sparse,masked", "--batch-size", "1,8", "--json"])
    commands += [["pareto", str(results), "--json"], ["report", str(results), "--format", "html,csv"]]
    environment = {**os.environ, "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1", "GATEBENCH_DATA": str(place / "data")}
    process = subprocess.run(
        [sys.executable, "-c", SESSION], input=json.dumps(commands), text=True, capture_output=True, env=environment, timeout=600
    )
    assert process.returncode == 0, process.stderr
    answers = json.loads(process.stdout.splitlines()[-1])
    for command, answer in zip(commands, answers, strict=True):
        assert answer["code"] in (0, 3), (command, answer, process.stderr)
    return results, answers


@pytest.fixture(params=list(RECIPES))
def run(request, done):
    """A method's run folder and its rows."""
    (folder,) = done[0].glob(f"{request.param}-*")
    return request.param, folder, [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


@pytest.fixture
def model(request):
    """A method's network with random weights, built from the file itself."""
    sys.path.insert(0, str(HERE))
    try:
        module, _, attribute = CLASSES[request.param].partition(":")
        torch.manual_seed(0)
        yield getattr(__import__(module), attribute)(4, (3, 16, 16)).eval()
    finally:
        sys.path.remove(str(HERE))


def test_each_is_short_and_touches_nothing():
    for file in HERE.glob("*.py"):
        code = [line for line in file.read_text().splitlines() if line.strip() and not line.startswith(("import ", "from ", '"""'))]
        assert len(code) < 60, file
        assert "_" not in {name.split(".")[-1][:1] for line in file.read_text().splitlines() if line.startswith("from gatebench")
                           for name in line.split(" import ")[1].split(", ")}  # fmt: skip


@pytest.mark.parametrize("model", list(CLASSES), indirect=True)
@torch.inference_mode()
def test_masked_is_sparse(model):
    x, draw = torch.randn(24, 3, 16, 16), np.random.default_rng(0)
    most, least = model.most(), model.least()
    imposed = [None, *(model.random_decisions(len(x), draw) for _ in range(3))]
    imposed += [each.expand(len(x), -1).clone() for each in (least, most)]
    for decisions in imposed:
        assert decisions is None or model.legal(decisions).all()
        sparse, masked = (model.infer(x.clone(), execution, decisions) for execution in ("sparse", "masked"))
        assert torch.equal(sparse.decisions, masked.decisions)
        torch.testing.assert_close(sparse.logits, masked.logits, rtol=1e-4, atol=1e-5)
        alone = [None] * len(x) if decisions is None else decisions.split(1)
        one_by_one = [model.infer(one.clone(), "sparse", on) for one, on in zip(x.split(1), alone, strict=True)]
        torch.testing.assert_close(torch.cat([each.logits for each in one_by_one]), sparse.logits, rtol=1e-4, atol=1e-5)
        units = model.unit_macs(sparse.decisions.double())
        assert (sparse.executed_macs[:, :-2] >= units - 1e-6).all()
        torch.testing.assert_close(torch.cat([each.executed_macs for each in one_by_one])[:, :-2], units)
        spent = sparse.executed_macs[:, -1]
        assert (spent == (model.macs_gate if decisions is None else 0)).all()
        assert (masked.executed_macs.sum(1) >= sparse.executed_macs.sum(1) - 1e-6).all()


@pytest.mark.parametrize("model", list(CLASSES), indirect=True)
def test_costs_move_gates(model):
    """`unit_macs` has a gradient wherever a switch costs something."""
    gates = torch.full((2, model.switches), 0.5, requires_grad=True)
    model.unit_macs(gates).sum().backward()
    assert (gates.grad > 0).all()


def decisions_of(folder: Path) -> np.ndarray:
    """Boolean [N, S]."""
    packed = np.load(folder / "decisions.npz")
    return np.unpackbits(packed["decisions"], axis=1, count=int(packed["switches"])).astype(bool)


def test_claimed_and_executed_against_arithmetic_by_hand(run):
    name, folder, (row, *_) = run
    on = decisions_of(folder).astype(float)
    first, second = (8 * 8 * 9 * 3 * width + 4 * width * 4 for width in (4, 32))
    macs = {"second-look": lambda on: first + on[:, 0] * second}
    if name == "two-experts":
        small, large = 8 * 8 * 9 * 3 * 8 + 8 * 4, 16 * 16 * 9 * 3 * 48 + 48 * 4
        assert row["macs_dense"] == large and row["macs_gate"] == 16 * 3 * 2
        macs[name] = lambda on: row["macs_gate"] + on @ [small, large]
        assert row["skip_pct"] == pytest.approx(100 * (1 - (on @ [small, large]).mean() / large))
    elif name == "thin-channels":
        layer, outside = 8 * 8 * 9 * 8 * 8, 8 * 8 * 9 * 3 * 8 + 8 * 4
        a, b = on[:, :8].sum(1), on[:, 8:].sum(1)
        macs[name] = lambda on: outside + 8 * 16 + layer * (a / 8 + a * b / 64 + b / 8)
        assert row["macs_dense"] == outside + 3 * layer
    elif name in ("recurrent-gate", "spatial-map"):
        strides = {2: 8 * 8 * 9 * (8 * 16 + 16 * 16), 4: 4 * 4 * 9 * (16 * 32 + 32 * 32)}  # blocks that halve the map, by index
        sizes = {0: 16 * 16 * 9 * 2 * 8 * 8, 1: 16 * 16 * 9 * 2 * 8 * 8, 3: 8 * 8 * 9 * 2 * 16 * 16, 5: 4 * 4 * 9 * 2 * 32 * 32} | strides
        blocks = np.array([sizes[index] for index in range(6)], float)
        outside = 16 * 16 * 9 * 3 * 8 + 32 * 4
        assert row["macs_dense"] == outside + blocks.sum()
        lstm = 6 * (8 * 6 * 6 + 6) + 6 * (8 + 8 + 8 + 16 + 16 + 32)
        gate = lstm if name == "recurrent-gate" else 16 * 16 * 24 + 8 * 8 * 32 + 4 * 4 * 32
        assert row["macs_gate"] == gate
        macs[name] = lambda on: outside + gate + on @ blocks
    assert row["macs_decided"] == pytest.approx(macs[name](on).mean())
    # In a batch a block that is off for hardly anybody may be run for all
    assert row["macs_decided"] <= row["macs_executed"] * (1 + 1e-9)
    assert name.startswith(("recurrent", "spatial")) or row["macs_executed"] == pytest.approx(row["macs_decided"])
    assert row["macs_ratio"] == pytest.approx(row["macs_executed"] / row["macs_dense"])
    if name != "two-experts":
        assert row["skip_pct"] == pytest.approx(100 * (1 - on.mean()))
    assert row["adaptive"] and row["mean_gate_hard"] == pytest.approx(on.mean())


def times_of(folder: Path) -> list[tuple[dict, pd.DataFrame]]:
    """Rows of times, each with the raw times of its session."""
    return [
        (json.loads(line), pd.read_csv(file.with_suffix(".csv")))
        for file in sorted((folder / "times").glob("*.jsonl"))
        for line in file.read_text().splitlines()
    ]


def test_realised_or_dispatch_efficiency_against_raw_times(run):
    name, folder, (row, *_) = run
    timed = [(times, raw) for times, raw in times_of(folder) if times["execution"] == "sparse"]
    assert {times["batch_size"] for times, _ in timed} == {1, 8}
    for times, raw in timed:
        raw = raw[raw["batch_size"] == times["batch_size"]] if "batch_size" in raw else raw
        typical = raw.groupby(["subject", "call"])["seconds"].median().groupby("subject").mean()
        assert times["latency_ms"] == pytest.approx(1e3 * typical["sparse"], rel=1e-3)
        assert "accuracy" not in times and times["scored_inputs"] and times["precision"] == "fp32"
        saved = times["timed_saving_pct"] / 100
        if name == "two-experts":
            assert "realised" not in times and times["rival"] == "the larger expert"
            parts = raw[raw["subject"].str.startswith("probe")].groupby(["round", "call"])["seconds"].sum()
            own = raw[raw["subject"] == "sparse"].set_index(["round", "call"])["seconds"]
            expected = parts.groupby("call").median().mean() / own.groupby("call").median().mean()
            assert times["dispatch_efficiency"] == pytest.approx(expected, rel=0.15)
            assert times["dispatch_efficiency_low"] <= times["dispatch_efficiency"] <= times["dispatch_efficiency_high"]
        elif saved >= 0.01 and "realised" in times:
            assert times["realised"] == pytest.approx((1 - 1 / times["speedup"]) / saved, rel=1e-6)


def test_columns_of_their_own_and_what_the_study_chose(run):
    name, folder, rows = run
    declared = [column["name"] for column in json.loads((folder / "columns.json").read_text())]
    assert declared == (["contrast"] if name == "second-look" else [])
    if name == "second-look":
        assert any(rows[0]["contrast"] == pytest.approx(each) for each in (0.9, 1.0, 1.1)) and rows[0]["policy"] == "best contrast"
        assert (folder / "contrast.csv").exists()


def test_on_the_front_and_in_the_report(done):
    results, answers = done
    *_, front, report = answers
    panels = json.loads(front["printed"])["panels"]
    for cost in ("macs_executed", "latency_ms"):
        labels = {point["label"] for panel in panels if panel["cost"] == cost for point in panel["points"]}
        assert {f"{name} {name}" for name in RECIPES} <= {label.split(",")[0] for label in labels}
    assert report["code"] == 0
    page = (results / "report" / "report.html").read_text()
    for name in RECIPES:
        assert f"{name} {name}" in page
    assert "contrast" in "".join(file.read_text().splitlines()[0] for file in (results / "report").glob("*.csv"))


def test_the_expected_cost_of_a_router_is_differentiable(done):
    """Its own loss stands in epochs.csv, weighted."""
    (folder,) = done[0].glob("two-experts-*")
    table = pd.read_csv(folder / "epochs.csv")
    assert (table["loss_expected_cost"] > 0).all() and (table["loss_expected_cost"] < 0.1).all()
    assert count_macs(torch.nn.Linear(3, 2), (1, 3)) == 6


ROUTER = '''
import torch
from torch import nn

from safetensors.torch import load_file

from gatebench.contract import Conversion
from gatebench.measure.macs import count_macs
from gatebench.models.registry import register
from two_experts import TwoExperts


class Prepared(nn.Module):
    def __init__(self, expert, given):
        super().__init__()
        self.expert, self.convert = expert, Conversion(given, expert.prepare)

    def forward(self, x):
        return self.expert.infer(self.convert(x)).logits


@register("pool-router", parents=("small", "large"))
class PoolRouter(TwoExperts):
    """Routes between finished runs of other models, which stay as they are."""

    def __init__(self, num_classes, input_shape, parents):
        super().__init__(num_classes, input_shape)
        self.prepare = parents["large"].prepare
        self.experts = nn.ModuleList(Prepared(parents[role], self.prepare) for role in ("small", "large"))
        macs = [parents[role].macs_static for role in ("small", "large")]
        self.units = [type(unit)(unit.name, "expert", 1, cost, unit.params) for unit, cost in zip(self.units, macs)]
        self.macs_static, self.classes = macs[1], num_classes

    def _infer(self, x, execution, decisions, policy):
        return super()._infer(x, "masked", decisions, policy)
'''


@pytest.mark.slow
def test_a_router_between_runs_of_other_models(gatebench_process, tmp_path):
    """Parents of other models first, once each; frozen to the last bit; in the run's identity; timed with its experts inside."""
    shutil.copy(HERE / "two_experts.py", tmp_path)
    (tmp_path / "pool.py").write_text(ROUTER)
    about = tmp_path / "pool-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: pool\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[gatebench.models]\npool-router = pool:PoolRouter\n")
    gatebench_process.environment["PYTHONPATH"] = str(tmp_path)
    data = "data: {name: shapes, shapes: {train: 160, test: 80, image_size: 16, classes: 4}}\n"
    training = "training: {epochs: 1, batch_size: 32, precision: fp32}\n"
    parents = ["small: {model: resnet8, config: default, epochs: 1, seed: 0}", "large: {model: resnet14, config: default, epochs: 1}"]
    (tmp_path / "r.yaml").write_text(data + training + "parents: {" + ", ".join(parents) + "}\n")
    results = tmp_path / "results"
    train = ["train", "pool-router", "--config", str(tmp_path / "r.yaml"), "--threads", "1", "--seed", "0,1", "--out", str(results)]
    rows = gatebench_process.json(*train)
    assert len(rows) == 2 and len(list(results.iterdir())) == 2 + 1 + 2, "one small expert for both seeds, a large one each"
    folder = next(results.glob("pool-router-*-s1-*"))
    assert {name.rsplit("-", 1)[0] for name in rows[1]["parents"]} == {"resnet8-default-shapes-s0", "resnet14-default-shapes-s1"}
    inside = load_file(folder / "model.safetensors")
    for number, pattern in enumerate(("resnet8-*", "resnet14-*-s1-*")):
        (expert,) = results.glob(pattern)
        for name, weights in load_file(expert / "model.safetensors").items():
            assert torch.equal(weights, inside[f"experts.{number}.expert.{name}"]), name
    refused = gatebench_process.refused("train", "pool-router", "--config", str(tmp_path / "r.yaml"), "--set", "parents.smal=null", code=2)
    assert "parents" in refused
    (tmp_path / "none.yaml").write_text(data + training + "parents: {smal: {model: resnet8, config: default}}\n")
    refused = gatebench_process.refused("train", "pool-router", "--config", str(tmp_path / "none.yaml"), code=2)
    assert "pool-router needs a parent run named parents.small. Did you mean 'smal'?" in refused
