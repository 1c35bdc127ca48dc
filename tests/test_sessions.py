"""What is timed of a network, and what its times say, on made-up networks with a clock that shows what their parts cost."""

import copy
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from gatebench.contract import GatedModel, Output, Prepare, Probe, Unit
from gatebench.data.images import Dataset, Images
from gatebench.profiling import record, session
from gatebench.profiling.networks import Network
from gatebench.row import NETWORK, TimeRow
from gatebench.runs import RunFolder


class Spent:
    """A clock on which time passes only where a part of a network runs."""

    now = 0.0
    name, resolution = "made up", 1e-9

    def seconds(self, work):
        before = Spent.now
        work()
        return Spent.now - before

    def moment(self):
        return Spent.now, Spent.now


class Cost(nn.Module):
    """A part that takes so many seconds for each input, and once more for each call."""

    def __init__(self, seconds, call=0.0):
        super().__init__()
        self.per_input, self.call = seconds, call
        self.weights = nn.Parameter(torch.full((3, 2), seconds))

    def forward(self, x):
        Spent.now += self.call + self.per_input * len(x)
        return x.mean((2, 3)) @ self.weights


class Router(GatedModel):
    """Sends every input to one of two experts: light images to the second, which takes three times as long."""

    macs_static, macs_gate, macs_outside = 100, 5, 0

    def __init__(self):
        super().__init__()
        self.input_shape = (3, 8, 8)
        self.gater, self.experts = Cost(1e-3), nn.ModuleList([Cost(2e-3), Cost(6e-3)])
        self.dispatch = Cost(0.0, call=1e-3)
        self.units = [Unit("cheap", "expert", 1, 20, 6), Unit("costly", "expert", 1, 100, 6)]

    def legal(self, decisions):
        return decisions.sum(1) == 1

    def most(self):
        return torch.tensor([False, True])

    def least(self):
        return torch.tensor([True, False])

    def random_decisions(self, count, draw):
        second = torch.from_numpy(draw.random(count) < draw.random())
        return torch.stack([~second, second], 1)

    def claimed(self, decisions, gates=None):
        return 100 * float((decisions * [0.8, 0.0]).sum(1).mean())

    def references(self):
        return {"the costly expert": self.experts[1], "the cheap expert": self.experts[0]}

    def probes(self):
        def alone(index, x, output):
            rows = x[output.decisions[:, index]]
            return (lambda: self.experts[index](rows)) if len(rows) else None

        experts = {f"expert {index}": Probe(lambda x, output, i=index: alone(i, x, output), part=True) for index in range(2)}
        return {"gater": Probe(lambda x, output: lambda: self.gater(x), part=True), **experts}

    def _infer(self, x, execution, decisions, policy):
        on, gates = decisions, None
        if on is None:
            self.gater(x)
            gates = torch.stack([1 - x.mean((1, 2, 3)).sigmoid(), x.mean((1, 2, 3)).sigmoid()], 1)
            on = gates > 0.5
        self.dispatch(x)
        if execution == "masked":
            logits = sum(on[:, index, None] * expert(x) for index, expert in enumerate(self.experts))
            return Output(logits, gates, on, count=self.counting_all(len(x), decisions is None))
        logits = x.new_zeros(len(x), 2)
        for index, expert in enumerate(self.experts):
            if on[:, index].any():
                logits[on[:, index]] = expert(x[on[:, index]])
        return Output(logits, gates, on, count=self.counting(on, decisions is None))


class Channels(GatedModel):
    """Four channels, by pairs: MACs grow with the square of the channels that are on, and with them the time."""

    macs_static = 160
    units = (Unit("channels", "channels", 4, 160, 6),)

    def __init__(self):
        super().__init__()
        self.input_shape = (3, 8, 8)
        self.body, self.twin = Cost(1e-3), Cost(16e-3)

    def least(self):
        return torch.tensor([True, True, False, False])

    def unit_macs(self, on):
        return 10 * on.sum(1, keepdim=True) ** 2

    def claimed(self, decisions, gates=None):
        return 100 * (1 - float(gates.mean()))

    def references(self):
        return {"all channels": self.twin}

    def _infer(self, x, execution, decisions, policy):
        gates = (x.mean((1, 2, 3)) > 0)[:, None].repeat(1, 4).float()
        gates[:, :2] = 1.0
        on = gates > 0.5 if decisions is None else decisions
        Spent.now += 1e-3 * float((on.sum(1) ** 2).sum())
        return Output(self.body(x), None if decisions is not None else 0.5 * gates, on, count=self.counting(on))


def noise(inputs=64):
    """A data set half of which is dark."""
    pixels = np.random.default_rng(0).integers(0, 56, (inputs, 8, 8, 3), np.uint8)
    pixels[::2] += 200
    images = Images(pixels, np.arange(inputs) % 2)
    return Dataset("noise", ["a", "b"], images, images, (0.5,) * 3, (0.25,) * 3)


def plan(batch=1, executions=("sparse", "masked")):
    return session.Plan(torch.device("cpu"), 1, batch, executions, 32, 5, 60.0)


@pytest.fixture(autouse=True, scope="module")
def clock():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "clock_for", lambda device: Spent())
        patch.setattr(record, "clock_for", lambda device: Spent())
        yield


@pytest.fixture(scope="module")
def routed(clock):
    """A session of the router, one input at a time."""
    return run(Router())


def run(model, batch=1, rival=None):
    return session.run([Network("net", model, noise())], rival, plan(batch), lambda done: None)


def test_a_router_gives_its_dispatch_efficiency_by_hand_arithmetic(routed):
    """Half of the inputs go to each expert: on average (1 + 2) and (1 + 6) ms of parts, and 1 ms of dispatch at each call."""
    sparse, masked = record.rows(routed, 0)
    (contender,) = routed.contenders
    light = np.mean(contender.network.data.test.pixels[contender.numbers[:, 0]].mean((1, 2, 3)) > 127)
    parts = 1 + 2 * (1 - light) + 6 * light
    assert sparse["latency_ms"] == pytest.approx(parts + 1) and sparse["dispatch_efficiency"] == pytest.approx(parts / (parts + 1))
    assert "realised" not in sparse and "realised" not in masked
    assert sparse["rival"] == "the costly expert" and sparse["speedup"] == pytest.approx(6 / (parts + 1))
    assert sparse["timed_macs_executed"] == pytest.approx(5 + 20 * (1 - light) + 100 * light)
    assert sparse["timed_saving_pct"] == pytest.approx(100 - sparse["timed_macs_executed"])
    assert masked["timed_macs_executed"] == 125 and masked["latency_ms"] == pytest.approx(1 + 1 + 2 + 6)
    assert masked["dispatch_efficiency"] == pytest.approx(parts / 10)
    assert sparse["timed_claimed_pct"] == masked["timed_claimed_pct"] == pytest.approx(80 * (1 - light))
    assert sparse["gate_ms"] == pytest.approx(1.0) and sparse["adaptive"] is True and "all_on" not in sparse
    assert sparse["cost_units_ms"] == [None, pytest.approx(4.0)]  # one runs where the other does not


def test_in_batches_every_expert_is_timed_on_its_own_group():
    measured = run(Router(), batch=4)
    (contender,) = measured.contenders
    counts = np.array([output.decisions.sum(0).tolist() for output in contender.own])
    for index, seconds in enumerate((2e-3, 6e-3)):
        assert measured.times.of(f"0 probe expert {index}")[0] == pytest.approx(seconds * counts[:, index])
    parts = 4e-3 + (counts * [2e-3, 6e-3]).sum(1)
    assert record.rows(measured, 0)[0]["dispatch_efficiency"] == pytest.approx(parts.sum() / (parts + 1e-3).sum())


def test_what_has_nothing_to_do_is_not_timed(routed):
    seconds = routed.seconds(0)
    idle = np.isnan(seconds["probe expert 0"])
    assert (idle == idle[0]).all() and 0 < idle.mean() < 1 and (idle != np.isnan(seconds["probe expert 1"])).all()


def test_macs_that_are_not_linear_in_the_switches_are_the_executor_s():
    measured = run(Channels())
    (row, _) = record.rows(measured, 0)
    on = np.concatenate([output.decisions.sum(1) for output in measured.contenders[0].own])
    assert set(on) == {2, 4} and row["timed_macs_executed"] == pytest.approx(np.mean(10 * on**2))
    assert row["timed_claimed_pct"] == pytest.approx(100 * (1 - np.mean(0.5 * on / 4)))
    own, twin = np.mean(1 + on**2), 16.0
    assert row["realised"] == pytest.approx((1 - own / twin) / (1 - row["timed_macs_executed"] / 160))
    assert "dispatch_efficiency" not in row


def test_a_rival_takes_the_place_of_the_reference():
    other = Network("other", Cost(2e-3), noise())
    measured = run(Channels(), rival=replace(other, data=noise()))
    (row, _) = record.rows(measured, 0)
    assert row["rival"] == "other" and row["speedup"] == pytest.approx(2 / row["latency_ms"])
    names = set(measured.seconds(0))
    assert {"rival", "reference"} <= names


@pytest.mark.parametrize("prepare, mean", [(Prepare((8, 8), (0.25,) * 3, (0.5,) * 3), 0.25), (None, 0.5)])
def test_inputs_are_normalised_as_the_network_was_trained(prepare, mean):
    model = Router()
    model.prepare = prepare
    network = Network("net", model, noise())
    x = network.batch(np.arange(4), torch.device("cpu"))
    pixels = torch.from_numpy(network.data.test.pixels[:4]).permute(0, 3, 1, 2) / 255
    assert torch.allclose(x, (pixels - mean) / (0.75 - mean), atol=1e-6)


HEADLINE = {
    "model": "router", "recipe": "made-up", "digest": "0123abcd", "seed": 0, "epochs": 1, "adaptive": True, "params": 12, "tradeoff": 0.5,
    "policy": "gater", "data_digest": "89abcdef", "dataset": "noise", "accuracy": 50.0, "macs_executed": 65.0, "precision": "bf16",
}  # fmt: skip


def of_a_run(measured, **network):
    """The same session of a network that comes from a run."""
    (contender,) = measured.contenders
    changed = copy.copy(contender)
    changed.network = replace(contender.network, **network)
    return replace(measured, contenders=[changed])


def write(measured, folder, started=datetime(2026, 11, 26, 1, 20, tzinfo=timezone.utc)):
    destination = record.reserve(folder, "A Machine; 2 cores", started)
    record.write([measured], 0, destination, record.rows(measured, 0))
    return destination


def test_a_row_of_times_holds_no_score_and_no_precision_but_its_own(routed, tmp_path):
    folder = RunFolder(tmp_path / "run")
    measured = of_a_run(routed, folder=folder, row=HEADLINE, scored=True)
    destination = write(measured, folder)
    assert destination.rows == tmp_path / "run" / "times" / "a-machine-2-cores-20261126T012000Z.jsonl"
    rows = [json.loads(line) for line in destination.rows.read_text().splitlines()]
    for row in rows:
        assert set(row) <= set(TimeRow.model_fields) and row["precision"] == "fp32" and not row["interrupted"]
        assert {key: row.get(key) for key in NETWORK} == {key: HEADLINE.get(key) for key in NETWORK}
        assert "accuracy" not in row and "macs_executed" not in row
        assert row["scored_inputs"] is True and row["data_digest"] == "89abcdef" and row["when"].endswith("Z")
    elsewhere = record.rows(of_a_run(routed, folder=folder, row=HEADLINE), 0)[0]
    assert elsewhere["scored_inputs"] is False and "data_digest" not in elsewhere
    assert "scored_inputs" not in record.rows(routed, 0)[0]


def test_raw_times_and_conditions_stand_beside_the_rows(routed, tmp_path):
    destination = write(routed, RunFolder(tmp_path))
    raw = pd.read_csv(destination.rows.with_suffix(".csv"))
    names = {"sparse", "masked", "rival", "imposed", "random", "probe gater", "probe expert 0", "probe expert 1"}
    assert set(raw["subject"]) == names and set(raw["batch_size"]) == set(raw["threads"]) == {1}
    assert len(raw) == (len(names) - 1) * 5 * 32 and raw["seconds"].gt(0).all()  # an input runs one expert
    assert set(raw.loc[raw["subject"] == "sparse", "macs"]) == {25, 105} and set(raw.loc[raw["subject"] == "rival", "macs"]) == {100}
    (conditions,) = json.loads(destination.rows.with_suffix(".json").read_text())["sessions"]
    assert conditions["clock"]["name"] == "made up" and conditions["executions"] == ["sparse", "masked"] and conditions["mean"] == [0.5] * 3


def test_a_session_that_was_broken_off_says_so_and_replaces_nothing(routed, tmp_path):
    first = write(routed, RunFolder(tmp_path))
    before = first.rows.read_bytes()
    second = write(replace(routed, times=replace(routed.times, interrupted=True)), RunFolder(tmp_path))
    assert first.rows.read_bytes() == before and second.rows.name.endswith("Z-2.jsonl")
    assert all(json.loads(line)["interrupted"] for line in second.rows.read_text().splitlines())


def _write_many(path):
    session.clock_for = record.clock_for = lambda device: Spent()
    measured = run(Router())
    for _ in range(10):
        write(measured, RunFolder(path))


def test_two_processes_that_time_one_run_at_the_same_time_lose_nothing(tmp_path):
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_write_many, [tmp_path] * 2))
    files = list((tmp_path / "times").glob("*.jsonl"))
    assert len(files) == 20 and all(len(file.read_text().splitlines()) == 2 for file in files)
    assert len(list((tmp_path / "times").iterdir())) == 60


def test_a_name_of_which_nothing_was_measured_is_given_back(tmp_path):
    destination = record.reserve(RunFolder(tmp_path), "machine", datetime(2026, 1, 1, tzinfo=timezone.utc))
    assert list((tmp_path / "times").iterdir())
    destination.release()
    assert not list((tmp_path / "times").iterdir())


def test_what_a_killed_timing_left_goes_with_the_next_one_of_that_machine(routed, tmp_path):
    whole = write(routed, RunFolder(tmp_path))
    others = record.reserve(RunFolder(tmp_path), "another machine", datetime(2026, 1, 2, tzinfo=timezone.utc))
    kept = set((tmp_path / "times").iterdir())
    record.reserve(RunFolder(tmp_path), "A Machine; 2 cores", datetime(2026, 1, 2, tzinfo=timezone.utc))
    for name in ("a-machine-2-cores-20260102T000000Z.csv", ".a-machine-2-cores-20260102T000000Z.jsonl.writing-1"):
        (tmp_path / "times" / name).touch()
    next_one = record.reserve(RunFolder(tmp_path), "A Machine; 2 cores", datetime(2026, 1, 3, tzinfo=timezone.utc))
    assert set((tmp_path / "times").iterdir()) - kept == {next_one.rows.with_suffix(".json")}
    assert whole.rows in kept and others.rows.with_suffix(".json") in kept and kept < set((tmp_path / "times").iterdir())
