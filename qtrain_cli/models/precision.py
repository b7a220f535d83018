"""In what precision a model reads its inputs, and what to do about a model that does not take them.

Inputs that are no whole numbers take the dtype of the parameters that read them; of several inputs those that
are floats do, since the others are tokens and masks. Where all parameters have
one dtype, it is that one, whatever buffers have. Where they differ, the module is asked: the first of their
dtypes, in the order of the parameters, with which it runs.
"""

from __future__ import annotations

import weakref

import torch
from torch import Tensor, nn

from qtrain_cli.data.inputs import Inputs, NamedInputs, lead_of, mapped
from qtrain_cli.models.arguments import arguments_of
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
        ("bfloat16",),
        "a step of its code mixes float32 with the products of --precision bf16: leave the option out",
    ),
    (
        ("scalar type", "same dtype", "same data type", "integral"),
        "check the inputs' dtype: int64 stays as it is, all else takes the dtype of the model's parameters",
    ),
    (
        ("must be tensor, not dict",),
        "the model reads one tensor, and the data have several: give one, or an --arch that reads them",
    ),
    (("same device",), "its code makes tensors on a device of its own: use x.device in it, or --device cpu"),
    (
        ("positional argument", "keyword argument"),
        "give all of its inputs by the names of its forward's parameters (x_train.NAME in the data), or"
        " name a class with --arch that takes what the data have",
    ),
)


def advice_on(error: BaseException) -> str:
    """What to check where a model fails on its inputs: what the error is about, and nothing else."""
    said = str(error).lower()
    return next((advice for words, advice in _ADVICE if any(word in said for word in words)), _SHAPE)


def as_read(module: nn.Module, inputs: Inputs) -> Inputs:
    """The inputs (N, ...) in the dtype that the module reads: all but tokens, and of several parts floats."""

    def read(part: Tensor) -> Tensor:
        kept = not part.is_floating_point() if isinstance(inputs, NamedInputs) else part.dtype == torch.int64
        return part if kept else part.to(precision_of(module, inputs))

    return mapped(read, inputs)


def precision_of(module: nn.Module, inputs: Inputs) -> torch.dtype:
    """The dtype that floating-point inputs (N, ...) of the module take, N >= 1. It is called once at most."""
    if module not in _KNOWN:
        floating = [tensor.dtype for tensor in module.parameters() if tensor.is_floating_point()]
        several = list(dict.fromkeys(floating)) or [lead_of(inputs).dtype]
        rows = inputs[:2].detach()
        runs = (dtype for dtype in several if len(several) == 1 or _runs(module, _cast(rows, dtype)))
        _KNOWN[module] = next(runs, several[0])
    return _KNOWN[module]


def _cast(inputs: Inputs, dtype: torch.dtype) -> Inputs:
    """A single tensor whatever it is, of several the floats."""
    single = isinstance(inputs, Tensor)
    return mapped(lambda part: part.to(dtype) if single or part.is_floating_point() else part, inputs)


def _runs(module: nn.Module, inputs: Inputs) -> bool:
    try:
        with torch.no_grad(), own_streams(), unchanged(module):
            module.eval()
            placed, named = arguments_of(module, inputs)
            module(*placed, **named)
    except Exception:  # of the model's own choosing: it reads another dtype, or fails on all of them
        return False
    return True
