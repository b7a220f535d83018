"""`qtrain inspect`: artifacts, checkpoints and models by their content, without running anything."""

import json
from pathlib import Path

import pytest
import torch
from artifacts import LAYOUT, artifact_of, spec_of
from safetensors.torch import save
from torch import nn

from qtrain_cli.artifact.numbers import encode_artifact
from qtrain_cli.cli import main
from qtrain_cli.commands import inspect
from qtrain_cli.errors import BadInput, Refused
from qtrain_cli.files.checkpoint import Checkpoint, save_checkpoint


@pytest.fixture
def artifact(tmp_path):
    """By an ending that says nothing."""
    path = tmp_path / "file.dat"
    path.write_bytes(encode_artifact(artifact_of(spec_of(circuits=2))))
    return path


def test_an_artifact(artifact):
    found = inspect.run(artifact)
    assert found["format"] == "qtrain artifact" and found["file"] == "file.dat"
    assert found["bytes"] == artifact.stat().st_size
    assert found["circuit"] == {
        "ansatz": "real-amplitudes", "entangler": "cnot-ring", "qubits": 4, "layers": 3, "circuits": 2,
        "final_rotation": False,
    }  # fmt: skip
    assert found["mapping"] == {"kind": "linear", "hidden": 0}
    assert found["angles"] == {"bits": 8, "start_seed": 7, "seeded": 0}
    assert found["input"] == {"dtype": "F32", "shape": (1, 8, 8)} and found["run"] == "0123456789abcdef"
    assert found["digest"]["tolerance"] == 0.0 and found["digest"]["probes"] == ()
    assert [(row["name"], row["role"]) for row in found["tensors"]] == [
        (e.name, e.role) for e in LAYOUT.entries
    ]
    assert found["tensors"][0] == {
        "name": "conv.weight",
        "shape": [3, 1, 2, 2],
        "dtype": "F32",
        "role": "generated",
    }


def test_json_is_one_document(artifact, capsys):
    assert main(["inspect", str(artifact), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(json.dumps(inspect.run(artifact)))


def test_for_people(artifact, capsys):
    assert main(["inspect", str(artifact)]) == 0
    said = capsys.readouterr().out
    assert "qtrain artifact" in said and "norm.running_mean" in said and "real-amplitudes" in said


def test_a_rival_has_its_method_and_plan(capsys):
    path = Path(__file__).parents[1] / "formats" / "4-rival-subspace.qtrain"
    found = inspect.run(path)
    assert (found["method"], found["plan"], found["record"]) == ("subspace", {"k": 6, "seed": 3}, False)
    assert "circuit" not in found
    assert main(["inspect", str(path)]) == 0 and "subspace" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["report"], ["report", "--max-bytes", "300"], ["export", "--quantum", "-o", "OUT.qasm"]]
)
def test_what_needs_circuits_says_that_a_rival_has_none(words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path(__file__).parents[1] / "formats" / "4-rival-subspace.qtrain"
    assert main([words[0], str(path), *words[1:]]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and not list(tmp_path.iterdir())
    assert "this is a file of the rival 'subspace', which has no circuits" in said.err


def test_a_checkpoint(tmp_path):
    path = tmp_path / "run.ckpt"
    save_checkpoint(path, Checkpoint({"theta": torch.zeros(2, 3), "best": torch.ones(1)}, {}, {"model": "m"}))
    found = inspect.run(path)
    assert found["format"] == "qtrain checkpoint" and "--resume" in found["advice"]
    assert found["tensors"] == [
        {"name": "best", "shape": [1], "dtype": "F32"}, {"name": "theta", "shape": [2, 3], "dtype": "F32"},
    ]  # fmt: skip


def test_models(tmp_path):
    (tmp_path / "plain.safetensors").write_bytes(save({"w": torch.zeros(2)}))
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "model.pt")
    assert inspect.run(tmp_path / "plain.safetensors")["format"] == "safetensors"
    assert inspect.run(tmp_path / "model.pt")["format"] == "torch"


def test_a_damaged_artifact(artifact, capsys):
    artifact.write_bytes(artifact.read_bytes()[:-1])
    with pytest.raises(Refused, match="damaged or hostile"):
        inspect.run(artifact)
    assert main(["inspect", str(artifact), "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "refused"


@pytest.mark.parametrize(("name", "message"), [("nowhere", "there is no file"), (".", "is a folder, not a")])
def test_no_file(tmp_path, name, message):
    with pytest.raises(BadInput, match=message):
        inspect.run(tmp_path / name)
