"""The compiled kernel against circuits run gate by gate: every row of the tables, every way through it.

The twin below is plain autograd over `operations` in float64, which PennyLane's twin is made from as well,
at the same angles. Differences are relative to the largest gradient where that is above 1 (a sum of 2**n
terms of v). Sizes: up to 4 qubits the state is padded to a vector, from 15 on a layer is two passes, from
16 on threads share it, from 19 on a tile takes more than one turn. The largest are compared with the
float64 of `statevector`, which the kernel has no part in.
"""

import functools
import itertools
import json
import math
import os
import subprocess

import pytest
import torch
from benchmarks import peak
from levels import levels

from qtrain_cli.quantum import native, statevector
from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS, CircuitSpec
from qtrain_cli.quantum.operations import operations

pytestmark = pytest.mark.skipif(native._kernels is None, reason="the compiled kernel was not built")

PAIRS = [(a.name, e) for a in ANSATZE.values() for e in a.entanglers]
ROWS = pytest.mark.parametrize(("ansatz", "entangler"), PAIRS)
SOME_PAIRS = [
    ("real-amplitudes", "cnot-ring"),
    ("efficient-su2", "cz-ring"),
    ("strongly-entangling", "cnot-ranges"),
    ("u3-cu3", "cu3-ring"),
]
SOME_ROWS = pytest.mark.parametrize(("ansatz", "entangler"), SOME_PAIRS)
#: Above other parameters, so that each row is tried with one instruction set after the other.
LEVELS = pytest.mark.parametrize("level", levels(), indirect=True)
TOLERANCE = 2e-6  # three times the largest difference seen


@pytest.fixture
def level(request):
    """Runs the test with the instruction set that it names."""
    native._kernels.use(request.param)
    yield request.param
    native._kernels.use("best")


@pytest.fixture
def threads():
    """``threads(k)`` sets their number until the test is over."""
    usual = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(usual)


# --- the twin -------------------------------------------------------------------------------------------


def _ry(x, a):
    c, s = torch.cos(a / 2), torch.sin(a / 2)
    return torch.stack((c * x[0] - s * x[1], s * x[0] + c * x[1]))


#: What each gate does to a state whose first axes are its wires, and its last circuits with an angle each.
GATES = {
    "RY": _ry,
    "RZ": lambda x, a: torch.stack((x[0] * torch.exp(-0.5j * a), x[1] * torch.exp(0.5j * a))),
    "CNOT": lambda x, a: torch.stack((x[0], x[1].flip(0))),
    "CZ": lambda x, a: torch.stack((x[0], torch.stack((x[1][0], -x[1][1])))),
    "CRY": lambda x, a: torch.stack((x[0], _ry(x[1], a))),
    "ControlledPhaseShift": lambda x, a: torch.stack(
        (x[0], torch.stack((x[1][0], x[1][1] * torch.exp(1j * a))))
    ),
}


def gate_by_gate(circuit, theta):
    """Probabilities (b, 2**n) of angles (b, L, n, r) in float64; the last axis is that of the circuits."""
    psi = torch.zeros([2] * circuit.qubits + [len(theta)], dtype=torch.complex128)
    angles = theta.movedim(0, -1)
    psi.view(-1, len(theta))[0] = 1
    for one in operations(circuit):
        front = tuple(range(len(one.wires)))
        psi = GATES[one.gate.name](psi.movedim(one.wires, front), one.angle and angles[one.angle])
        psi = psi.movedim(front, one.wires)
    return psi.reshape(-1, len(theta)).T.abs().square()


def drawn(circuit):
    """Angles uniform in (-pi, pi) and a cotangent: float64, of values that float32 has."""
    theta = (torch.rand(circuit.angle_shape) * 2 - 1) * math.pi
    return theta.double(), torch.randn(circuit.circuits, 2**circuit.qubits).double()


def with_kernel(circuit, theta, v):
    p, state = native.forward(circuit, theta)
    return p, native.backward(circuit, theta, state, v)


@functools.lru_cache(maxsize=16)  # drawn alike in every test (conftest): a twin is run once for all levels
def answers(circuit, twin):
    """Angles, a cotangent, and what the twin makes of them: probabilities and gradient."""
    theta, v = drawn(circuit)
    p = twin(circuit, theta.requires_grad_())
    return theta.detach(), v, (p.detach(), torch.autograd.grad(p, theta, v)[0])


def assert_twins(circuit, twin=gate_by_gate):
    theta, v, expected = answers(circuit, twin)
    for one, other in zip(with_kernel(circuit, theta.float(), v.float()), expected, strict=True):
        assert one.dtype == torch.float32
        scale = max(1.0, float(other.abs().max()))
        torch.testing.assert_close(one.double(), other, rtol=0, atol=TOLERANCE * scale)


def circuits(ansatz, entangler, sizes, layers, batches=(1,)):
    """The row at these sizes, without and with a final rotation layer, where they exist."""
    free = ENTANGLERS[entangler].parametrised
    for n, b, final in itertools.product(sizes, batches, (False,) if free else (False, True)):
        if n > 1 or not free:
            yield CircuitSpec(ansatz, entangler, n, layers, b, final)


# --- the same numbers -----------------------------------------------------------------------------------


@LEVELS
@ROWS
def test_small_circuits_are_those_run_gate_by_gate(ansatz, entangler, level):
    for circuit in circuits(ansatz, entangler, range(1, 9), 3, batches=(2,)):
        assert_twins(circuit)


@ROWS
def test_middling_circuits_are_those_run_gate_by_gate(ansatz, entangler):
    """Odd and even sizes without a final rotation layer, and with one where it exists."""
    for qubits in range(9, 13):
        without, *final = circuits(ansatz, entangler, [qubits], 3)
        assert_twins(final[0] if final and qubits in (10, 11) else without)


@ROWS
def test_circuits_of_two_passes_are_those_run_gate_by_gate(ansatz, entangler):
    assert_twins(CircuitSpec(ansatz, entangler, 15, 2))


@SOME_ROWS
@pytest.mark.parametrize("qubits", (14, 16))
def test_large_circuits_are_those_run_gate_by_gate(ansatz, entangler, qubits, threads):
    threads(2)
    assert_twins(CircuitSpec(ansatz, entangler, qubits, 2))


@LEVELS
@SOME_ROWS
@pytest.mark.parametrize("number", (1, 3))
def test_two_passes_and_threads_are_right_with_each_instruction_set(
    ansatz, entangler, number, level, threads
):
    threads(number)
    assert_twins(CircuitSpec(ansatz, entangler, 16, 2))


@LEVELS
@pytest.mark.parametrize("entangler", ("cnot-ring", "cz-ring"))
def test_tiles_of_two_turns_are_right_with_each_instruction_set(entangler, level, threads):
    threads(2)
    assert_twins(CircuitSpec("efficient-su2", entangler, 19, 2), statevector.probabilities)


@pytest.mark.parametrize(
    ("ansatz", "entangler", "qubits"),
    [
        ("real-amplitudes", "cnot-ring", 17),
        ("real-amplitudes", "cnot-ring", 18),
        ("real-amplitudes", "cnot-ring", 19),
        ("real-amplitudes", "cnot-ring", 20),
        ("efficient-su2", "cz-ring", 19),
        ("strongly-entangling", "cnot-ranges", 18),
        ("u3-cu3", "cu3-ring", 17),
    ],
)
def test_the_largest_circuits_are_those_of_pytorch(ansatz, entangler, qubits, threads):
    threads(2)
    assert_twins(CircuitSpec(ansatz, entangler, qubits, 2), statevector.probabilities)


@ROWS
def test_every_layer_of_the_pattern_is_reached(ansatz, entangler):
    for layers in (1, 2, 11):
        assert_twins(CircuitSpec(ansatz, entangler, 5, layers))


@SOME_ROWS
@pytest.mark.parametrize("number", (2, 3))
def test_threads_share_circuits_and_amplitudes(ansatz, entangler, number, threads):
    threads(number)
    for qubits, b, twin in ((16, 2, statevector.probabilities), (10, 16, gate_by_gate)):
        assert_twins(CircuitSpec(ansatz, entangler, qubits, 2, b), twin)


def test_angles_and_cotangents_need_not_be_contiguous():
    circuit = CircuitSpec("efficient-su2", "cnot-ring", 5, 3, 2)
    theta, v = (one.float() for one in drawn(circuit))
    usual = with_kernel(circuit, theta, v)
    turned = with_kernel(circuit, theta.mT.contiguous().mT, v.T.contiguous().T)
    assert all(torch.equal(one, other) for one, other in zip(turned, usual, strict=True))


# --- the same bits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ansatz", "entangler", "qubits", "b"),
    [(*row, *size) for row in PAIRS for size in ((11, 9), (16, 3))]
    + [(*row, *size) for row in SOME_PAIRS for size in ((8, 3), (15, 2), (16, 1))],
)
def test_the_number_of_threads_changes_no_bit(ansatz, entangler, qubits, b, threads):
    """On both sides of where circuits, and where amplitudes, are shared; 9 and 3 circuits divide unevenly."""
    circuit = CircuitSpec(ansatz, entangler, qubits, 2, b)
    theta, v = (one.float() for one in drawn(circuit))
    usual = (threads(1), with_kernel(circuit, theta, v))[1]
    for number in (2, 3, 8):
        found = (threads(number), with_kernel(circuit, theta, v))[1]
        assert all(torch.equal(one, other) for one, other in zip(found, usual, strict=True)), number


@LEVELS
@pytest.mark.parametrize("ansatz", ("efficient-su2", "u3-cu3"))
@pytest.mark.parametrize("qubits", (18, 20))
def test_the_number_of_threads_changes_no_bit_of_several_parts(ansatz, qubits, level, threads):
    """Sizes at which a part is more than one chunk, and a tile more than one turn."""
    circuit = CircuitSpec(ansatz, ANSATZE[ansatz].entanglers[0], qubits, 1)
    theta, v = (one.float() for one in drawn(circuit))
    usual = (threads(1), with_kernel(circuit, theta, v))[1]
    found = (threads(3), with_kernel(circuit, theta, v))[1]
    assert all(torch.equal(one, other) for one, other in zip(found, usual, strict=True))


@SOME_ROWS
@pytest.mark.parametrize(("qubits", "b"), [(8, 3), (16, 1)])
def test_two_runs_give_the_same_bits(ansatz, entangler, qubits, b, threads):
    threads(2)
    circuit = CircuitSpec(ansatz, entangler, qubits, 3, b)
    theta, v = (one.float() for one in drawn(circuit))
    usual = with_kernel(circuit, theta, v)
    for _ in range(3):
        again = with_kernel(circuit, theta, v)
        assert all(torch.equal(one, other) for one, other in zip(again, usual, strict=True))


@ROWS
def test_circuits_of_one_batch_do_not_mix(ansatz, entangler):
    batch, alone = (CircuitSpec(ansatz, entangler, 9, 3, b) for b in (3, 1))
    theta, v = (one.float() for one in drawn(batch))
    p, gradient = with_kernel(batch, theta, v)
    for k in range(3):
        one = with_kernel(alone, theta[k : k + 1], v[k : k + 1])
        assert torch.equal(one[0], p[k : k + 1]) and torch.equal(one[1], gradient[k : k + 1])


# --- how it is used -------------------------------------------------------------------------------------


@pytest.fixture
def used(monkeypatch):
    """The names of the kernel's functions that ran."""
    names = []
    for name in ("forward", "backward"):
        step = getattr(native, name)
        monkeypatch.setattr(
            native, name, lambda *a, step=step, name=name, **k: (names.append(name), step(*a, **k))[1]
        )
    return names


def test_float32_uses_the_kernel_and_float64_does_not(used, monkeypatch):
    monkeypatch.delenv("QTRAIN_NATIVE", raising=False)
    circuit = CircuitSpec("efficient-su2", "cnot-ring", 6, 3)
    theta = drawn(circuit)[0].requires_grad_()
    exact = statevector.probabilities(circuit, theta)
    exact[0, 3].backward()
    assert used == []
    single = theta.detach().float().requires_grad_()
    p = statevector.probabilities(circuit, single)
    p[0, 3].backward()
    assert used == ["forward", "backward"]
    torch.testing.assert_close(p.double(), exact, rtol=0, atol=1e-5)
    torch.testing.assert_close(single.grad.double(), theta.grad, rtol=0, atol=1e-5)


def test_the_kernel_can_be_forbidden_even_between_forward_and_backward(used, monkeypatch):
    circuit = CircuitSpec("real-amplitudes", "cz-ring", 6, 3)
    theta = drawn(circuit)[0].float().requires_grad_()
    monkeypatch.setenv("QTRAIN_NATIVE", "0")
    p = statevector.probabilities(circuit, theta)
    monkeypatch.delenv("QTRAIN_NATIVE")
    p[0, 3].backward()
    assert used == []
    p = statevector.probabilities(circuit, theta)
    monkeypatch.setenv("QTRAIN_NATIVE", "0")
    p[0, 3].backward()
    assert used == ["forward", "backward"]


def test_without_the_extension_plain_pytorch_does_the_work(used, monkeypatch):
    monkeypatch.setattr(native, "_kernels", None)
    circuit = CircuitSpec("real-amplitudes", "cz-ring", 6, 3)
    p = statevector.probabilities(circuit, drawn(circuit)[0].float())
    assert used == [] and abs(float(p.sum()) - 1) < 1e-5


def test_every_row_of_the_tables_is_known():
    assert all(native.knows_circuit(CircuitSpec(a, e, 4, 2)) for a, e in PAIRS)


def test_a_graph_that_is_kept_gives_the_same_gradient_again():
    circuit = CircuitSpec("efficient-su2", "cnot-ring", 6, 3)
    theta = drawn(circuit)[0].float().requires_grad_()
    loss = statevector.probabilities(circuit, theta).square().sum()
    first, second = (torch.autograd.grad(loss, theta, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_memory_does_not_grow_with_depth(warm):
    """Peaks above the baseline of processes of their own: the highest mark of this one never falls again."""
    usual = {name: value for name, value in os.environ.items() if name != "QTRAIN_NATIVE"}

    def held(layers):
        command = ["python", peak.__file__, "engine", "real-amplitudes", "20", str(layers)]
        given = {**usual, "PATH": warm}
        return json.loads(subprocess.run(command, env=given, capture_output=True, check=True).stdout)["bytes"]

    shallow, deep = held(16), held(64)
    state = 2**20 * 4
    assert 6 * state < shallow, "four of the kernel's states and the two kept by PyTorch were not seen"
    assert deep == pytest.approx(shallow, rel=0.05)


# --- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"theta": 1}, "theta has 60 bytes; needed: 64"),
        ({"state": 1}, "state has 124 bytes; needed: 128"),
        ({"p": 1}, "probabilities has 60 bytes; needed: 64"),
        ({"threads": 0}, "no such circuit"),
        ({"first": -1}, "no such circuit"),
        ({"first": 2}, "no such circuit"),
    ],
)
def test_wrong_sizes_are_refused(change, said):
    circuit = CircuitSpec("efficient-su2", "cnot-ring", 4, 2)
    sizes = {"theta": 16, "state": 32, "p": 16}
    buffers = [torch.zeros(size - change.get(name, 0)).numpy() for name, size in sizes.items()]
    with pytest.raises(ValueError, match=said):
        shape = native._shape(circuit)
        native._kernels.forward(shape, *buffers, change.get("threads", 1), change.get("first", 0))


SHAPE = (
    "qubits",
    "layers",
    "circuits",
    "rotations",
    "entangler",
    "final",
    "period",
    "pairs",
    "list",
)


@pytest.mark.parametrize(
    "change",
    [
        {"qubits": 0},
        {"qubits": 27},
        {"layers": 0},
        {"layers": 2**31 - 1},
        {"layers": 2**24},  # of angles
        {"circuits": 0},
        {"circuits": 2**31 - 1},
        {"circuits": 2**24},
        {"layers": 2**25, "circuits": 2**25},
        {"qubits": 26, "circuits": 5},  # of outcomes
        {"rotations": "X"},
        {"entangler": 4},
        {"period": 0},
        {"period": 5},
        {"pairs": -1},
        {"pairs": 13},
        {"period": 2**31 - 1, "pairs": 2**31 - 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("backward", (False, True))
def test_unknown_circuits_and_sizes_beyond_the_limits_are_refused(change, backward):
    shape = native._shape(CircuitSpec("efficient-su2", "cnot-ring", 4, 2))
    changed = tuple(change.get(name, usual) for name, usual in zip(SHAPE, shape, strict=True))
    buffers = [torch.zeros(k).numpy() for k in (16, 32, 16, 16)]
    with pytest.raises(ValueError, match="no such circuit"):
        if backward:
            native._kernels.backward(changed, *buffers, 1, 0)
        else:
            native._kernels.forward(changed, *buffers[:3], 1, 0)


def test_pairs_beyond_the_qubits_are_refused():
    shape = list(native._shape(CircuitSpec("efficient-su2", "cnot-ring", 4, 2)))
    shape[-1][0] = 4
    native._shape.cache_clear()
    with pytest.raises(ValueError, match="no pair of qubits: 4 and 1"):
        native._kernels.forward(tuple(shape), *(torch.zeros(k).numpy() for k in (16, 32, 16)), 1, 0)


def test_a_gradient_of_another_size_is_refused():
    circuit = CircuitSpec("efficient-su2", "cnot-ring", 4, 2)
    buffers = [torch.zeros(size).numpy() for size in (16, 32, 16, 15)]
    with pytest.raises(ValueError, match="gradient has 60 bytes; needed: 64"):
        native._kernels.backward(native._shape(circuit), *buffers, 1, 0)
