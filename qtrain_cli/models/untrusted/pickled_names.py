"""Which names a pickle wants, and which of them are foreign: read off its opcodes, nothing unpickled.

The list is for the message, and it refuses early. What a name *becomes* is decided by the restricted
unpickler, which knows no other names than PyTorch's own and the stand-ins it is given; so a name that this
reading misses is refused there.
"""

from __future__ import annotations

from _compat_pickle import IMPORT_MAPPING
from collections.abc import Iterable, Iterator
from typing import Any

from torch._weights_only_unpickler import _get_allowed_globals

from qtrain_cli.models.untrusted.stand_ins import ALLOWED

_ALLOWED_NAMES = frozenset(name for _, name in ALLOWED)
#: PyTorch allows it; called with one number, it fills that many bytes of memory.
_MEMORY_FILLING = frozenset({"builtins.bytearray"})


def foreign_names(opcodes: Iterable[tuple[Any, Any, Any]]) -> list[str]:
    """Names beyond tensors, containers and what has a stand-in, sorted.

    Args:
        opcodes: as `pickletools.genops` gives them.
    """
    safe = _ALLOWED_NAMES | set(_get_allowed_globals()) - _MEMORY_FILLING
    return sorted(set(_globals_of(opcodes)) - safe)


def _globals_of(opcodes: Iterable[tuple[Any, Any, Any]]) -> Iterator[str]:
    """Names of the opcodes that look something up. STACK_GLOBAL takes the two strings read last."""
    strings: list[str] = []
    memo: dict[Any, str] = {}
    for opcode, value, _ in opcodes:
        if opcode.name in ("GLOBAL", "INST"):
            yield _dotted(*value.split(" ", 1))
        elif opcode.name == "STACK_GLOBAL":
            yield _dotted(*(strings[-2:] if len(strings) > 1 else ("?", "?")))
        elif isinstance(value, str):
            strings.append(value)
        elif "PUT" in opcode.name or opcode.name == "MEMOIZE":
            memo[len(memo) if value is None else value] = strings[-1] if strings else "?"
        elif "GET" in opcode.name:
            strings.append(memo.get(value, "?"))


def _dotted(module: str, name: str) -> str:
    return f"{IMPORT_MAPPING.get(module, module)}.{name}"
