"""Rounding in the loop: the value is what the file holds, the gradient is the identity."""

import pytest
import torch

from qtrain_cli.training.rounding import straight_through


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_value_is_what_is_stored_in_the_dtype_of_training(dtype):
    stored = torch.tensor([0.1, -2.5, 1e-3], dtype=torch.float64)
    found = straight_through(torch.zeros(3, dtype=dtype), stored)
    assert found.dtype == dtype and torch.equal(found, stored.to(dtype))


def test_the_gradient_passes_as_if_nothing_had_been_rounded():
    numbers = torch.tensor([[0.3, 5.0], [-900.0, 0.0]], requires_grad=True)
    factors = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    (straight_through(numbers, numbers.detach().round().double()) * factors).sum().backward()
    assert torch.equal(numbers.grad, factors)
    assert numbers.grad.dtype == torch.float32


def test_what_is_stored_has_no_gradient_of_its_own():
    stored = torch.ones(2, requires_grad=True)
    found = straight_through(torch.zeros(2, requires_grad=True), stored * 2)
    found.sum().backward()
    assert stored.grad is None
