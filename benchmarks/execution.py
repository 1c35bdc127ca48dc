"""Share of the work left out that the sparse executor saves in time, under imposed decisions.

    python benchmarks/execution.py [--networks resnet20,resnet110,cnn,resnet18] [--batch-size 1,8,64,256] [--threads 2] [--rounds 5]

Random decisions, 20 patterns for each rate. The rate is the share of the inputs for which a block is off (resnet20, resnet110: residual
networks with gated blocks), or that leave at an exit when they reach it (cnn, resnet18: networks with exits). Timed in one process,
interleaved by gatebench's own protocol: the static twin, the sparse executor, masked execution, and the limit. The limit is, at batch 1,
the modules that are on, called one after another without an executor; in a batch, the same number of inputs in every block or behind every
exit, but always the first ones, so that nothing has to be moved. Prints the realised fraction (1 - time / twin's) / (1 - executed MACs /
twin's) with its 95 % interval; for masked execution, which executes everything, over the decided MACs.
"""

import argparse
import functools
import math

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from gatebench.device import choose_device, set_threads
from gatebench.measure import statistics
from gatebench.measure.clock import clock_for
from gatebench.measure.machine import describe
from gatebench.measure.protocol import Subject, measure
from gatebench.models import registry
from gatebench.models.exits.execution import leave_at
from gatebench.models.exits.network import EarlyExit
from gatebench.runtimes.fold import folded

NETWORKS = {
    "resnet20": ("cosinegate", {"depth": 20, "gate": {"kind": "predictive"}}),
    "resnet110": ("cosinegate", {"depth": 110, "gate": {"kind": "predictive"}}),
    "cnn": ("cgt", {"backbone": {"kind": "cnn"}}),
    "resnet18": ("cgt", {"num_classes": 100, "input_shape": (3, 32, 32), "backbone": {"kind": "resnet18"}}),
}
RATES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
PATTERNS = 20


def patterns(net, batch, rate, draw):
    """Decisions [batch, S]. Blocks: each is off for a share `rate` of the batch; at batch 1 that share of the blocks, rounded up. Exits: a
    share `rate` of the inputs that reach an exit leave there; every head on the way is evaluated."""
    if isinstance(net, EarlyExit):
        leaving = draw.random((batch, net.exits)) < rate
        leaving[:, -1] = True
        return leave_at(torch.from_numpy(leaving.argmax(1)), net.exits)
    blocks = net.switches
    if batch == 1:
        off = blocks if rate == 1 else min(math.ceil(rate * blocks), blocks - 1)
        on = np.arange(blocks) >= off
        return torch.from_numpy(draw.permuted(on)[None])
    return torch.from_numpy(draw.random((batch, blocks)) >= rate)


def limit(net, x, decisions):
    """The least work that these decisions allow, as a function of their number."""
    return (limit_of_exits if isinstance(net, EarlyExit) else limit_of_blocks)(net, x, decisions)


def limit_of_exits(net, x, decisions):
    reaching = [[count for count in each[:, ::2].sum(0).tolist() if count] for each in decisions]

    def bare(number):
        y = x
        for segment, head, count in zip(net.segments, net.heads, reaching[number], strict=False):
            y = segment(y if count == len(y) else y[:count])
            answers = head(y)
        return answers

    return bare


def limit_of_blocks(net, x, decisions):
    if len(x) > 1:
        first_rows = [each.sort(dim=0, descending=True).values for each in decisions]
        return lambda number: net.infer(x, "sparse", first_rows[number])
    blocks = [
        [
            block if on else block.skip
            for block, on in zip(net.blocks, each[0].tolist(), strict=True)
            if on or not block.shortcut_is_identity
        ]
        for each in decisions
    ]

    def bare(number):
        y = net.stem(x)
        for block in blocks[number]:
            y = block(y)
        return net.classify(y)

    return bare


def compare(net, batch, rate, rounds, device, draw):
    """The claimed saving in percent, the share of the MACs saved, the speed-up, and the realised fractions of sparse, masked and the limit.

    A fraction is None where nothing is saved.
    """
    x = torch.randn(batch, *net.input_shape, device=device).contiguous(memory_format=torch.channels_last)
    decisions = [patterns(net, batch, rate, draw) for _ in range(PATTERNS)]
    (twin,) = net.references().values()
    subjects = [
        Subject("twin", lambda number: twin(x)),
        Subject("sparse", lambda number: net.infer(x, "sparse", decisions[number])),
        Subject("masked", lambda number: net.infer(x, "masked", decisions[number])),
        Subject("limit", limit(net, x, decisions)),
    ]
    with torch.inference_mode():
        times = measure(subjects, PATTERNS, clock_for(device), rounds=rounds, max_seconds=600)
        outputs = [net.infer(x, "sparse", each) for each in decisions]
    twin_macs = np.full(PATTERNS, float(net.macs_static))
    decided = np.array([net.tally(each, deciding=False).sum(1).mean().item() for each in decisions])
    executed = np.array([output.executed_macs.sum(1).mean().item() for output in outputs])
    over_twin = functools.partial(statistics.realised, times.of("twin"))
    realised = {
        "sparse": over_twin(times.of("sparse"), twin_macs, executed),
        "masked": over_twin(times.of("masked"), twin_macs, decided),
        "limit": over_twin(times.of("limit"), twin_macs, executed),
    }
    claimed, saved = net.claimed(torch.cat(decisions).numpy()), 1 - executed.mean() / net.macs_static
    return claimed, saved, statistics.speedup(times.of("twin"), times.of("sparse")), realised


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--batch-size", default="1,8,64,256")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    options = parser.parse_args()
    device = choose_device(options.device)
    set_threads(options.threads)
    console, machine = Console(width=140), describe(device)
    console.print(f"{machine['name']}, {machine['threads']} threads, torch {machine['torch']}, fp32", highlight=False)
    for name in options.networks.split(","):
        torch.manual_seed(0)
        model, settings = NETWORKS[name]
        net = folded(registry.create(model, **settings).eval()).to(device)
        skipped = "exits' depth not reached" if isinstance(net, EarlyExit) else "blocks off"
        for batch in map(int, options.batch_size.split(",")):
            table = Table(title=f"{name}, batch {batch}: realised fraction by share of the {skipped}", title_justify="left")
            for heading in ("claimed skip %", "MACs saved %", "sparse", "masked", "limit", "sparse: times as fast as the twin"):
                table.add_column(heading, justify="right")
            for rate in RATES:
                claimed, saved, fast, realised = compare(net, batch, rate, options.rounds, device, np.random.default_rng(0))
                cells = [f"{each.value:.2f} ({each.low:.2f}-{each.high:.2f})" if each else "no saving" for each in realised.values()]
                table.add_row(f"{claimed:.0f}", f"{100 * saved:.1f}", *cells, f"{fast.value:.3f} ({fast.low:.3f}-{fast.high:.3f})")
            console.print(table)


if __name__ == "__main__":
    main()
