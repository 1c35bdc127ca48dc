"""Per-input arithmetic on whole feature maps, with its own backward, so that a gate costs a few passes over memory.

Autograd would keep copies of the maps, make several more on the way back, and lose the channels_last layout, after which
batch norm and convolutions copy again: a gate written plainly halves the training rate of ResNet-20.

Shapes: N inputs, C channels, H x W pixels; the maps are [N, C, H, W], one scalar an input is [N].
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def flat(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, H*W*C]; a view of a channels_last map."""
    return x.permute(0, 2, 3, 1).flatten(1)


def unflat(x: Tensor, like: Tensor) -> Tensor:
    """The inverse of `flat`: a channels_last map of the shape of `like`."""
    channels, height, width = like.shape[1:]
    return x.unflatten(1, (height, width, channels)).permute(0, 3, 1, 2)


def take_rows(x: Tensor, rows: Tensor) -> Tensor:
    """Rows (numbers [K]) of a tensor [N, ...]; of a feature map [N, C, H, W] the copy is channels_last."""
    if x.dim() != 4:
        return x.index_select(0, rows)
    return unflat(flat(x).index_select(0, rows), x)


def global_average(x: Tensor) -> Tensor:
    """Global average pooling [N, C]; in training as a matrix product, whose gradient comes back channels_last, unlike `mean`'s."""
    if x.shape[2:] == (1, 1):
        return x.flatten(1)
    if not x.requires_grad:
        return x.mean((2, 3))
    x_NPC = x.permute(0, 2, 3, 1).flatten(1, 2)
    pixels = x_NPC.shape[1]
    return torch.matmul(x_NPC.new_ones(1, pixels), x_NPC).squeeze(1) / pixels  # bf16 knows one exactly, and few of its fractions


def max_pool(x: Tensor) -> Tensor:
    """Maxima of 2 x 2 pixels [N, C, H // 2, W // 2]. torch takes ten times as long for a contiguous map as for a channels_last one on a
    CPU, which four views do not."""
    if x.requires_grad or x.device.type != "cpu" or x.is_contiguous(memory_format=torch.channels_last):
        return F.max_pool2d(x, 2)
    height, width = (size - size % 2 for size in x.shape[2:])
    rows = torch.maximum(x[:, :, 0:height:2], x[:, :, 1:height:2])
    return torch.maximum(rows[..., 0:width:2], rows[..., 1:width:2])


def inner_products(x: Tensor, residual: Tensor) -> Tensor:
    """<x, x>, <x, F> and <F, F> of every input in fp32 or better, [N, 3]."""
    return with_inner_products(x, residual)[2]


def with_inner_products(x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x and F handed on, and their `inner_products`. What goes on from these maps gathers its gradients on the way back in one pass."""
    return _InnerProducts.apply(x, residual)


def gated_sum(x: Tensor, residual: Tensor, gate: Tensor) -> Tensor:
    """relu(x + gate F), channels_last; the gate is [N]."""
    return _GatedSum.apply(x, residual, gate)


class _InnerProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, residual):
        ctx.save_for_backward(x, residual)
        a, b = flat(x), flat(residual)
        return x.view_as(x), residual.view_as(residual), torch.stack([_dot(a, a), _dot(a, b), _dot(b, b)], dim=1)

    @staticmethod
    def backward(ctx, to_x, to_residual, grad):
        x, residual = ctx.saved_tensors
        a, b = flat(x), flat(residual)
        xx, xf, ff = grad.to(a.dtype)[:, :, None].unbind(1)
        to_x = torch.addcmul(flat(to_x), xx, a, value=2).addcmul_(xf, b)
        to_residual = torch.addcmul(flat(to_residual), ff, b, value=2).addcmul_(xf, a)
        return unflat(to_x, x), unflat(to_residual, residual)


class _GatedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, residual, gate):
        total = torch.addcmul(flat(x), gate.to(x.dtype)[:, None], flat(residual)).relu_()
        ctx.save_for_backward(residual, gate, total)
        return unflat(total, x)

    @staticmethod
    def backward(ctx, grad):
        residual, gate, total = ctx.saved_tensors
        grad = torch.ops.aten.threshold_backward(flat(grad), total, 0)
        to_gate = _dot(grad, flat(residual)).to(gate.dtype) if ctx.needs_input_grad[2] else None
        return unflat(grad, residual), unflat(grad * gate.to(grad.dtype)[:, None], residual), to_gate


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Row-wise inner product in fp32 or better. In bf16 a product's result is rounded to 8 bits, so it is taken in parts."""
    if a.dtype != torch.bfloat16:
        return torch.linalg.vecdot(a, b)
    parts = 16 if a.shape[1] % 16 == 0 else 1
    a, b = a.reshape(len(a) * parts, 1, -1), b.reshape(len(b) * parts, -1, 1)
    return torch.bmm(a, b).view(-1, parts).sum(1, dtype=torch.float32)
