"""The share of a whole comparison: parts weigh their epochs, what is found finished weighs nothing."""

import pytest

from qtrain_cli.runs.whole import WholeRun
from qtrain_cli.training.loop import Progress


def step(number, steps=10, **changes):
    return Progress(1, 1, number, steps, 1.0, 0.5, "accuracy", None, **changes)


def test_parts_follow_each_other_to_the_end():
    shown = []
    whole = WholeRun(shown.append, 40.0)
    for name, weight in (("a", 10), ("b", 30)):
        show = whole.of_part(name, weight)
        show(step(5))
        show(step(10))
        whole.finish(weight)
    assert [one.share for one in shown] == pytest.approx([0.125, 0.25, 0.625, 1.0])
    assert [one.stage for one in shown] == ["a", "a", "b", "b"]
    assert (whole.left, whole.done) == (0, 40)


def test_what_was_there_already_is_no_progress():
    shown = []
    whole = WholeRun(shown.append, 40.0)
    whole.finish(30, trained=False)
    whole.of_part("b", 10)(step(5))
    assert shown[0].share == 0.5


def test_a_part_of_several_trainings_says_itself_how_far_it_is():
    shown = []
    WholeRun(shown.append, 4.0).of_part("cell", 2)(step(1, share=0.75, stage="generation 1"))
    assert (shown[0].share, shown[0].stage) == (0.375, "cell, generation 1")


def test_more_than_was_foretold_is_never_more_than_all():
    shown = []
    WholeRun(shown.append, 1.0).of_part("a", 5)(step(10))
    assert shown[0].share == 1.0
