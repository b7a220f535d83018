"""Packed sequences in a graph: as padded ones with their lengths, since what is packed has a size of its own.

    pack_padded_sequence(x, lengths)    data: x itself (T, N, F), batch_sizes (T): rows that are longer than t
    LSTM, GRU, RNN on that              layer by layer on all T steps; backwards from each row's own last step
    pad_packed_sequence                 (T, N, H), the padding value from each row's length on

What comes of a row up to its length is what packing gives. Two things differ, and the comparison of every
export shows them where they matter: outputs are as long as the inputs, not as the longest row; and the cells
of an LSTM's last step (`c_n`), which the operator does not tell, are not numbers.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode

Hidden = tuple[Tensor, ...]


@contextmanager
def packed_as_padded(module: nn.Module) -> Iterator[None]:
    """Inside, the module's recurrent layers and the functions of packing work on padded sequences."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.RNNBase)]
    for layer in layers:
        layer.forward = types.MethodType(_forward, layer)
    try:
        with _Padded():
            yield
    finally:
        for layer in layers:
            del layer.forward


class _Padded(TorchFunctionMode):
    """The two operators that packing and unpacking end in."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name == "_pack_padded_sequence":
            return _pack(*args)
        if name == "_pad_packed_sequence":
            return _pad(*args)
        return func(*args, **(kwargs or {}))


def _pack(inputs: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, Tensor]:
    data = inputs.transpose(0, 1) if batch_first else inputs  # (T, N, F)
    steps = torch.arange(data.shape[0]).unsqueeze(1)
    return data, (lengths.unsqueeze(0) > steps).sum(1)


def _pad(
    data: Tensor, batch_sizes: Tensor, batch_first: bool, value: float, total: int
) -> tuple[Tensor, Tensor]:
    lengths = _lengths(data, batch_sizes)
    there = _within(data, lengths).unsqueeze(-1)
    padded = torch.where(there, data, torch.full((), value, dtype=data.dtype))
    if total > data.shape[0]:
        padded = F.pad(padded, (0, 0, 0, 0, 0, total - data.shape[0]), value=value)
    return (padded.transpose(0, 1) if batch_first else padded), lengths


def _lengths(data: Tensor, batch_sizes: Tensor) -> Tensor:
    """Of each row (N,), the longest first."""
    rows = torch.arange(data.shape[1]).unsqueeze(0)
    return (batch_sizes.unsqueeze(1) > rows).sum(0)


def _within(data: Tensor, lengths: Tensor) -> Tensor:
    """Which steps are before a row's length (T, N)."""
    return torch.arange(data.shape[0]).unsqueeze(1) < lengths.unsqueeze(0)


def _forward(layer: Any, inputs: Any, hx: Any = None) -> Any:
    if not isinstance(inputs, PackedSequence):
        return type(layer).forward(layer, inputs, hx)
    data, lengths = inputs.data, _lengths(inputs.data, inputs.batch_sizes)
    hidden = _hidden(layer, data, hx, inputs.sorted_indices)
    last: list[Tensor] = []
    for number in range(layer.num_layers):
        data, ends = _layer(layer, number, data, lengths, hidden)
        last += ends
    packed = PackedSequence(data, inputs.batch_sizes, inputs.sorted_indices, inputs.unsorted_indices)
    found = torch.stack(last)  # (layers * directions, N, H)
    if inputs.unsorted_indices is not None:
        found = found.index_select(1, inputs.unsorted_indices)
    unknown = torch.full((found.shape[0], found.shape[1], layer.hidden_size), float("nan"))
    return packed, (found, unknown) if isinstance(layer, nn.LSTM) else found


def _hidden(layer: Any, data: Tensor, hx: Any, order: Tensor | None) -> Hidden:
    """What the layers begin with, (layers * directions, N, H) each, in the order of the packed rows."""
    directions = 2 if layer.bidirectional else 1
    if hx is None:
        width = layer.proj_size or layer.hidden_size
        shapes = (width, layer.hidden_size) if isinstance(layer, nn.LSTM) else (width,)
        count, rows = layer.num_layers * directions, data.shape[1]
        return tuple(torch.zeros(count, rows, size, dtype=data.dtype) for size in shapes)
    given = hx if isinstance(hx, tuple) else (hx,)
    return given if order is None else tuple(part.index_select(1, order) for part in given)


def _layer(
    layer: Any, number: int, data: Tensor, lengths: Tensor, hidden: Hidden
) -> tuple[Tensor, list[Tensor]]:
    """The outputs (T, N, H) of one layer of several, and what each direction ends with (N, H)."""
    outputs, ends = [], []
    directions = 2 if layer.bidirectional else 1
    for direction in range(directions):
        place = number * directions + direction
        own = tuple(part[place : place + 1] for part in hidden)
        given = _backwards(data, lengths) if direction else data
        found = _run(layer, given, own, layer.all_weights[place])
        last = (lengths - 1).clamp(min=0).view(1, -1, 1).expand(1, found.shape[1], found.shape[2])
        ends.append(found.gather(0, last)[0])
        outputs.append(_backwards(found, lengths) if direction else found)
    return torch.cat(outputs, -1), ends


def _run(layer: Any, data: Tensor, hidden: Hidden, weights: list[Tensor]) -> Tensor:
    kinds = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu}
    run: Any = kinds[layer.mode]
    begin: Any = hidden if layer.mode == "LSTM" else hidden[0]
    outputs: Tensor = run(data, begin, weights, layer.bias, 1, 0.0, False, False, False)[0]
    return outputs


def _backwards(data: Tensor, lengths: Tensor) -> Tensor:
    """Each row's steps up to its length in the other order; what is beyond stays."""
    steps = torch.arange(data.shape[0]).unsqueeze(1)
    places = torch.where(_within(data, lengths), lengths.unsqueeze(0) - 1 - steps, steps)  # (T, N)
    return data.gather(0, places.unsqueeze(-1).expand(data.shape))
