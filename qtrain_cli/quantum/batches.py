"""The compiled circuit of a student: a batch of features in, expectations out, one call each way (kernel.md).

    forward     theta (L, n, r), features (N, n)  ->  e (N, k)
    backward    v (N, k)                          ->  v de/dtheta (L, n, r),  v de/dx (N, n)

Data rotations are strings of Z behind Hadamards (`z`, `zz`, `pauli` without X and Y), rotations RY or RZ RY,
entanglers CNOT or CZ; float32 on a CPU. `supports_batch` says no to the rest, and
where the kernel was not built.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qtrain_cli.quantum import native
from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS, CircuitSpec
from qtrain_cli.quantum.entanglers import Permutation, entangler
from qtrain_cli.quantum.feature_maps import AMPLITUDE, EncodingSpec, stages

MAX_BATCH_QUBITS = 10
_BEFORE = {("RY",): False, ("RZ", "RY"): True}


@dataclass(frozen=True)
class Batched:
    """An encoding and the one circuit behind it, read out by the rows of `observables` (k, 2**n)."""

    encoding: EncodingSpec
    circuit: CircuitSpec


@functools.lru_cache(maxsize=64)
def knows_batch(what: Batched) -> bool:
    """True when the kernel has the gates of encoding and circuit."""
    encoding, circuit = what.encoding, what.circuit
    if encoding.name == AMPLITUDE or circuit.circuits != 1 or circuit.qubits > MAX_BATCH_QUBITS:
        return False
    if ANSATZE[circuit.ansatz].rotations not in _BEFORE or ENTANGLERS[circuit.entangler].parametrised:
        return False
    return all(stage.hadamards and not set(stage.bases) - {"Z"} for stage in stages(encoding))


def supports_batch(what: Batched, theta: Tensor, features: Tensor) -> bool:
    """True when the kernel does this batch."""
    fits = features.shape[1:] == (what.circuit.qubits,)
    return fits and native.available() and native.holds((theta, features)) and knows_batch(what)


def batch_expectations(what: Batched, theta: Tensor, features: Tensor, observables: Tensor) -> Tensor:
    """``e`` of every sample, differentiable once in angles (1, L, n, r) and features (N, n): (N, k)."""
    found: Tensor = _Batch.apply(theta, features, what, observables)
    return found


class _Batch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, theta: Tensor, features: Tensor, what: Batched, observables: Tensor) -> Tensor:
        theta, features = theta.detach().contiguous(), features.detach().contiguous()
        ctx.save_for_backward(theta, features, observables)
        ctx.what = what
        e = features.new_empty(len(features), len(observables))
        native.samples_forward(_shape(what, len(features), observables), theta, features, e)
        return e

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, Tensor, None, None]:
        theta, features, observables = ctx.saved_tensors
        by_theta, by_features = torch.empty_like(theta), torch.empty_like(features)
        shape = _shape(ctx.what, len(features), observables)
        native.samples_backward(shape, theta, features, v.contiguous(), by_theta, by_features)
        return by_theta, by_features, None, None


def _shape(what: Batched, count: int, observables: Tensor) -> tuple[Any, ...]:
    circuit = what.circuit
    sizes = (circuit.qubits, circuit.layers, what.encoding.reps, count)
    before = _BEFORE[ANSATZE[circuit.ansatz].rotations]
    return (*sizes, before, *_tables(what), observables.numpy())


@functools.lru_cache(maxsize=64)
def _tables(what: Batched) -> tuple[Any, ...]:
    """Of each term its bits and scale, of each layer where its outcomes come from and their signs."""
    n, terms = what.circuit.qubits, stages(what.encoding)[0].terms
    masks = torch.tensor([sum(1 << (n - 1 - wire) for wire in term.wires) for term in terms])
    scales = torch.tensor([term.scale for term in terms], dtype=torch.float32)
    rows = [_entangled(what.circuit, layer) for layer in range(what.circuit.layers)]
    sources, signs = (torch.stack(part) for part in zip(*rows, strict=True))
    tables = (masks.int(), scales, sources.int(), signs)
    return tuple(table.contiguous().numpy() for table in tables)


def _entangled(circuit: CircuitSpec, layer: int) -> tuple[Tensor, Tensor]:
    """Where each outcome comes from, and its sign: (2**n,) each."""
    index, ones = torch.arange(2**circuit.qubits), torch.ones(2**circuit.qubits)
    table = entangler(circuit, layer, torch.float32, index.device)
    if table is None:
        return index, ones
    return (table.source, ones) if isinstance(table, Permutation) else (index, table.signs)
