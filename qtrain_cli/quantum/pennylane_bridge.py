"""The same circuits with PennyLane: the tests' oracle, and the way to other simulators and real devices.

The twin is derived from `operations`, whose gates have PennyLane's names. This is the only module that
imports PennyLane. A device goes by PennyLane's name for it ("default.qubit", "lightning.qubit", a plug-in's);
what else it needs (credentials, a backend's name) stands in PennyLane's own configuration file.

`qnode` is one circuit, differentiable; `device_probabilities` runs a batch, one circuit after the other, with
shots if asked. Equal circuits are measured anew: no result is cached.

`student_qnode` is a student's circuit with its data, and with depolarising noise if asked.

Left out here: gradients of a device (`gradients`), and every other noise (`noise`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from qtrain_cli.errors import BadInput, QtrainError, is_out_of_memory, missing_package, suggestion
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.feature_maps import AMPLITUDE, EncodingSpec, data_gates
from qtrain_cli.quantum.operations import operations

#: How far from 1 the probabilities of a device may sum.
DEVICE_TOLERANCE = 1e-4


def qnode(
    circuit: CircuitSpec, device: str = "default.qubit", diff_method: str = "best"
) -> Callable[[Tensor], Tensor]:
    """One of the circuits as a QNode with PyTorch's interface.

    Args:
        circuit: the circuits as plain data; how many there are does not matter here.
        device: name of a PennyLane device.
        diff_method: how PennyLane differentiates: "best", "backprop", "parameter-shift", ...

    Returns:
        A function of one circuit's angles in radians, ``(L, n, r)``, to its probabilities ``(2**n,)``.

    Raises:
        BadInput: PennyLane is not installed, or knows no such device.
    """
    qml = _pennylane()
    opened = open_device(device, circuit.qubits)

    def run(theta: Tensor) -> Any:
        _queue(qml, circuit, theta)
        return qml.probs(wires=range(circuit.qubits))

    return qml.QNode(run, opened, interface="torch", diff_method=diff_method)


def device_probabilities(
    circuit: CircuitSpec, theta: Tensor, device: str, shots: int | None = None, seed: int | None = None
) -> Tensor:
    """Probabilities (or, with shots, frequencies) of every circuit, from a device. Not differentiable.

    Args:
        circuit: the circuits as plain data.
        theta: angles in radians, ``(b, L, n, r)``.
        device: name of a PennyLane device.
        shots: of each circuit; None: exact probabilities, from a simulator.
        seed: of the device's randomness; one that takes no seed goes without.

    Returns:
        ``(b, 2**n)``, with the dtype and device of `theta`. Wire 0 is the most significant bit of an outcome.

    Raises:
        BadInput: PennyLane is not installed or knows no such device, or the device cannot run the circuit.
    """
    qml = _pennylane()
    opened = open_device(device, circuit.qubits, seed)
    tapes = [_tape(qml, circuit, one, shots) for one in theta.detach().cpu().double()]
    try:
        rows = [torch.as_tensor(row) for row in qml.execute(tapes, opened, diff_method=None, cache=False)]
        found = torch.stack(rows).double()
    except Exception as error:
        raise _as_bad_input(f"the device '{device}' cannot run this circuit", error) from error
    sums = found.sum(-1) if found.shape == (len(theta), 2**circuit.qubits) else torch.tensor([math.nan])
    if not bool((sums - 1).abs().max() <= DEVICE_TOLERANCE):
        raise BadInput(
            f"the device '{device}' returned no probabilities of {circuit.qubits} qubits",
            "choose another device, such as default.qubit",
        )
    return found.to(theta)


def on_device(
    name: str, shots: int | None = None
) -> Callable[[CircuitSpec, Tensor, torch.Generator], Tensor]:
    """A device as a backend of `gradients`: the seed of each batch is drawn from the generator given."""

    def run(circuit: CircuitSpec, theta: Tensor, generator: torch.Generator) -> Tensor:
        seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
        return device_probabilities(circuit, theta, name, shots, seed)

    return run


def open_device(name: str, qubits: int, seed: int | None = None) -> Any:
    """A PennyLane device with so many wires, and a seed where it takes one.

    Raises:
        BadInput: PennyLane is not installed or knows no such device, or it does not start.
    """
    qml = _pennylane()
    if name not in qml.plugin_devices:
        raise BadInput(f"PennyLane has no device '{name}'", suggestion(name, qml.plugin_devices))
    try:
        try:
            return qml.device(name, wires=qubits, **({} if seed is None else {"seed": seed}))
        except TypeError as error:
            if "seed" not in str(error):
                raise
            return qml.device(name, wires=qubits)
    except Exception as error:
        raise _as_bad_input(f"the device '{name}' does not start", error) from error


def _tape(qml: Any, circuit: CircuitSpec, theta: Tensor, shots: int | None) -> Any:
    """One circuit with its measurement: theta (L, n, r), on the CPU."""
    with qml.queuing.AnnotatedQueue() as queue:
        _queue(qml, circuit, theta.numpy())
        qml.probs(wires=range(circuit.qubits))
    return qml.tape.QuantumScript.from_queue(queue, shots=shots)


def _queue(qml: Any, circuit: CircuitSpec, theta: Any) -> None:
    """The gates of one circuit in PennyLane's queue: theta (L, n, r)."""
    for one in operations(circuit):
        angle = () if one.angle is None else (theta[one.angle],)
        getattr(qml, one.gate.name)(*angle, wires=one.wires)


def _as_bad_input(what: str, error: Exception) -> Exception:
    """A plug-in may raise anything: one line of it, unless it is ours or the memory's."""
    if isinstance(error, QtrainError) or is_out_of_memory(error):
        return error
    said = next(iter(str(error).strip().splitlines()), "")
    return BadInput(
        f"{what}: {type(error).__name__}: {said}",
        "choose another device, or give it what it needs in PennyLane's configuration file",
    )


def _pennylane() -> Any:
    try:
        import pennylane
    except ImportError:
        raise missing_package("running circuits with PennyLane", "pennylane", "quantum") from None
    return pennylane


def student_qnode(
    encoding: EncodingSpec,
    circuit: CircuitSpec,
    device: str = "default.qubit",
    diff_method: str = "backprop",
    noise: float = 0.0,
) -> Callable[[Tensor, Tensor], Tensor]:
    """A student's circuit as a QNode that takes a batch by broadcasting: the twin of `training.students`.

    Args:
        encoding: how features enter each block.
        circuit: B circuits, one a block.
        noise: p of a depolarising channel on every qubit, after every encoding and every layer; needs a
            device for mixed states.

    Returns:
        A function of features (N, B n), or (N, 2**n) for amplitudes, and angles (B, L, n, r) to the
        expectation of Pauli-Z on every qubit, (n, N).

    Raises:
        BadInput: PennyLane is not installed.
    """
    qml = _pennylane()
    n = circuit.qubits

    def run(inputs: Tensor, theta: Tensor) -> Any:
        for block in range(circuit.circuits):
            if encoding.name == AMPLITUDE:
                qml.AmplitudeEmbedding(inputs, wires=range(n), normalize=True)
            else:
                _queue_data(qml, encoding, inputs[:, block * n : (block + 1) * n])
            _channel(qml, n, noise)
            _queue_layers(qml, circuit, theta[block], noise)
        return [qml.expval(qml.PauliZ(wire)) for wire in range(n)]

    return qml.QNode(run, qml.device(device, wires=n), interface="torch", diff_method=diff_method)


def _queue_data(qml: Any, encoding: EncodingSpec, x: Tensor) -> None:
    """The gates of an encoding for features (N, n)."""
    for one in data_gates(encoding):
        gate = getattr(qml, one.gate.name)
        if one.term is not None:
            wires = list(one.term.wires)
            value = x[:, wires[0]] if len(wires) == 1 else (math.pi - x[:, wires]).prod(1)
            gate(2 * one.term.scale * value, wires=one.wires)
        elif one.angle is not None:
            gate(one.angle, wires=one.wires)
        else:
            gate(wires=one.wires)


def _queue_layers(qml: Any, circuit: CircuitSpec, theta: Tensor, noise: float) -> None:
    """The ansatz for angles (L, n, r), with a channel behind every layer."""
    layer = 0
    for one in operations(circuit):
        if one.angle is not None and one.angle[0] != layer:
            _channel(qml, circuit.qubits, noise)
            layer = one.angle[0]
        gate = getattr(qml, one.gate.name)
        gate(*(() if one.angle is None else (theta[one.angle],)), wires=one.wires)
    _channel(qml, circuit.qubits, noise)


def _channel(qml: Any, qubits: int, noise: float) -> None:
    if noise:
        for wire in range(qubits):
            qml.DepolarizingChannel(noise, wires=wire)
