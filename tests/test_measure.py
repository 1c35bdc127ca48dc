"""Clocks, protocol and statistics, on simulated machines whose true times are given."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatebench.measure import energy, statistics
from gatebench.measure.clock import CpuClock, overhead
from gatebench.measure.machine import machine_name
from gatebench.measure.protocol import Subject, measure


class Simulated:
    """A clock that shows what the work says it took, on a processor that it never waits for."""

    computed = 0.0

    def seconds(self, work):
        taken = work()
        self.computed += taken
        return taken

    def moment(self):
        return self.computed, self.computed


def machine(seed, cost, noise=0.05, drift=0.1, spikes=0.02):
    """A subject's work: seconds for an input of `cost(number)` on a machine with noise, drift and interruptions."""
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
    trials = [times([flat(1e-3), flat(1e-3)], seed) for seed in range(8)]
    wrong = sum(statistics.speedup(each.of("0"), each.of("1")).excludes(1.0) for each in trials)
    assert wrong <= 2  # one in twenty is expected; more than 2 of 8 come about once in two hundred times


def test_five_percent_slower_is_measured_as_slower():
    trials = [times([flat(1.05e-3), flat(1e-3)], seed) for seed in range(10)]
    assert all(statistics.speedup(each.of("0"), each.of("1")).low > 1.0 for each in trials)


def effects(seed, by_round, by_input, rounds=20, inputs=20):
    """Two subjects equally fast on average over all rounds and inputs there could be, but not in each of them."""
    draw = np.random.default_rng(seed)
    logs = by_round * draw.standard_normal((rounds, 1)) + by_input * draw.standard_normal((1, inputs))
    logs += 0.01 * draw.standard_normal((rounds, inputs))
    return 1e-3 * np.exp(logs), np.full((rounds, inputs), 1e-3)


@pytest.mark.parametrize("by_round, by_input", [(0.05, 0.0), (0.0, 0.05), (0.05, 0.05)])
def test_intervals_hold_the_noise_of_rounds_and_of_inputs(by_round, by_input):
    """An interval that resampled only one of them would exclude 1.0 most of the time."""
    estimates = [statistics.speedup(*effects(seed, by_round, by_input)) for seed in range(40)]
    wrong = sum(each.excludes(1.0) for each in estimates)
    assert wrong <= 8  # 2 are expected of an exact interval, somewhat more with medians of twenty
    widths = np.mean([each.half_width for each in estimates])
    true = 1.96 * np.sqrt((np.pi / 2 * by_round**2 + by_input**2) / 20)
    assert 0.6 * true < widths < 1.6 * true  # and it is not merely wide


def test_the_half_width_has_parts_of_inputs_rounds_and_calls():
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
    realised = statistics.realised(slow, fast, np.full(64, 100.0), macs)
    assert [realised.low, realised.value, realised.high] == pytest.approx([1, 1, 1])
    assert statistics.realised(slow, slow, np.full(64, 100.0), np.full(64, 99.5)) is None  # no saving, and no number for it


@pytest.mark.parametrize("price_of_deciding", [0.0, 0.3])
def test_a_saving_of_so_few_inputs_that_chance_decides_is_not_put_into_a_number(price_of_deciding):
    macs = np.full(128, 100.0 + price_of_deciding)
    macs[:2] = 10  # 1.4 % of all MACs; a resample may hold neither
    seconds = np.tile(1e-5 * macs, (6, 1)) * np.random.default_rng(0).normal(1, 0.01, (6, 128))
    assert statistics.realised(np.full((6, 128), 1e-3), seconds, np.full(128, 100.0), macs) is None


def test_a_cost_of_the_inputs_is_attributed_to_the_inputs():
    planted = times([lambda number: 1e-3 * (1 + 0.3 * (number % 2))])
    plain = times([flat(1e-3)])
    with_cost, none = statistics.spread(planted.of("0")), statistics.spread(plain.of("0"))
    assert with_cost.inputs == pytest.approx(np.log(1.3) / 2, rel=0.25)
    assert none.inputs < 0.02


def test_a_slow_round_is_attributed_to_rounds_and_flagged():
    seconds = np.full((10, 20), 1e-3)
    seconds[3] *= 1.5
    assert statistics.spread(seconds).rounds > 10 * statistics.spread(seconds).inputs
    subject = Subject("s", lambda number: 1e-3)
    measured = measure([subject], 20, Simulated(), rounds=10, max_seconds=60)
    measured.seconds[0, 3] *= 1.5
    measured.seconds[0, 7] *= 1.05  # as an undisturbed machine varies
    assert np.flatnonzero(measured.noisy).tolist() == [3]


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


def test_times_are_above_0_however_few_there_are():
    seconds = 1e-3 * np.array([1, 1, 1, 1, 1, 9, 30, 80]) * np.exp(0.3 * np.random.default_rng(0).standard_normal((5, 8)))
    flat = np.full((5, 8), 1e-3)
    for each in (statistics.percentile(seconds, 50), statistics.mean_latency(seconds), statistics.speedup(flat, seconds)):
        assert 0 < each.low < each.value < each.high
    realised = statistics.realised(seconds, seconds * (1 + 1e-3), np.full(8, 100.0), np.full(8, 50.0))
    assert realised.low <= realised.value < 0, "a share of a saving may be negative"


def test_percentiles_are_withheld_where_there_are_too_few_inputs():
    seconds = np.random.default_rng(0).uniform(1, 2, (5, 700))
    assert statistics.percentile(seconds[:, :63], 90) is None and statistics.percentile(seconds[:, :661], 99) is None
    high = statistics.percentile(seconds, 99)
    assert high.value == pytest.approx(np.percentile(np.median(seconds, 0), 99)) and high.low <= high.value <= high.high


def test_the_cost_model_finds_planted_costs():
    draw = np.random.default_rng(0)
    shares, costs = draw.random((50, 4)), np.array([1e-3, 2e-3, 0.0, 5e-4])
    fitted = statistics.fit_cost(shares, 3e-3 + shares @ costs, np.ones(len(costs)))
    assert fitted.base == pytest.approx(3e-3) and fitted.units == pytest.approx(costs, abs=1e-9) and fitted.r2 == pytest.approx(1.0)


def test_a_cost_model_of_noise_explains_nothing():
    draw = np.random.default_rng(0)
    assert statistics.fit_cost(draw.random((8, 9)), draw.random(8), np.ones(9)) is None  # it would fit anything
    assert statistics.fit_cost(draw.random((60, 9)), draw.random(60), np.ones(9)).r2 < 0.1


def test_units_that_switch_together_share_one_cost():
    """Segments and heads in turn, as in networks with exits: the first segment is always on, a head only where an input leaves."""
    leaves = np.random.default_rng(0).choice(3, 60)
    shares = np.repeat(leaves[:, None] >= np.arange(3), 2, axis=1).astype(float)
    shares[:, 1::2] = leaves[:, None] == np.arange(3)
    seconds = np.array([1e-3, 3e-3, 7e-3])[leaves]
    fitted = statistics.fit_cost(shares, seconds, np.array([5.0, 1, 5, 1, 5, 1]))
    assert fitted.base == pytest.approx(1e-3) and fitted.r2 == pytest.approx(1)
    assert fitted.units == pytest.approx([np.nan, np.nan, 2e-3, np.nan, 4e-3, np.nan], nan_ok=True)


def test_every_subject_meets_every_input_once_a_round_and_groups_stay_together():
    seen = []

    class Noting(Simulated):
        def seconds(self, work):
            taken = super().seconds(work)
            seen.append(called[-1])  # what is timed, without the calls that are not counted
            return taken

    called = []
    subjects = [
        Subject(name + group, lambda number, name=name, group=group: called.append((group, name, number)) or 1e-3, group)
        for group in "123"
        for name in "ab"
    ]
    measured = measure(subjects, 30, Noting(), rounds=6, max_seconds=60)
    assert measured.seconds.shape == (6, 6, 30) and (measured.seconds == 1e-3).all()
    rounds = measured.warm_up_rounds + 6
    turns = measured.warm_up_rounds + 6 - 1  # after the first round, of 10 inputs each: 0.01 s of calls of 1 ms
    assert len(called) == len(seen) + 6 * 3 * turns  # each begins with a call that is not counted
    assert len(seen) == rounds * 6 * 30
    assert all(seen.count((group, name, number)) == rounds for group in "123" for name in "ab" for number in range(30))
    one_by_one = [seen[start : start + 6] for start in range(0, 30 * 6, 6)]  # in the first round a turn is one input
    for turn in one_by_one:
        assert len({number for _, _, number in turn}) == 1
        assert all(first[0] == second[0] for first, second in zip(turn[::2], turn[1::2], strict=True))
    assert len({tuple(each[:2] for each in turn) for turn in one_by_one}) > 5  # groups in random order, and subjects in a group


@pytest.mark.parametrize("shape", [(5, 1), (1, 8), (1, 1)])
def test_one_round_or_one_input_has_an_interval(shape):
    mean = statistics.mean_latency(np.random.default_rng(0).lognormal(-6, 0.3, shape))
    assert 0 < mean.low <= mean.value <= mean.high
    if shape[0] == 1 and shape[1] == 1:
        assert mean.low == pytest.approx(mean.high)  # nothing is known of what would change it


def test_a_subject_is_not_run_where_it_has_nothing_to_do():
    called = []
    rare = Subject("rare", lambda number: called.append(number) or 1e-3, idle=frozenset(range(1, 20)))
    never = Subject("never", lambda number: called.append(number), idle=frozenset(range(20)))
    measured = measure([Subject("s", lambda number: 2e-3), rare, never], 20, Simulated(), rounds=5, max_seconds=60)
    assert set(called) == {0} and (measured.of("s") == 2e-3).all()
    assert (measured.of("rare") == np.where(np.arange(20) == 0, 1e-3, 0)).all() and not measured.of("never").any()
    measured.seconds[:, 3] *= 1.5
    assert np.flatnonzero(measured.noisy).tolist() == [3]


def test_a_ratio_whose_upper_part_is_0_for_some_inputs_is_that_of_the_totals():
    """As summed parts of a network over its time, where an input runs no part."""
    parts, own = np.tile([0.0, 2e-3, 4e-3] * 4, (5, 1)), np.tile([1e-3, 3e-3, 5e-3] * 4, (5, 1))
    ratio = statistics.speedup(parts, own)
    assert ratio.value == pytest.approx(6 / 9) and ratio.low < ratio.value < ratio.high


def test_rounds_do_not_count_before_the_time_is_steady():
    calls = itertools.count()
    slower_first = Subject("s", lambda number: 1e-3 * (1 + 2 * 0.5 ** (next(calls) // 10)))
    measured = measure([slower_first], 10, Simulated(), rounds=5, max_seconds=60)
    assert measured.warm_up_rounds > 3 and measured.seconds.max() < 1.05e-3


def test_time_runs_out_after_five_rounds_at_least():
    calls = []
    measured = measure([Subject("s", lambda number: calls.append(number) or 1.0)], 8, Simulated(), rounds=1000, max_seconds=1e-9)
    assert measured.seconds.shape[1] == 5
    assert measured.warm_up_rounds == 1 and sorted(calls[:8]) == list(range(8)), "every input once, however long it takes"


def test_interrupted_after_five_rounds_keeps_them():
    def stop(done):
        if done == 6:
            raise KeyboardInterrupt

    subjects = [Subject("s", lambda number: 1e-3)]
    measured = measure(subjects, 8, Simulated(), rounds=100, max_seconds=60, after_round=stop)
    assert measured.interrupted and measured.seconds.shape[1] == 6
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

    joules = energy.joules_per_call([work(1.0), work(3.0)], 4, meter, rounds=3, seconds=0.0)
    assert joules == pytest.approx(np.tile([2.5, 7.5], (3, 1)))  # the mean over calls 0 to 3
    assert len(calls) == 3 * 2 * 4


def test_the_processor_s_counter_is_summed_over_packages_and_wraps(tmp_path):
    def write(zone, **values):
        (tmp_path / zone).mkdir(exist_ok=True)
        for name, value in values.items():
            (tmp_path / zone / name).write_text(f"{value}\n")

    write("intel-rapl:0", energy_uj=9_000_000, max_energy_range_uj=10_000_000)
    write("intel-rapl:0:0", energy_uj=1, max_energy_range_uj=10)  # the cores, part of the package
    write("intel-rapl:1", energy_uj=0, max_energy_range_uj=10_000_000)
    counter = energy.CpuCounter(tmp_path)
    assert counter.joules() == 0
    write("intel-rapl:0", energy_uj=1_000_000)
    write("intel-rapl:1", energy_uj=500_000)
    assert counter.joules() == pytest.approx(2.5)
    for folder in (tmp_path / "none", tmp_path / "intel-rapl:0"):
        with pytest.raises(RuntimeError, match="has no counter"):
            energy.CpuCounter(folder)


@pytest.mark.parametrize(
    ("features", "named"),
    [([], "AMD EPYC, 2 cores"), (["avx2"], "AMD EPYC, 2 cores, AVX2"), (["avx2", "avx512_f"], "AMD EPYC, 2 cores, AVX-512"),
     (["avx2", "avx512_f", "avx512_bf16"], "AMD EPYC, 2 cores, AVX-512 with bf16")],
)  # fmt: skip
def test_two_cpus_that_a_cloud_gives_one_name_are_two_machines(monkeypatch, features, named):
    for name, value in {"cpu_name": "AMD EPYC", "cpu_features": features}.items():
        monkeypatch.setattr(f"gatebench.measure.machine.{name}", lambda value=value: value)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert machine_name(torch.device("cpu")) == named
