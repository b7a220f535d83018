"""`load_data`: which reader, errors at the boundary, the three splits, normalisation, hash."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest
import torch

from qtrain_cli import data
from qtrain_cli.data import READERS, Normalisation, describe_data
from qtrain_cli.data.splits import hold_out
from qtrain_cli.errors import BadInput, UsageError


@pytest.fixture
def source(tmp_path, pixels):
    path = tmp_path / "digits.npz"
    np.savez(path, **pixels)
    return path


def test_splits_are_disjoint_complete_and_of_three_types(load, source, pixels):
    dataset = load(source, validation=0.3)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (7, 3, 4)
    assert dataset.task == "classification" and dataset.classes == 3
    assert dataset.train.targets.dtype == torch.int64
    together = torch.cat([dataset.train.inputs, dataset.validation.inputs])
    assert sorted(x.tolist() for x in together) == sorted(x[None].tolist() for x in pixels["x_train"])
    assert torch.equal(dataset.test.inputs, torch.from_numpy(pixels["x_test"])[:, None])
    kinds = [type(dataset.train), type(dataset.validation), type(dataset.test)]
    assert len(set(kinds)) == 3
    assert all(kind.__bases__ == (object,) for kind in kinds)


def test_inputs_and_targets_stay_together(load, source, pixels):
    dataset = load(source)
    for split in (dataset.train, dataset.validation):
        for x, y in zip(split.inputs, split.targets, strict=True):
            row = next(i for i in range(10) if (pixels["x_train"][i] == x.numpy()[0]).all())
            assert pixels["y_train"][row] == y


def test_the_seed_chooses_the_validation_rows_and_nothing_else(load, source):
    one, again, other = load(source, seed=1), load(source, seed=1), load(source, seed=2)
    assert torch.equal(one.validation.inputs, again.validation.inputs)
    assert not torch.equal(one.validation.inputs, other.validation.inputs)
    assert one.sha256 == again.sha256 == other.sha256 == load(source, validation=0.5).sha256


def test_hold_out_is_fixed_for_good():
    train, validation = hold_out(10, 0.3, 0)
    assert validation.tolist() == [0, 2, 9]
    assert sorted(train.tolist() + validation.tolist()) == list(range(10))


@pytest.mark.parametrize(
    ("rows", "share", "expected"), [(2, 0.01, 1), (2, 0.99, 1), (10, 0.99, 9), (10, 0.001, 1)]
)
def test_no_split_is_ever_empty(rows, share, expected):
    train, validation = hold_out(rows, share, 0)
    assert len(validation) == expected
    assert len(train) == rows - expected


def test_the_hash_is_that_of_the_documented_bytes(load, source, pixels):
    content = hashlib.sha256()
    for name in ("x_train", "y_train", "x_test", "y_test"):
        array = pixels[name][:, None] if name.startswith("x") else pixels[name].astype("<i8")
        content.update(f"{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    assert load(source).sha256 == content.hexdigest()


def test_the_hash_sees_a_single_pixel(load, tmp_path, source, pixels):
    pixels["x_test"][3, 0, 0] ^= 1
    np.savez(tmp_path / "other.npz", **pixels)
    assert load(tmp_path / "other.npz").sha256 != load(source).sha256


def test_normalisation_divides_bytes_by_255_and_then_standardises():
    batch = torch.tensor([[[[0, 255]], [[51, 102]]]], dtype=torch.uint8)  # (1, 2, 1, 2)
    out = Normalisation((0.5, 0.2), (0.5, 0.1))(batch)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, torch.tensor([[[[-1.0, 1.0]], [[0.0, 2.0]]]]))


def test_normalisation_of_one_number_serves_all_columns_and_none_leaves_floats_alone():
    table = torch.tensor([[1.0, 3.0]])
    torch.testing.assert_close(Normalisation((1.0,), (2.0,))(table), torch.tensor([[0.0, 1.0]]))
    assert torch.equal(Normalisation()(table), table)


def test_mean_and_std_must_fit_the_channels(load, source):
    with pytest.raises(UsageError, match="3 numbers and the inputs 1 channels") as caught:
        load(source, mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0))
    assert caught.value.exit_code == 2
    load(source, mean=(0.5,), std=(0.5,))


def test_a_missing_source_lists_what_is_allowed(load, tmp_path):
    with pytest.raises(BadInput, match=r"nowhere\.npz': there is no such file") as caught:
        load(tmp_path / "nowhere.npz")
    assert all(reader.form in caught.value.advice for reader in READERS)


def test_a_file_of_no_known_form_is_refused(load, tmp_path):
    (tmp_path / "data.txt").write_text("1 2 3")
    with pytest.raises(BadInput, match="is nothing that qtrain reads"):
        load(tmp_path / "data.txt")
    with pytest.raises(BadInput, match="is nothing that qtrain reads"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (MemoryError(), "does not fit in memory"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
    ],
)
def test_what_the_machine_refuses_is_one_line(load, monkeypatch, raised, message):
    def fail(source, room):
        raise raised

    monkeypatch.setattr(data, "READERS", (data.Reader("any", lambda source: True, fail),))
    with pytest.raises(BadInput, match=message) as caught:
        load("anything")
    assert caught.value.exit_code == 2


def test_describe_data_is_plain(load, source):
    described = describe_data(load(source, validation=0.2))
    assert described | {"data_sha256": ""} == {
        "task": "classification",
        "classes": 3,
        "train_rows": 8,
        "validation_rows": 2,
        "test_rows": 4,
        "input_shape": [1, 3, 2],
        "input_dtype": "uint8",
        "data_sha256": "",
    }


def test_whole_numbers_stay_whole_for_tokens_only():
    batch = torch.tensor([[3, 0], [7, 2**24 + 1]])
    assert Normalisation()(batch).dtype == torch.float32
    assert torch.equal(Normalisation(tokens=True)(batch), batch)
    assert Normalisation(tokens=True)(batch.to(torch.uint8)).dtype == torch.float32


@pytest.mark.parametrize(
    ("looks_up", "mean", "whole"), [(True, (), True), (False, (), False), (True, (0.5,), False)]
)
def test_whole_numbers_that_are_normalised_are_no_tokens(load, looks_up, mean, whole, tmp_path):
    x, y = np.arange(40).reshape(20, 2), np.arange(20) % 2
    np.savez(tmp_path / "rows.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    data = load(tmp_path / "rows.npz", mean=mean, std=mean).for_lookups(looks_up)
    assert (data.normalisation(data.train.inputs).dtype == torch.int64) == whole


@pytest.mark.parametrize(
    "name", ["d.npz", "d.csv", "d.parquet", "d.safetensors", "d/train-0.parquet", "d/data/test.csv"]
)
@pytest.mark.parametrize(
    ("content", "what", "way"),
    [
        ("version https://git-lfs.github.com/spec/v1\nsize 9\n", "a Git LFS pointer", "git lfs pull"),
        ("\n<!DOCTYPE html><title>404</title>", "an HTML page", "log in"),
    ],
)
def test_what_was_not_downloaded_is_named(load, tmp_path, name, content, what, way):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(content)
    (tmp_path / "d").mkdir(exist_ok=True)
    (tmp_path / "d" / "train.csv").write_text("x,y\n1,0\n")
    source = tmp_path / ("d" if "/" in name else name)
    with pytest.raises(BadInput, match=f"{name.split('/')[-1]} is {what}") as caught:
        load(source)
    assert caught.value.advice.startswith("the data were not downloaded: ") and way in caught.value.advice


@pytest.mark.parametrize("name", ["pipe", "d.npz", "d.csv", "d.safetensors"])
def test_a_pipe_is_named_and_not_waited_for(load, tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(BadInput, match="is a pipe, and no ordinary file") as caught:
        load(tmp_path / name)
    assert caught.value.advice == "write it to a file first, and give that"


@pytest.mark.parametrize("name", ["train.csv", "train-0.parquet"])
def test_a_pipe_among_the_files_of_data(load, tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(BadInput, match=f"has the pipe {name}, and no ordinary file"):
        load(tmp_path)
