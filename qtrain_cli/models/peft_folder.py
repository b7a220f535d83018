"""A PEFT adapter folder on its base: LoRA factors merged into the base's matrices, without PEFT.

    W + (alpha / r) B A        adapter_config.json: lora_alpha, alpha_pattern, use_rslora, fan_in_fan_out
    modules_to_save            whole, in the place of the module's own

Nothing of the folder is run. Other kinds of adapters, and what this page does not know of LoRA (DoRA, several
adapters, trained biases), are refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from qtrain_cli.errors import BadInput, few_quoted
from qtrain_cli.files.json_file import object_in
from qtrain_cli.models.folder_files import shard_tensors
from qtrain_cli.models.folders import ForTask
from qtrain_cli.models.formats import ADAPTER_CONFIG, is_adapter_folder, is_model_folder
from qtrain_cli.models.opened import open_model
from qtrain_cli.models.reading import ReadModel
from qtrain_cli.settings import ModelSettings

#: Where an adapter has its tensors, and where an older one has: a pickle, which is read as tensors alone.
FACTORS, _OLDER = "adapter_model.safetensors", "adapter_model.bin"
#: Before the names of the model's own tensors, as PEFT saves them.
BEFORE = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"
#: In the names of modules that are saved whole, as some versions have it.
_SAVED = ".modules_to_save.default."
#: In PEFT a point stands for any letter; it costs nothing.
_PLAIN_KEY = re.compile(r"[\w.]+")
#: One of them lies where a tokenizer was saved.
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json")
_MOST_ADAPTER_CONFIG = 2**20
#: PEFT's kinds of tasks, and transformers' classes for them.
_TASKS = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
}
#: Options of LoRA that change what an adapter means, with the values at which they do not.
_PLAIN = {"use_dora": (False, None), "bias": ("none", None), "alora_invocation_tokens": (None,)}


@dataclass(frozen=True)
class _Adapter:
    """An adapter folder as it was read: configuration, tensors by the base's names, and its digest."""

    name: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    sha256: str

    @property
    def factored(self) -> list[str]:
        """The names of the matrices that factors change."""
        return [f"{name.removesuffix(_A)}.weight" for name in self.tensors if name.endswith(_A)]

    @property
    def brought(self) -> dict[str, Tensor]:
        """The tensors that come along whole."""
        return {name: part for name, part in self.tensors.items() if not name.endswith((_A, _B))}


class BaseReader(Protocol):
    """How a base is read: as its own class, or as that of a task, with the format and the digest of it."""

    def __call__(
        self, settings: ModelSettings, task: ForTask | None = None
    ) -> tuple[ReadModel, str, str]: ...


def read_adapted(settings: ModelSettings, base: Path | None, read: BaseReader) -> tuple[ReadModel, str, str]:
    """The base's module with the adapter merged into its weights, the base's format, and a digest of both.

    An adapter of a task's class (`task_type`) on a folder of a model without that task's head has that class
    of `transformers`, and brings the head.

    Args:
        settings: whose path is the adapter folder; everything else holds for the base.
        base: file or folder of the base; None, or the adapter itself: the one that its configuration names.
        read: for the base.

    Raises:
        BadInput: an adapter of another kind, a damaged one, or one of another model; its base is not here.
            As `read`.
        Refused: pickled tensors that want to run something.
    """
    adapter = _read(settings.path)
    place = _base_of(settings, base, adapter.config)
    if is_adapter_folder(place.path):
        raise BadInput(
            f"the base '{place.path.name}' of the adapter '{adapter.name}' is an adapter itself",
            "merge it with PEFT's merge_and_unload(), and give the merged model as the base",
        )
    found, form, sha256 = read(place)
    task = _task_of(adapter)
    if task and settings.arch is None and is_model_folder(place.path) and _lacks(found.module, adapter):
        found, form, sha256 = read(place, task)
    _merge(found.module, adapter)
    return found, form, hashlib.sha256(f"{sha256} {adapter.sha256}".encode()).hexdigest()


def with_tokenizer(model: ModelSettings, base: Path | None = None) -> ModelSettings:
    """The same, of an adapter folder where its tokenizer lies: in it, or with its base.

    Raises:
        BadInput: the base is not said, and what the configuration names is not here.
    """
    path = model.path
    if not is_adapter_folder(path) or any((path / name).is_file() for name in _TOKENIZERS):
        return model
    return _base_of(model, base, _configuration(path)[0])


def _base_of(settings: ModelSettings, base: Path | None, config: Mapping[str, Any]) -> ModelSettings:
    """The base that is said, or the one that the configuration names: trust in a file that was named by hand
    is none in that."""
    if base is not None and base != settings.path:
        return replace(settings, path=base)
    return replace(settings, path=_named_base(settings.path, config), trust_pickle=False)


def _named_base(folder: Path, config: Mapping[str, Any]) -> Path:
    """As the configuration names it: from the current folder, or beside the adapter. No other computer is
    asked for it, as a path of two slashes would do."""
    named = config.get("base_model_name_or_path")
    if not isinstance(named, str) or named.startswith(("//", "\\\\")):
        named = ""
    places = [Path(named), folder.parent / named] if named else []
    with contextlib.suppress(OSError, ValueError):  # a name that no file can have
        found = next(
            (place for place in places if place.exists() and place.resolve() != folder.resolve()), None
        )
        if found is not None and not is_adapter_folder(found):
            return found
    raise BadInput(
        f"the adapter '{folder.name}' is of the base {named!r:.80}, which is no model here",
        f"name the base's place with --base, or as base_model_name_or_path in its {ADAPTER_CONFIG}",
    )


def _task_of(adapter: _Adapter) -> ForTask | None:
    """The class that PEFT's kind of task stands for, of an adapter that brings tensors."""
    auto = _TASKS.get(str(adapter.config.get("task_type")))
    brought = {name: tuple(tensor.shape) for name, tensor in adapter.brought.items()}
    return ForTask(auto, brought) if auto and brought else None


def _lacks(module: nn.Module, adapter: _Adapter) -> bool:
    """Whether the module has no place for some of the adapter's factors or tensors."""
    own = {name: tensor.shape for name, tensor in module.named_parameters(remove_duplicate=False)}
    lacked = any(name not in own for name in adapter.factored)
    return lacked or any(own.get(name) != part.shape for name, part in adapter.brought.items())


def described_adapter(folder: Path) -> tuple[int, str, dict[str, Tensor]]:
    """Bytes of its tensors' file, the base that it names ("" for none), and the tensors on the meta device.

    Raises:
        BadInput: it cannot be read.
    """
    named = _configuration(folder)[0].get("base_model_name_or_path")
    with open_model(_factors_of(folder)) as file:
        return file.size, named if isinstance(named, str) else "", shard_tensors(file, "meta")


def _factors_of(folder: Path) -> Path:
    for name in (FACTORS, _OLDER):
        if (folder / name).is_file():
            return folder / name
    raise BadInput(
        f"the adapter '{folder.name}' has no {FACTORS} or {_OLDER}", "save it with PEFT's save_pretrained()"
    )


def _configuration(folder: Path) -> tuple[dict[str, Any], str]:
    """What it says, and its SHA-256."""
    with open_model(folder / ADAPTER_CONFIG) as file:
        if file.size > _MOST_ADAPTER_CONFIG:
            raise BadInput(
                f"'{folder.name}/{ADAPTER_CONFIG}' has {file.size} bytes", "it is no configuration"
            )
        return object_in(ADAPTER_CONFIG, file.start(file.size)), file.sha256()


def _read(folder: Path) -> _Adapter:
    config, first = _configuration(folder)
    with open_model(_factors_of(folder)) as file:
        tensors, second = shard_tensors(file, "cpu"), file.sha256()
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
    named = ((name.removeprefix(BEFORE).replace(_SAVED, "."), tensor) for name, tensor in tensors.items())
    own = dict(named)
    return _Adapter(folder.name, config, own, hashlib.sha256(f"{first} {second}".encode()).hexdigest())


def _merge(module: nn.Module, adapter: _Adapter) -> None:
    """In place. Raises `BadInput` for factors without their matrix, or of another shape."""
    own, left = dict(module.named_parameters(remove_duplicate=False)), dict(adapter.tensors)
    _require_apart(own, adapter)
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
            whole = own.get(name)
            if whole is None or whole.shape != tensor.shape:
                raise BadInput(
                    f"the adapter '{adapter.name}' has tensors that the base has no place for:"
                    f" {few_quoted(left)}",
                    "give the base with the task's head, or the merged model",
                )
            whole.copy_(tensor)


def _require_apart(own: Mapping[str, Tensor], adapter: _Adapter) -> None:
    """Raises `BadInput` where a tensor is changed that stands under a second name too: PEFT changes one."""
    for name in sorted({*adapter.factored, *adapter.brought} & own.keys()):
        others = [other for other, tensor in own.items() if tensor is own[name] and other != name]
        if others:
            raise BadInput(
                f"the adapter '{adapter.name}' changes '{name}', which is tied to '{others[0]}'",
                "merge it with PEFT's merge_and_unload(), and give the merged model",
            )


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
    """The value of the first pattern that a layer's path ends with, as PEFT chooses it. Raises `BadInput`
    for a regular expression, which a stranger may have made to take for ever."""
    for key, value in (patterns if isinstance(patterns, dict) else {}).items():
        if not _PLAIN_KEY.fullmatch(key):
            raise BadInput(
                f"an adapter has the alpha_pattern {key!r:.60}, a regular expression",
                "merge it with PEFT's merge_and_unload(), and give the merged model",
            )
        if re.fullmatch(rf"(.*\.)?{key}", layer):
            return value
    return usual


def _misfit(adapter: _Adapter, layer: str) -> BadInput:
    return BadInput(
        f"the adapter '{adapter.name}' changes '{layer}', which has another shape in the base",
        "give the base that it was trained on",
    )
