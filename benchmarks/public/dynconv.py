"""DynConv: https://github.com/thomasverelst/dynconv, commit 19e4c58."""

import torch
from repositories import importable
from torch import nn

importable("dynconv/classification")
from models.resnet_32x32 import resnet32  # noqa: E402
from models.resnet_224x224 import resnet50  # noqa: E402


class Bound(nn.Module):
    def __init__(self, make, sparse, size):
        super().__init__()
        torch.manual_seed(0)
        self.network, self.size = make(sparse=sparse), size

    def forward(self, x):
        x = nn.functional.interpolate(x, self.size)
        return self.network(x, {"masks": [], "device": x.device, "gumbel_temp": 1.0, "gumbel_noise": False, "epoch": 0})[0]


def cifar(classes):
    return Bound(resnet32, True, (32, 32))


def cifar_full(classes):
    return Bound(resnet32, False, (32, 32))


def imagenet(classes):
    return Bound(resnet50, True, (224, 224))


def imagenet_full(classes):
    return Bound(resnet50, False, (224, 224))
