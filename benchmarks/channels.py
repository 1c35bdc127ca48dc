"""What channel gates save in time: static decisions that are cut once, and decisions that differ from input to input.

    python benchmarks/channels.py [--model vgg11] [--width 1.0] [--seconds 8] [--threads 1]

Takes five minutes for vgg11 at full width on one thread; --seconds is how long each row is measured.

Gates get random logits, so that about a share of the channels of every layer is on (weights do not matter to time). The networks are
folded and tuned: static decisions are cut once, others run each layer in the way that was fastest here, which is printed. Static
decisions and the static twin run in the layout that was fastest here. Network and twin take turns as in `gatebench profile-latency`.
"imposed" is the time with the network's own decisions given, so without the gates' price. Realised is the saving in time, without that
price, over the saving in MACs: of those that were executed, and of those that the decisions ask for (a layer that is run dense executes
all). The break-even density is the largest at which a network is no slower than its twin.
"""

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from gatebench.device import choose_device, set_threads
from gatebench.measure.clock import clock_for
from gatebench.measure.machine import describe
from gatebench.measure.protocol import Subject, measure
from gatebench.models.registry import create
from gatebench.runtimes.fold import folded

SHAPE, CLASSES = (3, 32, 32), 100
DENSITIES = 1.0, 0.9, 0.75, 0.5, 0.25
CALLS = {1: 16, 64: 2}
"""Calls that are timed, by batch size."""
ROUNDS = 30
KINDS = {"free": "static", "input": "of the input"}
ALWAYS = 100.0
"""A logit that no input turns off."""


@dataclass
class Result:
    """Milliseconds, the mean over calls of medians over rounds; shares of the twin's channels and MACs."""

    own: float
    imposed: float
    twin: float
    on: float
    executed: float
    decided: float

    def realised(self, macs: float) -> str:
        """Part of the saving in MACs, whose share is given, that is saved in time without the gates' price."""
        return f"{(1 - self.imposed / self.twin) / (1 - macs):.2f}" if macs < 0.999 else "-"


def network(name: str, width: float, kind: str, density: float, device: torch.device):
    """A folded network with random gates, of which about this share is on."""
    torch.manual_seed(0)
    net = create(f"lag-{name}", CLASSES, SHAPE, width=width, gate={"kind": kind}, inference="hard").eval()
    with torch.no_grad():
        for gate in net.gates:
            if kind == "free":
                gate.logits.copy_(torch.randperm(len(gate.logits)) < max(1, round(density * len(gate.logits)))).sub_(0.5)
            else:
                gate.layers[2].bias.fill_(ALWAYS)
        if kind == "input" and density < 1:
            _spread(net, density)
    return folded(net).to(device)


def _spread(net, density: float) -> None:
    """Have a share of the channels of one layer after the other on, for every input about as many, for each input others.

    Gates are random functions of the whitened directions of their hidden features. By the features themselves, which grow and shrink
    together, most channels would be on for the same inputs.
    """
    x = torch.randn(256, *SHAPE)
    for gate in net.gates:
        seen = []
        handle = gate.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(inputs[0]))
        net.infer(x, "masked")
        handle.remove()
        first, _, second = gate.layers
        first.bias.zero_()
        second.bias.zero_()
        hidden = torch.relu(first(seen[0]))
        size = hidden.mean(0) / hidden.mean(0).square().sum()  # what it gives of a vector is its size
        hidden = hidden / (hidden @ size)[:, None].clamp(min=1e-6)
        fitted, others = hidden.chunk(2)
        _, spreads, axes = torch.linalg.svd(fitted - fitted.mean(0), full_matrices=False)
        kept = spreads > 0.1 * spreads[0]
        second.weight.copy_(torch.randn(len(second.weight), int(kept.sum())) @ (axes[kept] / spreads[kept, None]))
        second.weight.sub_(second(others).quantile(1 - density, dim=0)[:, None] * size)


def compare(net, batch: int, seconds: float, device: torch.device, rounds: int = ROUNDS) -> tuple[Result, dict]:
    """Times of a network and its twin, measured for about so long, and what it chose."""
    draw = torch.Generator().manual_seed(1)
    calls = [torch.randn(batch, *SHAPE, generator=draw).to(device, memory_format=torch.channels_last) for _ in range(CALLS[batch])]
    chosen = net.tune(calls[0])
    (twin,) = net.references().values()
    with torch.inference_mode():
        outputs = [net.infer(x) for x in calls]
        decisions = [output.decisions.clone() for output in outputs]
        works = {
            "own": lambda number: net.infer(calls[number]),
            "imposed": lambda number: net.infer(calls[number], decisions=decisions[number]),
            "twin": lambda number: twin(calls[number]),
        }
        if not net.of_input:
            del works["imposed"]
        subjects = [Subject(name, work, "") for name, work in works.items()]
        times = measure(subjects, len(calls), clock_for(device), rounds=rounds, max_seconds=seconds)
        own, imposed, reference = (1e3 * float(np.median(times.of(name), 0).mean()) for name in ("own", [*works][-2], "twin"))
        macs = [torch.stack([count.sum(1).mean() for count in counts]).mean().item() / net.macs_static for counts in (
            [output.executed_macs for output in outputs], [net.tally(on, net.of_input) for on in decisions],
        )]  # fmt: skip
    return Result(own, imposed, reference, torch.cat(decisions).float().mean().item(), *macs), chosen


def break_even(points: list[tuple[float, float]]) -> str:
    """The largest density at which the time over the twin's is 1, from pairs of both; between them a line is drawn."""
    points = sorted(points, reverse=True)
    if points[0][1] <= 1:
        return "100 %"
    for (above, slow), (below, fast) in zip(points, points[1:], strict=False):
        if fast <= 1:
            return f"{100 * (below + (above - below) * (1 - fast) / (slow - fast)):.0f} %"
    return f"below {100 * points[-1][0]:.0f} %"


def choices(title: str, columns: list[str], layers: dict[str, list[str]]) -> Table:
    """What was chosen, layer by layer; CL: channels_last."""
    table = Table(title=title, title_justify="left")
    for heading in ("layer", *columns):
        table.add_column(heading)
    for name, chosen in layers.items():
        table.add_row(name, *(each.replace("channels_last", "CL").replace(", contiguous", "") for each in chosen))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["vgg11", "vgg13", "resnet18", "resnet34"], default="vgg11")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    options = parser.parse_args()
    device = choose_device(options.device)
    set_threads(options.threads)
    machine, console = describe(device), Console()
    place = f"{machine['name']}, {options.threads} threads, torch {machine['torch']}"
    console.print(f"{options.model}, width {options.width:g}; {place}", highlight=False)
    table, further = Table(), []
    table.add_column("decisions")
    for heading in ("batch", "on %", "executed %", "decided %", "ms", "imposed", "twin's", "speed-up", "realised", "of decided"):
        table.add_column(heading, justify="right")
    for kind, name in KINDS.items():
        results, records = {batch: [] for batch in CALLS}, {batch: [] for batch in CALLS}
        for density in DENSITIES:
            net = network(options.model, options.width, kind, density, device)
            for batch in CALLS:
                result, chosen = compare(net, batch, options.seconds, device)
                results[batch].append(result)
                records[batch].append(chosen)
        for batch in CALLS:
            for each in results[batch]:
                table.add_row(
                    name, str(batch), *(f"{100 * share:.0f}" for share in (each.on, each.executed, each.decided)),
                    f"{each.own:.2f}", f"{each.imposed:.2f}", f"{each.twin:.2f}", f"{each.twin / each.own:.2f}",
                    each.realised(each.executed), each.realised(each.decided),
                )  # fmt: skip
            with_price = break_even([(each.on, each.own / each.twin) for each in results[batch]])
            without = break_even([(each.on, each.imposed / each.twin) for each in results[batch]])
            price = "" if kind == "free" else f"; without the gates' price {without}"
            further.append(f"{name}, batch {batch}: break-even at {with_price} of the channels{price}")
            if kind == "input" and batch == 1:
                (chosen,) = (each for each, density in zip(records[batch], DENSITIES, strict=True) if density == 0.5)
                shown = slice(1, None, 2)
                columns = [f"{100 * density:g} %" for density in chosen["densities"][shown]]
                layers = {layer: names[shown] for layer, names in chosen["layers"].items()}
            else:
                columns = [*(f"{100 * density:g} %" for density in DENSITIES), "static twin"]
                twin = records[batch][0]["static twin"]
                layers = {layer: [*(each["layers"][layer] for each in records[batch]), twin[layer]] for layer in twin}
            further.append(choices(f"{name}, batch {batch}: by channels on", columns, layers))
    console.print(table)
    for each in further:
        console.print(each, highlight=False)


if __name__ == "__main__":
    main()
