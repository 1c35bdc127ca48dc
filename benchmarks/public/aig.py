"""ConvNet-AIG: https://github.com/andreasveit/convnet-aig, commit 47633cd."""

import torch
from repositories import importable
from torch import nn

importable("convnet-aig")
import convnet_aig as theirs  # noqa: E402


def as_published(classes, make=theirs.ResNet110_cifar):
    torch.manual_seed(0)
    return make()


def mended(network):
    """Today's torch refuses maps in a BatchNorm1d."""
    for part in network.modules():
        if hasattr(part, "fc1bn"):
            part.fc1bn = nn.BatchNorm2d(16)
    return network


def resnet110(classes):
    return mended(as_published(classes))


def resnet50(classes):
    return nn.Sequential(nn.Upsample(size=(224, 224)), mended(as_published(classes, theirs.ResNet50_ImageNet)))
