"""A copy of a network for inference, with its batch norms folded into the convolutions and linear layers beside them."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def folded(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode, channels_last, without the batch norms that `fold` can do without."""
    return channels_last(fold(copy.deepcopy(model)))


def fold(model: nn.Module) -> nn.Module:
    """The network itself, in evaluation mode, without the batch norms that stand right behind a convolution or before a linear layer.

    "Behind" is the order in which a module registers its children. In every network here and in torchvision's, that is the order of the
    computation; for a network from elsewhere, check every tensor that it gives with `same_answers`. A part with a method `merged()` is
    replaced by what that returns, once all norms are folded.
    """
    model.eval()  # its result is not used: a train() of somebody's own may give none
    model.requires_grad_(False)
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
    return model


def channels_last(model: nn.Module) -> nn.Module:
    """The network itself, its two-dimensional convolutions in channels_last; unchanged where it has tensors of five axes.

    torch converts no network that has such, as of three-dimensional convolutions.
    """
    if any(tensor.dim() == 5 for tensor in (*model.parameters(), *model.buffers())):
        return model
    return model.to(memory_format=torch.channels_last)


def same_answers(first: torch.Tensor, second: torch.Tensor, tolerance: float = 1e-3) -> bool:
    """Whether what two networks give on the same inputs differs by no more than rounding, relative to the largest number.

    Whole numbers and flags must be equal, and what is infinite in one must be so in the other.
    """
    if first.shape != second.shape or first.is_floating_point() != second.is_floating_point():
        return False
    differ = first != second
    if not differ.any():
        return True
    if not (first.is_floating_point() or first.is_complex()):
        return False
    largest = first[first.isfinite()].abs().max() if first.isfinite().any() else first.new_zeros(())
    return bool(((first - second)[differ].abs() <= tolerance * largest.abs()).all())


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
