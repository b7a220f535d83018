"""One circuit of 24 and of 26 qubits: seconds and peak memory, beside lightning.qubit and the memory's speed.

    python tests/benchmarks/large.py [--qubits 24,26] [--layers 16] [--ansatz real-amplitudes] [--rounds 2]

A round is a forward pass and the vector-Jacobian product of all 2**n probabilities, float32 / complex64, on
all cores; of lightning.qubit the adjoint gradient of <diag(v)>, which is the same product (it refuses that
of probabilities). Each has a process of its own, and the best round counts; peaks are above what the
process held when everything was imported. The bound is what moving the states once a layer takes
(`physics`), at the bandwidth that this run measures. Lightning's gradient is compared with the engine's;
where it differs, or the package is missing, that stands in place of its time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: Of the largest entry of a gradient, by which float32 engines may differ at this depth.
AGREES = 1e-3


def _timed(step: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """Seconds of the best round, and the last one's result."""
    times, found = [], None
    for _ in range(rounds):
        started = time.perf_counter()
        found = step()
        times.append(time.perf_counter() - started)
    return min(times), found


def _case(ansatz: str, qubits: int, layers: int) -> tuple[Any, Any, Any]:
    """Circuit, angles (1, L, n, r) and cotangent (2**n,), the same in every process."""
    import torch

    from qtrain_cli.quantum.circuit import CircuitSpec

    circuit, random = CircuitSpec(ansatz, "cnot-ring", qubits, layers), torch.Generator().manual_seed(0)
    theta = 6.28 * torch.rand(circuit.angle_shape, generator=random)
    return circuit, theta, torch.randn(2**qubits, generator=random)


def engine(ansatz: str, qubits: int, layers: int) -> Callable[[], Any]:
    """A round of ours: the gradient (L, n, r)."""
    from qtrain_cli.quantum.statevector import probabilities

    circuit, theta, v = _case(ansatz, qubits, layers)
    theta.requires_grad_()

    def step() -> Any:
        theta.grad = None
        probabilities(circuit, theta).backward(v[None])
        return theta.grad[0].numpy()

    return step


def lightning(ansatz: str, qubits: int, layers: int) -> Callable[[], Any]:
    """A round of lightning.qubit: the same gradient."""
    import numpy as np
    import pennylane as qml
    import scipy.sparse
    import torch

    from qtrain_cli.quantum.operations import operations

    circuit, theta, v = _case(ansatz, qubits, layers)
    diagonal = scipy.sparse.diags(v.numpy().astype("complex64"), format="csr")
    observable = qml.SparseHamiltonian(diagonal, wires=range(qubits))
    device = qml.device("lightning.qubit", wires=qubits, c_dtype=np.complex64)

    @qml.qnode(device, interface="torch", diff_method="adjoint")
    def run(angles: Any) -> Any:
        for one in operations(circuit):
            at = () if one.angle is None else (angles[one.angle],)
            getattr(qml, one.gate.name)(*at, wires=one.wires)
        return qml.expval(observable)

    angles = theta[0].clone().requires_grad_()
    return lambda: torch.autograd.grad(run(angles), angles)[0].numpy()


CONTENDERS = {"engine": engine, "lightning.qubit": lightning}


def measure(name: str, ansatz: str, qubits: int, layers: int, rounds: int, out: str) -> dict[str, Any]:
    """Seconds and peak of one contender, in this process; its gradient goes into a file."""
    import numpy as np
    import torch
    from benchmarks.peak import forget, highest

    torch.set_num_threads(os.cpu_count() or 1)
    CONTENDERS[name](ansatz, 4, 1)()
    forget()
    before = highest()
    seconds, gradient = _timed(CONTENDERS[name](ansatz, qubits, layers), rounds)
    np.save(out, gradient)
    return {"seconds": seconds, "peak": highest() - before}


def asked(name: str, *words: object) -> dict[str, Any]:
    """The same in a process of its own; {"error": its last line} where that fails."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, __file__, "--one", name, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(ansatz: str, qubits: int, layers: int, rounds: int, folder: Path) -> str:
    """A row of the table."""
    import numpy as np
    from benchmarks import physics

    circuit = _case(ansatz, 2, layers)[0].__class__(ansatz, "cnot-ring", qubits, layers)
    files = {name: folder / f"{name}.npy" for name in CONTENDERS}
    found = {name: asked(name, ansatz, qubits, layers, rounds, files[name]) for name in CONTENDERS}
    bound = physics.bound(circuit, physics.bandwidth(physics.LARGE))
    ours, theirs = found["engine"], found["lightning.qubit"]
    if "error" not in theirs:
        one, other = (np.load(files[name]).reshape(-1) for name in CONTENDERS)
        apart = float(abs(one - other).max() / abs(one).max())
        theirs |= (
            {} if apart < AGREES else {"error": f"its gradient differs by {apart:.1g} of the largest entry"}
        )
    beside = theirs.get("error") or _beside(theirs, ours["seconds"])
    state = physics.state_bytes(circuit)
    held = f"{ours['peak'] / 1e6:,.0f} MB ({ours['peak'] / state:.1f} states)"
    cells = [
        f"{ansatz}, {qubits} qubits, {layers} layers", f"{ours['seconds']:.2f} s", held, f"{bound:.2f} s",
        f"{ours['seconds'] / bound:.1f}", beside,
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _beside(theirs: dict[str, Any], seconds: float) -> str:
    times = theirs["seconds"] / seconds
    return f"{theirs['seconds']:.1f} s ({times:.0f}x), {theirs['peak'] / 1e6:,.0f} MB"


def main() -> None:
    """Prints the table, a row as soon as it is there."""
    import tempfile

    from benchmarks import physics

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--qubits", default="24,26")
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--ansatz", default="real-amplitudes")
    parser.add_argument("--rounds", type=int, default=2)
    asked_for = parser.parse_args()
    speed = physics.bandwidth(physics.LARGE) / 1e9
    load = f"{os.getloadavg()[0]:.1f} of {os.cpu_count()} cores are asked for before it begins"
    print(f"bandwidth {speed:.1f} GB/s (copying, read plus written); {load}\n")
    heads = "circuit", "engine", "its peak", "bound", "engine / bound", "lightning.qubit"
    print("| " + " | ".join(heads) + " |\n|---|" + "---:|" * (len(heads) - 1), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for qubits in map(int, asked_for.qubits.split(",")):
            print(row(asked_for.ansatz, qubits, asked_for.layers, asked_for.rounds, Path(folder)), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        name, ansatz, qubits, layers, rounds, out = sys.argv[2:]
        print(json.dumps(measure(name, ansatz, int(qubits), int(layers), int(rounds), out)))
    else:
        sys.path.insert(0, str(ROOT / "tests"))
        main()
