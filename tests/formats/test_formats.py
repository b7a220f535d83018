"""Files of every format that is promised to stay readable, read to the same tensors as ever."""

import hashlib
import json
import struct

import format_reader
import numpy as np
import pytest
import torch
from formats import add

import qtrain_cli
from qtrain_cli.artifact.container import sealed
from qtrain_cli.cli import main
from qtrain_cli.errors import BadInput
from qtrain_cli.methods.table import OURS, serving

ROWS = json.loads(add.MANIFEST.read_text())
STUDENTS = [row for row in ROWS if row["kind"] == "student"]
CHANGES = [row for row in ROWS if row["kind"].startswith("changes")]
MODELS = [row for row in ROWS if row["kind"] != "student" and row not in CHANGES]
BARE = [row for row in MODELS if "bare" in row["kind"] or row["kind"].startswith("rival")]
RECORDED = [row for row in ROWS if row not in BARE and row not in CHANGES]


def of_each(rows):
    return pytest.mark.parametrize("row", rows, ids=[row["file"] for row in rows])


def path_of(row):
    return add.FOLDER / row["file"]


def loaded(row):
    return qtrain_cli.load(path_of(row), add.architecture_of(path_of(row)))


def said(capsys, *words):
    """Exit code, output and the one line of an error of a command line."""
    code = main([str(word) for word in words])
    found = capsys.readouterr()
    return code, found.out, found.err


def test_every_file_is_in_the_manifest_once():
    names = [row["file"] for row in ROWS]
    assert sorted(path.name for path in add.FOLDER.glob("*.qtrain")) == sorted(names)
    assert len(set(names)) == len(names)


def test_every_format_method_and_kind_is_here():
    assert {row["format"] for row in ROWS} == {"qtrain/3", "qtrain.student/1", "qtrain/4", "qtrain/5"}
    kinds = {row["kind"] for row in ROWS}
    assert {f"rival {name}" for name in serving(False) if name != OURS} <= kinds
    assert {f"changes {name}" for name in serving(True)} <= kinds
    for kind in ("hybrid", "classical", "qnn"):
        assert {row["format"] for row in STUDENTS if kind in row["file"]} >= {"qtrain.student/1", "qtrain/4"}


@of_each(ROWS)
def test_no_file_ever_changes(row):
    assert hashlib.sha256(path_of(row).read_bytes()).hexdigest() == row["sha256"]


@of_each(CHANGES)
def test_changes_of_a_base_are_the_same_and_need_it(row, capsys, tmp_path):
    assert add.digest(add.state_of(path_of(row))) == row["state"]
    torch.save(add.Base().state_dict(), tmp_path / "base.pt")
    base = ["--base", tmp_path / "base.pt", "--arch", f"{add.FOLDER / 'add.py'}:Base"]
    code, out, _ = said(capsys, "verify", path_of(row), *base, "--json", "-q")
    assert code == 0 and json.loads(out)["agreement"] == "exact"
    code, _, err = said(capsys, "verify", path_of(row))
    assert code == 2 and "--base" in err
    if row["kind"].startswith("changes ours"):
        found = format_reader.read(
            path_of(row).read_bytes(),
            {name: tensor.numpy() for name, tensor in add.Base().state_dict().items()},
        )
        assert found.sha256 == found.digest


@of_each([row for row in ROWS if row not in CHANGES])
def test_it_gives_the_same_tensors(row):
    state = add.state_of(path_of(row))
    exact = row["kind"] == "student" or loaded(row).exact
    assert exact, "within the file's tolerance only, as former formats on a machine of another arithmetic"
    assert add.digest(state) == row["state"]


@of_each([row for row in MODELS if path_of(row).stat().st_size < 600])
def test_the_page_alone_gives_the_same_tensors(row):
    """`format_reader` shares no code with the package; former rivals may round otherwise."""
    found = format_reader.read(path_of(row).read_bytes())
    state = dict(add.state_of(path_of(row)))
    assert found.state.keys() == state.keys()
    if row["kind"] == "given bare":
        table = state.pop("table").numpy().tobytes()
        assert found.state["table"][:8] == hashlib.sha256(table).digest()[:8]
    if found.sha256 == found.digest:
        for name, tensor in state.items():
            assert tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes() == found.state[name]
    else:
        assert row["kind"].startswith("rival") and row["format"] == "qtrain/4"
        np.testing.assert_allclose(found.probes, found.stored_probes, rtol=1e-5, atol=1e-4)


@of_each([row for row in ROWS if row not in CHANGES])
def test_it_verifies(row, capsys):
    arch = ["--arch", f"{add.FOLDER / 'add.py'}:Table"] if row["kind"] == "given bare" else []
    code, out, err = said(capsys, "verify", path_of(row), *arch, "--json", "-q")
    assert (code, err) == (0, "")
    assert json.loads(out)["agreement"] in ("exact", "within tolerance")


@of_each(MODELS)
def test_a_model_is_loaded_as_one(row):
    found = loaded(row)
    assert (found.record is None) == (row in BARE)
    with pytest.raises(BadInput, match="is a compressed model's artifact, not a student's"):
        qtrain_cli.load_student(path_of(row))


@of_each(STUDENTS)
def test_a_student_is_loaded_as_one(row):
    found = qtrain_cli.load_student(path_of(row))
    assert found.record["schema"] == "qtrain.student/1"
    with pytest.raises(BadInput, match="is a student, which has no generated weights"):
        qtrain_cli.load(path_of(row))


@of_each(RECORDED)
def test_a_record_is_reported(row, capsys):
    code, out, err = said(capsys, "report", path_of(row), "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["artifact_sha256"] == row["sha256"]


@of_each(BARE)
def test_without_a_record_a_report_is_one_line(row, capsys):
    code, out, err = said(capsys, "report", path_of(row))
    assert (code, out, err.count("\n")) == (2, "", 1)
    rival = row["kind"].removeprefix("rival ")
    ours = "holds no record: it was written with --bare"
    assert (ours if rival == row["kind"] else f"this is a file of the rival '{rival}'") in err


@of_each(ROWS)
def test_inspect_says_what_it_is(row, capsys):
    code, out, err = said(capsys, "inspect", path_of(row), "--json")
    found = json.loads(out)
    assert (code, err, found["bytes"]) == (0, "", path_of(row).stat().st_size)
    if row in STUDENTS:
        assert found["format"] == "qtrain student"
    else:
        named = row["kind"].split()[1] if row["kind"].startswith(("rival", "changes")) else OURS
        assert found["method"] == named


def labelled(text: str) -> bytes:
    """A well-formed file with a right check and this metadata."""
    row = {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}
    header = json.dumps({"__metadata__": {"qtrain": text}, "q": row}).encode()
    return sealed(struct.pack("<Q", len(header)) + header + bytes(8))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("6", "has the format 'qtrain/6'; a newer qtrain reads it; update qtrain"),
        ('{"format":"qtrain/1"}', "has the format 'qtrain/1'; qtrain 0.1 reads it; use that version"),
        ('{"format":"qtrain/2"}', "has the format 'qtrain/2'; qtrain 0.1 reads it; use that version"),
        (None, "has the format 'QP1', of rivals in a comparison; qtrain 0.1 reads it; use that version"),
    ],
)
@pytest.mark.parametrize("command", ["verify", "report"])
def test_what_cannot_be_read_says_who_reads_it(text, words, command, tmp_path, capsys):
    path = tmp_path / "file.qtrain"
    path.write_bytes(b"QP1" + bytes(40) if text is None else labelled(text))
    code, out, err = said(capsys, command, path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
