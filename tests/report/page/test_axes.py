"""Scales and ticks: round figures, inside the range, in order."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtrain_cli.report.page.axes import Canvas, Scaled, brief, count_text, scaled


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0.97, 0.998, [0.97, 0.98, 0.99])],
)
def test_ticks_are_round(low, high, ticks):
    assert Scaled(low, high).ticks() == pytest.approx(ticks)


def test_of_powers_too():
    assert Scaled(1, 10_000, True).ticks() == [1, 10, 100, 1000, 10_000]
    assert Scaled(600, 2000, True).ticks() == [1000, 2000]
    assert Scaled(1e-3, 1e9, True).ticks() == [1e-3, 1, 1e3, 1e6, 1e9]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.booleans())
def test_ticks_lie_in_the_range_and_are_few(low, room, powers):
    axis = Scaled(abs(low) + 1e-3, abs(low) + 1e-3 + room, True) if powers else Scaled(low, low + room)
    ticks = axis.ticks()
    assert ticks == sorted(ticks) and len(ticks) <= 12
    assert all(-1e-6 <= axis.share(tick) <= 1 + 1e-6 for tick in ticks)


@pytest.mark.parametrize(
    ("figures", "powers"), [((1, 2, 3), False), ((0.001, 5), True), ((0.0, 5), False), ((-1, 5), False)]
)
def test_far_figures_are_shown_by_powers(figures, powers):
    axis = scaled(figures)
    assert axis.powers == powers and all(0 <= axis.share(figure) <= 1 for figure in figures)


@pytest.mark.parametrize("figures", [(), (1.0,), (0.0, 0.0), (math.nan, 2.0)])
def test_there_is_a_scale_for_nothing_and_for_one_figure(figures):
    axis = scaled(figures)
    assert axis.low < axis.high


EXTREME = [
    (-1e308, 1e308), (1.5e308, 1e300), (1.7e308,), (5e-324, 1.7e308), (5e-324,), (0.97, 0.97 + 1e-16),
    (-1e308,), (2**62, 2**62 + 1), (1e300, 1e301), (-1e301, -1e300),
]  # fmt: skip


@pytest.mark.parametrize("figures", EXTREME)
@pytest.mark.parametrize("powers", [None, True, False])
def test_extreme_figures_have_a_scale_with_few_ticks(figures, powers):
    low, high = min(figures), max(figures)
    for axis in (scaled(figures, powers), Scaled(low, high), Scaled(high, low)):
        plot = Canvas(axis, axis)
        assert axis.low < axis.high and len(axis.ticks()) <= 12
        assert all(map(math.isfinite, (*plot.at(figures[0], figures[-1]), *axis.ticks())))
        plot.frame("", "", (brief, count_text))


def test_what_is_beyond_the_frame_lies_on_its_edge():
    plot = Canvas(Scaled(0, 1), Scaled(0, 1))
    assert plot.at(5, -3) == plot.at(1, 0)


def test_figures_beside_ticks():
    assert [brief(0.0123456), brief(12_345.0), count_text(3.0), count_text(2.5)] == [
        "0.0123",
        "12,345",
        "3",
        "",
    ]
