"""`--schedule`, `--weight-decay`, `--clip`: another recipe is another run, and strange ones are refused."""

import json

import pytest

from qtrain_cli.cli import main

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
        ("--schedule", "plateau", "--lr", "0.02"),
    ]  # fmt: skip
    files = [made(*part)[1]["artifact_sha256"] for part in parts]
    assert len(set(files)) == len(files)
    same = made("--schedule", "one-cycle", "--weight-decay", "0")[1]
    assert same["artifact_sha256"] == files[0]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--schedule", "platau", "did you mean 'plateau'"),
        ("--weight-decay", "-1", "allowed: 0 or more"),
        ("--clip", "nan", "allowed: 0 or more"),
    ],
)
def test_strange_parts_are_refused(made, option, value, said):
    code, _, err = made(option, value)
    assert code == 2 and said in err
