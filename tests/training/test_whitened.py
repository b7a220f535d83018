"""Adam in the eigenbasis of its gradients: what it is beside Adam, its blocks, and what it buys."""

import math

import pytest
import torch

from qtrain_cli.training import whitened
from qtrain_cli.training.whitened import BETAS, DAMPING, EVERY, FIRST, WhitenedAdam, state_bytes


def tensor_of(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def step(optimizer, tensor, gradient):
    tensor.grad = gradient.clone()
    optimizer.step()


def gradients(count, size, seed=1):
    """Correlated gradients: a few directions are much steeper than the others."""
    random = torch.Generator().manual_seed(seed)
    mixed = torch.randn(size, size, generator=random) * torch.logspace(0, -2, size)
    return torch.randn(count, size, generator=random) @ mixed.T


def test_until_the_first_basis_it_is_damped_adam():
    tensor, m, v = tensor_of(7), torch.zeros(7), torch.zeros(7)
    expected, optimizer = tensor.detach().clone(), WhitenedAdam([tensor], 0.01)
    for number, gradient in enumerate(gradients(20, 7), 1):
        step(optimizer, tensor, gradient)
        m = BETAS[0] * m + (1 - BETAS[0]) * gradient
        v = BETAS[1] * v + (1 - BETAS[1]) * gradient**2
        hat = v / (1 - BETAS[1] ** number)
        expected -= 0.01 * m / (1 - BETAS[0] ** number) / (hat + DAMPING * hat.mean()).sqrt()
    torch.testing.assert_close(tensor.detach(), expected)


def test_from_then_on_it_is_that_in_the_basis_of_the_whole_second_moment():
    """By the formulas of the module's page, in float64, without blocks."""
    size, count = 6, FIRST + EVERY + 3
    tensor = tensor_of(size)
    expected, optimizer = tensor.detach().double(), WhitenedAdam([tensor], 0.01)
    G, Q, m, v = torch.zeros(size, size).double(), torch.eye(size).double(), 0, torch.zeros(size).double()
    for number, gradient in enumerate(gradients(count, size), 1):
        step(optimizer, tensor, gradient)
        g = gradient.double()
        m = BETAS[0] * m + (1 - BETAS[0]) * g
        G = BETAS[1] * G + (1 - BETAS[1]) * torch.outer(g, g)
        v = BETAS[1] * v + (1 - BETAS[1]) * (Q.T @ g) ** 2
        if number >= FIRST and number % EVERY == 0:
            v, Q = torch.linalg.eigh(G)
        hat = v / (1 - BETAS[1] ** number)
        expected -= 0.01 * Q @ ((Q.T @ m) / (1 - BETAS[0] ** number) / (hat + DAMPING * hat.mean()).sqrt())
    torch.testing.assert_close(tensor.detach(), expected.float(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("shape", "blocks", "size"), [((5,), 1, 5), ((3, 200), 2, 300), ((1, 1025), 3, 342)])
def test_blocks(shape, blocks, size):
    tensor = torch.ones(shape)
    moments = WhitenedAdam([tensor], 0.1).moments(tensor)
    assert moments["covariance"].shape == moments["basis"].shape == (blocks, size, size)
    assert moments["exp_avg_sq"].shape == (blocks, size) and moments["exp_avg"].shape == shape
    assert torch.equal(moments["basis"][-1], torch.eye(size))


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(whitened, "_MOST", 1000)
    tensors = [torch.ones(100), torch.ones(148)]
    moments = [WhitenedAdam(tensors, 0.1).moments(tensor) for tensor in tensors]
    assert [found["basis"].shape[1] for found in moments] == [4, 4]
    assert sum(found["basis"].numel() for found in moments) <= 1000
    many = torch.ones(5000)
    assert WhitenedAdam([many], 0.1).moments(many)["basis"].shape == (5000, 1, 1)


@pytest.mark.parametrize("count", [1, 700, 100_000])
def test_the_memory_that_is_foretold(count):
    tensor = torch.ones(count)
    moments = WhitenedAdam([tensor], 0.1).moments(tensor)
    taken = sum(4 * moment.numel() for moment in moments.values())
    assert taken == pytest.approx(state_bytes(count), rel=0.3 if count > 1000 else 3)
    assert count < 1000 or state_bytes(count) < 2**28


def test_where_no_eigenvectors_are_found_the_old_basis_serves_on(monkeypatch):
    def fails(matrix):
        raise torch.linalg.LinAlgError("failed to converge")

    monkeypatch.setattr(torch.linalg, "eigh", fails)
    tensor = tensor_of(5)
    optimizer = WhitenedAdam([tensor], 0.01)
    for gradient in gradients(FIRST + 1, 5):
        step(optimizer, tensor, gradient)
    assert torch.equal(optimizer.state[tensor]["basis"][0], torch.eye(5)) and bool(tensor.isfinite().all())


def test_blocks_do_not_mix(monkeypatch):
    """Two tensors of one block each move as one tensor of two blocks does; the filling moves nothing."""
    monkeypatch.setattr(whitened, "_BLOCK", 4)
    whole, first, last = tensor_of(7), tensor_of(7), tensor_of(7)
    first, last = first.detach()[:4].clone().requires_grad_(), last.detach()[4:].clone().requires_grad_()
    one, two = WhitenedAdam([whole], 0.01), WhitenedAdam([first, last], 0.01)
    for gradient in gradients(FIRST + 5, 7):
        last.grad = gradient[4:].clone()
        step(one, whole, gradient)
        step(two, first, gradient[:4])
    torch.testing.assert_close(whole.detach()[:4], first.detach())
    # The filling of the last block lowers the mean that damps it.
    assert (whole.detach()[4:] - last.detach()).abs().max() < 0.05
    assert one.state[whole]["exp_avg_sq"][1, -1] == 0 or one.state[whole]["exp_avg_sq"][1].min() == 0


def test_a_tensor_without_a_gradient_stays():
    tensor, other = tensor_of(3), tensor_of(3, seed=2)
    before, optimizer = other.detach().clone(), WhitenedAdam([tensor, other], 0.1)
    step(optimizer, tensor, torch.ones(3))
    assert torch.equal(other.detach(), before) and not optimizer.state[other]


def test_no_gradient_at_all_is_no_step():
    tensor = tensor_of(3)
    before, optimizer = tensor.detach().clone(), WhitenedAdam([tensor], 0.1)
    for _ in range(FIRST + 1):
        step(optimizer, tensor, torch.zeros(3))
    assert torch.equal(tensor.detach(), before)


def test_a_state_that_was_forged_ends_in_no_crash():
    """The fit then stops at a loss that is not finite, as for every other forgery of its numbers."""
    tensor = tensor_of(3)
    optimizer = WhitenedAdam([tensor], 0.1)
    step(optimizer, tensor, torch.ones(3))
    optimizer.state[tensor]["covariance"].fill_(math.nan)
    optimizer.state[tensor]["step"].fill_(FIRST - 1)
    step(optimizer, tensor, torch.ones(3))


def valley(optimizer_of, seed):
    """The loss that is left after a noisy descent into a narrow valley that lies across all axes."""
    random, size = torch.Generator().manual_seed(seed), 40
    turned = torch.linalg.qr(torch.randn(size, size, generator=random))[0]
    steep = turned @ torch.diag(torch.logspace(2, -2, size)) @ turned.T
    tensor = torch.randn(size, generator=random).requires_grad_()
    optimizer = optimizer_of([tensor])
    for _ in range(600):
        noise = torch.randn(size, generator=random) * 0.1
        step(optimizer, tensor, (steep @ (tensor + noise)).detach())
    found = tensor.detach()
    return float(found @ steep @ found) / 2


def test_it_goes_down_a_valley_that_lies_across_all_axes_faster_than_adam():
    """Each at its best rate."""
    rates = (0.005, 0.015, 0.03, 0.05)
    for seed in range(3):
        ours = min(valley(lambda tensors, lr=lr: WhitenedAdam(tensors, lr), seed) for lr in rates)
        adam = min(valley(lambda tensors, lr=lr: torch.optim.Adam(tensors, lr=lr), seed) for lr in rates)
        assert ours < 0.75 * adam
