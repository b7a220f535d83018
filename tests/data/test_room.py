"""Small files that stand for large data are refused from their headers; long cells never make long
messages."""

import io
import time
import zipfile

import numpy as np
import pytest

from qtrain_cli.data.room import MOST_SAID, Room, short, shown
from qtrain_cli.errors import BadInput, QtrainError, Refused

GIGABYTE = 10**9


def refusal(load, source, **settings):
    with pytest.raises(QtrainError) as caught:
        load(source, **settings)
    assert caught.value.exit_code in (2, 4)
    assert len(caught.value.message) <= 500 and len(caught.value.advice) <= 500
    return caught.value


def test_room_is_one_for_all():
    room = Room(100)
    room.take(60, "x_train")
    with pytest.raises(BadInput, match="x_test would take 60 bytes of memory; allowed for all data: 100"):
        room.take(60, "x_test")
    with pytest.raises(BadInput, match="would take -1 bytes"):
        Room(100).take(-1, "x_test")


def test_long_texts_are_cut():
    assert shown("a" * 10**6) == f"{'a' * 60}... (1,000,000 characters)" and shown(7) == "7"
    assert len(short("b" * 10**6)) < MOST_SAID + 10 and short("b") == "b"


def test_npz_of_zeros(load, tmp_path):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f4", "fortran_order": False, "shape": (10**4, 2 * 10**5)}
    )
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{name}.npy", head.getvalue())
    # What the header says is more than is there: refused before the room is asked.
    assert "more than the" in refusal(load, tmp_path / "bomb.npz").message
    np.savez_compressed(
        tmp_path / "zeros.npz", **dict.fromkeys(("x_train", "y_train"), np.zeros((1000, 1000)))
    )
    with zipfile.ZipFile(tmp_path / "zeros.npz", "a") as archive:
        for name in ("x_test", "y_test"):
            archive.writestr(f"{name}.npy", archive.read("x_train.npy"))
    found = refusal(load, tmp_path / "zeros.npz", max_bytes=2 * 10**7)
    assert "y_train would take 16,000,000 bytes of memory; allowed for all data: 20,000,000" in found.message
    assert "--max-data-bytes" in found.advice


def test_images_of_one_colour(load, tmp_path, encode):
    content = encode(np.zeros((2000, 2000, 3), np.uint8))
    assert len(content) < 50_000
    for split in ("train", "test"):
        (tmp_path / split / "cat").mkdir(parents=True)
        for number in range(100):
            (tmp_path / split / "cat" / f"{number}.png").write_bytes(content)
    found = refusal(load, tmp_path, max_bytes=GIGABYTE // 4)  # and four times that on the disk
    said = "100 images of 2000x2000 RGB would take 1,200,000,000 bytes of a disk; allowed for all data: 1,000"
    assert said in found.message


@pytest.fixture
def parquet(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    def write(columns, **options):
        for split in ("train", "test"):
            pq.write_table(pa.table(columns), tmp_path / f"{split}.parquet", **options)
        assert (tmp_path / "train.parquet").stat().st_size < 100_000
        return tmp_path

    return write


def test_parquet_that_repeats_one_row(load, parquet):
    rows = np.zeros(3_000_000, np.int8)
    found = refusal(load, parquet({"a": rows, "label": rows}), max_bytes=10**7)
    assert "would take 60,000,000 bytes of memory" in found.message


@pytest.mark.parametrize("cell", ["x" * 100_000, "split"])
def test_parquet_that_repeats_one_long_text(load, parquet, cell):
    columns = {"a": [1.0] * 500, "label": [cell] * 500, "split": [cell] * 500}
    folder = parquet(columns, compression="zstd")
    started = time.monotonic()
    for source in (folder, folder / "train.parquet"):
        refusal(load, source, max_bytes=10**8)
    assert time.monotonic() - started < 20  # 300 MB of text; far less on an idle machine


def test_parquet_of_long_names(load, parquet):
    refusal(load, parquet({"a" * 10_000: ["x"], "label": [1]}, compression="zstd"))


def test_many_columns_take_a_time_that_grows_as_they_do(load, tmp_path):
    header = ",".join(f"c{number}" for number in range(40_000))
    row = ",".join(["1"] * 40_000)
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text(f"{header},label\n{row},0\n{row},1\n")
    started = time.monotonic()
    assert load(tmp_path).train.inputs.shape == (1, 40_000)
    assert time.monotonic() - started < 3


def test_a_table_of_text_is_bounded_line_by_line(load, tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text("a,label\n" + "1,0\n" * 5000)
    assert "line 2452 would take" in refusal(load, tmp_path, max_bytes=10**6).message


def test_negative_rows_and_whatever_no_reader_expects(load, parquet, monkeypatch):
    folder = parquet({"a": [1.0, 2.0], "label": [0, 1]})
    from qtrain_cli.data import parquet as reader

    class Footer:
        num_rows, num_row_groups = -5, 0

    real = reader._open

    class File:
        def __init__(self, path):
            self.schema_arrow, self.metadata = real(path).schema_arrow, Footer

    monkeypatch.setattr(reader, "_open", File)
    assert "says that it has -5 rows, and its groups []" in refusal(load, folder).message
    monkeypatch.setattr(reader, "_open", lambda path: 1 / 0)
    found = refusal(load, folder)
    assert isinstance(found, Refused) and "ZeroDivisionError" in found.message
