"""`qtrain verify`: what it says of honest files, of other machines', and of changed ones."""

import json
from dataclasses import replace

import pytest
from artifacts import artifact_of, spec_of
from hostile import make_artifacts

from qtrain_cli.artifact.numbers import Artifact, write_artifact
from qtrain_cli.cli import main
from qtrain_cli.commands import verify
from qtrain_cli.errors import BadInput, Refused
from qtrain_cli.settings import VerifySettings
from qtrain_cli.targets.entries import GENERATED, LayoutSpec, TensorEntry


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tiny.qtrain"


def written(path, artifact=None, **digest):
    artifact = artifact or artifact_of(spec_of())
    changed = replace(artifact.description.digest, **digest)
    write_artifact(path, Artifact(replace(artifact.description, digest=changed), artifact.numbers))
    return changed


@pytest.mark.parametrize("bits", [5, 32])
def test_an_exact_match(path, bits):
    digest = written(path, artifact_of(spec_of(bits=bits)))
    assert verify.run(VerifySettings(path)) == verify.Verification(
        "tiny.qtrain", 19, 7, digest.sha256, "exact", 0.0
    )


def test_no_tensor_is_kept_and_what_is_done_is_told(path, monkeypatch):
    layout = LayoutSpec((TensorEntry("w", (2, 2**20), "F32", GENERATED, 9),))
    written(path, artifact_of(spec_of(layout, 2, 1)))
    monkeypatch.setattr(verify, "regenerate", None)
    told = []
    found = verify.run(VerifySettings(path), lambda done, total: told.append(done / total))
    assert (found.agreement, found.tensors) == ("exact", 1)
    assert told[-1] == 1 and len(told) > 1 and told == sorted(told)  # and not at the end of a tensor alone


def former_of_another_machine(path, tolerance=None):
    """A file of `qtrain/4` with another digest and its own probes: the arithmetic rounds otherwise."""

    def make():
        parts = make_artifacts.honest()
        parts.fixed = parts.fixed[:8] + bytes(8) + parts.fixed[16:]
        parts.facts["tolerance"] = tolerance or parts.facts["tolerance"]
        return make_artifacts.together(parts)

    path.write_bytes(make_artifacts.of_format(4, make))


def test_a_former_file_of_another_machine(path):
    former_of_another_machine(path)
    found = verify.run(VerifySettings(path))
    assert (found.agreement, found.tolerance) == ("within tolerance", 1e-6)


def test_the_tolerance_that_a_former_file_was_allowed_is_shown(path):
    former_of_another_machine(path, tolerance=1.0)
    assert verify.run(VerifySettings(path)).tolerance == 1e-4


def test_other_weights(path, capsys):
    written(path, sha256="0" * 16)
    with pytest.raises(Refused, match="do not match the artifact's digest 0000"):
        verify.run(VerifySettings(path))
    assert main(["verify", str(path)]) == 4
    assert "the file was changed, or was written by another version" in capsys.readouterr().err


def test_no_file(path, capsys):
    with pytest.raises(BadInput, match="No such file or directory"):
        verify.run(VerifySettings(path))
    assert main(["verify", str(path)]) == 2
    assert (
        capsys.readouterr().err
        == f"qtrain: error: cannot read '{path}': No such file or directory; check the path\n"
    )


def test_json(path, capsys):
    digest = written(path)
    assert main(["verify", str(path), "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == "" and json.loads(said.out) == {
        "artifact": "tiny.qtrain", "weights": 19, "tensors": 7, "sha256": digest.sha256,
        "agreement": "exact", "tolerance": 0.0,
    }  # fmt: skip


def test_for_people(path, capsys):
    written(path)
    assert main(["verify", str(path)]) == 0
    said = capsys.readouterr().out
    assert "exact" in said and "tiny.qtrain" in said


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 44730640\n"


@pytest.mark.parametrize("verb", ["verify", "inspect", "report", "export", "sample"])
@pytest.mark.parametrize(
    ("start", "what", "way"),
    [
        (LFS, "a Git LFS pointer, and not the file itself", "git lfs pull"),
        (b"<!DOCTYPE html>", "an HTML page", "log in"),
    ],
)
def test_what_was_not_downloaded_is_named(path, capsys, verb, start, what, way):
    path.write_bytes(start)
    more = {
        "export": ["--classical", "-o", str(path.parent / "m.pt")],
        "sample": ["--shots", "9", "--data", "d.npz", "--model", str(path)],
    }
    assert main([verb, str(path), *more.get(verb, [])]) == 2
    said = capsys.readouterr().err
    assert f"{path.name}' is {what}" in said and f"was not downloaded: {way}" in said
