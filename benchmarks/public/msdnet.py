"""MSDNet: https://github.com/kalviny/MSDNet-PyTorch, commit f654595."""

from types import SimpleNamespace

import torch
from repositories import importable

importable("MSDNet-PyTorch")
from models.msdnet import MSDNet  # noqa: E402

SETTINGS = {
    "data": "cifar10", "nBlocks": 7, "stepmode": "even", "step": 2, "base": 4, "nChannels": 16, "nScales": 3, "growthRate": 6,
    "prune": "max", "reduction": 0.5, "grFactor": [1, 2, 4], "bnFactor": [1, 2, 4], "bottleneck": True,
}  # fmt: skip


class Early(MSDNet):
    """Its blocks and heads in a loop that stops."""

    threshold = 0.10945

    def forward(self, x):
        for block, head in zip(self.blocks, self.classifier, strict=True):
            x = block(x)
            logits = head(x)
            if logits.softmax(1).max() > self.threshold:
                break
        return logits


def all_exits(classes, kind=MSDNet):
    torch.manual_seed(0)
    return kind(SimpleNamespace(**SETTINGS))


def early(classes):
    return all_exits(classes, Early)


def early_full(classes):
    network = early(classes)
    network.threshold = 2.0
    return network
