"""The compiled circuit of a batch against PennyLane's twin and plain PyTorch, with each instruction set."""

from dataclasses import replace

import pytest
import torch
from levels import levels

from qtrain_cli.quantum import batches, native
from qtrain_cli.quantum.batches import Batched
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.encodings import encode
from qtrain_cli.quantum.feature_maps import EncodingSpec
from qtrain_cli.quantum.pennylane_bridge import student_qnode
from qtrain_cli.quantum.statevector import evolve
from qtrain_cli.students.layout import Layout

pytestmark = pytest.mark.skipif(native._kernels is None, reason="the compiled kernel was not built")

KNOWN = {
    "z": (EncodingSpec("z", 3), "su2-rz-ry", "cnot-reverse-linear"),
    "zz": (EncodingSpec("zz", 4, reps=2), "su2-rz-ry", "cnot-reverse-linear"),
    "linear": (EncodingSpec("zz", 3, reps=3, entanglement="linear"), "real-amplitudes", "cz-ring"),
    "one qubit": (EncodingSpec("z", 1, reps=2), "su2-rz-ry", "cnot-linear"),
    "strings": (EncodingSpec("pauli", 4, paulis=("Z", "ZZZ")), "real-amplitudes", "cnot-full"),
    "six qubits": (EncodingSpec("zz", 6), "su2-rz-ry", "cnot-ring"),
}


@pytest.fixture(params=levels())
def level(request):
    """Runs the test with each instruction set."""
    native._kernels.use(request.param)
    yield request.param
    native._kernels.use("best")


def batched(name: str) -> Batched:
    encoding, ansatz, entangler = KNOWN[name]
    circuit = CircuitSpec(ansatz, entangler, encoding.qubits, 3, final_rotation=True)
    return Batched(encoding, circuit)


def inputs_of(what: Batched, rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(rows)
    theta = torch.randn(what.circuit.angle_shape)
    return theta, torch.rand(rows, what.circuit.qubits) * 3 - 1.5, Layout(*vars(what).values()).observables()


def twin(what: Batched, theta, x, observables):
    """The same in double precision, by the engine that the kernel has no part in."""
    psi = evolve(what.circuit, theta, encode(what.encoding, x)[None])[0]
    return torch.view_as_real(psi).square().sum(-1) @ observables.double().T


def gradients(run, theta, x, v):
    theta, x = theta.clone().requires_grad_(), x.clone().requires_grad_()
    e = run(theta, x)
    return e.detach(), *torch.autograd.grad(e, (theta, x), v.to(e.dtype))


def assert_close(found, expected):
    for one, other in zip(found, expected, strict=True):
        scale = max(1.0, float(other.abs().max()))
        torch.testing.assert_close(one.double() / scale, other.double() / scale, rtol=0, atol=2e-5)


@pytest.mark.parametrize("rows", (1, 16, 37))  # a part of a vector, whole ones, and both
@pytest.mark.parametrize("name", KNOWN)
def test_outputs_and_gradients_are_those_of_the_engine(name, rows, level):
    what = batched(name)
    theta, x, observables = inputs_of(what, rows)
    assert batches.supports_batch(what, theta, x)
    v = torch.randn(rows, len(observables))
    found = gradients(lambda t, f: batches.batch_expectations(what, t, f, observables), theta, x, v)
    assert_close(found, gradients(lambda t, f: twin(what, t, f, observables), theta.double(), x.double(), v))


@pytest.mark.parametrize("name", ("zz", "linear", "strings"))
def test_outputs_and_gradients_are_pennylanes(name):
    what = batched(name)
    theta, x, observables = inputs_of(what, 5)
    node, v = student_qnode(what.encoding, what.circuit), torch.randn(5, len(observables))
    found = gradients(lambda t, f: batches.batch_expectations(what, t, f, observables), theta, x, v)

    def theirs(t, f):
        return torch.stack(list(node(f, t))).T

    assert_close(found, gradients(theirs, theta.double(), x.double(), v))


def test_other_observables_are_read(level):
    what = batched("zz")
    theta, x, _ = inputs_of(what, 20)
    observables = torch.rand(5, 16)
    found = batches.batch_expectations(what, theta, x, observables)
    torch.testing.assert_close(
        found.double(), twin(what, theta.double(), x.double(), observables), atol=2e-5, rtol=0
    )


def test_phases_of_many_turns_keep_their_digits(level):
    what = batched("one qubit")
    theta, _, observables = inputs_of(what, 1)
    x = torch.tensor([[0.5], [1000.5], [8191.5], [2**20 + 0.5], [-(2**20) - 0.5]])  # exact in float32
    found = batches.batch_expectations(what, theta, x, observables)
    torch.testing.assert_close(
        found.double(), twin(what, theta.double(), x.double(), observables), atol=2e-5, rtol=0
    )


def test_what_is_no_number_stays_none(level):
    what = batched("zz")
    theta, x, observables = inputs_of(what, 20)
    x[3, 1] = float("nan")
    broken = batches.batch_expectations(what, theta, x, observables).isnan()
    assert broken[3].all() and int(broken.sum()) == len(observables)


def test_what_the_kernel_leaves_to_pytorch(monkeypatch):
    what = batched("zz")
    theta, x, _ = inputs_of(what, 2)
    circuit = what.circuit
    for encoding in (EncodingSpec("angle", 4), EncodingSpec("pauli", 4), EncodingSpec("amplitude", 4)):
        assert not batches.knows_batch(Batched(encoding, circuit))
    for other in (
        replace(circuit, circuits=2),
        replace(circuit, ansatz="efficient-su2"),
        replace(circuit, ansatz="u3-cu3", entangler="cu3-ring", final_rotation=False),
    ):
        assert not batches.knows_batch(Batched(what.encoding, other))
    assert not batches.supports_batch(what, theta.double(), x)
    assert not batches.supports_batch(what, theta, x.to("meta"))
    assert not batches.supports_batch(what, theta, x[:, :3])
    monkeypatch.setenv("QTRAIN_NATIVE", "0")
    assert not batches.supports_batch(what, theta, x)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    ((5, 16, "a term on no qubits"), (5, 0, "a term on no qubits"), (7, -1, "an outcome that is none")),
)
def test_tables_that_lead_out_of_memory_are_refused(place, value, message):
    what = batched("zz")
    theta, x, observables = inputs_of(what, 2)
    shape = list(batches._shape(what, 2, observables))
    shape[place] = shape[place].copy()
    shape[place].flat[-1] = value
    with pytest.raises(ValueError, match=message):
        native.samples_forward(tuple(shape), theta, x, torch.empty(2, 4))


@pytest.mark.parametrize("broken", ("theta", "features", "outputs"))
def test_arrays_of_another_size_are_refused(broken):
    what = batched("zz")
    theta, x, observables = inputs_of(what, 2)
    arrays = {"theta": theta, "features": x, "outputs": torch.empty(2, 4)}
    arrays[broken] = torch.empty(3)
    with pytest.raises(ValueError, match=f"{broken} has 12 bytes"):
        native.samples_forward(batches._shape(what, 2, observables), *arrays.values())
