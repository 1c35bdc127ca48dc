"""How fast a router trains on its experts' known outputs, side by side with running the experts, and with its gater's bare step.

    python benchmarks/routing.py [--turns 6] [--threads 2]

Three loops take turns in one process, in an order that changes, at the size of the recipe `router default` (made-up images and random
weights: neither matters to time):

    known outputs   gatebench's own step, meter and batches, which carry the experts' outputs
    bare step       the gater's forward and backward on one batch that is there already at the gater's size, and the optimiser's step
    in the loop     the same as known outputs, but every expert is run on every batch (Algorithm 1 as printed)

Prints the median time of a step and ratios of neighbouring turns.
"""

import argparse
import random
import statistics
import time
from itertools import chain, count

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from gatebench import plan, recipe, trained
from gatebench.contract import Prepare
from gatebench.data.batches import Batches
from gatebench.data.images import Images
from gatebench.device import choose_device, set_threads
from gatebench.measure.machine import describe
from gatebench.training.loop import Meter, Trainer, make_optimizer

SHAPE, CLASSES, IMAGES = (3, 128, 128), 6, 640
STEPS = {"known outputs": 8, "bare step": 8, "in the loop": 1}
"""Of a turn."""
MILLISECONDS = [5.0, 13.0, 42.0]


def build(device):
    """The router of the default recipe, with its training settings and loss."""
    chosen = recipe.load("router", "router", "default", [f"model.latency_ms={MILLISECONDS}"])
    parents = {}
    for role, (parent, _) in plan.parents_of(chosen).items():
        parents[role] = trained.registry.create(parent.model.name, CLASSES, SHAPE, **parent.model.options).to(device).eval()
    model = trained.registry.create("router", CLASSES, SHAPE, parents, **chosen.model.options)
    model.prepare = model.prepare or Prepare(SHAPE[1:], (0.5,) * 3, (0.25,) * 3)
    return model.to(device, memory_format=torch.channels_last), chosen


class Ours:
    """gatebench's training loop."""

    def __init__(self, images, device, known):
        model, chosen = build(device)
        outputs = torch.randn(len(images), len(model.roles), CLASSES) if known else None
        batches = Batches(
            images, model.prepare.mean, model.prepare.std, batch_size=chosen.training.batch_size, device=device, outputs=outputs
        )
        self.trainer = Trainer(model, chosen.training, chosen.losses, len(batches), "fp32")
        self.trainer.train()
        self.meter = Meter(model)
        self.batches = chain.from_iterable(batches.shuffled(seed) for seed in count())

    def step(self):
        batch = next(self.batches)
        self.meter.add(*self.trainer.step(batch, 1.0), batch.labels)


class Bare:
    """The gater alone on one resident batch."""

    def __init__(self, device):
        model, chosen = build(device)
        self.gater = model.method.train()
        self.x = torch.randn(chosen.training.batch_size, 3, *self.gater.size, device=device).contiguous(memory_format=torch.channels_last)
        self.labels = torch.arange(len(self.x), device=device) % len(model.roles)
        self.optimizer = make_optimizer(chosen.training, list(self.gater.parameters()))

    def step(self):
        loss = torch.nn.functional.cross_entropy(self.gater(self.x), self.labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


def measure(loops, turns, device):
    """Seconds of a step in every turn, by loop."""
    seconds = {name: [] for name in loops}
    for turn in range(turns + 1):
        for name in random.sample(list(loops), len(loops)):
            if STEPS[name] > 1:
                loops[name].step()  # not counted: it pays for what the turn before left in the caches
            started = time.perf_counter()
            for _ in range(STEPS[name]):
                loops[name].step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:  # the first turn warms up
                seconds[name].append((time.perf_counter() - started) / STEPS[name])
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    options = parser.parse_args()
    device = choose_device(options.device)
    set_threads(options.threads)
    random.seed(0)
    torch.manual_seed(0)
    made_up = np.random.default_rng(0)
    images = Images(made_up.integers(0, 256, (IMAGES, *SHAPE[1:], 3), dtype=np.uint8), made_up.integers(0, CLASSES, IMAGES))
    machine, console = describe(device), Console()
    console.print(f"{machine['name']}, {torch.get_num_threads()} threads, torch {machine['torch']}, batches of 32", highlight=False)
    loops = {"known outputs": Ours(images, device, True), "bare step": Bare(device), "in the loop": Ours(images, device, False)}
    seconds = measure(loops, options.turns, device)
    table = Table(title="one step of a router's training", title_justify="left")
    for heading in ("loop", "ms", "its time / that with known outputs"):
        table.add_column(heading, justify="left" if heading == "loop" else "right")
    for name, times in seconds.items():
        ratio = statistics.median(one / known for one, known in zip(times, seconds["known outputs"], strict=True))
        table.add_row(name, f"{1000 * statistics.median(times):.1f}", f"{ratio:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
