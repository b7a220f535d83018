"""Outcomes of noisy circuits by quantum trajectories: random Pauli errors between the gates, many times over.

A circuit has N places for an error: each wire of each gate (`noise`). A trajectory is the circuit with one
draw of all errors; the noisy distribution is the mean over trajectories. The trajectory without any error has
the known weight ``P0 = (1 - P)**N``, so only trajectories with an error are drawn, the first one's place from
the truncated geometric distribution, the others independently after it:

    p_noisy  ~  P0 p  +  (1 - P0) (1 / T) sum_t p_t       unbiased; its variance is (1 - P0)**2 var(p_t) / T

Where the entangler is CNOT or CZ a trajectory needs no simulation of its own. A Pauli string F that stands
before a gate can be pushed behind it: a rotation turns the other way round if F has a Pauli on its qubit that
anticommutes with its axis, ``R(theta) F = F R(-theta)``, and CNOT and CZ take Pauli strings to Pauli strings
(Gottesman, arXiv quant-ph/9807006, the frames of Stim, arXiv 2103.02202). At the end F flips bits of the
outcome:

    p_t[i]  =  p(signs_t * theta)[i xor flips_t]

so that T trajectories are one batch of the engine. Controlled rotations have no such rule; their trajectories
go gate by gate through a plain simulator, which holds for every circuit and is the check of the other way.

Readout errors act on the distribution itself, exactly: ``p <- kron_q [[1 - P, P], [P, 1 - P]] p``.

Left out here: density matrices (4**n numbers), and noise that is no Pauli channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qtrain_cli.quantum.circuit import ENTANGLERS, MAX_ANGLES, CircuitSpec
from qtrain_cli.quantum.operations import Operation, operations
from qtrain_cli.quantum.rotations import gate_matrices
from qtrain_cli.quantum.statevector import probabilities

#: Amplitudes, and places of errors, of the trajectories that are simulated at once.
BATCH_AMPLITUDES, BATCH_PLACES = 2**22, 2**23
#: Errors by number: does it flip the bit (X, Y), does it turn the phase (Y, Z)?
FLIPS, PHASES = np.array([0, 1, 1, 0], bool), np.array([0, 0, 1, 1], bool)
_PAULI_ON_TARGET = {"CNOT": [[0, 1], [1, 0]], "CZ": [[1, 0], [0, -1]]}

Errors = NDArray[np.uint8]


@dataclass(frozen=True)
class NoisyOutcomes:
    """An estimate of noisy probabilities and its own variance, which comes from the finite number of
    trajectories: both (b, 2**n) float64. `error_free` is the weight P0 of the trajectory without errors."""

    p: Tensor
    variance: Tensor
    error_free: float


def noisy_probabilities(
    circuit: CircuitSpec, theta: Tensor, depolarizing: float, count: int, random: np.random.Generator
) -> NoisyOutcomes:
    """Probabilities of the outcomes with depolarizing noise after every gate.

    Args:
        circuit: the circuits as plain data.
        theta: angles in radians, ``(b, L, n, r)``, float32 or float64: the precision of the simulation.
        depolarizing: probability of an error at each place, 0 to 1; with 0 the result is exact.
        count: trajectories of each circuit, 1 or more.
        random: draws the errors.
    """
    p = probabilities(circuit, theta).double()
    error_free = (1 - depolarizing) ** places(circuit)
    if error_free == 1:
        return NoisyOutcomes(p, torch.zeros_like(p), 1.0)
    means, variances = [], []
    for angles in theta:
        total, squares = torch.zeros_like(p[0]), torch.zeros_like(p[0])
        for size in _batches(circuit, count):
            found = trajectories(circuit, angles, draw_errors(circuit, depolarizing, size, random)).double()
            total += found.sum(0)
            squares += found.square().sum(0)
        means.append(total / count)
        variances.append((squares / count - means[-1].square()).clamp_min(0) / max(1, count - 1))
    weight = 1 - error_free
    return NoisyOutcomes(
        error_free * p + weight * torch.stack(means), weight**2 * torch.stack(variances), error_free
    )


def places(circuit: CircuitSpec) -> int:
    """N: on how many places of one circuit an error can strike."""
    return sum(len(one.wires) for one in operations(circuit))


def draw_errors(circuit: CircuitSpec, rate: float, count: int, random: np.random.Generator) -> Errors:
    """Errors at all places of `count` trajectories, one or more in each: (T, N) of 0 none, 1 X, 2 Y, 3 Z."""
    n = places(circuit)
    with np.errstate(divide="ignore"):  # a rate of 1 strikes at the first place
        none = n * np.log1p(-rate)
        first = np.floor(np.log1p(random.random(count) * np.expm1(none)) / np.log1p(-rate))
    first = np.minimum(first, n - 1).astype(np.int64)[:, None]
    place = np.arange(n)
    struck = (place == first) | ((place > first) & (random.random((count, n)) < rate))
    return struck * random.integers(1, 4, (count, n), np.uint8)


def trajectories(circuit: CircuitSpec, theta: Tensor, errors: Errors) -> Tensor:
    """Probabilities of one circuit with these errors: theta (L, n, r), errors (T, N) -> (T, 2**n)."""
    if ENTANGLERS[circuit.entangler].parametrised:
        return gate_by_gate(circuit, theta, errors)
    signs, flips = frames(circuit, errors)
    many = replace(circuit, circuits=len(errors))
    with torch.no_grad():
        p = probabilities(many, torch.from_numpy(signs).to(theta) * theta)
    outcomes = torch.arange(2**circuit.qubits)
    return p.gather(1, outcomes ^ torch.from_numpy(flips)[:, None])


def frames(circuit: CircuitSpec, errors: Errors) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """All errors pushed to the end of the circuit.

    Args:
        circuit: with an entangler of CNOT or CZ.
        errors: (T, N).

    Returns:
        Signs of the angles, -1 or +1, (T, L, n, r), and which bits of the outcome flip, (T,) as a number.
    """
    count, n = len(errors), circuit.qubits
    x, z = np.zeros((n, count), bool), np.zeros((n, count), bool)
    signs = np.ones((count, *circuit.angle_shape[1:]), np.int8)
    for one, struck in _with_errors(circuit, errors):
        if one.angle is not None:
            turns = x[one.wires[0]] ^ z[one.wires[0]] if one.gate.name == "RY" else x[one.wires[0]]
            signs[(slice(None), *one.angle)] -= 2 * turns
        else:
            _push(one, x, z)
        for wire, kinds in zip(one.wires, struck, strict=True):
            x[wire] ^= FLIPS[kinds]
            z[wire] ^= PHASES[kinds]
    return signs, (x * (1 << np.arange(n - 1, -1, -1))[:, None]).sum(0)


def _push(one: Operation, x: NDArray[np.bool_], z: NDArray[np.bool_]) -> None:
    """Pauli strings (n, T) through a CNOT or CZ, in place."""
    control, target = one.wires
    if one.gate.name == "CNOT":
        x[target] ^= x[control]
        z[control] ^= z[target]
    else:
        z[target] ^= x[control]
        z[control] ^= x[target]


def gate_by_gate(circuit: CircuitSpec, theta: Tensor, errors: Errors) -> Tensor:
    """The same as `trajectories` for any circuit, each gate on all states and each error on its own."""
    complex_dtype = theta.dtype.to_complex()
    psi = torch.zeros(len(errors), *([2] * circuit.qubits), dtype=complex_dtype)
    psi.view(len(errors), -1)[:, 0] = 1
    for one, struck in _with_errors(circuit, errors):
        _turn(psi, one, _matrix(one, theta, complex_dtype))
        for wire, kinds in zip(one.wires, struck, strict=True):
            _strike(psi, wire, kinds)
    return torch.view_as_real(psi.flatten(1)).square().sum(-1)


def _matrix(one: Operation, theta: Tensor, dtype: torch.dtype) -> Tensor:
    """The gate on its last wire, where its control is 1 if it has one: (2, 2)."""
    if one.angle is None:
        return torch.tensor(_PAULI_ON_TARGET[one.gate.name], dtype=dtype)
    return gate_matrices([one.gate.name], theta[one.angle][None], dtype)[0]


def _turn(psi: Tensor, one: Operation, matrix: Tensor) -> None:
    """One gate on all states (T, 2, ..., 2), in place."""
    *control, target = one.wires
    part = psi
    if control:
        part = psi.narrow(1 + control[0], 1, 1)
    zero, one_ = part.select(1 + target, 0), part.select(1 + target, 1)
    if not matrix[0, 1] and not matrix[1, 0]:  # most gates of u3-cu3, at a third of the time
        zero *= matrix[0, 0]
        one_ *= matrix[1, 1]
        return
    new = matrix[0, 0] * zero + matrix[0, 1] * one_, matrix[1, 0] * zero + matrix[1, 1] * one_
    zero.copy_(new[0])
    one_.copy_(new[1])


def _strike(psi: Tensor, wire: int, kinds: Errors) -> None:
    """Errors (T,) on one wire of the states, in place; the phase of the whole state is dropped."""
    flipped = torch.from_numpy(np.flatnonzero(FLIPS[kinds]))
    turned = torch.from_numpy(np.flatnonzero(PHASES[kinds]))
    if len(flipped):
        psi[flipped] = psi[flipped].flip(1 + wire)
    if len(turned):
        psi.select(1 + wire, 1)[turned] *= -1


def misread(p: Tensor, rate: float) -> Tensor:
    """The distribution that is read when each bit flips with probability `rate`: (b, 2**n) -> (b, 2**n)."""
    qubits = p.shape[-1].bit_length() - 1
    for qubit in range(qubits if rate else 0):
        split = p.unflatten(-1, (2**qubit, 2, -1))
        p = ((1 - rate) * split + rate * split.flip(-2)).flatten(-3)
    return p


def _with_errors(circuit: CircuitSpec, errors: Errors) -> Iterator[tuple[Operation, Errors]]:
    """The gates in order, each with the errors at its places: (wires, T)."""
    by_place, place = np.ascontiguousarray(errors.T), 0
    for one in operations(circuit):
        yield one, by_place[place : place + len(one.wires)]
        place += len(one.wires)


def _batches(circuit: CircuitSpec, count: int) -> Iterator[int]:
    """How many trajectories are simulated at once, until there are `count`."""
    single = replace(circuit, circuits=1)
    most = min(
        BATCH_AMPLITUDES // single.outcomes, BATCH_PLACES // places(single), MAX_ANGLES // single.angles
    )
    for first in range(0, count, max(1, most)):
        yield min(max(1, most), count - first)
