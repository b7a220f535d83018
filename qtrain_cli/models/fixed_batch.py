"""Graphs that take batches of one size only: any number of rows is run in batches of that size.

An archive exported without a dynamic batch says its size B. Where the graph gives a row the same outputs in
a batch of 2 B as in one of B, it takes any number of rows at once. Elsewhere the rows are cut into batches of
B, the last one is filled up with its own last row, and what came of the filling is dropped:
(n, ...) -> ceil(n / B) x (B, ...).

Left out: graphs that mix the rows of a batch, whose last batch would differ.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import Tensor, nn

_KEY = "qtrain_batch_rows"  # in the module's `meta`, which copies of a graph keep
_RELATIVE = 1e-4


def in_fixed_batches(module: nn.Module, program: Any) -> nn.Module:
    """The graph of an exported program, taking any number of rows. Other shapes are refused by torch's own
    check, which is a hook that would refuse another number of rows as well."""
    example = _example(program)
    if example is None:
        return module
    checks, shape = list(module._forward_pre_hooks.values()), example.shape[1:]
    module._forward_pre_hooks.clear()
    rows = None if _takes_more(module, example) else len(example)
    if rows is not None:
        module.meta[_KEY] = rows  # type: ignore[operator, index]

    def forward(self: nn.Module, inputs: Tensor) -> Tensor:
        if inputs.shape[1:] != shape:
            for check in checks:
                check(self, (inputs,), {})
        graph = type(self).forward
        whole = rows is None or not len(inputs) or inputs.shape[1:] != shape
        return graph(self, inputs) if whole else _batchwise(lambda part: graph(self, part), inputs, rows or 1)

    module.forward = types.MethodType(forward, module)
    return module


def fixed_rows(module: nn.Module) -> int | None:
    """The one size of batch that a graph takes; None for any other module."""
    return module.meta.get(_KEY) if isinstance(module, torch.fx.GraphModule) else None


def said_size(module: nn.Module) -> tuple[str, ...]:
    """The sentence about it."""
    rows = fixed_rows(module)
    if rows is None:
        return ()
    return (
        f"the graph takes batches of {rows} only: it is run so, the last batch filled up; exported with a"
        " dynamic batch dimension it would be faster",
    )


def _example(program: Any) -> Tensor | None:
    """Inputs of the program's one input, if nothing of its shape is free: 0 or 1 where they are numbers of
    rows in a table."""
    names = set(program.graph_signature.user_inputs)
    values = [node.meta.get("val") for node in program.graph.nodes if node.name in names]
    if len(values) != 1 or not isinstance(values[0], Tensor) or not values[0].dim():
        return None
    if not all(isinstance(size, int) for size in values[0].shape) or not len(values[0]):
        return None
    generator = torch.Generator().manual_seed(0)
    if values[0].is_floating_point():
        return torch.randn(values[0].shape, generator=generator).to(values[0].dtype)
    return torch.randint(0, 2, values[0].shape, generator=generator).to(values[0].dtype)


def _takes_more(module: nn.Module, example: Tensor) -> bool:
    """Whether rows fare in a larger batch as they do in one of the graph's own size."""
    rows = torch.cat([example, example.flip(0)])
    try:
        with torch.no_grad():
            found, expected = module(rows), _batchwise(module, rows, len(example))
        return found.shape == expected.shape and torch.allclose(found, expected, _RELATIVE, 1e-5)
    except Exception:  # of the graph's own choosing: it takes no other size
        return False


def _batchwise(graph: Any, inputs: Tensor, rows: int) -> Tensor:
    missing = -len(inputs) % rows
    filled = torch.cat([inputs, inputs[-1:].expand(missing, *inputs.shape[1:])]) if missing else inputs
    return torch.cat([graph(batch) for batch in filled.split(rows)])[: len(inputs)]
