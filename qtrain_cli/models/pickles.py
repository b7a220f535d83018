"""Reads what `torch.save` wrote, without running what it says to run.

A pickle is a program. Three ways to read it, from safe to unsafe:

    weights-only     interpreted by `untrusted.unpickling`: tensors, containers, numbers. Nothing is called.
    stock-layers     the same, with PyTorch's own layers made of their stand-ins afterwards.
    trusted-pickle   Python's unpickler, which runs whatever the file names: only with ``--trust-pickle``.

What a pickle may name and do is decided in `untrusted`; here it is only read.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qtrain_cli.errors import BadInput, QtrainError, Refused, first_few, first_line
from qtrain_cli.models import formats
from qtrain_cli.models.architecture import importable_from
from qtrain_cli.models.foreign import pickled
from qtrain_cli.models.opened import Clipped, ModelFile
from qtrain_cli.models.untrusted.pickled_calls import meaning_of
from qtrain_cli.models.untrusted.sizes import open_archive
from qtrain_cli.models.untrusted.stand_ins import StockRecord
from qtrain_cli.models.untrusted.storages import Storages
from qtrain_cli.models.untrusted.unpickling import Machine, Outside

_SHOWN_NAMES = 4
_TRUST_ADVICE = (
    "if you trust where the file comes from, add --trust-pickle; better ask for a state dictionary"
)


@dataclass(frozen=True)
class Outline:
    """What a pickle holds, on the meta device and with stand-ins; or why it cannot be looked into.

    `foreign` are the names in it beyond tensors, containers and stock layers, sorted.
    """

    tree: Any
    foreign: list[str]
    problem: QtrainError | None


def read_weights_only(file: ModelFile, form: str, device: str) -> Any:
    """What the file holds, with `StockRecord` for stock layers; `device` "meta" reads no tensor.

    Raises:
        Refused: it names or does something outside the safe subset; the message lists the foreign names.
        BadInput: damaged.
    """
    outline = read_outline(file, form, device)
    if not outline.foreign and isinstance(outline.problem, BadInput):
        raise outline.problem
    named = pickled(outline.foreign)
    if named:
        raise Refused(f"'{file.name}' holds {named[0]}", f"{named[1]}; or {_TRUST_ADVICE}")
    if outline.foreign or form == formats.PICKLE:
        names = first_few([name[:80] for name in outline.foreign], _SHOWN_NAMES) or "code"
        raise Refused(f"'{file.name}' is a pickle that wants to run {names}", _TRUST_ADVICE)
    if outline.problem is not None:
        raise outline.problem
    return outline.tree


def read_outline(file: ModelFile, form: str, device: str = "meta") -> Outline:
    """The file's structure, whatever it names; nothing of it is run."""
    archive = None if form != formats.TORCH else open_archive(file.stream, file.name, file.size)
    storages = Storages(archive, file.size, device)
    machine = Machine(meaning_of, storages.storage)
    tree: Any = None
    problem: QtrainError | None = None
    try:
        tree = _read(file, form, machine, storages)
        machine.require_small(tree)
    except Outside as error:
        tree = None
        problem = Refused(f"'{file.name}' is outside the safe subset of pickle: {error}", _TRUST_ADVICE)
    except Exception as error:
        problem = _damaged(file, error)
    return Outline(tree, sorted(machine.foreign), problem)


def read_trusted(file: ModelFile, form: str) -> Any:
    """What the file holds, by running it. Only for files the user vouched for. Raises `BadInput`."""
    file.stream.seek(0)
    try:
        with importable_from(Path.cwd()):
            if form == formats.PICKLE:
                return pickle.load(file.stream)
            return torch.load(file.stream, map_location="cpu", weights_only=False)
    except Exception as error:
        raise BadInput(
            f"'{file.name}' cannot be unpickled: {type(error).__name__}: {first_line(error)}",
            "run qtrain where the model's own code can be imported",
        ) from error


def is_module(value: Any) -> bool:
    """A module, or the stand-in of one."""
    return isinstance(value, (nn.Module, StockRecord))


def _read(file: ModelFile, form: str, machine: Machine, storages: Storages) -> Any:
    """The one pickle of a zip archive; the fourth of five in the legacy format, with storages behind them."""
    if form == formats.TORCH:
        archive = storages.archive
        if archive.has_record("byteorder") and archive.get_record("byteorder") != b"little":
            raise ValueError("it was written on a machine with another order of bytes")
        return machine.read(io.BytesIO(archive.get_record("data.pkl")))
    stream = Clipped(file)
    file.stream.seek(0)
    if form == formats.PICKLE:
        return machine.read(stream)
    for _ in range(3):  # a magic number, a version, facts about the machine
        machine.read(stream)
    tree = machine.read(stream)
    storages.fill(file, machine.read(stream))
    return tree


def _damaged(file: ModelFile, error: BaseException) -> BadInput:
    return BadInput(
        f"'{file.name}' is damaged or cut off: {type(error).__name__}: {first_line(error)}",
        "copy or download it again",
    )
