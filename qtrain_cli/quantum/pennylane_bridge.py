"""The same circuits as PennyLane QNodes: the tests' oracle, and the way to other simulators and devices.

The twin is derived from `operations`, whose gates have PennyLane's names. This is the only module that
imports PennyLane.

Left out here: batches (a QNode runs one circuit), shots and noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from qtrain_cli.errors import BadInput, missing_package, suggestion
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.operations import operations


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
    if device not in qml.plugin_devices:
        raise BadInput(f"PennyLane has no device '{device}'", suggestion(device, qml.plugin_devices))
    gates = [(getattr(qml, one.gate.name), one.wires, one.angle) for one in operations(circuit)]
    wires = range(circuit.qubits)

    def run(theta: Tensor) -> Any:
        for gate, on, angle in gates:
            gate(*(() if angle is None else (theta[angle],)), wires=on)
        return qml.probs(wires=wires)

    return qml.QNode(run, qml.device(device, wires=wires), interface="torch", diff_method=diff_method)


def _pennylane() -> Any:
    try:
        import pennylane
    except ImportError:
        raise missing_package("running circuits with PennyLane", "pennylane", "quantum") from None
    return pennylane
