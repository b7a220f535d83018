"""Which files are read under which PyTorch: the audited versions, and the line that README.md there draws."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from qtrain_cli.errors import Refused
from qtrain_cli.models import describe_model, load_model
from qtrain_cli.models.untrusted import versions
from qtrain_cli.settings import ModelSettings

README = Path(versions.__file__).with_name("README.md").read_text()
ARCH = f"{Path(__file__).resolve().parents[3] / 'samples' / 'digits_cnn.py'}:digits_cnn"
#: Files whose reading rests on code that PyTorch does not promise to be safe.
AUDITED_ONLY = ("digits_cnn_module.pt", "digits_cnn.pt2")
PROMISED = ("digits_cnn.pt", "digits_cnn.safetensors")


@pytest.fixture
def running(monkeypatch):
    """``running(version)``: this is the PyTorch that runs."""
    return lambda version: monkeypatch.setattr(torch, "__version__", version)


@pytest.mark.parametrize(
    "version", ["2.13.0", "2.13.0+cpu", "2.13.4+cu130.local", *(f"{v}.0" for v in versions.AUDITED)]
)
def test_releases_of_an_audited_version(running, version):
    running(version)
    assert versions.is_audited()


@pytest.mark.parametrize(
    "version",
    [
        "2.10.0",
        "2.12.1+cpu",
        "2.14.0",
        "2.130.0",
        "12.13.0",
        "2.13.0a0+git1",
        "2.13.0.dev20260801",
        "2.13.0rc1",
        "2.13",
    ],
)
def test_every_other_version(running, version):
    running(version)
    assert not versions.is_audited()


@pytest.mark.parametrize("name", AUDITED_ONLY)
def test_another_version_is_refused_through_the_command_line(running, cli, digits, name):
    running("2.12.1+cpu")
    ran = cli("plan", digits / name, "--params", "720", "--json")
    error = json.loads(ran.out)["error"]
    assert (ran.code, error["kind"]) == (4, "refused")
    assert "PyTorch 2.12.1+cpu" in error["message"] and "was not audited" in error["message"]
    assert f"allowed: PyTorch {', '.join(versions.AUDITED)}" in error["message"]
    for advice in ("pip install 'torch==2.13.*'", "--arch", "--trust-pickle"):
        assert advice in error["advice"]


@pytest.mark.parametrize("name", AUDITED_ONLY)
def test_the_running_version_is_audited(cli, digits, name):
    assert versions.is_audited(), "the tests run under a PyTorch whose readers nobody read"
    assert cli("plan", digits / name, "--params", "720").code == 0


@pytest.mark.parametrize("name", AUDITED_ONLY)
def test_trust_reads_them_under_another_version(running, digits, name):
    running("2.12.1")
    loaded = load_model(ModelSettings(digits / name, trust_pickle=True))
    assert loaded.trust == "trusted-pickle"
    assert sum(parameter.numel() for parameter in loaded.module.parameters()) == 3730


@pytest.mark.parametrize("name", PROMISED)
def test_weights_alone_are_read_under_every_version(running, digits, name):
    loaded = load_model(ModelSettings(digits / name, arch=ARCH))
    running("2.12.1")
    again = load_model(ModelSettings(digits / name, arch=ARCH))
    assert (again.trust, again.sha256) == (loaded.trust, loaded.sha256)


def test_a_checkpoint_with_side_notes_is_weights_alone(running, tmp_path):
    notes = {"model": torch.nn.Linear(2, 3).state_dict(), "path": tmp_path, "epoch": 3}
    torch.save(notes, tmp_path / "notes.pt")
    running("2.12.1")
    arguments = {"in_features": 2, "out_features": 3}
    settings = ModelSettings(tmp_path / "notes.pt", arch="torch.nn:Linear", arch_args=arguments)
    assert load_model(settings).trust == "weights-only"


def test_an_architecture_does_not_make_a_pickled_module_weights_alone(running, digits):
    running("2.12.1")
    with pytest.raises(Refused, match="was not audited"):
        load_model(ModelSettings(digits / "digits_cnn_module.pt", arch=ARCH))


@pytest.mark.parametrize("name", AUDITED_ONLY)
def test_inspect_says_why_they_need_trust(running, digits, name):
    assert not describe_model(digits / name)["needs_trust"]
    running("2.12.1")
    facts = describe_model(digits / name)
    assert facts["needs_trust"] and "was not audited" in facts["reasons"][0]


def test_the_page_beside_the_checks_names_versions_and_files():
    assert f"`AUDITED` is {', '.join(versions.AUDITED)}." in README
    files = {path.name for path in Path(versions.__file__).parent.glob("[!_]*.py")}
    assert {file for file in files if f"| `{file}` |" not in README} == set()
