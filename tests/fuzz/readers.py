"""Every reader of files that a stranger may have made: its doors, what it is given, how that is mutated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fuzz import archives, seeds, shapes, tables

from qtrain_cli.artifact.description import read_record
from qtrain_cli.cli import config
from qtrain_cli.cli.app import kinds_of
from qtrain_cli.cli.table import COMMANDS
from qtrain_cli.commands import inspect, verify
from qtrain_cli.data import load_data
from qtrain_cli.data.pictures import picture_form
from qtrain_cli.files.checkpoint import load_checkpoint
from qtrain_cli.models import describe_model, load_model
from qtrain_cli.models.call import call_model
from qtrain_cli.settings import DataSettings, ModelSettings, VerifySettings
from qtrain_cli.training.state import restore, trained

ARCH = f"{Path(__file__).with_name('architecture.py')}:network"
Door = Callable[[Path], object]


@dataclass(frozen=True)
class Reader:
    """One row of the table. `files`: where the input stands in a folder of its own; doors take the first.

    `beside` are honest files that the folder holds as well.
    """

    files: tuple[str, ...]
    doors: tuple[Door, ...]
    seeds: Callable[[], Iterator[bytes]]
    mutate: shapes.Mutation
    beside: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)

    def place(self, data: bytes, folder: Path) -> Path:
        """Puts an input where the doors look for it, and returns what they are given."""
        for file in self.files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(data)
        for file, made in self.beside.items():
            if not (folder / file).exists():
                (folder / file).write_bytes(made())
        return folder / self.files[0]


def verified(path: Path) -> None:
    """An artifact's weights are generated and compared with its digest."""
    verify.run(VerifySettings(path))


def checkpoint(path: Path) -> None:
    """A checkpoint into a fresh run, which goes on for a step."""
    run = seeds.fresh_run()
    restore(run, load_checkpoint(path, seeds.IDENTITY))
    trained(run)
    seeds.advance(run)


def model(path: Path, arch: str | None = None) -> None:
    """A model is loaded without trust, and answers once."""
    module = load_model(ModelSettings(path, arch)).module
    state = dict(module.state_dict(keep_vars=True))
    call_model(module, state, seeds.INPUTS)


def model_of_arch(path: Path) -> None:
    """A model's weights into an architecture of the user's."""
    model(path, ARCH)


def folder(path: Path) -> None:
    """The folder of shards whose index this is, described and put into an architecture."""
    describe_model(path.parent)
    model(path.parent, ARCH)


def data(path: Path) -> None:
    """Labelled data from the file."""
    load_data(DataSettings(str(path)), 0)


def folder_of_images(path: Path) -> None:
    """Labelled data from the folder that ``train/a/1.png`` stands in."""
    load_data(DataSettings(str(path.parents[2])), 0)


def saved_folder(path: Path) -> None:
    """Labelled data from the folder of `save_to_disk` that this file is in."""
    load_data(DataSettings(str(path.parent)), 0)


def picture_settings(path: Path) -> None:
    """What the folder that a model lies in says of pictures."""
    picture_form(None, path.parent)


def options(path: Path) -> None:
    """The options of every command, as the command line asks for them."""
    config.load_defaults(path.parent, {name: kinds_of(row) for name, row in COMMANDS.items()})


IMAGES = ("train/a/1.png", "train/b/1.png", "test/b/1.png")
MODEL_DOORS = (describe_model, model, model_of_arch)
READERS: dict[str, Reader] = {
    "artifact": Reader(("a.qtrain",), (inspect.run, verified, read_record), seeds.artifacts, shapes.artifact),
    "checkpoint": Reader(
        ("a.qtrain.ckpt",), (inspect.run, checkpoint), seeds.checkpoints, shapes.of_checkpoint
    ),
    "pickles": Reader(("a.pt",), MODEL_DOORS, seeds.old_pickles, archives.pickles),
    "zip": Reader(("a.pt",), MODEL_DOORS, seeds.torch_archives, archives.archive),
    "safetensors": Reader(
        ("a.safetensors",), (inspect.run, *MODEL_DOORS, data), seeds.safetensors_files, shapes.safetensors
    ),
    "shards": Reader(
        ("m/model.safetensors.index.json",), (folder,), seeds.indices, shapes.of_json, seeds.SHARDS
    ),
    "pt2": Reader(("a.pt2",), MODEL_DOORS, seeds.graphs, archives.archive),
    "npz": Reader(("a.npz",), (data,), seeds.npz_files, archives.archive),
    "csv": Reader(("a.csv",), (data,), seeds.csv_files, tables.words),
    "parquet": Reader(("a.parquet",), (data,), seeds.parquet_files, tables.parquet),
    "json": Reader(("a.jsonl",), (data,), seeds.json_files, tables.words),
    "arrow": Reader(("d/a.arrow",), (saved_folder,), seeds.arrow_files, tables.arrow, seeds.ARROW_STATE),
    "processor": Reader(
        ("m/preprocessor_config.json",), (picture_settings,), seeds.processors, shapes.of_json
    ),
    "images": Reader(IMAGES, (folder_of_images,), seeds.images, tables.png),
    "toml": Reader(("qtrain.toml",), (options,), seeds.tomls, tables.words),
}
