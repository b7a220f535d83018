"""CSV: the convention for split and target, and errors that name file, line and column."""

from __future__ import annotations

import pytest
import torch

from qtrain_cli.errors import BadInput

TRAIN = "a,b,label\n1,2,0\n3,4,1\n5,6,1\n"
TEST = "a,b,label\n7,8,0\n"


@pytest.fixture
def folder(tmp_path):
    def write(train: str | bytes = TRAIN, test: str = TEST):
        content = train.encode() if isinstance(train, str) else train
        (tmp_path / "train.csv").write_bytes(content)
        (tmp_path / "test.csv").write_text(test)
        return tmp_path

    return write


def rows(dataset) -> list:
    """Train and validation together, in no order."""
    return sorted(torch.cat([dataset.train.inputs, dataset.validation.inputs]).tolist())


def test_a_folder_of_two_files(load, folder):
    dataset = load(folder())
    assert rows(dataset) == [[1, 2], [3, 4], [5, 6]]
    assert dataset.test.inputs.tolist() == [[7, 8]]
    assert dataset.test.targets.tolist() == [0]
    assert dataset.task == "classification" and dataset.classes == 2


def test_one_file_with_a_split_column_is_the_same_data(load, folder, tmp_path):
    text = "a,split,b,label\n1,train,2,0\n7,test,8,0\n3,train,4,1\n\n5, train ,6,1\n"
    (tmp_path / "all.csv").write_text(text)
    assert load(tmp_path / "all.csv").sha256 == load(folder()).sha256


@pytest.mark.parametrize(
    ("header", "target"),
    [("target,label,y,z", 0), ("x,label,y,z", 1), ("v,w,y,z", 2), ("a,b,c,d", 3), ("x,y,z,species", 3)],
)
def test_the_target_is_found_by_name_and_else_is_last(load, folder, header, target):
    dataset = load(folder(f"{header}\n0,1,2,3\n0,1,2,3\n", f"{header}\n0,1,2,3\n"))
    assert dataset.test.targets.tolist() == [target]
    assert dataset.test.inputs.tolist() == [[value for value in range(4) if value != target]]


def test_a_decimal_point_in_any_target_means_regression(load, folder):
    dataset = load(folder("a,y\n1,2\n3,4\n", "a,y\n5,6.0\n"))
    assert dataset.task == "regression" and dataset.classes is None
    assert dataset.train.targets.dtype == torch.float32


def test_byte_order_mark_quotes_and_line_ends_of_other_programs(load, folder):
    windows = b'\xef\xbb\xbf"a","b","label"\r\n"1",2,0\r\n3,4,1\r\n5,6,1\r\n'
    assert load(folder(windows)).sha256 == load(folder()).sha256


REFUSALS = [
    ("a,b,label\n1,2,0\n3,oops,1\n", "train.csv, line 3, column 'b': 'oops' is no finite number"),
    ("a,b,label\n1,2,0\n\n3,,1\n", "train.csv, line 4, column 'b' is empty"),
    ("a,b,label\n1,nan,0\n", "line 2, column 'b': 'nan' is no finite number"),
    ("a,b,label\n1,2,cat\n", "line 2, column 'label': 'cat' is no finite number"),
    ("a,b,label\n1,2\n", "train.csv, line 2: 2 cells; the header has 3"),
    ("1,2,0\n3,4,1\n", "line 1: there are numbers in place of column names"),
    (",a,label\n0,1,2\n", r"train.csv, column 1 \(''\) looks like a row number"),
    ("a,a,label\n0,1,2\n", "the column 'a' stands twice"),
    ("a;b;label\n1;2;0\n", "line 1: the cells are separated by ';', not by commas"),
    ("", "line 1: 0 columns of numbers"),
    ("b,a,label\n1,2,0\n3,4,1\n", "train.csv and test.csv have different headers"),
    ("a,b,label\n", "train has 0 rows; needed: at least 2"),
    (b"a,b,label\n1,\xff,0\n", "train.csv is not UTF-8 text"),
    ('a,b,label\n1,"2,0\n', "train.csv is no CSV file"),
    ("a,b,label\n1,1e39,0\n1,1,0\n", r"x_train holds inf at row 0, entry \[1\]"),
]


@pytest.mark.parametrize(("train", "message"), REFUSALS, ids=[message for _, message in REFUSALS])
def test_what_is_wrong_is_named_with_its_place(load, folder, train, message):
    with pytest.raises(BadInput, match=message) as caught:
        load(folder(train))
    assert caught.value.exit_code == 2


def test_one_file_without_a_split_says_what_to_do(load, folder):
    with pytest.raises(BadInput, match="no column 'split', so the file has no test rows") as caught:
        load(folder() / "train.csv")
    assert "folder with train.csv and test.csv" in caught.value.advice


def test_an_unknown_split_is_an_error(load, tmp_path):
    (tmp_path / "all.csv").write_text("a,split,y\n1,train,0\n2,holdout,1\n")
    with pytest.raises(BadInput, match="row 1 has the split 'holdout'; allowed: train or test or validation"):
        load(tmp_path / "all.csv")


def test_a_lone_number_among_lists_is_a_list_too_short(load, tmp_path):
    (tmp_path / "all.csv").write_text("ids,label,split\n3 4 5,0,train\n5,1,train\n7 8 9,1,test\n")
    with pytest.raises(BadInput, match="line 3: a list of 1 numbers, and 3 before"):
        load(tmp_path / "all.csv")


def test_a_folder_without_test_is_an_error(load, folder):
    path = folder()
    (path / "test.csv").unlink()
    with pytest.raises(BadInput, match=r"there is no test\.csv"):
        load(path)


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_another_separator_is_named(load, tmp_path, mark):
    (tmp_path / "all.csv").write_text("a,label,split\n1,0,train\n".replace(",", mark))
    with pytest.raises(BadInput, match="line 1: the cells are separated by "):
        load(tmp_path / "all.csv")
