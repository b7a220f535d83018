"""Mutations of pickles, of NumPy's arrays, and of the zip archives that hold them (see `shapes`)."""

from __future__ import annotations

import io
import pickletools
import re
import warnings
import zipfile
from random import Random

from fuzz.programs import grown, number
from fuzz.shapes import Mutation, Raw, of_json
from fuzz.words import NUMBERS, PICKLED, TEXTS


def pickles(data: bytes, rng: Random, raw: Raw) -> bytes:
    """One opcode put in another's place, doubled, taken away, or a new one; or another pickle for the first.

    Several pickles may follow each other: of the old format it is the fourth that holds the tensors.
    """
    if rng.random() < 0.25:
        return grown(rng)
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
        elif kind == 4 and (numbers := [n for n, piece in enumerate(pieces) if piece[:1] in b"KMJG\x8a"]):
            pieces[rng.choice(numbers)] = number(rng)
        else:
            pieces[here : here + (kind == 5)] = [rng.choice(PICKLED) for _ in range(rng.choice((1, 1, 3)))]
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
