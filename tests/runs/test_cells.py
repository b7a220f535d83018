"""Cells in a state folder: whole or not there, made again when damaged, apart for each identity."""

import hashlib
import json
from types import SimpleNamespace

import pytest

from qtrain_cli.errors import UsageError
from qtrain_cli.results.comparison import DONE, UNREACHED, Cell
from qtrain_cli.runs import cells
from qtrain_cli.runs.cells import CellFolder
from qtrain_cli.training.recovery import Elsewhere

DATA = b"a rival's file"
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def said():
    return []


@pytest.fixture
def folder(tmp_path, said):
    return CellFolder(tmp_path / "state", "model and data", said.append)


def cell(**changes):
    given = {"end": DONE, "file_bytes": len(DATA), "file_sha256": DIGEST, "test": 0.9, **changes}
    return Cell("pruning", 1000, 0, **given)


def test_a_cell_and_its_file_come_back(folder, said):
    folder.save("one", cell(), DATA)
    assert folder.load("one") == cell()
    assert folder.file_of("one").read_bytes() == DATA
    assert folder.load("two") is None and said == []


def test_a_cell_without_a_file_comes_back(folder):
    missed = cell(end=UNREACHED, file_sha256="", test=None)
    folder.save("one", missed, None)
    assert folder.load("one") == missed


@pytest.mark.parametrize("text", ["", "{", "[]", '{"method": "pruning"}', "null"])
def test_a_damaged_cell_is_not_done_and_is_said(folder, said, text):
    folder.save("one", cell(), DATA)
    (folder.folder / "one.json").write_text(text)
    assert folder.load("one") is None
    assert said[0].startswith("the cell 'one.json' is damaged and is made again")


@pytest.mark.parametrize(
    "change", [{"budget": "1000"}, {"test": "0.9"}, {"end": "won"}, {"numbers": None}, {"seed": True}]
)
def test_a_cell_with_a_value_that_cannot_be_is_not_done(folder, said, change):
    folder.save("one", cell(), DATA)
    document = json.loads((folder.folder / "one.json").read_text())
    (folder.folder / "one.json").write_text(json.dumps(document | change))
    assert folder.load("one") is None and len(said) == 1


def test_a_cell_of_another_machine_is_kept_and_said(folder, said):
    folder.save("one", cell(), DATA)
    folder.machine = {**folder.machine, "kernel": "v9"}
    assert folder.load("one") == cell()
    assert "the cell 'one.json' is kept, of another machine: kernel " in said[0] and "v9 here" in said[0]


@pytest.mark.parametrize("data", [None, b"", DATA + b"x"])
def test_a_file_that_is_gone_or_changed_makes_its_cell_undone(folder, said, data):
    folder.save("one", cell(), DATA)
    folder.file_of("one").unlink()
    if data is not None:
        folder.file_of("one").write_bytes(data)
    assert folder.load("one") is None and len(said) == 1


def test_another_identity_has_other_cells(tmp_path, folder):
    folder.save("one", cell(), DATA)
    assert CellFolder(tmp_path / "state", "other data", print).load("one") is None
    assert CellFolder(tmp_path / "state", "model and data", print).load("one") == cell()


def test_a_state_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "state").write_text("mine")
    with pytest.raises(UsageError, match=r"the state folder .* is no folder"):
        CellFolder(tmp_path / "state", "", print)


def test_only_the_first_process_removes_a_checkpoint_of_elsewhere(tmp_path, monkeypatch):
    def made(*given):
        if made.calls == 0:
            made.calls = 1
            raise Elsewhere("begun on another machine")
        return "anew"

    made.calls = 0
    checkpoint = tmp_path / "cell.checkpoint"
    checkpoint.touch()
    monkeypatch.setattr(cells, "make", made)
    monkeypatch.setattr(cells, "_identity", lambda bench, work: None)
    monkeypatch.setattr(cells, "present", lambda: SimpleNamespace(led=lambda decide: None))  # not the first
    assert cells._made(SimpleNamespace(log=print), None, checkpoint, None) == "anew"
    assert checkpoint.exists()
