"""Times in runtimes other than torch: interleaved with it, over the static twin in the same runtime and in its fastest."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import GATED, SMALL, STATIC, Command

from gatebench.errors import UsageError
from gatebench.export.samples import Samples
from gatebench.pieces import Part, Piece, Step
from gatebench.profiling import exported
from gatebench.profiling.exported import chosen
from gatebench.report.results import read_runs
from gatebench.report.verdict import in_runtimes
from gatebench.runs import RunFolder
from gatebench.runtimes.bundle import run, write
from gatebench.runtimes.bundle.openvino import has_bf16
from gatebench.runtimes.bundle.unscored import cut
from gatebench.runtimes.compiled import Compiled

pytest.importorskip("onnx", reason="other runtimes need pip install 'gatebench[export]'")
pytest.importorskip("onnxruntime", reason="other runtimes need pip install 'gatebench[export]'")
pytest.importorskip("openvino", reason="other runtimes need pip install 'gatebench[export]'")
pytestmark = pytest.mark.usefixtures("operators_read_once")

SHORT = ["--threads", "1", "--inputs", "16", "--repeats", "5", "--max-seconds", "2"]
LOW = "bf16" if has_bf16() else "int8"
"""What OpenVINO computes in here, besides fp32."""
BOTH = ["--runtime", "onnxruntime,openvino", "--precision", f"fp32,{LOW}"]
RUNTIMES = ["onnxruntime", *(["onnxruntime, int8"] if LOW == "int8" else []), "openvino", f"openvino, {LOW}"]
"""Of the rows."""


@pytest.fixture(scope="module", autouse=True)
def few_patterns():
    """Two patterns of blocks alone are ready: others are put together of single blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exported, "APART", 2)
        patch.setattr(exported, "TOGETHER", 2)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A gated network, one that cannot be cut into pieces, and a static one."""
    home = tmp_path_factory.mktemp("runtimes")
    for words in (["cosinegate", "--config", "predictive", *GATED], ["cosinegate", "--config", "aggressive", *GATED], ["resnet8", *STATIC]):
        Command(home).json("train", *words, "--out", str(home / "results"))
    return home / "results"


@pytest.fixture(scope="module")
def timed(runs):
    """Rows of all of them, timed together in every runtime, and what was said."""
    done = Command(runs.parent)("profile-latency", str(runs), *BOTH, *SHORT, "--json")
    assert done.returncode in (0, 3), done.stderr
    return json.loads(done.stdout), done.stderr


def of(timed, network):
    return {row["runtime"]: row for row in timed[0] if row["network"].startswith(network)}


def test_every_network_that_can_be_cut_is_timed_in_every_runtime(timed):
    rows = of(timed, "cosinegate predictive")
    assert list(rows) == ["torch", *RUNTIMES]
    assert [row["precision"] for row in rows.values()] == ["fp32", *(LOW if LOW in name else "fp32" for name in RUNTIMES)]
    assert {row["rival"] for row in rows.values()} == {"its static twin"}
    assert len({row["calls"] for row in rows.values()}) == len({row["rounds"] for row in rows.values()}) == 1
    assert rows["onnxruntime"]["timed_macs_executed"] == rows["openvino"]["timed_macs_executed"] == rows["torch"]["timed_macs_executed"]
    assert all("all_on" in row for row in rows.values())
    static = of(timed, "resnet8")
    assert list(static) == list(rows) and {row["execution"] for row in static.values()} == {"itself"}
    assert list(of(timed, "cosinegate aggressive")) == ["torch"]
    assert "timed in torch alone" in timed[1] and "CosineGate decides about a block once it is computed" in timed[1]


def test_speed_ups_are_over_the_twin_in_the_same_runtime_and_in_its_fastest(timed, runs):
    """Computed anew from the raw times of the session."""
    rows = of(timed, "cosinegate predictive")
    (file,) = next(runs.glob("cosinegate-predictive-*")).glob("times/*.csv")
    times = pd.read_csv(file)

    def milliseconds(subject):
        calls = times[times["subject"] == subject].groupby("call")["seconds"].median()
        return 1e3 * calls.mean()

    twins = {name: milliseconds("rival" if name == "torch" else f"{name} rival") for name in rows}
    fastest = min(twins, key=twins.__getitem__)
    for name, row in rows.items():
        own = milliseconds("sparse" if name == "torch" else f"{name} sparse")
        assert row["latency_ms"] == pytest.approx(own, rel=1e-3) and row["rival_ms"] == pytest.approx(twins[name], rel=1e-3)
        assert row["rival_fastest"] == fastest and row["rival_fastest_ms"] == pytest.approx(twins[fastest], rel=1e-3)
        assert row["speedup_fastest_low"] <= row["speedup_fastest"] <= row["speedup_fastest_high"]
        assert row["speedup_fastest"] == pytest.approx(twins[fastest] / own, rel=0.4)  # of pairs, on a busy machine


def test_reports_keep_them_apart_from_times_in_torch(timed, runs, tmp_path):
    read = {run.headline["recipe"]: run for run in read_runs(runs)[0]}
    assert [row["runtime"] for row in read["predictive"].times] == ["torch"]
    assert [row["runtime"] for row in read["predictive"].elsewhere] == RUNTIMES
    command = Command(tmp_path)
    done = command("report", str(runs), "--out", str(tmp_path / "report"))
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "report" / "report.md").read_text()
    assert "In every runtime" in text and f"openvino, {LOW}" in text
    assert command("report", "--check", str(runs)).returncode == 0
    lines = pd.read_csv(tmp_path / "report" / "times.csv")
    assert set(lines["runtime"]) == {"torch", *RUNTIMES}


@pytest.mark.slow
def test_all_are_compared_with_a_network_that_is_named(runs):
    static, gated = (next(runs.glob(f"{name}-*")) for name in ("resnet8", "cosinegate-predictive"))
    words = [str(gated), "--vs", str(static), "--runtime", "openvino", *SHORT, "--out", str(runs.parent / "vs")]
    done = Command(runs.parent)("profile-latency", *words, "--json")
    rows = {row["runtime"]: row for row in json.loads(done.stdout)}
    assert list(rows) == ["torch", "openvino"] and all(row["rival"].startswith("resnet8") and row["vs"] for row in rows.values())
    assert rows["openvino"]["rival_ms"] != rows["torch"]["rival_ms"] and "all_on" not in rows["openvino"]


@pytest.mark.slow
def test_everything_on_runs_the_dearest_way(runs, tmp_path):
    """In early exits no input leaves, and block gates run all blocks, whatever the pieces decide."""
    command = Command(tmp_path)
    exits = ["cgt", "--config", "hard", *SMALL, "--epochs", "1", "--set", "data.validation=40", "--set", "study.rules=[max-softmax]"]
    command.json("train", *exits, "--out", str(tmp_path / "exits"))
    (early,) = (path.parent for path in (tmp_path / "exits").glob("*/summary.json"))
    for folder, switches in ((early, 6), (next(runs.glob("cosinegate-predictive-*")), 3)):
        samples = Samples(folder, tmp_path)
        parts = cut(samples.net, samples.data, *samples.statistics, 2)
        models = write.converted(parts, *samples.statistics, torch.from_numpy(samples.data.train[np.arange(2)].pixels))
        said = {"classes": samples.data.classes, "switches": [unit.name for unit in samples.net.units]}
        for format_ in ("onnx", "openvino"):
            write.write(RunFolder(tmp_path / "as decided"), models, format_, "fp32", said)
            write.write(RunFolder(tmp_path / "all on"), models, format_, "fp32", said, all_on=True)
            own, dearest = (run.Network(tmp_path / name) for name in ("as decided", "all on"))
            for image in samples.data.test[np.arange(4)].pixels:
                assert dearest(image).on == list(range(switches)) and dearest(image).macs >= own(image).macs


def test_what_cannot_be_timed_is_refused_in_a_sentence(runs, gatebench, monkeypatch):
    name = str(next(runs.glob("cosinegate-predictive-*")))
    said = gatebench.refused("profile-latency", name, "--runtime", "onnxruntime", "--batch-size", "1,8", code=2)
    assert "one image at a time" in said and "Give --batch-size 1" in said
    said = gatebench.refused("profile-latency", name, "--runtime", "onnxruntime", "--precision", "bf16", code=2)
    assert "--precision bf16 is for openvino" in said
    printed = str(next(runs.glob("cosinegate-aggressive-*")))
    assert "once it is computed" in gatebench.refused("profile-latency", printed, "--runtime", "onnxruntime", *SHORT, code=2)
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    assert "pip install 'gatebench[export]'" in gatebench.refused("profile-latency", name, "--runtime", "openvino", code=2)


def test_a_precision_is_taken_where_a_runtime_has_it(monkeypatch):
    monkeypatch.setattr(exported, "has_bf16", lambda: True)
    names = [str(each) for each in chosen(["torch", "compile", "onnxruntime", "openvino"], ["fp32", "bf16"])]
    assert names == ["compile", "onnxruntime", "openvino", "openvino, bf16"]


def test_a_precision_that_the_processor_does_not_have_is_refused(monkeypatch):
    monkeypatch.setattr(exported, "has_bf16", lambda: False)
    with pytest.raises(UsageError, match="This processor does not compute in bf16"):
        chosen(["openvino"], ["fp32", "bf16"])
    assert [str(each) for each in chosen(["openvino"], ["fp32", "int8"])] == ["openvino", "openvino, int8"]


def test_torch_compile_needs_nothing_that_files_need(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    assert [str(each) for each in chosen(["compile"], ["fp32"])] == ["compile"]
    monkeypatch.setattr(torch, "compile", lambda model, dynamic: model)
    with pytest.raises(UsageError, match="--runtime compile needs torch 2.14"):
        chosen(["compile"], ["fp32"])


def test_every_piece_is_compiled_however_many_there_are(monkeypatch):
    compiled, count = [], 20

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    names = [f"piece {number}" for number in range(count)]
    following = [Step({"1": name}) for name in names[1:]] + [None]
    made = {
        name: Piece(
            Part(torch.nn.Identity(), lambda x, number=number: (x + number, torch.ones(1, 1, dtype=torch.uint8))),
            ("image",) if number == 0 else ("logits",), ("logits", "bits"), next=step,
        )
        for number, (name, step) in enumerate(zip(names, following, strict=True))
    }  # fmt: skip
    network = Compiled(made, ["a", "b"])
    for _ in range(2):
        assert network(np.zeros(2, np.float32)).logits.tolist() == [sum(range(count))] * 2
    assert len(compiled) == count


def test_the_verdict_is_over_the_twin_in_its_fastest_runtime():
    common = {"network": "net", "rival": "its static twin", "rival_fastest": "openvino, bf16", "rival_fastest_ms": 0.4}
    speed = {f"speedup_fastest{end}": value for end, value in (("", 1.6), ("_low", 1.5), ("_high", 1.7))}
    rows = [
        {**common, "runtime": "torch", "latency_ms": 2.0, **dict.fromkeys(speed, 0.2)},
        {**common, "runtime": "onnxruntime", "latency_ms": 0.25, **speed},
    ]
    said = "is 1.60x as fast as its static twin in its fastest, openvino, bf16 (0.400 -> 0.250 ms; 1.50 to 1.70)"
    assert in_runtimes(rows) == f"In its fastest runtime, onnxruntime, net {said}."


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["onnx", "openvino"])
def test_int8_gives_most_images_their_class(runs, tmp_path, format_):
    gated = next(runs.glob("cosinegate-predictive-*"))
    said = Command(tmp_path).json("export", str(gated), "--format", format_, "--precision", "int8", "--out", str(tmp_path / "net"))
    assert said["relabelled"] <= 0.1 * said["images"] and said["bundle"]["precision"] == "int8"
    Command(tmp_path).json("export", str(gated), "--format", format_, "--out", str(tmp_path / "fp32"))
    weights = {"onnx": "patterns/weights.bin", "openvino": "network.bin"}[format_]
    sizes = [(tmp_path / name / weights).stat().st_size for name in ("net", "fp32")]
    assert sizes[0] < 0.5 * sizes[1]


@pytest.mark.slow
def test_compiled_pieces_answer_as_the_network_does(runs):
    name = str(next(runs.glob("cosinegate-predictive-*")))
    done = Command(runs.parent)("profile-latency", name, "--runtime", "compile", *SHORT, "--out", str(runs.parent / "compiled"), "--json")
    assert [row["runtime"] for row in json.loads(done.stdout)] == ["torch", "compile"]
