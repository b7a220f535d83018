"""How kept tensors lie in a file: what half precision holds, patterns, what an architecture gives."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from qtrain_cli.errors import BadInput
from qtrain_cli.targets import kept as rooms
from qtrain_cli.targets.entries import (
    BAND,
    BIT_EACH,
    HALF,
    KEPT,
    LEFT_OUT,
    RANGE,
    SAME,
    LayoutSpec,
    TensorEntry,
    kept_in_words,
)
from qtrain_cli.targets.kept import (
    final,
    in_file,
    is_given,
    kept_as_stored,
    out_of_file,
    reference_of,
    settled,
)
from qtrain_cli.targets.layout import layout_of


def module_of(parameters=(), **buffers):
    module = nn.Module()
    for name, tensor in buffers.items():
        module.register_buffer(name, tensor)
    for name, tensor in parameters:
        module.register_parameter(name, tensor)
    return module


def forms(module, fresh=None):
    layout = settled(
        layout_of(module), module.state_dict(keep_vars=True), lambda: fresh.state_dict() if fresh else {}
    )
    return {entry.name: entry.stored for entry in layout.entries}


def statistics(*values):
    """The form that running statistics of these values get."""
    entry = TensorEntry("n.running_var", (len(values),), "F32", KEPT, stored=HALF)
    return final(LayoutSpec((entry,)), {"n.running_var": torch.tensor(values)}).entries[0].stored


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ((0.1, 3.0, 65504.0), HALF),
        ((0.1, 3.0, 65520.0), ""),
        ((1e9, 1e8), ""),
        ((1.0, 2.0, 1e-9, 0.0), HALF),  # nothing beside the others
        ((1e-6, 2e-6, 3e-6), ""),  # the scale of this tensor
        ((1e-9, 1e-9), ""),
        ((0.0, 0.0), HALF),
        ((1.0, float("inf")), ""),
        ((1.0, 3e-5), HALF),
        ((0.01, 0.01, 1.3e-7), ""),
    ],
)
def test_statistics_beyond_half_precision_stay_whole(values, form):
    assert statistics(*values) == form


@given(st.lists(st.floats(-(2.0**120), 2.0**120, width=32, allow_subnormal=False), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_what_is_measured_is_what_the_file_gives(values):
    tensor = torch.tensor(values)
    entry = TensorEntry("n.running_var", (len(values),), "F32", KEPT, stored=HALF)
    used = kept_as_stored(LayoutSpec((entry,)), {entry.name: tensor})[entry.name]
    told = final(LayoutSpec((entry,)), {entry.name: tensor}).entries[0]
    assert torch.equal(out_of_file(told, in_file(told, used)), used)
    assert final(LayoutSpec((told,)), {entry.name: used}).entries[0] == told
    assert bool(((used - tensor).abs() <= 1e-3 * tensor.abs().clamp_min(1e-3 * tensor.abs().mean())).all())


def test_kept_values_are_said_in_words():
    module = nn.Sequential(nn.BatchNorm1d(2), nn.Embedding(3, 2, padding_idx=0))
    module[0].running_var[0] = 1e9
    with torch.no_grad():
        module[1].weight[0] = 1
    layout = settled(layout_of(module), module.state_dict(keep_vars=True), dict)
    words = {"0.running_var": "F32, beyond F16", "1.weight[0]": "row as it is"}
    assert kept_in_words(layout) == words and layout.kept == 2 + 2 + 1 + 2


MASK = torch.full((40, 40), float("-inf")).triu(1)
PATTERNED = {
    "fill": (torch.full((9000,), -1e9), SAME),
    "places": (torch.arange(512).expand(1, -1), RANGE),
    "line": (torch.arange(300, dtype=torch.float32) * 0.1 + 2, RANGE),
    "causal": (torch.ones(64, 64, dtype=torch.bool).tril()[None, None], BAND),
    "minus": (MASK, BAND),
    "eye": (torch.eye(100, dtype=torch.float64), BAND),
    "window": (torch.ones(90, 60).tril(5).triu(-3), BAND),
}


@pytest.mark.parametrize("name", PATTERNED)
def test_a_pattern_takes_some_bytes_and_comes_back_bit_for_bit(name):
    value, form = PATTERNED[name]
    module = module_of(**{name: value.clone()})
    layout = settled(layout_of(module), module.state_dict(keep_vars=True), dict)
    entry = layout.entries[0]
    if name == "line":
        assert entry.stored in ("", RANGE)
    else:
        assert entry.stored == form and entry.stored_bytes <= 16 and layout.kept == 0
    stored = in_file(entry, value)
    assert stored.nbytes == entry.stored_bytes
    found = out_of_file(entry, stored)
    assert found.dtype == value.dtype and torch.equal(found, value)


@pytest.mark.parametrize(
    "value",
    [
        torch.arange(64) ** 2,
        torch.cat([torch.arange(64), torch.tensor([1])]),
        torch.stack([torch.arange(64), torch.arange(64) + 1]),
        2 * torch.ones(64, 64).tril().index_fill(0, torch.tensor([5]), 0),
        2 * torch.stack([torch.ones(64, 64).tril(), torch.ones(64, 64).triu()]),
        torch.where(torch.rand(50, 50) < 0.5, 1.0, -0.0),
        torch.zeros(9000).index_fill(0, torch.tensor([8000]), -0.0),
        torch.full((9000,), float("nan")).index_fill(0, torch.tensor([8000]), 1.0),
        torch.rand(50, 50),
        torch.zeros(0, 8),
        torch.tensor(3),
        torch.arange(4),
    ],
    ids=range(12),
)
def test_what_is_nearly_a_pattern_stays_whole(value):
    assert forms(module_of(table=value)) == {"table": ""}


COINS = torch.randint(0, 2, (50, 53), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64, torch.bool])
def test_zeros_and_ones_take_a_bit_each_and_come_back_bit_for_bit(dtype):
    value = COINS.to(dtype)
    module = module_of(mask=value.clone())
    layout = settled(layout_of(module), module.state_dict(keep_vars=True), dict)
    entry = layout.entries[0]
    assert (entry.stored, entry.stored_bytes, layout.kept) == (BIT_EACH, 332, 50 * 53)
    assert kept_in_words(layout) == {"mask": "a bit each"}
    stored = in_file(entry, value)
    assert stored.nbytes == entry.stored_bytes
    found = out_of_file(entry, stored)
    assert found.dtype == dtype and torch.equal(found, value)
    stored[-1] = 255  # of 50 x 53 elements the last byte has two
    with pytest.raises(BadInput, match="'mask' has bits behind its last element"):
        out_of_file(entry, stored)
    module.mask[0, 0], module.mask[0, 1] = 3, 0
    assert final(layout, module.state_dict()).entries[0].stored == (BIT_EACH if dtype == torch.bool else "")


def test_bits_pay_for_what_they_become():
    """A reader makes 32 bytes for each of a file's own, and 64 MB for nothing."""
    few, many = (COINS.flatten()[:9].repeat(count) for count in (10**6, 2 * 10**6))
    assert forms(module_of(a=few.float())) == {"a": BIT_EACH}
    assert forms(module_of(a=few.float(), b=many.float())) == {"a": BIT_EACH, "b": ""}, (
        "deflated it is nothing"
    )
    free = torch.randint(0, 2, (10**7,), generator=torch.Generator().manual_seed(0)).float()
    assert forms(module_of(a=free, b=free.clone(), c=1 - free)) == dict.fromkeys("abc", BIT_EACH)


def test_what_the_architecture_gives_costs_less_than_bits():
    module = module_of(mask=COINS.float())
    assert forms(module, module_of(mask=COINS.float())) == {"mask": LEFT_OUT}


def test_patterns_that_training_changed_become_whole():
    layout = settled(layout_of(module := module_of(mask=MASK.clone())), module.state_dict(), dict)
    assert layout.entries[0].stored == BAND
    module.mask[0, 0] = 1
    assert final(layout, module.state_dict()).entries[0].stored == ""


def test_no_more_patterns_than_a_reader_makes_of_a_small_file(monkeypatch):
    monkeypatch.setattr(rooms, "MAX_PATTERN_BYTES", 2 * MASK.nbytes)
    module = module_of(a=MASK.clone(), b=MASK.clone(), c=MASK.clone())
    assert forms(module) == {"a": BAND, "b": BAND, "c": ""}
    assert forms(module, module) == {"a": BAND, "b": BAND, "c": LEFT_OUT}


def test_constants_of_the_architecture_are_left_out_and_nothing_else_is():
    def build(seed):
        torch.manual_seed(1)
        table = torch.rand(40, 5)
        torch.manual_seed(seed)
        frozen, free = nn.Parameter(table[:9].clone()), nn.Parameter(table[9:18].clone())
        return module_of(
            [("frozen", frozen.requires_grad_(False)), ("free", free)],
            sines=table, drawn=torch.rand(50), small=table[0].clone(), running_mean=table[1].clone(),
        )  # fmt: skip

    module, fresh = build(2), build(3)
    layout = settled(layout_of(module, ignore=("free",)), module.state_dict(keep_vars=True), fresh.state_dict)
    found = {entry.name: entry.stored for entry in layout.entries}
    others = {"free": "", "drawn": "", "small": "", "running_mean": HALF}
    assert found == {"frozen": LEFT_OUT, "sines": LEFT_OUT, **others}
    assert layout.given == ("frozen", "sines") and LEFT_OUT not in forms(module).values()


def test_the_architecture_is_asked_only_where_it_saves_something():
    def never():
        raise AssertionError

    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    module.register_buffer("mask", MASK.clone())
    settled(layout_of(module), module.state_dict(keep_vars=True), never)


def test_a_tensor_is_recognised_within_another_machine_s_last_bits():
    table = torch.sin(torch.arange(1000.0)).view(10, 100)
    known = reference_of(table)
    assert len(known) == 12 and is_given(known, table) and is_given(known, table * (1 + 6e-8))
    for other in (table * 1.0001, table.flip(0), table.roll(1, 1), torch.full_like(table, float("nan"))):
        assert not is_given(known, other)
    whole = torch.arange(100)
    assert not is_given(reference_of(whole), whole + (whole == 99))
    assert is_given(reference_of(MASK), MASK) and not is_given(reference_of(MASK), MASK.tril())


@pytest.mark.parametrize(
    "change",
    [
        {"stored": "other"}, {"stored": BAND}, {"band": (0, 1)}, {"stored": BAND, "band": (2, 1)},
        {"stored": BAND, "band": (0, 2**33)}, {"stored": BAND, "band": (0, True)},
        {"stored": BAND, "band": (0.0, 1)},
        {"stored": SAME, "shape": (0, 4)}, {"stored": RANGE, "dtype": "BOOL"}, {"stored": RANGE, "shape": ()},
        {"stored": BAND, "band": (0, 1), "shape": (4,)}, {"stored": HALF, "dtype": "I64"}, {"row": 0},
        {"role": "generated", "row": 4}, {"role": "generated", "row": -2},
        {"role": "generated", "stored": "F32"},
        {"role": "generated", "row": 0, "stored": "F16"}, {"role": "generated", "row": 0, "shape": (4, 2, 2)},
    ],
    ids=str,
)  # fmt: skip
def test_forms_that_cannot_be_are_refused(change):
    with pytest.raises(BadInput, match=r"and stored as|has the constant row"):
        replace(TensorEntry("t", (4, 4), "F32", KEPT), **change)
