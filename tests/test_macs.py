"""MACs are those that a hand counts, and an operation that does work and has no formula is named."""

import json
import math
import warnings

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import register_flop_formula

from gatebench.errors import GatebenchError
from gatebench.measure import formulas
from gatebench.measure.macs import HIDDEN, OUTSIDE, count, count_macs
from gatebench.row import TimeRow

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # torch calls some kinds of tensors unfinished
N, L, S, D = 2, 5, 7, 16
"""Inputs, tokens, tokens attended to, width."""


@torch.library.custom_op("mylib::mystery", mutates_args=())
def mystery(x: torch.Tensor) -> torch.Tensor:
    return x @ x.T


@torch.library.custom_op("mylib::known", mutates_args=())
def known(x: torch.Tensor) -> torch.Tensor:
    return x @ x.T


@register_flop_formula(torch.ops.mylib.known)
def _(x_shape, *, out_shape=None):
    return 2 * x_shape[0] ** 2 * x_shape[1]


class Calls(nn.Module):
    """A network that is one function of its input."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def counted(network, *shapes):
    """What a network, or a function, runs on real inputs: the same whatever keeps gradients."""
    network = network.eval() if isinstance(network, nn.Module) else Calls(network)
    inputs = [torch.rand(shape) for shape in shapes]
    with torch.inference_mode():
        inference = count(network, *inputs)
    with torch.no_grad():
        assert count(network, *inputs) == inference
    return inference


def macs(network, *shapes):
    return counted(network, *shapes).certain


def on_meta(network, *shapes):
    return count_macs(network if isinstance(network, nn.Module) else Calls(network), *shapes)


PROJECTED = N * L * D * 3 * D + N * L * D * D
"""MACs of the four projections of self-attention."""
ATTENDED = 2 * N * L * L * D
"""Of its scores, and of what they weigh."""
FED = 2 * N * L * D * 32
"""Of the two linear layers of an encoder layer with 32 hidden units."""


@pytest.mark.parametrize("how", [macs, on_meta])
def test_attention(how):
    q, k, v = (N, 4, L, 8), (N, 4, S, 8), (N, 4, S, 6)
    assert how(functional.scaled_dot_product_attention, q, k, v) == N * 4 * L * S * (8 + 6)
    assert how(lambda q, k: functional.scaled_dot_product_attention(q, k, k, is_causal=True), q, k) == N * 4 * L * S * 16
    attention = nn.MultiheadAttention(D, 4, batch_first=True)
    assert how(Calls(lambda x: attention.to(x.device).eval()(x, x, x)), (N, L, D)) == PROJECTED + ATTENDED  # the fast path
    assert how(Calls(lambda x: attention.to(x.device).train()(x, x, x)), (N, L, D)) == PROJECTED + ATTENDED  # the slow one
    assert how(Calls(lambda x: attention.to(x.device)(x, x, x, need_weights=False)), (N, L, D)) == PROJECTED + ATTENDED
    crossed = 2 * N * L * D * D + 2 * N * S * D * D + 2 * N * L * S * D
    assert how(Calls(lambda x, y: attention.to(x.device).eval()(x, y, y)), (N, L, D), (N, S, D)) == crossed
    assert how(nn.TransformerEncoderLayer(D, 4, 32, batch_first=True), (N, L, D)) == PROJECTED + ATTENDED + FED
    layer = nn.TransformerEncoderLayer(D, 4, 32, batch_first=True, norm_first=True)
    assert how(nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), (N, L, D)) == 3 * (PROJECTED + ATTENDED + FED)
    assert how(nn.TransformerDecoderLayer(D, 4, 32, batch_first=True), (N, L, D), (N, S, D)) == PROJECTED + ATTENDED + crossed + FED


def test_padding_that_an_encoder_leaves_out_is_not_counted():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(D, 4, 32, batch_first=True), 2)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    layer = sum(tokens * (4 * D * D + 2 * D * 32) + 2 * tokens**2 * D for tokens in (5, 3))
    assert macs(encoder.eval(), (N, L, D)) == 2 * (PROJECTED + ATTENDED + FED)
    with torch.inference_mode():
        assert count(Calls(lambda x: encoder(x, src_key_padding_mask=padding)), torch.rand(N, L, D)).certain == 2 * layer


@pytest.mark.parametrize("how", [macs, on_meta])
@pytest.mark.parametrize("kind, gates", [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_layers(how, kind, gates):
    one = gates * 8 * (D + 8)
    assert how(kind(D, 8, batch_first=True), (N, L, D)) == N * L * one
    assert how(kind(D, 8), (L, N, D)) == N * L * one
    assert how(kind(D, 8), (L, D)) == L * one  # without a batch
    assert how(kind(D, 8, 3), (L, N, D)) == N * L * (one + 2 * gates * 8 * (8 + 8))
    assert how(kind(D, 8, 2, bidirectional=True), (L, N, D)) == N * L * 2 * (one + gates * 8 * (2 * 8 + 8))
    assert how(kind(D, 8, bias=False), (L, N, D)) == N * L * one
    if kind is nn.LSTM:
        projected = 4 * 8 * (D + 6) + 6 * 8, 4 * 8 * (6 + 6) + 6 * 8
        assert how(kind(D, 8, 2, proj_size=6), (L, N, D)) == N * L * sum(projected)
    cell = {nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell, nn.RNN: nn.RNNCell}[kind]
    assert how(cell(D, 8), (N, D)) == N * one


def test_packed_sequences_count_their_own_steps():
    packed = nn.utils.rnn.pack_padded_sequence(torch.rand(N, L, D), torch.tensor([5, 3]), batch_first=True)
    for kind, gates in ((nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)):
        with torch.inference_mode():
            assert count(kind(D, 8).eval(), packed).certain == (5 + 3) * gates * 8 * (D + 8)


CONVOLUTIONS = {
    "plain": (nn.Conv2d(4, 6, 3), (N, 4, 8, 8), N * 6 * 6 * 6 * 4 * 9),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2, padding=1), (N, 4, 8, 8), N * 8 * 8 * 6 * 2 * 9),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, stride=2, padding=1), (N, 4, 8, 8), N * 4 * 4 * 8 * 9),
    "dilated": (nn.Conv2d(4, 6, 3, dilation=2), (N, 4, 8, 8), N * 4 * 4 * 6 * 4 * 9),
    "same": (nn.Conv2d(4, 6, 4, padding="same"), (N, 4, 8, 8), N * 8 * 8 * 6 * 4 * 16),
    "circular": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (N, 4, 8, 8), N * 8 * 8 * 6 * 4 * 9),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2), (N, 4, 8, 8), N * 8 * 8 * 4 * 6 * 9),
    "transposed and grouped": (nn.ConvTranspose2d(4, 6, 3, groups=2), (N, 4, 8, 8), N * 8 * 8 * 4 * 3 * 9),
    "one axis": (nn.Conv1d(4, 6, 3), (N, 4, 8), N * 6 * 6 * 4 * 3),
    "three axes": (nn.Conv3d(2, 3, (1, 3, 3)), (N, 2, 4, 8, 8), N * 4 * 6 * 6 * 3 * 2 * 9),
    "three axes, transposed": (nn.ConvTranspose3d(2, 3, 2), (N, 2, 4, 4, 4), N * 64 * 2 * 3 * 8),
}


@pytest.mark.parametrize("how", [macs, on_meta])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name, how):
    network, shape, expected = CONVOLUTIONS[name]
    assert how(network, shape) == expected


def _sparse(x):
    """Five numbers of x [3, 4]."""
    return (x * torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 0], [0, 1, 0, 1]])).to_sparse()


PRODUCTS = {
    "linear": (nn.Linear(4, 6), [(N, 3, 4)], N * 3 * 4 * 6),
    "bilinear": (nn.Bilinear(3, 4, 5), [(N, 3), (N, 4)], N * 5 * 3 * 4),
    "mv": (torch.mv, [(3, 4), (4,)], 3 * 4),
    "dot": (torch.dot, [(9,), (9,)], 9),
    "vdot": (torch.vdot, [(9,), (9,)], 9),
    "addmv": (torch.addmv, [(3,), (3, 4), (4,)], 3 * 4),
    "addmm": (torch.addmm, [(3, 5), (3, 4), (4, 5)], 3 * 4 * 5),
    "in place": (lambda a, x, y: a.addmm_(x, y), [(3, 5), (3, 4), (4, 5)], 3 * 4 * 5),
    "into": (lambda x, y: torch.mm(x, y, out=x.new_empty(3, 5)), [(3, 4), (4, 5)], 3 * 4 * 5),
    "addbmm": (torch.addbmm, [(3, 5), (N, 3, 4), (N, 4, 5)], N * 3 * 4 * 5),
    "baddbmm": (torch.baddbmm, [(N, 3, 5), (N, 3, 4), (N, 4, 5)], N * 3 * 4 * 5),
    "addr": (torch.addr, [(3, 5), (3,), (5,)], 3 * 5),
    "outer, element-wise": (torch.outer, [(3,), (5,)], 0),
    "matmul with a vector": (torch.matmul, [(N, 3, 4), (4,)], N * 3 * 4),
    "matmul, broadcast": (torch.matmul, [(N, 1, 3, 4), (6, 4, 5)], N * 6 * 3 * 4 * 5),
    "inner": (torch.inner, [(3, 4), (5, 4)], 3 * 4 * 5),
    "einsum": (lambda x, y: torch.einsum("bik,bkj->bij", x, y), [(N, 3, 4), (N, 4, 5)], N * 3 * 4 * 5),
    "einsum of rows": (lambda x, y: torch.einsum("bi,bi->b", x, y), [(N, 9), (N, 9)], N * 9),
    "tensordot": (lambda x, y: torch.tensordot(x, y, 2), [(3, 4, 5), (4, 5, 6)], 3 * 4 * 5 * 6),
    "complex": (lambda x, y: torch.mm(torch.complex(x, x), torch.complex(y, y)), [(3, 4), (4, 5)], 4 * 3 * 4 * 5),
    "cdist": (torch.cdist, [(N, 3, 4), (N, 5, 4)], N * 3 * 5 * 4),
    "cdist of many": (torch.cdist, [(30, 4), (40, 4)], 30 * 40 * 4),
    "pdist": (functional.pdist, [(5, 4)], 5 * 4 // 2 * 4),
    "sampling grid": (lambda x: functional.affine_grid(x, (N, 3, 5, 6), align_corners=False), [(N, 2, 3)], N * 5 * 6 * 2 * 3),
    "deformable": (torchvision.ops.DeformConv2d(4, 6, 3), [(N, 4, 8, 8), (N, 18, 6, 6)], N * 6 * 6 * 6 * 4 * 9),
    "conv_tbc": (lambda x, weight, bias: torch.conv_tbc(x, weight, bias, 1), [(5, N, 4), (3, 4, 6), (6,)], 5 * N * 6 * 4 * 3),
    "mapped over inputs": (torch.vmap(lambda x, y: x @ y), [(N, 3, 4), (N, 4, 5)], N * 3 * 4 * 5),
}
SPARSE = {
    "sparse.mm": (lambda x, y: torch.sparse.mm(_sparse(x), y), [(3, 4), (4, 6)], 5 * 6),
    "of rows": (lambda x, y: torch.sparse.mm(_sparse(x).to_sparse_csr(), y), [(3, 4), (4, 6)], 5 * 6),
    "operator": (lambda x, y: _sparse(x) @ y, [(3, 4), (4, 6)], 5 * 6),
    "vector": (lambda x, y: _sparse(x) @ y, [(3, 4), (4,)], 5),
    "added": (lambda a, x, y: torch.sparse.addmm(a, _sparse(x), y), [(3, 6), (3, 4), (4, 6)], 5 * 6),
    "from the right": (lambda x, y: x @ _sparse(y), [(6, 3), (3, 4)], 5 * 6),
    "linear": (lambda x, y: functional.linear(x, _sparse(y).to_sparse_csr()), [(6, 4), (3, 4)], 5 * 6),
    "sampled": (lambda x, y: torch.sparse.sampled_addmm(_sparse(y).to_sparse_csr(), x, x.new_ones(6, 4)), [(3, 6), (3, 4)], 5 * 6),
    "both": (lambda x, y: torch.sparse.mm(_sparse(x), _sparse(y).t()), [(3, 4), (3, 4)], 1 * 1 + 2 * 2 + 1 * 1 + 1 * 1),  # by column
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name):
    function, shapes, expected = PRODUCTS[name]
    assert macs(function, *shapes) == on_meta(function, *shapes) == expected


def test_sparse_products_count_stored_numbers():
    for name, (function, shapes, expected) in SPARSE.items():
        assert macs(function, *shapes) == expected, name


def _zeros(*shape):
    return torch.zeros(shape, device="meta")


def test_kernels_of_a_gpu():
    """They are not on every machine, but their forms are."""
    operations, q, k = torch.ops.aten, _zeros(N, 4, L, 8), _zeros(N, 4, S, 8)
    for attention in (
        lambda: operations._scaled_dot_product_efficient_attention(q, k, k, None, False),
        lambda: operations._scaled_dot_product_flash_attention(q, k, k),
        lambda: operations._scaled_dot_product_cudnn_attention(q, k, k, None, False),
    ):
        assert macs(attention) == N * 4 * L * S * 16
    x, state, weights = _zeros(L, N, D), _zeros(1, N, 8), [_zeros(32, D), _zeros(32, 8), _zeros(32), _zeros(32)]
    lstm = (x, weights, 4, None, state, state, 2, 8, 0, 1, False, 0.0, False, False, [], None)
    assert macs(lambda: operations._cudnn_rnn(*lstm)) == N * L * 4 * 8 * (D + 8)
    assert macs(lambda: operations._int_mm(_zeros(32, 16).char(), _zeros(16, 8).char())) == 32 * 16 * 8
    assert macs(lambda: operations._weight_int8pack_mm(_zeros(3, 4), _zeros(5, 4).char(), _zeros(5))) == 3 * 4 * 5


@pytest.mark.filterwarnings("ignore")
def test_quantised_layers():
    quantise, layers = torch.ao.quantization.quantize_dynamic, {nn.Linear, nn.LSTM, nn.GRU, nn.LSTMCell}
    assert macs(quantise(nn.Sequential(nn.Linear(4, 6), nn.ReLU()), layers), (N, 4)) == N * 4 * 6
    assert macs(quantise(nn.Sequential(nn.LSTM(D, 8, 2, bidirectional=True)), layers), (L, N, D)) == N * L * 2 * 4 * 8 * (D + 8 + 16 + 8)
    assert macs(quantise(nn.Sequential(nn.GRU(D, 8, batch_first=True)), layers), (N, L, D)) == N * L * 3 * 8 * (D + 8)
    assert macs(quantise(nn.Sequential(nn.LSTMCell(D, 8)), layers), (N, D)) == N * 4 * 8 * (D + 8)
    network = torchvision.models.quantization.shufflenet_v2_x0_5(weights=None).eval()
    expected = macs(network, (1, 3, 64, 64))
    network.fuse_model(is_qat=False)
    network.qconfig = torch.ao.quantization.default_qconfig
    torch.ao.quantization.prepare(network, inplace=True)
    network(torch.rand(1, 3, 64, 64))
    assert macs(torch.ao.quantization.convert(network), (1, 3, 64, 64)) == expected


@pytest.mark.filterwarnings("ignore")
def test_torchscript():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3)).eval()
    traced, expected = torch.jit.trace(network, torch.rand(1, 3, 8, 8)), 36 * 4 * 3 * 9 + 16 * 5 * 4 * 9
    assert macs(traced, (1, 3, 8, 8)) == macs(torch.jit.freeze(traced), (1, 3, 8, 8)) == expected
    assert macs(torch.jit.script(network), (1, 3, 8, 8)) == expected
    hidden = counted(torch.jit.optimize_for_inference(traced), (1, 3, 8, 8))
    assert hidden.uncounted in ((), (HIDDEN,)) and (hidden.uncounted or hidden.macs == expected)  # a processor without oneDNN


def test_only_what_a_condition_chose_is_counted():
    def early(x):
        return torch.cond(x.sum() > 0, lambda x: x @ x, lambda x: x + 1, (x,))

    assert macs(early, (3, 3)) == 27 and macs(lambda x: early(-x), (3, 3)) == 0


VIT = 4 * (4 * 65 * 128**2 + 2 * 65**2 * 128 + 2 * 65 * 128 * 256) + 64 * 48 * 128 + 128 * 10
"""Four layers of projections, attention and two linear layers of 256 hidden units; patches of 4 x 4 pixels; ten classes."""


def test_vision_transformers():
    assert VIT == 38_799_616
    theirs = torchvision.models.VisionTransformer(32, 4, 4, 4, 128, 256, num_classes=10)
    assert macs(theirs, (1, 3, 32, 32)) == on_meta(theirs, (1, 3, 32, 32)) == VIT
    timm = pytest.importorskip("timm")
    options = {"img_size": 32, "patch_size": 4, "embed_dim": 128, "depth": 4, "num_heads": 4, "mlp_ratio": 2, "num_classes": 10}
    network = timm.models.VisionTransformer(**options)
    assert macs(network, (1, 3, 32, 32)) == on_meta(network, (1, 3, 32, 32)) == VIT
    for block in network.blocks:
        block.attn.fused_attn = False
    assert macs(network, (N, 3, 32, 32)) == N * VIT


def test_attention_in_windows():
    window = torchvision.models.swin_transformer.ShiftedWindowAttention(D, [4, 4], [2, 2], 4)
    assert macs(window, (N, 8, 8, D)) == N * (64 * 4 * D * D + 4 * 2 * 16 * 16 * D)  # four windows of 16 tokens
    swin = torchvision.models.SwinTransformer([4, 4], D, [2], [4], [4, 4], num_classes=10)
    block = 64 * 4 * D * D + 4 * 2 * 16 * 16 * D + 2 * 64 * D * 4 * D
    assert macs(swin, (1, 3, 32, 32)) == 64 * 48 * D + 2 * block + D * 10


def test_mixer():
    timm = pytest.importorskip("timm")
    options = {"img_size": 32, "patch_size": 8, "embed_dim": D, "num_blocks": 3, "num_classes": 10, "mlp_ratio": (0.5, 4.0)}
    mixer = timm.models.MlpMixer(**options)
    block = 2 * D * 16 * 8 + 2 * 16 * D * 4 * D  # over 16 tokens with 8 hidden units, over D channels with 4 D
    assert macs(mixer, (1, 3, 32, 32)) == 16 * 3 * 64 * D + 3 * block + D * 10


class Early(nn.Module):
    """Answers before its transformer layer where it is sure enough."""

    def __init__(self, threshold):
        super().__init__()
        torch.manual_seed(0)
        self.threshold, self.a = threshold, nn.Conv2d(3, 64, 4, 4)
        self.e, self.o = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), nn.Linear(64, 10)

    def forward(self, x):
        x = self.a(x).flatten(2).transpose(1, 2)
        y = self.o(x.mean(1))
        return y if y.softmax(1).max() > self.threshold else self.o(self.e(x).mean(1))


def test_an_exit_before_a_transformer_layer():
    stem, layer, head = 64 * 48 * 64, 4 * 64 * 64**2 + 2 * 64**2 * 64 + 2 * 64 * 64 * 128, 64 * 10
    assert macs(Early(0), (1, 3, 32, 32)) == stem + head
    assert macs(Early(2), (1, 3, 32, 32)) == stem + layer + 2 * head == 2_819_328


def test_counting_leaves_answers_and_settings_alone():
    network, x = Early(2).eval(), torch.rand(1, 3, 32, 32)
    fast, kept = torch.backends.mha.get_fastpath_enabled(), []
    network.register_forward_hook(lambda module, inputs, output: kept.append(output))
    with torch.inference_mode():
        expected = network(x)
        count(network, x)
    assert torch.equal(kept[0], kept[1]) and torch.equal(expected, kept[1])
    assert torch.backends.mha.get_fastpath_enabled() == fast


def _unwritten(x):
    """What a kernel outside of torch would have filled."""
    return torch.empty_like(x) + x


UNCOUNTED = {
    "mylib::mystery": mystery,
    "aten::_fft_r2c": torch.fft.rfft,
    "aten::linalg_inv_ex": lambda x: torch.linalg.inv(x @ x.T + torch.eye(3)),
    OUTSIDE: _unwritten,
}


@pytest.mark.parametrize("name", UNCOUNTED)
def test_an_operation_without_a_formula_is_named(name):
    result = counted(UNCOUNTED[name], (3, 4))
    assert result.uncounted == (name,)
    with pytest.raises(GatebenchError, match=f"no formula for the MACs of {name}.*register_flop_formula"):
        result.certain  # noqa: B018


def test_a_formula_of_ones_own_is_used():
    assert macs(lambda x: known(x) @ x, (3, 4)) == 3 * 3 * 4 + 3 * 3 * 4


def test_a_tensor_that_is_filled_later_is_no_kernel():
    def fills(x):
        parts = torch.empty(4, 3)
        parts[:2], parts[2:] = x, 0.0
        noise = torch.empty_like(x).exponential_().log()
        return parts.sum() + noise + x.new_empty(2, 3).copy_(x) + functional.gumbel_softmax(x) + torch.tensor([1.0, 2.0, 3.0])

    assert macs(fills, (2, 3)) == 0


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x // 2, lambda x: x.floor_divide_(2.0), lambda x: torch._foreach_mul([x, x], 2.0), lambda x: torch._foreach_norm([x]),
        lambda x: torch.distributions.Gamma(x.abs() + 1, 1.0).sample(), lambda x: torch.distributions.Dirichlet(x.abs() + 1).sample(),
        lambda x: functional.multi_margin_loss(x, torch.tensor([0, 1])),
    ],
)  # fmt: skip
def test_what_multiplies_no_matrices_costs_nothing(work):
    assert macs(work, (2, 4)) == 0


def test_operations_that_work_are_never_free():
    names = (
        "mm bmm addmm addmv addbmm baddbmm mv dot vdot addr convolution _cdist_forward _trilinear _sparse_addmm mkldnn_rnn_layer _cudnn_rnn"
        " _native_multi_head_attention _transformer_encoder_layer_fwd scaled_dot_product_attention _fft_c2c _fft_r2c _fft_c2r linalg_inv_ex"
        " linalg_lu_factor_ex linalg_cholesky_ex linalg_qr linalg_eig _linalg_svd _linalg_solve_ex linalg_solve_triangular"
        " linalg_matrix_exp quantized_lstm _grouped_mm _scaled_mm convolution_backward _linalg_det cholesky_solve"
    )
    for name in names.split():
        packet = getattr(torch.ops.aten, name, None)
        assert packet is None or not any(formulas.free(getattr(packet, each)) for each in packet.overloads()), name


LIBRARY = {
    "torchvision": (("resnet18", 32), ("mobilenet_v3_small", 32), ("shufflenet_v2_x0_5", 32), ("efficientnet_b0", 32)),
    "timm": (("convnext_atto", 32), ("mobilevit_xxs", 64), ("levit_128s", 224), ("ghostnet_050", 32)),
}
MORE = {
    "torchvision": (("densenet121", 64), ("convnext_tiny", 64), ("swin_v2_t", 64), ("maxvit_t", 224), ("googlenet", 64)),
    "timm": (
        ("deit_tiny_patch16_224", 224), ("mobilevit_s", 128), ("mixer_s32_224", 224), ("gmlp_ti16_224", 224), ("poolformer_s12", 64),
        ("pvt_v2_b0", 64), ("cait_xxs24_224", 224), ("coat_tiny", 224), ("twins_svt_small", 224), ("xcit_nano_12_p16_224", 224),
        ("edgenext_xx_small", 64), ("eva02_tiny_patch14_224", 224), ("focalnet_tiny_srf", 64), ("mvitv2_tiny", 224), ("davit_tiny", 64),
        ("lambda_resnet26t", 128), ("fastvit_t8", 64), ("nest_tiny", 224), ("convit_tiny", 224), ("nfnet_f0", 64), ("resnest14d", 64),
        ("crossvit_tiny_240", 240), ("maxxvit_rmlp_nano_rw_256", 256), ("gcvit_xxtiny", 224), ("vit_relpos_small_patch16_224", 224),
    ),
}  # fmt: skip


def _of_library(library, name):
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if library == "torchvision":
            return torchvision.models.get_model(name, weights=None).eval()
        return pytest.importorskip("timm").create_model(name).eval()


@pytest.mark.parametrize("library", LIBRARY)
def test_nothing_is_uncounted_in_ordinary_networks(library):
    for name, size in LIBRARY[library]:
        assert on_meta(_of_library(library, name), (1, 3, size, size)) > 10_000, name


@pytest.mark.slow
@pytest.mark.parametrize("library", MORE)
def test_nothing_is_uncounted_in_many_networks(library):
    for name, size in MORE[library]:
        assert on_meta(_of_library(library, name), (1, 3, size, size)) > 10_000, name


def test_published_counts():
    """ResNet-18 and MobileNetV2 at 224 x 224, as torchvision publishes them: 1.814 and 0.301 G MACs."""
    assert math.isclose(on_meta(_of_library("torchvision", "resnet18"), (1, 3, 224, 224)), 1.814e9, rel_tol=1e-3)
    assert math.isclose(on_meta(_of_library("torchvision", "mobilenet_v2"), (1, 3, 224, 224)), 0.301e9, rel_tol=2e-3)


def test_batch_norm_counts_nothing_unless_its_forward_is_another():
    own = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    assert count_macs(own, (1, 3, 5, 5)) == 3 * 4 * 25
    own[1].forward = lambda x: torch.conv2d(x, torch.ones(2, 4, 1, 1, device=x.device))
    assert count_macs(own, (1, 3, 5, 5)) == (3 * 4 + 4 * 2) * 25


OWN = """
import torch
from torch import nn

try:
    @torch.library.custom_op("elsewhere::mystery", mutates_args=())
    def mystery(x: torch.Tensor) -> torch.Tensor:
        return x * 2
except RuntimeError:  # imported before
    pass

class Own(nn.Module):
    def __init__(self, classes, last):
        super().__init__()
        self.first, self.head, self.last = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8, classes), last
    def forward(self, x):
        y = self.head(self.first(x).mean((2, 3)))
        if self.last == "shy" and "Counter" in str(torch.utils._python_dispatch._get_current_dispatch_mode()):
            raise ValueError("somebody counts")
        return torch.ops.elsewhere.mystery(y) if self.last == "mystery" and x[0, 0, 0, 0] > 0 else y

def build(classes):
    return Own(classes, "mystery")
def plain(classes):
    return Own(classes, "plain")
def shy(classes):
    return Own(classes, "shy")
"""


def test_a_network_with_such_an_operation_has_no_count(gatebench, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    pixels, labels = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), np.uint8), np.arange(24) % 3
    np.savez(tmp_path / "images.npz", train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels)
    own, data = f"{tmp_path}/own.py", ["--dataset", f"{tmp_path}/images.npz"]
    quick = [*data, "--inputs", "24", "--repeats", "5", "--max-seconds", "2", "--threads", "1"]

    def profile(*arguments):
        done = gatebench("profile-latency", *arguments, *quick, "--out", str(tmp_path / "times"))
        assert done.returncode in (0, 3), done.stderr
        (file,) = (tmp_path / "times").rglob("*.jsonl")
        (row,) = (json.loads(line) for line in file.read_text().splitlines())
        file.unlink()
        return done.stdout, TimeRow.model_validate(row)

    shown, row = profile(own, "--vs", f"{own}:plain")
    assert row.timed_macs_executed is None and row.timed_saving_pct is None and row.realised is None and row.speedup
    assert row.uncounted == ["elsewhere::mystery"] and row.rival_uncounted is None
    assert "not counted" in shown and "own (elsewhere::mystery)" in shown
    shown, row = profile(f"{own}:plain", "--vs", f"{own}:shy")
    assert row.timed_macs_executed == 8 * 8 * 8 * 27 + 8 * 3 and row.timed_saving_pct is None and row.uncounted is None
    assert row.rival_uncounted == ["ValueError when counted"] and "own:shy (ValueError when counted)" in shown
