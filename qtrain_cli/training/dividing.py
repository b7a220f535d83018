"""Whether several processes run each a part of the circuits, or all of them each, and what either costs.

    all          every process runs b circuits, forward and back
    a part       every process runs b / count of them; the probabilities of all, and their cotangents, go from
                 each to the others: twice 4 bytes an outcome

A layer of a circuit takes each outcome about `LAYER` seconds, forward and back, and a byte about `BYTE`
between processes of one machine: parts are taken where that is less. It is counted and not timed, so that a
run that goes on adds up in the same order. Between machines nothing is divided: a network is slower by ten.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

import torch
from torch import Tensor

from qtrain_cli.methods.generator.generator import Generator, Simulate
from qtrain_cli.methods.generator.spec import GeneratorSpec
from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec
from qtrain_cli.quantum.statevector import Underway, probabilities, run_first
from qtrain_cli.training.ranks import Ranks

#: Seconds, the least of many tries on two busy cores: of real amplitudes (10 qubits, 14 layers), of complex
#: ones; a byte there or back (4 MB); a collective call of any size. `plan` measures both ways anew.
LAYER_REAL, LAYER_COMPLEX, BYTE, CALL = 5e-9, 1.5e-8, 1e-9, 2.5e-4
_BYTES = 2 * 4
#: Steps that `timed` takes of either.
TRIED = 6


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


def divided_circuits(spec: GeneratorSpec, ranks: Ranks) -> DividedCircuits | None:
    """What runs a part of the circuits, where parts cost less than all."""
    return DividedCircuits(spec.circuit, spec.angles.seeded, ranks) if divides(spec, ranks) else None


def divides(spec: GeneratorSpec, ranks: Ranks) -> bool:
    """Whether parts cost less than all."""
    if not (ranks.several and ranks.together) or spec.circuit.circuits < ranks.count:
        return False
    return saved(spec, ranks) > exchanged(spec, ranks)


def saved(spec: GeneratorSpec, ranks: Ranks) -> float:
    """Seconds a step that the circuits of others would take; seeded layers are not run in a step."""
    circuit, layers = spec.circuit, spec.circuit.layers - spec.angles.seeded
    layer = LAYER_REAL if ANSATZE[circuit.ansatz].real else LAYER_COMPLEX
    others = circuit.circuits - -(-circuit.circuits // ranks.count)
    return layer * layers * others * 2**circuit.qubits


def exchanged(spec: GeneratorSpec, ranks: Ranks) -> float:
    """Seconds a step for what goes between processes."""
    return 2 * ranks.count * CALL + _BYTES * BYTE * spec.circuit.outcomes


def said_of_circuits(spec: GeneratorSpec, ranks: Ranks) -> str:
    """Which it is, and why."""
    count, circuits = ranks.count, spec.circuit.circuits
    if circuits < count:
        return f"each of {count} processes runs all circuits: there are {circuits}"
    if not ranks.together:
        return f"each of {count} processes runs all circuits: they are on several machines"
    spare, cost = 1e3 * saved(spec, ranks), 1e3 * exchanged(spec, ranks)
    part = f"{-(-circuits // count)} of" if divides(spec, ranks) else "all"
    return (
        f"each of {count} processes runs {part} {circuits} circuits: the others take about {spare:.3g} ms a"
        f" step, the exchange {cost:.3g} ms"
    )


def timed(spec: GeneratorSpec, theta: Tensor, ranks: Ranks) -> tuple[float, float]:
    """Median seconds of all circuits, and of a part with the exchange, forward and back, in this process.

    Args:
        spec: with no fewer circuits than processes.
        theta: the angles of the trained layers.
        ranks: all of which call this.
    """
    generator = Generator(spec, theta.device)
    divided = DividedCircuits(spec.circuit, spec.angles.seeded, ranks)
    angles = theta.detach().requires_grad_()

    def median(run: Simulate) -> float:
        times = []
        for _ in range(1 + TRIED):  # as often in each process, whatever its clock says
            started = time.perf_counter()
            p = generator.all_probabilities(angles, run)
            p.backward(torch.ones_like(p))
            times.append(time.perf_counter() - started)
        return statistics.median(times[1:])

    return median(probabilities), median(divided.at(0))
