"""What a model file holds, for ``qtrain inspect``: read on the meta device, nothing run, no tensor read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from qtrain_cli.errors import BadInput, QtrainError, Refused, first_line
from qtrain_cli.models import formats
from qtrain_cli.models.entries import find_entries, tensors_of
from qtrain_cli.models.folders import folder_tensors, read_config, weight_files
from qtrain_cli.models.graphs import find_problems
from qtrain_cli.models.pickles import foreign_globals, is_module, read_inert, read_weights_only
from qtrain_cli.models.reading import refusing_surprises
from qtrain_cli.models.tensors import header_tensors
from qtrain_cli.models.untrusted.sizes import open_archive, require_within_file
from qtrain_cli.models.untrusted.stand_ins import StockRecord
from qtrain_cli.models.untrusted.stock_layers import rebuild_module
from qtrain_cli.models.untrusted.versions import require_audited


def describe_model(path: Path) -> dict[str, Any]:
    """Plain data about the file.

    Keys: `file`, `bytes`, `format`; `needs_arch` and `needs_trust` (what a load would ask for, None where
    it cannot be told without running the file); `reasons` (why trust is needed: foreign names in a pickle,
    suspect parts of a graph); `entries`: for each set of weights its `path` (as ``--weights`` takes it),
    `tensors` (`name`, `shape`, `dtype`), `tensor_count` and `numbers` (elements, tied tensors once a name).

    Raises:
        BadInput: missing, damaged or of no known format.
        Refused: a zip bomb.
    """
    with refusing_surprises(path):
        form = formats.detect_format(path)
        describe = {formats.SAFETENSORS: _safetensors, formats.PT2: _graph, formats.FOLDER: _folder}
        files = weight_files(path) if form == formats.FOLDER else [path]
        size = sum(file.stat().st_size for file in files)
        return {"file": path.name, "bytes": size, "format": form, **describe.get(form, _other)(path, form)}


def _safetensors(path: Path, form: str) -> dict[str, Any]:
    return _facts(True, [], {"": _rows(header_tensors(path))})


def _folder(path: Path, form: str) -> dict[str, Any]:
    return _facts("auto_map" in read_config(path), [], {"": _rows(folder_tensors(path))})


def _graph(path: Path, form: str) -> dict[str, Any]:
    problems = [*_unaudited(path), *find_problems(path)]
    reader = open_archive(path, path.name, path.stat().st_size)
    config = json.loads(reader.get_record("data/weights/model_weights_config.json"))["config"]
    try:
        rows = [_graph_row(name, meta["tensor_meta"]) for name, meta in config.items()]
        return _facts(False, problems, {"": rows})
    except (LookupError, TypeError, AttributeError) as error:
        raise BadInput(f"'{path.name}' describes its tensors wrongly: {first_line(error)}") from None


def _unaudited(path: Path) -> list[str]:
    try:
        require_audited(f"the .pt2 archive '{path.name}'")
    except Refused as error:
        return [error.message]
    return []


def _other(path: Path, form: str) -> dict[str, Any]:
    if form in (formats.PT2_LEGACY, formats.TORCHSCRIPT):
        return _facts(False, [f"the format {form}"], {})
    foreign = foreign_globals(path, form)
    entries = find_entries(read_inert(path, form), is_module)
    reasons = list(foreign) or ([] if entries else _why_nothing(path, form))
    contents: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        try:
            tensors = _tensors(entry.value)
            require_within_file(tensors, path)
            contents[entry.path] = _rows(tensors)
        except QtrainError as error:
            reasons.append(error.message)
    needs_arch = not any(isinstance(entry.value, StockRecord) for entry in entries) if entries else None
    return _facts(needs_arch, reasons, contents)


def _why_nothing(path: Path, form: str) -> list[str]:
    """Why a file of safe names shows no weights; nothing, where it holds none."""
    try:
        read_weights_only(path, form, "meta")
    except QtrainError as error:
        return [error.message]
    return []


def _tensors(value: Any) -> dict[str, Tensor]:
    return tensors_of(rebuild_module(value).state_dict() if isinstance(value, StockRecord) else value)


def _facts(
    needs_arch: bool | None, reasons: list[str], contents: Mapping[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    return {
        "needs_arch": needs_arch,
        "needs_trust": bool(reasons),
        "reasons": reasons,
        "entries": [
            {
                "path": entry,
                "tensor_count": len(rows),
                "numbers": sum(math.prod(row["shape"]) for row in rows),
                "tensors": rows,
            }
            for entry, rows in contents.items()
        ],
    }


def _rows(tensors: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    return [
        {"name": name, "shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
        for name, tensor in tensors.items()
    ]


def _graph_row(name: str, meta: Mapping[str, Any]) -> dict[str, Any]:
    from torch._export.serde.serialize import deserialize_scalar_type

    dtype = str(deserialize_scalar_type(meta["dtype"])).removeprefix("torch.")
    return {"name": name, "shape": [size.get("as_int") for size in meta["sizes"]], "dtype": dtype}
