"""What finite shots and noise leave, for people: the figures to compare with, then one line a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtrain_cli.report.terminal import columns, sheet, stacked, styled
from qtrain_cli.report.text import LabelledTexts
from qtrain_cli.results import SampleCell, SampleRecord
from qtrain_cli.tasks import Task

if TYPE_CHECKING:
    from rich.console import RenderableType


def sampling_terminal(record: SampleRecord) -> RenderableType:
    """The record's figures, and its cells."""
    task = record.row
    headline = styled(f"{record.artifact}, test {task.word} from measured circuits", "bold")
    lines = [_sampled(record, cell, task) for cell in record.cells]
    return stacked(headline, sheet({"Compare with": sampled_against(record)}), columns("Measured", lines))


def sampled_against(record: SampleRecord) -> LabelledTexts:
    """What the cells are to be compared with, and how they were measured."""
    task = record.row
    low, high = record.exact_interval
    circuits = f"{record.circuits:,} of {record.qubits} qubits and {record.layers:,} layers"
    rows = [
        ("Exact probabilities", f"{task.show(record.exact)}, 95 % interval {task.show_interval(low, high)}"),
        ("In the artifact's record", task.show(record.recorded) + _other_data(record)),
        ("Teacher, in the record", task.show(record.teacher)),
        ("Test rows, repetitions", f"{record.count:,}, {record.repeat:,}"),
        ("Circuits, run by", f"{circuits}, {record.sampler}"),
    ]
    added = max(cell.simulation_variance for cell in record.cells)
    if added > 0:
        # What a quantum computer would not add must be small beside what is shown.
        rows += [
            ("Trajectories", f"{record.trajectories:,}, which add at most {added:.2g} to the error of z")
        ]
    return rows


def _other_data(record: SampleRecord) -> str:
    return "" if record.same_data else " (on other data than these)"


def _sampled(record: SampleRecord, cell: SampleCell, task: Task) -> dict[str, str]:
    low, high = cell.interval(record.most)
    spread = cell.repetition_interval
    return {
        "Noise": cell.noise,
        "Shots": f"{cell.shots:,}" if cell.shots else "exact",
        f"Test {task.word}": task.show(cell.mean),
        "95 % interval": task.show_interval(low, high),
        "of it repetitions": task.show_interval(*spread) if spread else "-",
        "Drop": task.show_change(record.drop(cell)),
        "Error of z": f"{cell.z_error:.3g}",
    }
