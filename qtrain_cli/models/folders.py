"""A Hugging Face folder: `config.json` beside weights in one file or in shards, built by `transformers`.

The class is one of `transformers`' own, named in the configuration; code that a folder brings (`auto_map`) is
never run, and pickled weights (``.bin``) are read as weights alone (`pickles`). A model of token numbers that
takes a mask is called with one: places that hold the configuration's padding number are not attended to.

timm's folders, whose configuration says `architecture` and `pretrained_cfg`, are built by timm, as by
``--arch timm:NAME``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qtrain_cli.errors import (
    BadInput,
    QtrainError,
    Refused,
    UsageError,
    first_few,
    first_line,
    missing_package,
)
from qtrain_cli.models import formats
from qtrain_cli.models.folder_files import ModelFolder
from qtrain_cli.models.matching import fit_to_architecture
from qtrain_cli.models.reading import ReadModel, said_left_out
from qtrain_cli.models.untrusted.folder_checks import checked_config, require_size
from qtrain_cli.settings import ModelSettings

#: In a message.
_MOST_NAMES = 5
#: Of labels, with which a class is built to see what follows from them.
_TWO_NUMBERS = (3, 5)
_TIMM_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?")
_TIMM_SIZES, _MOST_SIZE = ("num_classes", "in_chans", "img_size"), 2**20


@dataclass(frozen=True)
class ForTask:
    """A class of `transformers` for a task, in place of the one that a folder names.

    `auto` is the table of such classes, and `brought` are shapes by name of tensors that somebody else
    brings: the folder may lack them, or have others of these names.
    """

    auto: str
    brought: Mapping[str, tuple[int, ...]]


def load_folder(settings: ModelSettings, folder: ModelFolder, task: ForTask | None = None) -> ReadModel:
    """The folder's model with its weights, or the module of ``--arch`` with them; or a task's on its weights.

    Raises:
        BadInput: damaged weights, or ones that are not all that the class needs; `transformers` is not
            installed.
        UsageError: ``--weights``.
        Refused: the class is code of the folder's own; pickled shards that want to run something.
    """
    if settings.weights is not None:
        raise UsageError(
            f"--weights has no use for the folder '{settings.path.name}', which is one model",
            "leave out --weights",
        )
    trust = "safetensors" if folder.weights[0].path.suffix == ".safetensors" else "weights-only"
    named = settings if settings.arch else _of_timm(settings, folder.config)
    if named is not None:
        fitted = fit_to_architecture(named, folder.tensors("meta"), lambda: folder.tensors("cpu"))
        said = () if settings.arch else (f"{formats.CONFIG} names {named.arch}",)
        return ReadModel(fitted.module, trust, None, (*said, *fitted.notes))
    module, surplus = _built(folder, task)
    return ReadModel(module, trust, None, (*said_left_out(surplus), *_said_of_adapter(settings.path)))


def _said_of_adapter(path: Path) -> tuple[str, ...]:
    beside = (path / formats.ADAPTER_CONFIG).is_file()
    return ("the PEFT adapter in the same folder is left out",) if beside else ()


def _of_timm(settings: ModelSettings, config: Mapping[str, Any]) -> ModelSettings | None:
    """The same with the architecture that a folder of timm's names, if it is one. Of its arguments those
    that say how large and wide it is: others can name files, which are no part of a model."""
    name, given = config.get("architecture"), config.get("model_args")
    if not isinstance(name, str) or not _TIMM_NAME.fullmatch(name) or "pretrained_cfg" not in config:
        return None
    sizes = {"num_classes": config.get("num_classes"), **(given if isinstance(given, dict) else {})}
    chosen = {key: value for key, value in sizes.items() if key in _TIMM_SIZES and _is_size(value)}
    return replace(settings, arch=f"timm:{name}", arch_args=chosen)


def _is_size(value: Any) -> bool:
    sizes = value if isinstance(value, list) else [value]
    return len(sizes) <= 2 and all(type(size) is int and 0 <= size <= _MOST_SIZE for size in sizes)


def _built(folder: ModelFolder, task: ForTask | None) -> tuple[nn.Module, list[str]]:
    """The class of `transformers` that the configuration names, or a task's, filled, and what it has no name
    for."""
    tensors, brought = folder.tensors("cpu"), task.brought if task else {}
    tensors = {name: tensor for name, tensor in tensors.items() if name not in brought}
    factory = _class_of(folder.name, folder.config)
    try:
        made = factory.config_class.from_dict(checked_config(folder.name, folder.config, tensors))
        if task:
            factory = _class_for(task, made)
            made.num_labels = _labels(factory, made, brought)
        require_size(folder.name, factory, made, tensors)
        module, report = factory.from_pretrained(
            None, config=made, state_dict=tensors, output_loading_info=True
        )
    except QtrainError:
        raise
    except Exception as error:
        raise BadInput(
            f"transformers cannot build '{folder.name}': {type(error).__name__}: {first_line(error)}",
            "update transformers, or name the model's class with --arch",
        ) from error
    _require_complete(folder.name, factory.__name__, report, brought.keys())
    padding = getattr(made, "pad_token_id", None)
    if padding is not None and "attention_mask" in inspect.signature(module.forward).parameters:
        module.register_forward_pre_hook(_masking(padding), with_kwargs=True)
    return module, sorted(map(str, report["unexpected_keys"]))


def _class_of(folder: str, config: Mapping[str, Any]) -> Any:
    try:
        import transformers
    except ImportError:
        raise missing_package(f"the folder '{folder}'", "transformers", "hf") from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named else None
    found = getattr(transformers, name, None) if isinstance(name, str) else None
    if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
        return found
    if "auto_map" in config:
        raise Refused(
            f"the folder '{folder}' brings its own code for {name}, which qtrain does not run",
            "name the class with --arch file.py:Class, if you trust it",
        )
    raise BadInput(
        f"'{folder}/{formats.CONFIG}' names {name!r:.80}, which transformers does not have",
        "name the class with --arch package.module:Class",
    )


def _class_for(task: ForTask, config: Any) -> Any:
    """Of the task, for a configuration of this kind."""
    import transformers

    table = getattr(transformers, task.auto)._model_mapping
    if type(config) not in table:
        raise BadInput(
            f"transformers has no {task.auto} of {type(config).__name__}",
            "give the merged model: merge_and_unload() of PEFT",
        )
    return table[type(config)]


def _labels(factory: Any, config: Any, brought: Mapping[str, tuple[int, ...]]) -> int:
    """How many outputs a class has whose tensors have these shapes, by which of them follow from that number;
    the configuration's own where none does."""
    own, shapes = config.num_labels, []
    for labels in _TWO_NUMBERS:
        config.num_labels = labels
        with torch.device("meta"):
            shapes.append({name: tuple(part.shape) for name, part in factory(config).state_dict().items()})
    sizes = {
        brought[name][axis]
        for name in brought.keys() & shapes[0].keys()
        for axis, pair in enumerate(zip(shapes[0][name], shapes[1][name], strict=True))
        if pair == _TWO_NUMBERS and axis < len(brought[name])
    }
    return sizes.pop() if len(sizes) == 1 else int(own)


def _require_complete(folder: str, name: str, report: Mapping[str, Any], brought: Set[str]) -> None:
    for what, key in (("lacks", "missing_keys"), ("has in another shape", "mismatched_keys")):
        names = sorted(str(one) for one in report[key] if one not in brought)
        if names:
            raise BadInput(
                f"'{folder}' {what} {len(names)} tensors of {name}: {first_few(names, _MOST_NAMES)}",
                "give the folder of the trained model, head included",
            )


def _masking(padding: int) -> Any:
    def add_mask(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tokens = args[0] if args else kwargs.get("input_ids")
        if isinstance(tokens, Tensor) and tokens.dtype == torch.int64 and "attention_mask" not in kwargs:
            kwargs = {**kwargs, "attention_mask": (tokens != padding).long()}
        return args, kwargs

    return add_mask
