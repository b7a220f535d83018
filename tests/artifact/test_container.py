"""The bytes of an artifact: read once, with a checksum that covers every one of them."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import format_reader
import pytest
import torch
from artifacts import artifact_of, spec_of, specs
from hypothesis import given, settings
from safetensors.torch import save

import qtrain_cli
from qtrain_cli.artifact import container as containers
from qtrain_cli.artifact.container import read_container, sealed
from qtrain_cli.artifact.description import read_record
from qtrain_cli.artifact.numbers import encode_artifact, read_artifact
from qtrain_cli.errors import BadInput, Refused

DATA = encode_artifact(artifact_of(spec_of()))
OTHER = encode_artifact(artifact_of(spec_of(layers=4)))


@pytest.fixture
def path(tmp_path):
    (tmp_path / "a.qtrain").write_bytes(DATA)
    return tmp_path / "a.qtrain"


def test_a_container_is_the_file(path):
    found = read_container(path)
    assert found.data == DATA and found.path == path
    assert found.sha256 == hashlib.sha256(DATA).hexdigest()
    assert found.text == "5"


@given(specs())
@settings(max_examples=15, deadline=None)
def test_the_check_is_that_of_the_format(spec):
    data = encode_artifact(artifact_of(spec))
    assert format_reader.check_of(data) == format_reader.read(data).check
    assert sealed(data) == data


@pytest.mark.parametrize("place", [9, 40, len(DATA) // 2, len(DATA) - 1])
def test_a_changed_byte(path, place):
    path.write_bytes(DATA[:place] + bytes([DATA[place] ^ 1]) + DATA[place + 1 :])
    with pytest.raises((Refused, BadInput)):
        read_container(path)


@pytest.mark.parametrize("number", range(8))
def test_the_check_itself(path, number):
    place = 8 + int.from_bytes(DATA[:8], "little") + number
    path.write_bytes(DATA[:place] + bytes([DATA[place] ^ 0x10]) + DATA[place + 1 :])
    with pytest.raises(Refused, match="its bytes do not match its checksum"):
        read_container(path)
    path.write_bytes(sealed(path.read_bytes()))
    assert read_container(path).data == DATA


def test_the_check_of_a_student_stands_in_its_metadata(tmp_path):
    """As digits, which count as zeros; a piece of the tensor that looks like one is none."""
    text = '{"check":"%s","format":"qtrain.student/1"}'
    look_alike = torch.frombuffer(bytearray(b'\\"check\\":\\"0123456789abcdef'), dtype=torch.uint8)
    blank = save({"w": look_alike}, {"qtrain": text % ("0" * 16)})
    found = sealed(blank)
    check = hashlib.sha256(blank).hexdigest()[:16]
    assert found == save({"w": look_alike}, {"qtrain": text % check})
    (tmp_path / "s.qtrain").write_bytes(found)
    assert read_container(tmp_path / "s.qtrain").text == text % check
    ours = sealed(save({"w": look_alike}, {"qtrain": "5"}))
    start = 8 + int.from_bytes(ours[:8], "little")
    assert ours[start + 8 :] == look_alike.numpy().tobytes()[8:]


@pytest.mark.parametrize("read", [read_artifact, read_record, qtrain_cli.load])
def test_a_file_is_opened_once(path, read, monkeypatch):
    """A file that is swapped after it was checked makes no difference: nobody looks again."""
    opened, open_path = [], os.open

    def spy(name, *arguments, **named):
        number = open_path(name, *arguments, **named)
        if name == path:
            opened.append(name)
            path.unlink()
            path.write_bytes(OTHER)
        return number

    monkeypatch.setattr(os, "open", spy)
    read(path)
    assert opened == [path]


def test_the_record_is_that_of_the_bytes_that_were_read(path):
    record = read_record(path)
    assert (record.artifact_bytes, record.artifact_sha256) == (len(DATA), hashlib.sha256(DATA).hexdigest())
    assert qtrain_cli.load(path).record == record.to_json()


def test_a_file_above_the_limit(path, monkeypatch):
    monkeypatch.setattr(containers, "MAX_FILE_BYTES", len(DATA) - 1)
    with pytest.raises(Refused, match=f"it has {len(DATA)} bytes; allowed: {len(DATA) - 1}"):
        read_container(path)
    monkeypatch.setattr(containers, "MAX_FILE_BYTES", len(DATA))
    assert read_container(path).data == DATA


def test_no_file(tmp_path):
    with pytest.raises(BadInput) as refused:
        read_container(tmp_path / "nowhere")
    assert refused.value.message == f"cannot read '{tmp_path / 'nowhere'}': No such file or directory"
    with pytest.raises(BadInput, match="is not an ordinary file"):
        read_container(tmp_path)


def test_a_link_is_followed(path):
    (path.parent / "link").symlink_to(path)
    assert read_container(path.parent / "link").data == DATA


def test_descriptions_import_no_torch():
    code = "import sys, qtrain_cli.artifact.description; sys.exit('torch' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
