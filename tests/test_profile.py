"""`profile-latency` as a user runs it."""

import json
import re
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL
from typer.testing import CliRunner

from gatebench import figures, models
from gatebench.cli import app
from gatebench.cli.console import finishing
from gatebench.cli.profile_latency import too_noisy
from gatebench.columns import KINDS
from gatebench.data.images import Dataset, Images
from gatebench.execution.fold import folded
from gatebench.measure import statistics
from gatebench.measure.statistics import Estimate
from gatebench.profiling import session
from gatebench.profiling.contender import Contender
from gatebench.profiling.networks import Network, _told_apart
from gatebench.profiling.timing import Gate, Rival, Timing
from gatebench.runs import RunFolder

QUICK = ["--inputs", "32", "--repeats", "5", "--threads", "1"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A predictive, a printed and a static run on the same small data."""
    from conftest import Command

    home = tmp_path_factory.mktemp("runs")
    gatebench = Command(home)
    for model in (["cosinegate", "--config", "predictive"], ["cosinegate", "--config", "aggressive"], ["resnet20"]):
        done = gatebench("train", *model, *SMALL, "--epochs", "1", "--out", str(home / "results"))
        assert done.returncode == 0, done.stderr
    return home / "results"


def test_energy_is_in_the_rows_where_the_machine_counts_it(runs, monkeypatch, tmp_path):
    class TwentyWatts:
        def joules(self):
            return 20 * time.perf_counter()

    monkeypatch.setattr(session, "counter_for", lambda device: TwentyWatts())
    (run,) = runs.glob("cosinegate-predictive-*")
    done = CliRunner().invoke(app, ["profile-latency", str(run), *QUICK, "--json", "--out", str(tmp_path)])
    (row,) = json.loads(done.stdout)
    assert 0 < row["energy_low"] <= row["energy_mj"] <= row["energy_high"]
    assert row["energy_mj"] > 20 * 0.2 * row["latency_ms"]  # milliseconds times watts; calls on end may be quicker than in turns
    shutil.copytree(run, tmp_path / "all" / run.name)
    (tmp_path / "all" / run.name / "rows.jsonl").write_text(
        "\n".join([*(run / "rows.jsonl").read_text().splitlines()[:1], json.dumps(row)])
    )
    drawn = CliRunner().invoke(app, ["pareto", str(tmp_path / "all"), "--x", "energy_mj", "--json"])
    (panel,) = json.loads(drawn.stdout)["panels"]
    assert panel["points"][0]["cost"] == pytest.approx(row["energy_mj"]) and panel["unit"] == "mJ"


def profile(gatebench, *arguments):
    """Rows by network and execution; noise may end the command with 3, for then it has measured all the same."""
    done = gatebench("profile-latency", *map(str, arguments), "--json")
    assert done.returncode in (0, 3), done.stderr
    return {(row["network"].split()[1], row["execution"]): row for row in json.loads(done.stdout)}


def test_all_runs_of_a_folder_are_timed_together_and_keep_their_rows(gatebench, runs):
    found = profile(gatebench, runs, *QUICK, "--execution", "sparse,masked")
    assert set(found) == {
        ("predictive", "sparse"), ("predictive", "masked"), ("aggressive", "sparse"), ("aggressive", "masked"), ("default", "itself"),
    }  # fmt: skip
    predictive = found["predictive", "sparse"]
    assert all(set(row) <= set(KINDS) for run in runs.iterdir() for row in RunFolder(run).read_rows())
    assert predictive["rival"] == "its static twin" and predictive["calls"] == 32 and predictive["rounds"] == 5
    assert predictive["latency_low"] <= predictive["latency_ms"] <= predictive["latency_high"]
    assert "latency_p90" not in predictive and "latency_p50_low" in predictive  # 32 inputs are too few
    assert {"gate_ms", "all_on", "all_off", "cost_r2", "cost_units_ms"} <= set(predictive)
    assert predictive["all_off"] < predictive["all_on"]
    assert found["aggressive", "sparse"]["timed_saving_pct"] < 0 and "realised" not in found["aggressive", "sparse"]

    folder = next(runs.glob("cosinegate-predictive-*"))
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 3 and "latency_ms" not in rows[0]  # the training's row first, as it was
    assert rows[1]["accuracy"] == rows[0]["accuracy"] and rows[1]["machine"] and rows[1]["execution"] == "sparse"
    raw = pd.read_csv(folder / "latency.csv")
    assert {"twin", "sparse", "masked", "imposed", "all on", "all off", "random"} == set(raw["subject"])
    assert len(raw) == 7 * 5 * 32 and raw["seconds"].gt(0).all()
    sparse = raw[raw["subject"] == "sparse"].pivot(index="round", columns="call", values="seconds").to_numpy()
    assert 1e3 * np.median(sparse, 0).mean() == pytest.approx(predictive["latency_ms"], rel=1e-6)
    for picture in ("latency-inputs-batch1-threads1.png", "latency-macs-batch1-threads1.png", "decisions.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")

    profile(gatebench, folder, *QUICK)  # again: its rows are replaced, not doubled
    again = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert [row["execution"] for row in again] == ["sparse", "masked", "sparse"]
    raw = pd.read_csv(folder / "latency.csv")
    assert raw.loc[raw["executions"] == "sparse,masked", "subject"].eq("masked").any(), "its row is still there"


def test_batches_and_out(gatebench, runs, tmp_path):
    folder = next(runs.glob("cosinegate-predictive-*"))
    before = (folder / "rows.jsonl").read_text()
    done = gatebench("profile-latency", str(folder), "--batch-size", "1,8", "--threads", "1", "--inputs", "8", "--repeats", "5",
                     "--out", str(tmp_path))  # fmt: skip
    assert done.returncode in (0, 3), done.stderr
    assert "realised" in done.stdout and "break-even" in done.stdout and "batch 8" in done.stdout
    rows = [json.loads(line) for line in (tmp_path / folder.name / "rows.jsonl").read_text().splitlines()]
    assert [(row["threads"], row["batch_size"]) for row in rows] == [(1, 1), (1, 8)]
    assert (folder / "rows.jsonl").read_text() == before
    raw = pd.read_csv(tmp_path / folder.name / "latency.csv")
    assert set(raw["batch_size"]) == {1, 8} and raw.loc[raw["subject"] == "sparse", "macs"].gt(0).all()
    small = gatebench("profile-latency", str(folder), "--batch-size", "1", "--threads", "1", "--inputs", "8", "--repeats", "6",
                      "--out", str(tmp_path))  # fmt: skip
    assert small.returncode in (0, 3)
    again = pd.read_csv(tmp_path / folder.name / "latency.csv")  # batch 1 anew, batch 8 as it was
    assert again[again["batch_size"] == 8].equals(raw[raw["batch_size"] == 8].set_axis(again.index[again["batch_size"] == 8]))
    assert again.loc[again["batch_size"] == 1, "round"].max() == 5
    sessions = json.loads((tmp_path / folder.name / "latency.json").read_text())["sessions"]
    assert sorted((each["batch_size"], each["measured_on"]["threads"]) for each in sessions) == [(1, 1), (8, 1)]


def test_other_inputs_make_other_rows(gatebench, runs, tmp_path):
    """Of a run timed on data that it was not scored on, no accuracy is claimed, and its own rows stay."""
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "two.npz", **{f"{part}_{kind}": value for part in ("train", "test") for kind, value in (
        ("images", draw.integers(0, 256, (40, 16, 16, 3), np.uint8)), ("labels", np.arange(40) % 2))})  # fmt: skip
    folder = tmp_path / "run"
    shutil.copytree(next(runs.glob("cosinegate-predictive-*")), folder)
    (row,) = profile(gatebench, folder, *QUICK, "--dataset", tmp_path / "two.npz").values()
    assert "two" in row["dataset"] and "accuracy" not in row and "macs_executed" not in row and row["recipe"] == "predictive"
    profile(gatebench, folder, *QUICK)
    datasets = [each["dataset"] for each in map(json.loads, (folder / "rows.jsonl").read_text().splitlines()) if "latency_ms" in each]
    assert set(datasets) == {row["dataset"], "shapes"}  # (the copy may have been timed before)


def test_a_run_that_cannot_be_timed_does_not_stop_the_others(gatebench, runs, tmp_path):
    good, bare = tmp_path / "runs" / "good", tmp_path / "runs" / "bare"
    for folder in (good, bare):
        shutil.copytree(next(runs.glob("resnet20-*")), folder)
    (bare / "model.safetensors").unlink()
    done = gatebench("profile-latency", str(tmp_path / "runs"), *QUICK, "--json")
    assert done.returncode == 0 and len(json.loads(done.stdout)) == 1
    assert "not timed" in done.stderr and "its weights were not kept" in " ".join(done.stderr.split())


def test_a_rival_takes_the_inputs_of_what_it_is_compared_with(gatebench, runs, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    folder = tmp_path / "run"
    shutil.copytree(next(runs.glob("cosinegate-predictive-*")), folder)
    (row,) = profile(gatebench, folder, *QUICK, "--vs", f"{tmp_path}/own.py").values()
    assert row["rival"] == "own" and row["speedup"] > 0
    assert "rival" in set(pd.read_csv(folder / "latency.csv")["subject"])


def test_what_was_measured_is_shown_when_a_later_session_fails(gatebench, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    done = gatebench("profile-latency", f"{tmp_path}/own.py:lonely", "--dataset", "shapes", *QUICK, "--batch-size", "1,4")
    assert done.returncode == 2 and "own:lonely" in done.stdout
    assert "does not take 4 3x24x24 inputs at once of shapes (AssertionError" in " ".join(done.stderr.split())


def test_interrupted_it_keeps_what_was_measured(gatebench, runs, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(next(runs.glob("cosinegate-predictive-*")), folder)
    quick = ["--inputs", "8", "--repeats", "100000", "--max-seconds", "1000", "--threads", "1"]
    for seconds in (12, 40, 120):  # a busy machine may not have come to five rounds; it then says so
        process = gatebench.start("profile-latency", str(folder), *quick, start_new_session=True)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err
        if "what was measured until then is kept" in err:
            break
    assert "predictive" in out
    assert any("latency_ms" in line for line in (folder / "rows.jsonl").read_text().splitlines())


def test_an_interrupted_session_replaces_no_whole_one(runs, monkeypatch, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(next(runs.glob("resnet20-*")), folder)
    (folder / "latency.json").write_text("{}")  # a side file that is damaged costs nobody's rows
    command = ["profile-latency", str(folder), *QUICK]
    assert CliRunner().invoke(app, command).exit_code == 0
    before = {name: (folder / name).read_bytes() for name in ("rows.jsonl", "latency.csv", "latency.json")}
    whole = session.measure
    monkeypatch.setattr(session, "measure", lambda *given, **options: replace(whole(*given, **options), interrupted=True))
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 130 and "whole sessions of before were not replaced" in " ".join(done.output.split())
    assert before == {name: (folder / name).read_bytes() for name in before}
    assert CliRunner().invoke(app, [*command, "--batch-size", "2"]).exit_code == 130  # of which nothing was there
    assert len((folder / "rows.jsonl").read_text().splitlines()) == before["rows.jsonl"].count(b"\n") + 1


def test_what_was_measured_is_finished_unless_asked_twice():
    with finishing() as asked:
        signal.raise_signal(signal.SIGINT)
    assert asked
    with pytest.raises(KeyboardInterrupt), finishing():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


OWN = """
import torch
from torch import nn

class Two(nn.Module):
    def __init__(self, classes, always):
        super().__init__()
        self.always, self.first, self.second = always, nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 128, 3, 1, 1)
        self.heads = nn.ModuleList([nn.Linear(8, classes), nn.Linear(128, classes)])
    def forward(self, x):
        x = self.first(x)
        if not self.always and x.mean() < 0.0:
            return self.heads[0](x.mean((2, 3)))
        return self.heads[1](self.second(x).mean((2, 3)))

def build(classes):
    torch.manual_seed(0)
    return Two(classes, False)
def whole(classes):
    return Two(classes, True)
def broken(classes):
    raise RuntimeError("no luck")
def lonely(classes):
    class Lonely(Two):
        def forward(self, x):
            assert len(x) == 1
            return super().forward(x)
    return Lonely(classes, True)
def writes(classes):
    return nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(classes))
def text(classes):
    return type("Says", (nn.Identity,), {"forward": lambda self, x: "seven"})()
def leaves(classes):
    raise SystemExit(5)
def number(classes):
    return classes
def volume(classes):
    class Volume(nn.Module):
        def __init__(self):
            super().__init__()
            self.look = nn.Conv3d(1, 4, (3, 3, 3), padding=1)
            self.norm, self.head = nn.BatchNorm3d(4), nn.Linear(4, classes)
        def forward(self, x):
            return {"logits": self.head(self.norm(self.look(x[:, None])).relu().mean((2, 3, 4)))}
    return Volume()
def gray(classes):
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.LazyLinear(classes))
"""


def test_a_network_from_elsewhere_beside_its_whole_self(gatebench, tmp_path):
    (tmp_path / "own.py").write_text("from neighbour import nothing\n" + OWN)
    (tmp_path / "neighbour.py").write_text("nothing = None\n")
    done = gatebench("profile-latency", "--model-file", f"{tmp_path}/own.py", "--vs", f"{tmp_path}/own.py:whole", "--dataset", "shapes",
                     "--inputs", "64", "--repeats", "5", "--threads", "1", "--json")  # fmt: skip
    assert done.returncode in (0, 3), done.stderr
    (row,) = json.loads(done.stdout)
    assert row["network"] == "own" and row["rival"] == "own:whole"
    assert row["timed_macs_executed"] >= 8 * 27 * 12 * 12 + 8 * 10  # the first stage and its exit, at 24 x 24
    assert 0 < row["timed_saving_pct"] < 100 and "latency_p90" in row


def test_a_network_of_three_dimensional_convolutions(gatebench, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    (row,) = gatebench.json("profile-latency", f"{tmp_path}/own.py:volume", "--dataset", "shapes", *QUICK)
    assert row["timed_macs_executed"] == 3 * 24 * 24 * 27 * 4 + 4 * 10


def test_an_installed_package_adds_its_networks_by_name(gatebench, tmp_path):
    (tmp_path / "elsewhere.py").write_text(OWN.replace("def whole(classes)", "def whole(num_classes, classes=10)"))
    about = tmp_path / "elsewhere-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[gatebench.models]\ntwo-stage = elsewhere:whole\nearly = elsewhere:build\nlost = elsewhere:nowhere\n"
        "unlucky = elsewhere:broken\nseven = elsewhere:number\n"
    )
    gatebench.environment["PYTHONPATH"] = str(tmp_path)
    listed = gatebench("list", "models").stdout
    assert "two-stage" in listed and "does not load" in listed and "resnet20" in listed
    timed = json.loads(gatebench("profile-latency", "two-stage", "early", "--dataset", "shapes", *QUICK, "--json").stdout)
    assert {(row["network"], row["execution"]) for row in timed} == {("two-stage", "itself"), ("early", "itself")}
    assert "elsewhere:broken (entry point gatebench.models: unlucky) raised RuntimeError: no luck" in sentence(
        gatebench, "unlucky", "--dataset", "shapes", code=1
    )
    assert "gave a int, not a torch.nn.Module" in sentence(gatebench, "seven", "--dataset", "shapes", code=1)
    assert "Say with --dataset" in sentence(gatebench, "two-stage", code=2)
    assert "entry point gatebench.models: lost" in sentence(gatebench, "lost", "--dataset", "shapes", code=1)
    said = gatebench.refused("train", "two-stage", "--dataset", "shapes", code=2)
    assert "There is no recipe of two-stage" in said


def sentence(gatebench, *arguments, code):
    return gatebench.refused("profile-latency", *map(str, arguments), *QUICK, code=code)


def test_what_is_wrong_is_said_in_one_sentence(gatebench, runs, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    own = f"{tmp_path}/own.py"
    shapes = ("--dataset", "shapes")
    assert "Name what to time" in sentence(gatebench, code=2)
    assert "Did you mean 'cosinegate'?" in sentence(gatebench, "cosinegat", code=2)
    assert "Say with --dataset" in sentence(gatebench, own, code=2)
    assert "no function 'bild'. Did you mean 'build'?" in sentence(gatebench, f"{own}:bild", *shapes, code=2)
    assert "broken(10) raised RuntimeError: no luck" in sentence(gatebench, f"{own}:broken", *shapes, code=1)
    assert "gives no tensor of logits" in sentence(gatebench, f"{own}:text", *shapes, code=1)
    assert "own:writes writes to its input" in sentence(gatebench, f"{own}:writes", *shapes, code=2)
    assert "leaves(10) raised SystemExit: 5" in sentence(gatebench, f"{own}:leaves", *shapes, code=1)
    assert "8 batches of 4096 need 32768 inputs; shapes has" in sentence(gatebench, own, *shapes, "--batch-size", "4096", code=2)
    assert "is for one network that is no run; 0 were named" in sentence(gatebench, runs, "--weights", own, code=2)
    assert "Two networks would be written to" in sentence(gatebench, own, own, *shapes, "--out", tmp_path / "out", code=2)
    (tmp_path / "plain").write_text("")
    assert "Cannot write" in sentence(gatebench, own, *shapes, "--out", tmp_path / "plain", code=1)
    assert "gave a int, not a torch.nn.Module" in sentence(gatebench, f"{own}:number", *shapes, code=1)
    assert "own:gray does not take one 3x24x24 input of shapes" in sentence(gatebench, f"{own}:gray", *shapes, code=2)
    assert "There is no file" in sentence(gatebench, "--model-file", f"{tmp_path}/none.py", *shapes, code=2)
    assert "There are no weights at" in sentence(gatebench, "resnet20", "--weights", tmp_path / "w.safetensors", *shapes, code=2)
    assert "is not a file of weights" in sentence(gatebench, "resnet20", "--weights", own, *shapes, code=1)
    assert "--batch-size wants whole numbers from 1" in sentence(gatebench, runs, "--batch-size", "0", code=2)
    assert "Did you mean 'masked'?" in sentence(gatebench, runs, "--execution", "maskd", code=2)
    assert "stands for 3 networks; name one" in sentence(gatebench, "resnet20", *shapes, "--vs", runs, code=2)
    assert "There is no finished run in" in sentence(gatebench, tmp_path, code=2)


def test_a_run_that_cannot_be_timed_says_why(gatebench, runs, tmp_path):
    source = next(runs.glob("resnet20-*"))
    other = next(runs.glob("cosinegate-predictive-*"))
    bare, mixed, unfinished = (tmp_path / name for name in ("bare", "mixed", "unfinished"))
    for folder in (bare, mixed, unfinished):
        shutil.copytree(source, folder)
    (bare / "model.safetensors").unlink()
    assert "its weights were not kept" in sentence(gatebench, bare, code=1)
    shutil.copy(other / "model.safetensors", mixed / "model.safetensors")
    assert "holds the weights of another network" in sentence(gatebench, mixed, code=1)
    (unfinished / "summary.json").unlink()
    assert "has not finished" in sentence(gatebench, unfinished, code=2)
    gray = np.zeros((20, 8, 8), np.uint8)
    np.savez(tmp_path / "gray.npz", **{f"{part}_{kind}": value for part in ("train", "test")
                                      for kind, value in (("images", gray), ("labels", np.arange(20) % 10))})  # fmt: skip
    assert re.search(
        "was trained on 3x16x16 inputs, those of .* are 1x8x8", sentence(gatebench, source, "--dataset", tmp_path / "gray.npz", code=2)
    )


def timing(seconds, rival_seconds, macs, rival_macs, batch_size=1):
    rival = Rival("twin", rival_seconds, rival_macs)
    return Timing("net", "sparse", "torch", True, 1, batch_size, 10_000, seconds, macs, None, None, rival)


def test_realised_is_time_saved_over_macs_saved():
    rival, own = np.full((6, 20), 2e-3), np.full((6, 20), 1.5e-3)
    found = timing(own, rival, np.full(20, 60.0), np.full(20, 100.0))
    assert found.speedup.value == pytest.approx(2 / 1.5) and found.saved == pytest.approx(0.4)
    assert found.realised.value == pytest.approx((1 - 1.5 / 2) / 0.4)
    assert timing(own, rival, np.full(20, 99.5), np.full(20, 100.0)).realised is None


def test_a_rival_whose_macs_nobody_can_count_leaves_the_saving_out():
    seconds, nothing = np.full((6, 20), 1e-3), np.zeros(20)
    found = timing(seconds, 2 * seconds, nothing, nothing)
    assert found.saved is None and found.realised is None and found.speedup.value == pytest.approx(2)


def test_too_noisy_names_what_would_do():
    draw = np.random.default_rng(0)
    flat, macs = np.full((8, 16), 1e-3), np.full(16, 1.0)
    steady = flat * np.exp(0.01 * draw.standard_normal((8, 16)))
    assert timing(steady, flat, macs, macs).needed is None
    by_rounds = flat * np.exp(0.1 * draw.standard_normal((8, 1)))
    rounds, inputs = timing(by_rounds, flat, macs, macs, batch_size=4).needed
    assert rounds > 16 and inputs == 64
    by_inputs = flat * np.exp(0.1 * draw.standard_normal((1, 16)))
    rounds, inputs = timing(by_inputs, flat, macs, macs, batch_size=4).needed
    assert rounds == 8 and inputs > 128
    single = flat * np.exp(0.2 * draw.standard_normal((8, 16)))  # for which no other inputs are needed
    rounds, inputs = timing(single, flat, macs, macs).needed
    assert rounds > 16 and inputs <= 2 * 16
    assert timing(by_inputs / 2, flat, macs, macs).needed is None  # not sharp, but faster beyond doubt


def test_break_even_is_where_the_saving_pays_for_the_gate():
    def gate(all_on, all_off, most_claimed=100.0):
        price, on, off = (Estimate(value, value, value) for value in (1.0, all_on, all_off))
        return Gate(price, on, off, most_claimed, None)

    assert gate(1.1, 0.1).break_even == pytest.approx(10)  # 1.1 - 0.1 x 1.0 = 1
    assert gate(1.1, 0.6, 200 / 3).break_even == pytest.approx(40 / 3)  # a fifth of the way to the first of three exits
    assert gate(0.99, 0.1).break_even == 0.0
    assert gate(2.0, 1.2).break_even is None


def test_the_gates_price_is_the_time_of_deciding():
    own, imposed = np.full((6, 8), 5e-3), np.full((6, 8), 4e-3)
    gate = Gate(statistics.speedup(own, imposed), None, None, 100.0, None)
    row = replace(timing(own, own, np.ones(8), np.ones(8)), gate=gate).row()
    assert row["gate_ms"] == pytest.approx(1.0) and row["gate_price"] == pytest.approx(1.25)


def test_a_network_that_folding_would_change_is_timed_as_it_is():
    class Shared(torch.nn.Sequential):
        """A norm behind a convolution in the list, but not in the computation."""

        def forward(self, x):
            return self[0](self[1](x)).mean((2, 3))

    torch.manual_seed(0)
    shared = Shared(torch.nn.Conv2d(3, 3, 3), torch.nn.BatchNorm2d(3)).eval()
    shared[1].running_mean.fill_(0.5)
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(144, 5)).eval()
    unnormed = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4, track_running_stats=False), torch.nn.Flatten())
    images = Images(np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), np.uint8), np.zeros(16, np.int64))
    data = Dataset("noise", ["a", "b"], images, images, (0.5,) * 3, (0.25,) * 3)
    numbers, cpu = np.arange(16).reshape(8, 2), torch.device("cpu")
    for model, is_folded in ((shared, False), (plain, True), (unnormed, False)):
        found = Contender(Network("net", model, data), numbers, cpu, np.random.default_rng(0))
        assert found.folded is is_folded and found.model is not model
        x = found.calls[0]
        assert torch.allclose(found.model(x), model(x), atol=1e-5)


@pytest.mark.parametrize("changed", ["gates", "blocks", None])
def test_a_gated_network_is_folded_where_neither_blocks_nor_gates_change(monkeypatch, changed):
    def wrongly(model):
        found = folded(model)
        name = {"gates": "up_front_head", "blocks": "blocks.1"}.get(changed)
        for parameter in found.get_submodule(name).parameters() if name else ():
            parameter.data.add_(0.1)
        return found

    torch.manual_seed(0)
    net = models.create("cosinegate", depth=8, input_shape=(3, 16, 16), gate={"kind": "predictive"}).eval()
    images = Images(np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3), np.uint8), np.zeros(16, np.int64))
    network = Network("net", net, Dataset("noise", ["a", "b"], images, images, (0.5,) * 3, (0.25,) * 3))
    monkeypatch.setattr("gatebench.profiling.contender.folded", wrongly)
    found = Contender(network, np.arange(16).reshape(8, 2), torch.device("cpu"), np.random.default_rng(0))
    assert found.folded is (changed is None)


def test_what_no_number_of_inputs_would_do_is_said():
    row = {"network": "net", "batch_size": 1, "speedup_low": 0.9, "speedup_high": 1.1, "calls": 128, "rounds": 30, "session_seconds": 60.0,
           "repeats_needed": 30, "inputs_needed": 5_000, "inputs_available": 10_000}  # fmt: skip
    assert "--inputs 5000 --max-seconds" in too_noisy(row, 120)
    assert "5,000 of them would be needed; there are 2,000." in too_noisy(row | {"inputs_available": 2_000}, 120)


def test_runs_of_one_name_are_told_apart(tmp_path):
    networks = [Network(label, torch.nn.Identity(), None, RunFolder(tmp_path / folder))
                for label, folder in (("a s0", "a-s0-1f"), ("a s0", "a-s0-2f"), ("b s0", "b-s0-3f"))]  # fmt: skip
    assert [network.label for network in _told_apart(networks)] == ["a s0 1f", "a s0 2f", "b s0"]


def test_of_very_many_classes_the_dearest_and_the_cheapest_are_drawn():
    share = np.repeat(np.arange(100) / 100, 2)  # two inputs of each class, the last class the dearest
    shares = pd.DataFrame({"blocks.0": share, "blocks.1": share / 2})
    figure = figures.decisions("net", shares, {"class": pd.Series(np.repeat([f"c{number}" for number in range(100)], 2))})
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"c{number}" for number in (*range(99, 87, -1), *range(11, -1, -1))]
    assert axes.get_xlabel() == "class: 12 for which most runs, 12 for which least"
    few = figures.decisions("net", shares, {"class": pd.Series(np.repeat(["a", "b"], 100))})
    assert [label.get_text() for label in few.axes[0].get_xticklabels()] == ["a", "b"]
