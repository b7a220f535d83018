"""The layout of a model for a run: its tensors, what becomes of each, and how the kept ones lie in a file."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from qtrain_cli.errors import few_quoted
from qtrain_cli.models import build_architecture
from qtrain_cli.settings import ModelSettings
from qtrain_cli.targets.entries import LayoutSpec, kept_in_words
from qtrain_cli.targets.kept import settled
from qtrain_cli.targets.layout import layout_of


def layout_for(
    module: nn.Module, patterns: tuple[tuple[str, ...], ...], model: ModelSettings | None
) -> LayoutSpec:
    """The layout that a run of this model works with.

    Args:
        module: the model with its own tensors.
        patterns: `--targets` and `--ignore`.
        model: whose `--arch`, where there is one, gives a new module to recognise tensors by.

    Raises:
        UsageError, BadInput: as `targets.layout.layout_of`, and as the architecture.
    """

    def fresh() -> Mapping[str, Tensor]:
        if model is None or model.arch is None:
            return {}
        one, other = (build_architecture(model.arch, model.arch_args, seed).state_dict() for seed in (0, 1))
        # What depends on the draw (masks of pruned initial weights) is not every module's.
        return {name: tensor for name, tensor in one.items() if _equal(tensor, other.get(name))}

    layout = layout_of(module, *patterns)
    return settled(layout, module.state_dict(keep_vars=True), fresh)


def _equal(one: object, other: object) -> bool:
    return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)


def said_of_kept(layout: LayoutSpec) -> list[str]:
    """A line for each way in which tensors are kept that are not simply stored."""
    by_way: dict[str, list[str]] = {}
    for name, way in kept_in_words(layout).items():
        by_way.setdefault(way, []).append(name)
    lines = [f"kept ({way}): {few_quoted(names)}" for way, names in by_way.items()]
    needs = (
        [f"export, verify and load will need --arch for {few_quoted(layout.given)}"] if layout.given else []
    )
    return lines + needs
