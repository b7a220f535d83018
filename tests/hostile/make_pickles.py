"""Makes files of `torch.save` that must be refused for what they cost or show, and not for what they run.

    python tests/hostile/make_pickles.py FOLDER

Each is a few kilobytes. Most are written by PyTorch's own pickler, fed with objects whose `__reduce__` says
what the attack says.
"""

from __future__ import annotations

import codecs
import io
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

WEIGHT = torch.zeros(2, 4)


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.args


class WithItems:
    """Pickled as an ordered dictionary with an attribute that hides a method."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return OrderedDict, (), {"items": 3}, None, iter(self.state.items())


class Stored:
    """Pickled as a storage of float32."""

    def __init__(self, key: str, numel: int) -> None:
        self.saved = ("storage", torch.FloatStorage, key, "cpu", numel)


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        return value.saved if isinstance(value, Stored) else None


def write_archive(path: Path, value: Any, numbers: int = 4, text: bytes | None = None) -> None:
    """An archive as `torch.save` writes it, with one storage, "0", of `numbers` float32."""
    pickled = io.BytesIO()
    _Pickler(pickled, protocol=2).dump(value)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", text or pickled.getvalue())
        archive.writestr("archive/data/0", bytes(4 * numbers))
        archive.writestr("archive/version", "3\n")


def view(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, numel: int = 4) -> Call:
    """A tensor of the storage, whatever its sizes."""
    storage = Stored("0", numel)
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, OrderedDict())


def make_unfolding_dictionaries(path: Path) -> None:
    """Sets of weights at 60 to the power of 3 places."""
    value: Any = {"weight": WEIGHT}
    for _ in range(3):
        value = {f"k{place}": value for place in range(60)}
    torch.save(value, path)


def make_unfolding_key(path: Path) -> None:
    """The hash of a tuple of tuples of tuples goes through 2**60 of them."""
    key: Any = ()
    for _ in range(60):
        key = (key, key)
    text = pickle.dumps(key, protocol=2)[:-1]
    write_archive(path, None, text=b"\x80\x02}" + text[2:] + b"Ns.")


def make_unfolding_layers(path: Path) -> None:
    """One layer at 2**60 places of a network."""
    layer: nn.Module = nn.Linear(2, 2)
    for _ in range(60):
        layer = nn.Sequential(layer, layer)
    torch.save(layer, path)


def make_codec(path: Path) -> None:
    text = Call(codecs.encode, "a" * 1000, "hex")
    torch.save({"weight": WEIGHT, "note": text}, path)


def make_punycode(path: Path) -> None:
    torch.save({"weight": WEIGHT, "note": Call(codecs.encode, "\u1234a" * 1000, "punycode")}, path)


def make_repeated_text(path: Path) -> None:
    """A text of 100,000 letters, encoded anew by each seven bytes."""
    again = b"h\x01h\x02\x86R0h\x00"  # get, get, a tuple, call, drop; the codec again
    text = pickle.dumps("a" * 100_000, protocol=2)[2:-3]
    codec = pickle.dumps("latin1", protocol=2)[2:-3]
    start = b"\x80\x02c_codecs\nencode\nq\x00" + text + b"q\x010" + codec + b"q\x020"
    write_archive(path, None, text=start + again * 20_000 + b".")


def make_repeated_list(path: Path) -> None:
    """A list of 10,000 pairs, made a dictionary by each five bytes."""
    pairs = pickle.dumps([(number, None) for number in range(10_000)], protocol=2)[2:-1]
    start = b"\x80\x02" + pairs + b"r\xff\xff\x00\x000ccollections\nOrderedDict\nr\xfe\xff\x00\x000"
    write_archive(path, None, text=start + b"j\xfe\xff\x00\x00j\xff\xff\x00\x00\x85R" * 20_000 + b".")


def make_long_number(path: Path) -> None:
    torch.save({"weight": WEIGHT, "epoch": 2**100_000}, path)


def make_beyond_storage(path: Path) -> None:
    """A view of memory behind the storage."""
    write_archive(path, {"weight": view((2, 40), (40, 1))})


def make_far_offset(path: Path) -> None:
    write_archive(path, {"weight": view((2, 2), (2, 1), offset=3)})


def make_overflowing_strides(path: Path) -> None:
    write_archive(path, {"weight": view((2, 2), (2**62 - 1, 2**62 - 1))})


def make_short_record(path: Path) -> None:
    """The storage says 40 numbers, and its record has 4."""
    write_archive(path, {"weight": view((40,), (1,), numel=40)})


def make_two_lengths(path: Path) -> None:
    views = [view((4,), (1,)), view((2,), (1,), numel=2)]
    write_archive(path, dict(zip("ab", views, strict=True)))


def make_many_views(path: Path) -> None:
    """Hundreds of tensors, each nearly the whole storage."""
    views = {f"w{place}": view((4000 - place,), (1,), numel=4000) for place in range(500)}
    write_archive(path, views, numbers=4000)


def _with(layer: nn.Module, **changes: Any) -> nn.Module:
    vars(layer).update(changes)
    return nn.Sequential(layer).eval()


def _layer(**changes: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        torch.save(_with(nn.LSTM(4, 8, batch_first=True), **changes), path)

    return make


def make_no_heads(path: Path) -> None:
    torch.save(_with(nn.MultiheadAttention(8, 2, batch_first=True), num_heads=0), path)


def make_encoder_without_heads(path: Path) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    layer.self_attn.num_heads = 0
    torch.save(nn.Sequential(layer).eval(), path)


def make_encoder_of_other_sizes(path: Path) -> None:
    """The fused kernel of a whole layer believes that its parts fit."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    layer.linear1 = nn.Linear(80, 16)
    torch.save(nn.Sequential(layer).eval(), path)


def make_no_hidden(path: Path) -> None:
    layer = _with(nn.LSTM(4, 8), hidden_size=0)
    for name, value in list(layer[0]._parameters.items()):
        layer[0]._parameters[name] = nn.Parameter(value[:0, ...].detach().clone())
    torch.save(layer, path)


def make_other_flat_weights(path: Path) -> None:
    """What the kernel would get is not what the layer has."""
    torch.save(_with(nn.LSTM(4, 8), _flat_weights_names=["weight_ih_l0"] * 4), path)


def make_growing(path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(2, 2), nn.Upsample(scale_factor=1e9)), path)


def make_long_name(path: Path) -> None:
    torch.save({"k" * 20_000_000: WEIGHT}, path)


def make_long_path(path: Path) -> None:
    """2,000 sets of weights under one key of a million letters, which is joined with the name of each."""
    torch.save({"k" * 1_000_000: {str(number): {"w": WEIGHT} for number in range(2_000)}}, path)


def make_long_layer(path: Path) -> None:
    """2,000 tensors in a layer whose name has a million letters."""
    layers = [nn.PReLU() for _ in range(2_000)]
    torch.save(nn.Sequential(OrderedDict({"k" * 1_000_000: nn.Sequential(*layers)})), path)


#: Each with words of its refusal.
COSTLY: dict[str, tuple[Callable[[Path], None], str]] = {
    "unfolding_dictionaries.pt": (make_unfolding_dictionaries, "unfold without end"),
    "unfolding_key.pt": (make_unfolding_key, "uses a tuple as a key"),
    "unfolding_layers.pt": (make_unfolding_layers, "in more than 200000 places"),
    "codec.pt": (make_codec, "calls the codec 'hex'"),
    "punycode.pt": (make_punycode, "calls the codec 'punycode'"),
    "repeated_text.pt": (make_repeated_text, "more than 4000000 steps"),
    "repeated_list.pt": (make_repeated_list, "more than 4000000 steps"),
    "long_number.pt": (make_long_number, "a number of 100001 bits"),
    "beyond_storage.pt": (make_beyond_storage, "reaches out of its storage of 4 numbers"),
    "far_offset.pt": (make_far_offset, "reaches out of its storage of 4 numbers"),
    "overflowing_strides.pt": (make_overflowing_strides, "reaches out of its storage of 4 numbers"),
    "short_record.pt": (make_short_record, "says 160 bytes, and its record has 16"),
    "two_lengths.pt": (make_two_lengths, "two things about the storage '0'"),
    "many_views.pt": (make_many_views, "500 tensors show"),
    "many_layers.pt": (_layer(num_layers=10**12), "num_layers=1000000000000"),
    "three_layers.pt": (_layer(num_layers=3), "has 'bias_hh_l1' of the shape None"),
    "wide_input.pt": (_layer(input_size=400), "has 'weight_ih_l0' of the shape [32, 4]"),
    "negative.pt": (_layer(hidden_size=-1), "has hidden_size=-1; allowed: above 0"),
    "no_heads.pt": (make_no_heads, "has num_heads=0; allowed: above 0"),
    "encoder_without_heads.pt": (make_encoder_without_heads, "has num_heads=0; allowed: above 0"),
    "encoder_of_other_sizes.pt": (make_encoder_of_other_sizes, "has 'linear1.weight' of the shape [16, 80]"),
    "no_hidden.pt": (make_no_hidden, "has hidden_size=0; allowed: above 0"),
    "other_flat_weights.pt": (make_other_flat_weights, "has _flat_weights_names="),
    "long_name.pt": (make_long_name, "a tensor's name has 20,000,000 letters; allowed: 1,024"),
    "long_path.pt": (make_long_path, "a tensor's name has 1,000,00"),
    "long_layer.pt": (make_long_layer, "a tensor's name has 1,000,00"),
    "growing.pt": (make_growing, "has scale_factor=1000000000.0; allowed: up to 4096"),
}


def make(name: str, folder: Path) -> Path:
    """Make one file in `folder`."""
    path = folder / name
    COSTLY[name][0](path)
    return path


if __name__ == "__main__":
    for file in COSTLY:
        print(make(file, Path(sys.argv[1])))
