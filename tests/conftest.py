"""Fixtures that several test files share."""

import os

# As `cli.main` does, and before anything imports torch: waiting threads sleep soon.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import gc
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from warm import warm_commands

from qtrain_cli.results import Design, Measured, Record, Scores

#: What takes a worker a minute at a stretch goes first: at the end the others would have nothing left to do.
LONG = ("test_docs.py", "test_samples.py")
DIGITS = Path(__file__).resolve().parents[1] / "samples" / "digits"

SCORES = {
    "classification": Scores("classification", 0.9791, 0.9755, 0.9746, 10_000, 0.9872, 0.9785),
    **{
        name: Scores(name, 0.9791, 0.9755, 0.9746, 10_000, 0.9872, 0.9785)
        for name in ("class-probabilities", "class-sigmoids", "binary", "binary-probabilities")
    },
    **{
        name: Scores(name, 0.9791, 0.9755, 0.9746, 10_000, 0.9872, 0.9785, (0.97, 0.98))
        for name in (
            "multilabel",
            "multilabel-probabilities",
            "tokens",
            "entities",
            "segmentation",
            "segmentation-probabilities",
            "segmentation-binary",
            "segmentation-binary-probabilities",
        )
    },
    "language": Scores("language", 3.1, 3.2, 3.3, 500, 2.9, 0.8, (3.1, 3.5), 90.0, {"accuracy": 0.6}),
    "features": Scores("features", 0.0101, 0.0112, 0.0123, 500, 0.0, 0.0123, (0.0111, 0.0135)),
    "regression": Scores("regression", 0.0101, 0.0112, 0.0123, 500, 0.0099, 0.0021, (0.0111, 0.0135)),
}
DESIGN = Design(
    weights=6690,
    kept_weights=0,
    qubits=13,
    layers=48,
    circuits=1,
    ansatz="real-amplitudes",
    mapping="linear",
    angle_bits=5,
    trained_numbers=626,
    model_bytes=27_336,
)
VERSIONS = {"qtrain": "0.1.0", "torch": "2.13.0+cpu"}


def _with(part, changes):
    """`part` with those of the changes that it has a field for; they are taken out of `changes`."""
    return replace(part, **{name: changes.pop(name) for name in list(changes) if name in vars(part)})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order of all tests; those of a file stay together."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported and collected stays: garbage is looked for among what tests make, and not there; and
    less often, since what PyTorch's exporter leaves stays too."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(7_000, 10, 10)
        gc.enable()


@pytest.fixture(autouse=True, scope="session")
def interruptible():
    """A shell's jobs in the background ignore Ctrl-C, and so does all that they start, but for this."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tensors as small as those of tests are only slowed down by sharing them out."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def no_power_cut() -> Iterator[None]:
    """Nobody waits until a disk has what was written: `test_atomic` looks at that by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def no_seeds_without_devices() -> Iterator[None]:
    """PyTorch writes down for devices that are not there from where they were seeded: the whole stack."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in (torch.cuda, torch.xpu):
            if not kind.is_available():
                patch.setattr(kind, "manual_seed_all", lambda seed: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def operators_read_once() -> Iterator[None]:
    """The ONNX exporter reads the sources of its 500 operators for every graph anew."""
    export = torch.onnx.export

    def with_known(*given: Any, **named: Any) -> Any:
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        patch.setattr(torch.onnx, "export", export)
        return export(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", with_known)
        yield


@pytest.fixture(scope="session")
def digits() -> Path:
    """The folder of the shipped sample: `digits.npz`, and the network in four forms."""
    return DIGITS


@pytest.fixture(scope="session")
def artifact(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped network compressed in a second, to be read only: `digits.qtrain`."""
    from qtrain_cli.commands import compress
    from qtrain_cli.settings import BudgetSettings, CompressSettings, DataSettings, FitSettings, ModelSettings

    out = tmp_path_factory.mktemp("artifact") / "digits.qtrain"
    settings = CompressSettings(
        ModelSettings(digits / "digits_cnn_module.pt"),
        DataSettings(str(digits / "digits.npz")),
        BudgetSettings(layers=16),
        FitSettings(epochs=10, device="cpu"),
        out,
    )
    compress.run(settings, lambda progress: None, lambda line: None)
    return out


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PATH for shells on which `qtrain`, of this checkout, and `python` start without importing anew."""
    commands = (f"qtrain_cli.commands.{name}" for name in ("compress", "export", "train", "verify", "report"))
    shown = ("qtrain_cli.report.views", "qtrain_cli.report.progress", "rich.console", "typer._adapters")
    texts = "transformers.models.bert.modeling_bert"
    folder = tmp_path_factory.mktemp("warm")
    with warm_commands(folder, "qtrain_cli.cli.app", texts, *shown, *commands) as path:
        yield path


@dataclass(frozen=True)
class Ran:
    """How one command line ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """``cli(*words)``: one command line, run in this process."""
    from qtrain_cli.cli import main

    def call(*words: object) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Ran(code, *capsys.readouterr())

    return call


@pytest.fixture
def make_record():
    """``make_record(task, **changes)``: a record as a real run leaves it, with some fields changed."""

    def make(task: str = "classification", **changes) -> Record:
        measured = Measured(
            "mnist_cnn.pt", _with(SCORES[task], changes), 0.0712345678, 0.0912345678, 10, 0, "cpu",
            dict(VERSIONS), "d" * 64, "e" * 64, "state dictionary",
        )  # fmt: skip
        record = Record(_with(DESIGN, changes), _with(measured, changes), 1001, "f" * 64)
        return _with(record, changes)

    return make
