"""The benchmarks run; what they find is for a quiet machine."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GATED

from gatebench.data.images import Images
from gatebench.models import registry

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))


@pytest.mark.parametrize("model, config", [("resnet20", "default"), ("cosinegate", "balanced"), ("cosinegate", "predictive")])
def test_a_step_of_our_training_loop(model, config):
    import training

    images = Images(np.zeros((256, 32, 32, 3), np.uint8), np.arange(256) % 10)
    ours = training.Ours(model, config, images, torch.device("cpu"), "fp32")
    ours.step()
    assert ours.meter.images == 128


def test_a_step_of_what_training_is_compared_with():
    import training

    images = Images(np.zeros((256, 32, 32, 3), np.uint8), np.arange(256) % 10)
    for loop in (training.Ceiling, training.Usual):
        loop = loop(images, torch.device("cpu"), "fp32")
        before = loop.net.head.weight.detach().clone()
        loop.step()
        assert not torch.equal(loop.net.head.weight, before)


@pytest.mark.slow
def test_the_executor_against_its_twin_and_its_limit(monkeypatch):
    import execution

    measure = execution.measure  # whose warm-up lasts on a busy machine
    monkeypatch.setattr(execution, "measure", lambda *subjects, **options: measure(*subjects, **{**options, "max_seconds": 5}))
    blocks = registry.create("cosinegate", input_shape=(3, 16, 16), depth=8, gate={"kind": "predictive"}).eval()
    exits = registry.create("cgt", input_shape=(3, 16, 16), backbone={"kind": "resnet", "depth": 8}).eval()
    for net, batch in ((blocks, 1), (blocks, 4), (exits, 1), (exits, 4)):
        claimed, saved, fast, realised = execution.compare(net, batch, 0.33, 5, torch.device("cpu"), np.random.default_rng(0))
        assert 10 < claimed < 60 and 0.1 < saved < 0.6 and fast.low < fast.high and set(realised) == {"sparse", "masked", "limit"}


def test_sizes_of_files_of_networks_that_are_converted_once(gatebench, tmp_path, monkeypatch):
    import edge

    made = []
    monkeypatch.setattr(edge, "converted", lambda pieces, *_: made.append(pieces) or pieces)
    monkeypatch.setattr(edge, "write", lambda *_: None)
    monkeypatch.setattr(edge, "measured", lambda folder, images, runtime: {"files_mb": 1.0})
    monkeypatch.setattr(edge, "has_bf16", lambda: True)
    gatebench.json("train", "cosinegate", "--config", "predictive", *GATED, "--out", str(tmp_path))
    lines = edge.lines(next(tmp_path.glob("cosinegate-*")), tmp_path, tmp_path)
    assert [next(iter(pieces)) for pieces in made] == ["start", "whole"]
    named = [(line["network"], line["runtime"], line["precision"]) for line in lines]
    formats = {"onnxruntime": ("fp32", "int8"), "openvino": ("fp32", "bf16", "int8")}
    assert named == [(kind, name, each) for name, precisions in formats.items() for kind in ("gated", "static") for each in precisions]


@pytest.mark.slow
def test_how_far_the_profiler_can_be_trusted(monkeypatch):
    pytest.importorskip("pyperf")
    import trust

    monkeypatch.setattr(trust, "ROUNDS", 5)
    with torch.inference_mode():
        assert [line[:5] for line in trust.against_itself(1)] == ["A/A: ", "A/A: "]
        monkeypatch.setattr(trust, "PREFIXES", (5, 6))
        ours, pigeonhole = trust.planted(2, 0.5)  # half as slow again: told at once, by both
        assert all("told in nine of ten after 5 rounds" in line for line in (ours, pigeonhole)) and "pigeonhole" in pigeonhole
        assert "attributed to the inputs" in trust.by_input()
        assert trust.copies(2).startswith("copies: two copies differ by ")


def test_the_pigeonhole_bootstrap_is_as_good_and_wider_where_calls_are_noisy():
    pytest.importorskip("pyperf")
    import trust

    slow, fast = np.exp(0.05 * np.random.default_rng(0).standard_normal((2, 25, 32)))
    ours, theirs = trust.statistics.speedup(slow, fast), trust.pigeonhole(slow, fast)
    assert theirs.value == pytest.approx(ours.value) and 1.5 < theirs.half_width / ours.half_width < 2


@pytest.mark.parametrize("differ", ["inputs", *(pytest.param(each, marks=pytest.mark.slow) for each in ("rounds", "calls", "all alike"))])
def test_intervals_hold_the_truth_in_95_of_100_draws(differ):
    import intervals

    missed = 100 * (1 - intervals.held(intervals.MIXTURES[differ], (12, 24), draws=100))
    assert (missed > 0.5).all() and (missed < 12.5).all()  # 5 of an exact interval; each bound fails once in about a hundred times


def test_how_complex_images_are(tmp_path):
    import complexity

    from gatebench.data.settings import Corruption, Data, Shapes

    severities = {"clean": Corruption(), "noisy": Corruption(noise=0.3)}
    data = Data(name="shapes", shapes=Shapes(train=20, test=30, image_size=16), severities=severities)
    table = complexity.table([data], tmp_path)
    assert list(table.index) == ["shapes, all", "shapes, clean", "shapes, noisy"]
    assert table.loc["shapes, noisy", "median"] > table.loc["shapes, clean", "d9"]


@pytest.mark.parametrize("kind", ["free", "input"])
@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 64])
def test_what_channel_gates_save(kind, batch):
    import channels

    net = channels.network("vgg11", 1 / 16, kind, 0.5, torch.device("cpu"))
    result, chosen = channels.compare(net, batch, seconds=0.1, device=torch.device("cpu"), rounds=5)
    assert 0.3 < result.on < 0.7 and result.decided < 0.5 and result.decided <= result.executed + 1e-9 and result.twin > 0
    assert len(chosen["layers"]) == len(chosen["static twin"]) == 8


def test_the_break_even_density_is_read_off_a_line():
    import channels

    assert channels.break_even([(1.0, 1.2), (0.5, 0.8), (0.75, 1.1)]) == "67 %"
    assert channels.break_even([(1.0, 0.9), (0.5, 0.8)]) == "100 %" and channels.break_even([(1.0, 1.2), (0.5, 1.1)]) == "below 50 %"


def test_every_public_network_has_a_factory():
    import public_networks

    for network, rival, _ in public_networks.CASES:
        for named in filter(None, (network, rival if rival and ".py" in rival else None)):
            file, _, factory = named.partition(":")
            body = ast.parse((public_networks.PUBLIC / file).read_text()).body
            assert factory in [each.name for each in body if isinstance(each, ast.FunctionDef)], named
    row = {"timed_macs_least": 1e6, "timed_macs_executed": 2e6, "timed_macs_most": 3e6, "latency_ms": 1.0, "timed_audit": ["a: b"]}
    assert public_networks.cells(row) == ["2.0 (1.0 to 3.0)", "", "", "1.00", "a"]


def test_published_counts_beside_ours(capsys):
    import published_macs
    from rich.console import Console

    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.Flatten(), torch.nn.Linear(8 * 100 * 100, 100))
    macs = 3 * 8 * 100 * 100 + 8 * 100 * 100 * 100
    published_macs.compare("mine", iter([("right", network, 100, macs / 1e9), ("wrong", network, 100, 10 * macs / 1e9)]), Console())
    said = " ".join(capsys.readouterr().out.split())
    assert "mine wrong: 0.008 billion MACs, published 0.0824 (-90.0 %)" in said and "mine right" not in said and "mine: 2 compared" in said
