"""Where a run's history goes: each epoch at once, and after an interruption as if there had been none."""

import sys
import types
from typing import ClassVar

import pytest

from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.results.history import read_history
from qtrain_cli.runs.history import HistoryPlaces, check_history, history_places, kept_history
from qtrain_cli.training.loop import Progress

RUN = "0f" * 8


def steps(first=1, last=3, stage="", loss=0.5):
    for epoch in range(first, last + 1):
        yield Progress(epoch, 9, 2 * epoch - 1, 18, 1.0, 0.5, "accuracy", None, stage=stage)
        yield Progress(
            epoch, 9, 2 * epoch, 18, 1.0, 0.5, "accuracy", epoch / 10, loss, 0.01, epoch > 2, 0.2, 2, stage
        )  # fmt: skip


def run(places, progress, run=RUN, shown=None):
    with kept_history(places, run, (shown or []).append) as show:
        for one in progress:
            show(one)


def test_a_line_an_epoch_that_is_there_at_once(tmp_path):
    places, shown = HistoryPlaces(tmp_path / "h.jsonl"), []
    with kept_history(places, RUN, shown.append) as show:
        for number, one in enumerate(steps(), 1):
            show(one)
            assert (len(read_history(places.file)) if places.file.exists() else 0) == number // 2
    assert len(shown) == 6
    first, second, third = read_history(places.file)
    assert (first.epoch, first.loss, first.validation, first.metric, first.lr) == (
        1,
        0.5,
        0.1,
        "accuracy",
        0.01,
    )
    assert [line.best for line in (first, second, third)] == [False, True, False]
    assert [line.rounding for line in (first, second, third)] == [False, False, True]


def test_a_run_that_goes_on_takes_the_place_of_what_it_repeats(tmp_path):
    places = HistoryPlaces(tmp_path / "h.jsonl")
    run(places, steps(1, 3))
    with places.file.open("a") as file:
        file.write('{"half')
    run(places, steps(3, 5, loss=0.25))
    lines = read_history(places.file)
    assert [line.epoch for line in lines] == [1, 2, 3, 4, 5]
    assert [line.loss for line in lines] == [0.5, 0.5, 0.25, 0.25, 0.25]


def test_another_run_begins_anew(tmp_path):
    places = HistoryPlaces(tmp_path / "h.jsonl")
    run(places, steps(1, 3))
    run(places, steps(1, 2), run="aa" * 8)
    assert [(line.run, line.epoch) for line in read_history(places.file)] == [("aa" * 8, 1), ("aa" * 8, 2)]
    run(places, steps(3, 3), run="bb" * 8)
    assert [(line.run, line.epoch) for line in read_history(places.file)] == [("bb" * 8, 3)]


def test_generations_stand_one_after_the_other(tmp_path):
    places = HistoryPlaces(tmp_path / "h.jsonl")
    run(places, [*steps(1, 2, "generation 0"), *steps(1, 2, "generation 1")])
    run(places, steps(2, 3, "generation 1"))
    found = [(line.stage[-1], line.epoch) for line in read_history(places.file)]
    assert found == [("0", 1), ("0", 2), ("1", 1), ("1", 2), ("1", 3)]


def test_a_loss_that_is_not_finite_is_null(tmp_path):
    places = HistoryPlaces(tmp_path / "h.jsonl")
    run(places, steps(1, 1, loss=float("nan")))
    assert read_history(places.file)[0].loss is None


def test_places(tmp_path):
    out, beside = tmp_path / "net.qtrain", tmp_path / "net.qtrain.jsonl"
    assert history_places("none", out) == HistoryPlaces()
    assert history_places("beside", out) == HistoryPlaces(beside)
    assert history_places("a.jsonl", out).file.name == "a.jsonl"
    assert history_places("tensorboard:runs", out).folder.name == "runs"
    assert history_places("tensorboard:runs", out).file == beside


def test_nothing_is_shown_otherwise_where_nothing_is_kept():
    def show(progress):
        """Nothing."""

    with kept_history(HistoryPlaces(), RUN, show) as same:
        assert same is show


def test_an_existing_file_is_kept_but_for_the_trace_of_an_earlier_run(tmp_path):
    own, said = HistoryPlaces(tmp_path / "h.jsonl"), HistoryPlaces(tmp_path / "h.jsonl", own=False)
    run(own, steps())
    check_history(own, False, [])
    with pytest.raises(UsageError, match="exists"):
        check_history(said, False, [])
    check_history(said, True, [])
    own.file.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        check_history(own, False, [])
    with pytest.raises(UsageError, match="also an input"):
        check_history(own, True, [own.file])


def test_tensorboard_has_to_be_there(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(BadInput, match=r"needs the package tensorboard.*") as caught:
        check_history(HistoryPlaces(folder=tmp_path / "runs"), False, [])
    assert "qtrain[tensorboard]" in caught.value.advice


class Writer:
    """What TensorBoard's is called with."""

    made: ClassVar[list] = []

    def __init__(self, folder, purge_step):
        self.folder, self.purge_step, self.scalars, self.closed = folder, purge_step, [], False
        Writer.made.append(self)

    def add_scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def flush(self):
        """At once."""

    def close(self):
        self.closed = True


def test_tensorboard_gets_a_curve_a_figure(tmp_path, monkeypatch):
    module = types.SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(Writer, "made", [])
    run(HistoryPlaces(folder=tmp_path / "runs"), steps(2, 3))
    (writer,) = Writer.made
    assert (writer.folder, writer.purge_step, writer.closed) == (str(tmp_path / "runs"), 2, True)
    assert writer.scalars[:3] == [("loss/train", 0.5, 2), ("accuracy/validation", 0.2, 2), ("lr", 0.01, 2)]
