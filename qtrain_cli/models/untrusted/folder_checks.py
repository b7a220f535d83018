"""What a Hugging Face folder's configuration may ask `transformers` for: a model as large as its weights.

A configuration of a few lines can name ten million layers or labels, each of which is made before a tensor is
compared; and some keys have kernels fetched and run that no one has looked at. So before anything is built:

    layers, labels    no more than 1,000 or there are tensors; than there are numbers in them
    values            no more than a configuration of tens of thousands of labels has
    kernels           what picks an implementation is left out: the library's own choice counts
    size              counted on the meta device, which costs nothing

Left out: how long a model that is as large as it says takes to run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from qtrain_cli.errors import BadInput, Refused
from qtrain_cli.files.json_file import COPY_AGAIN

#: Layers may share their tensors, as ALBERT's do.
_SHARED = 1000
_LAYERS = re.compile(r"layers?$|^n_layer|depths?$|blocks?$|stages?$")
_LABELS = re.compile(r"^(num|n)_(labels|classes)$")
_KERNELS = re.compile(r"^_?(attn|experts)_implementation|^use_kernels$|^auto_map$")
#: Tensors that are tied, or of numbers that no file keeps, count again; small models have more of those.
_MOST_TIMES, _MOST_BESIDE = 4, 10_000_000


def checked_config(folder: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The configuration without what picks kernels.

    Raises:
        Refused: the weights are quantised. BadInput: more layers or labels than the weights can be of.
    """
    if config.get("quantization_config") is not None:
        raise Refused(
            f"the weights of '{folder}' are quantised, which qtrain does not read",
            "load the model with its own library, dequantise it, and save it again",
        )
    numbers = sum(tensor.numel() for tensor in tensors.values())
    for key, count in _counts(config):
        most = max(len(tensors), _SHARED) if _LAYERS.search(key) else numbers
        if count > most:
            raise BadInput(
                f"'{folder}' has {key}={count}; its weights have {len(tensors)} tensors of {numbers} numbers",
                COPY_AGAIN,
            )
    return _without_kernels(config)


def require_size(folder: str, factory: Any, config: Any, tensors: Mapping[str, Tensor]) -> None:
    """Raises `BadInput` for a class that is far larger than the weights: what they lack would be made up."""
    with torch.device("meta"):
        module = factory(config)
    due = sum(tensor.numel() for tensor in (*module.parameters(), *module.buffers()))
    numbers = sum(tensor.numel() for tensor in tensors.values())
    if due > _MOST_TIMES * numbers + _MOST_BESIDE:
        raise BadInput(
            f"'{folder}' names a {factory.__name__} of {due:,} numbers, and its weights have {numbers:,}",
            "give the folder of the trained model, head included",
        )


def values_in(document: Any) -> int:
    """How many values a JSON document has, those in its lists and objects included."""
    inside = document.values() if isinstance(document, dict) else document
    return 1 + sum(map(values_in, inside)) if isinstance(document, (dict, list)) else 1


def _counts(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The numbers of layers and labels, those of the parts of a model too."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _counts(value)
        elif _LAYERS.search(key) or _LABELS.search(key):
            listed = value if isinstance(value, list) else [value]
            yield from ((key, number) for number in listed if type(number) is int)


def _without_kernels(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_kernels(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if not _KERNELS.search(key)
    }
