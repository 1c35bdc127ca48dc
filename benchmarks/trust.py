"""How reliable the times of `profile-latency` are on this machine.

    python benchmarks/trust.py [--runs 500] [--pairs 40] [--trials 100] [--threads 1]   (--runs 0 and so on skip a question)

Five questions, answered with the protocol and the statistics of a profile, on ResNet-8 and real clocks. The first and the third are also
answered, from the same times, by the pigeonhole bootstrap: inputs and rounds resampled together, as gatebench did at first.

    A/A       a network timed against a copy of itself, `runs` times, at most 5 s each: how many 95 % intervals exclude 1.0?
    copies    `pairs` pairs of copies, each timed three times: how much do two copies differ for as long as they live, as by where they
              lie in memory? More rounds do not take that away, so it makes A/A exclude 1.0 more often.
    planted   the same network made 5 %, then 2 % slower, `trials` times each: after how many rounds does the interval lie above 1.0 in
              nine of ten?
    inputs    a cost planted into every second input: is it attributed to the inputs, and not to the machine's noise?
    others    torch.utils.benchmark and pyperf on the same static network, in turns with ours: how far apart are the medians?
"""

import argparse
import contextlib
import multiprocessing
import statistics as plain
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pyperf
import scipy.stats
import torch
from rich.console import Console
from rich.progress import Progress
from torch.utils.benchmark import Timer

from gatebench.device import set_threads
from gatebench.measure import statistics
from gatebench.measure.clock import CpuClock
from gatebench.measure.machine import describe
from gatebench.measure.protocol import Subject, measure
from gatebench.models import registry
from gatebench.runtimes.fold import folded

INPUTS = 32
ROUNDS = 25
PLANTED = 0.05, 0.02
FEW_INPUTS = 16
"""Timed where a slower network is to be told: with more, five rounds would always do."""
PREFIXES = 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 23, 26, 30, 35, 40, 45, 50, 60
"""Numbers of rounds after which an interval is looked at."""
RESAMPLES = 1000
TIMINGS = 3
"""Of each pair of copies."""
TURNS = 60
"""In the comparison with other timers."""
BLOCK = 5
"""Calls in a block."""
BLOCKS = 100
"""Blocks in a turn."""
TOGETHER = 4
"""Blocks in a round of ours, which begins with one that is not counted: the other timers begin warm too."""


def network():
    """The work of one network, as a function of the number of an input. Every network has weights and inputs of its own in memory."""
    torch.manual_seed(0)
    net = folded(registry.create("resnet8").eval())
    inputs = [torch.randn(1, 3, 32, 32).contiguous(memory_format=torch.channels_last) for _ in range(INPUTS)]
    return lambda number: net.static_logits(inputs[number])


def slowed(run, share):
    """The same work, followed by a wait of `share(number)` of its time."""

    def work(number):
        started = time.perf_counter_ns()
        run(number)
        now = time.perf_counter_ns()
        until = now + share(number) * (now - started)
        while time.perf_counter_ns() < until:
            pass

    return work


def compare(first, second, rounds, max_seconds, seed, inputs=INPUTS):
    """Seconds [R, N] of both."""
    subjects = [Subject("first", first), Subject("second", second)]
    times = measure(subjects, inputs, CpuClock(), rounds=rounds, max_seconds=max_seconds, seed=seed)
    return times.of("first"), times.of("second")


def pigeonhole(slow, fast):
    """The speed-up with inputs and rounds resampled together (Owen 2007), which counts the noise of single calls three times."""
    draw, logs = np.random.default_rng(0), np.log(slow / fast)

    def ratio(rounds, inputs):
        weights = np.median(fast[rounds][:, inputs], axis=0)
        return np.average(np.exp(np.median(logs[rounds][:, inputs], axis=0)), weights=weights)

    resampled = [ratio(*(draw.integers(0, count, count) for count in logs.shape)) for _ in range(RESAMPLES)]
    return statistics.interval(ratio(*map(np.arange, logs.shape)), np.array(resampled))


INTERVALS = {"": statistics.speedup, "pigeonhole bootstrap: ": pigeonhole}


def track(items, title):
    """A progress bar on stderr."""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(items, description=title)


def against_itself(runs):
    times = [compare(network(), network(), ROUNDS, 5, seed) for seed in track(range(runs), "A/A")]
    for name, interval in INTERVALS.items():
        ratios = [interval(*each) for each in times]
        wrong = sum(each.excludes(1.0) for each in ratios)
        width = plain.median((each.high - each.low) / 2 for each in ratios)
        yield f"A/A: {name}{wrong} of {runs} intervals exclude 1.0 ({100 * wrong / runs:.1f} %); half-width {100 * width:.2f} %, the median"


def copies(pairs):
    ratios = []
    for seed in track(range(pairs), "copies"):
        first, second = network(), network()
        timings = [compare(first, second, ROUNDS, 5, TIMINGS * seed + timing) for timing in range(TIMINGS)]
        ratios.append([np.log(statistics.speedup(*each).value) for each in timings])
    within, between = np.var(ratios, axis=1, ddof=1).mean(), np.mean(ratios, axis=1).var(ddof=1)
    chance = scipy.stats.f.sf(TIMINGS * between / within, pairs - 1, pairs * (TIMINGS - 1))
    lasting = np.sqrt(max(0, between - within / TIMINGS))
    return (
        f"copies: two copies differ by {100 * lasting:.2f} % for as long as they live (standard deviation of {pairs} pairs;"
        f" p = {chance:.3f}), one timing from the next by {100 * np.sqrt(within):.2f} %"
    )


def planted(trials, share):
    rounds = PREFIXES[-1]
    times = [
        compare(slowed(network(), lambda number: share), network(), rounds, 60, seed, FEW_INPUTS)
        for seed in track(range(trials), f"planted {100 * share:.0f} %")
    ]
    for name, interval in INTERVALS.items():
        told = {count: sum(interval(*(each[:count] for each in pair)).low > 1.0 for pair in times) for count in PREFIXES}
        enough = next((count for count, hits in told.items() if hits >= 0.9 * trials), None)
        median = plain.median(interval(*pair).value for pair in times)
        after = f"after {enough} rounds of {FEW_INPUTS} inputs" if enough else f"not after {rounds} rounds"
        hits = ", ".join(f"{told[count]} after {count}" for count in PREFIXES)
        yield f"planted {100 * share:.0f} %: {name}told in nine of ten {after}; {median:.4f}, the median (of {trials}: {hits})"


def by_input():
    subjects = [Subject("plain", network()), Subject("planted", slowed(network(), lambda number: 0.2 * (number % 2)))]
    times = measure(subjects, INPUTS, CpuClock(), rounds=4 * ROUNDS, max_seconds=60)
    without, planted = (statistics.spread(times.of(name)) for name in ("plain", "planted"))
    true = np.log(1.2) / 2
    return (
        f"inputs: every second one 20 % slower (a spread of {true:.4f}): {planted.inputs:.4f} is attributed to the inputs,"
        f" {without.inputs:.4f} without it; to rounds {planted.rounds:.4f}, to single calls {planted.rest:.4f}"
    )


def other_timers(threads):
    """Median seconds by three timers, one list each. They take turns, each in a newly forked process, so that none has memory or caches
    as another left them.

    The other two time blocks of calls. The mean over a block holds every interruption, which the median of single calls does not. So all
    three time blocks of a few calls, on one input.
    """
    timers = {"gatebench": by_gatebench, "torch.utils.benchmark": by_torch, "pyperf": by_pyperf}
    seconds = {name: [] for name in timers}
    for turn in track(range(TURNS), "other timers"):
        names = list(timers)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            seconds[name].append(alone(timers[name], threads))
    return seconds


def alone(timer, threads):
    forks = multiprocessing.get_context("forkserver")
    slow_imports = ["torch.utils.benchmark", "pyperf", "gatebench.models.static.resnet", "gatebench.measure.protocol"]
    forks.set_forkserver_preload(slow_imports)
    with ProcessPoolExecutor(1, forks) as pool:
        return pool.submit(timer, threads).result()


def by_gatebench(threads):
    set_threads(threads)
    with torch.inference_mode():
        run = network()
        block = Subject("block", lambda number: [run(number) for _ in range(BLOCK)])
        times = measure([block], TOGETHER, CpuClock(), rounds=BLOCKS // TOGETHER, max_seconds=10)
    return float(np.median(times.seconds)) / BLOCK


def by_torch(threads):
    set_threads(threads)
    with torch.inference_mode():
        timer = Timer("run(0)", globals={"run": network()}, num_threads=threads)
        return plain.median(timer.timeit(BLOCK).median for _ in range(BLOCKS))


def by_pyperf(threads):
    """As in one of the processes that pyperf starts."""
    set_threads(threads)
    sys.argv = [sys.argv[0], "--worker", "--worker-task=0", "--loops", str(BLOCK), "--values", str(BLOCKS), "--warmups", "1"]
    with tempfile.TemporaryFile("w") as nowhere, contextlib.redirect_stdout(nowhere), torch.inference_mode():
        return pyperf.Runner().bench_func("network", network(), 0).median()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    set_threads(options.threads)
    machine = describe(torch.device("cpu"))
    print(f"{machine['name']}, {options.threads} thread(s), torch {machine['torch']}, ResNet-8, batch 1, {INPUTS} inputs", flush=True)
    with torch.inference_mode():
        if options.runs:
            print(*against_itself(options.runs), sep="\n", flush=True)
        if options.pairs:
            print(copies(options.pairs), flush=True)
        for share in PLANTED if options.trials else ():
            print(*planted(options.trials, share), sep="\n", flush=True)
        print(by_input(), flush=True)
    seconds = other_timers(options.threads)
    for name, values in seconds.items():
        low, middle, high = plain.quantiles((each / ours for each, ours in zip(values, seconds["gatebench"], strict=True)), n=4)
        print(f"others: {name} {1e6 * plain.median(values):.1f} us, {middle:.3f} of ours (quartiles over turns {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
