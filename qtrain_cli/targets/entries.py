"""The tensors of a model as plain data: what each is called, and where its numbers come from. No torch.

A generated tensor takes its numbers from a method, a kept one is stored, a tied one is the same tensor under
a second name. Everything here can be written as JSON and checks itself, so that a file is validated, counted
and reported without torch and before anything is allocated.

    scale = 1 / sqrt(3 * fan_in)

A kept tensor is in the file whole, in half precision, as a bit for each 0 and 1, as the few numbers of a
pattern, or, where a new module of the model's architecture has it anyway, as what it is recognised by
(`FORMS`). One row of a generated tensor may be constant (an embedding's padding): zero, or kept as it is.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
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

#: How a kept tensor may be stored in fewer bytes than the model has it, with the bytes of each form for
#: so many elements of so many bytes each.
SAME, RANGE, BAND, LEFT_OUT, HALF, BIT_EACH = "same", "range", "band", "given", "F16", "bits"
#: A tensor of the architecture is recognised by 8 bytes of SHA-256 and a weighted sum, float32.
GIVEN_BYTES = 12
FORMS: dict[str, Callable[[int, int], int]] = {
    HALF: lambda count, width: 2 * count,
    BIT_EACH: lambda count, width: -(-count // 8),
    SAME: lambda count, width: width,
    RANGE: lambda count, width: 2 * width,
    BAND: lambda count, width: 2 * width,
    LEFT_OUT: lambda count, width: GIVEN_BYTES,
}
PATTERNS = (SAME, RANGE, BAND)
#: Buffers that are averages over batches, and noisier than half precision is coarse.
RUNNING = ("running_mean", "running_var")
#: What counts exactly, so that every machine writes the same range.
_COUNTING = ("F64", "F32", "I64", "I32", "I16", "I8", "U8")

MAX_ELEMENTS = 2**32
MAX_DIMENSIONS = 64
MAX_NAME = 512
#: Bytes of all kept tensors together: an artifact is read into memory whole.
MAX_KEPT_BYTES = 2**32


@dataclass(frozen=True)
class TensorEntry:
    """One named tensor of the model: where its numbers come from.

    `fan_in` and `centre` matter for generated tensors only, and so does `row`: the constant row along the
    first axis, -1 for none. `source` names the tensor that a tied one repeats. `stored` is the form of a kept
    one in the file (`FORMS`; "" for whole), of a generated one the dtype of its constant row ("" for zeros);
    `band` the first and last diagonal of a band. Raises `BadInput` for values that cannot be: they may come
    from a stranger's file.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: str
    fan_in: int = 1
    centre: float = 0.0
    source: str = ""
    stored: str = ""
    row: int = -1
    band: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= MAX_NAME or not self.name.isprintable():
            shown = reprlib.repr(self.name)
            raise BadInput(
                f"a tensor is named {shown}; allowed: 1 to {MAX_NAME} printable characters",
                "rename it in the model's class",
            )
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
        if not self._can_be_stored():
            shown = " ".join([reprlib.repr(self.stored), *map(reprlib.repr, self.band)])
            raise BadInput(f"{where} is {self.role}, {self.dtype}, and stored as {shown}")
        if not self._can_have_row():
            raise BadInput(f"{where} has the constant row {reprlib.repr(self.row)}, which cannot be")

    def _can_be_stored(self) -> bool:
        """Whether a tensor of this role, dtype and shape can have this form."""
        if len(self.band) != (2 if self.stored == BAND else 0):
            return False
        if self.role != KEPT or not self.stored:
            return self.role == GENERATED or not self.stored
        if self.stored == HALF:
            return self.dtype in ("F32", "F64")
        low, high = self.band or (0, 0)
        return self.stored in FORMS and self.count > 0 and {
            RANGE: len(self.shape) > 0 and self.dtype in _COUNTING,
            BAND: len(self.shape) > 1 and type(low) is type(high) is int
            and -MAX_ELEMENTS <= low <= high <= MAX_ELEMENTS,
        }.get(self.stored, True)  # fmt: skip

    def _can_have_row(self) -> bool:
        """Whether there is such a row, or none is asked for."""
        if self.row == -1:
            return self.role != GENERATED or not self.stored
        rows = self.shape[0] if len(self.shape) == 2 else 0
        whole = type(self.row) is int and 0 <= self.row < rows
        return self.role == GENERATED and whole and self.stored in ("", self.dtype)

    def _check_shape(self, where: str) -> None:
        if len(self.shape) > MAX_DIMENSIONS:
            raise BadInput(
                f"{where} has {len(self.shape)} dimensions; allowed: at most {MAX_DIMENSIONS}",
                "give it fewer dimensions in the model's class",
            )
        # An empty tensor must not hide a size that no library can count with.
        whole = all(type(size) is int and 0 <= size <= MAX_ELEMENTS for size in self.shape)
        if not whole or math.prod(max(1, size) for size in self.shape) > MAX_ELEMENTS:
            shown = reprlib.repr(list(self.shape))
            raise BadInput(
                f"{where} has the shape {shown}; allowed: 0 to {MAX_ELEMENTS} elements",
                "split it in the model's class",
            )

    def _check_generated(self, where: str) -> None:
        if self.dtype not in FLOAT_DTYPES or self.count < 1:
            raise BadInput(
                f"{where} cannot be generated: dtype {self.dtype}, {self.count} elements",
                "leave it out with --ignore",
            )
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
        """Bytes that a tensor takes among the kept ones in a file, before they are deflated."""
        width = DTYPE_BYTES[self.dtype]
        if self.role != KEPT:
            return self.shape[1] * width if self.stored else 0
        return FORMS[self.stored](self.count, width) if self.stored else self.count * width

    @property
    def pattern_bytes(self) -> int:
        """Bytes that a pattern, or bits, become once they are read; 0 for what is neither."""
        return self.count * DTYPE_BYTES[self.dtype] if self.stored in (*PATTERNS, BIT_EACH) else 0

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
        """How many numbers are stored as they are (kept tensors, but no pattern and nothing given)."""
        whole = [entry for entry in self.of_role(KEPT) if entry.stored in ("", HALF, BIT_EACH)]
        rows = [entry.shape[1] for entry in self.of_role(GENERATED) if entry.stored]
        return sum(entry.count for entry in whole) + sum(rows)

    @property
    def stored(self) -> tuple[TensorEntry, ...]:
        """The entries that have bytes of their own in a file, in order."""
        return tuple(entry for entry in self.entries if entry.role == KEPT or entry.stored)

    @property
    def given(self) -> tuple[str, ...]:
        """The tensors that only a module of the model's architecture can give."""
        return tuple(entry.name for entry in self.entries if entry.stored == LEFT_OUT)


def _can_share(entry: TensorEntry, source: TensorEntry | None) -> bool:
    """Whether `entry` can be the same tensor as `source`."""
    return (
        source is not None
        and source.role != TIED
        and (source.shape, source.dtype) == (entry.shape, entry.dtype)
    )


def kept_in_words(layout: LayoutSpec) -> dict[str, str]:
    """How each tensor or row is kept that is not simply stored, by name, for a record and for a reader."""
    words = {}
    for entry in layout.entries:
        running = entry.name.rpartition(".")[2] in RUNNING
        if entry.row >= 0:
            words[f"{entry.name}[{entry.row}]"] = "row as it is" if entry.stored else "row of zeros"
        elif entry.stored in PATTERNS:
            words[entry.name] = f"pattern '{entry.stored}'"
        elif entry.stored == BIT_EACH:
            words[entry.name] = "a bit each"
        elif entry.stored == LEFT_OUT:
            words[entry.name] = "of the architecture"
        elif entry.role == KEPT and running and not entry.stored and entry.dtype in ("F32", "F64"):
            words[entry.name] = f"{entry.dtype}, beyond F16"
    return words
