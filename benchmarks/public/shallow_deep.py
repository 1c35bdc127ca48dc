"""Shallow-Deep Networks: https://github.com/yigitcankaya/Shallow-Deep-Networks, commit a556446."""

import torch
from repositories import importable
from torch import nn

importable("Shallow-Deep-Networks")
import aux_funcs  # noqa: E402, F401 (which the next one needs first)
import network_architectures as theirs  # noqa: E402


class Early(nn.Module):
    def __init__(self, make, kind, threshold):
        super().__init__()
        torch.manual_seed(0)
        self.network = make(theirs.get_net_params(kind, "cifar10"))
        self.network.confidence_threshold = threshold

    def forward(self, x):
        return self.network.early_exit(x)


def resnet56(classes, threshold=0.55):
    return Early(theirs.ResNet_SDN, "resnet56", threshold)


def resnet56_full(classes):
    return resnet56(classes, 2.0)


def resnet56_forward(classes):
    return resnet56(classes).network


def vgg16(classes, threshold=0.122):
    return Early(theirs.VGG_SDN, "vgg16", threshold)


def vgg16_full(classes):
    return vgg16(classes, 2.0)
