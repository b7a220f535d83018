"""Targets of places and targets that follow from inputs: what they become, what is said, what is refused."""

import numpy as np
import pytest
import torch

from qtrain_cli.data import load_data
from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.settings import DataSettings, TaskSettings
from qtrain_cli.tasks.places import IGNORED

RANDOM = np.random.default_rng(0)
TOKENS = RANDOM.integers(1, 9, (6, 5))
TAGS = RANDOM.integers(0, 4, (6, 5))
TAGS[:, 4] = -100
PIXELS = RANDOM.integers(0, 255, (6, 4, 4)).astype(np.uint8)
REGIONS = RANDOM.integers(0, 3, (6, 4, 4)).astype(np.uint8)
REGIONS[:, 0, 0] = 255


@pytest.fixture
def loaded(tmp_path):
    """``loaded(x, y, family, **task)``: four rows of train and two of test of these arrays, read."""

    def load(x, y=None, family="", classes=(), **task):
        both = {"x": x} if y is None else {"x": x, "y": y}
        parts = {f"{name}_train": rows[:4] for name, rows in both.items()}
        parts |= {f"{name}_test": rows[4:] for name, rows in both.items()}
        np.savez(tmp_path / "data.npz", **parts)
        asked = TaskSettings(family, **task)
        return load_data(DataSettings(str(tmp_path / "data.npz"), classes=classes, asked=asked), 0)

    return load


def test_labels_of_tokens(loaded):
    data = loaded(TOKENS, TAGS)
    assert (data.task, data.classes) == ("tokens", int(TAGS.max()) + 1)
    assert data.test.targets.tolist() == TAGS[4:].tolist() and data.test.targets.dtype == torch.int16


def test_classes_of_pixels_and_the_void_label(loaded):
    data = loaded(PIXELS, REGIONS, ignore_index=255)
    assert (data.task, data.classes) == ("segmentation", 3)
    wanted = np.where(REGIONS == 255, IGNORED, REGIONS.astype(int))
    assert data.test.targets.tolist() == wanted[4:].tolist()


def test_numbers_that_fit_in_no_small_type(loaded):
    tags = TAGS.copy()
    tags[0, 0] = 70_000
    data = loaded(TOKENS, tags)
    assert data.test.targets.dtype == torch.int32 and data.classes == 70_001


def test_zeros_and_ones_are_labels_of_a_row_unless_a_task_says_else(loaded):
    ones = (TAGS > 0).astype(int)
    assert loaded(TOKENS, ones).task == "regression"  # floats: the model's outputs tell the rest
    assert loaded(TOKENS, ones, "tokens").task == "tokens"


def test_the_token_after_each(loaded):
    data = loaded(TOKENS, None, "language")
    assert data.task == "language" and data.asked.family == "language"
    assert data.test.targets[:, :-1].tolist() == TOKENS[4:, 1:].tolist()
    assert set(data.test.targets[:, -1].tolist()) == {IGNORED}
    assert "targets are the tokens after each" in data.rows_in_words


def test_validation_rows_of_the_datas_own_need_no_targets_either(tmp_path):
    np.savez(tmp_path / "data.npz", x_train=TOKENS[:3], x_validation=TOKENS[3:4], x_test=TOKENS[4:])
    asked = TaskSettings("language")
    data = load_data(DataSettings(str(tmp_path / "data.npz"), asked=asked), 0)
    assert data.train.inputs.tolist() == TOKENS[:3].tolist()
    assert data.validation.inputs.tolist() == TOKENS[3:4].tolist()
    assert data.validation.targets.tolist() == [[*TOKENS[3, 1:].tolist(), IGNORED]]


def test_padding_is_no_target(loaded):
    padded = TOKENS.copy()
    padded[:, 3:] = 0
    targets = loaded(padded, None, "language", ignore_index=0).test.targets
    assert targets.tolist() == [[row[1], row[2], IGNORED, IGNORED, IGNORED] for row in padded[4:].tolist()]


def test_a_mask_says_what_is_padding(tmp_path):
    mask = np.ones_like(TOKENS)
    mask[:, 3:] = 0
    parts = {"x_train.input_ids": TOKENS[:4], "x_train.attention_mask": mask[:4],
             "x_test.input_ids": TOKENS[4:], "x_test.attention_mask": mask[4:]}  # fmt: skip
    np.savez(tmp_path / "data.npz", **parts)
    asked = TaskSettings("language")
    targets = load_data(DataSettings(str(tmp_path / "data.npz"), asked=asked), 0).test.targets
    assert targets.tolist() == [[row[1], row[2], IGNORED, IGNORED, IGNORED] for row in TOKENS[4:].tolist()]


@pytest.mark.parametrize("family", ["", "language"])
def test_targets_that_are_the_tokens_are_shifted_here(loaded, family):
    """Whoever trains with a library that shifts them inside has them so."""
    labels = TOKENS.copy()
    labels[:, 4] = -100
    data = loaded(TOKENS, labels, family)
    assert data.task == "language"
    wanted = [[*row[1:4], IGNORED, IGNORED] for row in TOKENS[4:].tolist()]
    assert data.test.targets.tolist() == wanted


def test_masked_targets_stay_where_they_are(loaded):
    labels = np.full_like(TOKENS, -100)
    labels[:, 2] = 9 - TOKENS[:, 2]
    assert loaded(TOKENS, labels, "language").test.targets.tolist() == labels[4:].tolist()


def test_without_labels(loaded):
    data = loaded(RANDOM.normal(size=(6, 3)), None, "features")
    assert data.task == "features" and len(data.test.targets) == 2


def test_names_of_labels(loaded):
    names = ("O", "B-X", "I-X", "B-Y")
    assert loaded(TOKENS, TAGS, classes=names).labels == names


@pytest.mark.parametrize(("y", "family", "task", "said"), [
    (None, "", {}, "y_train and y_test are missing"),
    (None, "tokens", {}, "y_train and y_test are missing, and --task tokens needs them"),
    (TAGS - 5, "", {}, r"y_train holds -[1-5] at row \d, place \[\d\]; allowed: classes from 0 on, and -100"),
    (TAGS * 0, "tokens", {"ignore_index": 0}, "no place of y_train counts: all are 0"),
])  # fmt: skip
def test_what_cannot_be(loaded, y, family, task, said):
    with pytest.raises(BadInput, match=said):
        loaded(TOKENS, y, family, **task)


@pytest.mark.parametrize(("changed", "said"), [
    ({"y_test": TAGS[4:] / 2}, r"y_test is an array of float64 with the shape \(2, 5\); y_train has whole"),
    ({"y_test": TAGS[4:].astype("U3")}, "y_test is an array of <U3"),
    ({"y_test": TAGS[4:, :3]}, r"y_test is an array of int64 with the shape \(2, 3\)"),
    ({"y_train": TAGS[:4].astype("U3")}, "y_train has the dtype <U3"),
    ({"y_train": TOKENS[:4], "y_test": TOKENS[4:, :3]}, r"y_test is an array of int64 with the shape \(2, 3"),
    ({"y_train": TOKENS[:4], "y_test": TOKENS[4:5]}, "x_test has 2 rows and y_test 1"),
    ({"y_train": TOKENS[:4], "y_test": TOKENS[4:, 0]}, r"y_test is an array of int64 with the shape \(2,\)"),
    ({"y_train": TOKENS[:4], "x_test": TOKENS[4:, :3]}, "x_test is an array of int64"),
    ({"y_train": TOKENS[:4], "x_test": TOKENS[4:] / 2}, "x_test holds no tokens, as x_train does"),
])  # fmt: skip
def test_splits_of_different_kinds(tmp_path, changed, said):
    rows = {"x_train": TOKENS[:4], "y_train": TAGS[:4], "x_test": TOKENS[4:], "y_test": TAGS[4:]}
    np.savez(tmp_path / "data.npz", **rows | changed)
    with pytest.raises(BadInput, match=said):
        load_data(DataSettings(str(tmp_path / "data.npz")), 0)


@pytest.mark.parametrize(("x", "y", "family", "task", "said", "fits"), [
    (TOKENS, TAGS[:, 0], "language", {}, r"takes a token for each place \(N, L\), or none", "classification"),
    (TOKENS, TAGS, "segmentation", {}, r"takes a class for each pixel \(N, H, W\)", "tokens, language"),
    (TOKENS, TAGS, "classification", {}, r"takes class numbers \(N,\)", "tokens, language"),
    (PIXELS, REGIONS, "tokens", {}, r"takes a label for each token \(N, L\)", "segmentation"),
    (TOKENS, TAGS[:, 0], "", {"ignore_index": 3}, "--ignore-index 3 is of a label for each token or", "drop"),
])  # fmt: skip
def test_tasks_that_do_not_fit(loaded, x, y, family, task, said, fits):
    with pytest.raises(UsageError, match=said) as caught:
        loaded(x, np.abs(y), family, **task)
    assert fits in caught.value.advice
