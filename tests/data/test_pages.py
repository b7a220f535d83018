"""What pages unfold to: PyArrow's own figures for honest files, and footers that lie or are none."""

from __future__ import annotations

import io

import numpy as np
import pytest

from qtrain_cli.data.pages import chunks_of
from qtrain_cli.errors import BadInput

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
TEXTS = [b"a" * 2_000_000, b"b"]


def varint(number: int, size: int = 0) -> bytes:
    """Thrift's number, of at least so many bytes."""
    left, data = 2 * number, bytearray()
    while left or len(data) < size:
        data.append(left & 127 | 128)
        left >>= 7
    return bytes([*data[:-1], data[-1] & 127])


def written(columns, **options) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream, **options)
    return stream.getvalue()


def edited(data: bytes, change) -> bytes:
    """The file with another footer, of the right length."""
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer = change(data[start:-8])
    return data[:start] + footer + len(footer).to_bytes(4, "little") + b"PAR1"


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "zstd"}, {"use_dictionary": False}, {"data_page_version": "2.0"},
     {"row_group_size": 400}, {"data_page_size": 500, "use_dictionary": False}, {"write_page_index": True}],
)  # fmt: skip
def test_honest_files_as_pyarrow_says(tmp_path, options):
    cells = [{"bytes": bytes([n % 7]) * n, "path": None} for n in range(1000)]
    columns = {"a": np.arange(1000.0), "image": cells, "label": np.arange(1000) % 3}
    (tmp_path / "a.parquet").write_bytes(written(columns, **options))
    footer = pq.read_metadata(tmp_path / "a.parquet")
    groups = chunks_of(tmp_path / "a.parquet")
    assert [len(group) for group in groups] == [4] * footer.num_row_groups
    for place, group in enumerate(groups):
        for number, chunk in enumerate(group):
            column = footer.row_group(place).column(number)
            assert chunk.values == column.num_values
            # Theirs counts the headers as well: some tens of bytes a page, statistics included.
            assert 0 < column.total_uncompressed_size - chunk.unfolded < 0.2 * chunk.unfolded + 150


def test_a_size_that_the_footer_hides(load, tmp_path):
    columns = {"image": [{"bytes": text} for text in TEXTS], "label": [0, 1], "split": ["train", "test"]}
    data = written(columns, compression="zstd", use_dictionary=False, write_statistics=False)
    size = pq.read_metadata(io.BytesIO(data)).row_group(0).column(0).total_uncompressed_size
    hidden = edited(data, lambda footer: footer.replace(varint(size), varint(100, len(varint(size)))))
    (tmp_path / "a.parquet").write_bytes(hidden)
    assert pq.read_metadata(tmp_path / "a.parquet").row_group(0).column(0).total_uncompressed_size == 100
    assert len(hidden) < 2000
    with pytest.raises(
        BadInput, match=r"a column of a\.parquet would take 2,0.*allowed for all data: 1,000,000"
    ):
        load(tmp_path / "a.parquet", max_bytes=10**6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda footer: b"\x19" * 100, "16 deep"),
        (lambda footer: footer[:-1] + b"\x05\x02\x00\x00", "field 1 twice"),
        (lambda footer: b"\x49\x1c\x19\x1c\x00\x00\x00", "KeyError"),
        (lambda footer: b"\x15" + b"\xff" * 12, "64 bits"),
        (lambda footer: b"\x18\xff\xff\x03", "after its end"),
    ],
)
def test_footers_that_are_none(tmp_path, change, words):
    (tmp_path / "a.parquet").write_bytes(edited(written({"a": [1.0, 2.0], "label": [0, 1]}), change))
    with pytest.raises(BadInput, match=f"its pages do not follow from its footer .*({words})"):
        chunks_of(tmp_path / "a.parquet")
