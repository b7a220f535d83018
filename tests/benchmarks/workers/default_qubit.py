"""PennyLane's `default.qubit`: backpropagation through PyTorch, a batch by parameter broadcasting.

Its initial state has double precision. A second mode prepares |0...0> in single precision instead; the
faster counts.
"""

import pennylane as qml
import torch
from protocol import serve
from torch_threads import with_threads


def circuit(case, single):
    """A QNode from angles (b, L, n, r) to probabilities."""
    wires = range(case.qubits)
    gates = [(getattr(qml, name), on, at) for name, on, at in case.gates]
    zero = torch.zeros(2**case.qubits, dtype=torch.complex64)
    zero[0] = 1

    @qml.qnode(qml.device("default.qubit", wires=wires), interface="torch", diff_method="backprop")
    def probabilities(theta):
        if single:
            qml.StatePrep(zero, wires=wires, validate_norm=False)
        for gate, on, at in gates:
            gate(*(() if at is None else (theta[(slice(None), *at)].squeeze(0),)), wires=on)
        return qml.probs(wires=wires)

    return probabilities


def build(case):
    theta = torch.from_numpy(case.theta).requires_grad_()
    v = torch.from_numpy(case.v)

    def step_of(run):
        def step():
            p = run(theta).reshape(v.shape)
            (gradient,) = torch.autograd.grad((v * p).sum(), theta)
            return p.detach().numpy(), gradient.numpy()

        return step

    steps = {
        "backprop": step_of(circuit(case, single=False)),
        "backprop, complex64 start": step_of(circuit(case, single=True)),
    }
    return with_threads(case, steps)


if __name__ == "__main__":
    serve(build)
