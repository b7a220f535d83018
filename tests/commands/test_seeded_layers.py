"""`--seeded-layers` from a command line to a file, and all ways back out of it."""

import json

import pytest
import safetensors.torch

from qtrain_cli.cli import main


@pytest.fixture
def shell(digits, tmp_path, monkeypatch, capsys):
    """``shell(*args)``: exit code, parsed stdout or its text, stderr; in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*args):
        code = main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in args else out, err

    return call


def test_from_a_model_to_a_file_and_all_ways_out(shell, digits, tmp_path):
    model, data = digits / "digits_cnn_module.pt", ("--data", digits / "digits.npz")
    sizes = ("--circuits", "4", "--layers", "8", "--seeded-layers", "9", "--epochs", "20")
    code, record, err = shell("compress", model, *data, *sizes, "-o", "x.qtrain", "--json")
    assert code == 0, err
    assert "17 layers, the first 9 of them seeded, 322 trained numbers" in err
    assert (record["layers"], record["seeded_layers"], record["trained_numbers"]) == (17, 9, 4 * 10 * 8 + 2)
    assert record["test_accuracy"] > 0.8
    assert "17 layers, the first 9 seeded" in shell("report", "x.qtrain")[1]
    assert shell("verify", "x.qtrain", "--json")[1]["agreement"] == "exact"
    code, plan, _ = shell("plan", model, *sizes[:-2], "--json")
    assert code == 0 and plan["seeded_layers"] == 9 and plan["trained_numbers"] == record["trained_numbers"]
    assert shell("export", "x.qtrain", "--classical", "-o", "x.safetensors")[0] == 0
    assert safetensors.torch.load_file("x.safetensors")
    assert shell("export", "x.qtrain", "--quantum", "-o", "x.qasm")[0] == 0
    assert (tmp_path / "x.qasm").read_text().count("ry(") == 4 * 17 * 10
    code, sampled, err = shell("sample", "x.qtrain", "--model", model, *data, "--shots", "exact", "--json")
    assert code == 0 and sampled["exact_test_accuracy"] == pytest.approx(record["test_accuracy"], abs=1e-6)


def test_no_negative_number_of_them(shell, digits):
    code, _, err = shell("plan", digits / "digits_cnn_module.pt", "--seeded-layers", "-1")
    assert code == 2 and "--seeded-layers" in err
