"""The archive of a graph, as records in memory: what was checked is what is written anew and loaded.

PyTorch's loader opens archives by itself and reads more than the graph: the sample inputs, which it unpickles
without any restriction when the restricted way fails, guards, libraries. So it never sees the user's file.
It gets an archive that is made here, of the records that were read once and checked, and of no others.
"""

from __future__ import annotations

import io
import json
from typing import Any

import torch

from qtrain_cli.models.opened import ModelFile
from qtrain_cli.models.untrusted.sizes import open_archive

PROGRAM = "models/model.json"
SAMPLE_INPUTS = "data/sample_inputs/model.pt"
#: Written by PyTorch's writer itself.
_OWN = ("version", "byteorder", ".data/version", ".data/serialization_id")


def read_records(file: ModelFile) -> dict[str, bytes]:
    """Every record by name; together they are not larger than the file. Raises as `open_archive`."""
    file.stream.seek(0)
    reader = open_archive(file.stream, file.name, file.size)
    return {name: reader.get_record(name) for name in reader.get_all_records()}


def clean_archive(records: dict[str, bytes]) -> io.BytesIO:
    """An archive of the same graph without its sample inputs and without extra files."""
    archive = io.BytesIO()
    writer: Any = torch._C.PyTorchFileWriter(archive)
    for name, record in {**records, SAMPLE_INPUTS: b""}.items():
        if name not in _OWN and not name.startswith("extra/"):
            writer.write_record(name, record, len(record))
    writer.write_end_of_file()
    archive.seek(0)
    return archive


def json_in(record: bytes) -> Any:
    """A JSON record. Raises `ValueError` also for NaN and infinities, which Python reads and JSON has not."""
    return json.loads(record, parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise ValueError(f"it holds the number {name}")
