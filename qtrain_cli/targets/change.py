"""What a file of changes says: how they become weights, and which base model they belong to. No torch.

    delta   W = W_base + s (u(theta) - u(theta_0))                           every selected tensor
    lora    W = W_base + s B A,  B = u(theta) - u(theta_0)                   selected matrices, rank r
            s = alpha / r;  A (r, columns) seeded, of variance 1 / columns
    both    a tensor that the base lacks:  u(theta) - u(theta_0)

theta_0 is the seeded start, so that a file of no movement is the base itself. The base is no part of the
file, which names it by a digest over its tensors (`digest`) and by what people call it.
"""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass, replace
from typing import NamedTuple

from qtrain_cli.errors import BadInput, UsageError, suggestion

WHOLE, DELTA, LORA, XS = "whole", "delta", "lora", "lora-xs"
TARGETS = (WHOLE, DELTA, LORA, XS)
#: Those of a matrix by its factors.
FACTORED = (LORA, XS)
#: How a head that qtrain has put on a base reads its features (`models.heads`); "" for none.
MEAN_PLACE, FIRST_PLACE = "mean", "first"
POOLINGS = ("", MEAN_PLACE, FIRST_PLACE)
#: The module of that head, and its tensor.
HEAD = "head"
HEAD_WEIGHT = f"{HEAD}.weight"
MAX_FACTOR_RANK, MAX_SCALE, MAX_BASE_NAME = 4096, 1e4, 255
#: Of `lora-xs`, whose directions are found one after the other.
MAX_XS_RANK = 64
BASE_DIGITS = 64
MAX_FINE_TUNE = 2**50
#: Behind the name of a matrix in place of ``weight``, as PEFT has it.
FACTOR = "lora_B"


class Wanted(NamedTuple):
    """`--target`: a kind, and what of its own it has; 0: what goes with the kind."""

    kind: str
    rank: int = 0
    scale: float = 0.0

    def in_words(self) -> str:
        """As `--target` has it."""
        said = (f"{name}={value:g}" for name, value in (("rank", self.rank), ("scale", self.scale)) if value)
        return ":".join(filter(None, (self.kind, ",".join(said))))


@dataclass(frozen=True)
class Base:
    """The model that changes are added to: `sha256` of its tensors, its name, `bytes` of the whole fine-tune
    as a float32 safetensors file. Raises `BadInput` for what is none."""

    sha256: str
    name: str
    bytes: int

    def __post_init__(self) -> None:
        if len(self.sha256) != BASE_DIGITS or not set(self.sha256) <= set("0123456789abcdef"):
            raise BadInput(f"its base has the digest {reprlib.repr(self.sha256)}")
        if not isinstance(self.name, str) or len(self.name) > MAX_BASE_NAME or not self.name.isprintable():
            raise BadInput(f"its base is called {reprlib.repr(self.name)}")
        if type(self.bytes) is not int or not 1 <= self.bytes <= MAX_FINE_TUNE:
            raise BadInput(f"its base has {reprlib.repr(self.bytes)} bytes; allowed: 1 to {MAX_FINE_TUNE}")


@dataclass(frozen=True)
class Change:
    """How a file's tensors change a base.

    `scale` is s; `seed` that of A, or of the start from which `lora-xs` finds the base's own directions;
    `numbers` how many an ordinary LoRA has (A, B and what the base lacks), of this rank or, beside
    differences, of the usual one, 0 where it is not known;
    `prefix` stands before the base's names in the model's own, `head` is one of `POOLINGS`. `start`: the
    matrices that the base lacks begin seeded, and not at zero, since several of them would stay there: each's
    gradient is a product with the others. Raises `BadInput` for values that cannot be: they may come from a
    stranger's file.
    """

    kind: str
    base: Base
    rank: int = 0
    scale: float = 1.0
    seed: int = 0
    numbers: int = 0
    prefix: str = ""
    head: str = ""
    start: bool = False

    def __post_init__(self) -> None:
        if self.kind not in (DELTA, *FACTORED):
            known = ", ".join((DELTA, *FACTORED))
            raise BadInput(f"its target is {reprlib.repr(self.kind)}; known: {known}")
        least, most = (1, most_rank(self.kind)) if self.kind in FACTORED else (0, 0)
        if type(self.rank) is not int or not least <= self.rank <= most:
            raise BadInput(f"its target has the rank {reprlib.repr(self.rank)}; allowed: {least} to {most}")
        whole = isinstance(self.scale, float) and math.isfinite(self.scale)
        if not whole or not 0 < self.scale <= MAX_SCALE:
            raise BadInput(f"its target has the scale {reprlib.repr(self.scale)}")
        if type(self.numbers) is not int or not 0 <= self.numbers <= MAX_FINE_TUNE:
            raise BadInput(f"its target has {reprlib.repr(self.numbers)} numbers")
        if type(self.seed) is not int or not 0 <= self.seed < 2**63:
            raise BadInput(f"its target has the seed {reprlib.repr(self.seed)}")
        if (
            not isinstance(self.prefix, str)
            or len(self.prefix) > MAX_BASE_NAME
            or not self.prefix.isprintable()
        ):
            raise BadInput(f"its target has the prefix {reprlib.repr(self.prefix)}")
        if self.head not in POOLINGS:
            raise BadInput(f"its target has the head {reprlib.repr(self.head)}")

    @property
    def bare(self) -> Change:
        """As a bare file has it, in which every byte counts: without what only a report reads."""
        return replace(self, numbers=0) if self.kind == DELTA else self

    def stored(self) -> list[object]:
        """What stands in a file's facts; what is usual at the end is left out."""
        row: list[object] = [
            self.kind, self.base.name, self.base.bytes, self.rank, self.scale, self.seed, self.numbers,
            self.head, self.prefix, 1 if self.start else "",
        ]  # fmt: skip
        while row[-1] == "":
            row.pop()
        return row

    @classmethod
    def from_stored(cls, row: object, sha256: str) -> Change:
        """The inverse, from parsed JSON of any origin. Raises `BadInput`, or as values of a wrong kind do."""
        if (
            not isinstance(row, list)
            or not 7 <= len(row) <= 10
            or (len(row) == 10 and (row[9] != 1 or type(row[9]) is not int))
        ):
            raise BadInput(f"its target is {reprlib.repr(row)}")
        kind, name, size, rank, scale, seed, numbers, head, prefix, start = [*row, "", "", ""][:10]
        base = Base(sha256, name, size)
        return cls(kind, base, rank, scale, seed, numbers, prefix, head, start == 1)

    def in_words(self) -> str:
        """As `--target` has it."""
        ranked = self.kind in FACTORED
        return f"{self.kind}:rank={self.rank},scale={self.scale:g}" if ranked else self.kind


def matrix_of(name: str) -> str:
    """The tensor that an entry of the layout changes: itself, or the matrix that it is a factor of."""
    return name.replace(f"{FACTOR}.", "") if FACTOR in name.split(".")[-2:-1] else name


def is_factor(name: str) -> bool:
    """Whether an entry of the layout is a factor of a matrix, and not a tensor itself."""
    return matrix_of(name) != name


def factor_of(matrix: str) -> str:
    """The inverse: ``query.weight`` -> ``query.lora_B.weight``."""
    path, dot, local = matrix.rpartition(".")
    return f"{path}{dot}{FACTOR}.{local}"


def most_rank(kind: str) -> int:
    """Of the factors of a target."""
    return MAX_XS_RANK if kind == XS else MAX_FACTOR_RANK


def parse_target(text: str) -> Wanted:
    """`--target`: ``delta:scale=0.5``, ``lora:rank=4,scale=0.2``. Raises `UsageError`."""
    kind, _, rest = text.partition(":")
    if kind not in TARGETS:
        raise UsageError(f"--target '{text}' does not exist", suggestion(kind, TARGETS))
    values = {"rank": 0.0, "scale": 0.0}
    for part in filter(None, rest.split(",")):
        name, _, number = part.partition("=")
        allowed = {WHOLE: (), DELTA: ("scale",)}.get(kind, ("rank", "scale"))
        if name not in allowed:
            raise UsageError(f"--target {kind} has no '{name}'", suggestion(name, allowed))
        try:
            values[name] = float(number)
        except ValueError:
            raise UsageError(f"--target {kind} has {name}={number}", "give a number") from None
    rank, scale = values["rank"], values["scale"]
    if rank != int(rank) or not 0 <= rank <= most_rank(kind):
        raise UsageError(
            f"--target has the rank {rank:g}; allowed: 1 to {most_rank(kind)}",
            "write e.g. --target lora:rank=4",
        )
    if not 0 <= scale <= MAX_SCALE:
        raise UsageError(
            f"--target has the scale {scale:g}; allowed: above 0, at most {MAX_SCALE:g}",
            "write e.g. --target delta:scale=0.5",
        )
    return Wanted(kind, int(rank), scale)
