"""The short way of the mapping `linear` gives the bits of the long one, gradients too."""

import pytest
import torch
from artifacts import spec_of

from qtrain_cli.methods.generator.angles import start_angles
from qtrain_cli.methods.generator.generator import Generator
from qtrain_cli.targets.entries import GENERATED, LayoutSpec, TensorEntry
from qtrain_cli.targets.layout import split

LAYOUT = LayoutSpec(
    (
        TensorEntry("a", (300, 17), "F32", GENERATED, 17),
        TensorEntry("norm", (1031,), "F32", GENERATED, 1031, 1.0),
        TensorEntry("half", (100, 10), "BF16", GENERATED, 9),
        TensorEntry("b", (40_001,), "F32", GENERATED, 17),
    )
)


def results(make, theta, numbers):
    theta.grad = numbers.grad = None
    made = make()
    torch.manual_seed(1)
    sum((part.float() * torch.randn(part.shape)).tanh().sum() for part in made.values()).backward()
    return [*made.values(), theta.grad.clone(), numbers.grad.clone()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("circuits", [1, 6])
def test_the_bits_of_the_long_way(dtype, circuits):
    spec = spec_of(LAYOUT, circuits, 4)
    generator = Generator(spec, dtype=dtype)
    theta = start_angles(spec.circuit, 0).to(dtype).requires_grad_()
    numbers = torch.tensor([1.7, 0.03], dtype=dtype).requires_grad_()
    long = results(lambda: split(LAYOUT, generator.weights(theta, numbers)), theta, numbers)
    short = results(lambda: generator.tensors(theta, numbers), theta, numbers)
    assert all(torch.equal(one, other) for one, other in zip(long, short, strict=True))


def test_a_tensor_without_a_gradient_counts_nothing():
    spec = spec_of(LAYOUT, 2, 3)
    generator, theta = Generator(spec), start_angles(spec.circuit, 0).float().requires_grad_()
    numbers = torch.tensor([1.7, 0.0]).requires_grad_()
    generator.tensors(theta, numbers)["norm"].sum().backward()
    again = torch.autograd.grad(generator.weights(theta, numbers)[5100:6131].sum(), (theta, numbers))
    torch.testing.assert_close((theta.grad, numbers.grad), again)


def test_nothing_of_the_size_of_all_weights_stays():
    generator = Generator(spec_of(LAYOUT, 2, 3))
    generator.tensors(torch.zeros(generator.spec.circuit.angle_shape), torch.tensor([1.0, 0.0]))
    kept = [value for value in vars(generator).values() if isinstance(value, torch.Tensor)]
    assert not kept


def test_the_way_back_leaves_probabilities_alone_that_have_no_gradient_or_are_given():
    spec = spec_of(LAYOUT, 2, 3)
    generator, theta = Generator(spec), start_angles(spec.circuit, 0).float()
    p, numbers = generator.all_probabilities(theta), torch.tensor([1.7, 0.0]).requires_grad_()
    for given in (p, p.clone().requires_grad_()):
        found = []
        for _ in range(2):
            numbers.grad = given.grad = None
            generator.tensors_of(given, numbers)["a"].square().sum().backward()
            found.append((numbers.grad.clone(), given.grad))
        assert torch.equal(found[0][0], found[1][0]) and torch.equal(given.detach(), p)
        assert given.grad is None or torch.equal(found[0][1], found[1][1])


def test_probabilities_that_are_written_over_serve_no_second_time():
    spec = spec_of(LAYOUT, 2, 3)
    generator, theta = Generator(spec), start_angles(spec.circuit, 0).float().requires_grad_()
    p, numbers = generator.all_probabilities(theta), torch.tensor([1.7, 0.0]).requires_grad_()
    one, other = (generator.tensors_of(p, numbers)["a"].sum() for _ in range(2))
    one.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        other.backward()
