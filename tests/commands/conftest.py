"""Runs of `compress` on the shipped digits that take a second: few angles, few steps."""

import functools
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from qtrain_cli.commands import compress
from qtrain_cli.results import Record
from qtrain_cli.settings import BudgetSettings, CompressSettings, DataSettings, FitSettings, ModelSettings
from qtrain_cli.training.loop import Progress


@dataclass
class Run:
    """One call of `compress`: what it returned, what it showed and logged."""

    record: Record | None = None
    seen: list[Progress] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Finished:
    """A run that several tests look at: its folder, with `net.qtrain` in it, and what `compress` said."""

    folder: Path
    run: Run

    def put_into(self, folder: Path) -> Run:
        """Copies all of its files there, as if it had been run there."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return self.run


def _settings(digits: Path, folder: Path, **changes) -> CompressSettings:
    given = {
        "path": digits / "digits_cnn_module.pt", "source": str(digits / "digits.npz"), "layers": 4,
        "epochs": 2, "batch_size": 128, "lr": 0.01, "distill": 0.9, "device": "cpu",
        "out": folder / "net.qtrain",
        # Many models here were never trained; `tests/runs/test_examination.py` has what stops those.
        "teacher_any": True, **changes,
    }  # fmt: skip

    def part(kind):
        return kind(**{name: given.pop(name) for name in list(given) if name in kind.__annotations__})

    parts = [part(kind) for kind in (ModelSettings, DataSettings, BudgetSettings, FitSettings)]
    return CompressSettings(*parts, **given)


def _run(settings: CompressSettings, show: Callable[[Progress], None] | None = None) -> Run:
    done = Run()

    def both(progress: Progress) -> None:
        done.seen.append(progress)
        if show:
            show(progress)

    done.record = compress.run(settings, both, done.logged.append)
    return done


@pytest.fixture(scope="session")
def few_digits(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A third of the rows to train with, three steps an epoch of the usual batch; all of the others."""
    arrays = dict(np.load(digits / "digits.npz"))
    for name in ("x_train", "y_train"):
        arrays[name] = arrays[name][:430]
    path = tmp_path_factory.mktemp("few") / "digits.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture
def make_settings(digits: Path, tmp_path: Path) -> Callable[..., CompressSettings]:
    """``make_settings(**changes)``: a quick run on the digits, any field of any part of it changed."""
    return functools.partial(_settings, digits, tmp_path)


@pytest.fixture
def run(make_settings) -> Callable[..., Run]:
    """``run(show=None, **changes)``: runs `compress` with those settings."""
    return lambda show=None, **changes: _run(make_settings(**changes), show)


@pytest.fixture
def short(run, few_digits: Path) -> Callable[..., Run]:
    """``short(**changes)``: `run` on the few rows."""
    return functools.partial(run, source=str(few_digits))


@pytest.fixture(scope="session")
def finished(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Finished]:
    """``finished(**changes)``: the same in a folder of its own, run once for all tests that only look."""

    @functools.cache
    def call(**changes) -> Finished:
        folder = tmp_path_factory.mktemp("finished")
        return Finished(folder, _run(_settings(digits, folder, **changes)))

    return call
