"""How much memory a stranger's graph may ask for, known before one of its operators runs.

    free           1 GiB
    inputs         1,024 bytes for each of theirs    activations of 60 layers are about 600
    parameters     16 bytes for each of theirs, a row of inputs    attention over 1,024 places takes about 7

`new_zeros`, `repeat`, `constant_pad_nd` and many more make as much as a number in the file says. So the graph
is run on shapes alone (PyTorch's fake tensors), for each shape of inputs once: what an operator makes counts
until all of it is more than the bound. A view counts as what it shows: kernels may copy it, or take the time
that it would take. What cannot be told from shapes, such as
`repeat_interleave` by a tensor, is refused, and so are whole numbers beyond 64 bits, which grow by squaring.
Left out: what a kernel takes while it runs.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)

from qtrain_cli.errors import Refused

FREE, AN_INPUT, A_PARAMETER = 2**30, 2**10, 2**4
_MOST_BITS = 64
_ADVICE = "use a smaller --batch-size; or if you trust where the file comes from, add --trust-pickle"
#: Shapes that were found to keep the bound, by graph.
_KNOWN: weakref.WeakKeyDictionary[nn.Module, set[Any]] = weakref.WeakKeyDictionary()


def require_memory(graph: torch.fx.GraphModule, inputs: Sequence[Tensor], name: str) -> None:
    """Raises `Refused` where the graph of the file `name` would make more than the bound of such inputs.

    Any other exception is the graph's own: these shapes do not fit it.
    """
    shape = tuple((tuple(part.shape), part.dtype) for part in inputs)
    known = _KNOWN.setdefault(graph, set())
    if shape in known or any(isinstance(part, FakeTensor) for part in inputs):
        return
    most = allowed_bytes(graph, *inputs)
    mode = FakeTensorMode()
    with mode, torch.no_grad():
        given = [torch.empty(part.shape, dtype=part.dtype, device=part.device) for part in inputs]
        _Sizing(graph, mode, name, most).run(*given, enable_io_processing=False)
    known.add(shape)


def allowed_bytes(graph: nn.Module, *inputs: Tensor) -> int:
    """What all operators together may make of so many inputs."""
    size, rows = (
        sum(part.nbytes for part in inputs),
        max((len(part) for part in inputs if part.dim()), default=1),
    )
    parameters = sum(tensor.nbytes for tensor in (*graph.parameters(), *graph.buffers()))
    return FREE + AN_INPUT * size + A_PARAMETER * rows * parameters


class _Sizing(torch.fx.Interpreter):
    """Runs a graph on shapes, and counts."""

    def __init__(self, graph: torch.fx.GraphModule, mode: FakeTensorMode, name: str, most: int) -> None:
        super().__init__(graph)
        self._mode, self._file, self._most = mode, name, most
        self._made = 0

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        """A weight, without its numbers."""
        found = super().get_attr(target, args, kwargs)
        return self._mode.from_tensor(found) if isinstance(found, Tensor) else found

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """The result, counted. Raises `Refused` beyond the bound."""
        if target is operator.pow and not (isinstance(args[1], int) and abs(args[1]) <= _MOST_BITS):
            raise self._refusal(f"a power of {args[1]}", target)
        try:
            result = super().call_function(target, args, kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException):
            raise self._refusal("a result whose size depends on numbers", target) from None
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, int) and value.bit_length() > _MOST_BITS:
                raise self._refusal(f"a whole number of {value.bit_length()} bits", target)
            if isinstance(value, Tensor) and target is not operator.getitem:
                self._count(value, target)
        return result

    def _count(self, tensor: Tensor, target: Any) -> None:
        self._made += tensor.nbytes
        if self._made > self._most:
            raise self._refusal(f"{self._made:,} bytes, the last for {list(tensor.shape)},", target)

    def _refusal(self, what: str, target: Any) -> Refused:
        said = f"'{self._file}' asks for {what} by the operator '{target}'"
        return Refused(f"{said}; allowed: {self._most:,} bytes", _ADVICE)
