"""What happened: frozen records of a finished run, and their one JSON form, ``qtrain.report/1``.

    Record = Design    what was built; the artifact's own spec says it
           + Measured  what came out; nothing but the run can say it, so the artifact stores it
           + the file  its bytes and digest; only the finished file can say them

Everything else in the JSON is derived here and nowhere else: the two ratios, the interval of the test
figure and the generalization gap. Files: `scores` (the task's figures and their intervals), `measured` (with
its short stored form), `record` (with the JSON), `schema` (the JSON's fields, and strict reading), `sampling`
(what is left of a model whose circuits were measured, ``qtrain.sample/1``).

A student (`students`) has a record of its own, ``qtrain.student/1``, with another design and how it was
taught.

Left out: how to show a record (`report`) and what to demand of it (`gates`). Standard library only.
"""

from qtrain_cli.results.gradients import GradientRow, GradientTable
from qtrain_cli.results.measured import Measured
from qtrain_cli.results.record import Design, GateResult, Record
from qtrain_cli.results.sampling import SAMPLE_SCHEMA, SampleCell, SampleRecord
from qtrain_cli.results.schema import SCHEMA, record_fields
from qtrain_cli.results.scores import Scores
from qtrain_cli.results.student_rows import LABELS, StudentRow, verdicts
from qtrain_cli.results.students import (
    NO_TEACHER,
    NOTHING_SHA256,
    STUDENT_SCHEMA,
    AnyRecord,
    Lesson,
    StudentDesign,
    StudentRecord,
    any_record,
)

__all__ = [
    "LABELS",
    "NOTHING_SHA256",
    "NO_TEACHER",
    "SAMPLE_SCHEMA",
    "SCHEMA",
    "STUDENT_SCHEMA",
    "AnyRecord",
    "Design",
    "GateResult",
    "GradientRow",
    "GradientTable",
    "Lesson",
    "Measured",
    "Record",
    "SampleCell",
    "SampleRecord",
    "Scores",
    "StudentDesign",
    "StudentRecord",
    "StudentRow",
    "any_record",
    "record_fields",
    "verdicts",
]
