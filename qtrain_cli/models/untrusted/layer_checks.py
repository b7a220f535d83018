"""Whether what a stock layer says of itself is what its tensors are.

A layer's kernels believe its attributes: no heads divide by zero, no hidden units are a null pointer, 10**12
layers are a loop without end. So a layer with tensors has to be the one that its own constructor makes of its
attributes: the same names, shapes and derived numbers. It is made on the meta device, where sizes cost
nothing, after every number was bounded. Layers without tensors have the bounds alone.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from qtrain_cli.errors import first_line

#: Attributes that are counts: zero or less makes no layer.
_COUNTS = frozenset({
    "in_features", "out_features", "in1_features", "in2_features", "in_channels", "out_channels", "groups",
    "kernel_size", "stride", "dilation", "num_features", "num_embeddings", "embedding_dim", "input_size",
    "hidden_size", "num_layers", "num_heads", "head_dim", "embed_dim", "kdim", "vdim", "num_groups",
    "num_channels", "num_parameters", "normalized_shape", "upscale_factor", "downscale_factor", "size",
    "output_size", "scale_factor", "d_model", "nhead", "n_classes",
})  # fmt: skip
#: Attributes by which outputs become larger than inputs, and the most that they may be.
_GROWING = frozenset({"size", "output_size", "padding", "output_padding", "scale_factor", "upscale_factor"})
_MOST_GROWTH, _MOST = 4096, 2**31
#: What is set by `nn.Module` itself, or set anew.
_DERIVED = frozenset({*vars(nn.Module()), "_flat_weights"})
_SKIPPED = ("self", "device", "dtype", "args", "kwargs")


def number_problem(cls: type[nn.Module], state: Mapping[str, Any]) -> str:
    """What is wrong with the numbers of a layer's state, before anything is made of it; "" if nothing."""
    for name, value in state.items():
        for number in _numbers(value):
            if name in _COUNTS and not number > 0:
                return f"has {name}={number}; allowed: above 0"
            if not abs(number) <= (_MOST_GROWTH if name in _GROWING else _MOST):
                return f"has {name}={number}; allowed: up to {_MOST_GROWTH if name in _GROWING else _MOST}"
    layers, tensors = state.get("num_layers"), len(state.get("_parameters") or ())
    if issubclass(cls, nn.RNNBase) and not (type(layers) is int and layers <= tensors):
        return f"has num_layers={layers} and {tensors} tensors"
    return ""


def layer_problem(module: nn.Module) -> str:
    """How a restored layer differs from what its constructor makes of its attributes; "" if it does not."""
    if not _has_tensors(type(module)):
        return ""
    try:
        with warnings.catch_warnings(), torch.device("meta"), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")  # dropout between the layers of one layer, and the like
            fresh = type(module)(**_arguments(module))
    except Exception as error:
        return f"has attributes that make no {type(module).__name__}: {first_line(error)[:200]}"
    own, due = _shapes(module), _shapes(fresh)
    different = [name for name in sorted(own.keys() | due.keys()) if own.get(name) != due.get(name)]
    if different:
        name = different[0]
        return f"has '{name}' of the shape {own.get(name)}; its attributes need {due.get(name)}"
    own_of_class = {key: value for key, value in vars(fresh).items() if key not in _DERIVED}
    changed = [key for key, due in own_of_class.items() if _is_changed(due, vars(module).get(key, due))]
    if changed:
        return f"has {changed[0]}={str(vars(module)[changed[0]])[:80]}, which does not follow from the others"
    if isinstance(module, nn.RNNBase):  # what its kernel gets, whatever the file calls it
        names: Any = fresh._flat_weights_names
        module._flat_weights = [getattr(module, name) for name in names]
    return ""


def _has_tensors(cls: type[nn.Module]) -> bool:
    made_of_others = (nn.Transformer, nn.AdaptiveLogSoftmaxWithLoss)
    takes = inspect.signature(cls).parameters
    return issubclass(cls, nn.RNNBase) or ("device" in takes and not issubclass(cls, made_of_others))


def _arguments(module: nn.Module) -> dict[str, Any]:
    """What the constructor of a layer's class was called with, read off the layer."""
    if isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
        return _of_transformer(module)
    given = {**vars(module), "bias": vars(module).get("bias", _present(module, "bias"))}
    if isinstance(module, nn.MultiheadAttention):
        given |= {"bias": _present(module, "in_proj_bias"), "add_bias_kv": _present(module, "bias_k")}
    cls = type(module)
    names = set(inspect.signature(cls).parameters)
    if issubclass(cls, nn.RNNBase):
        names = set(inspect.signature(nn.RNNBase).parameters) - {"mode"}
        names |= {"nonlinearity"} if cls is nn.RNN else set()
        names |= {"mode"} if cls is nn.RNNBase else set()
        names -= set() if cls is nn.LSTM else {"proj_size"}
    return {name: given[name] for name in names if name in given and name not in _SKIPPED}


def _of_transformer(module: Any) -> dict[str, Any]:
    return {
        "d_model": module.self_attn.embed_dim,
        "nhead": module.self_attn.num_heads,
        "dim_feedforward": module.linear1.out_features,
        "dropout": module.dropout.p,
        "layer_norm_eps": module.norm1.eps,
        "batch_first": module.self_attn.batch_first,
        "norm_first": module.norm_first,
        "bias": module.linear1.bias is not None,
        "activation": vars(module).get("activation", nn.functional.relu),
    }


def _present(module: nn.Module, name: str) -> bool:
    return module._parameters.get(name) is not None


def _shapes(module: nn.Module) -> dict[str, list[int]]:
    return {
        name: list(tensor.shape) for name, tensor in module.state_dict().items() if torch.is_tensor(tensor)
    }


def _is_changed(due: Any, own: Any) -> bool:
    return _is_simple(due) and (not _is_simple(own) or _flat(due) != _flat(own))


def _is_simple(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_simple, value))
    return value is None or isinstance(value, (int, float, bool, str))


def _flat(value: Any) -> Any:
    """Lists as tuples: which of the two an attribute is has changed between versions."""
    return tuple(map(_flat, value)) if isinstance(value, (list, tuple)) else value


def _numbers(value: Any) -> list[float]:
    if isinstance(value, (list, tuple)):
        return [part for part in value if type(part) in (int, float)]
    return [value] if type(value) in (int, float) else []
