"""Training checkpoints without pickle: one safetensors file that says which run it belongs to.

The file holds named tensors and, under one metadata key, a JSON document:

    {"format": "qtrain.checkpoint/1", "identity": {...}, "sha256": "...", "state": {...}}

`tensors` is all that is an array: parameters, optimiser moments, buffers, the best state, random states.
`state` is all that is not: epoch, step, history. Numbers in it keep every bit, and infinities and nan are
written as Python's `json` does. `identity` says what the run depends on, for example

    {"model": "<sha256>", "data": "<sha256>", "settings": {"epochs": 10, "seed": 0}, "versions": {...}}

and a checkpoint is given back only to a run of equal identity. `sha256` covers identity, state, and every
tensor's name, dtype, shape and bytes: safetensors itself notices a truncated file, but not a flipped bit.
Left out: anything that would have to be pickled, ties between tensors, and several checkpoints of one run.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from qtrain_cli.errors import BadInput, Refused
from qtrain_cli.files.atomic import write_bytes_atomically

CHECKPOINT_FORMAT = "qtrain.checkpoint/1"
METADATA_KEY = "qtrain.checkpoint"
START_AGAIN = "start again without --resume"

_ABSENT = object()
_STATES = ("random.torch", "random.python", "random.python.held", "random.numpy", "random.numpy.held")


@dataclass(frozen=True)
class Checkpoint:
    """All that continues a run: `tensors` of any shape and dtype, `state` and `identity` as plain JSON.

    Raises:
        TypeError: `state` or `identity` holds what JSON would not give back, as a tuple or a tensor.
    """

    tensors: dict[str, Tensor]
    state: dict[str, Any]
    identity: dict[str, Any]

    def __post_init__(self) -> None:
        _require_json(self.state, "state")
        _require_json(self.identity, "identity")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the identity, in hexadecimal: equal for runs that may continue each other."""
        return hashlib.sha256(_canonical(self.identity)).hexdigest()


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the file at `path` by `checkpoint`, whole or not at all. The same content gives the same bytes.

    Raises:
        BadInput, RunFailed: the file cannot be written.
    """
    # Own copies on the CPU: safetensors takes neither shared memory nor strides.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in checkpoint.tensors.items()
    }
    document = {
        "format": CHECKPOINT_FORMAT,
        "identity": checkpoint.identity,
        "sha256": _digest(checkpoint.identity, checkpoint.state, tensors),
        "state": checkpoint.state,
    }
    metadata = {METADATA_KEY: _canonical(document).decode()}
    write_bytes_atomically(path, safetensors.torch.save(tensors, metadata), force=True)


def load_checkpoint(path: Path, identity: Mapping[str, Any], apart: str = "") -> Checkpoint:
    """Read the checkpoint at `path` for the run that `identity` describes; tensors are on the CPU.

    `apart` names a member of the identity that the caller compares.

    Raises:
        BadInput: no such file, not a checkpoint, or one of another run; the message says what differs.
        Refused: the file is damaged.
    """
    tensors, text = _read(path)
    try:
        checkpoint = _verified(path, tensors, text)
    except RecursionError as error:
        raise _damaged(path, "its metadata is nested too deeply") from error
    there, here = ({k: v for k, v in one.items() if k != apart} for one in (checkpoint.identity, identity))
    differences = list(_differences(there, here))
    if differences:
        raise BadInput(
            f"the checkpoint '{path}' belongs to another run: {'; '.join(differences)}",
            f"resume with the model, data and settings it was made with, or {START_AGAIN}",
        )
    return checkpoint


def identity_in(path: Path) -> Mapping[str, Any]:
    """What the checkpoint at `path` says that its run depends on, unchecked; empty where it says nothing."""
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            document = json.loads((opened.metadata() or {}).get(METADATA_KEY, "{}"))
    except (OSError, ValueError, RecursionError, safetensors.SafetensorError):
        return {}
    found = document.get("identity") if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def random_states() -> dict[str, Tensor]:
    """The state of every generator a run may draw from, under names that start with ``random.``

    PyTorch's on the CPU and, once CUDA is in use, on each device (uint8); Python's (625 words) and NumPy's
    legacy one (624 words, position, flag), each as int64 with the normal number it holds back as float64.
    """
    version, words, held = random.getstate()
    numpy = np.random.get_state(legacy=False)
    states = {
        "random.torch": torch.get_rng_state(),
        "random.python": torch.tensor([version, *words]),
        "random.python.held": torch.tensor([] if held is None else [held], dtype=torch.float64),
        "random.numpy": torch.tensor(
            [*numpy["state"]["key"].tolist(), numpy["state"]["pos"], numpy["has_gauss"]]
        ),
        "random.numpy.held": torch.tensor([numpy["gauss"]], dtype=torch.float64),
    }
    if torch.cuda.is_initialized():
        cuda = enumerate(torch.cuda.get_rng_state_all())
        states.update({f"random.cuda.{device}": state for device, state in cuda})
    return states


def restore_random_states(tensors: Mapping[str, Tensor]) -> None:
    """Set every generator to what `random_states` returned; other names in `tensors` are passed over.

    Raises:
        BadInput: a state is missing, or belongs to a CUDA device that is not there.
    """
    missing = [name for name in _STATES if name not in tensors]
    if missing:
        raise BadInput(f"the checkpoint lacks the random states {', '.join(missing)}", START_AGAIN)
    torch.set_rng_state(tensors["random.torch"])
    version, *words = tensors["random.python"].tolist()
    held = tensors["random.python.held"].tolist()
    random.setstate((version, tuple(words), held[0] if held else None))
    *keys, position, has_held = tensors["random.numpy"].tolist()
    numpy_held = tensors["random.numpy.held"].item()
    np.random.set_state(("MT19937", np.array(keys, np.uint32), position, has_held, numpy_held))
    _restore_cuda(tensors)


def _restore_cuda(tensors: Mapping[str, Tensor]) -> None:
    for name, state in tensors.items():
        if name.startswith("random.cuda."):
            device = int(name.removeprefix("random.cuda."))
            if device >= torch.cuda.device_count():
                raise BadInput(
                    f"the checkpoint needs the CUDA device {device}; there are {torch.cuda.device_count()}",
                    f"resume on a machine like the one it was made on, or {START_AGAIN}",
                )
            torch.cuda.set_rng_state(state, device)


def _read(path: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors and the metadata text of a checkpoint file."""
    if not path.is_file():
        raise BadInput(f"there is no checkpoint '{path}'", START_AGAIN)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Cloned: what safetensors gives is a map of the file, and changes when the file does.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise _damaged(path, str(error)) from error
    if METADATA_KEY not in metadata:
        raise BadInput(f"'{path}' is a safetensors file, but not a checkpoint of qtrain", START_AGAIN)
    return tensors, metadata[METADATA_KEY]


def _verified(path: Path, tensors: dict[str, Tensor], text: str) -> Checkpoint:
    """The checkpoint of which `text` is the JSON document, once its SHA-256 is found right."""
    document = _parsed(path, text)
    checkpoint = Checkpoint(tensors, document["state"], document["identity"])
    if document["sha256"] != _digest(checkpoint.identity, checkpoint.state, tensors):
        raise _damaged(path, "its content does not have the SHA-256 that was written")
    return checkpoint


def _parsed(path: Path, text: str) -> dict[str, Any]:
    """The JSON document of a checkpoint, with its four members of the right kind."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise _damaged(path, f"its metadata is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise _damaged(path, "its metadata is not a JSON object")
    if document.get("format") != CHECKPOINT_FORMAT:
        raise BadInput(
            f"the checkpoint '{path}' has the format {document.get('format')!r}; "
            f"allowed: {CHECKPOINT_FORMAT!r}",
            f"resume with the version of qtrain that wrote it, or {START_AGAIN}",
        )
    kinds = {"format": str, "identity": dict, "sha256": str, "state": dict}
    if {key: type(value) for key, value in document.items()} != kinds:
        raise _damaged(path, f"its metadata does not hold exactly {', '.join(kinds)}")
    return document


def _damaged(path: Path, why: str) -> Refused:
    return Refused(f"the checkpoint '{path}' is damaged: {why}", f"delete it and {START_AGAIN}")


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(identity: object, state: object, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(_canonical([identity, state]))
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(_canonical([name, str(tensor.dtype), list(tensor.shape)]))
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _differences(there: object, here: object, name: str = "") -> Iterator[str]:
    """``name is A there and B here`` for every leaf in which two JSON values differ, in order of names."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in sorted(there.keys() | here.keys()):
            inner = f"{name}.{key}" if name else key
            yield from _differences(there.get(key, _ABSENT), here.get(key, _ABSENT), inner)
    elif _shown(there) != _shown(here):
        yield f"{name} is {_shown(there, short=True)} there and {_shown(here, short=True)} here"


def _shown(value: object, *, short: bool = False) -> str:
    """A JSON value as text; with `short`, a SHA-256 by its first 12 digits."""
    if value is _ABSENT:
        return "absent"
    if short and isinstance(value, str) and len(value) == 64:
        return f"{value[:12]}..."
    return json.dumps(value, sort_keys=True)


def _require_json(value: object, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                raise TypeError(f"{where} has the key {key!r}; JSON keys are strings")
            _require_json(item, f"{where}.{key}")
    elif isinstance(value, list):
        for item in value:
            _require_json(item, f"{where}[]")
    elif value is not None and type(value) not in (bool, int, float, str):
        raise TypeError(f"{where} is a {type(value).__name__}, which JSON does not give back")
