"""Optimizers that start without PyTorch's compiler.

PyTorch marks an optimizer's steps and bookkeeping as nothing to compile, and imports its compiler for the
marks: a second of each start. Nothing here is compiled, so the functions below the marks do as well.
"""

from __future__ import annotations

import inspect

import torch


class Uncompiled(torch.optim.Optimizer):
    """The bookkeeping, unmarked: comes before the optimizer that it is for among the base classes."""

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)


class Adam(Uncompiled, torch.optim.Adam):
    """`torch.optim.Adam`."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
