"""A copy of a network for inference, with its batch norms folded into the convolutions and linear layers beside them."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def folded(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode, channels_last, without the batch norms that stand right behind a convolution or before a linear layer.

    "Behind" is the order in which a module registers its children. In every network here and in torchvision's, that is the order of the
    computation; for a network from elsewhere, check with `same_answers`. A part with a method `merged()` is replaced by what that
    returns, once all norms are folded.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    for parent in list(model.modules()):
        children = list(parent.named_children())
        for (name, module), (next_name, following) in zip(children, children[1:], strict=False):
            if isinstance(module, nn.Conv2d) and isinstance(following, nn.BatchNorm2d) and module.out_channels == following.num_features:
                activation = following.act if hasattr(following, "act") else nn.Identity()  # timm has norms that hold an activation
                setattr(parent, name, fuse_conv_bn_eval(module, following))
                setattr(parent, next_name, activation)
            elif isinstance(module, nn.BatchNorm1d) and isinstance(following, nn.Linear) and module.num_features == following.in_features:
                setattr(parent, name, nn.Identity())
                setattr(parent, next_name, _fuse_bn_linear(module, following))
    for parent in list(model.modules()):
        if type(parent) is nn.Sequential:  # calling an Identity takes time too
            for index in reversed([index for index, module in enumerate(parent) if type(module) is nn.Identity]):
                del parent[index]
        for name, module in parent.named_children():
            if callable(getattr(module, "merged", None)):
                setattr(parent, name, module.merged())
    return channels_last(model)


def channels_last(model: nn.Module) -> nn.Module:
    """The network itself, its two-dimensional convolutions in channels_last; unchanged where it has three-dimensional ones.

    torch converts no network that has three-dimensional convolutions.
    """
    if any(parameter.dim() == 5 for parameter in model.parameters()):
        return model
    return model.to(memory_format=torch.channels_last)


def same_answers(first: torch.Tensor, second: torch.Tensor, tolerance: float = 1e-3) -> bool:
    """Whether two networks' logits on the same inputs differ by no more than rounding, relative to the largest."""
    return first.shape == second.shape and bool((first - second).abs().max() <= tolerance * first.abs().max())


def _fuse_bn_linear(norm: nn.BatchNorm1d, linear: nn.Linear) -> nn.Linear:
    """linear(norm(x)) as one linear layer."""
    scale = torch.rsqrt(norm.running_var + norm.eps)
    shift = -norm.running_mean * scale
    if norm.affine:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    fused = copy.deepcopy(linear)
    fused.weight = nn.Parameter(linear.weight * scale, requires_grad=False)
    bias = linear.weight @ shift
    fused.bias = nn.Parameter(bias if linear.bias is None else linear.bias + bias, requires_grad=False)
    return fused
