"""Whole pickled modules, when they are built of PyTorch's own layers and of nothing else.

The unpickler got a stand-in for every class and function (`stand_ins`), so nothing ran while the file was
read. Modules are made from the stand-ins here, under a PyTorch whose layers were audited (`versions`):

* the constructor was never asked for by the file, only `__new__` and a state, as `torch.save` writes it;
* the state is plain data: numbers, strings, containers, tensors (stripped of everything but their values);
* no hook, no attribute that hides a method, no module outside ``_modules``, no cycle.

So the only code that runs is that of the stock layers themselves, on plain data.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from qtrain_cli.errors import BadInput, Refused, first_line
from qtrain_cli.models.entries import require_length
from qtrain_cli.models.untrusted.layer_checks import layer_problem, number_problem
from qtrain_cli.models.untrusted.stand_ins import (
    STOCK_CLASSES,
    STOCK_FUNCTIONS,
    Inert,
    Name,
    StockRecord,
)
from qtrain_cli.models.untrusted.versions import require_audited

_BASE_STATE = frozenset(vars(nn.Module()))
_OWN_STATE = frozenset({"training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"})
_HOOKS = _BASE_STATE - _OWN_STATE
#: Places of layers and tensors in the tree: what stands in two layers that stand in two layers has four.
_MOST_PLACES = 200_000
_STATE = "save its state_dict() instead, and name its class with --arch"
_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.Size, torch.dtype, torch.device)


def rebuild_module(record: StockRecord) -> nn.Module:
    """The module that the stand-ins describe.

    Raises:
        Refused: anything in it that is more than a stock layer with plain data; or a PyTorch that was not
            audited.
        BadInput: a state that the layer's class does not take.
    """
    require_audited("a whole pickled module")
    try:
        module = _Rebuilding().module(record, "")
        if _places(module, {}) > _MOST_PLACES:
            raise Refused(f"the pickled module has its layers in more than {_MOST_PLACES} places", _STATE)
        return module
    except RecursionError:
        raise Refused("the pickled module is nested too deeply to be a real one", _STATE) from None


class _Rebuilding:
    """One tree; remembers what it made, so that what was shared stays shared."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}
        self._open: set[int] = set()

    def module(self, record: Any, path: str) -> nn.Module:
        if not isinstance(record, StockRecord):
            raise _refusal(path, f"is a {_kind(record)} and not a stock layer")
        if id(record) in self._open:
            raise _refusal(path, "contains itself")
        if id(record) not in self._made:
            self._open.add(id(record))
            self._made[id(record)] = self._new_module(record, path)
            self._open.remove(id(record))
        return self._made[id(record)]

    def _new_module(self, record: StockRecord, path: str) -> nn.Module:
        cls = STOCK_CLASSES[record.source]
        if record.args:
            raise _refusal(path, f"calls the constructor of {cls.__name__}")
        state = vars(nn.Module()) | self._state(record.state, cls, path)
        _require(path, number_problem(cls, state))
        module = cls.__new__(cls)
        try:
            module.__setstate__(state)
        except Exception as error:
            raise BadInput(
                f"layer '{path}' cannot be restored as {cls.__name__}: {first_line(error)}", _STATE
            ) from error
        _require(path, layer_problem(module))
        return module

    def _state(self, state: Any, cls: type[nn.Module], path: str) -> dict[str, Any]:
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            raise _refusal(path, "has a state that is no dictionary of attributes")
        replaced = sorted(key for key in state if _replaces(cls, key, state[key]))
        if replaced:
            raise _refusal(path, f"replaces {', '.join(replaced)} of {cls.__name__}")
        children = state.get("_modules", {})
        plain = {
            key: self._plain(value, f"{path}.{key}")
            for key, value in state.items()
            if key not in _HOOKS and key != "_modules"
        }
        _check_tensors(plain, children, path)
        return {**plain, "_modules": self._children(children, path)}

    def _children(self, children: dict[str, Any], path: str) -> dict[str, nn.Module | None]:
        require_length(len(path) + max(map(len, children), default=0))
        return {
            name: None if child is None else self.module(child, f"{path}.{name}".lstrip("."))
            for name, child in children.items()
        }

    def _plain(self, value: Any, path: str) -> Any:
        """The same value, with every tensor replaced by one that carries nothing but its numbers."""
        if type(value) in _PLAIN:
            return value
        if isinstance(value, Name) and value.source in STOCK_FUNCTIONS:
            return STOCK_FUNCTIONS[value.source]
        if type(value) in (list, tuple, set, dict, OrderedDict):
            if (
                id(value) not in self._made
            ):  # shared parts are gone through once: unfolded they may have no end
                self._made[id(value)] = self._container(value, path)
            return self._made[id(value)]
        if type(value) in (Tensor, nn.Parameter) and value.layout == torch.strided:
            return self._tensor(value)
        raise _refusal(path, f"is a {_kind(value)} and not plain data")

    def _container(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return type(value)((self._plain(k, path), self._plain(v, path)) for k, v in value.items())
        return type(value)(self._plain(item, path) for item in value)

    def _tensor(self, value: Tensor) -> Tensor:
        if id(value) not in self._made:
            numbers = Tensor.detach(value)
            is_parameter = isinstance(value, nn.Parameter)
            self._made[id(value)] = nn.Parameter(numbers, value.requires_grad) if is_parameter else numbers
        return self._made[id(value)]


def _places(module: nn.Module, known: dict[nn.Module, int]) -> int:
    """Names that the tree has for layers and tensors, counted without unfolding it."""
    if module not in known:
        own = 1 + len(module._parameters) + len(module._buffers)
        children = [child for child in module._modules.values() if child is not None]
        known[module] = own + sum(_places(child, known) for child in children)
    return known[module]


def _replaces(cls: type[nn.Module], key: str, value: Any) -> bool:
    """Whether an attribute is a hook that is set, or would hide something of the class."""
    if key in _HOOKS:
        return not (value is None or value is False or (isinstance(value, dict) and not value))
    hides = key.startswith("__") or key in vars(nn.Module) or callable(getattr(cls, key, None))
    return hides and key not in _OWN_STATE


def _check_tensors(state: Mapping[str, Any], children: Any, path: str) -> None:
    """Parameters and buffers are named tensors, modules are named: what `nn.Module` relies on."""
    for key, kind in (("_parameters", nn.Parameter), ("_buffers", Tensor)):
        entries = state.get(key, {})
        if not isinstance(entries, dict) or not all(
            v is None or isinstance(v, kind) for v in entries.values()
        ):
            raise _refusal(path, f"has {key} that are no tensors by name")
    for named in (state.get("_parameters", {}), state.get("_buffers", {}), children):
        if not isinstance(named, dict) or not all(isinstance(name, str) for name in named):
            raise _refusal(path, "has a list of tensors or modules without names")


def _require(path: str, problem: str) -> None:
    if problem:
        raise _refusal(path, problem)


def _refusal(path: str, what: str) -> Refused:
    return Refused(
        f"the pickled module is more than stock layers: '{path.lstrip('.') or 'the module itself'}' {what}",
        "if you trust where the file comes from, add --trust-pickle",
    )


def _kind(value: Any) -> str:
    return value.source if isinstance(value, (Inert, Name)) else type(value).__name__
