"""Arrays that are too large for memory: the same data set, in files without a name, and refused as ever."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from qtrain_cli.data import given_data, npz, room
from qtrain_cli.errors import BadInput, Refused
from qtrain_cli.files import spilled
from qtrain_cli.files.spilled import DiskIsFull
from qtrain_cli.settings import DataSettings

ROWS = 60


def numbers(kind):
    """Inputs of 60 rows, some bytes of each kind that a file may hold."""
    draw = np.random.default_rng(0).integers
    pictures = draw(0, 256, (ROWS, 3, 4, 5), dtype=np.uint8)
    return {
        "pictures": pictures,
        "grey pictures": pictures[:, 0],
        "float32": (pictures / 7).astype(np.float32),
        "float64": pictures / 7,
        "float16": (pictures / 7).astype(np.float16),
        "of the other byte order": (pictures / 7).astype(">f4"),
        "columns first": np.asfortranarray((pictures / 7).astype(np.float32)),
        "pictures, columns first": np.asfortranarray(pictures),
        "whole numbers": pictures.astype(np.int32),
        "a table of small numbers": pictures.reshape(ROWS, -1),
    }[kind]


KINDS = (
    "pictures", "grey pictures", "float32", "float64", "float16", "of the other byte order", "columns first",
    "pictures, columns first", "whole numbers", "a table of small numbers",
)  # fmt: skip


def content(kind):
    """A file's arrays by name."""
    x, y = numbers(kind), np.arange(ROWS) % 3
    keep = np.asfortranarray if x.flags.f_contiguous and not x.flags.c_contiguous else np.ascontiguousarray
    return {"x_train": keep(x[:40]), "y_train": y[:40], "x_test": keep(x[40:]), "y_test": y[40:]}


@pytest.fixture
def small(monkeypatch):
    """Everything above 300 bytes is large, and worked on by 100."""

    def become_small():
        monkeypatch.setattr(spilled, "IN_MEMORY_BYTES", 300)
        for module in (spilled, npz):
            monkeypatch.setattr(module, "AT_ONCE", 100)

    return become_small


def is_mapped(tensor):
    """Whether the numbers lie in one of the files."""
    begins = [np.frombuffer(mapped, np.uint8).ctypes.data for mapped in spilled._MAPPED]
    lengths = [len(mapped) for mapped in spilled._MAPPED]
    return any(
        begin <= tensor.data_ptr() < begin + length for begin, length in zip(begins, lengths, strict=True)
    )


def assert_same(one, other):
    assert one.sha256 == other.sha256
    for split in ("train", "validation", "test"):
        ours, theirs = getattr(one, split), getattr(other, split)
        assert ours.inputs.dtype == theirs.inputs.dtype
        assert torch.equal(ours.inputs, theirs.inputs) and torch.equal(ours.targets, theirs.targets)
        assert ours.inputs.numpy().flags.writeable and ours.inputs.is_contiguous()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kind", KINDS)
def test_npz_is_the_same_in_files(load, tmp_path, small, kind, save):
    save(tmp_path / "data.npz", **content(kind))
    known = load(tmp_path / "data.npz")
    small()
    found = load(tmp_path / "data.npz")
    assert_same(known, found)
    assert is_mapped(found.train.inputs) and is_mapped(found.test.inputs)
    assert not is_mapped(known.train.inputs)


@pytest.mark.parametrize("kind", ["pictures", "float32", "float64", "whole numbers"])
def test_safetensors_are_the_same_in_files(load, tmp_path, small, kind):
    tensors = {name: torch.from_numpy(array) for name, array in content(kind).items()}
    save_file(tensors, tmp_path / "data.safetensors")
    known = load(tmp_path / "data.safetensors")
    small()
    found = load(tmp_path / "data.safetensors")
    assert_same(known, found)
    assert is_mapped(found.train.inputs)


def test_safetensors_of_half_precision_become_float32_in_parts(load, tmp_path, small):
    tensors = {name: torch.from_numpy(array) for name, array in content("float32").items()}
    tensors |= {name: tensors[name].to(torch.bfloat16) for name in ("x_train", "x_test")}
    save_file(tensors, tmp_path / "data.safetensors")
    known = load(tmp_path / "data.safetensors")
    small()
    assert_same(known, load(tmp_path / "data.safetensors"))


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_that_a_program_has_are_left_as_they_are(small, kind):
    arrays, settings = content(kind), DataSettings("handed over")
    before = {name: array.copy() for name, array in arrays.items()}
    known = given_data(arrays, settings, 0)
    small()
    assert_same(known, given_data(arrays, settings, 0))
    assert all(np.array_equal(arrays[name], before[name]) for name in arrays)


def test_rows_that_were_mapped_to_be_read_alone_are_taken(tmp_path, small):
    arrays = content("float32")
    np.save(tmp_path / "x.npy", arrays["x_train"])
    mapped = arrays | {"x_train": np.load(tmp_path / "x.npy", mmap_mode="r")}
    known = given_data(arrays, DataSettings("handed over"), 0)
    small()
    assert_same(known, given_data(mapped, DataSettings("handed over"), 0))


# --- refused as ever ---------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path, small):
    """A file of float32 whose arrays are large."""
    small()
    np.savez(tmp_path / "data.npz", **content("float32"))
    return tmp_path / "data.npz"


def rewritten(path, change):
    """The archive with another x_train."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, payload in entries.items():
            archive.writestr(name, change(payload) if name == "x_train.npy" else payload)


def test_a_header_that_claims_more_is_refused_before_room_is_taken(load, file, monkeypatch):
    monkeypatch.setattr(room, "large_array", None)
    rewritten(file, lambda payload: payload[:-200])
    with pytest.raises(BadInput, match=r"x_train claims the shape \(40, 3, 4, 5\)"):
        load(file)


def test_a_member_that_ends_early_is_damaged(load, file):
    """The list at the end says 700 bytes more than the member has."""
    rewritten(file, lambda payload: payload[:-700])
    head = bytearray(file.read_bytes())
    place = head.rindex(b"PK\x01\x02", 0, head.rindex(b"x_train.npy"))
    length = int.from_bytes(head[place + 24 : place + 28], "little") + 700
    head[place + 24 : place + 28] = length.to_bytes(4, "little")
    file.write_bytes(head)
    with pytest.raises(BadInput, match=r"damaged, or no \.npz file"):
        load(file)


def test_flipped_bits_are_damage(load, file):
    head = bytearray(file.read_bytes())
    head[head.index(content("float32")["x_train"].tobytes()) + 4005] ^= 1
    file.write_bytes(head)
    with pytest.raises(BadInput, match=r"damaged, or no \.npz file"):
        load(file)


def test_a_pickle_is_refused(load, tmp_path, small):
    small()
    arrays = content("float32")
    arrays["x_train"] = np.array([[{}] * 400] * 40, dtype=object)
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(Refused, match="x_train holds pickled Python objects"):
        load(tmp_path / "data.npz")


def test_zeros_that_a_small_file_stands_for_are_refused_from_their_header(load, tmp_path, small, monkeypatch):
    small()
    arrays = content("float32") | {"x_train": np.zeros((40, 100_000), np.float32)}
    np.savez_compressed(tmp_path / "data.npz", **arrays)
    monkeypatch.setattr(room, "large_array", None)
    said = "x_train would take 16,000,000 bytes of a disk; allowed for all data: 12,000,000"
    with pytest.raises(BadInput, match=said):
        load(tmp_path / "data.npz", max_bytes=3_000_000)


def test_copies_count_on_the_disk(load, tmp_path, small):
    small()
    arrays = content("float64") | {"x_train": np.zeros((40, 3, 4, 500))}
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(BadInput, match="x_train would take 3,840,000 bytes of a disk"):
        load(tmp_path / "data.npz", max_bytes=900_000)


def full(*given):
    raise OSError(28, "No space left on device")


def a_disk_of(room):
    """In place of `posix_fallocate`: a disk that is full after so many bytes."""
    taken = 0

    def fallocate(file, offset, size):
        nonlocal taken
        taken += size
        if taken > room:
            full()
        os.truncate(file, size)

    return fallocate


@pytest.fixture(params=["npz", "safetensors"])
def either(request, file):
    """The same arrays in either format."""
    if request.param == "npz":
        return file
    tensors = {name: torch.from_numpy(array) for name, array in content("float32").items()}
    save_file(tensors, file.with_suffix(".safetensors"))
    return file.with_suffix(".safetensors")


def test_where_the_disk_is_full_memory_is_taken(load, either, monkeypatch):
    """Of what is read; the one row that is set apart is not large."""
    known = load(either, validation=0.01)
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    found = load(either, validation=0.01)
    assert_same(known, found)
    assert is_mapped(known.train.inputs) and not is_mapped(found.train.inputs)


@pytest.mark.parametrize("most", [9_000, 12_000])
def test_where_memory_has_no_room_either_the_disk_is_named(load, either, monkeypatch, most):
    """Not for x_train, nor for x_test beside it: four times as much was allowed on the disk."""
    load(either, max_bytes=most, validation=0.01)
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    said = r"the data take \d,\d00 bytes, .* no room in .*No space left"
    with pytest.raises(DiskIsFull, match=said) as caught:
        load(either, max_bytes=most, validation=0.01)
    assert "TMPDIR" in caught.value.advice


def test_a_copy_that_the_disk_has_no_room_for_takes_no_memory(load, tmp_path, small, monkeypatch):
    """Of 30,000 bytes float64 takes 29,120 as it is read, and its first copy in float32 another 9,600."""
    small()
    np.savez(tmp_path / "data.npz", **content("float64"))
    for size, copy in ((30_000, "9,600"), (40_000, "4,800")):
        monkeypatch.setattr(os, "posix_fallocate", a_disk_of(size), raising=False)
        with pytest.raises(DiskIsFull, match=f"the data take {copy} bytes") as caught:
            load(tmp_path / "data.npz", max_bytes=15_000)
        assert "TMPDIR" in caught.value.advice


def test_rows_that_the_disk_has_no_room_to_set_apart_take_no_memory(load, file, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", a_disk_of(15_000), raising=False)
    with pytest.raises(DiskIsFull, match="the data take 4,800 bytes"):
        load(file, validation=0.5)


TESTS = Path(__file__).resolve().parents[1]
_RESIDENT = """
import sys
from benchmarks.peak import forget, highest
from qtrain_cli.data import load_data
from qtrain_cli.settings import DataSettings
forget()
before = highest()
data = load_data(DataSettings(sys.argv[1]), 0)
assert len(data.train) == 28_800 and int(data.train.inputs[28_799].max()) == 1
print(highest() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="how much is resident is told otherwise elsewhere")
def test_400_mb_are_read_and_split_in_a_process_that_hardly_grows(tmp_path):
    rows = np.broadcast_to(np.uint8(1), (32_000, 3, 64, 64))
    few, labels = np.ones((10, 3, 64, 64), np.uint8), np.arange(32_000) % 10
    np.savez(tmp_path / "data.npz", x_train=rows, y_train=labels, x_test=few, y_test=labels[:10])
    command = [sys.executable, "-c", _RESIDENT, str(tmp_path / "data.npz")]
    environment = os.environ | {"PYTHONPATH": f"{TESTS.parent}:{TESTS}"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert int(found.stdout) < 200 * 2**20
