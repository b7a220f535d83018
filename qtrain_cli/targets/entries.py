"""The tensors of a model as plain data: what each is called, and where its numbers come from. No torch.

A generated tensor takes its numbers from a method, a kept one is stored as it is, a tied one is the same
tensor under a second name. Everything here can be written as JSON and checks itself, so that a file is
validated, counted and reported without torch and before anything is allocated.

    scale = 1 / sqrt(3 * fan_in)
"""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass

from qtrain_cli.errors import BadInput, suggestion

GENERATED, KEPT, TIED = "generated", "kept", "tied"
ROLES = (GENERATED, KEPT, TIED)

#: Bytes per element of every dtype that a layout may name, by safetensors' names.
DTYPE_BYTES: dict[str, int] = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
FLOAT_DTYPES = ("F64", "F32", "F16", "BF16")

#: What may be stored in fewer bytes than the model has it: role, dtype, dtype in the file.
_NARROWED = ((KEPT, "F32", "F16"), (KEPT, "F64", "F16"))

MAX_ELEMENTS = 2**32
MAX_DIMENSIONS = 64
MAX_NAME = 512
#: Bytes of all kept tensors together: an artifact is read into memory whole.
MAX_KEPT_BYTES = 2**32


@dataclass(frozen=True)
class TensorEntry:
    """One named tensor of the model: where its numbers come from.

    `fan_in` and `centre` matter for generated tensors only; `source` names the tensor that a tied one
    repeats; `stored` is the dtype of a kept one in the file, where that is narrower than its own. Raises
    `BadInput` for values that cannot be: they may come from a stranger's file.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: str
    fan_in: int = 1
    centre: float = 0.0
    source: str = ""
    stored: str = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= MAX_NAME or not self.name.isprintable():
            shown = reprlib.repr(self.name)
            raise BadInput(f"a tensor is named {shown}; allowed: 1 to {MAX_NAME} printable characters")
        where = f"tensor '{self.name}'"
        if self.role not in ROLES:
            raise BadInput(f"{where} has the unknown role '{self.role}'", suggestion(self.role, ROLES))
        if self.dtype not in DTYPE_BYTES:
            raise BadInput(f"{where} has the dtype '{self.dtype}'", suggestion(self.dtype, DTYPE_BYTES))
        self._check_shape(where)
        if self.role == GENERATED:
            self._check_generated(where)
        if (self.role == TIED) != bool(self.source):
            raise BadInput(f"{where} is {self.role} and names the source '{self.source}'")
        if self.stored and (self.role, self.dtype, self.stored) not in _NARROWED:
            raise BadInput(f"{where} is {self.role}, {self.dtype}, and stored as {reprlib.repr(self.stored)}")

    def _check_shape(self, where: str) -> None:
        if len(self.shape) > MAX_DIMENSIONS:
            raise BadInput(f"{where} has {len(self.shape)} dimensions; allowed: at most {MAX_DIMENSIONS}")
        # An empty tensor must not hide a size that no library can count with.
        whole = all(type(size) is int and 0 <= size <= MAX_ELEMENTS for size in self.shape)
        if not whole or math.prod(max(1, size) for size in self.shape) > MAX_ELEMENTS:
            shown = reprlib.repr(list(self.shape))
            raise BadInput(f"{where} has the shape {shown}; allowed: 0 to {MAX_ELEMENTS} elements")

    def _check_generated(self, where: str) -> None:
        if self.dtype not in FLOAT_DTYPES or self.count < 1:
            raise BadInput(f"{where} cannot be generated: dtype {self.dtype}, {self.count} elements")
        if type(self.fan_in) is not int or not 1 <= self.fan_in <= MAX_ELEMENTS:
            shown = reprlib.repr(self.fan_in)
            raise BadInput(f"{where} has the fan-in {shown}; allowed: 1 to {MAX_ELEMENTS}")
        if not math.isfinite(self.centre):
            raise BadInput(f"{where} has the centre {self.centre}; allowed: any finite number")

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def stored_bytes(self) -> int:
        """Bytes that a kept tensor takes in a file before they are deflated."""
        return self.count * DTYPE_BYTES[self.stored or self.dtype]

    @property
    def scale(self) -> float:
        """``1 / sqrt(3 * fan_in)``; with a gain of sqrt(3) the standard deviation of an initialiser."""
        return 1.0 / math.sqrt(3 * self.fan_in)


@dataclass(frozen=True)
class LayoutSpec:
    """The model's tensors in their own order. Generated entries take the numbers 0..m-1 in that order.

    Raises:
        BadInput: a name that stands twice, a tied tensor whose source is missing, tied or of another shape or
            dtype, or too much to keep.
    """

    entries: tuple[TensorEntry, ...]

    def __post_init__(self) -> None:
        by_name: dict[str, TensorEntry] = {}
        for entry in self.entries:
            if entry.name in by_name:
                raise BadInput(f"tensor '{entry.name}' stands twice in the layout")
            by_name[entry.name] = entry
        for entry in self.entries:
            if entry.role == TIED and not _can_share(entry, by_name.get(entry.source)):
                raise BadInput(f"tensor '{entry.name}' is tied to '{entry.source}', which does not fit")
        kept = sum(entry.count * DTYPE_BYTES[entry.dtype] for entry in self.of_role(KEPT))
        if kept > MAX_KEPT_BYTES:
            raise BadInput(f"{kept} bytes of tensors are kept; allowed: {MAX_KEPT_BYTES}", "widen --targets")

    def of_role(self, role: str) -> tuple[TensorEntry, ...]:
        """The entries of one role, in order."""
        return tuple(entry for entry in self.entries if entry.role == role)

    @property
    def generated(self) -> int:
        """``m``: how many weights are generated."""
        return sum(entry.count for entry in self.of_role(GENERATED))

    @property
    def kept(self) -> int:
        """How many numbers are stored as they are (kept tensors and buffers)."""
        return sum(entry.count for entry in self.of_role(KEPT))


def _can_share(entry: TensorEntry, source: TensorEntry | None) -> bool:
    """Whether `entry` can be the same tensor as `source`."""
    return (
        source is not None
        and source.role != TIED
        and (source.shape, source.dtype) == (entry.shape, entry.dtype)
    )
