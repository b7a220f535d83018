"""What kind of model file this is, decided by its bytes and never by its ending.

    safetensors    8 bytes of header length, then `{`
    torch          a zip archive with a `data.pkl` record: `torch.save` since PyTorch 1.6
    torch-legacy   pickles one after the other, the first of them a magic number: `torch.save` before 1.6
    pt2            a zip archive with an `archive_format` record: `torch.export.save`
    pt2-legacy     the archive that `torch.export.save` wrote up to PyTorch 2.7; its tensors are pickles
    torchscript    a zip archive with a `code/` folder: `torch.jit.save`
    pickle         any other pickle
    hf-folder      a folder with a `config.json`, as Hugging Face models are kept
    peft-adapter   a folder with an `adapter_config.json`, and no whole model: what PEFT adds to one

Zip archives are opened by `untrusted.sizes`: with PyTorch's own reader, which loads them later.
"""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path
from typing import Any

from qtrain_cli.errors import BadInput
from qtrain_cli.models import foreign
from qtrain_cli.models.opened import ModelFile, open_model
from qtrain_cli.models.untrusted.sizes import open_archive

SAFETENSORS, TORCH, TORCH_LEGACY = "safetensors", "torch", "torch-legacy"
PT2, PT2_LEGACY, TORCHSCRIPT, PICKLE = "pt2", "pt2-legacy", "torchscript", "pickle"
FOLDER, ADAPTER = "hf-folder", "peft-adapter"
CONFIG, ADAPTER_CONFIG = "config.json", "adapter_config.json"
#: Where a folder has its weights, the preferred place first: one file, or the index of several.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # torch.serialization.MAGIC_NUMBER
_ZIP_START, _PICKLE_START = b"PK", b"\x80"
_ALLOWED = ".pt, .pth, .th, .bin, .safetensors or .pt2"
_HEADER_LIMIT = 100_000_000  # the safetensors format's own limit for its header


def detect_format(path: Path) -> str:
    """The format of the file or folder at a path. Raises as `file_format` and `open_model`."""
    if is_adapter_folder(path):
        return ADAPTER
    if is_model_folder(path):
        return FOLDER
    with open_model(path) as file:
        return file_format(file)


def is_model_folder(path: Path) -> bool:
    """Whether this is a folder with a model's configuration."""
    return (path / CONFIG).is_file()


def is_adapter_folder(path: Path) -> bool:
    """Whether this is the folder of a PEFT adapter; one that holds a whole model too is that model's."""
    whole = is_model_folder(path) and any((path / name).is_file() for name in WEIGHTS)
    return (path / ADAPTER_CONFIG).is_file() and not whole


def file_format(file: ModelFile) -> str:
    """The file's format, one of this module's names.

    Raises:
        BadInput: an empty file, or bytes of no known format.
        Refused: an archive whose records are larger than the file.
    """
    start = file.start(64)
    if not start:
        raise BadInput(f"'{file.path}' is empty", "copy or download it again")
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= _HEADER_LIMIT:
        return SAFETENSORS  # first, because a header's length may begin like the others
    if start.startswith(_ZIP_START):
        return _archive_format(file)
    if start.startswith(_PICKLE_START):
        return TORCH_LEGACY if _first_number(file) == _LEGACY_MAGIC else PICKLE
    unknown = f"not a model file: it starts with {start[:8]!r}", f"give a {_ALLOWED} file"
    raise _no_model(file, foreign.foreign_file(file.path, start) or unknown)


def _first_number(file: ModelFile) -> Any:
    """The number a pickle consists of, if it is nothing but one. Nothing is unpickled."""
    try:
        opcodes = [(opcode.name, value) for opcode, value, _ in pickletools.genops(file.start(32))]
    except Exception:  # the rest of a pickle that is no number, cut off
        return None
    return opcodes[1][1] if len(opcodes) == 3 else None


def _archive_format(file: ModelFile) -> str:
    names = _zip_names(file)
    if "serialized_exported_program.json" in names:
        return PT2_LEGACY
    # PyTorch's reader opens nothing without a root folder
    rootless = bool(names) and not all("/" in name for name in names)
    records = [] if rootless else open_archive(file.stream, file.name, file.size).get_all_records()
    if "archive_format" in records:
        return PT2
    if any(record.startswith("code/") for record in records):
        return TORCHSCRIPT
    if "data.pkl" in records:
        return TORCH
    unknown = "a zip archive that neither torch.save nor torch.export.save wrote", "give a file of theirs"
    raise _no_model(file, foreign.foreign_archive(names) or unknown)


def _no_model(file: ModelFile, named: foreign.Told) -> BadInput:
    return BadInput(f"'{file.name}' is {named[0]}", named[1])


def _zip_names(file: ModelFile) -> list[str]:
    try:
        with zipfile.ZipFile(file.stream) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return []
