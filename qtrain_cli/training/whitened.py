"""Adam in the eigenbasis of its own gradients: for the few numbers of a generator, which all pull together.

    G <- average of g g^T                 by blocks of neighbouring numbers, (k, s, s)
    Q <- eigenvectors of G                anew every `EVERY` steps from step `FIRST` on; the identity before
    m <- average of g                     v <- average of (Q^T g)**2
    x <- x - lr Q (Q^T m / sqrt(v + DAMPING mean(v)))

Every weight depends on every angle, so the gradients of angles are correlated, which a rate for each single
angle (Adam) cannot see. SOAP (Vyas et al. 2024, arXiv 2409.11321) turns a layer's matrix by its two sides.
What a generator trains is one vector, short enough for the second moments of whole blocks of it.

Averages are exponential and corrected for their start at zero, as Adam's are (Kingma and Ba 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from qtrain_cli.training.uncompiled import Uncompiled

#: Of the average of g, which a one-cycle schedule moves from 0.95 to 0.85 and back; of those of g g^T and v.
BETAS = (0.9, 0.99)
FIRST, EVERY = 100, 50
#: No direction is taken for flatter than this share of the average one: rounding needs room in all of them.
DAMPING = 0.1
#: Numbers of a block, as long as the blocks of all tensors together have no more than `_MOST` entries.
_BLOCK, _MOST = 512, 2**24
_TINY = 1e-30


class WhitenedAdam(Uncompiled):
    """The update above; `lr` is the length of a step in radians, about, for each angle.

    Args:
        trained: tensors of any shape, float32; `state_bytes` says how much memory they take.
        lr: learning rate, which a schedule may move.
        decay: what share of each number is added to its gradient.
    """

    def __init__(self, trained: Sequence[Tensor], lr: float, decay: float = 0.0) -> None:
        super().__init__(list(trained), {"lr": lr, "betas": BETAS})
        self._decay = decay
        self._block = _block(sum(tensor.numel() for tensor in trained))

    def moments(self, tensor: Tensor) -> dict[str, Tensor]:
        """What is kept of a tensor before its first step, by name."""
        count = max(1, tensor.numel())
        blocks = -(-count // self._block)
        size = -(-count // blocks)
        basis = torch.eye(size, dtype=tensor.dtype, device=tensor.device).repeat(blocks, 1, 1)
        return {
            "step": torch.tensor(0.0),
            "exp_avg": torch.zeros_like(tensor, memory_format=torch.contiguous_format),
            "exp_avg_sq": tensor.new_zeros(blocks, size),
            "covariance": torch.zeros_like(basis),
            "basis": basis,
        }

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Moves every tensor that has a gradient. There is no closure: `loss.backward` comes before."""
        for group in self.param_groups:
            for tensor in group["params"]:
                if tensor.grad is not None:
                    state = self.state[tensor]
                    if not state:
                        state.update(self.moments(tensor.detach()))
                    gradient = tensor.grad + self._decay * tensor if self._decay else tensor.grad
                    tensor.sub_(group["lr"] * _update(state, gradient, *group["betas"]))

    @torch.no_grad()
    def turn(self) -> None:
        """Puts the eigenvectors of all averages in place, as every `EVERY` steps."""
        for state in self.state.values():
            _turn(state["basis"], state["exp_avg_sq"], state["covariance"])


def state_bytes(numbers: int) -> int:
    """About what the moments of so many numbers take in memory: 4 KB each, less above 32,768 of them."""
    return 4 * 2 * numbers * (_block(numbers) + 1)


def _block(numbers: int) -> int:
    return max(1, min(_BLOCK, _MOST // max(1, numbers)))


def _update(state: dict[str, Any], gradient: Tensor, beta1: float, beta2: float) -> Tensor:
    """The step of unit learning rate for one tensor, of its shape; moves the averages."""
    shape = state["exp_avg_sq"].shape
    state["step"] += 1
    steps = float(state["step"])
    state["exp_avg"].lerp_(gradient, 1 - beta1)
    g, m = _blocks(gradient, shape), _blocks(state["exp_avg"], shape)
    covariance, basis, v = state["covariance"], state["basis"], state["exp_avg_sq"]
    covariance.baddbmm_(g.unsqueeze(2), g.unsqueeze(1), beta=beta2, alpha=1 - beta2)
    v.lerp_(_turned(basis, g).square(), 1 - beta2)
    if steps >= FIRST and steps % EVERY == 0:
        _turn(basis, v, covariance)
    damped = v + DAMPING * v.mean(1, keepdim=True) + _TINY
    scaled = _turned(basis, m) * damped.rsqrt() * ((1 - beta2**steps) ** 0.5 / (1 - beta1**steps))
    whole = (basis @ scaled.unsqueeze(2)).flatten()
    return whole[: gradient.numel()].view_as(gradient)


def _turn(basis: Tensor, v: Tensor, covariance: Tensor) -> None:
    """Puts eigenvectors and eigenvalues in place; where none are found, the old ones serve on."""
    if not bool(covariance.isfinite().all()):
        return
    try:
        values, vectors = torch.linalg.eigh(covariance)
    except torch.linalg.LinAlgError:
        return
    basis.copy_(vectors)
    v.copy_(values.clamp(min=0))


def _blocks(tensor: Tensor, shape: torch.Size) -> Tensor:
    """All numbers in rows of blocks, the last one filled up with zeros: any shape -> (k, s)."""
    flat = tensor.flatten()
    return torch.nn.functional.pad(flat, (0, shape.numel() - flat.numel())).view(shape)


def _turned(basis: Tensor, blocks: Tensor) -> Tensor:
    """Blocks in the coordinates of their bases: (k, s, s), (k, s) -> (k, s)."""
    return (basis.mT @ blocks.unsqueeze(2)).squeeze(2)
