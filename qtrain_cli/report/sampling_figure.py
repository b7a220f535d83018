"""A record as a picture, for papers and notes: `pictures` makes the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtrain_cli.report.pictures import BLACK, BLUE, GREEN, MARKS, ORANGE, PURPLE, SKY, VERMILION, picture
from qtrain_cli.results import SampleCell, SampleRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: One a level of noise, as the marks are.
_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)


def sampling_figure(record: SampleRecord, ending: str) -> bytes:
    """Test figure against shots, one line a level of noise: ``png``, ``svg`` or ``pdf`` as bytes.

    Error bars are the 95 % intervals of the repetitions, because the exact figure beside them is of the same
    test rows; the band is the exact figure's own interval. Exact probabilities stand at the right edge, as
    infinity.

    Raises:
        BadInput: Matplotlib is not installed.
    """
    return picture(lambda figure: _draw(figure.add_subplot(), record), ending, (6.4, 4.0), 200)


def _draw(axes: Axes, record: SampleRecord) -> None:
    task, factor = record.row, record.row.scale.factor
    infinity = _infinity(record)
    low, high = record.exact_interval
    axes.axhline(factor * record.exact, color="0.35", lw=1, label="exact probabilities, no noise")
    axes.axhspan(factor * low, factor * high, color="0.92", zorder=0, label="their 95 % interval (test rows)")
    if record.teacher is not None:
        axes.axhline(factor * record.teacher, color="0.35", lw=1, ls="--", label="teacher")
    for number, noise in enumerate(dict.fromkeys(cell.noise for cell in record.cells)):
        cells = [cell for cell in record.cells if cell.noise == noise]
        _line(axes, cells, noise, number, factor, infinity)
    axes.set_xscale("log")
    _label_infinity(axes, record, infinity)
    axes.set_xlabel("shots of each circuit")
    axes.set_ylabel(task.heading(f"test {task.word}"))
    if task.bounded:  # intervals of few repetitions reach beyond what a figure can be
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 0), min(high, 1.02 * factor * task.most))
    else:
        axes.set_yscale("log")
    axes.set_title(
        f"{record.artifact}: circuits {record.circuits:,}, qubits {record.qubits}, layers {record.layers:,};"
        f" {record.count:,} test rows, repetitions {record.repeat:,}",
        fontsize=9,
    )
    axes.grid(True, color="0.9", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=2 if len({cell.noise for cell in record.cells}) > 3 else 1)


def _line(
    axes: Axes, cells: list[SampleCell], noise: str, number: int, factor: float, infinity: float
) -> None:
    cells = sorted(cells, key=lambda cell: cell.shots or infinity)
    shift = 1.05**number  # or error bars of the same shots hide each other
    places = [shift * (cell.shots or infinity) for cell in cells]
    finite = [(at, factor * cell.mean) for at, cell in zip(places, cells, strict=True) if cell.shots]
    colour = _COLOURS[number % len(_COLOURS)]
    axes.plot([at for at, _ in finite], [mean for _, mean in finite], color=colour, lw=1.4)
    bars = [cell.repetition_interval or (cell.mean, cell.mean) for cell in cells]
    axes.errorbar(
        places,
        [factor * cell.mean for cell in cells],
        yerr=[
            [factor * (cell.mean - low) for cell, (low, _) in zip(cells, bars, strict=True)],
            [factor * (high - cell.mean) for cell, (_, high) in zip(cells, bars, strict=True)],
        ],
        color=colour,
        marker=MARKS[number % len(MARKS)],
        ms=4,
        ls="none",
        elinewidth=1.2,
        capsize=2.5,
        label="no noise" if noise == "none" else noise.replace(":", " ").replace("+", ", "),
    )


def _infinity(record: SampleRecord) -> float:
    """Where exact probabilities stand: two decades beyond the most shots."""
    return 100.0 * max((cell.shots or 1 for cell in record.cells), default=1)


def _label_infinity(axes: Axes, record: SampleRecord, infinity: float) -> None:
    if any(cell.shots is None for cell in record.cells):
        shots = sorted({cell.shots for cell in record.cells if cell.shots})
        first, last = (shots[0], shots[-1]) if shots else (infinity, infinity)
        ticks = [10.0**power for power in range(len(str(first)) - 1, len(str(last)) + 1) if 10**power <= last]
        axes.set_xticks(
            [*ticks, infinity], [*(f"$10^{{{len(str(int(tick))) - 1}}}$" for tick in ticks), "exact"]
        )
        axes.minorticks_off()
