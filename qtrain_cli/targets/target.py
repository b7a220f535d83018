"""What the tensors of a method become: the model's weights themselves now, differences or factors later.

    tensors(module, targets, ignore)    the layout: which tensors a method makes, which are kept or tied
    bind(layout, base, made)            the state dictionary: what was made in its place, and the base's

`base` are the tensors that are there already, by name: those that are stored, or a base model's. A new target
is one file with these two functions and one row of `TARGETS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from qtrain_cli.targets import layout as layouts
from qtrain_cli.targets.entries import LayoutSpec

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Target:
    """One row of the table of targets."""

    name: str
    tensors: Callable[[nn.Module, Sequence[str], Sequence[str]], LayoutSpec]
    bind: Callable[[LayoutSpec, State, State], dict[str, Tensor]]


def _whole(layout: LayoutSpec, base: State, made: State) -> dict[str, Tensor]:
    return layouts.complete(layout, made, base)


#: Today's only one: every selected weight itself.
WHOLE = "whole"
TARGETS: dict[str, Target] = {row.name: row for row in (Target(WHOLE, layouts.layout_of, _whole),)}
