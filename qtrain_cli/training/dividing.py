"""Whether several processes run each a part of the circuits, or all of them each, and what either costs.

    all          every process runs b circuits, forward and back
    a part       every process runs b / count of them; the probabilities of all, and their cotangents, go from
                 each to the others: twice 4 bytes an outcome

A layer of a circuit takes each outcome about `LAYER` seconds, forward and back, and a byte about `BYTE`
between processes of one machine: parts are taken where that is less. It is counted and not timed, so that a
run that goes on adds up in the same order. Between machines nothing is divided: a network is slower by ten.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from qtrain_cli.methods.generator.generator import Simulate
from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec
from qtrain_cli.quantum.statevector import Underway, probabilities, run_first
from qtrain_cli.training.ranks import Ranks

#: Measured on two cores of a shared machine (samples/results): of real amplitudes, of complex ones; a byte
#: there or back; a collective call of any size.
LAYER_REAL, LAYER_COMPLEX, BYTE, CALL = 6e-9, 1.5e-8, 1e-9, 2e-4
_BYTES = 2 * 4


class DividedCircuits:
    """Runs this process's circuits of each training step, in the place of `circuits.StepCircuits`.

    Args:
        circuit: all circuits.
        seeded: their first layers, whose angles stay: they are run once.
        ranks: who runs the others.
    """

    def __init__(self, circuit: CircuitSpec, seeded: int, ranks: Ranks) -> None:
        self._part, self._seeded, self._ranks = ranks.block(circuit.circuits), seeded, ranks
        self._own = replace(circuit, circuits=self._part.stop - self._part.start)
        self._underway = dict[torch.dtype, Underway]()

    def take(self) -> tuple[int, int]:
        """Circuits and shots that were measured: the engine measures none."""
        return 0, 0

    def at(self, step: int) -> Simulate:
        """The same for every step."""
        return self._run

    def _run(self, circuit: CircuitSpec, theta: Tensor) -> Tensor:
        """All probabilities (b, 2**n): the angles of all layers and circuits (b, L, n, r)."""
        first, own = theta[self._part, : self._seeded].detach(), theta[self._part, self._seeded :]
        if self._seeded and theta.dtype not in self._underway:
            self._underway[theta.dtype] = run_first(self._own, first)
        p = probabilities(self._own, own, self._underway.get(theta.dtype))
        return self._ranks.gathered(p, circuit.circuits)


def divides(circuit: CircuitSpec, trained_layers: int, ranks: Ranks) -> bool:
    """Whether parts cost less than all, for circuits of which so many layers are run in a step."""
    if not (ranks.several and ranks.together) or circuit.circuits < ranks.count:
        return False
    return saved(circuit, trained_layers, ranks) > exchanged(circuit, ranks)


def saved(circuit: CircuitSpec, trained_layers: int, ranks: Ranks) -> float:
    """Seconds a step that the circuits of others would take."""
    layer = LAYER_REAL if ANSATZE[circuit.ansatz].real else LAYER_COMPLEX
    others = circuit.circuits - -(-circuit.circuits // ranks.count)
    return layer * trained_layers * others * 2**circuit.qubits


def exchanged(circuit: CircuitSpec, ranks: Ranks) -> float:
    """Seconds a step for what goes between processes."""
    return 2 * ranks.count * CALL + _BYTES * BYTE * circuit.circuits * 2**circuit.qubits


def said_of_circuits(circuit: CircuitSpec, trained_layers: int, ranks: Ranks) -> str:
    """Which it is, and why."""
    if circuit.circuits < ranks.count:
        return f"each of {ranks.count} processes runs all circuits: there are {circuit.circuits}"
    if not ranks.together:
        return f"each of {ranks.count} processes runs all circuits: they are on several machines"
    part, spare, cost = (
        -(-circuit.circuits // ranks.count), saved(circuit, trained_layers, ranks), exchanged(circuit, ranks),
    )  # fmt: skip
    why = f"the others take about {1e3 * spare:.3g} ms a step, the exchange {1e3 * cost:.3g} ms"
    if divides(circuit, trained_layers, ranks):
        return f"each of {ranks.count} processes runs {part} of {circuit.circuits} circuits: {why}"
    return f"each of {ranks.count} processes runs all {circuit.circuits} circuits: {why}"
