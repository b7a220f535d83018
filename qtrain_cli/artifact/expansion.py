"""How much a file may ask of a reader: in proportion to its bytes, known before anything is allocated.

    weights    32,768 a byte    131 kB of float32: 1 kB may stand for 33 million, 3 kB for 100 million
    elements   2**18 a byte     of matrices beside the weights: bits of positions, seeded random matrices
    turns      2**25 a byte     amplitudes that angles turn, 2**n for each: about 0.1 s on one core
    codes      1,024 a byte     of what is entropy-coded: about 9 ms

and something for nothing, so that no tiny file is in the way. Honest files stay below: an angle takes 2 bits
and more, so that turns are at most 2**(n + 2) a byte, and a circuit of 24 qubits (16 million weights) has at
5 bits an angle at most 2**24.7. What is larger is read where ``QTRAIN_LARGE=1`` says that its origin is
trusted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from qtrain_cli.artifact.description import Description
from qtrain_cli.artifact.extents import coded_forms
from qtrain_cli.errors import Refused
from qtrain_cli.methods.forms import Forms, count_of
from qtrain_cli.methods.table import OURS

#: Environment variable: files may ask for as much as the format allows at all.
LARGE = "QTRAIN_LARGE"


@dataclass(frozen=True)
class Bound:
    """What so many bytes may stand for: `free` of them, and `a_byte` more for each byte."""

    what: str
    free: int
    a_byte: int


BOUNDS = (
    Bound("weights", 2**20, 2**15),
    Bound("elements of matrices", 2**22, 2**18),
    Bound("turned amplitudes", 2**28, 2**25),
    Bound("coded numbers", 2**16, 2**10),
)


def demands(description: Description, forms: Forms) -> tuple[int, ...]:
    """How much of each bound a file asks for."""
    m, turns = description.layout.generated, 0
    if description.method == OURS:
        circuit = description.spec.circuit
        turns = 2**circuit.qubits * circuit.angles
        m = max(m, circuit.outcomes)
    return m, _elements(description), turns, count_of(coded_forms(forms))


def too_large(description: Description, forms: Forms, size: int) -> str:
    """What a file of `size` bytes asks for beyond its bounds, in words; "" where it keeps them."""
    for bound, wanted in zip(BOUNDS, demands(description, forms), strict=True):
        most = bound.free + bound.a_byte * size
        if wanted > most:
            return f"{size} bytes ask for {wanted} {bound.what}; allowed for so many: {most}"
    return ""


def check_expansion(description: Description, forms: Forms, size: int) -> None:
    """Raises `Refused` for a small file that asks for much, unless `LARGE` is set."""
    found = "" if os.environ.get(LARGE) == "1" else too_large(description, forms, size)
    if found:
        raise Refused(f"its {found}", f"if you trust where the file comes from, set {LARGE}=1")


def _elements(description: Description) -> int:
    """Of the largest matrix with a row for each weight."""
    m, plan = description.layout.generated, description.plan
    if description.method == OURS:
        spec = description.spec
        wide = spec.position_bits + spec.mapping.hidden
        return m * wide if spec.mapping.row.reads_bits else 0
    bits = max(1, (m - 1).bit_length())
    drawn = 1 if "block" in plan else plan.get("k", 0)
    wide = {"subspace": drawn, "nola": drawn, "classical-curve": drawn}.get(description.method, 0)
    return m * (12 + bits + plan.get("hidden", 0) if description.method == "fixed-random" else wide)
