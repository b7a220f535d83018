"""Graphs that take batches of one size only: any number of rows is run in batches of that size.

An archive exported without a dynamic batch says its size B. Where the graph gives a row the same outputs in
a batch of 2 B as in one of B, it takes any number of rows at once. Elsewhere the rows are cut into batches of
B, the last one is filled up with its own last row, and what came of the filling is dropped:
(n, ...) -> ceil(n / B) x (B, ...).

Left out: graphs that mix the rows of a batch, whose last batch would differ.
"""

from __future__ import annotations

import inspect
import math
import types
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qtrain_cli.errors import QtrainError, Refused
from qtrain_cli.models.untrusted.graph_memory import require_memory

_KEY = "qtrain"  # in the module's `meta`, which copies of a graph keep
_RELATIVE = 1e-4
#: Numbers of the inputs that a file says its graph was exported with.
_MOST_NUMBERS = 2**26


@dataclass(frozen=True)
class Habits:
    """How a graph is run: in batches of `rows` (None: any number), of inputs of one `shape` each (None: any),
    and where it is a stranger's, within the memory that graphs of its file's name may take. `alone`: it has
    one input."""

    alone: bool
    rows: int | None = None
    shape: tuple[int, ...] | None = None
    stranger: str = ""


def in_fixed_batches(module: nn.Module, program: Any, stranger: str = "") -> nn.Module:
    """The graph of an exported program, with one mode, taking any number of rows.

    Args:
        stranger: the file's name, if nobody vouched for it.

    Raises:
        Refused: it asks for more memory than its inputs and parameters explain.
    """
    example, fixed = _example(program, stranger)
    shape = tuple(example.shape[1:]) if fixed and example is not None else None
    if shape is not None:
        module._forward_pre_hooks.clear()  # a check that would refuse another number of rows as well
    _run_so(module, Habits(example is not None, None, shape, stranger))
    if example is None:
        return module
    if stranger:
        _require_memory(module, example, stranger)
    if shape is not None and not _takes_more(module, example):
        _run_so(module, Habits(True, len(example), shape, stranger))
    return module


def _run_so(module: Any, habits: Habits) -> None:
    if _KEY not in module.meta:
        module._register_deepcopy_hook(_hold)
    module.meta[_KEY] = habits
    _hold(module)


def _hold(module: Any) -> None:
    """Gives the graph, or its copy, the habits that its `meta` tells of.

    PyTorch lets `train` and `eval` of such a module raise; here they do nothing, which is also true.
    """
    module.training = False
    module.train = types.MethodType(_unchanged, module)
    module.eval = types.MethodType(_unchanged, module)
    habits: Habits = module.meta[_KEY]
    if habits.alone:
        module.forward = types.MethodType(_forward, module)
    elif habits.stranger:
        module.register_forward_pre_hook(_bounded, with_kwargs=True)


def _bounded(module: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Of several inputs: each as the graph takes it, in its order."""
    placed = inspect.signature(module.forward).bind(*args, **named).args
    require_memory(module, module.graph.process_inputs(*placed), module.meta[_KEY].stranger)


def _unchanged(module: nn.Module, mode: bool = False) -> nn.Module:
    return module


def _forward(module: Any, inputs: Tensor) -> Any:
    habits: Habits = module.meta[_KEY]
    if habits.shape is not None and tuple(inputs.shape[1:]) != habits.shape:
        raise ValueError(f"the graph takes inputs of the shape {list(habits.shape)} only")
    if habits.rows is None or not len(inputs):
        return _once(module, inputs)
    return _batchwise(lambda part: _once(module, part), inputs, habits.rows)


def _once(module: Any, inputs: Tensor) -> Any:
    if stranger := module.meta[_KEY].stranger:
        require_memory(module, (inputs,), stranger)
    return type(module).forward(module, inputs)


def fixed_rows(module: nn.Module) -> int | None:
    """The one size of batch that a graph takes; None for any other module."""
    habits = module.meta.get(_KEY) if isinstance(module, torch.fx.GraphModule) else None
    return habits.rows if isinstance(habits, Habits) else None


def said_size(module: nn.Module) -> tuple[str, ...]:
    """The sentence about it."""
    rows = fixed_rows(module)
    if rows is None:
        return ()
    return (
        f"the graph takes batches of {rows} only: it is run so, the last batch filled up; exported with a"
        " dynamic batch dimension it would be faster",
    )


def _example(program: Any, stranger: str) -> tuple[Tensor | None, bool]:
    """Inputs of the program's one input, 0 or 1 where they are whole numbers; and whether nothing of their
    shape is free. What is free is 2."""
    names = set(program.graph_signature.user_inputs)
    values = [node.meta.get("val") for node in program.graph.nodes if node.name in names]
    if len(values) != 1 or not isinstance(values[0], Tensor) or not values[0].dim():
        return None, False
    fixed = all(isinstance(size, int) for size in values[0].shape)
    shape = [size if isinstance(size, int) else 2 for size in values[0].shape]
    if stranger and math.prod(shape) > _MOST_NUMBERS:
        raise Refused(
            f"'{stranger}' takes inputs of the shape {shape}; allowed: {_MOST_NUMBERS:,} numbers",
            "export it again with a dynamic batch dimension",
        )
    if not shape[0]:
        return None, False
    generator = torch.Generator().manual_seed(0)
    if values[0].is_floating_point():
        return torch.randn(shape, generator=generator).to(values[0].dtype), fixed
    return torch.randint(0, 2, shape, generator=generator).to(values[0].dtype), fixed


def _require_memory(module: Any, example: Tensor, stranger: str) -> None:
    try:
        require_memory(module, (example,), stranger)
    except Refused:
        raise
    except Exception:  # it takes no such inputs, as a run would say
        return


def _takes_more(module: nn.Module, example: Tensor) -> bool:
    """Whether rows fare in a larger batch as they do in one of the graph's own size."""
    rows = torch.cat([example, example.flip(0)])
    try:
        with torch.no_grad():
            found, expected = module(rows), _batchwise(module, rows, len(example))
        return found.shape == expected.shape and torch.allclose(found, expected, _RELATIVE, 1e-5)
    except QtrainError:
        raise
    except Exception:  # of the graph's own choosing: it takes no other size
        return False


def _batchwise(graph: Any, inputs: Tensor, rows: int) -> Tensor:
    missing = -len(inputs) % rows
    filled = torch.cat([inputs, inputs[-1:].expand(missing, *inputs.shape[1:])]) if missing else inputs
    return torch.cat([graph(batch) for batch in filled.split(rows)])[: len(inputs)]
