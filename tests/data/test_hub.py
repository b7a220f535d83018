"""``hf:NAME`` against a stand-in for `datasets`, and against the package itself where it is installed."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from qtrain_cli.errors import BadInput

pa = pytest.importorskip("pyarrow")


class FakeDataset:
    """The four things of `datasets.Dataset` that are used."""

    def __init__(self, table, announced=None):
        self.table = table
        self.announced = table.num_rows if announced is None else announced
        self.features = SimpleNamespace(arrow_schema=table.schema)

    def __len__(self):
        return self.announced

    def with_format(self, name):
        assert name == "arrow"
        return self

    def iter(self, batch_size):
        for start in range(0, self.table.num_rows, batch_size):
            yield self.table.slice(start, batch_size)


@pytest.fixture
def hub(monkeypatch):
    """Puts splits on a hub that knows the one name "org/digits"; the calls come back."""
    calls = []

    def publish(announced=None, **splits):
        def load_dataset(name, config):
            calls.append((name, config))
            if name != "org/digits":
                raise ConnectionError(f"Couldn't reach '{name}' on the Hub\nmore lines")
            return {split: FakeDataset(table, announced) for split, table in splits.items()}

        fake = SimpleNamespace(load_dataset=load_dataset, disable_progress_bars=lambda: None)
        monkeypatch.setitem(sys.modules, "datasets", fake)
        return calls

    return publish


@pytest.fixture
def tables(pixels, encode):
    return {
        split: pa.table(
            {
                "image": [{"bytes": encode(x), "path": None} for x in pixels[f"x_{split}"]],
                "label": pixels[f"y_{split}"],
            }
        )
        for split in ("train", "test")
    }


def test_the_same_data_as_npz(load, hub, tables, tmp_path, pixels):
    calls = hub(**tables)
    np.savez(tmp_path / "data.npz", **pixels)
    expected = load(tmp_path / "data.npz").sha256
    assert load("hf:org/digits").sha256 == load("hf:org/digits:small").sha256 == expected
    assert calls == [("org/digits", None), ("org/digits", "small")]


def test_a_missing_split_is_named(load, hub, tables):
    hub(train=tables["train"], validation=tables["test"])
    with pytest.raises(BadInput, match="there is no test split") as caught:
        load("hf:org/digits")
    assert caught.value.advice.startswith("--split test=validation takes validation for it")


def test_splits_are_the_hubs_own_or_those_that_were_named(load, hub, tables):
    hub(train=tables["train"], validation=tables["test"], test=tables["test"])
    data = load("hf:org/digits")
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 4, 4)
    hub(train=tables["train"], validation=tables["test"])
    named = load("hf:org/digits", splits=(("test", "validation"),))
    assert (len(named.train) + len(named.validation), len(named.test)) == (10, 4)
    with pytest.raises(BadInput, match="there is no dev split") as caught:
        load("hf:org/digits", splits=(("test", "dev"),))
    assert caught.value.advice.endswith("there are: train, validation")


def test_splits_of_different_columns_are_refused(load, hub, tables):
    hub(train=tables["train"], test=tables["test"].rename_columns(["picture", "label"]))
    with pytest.raises(BadInput, match="the splits differ in their columns"):
        load("hf:org/digits")


@pytest.mark.parametrize(
    ("announced", "message"),
    [(9, "train has more than the 9 rows announced"), (11, "train has 10 rows; announced: 11")],
)
def test_rows_are_counted(load, hub, tables, announced, message):
    hub(announced, **tables)
    with pytest.raises(BadInput, match=message):
        load("hf:org/digits")


def test_failures_of_the_hub_are_one_line(load, hub, tables):
    hub(**tables)
    with pytest.raises(
        BadInput, match="nobody could not be had: Couldn't reach 'nobody' on the Hub more"
    ) as caught:
        load("hf:nobody")
    assert caught.value.exit_code == 2


def test_no_name_is_refused(load):
    with pytest.raises(BadInput, match="names no data set"):
        load("hf:")


def test_without_the_package_the_extra_is_named(load, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        BadInput, match="hf:NAME needs the package datasets, which is not installed"
    ) as caught:
        load("hf:org/digits")
    assert caught.value.advice == "pip install 'qtrain[hub]'"


def test_the_package_itself_reads_a_local_folder(load, tables, tmp_path, pixels, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("datasets", reason="the package datasets is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "set").mkdir()
    for split, table in tables.items():
        parquet.write_table(table, tmp_path / f"set/{split}.parquet")
    np.savez(tmp_path / "data.npz", **pixels)
    assert load(f"hf:{tmp_path / 'set'}").sha256 == load(tmp_path / "data.npz").sha256
