"""Mutations that know a format: what was changed is put together again with the sums that a reader checks.

Each is ``(data, rng, raw) -> data``; `raw` changes plain bytes (libFuzzer's own mutation, where it is there).
Bytes of another format go to `raw`. Nothing here checks that a result makes sense: that is the readers' work.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable
from random import Random
from typing import Any

from fuzz.words import NUMBERS, OPERATORS, TEXTS
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
        holder[key] = (
            value * rng.choice((0, 2, 3, 40)) if len(str(value)) < 500 else value[: rng.randrange(9)]
        )
    elif isinstance(value, str) and value.startswith("torch."):
        holder[key] = rng.choice(OPERATORS)
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
                size = math.prod(map(operator.index, row["shape"])) * KNOWN_DTYPE_BYTES[row["dtype"]]
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
