"""Ways to the gradient as plain data: what each needs of a device, how many circuits it runs. No torch.

`gradients` runs them. All estimate the same vector-Jacobian product, of each circuit by itself,

    g = dC / dtheta,    C(theta) = sum_i v_i p_i(theta)            v: what arrives from the loss, held fixed

A probability is a trigonometric polynomial of each angle, with the frequencies of the angle's gate
(`operations.GATES`). With R of them, equally spaced by Omega, 2 R shifted circuits give its derivative
exactly (arXiv 2107.12390):

    C'(0) = sum_mu  c_mu C(x_mu)        x_mu = (2 mu - 1) pi / (2 R Omega),   mu = 1..2R
                                        c_mu = (-1)^(mu - 1) Omega / (4 R sin^2((2 mu - 1) pi / (4 R)))

R = 1 is the two-term rule of RY, RZ and ControlledPhaseShift, R = 2 the four-term rule of CRY.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.operations import OPERATIONS

#: One shifted circuit: how far the angle is moved, in radians, and the factor of what comes out.
ShiftTerm = tuple[float, float]


@dataclass
class Cost:
    """What was spent: circuits run, and shots taken over all of them. Mutable: it is added to."""

    evaluations: int = 0
    shots: int = 0


@dataclass(frozen=True)
class Estimator:
    """One row of the table.

    `measures`: it needs nothing but probabilities, so any device will do. `evaluations(circuit, samples)` is
    how many circuits one gradient runs, over the whole batch; the probabilities themselves are not in it.
    """

    name: str
    measures: bool
    evaluations: Callable[[CircuitSpec, int], int]
    summary: str


def shift_rule(frequencies: tuple[float, ...]) -> tuple[ShiftTerm, ...]:
    """The exact rule for equally spaced frequencies Omega, 2 Omega, ..., R Omega.

    Raises:
        ValueError: other frequencies.
    """
    spacing, count = frequencies[0], len(frequencies)
    if frequencies != tuple(spacing * k for k in range(1, count + 1)):
        raise ValueError(f"no shift rule for the frequencies {frequencies}")
    terms = []
    for mu in range(1, 2 * count + 1):
        half = (2 * mu - 1) * math.pi / (4 * count)
        shift = 2 * half / spacing if mu <= count else 2 * (half - math.pi) / spacing  # a period less
        terms.append((shift, (-1) ** (mu - 1) * spacing / (4 * count * math.sin(half) ** 2)))
    return tuple(terms)


def shift_rules(circuit: CircuitSpec) -> list[tuple[ShiftTerm, ...]]:
    """The exact rule of each of a qubit's r angles."""
    return [shift_rule(OPERATIONS[kind].frequencies) for kind in circuit.kinds]


def _shifted(circuit: CircuitSpec, samples: int) -> int:
    terms = sum(len(rule) for rule in shift_rules(circuit))
    return circuit.circuits * circuit.layers * circuit.qubits * terms


ESTIMATORS: dict[str, Estimator] = {
    row.name: row
    for row in (
        Estimator("adjoint", False, lambda circuit, samples: 0, "exact, from the amplitudes of a simulation"),
        Estimator("parameter-shift", True, _shifted, "exact, from shifted circuits"),
        Estimator(
            "spsa",
            True,
            lambda circuit, samples: 2 * samples * circuit.circuits,
            "all angles moved at random at once",
        ),
        Estimator(
            "finite-difference",
            True,
            lambda circuit, samples: 2 * circuit.angles,
            "two circuits for each angle, a small step apart",
        ),
    )
}
