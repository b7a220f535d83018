"""The compiled convolutions of a front against PyTorch's own layers in double precision."""

import copy

import pytest
import torch
from levels import levels
from torch import nn

from qtrain_cli.quantum import native
from qtrain_cli.students import convolutions
from qtrain_cli.students.fronts import ConvFront
from qtrain_cli.students.networks import build, is_light
from qtrain_cli.students.spec import Student, parse_student

pytestmark = pytest.mark.skipif(native._kernels is None, reason="the compiled kernel was not built")

IMAGES = [((1, 28, 28), 800), ((3, 32, 32), 3000), ((1, 8, 9), 300), ((3, 65, 70), 3000)]


@pytest.fixture(params=levels())
def level(request):
    """Runs the test with each instruction set."""
    native._kernels.use(request.param)
    yield request.param
    native._kernels.use("best")


def front_of(shape: tuple[int, ...], params: int) -> ConvFront:
    front = build(Student(parse_student(f"hybrid:qubits=4,params={params}"), shape, 10), seed=0).front
    assert isinstance(front, ConvFront)
    return front


def layers_of(front: ConvFront) -> list[nn.Conv2d]:
    return [module for module in front.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("rows", (1, 16, 21))
@pytest.mark.parametrize(("shape", "params"), IMAGES)
def test_features_and_gradients_are_those_of_pytorch(shape, params, rows, level):
    torch.manual_seed(0)
    front, images, v = front_of(shape, params), torch.randn(rows, *shape), torch.randn(rows, 4)
    assert convolutions.supports(images, layers_of(front))
    twin = copy.deepcopy(front).double()
    found, expected = front(images), twin(images.double())
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)
    ours = torch.autograd.grad(found, list(front.parameters()), v)
    theirs = torch.autograd.grad(expected, list(twin.parameters()), v.double())
    for one, other in zip(ours, theirs, strict=True):
        scale = max(1.0, float(other.abs().max()))
        torch.testing.assert_close(one.double() / scale, other / scale, rtol=0, atol=1e-5)


def test_of_equal_numbers_the_first_has_the_gradient_and_none_has_it_at_zero(level):
    front = front_of(*IMAGES[0])
    with torch.no_grad():
        for layer in layers_of(front):
            layer.weight.fill_(0.5)
            layer.bias.zero_()
        front.spatial.weight.fill_(2**-12)  # or tanh lets nothing through
    images = torch.randint(-1, 2, (20, 1, 28, 28)).float()  # whole sums: ties, and zeros, are frequent
    twin = copy.deepcopy(front).double()
    ours = torch.autograd.grad(front(images).sum(), list(front.parameters()))
    theirs = torch.autograd.grad(twin(images.double()).sum(), list(twin.parameters()))
    assert float(theirs[0].abs().max()) > 0
    for one, other in zip(ours, theirs, strict=True):
        scale = max(1.0, float(other.abs().max()))
        torch.testing.assert_close(one.double() / scale, other / scale, rtol=0, atol=1e-5)


def test_what_is_no_number_stays_none(level):
    front, images = front_of(*IMAGES[0]), torch.rand(3, 1, 28, 28)
    images[1] = float("nan")
    assert front(images).isnan().any(1).tolist() == [False, True, False]
    with torch.no_grad():
        front.conv0.weight.fill_(float("nan"))
    assert front(torch.rand(3, 1, 28, 28)).isnan().all()


def test_what_the_kernel_leaves_to_pytorch(monkeypatch):
    front, images = front_of(*IMAGES[0]), torch.rand(2, 1, 28, 28)
    layers = layers_of(front)
    assert convolutions.supports(images, layers)
    assert not convolutions.supports(images.double(), layers)
    assert not convolutions.supports(images.clone().requires_grad_(), layers)
    assert not convolutions.supports(images, [nn.Conv2d(1, 5, 7), *layers[1:]])
    monkeypatch.setenv("QTRAIN_NATIVE", "0")
    assert not convolutions.supports(images, layers)


def test_images_that_want_a_gradient_get_it():
    front, images = front_of(*IMAGES[0]), torch.rand(2, 1, 28, 28, requires_grad=True)
    front(images).sum().backward()
    assert float(images.grad.abs().max()) > 0


@pytest.mark.parametrize(
    ("stages", "message"),
    (
        ([], "no such stages"),
        ([1, 5, 5, 28], "no such stages"),
        ([1, 5, 7, 28, 28], "no such kernel"),
        ([1, 5, 5, 5, 28], "no such kernel"),
        ([1, 5, 5, 28, 28, 4, 7, 3, 12, 12], "does not follow"),
        ([1, 0, 5, 28, 28], "no such stage"),
        ([1, 5, 5, 28, 28], "weights has"),
    ),
)
def test_stages_that_do_not_fit_are_refused(stages, message):
    numbers = torch.empty(7)
    with pytest.raises(ValueError, match=message):
        native.front_forward(
            torch.tensor(stages, dtype=torch.int32).numpy(),
            numbers,
            torch.empty(1, 1, 28, 28),
            numbers,
            torch.empty(16),
        )


@pytest.mark.parametrize(
    ("text", "light"), (("hybrid:qubits=4", True), ("hybrid:qubits=4,params=20000", False))
)
def test_light_students_are_trained_on_one_thread(text, light, monkeypatch):
    module = build(Student(parse_student(text), (1, 28, 28), 10), seed=0)
    assert is_light(module) is light
    assert not is_light(
        build(Student(parse_student("hybrid:qubits=4,feature-map=angle"), (1, 28, 28), 10), 0)
    )
    monkeypatch.setenv("QTRAIN_NATIVE", "0")
    assert not is_light(module)


def test_an_export_sees_ordinary_operations():
    front = front_of(*IMAGES[0])
    exported = torch.export.export(front.eval(), (torch.rand(2, 1, 28, 28),))
    images = torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(exported.module()(images), front(images), rtol=0, atol=1e-5)
