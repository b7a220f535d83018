"""The gates of a pipeline: one record against what was demanded, each demand with a verdict and a sentence.

A gate is decided by its number alone, so that it is predictable. Where the number is a fall of the test
figure (`max-drop`, `max-regression`), the sentence adds whether chance explains it: a fall from `a` to `b`
lies inside the 95 % interval of the two measurements when

    |a - b| <= sqrt((a - worse_a)**2 + (better_b - b)**2)      worse, better: the ends of a figure's interval

which is Newcombe's interval of a difference (1998, method 10) reaching zero. It takes the two measurements as
independent; on the same rows they are not, and the true interval is narrower. No interval of a teacher's
figure is stored: where none follows from figure and count, the test figure's own half is used.

Sentences show accuracies and drops as fractions of 1, as the options take them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from qtrain_cli.errors import BadInput, GateFailed, UsageError
from qtrain_cli.results import AnyRecord, GateResult, Scores
from qtrain_cli.settings import GateSettings
from qtrain_cli.tasks.intervals import Interval

Check = Callable[[AnyRecord, float, AnyRecord | None], GateResult]


def check_gates(
    record: AnyRecord, gates: GateSettings, baseline: AnyRecord | None = None
) -> tuple[GateResult, ...]:
    """Every gate that is set, in the order of the table, passed or not.

    Raises:
        UsageError: a gate that does not fit the record's task, or one without what it compares with.
        BadInput: a baseline that was measured on other data.
    """
    limits = {name: getattr(gates, name.replace("-", "_")) for name in GATES}
    asked = (GATES[name](record, limit, baseline) for name, limit in limits.items() if limit is not None)
    return (*asked, *(_metric(record, name, mark) for name, mark in gates.min_metric))


def gate_failure(results: tuple[GateResult, ...]) -> GateFailed | None:
    """The error that a command ends with (exit code 3), or None when every gate passed."""
    failed = [result for result in results if not result.passed]
    if not failed:
        return None
    reasons = "; ".join(f"{result.name}: {result.message}" for result in failed)
    return GateFailed(
        f"{len(failed)} of {len(results)} gates failed: {reasons}",
        "compress with a larger budget or more epochs, or relax the gate",
    )


def _test_figure(record: AnyRecord, limit: float, _: AnyRecord | None, option: str) -> GateResult:
    """The test figure against its limit: the option that the task's row names."""
    scores, row = record.scores, record.scores.row
    if row.gate != option:
        own = f"--{row.gate}" if row.gate in GATES else f"--min-metric {row.word}={limit:g}"
        raise UsageError(f"--{option} does not fit a {row.name} artifact", f"use {own}")
    message = f"test {row.word} is {scores.test:.7g}; allowed: {row.limit} {limit:g}"
    return GateResult(option, row.reaches(scores.test, limit), limit, scores.test, message)


def _metric(record: AnyRecord, name: str, mark: float) -> GateResult:
    """Any figure of the test rows against its mark, at least or at most as its direction is."""
    scores, known = record.scores, record.scores.by_name
    if name not in known:
        raise UsageError(f"--min-metric {name}: the record of a {scores.task} has no such figure",
                         f"there are: {', '.join(known)}")  # fmt: skip
    value, up = known[name], scores.row.rises(name)
    if value is None:
        raise UsageError(f"--min-metric {name}: it was not measured", "leave out this gate")
    message = f"test {name} is {value:.7g}; allowed: at {'least' if up else 'most'} {mark:g}"
    passed = value >= mark if up else value <= mark
    return GateResult(f"min-metric {name}", passed, mark, value, message)


def _max_drop(record: AnyRecord, limit: float, _: AnyRecord | None) -> GateResult:
    scores = record.scores
    if scores.teacher is None or scores.drop is None:
        raise UsageError(
            "--max-drop needs the teacher's test figure, and this record has none",
            "leave out this gate, or demand the figure itself: --min-metric NAME=VALUE",
        )
    derived = scores.row.derived
    interval = derived(scores.teacher, scores.count) if derived else (scores.teacher, scores.teacher)
    message = _fall(scores, "the teacher", scores.teacher, interval, limit)
    return GateResult("max-drop", scores.drop <= limit, limit, scores.drop, message)


def _min_ratio(record: AnyRecord, limit: float, _: AnyRecord | None) -> GateResult:
    ratio = record.bytes_ratio
    if ratio is None:
        raise UsageError(
            "--min-ratio compares with the teacher's size, and this student had no teacher",
            "leave out this gate, or demand the size itself: --max-bytes SIZE",
        )
    message = f"the file is {ratio:.4g} times smaller than the model; allowed: at least {limit:g} times"
    return GateResult("min-ratio", ratio >= limit, limit, ratio, message)


def _max_bytes(record: AnyRecord, limit: float, _: AnyRecord | None) -> GateResult:
    return size_gate(record.artifact_bytes, limit)


def size_gate(size: int, limit: float) -> GateResult:
    """The one gate that needs no record: a file of `size` bytes may have `limit`."""
    message = f"the file has {size:,} bytes; allowed: at most {limit:,}"
    return GateResult("max-bytes", size <= limit, limit, size, message)


def _max_regression(record: AnyRecord, limit: float, baseline: AnyRecord | None) -> GateResult:
    if baseline is None:
        raise UsageError("--max-regression needs --baseline", "give the older record: --baseline OLD.json")
    if (
        baseline.measured.data_sha256 != record.measured.data_sha256
        or baseline.scores.row != record.scores.row
    ):
        raise BadInput(
            "the baseline was measured on other data than this artifact, so the two cannot be compared",
            "make the baseline anew from an artifact of the same data",
        )
    scores, older = record.scores, baseline.scores
    value = scores.worse_than(older.test)
    message = _fall(scores, "the baseline", older.test, older.interval, limit)
    if baseline.measured.model_sha256 != record.measured.model_sha256:
        message += ". The baseline was compressed from another model file"
    return GateResult("max-regression", value <= limit, limit, value, message)


#: Option name -> check, in the order in which they are reported.
GATES: dict[str, Check] = {
    "min-accuracy": partial(_test_figure, option="min-accuracy"),
    "max-error": partial(_test_figure, option="max-error"),
    "max-drop": _max_drop,
    "min-ratio": _min_ratio,
    "max-bytes": _max_bytes,
    "max-regression": _max_regression,
}


def _fall(scores: Scores, whom: str, figure: float, interval: Interval, limit: float) -> str:
    """The sentence of a gate that compares `scores.test` with an older or better `figure`."""
    fall = scores.worse_than(figure)
    here, there = f"test {scores.row.word} {scores.test:.7g}", f"{whom}'s {figure:.7g}"
    if fall <= 0:
        return f"{here} is no worse than {there}; allowed: at most {limit:g} worse"
    chance = _chance(scores, figure, interval)
    place, verdict = ("inside", "may be chance") if fall <= chance else ("outside", "is more than chance")
    return (
        f"{here} is {fall:.7g} worse than {there}; allowed: {limit:g}. This lies {place} the 95 % interval"
        f" of the two measurements (up to {chance:.2g} on {scores.count:,} test rows), so it {verdict}"
    )


def _chance(scores: Scores, figure: float, interval: Interval) -> float:
    """The largest fall from `figure` to `scores.test` that the intervals of the two explain."""
    _, better = scores.row.worse_first(scores.interval)
    worse, _ = scores.row.worse_first(interval)
    return math.hypot(better - scores.test, figure - worse)
