"""A pickle, interpreted without running it: a stack machine of which only the harmless part exists.

    bytes -> opcodes (`pickletools`: decodes, calls nothing) -> containers, numbers, tensors, stand-ins

Python's own machine imports what a pickle names and calls it; PyTorch's restricted one calls a list of names
with whatever arguments the file gives. Here a name is a text. What it means is a row of `pickled_calls`, a
function of this project that checks its arguments; every other name becomes a stand-in (`stand_ins`), and the
foreign ones are listed. Keys are numbers and texts alone: the hash of a tuple of tuples of tuples unfolds it.

One `Budget` bounds the whole. A file has to pay for each opcode, and for each element that a call copies, so
that no small file makes much of little (one list, copied by five bytes a time); time follows, since an
opcode takes a microsecond or two. Memory: a few hundred bytes an opcode at most.
"""

from __future__ import annotations

import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from qtrain_cli.models.untrusted.stand_ins import Inert, Name, called, is_known

#: What one file may cost. The state of 10,000 tensors with their optimiser takes a quarter of it.
MOST_STEPS = 4_000_000
#: Nobody means a number of more digits by a size, and long ones take quadratic time to print.
MOST_BITS = 1024
#: Places of a tree that are looked through, beside two for each step.
_MOST_PLACES, _DEEPEST = 100_000, 8
_MARK = object()
_KEYS = (str, int, float, bytes, bool, type(None))
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT")
_TEXTS = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
          "BINSTRING", "SHORT_BINSTRING")  # fmt: skip


class Outside(Exception):
    """The pickle does what no honest file of weights does; the text says what."""


@dataclass
class Budget:
    """Steps that are left."""

    left: int = MOST_STEPS

    def spend(self, steps: int) -> None:
        """Raises `Outside` when nothing is left."""
        self.left -= steps
        if self.left < 0:
            raise Outside(f"it takes more than {MOST_STEPS} steps to read; allowed: that many")


@dataclass
class Machine:
    """Reads pickles, one after the other, on one budget.

    `meaning` gives the function of a name that is more than a stand-in, or None; `storage` gives what a
    persistent id means. `foreign` collects the other names, in the order in which they are met.
    """

    meaning: Callable[[str], Any]
    storage: Callable[[tuple[Any, ...]], Any]
    budget: Budget = field(default_factory=Budget)
    foreign: dict[str, None] = field(default_factory=dict)

    def read(self, stream: Any) -> Any:
        """The value of the pickle that begins here; the stream then stands behind it.

        Raises:
            Outside: it does something that has no place in a file of weights, or takes too long.
            ValueError, IndexError, KeyError: it breaks off or is none.
        """
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        for opcode, argument, _ in pickletools.genops(stream):
            self.budget.spend(1)
            if opcode.name == "STOP":
                break
            self._step(opcode.name, argument)
        return self.stack.pop()

    def require_small(self, tree: Any) -> None:
        """Raises `Outside` for a tree with many more places than there are opcodes: shared parts, nested."""
        if tree_places(tree) > _MOST_PLACES + 2 * (MOST_STEPS - self.budget.left):
            raise Outside("its dictionaries share parts so that they unfold without end")

    def _step(self, name: str, argument: Any) -> None:
        if name in _TEXTS or name in _NUMBERS:
            self.stack.append(_bounded(argument))
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            self.stack[-_TUPLES[name] :] = [tuple(self.stack[-_TUPLES[name] :])]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise Outside(f"it has the opcode {name}")

    def _since_mark(self) -> list[Any]:
        start = len(self.stack) - 1
        while self.stack[start] is not _MARK:
            start -= 1
        items = self.stack[start + 1 :]
        del self.stack[start:]
        self.budget.spend(len(items))
        return items

    def _name(self, module: str, name: str) -> None:
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        source = f"{module}.{name}"
        meaning = self.meaning(source)
        if meaning is None and not is_known(source):
            self.foreign[source] = None
        self.stack.append(Name(source) if meaning is None else meaning)

    def _stack_global(self) -> None:
        module, name = self.stack[-2:]
        del self.stack[-2:]
        if not isinstance(module, str) or not isinstance(name, str):
            raise Outside("it names something that is no text")
        self._name(module, name)

    def _call(self) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        if not isinstance(args, tuple):
            raise Outside("it calls something with no list of arguments")
        if isinstance(function, Name):
            self.stack.append(called(function, args))
        elif callable(function):
            self.stack.append(function(self.budget, *args))
        else:
            raise Outside(f"it calls a {type(function).__name__}")

    def _build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Inert):
            self.stack[-1].state = state
        elif not isinstance(self.stack[-1], OrderedDict):  # `_metadata`, or what would hide its methods
            raise Outside(f"it sets attributes of a {type(self.stack[-1]).__name__}")

    def _append(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise Outside(f"it appends to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    def _set_items(self, items: list[Any]) -> None:
        if type(self.stack[-1]) not in (dict, OrderedDict):
            raise Outside(f"it sets items of a {type(self.stack[-1]).__name__}")
        keys = map(require_key, items[::2])
        self.stack[-1].update(zip(keys, items[1::2], strict=True))

    def _add_items(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not set:
            raise Outside(f"it adds to a {type(self.stack[-1]).__name__}")
        self.stack[-1].update(map(require_key, items))

    def _last(self, count: int) -> list[Any]:
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def _persistent(self) -> None:
        saved = self.stack.pop()
        if not isinstance(saved, tuple):
            raise Outside(f"it refers to a {type(saved).__name__} outside of itself")
        self.stack.append(self.storage(saved))


_STEPS: dict[str, Callable[[Machine, Any], Any]] = {
    "MARK": lambda machine, _: machine.stack.append(_MARK),
    "POP": lambda machine, _: machine.stack.pop(),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine._since_mark())),
    "LIST": lambda machine, _: machine.stack.append(machine._since_mark()),
    "APPEND": lambda machine, _: machine._append(machine._last(1)),
    "APPENDS": lambda machine, _: machine._append(machine._since_mark()),
    "SETITEM": lambda machine, _: machine._set_items(machine._last(2)),
    "SETITEMS": lambda machine, _: machine._set_items(machine._since_mark()),
    "ADDITEMS": lambda machine, _: machine._add_items(machine._since_mark()),
    "GLOBAL": lambda machine, argument: machine._name(*argument.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine._stack_global(),
    "REDUCE": lambda machine, _: machine._call(),
    "NEWOBJ": lambda machine, _: machine._call(),
    "BUILD": lambda machine, _: machine._build(),
    "BINPERSID": lambda machine, _: machine._persistent(),
}


def tree_places(tree: Any, depth: int = _DEEPEST) -> int:
    """Entries of dictionaries in dictionaries, shared ones once a place; counted without unfolding."""
    known: dict[tuple[int, int], int] = {}

    def count(value: Any, left: int) -> int:
        if not isinstance(value, dict) or left == 0:
            return 0
        if (id(value), left) not in known:
            known[id(value), left] = len(value) + sum(count(child, left - 1) for child in value.values())
        return known[id(value), left]

    return count(tree, depth)


def require_key(value: Any) -> Any:
    """A key of a dictionary or a set. Raises `Outside` for what hashes slowly or to one number."""
    if type(value) not in _KEYS or (type(value) is int and abs(value) >= 2**60):
        raise Outside(f"it uses a {type(value).__name__} as a key")
    return value


def _bounded(value: Any) -> Any:
    if type(value) is int and value.bit_length() > MOST_BITS:
        raise Outside(f"it holds a number of {value.bit_length()} bits; allowed: {MOST_BITS}")
    return value
