"""What one input looks like, stored and read: one tensor, or several by name; what cannot be is refused."""

import pytest

from qtrain_cli.artifact.example import MAX_EXAMPLE_PARTS, Example, NamedExamples, example_from
from qtrain_cli.errors import BadInput

ONE = ["F32", 1, 28, 28]
TWO = [["tokens", "I64", 12], ["weight", "F32"]]


@pytest.mark.parametrize("stored", [ONE, TWO, [["0", "BOOL", 3]], ["I64"]])
def test_read_and_stored_again_it_is_the_same(stored):
    assert example_from(stored).stored() == stored


def test_names_keep_their_order():
    assert example_from(TWO) == NamedExamples(
        (("tokens", Example("I64", (12,))), ("weight", Example("F32", ())))
    )


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ([["a", "F32", 3], ["a", "F32", 3]], "has 2 named inputs"),
        ([[str(place), "F32", 1] for place in range(MAX_EXAMPLE_PARTS + 1)], "has 65 named inputs"),
        ([["", "F32", 3]], "an input is named ''"),
        ([["a\n", "F32", 3]], "an input is named"),
        ([[1, "F32", 3]], "an input is named 1"),
        ([["a", "F99", 3]], "has the dtype 'F99'"),
        ([["a", "F32", 0]], "has the shape"),
        ([["a", "F32", 2**27], ["b", "F32", 2**27 + 1]], "too many elements"),
    ],
)
def test_what_cannot_be_is_refused(stored, said):
    with pytest.raises(BadInput, match=said):
        example_from(stored)


@pytest.mark.parametrize("stored", [[], [[]], [["a"]], [["a", "F32", 3], "F32"]])
def test_what_has_no_such_form_raises_what_readers_expect(stored):
    with pytest.raises((BadInput, ValueError, TypeError)):
        example_from(stored)
