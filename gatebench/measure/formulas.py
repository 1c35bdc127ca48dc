"""What one operation of torch costs in multiply-accumulates (MACs): by a formula, nothing, or unknown.

A product of matrices and a convolution cost the multiplications whose results are summed, with zeros at the border and masked scores
of attention counted as computed. Element-wise work, reductions, normalisation, softmax, pooling, interpolation, look-ups, sorting and
copies cost nothing, as is usual in the field: `free` says which operations that are. Any other operation without a formula is unknown.

Formulas here are for what an operator dispatches to on a processor or a GPU. Others are those of `torch.utils.flop_counter`, where
`register_flop_formula` adds one for an operation of somebody's own.
"""

import math
import re
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch._ops import OpOverload

Formula = Callable[..., int]
"""From an operation's arguments, and its (first) result `out`, to MACs."""


def macs(operation, arguments: tuple, keywords: dict, out) -> float | None:
    """MACs of one call of an operation that gave `out`; None where they are unknown."""
    from torch.utils.flop_counter import flop_registry  # takes its time

    formula, registered = own_formula(operation), flop_registry.get(getattr(operation, "overloadpacket", operation))
    try:
        if formula:
            return formula(*arguments, **keywords | {"out": out[0] if isinstance(out, (tuple, list)) else out})
        if registered:
            return registered(*arguments, **keywords, out_val=out) / 2  # FLOPs, two a MAC
    except Exception:  # of tensors that a formula does not foresee, such as ragged ones
        return None
    return 0 if free(operation) else None


@cache
def own_formula(operation) -> Formula | None:
    """The formula that is declared here, by which an operation is counted as one, and not by those that it is made of."""
    name = base_name(operation)
    return FORMULAS.get(name) or next((formula for pattern, formula in PATTERNS.items() if re.fullmatch(pattern, name)), None)


@cache
def free(operation) -> bool:
    """Whether an operation is known to multiply no matrices: by its tags, because it gives a view, or by name."""
    package, _, name = base_name(operation).partition("::")
    if FREE.fullmatch(name) if package == "aten" else FREE_ELSEWHERE.fullmatch(f"{package}::{name}"):
        return True
    packet = getattr(torch.ops.aten, name, None) if package == "aten" else None
    overloads = [getattr(packet, each) for each in packet.overloads()] if packet else []  # an in-place form lacks some tags
    return any(each.is_view or FREE_TAGS.intersection(each.tags) for each in (operation, *overloads) if isinstance(each, OpOverload))


@cache
def base_name(operation) -> str:
    """package::name, the same for an operation and its in-place form."""
    if not hasattr(operation, "_schema"):
        return str(operation)
    name = operation._schema.name
    return name if name.endswith("__") else name.removesuffix("_")


def entries(x: Tensor) -> int:
    """Stored numbers of a dense or sparse tensor."""
    if x.layout == torch.sparse_coo:
        return x._values().numel()
    return x.numel() if x.layout in (torch.strided, torch._mkldnn) else x.values().numel()


def _product(x: Tensor, y: Tensor, *_, out: Tensor, **__) -> int:
    """Of x [..., N, K] and y [..., K, M] or y [K]; of a sparse one its stored numbers, of complex ones four real products."""
    times = 4 if x.is_complex() else 1
    sparse = [each.layout not in (torch.strided, torch._mkldnn) for each in (x, y)]
    if all(sparse):
        left, right = x.to_sparse_coo().coalesce(), y.to_sparse_coo().coalesce()
        counts = (torch.bincount(of, minlength=x.shape[1]) for of in (left.indices()[1], right.indices()[0]))
        return times * int(math.prod(counts).sum())
    if sparse[1]:
        return times * entries(y) * x.shape[-2]
    return times * entries(x) * (y.shape[-1] if y.dim() > 1 else 1)


def _added_product(_, x: Tensor, y: Tensor, *__, out: Tensor, **___) -> int:
    return _product(x, y, out=out)


def _linear(x: Tensor, weight: Tensor, *_, out: Tensor, **__) -> int:
    """Of x [..., K] and weight [M, K]."""
    return x.numel() // x.size(-1) * entries(weight)


def _inner_products(x: Tensor, *_, out: Tensor, **__) -> int:
    """One for each result, of x [..., K]."""
    return out.numel() * x.size(-1)


def _convolution(x: Tensor, weight: Tensor, bias=None, stride=1, padding=0, dilation=1, transposed=False, *_, out: Tensor, **__) -> int:
    return _transposed(x, weight) if transposed else _direct(x, weight, out=out)


def _direct(x: Tensor, weight: Tensor, *_, out: Tensor, **__) -> int:
    """Of weight [D, C / groups, ...]."""
    return out.numel() * math.prod(weight.shape[1:])


def _transposed(x: Tensor, weight: Tensor, *_, **__) -> int:
    """Of weight [C, D / groups, ...]."""
    return x.numel() * math.prod(weight.shape[1:])


def _packed(x: Tensor, packed, *_, out: Tensor, **__) -> int:
    """A quantised convolution, whose weights are packed with their settings."""
    weight, _ = packed.unpack()
    return _convolution(x, weight, transposed=bool(packed.transpose()), out=out)


def _attention(query: Tensor, key: Tensor, value: Tensor, *_, out: Tensor, **__) -> int:
    """Of query [..., L, E], key [..., S, E], value [..., S, V]: scores, and what they weigh; masked and causal ones are computed."""
    return out.numel() // value.shape[-1] * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _multi_head(query: Tensor, key: Tensor, value: Tensor, width: int, *_, out: Tensor | None = None, **__) -> int:
    """Four projections, scores, and what they weigh; without padding where tensors are nested."""
    pairs = zip(_lengths(query), _lengths(key), strict=True)
    return sum(2 * (long + short) * width**2 + 2 * long * short * width for long, short in pairs)


def _encoder_layer(x: Tensor, width: int, heads: int, *arguments, out: Tensor) -> int:
    """Self-attention and two linear layers."""
    first, second = (arguments[index] for index in (11, 13))
    return _multi_head(x, x, x, width) + sum(_lengths(x)) * (first.numel() + second.numel())


def _lengths(x: Tensor) -> list[int]:
    """Tokens of each input [N, L, E]."""
    return x._nested_tensor_size()[:, 0].tolist() if x.is_nested else [x.shape[1]] * x.shape[0]


def _recurrent(x: Tensor, weights: list[Tensor], *_, out: Tensor, **__) -> int:
    """All matrices, in every step of every sequence: x [..., I]."""
    return x.numel() // x.shape[-1] * sum(each.numel() for each in weights if each.dim() == 2)


def _recurrent_layer(x: Tensor, of_input: Tensor, of_state: Tensor, *_, out: Tensor, **__) -> int:
    return _recurrent(x, [of_input, of_state], out=out)


def _quantised_recurrent(gates: int) -> Formula:
    def formula(x: Tensor, *arguments, out: Tensor, **_) -> int:
        if isinstance(arguments[2], bool):
            state, _, _, layers, _, _, both_ways = arguments[:7]
        else:  # packed sequences: with their sizes
            _, state, _, _, layers, _, _, both_ways = arguments[:8]
        hidden, ways = (state if isinstance(state, Tensor) else state[0]).shape[-1], 1 + both_ways
        inputs = x.shape[-1] + (layers - 1) * ways * hidden
        return x.numel() // x.shape[-1] * ways * gates * hidden * (inputs + layers * hidden)

    return formula


def _quantised_cell(gates: int) -> Formula:
    return lambda x, *_, out, **__: gates * out.numel() * (x.shape[-1] + out.shape[-1])


def _trilinear(*arguments, out: Tensor) -> int:
    """Of `nn.Bilinear`: a linear layer on the outer product of both inputs, which is element-wise work."""
    tensors = list(arguments[:3])
    for index, axes in enumerate(arguments[3:6]):
        for axis in axes:
            tensors[index] = tensors[index].unsqueeze(axis)
    return math.prod(torch.broadcast_shapes(*(each.shape for each in tensors)))


def _sampled(self: Tensor, x: Tensor, *_, out: Tensor, **__) -> int:
    return entries(self) * x.shape[-1]


def _aten(formula: Formula, names: str) -> dict[str, Formula]:
    return {f"aten::{name}": formula for name in names.split()}


FORMULAS: dict[str, Formula] = {
    **_aten(_product, "mm bmm mv dot vdot _int_mm _scaled_mm _sparse_sparse_matmul _sparse_mm_reduce_impl hspmm"),
    **_aten(_added_product, "addmm addmv addbmm baddbmm _addmm_activation _sparse_addmm sspaddmm"),
    **_aten(lambda self, x, y, *_, out, **__: out.numel(), "addr"),
    **_aten(_linear, "linear mkldnn_linear"),
    **_aten(
        _inner_products,
        "_cdist_forward _euclidean_dist _pdist_forward _weight_int8pack_mm _weight_int4pack_mm _weight_int4pack_mm_for_cpu",
    ),
    **_aten(_convolution, "convolution _convolution convolution_overrideable"),
    **_aten(
        _direct,
        "_slow_conv2d_forward slow_conv3d_forward slow_conv_dilated2d slow_conv_dilated3d _conv_depthwise2d conv_depthwise3d"
        " mkldnn_convolution cudnn_convolution cudnn_convolution_relu cudnn_convolution_add_relu miopen_convolution"
        " miopen_depthwise_convolution miopen_convolution_relu miopen_convolution_add_relu _nnpack_spatial_convolution _mps_convolution",
    ),
    **_aten(_transposed, "cudnn_convolution_transpose miopen_convolution_transpose slow_conv_transpose2d slow_conv_transpose3d"),
    **_aten(lambda x, weight, *_, out, **__: out.numel() * math.prod(weight.shape[:2]), "conv_tbc"),
    **_aten(
        _attention,
        "scaled_dot_product_attention _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention"
        " _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention _scaled_dot_product_fused_attention_overrideable"
        " _scaled_dot_product_attention_math_for_mps",
    ),
    **_aten(_multi_head, "_native_multi_head_attention"),
    **_aten(_encoder_layer, "_transformer_encoder_layer_fwd"),
    **_aten(_recurrent, "_cudnn_rnn miopen_rnn"),
    **_aten(_recurrent_layer, "mkldnn_rnn_layer"),
    **_aten(_quantised_recurrent(4), "quantized_lstm"),
    **_aten(_quantised_recurrent(3), "quantized_gru"),
    **_aten(_trilinear, "_trilinear"),
    **_aten(lambda theta, *_, out, **__: out.numel() * theta.shape[-1], "affine_grid_generator cudnn_affine_grid_generator"),
    **_aten(_sampled, "sparse_sampled_addmm"),
    "torchvision::deform_conv2d": _direct,
    "quantized::matmul": _product,
    "quantized::quantized_lstm_cell_dynamic": _quantised_cell(4),
    "quantized::quantized_gru_cell_dynamic": _quantised_cell(3),
    "quantized::quantized_rnn_tanh_cell_dynamic": _quantised_cell(1),
    "quantized::quantized_rnn_relu_cell_dynamic": _quantised_cell(1),
}
"""Formulas by `base_name`."""
PATTERNS: dict[str, Formula] = {
    r"quantized::linear(?!\w*pack)\w*": _inner_products,
    r"quantized::conv(_transpose)?\dd(_relu)?(_dynamic)?": _packed,
}
"""Formulas of families of names."""
FREE_TAGS = {tag for tag in (torch.Tag.pointwise, getattr(torch.Tag, "reduction", None)) if tag is not None}
FREE = re.compile(
    "|".join(
        (
            # new tensors
            r"_?empty\w*|zeros(_like)?|ones(_like)?|full(_like)?|new_\w+|_efficientzerotensor|arange|range|linspace|logspace|eye|scalar_tensor",
            r"tri[lu]_indices|\w+_window|fft_r?fftfreq|complex|polar|lift\w*|from_file",
            r"rand\w*|bernoulli|normal|uniform|log_normal|exponential|geometric|cauchy|multinomial|poisson|binomial|random|\w*dropout",
            # copies and shapes
            r"\w+_copy|_?copy|copy_\w+|_copy_\w+|clone|detach|cat|stack|_stack|_chunk_cat|repeat|repeat_interleave|roll|flip|rot90|block_diag|diag_embed",
            r"(constant|reflection|replication)_pad\w+|_pack_padded_sequence|pixel_(un)?shuffle|channel_shuffle|im2col|col2im|tril|triu|fill|zero",
            r"__i?[lr]shift__|set|resize\w*|_resize_output|as_strided|\w+_scatter|_unsafe_view|unsafe_split\w*|_to_copy|_lazy_clone|_reshape_alias",
            r"_?to_(dense|sparse\w*|mkldnn|padded_tensor)|_mkldnn_(reshape|transpose)|mkldnn_reorder\w+|_nested_\w+|_coalesced?|sparse_mask",
            r"_?sparse_(coo|csr|csc|bsr|bsc|compressed)_tensor\w*|_convert_(indices|weight)\w+|_jagged_to_padded\w+|_padded_dense_to_jagged\w+",
            # look-ups, sorting, counting
            r"index\w*|_index_put_impl|_?unsafe_(masked_)?index\w*|gather|scatter\w*|masked_(fill|scatter|select)|take|put|where|isin",
            r"floor_divide|_standard_gamma\w*|_sample_dirichlet|_foreach_(?!\w*mm)\w+|embedding\w*|_embedding_bag\w*|nonzero\w*|sort|topk|kthvalue|median|nanmedian|mode|searchsorted|bucketize|bincount|histc",
            r"_?unique\w*|segment_reduce",
            # reductions and scans
            r"all|amax|amin|_?aminmax|any|argmax|argmin|count_nonzero|linalg_vector_norm|logsumexp|max|min|mean|nansum|norm|prod|std|std_mean",
            r"sum|var|var_mean|trace|dist|equal|_is_(all|any)_true|_sparse_(sum|csr_sum|csr_prod)|_?cum(sum|prod|max|min)(_helper)?|_?logcumsumexp",
            # pooling and interpolation
            r"\w*(avg|max)_pool\w*|max_unpool\w+|_?upsample_\w+|_?grid_sampler\w*|cudnn_grid_sampler",
            # normalisation, softmax, activations, losses
            r"\w*(batch|layer|group|instance|rms|weight)_norm\w*|native_norm|renorm|\w*softmax\w*|glu|hardswish|log_sigmoid_forward|_prelu_kernel",
            r"rrelu_with_noise|_add_relu|threshold|_thnn_fused_(lstm|gru)_cell|_transform_bias_rescale_qkv|linalg_cross",
            r"(mse|l1|smooth_l1|huber|nll|soft_margin|multi_margin|multilabel_margin)_loss\w*|binary_cross_entropy\w*",
            # quantisation
            r"quantize_per_\w+|dequantize|_?fake_quantize_\w+|_fused_moving_avg\w+|_make_per_\w+|int_repr|q_\w+|qscheme|_choose_qparams\w*",
            # checks, sizes, what a kernel asks for
            r"_?assert\w*|_functional_assert\w*|_?linalg_check_errors|sym_\w+|is_\w+|_local_scalar_dense|_nnz|_dim[IV]|(dense|sparse)_dim|size|stride",
            r"numel|dim|storage_offset|allclose|record_stream|_has_same_storage_numel|_fused_sdp_choice|_validate_\w+|_print|_pin_memory",
            r"_cudnn_(rnn_flatten_weight|init_dropout_state)",
        )
    )
)
"""Operations of torch that cost nothing, by name; besides those with `FREE_TAGS` and views."""
FREE_ELSEWHERE = re.compile(
    r"prim::\w+|torchvision::(q?nms|q?(ps_)?roi_(align|pool)|box_iou_rotated)"
    r"|quantized::((add|mul|cat)(_\w+)?|\w*(relu6?|swish|sigmoid|clamp|celu|elu|softmax|threshold|dropout)|max_pool\w*"
    r"|(batch|layer|group|instance)_norm\w*|embedding_\w+|\w+_(un|pre)pack\w*)"
)
"""Operations of other packages that cost nothing."""
