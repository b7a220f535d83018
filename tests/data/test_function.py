"""``file.py:function``: what it may return, and failures of the user's code as one line."""

from __future__ import annotations

import sys

import pytest
import torch

from qtrain_cli.errors import BadInput

FOUR = "[[0.0], [1.0], [2.0]], [0, 1, 0], [[3.0]], [1]"


@pytest.fixture
def source(tmp_path):
    def write(body: str) -> str:
        (tmp_path / "mine.py").write_text(body)
        return f"{tmp_path / 'mine.py'}:splits"

    return write


@pytest.mark.parametrize(
    "body",
    [
        f"def splits(): return {FOUR}",
        f"import torch\ndef splits(): return [torch.tensor(part) for part in ({FOUR})]",
        f"def splits(): return dict(zip(['x_train', 'y_train', 'x_test', 'y_test'], [{FOUR}]), more=1)",
    ],
)
def test_tuples_lists_tensors_and_dictionaries(load, source, body):
    dataset = load(source(body))
    assert dataset.test.inputs.tolist() == [[3.0]]
    assert dataset.train.inputs.dtype == torch.float32
    assert dataset.classes == 2


def test_neighbours_can_be_imported_and_the_path_is_restored(load, source, tmp_path):
    (tmp_path / "neighbour_of_mine.py").write_text(f"PARTS = ({FOUR})")
    before = list(sys.path)
    load(source("def splits():\n    from neighbour_of_mine import PARTS\n    return PARTS"))
    assert sys.path == before


def test_what_the_function_prints_stays_out_of_stdout(load, source, capsys):
    load(source(f"def splits():\n    print('hello')\n    return {FOUR}"))
    assert capsys.readouterr() == ("", "hello\n")


REFUSALS = [
    ("def splits(): return 1 / 0", "mine.py raised ZeroDivisionError: division by zero"),
    ("import nothing_like_this", "mine.py raised ModuleNotFoundError: No module named 'nothing_like_this'"),
    ("def splits(: pass", "mine.py raised SyntaxError"),
    ("raise SystemExit(3)", "mine.py raised SystemExit: 3"),
    ("def split(): pass", "mine.py has no function 'splits'"),
    ("splits = 3", "mine.py has no function 'splits'"),
    ("def splits(): return None", r"splits\(\) returned a NoneType; allowed: a tuple of four arrays"),
    ("def splits(): return [1], [2]", r"splits\(\) returned a tuple of 2"),
    ("def splits(): return {'x_train': [[1.0]]}", "y_train, x_test, y_test missing; found x_train"),
    ("def splits(): return [[1], [1, 2]], [0, 1], [[1]], [0]", "x_train is no array of numbers"),
]


@pytest.mark.parametrize(("body", "message"), REFUSALS, ids=[message for _, message in REFUSALS])
def test_what_the_code_does_wrong_is_one_line(load, source, body, message):
    with pytest.raises(BadInput, match=message) as caught:
        load(source(body))
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message


def test_a_misspelt_function_gets_a_suggestion(load, source):
    with pytest.raises(BadInput) as caught:
        load(source("from pathlib import Path\ndef split(): pass"))
    assert caught.value.advice == "did you mean 'split'?"


def test_a_missing_file_is_named(load, tmp_path):
    with pytest.raises(BadInput, match=r"there is no file .*gone\.py"):
        load(f"{tmp_path / 'gone.py'}:splits")
