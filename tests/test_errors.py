"""Failures as lines: printable, and never longer than one that is read."""

import difflib
import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtrain_cli.errors import (
    MOST_LETTERS,
    BadInput,
    few_quoted,
    first_few,
    is_out_of_memory,
    one_line,
    suggestion,
)


@given(st.text(), st.text())
def test_whatever_is_said_is_one_printable_line_of_at_most_so_many_letters(message, advice):
    found = BadInput(message * 40, advice * 40)
    for text in (found.message, found.advice, str(found)):
        assert text.isprintable() and len(text) <= MOST_LETTERS
    assert len(f"qtrain: error: {found.message}; {found.advice}") <= 500


def test_a_long_one_keeps_its_beginning_and_its_end():
    text = "'net.pt' holds " + "\x1b[2J\n" * 5_000_000 + "; allowed: 3"
    found = BadInput(text).message
    assert found.startswith("'net.pt' holds \\x1b[2J") and found.endswith("; allowed: 3")
    assert len(found) in range(470, MOST_LETTERS + 1) and " ... " in found
    assert one_line("a" * 480, 480) == "a" * 480 and len(one_line("a" * 481, 480)) <= 480


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError("libx.so: cannot open: Cannot allocate memory"), True),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), True),
        (RuntimeError("can't start new thread"), True),
        (RuntimeError("std::bad_alloc"), True),
        (ValueError("out of memory"), False),
        (OSError(errno.ENOENT, "No such file"), False),
        (None, False),
    ],
)
def test_what_is_no_more_memory(error, found):
    assert is_out_of_memory(error) is found


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], ""),
        (["a"], "'a'"),
        (["a", "b", "c"], "'a', 'b', 'c'"),
        (list("abcde"), "'a', 'b', 'c' and 2 more"),
    ],
)
def test_the_first_few_names_and_how_many_more(names, said):
    assert few_quoted(names) == said
    assert first_few(names, 3) == said.replace("'", "")


def test_a_name_three_times_as_long_as_any_is_compared_with_none(monkeypatch):
    """Comparing one of a megabyte takes seconds."""
    assert suggestion("epoch", ["epochs", "lr"]) == "did you mean 'epochs'?"
    monkeypatch.setattr(difflib, "get_close_matches", None)
    assert suggestion("epochs" * 3, ["epochs", "lr"]) == "allowed: epochs, lr"
