"""Students' circuits against their PennyLane twins, and gradients that reach every angle."""

import pytest
import torch

from qtrain_cli.errors import BadInput
from qtrain_cli.quantum.encodings import angles, apply, program
from qtrain_cli.quantum.pennylane_bridge import student_qnode
from qtrain_cli.students.estimates import measured
from qtrain_cli.students.layout import Execution
from qtrain_cli.students.networks import build
from qtrain_cli.students.noise import depolarised
from qtrain_cli.students.spec import Student, parse_student

IMAGE = (1, 8, 8)
STUDENTS = [
    "hybrid:qubits=3,reps=2",
    "hybrid:qubits=3,reps=1,feature-map=zz,map-reps=2,entanglement=linear,entangler=cnot-full",
    "hybrid:qubits=4,reps=1,feature-map=pauli,paulis=Z+XY,ansatz=real-amplitudes,front=linear",
    "hybrid:qubits=2,reps=1,feature-map=angle",
    "qnn:qubits=3,layers=3",
    "qnn:qubits=3,layers=2,encoding=zz,readout=probabilities",
    "qnn:qubits=3,layers=3,encoding=amplitude",
    "qnn:qubits=3,layers=2,encoding=amplitude,readout=probabilities,ansatz=real-amplitudes",
]


def student_of(text: str, outputs: int = 4):
    return build(Student(parse_student(text), IMAGE, outputs), seed=0)


def features_of(module, rows: int = 6) -> torch.Tensor:
    layout = module.circuit.layout
    width = layout.encoding.features * (layout.blocks if layout.encoding.name != "amplitude" else 1)
    return torch.randn(rows, width, dtype=torch.float64)


@pytest.mark.parametrize("text", STUDENTS)
@pytest.mark.parametrize("rows", (2, 20))  # fewer and more than a matrix has rows
def test_expectations_and_gradients_are_those_of_the_twin(text, rows):
    module = student_of(text).double()
    layout, x = module.circuit.layout, features_of(module, rows).requires_grad_()
    twin = student_qnode(layout.encoding, layout.circuit)
    theta = module.circuit.theta.detach().clone().requires_grad_()
    theirs = torch.stack(list(twin(x, theta))).T
    module.circuit.layout = type(layout)(layout.encoding, layout.circuit)
    module.circuit.observables = module.circuit.layout.observables().double()
    ours = module.circuit(x)
    torch.testing.assert_close(ours, theirs.double(), rtol=0, atol=1e-10)
    v = torch.randn_like(ours)
    expected = torch.autograd.grad(theirs, (theta, x), v)
    found = torch.autograd.grad(ours, (module.circuit.theta, x), v)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("text", (STUDENTS[4], "qnn:qubits=3,layers=2,encoding=zz"))
def test_a_qnn_runs_its_twin_on_cells_times_scales(text):
    module, images = student_of(text).double(), torch.rand(5, *IMAGE).double()
    layout, cells = module.circuit.layout, torch.nn.functional.adaptive_avg_pool2d(images, module.cells)
    with torch.no_grad():
        module.scale.copy_(torch.randn(module.scale.shape))
    x = cells.flatten(1)[:, torch.arange(module.slots) % (module.cells[0] * module.cells[1])] * module.scale
    twin = student_qnode(layout.encoding, layout.circuit)
    theirs = torch.stack(list(twin(x.detach(), module.circuit.theta.detach()))).T
    torch.testing.assert_close(module.features(images).detach(), theirs.double(), rtol=0, atol=1e-10)


def test_scales_are_trained_and_amplitudes_have_none():
    module = student_of(STUDENTS[4])
    module(torch.rand(16, *IMAGE)).square().sum().backward()
    assert module.scale.shape == (9,) and bool((module.scale.grad.abs() > 1e-9).all())
    assert "scale" not in student_of(STUDENTS[6]).state_dict()


@pytest.mark.parametrize("text", [*STUDENTS, "classical:like=hybrid:qubits=3,reps=2"])
def test_gradients_reach_every_parameter(text):
    module = student_of(text)
    images, labels = torch.rand(16, *IMAGE), torch.arange(16) % 4
    torch.nn.functional.cross_entropy(module(images), labels).backward()
    for name, parameter in module.named_parameters():
        # A unit of a front may be dead on some rows; an angle that turns nothing would be dead for ever.
        alive = parameter.grad.abs() > 1e-9
        assert bool(alive.all()) if "theta" in name else bool(alive.any()), name


def test_the_usual_order_of_efficient_su2_would_leave_angles_without_a_gradient():
    from dataclasses import replace

    from qtrain_cli.students.circuit import CircuitLayer

    layout = student_of("hybrid:qubits=3,reps=1").circuit.layout
    usual = CircuitLayer(type(layout)(layout.encoding, replace(layout.circuit, ansatz="efficient-su2")))
    usual.reset(torch.Generator().manual_seed(0))
    usual(torch.rand(8, 3)).square().sum().backward()
    assert float(usual.theta.grad[0, -1, :, 1].abs().max()) < 1e-6  # the last RZ of each qubit


@pytest.mark.parametrize("text", STUDENTS[:2] + STUDENTS[4:7])
@pytest.mark.parametrize("gradient", ("parameter-shift", "finite-difference"))
def test_shifted_runs_give_the_exact_gradient(text, gradient):
    module, x = student_of(text).double(), features_of(student_of(text))
    found = []
    for how in (Execution(), Execution(gradient)):
        module.circuit.execution = how
        angles = module.circuit.layout.encoding.name != "amplitude"
        inputs = x.clone().requires_grad_(angles)
        out = module.circuit(inputs)
        wanted = (module.circuit.theta, inputs) if angles else (module.circuit.theta,)
        found.append(torch.autograd.grad((out**2).sum(), wanted))
    for one, other in zip(*found, strict=True):
        # A difference in float64 is off by some 1e-10 times a feature map's third derivative.
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10 if gradient == "parameter-shift" else 1e-7)


def test_spsa_is_right_on_average():
    module, x = student_of(STUDENTS[0]).double(), features_of(student_of(STUDENTS[0]))
    (exact,) = torch.autograd.grad(module.circuit(x).square().sum(), module.circuit.theta)
    module.circuit.execution = Execution("spsa")
    draws = [
        torch.autograd.grad(module.circuit(x).square().sum(), module.circuit.theta)[0] for _ in range(800)
    ]
    assert float((torch.stack(draws).mean(0) - exact).norm() / exact.norm()) < 0.3


def test_runs_are_counted():
    module, x = student_of("hybrid:qubits=3,reps=2"), torch.rand(5, 3, requires_grad=True)
    angles, rotations = 18, 3
    for gradient, expected in (
        ("adjoint", 5),
        ("parameter-shift", 5 + 2 * 5 * (angles + rotations)),
        ("finite-difference", 5 + 2 * 5 * (angles + rotations)),
        ("spsa", 5 + 2 * 5),
    ):
        module.circuit.execution = Execution(gradient)
        module.circuit(x).sum().backward()
        assert module.circuit.take_count() == expected, gradient
    with torch.no_grad():
        module.circuit(x)
    assert module.circuit.take_count() == 5 and module.circuit.take_count() == 0


@pytest.mark.parametrize("text", (STUDENTS[0], STUDENTS[5]))
def test_shots_scatter_around_the_exact_outputs(text):
    module, x = student_of(text), features_of(student_of(text)).float()
    with torch.no_grad():
        exact = module.circuit(x)
        module.circuit.execution = Execution("parameter-shift", shots=1000)
        draws = torch.stack([module.circuit(x) for _ in range(100)])
    # 100 means of 1,000 shots: within 5 standard errors of at most 1 / sqrt(1e5).
    assert float((draws.mean(0) - exact).abs().max()) < 5 / 1e5**0.5
    assert 0 < float(draws.std(0).max()) < 2 / 1000**0.5
    if module.circuit.layout.classes:
        torch.testing.assert_close(draws.sum(-1), torch.ones(100, 6))


def test_the_qubits_of_one_shot_are_read_together():
    bell = torch.tensor([[0.5, 0.0, 0.0, 0.5]]).expand(50, -1)  # (|00> + |11>) / sqrt(2)
    observables = student_of("hybrid:qubits=2,reps=1").circuit.observables
    z = measured(bell, observables, 10)
    torch.testing.assert_close(z[:, 0], z[:, 1])
    assert float(torch.corrcoef(z.T)[0, 1]) == pytest.approx(1.0) and float(z.std()) > 0.1


def test_probabilities_that_are_no_numbers_give_no_outcomes():
    p = torch.tensor([[0.5, 0.5], [float("nan"), 0.5]])
    found = measured(p, torch.tensor([[1.0, -1.0]]), 10)
    assert found.isfinite().flatten().tolist() == [True, False]


@pytest.mark.parametrize("text", (STUDENTS[0], STUDENTS[1], STUDENTS[4], STUDENTS[6]))
def test_noise_is_that_of_pennylanes_mixed_device(text):
    module = student_of(text).double()
    layout, x = module.circuit.layout, features_of(student_of(text))
    twin = student_qnode(layout.encoding, layout.circuit, "default.mixed", noise=0.07)
    module.circuit.execution = Execution(noise=0.07)
    theirs = torch.stack(
        [torch.stack(list(twin(row[None], module.circuit.theta.detach()))).view(-1) for row in x]
    )
    # The mixed device reads its observables in single precision.
    torch.testing.assert_close(module.circuit(x).detach(), theirs.double(), rtol=0, atol=1e-7)


def test_a_row_without_direction_is_refused():
    with pytest.raises(
        BadInput, match="input number 1 of a batch cannot be amplitude-encoded: it is all zeros"
    ):
        student_of(STUDENTS[6])(torch.stack((torch.ones(IMAGE), torch.zeros(IMAGE))))


def test_amplitudes_have_no_shifts():
    module = student_of(STUDENTS[6]).double()
    module.circuit.execution = Execution("parameter-shift")
    with pytest.raises(BadInput, match="amplitudes are no angles that parameter-shift could shift"):
        module.circuit(features_of(module).requires_grad_())


def test_constants_stand_on_the_device_of_the_features():
    layout, meta = student_of(STUDENTS[1]).circuit.layout, torch.device("meta")
    features = torch.empty(5, 3, device=meta)
    phi = angles(layout.encoding, features)
    psi = apply(program(layout.encoding, torch.complex64, meta), phi, None)
    rho = depolarised(psi[:, :, None] * psi[:, None, :].conj(), 3, 0.1)
    assert {phi.device.type, psi.device.type, rho.device.type} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("how", (Execution(), Execution("spsa", shots=100), Execution(noise=0.1)))
def test_a_student_runs_on_a_gpu(how):
    module = student_of(STUDENTS[1]).to("cuda")
    module.circuit.execution = how
    module(torch.rand(16, *IMAGE, device="cuda")).square().sum().backward()
    assert module.circuit.theta.grad.isfinite().all()


def test_finite_differences_are_right_in_float32_too():
    found = []
    for how in (Execution(), Execution("finite-difference")):
        module = student_of(STUDENTS[0])
        module.circuit.execution = how
        x = torch.linspace(-1, 1, 18).view(6, 3).requires_grad_()
        found.append(torch.autograd.grad(module.circuit(x).square().sum(), (module.circuit.theta, x)))
    for exact, estimate in zip(*found, strict=True):
        # The step balances the rounding of float32, about 1e-7 / h a run, with h**2 / 6: some 1e-4 in all.
        torch.testing.assert_close(estimate, exact, rtol=0, atol=1e-3)


def test_a_block_without_shots_is_exact_and_gives_them_back():
    module, x = student_of(STUDENTS[0]), torch.rand(5, 3)
    with torch.no_grad():
        exact = module.circuit(x)
        module.circuit.execution = Execution("spsa", shots=10)
        with pytest.raises(ZeroDivisionError), module.circuit.without_shots():
            torch.testing.assert_close(module.circuit(x), exact)
            raise ZeroDivisionError
        assert module.circuit.execution.shots == 10 and not torch.equal(module.circuit(x), exact)
