"""Pickles grown from a grammar: whole values where bytes that are changed at random rarely still make any.

value    number, text, bytes, None, tuple, list, dictionary, a value from before (shared or circular)
         name(values), one of `CALLS` or any of `GLOBALS`, with a state put on it perhaps
         a storage of the archive, as torch names it
"""

from __future__ import annotations

import struct
from random import Random

from fuzz.words import GLOBALS, NUMBERS, TEXTS

#: Names with the arguments that they expect: s a storage, n numbers in a tuple, i a number, v any value.
CALLS = {
    "torch._utils _rebuild_tensor_v2": "sinniv", "torch._utils _rebuild_parameter": "viv",
    "torch._utils _rebuild_parameter_with_state": "vivv", "torch._utils _rebuild_sparse_tensor": "vv",
    "torch._utils _rebuild_qtensor": "sinnviv", "torch._utils _rebuild_meta_tensor_no_storage": "vnni",
    "torch._tensor _rebuild_from_type_v2": "vvvv", "torch Size": "n", "torch device": "t",
    "builtins set": "v", "builtins bytearray": "i", "builtins complex": "ii", "_codecs encode": "tt",
    "collections OrderedDict": "", "collections Counter": "v", "torch.serialization _get_layout": "t",
}  # fmt: skip
STORAGES = ("FloatStorage", "LongStorage", "BoolStorage", "ByteStorage", "QInt8Storage")
LAYERS = tuple(name for name in GLOBALS if name.startswith("torch.nn"))


def grown(rng: Random) -> bytes:
    """A pickle of protocol 2: a dictionary of names and values, or one value."""
    grower = Grower(rng)
    names = ("state_dict", "weight", "first.weight", "x", "0.weight", "epoch")
    if rng.random() < 0.3:
        return b"\x80\x02" + grower.value(0) + b"."
    items = b"".join(text(rng.choice(names)) + grower.value(0) for _ in range(rng.choice((1, 2, 5))))
    return b"\x80\x02}(" + items + b"u."


class Grower:
    """What was kept in the memo so far, so that later values can be earlier ones again."""

    def __init__(self, rng: Random) -> None:
        self._rng, self._kept = rng, 0

    def value(self, depth: int) -> bytes:
        """The opcodes of one value; the deeper, the plainer."""
        rng = self._rng
        if depth > 4 or rng.random() < 0.25:
            return self._plain()
        made = rng.choice((self._tensor, self._tensor, self._call, self._holder, self._layer))(depth + 1)
        if rng.random() < 0.3 and self._kept < 250:
            made += b"q" + bytes([self._kept])
            self._kept += 1
        return made

    def _plain(self) -> bytes:
        rng = self._rng
        if self._kept and rng.random() < 0.3:
            return b"h" + bytes([rng.randrange(self._kept)])
        return rng.choice(
            (b"N", b"\x88", b"]", b"}", b")", number(rng), number(rng), text(rng.choice(TEXTS)))
        )

    def _holder(self, depth: int) -> bytes:
        parts = [self.value(depth) for _ in range(self._rng.choice((0, 1, 2, 3)))]
        kind = self._rng.randrange(3)
        if kind == 0:
            return b"(" + b"".join(parts) + b"t"
        if kind == 1:
            return b"](" + b"".join(parts) + b"e"
        return b"}(" + b"".join(self._plain() + part for part in parts) + b"u"

    def _call(self, depth: int) -> bytes:
        name = self._rng.choice((*CALLS, *GLOBALS))
        return self._called(name, CALLS.get(name, "v" * self._rng.randrange(4)), depth)

    def _tensor(self, depth: int) -> bytes:
        return self._called("torch._utils _rebuild_tensor_v2", "sinniv", depth)

    def _layer(self, depth: int) -> bytes:
        made = named(self._rng.choice(LAYERS)) + b")\x81"
        state = {"training": b"\x89", "_parameters": None, "_buffers": b"}", "_modules": b"}"}
        more = (
            "in_features",
            "num_heads",
            "hidden_size",
            "num_layers",
            "kernel_size",
            "forward",
            "_forward_hooks",
        )
        state |= {self._rng.choice(more): None for _ in range(self._rng.randrange(4))}
        items = (text(key) + (part or self.value(depth)) for key, part in state.items())
        return made + b"}(" + b"".join(items) + b"ub"

    def _called(self, name: str, kinds: str, depth: int) -> bytes:
        made = {"s": self._storage, "n": self._numbers, "i": self._small, "t": self._text, "v": self.value}
        taken = [made[kind](depth) for kind in kinds if self._rng.random() < 0.98]
        built = named(name) + b"(" + b"".join(taken) + b"tR"
        return built + self.value(depth) + b"b" if self._rng.random() < 0.05 else built

    def _storage(self, depth: int) -> bytes:
        key, size = text(self._rng.choice("0123")), self._small(depth)
        kind = named(f"torch {self._rng.choice(STORAGES)}")
        return (
            b"("
            + text("storage")
            + kind
            + key
            + text(self._rng.choice(("cpu", "cpu", "meta", "x")))
            + size
            + b"tQ"
        )

    def _numbers(self, depth: int) -> bytes:
        return b"(" + b"".join(self._small(depth) for _ in range(self._rng.choice((0, 1, 1, 2, 2, 3)))) + b"t"

    def _small(self, depth: int) -> bytes:
        return (
            b"K" + bytes([self._rng.choice((0, 1, 2, 4, 8))])
            if self._rng.random() < 0.85
            else number(self._rng)
        )

    def _text(self, depth: int) -> bytes:
        return text(self._rng.choice((*TEXTS, "cpu", "meta", "hex", "latin1", "zip", "torch.strided")))


def number(rng: Random) -> bytes:
    """A whole or broken number of any size."""
    value = rng.choice(NUMBERS)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    data = value.to_bytes(20, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def text(value: str) -> bytes:
    """A text."""
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + len(data).to_bytes(4, "little") + data


def named(name: str) -> bytes:
    """A module's member, the two with a space between them."""
    return f"c{name}\n".replace(" ", "\n").encode()
