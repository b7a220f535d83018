"""Runs of `compress` on the shipped digits that take a second: few angles, few steps."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

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


@pytest.fixture
def make_settings(digits: Path, tmp_path: Path) -> Callable[..., CompressSettings]:
    """``make_settings(**changes)``: a quick run on the digits, any field of any part of it changed."""

    def make(**changes) -> CompressSettings:
        given = {
            "path": digits / "digits_cnn_module.pt", "source": str(digits / "digits.npz"), "layers": 4,
            "epochs": 2, "batch_size": 128, "lr": 0.01, "distill": 0.9, "device": "cpu",
            "out": tmp_path / "net.qtrain",
            # Many models here were never trained; `tests/runs/test_examination.py` has what stops those.
            "teacher_any": True, **changes,
        }  # fmt: skip

        def part(kind):
            return kind(**{name: given.pop(name) for name in list(given) if name in kind.__annotations__})

        parts = [part(kind) for kind in (ModelSettings, DataSettings, BudgetSettings, FitSettings)]
        return CompressSettings(*parts, **given)

    return make


@pytest.fixture
def run(make_settings) -> Callable[..., Run]:
    """``run(show=None, **changes)``: runs `compress` with those settings."""

    def call(show: Callable[[Progress], None] | None = None, **changes) -> Run:
        done = Run()

        def both(progress: Progress) -> None:
            done.seen.append(progress)
            if show:
                show(progress)

        done.record = compress.run(make_settings(**changes), both, done.logged.append)
        return done

    return call
