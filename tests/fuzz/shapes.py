"""Mutations that know a format: what was changed is put together again with the sums that a reader checks.

Each is ``(data, rng, raw) -> data``; `raw` changes plain bytes (libFuzzer's own mutation, where it is there).
Bytes of another format go to `raw`. Nothing here checks that a result makes sense: that is the readers' work.
"""

from __future__ import annotations

import io
import json
import math
import pickletools
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

from fuzz.words import CHUNKS, NUMBERS, PICKLED, TEXTS, WORDS
from hostile import make_artifacts as artifacts
from safetensors.torch import load as load_tensors

from qtrain_cli.files import checkpoint
from qtrain_cli.files.header import KNOWN_DTYPE_BYTES

Raw = Callable[[bytes], bytes]
Mutation = Callable[[bytes, Random, Raw], bytes]


def mutated(mutation: Mutation, data: bytes, rng: Random, raw: Raw, most: int) -> bytes:
    """One to four of these after each other, of at most so many bytes; now and then plain bytes."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        try:
            changed = mutation(data, rng, raw) if rng.random() < 0.95 else raw(data)
        except Exception:  # bytes that cannot be taken apart, in a way that the mutation did not think of
            changed = raw(data)
        data = changed if 0 < len(changed) <= most else raw(data)[:most]
    return data


# -- JSON ------------------------------------------------------------------------------------------------


def of_json(text: bytes, rng: Random, raw: Raw, sort: bool = False) -> bytes:
    """One value of a document put in another's place, changed, doubled or taken away."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return raw(text)
    places = list(_places(document))
    if not places:
        return raw(text)
    change(document, places, rng)
    written = json.dumps(document, sort_keys=sort, separators=(",", ":"), ensure_ascii=False)
    return written.encode("utf-8", "surrogatepass")


def _places(value: Any) -> Any:
    """Every container with every key in it, from the top down."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in list(inside):
        yield value, key
        yield from _places(part)


def change(document: Any, places: list[tuple[Any, Any]], rng: Random) -> None:
    """Changes one value in place."""
    holder, key = rng.choice(places)
    other, there = rng.choice(places)
    value = holder[key]
    kind = rng.randrange(8)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        name = rng.choice((*TEXTS, str(key), str(there)))
        holder.update({name: value}) if isinstance(holder, dict) else holder.insert(rng.randrange(9), value)
    elif kind == 2:
        holder[key] = json.loads(json.dumps(other[there]))
    elif kind == 3 and isinstance(value, list):
        holder[key] = value * rng.choice((0, 2, 3, 40)) if len(value) < 100 else value[: rng.randrange(9)]
    elif kind < 6 and type(value) in (int, float) and math.isfinite(value):
        holder[key] = rng.choice(
            (value + 1, value - 1, -value, value * 2, value // 2, value * 1000, float(value))
        )
    else:
        holder[key] = _odd(value, rng)


def _odd(value: Any, rng: Random) -> Any:
    deep: Any = value
    for _ in range(rng.choice((1, 2, 300))):
        deep = [deep] if rng.random() < 0.5 else {"x": deep}
    kinds = (
        rng.choice(NUMBERS),
        rng.choice(NUMBERS),
        rng.choice(TEXTS),
        None,
        True,
        False,
        [],
        {},
        deep,
        str(value),
    )
    return rng.choice(kinds)


# -- artifacts, safetensors, checkpoints -----------------------------------------------------------------


def artifact(data: bytes, rng: Random, raw: Raw) -> bytes:
    """The facts, another part, the metadata or any byte of an artifact, sealed again."""
    try:
        return artifacts.sealed(rng.choice((_facts, _facts, _kept, _tensor, _metadata))(data, rng, raw))
    except Exception:  # no artifact, or none that can be taken apart so
        return artifacts.sealed(raw(data)) if len(data) > 8 else raw(data)


def _version(data: bytes) -> int:
    return 3 if b'"qtrain":"3"' in data[:200] else 4


def _facts(data: bytes, rng: Random, raw: Raw) -> bytes:
    version = artifacts.VERSIONS[_version(data)]
    rest, known = artifacts.tensor_of(data), artifacts.dictionary_of(version.page)
    text, after = artifacts.inflated(rest[version.before :], known)
    text = of_json(text, rng, raw, sort=rng.random() < 0.95)
    after = raw(after) if rng.random() < 0.1 else after
    tensor = rest[: version.before] + artifacts.deflated(text, known) + after
    return artifacts.of_format(_version(data), lambda: artifacts.of_tensor(tensor))


def _kept(data: bytes, rng: Random, raw: Raw) -> bytes:
    def make() -> bytes:
        parts = artifacts.apart(data)
        name = rng.choice(("fixed", "origin", "kept", "numbers", "numbers"))
        setattr(parts, name, raw(getattr(parts, name)))
        return artifacts.together(parts)

    return artifacts.of_format(_version(data), make)


def _tensor(data: bytes, rng: Random, raw: Raw) -> bytes:
    start = 8 + int.from_bytes(data[:8], "little")
    return fitted(data[:start], raw(data[start:]), rng)


def _metadata(data: bytes, rng: Random, raw: Raw) -> bytes:
    return safetensors(data, rng, raw, nested="qtrain")


def safetensors(data: bytes, rng: Random, raw: Raw, nested: str = "") -> bytes:
    """The header, or the JSON `nested` in its metadata; offsets mostly follow shapes again."""
    length = int.from_bytes(data[:8], "little")
    if length > len(data):
        return raw(data)
    text, payload = data[8 : 8 + length], data[8 + length :]
    inner = json.loads(text)["__metadata__"].get(nested) if nested and rng.random() < 0.8 else None
    if inner is not None and inner.startswith("{"):
        table = json.loads(text)
        table["__metadata__"][nested] = of_json(inner.encode(), rng, raw, sort=True).decode(errors="replace")
        text = json.dumps(table, separators=(",", ":")).encode()
    else:
        text = of_json(text, rng, raw)
    return fitted(len(text).to_bytes(8, "little") + text, payload, rng)


def fitted(head: bytes, payload: bytes, rng: Random) -> bytes:
    """Mostly with offsets that follow from dtypes and shapes, and a payload of that length."""
    if rng.random() < 0.25:
        return head + payload
    try:
        table, end = json.loads(head[8:]), 0
        for name, row in table.items():
            if name != "__metadata__":
                size = int(math.prod(row["shape"])) * KNOWN_DTYPE_BYTES[row["dtype"]]
                row["data_offsets"], end = [end, end + size], end + size
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
        return head + payload
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    size = min(end, 2**16)
    return len(text).to_bytes(8, "little") + text + payload[:size].ljust(size, b"\0")


def of_checkpoint(data: bytes, rng: Random, raw: Raw) -> bytes:
    """A training checkpoint whose state was changed, with the right SHA-256."""
    try:
        changed = rng.choice((safetensors, safetensors, _tensor))(
            data, rng, raw, *([checkpoint.METADATA_KEY] if rng.random() < 0.7 else [])
        )
        return rehashed(changed)
    except Exception:  # what no library reads has no SHA-256
        return raw(data)


def rehashed(data: bytes) -> bytes:
    """The same checkpoint with the SHA-256 of what it holds."""
    length = int.from_bytes(data[:8], "little")
    table = json.loads(data[8 : 8 + length])
    document = json.loads(table["__metadata__"][checkpoint.METADATA_KEY])
    digest = checkpoint._digest(document["identity"], document["state"], load_tensors(data))
    table["__metadata__"][checkpoint.METADATA_KEY] = json.dumps({**document, "sha256": digest})
    text = json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


# -- pickles and archives --------------------------------------------------------------------------------


def pickles(data: bytes, rng: Random, raw: Raw) -> bytes:
    """One opcode put in another's place, doubled, taken away, or a new one; several pickles may follow."""
    pieces, rest = opcodes(data)
    if not pieces:
        return raw(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        here, there = rng.randrange(len(pieces)), rng.randrange(len(pieces))
        kind = rng.randrange(7)
        if kind == 0 and len(pieces) > 1:
            del pieces[here]
        elif kind == 1:
            pieces[here:here] = pieces[there : there + rng.randrange(1, 12)]
        elif kind == 2:
            pieces[here] = pieces[there]
        elif kind == 3:
            pieces[here] = raw(pieces[here]) or b"0"
        else:
            pieces[here : here + (kind == 4)] = [rng.choice(PICKLED) for _ in range(rng.choice((1, 1, 3)))]
    return b"".join(pieces) + (raw(rest) if rest and rng.random() < 0.2 else rest)


def opcodes(data: bytes) -> tuple[list[bytes], bytes]:
    """The opcodes of all pickles in a row with their arguments, and what follows them."""
    stream, pieces, end = io.BytesIO(data), list[bytes](), 0
    try:
        while end < len(data):
            starts = [place for _, _, place in pickletools.genops(stream) if place is not None]
            last, begin = stream.tell(), end
            pieces += [data[a:b] for a, b in zip(starts, [*starts[1:], last], strict=True)]
            assert starts[0] == begin
            end = last
    except Exception:  # what follows is no pickle
        pass
    return pieces, data[end:]


def npy(data: bytes, rng: Random, raw: Raw) -> bytes:
    """An array in NumPy's format: its header's words or its numbers."""
    if not data.startswith(b"\x93NUMPY") or len(data) < 12 or rng.random() < 0.2:
        return raw(data)
    wide = 4 if data[6] > 1 else 2
    size = int.from_bytes(data[8 : 8 + wide], "little")
    head, rest = data[8 + wide : 8 + wide + size], data[8 + wide + size :]
    if rng.random() < 0.8:
        kinds = (
            b"<f4",
            b"<f8",
            b"|O",
            b"<U9",
            b"|u1",
            b"<i8",
            b"|V8",
            b"<c16",
            b"<M8[s]",
            b"|b1",
            b">f4",
            b"<f2",
            b"|S0",
        )
        found = list(re.finditer(rb"\d+|[<>|]\w+|True|False", head)) or [None]
        spot = rng.choice(found)
        new = rng.choice(
            (rng.choice(kinds), str(rng.choice(NUMBERS)).encode(), b"0", b"2, 3", b"True", b"()")
        )
        head = head[: spot.start()] + new + head[spot.end() :] if spot else raw(head)
    else:
        head, rest = (raw(head), rest) if rng.random() < 0.3 else (head, raw(rest))
    return data[:8] + len(head).to_bytes(wide, "little") + head + rest


#: Which mutation a record of an archive has, by the end of its name.
_RECORDS: tuple[tuple[str, Mutation], ...] = ((".json", of_json), (".pkl", pickles), (".npy", npy))


def archive(data: bytes, rng: Random, raw: Raw) -> bytes:
    """A zip archive with one record changed, doubled, renamed or taken away, its sums and places right."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old:
            entries = [(name, old.read(name)) for name in old.namelist()]
        return _zipped(_changed_entries(entries, rng, raw), rng)
    except Exception:  # no archive any more
        return raw(data)


def _changed_entries(entries: list[tuple[str, bytes]], rng: Random, raw: Raw) -> list[tuple[str, bytes]]:
    likely = [n for n, (name, _) in enumerate(entries) if name.endswith((".json", ".pkl", ".npy"))]
    place = rng.choice(likely) if likely and rng.random() < 0.8 else rng.randrange(len(entries))
    name, record = entries[place]
    kind = rng.randrange(12)
    if kind == 0:
        return entries[:place] + entries[place + 1 :]
    if kind == 1:
        return [*entries, (rng.choice((name, name + "x", rng.choice(entries)[0])), record)]
    if kind == 2:
        other = rng.choice((*TEXTS, rng.choice(entries)[0], name.upper(), name.rpartition("/")[2])) or "x"
        return [*entries[:place], (other.encode(errors="replace").decode(), record), *entries[place + 1 :]]
    change = next((row for end, row in _RECORDS if name.endswith(end)), lambda data, rng, raw: raw(data))
    return [*entries[:place], (name, change(record, rng, raw)), *entries[place + 1 :]]


def _zipped(entries: list[tuple[str, bytes]], rng: Random) -> bytes:
    method = zipfile.ZIP_DEFLATED if rng.random() < 0.05 else zipfile.ZIP_STORED
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", method) as new:
        warnings.simplefilter("ignore")  # a name that stands twice
        for name, record in entries:
            new.writestr(zipfile.ZipInfo(name), record)
    return stream.getvalue()


# -- tables, images, text --------------------------------------------------------------------------------


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
    """The footer or the pages of a Parquet file, its length and marks right."""
    size = int.from_bytes(data[-8:-4], "little")
    if data[:4] != b"PAR1" or size + 12 > len(data):
        return raw(data)
    pages, footer = data[4 : -8 - size], data[-8 - size : -8]
    pages, footer = (pages, raw(footer)) if rng.random() < 0.7 else (raw(pages), footer)
    return b"PAR1" + pages + footer + len(footer).to_bytes(4, "little") + b"PAR1"


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
