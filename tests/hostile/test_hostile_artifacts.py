"""Hostile artifacts: refused with exit code 4 and one line, through every public door, in little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path

import pytest
import torch
from hostile import make_artifacts as maker
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

import qtrain_cli
from qtrain_cli.artifact.description import describe, read_record
from qtrain_cli.artifact.numbers import read_artifact
from qtrain_cli.cli import main
from qtrain_cli.commands import inspect, verify
from qtrain_cli.errors import BadInput, QtrainError, Refused
from qtrain_cli.settings import VerifySettings

ROOT = Path(__file__).resolve().parents[2]
HONEST = maker.VERSIONS[4].honest.read_bytes()
both = pytest.mark.parametrize("version", maker.VERSIONS)
#: By which ways in each is refused; that of the command line has a test of its own.
DOORS = {
    "describe": (describe, read_record, qtrain_cli.load),
    "read": (read_artifact, qtrain_cli.load),
    "verify": (lambda path: verify.run(VerifySettings(path)), qtrain_cli.load),
}


@pytest.fixture
def written(tmp_path):
    def write(data: bytes) -> Path:
        path = tmp_path / "file.qtrain"
        path.write_bytes(data)
        return path

    return write


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Path:
    """The folder of all cases, to be read only."""
    folder = tmp_path_factory.mktemp("cases")
    maker.main(folder)
    return folder


def refusal(door, path):
    """The message with which a file is refused."""
    with pytest.raises(Refused) as refused:
        door(path)
    message = refused.value.message
    assert len(message) < 700 and message.isprintable()
    return message


@both
def test_the_honest_file_is_taken(version, written):
    honest = maker.VERSIONS[version].honest.read_bytes()
    made = maker.of_format(version, lambda: maker.together(maker.honest()))
    one, other = (maker.of_format(version, partial(maker.apart, data)) for data in (made, honest))
    assert replace(one, fixed=one.fixed[8:]) == replace(other, fixed=other.fixed[8:])
    assert verify.run(VerifySettings(written(made))).agreement == "exact"
    assert maker.sealed(honest) == honest


@pytest.mark.parametrize("name", maker.CASES)
def test_each_is_refused_where_it_should_be(name, cases):
    case, path = maker.CASES[name], cases / maker.file_of(name)
    for door in DOORS[case.stage]:
        assert case.words in refusal(door, path)
    if case.stage != "describe":
        describe(path)
    if case.stage == "verify":
        read_artifact(path)


def one_format_each() -> list[str]:
    """Of each kind of case one format in turn: which it is makes no difference to the command line."""
    kinds = groupby(maker.CASES, lambda name: name.rpartition(", format ")[0])
    each = [list(names) for _, names in kinds]
    return [names[turn % len(names)] for turn, names in enumerate(each)]


@pytest.mark.parametrize("name", one_format_each())
def test_the_command_line_says_one_line_and_leaves_with_4(name, cases, capsys):
    assert main(["verify", str(cases / maker.file_of(name))]) == 4
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith("qtrain: error: ") and maker.CASES[name].words in said.err


def test_json_says_it_on_stdout(written, capsys):
    path = written(maker.CASES["60 qubits, format 4"].make())
    assert main(["verify", str(path), "--json"]) == 4
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["kind"] == "refused" and error["advice"] == "get the file again from its source"
    assert error["message"] == f"'{path}' is damaged or hostile: qubits is 60; allowed: 1 to 26"


@pytest.mark.parametrize(
    "command", [["report"], ["inspect"], ["export", "--classical", "-o", "out.safetensors"]]
)
def test_other_commands_refuse_it_too(command, written, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = written(maker.CASES["60 qubits, format 4"].make())
    assert main([command[0], str(path), *command[1:]]) == 4
    assert "qubits is 60" in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def outcome(path: Path) -> QtrainError | None:
    """What `verify` raises, which must be one of ours."""
    try:
        verify.run(VerifySettings(path))
    except QtrainError as error:
        return error
    return None


@both
def test_every_cut_is_refused(version, written):
    honest = maker.VERSIONS[version].honest.read_bytes()
    for size in range(0, len(honest), 7):
        assert isinstance(outcome(written(honest[:size])), Refused), size
    for more in (b"\0", b" ", honest):
        assert isinstance(outcome(written(honest + more)), Refused)


@both
@pytest.mark.parametrize(("flip", "every"), [(0x01, 1), (0x20, 3), (0x80, 3)])
def test_every_flipped_byte_is_refused(version, flip, every, written):
    honest = maker.VERSIONS[version].honest.read_bytes()
    for place in range(0, len(honest), every):
        data = bytearray(honest)
        data[place] ^= flip
        error = outcome(written(bytes(data)))
        assert isinstance(error, (Refused, BadInput)), place
        # An artifact whose mark or version is damaged is none; all else is refused as damage.
        assert (
            isinstance(error, Refused)
            or "is no qtrain artifact" in error.message
            or "format" in error.message
        )


@both
def test_a_flip_of_a_code_under_a_right_checksum(version, written):
    honest = maker.VERSIONS[version].honest.read_bytes()
    for place in range(len(honest) - 12, len(honest)):  # of the codes' message
        data = bytearray(honest)
        data[place] ^= 0x10
        assert isinstance(outcome(written(maker.sealed(bytes(data)))), Refused), place


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 7, b"PK\3\5" + bytes(100), b"{}", bytes(8), b"\x80\x02." + bytes(50)]
)
def test_other_files_are_refused(data, written, capsys):
    assert main(["verify", str(written(data))]) == 4
    assert "damaged or hostile" in capsys.readouterr().err


def test_a_safetensors_file_that_is_no_artifact(written, capsys):
    path = written(save({"w": torch.zeros(3)}, {"format": "pt"}))
    assert main(["verify", str(path)]) == 2
    assert capsys.readouterr().err == (
        f"qtrain: error: '{path}' is no qtrain artifact; `qtrain inspect` says what a file holds\n"
    )


OTHERS = "this version reads 'qtrain/5', 'qtrain/4' and 'qtrain/3'; use the version of qtrain that wrote it"
FIRST = "qtrain 0.1 reads it; use that version, or compress the model again with this one"
NEWER = "a newer qtrain reads it; update qtrain"


def said_of(metadata, written, capsys):
    """What the command line says of the honest tensor under the metadata of another format."""
    assert main(["verify", str(written(maker.labelled(metadata)))]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and len(said) < 400 and "\x1b" not in said
    return said


@pytest.mark.parametrize("version", ["qtrain/1", "qtrain/2"])
def test_files_of_the_first_formats(version, written, capsys):
    said = said_of(maker.of_format_2(format=version), written, capsys)
    assert f"has the format '{version}'; {FIRST}" in said


@pytest.mark.parametrize("version", ["", "\x1b[2J", "q" * 10**5, "qtrain/0", "qtrain/-1", "qtrain.student/2"])
def test_another_format_is_no_attack(version, written, capsys):
    said = said_of(maker.of_format_2(format=version), written, capsys)
    assert "has the format" in said and OTHERS in said


@pytest.mark.parametrize("version", ["qtrain/6", "qtrain/30", "qtrain/" + "9" * 5000])
def test_a_later_format_in_words(version, written, capsys):
    assert NEWER in said_of(maker.of_format_2(format=version), written, capsys)


@pytest.mark.parametrize(
    ("version", "words"),
    [(0, OTHERS), (1, FIRST), (2, FIRST), (6, NEWER), (30, NEWER), (10**4000, NEWER), (-3, OTHERS)],
)
def test_later_formats_are_numbers(version, words, written, capsys):
    said = said_of(version, written, capsys)
    assert f"has the format 'qtrain/{str(version)[:5]}" in said and words in said


@pytest.mark.parametrize("version", [1, 3, 4, None, ["qtrain/2"], {}])
def test_a_format_that_is_no_name(version, written):
    path = written(maker.labelled(maker.of_format_2(format=version)))
    assert "not what an honest writer writes" in refusal(describe, path)


def test_what_is_no_ordinary_file(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, Path("/dev/zero"), tmp_path / "pipe"):
        assert main(["verify", str(path)]) == 2
        assert "is not an ordinary file" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_a_sparse_file_of_a_terabyte(tmp_path, capsys):
    path = tmp_path / "sparse.qtrain"
    with path.open("wb") as file:
        file.write(HONEST)
        file.truncate(2**40)
    assert main(["verify", str(path)]) == 4
    assert f"it has {2**40} bytes; allowed: {2**33}" in capsys.readouterr().err


@both
def test_another_version_of_zlib_may_deflate_otherwise(version, written):
    """What counts is what comes out; an honest file need not have the bytes that this zlib would write."""
    plain = lambda data: zlib.compress(data, 0)[2:-4]  # noqa: E731
    path = written(maker.of_format(version, lambda: maker.streams(plain, plain)))
    assert path.stat().st_size > len(HONEST) + 200 and verify.run(VerifySettings(path)).agreement == "exact"


@both
def test_as_many_codes_as_may_be_are_read_within_minutes(version, written):
    """2**16 of the widest alphabet, in a message of nothing: a 64th of the most that is allowed."""
    ends = maker.VERSIONS[version].ends

    def forged():
        tensor = maker.tensor_of(maker.generated_only(2, 1, 2**16, 1, ("linear", 0)))
        before = tensor[: -len(ends(0, 0, 0))]
        return maker.of_tensor(before + ends(-2047, 2047, 0) + b"\xff" * 60_000)

    path = written(maker.of_format(version, forged))
    began = time.perf_counter()
    with pytest.raises(Refused, match="damaged or hostile"):
        read_artifact(path)
    assert time.perf_counter() - began < 20


BOUNDED = """
import resource, sys, time
from dataclasses import replace
from functools import partial
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (800 * 2**20, 800 * 2**20))
from qtrain_cli.errors import Refused
from qtrain_cli.artifact.description import describe
assert "torch" not in sys.modules
for path in sorted(path for folder in sys.argv[1:3] for path in Path(folder).iterdir()):
    began = time.perf_counter()
    try:
        describe(path)
    except Refused:
        pass
    else:
        assert path.stem in sys.argv[3:], path
    assert time.perf_counter() - began < 20, path
"""


def test_memory_and_time_are_bounded(cases, tmp_path):
    """All cases in a process that may not allocate a gigabyte, although some of them ask for hundreds."""
    (tmp_path / "a_header_of_lists").write_bytes(maker.many_lists())
    later = [name.replace(" ", "_") for name, case in maker.CASES.items() if case.stage != "describe"]
    command = [sys.executable, "-c", BOUNDED, str(cases), str(tmp_path), *later]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def leaves(value, path=()):
    """Every place in a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from leaves(child, (*path, key))


PLACES = [path for path in leaves(maker.honest().facts) if path]
strange = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(
        [2**31, 2**63, 2**64, -(2**63), 10**400, "F32", "conv.weight", "norm.count", [], [[]], {}, ""]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


versions = st.sampled_from(sorted(maker.VERSIONS))


@given(st.sampled_from(PLACES), strange, versions)
@settings(max_examples=600, deadline=None)
def test_any_value_at_any_place(tmp_path_factory, place, value, version):
    """A forger's facts: one value replaced by anything. Refused, or of no consequence for the weights."""
    path = tmp_path_factory.getbasetemp() / "forged.qtrain"
    try:
        path.write_bytes(maker.of_format(version, lambda: maker.put(*place, value)))
    except UnicodeEncodeError:  # a lone surrogate, which no file can hold unescaped
        return
    error = outcome(path)
    assert error is None or isinstance(error, Refused)
    if error is None:
        assert (
            place[0] in ("record", "input", "layout", "tolerance") or value == maker.honest().facts[place[0]]
        )


@given(strange, versions)
@settings(max_examples=150, deadline=None)
def test_any_facts_and_any_metadata(tmp_path_factory, value, version):
    path = tmp_path_factory.getbasetemp() / "forged.qtrain"
    for make in (lambda: maker.edited(lambda facts: {} if value is None else value), lambda: around(value)):
        try:
            path.write_bytes(maker.of_format(version, make))
        except UnicodeEncodeError:
            return
        assert isinstance(outcome(path), Refused)


def around(value):
    """Metadata that hold a value."""
    return maker.labelled({"a": value})


@given(st.binary(max_size=60), st.sampled_from(["facts", "kept", "numbers", "tensor"]), versions)
@settings(max_examples=500, deadline=None)
def test_any_bytes_in_any_part(tmp_path_factory, data, part, version):
    """A part of the tensor, or all of it, replaced by anything."""
    path = tmp_path_factory.getbasetemp() / "forged.qtrain"

    def forged():
        if part == "tensor":
            return maker.of_tensor(data)
        if part in ("facts", "kept"):
            return maker.streams(**{part: lambda _: data})
        return maker.together(replace(maker.honest(), numbers=data))

    path.write_bytes(maker.of_format(version, forged))
    assert isinstance(outcome(path), Refused)


@given(st.sampled_from(["circuit", "mapping", "angles", "layout", "input", "record"]), st.data(), versions)
@settings(max_examples=300, deadline=None)
def test_any_part_of_the_facts(tmp_path_factory, key, data, version):
    """A whole part replaced by a list of strange values, as long as the honest one."""
    path = tmp_path_factory.getbasetemp() / "forged.qtrain"
    size = len(maker.honest().facts[key])
    value = data.draw(st.lists(strange, min_size=size, max_size=size))
    try:
        path.write_bytes(maker.of_format(version, lambda: maker.put(key, value)))
    except UnicodeEncodeError:
        return
    assert isinstance(outcome(path), Refused)


def test_inspect_shows_nothing_that_moves_the_cursor(written, capsys):
    path = written(maker.put("record", 0, "\x1b[2J.pt"))
    assert main(["report", str(path)]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert inspect.run(path)["format"] == "qtrain artifact"
