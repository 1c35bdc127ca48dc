"""Gates beside static networks that were trained as long: with numbers that were computed by hand."""

import json
from math import hypot

import pytest
from test_report import declare, lines_of, write_run

from gatebench.measure.statistics import Estimate
from gatebench.report.beside_static import Frontier, Spot, beside_static_sheet, combined
from gatebench.report.document import Report
from gatebench.report.groups import groups
from gatebench.report.results import read_runs
from gatebench.row import Column


def network(path, name, accuracy, macs, ms=None, seed=0, parents=None, **changes):
    """A run with an interval of half a point to both sides, timed at `ms` to a tenth of a millisecond."""
    row = {"model": name, "recipe": "default", "digest": name, "seed": seed, "accuracy": accuracy, "accuracy_low": accuracy - 0.5,
           "accuracy_high": accuracy + 0.5, "macs_executed": 1e6 * macs}  # fmt: skip
    gates = {} if changes.get("adaptive", True) else dict.fromkeys(("mean_gate_soft", "mean_gate_hard", "skip_pct"))
    times = [{"latency_ms": ms, "latency_ms_low": ms - 0.1, "latency_ms_high": ms + 0.1}] if ms else []
    own = {"parents": list(parents.values())} if parents else {}
    run = write_run(path / f"{name}-{seed}", times, **{**row, **gates, **own, **changes})
    (run / "identity.json").write_text(json.dumps({"digest": name, "parents": parents or {}}))


def static(path, name, accuracy, macs, ms=None, **changes):
    network(path, name, accuracy, macs, ms, adaptive=False, **changes)


def sheet_of(path):
    runs, left_out = read_runs(path)
    assert not left_out
    return beside_static_sheet(runs, groups(runs))


@pytest.fixture
def results(tmp_path):
    """A gate between two static networks, one of which is timed elsewhere too; a third static network lies below their chord."""
    static(tmp_path, "resnet14", 80.0, 20, 1.0)
    static(tmp_path, "resnet20", 90.0, 40, 3.0)
    static(tmp_path, "resnet17", 84.0, 30, 2.0)
    network(tmp_path, "skipnet", 88.0, 25, 2.0)
    return tmp_path


def test_a_sum_of_estimates_has_the_intervals_of_its_parts_as_independent():
    total = combined([(1.0, Estimate(80, 79, 82)), (-0.5, Estimate(70, 66, 72))])
    assert total.value == 45
    assert (total.low, total.high) == pytest.approx((45 - hypot(1, 0.5 * 2), 45 + hypot(2, 0.5 * 4)))


def test_a_gate_is_compared_with_a_random_mix_of_two_static_networks_at_equal_cost(results):
    """At 25 of 20 to 40 million MACs a quarter gets the dearer one: 82.5 %. At 2 of 1 to 3 ms a half does: 85 %, and 5 points a ms."""
    (line,) = sheet_of(results).records
    assert line["static_mix"] == "75 % resnet14 default, 25 % resnet20 default"
    half = hypot(0.5, 0.75 * 0.5, 0.25 * 0.5)
    assert [line[f"static_gain{end}"] for end in ("", "_low", "_high")] == pytest.approx([5.5, 5.5 - half, 5.5 + half])
    half = hypot(0.5, 0.5 * 0.5, 0.5 * 0.5, 5 * 0.1, 0.5 * 5 * 0.1, 0.5 * 5 * 0.1)
    assert [line[f"static_gain_latency{end}"] for end in ("", "_low", "_high")] == pytest.approx([3, 3 - half, 3 + half])
    assert "beside-static" in [sheet.name for sheet in Report(read_runs(results)[0]).sheets]


def test_beyond_the_dearest_static_network_it_stands_itself_and_below_the_cheapest_nothing():
    frontier = Frontier([Spot(f"at {x}", Estimate(y, y - 1, y + 1), Estimate(x, x, x)) for x, y in ((2, 80.0), (4, 90.0), (3, 89.0))])
    assert [each.label for each in frontier.corners] == ["at 2", "at 3", "at 4"]

    def gain(x):
        return frontier.gain(Spot("", Estimate(85, 85, 85), Estimate(x, x, x)))

    assert gain(1.9) is None
    assert [gain(x).value for x in (2, 2.5, 3.5, 4, 9)] == pytest.approx([5, 0.5, -4.5, -5, -5])
    assert gain(9).high == pytest.approx(-4)


COUNTS = {
    "blocks chosen once": ({"model": "fixed-blocks", "recipe": "retrained"}, True),
    "gates": ({"adaptive": True}, False),
    "not trained as long": ({"epochs": 0}, False),
    "another schedule": ({"schedule": "constant 0.1"}, False),
    "other data": ({"dataset": "cifar100"}, False),
    "another part": ({"split": "validation"}, False),
    "images of one severity": ({"severity": "noise 3"}, False),
    "went on from other weights": ({"parents": {"weights": "resnet14-0"}}, False),
    "went on from weights that are gone": ({"parents": {"weights": "gone-0"}}, False),
}


@pytest.mark.parametrize("case", COUNTS)
def test_who_counts_as_a_static_network(results, case):
    """One at 25 million MACs and 99 % would turn the gain of 5.5 points into a loss of 11."""
    changes, counts = COUNTS[case]
    network(results, "other", 99.0, 25, **{"adaptive": False, **changes})
    (line,) = [line for line in sheet_of(results).records if line["network"] == "skipnet default"]
    assert line["static_gain"] == pytest.approx(-11 if counts else 5.5)


def test_what_does_not_compare_is_left_empty_and_what_leaves_nothing_out_has_no_line(results):
    network(results, "cheap", 88.0, 19, 0.9)
    network(results, "slow", 70.0, 25, 3.5)
    network(results, "elsewhere", 60.0, 25)
    network(results, "idle", 88.0, 25, 2.0, skip_pct=0.0)
    (results / "elsewhere-0" / "times").mkdir()
    times = {**json.loads((results / "slow-0" / "times" / "desk.jsonl").read_text()), "batch_size": 64}
    for name in ("slow", "resnet14"):
        own = {**times, "model": name, "digest": name}
        (results / f"{name}-0" / "times" / "batch.jsonl").write_text(json.dumps(own) + "\n")
    for place in ({"machine": "rack, 64 cores"}, {"threads": 2}, {"batch_size": 64}, {"execution": "masked"}, {"scored_inputs": False}):
        own = {**times, "batch_size": 1, "model": "elsewhere", "digest": "elsewhere", **place}
        (results / "elsewhere-0" / "times" / f"{'-'.join(place)}.jsonl").write_text(json.dumps(own) + "\n")
    lines = {line["network"].removesuffix(" default"): line for line in lines_of(sheet_of(results))}
    assert list(lines) == ["skipnet", "slow", "elsewhere", "cheap"]  # the largest gain first
    assert lines["cheap"]["static_gain"] == lines["cheap"]["static_gain_latency"] == "-" and lines["cheap"]["latency_ms"] == "0.90"
    assert lines["slow"]["static_gain_latency"].startswith("-20.00")
    assert lines["elsewhere"]["static_gain"].startswith("-22.50") and lines["elsewhere"]["latency_ms"] == "-"
    for name in ("resnet14", "resnet17", "resnet20"):
        (results / f"{name}-0" / "summary.json").unlink()
    runs, _ = read_runs(results)
    assert beside_static_sheet(runs, groups(runs)) is None


def test_lines_are_of_the_headline_s_way_at_each_trade_off_on_all_images(results):
    network(results, "exits", 85.0, 25, policy="one", way="one", tradeoff=0.5)
    network(results, "noisy", 70.0, 20, adaptive=False, severity="noise 3")
    static(results, "decided", 84.0, 25, parents={"network": "exits-0"})
    rows = results / "exits-0" / "rows.jsonl"
    row = json.loads(rows.read_text())
    others = [{"tradeoff": 0.8, "accuracy": 86.0}, {"policy": "many", "way": "many"}, {"severity": "noise 3"}]
    rows.write_text("".join(json.dumps({**row, **each}) + "\n" for each in ({}, *others)))
    declare(results / "exits-0", Column(name="way", kind="text", meaning="how", heading="way", names_policy=True))
    lines = [line for line in lines_of(sheet_of(results)) if line["network"].startswith("exits")]
    assert [line["network"] for line in lines] == ["exits default, budget 80 %", "exits default, budget 50 %, one"]
    assert [line["retrained_gain"][:5] for line in lines] == ["-", "+1.00"]  # the blocks are those of the headline


def test_a_network_that_went_on_from_other_weights_stands_beside_those_trained_as_these_were(results):
    network(results, "hrl", 89.0, 25, epochs=3, schedule="constant 1e-4", parents={"weights": "skipnet-0"})
    network(results, "lost", 89.0, 25, epochs=3, schedule="constant 1e-4", parents={"weights": "gone-0"})
    network(results, "joint", 87.0, 25, epochs=5, schedule="constant 1e-3", parents={"weights": "hrl-0"})
    lines = {line["network"]: line for line in lines_of(sheet_of(results))}
    assert {name: line["epochs"] for name, line in lines.items()} == {
        "hrl default": "160 + 3", "skipnet default": "160", "joint default": "160 + 3 + 5",
    }  # fmt: skip
    assert lines["hrl default"]["static_gain"].startswith("+6.50")
    assert sheet_of(results).records[0]["epochs"] == 163
    network(results, "moved", 87.0, 25, epochs=5, schedule="constant 1e-3", parents={"weights": "hrl-0"}, dataset="cifar100")
    assert "moved default" not in [line["network"] for line in lines_of(sheet_of(results))]  # first weights or not, its data are others


def test_its_own_blocks_retrained_are_found_by_their_parent(results):
    static(results, "fixed-blocks", 86.5, 24, parents={"network": "skipnet-0"})
    (line,) = sheet_of(results).records
    half = hypot(0.5, 0.5)
    assert [line[f"retrained_gain{end}"] for end in ("", "_low", "_high")] == pytest.approx([1.5, 1.5 - half, 1.5 + half])
    assert line["retrained_macs"] == 24e6
    network(results, "skipnet", 89.0, 25, seed=1)
    static(results, "fixed-blocks", 88.5, 24, seed=1, parents={"network": "skipnet-1"})
    (line,) = sheet_of(results).records
    half = 12.7062 * 0.5  # Student's, one degree of freedom; the differences are 1.5 and 0.5, so their standard error is 0.5
    assert [line[f"retrained_gain{end}"] for end in ("", "_low", "_high")] == pytest.approx([1.0, 1 - half, 1 + half], rel=1e-4)


def test_blocks_that_cost_less_are_mixed_with_the_static_twin(results):
    """At 25 of 24 to 40 million MACs one input of 16 runs through the twin: 86.72 %."""
    static(results, "fixed-blocks", 86.5, 24, parents={"network": "skipnet-0"})
    static(results, "twin", 90.0, 40, macs_ratio=1.0)
    (line,) = sheet_of(results).records
    gain, half = 88 - (15 * 86.5 + 90) / 16, hypot(0.5, 15 / 16 * 0.5, 1 / 16 * 0.5)
    assert [line[f"retrained_gain{end}"] for end in ("", "_low", "_high")] == pytest.approx([gain, gain - half, gain + half])
    assert line["retrained_macs"] == 24e6


def test_what_executes_as_much_as_its_static_twin_has_that_as_its_rival(results):
    static(results, "twin", 90.0, 40, macs_ratio=1.0)
    network(results, "late", 88.5, 41)
    (line,) = [line for line in sheet_of(results).records if line["network"] == "late default"]
    half = hypot(0.5, 0.5)
    assert [line[f"retrained_gain{end}"] for end in ("", "_low", "_high")] == pytest.approx([-1.5, -1.5 - half, -1.5 + half])
    assert line["retrained_macs"] == 40e6
    static(results, "fixed-blocks", 92.0, 24, parents={"network": "late-0"})
    (line,) = [line for line in sheet_of(results).records if line["network"] == "late default"]
    assert line["retrained_gain"] == -3.5


@pytest.mark.parametrize(("second", "gain"), [(40, -1.5), (39, None)])
def test_all_seeds_must_execute_as_much_as_the_twin(results, second, gain):
    static(results, "twin", 90.0, 40, macs_ratio=1.0)
    network(results, "late", 88.5, 40)
    network(results, "late", 88.5, second, seed=1)
    (line,) = [line for line in sheet_of(results).records if line["network"] == "late default"]
    assert line.get("retrained_gain") == gain


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("b", "a")])
def test_of_several_static_twins_that_with_most_seeds_then_the_most_accurate_is_the_rival(results, first, second):
    static(results, first, 91.0, 40, macs_ratio=1.0)
    static(results, second, 90.0, 40, macs_ratio=1.0)
    network(results, "late", 88.5, 41)
    (line,) = [line for line in sheet_of(results).records if line["network"] == "late default"]
    assert line["retrained_gain"] == -2.5
    static(results, second, 90.0, 40, macs_ratio=1.0, seed=1)
    (line,) = [line for line in sheet_of(results).records if line["network"] == "late default"]
    assert line["retrained_gain"] == -1.5


@pytest.mark.parametrize("accuracies", [(85.0, 86.5), (86.5, 85.0)])
def test_of_several_networks_of_its_own_blocks_the_most_accurate_is_the_rival(results, accuracies):
    for name, accuracy in zip(("decided", "searched"), accuracies, strict=True):
        static(results, name, accuracy, accuracy - 60, parents={"network": "skipnet-0"})
    (line,) = sheet_of(results).records
    assert line["retrained_gain"] == 1.5 and line["retrained_macs"] == 26.5e6


def test_of_one_that_was_retrained_with_several_seeds_its_own_seed_counts_and_more_seeds_count_before_accuracy(results):
    network(results, "skipnet", 89.0, 25, seed=1)
    for seed, parent, accuracy in ((0, 0, 86.0), (1, 1, 86.0), (2, 0, 87.0), (3, 1, 87.0)):
        static(results, "decided", accuracy, 24, seed=seed, parents={"network": f"skipnet-{parent}"})
    static(results, "searched", 87.9, 24, parents={"network": "skipnet-0"})
    (line,) = sheet_of(results).records
    assert line["retrained_gain"] == 2.5, "over 2 and 3 points, of seeds 0 and 1"


@pytest.mark.parametrize(
    "changes",
    [{"parents": {"network": "skipnet-0-of-another-digest"}}, {"parents": {"teacher": "skipnet-0"}}, {"epochs": 0}],
    ids=["absent", "taught by it", "same weights"],
)
def test_blocks_of_another_network_and_such_that_were_not_retrained_are_no_rivals_of_its_own(results, changes):
    static(results, "fixed-blocks", 86.5, 24, **{"parents": {"network": "skipnet-0"}, **changes})
    assert all("retrained_gain" not in line for line in sheet_of(results).records)


def test_parents_made_to_mislead_break_nothing(results):
    for name, parents in (("first", {"weights": "second-0"}), ("second", {"weights": "first-0"}), ("third", {"weights": "first-0"})):
        network(results, name, 88.0, 25, parents=parents)
    (results / "third-0" / "identity.json").write_text('{"parents": {"weights": ["first-0"]}}')
    assert [line["epochs"] for line in lines_of(sheet_of(results)) if line["network"] == "third default"] == ["160"]
