"""A record on the terminal and in Markdown: exact lines, and names that try to be markup."""

import re

import pytest
from reports import GATES, HOSTILE, SPELLED

from qtrain_cli.report.records import record_markdown, record_terminal
from qtrain_cli.results.gates import check_gates


def test_terminal(make_record, shown):
    record = make_record(seconds=92.34)
    assert shown(record_terminal(record, check_gates(record, GATES))) == (
        "mnist_cnn.pt, 97.46 % test accuracy from 1,001 bytes\n"
        "Result\n"
        "  Test accuracy               97.46 % on 10,000 rows\n"
        "  95 % interval               97.13 % to 97.75 %\n"
        "  Teacher's test accuracy     98.72 %\n"
        "  Drop below the teacher      1.26 points\n"
        "  Agreement with the teacher  97.85 %\n"
        "  Artifact file               1,001 bytes\n"
        "  Same tensors in float32     27,336 bytes\n"
        "  Times smaller               27.3\n"
        "Circuit\n"
        "  Weights generated           6,690\n"
        "  Weights kept as they are    0\n"
        "  Trained numbers             626\n"
        "  Times fewer numbers         10.7\n"
        "  Circuits                    1 of 13 qubits and 48 layers\n"
        "  Ansatz and mapping          real-amplitudes, linear\n"
        "  Bits per angle              5\n"
        "Training\n"
        "  Train accuracy              97.91 %\n"
        "  Validation accuracy         97.55 %\n"
        "  Train loss                  0.07123\n"
        "  Test loss                   0.09123\n"
        "  Generalization gap          0.02\n"
        "  Epochs, seed, device        10, 0, cpu\n"
        "  Time                        92.3 s\n"
        "Provenance\n"
        "  Model                       mnist_cnn.pt\n"
        "  Model read as               state dictionary\n"
        f"  Model SHA-256               {'e' * 64}\n"
        f"  Data SHA-256                {'d' * 64}\n"
        f"  Artifact SHA-256            {'f' * 64}\n"
        "  Versions                    qtrain 0.1.0, torch 2.13.0+cpu\n"
        "Gates\n"
        "  min-accuracy  passed  test accuracy is 0.9746; allowed: at least 0.97\n"
        "  max-drop      FAILED  test accuracy 0.9746 is 0.0126 worse than the teacher's 0.9872;"
        " allowed: 0.01. This lies outside the 95 % interval of the two\n"
        "                        measurements (up to 0.0038 on 10,000 test rows), so it is more than chance\n"
        "  max-bytes     passed  the file has 1,001 bytes; allowed: at most 2,000\n"
    )


def test_terminal_without_gates_has_no_section_for_them(make_record, shown):
    assert "Gates" not in shown(record_terminal(make_record(), ()))


def test_terminal_for_errors(make_record, shown):
    text = shown(record_terminal(make_record("regression"), ()))
    assert "Test error                 0.0123 on 500 rows" in text
    assert "95 % interval              0.0111 to 0.0135" in text
    assert "Difference to the teacher  0.0021" in text
    assert "accuracy" not in text


def test_what_was_not_measured_is_said(make_record, shown):
    text = shown(record_terminal(make_record(teacher=None, closeness=None, test_loss=None), ()))
    assert len(re.findall("not measured", text)) == 5


def test_a_file_that_is_not_smaller_says_so(make_record, shown):
    assert "0.55 (it is not smaller)" in shown(record_terminal(make_record(artifact_bytes=50_000), ()))


@pytest.mark.parametrize(
    ("tty", "variables", "coloured"),
    [(True, {}, True), (True, {"NO_COLOR": "1"}, False), (False, {}, False), (True, {"TERM": "dumb"}, False)],
)
def test_colour_on_a_terminal_only(make_record, shown, monkeypatch, tty, variables, coloured):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    text = shown(record_terminal(make_record(), check_gates(make_record(), GATES)), tty=tty)
    assert ("\x1b[36m" in text) is coloured
    assert ("\x1b[32m" in text) is coloured


def test_a_narrow_terminal_folds_and_loses_nothing(make_record, shown, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("NO_COLOR", "1")
    text = shown(record_terminal(make_record(), ()), tty=True)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert max(map(len, plain.splitlines())) <= 50
    assert "".join(plain.split()).count("e" * 64) == 1


def test_a_terminal_of_another_encoding(make_record, shown):
    text = shown(record_terminal(make_record(model="n\u00e9t\u4e2d.pt"), ()), encoding="ascii")
    assert r"n\xe9t\u4e2d.pt" in text


def test_a_hostile_name_on_the_terminal(make_record, shown):
    text = shown(record_terminal(make_record(model=HOSTILE), ()))
    assert "[red]x[/red]" in text
    assert "\x1b" not in text
    assert SPELLED in text


def test_markdown(make_record):
    record = make_record()
    text = record_markdown(record, check_gates(record, GATES))
    lines = text.splitlines()
    assert lines[:7] == [
        r"## qtrain: mnist\_cnn.pt, 97.46 % test accuracy from 1,001 bytes",
        "",
        "| Gate | Verdict | Why |",
        "|---|---|---|",
        "| min-accuracy | passed | test accuracy is 0.9746; allowed: at least 0.97 |",
        "| max-drop | **FAILED** | test accuracy 0.9746 is 0.0126 worse than the teacher's 0.9872;"
        " allowed: 0.01. This lies outside the 95 % interval of the two measurements (up to 0.0038 on 10,000"
        " test rows), so it is more than chance |",
        "| max-bytes | passed | the file has 1,001 bytes; allowed: at most 2,000 |",
    ]
    assert "| Result | |\n|---|---|\n| Test accuracy | 97.46 % on 10,000 rows |\n" in text
    assert text.endswith("|\n")


def test_markdown_without_gates(make_record):
    assert "Gate" not in record_markdown(make_record(), ())


def test_a_hostile_name_in_markdown(make_record):
    text = record_markdown(make_record(model=HOSTILE), ())
    row = next(line for line in text.splitlines() if line.startswith("| Model |"))
    cells = re.split(r"(?<!\\)\|", row)
    assert len(cells) == 4
    bare = re.sub(r"\\[\\`*_\[\]<>|~&#$:.]", "", cells[2])
    assert not set("`*_[]<>|~&#\\") & set(bare)
    assert "\x1b" not in text


def test_no_link_and_no_formula_in_markdown(make_record):
    text = record_markdown(make_record(model="https://a.example Www.a.example $x$"), ())
    assert "| https\\://a.example Www\\.a.example \\$x\\$ |" in text
