"""Progress: a bar on a terminal, some ten lines elsewhere, nothing when quiet; stdout never."""

import contextlib
import os
import pty
import re
import sys
import threading
import types

import pytest

from qtrain_cli.report.progress import LINES, shown_progress
from qtrain_cli.training.loop import Progress


def steps(epochs, per_epoch=3, word="accuracy"):
    """The steps of a whole run; the validation figure is the epoch's number in ten-thousandths."""
    total = epochs * per_epoch
    for step in range(1, total + 1):
        epoch = -(-step // per_epoch)
        validation = epoch / 10_000 if step % per_epoch == 0 else None
        yield Progress(epoch, epochs, step, total, 1 / step, 0.5, word, validation)


def shown(quiet, epochs, **given):
    with shown_progress(quiet) as show:
        for progress in steps(epochs, **given):
            show(progress)


@pytest.mark.parametrize(
    ("epochs", "lines"), [(1, 1), (2, 2), (10, 10), (19, 19), (20, 10), (25, 13), (95, 11), (1000, 10)]
)
def test_elsewhere_some_ten_lines_and_the_last_epoch_is_one_of_them(capsys, epochs, lines):
    shown(False, epochs)
    out, err = capsys.readouterr()
    assert out == "" and "\x1b" not in err
    found = re.findall(r"^epoch (\d+)/\d+  loss \S+  validation accuracy (0\.\d{4})$", err, re.MULTILINE)
    assert len(found) == len(err.splitlines()) == lines < 2 * LINES
    assert all(float(figure) == pytest.approx(int(epoch) / 10_000) for epoch, figure in found)
    assert int(found[-1][0]) == epochs


def test_a_line_has_the_words_of_its_task(capsys):
    shown(False, 1, word="error")
    assert capsys.readouterr().err == "epoch 1/1  loss 0.3333  validation error 0.0001\n"


def test_quiet_is_quiet(capsys):
    shown(True, 3)
    assert capsys.readouterr() == ("", "")


@contextlib.contextmanager
def terminal(monkeypatch):
    """Makes stderr a real terminal; a list to which all that was written there is added at the end."""
    master, slave = pty.openpty()
    written, chunks = [], []

    def read():
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while chunk := os.read(master, 4096):
                chunks.append(chunk)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with monkeypatch.context() as patch, os.fdopen(slave, "w") as file:
        patch.setattr(sys, "stderr", file)
        patch.setenv("TERM", "xterm-256color")
        patch.setenv("COLUMNS", "160")
        yield written
    reader.join(10)
    os.close(master)
    written.append(b"".join(chunks).decode())


def test_on_a_terminal_it_is_a_bar_that_is_drawn_anew(monkeypatch, capsys):
    with terminal(monkeypatch) as written:
        shown(False, 3)
    (text,) = written
    assert "\x1b[2K" in text or "\x1b[1A" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    last = plain.rsplit("epoch ", 1)[1]
    assert last.startswith("3/3")
    assert "100%" in last and "validation 0.0003" in last and "accuracy 0.5000" in last
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {}])
def test_no_color_takes_the_colours_away(monkeypatch, environment):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with terminal(monkeypatch) as written:
        shown(False, 2)
    coloured = re.search(r"\x1b\[(\d+;)*(3[0-8]|9[0-7])(;\d+)*m", written[0])
    assert bool(coloured) == (not environment)


def test_a_quiet_terminal_stays_dark(monkeypatch):
    with terminal(monkeypatch) as written:
        shown(True, 2)
        print("end", file=sys.stderr)
    assert written == ["end\r\n"]


def test_the_figures_on_the_bar_are_running_averages(monkeypatch):
    with terminal(monkeypatch) as written, shown_progress(False) as show:
        for step, loss in ((1, 1.0), (2, 0.0), (3, 0.0)):
            show(Progress(1, 1, step, 3, loss, 0.0, "accuracy", None))
    assert "loss 0.9604" in written[0]


class ZMQInteractiveShell:
    """What IPython's kernel of a notebook is called."""


@pytest.mark.parametrize("widgets", [True, False])
def test_a_notebook_has_a_bar_of_its_own_where_it_can_redraw_one(monkeypatch, capsys, widgets):
    kernel = types.ModuleType("IPython")
    kernel.get_ipython = ZMQInteractiveShell
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    there = types.SimpleNamespace(name="ipywidgets") if widgets else None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: there)
    bars = []

    @contextlib.contextmanager
    def bar():
        yield bars.append

    monkeypatch.setattr("qtrain_cli.report.progress._bar", bar)
    shown(False, 2)
    lines = capsys.readouterr().err.splitlines()
    assert (len(bars), len(lines)) == ((6, 0) if widgets else (0, 2))
