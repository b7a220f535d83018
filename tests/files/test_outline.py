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


def module(children):
    """Opcodes of a module: what lies on the stack as `_modules` is `children`, opcodes of pairs."""
    return b"cnet\nNet\n)\x81}X\x08\x00\x00\x00_modules}(" + children + b"usb"


def shared(levels, letters=1):
    """Each module names the one before twice: 2**levels names of a few bytes a level."""
    size = letters.to_bytes(4, "little")
    tensor = b"}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n)Rs"
    opcodes = b"cnet\nNet\n)\x81}X\x0b\x00\x00\x00_parameters" + tensor + b"sX\x08\x00\x00\x00_modules}sb"
    for level in range(levels):
        known, get = bytes([ord("q"), level]), bytes([ord("h"), level])
        opcodes += known + module(b"".join(b"X" + size + name * letters + get for name in (b"a", b"b")))
    return b"\x80\x02" + opcodes + b"."


def test_a_shared_part_has_a_name_below_each(tmp_path):
    assert outline_of(archive(tmp_path / "n.pt", shared(2))).names == ("a.a.w", "a.b.w", "b.a.w", "b.b.w")


def test_few_bytes_that_mean_millions_of_names_have_none(tmp_path):
    assert outline_of(archive(tmp_path / "n.pt", shared(18))) == TensorNames()
    assert outline_of(archive(tmp_path / "n.pt", shared(8, 2**16))) == TensorNames()


SLOW = {
    "marks above a deep stack": b"N" * 100_000 + b"(t" * 20_000 + b".",
    "a name of shared tuples": b")" + b"q\x00h\x00h\x00\x86" * 23 + b"q\x00h\x00\x93.",
}  # fmt: skip


@pytest.mark.parametrize("pickled", SLOW.values(), ids=SLOW)
def test_what_takes_long_to_follow_ends_soon(tmp_path, pickled):
    started = time.monotonic()
    assert outline_of(archive(tmp_path / "n.pt", b"\x80\x02" + pickled)) == TensorNames()
    assert time.monotonic() - started < 2


def test_what_is_not_there_or_no_archive_has_no_names(tmp_path):
    (tmp_path / "n.pt").write_bytes(b"no archive")
    (tmp_path / "n.safetensors").write_bytes(b"\0" * 20)
    assert [outline_of(tmp_path / name) for name in ("n.pt", "n.safetensors", "absent.pt")] == [
        TensorNames()
    ] * 3
