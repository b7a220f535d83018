"""Labelled data in, as three splits that cannot be mistaken for each other.

Each format has one file with two functions, `matches(source)` and `read(source)`, and one row in
`READERS`; the first row that matches reads. What a reader returns is checked once, here, for all formats
(`arrays`), and the validation rows are set apart from train (`splits`):

    source --READERS--> Arrays --checked--> Arrays --hold_out--> Dataset(train, validation, test)

The task is the first of the table that takes the targets (`tasks`); integers are class numbers. Images stay
uint8 ``(N, C, H, W)`` until `Normalisation` makes them float32. Nothing is cached on disk, nothing is
augmented or resized, and whole splits are held in memory: data sets larger than that are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from qtrain_cli.data import class_folders, csv_table, function, hub, npz, parquet, tensors
from qtrain_cli.data.arrays import Arrays, checked, class_count, digest
from qtrain_cli.data.labels import labels_in_words, relabelled
from qtrain_cli.data.room import Room, short
from qtrain_cli.data.splits import (
    Dataset,
    Normalisation,
    TestSplit,
    TrainSplit,
    ValidationSplit,
    describe_data,
    hold_out,
)
from qtrain_cli.errors import BadInput, QtrainError, Refused, UsageError
from qtrain_cli.files.downloads import LOOKED_AT, not_downloaded
from qtrain_cli.files.reading import open_ordinary
from qtrain_cli.settings import DataSettings
from qtrain_cli.tasks import task_of_targets

__all__ = [
    "READERS",
    "Dataset",
    "Normalisation",
    "Reader",
    "TestSplit",
    "TrainSplit",
    "ValidationSplit",
    "describe_data",
    "load_data",
]


@dataclass(frozen=True)
class Reader:
    """One row of the table of formats. `form` is what a user writes for it."""

    form: str
    matches: Callable[[str], bool]
    read: Callable[[str, Room], Arrays]


READERS: tuple[Reader, ...] = (
    Reader("hf:NAME", hub.matches, hub.read),
    Reader("file.py:function", function.matches, function.read),
    Reader("a folder with train-*.parquet and test-*.parquet", parquet.matches, parquet.read),
    Reader("a folder with train.csv and test.csv, or one .csv", csv_table.matches, csv_table.read),
    Reader("a folder with train/CLASS/ and test/CLASS/", class_folders.matches, class_folders.read),
    Reader("a .npz file", npz.matches, npz.read),
    Reader("a .safetensors file", tensors.matches, tensors.read),
)

#: Endings of files of data, which are looked at before they are read.
_DOWNLOADED = (".parquet", ".csv", ".npz", ".safetensors")


def load_data(settings: DataSettings, seed: int) -> Dataset:
    """Reads, checks and splits the data that `settings.source` names.

    Args:
        settings: the source, the normalisation and the share of train that becomes validation.
        seed: chooses the validation rows; nothing else depends on it.

    Raises:
        BadInput: nothing qtrain can read, or data that disagree with each other.
        UsageError: `mean` and `std` do not fit the number of channels.
        Refused: a file that would run code when read.
    """
    try:
        raw = _read(_reader_for(settings.source), settings)
        return _split(checked(relabelled(raw, settings.classes)), settings, seed)
    except QtrainError as error:
        raise type(error)(f"data '{settings.source}': {short(error.message)}", short(error.advice)) from error
    except MemoryError as error:
        raise BadInput(
            f"data '{settings.source}' does not fit in memory", "give a smaller data set"
        ) from error
    except UnicodeError as error:
        where = f"data '{settings.source}' has text that is not UTF-8"
        raise BadInput(f"{where}: {short(str(error))}") from error
    except OSError as error:
        raise BadInput(f"data '{settings.source}' cannot be read: {error.strerror or error}") from error


def _read(reader: Reader, settings: DataSettings) -> Arrays:
    """What the reader finds. Raises `Refused` where a file does what no reader of its format expects."""
    try:
        _refuse_undownloaded(Path(settings.source))
        return reader.read(settings.source, Room(settings.max_bytes))
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
    if not Path(source).exists():
        raise BadInput("there is no such file or folder", f"allowed: {forms}")
    raise BadInput("is nothing that qtrain reads as data", f"allowed: {forms}")


def _split(arrays: Arrays, settings: DataSettings, seed: int) -> Dataset:
    normalisation = Normalisation(settings.mean, settings.std)
    _refuse_wrong_channels(normalisation, arrays.x_train.shape[1])
    x, y = torch.from_numpy(arrays.x_train), torch.from_numpy(arrays.y_train)
    train, validation = hold_out(len(x), settings.validation, seed)
    return Dataset(
        train=TrainSplit(x[train], y[train]),
        validation=ValidationSplit(x[validation], y[validation]),
        test=TestSplit(torch.from_numpy(arrays.x_test), torch.from_numpy(arrays.y_test)),
        task=task_of_targets(arrays.y_train).name,
        classes=class_count(arrays),
        sha256=digest(arrays),
        normalisation=normalisation,
        labels=arrays.names,
        said=_said(arrays),
    )


def _said(arrays: Arrays) -> tuple[str, ...]:
    """What became of the data that a user may not expect."""
    labels = (labels_in_words(arrays.names),) if arrays.names else ()
    pixels = ("pixels are divided by 255",) if arrays.x_train.dtype.name == "uint8" else ()
    return (*arrays.said, *labels, *pixels)


def _refuse_wrong_channels(normalisation: Normalisation, channels: int) -> None:
    given = len(normalisation.mean)
    if given > 1 and given != channels:
        raise UsageError(
            f"--mean and --std have {given} numbers and the inputs {channels} channels",
            f"give one number for all channels, or {channels}",
        )
