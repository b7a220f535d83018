"""What is said of the task: weights of classes as numbers of either kind."""

import math

import pytest

from qtrain_cli.errors import UsageError
from qtrain_cli.settings import TaskSettings


def test_whole_weights_are_the_same_as_others():
    assert TaskSettings(class_weights=(1, 5)) == TaskSettings(class_weights=(1.0, 5.0))
    assert all(type(weight) is float for weight in TaskSettings(class_weights=(1, 5)).class_weights)
    assert TaskSettings(class_weights=("balanced",)).class_weights == ("balanced",)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ((1, -1), "a number below 0, or none above it"),
        ((0, 0), "a number below 0, or none above it"),
        ((1, math.inf), "a number below 0, or none above it"),
        ((1, math.nan), "a number below 0, or none above it"),
        ((1, "balanced"), "has 'balanced' among several"),
    ],
)
def test_weights_that_are_none(weights, said):
    with pytest.raises(UsageError, match=said):
        TaskSettings(class_weights=weights)
