"""What counts as a number or a byte, against the real files; the budgets' arithmetic is exact."""

import pytest
import torch
from artifacts import LAYOUT, layouts, numbers_of, spec_of, specs
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from qtrain_cli.artifact.coded import Codes, pack
from qtrain_cli.artifact.numbers import Coded
from qtrain_cli.errors import BadInput
from qtrain_cli.files.message import message_bytes
from qtrain_cli.methods.generator.plan import ANGLES, forms, plan_of
from qtrain_cli.methods.generator.sizes import angle_bytes, check_work, numbers_for_ratio, step_work
from qtrain_cli.methods.generator.spec import RAW_BITS
from qtrain_cli.results.ratios import bytes_ratio, parameter_ratio
from qtrain_cli.targets.entries import FLOAT_DTYPES, GENERATED, TIED, LayoutSpec, TensorEntry
from qtrain_cli.targets.layout import DTYPES
from qtrain_cli.targets.size import model_bytes


def float32_file(layout):
    """The same tensors, each once, floats as float32, as safetensors writes them without metadata."""
    dtypes = DTYPES | dict.fromkeys(FLOAT_DTYPES, torch.float32)
    own = [entry for entry in layout.entries if entry.role != TIED]
    return save({entry.name: torch.zeros(entry.shape, dtype=dtypes[entry.dtype]) for entry in own})


@given(layouts())
@settings(max_examples=50, deadline=None)
def test_model_bytes_are_those_of_a_float32_file(layout):
    assert model_bytes(layout) == len(float32_file(layout))


@pytest.mark.parametrize("bits", range(1, 17))
def test_message_bytes(bits):
    for count in range(1, 30):
        assert message_bytes(count, bits) == -(-count * bits // 8) + 4


@given(specs())
@settings(max_examples=40, deadline=None)
def test_angle_bytes_are_enough_for_those_of_the_file(spec):
    """The last bytes of a file: of the mapping's numbers and the angles."""
    found = numbers_of(spec).groups[ANGLES]
    if isinstance(found, Coded):
        codes = Codes(found.codes.flatten().numpy(), found.step)
        packed = pack({ANGLES: forms(spec.layout, plan_of(spec))[ANGLES]}, {ANGLES: codes})
        assert 7 <= len(packed) <= angle_bytes(spec)
    else:
        assert spec.angles.bits == RAW_BITS and angle_bytes(spec) == 4 * found.numel()


def test_ratios():
    assert bytes_ratio(1000, 250) == 4
    assert parameter_ratio(weights=990, kept=10, trained=90) == 10


def layout_with(generated, kept):
    entries = [TensorEntry("w", (generated,), "F32", GENERATED), TensorEntry("k", (kept,), "F32", "kept")]
    return LayoutSpec(tuple(entries))


@given(
    generated=st.integers(1, 2**28),
    kept=st.integers(0, 2**20),
    ratio=st.floats(1, 1e9) | st.fractions(1, 1000).map(float),
)
def test_a_ratio_buys_the_most_numbers_that_reach_it(generated, kept, ratio):
    numbers = numbers_for_ratio(layout_with(generated, kept), ratio)
    if numbers + kept > 0:
        assert parameter_ratio(generated, kept, numbers) >= ratio
    assert numbers + 1 + kept > (generated + kept) / ratio * (1 - 1e-15)


def test_kept_numbers_may_leave_nothing():
    assert numbers_for_ratio(layout_with(10, 100), 10) == -89


def test_work():
    spec = spec_of(layers=5, circuits=2)
    assert step_work(spec) == 2 * 16 * 5
    check_work(spec)


def test_too_much_work():
    layout = LayoutSpec((TensorEntry("w", (2**24,), "F32", GENERATED),))
    check_work(spec_of(layout, layers=2**12))
    with pytest.raises(BadInput, match=f"takes {2**24 * (2**12 + 1)} steps; allowed: {2**36}"):
        check_work(spec_of(layout, layers=2**12 + 1))


def test_too_many_coded_angles():
    layout = LayoutSpec((TensorEntry("w", (2,), "F32", GENERATED),))
    check_work(spec_of(layout, layers=2**22))
    check_work(spec_of(layout, layers=2**22 + 1, bits=32))
    with pytest.raises(BadInput, match=f"{2**22 + 1} angles are coded; allowed: {2**22}") as refused:
        check_work(spec_of(layout, layers=2**22 + 1))
    assert refused.value.advice == "use --angle-bits 32 or a smaller budget"


def test_the_layout_of_these_tests():
    numbers = 12 + 3 + 2 + 2 + 2  # and one of 8 bytes
    assert model_bytes(LAYOUT) == len(float32_file(LAYOUT)) == 8 + 400 + 4 * numbers + 8
