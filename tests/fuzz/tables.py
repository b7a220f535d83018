"""Mutations of text, of Parquet files, and of images (see `shapes`)."""

from __future__ import annotations

import io
import json
import re
import struct
import zlib
from random import Random
from typing import Any

from fuzz.shapes import Raw
from fuzz.words import CHUNKS, WORDS


def words(data: bytes, rng: Random, raw: Raw) -> bytes:
    """Text with a word put in or in place of another, or with a piece of it many times."""
    spots = [match.span() for match in re.finditer(rb"[\w.-]+|[^\w\s]|\n", data)] or [(0, 0)]
    start, end = rng.choice(spots)
    kind = rng.randrange(5)
    if kind == 0:
        return data[:start] + data[start:end] * rng.choice((2, 5, 200)) + data[end:]
    if kind == 1:
        first, last = rng.choice(spots)
        return data[:start] + data[first : min(last + 40, len(data))] + data[end:]
    return data[:start] + rng.choice(WORDS) + data[end if kind < 4 else start :]


def parquet(data: bytes, rng: Random, raw: Raw) -> bytes:
    """The footer or the pages of a Parquet file, its length and marks right; or an odd table."""
    size = int.from_bytes(data[-8:-4], "little")
    if rng.random() < 0.3:
        return _odd_table(rng)
    if data[:4] != b"PAR1" or size + 12 > len(data):
        return raw(data)
    pages, footer = data[4 : -8 - size], data[-8 - size : -8]
    pages, footer = (pages, raw(footer)) if rng.random() < 0.7 else (raw(pages), footer)
    return b"PAR1" + pages + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def arrow(data: bytes, rng: Random, raw: Raw) -> bytes:
    """A stream of Arrow with other bytes anywhere, in a number of its headers; or an odd table."""
    if rng.random() < 0.3:
        return _odd_table(rng, stream=True)
    marks = [match.start() for match in re.finditer(rb"\xff\xff\xff\xff", data)]
    if not marks or rng.random() < 0.5:
        return raw(data)
    place = rng.choice(marks) + 4 * rng.randrange(1, 24)
    number = rng.choice((0, 1, 2, 3, 8, 2**15, 2**31 - 1, 2**32 - 1)).to_bytes(4, "little")
    return data[:place] + number + data[place + 4 :]


def _odd_table(rng: Random, stream: bool = False) -> bytes:
    """A table of a few columns of any type, under names that mean something."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    count, columns = rng.choice((0, 1, 3, 3, 3)), dict[str, Any]()
    kinds = (
        pa.int8(), pa.uint64(), pa.int64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.string(),
        pa.binary(), pa.large_binary(), pa.binary(2), pa.date32(), pa.timestamp("ns"), pa.null(),
        pa.list_(pa.int64()), pa.list_(pa.float32(), 2), pa.struct([("bytes", pa.binary())]),
        pa.decimal128(5),
        pa.struct([("bytes", pa.list_(pa.int8()))]), pa.dictionary(pa.int8(), pa.string()), pa.duration("s"),
        pa.dictionary(pa.int32(), pa.int64()), pa.map_(pa.string(), pa.int64()), pa.string_view(),
    )  # fmt: skip
    for name in rng.sample(("a", "b", "image", "label", "target", "y", "split", "c"), rng.choice((2, 3, 4))):
        kind = pa.string() if name == "split" and rng.random() < 0.9 else rng.choice(kinds)
        cells = (
            ["train", "train", "test"]
            if kind == pa.string()
            else rng.choice(([0, 1, 1], [None, 1, 2], [b"x"] * 3))
        )
        try:
            columns[name] = pa.array(cells[:count], kind)
        except (pa.ArrowException, TypeError, ValueError):
            columns[name] = (
                pa.nulls(count, kind) if not pa.types.is_dictionary(kind) else pa.array(cells[:count])
            )
    made = io.BytesIO()
    table = pa.table(columns)
    types = {name: {"_type": rng.choice(("Image", "ClassLabel", "Value", "x"))} for name in columns}
    info = json.dumps(rng.choice(({"info": {"features": types}}, {"info": []}, []))).encode()
    table = table.replace_schema_metadata({b"huggingface": info}) if rng.random() < 0.3 else table
    if not stream:
        write_table(table, made)
        return made.getvalue()
    with pa.ipc.new_stream(made, table.schema) as writer:
        writer.write_table(table)
    return made.getvalue()


def png(data: bytes, rng: Random, raw: Raw) -> bytes:
    """A chunk of a PNG file, its pixels inflated, its length and CRC right; other images are plain bytes."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return raw(data)
    chunks, place = list[tuple[bytes, bytes]](), 8
    while place + 12 <= len(data):
        size = min(int.from_bytes(data[place : place + 4], "big"), len(data))
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    if not chunks:
        return raw(data)
    spot = rng.randrange(len(chunks))
    kind, body = chunks[spot]
    new = [(kind, _chunk(kind, body, rng, raw))] * rng.choice((0, 1, 1, 1, 1, 2))
    chunks[spot : spot + 1] = [(rng.choice(CHUNKS), b)
                               for _, b in new] if rng.random() < 0.1 else new  # fmt: skip
    written = (len(b).to_bytes(4, "big") + k + b + zlib.crc32(k + b).to_bytes(4, "big") for k, b in chunks)
    return data[:8] + b"".join(written)


def _chunk(kind: bytes, body: bytes, rng: Random, raw: Raw) -> bytes:
    if kind == b"IHDR" and len(body) == 13 and rng.random() < 0.7:
        fields = list(struct.unpack(">IIBBBBB", body))
        place = rng.randrange(7)
        fields[place] = rng.choice(
            (0, 1, 2, 3, 4, 6, 8, 16, 255) if place > 1 else (0, 1, 2, 4000, 20000, 2**31, 2**32 - 1)
        )
        return struct.pack(">IIBBBBB", *fields)
    if kind == b"IDAT" and rng.random() < 0.5:
        try:
            return zlib.compress(raw(zlib.decompress(body)))
        except zlib.error:
            return raw(body)
    return raw(body)
