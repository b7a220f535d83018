"""`--schedule`, `--optimizer`, `--validation 0` and the like: another recipe is another run, and strange ones
are refused."""

import json

import pytest

from qtrain_cli.cli import main
from qtrain_cli.errors import RunFailed
from qtrain_cli.training import loop, recovery

PLAIN = ("--layers", "4", "--epochs", "3")


@pytest.fixture
def made(digits, tmp_path, monkeypatch, capsys):
    """``made(*options)``: exit code, the record or None, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*options):
        model, data = digits / "digits_cnn_module.pt", digits / "digits.npz"
        words = ["compress", model, "--data", data, *PLAIN, "-o", "x.qtrain", "--force", "--json", *options]
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, json.loads(out) if code == 0 else None, err

    return call


def test_each_part_of_a_recipe_changes_what_is_learned(made):
    parts = [
        (), ("--schedule", "constant"), ("--weight-decay", "0.1"), ("--clip", "0"), ("--clip", "0.01"),
        ("--schedule", "plateau", "--lr", "0.02"), ("--optimizer", "adam"),
        ("--optimizer", "adam", "--eps", "1e-3"), ("--validation", "0"),
        ("--temperature-end", "0.5"),
    ]  # fmt: skip
    # Bare files hold what was learned alone: no digest of the settings.
    files = [made("--bare", *part)[1]["artifact_sha256"] for part in parts]
    assert len(set(files)) == len(files)
    same = made("--bare", "--schedule", "one-cycle", "--weight-decay", "0")[1]
    assert same["artifact_sha256"] == files[0]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--schedule", "platau", "did you mean 'plateau'"),
        ("--weight-decay", "-1", "allowed: 0 or more"),
        ("--clip", "nan", "allowed: 0 or more"),
        ("--optimizer", "adamw", "did you mean 'adam'"),
        ("--eps", "1e-6", "--eps does nothing without Adam"),
        ("--validation", "1", "allowed: 0 to below 1"),
    ],
)
def test_strange_parts_are_refused(made, option, value, said):
    code, _, err = made(option, value)
    assert code == 2 and said in err


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        (("--distill", "0"), "--temperature-end does nothing with --distill 0; give --distill a weight"),
        (("--schedule", "plateau"), "--temperature-end moves the loss that --schedule plateau goes by"),
    ],
)
def test_a_temperature_that_moves_needs_a_teachers_weight_and_no_plateau(made, beside, said):
    code, _, err = made(*beside, "--temperature-end", "0.5")
    assert code == 2 and said in err


def test_epsilon_is_above_zero(made):
    code, _, err = made("--optimizer", "adam", "--eps", "0")
    assert code == 2 and "--eps is 0.0; allowed: above 0" in err


def test_without_validation_rows_all_are_trained_on_and_the_last_state_is_kept(made):
    code, record, err = made("--validation", "0")
    assert code == 0 and record["validation_accuracy"] is None
    assert "1,437 train, 0 validation" in err and "no validation rows: the last state is kept" in err
    lines = [line for line in err.splitlines() if line.startswith("epoch ")]
    assert lines and not any("validation" in line for line in lines)


def test_a_card_says_that_the_last_state_was_kept(made, tmp_path, capsys):
    made("--validation", "0")
    assert main(["card", "x.qtrain", "-o", "card.md"]) == 0
    text = (tmp_path / "card.md").read_text()
    assert "no validation rows were set apart, and the last state was kept" in text
    assert "chosen by validation rows" not in text


def test_a_run_without_validation_rows_goes_on_bit_for_bit(digits, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model, data = digits / "digits_cnn_module.pt", digits / "digits.npz"
    words = ["compress", model, "--data", data, "--validation", "0", *PLAIN, "--optimizer", "adam", "--json"]
    command = [str(word) for word in words]
    assert main([*command, "-o", "whole.qtrain"]) == 0
    whole = json.loads(capsys.readouterr().out)
    with monkeypatch.context() as stopped:
        stopped.setattr(loop._Loop, "validate", _stopped_in_second(loop._Loop.validate))
        stopped.setattr(recovery.Clock, "due", lambda clock: True)
        assert main([*command, "-o", "cut.qtrain"]) != 0
    capsys.readouterr()
    assert main([*command, "-o", "cut.qtrain", "--resume"]) == 0
    assert json.loads(capsys.readouterr().out)["artifact_sha256"] == whole["artifact_sha256"]


def _stopped_in_second(validate):
    seen = []

    def stopped(own):
        seen.append(own)
        if len(seen) == 2:
            raise RunFailed("stopped here", "")
        return validate(own)

    return stopped


@pytest.mark.parametrize("verb", ["compare", "compare-students"])
def test_what_is_chosen_by_validation_rows_refuses_to_go_without(digits, tmp_path, monkeypatch, capsys, verb):
    monkeypatch.chdir(tmp_path)
    own = {
        "compare": [str(digits / "digits_cnn_module.pt"), "--bytes", "600"],
        "compare-students": ["--student", "qnn:qubits=2,layers=1", "-o", "cells"],
    }
    words = [verb, *own[verb], "--data", str(digits / "digits.npz"), "--validation", "0"]
    assert main(words) == 2
    assert "by rows that --validation 0 does not set apart" in capsys.readouterr().err


def test_a_student_learns_without_validation_rows(digits, tmp_path, capsys):
    data = str(digits / "digits.npz")
    words = ["train", "qnn:qubits=2,layers=1", "--data", data, "--validation", "0", "--epochs", "2", "--json"]
    assert main([*words, "-o", str(tmp_path / "s.qtrain")]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["validation_accuracy"] is None and record["epochs_to_95"] is None
    assert [figure for _, figure in record["history"]] == [None, None]
