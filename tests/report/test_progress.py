"""Progress: a bar on a terminal, a line a twentieth elsewhere, nothing when quiet; stdout never."""

import contextlib
import dataclasses
import os
import pty
import re
import sys
import threading
import time
import types

import pytest

from qtrain_cli.report.bar import Smooth
from qtrain_cli.report.pace import Pace
from qtrain_cli.report.progress import LINES, ProgressLines, shown_progress
from qtrain_cli.results.durations import duration
from qtrain_cli.training.loop import Progress


def steps(epochs, per_epoch=3, word="accuracy"):
    """The steps of a whole run; the validation figure is the epoch's number in ten-thousandths."""
    total = epochs * per_epoch
    for step in range(1, total + 1):
        epoch = -(-step // per_epoch)
        validation = epoch / 10_000 if step % per_epoch == 0 else None
        yield Progress(epoch, epochs, step, total, 1 / step, 0.5, word, validation)


def shown(quiet, epochs, **given):
    with shown_progress(quiet, "Ctrl-C keeps it") as show:
        for progress in steps(epochs, **given):
            show(progress)


@pytest.mark.parametrize(("epochs", "lines"), [(20, 20), (25, 20), (39, 20), (95, 20), (1000, 20)])
def test_elsewhere_a_line_a_twentieth_and_the_last_epoch_is_one_of_them(capsys, epochs, lines):
    shown(False, epochs)
    out, err = capsys.readouterr()
    assert out == "" and "\x1b" not in err
    found = re.findall(r"^epoch (\d+)/\d+  loss \S+  validation accuracy (0\.\d{4})$", err, re.MULTILINE)
    assert len(found) == len(err.splitlines()) == lines <= LINES
    assert all(float(figure) == pytest.approx(int(epoch) / 10_000) for epoch, figure in found)
    assert int(found[-1][0]) == epochs


@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 19])
def test_within_long_epochs_there_are_lines_too(capsys, epochs):
    shown(False, epochs, per_epoch=1000)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == LINES and lines[-1].startswith(f"epoch {epochs}/{epochs}  loss ")
    assert "validation accuracy" in lines[-1]


class Ticking:
    """A clock that goes on by so many seconds each time it is looked at."""

    def __init__(self, seconds):
        self.seconds, self.now = seconds, 0.0

    def __call__(self):
        self.now += self.seconds
        return self.now


def timed(seconds, epochs=100, **changes):
    """The lines of a run whose clock goes on by so many seconds at each look."""
    lines = ProgressLines(Ticking(seconds))
    for progress in steps(epochs):
        lines.take(dataclasses.replace(progress, **changes))


def test_before_the_first_minute_is_over_it_says_how_long_all_will_take(capsys):
    timed(1.0)
    lines = capsys.readouterr().err.splitlines()
    estimates = [line for line in lines if "in all" in line]
    assert estimates == ["about 5 min in all, from the first 3 s"] == lines[:1]
    assert lines[1].endswith("about 5 min left") and "left" not in lines[-1]
    times = [int(found[1]) for line in lines if (found := re.search(r"about (\d+) min left", line))]
    assert times == sorted(times, reverse=True)


def test_a_run_of_seconds_needs_no_estimate(capsys):
    timed(0.01)
    assert "about" not in capsys.readouterr().err


def test_a_line_has_the_stage_the_best_epoch_and_that_it_rounds(capsys):
    timed(0.001, 20, stage="3/9 ours", rounds=True, best=0.98765, best_epoch=7, epoch_loss=0.25)
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("3/9 ours, rounding  epoch 1/20  loss 0.2500  validation accuracy 0.0001")
    assert first.endswith("best 0.9877 in epoch 7")


def test_a_run_that_goes_on_is_timed_from_where_it_goes_on():
    pace, late = Pace(Ticking(1.0)), [step for step in steps(100) if step.step >= 200]
    found = [pace(step) for step in late]
    assert found[0].left is None
    assert found[50].left == pytest.approx(found[50].elapsed * 50 / 50)


def test_the_share_of_a_whole_comparison_counts_where_it_is_known():
    pace, (step, *_) = Pace(Ticking(1.0)), steps(1)
    pace(dataclasses.replace(step, share=0.25))
    now = pace(dataclasses.replace(step, share=0.5))
    assert (now.share, now.left) == (0.5, now.elapsed * 2)


def test_a_line_has_the_words_of_its_task(capsys):
    shown(False, 1, word="error")
    assert capsys.readouterr().err.splitlines()[-1] == "epoch 1/1  loss 0.3333  validation error 0.0001"


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
    with terminal(monkeypatch) as written, shown_progress(False, "Ctrl-C keeps it") as show:
        for progress in steps(3, 1):
            show(progress)
            time.sleep(0.3)
    (text,) = written
    assert "\x1b[2K" in text or "\x1b[1A" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    last = plain.rsplit("epoch ", 1)[1]
    assert last.startswith("3/3")
    assert "100%" in last and "validation 0.0003" in last and "accuracy 0.5000" in last
    assert "Ctrl-C keeps it" in plain and "Ctrl-C" not in last and "trained in 1 s" in last
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
    smooth = Smooth()
    assert [smooth(value) for value in (1.0, 0.0)] == [1.0, 0.98]


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
    def bar(stopping):
        yield bars.append

    monkeypatch.setattr("qtrain_cli.report.progress.shown_bar", bar)
    shown(False, 2)
    lines = capsys.readouterr().err.splitlines()
    assert (len(bars), len(lines)) == ((6, 0) if widgets else (0, 6))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "1 s"),
        (89, "89 s"),
        (91, "2 min"),
        (3600, "60 min"),
        (5400, "1 h 30 min"),
        (86_400 * 3, "3 days"),
    ],
)
def test_durations(seconds, said):
    assert duration(seconds) == said
