"""What stands beside a record's test figure: further metrics, and what answers that look at nothing have."""

from __future__ import annotations

from qtrain_cli.report.text import LabelledTexts
from qtrain_cli.results import Scores


def figures_beside(scores: Scores) -> LabelledTexts:
    """A line for each, and a warning where the test figure is no better than a trivial one."""
    labels = {metric.name: metric.label for metric in scores.row.metrics}
    rows = [
        (f"Test {labels[name]}", "not measured" if value is None else f"{value:.4g}")
        for name, value in scores.metrics.items()
    ]
    if scores.trivial is None:
        return rows
    said = scores.row.trivial_said
    rows.append(("Without looking", f"{scores.show(scores.trivial)}, by {said}"))
    return [*rows, ("Warning", f"no better than {said}")] if scores.is_trivial else rows
