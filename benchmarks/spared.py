"""Which blocks an image can spare, and whether a gate on the stem's output could know: results/benchmarks/spared.txt.

    python benchmarks/spared.py RUN [--data-dir DATA]

RUN is a residual network whose weights are kept, such as results/resnet20-default-cifar10-s0-a64b4e2c. Each block is left out by itself,
and what that adds to an image's loss is learned on training images by the head that `cosinegate --config predictive` decides with. On the
test set the same number of blocks is then left out for every image: those that the head says, those that truly add least by themselves
(which takes the labels), and the pattern that is best on training images, for all.
"""

import argparse
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gatebench.data.batches import Batches
from gatebench.data.catalogue import data_root
from gatebench.evaluation.fixed import NORMAL, standard_error
from gatebench.export.samples import Samples
from gatebench.models.blocks.forecast import UpFrontHead

TAUGHT, CHOSEN_ON, EPOCHS, MOST_OFF = 20_000, 2_500, 10, 2
WORST = 1.0
"""Nats; the loss counts for no more, so that a few images do not decide what is learned."""


@torch.inference_mode()
def ablated(net, batches: Batches) -> tuple[Tensor, Tensor, Tensor]:
    """Stem outputs [N, C, H, W], labels [N], and what each block's absence adds to the loss, [N, B]."""
    stems, labels, added = [], [], []
    for batch in batches.in_order():
        answers, x = [], net.stem(batch.x)
        stems.append(x)
        for number, block in enumerate(net.blocks):
            without = block.skip(x)
            for later in net.blocks[number + 1 :]:
                without = later(without)
            answers.append(net.classify(without))
            x = block(x)
        whole, *losses = (F.cross_entropy(each, batch.labels, reduction="none") for each in (net.classify(x), *answers))
        added.append(torch.stack([each - whole for each in losses], 1))
        labels.append(batch.labels)
    return torch.cat(stems), torch.cat(labels), torch.cat(added)


def learned(stems: Tensor, added: Tensor) -> nn.Module:
    """A head that forecasts from a stem's output how much more than usual each block's absence adds."""
    torch.manual_seed(0)
    head = Head(stems.shape[1], added.shape[1])
    target = standard(added.clamp(-WORST, WORST), added)
    optimizer = torch.optim.AdamW(head.parameters(), 1e-2, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=EPOCHS * (len(stems) // 128))
    for _ in range(EPOCHS):
        for some in torch.randperm(len(stems))[: len(stems) // 128 * 128].split(128):
            optimizer.zero_grad()
            F.mse_loss(head(stems[some]), target[some]).backward()
            optimizer.step()
            schedule.step()
    return head.eval()


class Head(nn.Module):
    """The gates' own, with its last layer free."""

    def __init__(self, channels: int, blocks: int):
        super().__init__()
        self.features, self.linear = UpFrontHead(channels, blocks, hidden=32, gain=1.0), nn.Linear(32, blocks)

    def forward(self, stems: Tensor) -> Tensor:
        return self.linear(self.features(stems))


def standard(added: Tensor, taught: Tensor) -> Tensor:
    """By the mean and deviation of each block on the images that were taught."""
    taught = taught.clamp(-WORST, WORST)
    return (added - taught.mean(0)) / taught.std(0)


@torch.inference_mode()
def right(net, stems: Tensor, labels: Tensor, off: Tensor) -> np.ndarray:
    """Whether answers are right with blocks left out, [N, K] numbers of blocks."""
    on = torch.ones(len(stems), len(net.blocks), dtype=torch.bool).scatter(1, off, False)
    answers = torch.empty(len(stems), dtype=torch.long)
    for pattern in on.unique(dim=0):
        for some in (on == pattern).all(1).nonzero().squeeze(1).split(500):
            answers[some] = net.run(stems[some], pattern.tolist()).argmax(1)
    return (answers == labels).numpy()


def lines(net, taught: Batches, chosen_on: Batches, tested: Batches) -> Iterator[str]:
    stems, _, added = ablated(net, taught)
    head = learned(stems, added)
    typical, spread = (each(added.clamp(-WORST, WORST), 0) for each in (torch.mean, torch.std))
    choose, choose_labels, _ = ablated(net, chosen_on)
    stems, labels, truly = ablated(net, tested)
    with torch.inference_mode():
        forecast = torch.cat([head(each) for each in stems.split(500)]) * spread + typical
    capped = truly.clamp(-WORST, WORST)
    explained = 1 - (capped - forecast).square().mean(0) / (capped - typical).square().mean(0)
    yield "share of what a block's absence adds that the head explains, by block: " + ", ".join(f"{each:.3f}" for each in explained)
    whole = right(net, stems, labels, torch.empty(len(stems), 0, dtype=torch.long))
    yield f"no block off: {100 * whole.mean():.2f} %"
    for count in range(1, MOST_OFF + 1):
        sets = torch.tensor(list(combinations(range(len(net.blocks)), count)))
        scores = [right(net, choose, choose_labels, each.expand(len(choose), -1)).mean() for each in sets]
        best = sets[int(np.argmax(scores))]
        fixed = right(net, stems, labels, best.expand(len(stems), -1))
        yield f"{count} off: {', '.join(map(str, best.tolist()))} for all images {100 * fixed.mean():.2f} %"
        for name, by in (("by the head", forecast), ("that truly add least by themselves", truly)):
            own = right(net, stems, labels, by.topk(count, dim=1, largest=False).indices)
            apart = 100 * (own.astype(float) - fixed)
            gain, reach = apart.mean(), NORMAL * standard_error(apart, None)
            yield f"    {name} {100 * own.mean():.2f} %: {gain:+.2f} points ({gain - reach:+.2f} to {gain + reach:+.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--data-dir", type=Path)
    given = parser.parse_args()
    samples = Samples(given.run, data_root(given.data_dir))
    order = np.random.default_rng(0).permutation(len(samples.data.train))
    parts = [samples.data.train[np.sort(each)] for each in (order[:TAUGHT], order[TAUGHT : TAUGHT + CHOSEN_ON])]
    batches = [Batches(each, *samples.statistics, batch_size=500, device=torch.device("cpu")) for each in (*parts, samples.data.test)]
    print(f"{given.run.resolve().name}: {TAUGHT:,} training images for the head, {CHOSEN_ON:,} to choose patterns on")
    for line in lines(samples.net, *batches):
        print(line)


if __name__ == "__main__":
    main()
