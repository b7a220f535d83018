"""How large a model is: its tensors, each once, floats as float32, as one safetensors file. No torch."""

from __future__ import annotations

import json

from qtrain_cli.targets.entries import DTYPE_BYTES, FLOAT_DTYPES, TIED, LayoutSpec, TensorEntry

#: The order in which safetensors writes dtypes; offsets, and so the digits of the header, follow from it.
_WRITTEN = ("I64", "F32", "I32", "I16", "I8", "U8", "BOOL")


#: A tensor of a file: dtype, name, shape, count.
_Row = tuple[str, str, list[int], int]


def model_bytes(layout: LayoutSpec) -> int:
    """Size in bytes of the float32 safetensors file that holds the same tensors (tied ones once)."""
    return _file_bytes([_row(_float32(entry), entry) for entry in _own(layout)])


def int8_bytes(layout: LayoutSpec) -> int:
    """The same with a byte a number, and a float32 scale beside each tensor of floats."""
    rows: list[_Row] = []
    for entry in _own(layout):
        floats = entry.dtype in FLOAT_DTYPES
        rows.append(_row("I8" if floats else entry.dtype, entry))
        rows += [("F32", f"{entry.name}.scale", [1], 1)] if floats else []
    return _file_bytes(rows)


def _own(layout: LayoutSpec) -> list[TensorEntry]:
    return [entry for entry in layout.entries if entry.role != TIED]


def _row(dtype: str, entry: TensorEntry) -> _Row:
    return dtype, entry.name, list(entry.shape), entry.count


def _file_bytes(rows: list[_Row]) -> int:
    """Of a safetensors file with these tensors."""
    table: dict[str, dict[str, object]] = {}
    end = 0
    for dtype, name, shape, count in sorted(rows, key=lambda row: (_WRITTEN.index(row[0]), row[1])):
        first, end = end, end + count * DTYPE_BYTES[dtype]
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [first, end]}
    header = len(json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode())
    return 8 + -(-header // 8) * 8 + end


def _float32(entry: TensorEntry) -> str:
    return "F32" if entry.dtype in FLOAT_DTYPES else entry.dtype
