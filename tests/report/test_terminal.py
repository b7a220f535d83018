"""Any mapping on the terminal."""

from qtrain_cli.report.inspection import inspection_terminal
from qtrain_cli.report.terminal import key_values_terminal


def test_key_values(shown):
    values = {
        "qtrain": "0.1.0",
        "torch": {"version": "2.13", "threads": 2},
        "cuda": None,
        "trusted": True,
        "seconds": 0.0123456,
        "shape": [1, 28, 2800],
        "empty": [],
        "tensors": [{"name": "[b]a", "shape": [3, 4]}, {"name": "b", "shape": []}],
    }
    assert shown(key_values_terminal("Environment", values)) == (
        "Environment\n"
        "  qtrain     0.1.0\n"
        "  torch\n"
        "    version  2.13\n"
        "    threads  2\n"
        "  cuda       -\n"
        "  trusted    yes\n"
        "  seconds    0.01235\n"
        "  shape      1, 28, 2,800\n"
        "  empty      -\n"
        "tensors\n"
        "name  shape\n"
        "[b]a  3, 4\n"
        "b     -\n"
    )


def test_an_inspected_file_is_a_table_of_tensors(shown):
    rows = [
        {"name": "a.weight", "shape": [4, 3], "dtype": "float32"},
        {"name": "a.steps", "shape": [], "dtype": "int64"},
    ]
    entries = [{"path": "ema", "tensor_count": 2, "numbers": 13, "tensors": rows}]
    text = shown(inspection_terminal({"file": "x.pt", "reasons": ["a", "b"], "entries": entries}))
    assert "{" not in text and "weights 'ema': 2 tensors, 13 numbers" in " ".join(text.split())
    lines = [line.split("  ") for line in text.splitlines()]
    assert [[cell.strip() for cell in line if cell] for line in lines[-2:]] == [
        ["a.weight", "4 x 3", "float32"], ["a.steps", "one number", "int64"],
    ]  # fmt: skip


def test_a_tensor_without_numbers_counts_none(shown):
    rows = [
        {"name": "a", "shape": [0, 3], "dtype": "float32"},
        {"name": "b", "shape": [2], "dtype": "float32"},
    ]
    entries = [{"path": "", "tensor_count": 2, "numbers": 2, "tensors": rows}]
    for found in ({"entries": entries}, {"tensors": rows}):
        text = shown(inspection_terminal({"file": "x.pt", **found}))
        assert "2 tensors, 2 numbers" in " ".join(text.split())
