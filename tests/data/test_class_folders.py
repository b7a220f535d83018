"""Class folders of images, and with them the decoding of images."""

from __future__ import annotations

import struct
import sys
import zlib

import numpy as np
import pytest

from qtrain_cli.data.images import CHANNELS, FORMATS, ImageStack
from qtrain_cli.data.room import Room
from qtrain_cli.errors import BadInput

GREY = np.arange(6, dtype=np.uint8).reshape(3, 2) * 40
COLOUR = np.arange(18, dtype=np.uint8).reshape(3, 2, 3) * 14


@pytest.fixture
def write(tmp_path, encode):
    """Writes images ``{"train/cat/1.png": pixels or bytes}``; the folder comes back."""

    def write_files(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else encode(content))
        return tmp_path

    return write_files


def two_classes():
    names = ("train/cat/1.png", "train/cat/2.png", "train/dog/deep/1.png", "test/dog/1.png")
    return {name: GREY + i for i, name in enumerate(names)}


def test_classes_are_numbered_by_sorted_name(load, write):
    dataset = load(write(two_classes()))
    assert dataset.classes == 2
    assert dataset.test.targets.tolist() == [1]
    assert dataset.test.inputs.tolist() == [[(GREY + 3).tolist()]]
    assert len(dataset.train) + len(dataset.validation) == 3


def test_hidden_files_are_passed_over(load, write):
    files = two_classes() | {"train/.DS_Store": b"x", "train/cat/.thumb": b"x"}
    assert len(load(write(files)).train) == 2


def test_colour_images_are_channels_first(load, write):
    images = dict.fromkeys(("train/a/1.png", "train/b/1.png", "test/a/1.png"), COLOUR)
    dataset = load(write(images))
    assert dataset.test.inputs.shape == (1, 3, 3, 2)
    assert dataset.test.inputs[0].tolist() == COLOUR.transpose(2, 0, 1).tolist()


@pytest.mark.parametrize("form", [form for form in FORMATS if form not in ("JPEG", "WEBP")])
def test_every_lossless_format_gives_the_same_pixels(encode, form):
    stack = ImageStack(1, Room())
    stack.add(encode(COLOUR, form, "P" if form == "GIF" else None), "one")
    got = stack.finish()[0].transpose(1, 2, 0)
    assert np.abs(got.astype(int) - COLOUR).max() <= (60 if form == "GIF" else 0)


@pytest.mark.parametrize(("mode", "channels"), [*CHANNELS.items(), ("1", 1), ("LA", 1), ("P", 3)])
def test_modes_and_their_channels(encode, mode, channels):
    stack = ImageStack(1, Room())
    stack.add(encode(COLOUR, mode=mode), "one")
    assert stack.finish().shape == (1, channels, 3, 2)


def bomb(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(100))), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


REFUSALS = [
    (
        {"train/cat/3.png": np.zeros((3, 5), np.uint8)},
        "train/cat/3.png is 5x3 L, but train/cat/1.png is 2x3 L",
    ),
    ({"test/dog/1.png": np.zeros((3, 5), np.uint8)}, r"x_train has the shape \(1, 3, 2\)"),
    ({"train/cat/3.png": COLOUR}, "train/cat/3.png is 2x3 RGB, but train/cat/1.png is 2x3 L"),
    ({"train/cat/3.png": np.zeros((3, 2), np.uint16)}, "train/cat/3.png has the mode I;16; allowed: L, RGB"),
    ({"train/cat/notes.txt": b"no image"}, "train/cat/notes.txt cannot be decoded"),
    ({"train/cat/0.png": bomb(20_000, 20_000)}, "train/cat/0.png cannot be decoded: .*decompression bomb"),
    ({"train/cat/0.png": bomb(10_000, 9_500)}, "train/cat/0.png cannot be decoded: .*decompression bomb"),
    ({"train/labels.csv": b"a,b"}, "train holds the file labels.csv; allowed: one folder for each class"),
    ({"test/bird/1.png": GREY}, "test has the class 'bird', which train has not"),
]


@pytest.mark.parametrize(("files", "message"), REFUSALS, ids=[message for _, message in REFUSALS])
def test_what_does_not_fit_is_named(load, write, files, message):
    with pytest.raises(BadInput, match=message) as caught:
        load(write(two_classes() | files))
    assert caught.value.exit_code == 2


def test_a_format_that_starts_another_program_is_not_even_identified(load, write, encode):
    with pytest.raises(BadInput, match=r"0\.eps cannot be decoded: cannot identify image file"):
        load(write(two_classes() | {"train/cat/0.eps": encode(GREY, "EPS")}))


def test_a_truncated_image_is_named(load, write, encode):
    files = two_classes() | {"train/cat/2.png": encode(GREY)[:-26]}
    with pytest.raises(BadInput, match=r"train/cat/2\.png cannot be decoded"):
        load(write(files))


def test_a_missing_split_and_an_empty_class_are_errors(load, tmp_path, write):
    write({"train/cat/1.png": GREY})
    with pytest.raises(BadInput, match="there is no folder test"):
        load(tmp_path)
    (tmp_path / "test").mkdir()
    with pytest.raises(BadInput, match="test holds nothing; allowed: one folder for each class"):
        load(tmp_path)
    (tmp_path / "test/cat").mkdir()
    with pytest.raises(BadInput, match="the class folder test/cat is empty"):
        load(tmp_path)


def test_the_announced_count_is_kept(encode):
    stack = ImageStack(1, Room())
    with pytest.raises(BadInput, match="0 images; announced: 1"):
        stack.finish()
    stack.add(encode(GREY), "one")
    with pytest.raises(BadInput, match="two is one more than the 1 images announced"):
        stack.add(encode(GREY), "two")


def test_without_pillow_the_extra_is_named(load, write, monkeypatch):
    folder = write(two_classes())
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(
        BadInput, match="reading images needs the package pillow, which is not installed"
    ) as caught:
        load(folder)
    assert caught.value.advice == "pip install 'qtrain[data]'"


def test_damaged_images_are_left_out_and_counted(load, write, encode):
    files = two_classes() | {"train/cat/2.png": encode(GREY)[:-26], "test/dog/9.png": b"no image"}
    whole = load(write(two_classes()))
    write(files)
    with pytest.raises(BadInput) as caught:
        load(write(files))
    assert caught.value.advice.endswith("--skip-damaged leaves such rows out")
    data = load(write(files), skip_damaged=True)
    assert data.skipped_rows == 2
    assert len(data.test) == len(whole.test) and data.labels == ("cat", "dog")
