"""`profile-latency` as a user runs it, in the process of the tests."""

import json
import re
import shutil
import signal
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL
from typer.testing import CliRunner

from gatebench.cli import app
from gatebench.cli.console import finishing
from gatebench.cli.profile_latency import inconclusive
from gatebench.data.images import Dataset, Images
from gatebench.measure import statistics
from gatebench.measure.statistics import Estimate
from gatebench.models import registry
from gatebench.profiling import session
from gatebench.profiling.contender import Contender
from gatebench.profiling.networks import Network, with_distinct_labels
from gatebench.profiling.timing import Gate, Rival, Timing
from gatebench.row import TimeRow
from gatebench.runs import RunFolder
from gatebench.runtimes.fold import folded

QUICK = ["--inputs", "32", "--repeats", "5", "--max-seconds", "5", "--threads", "1"]


def invoke(command, *arguments):
    return CliRunner().invoke(app, [command, *map(str, arguments)], env={"COLUMNS": "120", "NO_COLOR": "1"})


def profile(*arguments):
    """Rows by recipe (or network) and execution. Exit code 3, an inconclusive speed-up, is allowed: the times are there all the same."""
    done = invoke("profile-latency", *arguments, "--json")
    assert done.exit_code in (0, 3), done.stderr
    return {(row.get("recipe", row["network"]), row["execution"]): row for row in json.loads(done.stdout)}


def refusal(*arguments, code):
    """The one sentence of a command that must fail with `code`."""
    done = invoke("profile-latency", *arguments, *QUICK)
    assert done.exit_code == code, (done.exit_code, done.stdout, done.stderr)
    return " ".join(done.stderr.split())


def timings(folder):
    """The files of rows in a run folder, oldest first, and their rows."""
    files = sorted((folder / "times").glob("*.jsonl"), key=lambda file: file.stat().st_mtime_ns)
    return files, [[json.loads(line) for line in file.read_text().splitlines()] for file in files]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A predictive, a printed and a static run on the same small data."""
    out = tmp_path_factory.mktemp("runs")
    for model in (["cosinegate", "--config", "predictive"], ["cosinegate", "--config", "aggressive"], ["resnet20"]):
        done = invoke("train", *model, *SMALL, "--epochs", "1", "--out", out, "--json")
        assert done.exit_code == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A small data set of ten classes, as options."""
    draw, path = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, **{f"{part}_{kind}": value for part in ("train", "test") for kind, value in (
        ("images", draw.integers(0, 256, (80, 24, 24, 3), np.uint8)), ("labels", np.arange(80) % 10))})  # fmt: skip
    return "--dataset", path


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a run by the beginning of its folder's name."""

    def copied(beginning, name="run"):
        shutil.copytree(next(trained.glob(f"{beginning}-*")), tmp_path / name, ignore=shutil.ignore_patterns("times"))
        return tmp_path / name

    return copied


def test_energy_is_in_the_rows_where_the_machine_counts_it(run, monkeypatch, tmp_path):
    class TwentyWatts:
        def joules(self):
            return 20 * time.perf_counter()

    monkeypatch.setattr(session, "counter_for", lambda device: TwentyWatts())
    monkeypatch.setattr(session, "joules_per_call", partial(session.joules_per_call, seconds=0.1))
    folder = run("cosinegate-predictive", "all/run")
    ((_, row),) = profile(folder, *QUICK).items()
    assert 0 < row["energy_mj_low"] <= row["energy_mj"] <= row["energy_mj_high"]
    assert row["energy_mj"] > 20 * 0.2 * row["latency_ms"]  # milliseconds times watts; calls in a row may be quicker than in turns
    drawn = invoke("pareto", tmp_path / "all", "--x", "energy_mj", "--json")
    (panel,) = json.loads(drawn.stdout)["panels"]
    assert panel["points"][0]["cost"] == pytest.approx(row["energy_mj"]) and panel["unit"] == "mJ"


def test_all_runs_of_a_folder_are_timed_together_and_keep_their_rows(trained):
    rows = profile(trained, *QUICK, "--execution", "sparse,masked")
    assert set(rows) == {
        ("predictive", "sparse"), ("predictive", "masked"), ("aggressive", "sparse"), ("aggressive", "masked"), ("default", "itself"),
    }  # fmt: skip
    predictive = rows["predictive", "sparse"]
    assert predictive["rival"] == "its static twin" and predictive["calls"] == 32 and predictive["rounds"] == 5
    assert predictive["latency_ms_low"] <= predictive["latency_ms"] <= predictive["latency_ms_high"]
    assert "latency_p90" not in predictive and "latency_p50_low" in predictive  # 32 inputs are too few
    assert {"gate_ms", "all_on", "all_off", "cost_r2", "cost_units_ms"} <= set(predictive)
    assert predictive["all_off"] < predictive["all_on"]
    assert rows["aggressive", "sparse"]["timed_saving_pct"] < 0 and "realised" not in rows["aggressive", "sparse"]
    assert [rows[key]["adaptive"] for key in (("predictive", "masked"), ("default", "itself"))] == [True, False]

    folder = next(trained.glob("cosinegate-predictive-*"))
    points = (folder / "rows.jsonl").read_text()
    ((file,), (written,)) = timings(folder)
    assert written == [predictive, rows["predictive", "masked"]]
    assert all(set(row) <= set(TimeRow.model_fields) and row["scored_inputs"] and "accuracy" not in row for row in written)
    raw = pd.read_csv(file.with_suffix(".csv"))
    assert {"rival", "sparse", "masked", "imposed", "all on", "all off", "random"} == set(raw["subject"])
    assert len(raw) == 7 * 5 * 32 and raw["seconds"].gt(0).all() and raw.loc[raw["subject"] == "sparse", "macs"].gt(0).all()
    sparse = raw[raw["subject"] == "sparse"].pivot(index="round", columns="call", values="seconds").to_numpy()
    assert 1e3 * np.median(sparse, 0).mean() == pytest.approx(predictive["latency_ms"], rel=1e-6)

    before = file.read_bytes()
    profile(folder, *QUICK)  # again: into a file of its own
    files, again = timings(folder)
    assert files[0] == file and file.read_bytes() == before and [row["execution"] for row in again[1]] == ["sparse"]
    assert (folder / "rows.jsonl").read_text() == points and not list(folder.glob("*.png"))


def test_batches_and_out(run, tmp_path):
    folder = run("cosinegate-predictive")
    done = invoke("profile-latency", folder, *QUICK, "--batch-size", "1,8", "--inputs", "8", "--out", tmp_path / "out")
    assert done.exit_code in (0, 3), done.stderr
    assert "realised" in done.stdout and "break-even" in done.stdout and "batch 8" in done.stdout
    ((file,), (rows,)) = timings(tmp_path / "out" / "run")
    assert f"written to {file}" in done.stdout and not (folder / "times").exists()
    assert done.stdout.splitlines()[-1] == "next: gatebench list columns", "there is no run below --out to report"
    assert [(row["threads"], row["batch_size"]) for row in rows] == [(1, 1), (1, 8)]
    assert set(pd.read_csv(file.with_suffix(".csv"))["batch_size"]) == {1, 8}
    sessions = json.loads(file.with_suffix(".json").read_text())["sessions"]
    assert [(each["batch_size"], each["measured_on"]["threads"]) for each in sessions] == [(1, 1), (8, 1)]


def test_a_run_is_normalised_as_it_was_trained_whatever_it_is_timed_on(run, tmp_path):
    """And of a run timed on data that it was not scored on, nothing is said of its scores."""
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "two.npz", **{f"{part}_{kind}": value for part in ("train", "test") for kind, value in (
        ("images", draw.integers(0, 64, (40, 16, 16, 3), np.uint8)), ("labels", np.arange(40) % 2))})  # fmt: skip
    folder = run("cosinegate-predictive")
    (row,) = profile(folder, *QUICK, "--dataset", tmp_path / "two.npz").values()
    assert "two" in row["dataset"] and not row["scored_inputs"] and "macs_executed" not in row and row["recipe"] == "predictive"
    profile(folder, *QUICK)
    files, rows = timings(folder)
    assert [each["scored_inputs"] for (each,) in rows] == [False, True]
    described = json.loads((folder / "data.json").read_text())
    conditions = [json.loads(file.with_suffix(".json").read_text())["sessions"][0] for file in files]
    assert all(each["mean"] == described["mean"] and each["std"] == described["std"] for each in conditions)


def test_a_run_that_cannot_be_timed_does_not_stop_the_others(run, tmp_path):
    run("resnet20", "runs/good")
    (run("resnet20", "runs/bare") / "model.safetensors").unlink()
    done = invoke("profile-latency", tmp_path / "runs", *QUICK, "--json")
    assert done.exit_code == 0 and len(json.loads(done.stdout)) == 1
    assert "not timed" in done.stderr and "its weights were not kept" in " ".join(done.stderr.split())


def test_a_rival_takes_the_inputs_of_what_it_is_compared_with(run, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    folder = run("cosinegate-predictive")
    (row,) = profile(folder, *QUICK, "--vs", f"{tmp_path}/own.py").values()
    assert row["rival"] == "own" and row["speedup"] > 0
    assert {"rival", "reference"} <= set(pd.read_csv(timings(folder)[0][0].with_suffix(".csv"))["subject"])


def test_what_was_measured_is_shown_and_kept_when_a_later_session_fails(images, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    done = invoke("profile-latency", f"{tmp_path}/own.py:lonely", *images, *QUICK, "--batch-size", "1,4", "--out", tmp_path)
    assert done.exit_code == 2 and "own:lonely" in done.stdout
    assert "does not take 4 3x24x24 inputs at once of images (AssertionError" in " ".join(done.stderr.split())
    assert [[row["batch_size"] for row in rows] for rows in timings(tmp_path / "own-lonely")[1]] == [[1]]


@pytest.mark.parametrize("rounds", [0, 6])
def test_interrupted_it_keeps_what_was_measured(run, monkeypatch, rounds):
    def interrupted(subjects, inputs, clock, **options):
        after_round = options.pop("after_round")

        def interrupt(done):
            after_round(done)
            if done == rounds:
                signal.raise_signal(signal.SIGINT)

        return measure(subjects, inputs, clock, after_round=interrupt, **options)

    measure = session.measure
    monkeypatch.setattr(session, "measure", interrupted)
    folder = run("cosinegate-predictive")
    done = invoke("profile-latency", folder, "--inputs", "8", "--repeats", "100000", "--max-seconds", "1000", "--threads", "1")
    assert done.exit_code == 130 and "interrupted" in done.stderr
    if rounds:
        assert "what was measured until then is kept" in " ".join(done.stderr.split()) and "predictive" in done.stdout
        ((row,),) = timings(folder)[1]
        assert row["interrupted"] is True and row["rounds"] == 6
    else:
        assert "nothing was measured yet" in " ".join(done.stderr.split()) and not list((folder / "times").iterdir())


def test_what_was_measured_is_finished_unless_interrupted_twice():
    with finishing() as interruptions:
        signal.raise_signal(signal.SIGINT)
    assert interruptions
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
def full(classes):
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


def test_a_network_from_elsewhere_beside_its_full_self(images, tmp_path):
    (tmp_path / "own.py").write_text("from neighbour import nothing\n" + OWN)
    (tmp_path / "neighbour.py").write_text("nothing = None\n")
    network, rival = f"{tmp_path}/own.py", f"{tmp_path}/own.py:full"
    (row,) = profile("--model-file", network, "--vs", rival, *images, *QUICK, "--inputs", "64").values()
    assert row["network"] == "own" and row["rival"] == "own:full" and "recipe" not in row and "adaptive" not in row
    assert row["timed_macs_executed"] >= 8 * 27 * 12 * 12 + 8 * 10  # the first stage and its exit, at 24 x 24
    assert 0 < row["timed_saving_pct"] < 100 and "latency_p90" in row


def test_a_network_of_three_dimensional_convolutions(images, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    (row,) = profile(f"{tmp_path}/own.py:volume", *images, *QUICK).values()
    assert row["timed_macs_executed"] == 3 * 24 * 24 * 27 * 4 + 4 * 10


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package with networks of its own, in the module `elsewhere`."""
    (tmp_path / "elsewhere.py").write_text(OWN.replace("def full(classes)", "def full(num_classes, classes=10)"))
    about = tmp_path / "elsewhere-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[gatebench.models]\ntwo-stage = elsewhere:full\nearly = elsewhere:build\nlost = elsewhere:nowhere\n"
        "unlucky = elsewhere:broken\nseven = elsewhere:number\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry.list_models()  # gatebench's own are registered once
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    registry._installed.cache_clear()
    yield
    registry._installed.cache_clear()


def test_an_installed_package_adds_its_networks_by_name(installed, images):
    listed = invoke("list", "models").stdout
    assert "two-stage" in listed and "does not load" in listed and "resnet110" in listed
    assert set(profile("two-stage", "early", *images, *QUICK)) == {("two-stage", "itself"), ("early", "itself")}
    assert "elsewhere:broken (entry point gatebench.models: unlucky) raised RuntimeError: no luck" in refusal("unlucky", *images, code=1)
    assert "gave an int, not a torch.nn.Module" in refusal("seven", *images, code=1)
    assert "Say with --dataset" in refusal("two-stage", code=2)
    assert "entry point gatebench.models: lost" in refusal("lost", *images, code=1)
    trained = invoke("train", "two-stage", *images)
    assert trained.exit_code == 2 and "There is no recipe of two-stage" in " ".join(trained.stderr.split())


def test_what_is_wrong_is_said_in_one_sentence(trained, images, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    own = f"{tmp_path}/own.py"
    assert "Name what to time" in refusal(code=2)
    assert "Did you mean 'cosinegate'?" in refusal("cosinegat", code=2)
    assert "Say with --dataset" in refusal(own, code=2)
    assert "no function 'bild'. Did you mean 'build'?" in refusal(f"{own}:bild", *images, code=2)
    assert "broken(10) raised RuntimeError: no luck" in refusal(f"{own}:broken", *images, code=1)
    assert "gives no tensor of logits" in refusal(f"{own}:text", *images, code=1)
    assert "own:writes writes to its input" in refusal(f"{own}:writes", *images, code=2)
    assert "leaves(10) raised SystemExit: 5" in refusal(f"{own}:leaves", *images, code=1)
    assert "8 batches of 4096 need 32768 inputs; images has" in refusal(own, *images, "--batch-size", "4096", code=2)
    assert "is for one network that is no run; 0 were named" in refusal(trained, "--weights", own, code=2)
    assert "Two networks would be written to" in refusal(own, own, *images, "--out", tmp_path / "out", code=2)
    (tmp_path / "plain").write_text("")
    assert "Cannot write" in refusal(own, *images, "--out", tmp_path / "plain", code=1)
    assert "gave an int. Let it return the network, a torch.nn.Module." in refusal(f"{own}:number", *images, code=1)
    assert "own:gray does not take one 3x24x24 input of images" in refusal(f"{own}:gray", *images, code=2)
    assert "There is no file" in refusal("--model-file", f"{tmp_path}/none.py", *images, code=2)
    assert "plain is not a Python file. Name one whose function" in refusal("--model-file", tmp_path / "plain", *images, code=2)
    assert "Did you mean 'resnet14'?" in refusal("resnet20", "--vs", "resnet15", "--data-dir", tmp_path, code=2), "before data are read"
    assert "There are no weights at" in refusal("resnet20", "--weights", tmp_path / "w.safetensors", *images, code=2)
    assert "is not a file of weights" in refusal("resnet20", "--weights", own, *images, code=1)
    assert "--batch-size wants whole numbers from 1" in refusal(trained, "--batch-size", "0", code=2)
    assert "Did you mean 'masked'?" in refusal(trained, "--execution", "maskd", code=2)
    assert "masked is for networks with gates, and none" in refusal(own, *images, "--execution", "masked", code=2)
    assert "stands for 3 networks; name one" in refusal("resnet20", "--dataset", "shapes", "--vs", trained, code=2)
    assert "There is no finished run in" in refusal(tmp_path, code=2)


def test_a_run_that_cannot_be_timed_says_why(run, trained, tmp_path):
    source, bare, mixed, unfinished = (run("resnet20", name) for name in ("source", "bare", "mixed", "unfinished"))
    (bare / "model.safetensors").unlink()
    assert "its weights were not kept" in refusal(bare, code=1)
    shutil.copy(next(trained.glob("cosinegate-predictive-*")) / "model.safetensors", mixed / "model.safetensors")
    assert "holds the weights of another network" in refusal(mixed, code=1)
    (unfinished / "summary.json").unlink()
    assert "has not finished" in refusal(unfinished, code=2)
    gray = np.zeros((20, 8, 8), np.uint8)
    np.savez(tmp_path / "gray.npz", **{f"{part}_{kind}": value for part in ("train", "test")
                                      for kind, value in (("images", gray), ("labels", np.arange(20) % 10))})  # fmt: skip
    assert re.search("was trained on 3x16x16 inputs, those of .* are 1x8x8", refusal(source, "--dataset", tmp_path / "gray.npz", code=2))


def timing(seconds, rival_seconds, macs, rival_macs, batch_size=1):
    rival = Rival("twin", rival_seconds, rival_macs)
    return Timing("net", "sparse", "torch", True, 1, batch_size, 10_000, seconds, macs, None, rival)


def test_realised_is_time_saved_over_macs_saved():
    rival, own = np.full((6, 20), 2e-3), np.full((6, 20), 1.5e-3)
    timed = timing(own, rival, np.full(20, 60.0), np.full(20, 100.0))
    assert timed.speedup.value == pytest.approx(2 / 1.5) and timed.saved == pytest.approx(0.4)
    assert timed.realised.value == pytest.approx((1 - 1.5 / 2) / 0.4)
    assert timing(own, rival, np.full(20, 99.5), np.full(20, 100.0)).realised is None


def test_a_rival_whose_macs_cannot_be_counted_leaves_the_saving_out():
    seconds, nothing = np.full((6, 20), 1e-3), np.zeros(20)
    timed = timing(seconds, 2 * seconds, nothing, nothing)
    assert timed.saved is None and timed.realised is None and timed.speedup.value == pytest.approx(2)


def test_an_inconclusive_speed_up_names_what_would_settle_it():
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
    single = flat * np.exp(0.3 * np.random.default_rng(1).standard_normal((8, 16)))  # for which no other inputs are needed
    rounds, inputs = timing(single, flat, macs, macs).needed
    assert rounds > 16 and inputs <= 2 * 16
    assert timing(by_inputs / 2, flat, macs, macs).needed is None  # a wide interval, but above 1


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
        contender = Contender(Network("net", model, data), numbers, cpu, np.random.default_rng(0))
        assert contender.folded is is_folded and contender.model is not model
        x = contender.calls[0]
        assert torch.allclose(contender.model(x), model(x), atol=1e-5)


@pytest.mark.parametrize("changed", ["gates", "blocks", None])
def test_a_gated_network_is_folded_where_neither_blocks_nor_gates_change(monkeypatch, changed):
    def wrongly(model):
        copied = folded(model)
        name = {"gates": "up_front_head", "blocks": "blocks.1"}.get(changed)
        for parameter in copied.get_submodule(name).parameters() if name else ():
            parameter.data.add_(0.1)
        return copied

    torch.manual_seed(0)
    net = registry.create("cosinegate", depth=8, input_shape=(3, 16, 16), gate={"kind": "predictive"}).eval()
    images = Images(np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3), np.uint8), np.zeros(16, np.int64))
    network = Network("net", net, Dataset("noise", ["a", "b"], images, images, (0.5,) * 3, (0.25,) * 3))
    monkeypatch.setattr("gatebench.profiling.ready.folded", wrongly)
    contender = Contender(network, np.arange(16).reshape(8, 2), torch.device("cpu"), np.random.default_rng(0))
    assert contender.folded is (changed is None)


def test_it_says_where_there_are_too_few_inputs_to_settle_it():
    row = {"network": "net", "batch_size": 1, "speedup_low": 0.9, "speedup_high": 1.1, "calls": 128, "rounds": 30, "session_seconds": 60.0,
           "repeats_needed": 30, "inputs_needed": 5_000, "inputs_available": 10_000, "threads": 1}  # fmt: skip
    assert "--inputs 5000 --max-seconds" in inconclusive(row, 120)
    assert "5,000 of them would be needed; there are 2,000." in inconclusive(row | {"inputs_available": 2_000}, 120)


@pytest.mark.parametrize(
    ("changes", "said", "unsaid"),
    [
        ({"calls": 8, "repeats_needed": 14_040}, "8 inputs are too few to say what would settle it. Give --inputs 64 or more", "repeats"),
        ({"calls": 8, "batch_size": 4, "inputs_available": 100}, "32 inputs are too few to say what would settle it. Give --inputs 1", ""),
        ({"calls": 8, "inputs_available": 8}, "--repeats 90 would settle it, if the machine stays as noisy; with less else", "few to"),
        ({"repeats_needed": 200_000}, "Only with less else running it might be settled: 200,000 repeats would be needed.", "--repeats"),
        ({"threads": 2}, "with less else running, or --threads 1, fewer do.", "--inputs"),
        ({}, "with less else running, fewer do.", "--threads"),
    ],
    ids=["few inputs", "few batches", "no more inputs", "more repeats than allowed", "two threads", "one thread"],
)
def test_an_inconclusive_speed_up_asks_for_nothing_that_does_not_help(changes, said, unsaid):
    row = {"network": "net", "batch_size": 1, "speedup_low": 0.9, "speedup_high": 1.1, "calls": 128, "rounds": 30, "session_seconds": 6.0,
           "repeats_needed": 90, "inputs_needed": 8, "inputs_available": 10_000, "threads": 1} | changes  # fmt: skip
    sentence = inconclusive(row, 120)
    assert said in sentence and (not unsaid or unsaid not in sentence)


def test_runs_of_one_name_get_distinct_labels(tmp_path):
    networks = [Network(label, torch.nn.Identity(), None, RunFolder(tmp_path / folder))
                for label, folder in (("a s0", "a-s0-1f"), ("a s0", "a-s0-2f"), ("b s0", "b-s0-3f"))]  # fmt: skip
    assert [network.label for network in with_distinct_labels(networks)] == ["a s0 1f", "a s0 2f", "b s0"]
