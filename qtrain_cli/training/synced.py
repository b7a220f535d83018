"""Batch statistics of a batch that several processes share: those of all of its rows.

    mean, var      of all rows: n, sum x and sum (x - mean)**2 of every process, put together
    gradient       dx = w / s (dy - S1 / N - xhat S2 / N),   S1 = sum dy,  S2 = sum dy xhat,  of all rows
                   (Ioffe and Szegedy 2015); what weight and bias get is each process's own part

A layer normalises by the rows that it sees, so that a share of a batch would have other statistics, and
another gradient, than the whole. PyTorch's own layer for it, `SyncBatchNorm`, is for GPUs only and has to be
put into the model. Here the function that every layer calls is replaced as long as a step lasts, whatever
layer it is.

Left out: layers in TorchScript, which call no Python (`check_shared` refuses them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from qtrain_cli.errors import UsageError
from qtrain_cli.training.ranks import Ranks, present


class SharedStatistics(TorchFunctionMode):
    """As long as it is on, batch normalisation that uses the batch's statistics uses those of all processes.

    Raises:
        ProcessEnded: in the forward or backward pass, where another process is gone.
    """

    def __init__(self, ranks: Ranks) -> None:
        super().__init__()
        self.ranks = ranks

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if func is nn.functional.batch_norm:
            call = dict(zip(_NAMES, args, strict=False)) | given
            if call.get("training", False):
                return _normalised(self.ranks, call)
        return func(*args, **given)


#: Of `torch.nn.functional.batch_norm`, in order, with the defaults of those that may be left out.
_NAMES = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
_MOMENTUM, _EPSILON = 0.1, 1e-5
_HALVES = (torch.bfloat16, torch.float16)


def scripted(module: nn.Module) -> str:
    """The path of a layer in TorchScript that keeps running statistics; "" where there is none."""
    for path, layer in module.named_modules():
        if isinstance(layer, torch.jit.ScriptModule) and hasattr(layer, "running_mean"):
            return path or type(layer).__name__
    return ""


def check_shared(module: nn.Module) -> None:
    """Raises `UsageError` where each of several processes would normalise by its own rows."""
    path = scripted(module) if present().several else ""
    if path:
        raise UsageError(
            f"'{path}' is TorchScript, whose batch statistics processes cannot share", "leave out --processes"
        )


def _normalised(ranks: Ranks, call: Mapping[str, Any]) -> Tensor:
    given, momentum = call["input"], call.get("momentum", _MOMENTUM)
    mean, var, count = _statistics(ranks, given.detach())
    if call.get("running_mean") is not None:
        with torch.no_grad():
            call["running_mean"].lerp_(mean.to(call["running_mean"]), momentum)
            unbiased = var * (count / max(1, count - 1))
            call["running_var"].lerp_(unbiased.to(call["running_var"]), momentum)
    found: Tensor = _Normalise.apply(
        given, call.get("weight"), call.get("bias"), (ranks, mean, var, count, call.get("eps", _EPSILON))
    )
    return found


def _statistics(ranks: Ranks, given: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean (C,) and variance (C,) over the rows and places (N, C, ...) of all processes, and how many; of
    half precision in float32, as PyTorch's own are.

    One sum of all: each process's n, n mean and n (var + mean**2) of its own rows. In float64 the difference
    that gives the variance back loses nothing of a float32.
    """
    wide = given.float() if given.dtype in _HALVES else given
    own = torch.tensor([given.numel() // given.shape[1]], dtype=torch.float64, device=given.device)
    mean, var = (part.double() for part in torch.batch_norm_update_stats(wide, None, None, 0.0))
    sums = ranks.summed(torch.cat([own * mean, own * (var + mean.square()), own]))
    count = sums[-1]
    mean, square = (sums[:-1] / count).chunk(2)
    return mean.to(wide.dtype), (square - mean.square()).clamp_min_(0).to(wide.dtype), int(count)


def _by_channel(numbers: Tensor, given: Tensor) -> Tensor:
    """One for each channel, (C,), as it goes with inputs (N, C, ...)."""
    return numbers.view(1, -1, *[1] * (given.dim() - 2))


class _Normalise(torch.autograd.Function):
    """Given statistics that count as functions of the inputs."""

    @staticmethod
    def forward(
        ctx: Any, given: Tensor, weight: Tensor | None, bias: Tensor | None, known: tuple[Any, ...]
    ) -> Tensor:
        ranks, mean, var, count, epsilon = known
        ctx.save_for_backward(given, weight, mean, var)
        ctx.known = ranks, count, epsilon, bias is not None
        return torch.batch_norm(given, weight, bias, mean, var, False, 0.0, epsilon, False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        given, weight, mean, var = ctx.saved_tensors
        ranks, count, epsilon, biased = ctx.known
        led = gradients[0].contiguous()
        _, own_weight, own_bias = torch.ops.aten.native_batch_norm_backward(
            led, given, weight, mean, var, None, None, False, epsilon, [False, True, True]
        )
        sums = ranks.summed(torch.cat([own_bias, own_weight]).double()).to(mean.dtype)
        first, second = sums.chunk(2)  # S1, S2
        slope = (var + epsilon).rsqrt()
        scale = slope if weight is None else slope * weight
        steep = -scale * slope * second / count
        flat = -scale * first / count - steep * mean
        found = torch.addcmul(_by_channel(flat, given), given.to(mean.dtype), _by_channel(steep, given))
        found.addcmul_(led.to(mean.dtype), _by_channel(scale, given))
        return (
            found.to(given.dtype),
            None if weight is None else own_weight,
            own_bias if biased else None,
            None,
        )
