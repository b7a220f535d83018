"""How named inputs stand in the call of a model, told by the signature of its forward.

    names 0, 1, ...                              forward(x, y)           by position
    parameters of these names                    forward(tokens, mask)   by name
    fewer parameters than the data have names    forward(batch)          the dictionary itself
    parameters of other names                    forward(x, y)           by position, in the data's order

``**kwargs`` take what the others leave. Parameters with a default that is no None are settings, and take no
input by position. Which way it is, is said (`said_call`). The graph of an archive is called as it was
exported.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from qtrain_cli.data.inputs import Inputs, NamedInputs

POSITION, NAME, AS_ONE = "by position", "by name", "in a dictionary"
_PLACED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def arguments_of(module: nn.Module, inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Tensor]]:
    """Positional arguments and those by name."""
    if not isinstance(inputs, NamedInputs):
        return (inputs,), {}
    parts, way = dict(inputs.parts), way_of(module, inputs)
    if way == NAME:
        return (), parts
    return ((parts,) if way == AS_ONE else _placed(module, parts)), {}


def _placed(module: nn.Module, parts: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """In the order of a graph that knows these names, else in their own."""
    known = _call_of(module)[1]
    return tuple(parts[name] for name in (known if set(known) == set(parts) else parts))


def _call_of(module: nn.Module) -> tuple[str, list[str]]:
    """How the graph of an archive is called ("" for any other module), and its names for what it is given."""
    if not isinstance(module, torch.fx.GraphModule):
        return "", []
    codegen = module.graph._codegen
    if not isinstance(codegen, torch.fx.graph._PyTreeCodeGen):
        return "", []
    spec, names = codegen.pytree_info.in_spec, list(codegen.pytree_info.orig_args)
    placed, named = (tree.children() for tree in spec.children())
    as_one = len(placed) == 1 and placed[0].type is dict
    return (NAME if named else AS_ONE if as_one else POSITION), names


def way_of(module: nn.Module, inputs: NamedInputs) -> str:
    """One of the three ways above."""
    if graph := _call_of(module)[0]:
        return graph
    if inputs.by_position:
        return POSITION
    parameters = _parameters(module)
    if _takes_names(parameters, inputs.parts):
        return NAME
    places = [one for one in parameters if one.kind in _PLACED and one.default in (one.empty, None)]
    any_number = any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters)
    return AS_ONE if len(places) < len(inputs.parts) and not any_number else POSITION


def said_call(module: nn.Module, inputs: Inputs) -> tuple[str, ...]:
    """The sentence about it; none for one tensor."""
    if not isinstance(inputs, NamedInputs):
        return ()
    return (f"the model is given {', '.join(inputs.parts)} {way_of(module, inputs)}",)


def _takes_names(parameters: list[inspect.Parameter], names: Collection[str]) -> bool:
    """Whether each name has a parameter, and every parameter that has to be given a name."""
    plain = {
        one.name: one for one in parameters if one.kind in (*_PLACED[1:], inspect.Parameter.KEYWORD_ONLY)
    }
    needed = {name for name, one in plain.items() if one.default is one.empty}
    rest = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)
    known = plain.keys() & names
    return needed <= set(names) and (known == set(names) or (rest and (bool(known) or not plain)))


def _parameters(module: nn.Module) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(module.forward).parameters.values())
    except (ValueError, TypeError):  # a scripted module may not tell
        return []
