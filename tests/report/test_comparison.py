"""A comparison on the terminal, as Markdown and as a picture."""

import sys

import pytest
from comparisons import cell, comparison

from qtrain_cli.errors import BadInput
from qtrain_cli.report.comparison import comparison_markdown, comparison_terminal
from qtrain_cli.report.comparison_figure import comparison_figure
from qtrain_cli.report.terminal import show
from qtrain_cli.results.comparison import UNREACHED, UNSUITED, Cell

GOOD, BAD = [1.0] * 98 + [0.0] * 2, [1.0] * 90 + [0.0] * 10


@pytest.fixture
def found():
    cells = [
        cell(name, seed, rows, budget)
        for budget in (1000, 2000)
        for seed, rows in enumerate((GOOD, BAD))
        for name in ("ours", "narrow")
    ]
    cells += [Cell("quantisation", 1000, seed, UNREACHED, file_bytes=1616) for seed in (0, 1)]
    cells += [cell("quantisation", seed, GOOD, 2000) for seed in (0, 1)]
    cells += [Cell("subspace", budget, 0, UNSUITED) for budget in (1000, 2000)]
    return comparison(cells, budgets=(1000, 2000))


def test_the_terminal_has_figures_smallest_files_and_the_verdict(found, capsys):
    show(comparison_terminal(found))
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:6]}
    assert rows["ours"] == ["94.00", "%", "±", "5.66", "94.00", "%", "±", "5.66"]
    assert rows["quantisation"] == ["needs", "1,616", "B", "98.00", "%", "±", "0.00"]
    assert rows["subspace"] == ["unsuited", "unsuited"]
    assert any(line.startswith("2,000 bytes: quantisation is first with 98.00 %") for line in lines)
    assert "Verdict" in lines


def test_markdown_says_what_was_tuned_and_how_much_the_teacher_takes(found):
    text = comparison_markdown(found)
    assert "| ours | 94.00 % ± 5.66 | 94.00 % ± 5.66 |" in text
    assert "- 2,000 bytes: quantisation is first" in text and "5,000 bytes in float32" in text
    assert "learning rate 0.001, 0.003, 0.01 |" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)
    rules = [line for line in tables if line.startswith("|---")]
    assert rules == ["|---|---:|---:|", "|---" + "|---:" * 7 + "|", "|---|---|---|---|"]


@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_picture_has_the_form_of_its_ending_and_the_same_bytes(found, ending, magic):
    pytest.importorskip("matplotlib")
    first = comparison_figure(found, ending)
    assert first.startswith(magic)
    if ending == "svg":
        assert all(name.encode() in first for name in ("ours", "narrow", "quantisation", "teacher"))
    assert comparison_figure(found, ending) == first


def test_an_error_is_drawn_too():
    pytest.importorskip("matplotlib")
    found = comparison([cell("ours", 0, [0.1, 0.2])], "regression")
    assert comparison_figure(found, "png").startswith(b"\x89PNG")


def test_without_matplotlib_a_picture_is_refused_with_what_to_install(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(BadInput, match="drawing needs the package matplotlib") as raised:
        comparison_figure(found, "png")
    assert raised.value.advice == "pip install 'qtrain[plot]'"
