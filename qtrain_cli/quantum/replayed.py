"""A function of tensors as a CUDA graph: recorded once, and replayed with one launch for its hundreds.

Launching a kernel takes longer than most kernels of a circuit run. A recording is of one function at fixed
shapes; it has memory of its own for what comes in, what goes out and all between.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

#: Recordings that are kept: forward and backward pass of some circuits.
_MOST = 16
_Form = tuple[torch.Size, torch.dtype]


class Recordable(Protocol):
    """A function of tensors that never waits for the GPU; equal ones do the same."""

    def __call__(self, *given: Tensor) -> tuple[Tensor, ...]:
        """What is recorded."""

    def __hash__(self) -> int:
        """Of equal ones the same."""

    def tables(self, like: Tensor) -> Any:
        """The tensors that it reads besides, which are to stay where they are."""


class Recording:
    """A function of tensors, recorded for inputs of these forms on one GPU.

    Args:
        function: is recorded.
        forms: shape and dtype of each input.
        device: the GPU.
    """

    def __init__(self, function: Recordable, forms: Sequence[_Form], device: torch.device) -> None:
        self.inputs = [torch.zeros(shape, dtype=dtype, device=device) for shape, dtype in forms]
        self.graph, self.tables = torch.cuda.CUDAGraph(), function.tables(self.inputs[0])
        with torch.cuda.device(device), torch.no_grad():
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):  # libraries and tables are made now: a recording makes none
                function(*self.inputs)
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
                self.outputs = function(*self.inputs)

    def __call__(self, *given: Tensor) -> tuple[Tensor, ...]:
        """The function of these inputs, as tensors of their own."""
        for own, one in zip(self.inputs, given, strict=True):
            own.copy_(one)
        self.graph.replay()
        return tuple(one.clone() for one in self.outputs)


def replayed(function: Recordable, *given: Tensor) -> tuple[Tensor, ...]:
    """What a function makes of these tensors, all on one GPU, by its recording."""
    forms = tuple((one.shape, one.dtype) for one in given)
    return _recorded(function, forms, given[0].device)(*given)


@functools.lru_cache(maxsize=_MOST)
def _recorded(function: Recordable, forms: tuple[_Form, ...], device: torch.device) -> Recording:
    return Recording(function, forms, device)
