"""pyqtorch, complex64: its adjoint method with diag(v) as the observable, and autograd through the gates.

The adjoint method takes anything that acts on a state as an observable; diag(v) is one product. The circuits
of a batch are the last index of its state. Version 1.7.8 undoes a CNOT whose control comes after its target
on the wrong qubits in its adjoint method, so that gate is given as a matrix.
"""

import pyqtorch
import torch
from protocol import serve
from pyqtorch.differentiation import AdjointExpectation
from pyqtorch.primitives import Primitive
from torch_threads import with_threads

#: CNOT with the second qubit as its control.
UPWARDS = torch.tensor([[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]], dtype=torch.complex64)
#: Autograd keeps a state for every gate; beyond this many numbers only the adjoint method is tried.
MOST_KEPT = 2**28


def cnot(control, target):
    """CNOT; one that points to an earlier qubit as a matrix on the sorted pair."""
    if control < target:
        return pyqtorch.CNOT(control, target)
    return Primitive(UPWARDS, (target, control))


def circuit(case):
    """The circuit, with one named parameter an angle, and {name: (l, q, k)}."""
    names, gates = {}, []
    for name, on, at in case.gates:
        if at is None:
            gates.append(cnot(*on))
        else:
            names["-".join(map(str, at))] = at
            gates.append(getattr(pyqtorch, name)(*on, "-".join(map(str, at))))
    return pyqtorch.QuantumCircuit(case.qubits, gates).to(dtype=torch.complex64), names


class Diagonal:
    """diag(v) on a state of shape (2, ..., 2, b)."""

    def __init__(self, v):
        self.v = v

    def __call__(self, state, values=None):
        return self.v * state


def build(case):
    run, names = circuit(case)
    theta = torch.from_numpy(case.theta).requires_grad_()
    v = torch.from_numpy(case.v).mT.reshape([2] * case.qubits + [case.circuits])

    def values():
        return {name: theta[(slice(None), *at)] for name, at in names.items()}

    def probabilities(state):
        return state.reshape(-1, case.circuits).mT.abs().square()

    def adjoint():
        parts = values()
        start = run.init_state(case.circuits)
        total = AdjointExpectation.apply(run, start, Diagonal(v), None, parts.keys(), *parts.values())
        return None, torch.autograd.grad(total.sum(), theta)[0].numpy()

    def autograd():
        state = pyqtorch.run(run, run.init_state(case.circuits), values())
        p = probabilities(state)
        (gradient,) = torch.autograd.grad((torch.from_numpy(case.v) * p).sum(), theta)
        return p.detach().numpy(), gradient.numpy()

    steps = {"adjoint of <diag(v)>": adjoint}
    if len(case.gates) * case.v.size <= MOST_KEPT:
        steps["autograd"] = autograd
    return with_threads(case, steps)


if __name__ == "__main__":
    serve(build)
