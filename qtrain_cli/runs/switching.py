"""Fine-tunes on and off one loaded base: a server holds a base once, and as many of these as it likes.

    base --apply_to--> fine-tune --remove_from--> base, bit for bit

Only tensors that differ are copied, and only they are compared before, so that it takes milliseconds; that
the base is the right one as a whole was seen when the file was opened.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.models.heads import has_head, put_head, take_head
from qtrain_cli.targets.change import HEAD_WEIGHT, matrix_of
from qtrain_cli.targets.entries import LayoutSpec
from qtrain_cli.targets.ground import Ground


class Switch:
    """The tensors of one fine-tune that are not the base's.

    Args:
        ground: the base that the file belongs to.
        layout: the file's.
        state: the whole fine-tune, on the CPU.
    """

    def __init__(self, ground: Ground, layout: LayoutSpec, state: Mapping[str, Tensor]) -> None:
        names = [matrix_of(entry.name) for entry in layout.entries]
        self.ground, self.changed = ground, {name: state[name].clone() for name in names}
        # Its own copies: the base in memory may be another fine-tune in a moment.
        old = [name for name in names if name not in ground.new]
        self.before = {name: ground.tensors[name].clone() for name in old}
        self.applied: weakref.WeakKeyDictionary[nn.Module, dict[str, Tensor]] = weakref.WeakKeyDictionary()

    def apply_to(self, module: nn.Module) -> nn.Module:
        """As `api.LoadedArtifact.apply_to`."""
        if module in self.applied:
            raise UsageError("the artifact is applied to this module already", "remove it first")
        own, change = self._own(module), self.ground.change
        for name, expected in self.before.items():
            if name not in own or not _same(own[name], expected):
                raise BadInput(
                    f"'{name}' of the module is not that of the base '{change.base.name}'",
                    "give the base itself; remove another fine-tune first",
                )
        if change.head and not has_head(module):
            classes, width = self.changed[HEAD_WEIGHT].shape
            put_head(module, width, classes, change.head)
            own = self._own(module)
        missing = [name for name in self.changed if name not in own]
        if missing:
            raise BadInput(
                f"the module has no tensor '{missing[0]}'", "give a module of the fine-tune's class"
            )
        self.applied[module] = {name: own[name].detach().clone() for name in self.changed}
        _copy(own, self.changed)
        return module

    def remove_from(self, module: nn.Module) -> nn.Module:
        """As `api.LoadedArtifact.remove_from`."""
        before = self.applied.pop(module, None)
        if before is None:
            raise UsageError("the artifact is not applied to this module", "apply_to(module) comes first")
        _copy(self._own(module), before)
        if self.ground.change.head and has_head(module):
            take_head(module)
        return module

    def _own(self, module: nn.Module) -> dict[str, Tensor]:
        """The module's tensors by the names of the file's model."""
        own = dict(module.state_dict(keep_vars=True))
        prefix = self.ground.change.prefix
        return own if not prefix or any(name in own for name in self.before) else _prefixed(own, prefix)


def _prefixed(own: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in own.items()}


def _same(own: Tensor, expected: Tensor) -> bool:
    if own.shape != expected.shape or own.dtype != expected.dtype:
        return False
    return torch.equal(own.detach(), expected.to(own.device))


def _copy(own: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in values.items():
            own[name].copy_(tensor)
