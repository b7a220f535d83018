"""Layouts of the Hugging Face world and of folders: JSON lines, `save_to_disk`, `imagefolder`, validation
splits."""

from __future__ import annotations

import json

import numpy as np
import pytest

from qtrain_cli.errors import BadInput

pa = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")

ROWS = [{"a": n, "b": n / 4, "label": n % 3} for n in range(9)]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def save_split(folder, table, parts=1):
    """What `datasets.save_to_disk` writes of one split: a stream an Arrow file, and `state.json`."""
    folder.mkdir(parents=True)
    names = [f"data-{part:05}-of-{parts:05}.arrow" for part in range(parts)]
    size = -(-table.num_rows // parts)
    for part, name in enumerate(names):
        with pa.ipc.new_stream(folder / name, table.schema) as stream:
            stream.write_table(table.slice(part * size, size), max_chunksize=4)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")


@pytest.fixture
def expected(load, tmp_path):
    """The hash of the rows as a CSV folder."""
    (tmp_path / "csv").mkdir()
    for split, rows in (("train", ROWS), ("test", ROWS[:3])):
        cells = "".join(",".join(map(str, row.values())) + "\n" for row in rows)
        (tmp_path / f"csv/{split}.csv").write_text("a,b,label\n" + cells)
    return load(tmp_path / "csv").sha256


@pytest.mark.parametrize(
    "name", ["{}.jsonl", "{}.ndjson", "{}.json", "data/{}-00000-of-00001.jsonl", "{}/part.jsonl"]
)
def test_json_lines_wherever_they_lie(load, tmp_path, expected, name):
    for split, rows in (("train", ROWS), ("test", ROWS[:3])):
        path = tmp_path / "set" / name.format(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines(rows))
    assert load(tmp_path / "set").sha256 == expected


def test_a_json_list_of_objects_and_one_file_of_both(load, tmp_path, expected):
    both = [row | {"split": "train"} for row in ROWS] + [row | {"split": "test"} for row in ROWS[:3]]
    (tmp_path / "all.jsonl").write_text(lines(both))
    (tmp_path / "list.json").write_text(json.dumps(both))
    assert load(tmp_path / "all.jsonl").sha256 == load(tmp_path / "list.json").sha256 == expected


def test_shards_of_json_are_joined_in_order(load, tmp_path, expected):
    for shard, (start, stop) in enumerate([(0, 4), (4, 9)]):
        (tmp_path / f"train-{shard}.jsonl").write_text(lines(ROWS[start:stop]))
    (tmp_path / "test.jsonl").write_text(lines(ROWS[:3]))
    assert load(tmp_path).sha256 == expected


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train-00000-of-00002.jsonl"], "shard 1 of 2 of the train split is missing"),
        (["train.jsonl", "train.json"], "the train split has files of two data sets"),
        (["train.jsonl", "data/train.jsonl"], "the train split has files of two data sets"),
    ],
)
def test_json_of_half_a_data_set_or_of_two_is_refused(load, tmp_path, names, message):
    (tmp_path / "data").mkdir()
    for name in (*names, "test.jsonl"):
        (tmp_path / name).write_text(lines(ROWS))
    with pytest.raises(BadInput, match=message):
        load(tmp_path)


@pytest.mark.parametrize("cells", [[0.5, 2**53 + 1], [[0.5, 1.5], [2**53 + 1, 1]]])
def test_large_whole_numbers_in_a_column_of_floats(load, tmp_path, cells):
    for split in ("train", "test"):
        rows = [{"a": cell, "label": n} for n, cell in enumerate(cells)]
        (tmp_path / f"{split}.jsonl").write_text(lines(rows))
    assert load(tmp_path).test.inputs[1, 0] == 2.0**53


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": 1,', "train.jsonl line 3 is no JSON"),
        ("[1, 2]", "train.jsonl line 3 is a list and no object"),
        ('{"a": null, "b": 1.0, "label": 0}', "train.jsonl line 3, column 'a' is empty"),
        (
            '{"a": "x", "b": 1.0, "label": 0}',
            "train.jsonl line 3, column 'a' is \"x\"; the others hold whole",
        ),
        ('{"a": NaN, "b": 1.0, "label": 0}', "train.jsonl line 3, column 'a'"),
        ('{"b": 1.0, "label": 0}', "train.jsonl line 3, column 'a' is empty"),
        ('{"a": 1, "b": 1.0, "label": [0]}', "train.jsonl line 3, column 'label'"),
        ("[" * 100_000, "train.jsonl line 3 is no JSON"),
    ],
)
def test_a_damaged_line_is_named_or_left_out(load, tmp_path, line, message):
    text = lines(ROWS[:2]) + line + "\n" + lines(ROWS[2:])
    (tmp_path / "train.jsonl").write_text(text)
    (tmp_path / "test.jsonl").write_text(lines(ROWS[:3]))
    with pytest.raises(BadInput, match=message) as caught:
        load(tmp_path)
    assert "--skip-damaged" in caught.value.advice
    data = load(tmp_path, skip_damaged=True)
    assert data.skipped_rows == 1 and len(data.train) + len(data.validation) == 9
    assert any(f"1 damaged row is left out, first: {message}" in said for said in data.said)


@pytest.mark.parametrize("parts", [1, 2])
def test_what_save_to_disk_wrote(load, tmp_path, expected, parts):
    for split, rows in (("train", ROWS), ("test", ROWS[:3])):
        save_split(tmp_path / "set" / split, pa.Table.from_pylist(rows), parts)
    (tmp_path / "set/dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    assert load(tmp_path / "set").sha256 == expected
    with pytest.raises(BadInput, match="is one split of a data set, without test rows") as caught:
        load(tmp_path / "set/train")
    assert "DatasetDict" in caught.value.advice


def test_a_saved_split_with_a_split_column(load, tmp_path, expected):
    both = [row | {"split": "train"} for row in ROWS] + [row | {"split": "test"} for row in ROWS[:3]]
    save_split(tmp_path / "set", pa.Table.from_pylist(both))
    assert load(tmp_path / "set").sha256 == expected


def test_saved_files_that_are_damaged_compressed_or_absent(load, tmp_path):
    table = pa.Table.from_pylist(ROWS)
    for split in ("train", "test"):
        save_split(tmp_path / "set" / split, table)
    (tmp_path / "set/dataset_dict.json").write_text("{}")
    file = tmp_path / "set/train/data-00000-of-00001.arrow"
    whole = file.read_bytes()
    for content in (whole[:100], whole[8:], b"", b"x" * 500):
        file.write_bytes(content)
        with pytest.raises(BadInput, match=r"data-00000-of-00001\.arrow"):
            load(tmp_path / "set")
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(file, table.schema, options=options) as stream:
        stream.write_table(table)
    with pytest.raises(BadInput, match="is compressed"):
        load(tmp_path / "set")
    file.unlink()
    with pytest.raises(BadInput, match="names a file that is not there"):
        load(tmp_path / "set")


@pytest.fixture
def pictures(tmp_path, pixels, encode):
    """``write(folder, split, table)``: that split's pictures 0.png ... with a table of their labels."""

    def write(folder, split, table="csv", prefix=""):
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for n, (x, y) in enumerate(zip(pixels[f"x_{split}"], pixels[f"y_{split}"], strict=True)):
            name = f"{prefix}{split}{n:02}.png"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(encode(x))
            rows.append({"file_name": name, "label": int(y), "split": split})
        return rows

    return write


def write_table(folder, rows, table):
    if table == "jsonl":
        (folder / "metadata.jsonl").write_text(lines(rows))
        return
    cells = "".join(",".join(map(str, row.values())) + "\n" for row in rows)
    (folder / "metadata.csv").write_text(",".join(rows[0]) + "\n" + cells)


@pytest.mark.parametrize("table", ["csv", "jsonl"])
@pytest.mark.parametrize("layout", ["folders", "flat", "paths"])
def test_images_with_a_table_of_labels(load, tmp_path, pixels, pictures, table, layout):
    np.savez(tmp_path / "expected.npz", **pixels)
    source, every = tmp_path / "set", []
    for split in ("train", "test"):
        where = source / split if layout == "folders" else source
        rows = pictures(where, split, prefix=f"{split}/" if layout == "paths" else "")
        if layout != "flat":
            rows = [{"file_name": row["file_name"], "label": row["label"]} for row in rows]
        every += rows
        if layout == "folders":
            write_table(where, rows, table)
    if layout != "folders":
        write_table(source, every, table)
    assert load(source).sha256 == load(tmp_path / "expected.npz").sha256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file_name": "../secret.png"}, "names '../secret.png', which is not in the folder"),
        ({"file_name": "gone.png"}, "names 'gone.png', which is not there"),
        ({"label": ""}, "metadata.csv line 2, column 'label' is empty"),
        ({"label": "dog, small"}, "train/metadata.csv line 2 has more cells than the header"),
    ],
)
def test_a_table_that_leads_nowhere_is_refused(load, tmp_path, encode, pixels, pictures, change, message):
    (tmp_path / "secret.png").write_bytes(encode(pixels["x_train"][0]))
    for split in ("train", "test"):
        rows = [
            {"file_name": row["file_name"], "label": row["label"]}
            for row in pictures(tmp_path / "set" / split, split)
        ]
        if split == "train":
            rows[0] |= change
        write_table(tmp_path / "set" / split, rows, "csv")
    with pytest.raises(BadInput, match=message):
        load(tmp_path / "set")


def test_a_flat_folder_of_pictures_says_the_way_on(load, tmp_path, pictures):
    pictures(tmp_path / "flat", "train")
    with pytest.raises(BadInput, match="is a flat folder of pictures") as caught:
        load(tmp_path / "flat")
    assert "metadata.csv" in caught.value.advice
    pictures(tmp_path / "classes/cat", "train")
    with pytest.raises(BadInput, match="is a folder of class folders without a split"):
        load(tmp_path / "classes")


@pytest.mark.parametrize("name", ["val", "validation", "valid", "dev"])
def test_class_folders_may_have_validation_rows(load, tmp_path, pixels, encode, name):
    for split, there in (("train", name), ("train", "train"), ("test", "test")):
        for n, (x, y) in enumerate(zip(pixels[f"x_{split}"], pixels[f"y_{split}"], strict=True)):
            path = tmp_path / there / str(y) / f"{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(x))
    data = load(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 10, 4)
    assert "validation rows are the data's own" in data.said


def test_parquet_may_have_validation_rows(load, tmp_path):
    for split in ("train", "validation", "test"):
        pa.parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / f"{split}-00000-of-00001.parquet")
    data = load(tmp_path)
    assert len(data.train) == len(data.validation) == 9
    swapped = load(tmp_path, splits=(("test", "validation"),))
    assert (len(swapped.train), len(swapped.validation), len(swapped.test)) == (8, 1, 9)


def test_a_damaged_row_in_the_middle_of_parquet_names_file_row_and_column(load, tmp_path, pixels, encode):
    cells = [{"bytes": encode(x), "path": None} for x in pixels["x_train"]]
    table = {"image": cells, "label": pixels["y_train"]}
    pa.parquet.write_table(
        pa.table({name: values[:4] for name, values in table.items()}), tmp_path / "train-0.parquet"
    )
    cells[6] = {"bytes": cells[6]["bytes"][:-26], "path": None}
    pa.parquet.write_table(
        pa.table({name: values[4:] for name, values in table.items()}), tmp_path / "train-1.parquet"
    )
    pa.parquet.write_table(
        pa.table({name: values[:2] for name, values in table.items()}), tmp_path / "test.parquet"
    )
    with pytest.raises(BadInput, match=r"train-1\.parquet row 2, column 'image' cannot be decoded") as caught:
        load(tmp_path)
    assert "--skip-damaged leaves such rows out" in caught.value.advice
    data = load(tmp_path, skip_damaged=True)
    assert data.skipped_rows == 1
    left = [n for n in range(10) if n != 6]
    together = sorted(x.tolist() for part in (data.train, data.validation) for x in part.inputs)
    assert together == sorted(pixels["x_train"][n][None].tolist() for n in left)


def test_damaged_lines_of_csv_are_left_out(load, tmp_path):
    rows = ["1,2,0", "x,3,1", "1,2", "4,5,", "6,7,1", "8,9,word", "3,3,0"]
    (tmp_path / "train.csv").write_text("a,b,label\n" + "\n".join(rows) + "\n")
    (tmp_path / "test.csv").write_text("a,b,label\n1,2,0\n")
    for message in ("train.csv, line 3, column 'a': 'x' is no finite number",):
        with pytest.raises(BadInput, match=message):
            load(tmp_path)
    data = load(tmp_path, skip_damaged=True)
    assert data.skipped_rows == 4
    together = sorted(x.tolist() for part in (data.train, data.validation) for x in part.inputs)
    assert together == [[1.0, 2.0], [3.0, 3.0], [6.0, 7.0]]
    assert load(tmp_path / ".." / tmp_path.name, skip_damaged=True).classes == 2


def test_nothing_is_skipped_unless_it_is_asked_for(load, tmp_path):
    (tmp_path / "all.csv").write_text("a,label,split\n1,0,train\n2,1,train\n3,0,test\n")
    assert load(tmp_path / "all.csv").skipped_rows is None
    assert load(tmp_path / "all.csv", skip_damaged=True).skipped_rows == 0
