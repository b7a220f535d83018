"""A comparison in plain words, each sentence with the numbers behind it.

For each budget: who is first, by how much, whether that is more than noise, where ours stands. Then whether
the circuit earned its place: whether ours beats both controls (our mapping over a fixed random vector, and a
classical curve) by more than noise. Nothing is said that the figures do not say.
"""

from __future__ import annotations

from qtrain_cli.results.comparison import OURS, UNREACHED, Comparison, Difference, Point


def verdict(comparison: Comparison) -> list[str]:
    """The sentences, in order; one paragraph each."""
    found = [_at(comparison, budget) for budget in comparison.budgets]
    if any(one.name == OURS for one in comparison.methods):
        found += [_summary(comparison), *_circuit(comparison)]
    if len(comparison.seeds) == 1:
        found.append("There is one seed, so the spread over seeds is not in the noise: it is too small.")
    return found


def _at(comparison: Comparison, budget: int) -> str:
    """Who is first at a budget, and where ours stands."""
    points = comparison.points(budget)
    head = f"{budget:,} bytes: "
    if not points:
        return head + "no method reaches this budget." + _unreached(comparison, budget)
    first = points[0]
    text = head + f"{first.method} is first with {_figure(comparison, first)}"
    if len(points) > 1:
        ahead = comparison.difference(first.method, points[1].method, budget)
        text += f", {_by(comparison, ahead)} ahead of {points[1].method} ({_noise(comparison, ahead)})"
    ours = next((point for point in points[1:] if point.method == OURS), None)
    if ours:
        behind = comparison.difference(first.method, OURS, budget)
        text += (
            f". ours has {_figure(comparison, ours)}, {_by(comparison, behind)} behind"
            f" ({_noise(comparison, behind)})"
        )
    return (
        text + "." + _without_looking(comparison, points) + _headers(points) + _unreached(comparison, budget)
    )


def _without_looking(comparison: Comparison, points: list[Point]) -> str:
    """Who is no better than an answer that looks at nothing."""
    trivial, row = comparison.trivial, comparison.row
    if trivial is None:
        return ""
    useless = [point.method for point in points if not row.better(point.mean, trivial)]
    said = f"{row.trivial_said} alone has {comparison.show(trivial)}"
    return f" No better than without looking ({said}): {', '.join(useless)}." if useless else ""


def _headers(points: list[Point]) -> str:
    """How much of ours and of the first are no numbers: what a smaller header could win."""
    shown = [point for point in points if point is points[0] or point.method == OURS]
    if not any(point.method == OURS for point in shown):
        return ""
    said = (f"{point.header_bytes:,} of {point.file_bytes:,} in {point.method}" for point in shown)
    return f" Bytes that are header and record, not numbers: {', '.join(said)}."


def _unreached(comparison: Comparison, budget: int) -> str:
    """Who does not reach a budget, with the smallest file of each."""
    said = [
        f"{cells[0].method} does not reach this budget, smallest file {cells[0].file_bytes:,} bytes"
        for one in comparison.methods
        if (cells := comparison.cells_of(one.name, budget)) and cells[0].end == UNREACHED
    ]
    return f" {'; '.join(said)}." if said else ""


def _summary(comparison: Comparison) -> str:
    """At how many budgets ours is first, among those that are no controls of it."""
    rivals = {one.name for one in comparison.methods if not one.control} - {OURS}
    ahead: list[str] = []
    level: list[str] = []
    behind: list[str] = []
    for budget in comparison.budgets:
        best = next((point for point in comparison.points(budget) if point.method in rivals), None)
        if best is None or comparison.point(OURS, budget) is None:
            continue
        found = comparison.difference(OURS, best.method, budget)
        (level if not found.real else ahead if found.better_by > 0 else behind).append(f"{budget:,}")
    if not (ahead or level or behind):
        return "ours and its rivals have no budget in common."
    parts = [
        f"{word} at {', '.join(budgets)} bytes"
        for word, budgets in (("ahead", ahead), ("level (inside the noise)", level), ("behind", behind))
        if budgets
    ]
    return f"ours against the best rival: {'; '.join(parts)}."


def _circuit(comparison: Comparison) -> list[str]:
    """Whether the circuit earned its place against its controls."""
    controls = [one.name for one in comparison.methods if one.control]
    if not controls:
        return ["Whether the circuit earned its place is not known: no control was run."]
    said: list[str] = []
    earned: list[str] = []
    tried: list[str] = []
    for budget in comparison.budgets:
        there = [name for name in controls if comparison.point(name, budget)]
        if comparison.point(OURS, budget) is None or not there:
            continue
        found = [comparison.difference(OURS, name, budget) for name in there]
        said += [_against(comparison, difference) for difference in found]
        tried.append(f"{budget:,}")
        if len(there) == len(controls) and all(one.real and one.better_by > 0 for one in found):
            earned.append(f"{budget:,}")
    if not tried:
        return [
            "Whether the circuit earned its place is not known: it has no budget in common with its controls."
        ]
    against, where = " and ".join(controls), ", ".join(tried)
    at = f"at {', '.join(earned)} bytes" if earned else "at no budget"
    text = f"The circuit itself earned its place against {against} {at} (of {where})."
    return [*said, text]


def _against(comparison: Comparison, difference: Difference) -> str:
    ours, other = (comparison.point(name, difference.budget) for name in (OURS, difference.other))
    assert ours and other  # the caller has asked
    word = "better" if difference.better_by > 0 else "worse"
    by, noise = _by(comparison, difference), _noise(comparison, difference)
    return (
        f"{difference.budget:,} bytes, circuit against {difference.other}: {by} {word} ({noise}),"
        f" {ours.numbers:,} numbers against {other.numbers:,}."
    )


def _figure(comparison: Comparison, point: Point) -> str:
    return f"{comparison.show(point.mean)} ({comparison.show(point.low)} to {comparison.show(point.high)})"


def _by(comparison: Comparison, difference: Difference) -> str:
    return comparison.show_change(difference.better_by)


def _noise(comparison: Comparison, difference: Difference) -> str:
    word = "more than" if difference.real else "inside"
    return f"{word} the noise of {comparison.show_change(difference.noise)}"
