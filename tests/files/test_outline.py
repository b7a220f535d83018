"""Names of tensors without torch: those that torch itself finds, and none in what is hostile."""

import pickle
import time
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from qtrain_cli.files.outline import MOST_PICKLE_BYTES, TensorNames, outline_of


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.Sequential(nn.BatchNorm2d(2), nn.ReLU())})
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("mask", torch.ones(2))


@pytest.fixture
def saved(tmp_path):
    def save(value):
        torch.save(value, tmp_path / "net.pt")
        return outline_of(tmp_path / "net.pt")

    return save


def names_of(module):
    return sorted(module.state_dict())


def test_a_state_dictionary_has_its_names(saved):
    module = Nested()
    assert saved(module.state_dict()) == TensorNames(tuple(module.state_dict()))


def test_a_checkpoint_has_those_of_its_weights(saved):
    module = Nested()
    found = saved({"epoch": 3, "model": module.state_dict(), "optimiser": {"lr": 0.1}})
    assert (sorted(found.names), found.has_module) == (names_of(module), False)


def test_a_pickled_module_has_its_names_and_needs_no_class(saved):
    module = Nested()
    found = saved(module)
    assert (sorted(found.names), found.has_module) == (names_of(module), True)


def test_the_samples_have_their_names(digits):
    module = torch.load(digits / "digits_cnn_module.pt", weights_only=False)
    for name in ("digits_cnn_module.pt", "digits_cnn.pt", "digits_cnn.safetensors"):
        assert sorted(outline_of(digits / name).names) == names_of(module), name


def test_safetensors_have_those_of_the_header(tmp_path):
    save_file({"b": torch.ones(1), "a": torch.ones(2)}, tmp_path / "net.safetensors")
    assert sorted(outline_of(tmp_path / "net.safetensors").names) == ["a", "b"]


class Boom:
    def __reduce__(self):
        return (pytest.fail, ("it was called",))


def archive(path, pickled, **how):
    with zipfile.ZipFile(path, "w", **how) as file:
        file.writestr("net/data.pkl", pickled)
    return path


def test_nothing_is_called(tmp_path):
    assert outline_of(archive(tmp_path / "n.pt", pickle.dumps({"a": Boom()}, protocol=2))) == TensorNames()


BROKEN = [
    b"", b"\x80\x02", b"\x80\x02X\xff\xff\xff\xff", b"\x80\x02h\x05.", b"\x80\x02u.", b"\x80\x02R.",
    b"\x80\x02}q\x00h\x00h\x00s.", b"\x80\x02(" * 10_000,
    b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
]  # fmt: skip


@pytest.mark.parametrize("pickled", BROKEN)
def test_what_is_no_model_has_no_names(tmp_path, pickled):
    assert outline_of(archive(tmp_path / "n.pt", pickled)).names == ()


def test_a_dictionary_that_holds_itself_ends(tmp_path):
    held = b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01h\x00s."
    assert outline_of(archive(tmp_path / "n.pt", held)).names == ()


def test_bombs_are_not_unpacked(tmp_path):
    started = time.monotonic()
    bomb = archive(tmp_path / "n.pt", b"\0" * (2 * MOST_PICKLE_BYTES), compression=zipfile.ZIP_DEFLATED)
    assert outline_of(bomb) == TensorNames() and time.monotonic() - started < 5


def test_what_is_not_there_or_no_archive_has_no_names(tmp_path):
    (tmp_path / "n.pt").write_bytes(b"no archive")
    (tmp_path / "n.safetensors").write_bytes(b"\0" * 20)
    assert [outline_of(tmp_path / name) for name in ("n.pt", "n.safetensors", "absent.pt")] == [
        TensorNames()
    ] * 3
