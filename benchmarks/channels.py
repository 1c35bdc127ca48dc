"""What channel gates save in time: static decisions that are cut once, and decisions that differ from input to input.

    python benchmarks/channels.py [--model vgg11] [--width 1.0] [--rounds 30] [--threads 1]

Gates get random logits, so that a share of the channels of every layer is on (weights do not matter to time). Network and static twin
take turns in one process, batch norm folded, at batch 1 and 64 for static decisions, at batch 1 for those of the input. Prints the median
time of each, and which part of the executed saving is realised: (1 - time / twin's) / (1 - MACs / twin's).
"""

import argparse
import statistics
import time

import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import norm

from gatebench.device import choose_device, set_threads
from gatebench.measure.machine import describe
from gatebench.models.registry import create
from gatebench.runtimes.fold import folded

SHAPE, CLASSES, INPUTS = (3, 32, 32), 100, 16
DENSITIES = (0.9, 0.75, 0.5, 0.25)
WARM_UP = 3
"""Rounds that are not counted."""


def network(name: str, width: float, kind: str, density: float):
    """A folded network with random gates, of which about this share is on."""
    torch.manual_seed(0)
    net = create(f"lag-{name}", CLASSES, SHAPE, width=width, gate={"kind": kind}, inference="hard")
    with torch.no_grad():
        for gate in net.gates:
            if kind == "free":
                gate.logits.copy_(torch.randperm(len(gate.logits)) < max(1, round(density * len(gate.logits)))).sub_(0.5)
            else:
                gate.layers[2].weight.normal_(0, 3)
                gate.layers[2].bias.zero_()
        net.eval()
        if kind == "input":
            _centre(net, density)
    return folded(net)


def _centre(net, density: float) -> None:
    """Shift the gates of one layer after the other until a share of its logits is above 0."""
    x = torch.randn(64, *SHAPE)
    for gate in net.gates:
        seen = []
        handle = gate.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(output))
        net.infer(x, "masked")
        handle.remove()
        logits = seen[0]
        gate.layers[2].bias.copy_(-(logits.mean(0) + norm.ppf(1 - density) * logits.std(0)))


def measure(net, batch: int, rounds: int, device) -> tuple[float, float, float, float]:
    """Median milliseconds of the network and of its twin, and shares of channels and MACs that run."""
    calls = [torch.randn(batch, *SHAPE, device=device).contiguous(memory_format=torch.channels_last) for _ in range(INPUTS)]
    (twin,) = net.references().values()
    works = {"net": net.infer, "twin": twin}
    seconds = {name: [] for name in works}
    with torch.inference_mode():
        outputs = [net.infer(x) for x in calls]
        for turn in range(rounds + WARM_UP):
            for x in calls if batch == 1 else calls[:2]:
                for name in list(works) if turn % 2 else list(works)[::-1]:
                    started = time.perf_counter()
                    works[name](x)
                    if device.type == "cuda":
                        torch.cuda.synchronize()
                    if turn >= WARM_UP:
                        seconds[name].append(time.perf_counter() - started)
    density = statistics.mean(float(output.decisions.float().mean()) for output in outputs)
    macs = statistics.mean(float(output.executed_macs.sum(1).mean()) for output in outputs) / net.macs_static
    return 1e3 * statistics.median(seconds["net"]), 1e3 * statistics.median(seconds["twin"]), density, macs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["vgg11", "vgg13", "resnet18", "resnet34"], default="vgg11")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    options = parser.parse_args()
    device = choose_device(options.device)
    set_threads(options.threads)
    machine, console = describe(device), Console()
    place = f"{machine['name']}, {options.threads} threads, torch {machine['torch']}"
    console.print(f"{options.model}, width {options.width:g}; {place}", highlight=False)
    table = Table()
    for heading in ("decisions", "batch", "channels on %", "MACs %", "ms", "twin's ms", "realised"):
        table.add_column(heading, justify="left" if heading == "decisions" else "right")
    for kind, batches in (("free", (1, 64)), ("input", (1,))):
        for density in DENSITIES:
            net = network(options.model, options.width, kind, density).to(device)
            for batch in batches:
                own, twin, on, macs = measure(net, batch, options.rounds, device)
                realised = f"{(1 - own / twin) / (1 - macs):.2f}" if macs < 1 else "-"
                name = {"free": "static", "input": "of the input"}[kind]
                table.add_row(name, str(batch), f"{100 * on:.0f}", f"{100 * macs:.1f}", f"{own:.2f}", f"{twin:.2f}", realised)
    console.print(table)


if __name__ == "__main__":
    main()
