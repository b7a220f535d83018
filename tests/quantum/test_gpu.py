"""The kernels of a GPU against the engine in float64: on a GPU where there is one, and in Triton's
interpreter.

The interpreter is asked for before Triton is imported, so its part runs in a process of its own.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from qtrain_cli.quantum import gpu
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.statevector import probabilities

#: Of the largest entry: float32, or three products of tensor cores in the place of one.
NEAR = 1e-4
#: Groups of four, three and two qubits, several circuits, programs of several blocks, both kinds of tables.
CIRCUITS = (
    CircuitSpec("real-amplitudes", "cnot-ring", 3, 2),
    CircuitSpec("efficient-su2", "cnot-ring", 7, 3, circuits=4),
    CircuitSpec("efficient-su2", "cz-ring", 10, 3, circuits=2),
    CircuitSpec("real-amplitudes", "cnot-linear", 11, 2, final_rotation=True),
    CircuitSpec("strongly-entangling", "cnot-ranges", 6, 4),
)
without_triton = importlib.util.find_spec("triton") is None


def angles_and_cotangent(circuit):
    random = torch.Generator().manual_seed(circuit.qubits)
    theta = 6.28 * torch.rand(circuit.angle_shape, generator=random)
    return theta, torch.randn(circuit.circuits, 2**circuit.qubits, generator=random)


def check(circuit, device):
    """Both passes of the kernels, from the beginning and behind a layer, against the engine in float64."""
    theta, v = angles_and_cotangent(circuit)
    exact = theta.double().requires_grad_()
    expected = probabilities(circuit, exact)
    expected.backward(v.double())
    theta, v = theta.to(device), v.to(device)
    p, state = gpu.forward(circuit, theta)
    close(p, expected.detach())
    close(gpu.backward(circuit, theta, state, v), exact.grad)
    part = CircuitSpec(circuit.ansatz, circuit.entangler, circuit.qubits, 1, circuit.circuits)
    begun = gpu.forward(part, theta[:, :1])[1]
    p, state = gpu.forward(circuit, theta, (1, begun))
    close(p, expected.detach())
    close(gpu.backward(circuit, theta, state, v, 1), exact.grad[:, 1:])


def close(found, expected):
    apart = (found.cpu().double() - expected).abs().max() / expected.abs().max()
    assert apart < NEAR, f"{apart:.1g} of the largest entry apart"


@pytest.mark.skipif(without_triton, reason="needs Triton, which comes with PyTorch's CUDA builds")
def test_in_the_interpreter_the_kernels_give_what_the_engine_gives():
    root = Path(__file__).resolve().parents[2]
    paths = [str(root), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    here = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    code = "import test_gpu as t; t.gpu.PROGRAMS = 8; [t.check(one, 'cpu') for one in t.CIRCUITS]"
    done = subprocess.run([sys.executable, "-c", code], env=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


class Launches:
    """In the place of a kernel: what it is launched with, once for each count of planes and kind of table."""

    def __init__(self, kernel, told):
        self.kernel, self.told = kernel, told

    def __getitem__(self, grid):
        return self._launch

    def _launch(self, *given, **options):
        named = dict(zip(self.kernel.arg_names, given, strict=True))
        self.told.setdefault((self.kernel, named["PLANES"], named["KIND"]), (named, options))


def source_of(kernel, named):
    """The kernel with the constants and the kinds of arguments that it was launched with."""
    from triton.compiler import ASTSource

    kinds = {torch.float32: "*fp32", torch.int64: "*i64", torch.int32: "*i32"}
    constants = {one.name: named[one.name] for one in kernel.params if one.is_constexpr}
    signature = {
        name: kinds[value.dtype] if isinstance(value, torch.Tensor) else "i32"
        for name, value in named.items()
    } | dict.fromkeys(constants, "constexpr")
    return ASTSource(kernel, signature, constants)


@pytest.mark.skipif(without_triton, reason="needs Triton, which comes with PyTorch's CUDA builds")
@pytest.mark.parametrize(("capability", "left_out"), [(80, {(1, 0), (2, 1)}), (90, {(1, 1), (2, 2)})])
def test_without_a_gpu_the_kernels_are_compiled_for_one(capability, left_out, monkeypatch, tmp_path):
    """What both passes launch becomes machine code of cards that are not there; tensor cores multiply.

    Every count of planes with every kind of table for one card or both, and for each card all of either.
    """
    from triton.backends.compiler import GPUTarget
    from triton.compiler import compile as machine_code_of

    from qtrain_cli.quantum import gpu_kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    told = {}
    recorded = {name: Launches(getattr(gpu_kernels, name), told) for name in ("turn", "unturn")}
    monkeypatch.setattr(gpu, "_kernels", lambda: SimpleNamespace(**recorded))
    for circuit in CIRCUITS:
        theta, v = angles_and_cotangent(circuit)
        _, state = gpu.forward(circuit, theta)
        gpu.backward(circuit, theta, state, v)
    assert len(told) == 2 * 5  # of each kernel: one plane with none and permutations, two with all three
    for (kernel, *way), (named, options) in told.items():
        if tuple(way) in left_out:
            continue
        made = machine_code_of(source_of(kernel, named), GPUTarget("cuda", capability, 32), options)
        assert made.asm["cubin"] and "tf32" in made.asm["ptx"]
        assert made.metadata.shared <= 48 * 1024, "more than every card gives a program"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("circuit", CIRCUITS, ids=str)
def test_on_a_cuda_device_the_kernels_give_what_the_engine_gives(circuit):
    check(circuit, "cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_cuda_device_a_recording_gives_the_same_each_time():
    circuit = CIRCUITS[1]
    theta, v = (one.cuda() for one in angles_and_cotangent(circuit))
    found = []
    for _ in range(3):
        begin = theta.clone().requires_grad_()
        p = probabilities(circuit, begin)
        p.backward(v)
        found.append((p.detach(), begin.grad))
        theta.add_(0)  # what a recording was made of is not what it reads
    assert all(torch.equal(a, b) for one in found for a, b in zip(one, found[0], strict=True))
    close(found[0][0], gpu.forward(circuit, theta)[0].cpu().double())


def test_who_runs_a_circuit():
    circuit = CIRCUITS[0]
    theta, _ = angles_and_cotangent(circuit)
    assert not gpu.supports_circuit(circuit, theta), "no GPU has these angles"
    assert not gpu.knows_circuit(CircuitSpec("u3-cu3", "cu3-ring", 3, 1))


def test_programs_cover_every_column():
    for b, columns in ((1, 1), (3, 64), (16, 2**13), (1, 2**22)):
        programs, tiles = gpu._programs(b, columns)
        assert programs * tiles * gpu.BLOCK >= columns
        assert b * programs <= 2 * gpu.PROGRAMS + b
