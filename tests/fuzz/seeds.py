"""Small files to begin with, honest ones first: made anew, or of `tests/formats` and `tests/hostile`."""

from __future__ import annotations

import io
import json
import pickle
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hostile import make_artifacts, make_models
from safetensors.torch import save
from torch import nn

from qtrain_cli.cli.app import kinds_of
from qtrain_cli.cli.table import COMMANDS
from qtrain_cli.files.checkpoint import save_checkpoint
from qtrain_cli.training.descent import Rate, start_descent
from qtrain_cli.training.state import RunState, checkpoint_of

TESTS = Path(__file__).resolve().parents[1]
#: Files of students and of MNIST's size take seconds to verify; their like is here in small.
SLOW = ("mnist",)
#: Inputs that every honest model takes.
INPUTS = torch.zeros(2, 4)
IDENTITY = {"model": "a" * 64, "settings": {"epochs": 2, "lr": 0.1}}
LABELS = np.arange(8) % 2


class Toy:
    """The least that can be trained: a row of three, and one number that no step changes."""

    def __init__(self) -> None:
        self.row, self.mean = nn.Parameter(torch.ones(3)), torch.zeros(())

    def parameters(self) -> dict[str, torch.Tensor]:
        """What a step changes."""
        return {"row": self.row}

    def state(self) -> dict[str, torch.Tensor]:
        """What it does not."""
        return {"mean": self.mean}


def fresh_run() -> RunState:
    """A run of a toy that has not begun."""
    toy = Toy()
    return RunState(toy, start_descent((toy.row,), Rate(0.1), 4))


def artifacts() -> Iterator[bytes]:
    """Those of every format, method and kind, then the hostile ones."""
    for path in sorted((TESTS / "formats").glob("*.qtrain")):
        if not any(word in path.name for word in SLOW):
            yield path.read_bytes()
    yield from (case.make() for name, case in [*make_artifacts.CASES.items()][::9] if "bomb" not in name)


def checkpoints() -> Iterator[bytes]:
    """A run's first state, and one with a best state and a history."""
    with tempfile.TemporaryDirectory() as folder:
        for steps in (0, 2):
            run = fresh_run()
            for _ in range(steps):
                advance(run)
            save_checkpoint(Path(folder) / "a.ckpt", checkpoint_of(run, IDENTITY))
            yield (Path(folder) / "a.ckpt").read_bytes()


def advance(run: RunState) -> None:
    """One step, after which the state is the best one."""
    run.descent.optimizer.zero_grad()
    run.trainee.row.square().sum().backward()
    run.descent.step()
    run.step += 1
    run.remember_best(0.5)
    run.end_epoch(1, 0.5)


def trees() -> Iterator[Any]:
    """What people save: a state dictionary, modules of many stock layers, tensors of every kind."""
    model = make_models.network()
    yield model.state_dict()
    yield {"model": model.state_dict(), "ema": model.state_dict(), "epoch": 3, "args": {"lr": 0.1}}
    yield model
    yield nn.Sequential(
        nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.Flatten(), nn.Linear(4, 2)
    )
    yield nn.Sequential(nn.Unflatten(1, (2, 2)), nn.LSTM(2, 2, batch_first=True))
    yield nn.Sequential(
        nn.Unflatten(1, (1, 4)), nn.TransformerEncoderLayer(4, 2, 4, batch_first=True), nn.Flatten()
    )
    yield nn.Sequential(
        nn.Unflatten(1, (1, 4)), nn.LayerNorm(4), nn.GroupNorm(1, 1), nn.GELU(), nn.MaxPool1d(2)
    )
    row = torch.ones(4)
    yield {
        "sparse": torch.eye(2).to_sparse(),
        "bool": row > 0,
        "half": row.half(),
        "complex": row + 1j,
        "tied": row,
    }
    yield OrderedDict(
        a=torch.empty(2, device="meta"), b=row[1:3], c=torch.quantize_per_tensor(row, 0.1, 0, torch.qint8)
    )


def torch_archives() -> Iterator[bytes]:
    """By ``torch.save`` of now, then the hostile ones."""
    for tree in trees():
        yield torch_saved(tree)
    yield from _hostile(".pt")


def old_pickles() -> Iterator[bytes]:
    """By ``torch.save`` of before PyTorch 1.6, and plain pickles."""
    for tree in trees():
        try:
            yield torch_saved(tree, _use_new_zipfile_serialization=False)
        except Exception:  # that format does not have every kind of tensor
            continue
    yield pickle.dumps({"a": [1, 2.0, None, ("x", True)]}, 2)
    yield from _hostile(".th", ".pkl")


def torch_saved(tree: Any, **how: Any) -> bytes:
    """What ``torch.save`` writes."""
    stream = io.BytesIO()
    torch.save(tree, stream, **how)
    return stream.getvalue()


def _hostile(*endings: str) -> Iterator[bytes]:
    names = [name for name in (*make_models.RUNNING, *make_models.REFUSED) if name.endswith(endings)]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            yield make_models.make(name, Path(folder)).read_bytes()


def graphs() -> Iterator[bytes]:
    """By ``torch.export.save``, then the hostile ones."""
    layers = (
        make_models.network(),
        nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.Flatten()),
        nn.Sequential(nn.Unflatten(1, (2, 2)), nn.LayerNorm(2), nn.Flatten(), nn.Linear(4, 2), nn.GELU()),
    )  # fmt: skip
    batch = torch.export.Dim("batch", min=1)
    for layer in layers:
        stream = io.BytesIO()
        torch.export.save(torch.export.export(layer.eval(), (INPUTS,), dynamic_shapes=({0: batch},)), stream)
        yield stream.getvalue()
    yield from _hostile(".pt2")


def safetensors_files() -> Iterator[bytes]:
    """Weights of the small network; tensors of every dtype; none; labelled data."""
    state = make_models.network().state_dict()
    yield save(dict(state))
    yield save({f"module.{name}": tensor.half() for name, tensor in state.items()}, {"format": "pt"})
    yield save({"a": torch.ones(2).bfloat16(), "b": torch.ones(0, 3).long(), "c": torch.ones(()) > 0})
    yield save({})
    data = {name: torch.from_numpy(part.copy()) for name, part in splits().items()}
    yield save(data)


#: What stands beside an index.
SHARDS: dict[str, Callable[[], bytes]] = {
    "m/config.json": lambda: b"{}",
    "m/1.safetensors": lambda: next(safetensors_files()),
    "m/2.safetensors": lambda: save({"x": torch.ones(2)}),
}


def indices() -> Iterator[bytes]:
    """Indices of shards: each tensor's shard by its name."""
    names = dict.fromkeys(make_models.network().state_dict(), "1.safetensors")
    yield json.dumps({"metadata": {"total_size": 232}, "weight_map": names}).encode()
    yield json.dumps({"weight_map": {**names, "x": "2.safetensors"}}).encode()


def splits() -> dict[str, np.ndarray]:
    """Labelled data, 8 rows of 3 to train with and as many to test."""
    x = np.arange(24, dtype=np.float32).reshape(8, 3)
    return {"x_train": x, "y_train": LABELS, "x_test": x, "y_test": LABELS}


def npz_files() -> Iterator[bytes]:
    """Numbers, images, compressed, tokens with a label each or with themselves, and arrays of odd dtypes."""
    images = np.zeros((8, 1, 4, 4), np.uint8)
    odd = {"y_train": LABELS.astype(bool), "y_test": LABELS.astype("U3")}
    tokens = np.arange(2, 42).reshape(8, 5)
    tagged = {"x_train": tokens, "x_test": tokens, "y_train": tokens % 7, "y_test": tokens % 7}
    same = tagged | {"y_train": tokens, "y_test": tokens}
    pictures = splits() | {"x_train": images, "x_test": images}
    for arrays in (splits(), pictures, tagged, same, splits() | odd):
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        yield stream.getvalue()
    stream = io.BytesIO()
    np.savez_compressed(stream, **splits())
    yield stream.getvalue()


def csv_files() -> Iterator[bytes]:
    """One file of both splits, with and without quotes, byte-order mark and decimal points."""
    rows = "".join(f"{n},{n / 2},{n % 2},{'train' if n < 6 else 'test'}\n" for n in range(9))
    yield f"a,b,label,split\n{rows}".encode()
    yield f"\ufeffa,b,y,split\r\n{rows}".replace("\n", "\r\n").encode()
    yield f'"a","b, c",z,split\n{rows}'.replace("1,", '"1.5",').encode()
    yield b"a,b\n1,2\n"


def parquet_files() -> Iterator[bytes]:
    """Tables of numbers, of images, of odd kinds; none where there is no PyArrow."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        return
    split = ["train"] * 6 + ["test"] * 2
    image = next(images())
    info = b'{"info": {"features": {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel"}}}}'
    cells = [{"bytes": image, "path": "x.png"}] * 8
    tables = (
        {"a": np.arange(8.0), "b": np.arange(8), "label": LABELS, "split": split},
        {"image": cells, "label": LABELS, "split": split},
        {"image": [image] * 8, "label": LABELS, "split": split},
        {"a": pa.array([None, 1, 2, 3, 4, 5, 6, 7]), "label": LABELS > 0, "split": split},
        {"a": pa.array(np.arange(8).astype("M8[s]")), "label": LABELS, "split": split},
        {"a": pa.array(["x"] * 8).dictionary_encode(), "b": [[1, 2]] * 8, "label": LABELS, "split": split},
        {"a": np.ones(8, "f2"), "label": LABELS.astype("u8"), "split": pa.array(split).dictionary_encode()},
        {"a": pa.array([1] * 8, pa.decimal128(9, 2)), "label": pa.nulls(8), "split": [None] * 8},
    )  # fmt: skip
    for place, columns in enumerate(tables):
        table = pa.table(columns)
        stream = io.BytesIO()
        table = table.replace_schema_metadata({b"huggingface": info}) if place in (1, 2) else table
        parquet.write_table(table, stream, compression="snappy" if place % 2 else "none")
        yield stream.getvalue()


def json_files() -> Iterator[bytes]:
    """Lines of numbers, of lists, of labels as words; none where there is no PyArrow, which they become."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return
    split = ["train"] * 6 + ["test"] * 3
    rows = [{"a": n, "b": n / 2, "label": n % 2, "split": split[n]} for n in range(9)]
    yield "".join(json.dumps(row) + "\n" for row in rows).encode()
    listed = [{"ids": [n, n + 1], "label": "odd" if n % 2 else "even", "split": split[n]} for n in range(9)]
    yield "".join(json.dumps(row) + "\n" for row in listed).encode()
    yield b'{"a": true, "b": null}\n\n{"a": [1, 2.5], "b": {"c": "\\ud800"}}\n'


#: What names the file of `arrow_files` beside it.
ARROW_STATE = {"d/state.json": lambda: b'{"_data_files": [{"filename": "a.arrow"}]}'}


def arrow_files() -> Iterator[bytes]:
    """The tables of `parquet_files` as streams of Arrow, one of them compressed."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        return
    for place, data in enumerate(parquet_files()):
        try:
            table = parquet.read_table(io.BytesIO(data))
        except (pa.ArrowException, OSError):
            continue
        stream = io.BytesIO()
        options = pa.ipc.IpcWriteOptions(compression="lz4" if place == 1 else None)
        with pa.ipc.new_stream(stream, table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=3)
        yield stream.getvalue()


def processors() -> Iterator[bytes]:
    """Of Hugging Face, with a crop and without."""
    plain = {
        "size": {"height": 16, "width": 16},
        "resample": 2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    yield json.dumps(plain).encode()
    crop = {"do_center_crop": True, "crop_size": 16, "size": {"shortest_edge": 20}, "rescale_factor": 0.01}
    yield json.dumps(plain | crop).encode()
    yield json.dumps(plain | {"size": 224, "crop_pct": 0.9, "do_rescale": False}).encode()


def images() -> Iterator[bytes]:
    """Every format and mode that is read; none where there is no Pillow."""
    try:
        from PIL import Image
    except ImportError:
        return
    pixels = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    for form, mode in (("PNG", "L"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "1"), ("PNG", "I;16"),
                       ("JPEG", "RGB"),
                       ("JPEG", "CMYK"), ("BMP", "RGB"), ("GIF", "P"), ("PPM", "RGB"), ("TIFF", "RGB"),
                       ("TIFF", "F"), ("WEBP", "RGB"), ("TGA", "RGB")):  # fmt: skip
        picture = Image.fromarray(pixels)
        picture = picture.convert("L").convert(mode) if mode in ("I;16", "F") else picture.convert(mode)
        stream = io.BytesIO()
        picture.save(stream, form)
        yield stream.getvalue()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", icc_profile=b"x" * 40)
    yield stream.getvalue()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "TIFF", compression="tiff_lzw")
    yield stream.getvalue()


#: A value of every kind of option.
_SAID = {
    "path": '"x"', "data": '"x.npz"', "arch": '"a.py:B"', "text": '"1"', "numbers": "[0.5, 1]",
    "row": '["a", 1]', "list": '["a"]', "json": "{a = 1}", "int": "1", "float": "0.5", "flag": "true",
}  # fmt: skip


def tomls() -> Iterator[bytes]:
    """Tables of every command, and what is refused."""
    yield b'[compress]\ndata = "digits.npz"\nmean = 0.5\nstd = [0.5, 0.25]\nout = "net.qtrain"\nepochs = 3\n'
    yield b'[export]\narch = "file.py:Net"\narch-args = {width = 8}\n[plan]\nbytes = "2KB"\nlayers = [1, 2]\n'
    yield b'[report]\nmarkdown = "x.md"\njunit = "x.xml"\nforce = true\n[compare]\nmethods = ["ours"]\n'
    for name, command in COMMANDS.items():
        lines = (f"{option} = {_SAID[kind]}" for option, kind in kinds_of(command).items() if kind in _SAID)
        yield "\n".join((f"[{name}]", *lines)).encode()
    yield b"[verify]\n[inspect]\n[env]\n[train]\nepochs = 0x10\n[distill]\nseed = 1979-05-27T07:32:00Z\n"
    yield "\ufeff[compress]\r\n\"data\" = '''a'''\r\ntrust_pickle = true\r\n[[plan]]\r\n".encode()
