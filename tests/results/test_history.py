"""A history: written and read alike, and read with care."""

import json

import pytest
from pages import epochs

from qtrain_cli.errors import BadInput
from qtrain_cli.results.history import history_beside, history_of, last_stage, read_history


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.qtrain.jsonl"
    path.write_text("".join(line.as_line() for line in epochs(3)))
    return path


def test_what_was_written_is_read(file):
    assert read_history(file) == epochs(3)
    assert json.loads(file.read_text().splitlines()[1])["epoch"] == 2


def test_a_line_that_was_not_finished_is_left_out(file):
    file.write_text(file.read_text()[:-20])
    assert read_history(file) == epochs(3)[:2]


@pytest.mark.parametrize(
    "change",
    [{"loss": "x"}, {"best": 1}, {"epoch": -1}, {"lr": None}, {"more": 1}, {"run": 5}, {"seconds": True}],
)
def test_a_line_that_no_run_wrote_is_refused(file, change):
    document = json.loads(file.read_text().splitlines()[0])
    file.write_text(json.dumps(document | change) + "\n")
    with pytest.raises(BadInput, match=r"line 1 of .* is no epoch"):
        read_history(file)


@pytest.mark.parametrize("text", ["[1]\n", "{}\n", "[" * 5000 + "\n", "\xff\n", '{"loss": NaN}\n'])
def test_nor_is_any_other_text_a_history(file, text):
    file.write_text(text, encoding="latin-1")
    with pytest.raises(BadInput):
        read_history(file)
    assert history_of(file, "0f" * 8) == ()


def test_another_runs_epochs_are_not_its_own(file):
    assert history_of(file, "0f" * 8) == epochs(3)
    assert history_of(file, "aa" * 8) == () == history_of(file.with_name("absent"), "0f" * 8)


def test_of_several_trainings_the_last_counts():
    first = epochs(2)
    second = tuple(type(line)(**{**vars(line), "stage": "generation 1"}) for line in epochs(3))
    assert last_stage(first + second) == second and last_stage(()) == ()


@pytest.mark.parametrize("name", ["net.qtrain", "net"])
def test_it_lies_beside_the_artifact(tmp_path, name):
    assert history_beside(tmp_path / name) == tmp_path / "net.qtrain.jsonl"


def test_epochs_that_do_not_rise_are_no_training():
    lines = epochs(3)
    assert last_stage((*lines, lines[-1])) == () == last_stage(lines[::-1])
