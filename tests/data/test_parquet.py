"""Parquet: image and tabular layout, shards, and each refusal; the rules of columns with it."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from qtrain_cli.errors import BadInput

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write(path, columns, **types):
    """A Parquet file of `columns`, with Hugging Face feature `types` in the metadata if there are any."""
    table = pa.table(columns)
    if types:
        features = {name: {"_type": kind} for name, kind in types.items()}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


@pytest.fixture
def images(pixels, encode):
    """Columns of the image layout for "train" and "test"."""
    return {
        split: {
            "image": [{"bytes": encode(x), "path": "x.png"} for x in pixels[f"x_{split}"]],
            "label": pixels[f"y_{split}"],
        }
        for split in ("train", "test")
    }


@pytest.fixture
def expected(load, tmp_path, pixels):
    """The hash of the same images read from ``.npz``."""
    np.savez(tmp_path / "expected.npz", **pixels)
    return load(tmp_path / "expected.npz").sha256


def head(columns, start, stop):
    return {name: values[start:stop] for name, values in columns.items()}


TABLE = {"a": [1.0, 2.0, 3.0], "b": [4, 5, 6], "label": [0, 1, 1]}


@pytest.fixture
def folder(tmp_path):
    """A tabular folder: train as given, test two rows of `TABLE` unless given."""

    def write_folder(train, test=None, **types):
        write(tmp_path / "set/train.parquet", train, **types)
        write(tmp_path / "set/test.parquet", head(TABLE, 0, 2) if test is None else test, **types)
        return tmp_path / "set"

    return write_folder


@pytest.mark.parametrize("layout", ["{}-00000-of-00001.parquet", "data/{}.parquet", "{}/0000.parquet"])
@pytest.mark.parametrize("types", [{}, {"image": "Image", "label": "ClassLabel"}])
def test_images_wherever_they_lie(load, tmp_path, images, expected, layout, types):
    for split, columns in images.items():
        write(tmp_path / "set" / layout.format(split), columns, **types)
    assert load(tmp_path / "set").sha256 == expected


def test_shards_are_joined_in_order(load, tmp_path, images, expected):
    for shard, (start, stop) in enumerate([(0, 4), (4, 7), (7, 10)]):
        write(tmp_path / f"set/train-0000{shard}-of-00003.parquet", head(images["train"], start, stop))
    write(tmp_path / "set/test-00000-of-00001.parquet", images["test"])
    assert load(tmp_path / "set").sha256 == expected
    (tmp_path / "set/train-00001-of-00003.parquet").unlink()
    with pytest.raises(BadInput, match="shard 1 of 3 of the train split is missing"):
        load(tmp_path / "set")


@pytest.mark.parametrize(
    ("first", "stray"),
    [
        ("train-00000-of-00001.parquet", "train.parquet"),
        ("train-00000-of-00001.parquet", "train-00000-of-00002.parquet"),
        ("train-00000-of-00001.parquet", "train-00001-of-00002.parquet"),
        ("train-00000-of-00001.parquet", "train/more.parquet"),
        ("train.parquet", "train/more.parquet"),
        ("train.parquet", "data/train.parquet"),
    ],
)
def test_two_data_sets_in_one_folder_are_refused(load, tmp_path, images, first, stray):
    write(tmp_path / "set/test.parquet", images["test"])
    for name in (first, stray):
        write(tmp_path / "set" / name, images["train"])
    with pytest.raises(BadInput, match="the train split has files of two data sets"):
        load(tmp_path / "set")


def test_other_columns_beside_an_image_are_left_out(load, tmp_path, images, expected):
    for split, columns in images.items():
        more = {"id": ["x"] * len(columns["label"])}
        write(tmp_path / f"set/{split}.parquet", {**more, **columns, "z": columns["label"]})
    assert load(tmp_path / "set").sha256 == expected


def test_plain_binary_images_are_known_by_their_feature_type(load, tmp_path, images, expected):
    for split, columns in images.items():
        plain = {"picture": [cell["bytes"] for cell in columns["image"]], "kind": columns["label"]}
        write(tmp_path / f"set/{split}.parquet", plain, picture="Image", kind="ClassLabel")
    assert load(tmp_path / "set").sha256 == expected


def test_a_table_is_float32_in_the_order_of_its_columns(load, folder):
    dataset = load(folder(TABLE))
    assert dataset.test.inputs.tolist() == [[1.0, 4.0], [2.0, 5.0]]
    assert dataset.test.inputs.dtype == torch.float32
    assert (dataset.task, dataset.classes) == ("classification", 2)


def test_the_feature_type_outweighs_the_name_and_floats_mean_regression(load, folder):
    rows = {"kind": [0, 1, 2], "y": [1.0, 2.0, 3.0]}
    assert load(folder(rows, rows, kind="ClassLabel")).classes == 3
    assert load(folder(rows, rows)).task == "regression"


def test_one_file_with_a_split_column(load, tmp_path, folder):
    together = {name: values + values[:2] for name, values in TABLE.items()}
    write(tmp_path / "all.parquet", {"split": ["train"] * 3 + ["test"] * 2, **together})
    assert load(tmp_path / "all.parquet").sha256 == load(folder(TABLE)).sha256


def test_one_file_has_no_test_split_and_says_what_to_do(load, tmp_path):
    with pytest.raises(BadInput, match=r"one Parquet file .* has no test split") as caught:
        load(write(tmp_path / "train.parquet", TABLE))
    assert "folder that holds train-*.parquet and test-*.parquet" in caught.value.advice


def test_a_missing_split_is_named(load, tmp_path):
    write(tmp_path / "train.parquet", TABLE)
    with pytest.raises(BadInput, match="there is no test split"):
        load(tmp_path)


REFUSALS = [
    (TABLE | {"b": [4, None, 6]}, r"train\.parquet row 1, column 'b' is empty"),
    (TABLE | {"a": [1.0, 2.0, np.inf]}, r"train\.parquet row 2, column 'a' is inf; allowed: finite float32"),
    (TABLE | {"a": [1.0, 2.0, 1e39]}, r"train\.parquet row 2, column 'a' is 1e\+39; allowed: finite float32"),
    (TABLE | {"label": [0, -1, 1]}, "y_train holds -1 at row 1"),
    (TABLE | {"b": ["x", "y", "z"]}, "the Parquet files differ in their columns"),
    (TABLE | {"label": ["x" * 201, "y", "z"]}, "holds a text of 201 bytes; allowed in a label: 200"),
    (TABLE | {"label": ["x", None, "z"]}, r"train\.parquet row 1, column 'label' is empty"),
    ({"label": [0, 1, 1]}, "the only column is 'label'; needed: an input and the target"),
    (TABLE | {"__index_level_0__": [0, 1, 2]}, r"column 4 \('__index_level_0__'\) looks like a row number"),
    ({"a": TABLE["a"], "label": TABLE["label"]}, "the Parquet files differ in their columns"),
    (head(TABLE, 0, 0), "the Parquet files differ|train has 0 rows|of the type null"),
]


@pytest.mark.parametrize(("train", "message"), REFUSALS, ids=[message for _, message in REFUSALS])
def test_a_table_that_does_not_fit_is_refused(load, folder, train, message):
    with pytest.raises(BadInput, match=message) as caught:
        load(folder(train))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda image: {"bytes": None, "path": "/etc/passwd"},
            r"train\.parquet row 2, column 'image' has no bytes",
        ),
        (lambda image: None, r"train\.parquet row 2, column 'image' has no bytes"),
        (
            lambda image: {"bytes": b"junk", "path": ""},
            r"train\.parquet row 2, column 'image' cannot be decoded",
        ),
        (
            lambda image: {"bytes": image["bytes"][:-26], "path": ""},
            r"train\.parquet row 2, column 'image' cannot be decoded",
        ),
    ],
)
def test_a_bad_image_is_named_by_its_row(load, folder, images, change, message):
    images["train"]["image"][2] = change(images["train"]["image"][2])
    with pytest.raises(BadInput, match=message):
        load(folder(images["train"], images["test"]))


def test_images_with_several_candidates_for_the_target_are_refused(load, folder, images):
    def renamed(split, **names):
        columns = images[split]
        return {"image": columns["image"], **dict.fromkeys(names["as_"], columns["label"])}

    both = [renamed(split, as_=("coarse", "fine")) for split in ("train", "test")]
    with pytest.raises(BadInput, match="several columns could be the targets: coarse, fine"):
        load(folder(*both))
    with pytest.raises(BadInput, match="several columns could be the labels: coarse, fine"):
        load(folder(*both, coarse="ClassLabel", fine="ClassLabel"))
    none = [renamed(split, as_=()) for split in ("train", "test")]
    with pytest.raises(BadInput, match="there is no target column"):
        load(folder(*none))
    twice = [images[split] | {"more": images[split]["image"]} for split in ("train", "test")]
    with pytest.raises(BadInput, match="several columns could be the images: image, more"):
        load(folder(*twice))


@pytest.mark.parametrize("cell", [{"path": "x.png"}, {"bytes": "text"}, 7])
def test_an_image_column_has_to_hold_bytes(load, folder, cell):
    columns = {"image": [cell, cell], "label": [0, 1]}
    with pytest.raises(BadInput, match=r"the image column 'image' is of the type .*; allowed: binary"):
        load(folder(columns, columns, image="Image"))


def test_damaged_text_is_one_line(load, tmp_path):
    path = write(tmp_path / "all.parquet", TABLE | {"split": ["train", "train", "tests"]})
    path.write_bytes(path.read_bytes().replace(b"tests", b"te\xffts"))
    with pytest.raises(BadInput, match="has text that is not UTF-8"):
        load(path)


@pytest.mark.parametrize("metadata", ["no json", "[]", '{"info": {"features": [1]}}', "[" * 100_000])
def test_damaged_metadata_are_refused(load, folder, metadata):
    path = folder(TABLE)
    table = pa.table(TABLE).replace_schema_metadata({"huggingface": metadata})
    pq.write_table(table, path / "train.parquet")
    with pytest.raises(BadInput, match="metadata 'huggingface' are damaged"):
        load(path)


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_a_truncated_file_is_damaged(load, folder, keep):
    path = folder(TABLE)
    file = path / "train.parquet"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(BadInput, match=r"train\.parquet is damaged, or no Parquet file") as caught:
        load(path)
    assert caught.value.exit_code == 2


def test_flipped_pages_are_damage(load, folder, images):
    path = folder(images["train"], images["test"])
    file = path / "train.parquet"
    content = bytearray(file.read_bytes())
    content[4:40] = bytes(36)
    file.write_bytes(content)
    with pytest.raises(BadInput, match=r"train\.parquet is damaged, or no Parquet file"):
        load(path)


def test_without_pyarrow_the_extra_is_named(load, folder, monkeypatch):
    path = folder(TABLE)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        BadInput, match="reading Parquet needs the package pyarrow, which is not installed"
    ) as caught:
        load(path)
    assert caught.value.advice == "pip install 'qtrain[data]'"
