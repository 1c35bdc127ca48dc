"""SkipNet on CIFAR: https://github.com/ucbdrive/skipnet, commit 4825e53."""

import torch
from repositories import importable
from torch import nn

importable("skipnet/cifar")
import models  # noqa: E402


class Twice(nn.Module):
    """What takes no batch of one, on two copies of an image."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(torch.cat([x, x]))


def recurrent(classes, make=models.cifar10_rnn_gate_38):
    torch.manual_seed(0)
    network = make()
    network.control.init_hidden = lambda n: (torch.zeros(1, n, 10), torch.zeros(1, n, 10))  # theirs is on CUDA
    return network


def recurrent_as_published(classes):
    return models.cifar10_rnn_gate_38()


def reinforced(classes):
    return recurrent(classes, models.cifar10_rnn_gate_rl_38)


def reinforced_twice(classes):
    return Twice(reinforced(classes))


def feedforward(classes):
    return models.cifar10_feedforward_38()


def feedforward_twice(classes):
    return Twice(feedforward(classes))


def full(classes):
    return models.cifar10_resnet_38()
