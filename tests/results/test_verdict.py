"""The verdict says what the figures say: who won, by how much, whether it is noise, and of the circuit."""

from dataclasses import replace

import pytest
from comparisons import cell, comparison

from qtrain_cli.results.comparison import UNREACHED, Cell
from qtrain_cli.results.verdict import verdict

N = 400


def rows(share):
    return [1.0] * round(share * N) + [0.0] * (N - round(share * N))


def said(figures, **missed):
    """``said({"ours": 0.9}, narrow=1200)``: the verdict on three alike seeds; `missed` do not reach."""
    cells = [cell(name, seed, rows(share)) for name, share in figures.items() for seed in range(3)]
    cells += [
        Cell(name.replace("_", "-"), 1000, seed, UNREACHED, file_bytes=size)
        for name, size in missed.items()
        for seed in range(3)
    ]
    return verdict(comparison(cells))


def test_the_winner_its_lead_and_ours():
    first, summary, *_ = said({"ours": 0.9, "narrow": 0.95, "pruning": 0.945})
    assert first == (
        "1,000 bytes: narrow is first with 95.00 % (92.86 % to 97.14 %), 0.50 points ahead of pruning"
        " (inside the noise of 0.69 points). ours has 90.00 % (87.06 % to 92.94 %), 5.00 points behind"
        " (more than the noise of 2.14 points). Bytes that are header and record, not numbers: 200 of 900 in"
        " narrow, 200 of 900 in ours."
    )
    assert summary == "ours against the best rival: behind at 1,000 bytes."


@pytest.mark.parametrize(
    ("ours", "word"), [(0.97, "ahead"), (0.952, "level (inside the noise)"), (0.9, "behind")]
)
def test_ours_is_ahead_level_or_behind(ours, word):
    assert f"ours against the best rival: {word} at 1,000 bytes." in said({"ours": ours, "narrow": 0.95})


def test_controls_are_no_rivals():
    found = said({"ours": 0.9, "narrow": 0.8, "classical-curve": 0.95})
    assert "ours against the best rival: ahead at 1,000 bytes." in found


def test_who_does_not_reach_a_budget_is_named_with_its_smallest_file():
    found = said({"narrow": 0.9}, ours=1616, quantisation=1100)
    assert found[0].endswith(
        " ours does not reach this budget, smallest file 1,616 bytes;"
        " quantisation does not reach this budget, smallest file 1,100 bytes."
    )
    assert found[1] == "ours and its rivals have no budget in common."
    assert said({}, ours=1616)[0].startswith("1,000 bytes: no method reaches this budget.")


@pytest.mark.parametrize(
    ("curve", "fixed", "where"),
    [
        (0.8, 0.7, "at 1,000 bytes"),
        (0.95, 0.7, "at no budget"),
        (0.8975, 0.7, "at no budget"),
        (0.8, 0.96, "at no budget"),
    ],
)
def test_the_circuit_earns_its_place_or_not(curve, fixed, where):
    found = said({"ours": 0.9, "classical-curve": curve, "fixed-random": fixed})
    assert found[-1] == (
        f"The circuit itself earned its place against classical-curve and fixed-random {where} (of 1,000)."
    )
    word = "better" if curve < 0.9 else "worse"
    by = f"{abs(90 - 100 * curve):.2f} points {word}"
    assert f"circuit against classical-curve: {by}" in found[2]
    assert found[2].endswith("100 numbers against 100.")


def test_without_controls_or_ours_nothing_is_claimed_of_the_circuit():
    assert "not known: no control was run" in said({"ours": 0.9, "narrow": 0.8})[-1]
    missed = said({"classical-curve": 0.9}, ours=1616)
    assert "not known: it has no budget in common with its controls" in missed[-1]
    assert not any("circuit" in sentence for sentence in said({"narrow": 0.9}))


def test_one_seed_is_said_to_be_too_few():
    found = verdict(comparison([cell("ours", 0, rows(0.9))]))
    assert found[-1] == "There is one seed, so the spread over seeds is not in the noise: it is too small."


def test_who_is_no_better_than_without_looking_is_named():
    cells = [cell(name, 0, rows(share)) for name, share in {"ours": 0.8, "narrow": 0.9}.items()]
    found = {
        trivial: verdict(replace(comparison(cells), trivial=trivial))[0] for trivial in (None, 0.7, 0.8, 0.95)
    }
    told = " No better than without looking (the commonest class alone has {}): {}. Bytes that are header"
    assert not any("without looking" in found[trivial] for trivial in (None, 0.7))
    assert told.format("80.00 %", "ours") in found[0.8]
    assert told.format("95.00 %", "narrow, ours") in found[0.95]
