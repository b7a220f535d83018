"""The fuzzers: what was found stays mended, the judge sees what it has to, mutations get past the sums."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pickle
import random
import re
import runpy
import sys
import time
from pathlib import Path

import pytest
import torch
from fuzz.judge import judged, was_read
from fuzz.readers import READERS
from fuzz.shapes import mutated

from qtrain_cli.errors import BadInput, QtrainError

HERE = Path(__file__).resolve().parent
FOUND = sorted(path for path in (HERE / "corpus").glob("*/*") if path.parent.name in READERS)
#: Of one input of the corpus.
MOST_SECONDS = 10
#: Words with which a sum that is wrong is refused.
GATES = {"artifact": "checksum", "checkpoint": "SHA-256", "npz": "CRC"}


def flipped(data: bytes) -> bytes:
    """One bit in the middle changed."""
    changed = bytearray(data or b"\0")
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("path", FOUND, ids=[f"{path.parent.name}/{path.name}" for path in FOUND])
def test_what_was_found_stays_mended(path, tmp_path):
    reader, started = READERS[path.parent.name], time.monotonic()
    place = reader.place(path.read_bytes(), tmp_path)
    for door in reader.doors:
        was_read(door, place)
    assert judged(reader.doors, place, tmp_path) is None
    assert time.monotonic() - started < 2 * MOST_SECONDS


def test_every_folder_of_the_corpus_is_a_readers():
    assert {path.name for path in (HERE / "corpus").iterdir() if path.is_dir()} <= set(READERS)


@pytest.mark.parametrize("name", READERS)
def test_an_honest_file_is_read(name, tmp_path):
    reader = READERS[name]
    honest = next(reader.seeds(), None)
    if honest is None:
        pytest.skip("needs pyarrow and pillow")
    place = reader.place(honest, tmp_path)
    assert [was_read(door, place) for door in reader.doors].count(True) > 0
    assert judged(reader.doors, place, tmp_path) is None


def refusal(reader, data, folder):
    """All that the doors say to these bytes."""
    place, said = reader.place(data, folder), ""
    for door in reader.doors:
        try:
            door(place)
        except QtrainError as error:
            said += error.message
    return said


@pytest.mark.parametrize("name", GATES)
def test_mutations_get_past_the_sums(name, tmp_path):
    reader, rng = READERS[name], random.Random(0)
    honest = next(reader.seeds())
    tries = [mutated(reader.mutate, honest, rng, flipped, 2**16) for _ in range(30)]
    stopped = [bool(re.search(GATES[name], refusal(reader, data, tmp_path))) for data in tries]
    assert len(set(tries)) > 15 and stopped.count(True) < 20
    assert re.search(GATES[name], refusal(reader, flipped(honest), tmp_path))


def ends_badly(path):
    raise ValueError("x")


def says_much(path):
    error = BadInput("x")
    error.message = "x" * 501  # past what the class itself cuts off
    raise error


def says_two_lines(path):
    error = BadInput("x")
    error.advice = "x\ny"
    raise error


def runs(path):
    os.system("true")


def runs_and_hides(path):
    with contextlib.suppress(Exception):
        os.system("true")


def writes(path):
    path.with_name("new").write_text("x")


def looks_around(path):
    Path("/etc/hostname").read_bytes()


def imports(path):
    sys.path.insert(0, str(path.parent))
    __import__("package_of_a_stranger")


def unpickles(path):
    pickle.loads(pickle.dumps(Path))


def ends_the_process(path):
    sys.exit(0)


@pytest.mark.parametrize(
    ("door", "what"),
    [
        (ends_badly, "ValueError"), (says_much, "more than 500"), (says_two_lines, "more than 500"),
        (runs, "os.system"), (runs_and_hides, "os.system"), (writes, "open"), (looks_around, "open"),
        (imports, "import"), (unpickles, "pickle.find_class"), (ends_the_process, "SystemExit"),
    ],
)  # fmt: skip
def test_the_judge_sees(door, what, tmp_path):
    found = judged([door], READERS["csv"].place(b"x", tmp_path), tmp_path)
    assert found is not None and what in found.what and found.name.isprintable()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("door", [Path.read_bytes, lambda path: torch.ones(1).sum()])
def test_the_judge_lets_pass(door, tmp_path):
    assert judged([door], READERS["csv"].place(b"x", tmp_path), tmp_path) is None


def test_a_refused_allocation_is_a_refusal(tmp_path):
    def asks_for_much(path):
        torch.empty(2**60)

    assert judged([asks_for_much], READERS["csv"].place(b"x", tmp_path), tmp_path) is None


def driver(monkeypatch, *words):
    """What the driver's module holds, with this command line."""
    monkeypatch.setattr(sys, "argv", ["fuzz", *words])
    return runpy.run_path(str(HERE / "__main__.py"), run_name="driver")


def test_without_atheris_the_driver_says_that_it_skips(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert driver(monkeypatch, "csv")["main"]() == 0
    assert "skipped: atheris is not installed" in capsys.readouterr().out


def test_the_driver_knows_every_reader(monkeypatch):
    assert driver(monkeypatch)["READERS"] == tuple(READERS)


def test_the_driver_refuses_a_reader_that_is_none(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        driver(monkeypatch, "cvs")["main"]()
    assert "no reader cvs; allowed: artifact" in capsys.readouterr().err


def ends_silently(task):
    os._exit(3)


def finds(task):
    """Two processes end with a finding each, the third when its time is over."""
    (task.folder / f"{task.name}.json").write_text('{"inputs": 5, "seconds": 1}')
    if task.ended == 2:
        os._exit(0)
    (task.folder / "findings" / task.name / f"crash-{task.ended}").touch()
    os._exit(77)


@pytest.mark.parametrize(
    ("body", "inputs", "names"), [(ends_silently, 0, ["ended-0"]), (finds, 15, ["crash-0", "crash-1"])]
)
def test_the_driver_starts_again_and_hides_nothing(monkeypatch, tmp_path, body, inputs, names):
    parts = driver(monkeypatch)
    tasks = [parts["Task"](name, tmp_path, 1, 20) for name in ("csv", "toml", "npz")]
    parts["perform"](tasks, 2, body)
    for task in tasks:
        assert (task.inputs, [path.name for path in task.found], task.left) == (inputs, names, 0)
        assert not task.work.exists()
