"""The compiled steps with one instruction set or another."""

import pytest

from qtrain_cli.portable import kernel


@pytest.fixture
def compiled(monkeypatch):
    """Asks for the compiled steps at a level; skips where there are none, or none of that name."""
    monkeypatch.setenv("QTRAIN_NATIVE", "1")
    if not kernel.is_built():
        pytest.skip("the extension was not built")

    def at(level):
        try:
            kernel._steps.use(level)
        except ValueError as error:
            pytest.skip(str(error))

    yield at
    kernel._steps.use("best")
