"""The operators that a graph from a stranger may hold: those of ordinary networks, and no others.

A positive list, since aten as a whole is not made for strangers: `_reshape_alias` shows memory that is not
the tensor's, `set_` and `resize_` exchange it, `_unsafe_index` and fused kernels check no bounds,
`from_file` and `save` touch files, `empty` shows what lay in memory. The list was made by exporting some
250 models (every layer of `torch.nn`, the usual functions), as `torch.export` leaves them and decomposed.
What was then found to believe its arguments, called with shapes that disagree, was taken out again:
`embedding_bag` (an offset below 0), `grid_sampler` (a mode that it does not know),
`_native_batch_norm_legit_no_training` (statistics of fewer channels); `lstm` and attention are checked as
they run (`checked_operators`). Names stand for all their overloads but those that write into an argument;
an operator of `IN_PLACE` may change the result of an earlier one, never an input or a weight.
"""

from __future__ import annotations

import torch

#: One number from each place.
_ELEMENTS = """
__and__ __or__ abs acos acosh add addcdiv addcmul alias angle asin asinh atan atan2 atanh bitwise_and
bitwise_not bitwise_or bitwise_xor ceil celu clamp clamp_max clamp_min clone complex copysign cos cosh
detach div divide elu eq erf erfc exp exp2 expm1 floor floor_divide fmax fmin fmod frac ge gelu glu greater
gt hardshrink hardsigmoid hardswish hardtanh hypot imag isfinite isinf isnan le leaky_relu lerp less log
log10 log1p log2 log_sigmoid log_sigmoid_forward logaddexp logical_and logical_not logical_or logical_xor
logit lt masked_fill maximum minimum mish mul multiply nan_to_num ne neg pow prelu _prelu_kernel real
reciprocal relu relu6 remainder round rsqrt rsub selu sgn sigmoid sign silu sin sinc sinh softplus
softshrink sqrt square sub subtract tan tanh threshold true_divide trunc where xlogy dropout alpha_dropout
feature_dropout feature_alpha_dropout rrelu rrelu_with_noise_functional type_as to _to_copy lift_fresh_copy
"""
#: Many numbers into one, or into an order.
_REDUCTIONS = """
all amax amin aminmax any argmax argmin argsort count_nonzero cumprod cumsum kthvalue linalg_matrix_norm
linalg_norm linalg_vector_norm log_softmax _log_softmax logsumexp max mean median min norm prod
_safe_softmax softmax _softmax sort std std_mean sum topk var var_mean cosine_similarity pairwise_distance
dist
"""
#: The same numbers in another shape; each checks what it is asked for.
_SHAPES = """
broadcast_to cat channel_shuffle chunk concat constant_pad_nd contiguous diagonal expand expand_as flatten
flip linalg_diagonal matrix_H mH mT meshgrid movedim narrow numpy_T pad permute pixel_shuffle
pixel_unshuffle reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave
replication_pad1d replication_pad2d replication_pad3d reshape roll select select_scatter slice slice_scatter
split split_with_sizes squeeze stack swapaxes t tensor_split tile transpose tril triu unbind unflatten
unfold unsqueeze _unsafe_view view view_as
"""
#: By an index, which is checked.
_INDICES = """
bucketize embedding gather index index_add index_put index_select one_hot scatter scatter_add take_along_dim
"""
#: Products and what is made of them.
_PRODUCTS = """
addbmm addmm addmv addr baddbmm bilinear bmm cdist chain_matmul conv1d conv2d conv3d conv_transpose1d
conv_transpose2d conv_transpose3d convolution copy dot einsum inner kron linalg_multi_dot linear matmul mm
mv outer scaled_dot_product_attention tensordot _trilinear gru gru_cell lstm lstm_cell rnn_relu
rnn_relu_cell rnn_tanh rnn_tanh_cell fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_ifft2
"""
_NORMS_AND_POOLS = """
batch_norm group_norm instance_norm layer_norm native_group_norm native_layer_norm rms_norm
adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d
adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d max_pool1d
max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices affine_grid_generator im2col col2im
upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d
upsample_nearest3d upsample_trilinear3d _upsample_nearest_exact1d _upsample_nearest_exact2d
_upsample_nearest_exact3d
"""
#: New numbers.
_NEW = """
arange bernoulli eye full full_like linspace new_full new_ones new_zeros ones ones_like rand rand_like randn
randn_like scalar_tensor zeros zeros_like
"""
#: What an export notes about sizes and dtypes.
_NOTES = """
_assert_scalar _assert_tensor_metadata sym_constrain_range sym_constrain_range_for_size sym_numel sym_size
"""
ORDINARY = frozenset(
    " ".join((_ELEMENTS, _REDUCTIONS, _SHAPES, _INDICES, _PRODUCTS, _NORMS_AND_POOLS, _NEW, _NOTES)).split()
)
_IN_PLACE = """
add_ alpha_dropout_ celu_ clamp_ clamp_max_ clamp_min_ copy_ detach_ div_ dropout_ elu_ exp_
feature_alpha_dropout_ feature_dropout_ fill_ hardsigmoid_ hardswish_ hardtanh_ leaky_relu_ masked_fill_
mish_ mul_ neg_ pow_ relu6_ relu_ rrelu_ selu_ sigmoid_ silu_ sqrt_ sub_ tanh_ threshold_ zero_
"""
#: Into the result of an earlier operator.
IN_PLACE = frozenset(_IN_PLACE.split())

#: Overloads of recurrent layers that take packed sequences, whose lengths their kernels believe.
_PACKED = ("data",)


def is_ordinary(name: str, overload: str) -> bool:
    """Whether `aten.name.overload` exists, is on the list, and writes nowhere that the list does not say."""
    found = getattr(getattr(torch.ops.aten, name, None), overload, None)
    if name not in ORDINARY | IN_PLACE or overload in _PACKED or not isinstance(found, torch._ops.OpOverload):
        return False
    written = [argument for argument in found._schema.arguments if _is_written(argument)]
    return not written or (name in IN_PLACE and written == found._schema.arguments[:1])


def _is_written(argument: torch.Argument) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write
