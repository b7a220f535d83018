"""The architecture that a user names for weights without one."""

from collections import OrderedDict

from torch import nn


def network() -> nn.Sequential:
    """(N, 4) -> (N, 2), as `hostile.make_models.network`."""
    return nn.Sequential(OrderedDict(first=nn.Linear(4, 8), act=nn.ReLU(), last=nn.Linear(8, 2)))
