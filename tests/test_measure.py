"""Clocks, protocol and statistics, on simulated machines whose truth is known."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatebench.measure import energy, statistics
from gatebench.measure.clock import CpuClock, overhead
from gatebench.measure.protocol import Subject, measure


class Simulated:
    """A clock that shows what the work says it took."""

    def seconds(self, work):
        return work()


def machine(seed, cost, noise=0.05, drift=0.1, spikes=0.02):
    """A subject's work: seconds for an input of known `cost(number)` on a machine with noise, drift and interruptions."""
    draw = np.random.default_rng(seed)
    state = {"level": 0.0}

    def work(number):
        state["level"] = 0.98 * state["level"] + drift * 0.2 * draw.standard_normal()
        spike = 5.0 if draw.random() < spikes else 0.0
        return cost(number) * float(np.exp(state["level"] * 0.1 + noise * draw.standard_normal())) * (1 + spike)

    return work


def times(costs, seed=0, inputs=32, rounds=15):
    """Subjects of these costs, timed on one simulated machine."""
    shared = machine(seed, lambda cost: cost)
    subjects = [Subject(str(index), lambda number, cost=cost: shared(cost(number))) for index, cost in enumerate(costs)]
    return measure(subjects, inputs, Simulated(), rounds=rounds, max_seconds=60, seed=seed)


def flat(value):
    return lambda number: value


def test_a_network_against_itself_is_as_fast_as_itself():
    found = [times([flat(1e-3), flat(1e-3)], seed) for seed in range(25)]
    wrong = sum(statistics.speedup(each.of("0"), each.of("1")).excludes(1.0) for each in found)
    assert wrong <= 4  # one or two are expected of 25; more than 4 come about once in a hundred times


def test_five_percent_slower_is_found():
    found = [times([flat(1.05e-3), flat(1e-3)], seed) for seed in range(25)]
    assert all(statistics.speedup(each.of("0"), each.of("1")).low > 1.0 for each in found)


def effects(seed, by_round, by_input, rounds=20, inputs=20):
    """Two subjects equally fast on average over all rounds and inputs there could be, but not in each of them."""
    draw = np.random.default_rng(seed)
    logs = by_round * draw.standard_normal((rounds, 1)) + by_input * draw.standard_normal((1, inputs))
    logs += 0.01 * draw.standard_normal((rounds, inputs))
    return 1e-3 * np.exp(logs), np.full((rounds, inputs), 1e-3)


@pytest.mark.parametrize("by_round, by_input", [(0.05, 0.0), (0.0, 0.05), (0.05, 0.05)])
def test_intervals_know_of_rounds_and_of_inputs(by_round, by_input):
    """An interval that resampled only one of them would leave 1.0 out most of the time."""
    found = [statistics.speedup(*effects(seed, by_round, by_input)) for seed in range(40)]
    wrong = sum(each.excludes(1.0) for each in found)
    assert wrong <= 8  # 2 are expected of an exact interval, somewhat more with medians of twenty
    widths = np.mean([each.half_width for each in found])
    true = 1.96 * np.sqrt((np.pi / 2 * by_round**2 + by_input**2) / 20)
    assert 0.6 * true < widths < 1.6 * true  # and it is not merely wide


def test_the_half_width_is_told_apart_into_inputs_rounds_and_calls():
    inputs, rounds, calls = statistics.half_width_parts(*effects(0, 0.1, 0.0))
    assert rounds > 9 * (inputs + calls)
    inputs, rounds, calls = statistics.half_width_parts(*effects(0, 0.0, 0.1))
    assert inputs > 9 * (rounds + calls)
    single = 1e-3 * np.exp(0.3 * np.random.default_rng(0).standard_normal((2, 8, 16)))
    inputs, rounds, calls = statistics.half_width_parts(*single)
    assert calls > inputs + rounds


def test_realised_varies_with_time_and_macs_together():
    draw = np.random.default_rng(0)
    macs = draw.uniform(20, 80, 64)
    fast, slow = np.tile(1e-5 * macs, (6, 1)), np.full((6, 64), 1e-3)
    found = statistics.realised(slow, fast, np.full(64, 100.0), macs)
    assert found.value == pytest.approx(1) and found.low == pytest.approx(1) and found.high == pytest.approx(1)
    assert statistics.realised(slow, slow, np.full(64, 100.0), np.full(64, 99.5)) is None  # no saving, and no number for it


@pytest.mark.parametrize("price_of_deciding", [0.0, 0.3])
def test_a_saving_of_so_few_inputs_that_chance_decides_is_not_put_into_a_number(price_of_deciding):
    macs = np.full(128, 100.0 + price_of_deciding)
    macs[:2] = 10  # 1.4 % of the whole; a resample may hold neither
    seconds = np.tile(1e-5 * macs, (6, 1)) * np.random.default_rng(0).normal(1, 0.01, (6, 128))
    assert statistics.realised(np.full((6, 128), 1e-3), seconds, np.full(128, 100.0), macs) is None


def test_a_cost_of_the_inputs_is_attributed_to_the_inputs():
    planted = times([lambda number: 1e-3 * (1 + 0.3 * (number % 2))])
    plain = times([flat(1e-3)])
    found, none = statistics.spread(planted.of("0")), statistics.spread(plain.of("0"))
    assert found.inputs == pytest.approx(np.log(1.3) / 2, rel=0.25)
    assert none.inputs < 0.02


def test_a_slow_round_is_attributed_to_rounds_and_flagged():
    seconds = np.full((10, 20), 1e-3)
    seconds[3] *= 1.5
    assert statistics.spread(seconds).rounds > 10 * statistics.spread(seconds).inputs
    subject = Subject("s", lambda number: 1e-3)
    found = measure([subject], 20, Simulated(), rounds=10, max_seconds=60)
    found.seconds[0, 3] *= 1.5
    found.seconds[0, 7] *= 1.05  # as a machine without neighbours varies
    assert np.flatnonzero(found.noisy).tolist() == [3]


@given(st.lists(st.floats(1e-4, 1e-1), min_size=8, max_size=20), st.floats(0.2, 5))
@settings(max_examples=10, deadline=None)
def test_speedup_without_noise_is_the_ratio_of_the_totals(costs, factor):
    fast = np.tile(costs, (5, 1))
    slow = fast * factor
    slow[:, ::2] *= 1.5
    expected = sum(factor * cost * (1.5 if index % 2 == 0 else 1) for index, cost in enumerate(costs)) / sum(costs)
    assert statistics.speedup(slow, fast).value == pytest.approx(expected)


def test_one_interruption_moves_nothing():
    seconds = np.full((9, 12), 1e-3)
    seconds[4, 5] = 1.0
    assert statistics.mean_latency(seconds).value == pytest.approx(1e-3)
    assert statistics.speedup(seconds, np.full((9, 12), 1e-3)).value == pytest.approx(1.0)


def test_percentiles_are_withheld_where_there_are_too_few_inputs():
    seconds = np.random.default_rng(0).uniform(1, 2, (5, 700))
    assert statistics.percentile(seconds[:, :63], 90) is None and statistics.percentile(seconds[:, :661], 99) is None
    found = statistics.percentile(seconds, 99)
    assert found.value == pytest.approx(np.percentile(np.median(seconds, 0), 99)) and found.low <= found.value <= found.high


def test_the_cost_model_finds_planted_costs():
    draw = np.random.default_rng(0)
    shares, costs = draw.random((50, 4)), np.array([1e-3, 2e-3, 0.0, 5e-4])
    found = statistics.fit_cost(shares, 3e-3 + shares @ costs, np.ones(len(costs)))
    assert found.base == pytest.approx(3e-3) and found.units == pytest.approx(costs, abs=1e-9) and found.r2 == pytest.approx(1.0)


def test_a_cost_model_of_noise_explains_nothing():
    draw = np.random.default_rng(0)
    assert statistics.fit_cost(draw.random((8, 9)), draw.random(8), np.ones(9)) is None  # it would fit anything
    assert statistics.fit_cost(draw.random((60, 9)), draw.random(60), np.ones(9)).r2 < 0.1


def test_a_cost_model_of_exits_says_what_going_on_costs():
    """Segments and heads by turns: the first is always on, and a head goes with where an input leaves."""
    leaves = np.random.default_rng(0).choice(3, 60)
    shares = np.repeat(leaves[:, None] >= np.arange(3), 2, axis=1).astype(float)
    shares[:, 1::2] = leaves[:, None] == np.arange(3)
    seconds = np.array([1e-3, 3e-3, 7e-3])[leaves]
    found = statistics.fit_cost(shares, seconds, np.array([5.0, 1, 5, 1, 5, 1]))
    assert found.base == pytest.approx(1e-3) and found.r2 == pytest.approx(1)
    assert found.units == pytest.approx([np.nan, np.nan, 2e-3, np.nan, 4e-3, np.nan], nan_ok=True)


def test_every_subject_meets_every_input_once_a_round_and_groups_stay_together():
    seen = []

    class Noting(Simulated):
        def seconds(self, work):
            taken = work()
            seen.append(called[-1])  # what is timed, without the calls that are not counted
            return taken

    called = []
    subjects = [
        Subject(name + group, lambda number, name=name, group=group: called.append((group, name, number)) or 1e-3, group)
        for group in "123"
        for name in "ab"
    ]
    found = measure(subjects, 30, Noting(), rounds=6, max_seconds=60)
    assert found.seconds.shape == (6, 6, 30) and (found.seconds == 1e-3).all()
    rounds = found.warm_up_rounds + 6
    turns = found.warm_up_rounds + 6 - 1  # after the first round, of 10 inputs each: 0.01 s of calls of 1 ms
    assert len(called) == len(seen) + 6 * 3 * turns  # each begins with a call that is not counted
    assert len(seen) == rounds * 6 * 30
    assert all(seen.count((group, name, number)) == rounds for group in "123" for name in "ab" for number in range(30))
    one_by_one = [seen[start : start + 6] for start in range(0, 30 * 6, 6)]  # in the first round a turn is one input
    for turn in one_by_one:
        assert len({number for _, _, number in turn}) == 1
        assert all(first[0] == second[0] for first, second in zip(turn[::2], turn[1::2], strict=True))
    assert len({tuple(each[:2] for each in turn) for turn in one_by_one}) > 5  # groups in random order, and subjects in a group


def test_rounds_do_not_count_before_the_time_is_steady():
    calls = itertools.count()
    found = measure([Subject("s", lambda number: 1e-3 * (1 + 2 * 0.5 ** (next(calls) // 10)))], 10, Simulated(), rounds=5, max_seconds=60)
    assert found.warm_up_rounds > 3 and found.seconds.max() < 1.05e-3


def test_time_runs_out_after_five_rounds_at_least():
    found = measure([Subject("s", lambda number: 1e-3)], 8, Simulated(), rounds=1000, max_seconds=1e-9)
    assert found.seconds.shape[1] == 5


def test_interrupted_after_five_rounds_keeps_them():
    def stop(done):
        if done == 6:
            raise KeyboardInterrupt

    subjects = [Subject("s", lambda number: 1e-3)]
    found = measure(subjects, 8, Simulated(), rounds=100, max_seconds=60, after_round=stop)
    assert found.interrupted and found.seconds.shape[1] == 6
    with pytest.raises(KeyboardInterrupt):
        measure(subjects, 8, Simulated(), rounds=100, max_seconds=60, after_round=lambda done: (_ for _ in ()).throw(KeyboardInterrupt))


def test_the_cpu_clock_says_what_it_costs():
    clock = CpuClock()
    assert 0 < clock.resolution <= 1e-6 and 0 <= overhead(clock) < 1e-4
    assert clock.seconds(lambda: sum(range(100_000))) > overhead(clock)


class Meter:
    """A counter that a work drives."""

    total = 0.0

    def joules(self):
        return self.total


def test_energy_of_a_call_is_that_of_the_work_alone():
    meter, calls = Meter(), []

    def work(joules):
        def spend(number):
            calls.append(number)
            meter.total += joules * (1 + number)

        return spend

    found = energy.joules_per_call([work(1.0), work(3.0)], 4, meter, rounds=3, seconds=0.0)
    assert found == pytest.approx(np.tile([2.5, 7.5], (3, 1)))  # the mean over calls 0 to 3
    assert len(calls) == 3 * 2 * 4


def test_the_processor_s_counter_is_summed_over_packages_and_wraps(tmp_path):
    def write(zone, **values):
        (tmp_path / zone).mkdir(exist_ok=True)
        for name, value in values.items():
            (tmp_path / zone / name).write_text(f"{value}\n")

    write("intel-rapl:0", energy_uj=9_000_000, max_energy_range_uj=10_000_000)
    write("intel-rapl:0:0", energy_uj=1, max_energy_range_uj=10)  # the cores, which the package's holds
    write("intel-rapl:1", energy_uj=0, max_energy_range_uj=10_000_000)
    counter = energy.CpuCounter(tmp_path)
    assert counter.joules() == 0
    write("intel-rapl:0", energy_uj=1_000_000)
    write("intel-rapl:1", energy_uj=500_000)
    assert counter.joules() == pytest.approx(2.5)
    for folder in (tmp_path / "none", tmp_path / "intel-rapl:0"):
        with pytest.raises(RuntimeError, match="has no counter"):
            energy.CpuCounter(folder)
