"""A PEFT adapter folder on its base: LoRA factors merged into the base's matrices, without PEFT.

    W + (alpha / r) B A        adapter_config.json: lora_alpha, alpha_pattern, use_rslora, fan_in_fan_out
    modules_to_save            whole, in the place of the module's own

Nothing of the folder is run. Other kinds of adapters, and what this page does not know of LoRA (DoRA, several
adapters, trained biases), are refused.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qtrain_cli.errors import BadInput, few_quoted
from qtrain_cli.files.json_file import object_in
from qtrain_cli.models import LoadedModel, load_model
from qtrain_cli.models.opened import open_model
from qtrain_cli.models.tensors import file_tensors
from qtrain_cli.settings import ModelSettings

CONFIGURATION, FACTORS = "adapter_config.json", "adapter_model.safetensors"
#: Before the names of the model's own tensors, as PEFT saves them.
BEFORE = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"
_MOST_CONFIGURATION = 2**20
#: Options of LoRA that change what an adapter means, with the values at which they do not.
_PLAIN = {"use_dora": (False, None), "bias": ("none", None), "alora_invocation_tokens": (None,)}


@dataclass(frozen=True)
class _Adapter:
    """An adapter folder as it was read: configuration, tensors by the base's names, and its digest."""

    name: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    sha256: str


def is_adapter_folder(path: Path) -> bool:
    """Whether this is one, whatever is in it."""
    return (path / CONFIGURATION).is_file()


def load_adapted(settings: ModelSettings, base: Path) -> LoadedModel:
    """The base's module with the adapter merged into its weights.

    Args:
        settings: whose path is the adapter folder; everything else holds for the base.
        base: file or folder of the base.

    Raises:
        BadInput: an adapter of another kind, a damaged one, or one of another model. As `load_model`.
    """
    adapter = _read(settings.path)
    loaded = load_model(replace(settings, path=base))
    _merge(loaded.module, adapter)
    sha256 = hashlib.sha256(f"{loaded.sha256} {adapter.sha256}".encode()).hexdigest()
    return replace(loaded, name=adapter.name, sha256=sha256)


def _read(folder: Path) -> _Adapter:
    with open_model(folder / CONFIGURATION) as file:
        if file.size > _MOST_CONFIGURATION:
            raise BadInput(f"'{folder.name}/{CONFIGURATION}' has {file.size} bytes", "it is no configuration")
        config, first = object_in(CONFIGURATION, file.start(file.size)), file.sha256()
    if not (folder / FACTORS).is_file():
        raise BadInput(
            f"the adapter '{folder.name}' has no {FACTORS}", "save it with PEFT's safe_serialization=True"
        )
    with open_model(folder / FACTORS) as file:
        tensors, second = file_tensors(file), file.sha256()
    if config.get("peft_type") != "LORA":
        raise BadInput(
            f"the adapter '{folder.name}' is of the kind {config.get('peft_type')!r:.40}; allowed: LORA",
            "merge it with PEFT's merge_and_unload(), and give the merged model",
        )
    for option, plain in _PLAIN.items():
        if config.get(option) not in plain:
            raise BadInput(
                f"the adapter '{folder.name}' has {option}={config[option]!r:.40}, which is not merged here",
                "merge it with PEFT's merge_and_unload(), and give the merged model",
            )
    own = {name.removeprefix(BEFORE): tensor for name, tensor in tensors.items()}
    return _Adapter(folder.name, config, own, hashlib.sha256(f"{first} {second}".encode()).hexdigest())


def _merge(module: nn.Module, adapter: _Adapter) -> None:
    """In place. Raises `BadInput` for factors without their matrix, or of another shape."""
    own, left = dict(module.named_parameters()), dict(adapter.tensors)
    with torch.no_grad():
        for name in [name for name in adapter.tensors if name.endswith(_A)]:
            layer = name.removesuffix(_A)
            a, b = left.pop(name), left.pop(layer + _B, None)
            weight = own.get(f"{layer}.weight")
            if b is None or weight is None:
                raise BadInput(
                    f"the adapter '{adapter.name}' changes '{layer}', which the base does not have",
                    "give the base that it was trained on",
                )
            moved = _scale_of(adapter.config, layer, a.shape[0]) * _product(b, a, adapter.config)
            if moved.numel() != weight.numel():
                raise _misfit(adapter, layer)
            weight.add_(moved.reshape(weight.shape).to(weight.dtype))
        for name, tensor in left.items():
            whole = own.get(name.replace(".modules_to_save.default.", "."))
            if whole is None or whole.shape != tensor.shape:
                raise BadInput(
                    f"the adapter '{adapter.name}' has tensors that the base has no place for:"
                    f" {few_quoted(left)}",
                    "give the base with the task's head, or the merged model",
                )
            whole.copy_(tensor)


def _product(b: Tensor, a: Tensor, config: Mapping[str, Any]) -> Tensor:
    """B A in float32; of convolutions (out, r, 1, 1) and (r, in, k, k) too."""
    if a.dim() > 2:
        return b.float().flatten(1) @ a.float().flatten(1)
    found = b.float() @ a.float()
    return found.T if config.get("fan_in_fan_out") else found


def _scale_of(config: Mapping[str, Any], layer: str, rank: int) -> float:
    alpha = _of_layer(config.get("alpha_pattern"), layer, config.get("lora_alpha"))
    if not isinstance(alpha, (int, float)) or isinstance(alpha, bool) or not math.isfinite(alpha) or rank < 1:
        raise BadInput(
            f"an adapter has the alpha {alpha!r:.40} at rank {rank}",
            "set a finite lora_alpha and a rank of 1 or more in adapter_config.json",
        )
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _of_layer(patterns: Any, layer: str, usual: Any) -> Any:
    """The value of the pattern that a layer's path ends with, as PEFT chooses it."""
    named = patterns if isinstance(patterns, dict) else {}
    found = [value for key, value in named.items() if layer == key or layer.endswith(f".{key}")]
    return found[0] if found else usual


def _misfit(adapter: _Adapter, layer: str) -> BadInput:
    return BadInput(
        f"the adapter '{adapter.name}' changes '{layer}', which has another shape in the base",
        "give the base that it was trained on",
    )
