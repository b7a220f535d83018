"""The names of a model file's tensors, fast and without torch: for completion and advice, not for loading.

    .safetensors    the header
    torch.save      a zip archive; its pickle's opcodes are followed, and nothing is imported or called

Only names matter here, so that what a pickle calls becomes a `_Thing` that keeps its arguments. Whatever is
unusual (an old format, a compressed or a large record, an opcode that `torch.save` does not write, more names
than a model has, as shared parts can make of few bytes) has no names. Reading models is `models`'; that one
has to be exact.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qtrain_cli.errors import QtrainError
from qtrain_cli.files.header import read_header

MOST_PICKLE_BYTES, MOST_OPCODES, MOST_NESTED = 2**24, 500_000, 32
#: What the walk along all names may cost: each entry `_ENTRY_COST` and the letters of its name.
_MOST_COST, _ENTRY_COST = 2**24, 64
_MARK = object()
_UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError)
_TENSORS = (" _rebuild_tensor", " _rebuild_tensor_v2", " _rebuild_parameter")


@dataclass
class _Thing:
    """What a pickle makes of a name: its arguments, its items, its state."""

    source: str
    args: tuple[Any, ...] = ()
    items: dict[Any, Any] = field(default_factory=dict)
    state: Any = None

    @property
    def is_tensor(self) -> bool:
        return self.source.endswith(_TENSORS)

    @property
    def is_module(self) -> bool:
        return isinstance(self.state, dict) and "_modules" in self.state


@dataclass(frozen=True)
class TensorNames:
    """The tensors' names as a state dictionary has them, and whether the file holds its module too."""

    names: tuple[str, ...] = ()
    has_module: bool = False


def outline_of(path: Path) -> TensorNames:
    """What a file says of itself; nothing of what cannot be read this way."""
    try:
        if path.suffix == ".safetensors":
            return TensorNames(tuple(read_header(path).tensors))
        return _of_tree(_Machine().read(_pickle_in(path)))
    except (QtrainError, zipfile.BadZipFile, *_UNREADABLE):
        return TensorNames()


def _pickle_in(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        record = next((one for one in archive.infolist() if one.filename.endswith("/data.pkl")), None)
        if (
            record is None
            or record.compress_type != zipfile.ZIP_STORED
            or record.file_size > MOST_PICKLE_BYTES
        ):
            raise ValueError("no record that torch.save writes")
        return archive.read(record)


def _of_tree(tree: Any) -> TensorNames:
    found = tuple(_Walk().names(tree, "", 0))
    return TensorNames(found, isinstance(tree, _Thing) and tree.is_module)


@dataclass
class _Walk:
    """Goes along all entries: a part that several share has a name below each of them, as in torch."""

    left: int = _MOST_COST

    def names(self, value: Any, prefix: str, depth: int) -> Iterator[str]:
        """Tensors below a value; a checkpoint's entries that hold weights stand for the whole."""
        if depth > MOST_NESTED:
            return
        if isinstance(value, _Thing) and value.is_module:
            for part in ("_parameters", "_buffers", "_modules"):
                yield from self._below(value.state.get(part), prefix, depth)
            return
        items = _items(value)
        self._pay(_ENTRY_COST * len(items))
        if any(_is_tensor(one) for one in items.values()):
            yield from self._below(value, prefix, depth)
        elif not prefix:
            for one in items.values():
                yield from self.names(one, "", depth + 1)

    def _below(self, value: Any, prefix: str, depth: int) -> Iterator[str]:
        for name, one in _items(value).items():
            self._pay(_ENTRY_COST + len(prefix) + (len(name) if isinstance(name, str) else 0))
            if _is_tensor(one):
                yield f"{prefix}{name}"
            elif isinstance(one, _Thing) and one.is_module:
                yield from self.names(one, f"{prefix}{name}.", depth + 1)

    def _pay(self, cost: int) -> None:
        self.left -= cost
        if self.left < 0:
            raise ValueError("more names than a model has")


def _items(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else value.items if isinstance(value, _Thing) else {}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, _Thing) and value.is_tensor


class _Machine:
    """Follows a pickle's opcodes."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def read(self, pickle: bytes) -> Any:
        """The value it holds. Raises `ValueError` or `LookupError` for what `torch.save` does not write."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(pickle)):
            if opcode.name == "STOP" or count > MOST_OPCODES:
                break
            self._step(opcode.name, argument)
        return self.stack.pop()

    def _step(self, name: str, argument: Any) -> None:
        if name in _STEPS:
            _STEPS[name](self, argument)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self.stack.append(_Thing(argument or " ".join(self._taken(2))))
        elif _is_plain(name):
            self.stack.append(argument if isinstance(argument, (str, int)) else None)
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"the opcode {name}")

    def _taken(self, count: int) -> list[Any]:
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def _since_mark(self) -> list[Any]:
        taken = []
        while (one := self.stack.pop()) is not _MARK:
            taken.append(one)
        return taken[::-1]

    def _put(self, argument: Any) -> None:
        self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]

    def _call(self, argument: Any) -> None:
        function, args = self._taken(2)
        self.stack.append(_Thing(function.source, args if isinstance(args, tuple) else ()))

    def _build(self, argument: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], _Thing):
            self.stack[-1].state = state

    def _fill(self, pairs: list[Any]) -> None:
        keys = pairs[::2]
        if all(isinstance(key, (str, int)) or key is None for key in keys):
            _items(self.stack[-1]).update(zip(keys, pairs[1::2], strict=True))


def _is_plain(name: str) -> bool:
    """Whether an opcode puts a plain value on the stack."""
    return name.startswith(("BINUNICODE", "SHORT_BINUNICODE", "BININT", "LONG", "BINFLOAT", "NONE", "NEWTRUE",
                            "NEWFALSE", "BINBYTES", "SHORT_BINBYTES"))  # fmt: skip


_STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    "MARK": lambda machine, argument: machine.stack.append(_MARK),
    "EMPTY_DICT": lambda machine, argument: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, argument: machine.stack.append([]),
    "EMPTY_SET": lambda machine, argument: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, argument: machine.stack.append(()),
    "TUPLE": lambda machine, argument: machine.stack.append(tuple(machine._since_mark())),
    "TUPLE1": lambda machine, argument: machine.stack.append(tuple(machine._taken(1))),
    "TUPLE2": lambda machine, argument: machine.stack.append(tuple(machine._taken(2))),
    "TUPLE3": lambda machine, argument: machine.stack.append(tuple(machine._taken(3))),
    "BINPUT": _Machine._put,
    "LONG_BINPUT": _Machine._put,
    "MEMOIZE": _Machine._put,
    "BINGET": lambda machine, argument: machine.stack.append(machine.memo[argument]),
    "LONG_BINGET": lambda machine, argument: machine.stack.append(machine.memo[argument]),
    "BINPERSID": lambda machine, argument: machine.stack.append(_Thing("storage", (machine.stack.pop(),))),
    "REDUCE": _Machine._call,
    "NEWOBJ": _Machine._call,
    "BUILD": _Machine._build,
    "SETITEM": lambda machine, argument: machine._fill(machine._taken(2)),
    "SETITEMS": lambda machine, argument: machine._fill(machine._since_mark()),
    "APPEND": lambda machine, argument: machine._taken(1),
    "APPENDS": lambda machine, argument: machine._since_mark(),
    "ADDITEMS": lambda machine, argument: machine._since_mark(),
}
