"""In what precision a model reads its inputs, and what to do about a model that does not take them.

Inputs that are no whole numbers take the dtype of the parameters that read them. Where all parameters have
one dtype, it is that one, whatever buffers have. Where they differ, the module is asked: the first of their
dtypes, in the order of the parameters, with which it runs.
"""

from __future__ import annotations

import weakref

import torch
from torch import Tensor, nn

from qtrain_cli.models.in_place import own_streams, unchanged

_KNOWN: weakref.WeakKeyDictionary[nn.Module, torch.dtype] = weakref.WeakKeyDictionary()
_SHAPE = "check --arch and the data's shape"
#: What torch says, in lower case, and what helps.
_ADVICE = (
    (("'indices'",), "the model looks its inputs up in a table: give them as token numbers, int64"),
    (("more than 1 value per channel",), "use a --batch-size that leaves no batch of one row"),
    (
        ("is invalid for input of size",),
        f"{_SHAPE}; if its code fixes the number of rows, --batch-size",
    ),
    (("index out of range", "out of bounds"), "a number in the data is beyond the model's table: check both"),
    (
        ("scalar type", "same dtype", "same data type", "integral"),
        "check the inputs' dtype: int64 stays as it is, all else takes the dtype of the model's parameters",
    ),
    (("same device",), "its code makes tensors on a device of its own: use x.device in it, or --device cpu"),
    (
        ("positional argument", "keyword argument"),
        "name a class or function with --arch that takes one tensor",
    ),
)


def advice_on(error: BaseException) -> str:
    """What to check where a model fails on its inputs: what the error is about, and nothing else."""
    said = str(error).lower()
    return next((advice for words, advice in _ADVICE if any(word in said for word in words)), _SHAPE)


def precision_of(module: nn.Module, inputs: Tensor) -> torch.dtype:
    """The dtype that floating-point inputs (N, ...) of the module take, N >= 1. It is called once at most."""
    if module not in _KNOWN:
        floating = [tensor.dtype for tensor in module.parameters() if tensor.is_floating_point()]
        several = list(dict.fromkeys(floating)) or [inputs.dtype]
        rows = inputs[:2].detach()
        runs = (dtype for dtype in several if len(several) == 1 or _runs(module, rows.to(dtype)))
        _KNOWN[module] = next(runs, several[0])
    return _KNOWN[module]


def _runs(module: nn.Module, inputs: Tensor) -> bool:
    try:
        with torch.no_grad(), own_streams(), unchanged(module):
            module.eval()
            module(inputs)
    except Exception:  # of the model's own choosing: it reads another dtype, or fails on all of them
        return False
    return True
