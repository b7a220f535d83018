"""Reading what `torch.save` wrote, without running what it says to run.

A pickle is a program. Three ways to read it, from safe to unsafe:

    weights-only     PyTorch's restricted unpickler: tensors, containers, numbers. Nothing else is called.
    stock-layers     the same, with inert stand-ins for PyTorch's own layers (see `stock_layers`).
    trusted-pickle   Python's unpickler, which runs whatever the file names: only with ``--trust-pickle``.

Names that a pickle wants are read off its opcodes for the message. That list informs and decides nothing:
what is allowed is decided by the restricted unpickler, which knows no other names than its own.
"""

from __future__ import annotations

import pickle
import pickletools
import warnings
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn
from torch._weights_only_unpickler import _get_allowed_globals

from qtrain_cli.errors import BadInput, Refused
from qtrain_cli.models import formats
from qtrain_cli.models.architecture import importable_from
from qtrain_cli.models.formats import first_line
from qtrain_cli.models.stock_layers import STAND_INS, StockRecord, inert

#: What training scripts keep beside the weights. Read as inert objects, so nothing of it is ever run.
SIDE_NOTES = (
    "argparse.Namespace",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.dtypes.Float32DType",
    "numpy.dtypes.Float64DType",
    "numpy.dtypes.Int64DType",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
)
_ALLOWED = [*STAND_INS, *((inert(name), name) for name in SIDE_NOTES)]
_ALLOWED_NAMES = frozenset(name for _, name in _ALLOWED)
#: PyTorch allows it; called with one number, it fills that many bytes of memory.
_MEMORY_FILLING = frozenset({"builtins.bytearray"})
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
    if foreign or form == formats.PICKLE:
        raise Refused(
            f"'{path.name}' is a pickle that wants to run {', '.join(foreign) or 'code'}", _TRUST_ADVICE
        )
    try:
        return _restricted_load(path, device, _ALLOWED)
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
        return _restricted_load(path, "meta", [*_ALLOWED, *foreign])
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
            names = set(_globals_of(_opcodes(file, path, form)))
    except Exception as error:
        raise _damaged(path, error) from None
    safe = _ALLOWED_NAMES | set(_get_allowed_globals()) - _MEMORY_FILLING
    return sorted(names - safe)


def require_within_file(tensors: Mapping[str, Tensor], path: Path) -> None:
    """A few bytes may claim to be a huge tensor (all strides 0), which fills the memory when it is copied.

    Raises:
        Refused: a tensor with more bytes than the whole file.
    """
    size = path.stat().st_size
    for name, tensor in tensors.items():
        if tensor.numel() * tensor.element_size() > size:
            raise Refused(
                f"tensor '{name}' has the shape {list(tensor.shape)}, more than the {size} bytes of the file",
                "do not use this file: it is damaged or hostile",
            )


def _restricted_load(path: Path, device: str, allowed: list[Any]) -> Any:
    with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
        warnings.simplefilter("ignore")  # odd pickle protocols: either they load or they do not
        return torch.load(path, map_location=device, weights_only=True)


def _opcodes(file: IO[bytes], path: Path, form: str) -> Iterator[tuple[Any, Any, Any]]:
    """Opcodes of the file's pickles: one in a zip archive, five in a row in the legacy format."""
    if form == formats.TORCH:
        reader = formats.open_archive(path, path.name, path.stat().st_size)
        yield from pickletools.genops(reader.get_record("data.pkl"))
        return
    for _ in range(5 if form == formats.TORCH_LEGACY else 1):
        yield from pickletools.genops(file)


def _globals_of(opcodes: Iterator[tuple[Any, Any, Any]]) -> Iterator[str]:
    """Names of the opcodes that look something up. STACK_GLOBAL takes the two strings read last."""
    strings: list[str] = []
    memo: dict[Any, str] = {}
    for opcode, value, _ in opcodes:
        if opcode.name in ("GLOBAL", "INST"):
            yield _dotted(*value.split(" ", 1))
        elif opcode.name == "STACK_GLOBAL":
            yield _dotted(*(strings[-2:] if len(strings) > 1 else ("?", "?")))
        elif isinstance(value, str):
            strings.append(value)
        elif "PUT" in opcode.name or opcode.name == "MEMOIZE":
            memo[len(memo) if value is None else value] = strings[-1] if strings else "?"
        elif "GET" in opcode.name:
            strings.append(memo.get(value, "?"))


def _dotted(module: str, name: str) -> str:
    return f"{IMPORT_MAPPING.get(module, module)}.{name}"


def _reason(error: BaseException) -> str:
    """PyTorch's message without its advice on how to allow more."""
    text = str(error).split("WeightsUnpickler error: ")[-1]
    return first_line(ValueError(text)).split(". Please use")[0][:200]


def _damaged(path: Path, error: BaseException) -> BadInput:
    return BadInput(
        f"'{path.name}' is damaged or cut off: {type(error).__name__}: {first_line(error)}",
        "copy or download it again",
    )
