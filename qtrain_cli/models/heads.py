"""A linear head on a model of features, for a base that has none for the task.

    features (N, L, d) --mean over the places that are not padding, or the first--> (N, d)
             --by the root of its mean square--> --head.weight (k, d), no bias--> scores (N, k)

The head is a part of the module, under the name `HEAD`, so that its tensors stand beside the base's own in
the state dictionary, which keep their names. It starts at zero: whoever learns it begins at the base.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from qtrain_cli.models.outputs import first_tensor
from qtrain_cli.targets.change import FIRST_PLACE, HEAD, MEAN_PLACE

_POOLING = "1_Pooling/config.json"
_TINY = 1e-6
#: On the hook of a head.
_MARK = "is_head"


def put_head(module: nn.Module, width: int, classes: int, pooling: str) -> nn.Module:
    """The module, returning scores (N, classes) from now on; with a head of zeros."""
    device = next(module.parameters()).device
    head = nn.Linear(width, classes, bias=False, device=device)
    nn.init.zeros_(head.weight)
    module.add_module(HEAD, head)
    module.register_forward_hook(_scores_of(pooling), with_kwargs=True)
    return module.eval()


def take_head(module: nn.Module) -> None:
    """The inverse of `put_head`."""
    del module._modules[HEAD]
    for number in [number for number, hook in module._forward_hooks.items() if hasattr(hook, _MARK)]:
        del module._forward_hooks[number]
        module._forward_hooks_with_kwargs.pop(number, None)


def has_head(module: nn.Module) -> bool:
    """Whether `put_head` was here."""
    return any(hasattr(hook, _MARK) for hook in module._forward_hooks.values())


def pooling_of(folder: Path) -> str:
    """How a sentence-transformers folder reads features; the mean where it does not say."""
    try:
        said = json.loads((folder / _POOLING).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return MEAN_PLACE
    return (
        FIRST_PLACE if isinstance(said, dict) and said.get("pooling_mode_cls_token") is True else MEAN_PLACE
    )


def _scores_of(pooling: str) -> Any:
    def scores(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> Tensor:
        features = _pooled(first_tensor(outputs), kwargs.get("attention_mask"), pooling)
        features = features.float() if features.dtype == torch.float16 else features  # its squares overflow
        scaled = features * (features.square().mean(1, keepdim=True) + _TINY).rsqrt()
        head = module.get_submodule(HEAD)
        found: Tensor = head(scaled.to(cast(Tensor, head.weight).dtype))  # of a base in half precision
        return found

    setattr(scores, _MARK, True)
    return scores


def _pooled(features: Tensor, mask: Tensor | None, pooling: str) -> Tensor:
    """(N, L, d), or (N, d) as it is, or pictures (N, d, ...) -> (N, d)."""
    if features.dim() == 2:
        return features
    if features.dim() > 3:
        return features.flatten(2).mean(2)
    if pooling == FIRST_PLACE:
        return features[:, 0]
    if mask is None:
        return features.mean(1)
    weights = mask.to(features).unsqueeze(2)
    return (features * weights).sum(1) / weights.sum(1).clamp(min=1)
