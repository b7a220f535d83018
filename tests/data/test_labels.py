"""Labels as class numbers: texts, signs, and an order of the user's own."""

import numpy as np
import pytest

from qtrain_cli.errors import BadInput, UsageError

NAMES = ["versicolor", "setosa", "virginica", "setosa", "setosa", "virginica"]
SORTED = [1, 0, 2, 0, 0, 2]


@pytest.fixture
def csv(tmp_path):
    def write(labels, split=("train", "train", "train", "train", "test", "test"), columns=("a", "b")):
        rows = [f"{','.join('1' for _ in columns)},{y},{s}" for y, s in zip(labels, split, strict=True)]
        (tmp_path / "rows.csv").write_text("\n".join([f"{','.join(columns)},label,split", *rows]))
        return tmp_path / "rows.csv"

    return write


def labels_of(data):
    train = sorted(data.train.targets.tolist() + data.validation.targets.tolist())
    return train, data.test.targets.tolist()


@pytest.mark.parametrize(("order", "numbers"), [
    ((), SORTED),
    (("virginica", "setosa", "versicolor"), [2, 1, 0, 1, 1, 0]),
    (("other", "virginica", "setosa", "versicolor"), [3, 2, 1, 2, 2, 1]),
])  # fmt: skip
def test_texts_are_sorted_or_in_the_order_that_is_given(load, csv, order, numbers):
    data = load(csv(NAMES), classes=order)
    assert labels_of(data) == (sorted(numbers[:4]), numbers[4:])
    assert data.task == "classification" and data.labels == (order or tuple(sorted(set(NAMES))))
    assert data.said[0] == "target: column 'label'"
    assert data.said[1].startswith(f"labels: {data.labels[0]} = 0, {data.labels[1]} = 1")


def test_parquet_takes_texts_too(load, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for split, rows in (("train", NAMES[:4]), ("test", NAMES[4:])):
        label = pa.array(rows).dictionary_encode() if split == "train" else pa.array(rows)
        table = pa.table({"a": [1.0] * len(rows), "label": label.cast(pa.string())})
        pq.write_table(table, tmp_path / f"{split}.parquet")
    assert labels_of(load(tmp_path)) == (sorted(SORTED[:4]), SORTED[4:])


def test_signs_are_two_classes(load, csv):
    data = load(csv([-1, 1, -1, 1, 1, -1]))
    assert labels_of(data) == ([0, 0, 1, 1], [1, 0]) and data.labels == ("-1", "1")


def test_an_order_of_numbers(load, csv):
    assert labels_of(load(csv([1, 2, 3, 3, 3, 1]), classes=("3", "1", "2"))) == ([0, 0, 1, 2], [0, 1])


@pytest.mark.parametrize(("labels", "order", "said"), [
    (NAMES, ("setosa", "virginica"), "--classes lacks the label 'versicolor'"),
    (NAMES, ("setosa", "setosa"), "--classes names a label twice"),
    ([0.5, 1, 2, 3, 4, 5], ("a",), "--classes names labels, and the targets are numbers"),
    ([1, 2, 3, 3, 3, 7], ("1", "2", "3"), "--classes lacks the label '7'"),
])  # fmt: skip
def test_orders_that_do_not_fit(load, csv, labels, order, said):
    with pytest.raises(UsageError, match=said):
        load(csv(labels), classes=order)


@pytest.mark.parametrize(("labels", "said"), [
    (["a", "b", "a", "b", "a", "c"], "test has the label 'c', which train has not"),
    (["a", "", "b", "b", "a", "b"], "line 3, column 'label' is empty"),
    (["1", "2", "no", "1", "1", "2"], "line 4, column 'label': 'no' is no finite number"),
    (["a" * 300, "b", "b", "b", "b", "b"], "longer than a label is"),
    ([-1, 1, 2, 1, 1, 1], "y_train holds -1 at row 0"),
])  # fmt: skip
def test_what_is_no_label(load, csv, labels, said):
    with pytest.raises(BadInput, match=said) as caught:
        load(csv(labels))
    assert len(caught.value.message) <= 500


def test_as_many_texts_as_rows_are_no_labels(load, csv):
    names, splits = [f"name{number}" for number in range(30)], ["train"] * 25 + ["test"] * 5
    with pytest.raises(BadInput, match="25 different texts in 25 rows, such as 'name0': no labels"):
        load(csv(names, splits))


@pytest.mark.parametrize("cells", [("[1, 2, 3]", "[4,5,60000]"), ("1 2 3", "4  5 60000")])
def test_lists_of_numbers_in_a_cell(load, tmp_path, cells):
    one, other = (f'"{cell}"' for cell in cells)
    text = f"tokens,label,split\n{one},0,train\n{other},1,train\n{other},1,test\n"
    (tmp_path / "rows.csv").write_text(text)
    data = load(tmp_path / "rows.csv")
    assert data.test.inputs.tolist() == [[4, 5, 60000]] and str(data.test.inputs.dtype) == "torch.int64"
    (tmp_path / "rows.csv").write_text(text.replace(other, '"[4, 5]"'))
    with pytest.raises(BadInput, match="line 3: a list of 2 numbers, and 3 before") as caught:
        load(tmp_path / "rows.csv")
    assert "fill up with the number that stands for padding" in caught.value.advice


def test_lists_of_numbers_in_parquet(load, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    def write(rows, **more):
        for split in ("train", "test"):
            table = pa.table({"input_ids": pa.array(rows), "label": [0, 1], **more})
            pq.write_table(table, tmp_path / f"{split}.parquet")

    write([[1, 2, 3], [4, 5, 60000]])
    data = load(tmp_path)
    assert data.test.inputs.tolist() == [[1, 2, 3], [4, 5, 60000]]
    assert data.test.inputs.dtype == load(tmp_path).train.inputs.dtype
    write([[0.5, 1.0], [2.0, 3.0]])
    assert load(tmp_path).test.inputs.tolist() == [[0.5, 1.0], [2.0, 3.0]]
    for rows, said in (
        ([[1, 2], [3]], "train.parquet row 1, column 'input_ids' has a list of 1 numbers, and 2 before"),
        ([[1, 2], None], "train.parquet row 1, column 'input_ids' is empty"),
        ([[], []], "train.parquet row 0, column 'input_ids' is empty"),
    ):
        write(pa.array(rows, pa.list_(pa.int64())))
        with pytest.raises(BadInput, match=said):
            load(tmp_path)
    write([[1, 2], [3, 4]], attention_mask=[[1, 1], [1, 0]])
    with pytest.raises(BadInput, match="is of the type list<") as caught:
        load(tmp_path)
    assert (
        caught.value.advice
        == "leave one column of lists, such as input_ids, and the label, or --columns tokens=NAME"
    )


def test_tables_of_small_numbers_are_no_pictures(load, tmp_path):
    x, y = np.arange(20, dtype=np.uint8).reshape(10, 2), np.arange(10) % 2
    np.savez(tmp_path / "rows.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    data = load(tmp_path / "rows.npz")
    assert data.normalisation(data.test.inputs).tolist() == x.tolist() and data.said == ()
    np.savez(tmp_path / "rows.npz", x_train=x[:, None], y_train=y, x_test=x[:, None], y_test=y)
    data = load(tmp_path / "rows.npz")
    assert data.normalisation(data.test.inputs).max() < 1 and data.said == ("pixels are divided by 255",)


def test_whole_numbers_of_a_csv_file_may_be_tokens(load, csv):
    assert load(csv([0, 1, 0, 1, 0, 1])).for_lookups(True).normalisation.tokens
