"""How small an artifact is to be, and with which generator."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import Annotated

from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS
from qtrain_cli.settings.option import Option, Otherwise
from qtrain_cli.settings.parsing import parse_size, require
from qtrain_cli.settings.shared import GeneratedOnly, KeptAsTheyAre

MAX_BUDGET = 2**63
#: Options of which one at most is said.
BUDGETS = ("params", "ratio", "bytes", "layers")
#: Bits of a stored angle by default. Changes to a base need many numbers more than fine ones
#: (samples/results/fine_tunes.md).
MODEL_BITS, CHANGE_BITS = 5, 3


@dataclass(frozen=True)
class BudgetSettings:
    """How small, and with which generator. At most one of `params`, `ratio`, `bytes`; None: a ratio of 10.

    No entangler: the ansatz's own. `bare`: the file holds what regenerates the weights, and no record.
    """

    params: Annotated[int | None, Option("--params", "Budget: at most N trained numbers.")] = None
    ratio: Annotated[float | None, Option("--ratio", "Budget: R times fewer numbers."), Otherwise("10")] = (
        None
    )
    bytes: Annotated[
        int | None,
        Option("--bytes", "Budget: finished file of at most SIZE, e.g. 2KB.", read=parse_size),
    ] = None
    ansatz: Annotated[str, Option("--ansatz", "{choices}.", choices=ANSATZE)] = "real-amplitudes"
    entangler: Annotated[
        str | None, Option("--entangler", "{choices}.", choices=ENTANGLERS), Otherwise("the ansatz's first")
    ] = None
    layers: Annotated[int | None, Option("--layers", "Layers of each circuit, in place of a budget.")] = None
    circuits: Annotated[int | None, Option("--circuits", "How many circuits."), Otherwise("planned")] = None
    seeded_layers: Annotated[
        int | None,
        Option(
            "--seeded-layers", "Layers before the trained ones whose angles stay seeded, and take no bytes.",
            least=0,
        ),
        Otherwise("0; above two million weights as many as circuits lack to be as deep as wide"),
    ] = None  # fmt: skip
    mapping: Annotated[str, Option("--mapping", "{choices}.", choices="mappings")] = "linear"
    angle_bits: Annotated[
        int | None,
        Option("--angle-bits", "Bits of a stored angle on the average: 2 to 16, or 32."),
        Otherwise(f"{MODEL_BITS}; of changes to a base {CHANGE_BITS}"),
    ] = None
    targets: GeneratedOnly = ()
    ignore: KeptAsTheyAre = ()
    final_rotation: Annotated[
        bool, Option("--final-rotation", "No entangler after the last layer, as in Qiskit.")
    ] = False
    bare: Annotated[
        bool,
        Option(
            "--bare/--no-bare",
            "Leave out the record and the digests of data, model and run: smaller, and all that `report` says"
            " of it is how large it is.",
        ),
    ] = False

    def bits(self, change: bool) -> int:
        """Bits of a stored angle, of changes to a base or of a model."""
        usual = CHANGE_BITS if change else MODEL_BITS
        return usual if self.angle_bits is None else self.angle_bits

    def __post_init__(self) -> None:
        given = [f"--{name}" for name in ("params", "ratio", "bytes") if getattr(self, name) is not None]
        require(len(given) <= 1, f"{' and '.join(given)} are given", "give one budget")
        require(
            not (given and self.layers is not None),
            f"{' and '.join(given)} and --layers both fix the size",
            "give a budget or --layers, not both",
        )
        for name in ("params", "ratio", "bytes", "layers", "circuits"):
            value = getattr(self, name)
            require(
                value is None or 0 < value < MAX_BUDGET,
                f"--{name} is {reprlib.repr(value)}; allowed: above 0, below 2**63",
            )
        require(
            self.seeded_layers is None or 0 <= self.seeded_layers < MAX_BUDGET,
            f"--seeded-layers is {reprlib.repr(self.seeded_layers)}; allowed: 0 or more",
        )
        require(
            self.ratio is None or self.ratio >= 1,
            f"--ratio is {self.ratio}; allowed: 1 or more",
            "10 makes one trained number of ten weights",
        )
