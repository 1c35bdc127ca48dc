"""DynamicViT: https://github.com/raoyongming/DynamicViT, commit 1322e62."""

import math
import sys
import types

import torch
from repositories import importable
from torch import nn

importable("DynamicViT")
sys.modules |= {"torch._six": types.SimpleNamespace(inf=math.inf), "tensorboardX": types.SimpleNamespace(SummaryWriter=None)}
from models import dyconvnext, dyswin, dyvit  # noqa: E402

TOKENS, SPATIAL = [0.7, 0.49, 0.343], [0.7, 0.5, 0.3]
DEIT_S = {"embed_dim": 384, "num_heads": 6}


def scaled(make, **settings):
    torch.manual_seed(0)
    return nn.Sequential(nn.Upsample(size=(224, 224)), make(**settings))


def deit_s(classes):
    return scaled(dyvit.VisionTransformerDiffPruning, **DEIT_S, pruning_loc=[3, 6, 9], token_ratio=TOKENS)


def deit_s_full(classes):
    return scaled(dyvit.VisionTransformerTeacher, **DEIT_S)


def convnext_t(classes):
    return scaled(dyconvnext.AdaConvNeXt, sparse_ratio=SPATIAL, pruning_loc=[1, 2, 3])


def convnext_t_full(classes):
    return scaled(dyconvnext.ConvNeXt_Teacher)


def swin_t(classes):
    return scaled(dyswin.AdaSwinTransformer, sparse_ratio=SPATIAL, pruning_loc=[1, 2, 3], drop_path_rate=0.0)
