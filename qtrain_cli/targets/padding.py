"""The padding row of an embedding: the class keeps it as it is, because no gradient reaches it.

A row counts as constant where everything that uses the tensor is an embedding with the same `padding_idx`; a
tensor that is also the matrix of an output layer gets gradients there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

_NONE = -1


def constant_rows(module: nn.Module) -> dict[str, int]:
    """The constant row of each tensor that has one, by all of the tensor's names."""
    found: dict[int, set[int]] = {}
    uses = _graph_uses(module) if isinstance(module, torch.fx.GraphModule) else _module_uses(module)
    for tensor, row in uses:
        found.setdefault(id(tensor), set()).add(row)
    rows = {key: places.pop() for key, places in found.items() if len(places) == 1}
    named = module.named_parameters(remove_duplicate=False)
    return {
        name: rows[id(tensor)]
        for name, tensor in named
        if tensor.dim() and 0 <= rows.get(id(tensor), _NONE) < len(tensor)
    }


def _module_uses(module: nn.Module) -> Iterator[tuple[Any, int]]:
    """Each parameter of each layer, with the row that this layer leaves as it is."""
    for layer in module.modules():
        padding = layer.padding_idx if isinstance(layer, (nn.Embedding, nn.EmbeddingBag)) else None
        for tensor in layer.parameters(recurse=False):
            yield tensor, _NONE if padding is None else _from_start(padding, tensor)


def _from_start(padding: int, tensor: torch.Tensor) -> int:
    """A row that was counted from the end, as a layer's attribute may be."""
    return padding + len(tensor) if padding < 0 and tensor.dim() else padding


def _graph_uses(module: torch.fx.GraphModule) -> Iterator[tuple[Any, int]]:
    """The same of an archive, whose layers have become operators."""
    named = dict(module.named_parameters(remove_duplicate=False))
    for node in module.graph.nodes:
        if node.op == "get_attr" and node.target in named:
            for user in node.users:
                looks_up = str(user.target) == "aten.embedding.default" and user.args[0] is node
                row = user.args[2] if looks_up and len(user.args) > 2 else _NONE
                yield named[node.target], row if type(row) is int else _NONE
