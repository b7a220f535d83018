"""Sizes of records in an archive: what the reader of PyTorch tells, and the directory where it does not."""

import io
import warnings
import zipfile

import pytest
import torch

from qtrain_cli.errors import BadInput, Refused
from qtrain_cli.models.untrusted import sizes

READER = torch._C.PyTorchFileReader
SAVED = {"a": torch.arange(10.0), "b": torch.ones(3, 4)}


class Older:
    """A reader that does not tell sizes, as PyTorch 2.11's."""

    def __init__(self, source):
        self._reader = READER(source)

    def get_all_records(self):
        return self._reader.get_all_records()

    def get_record(self, name):
        return self._reader.get_record(name)


@pytest.fixture
def older(monkeypatch):
    monkeypatch.setattr(torch._C, "PyTorchFileReader", Older)


def saved():
    stream = io.BytesIO()
    torch.save(SAVED, stream)
    return stream


def opened(stream):
    return sizes.open_archive(stream, "net.pt", len(stream.getvalue()))


def test_an_older_reader_finds_the_same_sizes(older):
    stream = saved()
    reader = opened(stream)
    found = {name: reader.get_record_size(name) for name in reader.get_all_records()}
    assert found == {name: len(reader.get_record(name)) for name in found}
    assert found["data/0"] == 40


def test_an_older_reader_refuses_what_is_larger_than_its_file(older):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", b"")
        archive.writestr("net/version", b"3\n")
        archive.writestr("net/data/0", bytes(10**6))
    with pytest.raises(Refused, match="claims to hold 1000002"):
        opened(stream)


def test_an_older_reader_refuses_a_directory_of_other_records(older):
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("net/data.pkl", b"")
        archive.writestr("net/version", b"3\n")
        archive.writestr("net/data/0", b"one")
        archive.writestr("net/data/0", b"another")
    with pytest.raises(BadInput, match="its directory and its records differ"):
        opened(stream)
