"""Graphs that take batches of one size only: any number of rows is run in batches of that size.

An archive exported without a dynamic batch says its size B. Where the graph gives a row the same outputs in
a batch of 2 B as in one of B, it takes any number of rows at once. Elsewhere the rows are cut into batches of
B, the last one is filled up with its own last row, and what came of the filling is dropped:
(n, ...) -> ceil(n / B) x (B, ...).

Left out: graphs that mix the rows of a batch, whose last batch would differ.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from qtrain_cli.errors import QtrainError, Refused
from qtrain_cli.models.untrusted.graph_memory import require_memory

#: The tensors of a call, in the order of the graph.
Parts = tuple[Tensor, ...]

_KEY = "qtrain"  # in the module's `meta`, which copies of a graph keep
_RELATIVE = 1e-4
#: Numbers of the inputs that a file says its graph was exported with.
_MOST_NUMBERS = 2**26


@dataclass(frozen=True)
class Habits:
    """How a graph is run: in batches of `rows` (None: any number), of inputs of these `shapes` (None: any),
    and where it is a stranger's, within the memory that graphs of its file's name may take."""

    rows: int | None = None
    shapes: tuple[tuple[int, ...], ...] | None = None
    stranger: str = ""


def in_fixed_batches(module: nn.Module, program: Any, stranger: str = "") -> nn.Module:
    """The graph of an exported program, with one mode, taking any number of rows.

    Args:
        stranger: the file's name, if nobody vouched for it.

    Raises:
        Refused: it asks for more memory than its inputs and parameters explain.
    """
    example, fixed = _example(program, stranger)
    shapes = tuple(tuple(part.shape[1:]) for part in example) if fixed and example is not None else None
    if shapes is not None:
        module._forward_pre_hooks.clear()  # a check that would refuse another number of rows as well
    _run_so(module, Habits(None, shapes, stranger))
    if example is None:
        return module
    if stranger:
        _require_memory(module, example, stranger)
    if shapes is not None and not _takes_more(module, example):
        _run_so(module, Habits(len(example[0]), shapes, stranger))
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
    module.forward = types.MethodType(_forward, module)


def _unchanged(module: nn.Module, mode: bool = False) -> nn.Module:
    return module


def _forward(module: Any, *placed: Any, **named: Tensor) -> Any:
    habits, inputs = module.meta[_KEY], _leaves(module, placed, named)
    shapes = tuple(tuple(part.shape[1:]) for part in inputs)
    if habits.shapes is not None and shapes != habits.shapes:
        listed = " and ".join(map(str, map(list, habits.shapes)))
        raise ValueError(f"the graph takes inputs of the shape {listed} only")
    if habits.rows is None or not inputs or not len(inputs[0]):
        return _once(module, inputs)
    return _batchwise(lambda parts: _once(module, parts), inputs, habits.rows)


def _leaves(module: Any, placed: tuple[Any, ...], named: Mapping[str, Tensor]) -> Parts:
    """The tensors of a call in the graph's own order. Raises `ValueError` for another call than it takes."""
    by_name = names_of_call(module)
    if by_name and named.keys() == set(by_name):
        named = {name: named[name] for name in by_name}
    leaves, spec = tree_flatten((placed, dict(named)))
    wanted = module.graph._codegen.pytree_info.in_spec
    if spec != wanted:
        raise ValueError(
            f"the graph takes {wanted.num_leaves} inputs in another form than these {len(leaves)}"
        )
    return tuple(leaves)


def names_of_call(module: Any) -> tuple[str, ...]:
    """What a graph is given by name, in its order."""
    spec = module.graph._codegen.pytree_info.in_spec
    return tuple(spec.children()[1].context or ())


def _once(module: Any, inputs: Parts) -> Any:
    if stranger := module.meta[_KEY].stranger:
        require_memory(module, inputs, stranger)
    placed, named = tree_unflatten(inputs, module.graph._codegen.pytree_info.in_spec)
    return type(module).forward(module, *placed, **named)


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


def _example(program: Any, stranger: str) -> tuple[Parts | None, bool]:
    """Inputs of the program, 0 or 1 where they are whole numbers (None where anything but tensors with rows
    goes in); and whether nothing of their shapes is free. What is free is 2."""
    names = set(program.graph_signature.user_inputs)
    values = [node.meta.get("val") for node in program.graph.nodes if node.name in names]
    if not values or not all(isinstance(value, Tensor) and value.dim() for value in values):
        return None, False
    fixed = all(isinstance(size, int) for value in values for size in value.shape)
    shapes = [[size if isinstance(size, int) else 2 for size in value.shape] for value in values]
    if stranger and sum(map(math.prod, shapes)) > _MOST_NUMBERS:
        said = shapes[0] if len(shapes) == 1 else shapes
        raise Refused(
            f"'{stranger}' takes inputs of the shape {said}; allowed: {_MOST_NUMBERS:,} numbers",
            "export it again with a dynamic batch dimension",
        )
    if len({shape[0] for shape in shapes}) > 1 or not shapes[0][0]:
        return None, False
    generator = torch.Generator().manual_seed(0)
    return tuple(_drawn(value, shape, generator) for value, shape in zip(values, shapes, strict=True)), fixed


def _drawn(value: Tensor, shape: list[int], generator: torch.Generator) -> Tensor:
    if value.is_floating_point():
        return torch.randn(shape, generator=generator).to(value.dtype)
    return torch.randint(0, 2, shape, generator=generator).to(value.dtype)


def _require_memory(module: Any, example: Parts, stranger: str) -> None:
    try:
        require_memory(module, example, stranger)
    except Refused:
        raise
    except Exception:  # it takes no such inputs, as a run would say
        return


def _takes_more(module: Any, example: Parts) -> bool:
    """Whether rows fare in a larger batch as they do in one of the graph's own size."""
    rows = tuple(torch.cat([part, part.flip(0)]) for part in example)

    def run(parts: Parts) -> Any:
        return _once(module, parts)

    try:
        with torch.no_grad():
            found, expected = run(rows), _batchwise(run, rows, len(example[0]))
        return found.shape == expected.shape and torch.allclose(found, expected, _RELATIVE, 1e-5)
    except QtrainError:
        raise
    except Exception:  # of the graph's own choosing: it takes no other size
        return False


def _batchwise(graph: Callable[[Parts], Any], inputs: Parts, rows: int) -> Tensor:
    count = len(inputs[0])
    missing = -count % rows
    filled = [
        torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing else part for part in inputs
    ]
    batches = zip(*(part.split(rows) for part in filled), strict=True)
    return torch.cat([graph(batch) for batch in batches])[:count]
