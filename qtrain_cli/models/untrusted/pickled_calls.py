"""The names of a pickle that mean something, each with a function of ours that checks what it is called with.

These are the names that `torch.save` writes for tensors, numbers and containers. PyTorch's own functions of
those names believe what they are told: a view is stretched beyond its storage (which then holds whatever lay
in memory), codecs decompress, a constructor makes as much as a number says. Left out, hence foreign:
`bytearray`, storages and tensors by constructor, nested tensors, subclasses of tensors.
"""

from __future__ import annotations

import math
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qtrain_cli.models.untrusted.stand_ins import Name
from qtrain_cli.models.untrusted.unpickling import Budget, Outside, require_key

_MOST_RANK = 64
#: The steps of a tensor: it takes more memory than a number.
_TENSOR_STEPS = 8
#: The steps of an entry of a dictionary that is made of another.
_ENTRY_STEPS = 4
_TEXT_CODECS = ("latin1", "latin-1")  # how protocol 2 of pickle writes bytes
_DTYPES = {f"torch.{name}": value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
_STORAGES = {f"torch.{kind}": dtype for dtype, kind in torch.storage._dtype_to_storage_type_map().items()}
_UNTYPED = ("torch.storage.UntypedStorage", "torch.UntypedStorage")
_SCHEMES = ("torch.per_tensor_affine", "torch.per_channel_affine", "torch.per_channel_affine_float_qparams")


@dataclass(frozen=True)
class StorageKind:
    """A class of storages: the dtype of its numbers, bytes for an untyped one."""

    dtype: torch.dtype


@dataclass(frozen=True)
class Storage:
    """A storage of the file: its numbers in a row, on the meta device or read."""

    numbers: Tensor


def meaning_of(source: str) -> Any:
    """What a name is when it is more than a text: a function, a dtype, a kind of storage; else None."""
    if source in _DTYPES:
        return _DTYPES[source]
    if source in _STORAGES or source in _UNTYPED:
        return StorageKind(_STORAGES.get(source, torch.uint8))
    return Name(source) if source in (*_SCHEMES, *_CLASSES) else _CALLS.get(source)


def _tensor_of(budget: Budget, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    """A dense view of a storage, which has to lie inside of it (`torch._utils._rebuild_tensor_v2`)."""
    if not isinstance(storage, Storage):
        raise Outside(f"it makes a tensor of a {type(storage).__name__}")
    return _view(budget, storage.numbers, (offset, size, stride), *rest)


def _tensor_of_bytes(budget: Budget, storage: Any, *rest: Any) -> Tensor:
    """A view with a dtype of its own (`torch._utils._rebuild_tensor_v3`)."""
    offset, size, stride, requires_grad, hooks, dtype, *metadata = rest
    if not isinstance(storage, Storage) or not isinstance(dtype, torch.dtype):
        raise Outside("it makes a tensor of something that is no storage")
    raw = storage.numbers.view(torch.uint8)
    whole = raw[: raw.numel() // dtype.itemsize * dtype.itemsize]
    return _view(budget, whole.view(dtype), (offset, size, stride), requires_grad, hooks, *metadata)


def _view(
    budget: Budget, numbers: Tensor, place: tuple[Any, Any, Any], grad: Any = False, hooks: Any = None,
    metadata: Any = None,
) -> Tensor:  # fmt: skip
    budget.spend(_TENSOR_STEPS)
    offset, size, stride = place
    if not (_naturals((offset,)) and _naturals(size) and _naturals(stride) and len(size) == len(stride)):
        raise Outside(f"a tensor has the size {_shown(size)}, the strides {_shown(stride)}")
    reach = sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if offset + (reach + 1 if math.prod(size) else 0) > numbers.numel():
        raise Outside(
            f"a tensor of the size {_shown(size)}, strides {_shown(stride)} and offset {offset} reaches"
            f" out of its storage of {numbers.numel()} numbers"
        )
    if metadata:
        raise Outside("a tensor is a conjugate or negative view")
    view = torch.empty(0, dtype=numbers.dtype, device=numbers.device)
    view.set_(numbers.untyped_storage(), offset, size, stride)
    return view.requires_grad_(grad is True and (view.is_floating_point() or view.is_complex()))


def _parameter(budget: Budget, data: Any, requires_grad: Any, *rest: Any) -> nn.Parameter:
    budget.spend(_TENSOR_STEPS)
    grad = requires_grad is True and (_tensor(data).is_floating_point() or data.is_complex())
    return nn.Parameter(_tensor(data).detach(), grad)


def _of_type(budget: Budget, function: Any, kind: Any, args: Any, state: Any) -> Any:
    """A tensor with attributes, which are left out (`torch._tensor._rebuild_from_type_v2`)."""
    if not isinstance(kind, Name) or kind.source not in _CLASSES or not callable(function):
        raise Outside("it makes a tensor of a class of its own")
    return function(budget, *args)


def _sparse(budget: Budget, layout: Any, data: Any) -> Tensor:
    """A sparse tensor, its indices checked where they can be read (`_rebuild_sparse_tensor`)."""
    if not isinstance(layout, torch.layout) or not isinstance(data, tuple) or len(data) < 3:
        raise Outside("it makes a sparse tensor of something else")
    budget.spend(_TENSOR_STEPS)
    compressed = layout != torch.sparse_coo
    parts, size = data[: 3 if compressed else 2], data[3 if compressed else 2]
    for part in parts:
        _tensor(part)
    if not _naturals(size):
        raise Outside("it makes a sparse tensor of something else")
    make: Any = torch.sparse_compressed_tensor if compressed else torch.sparse_coo_tensor
    of_layout = {"layout": layout} if compressed else {}
    return make(*parts, size, **of_layout, check_invariants=parts[0].device.type != "meta")


def _quantised(budget: Budget, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    """A quantised tensor is shown, by dtype and shape, and never read."""
    budget.spend(_TENSOR_STEPS)
    if not isinstance(storage, Storage) or not _naturals(size):
        raise Outside("it makes a quantised tensor of something else")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that PyTorch is to give up the dtype is no news of the file
        return torch.empty(size, dtype=storage.numbers.dtype, device="meta")


def _without_storage(budget: Budget, dtype: Any, size: Any, stride: Any, requires_grad: Any) -> Tensor:
    """What was saved on the meta device: a shape without numbers."""
    budget.spend(_TENSOR_STEPS)
    if not isinstance(dtype, torch.dtype) or not _naturals(size):
        raise Outside("it makes a tensor without numbers of something else")
    return torch.empty(size, dtype=dtype, device="meta")


def _encoded(budget: Budget, text: Any, codec: Any = "latin1") -> bytes:
    """Bytes, as protocol 2 writes them. No other codec: some decompress, some take quadratic time."""
    if codec not in _TEXT_CODECS or not isinstance(text, str):
        raise Outside(f"it calls the codec {_shown(codec)}")
    budget.spend(len(text))
    return text.encode("latin-1")


def _ordered(budget: Budget, items: Any = ()) -> OrderedDict[Any, Any]:
    budget.spend(_ENTRY_STEPS * len(items))
    pairs = [tuple(item) for item in (items.items() if isinstance(items, dict) else items)]
    return OrderedDict((require_key(key), value) for key, value in pairs)


def _set(budget: Budget, items: Any = ()) -> set[Any]:
    budget.spend(_ENTRY_STEPS * len(items))
    return {require_key(item) for item in items}


def _size(budget: Budget, items: Any = ()) -> torch.Size:
    if not _naturals(items):
        raise Outside(f"it holds the size {_shown(items)}")
    return torch.Size(items)


def _device(budget: Budget, kind: Any, index: Any = None) -> torch.device:
    if not isinstance(kind, str) or not (index is None or _naturals((index,))):
        raise Outside(f"it names the device {_shown(kind)}")
    return torch.device(kind) if index is None else torch.device(kind, index)


def _layout(budget: Budget, name: Any) -> torch.layout:
    found = getattr(torch, str(name).removeprefix("torch."), None)
    if not isinstance(found, torch.layout):
        raise Outside(f"it names the layout {_shown(name)}")
    return found


def _complex(budget: Budget, *parts: Any) -> complex:
    if not all(isinstance(part, (int, float)) for part in parts):
        raise Outside("it holds a complex number of something else")
    return complex(*parts)


def _no_bytes(budget: Budget) -> bytes:
    return b""


_CLASSES = ("torch.Tensor", "torch.nn.parameter.Parameter")
_CALLS: dict[str, Callable[..., Any]] = {
    "_codecs.encode": _encoded,
    "builtins.bytes": _no_bytes,
    "builtins.complex": _complex,
    "builtins.set": _set,
    "collections.Counter": _ordered,
    "collections.OrderedDict": _ordered,
    "torch.Size": _size,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "torch._utils._rebuild_meta_tensor_no_storage": _without_storage,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_qtensor": _quantised,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_tensor": _tensor_of,
    "torch._utils._rebuild_tensor_v2": _tensor_of,
    "torch._utils._rebuild_tensor_v3": _tensor_of_bytes,
    "torch.device": _device,
    "torch.serialization._get_layout": _layout,
}


def _tensor(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise Outside(f"it takes a {type(value).__name__} for a tensor")
    return value


def _naturals(values: Any) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) <= _MOST_RANK
        and all(type(value) is int and 0 <= value < 2**62 for value in values)
    )


def _shown(value: Any) -> str:
    return repr(value)[:80] if isinstance(value, (str, int)) else repr(_plain_tuple(value))[:80]


def _plain_tuple(value: Any) -> Any:
    """A tuple of numbers as it is; of anything else, whose text may unfold, the type."""
    flat = isinstance(value, tuple) and len(value) <= _MOST_RANK and all(type(v) is int for v in value)
    return list(value) if flat else type(value).__name__
