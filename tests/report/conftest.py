"""What views print, on a terminal and elsewhere."""

import io
import sys

import pytest

from qtrain_cli.report.terminal import show


@pytest.fixture
def shown(monkeypatch):
    """``shown(renderable, tty=False)``: what `terminal.show` writes."""

    def run(renderable, tty=False, encoding="utf-8"):
        raw = io.BytesIO()
        out = io.TextIOWrapper(raw, encoding=encoding)
        monkeypatch.setattr(out, "isatty", lambda: tty, raising=False)
        monkeypatch.setattr(sys, "stdout", out)
        show(renderable)
        out.flush()
        return raw.getvalue().decode(encoding)

    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    return run
