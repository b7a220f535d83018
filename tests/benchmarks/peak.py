"""Peak memory of one forward and backward pass, in a process of its own: `python peak.py ENGINE ANSATZ n L`.

Prints JSON: bytes above what the process held when everything was imported and had run once on two qubits.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
from pathlib import Path

ENGINES = ("engine", "default.qubit")


def highest() -> int:
    """Bytes this process has held at most.

    Linux's VmHWM where there is one: `ru_maxrss` of a new process starts at what its parent held.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def forget() -> None:
    """Starts the highest mark anew at what is held now: importing has held more for a moment (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def measure(engine: str, ansatz: str, qubits: int, layers: int) -> int:
    """Bytes of the pass above the baseline, in this process."""
    _pass(engine, ansatz, 2, 1)
    forget()
    before = highest()
    _pass(engine, ansatz, qubits, layers)
    return highest() - before


def _pass(engine: str, ansatz: str, qubits: int, layers: int) -> None:
    import torch

    from qtrain_cli.quantum.circuit import CircuitSpec
    from qtrain_cli.quantum.pennylane_bridge import qnode
    from qtrain_cli.quantum.statevector import probabilities

    circuit = CircuitSpec(ansatz, "cnot-ring", qubits, layers)
    theta = torch.rand(circuit.angle_shape).requires_grad_()
    if engine == "engine":
        p = probabilities(circuit, theta)
    else:
        p = qnode(circuit, diff_method="backprop")(theta[0])[None]
    p.backward(torch.ones_like(p))


def measured(engine: str, ansatz: str, qubits: int, layers: int, processes: int = 3) -> int:
    """The same in a fresh process, the least of several: what the allocator keeps in between only adds.

    Raises:
        subprocess.CalledProcessError: it did not end well.
    """
    command = [sys.executable, __file__, engine, ansatz, str(qubits), str(layers)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(processes)]
    return min(json.loads(one.stdout)["bytes"] for one in runs)


if __name__ == "__main__":
    print(json.dumps({"bytes": measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))}))
