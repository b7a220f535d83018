"""Reading what `torch.save` wrote, without running what it says to run.

A pickle is a program. Three ways to read it, from safe to unsafe:

    weights-only     PyTorch's restricted unpickler: tensors, containers, numbers. Nothing else is called.
    stock-layers     the same, with inert stand-ins for PyTorch's own layers (see `untrusted.stand_ins`).
    trusted-pickle   Python's unpickler, which runs whatever the file names: only with ``--trust-pickle``.

What a pickle may name is decided in `untrusted`; here it is only read.
"""

from __future__ import annotations

import pickle
import pickletools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
from torch import nn

from qtrain_cli.errors import BadInput, Refused, first_line
from qtrain_cli.models import formats
from qtrain_cli.models.architecture import importable_from
from qtrain_cli.models.foreign import pickled
from qtrain_cli.models.untrusted.pickled_names import foreign_names
from qtrain_cli.models.untrusted.sizes import open_archive
from qtrain_cli.models.untrusted.stand_ins import ALLOWED, StockRecord, inert

_TRUST_ADVICE = (
    "if you trust where the file comes from, add --trust-pickle; better ask for a state dictionary"
)


def read_weights_only(path: Path, form: str, device: str) -> Any:
    """What the file holds, with `StockRecord` for stock layers; `device` "meta" reads no tensor.

    Raises:
        Refused: it names or does something outside the safe subset; the foreign names are listed.
        BadInput: damaged, or a tensor that is larger than the file.
    """
    foreign = foreign_globals(path, form)
    named = pickled(foreign)
    if named:
        raise Refused(f"'{path.name}' holds {named[0]}", f"{named[1]}; or {_TRUST_ADVICE}")
    if foreign or form == formats.PICKLE:
        raise Refused(
            f"'{path.name}' is a pickle that wants to run {', '.join(foreign) or 'code'}", _TRUST_ADVICE
        )
    try:
        return _restricted_load(path, device, ALLOWED)
    except pickle.UnpicklingError as error:
        raise Refused(
            f"'{path.name}' is outside the safe subset of pickle: {_reason(error)}", _TRUST_ADVICE
        ) from None
    except Exception as error:
        raise _damaged(path, error) from None


def read_inert(path: Path, form: str) -> Any:
    """The file's structure on the meta device with every foreign name inert, or None if even that fails."""
    foreign = [(inert(name), name) for name in foreign_globals(path, form)]
    try:
        return _restricted_load(path, "meta", [*ALLOWED, *foreign])
    except Exception:  # such a file cannot be looked into without running it
        return None


def read_trusted(path: Path, form: str) -> Any:
    """What the file holds, by running it. Only for files the user vouched for. Raises `BadInput`."""
    try:
        with importable_from(Path.cwd()), path.open("rb") as file:
            if form == formats.PICKLE:
                return pickle.load(file)
            return torch.load(file, map_location="cpu", weights_only=False)
    except Exception as error:
        raise BadInput(
            f"'{path.name}' cannot be unpickled: {type(error).__name__}: {first_line(error)}",
            "run qtrain where the model's own code can be imported",
        ) from error


def is_module(value: Any) -> bool:
    """A module, or the stand-in of one."""
    return isinstance(value, (nn.Module, StockRecord))


def foreign_globals(path: Path, form: str) -> list[str]:
    """Names in the pickle beyond tensors, containers and stock layers, sorted. Runs nothing.

    Raises:
        BadInput: the pickle breaks off or is none.
    """
    try:
        with path.open("rb") as file:
            return foreign_names(_opcodes(file, path, form))
    except Exception as error:
        raise _damaged(path, error) from None


def _restricted_load(path: Path, device: str, allowed: list[Any]) -> Any:
    with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
        warnings.simplefilter("ignore")  # odd pickle protocols: either they load or they do not
        return torch.load(path, map_location=device, weights_only=True)


def _opcodes(file: IO[bytes], path: Path, form: str) -> Iterator[tuple[Any, Any, Any]]:
    """Opcodes of the file's pickles: one in a zip archive, five in a row in the legacy format."""
    if form == formats.TORCH:
        reader = open_archive(path, path.name, path.stat().st_size)
        yield from pickletools.genops(reader.get_record("data.pkl"))
        return
    for _ in range(5 if form == formats.TORCH_LEGACY else 1):
        yield from pickletools.genops(file)


def _reason(error: BaseException) -> str:
    """PyTorch's message without its advice on how to allow more."""
    text = str(error).split("WeightsUnpickler error: ")[-1]
    return first_line(ValueError(text)).split(". Please use")[0][:200]


def _damaged(path: Path, error: BaseException) -> BadInput:
    if isinstance(error, NotImplementedError) and "quantized" in str(error):
        return BadInput(
            f"'{path.name}' holds quantised tensors, of which nothing can be trained; allowed: plain numbers",
            "save the model as it was before, or each tensor as tensor.dequantize()",
        )
    return BadInput(
        f"'{path.name}' is damaged or cut off: {type(error).__name__}: {first_line(error)}",
        "copy or download it again",
    )
