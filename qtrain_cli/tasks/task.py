"""What a row of the table of tasks is: everything about how outputs are worth something.

    outputs (N, ...), targets (N, ...)   --counts-->      what each row adds (N, k); a figure of their sum
    outputs, teacher's outputs, targets  --closeness_counts-->  the same against the teacher
    outputs, targets, teacher's outputs  --hard_loss, soft_loss-->  what training makes small

The words name the figures in JSON (``test_accuracy``, ``teacher_agreement``) and for people; the direction
says which of two figures is better; the scale says how figures are written. Outside this folder nobody asks
which task it is: they hand a row their figures and let it answer. A new task is a file with a row, and a line
in `TASKS`.

A figure is a function of counts that add up over rows (`counting`), from `least` up, at most `most`. Where it
is a mean of rows' scores, its 95 % interval follows from their spread, else from drawing the rows anew
(`resampled`): the run knows it and the record stores it. For rows that are right or wrong it follows from
figure and count alone (`derived`), and nothing is stored.

Nothing here loads torch: a report is made without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from qtrain_cli.tasks.counting import (
    Figure,
    bootstrap_interval,
    column,
    figure_of,
    mean_of,
    of_rows,
    pseudo_values,
)
from qtrain_cli.tasks.intervals import Interval, mean_interval
from qtrain_cli.tasks.metrics import Metric

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn


def seven_digits(value: float | None) -> float | None:
    """Seven significant digits; None for what is missing or not finite, because JSON has no NaN."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.7g}")


@dataclass(frozen=True)
class Scale:
    """How figures are written: times `factor`, with `digits`, and the units of a figure and of a change."""

    factor: float
    digits: str
    unit: str
    change: str


PERCENT = Scale(100.0, ".2f", " %", " points")
PLAIN = Scale(1.0, ".4g", "", "")


#: Of outputs (N, ...) and targets (N, ...).
Loss = Callable[["Tensor", "Tensor"], "Tensor"]


@dataclass(frozen=True)
class Task:
    """One row.

    Args:
        name: what JSON and `TASKS` call it.
        word: what its figures are called, and by it (no other row's) a JSON document is known.
        closeness: what the closeness to the teacher is called in JSON.
        closeness_label: and for people.
        higher_is_better: the direction of its figures, closeness aside.
        most: the largest figure there can be, 1 or infinity.
        scale: how people see figures.
        gate: the option of `qtrain report` that limits its test figure.
        takes: whether checked targets (N, ...) are this task's.
        check: raises `BadInput` for finite outputs that cannot be compared with targets; the last argument is
            the number of classes, where targets are class numbers.
        hard_loss: of outputs and targets, a scalar.
        soft_loss: of outputs, the teacher's, the temperature and targets, a scalar.
        counts: of outputs and targets, what each row adds, float64 (N, k).
        closeness_counts: of outputs, the teacher's and targets, the same for a mean (N, 2).
        figure: of sums of counts.
        resampled: whether rows weigh unequally in the figure, so that they are drawn anew for its interval.
        derived: the 95 % interval of a figure on so many rows; None where it needs the rows' counts.
        size_of: of targets, how many things the hard loss is the mean of; rows, where they all are as large.
        least: the smallest figure there can be, 0 or 1.
        metrics: further figures.
        family: what `--task` calls it, and rows for other outputs of the same task.
        weighted: the hard loss with a weight for each class; None where there are no classes.
        weight_of: of targets and these weights, how much the weighted loss is the mean of; None: `size_of`.
        places: whether a row has many places, each with scores and a target of its own.
        own_outputs: whether the teacher's outputs are the targets.
        for_answers: then, the row where the test rows have class numbers (N,) besides, or None.
        for_labels: the row for labels of these names, where their names matter.
        trivial: of training targets and the shape of one row's outputs, the scores for a row of whoever knows
            them and nothing of the row.
        trivial_said: who that is, for people.
        told_by_count: whether the number of stored figures tells this task, so that artifacts store no name.
            One row with a stored interval and one without can be: those that were there first.
        told_by_word: whether no other row has its words; else a JSON document says the task's name.
        plain: the row for outputs that are scores, where this one's are something else made of them.
        scores_of: the scores (N, ...) that such outputs were made of; None where they are the scores.
        head: makes such outputs of scores, a layer without weights; None as before.
        answers: of outputs, the class that each row names, int64 (N,); None where there are no classes.
        blind: of outputs and targets, the figure that such answers have where they know nothing of the row.
        said: how outputs and loss are called for people.
        scaled: whether outputs are scores that a temperature divides, as soft losses of such tasks do.
        tempered: whether the soft loss has a temperature.
        width: how many outputs there are, where neither classes nor targets say it.
        drawn: what a page draws of its test rows: ``pairs``, true and predicted, or ``places``, the loss at
            each place of a row.
        pipelines: the hub's word for the task, by what goes in: ``picture``, ``text`` or ``table``.
    """

    name: str
    word: str
    closeness: str
    closeness_label: str
    higher_is_better: bool
    most: float
    scale: Scale
    gate: str
    takes: Callable[[np.ndarray], bool]
    check: Callable[[Tensor, Tensor, int | None], None]
    hard_loss: Callable[[Tensor, Tensor], Tensor]
    soft_loss: Callable[[Tensor, Tensor, float, Tensor], Tensor]
    counts: Callable[[Tensor, Tensor], Tensor]
    closeness_counts: Callable[[Tensor, Tensor, Tensor], Tensor]
    figure: Figure = mean_of
    resampled: bool = False
    size_of: Callable[[Tensor], int] = len
    least: float = 0.0
    metrics: tuple[Metric, ...] = ()
    family: str = ""
    weighted: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    weight_of: Callable[[Tensor, Tensor], float] | None = None
    places: bool = False
    own_outputs: bool = False
    for_answers: Callable[[Tensor | None], Task] | None = None
    for_labels: Callable[[tuple[str, ...]], Task] | None = None
    trivial: Callable[[Tensor, tuple[int, ...]], Tensor] | None = None
    trivial_said: str = ""
    derived: Callable[[float, int], Interval] | None = None
    told_by_count: bool = False
    told_by_word: bool = True
    plain: str = ""
    scores_of: Callable[[Tensor], Tensor] | None = None
    head: Callable[[], nn.Module] | None = None
    answers: Callable[[Tensor], Tensor] | None = None
    blind: Callable[[Tensor, Tensor], float] | None = None
    said: str = ""
    width: int | None = None
    scaled: bool = False
    tempered: bool = True
    drawn: str = ""
    pipelines: Mapping[str, str] = field(default_factory=dict)

    def of_outputs(
        self,
        name: str,
        scores_of: Callable[[Tensor], Tensor],
        head: Callable[[], nn.Module] | None,
        said: str,
    ) -> Task:
        """The same task for outputs that are no scores: every figure is that of the scores behind them."""

        def behind(function: Callable[..., Any], outputs: int = 1) -> Callable[..., Any]:
            def on_scores(*given: Any) -> Any:
                return function(*map(scores_of, given[:outputs]), *given[outputs:])

            return on_scores

        return replace(
            self, name=name, plain=self.name, scores_of=scores_of, head=head, said=said,
            told_by_count=False, told_by_word=False, takes=lambda targets: False, scaled=False,
            hard_loss=behind(self.hard_loss), soft_loss=behind(self.soft_loss, 2),
            weighted=self.weighted and behind(self.weighted),
            counts=behind(self.counts), closeness_counts=behind(self.closeness_counts, 2),
            answers=self.answers and behind(self.answers), blind=self.blind and behind(self.blind),
            metrics=tuple(metric.of_outputs(scores_of) for metric in self.metrics),
        )  # fmt: skip

    def with_own(self, loss: Loss | None, metric: Loss | None) -> Task:
        """The same for training by a caller's own loss, a scalar, or metric, a score a row (N,), more is
        better."""
        row = replace(self, hard_loss=loss, weighted=None) if loss else self
        if metric is None:
            return row
        word, own = getattr(metric, "__name__", "metric"), metric
        return replace(
            row, word=word, higher_is_better=True, most=math.inf, least=-math.inf, scale=PLAIN,
            counts=lambda outputs, targets: of_rows(own(outputs, targets)), figure=mean_of,
            resampled=False, derived=None, metrics=(),
        )  # fmt: skip

    # --- which figure is better, and how good one is -------------------------------------------------------

    def gain(self, figure: float, than: float) -> float:
        """By how much a figure is better than another; negative when it is worse."""
        return figure - than if self.higher_is_better else than - figure

    def better(self, figure: float, than: float) -> bool:
        """Whether one figure beats another."""
        return self.gain(figure, than) > 0

    def reaches(self, figure: float, mark: float) -> bool:
        """Whether a figure is at least as good as a mark."""
        return self.gain(figure, mark) >= 0

    def rises(self, name: str) -> bool:
        """Whether more is better: of the task's figure, or of a further metric by its name."""
        further = {metric.name: metric.higher_is_better for metric in self.metrics}
        return further.get(name, self.higher_is_better)

    def share_of(self, figure: float, share: float) -> float:
        """The figure that is only `share` as good: 0.95 of an accuracy, or an error over 0.95."""
        return figure * share if self.higher_is_better else figure / share

    def worse_first(self, interval: Interval) -> Interval:
        """The two ends of an interval, the worse one first."""
        low, high = interval
        return (low, high) if self.higher_is_better else (high, low)

    def outputs(self, target: Tensor, classes: int | None) -> int:
        """How many outputs a student needs that learns one target (1, ...)."""
        return self.width or classes or target[0].numel()

    @property
    def limit(self) -> str:
        """How a limit on figures reads: ``at least`` or ``at most``."""
        return "at least" if self.higher_is_better else "at most"

    @property
    def bounded(self) -> bool:
        """Whether there is a largest figure."""
        return math.isfinite(self.most)

    def within(self, low: float, high: float) -> Interval:
        """An interval, cut off where no figure can be."""
        return max(self.least, low), min(self.most, high)

    # --- how far chance moves it ---------------------------------------------------------------------------

    @property
    def stores_interval(self) -> bool:
        """Whether a record has to store the interval of its test figure, because nothing else tells it."""
        return self.derived is None

    def figure_of(self, counts: Tensor) -> float:
        """The figure of rows with these counts (N, k)."""
        return figure_of(counts, self.figure)

    def interval_of(self, counts: Tensor) -> Interval:
        """The 95 % interval of the figure of rows with these counts (N, k)."""
        if self.resampled:
            return bootstrap_interval(counts, self.figure)
        figure, rows = self.figure_of(counts), len(counts)
        if self.derived:
            return self.derived(figure, rows)
        return mean_interval(figure, float(column(counts, 0).std(correction=0)), rows, self.most)

    def row_scores(self, counts: Tensor) -> Tensor:
        """What each row says of the figure, float64 (N,): its own score, or one that stands for it."""
        return pseudo_values(counts, self.figure) if self.resampled else column(counts, 0)

    @property
    def perfect(self) -> float:
        """The best figure there is."""
        return self.most if self.higher_is_better else self.least

    # --- how it is written ---------------------------------------------------------------------------------

    def named(self, template: str) -> str:
        """``test_{word}`` or ``teacher_{closeness}`` with this task's words: a name in JSON."""
        return template.format(word=self.word, closeness=self.closeness)

    def bare(self, figure: float) -> str:
        """A figure for people without its unit: ``97.31`` or ``0.0123``."""
        return f"{self.scale.factor * figure:{self.scale.digits}}"

    def show(self, figure: float | None) -> str:
        """A figure for people: ``97.31 %``, or ``0.0123`` for an error."""
        return "not measured" if figure is None else self.bare(figure) + self.scale.unit

    def show_interval(self, low: float, high: float) -> str:
        """Two figures for people: ``97.01 to 97.60 %``."""
        return f"{self.bare(low)} to {self.show(high)}"

    def show_change(self, change: float) -> str:
        """A difference of two figures for people: ``0.31 points``, or ``0.0012`` for errors."""
        return self.bare(change) + self.scale.change

    def heading(self, what: str) -> str:
        """`what` over a column or along an axis of bare figures: ``test accuracy, %`` or ``test error``."""
        return f"{what},{self.scale.unit}" if self.scale.unit else what
