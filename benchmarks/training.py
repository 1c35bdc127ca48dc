"""How fast gatebench trains, side by side with what a user would write instead.

    python benchmarks/training.py [--turns 8] [--threads 2]

Four loops take turns of 16 steps in one process, in an order that changes, on CIFAR-sized images (made up: the pixels do not
matter to time):

    ours          gatebench's own step and meter over its own batches, in the precision it chooses on this machine
    ceiling       the same forward and backward on one batch that is already there: what no loop can beat
    usual         what most papers release: DataLoader with 2 workers, torchvision v1 transforms, fp32, contiguous
    usual, ours'  the usual loop in our precision

and then each CosineGate beside its static twin, all through our step. Prints the median images/s and ratios of neighbouring turns.
"""

import argparse
import random
import statistics
import time
from itertools import chain, count, cycle

import numpy as np
import torch
import torchvision
from PIL import Image
from rich.console import Console
from rich.table import Table

from gatebench import recipe, trained
from gatebench.data.batches import Batches
from gatebench.data.images import Images
from gatebench.device import autocast, choose_device, choose_precision, set_threads
from gatebench.measure.machine import describe, peak_memory_mb
from gatebench.models import registry
from gatebench.training.loop import Meter, Trainer

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
BATCH = 128
TURN = 16
"""Steps of a turn: many more than the 4 batches that a DataLoader with 2 workers has ready when its turn begins."""


class Ours:
    """gatebench's training loop for a recipe."""

    def __init__(self, model, config, images, device, precision):
        chosen = recipe.load(registry.entry(model).recipes, model, config)
        net = trained.create(chosen).to(device, memory_format=torch.channels_last).train()
        net.begin_epoch(0.5)
        loader = Batches(images, MEAN, STD, batch_size=BATCH, device=device, crop=True, flip=True)
        self.trainer = Trainer(net, chosen.training, chosen.losses, len(loader), precision)
        self.meter = Meter(net)
        self.batches = chain.from_iterable(loader.shuffled(seed) for seed in count())

    def step(self):
        batch = next(self.batches)
        self.meter.add(*self.trainer.step(batch, 1.0), batch.labels)


class Ceiling:
    """Forward and backward of ResNet-20 on one resident batch, and nothing else but the optimiser's step."""

    def __init__(self, images, device, precision):
        loader = Batches(images, MEAN, STD, batch_size=BATCH, device=device)
        batch = next(loader.in_order())
        self.x, self.labels = batch.x, batch.labels
        self.net = registry.create("resnet20").to(device, memory_format=torch.channels_last).train()
        self.optimizer, self.precision, self.device = sgd(self.net), precision, device

    def step(self):
        with autocast(self.device, self.precision):
            loss = torch.nn.functional.cross_entropy(self.net(self.x).logits, self.labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


def sgd(net):
    return torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)


class Usual:
    """The loop most papers release, around the same ResNet-20."""

    def __init__(self, images, device, precision):
        v1 = torchvision.transforms
        transform = v1.Compose([v1.RandomCrop(32, padding=4), v1.RandomHorizontalFlip(), v1.ToTensor(), v1.Normalize(MEAN, STD)])
        loader = torch.utils.data.DataLoader(AsTorchvision(images, transform), BATCH, shuffle=True, num_workers=2, persistent_workers=True)
        self.batches = (batch for _ in cycle([0]) for batch in loader)
        self.net = registry.create("resnet20").to(device).train()
        self.optimizer, self.precision, self.device = sgd(self.net), precision, device

    def step(self):
        x, labels = (part.to(self.device) for part in next(self.batches))
        with autocast(self.device, self.precision):
            loss = torch.nn.functional.cross_entropy(self.net(x).logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


class AsTorchvision(torch.utils.data.Dataset):
    """One PIL image at a time, as torchvision's own classes give it."""

    def __init__(self, images, transform):
        self.images, self.transform = images, transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.images.pixels[index])), int(self.images.labels[index])


def measure(loops, turns, device):
    """Median images/s of each loop, and the median over turns of each loop's ratio to the first."""
    seconds = {name: [] for name in loops}
    for turn in range(turns + 1):
        for name in random.sample(list(loops), len(loops)):
            loops[name].step()  # not counted: it pays for what the turn before left in the caches
            started = time.perf_counter()
            for _ in range(TURN):
                loops[name].step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:  # the first turn warms up
                seconds[name].append(time.perf_counter() - started)
    first = seconds[next(iter(loops))]
    rates = {name: TURN * BATCH / statistics.median(times) for name, times in seconds.items()}
    ratios = {name: statistics.median(a / b for a, b in zip(first, times, strict=True)) for name, times in seconds.items()}
    return rates, ratios


def show(title, rates, ratios, console):
    table = Table(title=title, title_justify="left")
    for heading in ("loop", "images/s", "its rate / the first row's"):
        table.add_column(heading, justify="left" if heading == "loop" else "right")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}", f"{ratios[name]:.3f}")
    console.print(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=8, help=f"counted turns of each loop, {TURN} steps each")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    options = parser.parse_args()
    device = choose_device(options.device)
    set_threads(options.threads)
    torch.manual_seed(0)
    random.seed(0)
    made_up = np.random.default_rng(0)
    images = Images(made_up.integers(0, 256, (50_000, 32, 32, 3), dtype=np.uint8), made_up.integers(0, 10, 50_000))
    natural, turns = choose_precision("auto", device), options.turns
    console, machine = Console(), describe(device)
    console.print(f"{machine['name']}, {machine['threads']} threads, torch {machine['torch']}, batches of {BATCH}", highlight=False)

    def ours(model="resnet20", config="default", precision=natural):
        return Ours(model, config, images, device, precision)

    loops = {
        f"ours, {natural}": ours(),
        f"ceiling, {natural}": Ceiling(images, device, natural),
        "usual, fp32": Usual(images, device, "fp32"),
    }
    if natural != "fp32":
        loops[f"usual, {natural}"] = Usual(images, device, natural)
    show("ResNet-20", *measure(loops, turns, device), console)
    del loops
    for precision in dict.fromkeys((natural, "fp32")):
        loops = {
            "ResNet-20": ours(precision=precision),
            "CosineGate": ours("cosinegate", "balanced", precision),
            "predictive CosineGate": ours("cosinegate", "predictive", precision),
        }
        show(f"gates, our loop, {precision}", *measure(loops, turns, device), console)
    console.print(f"peak memory {peak_memory_mb():,.0f} MB", highlight=False)


if __name__ == "__main__":
    main()
