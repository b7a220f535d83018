"""The checks every format passes through: forms that are accepted, and each refusal with its message."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qtrain_cli.data.arrays import Arrays, arrays_by_name, as_array, checked, digest
from qtrain_cli.errors import BadInput

TABLE = Arrays(np.zeros((3, 2)), np.array([0, 1, 1]), np.zeros((2, 2)), np.array([1, 0]))


def changed(**arrays) -> Arrays:
    return dataclasses.replace(TABLE, **arrays)


def test_numbers_become_float32_and_labels_int64():
    arrays = checked(changed(x_train=np.arange(6).reshape(3, 2), y_train=np.array([0, 1, 1], np.uint8)))
    assert arrays.x_train.dtype == np.float32
    assert arrays.y_train.dtype == np.int64
    assert arrays.x_train.tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("dtype", [">f4", "f2", "f8", "u8", "i8", ">i4", "u2", "?"])
def test_every_number_type_is_accepted(dtype):
    x = np.array([[1, 0], [0, 1], [1, 1]]).astype(dtype)
    arrays = checked(changed(x_train=x, x_test=x[:2]))
    assert arrays.x_train.tolist() == [[1, 0], [0, 1], [1, 1]]
    whole = dtype in ("i8", ">i4", "u2")  # they may be places in a table
    assert arrays.x_train.dtype == arrays.x_test.dtype == np.dtype(np.int64 if whole else np.float32)


def test_pixels_gain_a_channel_and_labels_lose_their_column():
    x = np.ones((3, 4, 5), np.uint8)
    arrays = checked(Arrays(x, np.array([[0], [1], [2]]), x[:1, None], np.array([[2]])))
    assert arrays.x_train.shape == (3, 1, 4, 5)
    assert arrays.y_train.tolist() == [0, 1, 2]


def test_float_targets_may_have_several_columns():
    arrays = checked(changed(y_train=np.ones((3, 2)), y_test=np.ones((2, 2))))
    assert arrays.y_train.dtype == np.float32
    assert arrays.y_train.shape == (3, 2)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_read_only_and_strided_arrays_become_writeable_and_contiguous(dtype):
    x = np.ones((3, 2), dtype)
    x.flags.writeable = False
    arrays = checked(changed(x_train=x, x_test=np.zeros((4, 2), dtype)[::2]))
    assert arrays.x_train.flags.writeable and arrays.x_train.flags.c_contiguous
    assert arrays.x_test.flags.c_contiguous


REFUSALS = [
    ({"x_train": np.array([["a", "b"]] * 3)}, "x_train has the dtype <U1"),
    ({"x_train": np.zeros((3, 2), complex)}, "x_train has the dtype complex128"),
    ({"x_train": np.zeros(3)}, r"x_train has the shape \(3,\)"),
    ({"x_train": np.zeros((3, 0))}, r"x_train has the shape \(3, 0\)"),
    ({"x_train": np.zeros((3, 28, 28, 3), np.uint8)}, "channels last"),
    ({"x_train": np.zeros((4, 2))}, "x_train has 4 rows and y_train 3"),
    ({"y_test": np.array([0, 1, 1])}, "x_test has 2 rows and y_test 3"),
    ({"x_train": np.zeros((1, 2)), "y_train": np.array([0])}, "train has 1 rows; needed: at least 2"),
    ({"x_test": np.zeros((0, 2)), "y_test": np.array([], int)}, "test has 0 rows; needed: at least 1"),
    ({"x_test": np.zeros((2, 5))}, r"x_train has the shape \(2,\) and one of x_test \(5,\)"),
    (
        {"x_train": np.zeros((3, 1, 2, 2)), "x_test": np.zeros((2, 1, 2, 2), np.uint8)},
        "x_train has the type float32 and one of x_test uint8",
    ),
    ({"y_test": np.zeros(2)}, "y_train has the type int64 and one of y_test float32"),
    ({"x_train": np.array([[0, 1], [2, np.nan], [0, 0]])}, r"x_train holds nan at row 1, entry \[1\]"),
    ({"x_test": np.array([[0, 1], [-np.inf, 0]])}, r"x_test holds -inf at row 1, entry \[0\]"),
    ({"x_train": np.array([[0, 1e39]] * 3)}, r"x_train holds 1e\+39 at row 0, entry \[1\]"),
    ({"y_train": np.array([0, np.nan, 1])}, "y_train holds nan at row 1;"),
    ({"y_train": np.array([0, 1, -1])}, "y_train holds -1 at row 2; allowed: class numbers 0 to 99999"),
    ({"y_train": np.array([0, 1, 250_000])}, "y_train holds 250000 at row 2"),
    ({"y_train": np.array([0, 1, 2**64 - 1], np.uint64)}, "y_train holds 18446744073709551615 at row 2"),
    ({"y_test": np.array([0, 2])}, "y_test holds the class 2 at row 1; y_train knows 0 to 1"),
    ({"y_train": 2 * np.eye(3, dtype=int)}, r"y_train has the shape \(3, 3\); allowed for integer targets"),
    ({"y_train": np.zeros((3, 1, 1))}, r"y_train has the shape \(3, 1, 1\); allowed for float targets"),
]


@pytest.mark.parametrize(("arrays", "message"), REFUSALS, ids=[message for _, message in REFUSALS])
def test_what_disagrees_is_refused(arrays, message):
    checked(TABLE)
    with pytest.raises(BadInput, match=message) as caught:
        checked(changed(**arrays))
    assert caught.value.exit_code == 2


def test_by_name_takes_tensors_and_lists_and_ignores_the_rest():
    content = {
        "x_train": torch.ones(2, 1, dtype=torch.bfloat16, requires_grad=True),
        "y_train": [0, 1],
        "x_test": [[2.0]],
        "y_test": torch.tensor([1]),
        "note": "ignored",
    }
    arrays = arrays_by_name(content, content.__getitem__)
    assert arrays.x_train.dtype == np.float32
    assert arrays.y_test.tolist() == [1]


def test_by_name_lists_what_is_missing_and_what_was_found():
    with pytest.raises(BadInput, match="y_train, x_test missing; found x_train, y_test"):
        arrays_by_name(["x_train", "y_test"], lambda name: [])


def test_targets_may_be_missing_for_a_task_that_needs_none():
    arrays = arrays_by_name(["x_train", "x_test"], lambda name: [[1.0], [2.0]])
    assert not arrays.has_targets and arrays.y_train.shape == (2, 0)
    assert checked(arrays).y_test.shape == (2, 0)


def test_ragged_lists_are_no_array():
    with pytest.raises(BadInput, match="x_train is no array of numbers"):
        as_array("x_train", [[1], [1, 2]])


@given(
    hnp.arrays(
        np.float32, st.tuples(st.integers(2, 5), st.integers(1, 4)), elements=st.floats(-9, 9, width=32)
    )
)
def test_checking_is_idempotent_and_the_hash_ignores_memory_layout(x):
    y = np.arange(len(x))
    once = checked(Arrays(x, y, x[:1], y[:1]))
    twice = checked(once)
    swapped = checked(Arrays(np.asfortranarray(x).astype(">f4"), y.astype("u1"), x[:1], y[:1]))
    assert digest(once) == digest(twice) == digest(swapped)
