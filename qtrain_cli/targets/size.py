"""How large a model is: its tensors, each once, floats as float32, as one safetensors file. No torch."""

from __future__ import annotations

import json

from qtrain_cli.targets.entries import DTYPE_BYTES, FLOAT_DTYPES, TIED, LayoutSpec, TensorEntry

#: The order in which safetensors writes dtypes; offsets, and so the digits of the header, follow from it.
_WRITTEN = ("I64", "F32", "I32", "I16", "I8", "U8", "BOOL")


def model_bytes(layout: LayoutSpec) -> int:
    """Size in bytes of the float32 safetensors file that holds the same tensors (tied ones once)."""
    table: dict[str, dict[str, object]] = {}
    end = 0
    own = [(_float32(entry), entry) for entry in layout.entries if entry.role != TIED]
    for dtype, entry in sorted(own, key=lambda pair: (_WRITTEN.index(pair[0]), pair[1].name)):
        first, end = end, end + entry.count * DTYPE_BYTES[dtype]
        table[entry.name] = {"dtype": dtype, "shape": list(entry.shape), "data_offsets": [first, end]}
    header = len(json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode())
    return 8 + -(-header // 8) * 8 + end


def _float32(entry: TensorEntry) -> str:
    return "F32" if entry.dtype in FLOAT_DTYPES else entry.dtype
