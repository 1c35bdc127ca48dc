"""What a run or a timing comes to: sentences, and the picture of three bars."""

import numpy as np
import pytest
from matplotlib.image import imread

from gatebench.report import bars, verdict
from gatebench.report.groups import Group
from gatebench.report.results import Run
from gatebench.row import Column

TIMED = {
    "network": "cosinegate predictive", "rival": "its static twin", "execution": "sparse", "batch_size": 1, "timed_claimed_pct": 20.2,
    "timed_saving_pct": 20.6, "latency_ms": 1.634, "latency_ms_low": 1.58, "latency_ms_high": 1.75, "rival_ms": 1.947,
    "latency_p50": 1.585, "latency_p90": 1.883, "speedup": 1.1918, "speedup_low": 1.171, "speedup_high": 1.2131,
    "machine": "a machine", "device": "cpu", "runtime": "torch", "threads": 1,
}  # fmt: skip
RUN = {
    "model": "cgt", "recipe": "hard", "dataset": "fashion-mnist", "split": "test", "adaptive": True, "accuracy": 92.69,
    "accuracy_low": 92.16, "accuracy_high": 93.18, "skip_pct": 54.0, "macs_ratio": 0.4,
}  # fmt: skip


def test_a_saving_is_said_as_it_is_claimed_executed_and_realised():
    assert verdict.timed(TIMED) == (
        "cosinegate predictive claims 20 %, executes 21 % less, and is 1.19x as fast as its static twin (1.95 -> 1.63 ms; 1.17 to 1.21)."
        " Half of the inputs take 1.58 ms or less, one in ten 1.88 ms or more."
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"speedup": 0.59, "speedup_low": 0.583, "speedup_high": 0.594}, "is slower, 0.59x as fast as its static twin (1.95 -> 1.63 ms;"),
        ({"speedup": 1.0, "speedup_low": 0.993, "speedup_high": 1.008}, "takes as long as its static twin (1.95 -> 1.63 ms; 0.993 to"),
        ({"speedup_low": 0.97, "speedup_high": 1.4, "repeats_needed": 90}, "may be faster or slower than its static twin"),
        ({"timed_saving_pct": -0.64}, "executes 0.6 % more, and is"),
        ({"timed_saving_pct": 0.01, "timed_claimed_pct": 0.0}, "claims nothing, executes as much, and is"),
        ({"latency_p90": 1.6}, "1.17 to 1.21)."),
        ({"batch_size": 64}, "1.17 to 1.21)."),
        ({"busy": True, "waited_pct": 40.0}, "The machine was busy, so time it again."),
        ({"speedup": 12.34, "speedup_low": 11.9, "speedup_high": 12.9}, "12.3x as fast"),
    ],
)
def test_each_outcome_has_its_own_words(changes, said):
    assert said in verdict.timed({**TIMED, **changes})


@pytest.mark.parametrize("changes", [{"latency_p90": 1.6}, {"batch_size": 64}])
def test_inputs_that_take_equally_long_are_not_told_apart(changes):
    assert "Half of the inputs" not in verdict.timed({**TIMED, **changes})


def test_what_is_not_counted_is_said_and_not_guessed():
    row = {key: value for key, value in TIMED.items() if key != "timed_saving_pct"}
    assert "executes MACs that are not counted" in verdict.timed({**row, "uncounted": ["fft"]})


def test_the_times_of_inputs_seen_before_are_not_taken_for_those_of_new_ones():
    row = {key: value for key, value in TIMED.items() if not key.startswith("timed_")} | {"uncounted": ["work"], "seen_before": True}
    said = "executes MACs that are not counted and on inputs that it has seen before is 1.19x as fast as its static twin"
    assert said in verdict.timed(row) and "seen before" not in verdict.timed({**row, "seen_before": False})
    alone = {key: row[key] for key in ("network", "batch_size", "latency_ms", "latency_ms_low", "latency_ms_high", "seen_before")}
    assert verdict.timed(alone) == "cosinegate predictive on inputs that it has seen before takes 1.63 ms (1.58 to 1.75)."


def test_a_network_that_is_compared_with_nothing_has_a_time_alone():
    row = {key: TIMED[key] for key in ("network", "batch_size", "latency_ms", "latency_ms_low", "latency_ms_high")}
    assert verdict.timed(row) == "cosinegate predictive takes 1.63 ms (1.58 to 1.75)."


def test_what_deciding_is_worth_follows_the_speed_up_and_a_busy_machine_comes_last():
    gain = {"adaptivity_gain": 0.05, "adaptivity_gain_low": -0.3, "adaptivity_gain_high": 0.4}
    said = verdict.timed({**TIMED, **gain, "busy": True})
    assert "1.17 to 1.21). Yet fixed decisions" in said and said.endswith("The machine was busy, so time it again.")


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ((0.05, -0.3, 0.4), "Yet fixed decisions for all inputs do as well at equal MACs (+0.05 points, -0.30 to +0.40)."),
        ((2.07, 1.7, 2.4), "Deciding per input gains accuracy over fixed decisions"),
        ((-2.07, -2.4, -1.7), "Deciding per input loses accuracy to fixed decisions"),
        ((3.0, -0.5, 6.5), "Whether deciding per input is worth anything is open (+3.00 points, -0.50 to +6.50 over fixed decisions"),
        ((0.0, None, None), "Deciding per input is worth nothing"),
        ((1.5, None, None), "Deciding per input is worth +1.50 points over fixed decisions"),
    ],
)
def test_what_deciding_per_input_is_worth(gain, said):
    columns = {key: value for key, value in zip(("adaptivity_gain", "adaptivity_gain_low", "adaptivity_gain_high"), gain, strict=True)}
    row = {key: value for key, value in columns.items() if value is not None}
    assert verdict.gain_of({**RUN, **row}) == row
    assert said in verdict.timed({**TIMED, **row}) and said in verdict.trained({**RUN, **row}, [])


def test_a_trained_run_says_whether_hard_inputs_get_more():
    bins = [{"by": "difficulty", "group": name, "inputs": 400, "macs_executed": macs} for name, macs in (("0-0.2", 2e6), ("0.8-1", 3e6))]
    start = "cgt hard reaches 92.69 % (92.16 to 93.18) on fashion-mnist (test), claims 54 %, and executes 60 % less."
    assert verdict.trained(RUN, bins) == f"{start} The hardest inputs get 1.50 times the MACs of the easiest."
    assert verdict.trained(RUN, bins[::-1]) == f"{start} Hard inputs get less work than easy ones."
    assert verdict.trained(RUN, [bins[0], bins[0]]) == f"{start} Hard inputs get about as much work as easy ones."
    assert verdict.trained(RUN, [{"by": "class", "group": "cat", "inputs": 9, "macs_executed": 1.0}]) == start
    assert verdict.trained(RUN, [bins[0], {**bins[1], "inputs": 3}]) == start, "three inputs say nothing"
    assert "decides nothing" in verdict.trained({**RUN, "adaptive": False}, bins)


def test_bars_are_savings_over_the_twin_and_only_of_one_place():
    masked, elsewhere = {**TIMED, "execution": "masked"}, {**TIMED, "threads": 2, "network": "other"}
    places = bars.savings([TIMED, masked, elsewhere, {key: TIMED[key] for key in TIMED if not key.startswith("speedup")}])
    assert [[each.label for each in members] for members in places.values()] == [["cosinegate predictive"], ["other"]]
    (only,) = places["a machine; cpu, torch, 1 thread, batch 1"]
    assert (only.claimed, only.executed) == (20.2, 20.6) and only.realised == pytest.approx(100 * (1 - 1 / 1.1918))
    assert only.realised_low == pytest.approx(14.6, abs=0.05) and only.realised_high == pytest.approx(17.6, abs=0.05)


@pytest.mark.parametrize(
    ("speedup", "said"),
    [
        ((1.19, 1.17, 1.21), "cosinegate predictive claims 20 %, saves 16 % of the time"),
        ((0.5, 0.49, 0.51), "cosinegate predictive claims 20 %, takes 100 % more time"),
        ((1.0, 0.99, 1.01), "cosinegate predictive claims 20 %, may save time or not"),
    ],
)
def test_the_title_says_what_the_picture_shows(speedup, said):
    row = {**TIMED, **dict(zip(("speedup", "speedup_low", "speedup_high"), speedup, strict=True))}
    (members,) = bars.savings([row]).values()
    assert bars.message(members) == said
    assert bars.message([*members, *members]).startswith(("2 of 2 networks save time, 0", "0 of 2 networks save time, 2", "0 of 2"))


def test_the_picture_draws_three_bars_for_each_network_and_nothing_where_there_is_no_speed_up(tmp_path):
    rows = [TIMED, {**TIMED, "network": "worse", "speedup": 0.3, "speedup_low": 0.29, "speedup_high": 0.31}]
    (axes,) = bars.figure(bars.savings(rows)).axes
    widths = [patch.get_width() for patch in axes.patches]
    assert len(widths) == 6 and min(widths) == bars.LEAST and {round(each, 1) for each in widths} >= {20.2, 20.6, 16.1}
    assert "... -233 %" in {text.get_text() for text in axes.texts}, "a bar that is cut says how long it is"
    picture = imread(bars.write(rows, tmp_path))
    assert picture.shape[0] > 300 and len(np.unique(picture[..., :3].reshape(-1, 3), axis=0)) > 10
    assert bars.write([{**TIMED, "execution": "masked"}], tmp_path / "none") is None and not (tmp_path / "none").exists()


def points(*rows):
    """Operating points of a sweep, each of one seed."""
    column = Column(name="tradeoff", kind="number", meaning="what is traded", heading="lambda")
    runs = [Run(None, [row], [], (column,)) for row in rows]
    return [Group([run], [run.headline], tradeoffs=(run.headline["tradeoff"],)) for run in runs]


def test_a_sweep_names_the_cheapest_point_that_is_as_good_as_the_best():
    dear = {"tradeoff": 1.0, "accuracy": 77.3, "macs_executed": 9e8, "macs_ratio": 0.96}
    cheap = {"tradeoff": 0.8, "accuracy": 76.4, "macs_executed": 6e8, "macs_ratio": 0.65}
    worse = {"tradeoff": 0.5, "accuracy": 61.0, "macs_executed": 3e8, "macs_ratio": 0.3}
    said = "lambda 0.8 reaches 76.40 % and executes 35 % less. Nothing is more accurate than lambda 1, at 77.30 %."
    assert verdict.swept(points(dear, cheap, worse)) == said
    assert verdict.swept(points(dear)) == "lambda 1 reaches 77.30 % and executes 4.0 % less."
    times = [{"latency_ms": ms, "speedup": 20 / ms, "speedup_low": 19 / ms, "speedup_high": 21 / ms, "rival": "lite2 alone"}
             for ms in (15.0, 16.0, 7.0)]  # fmt: skip
    timed = [row | time for row, time in zip((dear, cheap, worse), times, strict=True)]
    said = "lambda 1 reaches 77.30 %, executes 4.0 % less, and is 1.33x as fast as lite2 alone (1.27 to 1.40)."
    assert verdict.swept(points(*timed)).startswith(said)
    for row in timed:
        row |= {"speedup": 1.016, "speedup_low": 0.91, "speedup_high": 1.12}
    assert "may be faster or slower than lite2 alone (0.91 to 1.12)" in verdict.swept(points(*timed))
    gain = {"adaptivity_gain": 2.0, "adaptivity_gain_low": 1.5, "adaptivity_gain_high": 2.5}
    said = verdict.swept(points({**timed[0], **gain, "rival_ms": 15.2}))
    assert "lite2 alone (15.2 -> 15.0 ms; 0.91 to 1.12). Deciding per input gains accuracy over fixed decisions" in said
