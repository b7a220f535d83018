"""``.npz``: round trip, and files that must be refused without running anything."""

from __future__ import annotations

import io
import pathlib
import zipfile

import numpy as np
import pytest

from qtrain_cli.errors import BadInput, Refused


class CreatesAFile:
    """A pickle of this creates the file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def rewritten(path, name, content):
    """The archive with one entry replaced."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()} | {name: content}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, payload in entries.items():
            archive.writestr(entry, payload)


def test_round_trip_compressed_or_not(load, tmp_path, pixels):
    np.savez(tmp_path / "a.npz", **pixels)
    np.savez_compressed(tmp_path / "b.npz", **pixels, extra=np.array(["ignored"]))
    one, two = load(tmp_path / "a.npz"), load(tmp_path / "b.npz")
    assert one.sha256 == two.sha256
    assert one.test.inputs.numpy()[:, 0].tolist() == pixels["x_test"].tolist()


def test_a_pickled_array_is_refused_and_never_run(load, tmp_path, pixels):
    trace = tmp_path / "it-ran"
    pixels["y_test"] = np.array([CreatesAFile(trace)], dtype=object)
    np.savez(tmp_path / "data.npz", **pixels)
    with pytest.raises(Refused, match="y_test holds pickled Python objects") as caught:
        load(tmp_path / "data.npz")
    assert caught.value.exit_code == 4
    assert not trace.exists()
    np.load(tmp_path / "data.npz", allow_pickle=True)["y_test"]
    assert trace.exists()  # the file does bite


def test_a_pickle_inside_a_record_is_refused(load, tmp_path, pixels):
    pixels["y_test"] = np.array([(1, None)], dtype=[("a", int), ("b", object)])
    np.savez(tmp_path / "data.npz", **pixels)
    with pytest.raises(Refused, match="pickled Python objects"):
        load(tmp_path / "data.npz")


def test_a_claimed_size_is_checked_before_it_is_allocated(load, tmp_path, pixels):
    np.savez(tmp_path / "data.npz", **pixels)
    header = io.BytesIO()
    claim = {"descr": "|u1", "fortran_order": False, "shape": (10**15,)}
    np.lib.format.write_array_header_1_0(header, claim)
    rewritten(tmp_path / "data.npz", "x_train.npy", header.getvalue() + bytes(10))
    with pytest.raises(BadInput, match=r"x_train claims the shape \(1000000000000000,\)"):
        load(tmp_path / "data.npz")


def test_a_truncated_file_is_damaged(load, tmp_path, pixels):
    path = tmp_path / "data.npz"
    np.savez(path, **pixels)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match=r"damaged, or no \.npz file"):
        load(path)


@pytest.mark.parametrize("content", [b"no numpy", b"\x93NUMPY\x01\x00\x10\x00{'descr': 1}    \n", b""])
def test_an_entry_that_is_no_array_is_damaged(load, tmp_path, pixels, content):
    np.savez(tmp_path / "data.npz", **pixels)
    rewritten(tmp_path / "data.npz", "x_train.npy", content)
    with pytest.raises(BadInput, match=r"damaged, or no \.npz file"):
        load(tmp_path / "data.npz")


@pytest.mark.parametrize(
    "header",
    ["{'descr': (", "{1: 2, 'descr': '<f4'}", "{[]: 1}",
     f"{{'descr': '<f4', 'fortran_order': False, 'shape': (0, {2**70})}}",
     "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 1)}"],
)  # fmt: skip
def test_a_header_that_numpy_stumbles_over_is_damaged(load, tmp_path, pixels, header):
    np.savez(tmp_path / "data.npz", **pixels)
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(64)
    rewritten(tmp_path / "data.npz", "x_train.npy", content)
    with pytest.raises(BadInput, match=r"damaged, or no \.npz file"):
        load(tmp_path / "data.npz")


def test_damaged_lzma_is_damaged(load, tmp_path, pixels):
    path = tmp_path / "data.npz"
    np.savez(tmp_path / "plain.npz", **pixels)
    with (
        zipfile.ZipFile(tmp_path / "plain.npz") as plain,
        zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as other,
    ):
        for entry in plain.namelist():
            other.writestr(entry, plain.read(entry))
    content = bytearray(path.read_bytes())
    content[60] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"damaged, or no \.npz file"):
        load(path)


def test_flipped_bits_are_damage(load, tmp_path, pixels):
    path = tmp_path / "data.npz"
    np.savez(path, **pixels)
    content = bytearray(path.read_bytes())
    content[content.index(pixels["x_train"].tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"damaged, or no \.npz file"):
        load(path)


def test_a_missing_array_is_named(load, tmp_path, pixels):
    del pixels["y_test"]
    np.savez(tmp_path / "data.npz", **pixels)
    rewritten(tmp_path / "data.npz", "y_test.txt", b"no array")
    with pytest.raises(BadInput, match="y_test missing; found x_train, y_train, x_test"):
        load(tmp_path / "data.npz")
