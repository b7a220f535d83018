"""Labelled data in, as three splits that cannot be mistaken for each other.

Each format has one file with two functions, `matches(source)` and `read(source, request)`, and one row in
`READERS`; the first row that matches reads. What a reader returns is checked once, here, for all formats
(`arrays`), and the validation rows are set apart from train (`splits`) where the data have none of their own:

    source --READERS--> Arrays --checked--> Arrays --hold_out--> Dataset(train, validation, test)

The task is the first of the table that takes the targets (`tasks`); integers are class numbers. Images stay
uint8 ``(N, C, H, W)`` until `Normalisation` makes them float32, texts token numbers in few bytes until it
makes them int64. Nothing is cached on disk. Pictures and arrays of more than 256 MB lie in files without a
name (`files.spilled`), all else in memory, once: larger tables of texts and numbers are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qtrain_cli.data import (
    class_folders,
    csv_table,
    function,
    hub,
    image_table,
    json_lines,
    npz,
    parquet,
    saved,
    tensors,
)
from qtrain_cli.data.arrays import Arrays, arrays_by_name, checked, class_count, digest
from qtrain_cli.data.damage import DamagedRow
from qtrain_cli.data.inputs import Inputs, NamedInputs
from qtrain_cli.data.labels import labels_in_words, relabelled
from qtrain_cli.data.named import as_inputs
from qtrain_cli.data.places import placed
from qtrain_cli.data.request import Request, request_of
from qtrain_cli.data.room import short
from qtrain_cli.data.splits import (
    Dataset,
    Normalisation,
    Pair,
    TestSplit,
    TrainSplit,
    ValidationSplit,
    describe_data,
    has_pixels,
    hold_out,
    normalised_parts,
    set_apart,
)
from qtrain_cli.data.tokens import of_one_length
from qtrain_cli.errors import BadInput, QtrainError, Refused, UsageError
from qtrain_cli.files.downloads import LOOKED_AT, not_downloaded
from qtrain_cli.files.reading import open_ordinary
from qtrain_cli.settings import DataSettings, ModelSettings
from qtrain_cli.tasks import asked_task, task_of_targets

__all__ = [
    "READERS",
    "Dataset",
    "Normalisation",
    "Reader",
    "TestSplit",
    "TrainSplit",
    "ValidationSplit",
    "describe_data",
    "given_data",
    "load_data",
]


@dataclass(frozen=True)
class Reader:
    """One row of the table of formats. `form` is what a user writes for it."""

    form: str
    matches: Callable[[str], bool]
    read: Callable[[str, Request], Arrays]


READERS: tuple[Reader, ...] = (
    Reader("hf:NAME", hub.matches, hub.read),
    Reader("file.py:function", function.matches, function.read),
    Reader("a folder of save_to_disk", saved.matches, saved.read),
    Reader("train-*.parquet, test-*.parquet", parquet.matches, parquet.read),
    Reader("train.csv, test.csv, or one .csv", csv_table.matches, csv_table.read),
    Reader("images by metadata.csv", image_table.matches, image_table.read),
    Reader("train.jsonl, test.jsonl, or one", json_lines.matches, json_lines.read),
    Reader("train/CLASS/ and test/CLASS/", class_folders.matches, class_folders.read),
    Reader(".npz", npz.matches, npz.read),
    Reader(".safetensors", tensors.matches, tensors.read),
)

#: Endings of pictures in a folder that is no data yet.
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".tga")
#: Endings of files of data, which are looked at before they are read.
_DOWNLOADED = (".parquet", ".csv", ".npz", ".safetensors", ".jsonl", ".json", ".ndjson", ".arrow")


def load_data(settings: DataSettings, seed: int, model: ModelSettings | None = None) -> Dataset:
    """Reads, checks and splits the data that `settings.source` names.

    Args:
        settings: the source, what is what in it, the normalisation and the share of train that becomes
            validation.
        seed: chooses the validation rows; nothing else depends on it.
        model: in whose folder a tokenizer and the form of pictures may be.

    Raises:
        BadInput: nothing qtrain can read, or data that disagree with each other.
        UsageError: `mean` and `std` do not fit the number of channels.
        Refused: a file that would run code when read.
    """
    try:
        return _split(_whole(settings, _beside(model)), settings, seed)
    except QtrainError as error:
        kind = BadInput if isinstance(error, DamagedRow) else type(error)
        raise kind(f"data '{settings.source}': {short(error.message)}", short(error.advice)) from error
    except MemoryError as error:
        raise BadInput(
            f"data '{settings.source}' does not fit in memory", "give a smaller data set"
        ) from error
    except UnicodeError as error:
        where = f"data '{settings.source}' has text that is not UTF-8"
        raise BadInput(f"{where}: {short(str(error))}", "save it as UTF-8") from error
    except OSError as error:
        raise BadInput(
            f"data '{settings.source}' cannot be read: {error.strerror or error}",
            "check the path and its permissions",
        ) from error


def _beside(model: ModelSettings | None) -> Path | None:
    """The folder that the model is, or lies in."""
    if model is None:
        return None
    return model.path if model.path.is_dir() else model.path.parent


@dataclass(frozen=True)
class _Read:
    """Checked arrays, how many rows were left out, and what was said of all that."""

    arrays: Arrays
    skipped_rows: int | None
    said: tuple[str, ...]


def _whole(settings: DataSettings, beside: Path | None) -> _Read:
    request = request_of(settings, beside)
    raw = of_one_length(_read(_reader_for(settings.source), settings, request))
    arrays = _checked(raw, settings)
    damage, pictures = request.damage, request.pictures
    said = (*arrays.said, *request.texts.told, *pictures.told, *damage.said)
    if pictures.came:
        arrays = replace(arrays, mean=pictures.form.mean, std=pictures.form.std)
    return _Read(arrays, damage.count if settings.skip_damaged else None, said)


def _checked(raw: Arrays, settings: DataSettings) -> Arrays:
    return checked(placed(relabelled(raw, settings.classes), settings.asked))


def given_data(arrays: Mapping[str, np.ndarray], settings: DataSettings, seed: int) -> Dataset:
    """The same of arrays by name (x_train or x_train.part, y_train, ...), which a program has already.

    Raises:
        BadInput, UsageError: as `load_data`.
    """
    raw = replace(arrays_by_name(arrays, arrays.__getitem__), owned=False)
    return _split(_Read(_checked(raw, settings), None, ()), settings, seed)


def _read(reader: Reader, settings: DataSettings, request: Request) -> Arrays:
    """What the reader finds. Raises `Refused` where a file does what no reader of its format expects."""
    try:
        _refuse_undownloaded(Path(settings.source))
        found, texts = reader.read(settings.source, request), request.texts
        return replace(texts.labels.named(found), padding=texts.padding, separator=texts.separator)
    except (QtrainError, MemoryError, UnicodeError, OSError):
        raise
    except Exception as error:
        raise Refused(
            f"is damaged in a way no reader knows ({type(error).__name__}: {short(str(error))})",
            "do not use this file, or write it again",
        ) from error


def _refuse_undownloaded(path: Path) -> None:
    """Refuses a file, or one in a folder or its ``data``, that only stands for what was not downloaded."""
    for file in (path, *sorted(path.glob("*.*")), *sorted(path.glob("data/*.*"))):
        if file.suffix in _DOWNLOADED and file.is_file():
            with open_ordinary(file) as opened:
                told = not_downloaded(opened.read(LOOKED_AT))
            if told:
                raise BadInput(f"{file.name} is {told[0]}", f"the data were not downloaded: {told[1]}")


def _refuse_pipes(path: Path) -> None:
    """Refuses what is neither file nor folder, given as data or lying among them: it may never end."""
    files = (file for file in path.glob("*.*") if file.suffix in _DOWNLOADED)
    for place in (path, *sorted(files)):
        if place.exists() and not (place.is_file() or place.is_dir()):
            kind = "pipe" if place.is_fifo() else "socket" if place.is_socket() else "device"
            what = f"is a {kind}" if place == path else f"has the {kind} {place.name}"
            raise BadInput(f"{what}, and no ordinary file", "write it to a file first, and give that")


def _reader_for(source: str) -> Reader:
    _refuse_pipes(Path(source))
    for reader in READERS:
        if reader.matches(source):
            return reader
    forms = "; ".join(reader.form for reader in READERS)
    path = Path(source)
    if not path.exists():
        raise BadInput("there is no such file or folder", f"allowed: {forms}")
    if path.is_dir() and any(file.suffix.lower() in _PICTURES for file in path.iterdir()):
        raise BadInput(
            "is a flat folder of pictures, which says nothing of their labels",
            "sort them into train/CLASS/ and test/CLASS/, or put a table metadata.csv of file_name, label and"
            " split beside them",
        )
    if path.is_dir() and any(file.suffix.lower() in _PICTURES for file in path.glob("*/*")):
        raise BadInput(
            "is a folder of class folders without a split",
            "move them into a folder train, and some of each class's pictures into test/CLASS/",
        )
    raise BadInput("is nothing that qtrain reads as data", f"allowed: {forms}")


def _split(read: _Read, settings: DataSettings, seed: int) -> Dataset:
    arrays = read.arrays
    pair = None if arrays.separator is None else Pair(arrays.separator, arrays.padding or 0)
    normalisation = Normalisation(settings.mean or arrays.mean, settings.std or arrays.std, pair=pair)
    _refuse_wrong_channels(normalisation, as_inputs(arrays.x_train))
    sha256 = digest(arrays)  # before rows change places
    family, classes = arrays.family, class_count(arrays)
    task = asked_task(family, arrays.y_train) if family else task_of_targets(arrays.y_train)
    train, validation = _trained_on(arrays, settings, seed)
    return Dataset(
        train=train,
        validation=validation,
        test=TestSplit(as_inputs(arrays.x_test), torch.from_numpy(arrays.y_test)),
        task=task.name,
        classes=classes,
        sha256=sha256,
        normalisation=normalisation,
        labels=arrays.names,
        said=(*read.said, *_said(arrays, len(validation))),
        padding=arrays.padding,
        skipped_rows=read.skipped_rows,
        asked=replace(settings.asked, family=family),
    )


def _trained_on(arrays: Arrays, settings: DataSettings, seed: int) -> tuple[TrainSplit, ValidationSplit]:
    """Train and validation: the data's own, or some of train."""
    x, y = as_inputs(arrays.x_train), torch.from_numpy(arrays.y_train)
    if arrays.x_validation is not None and arrays.y_validation is not None:
        own = ValidationSplit(as_inputs(arrays.x_validation), torch.from_numpy(arrays.y_validation))
        return TrainSplit(x, y), own
    places = hold_out(len(x), settings.validation, seed)
    targets, held_targets = set_apart(y, places, arrays.owned)
    if isinstance(x, Tensor):
        inputs, held = set_apart(x, places, arrays.owned)
        return TrainSplit(inputs, targets), ValidationSplit(held, held_targets)
    parts = {name: set_apart(part, places, arrays.owned) for name, part in x.parts.items()}
    both = (NamedInputs({name: pair[place] for name, pair in parts.items()}) for place in (0, 1))
    return TrainSplit(next(both), targets), ValidationSplit(next(both), held_targets)


def _said(arrays: Arrays, held: int) -> tuple[str, ...]:
    """What became of the data that a user may not expect."""
    own = arrays.x_validation is not None
    rows = ("validation rows are the data's own",) if own else ()
    kept = () if held else ("no validation rows: the last state is kept",)
    labels = (labels_in_words(arrays.names),) if arrays.names else ()
    pixels = ("pixels are divided by 255",) if has_pixels(as_inputs(arrays.x_train)) else ()
    return (*rows, *kept, *labels, *pixels)


def _refuse_wrong_channels(normalisation: Normalisation, inputs: Inputs) -> None:
    given = len(normalisation.mean)
    for name, part in normalised_parts(inputs).items() if given else ():
        channels, where = part.shape[1] if part.dim() > 1 else 1, f" {name}" if name else ""
        if given > 1 and given != channels:
            raise UsageError(
                f"--mean and --std have {given} numbers and the inputs{where} {channels} channels",
                f"give one number for all channels, or {channels}",
            )
