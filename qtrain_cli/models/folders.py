"""A Hugging Face folder: `config.json` beside weights in one file or in shards, built by `transformers`.

    model.safetensors | model.safetensors.index.json + shards | pytorch_model.bin | its index + shards

The class is one of `transformers`' own, named in the configuration; code that a folder brings (`auto_map`) is
never run, and pickled weights (``.bin``) are read as weights alone (`pickles`). A model of token numbers that
takes a mask is called with one: places that hold the configuration's padding number are not attended to.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qtrain_cli.errors import BadInput, QtrainError, Refused, UsageError, first_line, missing_package
from qtrain_cli.files.hashing import file_sha256
from qtrain_cli.files.json_file import read_object
from qtrain_cli.models import formats
from qtrain_cli.models.entries import choose_entry, tensors_of
from qtrain_cli.models.matching import fit_to_architecture
from qtrain_cli.models.opened import nothing_unexpected, open_model
from qtrain_cli.models.pickles import is_module, read_weights_only
from qtrain_cli.models.reading import ReadModel, said_left_out
from qtrain_cli.models.tensors import file_tensors, header_tensors
from qtrain_cli.models.untrusted.folder_checks import checked_config, require_size
from qtrain_cli.settings import ModelSettings

#: Where a folder has its weights, the preferred place first: one file, or the index of several.
PLACES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
#: Of an index, which has a line a tensor.
_MAX_INDEX = 64 * 2**20
_MOST_NAMES = 5  # in a message


def load_folder(settings: ModelSettings) -> ReadModel:
    """The folder's model with its weights, or the module of ``--arch`` with them.

    Raises:
        BadInput: no configuration or weights, damaged ones, or weights that are not all that the class needs;
            `transformers` is not installed.
        UsageError: ``--weights``.
        Refused: the class is code of the folder's own; pickled shards that want to run something.
    """
    if settings.weights is not None:
        raise UsageError(f"--weights has no use for the folder '{settings.path.name}', which is one model")
    files = weight_files(settings.path)
    trust = "safetensors" if files[0].suffix == ".safetensors" else "weights-only"
    if settings.arch is not None:
        outline = folder_tensors(settings.path)
        fitted = fit_to_architecture(settings, outline, lambda: _read_all(files))
        return ReadModel(fitted.module, trust, None, fitted.notes)
    module, surplus = _built(settings.path, model_config(settings.path), _read_all(files))
    return ReadModel(module, trust, None, said_left_out(surplus))


def folder_tensors(folder: Path) -> dict[str, Tensor]:
    """Names, shapes and dtypes of all shards, on the meta device. Raises `BadInput`, `Refused`."""
    found: dict[str, Tensor] = {}
    for file in weight_files(folder):
        found |= _shard(file, "meta")
    return found


def folder_sha256(folder: Path) -> str:
    """SHA-256 over the names and digests of the configuration and the weights."""
    files = sorted({folder / formats.CONFIG, *weight_files(folder)})
    lines = "".join(f"{file.name} {file_sha256(file)}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """The file, or the shards that the index names. Raises `BadInput` where one is not in the folder."""
    place = next((folder / name for name in PLACES if (folder / name).is_file()), None)
    if place is None:
        raise BadInput(f"the folder '{folder.name}' has no weights; allowed: {', '.join(PLACES)}")
    if place.suffix != ".json":
        return [place]
    named = read_object(place, _MAX_INDEX).get("weight_map")
    shards = sorted(set(map(str, named.values()))) if isinstance(named, dict) else []
    if not shards:
        raise BadInput(f"'{place.name}' names no shards", "copy or download the folder again")
    there = {path.name for path in folder.iterdir() if path.is_file()}
    absent = [shard for shard in shards if shard not in there]
    if absent:
        raise BadInput(
            f"'{place.name}' names shards that the folder lacks: {', '.join(absent[:_MOST_NAMES])}",
            "download the whole folder",
        )
    return [folder / shard for shard in shards]


def model_config(folder: Path) -> dict[str, Any]:
    """`config.json`. Raises `BadInput` for what is no JSON object."""
    return read_object(folder / formats.CONFIG)


def _read_all(files: list[Path]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= _shard(file, "cpu")
    return tensors


def _shard(path: Path, device: str) -> dict[str, Tensor]:
    with open_model(path) as file, nothing_unexpected(path.name):
        form = formats.file_format(file)
        if form == formats.SAFETENSORS:
            return file_tensors(file) if device == "cpu" else header_tensors(file)
        tree = read_weights_only(file, form, device)
    value = choose_entry(tree, None, is_module, path.name).value
    if not isinstance(value, dict):
        raise BadInput(f"'{path.name}' is no state dictionary", "copy or download the folder again")
    return tensors_of(value)


def _built(
    folder: Path, config: Mapping[str, Any], tensors: dict[str, Tensor]
) -> tuple[nn.Module, list[str]]:
    """The class of `transformers` that the configuration names, filled, and what it has no name for."""
    factory = _class_of(folder, config)
    try:
        made = factory.config_class.from_dict(checked_config(folder.name, config, tensors))
        require_size(folder.name, factory, made, tensors)
        module, report = factory.from_pretrained(
            None, config=made, state_dict=tensors, output_loading_info=True
        )
    except QtrainError:
        raise
    except Exception as error:
        raise BadInput(
            f"transformers cannot build '{folder.name}': {type(error).__name__}: {first_line(error)}"
        ) from error
    _require_complete(folder.name, factory.__name__, report)
    padding = getattr(made, "pad_token_id", None)
    if padding is not None and "attention_mask" in inspect.signature(module.forward).parameters:
        module.register_forward_pre_hook(_masking(padding), with_kwargs=True)
    return module, sorted(map(str, report["unexpected_keys"]))


def _class_of(folder: Path, config: Mapping[str, Any]) -> Any:
    try:
        import transformers
    except ImportError:
        raise missing_package(f"the folder '{folder.name}'", "transformers", "hf") from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named else None
    found = getattr(transformers, name, None) if isinstance(name, str) else None
    if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
        return found
    if "auto_map" in config:
        raise Refused(
            f"the folder '{folder.name}' brings its own code for {name}, which qtrain does not run",
            "name the class with --arch file.py:Class, if you trust it",
        )
    raise BadInput(
        f"'{folder.name}/{formats.CONFIG}' names {name!r:.80}, which transformers does not have",
        "name the class with --arch package.module:Class",
    )


def _require_complete(folder: str, name: str, report: Mapping[str, Any]) -> None:
    for what, key in (("lacks", "missing_keys"), ("has in another shape", "mismatched_keys")):
        names = sorted(str(one) for one in report[key])
        if names:
            raise BadInput(
                f"'{folder}' {what} {len(names)} tensors of {name}: {', '.join(names[:_MOST_NAMES])}",
                "give the folder of the trained model, head included",
            )


def _masking(padding: int) -> Any:
    def add_mask(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tokens = args[0] if args else kwargs.get("input_ids")
        if isinstance(tokens, Tensor) and tokens.dtype == torch.int64 and "attention_mask" not in kwargs:
            kwargs = {**kwargs, "attention_mask": (tokens != padding).long()}
        return args, kwargs

    return add_mask
