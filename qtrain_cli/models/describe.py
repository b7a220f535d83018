"""What a model file holds, for ``qtrain inspect``: read on the meta device, nothing run, no tensor read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from qtrain_cli.errors import BadInput, QtrainError, Refused, first_line
from qtrain_cli.models import formats
from qtrain_cli.models.entries import find_entries, tensors_of
from qtrain_cli.models.folder_files import open_folder
from qtrain_cli.models.graphs import find_problems
from qtrain_cli.models.opened import ModelFile, nothing_unexpected, open_model
from qtrain_cli.models.peft_folder import described_adapter
from qtrain_cli.models.pickles import is_module, read_outline
from qtrain_cli.models.tensors import header_tensors
from qtrain_cli.models.untrusted.archives import json_in, read_records
from qtrain_cli.models.untrusted.sizes import require_within_file
from qtrain_cli.models.untrusted.stand_ins import StockRecord
from qtrain_cli.models.untrusted.stock_layers import rebuild_module
from qtrain_cli.models.untrusted.versions import require_audited


def describe_model(path: Path) -> dict[str, Any]:
    """Plain data about the file.

    Keys: `file`, `bytes`, `format`; `needs_arch` and `needs_trust` (what a load would ask for, None where
    it cannot be told without running the file); `reasons` (why trust is needed: foreign names in a pickle,
    suspect parts of a graph); `entries`: for each set of weights its `path` (as ``--weights`` takes it),
    `tensors` (`name`, `shape`, `dtype`), `tensor_count` and `numbers` (elements, tied tensors once a name).
    Of a PEFT adapter's folder also `base`, as its configuration names it.

    Raises:
        BadInput: missing, damaged or of no known format.
        Refused: a zip bomb.
    """
    if formats.is_adapter_folder(path):
        return _adapter(path)
    if formats.is_model_folder(path):
        return _folder(path)
    with open_model(path) as file, nothing_unexpected(path.name):
        form = formats.file_format(file)
        describe = {formats.SAFETENSORS: _safetensors, formats.PT2: _graph}.get(form, _other)
        return {"file": path.name, "bytes": file.size, "format": form, **describe(file, form)}


def _safetensors(file: ModelFile, form: str) -> dict[str, Any]:
    return _facts(True, [], {"": _rows(header_tensors(file))})


def _folder(path: Path) -> dict[str, Any]:
    with nothing_unexpected(path.name), open_folder(path) as folder:
        facts = _facts("auto_map" in folder.config, [], {"": _rows(folder.tensors("meta"))})
        return {"file": path.name, "bytes": folder.size, "format": formats.FOLDER, **facts}


def _adapter(path: Path) -> dict[str, Any]:
    with nothing_unexpected(path.name):
        size, base, tensors = described_adapter(path)
        facts = _facts(False, [], {"": _rows(tensors)})
        return {"file": path.name, "bytes": size, "format": formats.ADAPTER, "base": base, **facts}


def _graph(file: ModelFile, form: str) -> dict[str, Any]:
    records = read_records(file)
    problems = [*_unaudited(file.path), *find_problems(file, records)]
    try:
        config = json_in(records["data/weights/model_weights_config.json"])["config"]
        rows = [_graph_row(name, meta["tensor_meta"]) for name, meta in config.items()]
        return _facts(False, problems, {"": rows})
    except (LookupError, TypeError, AttributeError) as error:
        raise BadInput(
            f"'{file.name}' describes its tensors wrongly: {first_line(error)}",
            "export it again, or copy or download it again",
        ) from None


def _unaudited(path: Path) -> list[str]:
    try:
        require_audited(f"the .pt2 archive '{path.name}'")
    except Refused as error:
        return [error.message]
    return []


def _other(file: ModelFile, form: str) -> dict[str, Any]:
    if form in (formats.PT2_LEGACY, formats.TORCHSCRIPT):
        return _facts(False, [f"the format {form}"], {})
    outline = read_outline(file, form)
    if isinstance(outline.problem, BadInput) and not outline.foreign:
        raise outline.problem
    entries = find_entries(outline.tree, is_module)
    reasons = [*outline.foreign, *([outline.problem.message] if outline.problem else [])]
    contents: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        try:
            tensors = _tensors(entry.value)
            require_within_file(tensors, file.size)
            contents[entry.path] = _rows(tensors)
        except QtrainError as error:
            reasons.append(error.message)
    needs_arch = not any(isinstance(entry.value, StockRecord) for entry in entries) if entries else None
    return _facts(needs_arch, reasons, contents)


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
