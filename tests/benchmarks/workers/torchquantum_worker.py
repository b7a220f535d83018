"""torchquantum, complex64: autograd through its gates by `bmm` or `einsum`, a batch as its `bsz`.

Importing it imports torchvision and TensorFlow for data sets that no circuit needs. Both are replaced by
empty modules here: together they are gigabytes, and torchvision's wheel on PyPI loads only beside a CUDA
build of torch.
"""

import importlib.abc
import importlib.machinery
import sys
import types

UNUSED = ("torchvision", "tensorflow", "pyscf")


class Nothing(type):
    """A class whose every attribute is a word: enough for tables that are filled on import."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class Empty(types.ModuleType):
    """A module whose every attribute is an empty class."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing(name, (), {})


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules that are not used."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in UNUSED:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return Empty(spec.name)

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, Finder())

import torch  # noqa: E402
import torchquantum  # noqa: E402
import torchquantum.functional as tqf  # noqa: E402
from protocol import serve  # noqa: E402
from torch_threads import with_threads  # noqa: E402


def build(case):
    theta = torch.from_numpy(case.theta).requires_grad_()
    v = torch.from_numpy(case.v)

    def step_of(method):
        def step():
            device = torchquantum.QuantumDevice(n_wires=case.qubits, bsz=case.circuits)
            for name, on, at in case.gates:
                angle = {} if at is None else {"params": theta[(slice(None), *at)][:, None]}
                getattr(tqf, name.lower())(device, wires=list(on), comp_method=method, **angle)
            p = device.get_states_1d().abs().square()
            (gradient,) = torch.autograd.grad((v * p).sum(), theta)
            return p.detach().numpy(), gradient.numpy()

        return step

    return with_threads(case, {f"autograd, {method}": step_of(method) for method in ("bmm", "einsum")})


if __name__ == "__main__":
    serve(build)
