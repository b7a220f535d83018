"""The strict reader of a safetensors header: what honest writers write, and every refusal."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from qtrain_cli.errors import BadInput, QtrainError, Refused
from qtrain_cli.files.header import (
    KNOWN_DTYPE_BYTES,
    MAX_HEADER_BYTES,
    MAX_NAME_LETTERS,
    header_of,
    parse_header,
    read_header,
)

PATH = Path("file.safetensors")


def tensor(first=0, last=8, shape=(2,), dtype="F32", **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [first, last], **more}


def file_of(table, payload=8):
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text + bytes(payload)


def message_of(data):
    with pytest.raises(Refused) as refused:
        header_of(PATH, data)
    assert refused.value.message.startswith("'file.safetensors' is damaged or hostile: ")
    assert len(refused.value.message) < 400 and refused.value.advice == "get the file again from its source"
    return refused.value.message


dtypes = st.sampled_from([torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool, torch.bfloat16])
tensors = st.builds(torch.zeros, st.lists(st.integers(0, 3), max_size=3), dtype=dtypes)


@given(
    st.dictionaries(st.text(min_size=1, max_size=5), tensors, max_size=4),
    st.dictionaries(st.text(), st.text()),
)
@settings(max_examples=60, deadline=None)
def test_what_safetensors_writes(tmp_path_factory, named, metadata):
    named.pop("__metadata__", None)
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    # With neither tensors nor metadata, an empty table of metadata makes it write what is no JSON.
    path.write_bytes(save(named, metadata or None))
    header = read_header(path)
    assert header == header_of(path, path.read_bytes())
    assert header.metadata == metadata and header.tensors.keys() == named.keys()
    for name, record in header.tensors.items():
        assert record.shape == tuple(named[name].shape)
        assert record.last - record.first == named[name].numel() * KNOWN_DTYPE_BYTES[record.dtype]


def test_a_name_that_no_tensor_has():
    most = "k" * MAX_NAME_LETTERS
    assert list(header_of(PATH, file_of({most: tensor()})).tensors) == [most]
    assert "kkk...' has 1025 letters; allowed: 1024" in message_of(file_of({most + "k": tensor()}))


def test_an_empty_table():
    assert header_of(PATH, file_of({}, payload=0)).tensors == {}


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_no_file(tmp_path, name):
    with pytest.raises(
        BadInput, match=r"cannot read '.*': (No such file or directory|it is not an ordinary file)"
    ):
        read_header(tmp_path / name)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 20])
def test_truncated(tmp_path, size):
    path, data = tmp_path / "cut", file_of({"a": tensor()})[:size]
    path.write_bytes(data)
    with pytest.raises(Refused, match=f"damaged or hostile: truncated: {size} bytes, header of"):
        read_header(path)
    assert f"truncated: {size} bytes" in message_of(data)


def test_every_cut_is_refused():
    data = file_of({"a": tensor()})
    for size in range(len(data)):
        message_of(data[:size])


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**9])
def test_a_header_beyond_the_file(length):
    assert f"header of {length}" in message_of(length.to_bytes(8, "little") + b"{}")


def test_a_header_above_the_limit(tmp_path):
    with pytest.raises(Refused, match="its header claims 9 bytes; allowed: 8"):
        header_of(PATH, file_of(b'{"a":  } '), 8)
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.write((MAX_HEADER_BYTES + 1).to_bytes(8, "little"))
        file.truncate(MAX_HEADER_BYTES + 100)
    with pytest.raises(Refused, match="its header claims 100000001 bytes; allowed: 100000000"):
        read_header(path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"a":' + b"9" * 5000 + b"}",
        b"{}}",
        b"{'a': 1}",
    ],
    ids=["empty", "open", "utf-16", "lists", "objects", "digits", "behind", "quotes"],
)
def test_not_json(text):
    assert "its header is not valid JSON" in message_of(file_of(text))


@pytest.mark.parametrize("table", [[], 1, None, "text", True])
def test_not_an_object(table):
    assert "its header is not a JSON object" in message_of(file_of(table))


@pytest.mark.parametrize("metadata", [[], "a", {"a": 1}, {"a": {}}, None, {"a": None}])
def test_metadata_of_other_kinds(metadata):
    assert "its metadata is not a table of strings" in message_of(
        file_of({"__metadata__": metadata, "a": tensor()})
    )


@pytest.mark.parametrize(
    "row",
    [
        None, 1, "F32", [], {}, tensor(more=1), {"dtype": "F32", "shape": [2]},
        {"dtype": "F32", "shape": [2], "offsets": [0, 8]},
    ],
)  # fmt: skip
def test_rows_of_other_kinds(row):
    assert "tensor 'a' is not described by dtype, shape and data_offsets" in message_of(file_of({"a": row}))


@pytest.mark.parametrize("dtype", ["F33", "f32", "", 32, None, [], {}, ["F32"], "F" * 10**6])
def test_unknown_dtypes(dtype):
    assert "tensor 'a' has the unknown dtype" in message_of(file_of({"a": {**tensor(), "dtype": dtype}}))


@pytest.mark.parametrize("field", ["shape", "data_offsets"])
@pytest.mark.parametrize(
    "value", [None, 8, "08", {}, [0, -8], [0, 8.0], [0, True], [0, "8"], [0, None], [0, 2**62], [[0, 8]]]
)
def test_sizes_that_are_no_whole_numbers(field, value):
    found = message_of(file_of({"a": {**tensor(), field: value}}))
    assert "has a shape or offsets that are not whole numbers" in found


@pytest.mark.parametrize("offsets", [[], [0], [0, 8, 8]])
def test_offsets_are_two(offsets):
    assert "that are not whole numbers" in message_of(file_of({"a": {**tensor(), "data_offsets": offsets}}))


@pytest.mark.parametrize(
    "row",
    [
        tensor(shape=(3,)), tensor(shape=()), tensor(dtype="F64"), tensor(8, 0), tensor(last=9),
        tensor(shape=(0,)), tensor(shape=(2**61, 2**61)), tensor(shape=(2**61, 0)),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fill_their_bytes(row):
    assert "does not fill its bytes" in message_of(file_of({"a": row}))


def test_too_many_dimensions():
    found = message_of(file_of({"a": tensor(last=4, shape=(1,) * 65)}, 4))
    assert "tensor 'a' has 65 dimensions; allowed: 64" in found
    assert header_of(PATH, file_of({"a": tensor(last=4, shape=(1,) * 64)}, 4))


@pytest.mark.parametrize(
    ("rows", "payload", "message"),
    [
        ({"a": tensor()}, 7, "its tensors take 8 bytes and the file holds 7"),
        ({"a": tensor()}, 9, "its tensors take 8 bytes and the file holds 9"),
        ({}, 1, "its tensors take 0 bytes and the file holds 1"),
        ({"a": tensor(1, 9)}, 9, "tensor 'a' begins at byte 1, expected 0"),
        ({"a": tensor(), "b": tensor()}, 8, "tensor 'b' begins at byte 0, expected 8"),
        ({"a": tensor(), "b": tensor(4, 12)}, 12, "tensor 'b' begins at byte 4, expected 8"),
        ({"a": tensor(), "b": tensor(12, 20)}, 20, "tensor 'b' begins at byte 12, expected 8"),
        ({"a": tensor(), "b": tensor(2**60, 2**60 + 8)}, 16, "expected 8"),
    ],
)
def test_gaps_and_overlaps(rows, payload, message):
    assert message in message_of(file_of(rows, payload))


@pytest.mark.parametrize(
    ("text", "twice"),
    [
        ('{"a":%s,"a":%s}', "a"),
        ('{"b":%s,"a":%s,"\\u0061":{}}', "a"),
        ('{"__metadata__":{"k":"1","k":"2"},"a":%s,"b":%s}', "k"),
        ('{"__metadata__":{},"__metadata__":{},"a":%s,"b":%s}', "__metadata__"),
        ('{"b":%s,"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]},"c":%s}', "dtype"),
    ],
)
def test_a_name_that_stands_twice(text, twice):
    data = file_of((text % (json.dumps(tensor()), json.dumps(tensor(8, 16)))).encode(), 16)
    assert f"the name '{twice}' stands twice" in message_of(data)


def test_messages_are_short_and_printable():
    found = message_of(file_of({"\x1b[2J\n" + "a" * 10**6: 1}))
    assert "\x1b" not in found and "\n" not in found and "\\x1b[2J" in found


def test_crafted_sizes_take_no_time():
    """The product of a million huge sizes would take minutes."""
    shape = [2**61] * 300_000
    began = time.perf_counter()
    message_of(file_of({"a": tensor(shape=shape)}))
    assert time.perf_counter() - began < 2


def test_no_torch_is_imported():
    code = "import sys, qtrain_cli.files.header; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2]).returncode == 0
    )


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(["F32", "U8", 8, 0]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["dtype", "shape", "data_offsets", "__metadata__", "a"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(json_values, st.integers(0, 16))
@settings(max_examples=100, deadline=None)
def test_any_json_is_read_or_refused(value, payload):
    try:
        parse_header(PATH, json.dumps(value).encode(), payload)
    except QtrainError as error:
        assert isinstance(error, Refused)


@given(st.binary(max_size=60))
@settings(max_examples=80, deadline=None)
def test_any_bytes_are_read_or_refused(data):
    try:
        header_of(PATH, data)
    except QtrainError as error:
        assert isinstance(error, Refused)
