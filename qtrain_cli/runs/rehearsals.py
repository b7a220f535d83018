"""The dry runs of `compress`, `train` and `distill`: all that comes before training, and some steps of it.

What is refused is refused as the run itself would; nothing is written.
"""

from __future__ import annotations

from qtrain_cli.results.rehearsal import Rehearsal, TimedPart
from qtrain_cli.runs.compress import check_compress_files, model_files, prepared_compress
from qtrain_cli.runs.generations import first_teacher, lesson_of, students_rate, students_threads
from qtrain_cli.runs.history import history_places
from qtrain_cli.runs.making import Log
from qtrain_cli.runs.rehearsing import REHEARSED_SECONDS, rehearsal_of, rehearsed_work, timed_part
from qtrain_cli.runs.teach import check_student_files, prepared_teaching
from qtrain_cli.settings import CompressSettings, TeachSettings
from qtrain_cli.students.spec import student_text
from qtrain_cli.training.devices import resolve_device, usual_threads
from qtrain_cli.training.loop import rehearse


@usual_threads()
def rehearse_compress(settings: CompressSettings, log: Log) -> Rehearsal:
    """What `compress_model` would do. Raises as it does before training."""
    checkpoint = check_compress_files(settings)
    job = prepared_compress(settings, model_files(settings), checkpoint, log)
    work = job.work
    most = job.sizes.bytes(work.chosen.plan, job.spec.angles.bits)
    part = rehearsed_work(work, job.loaded.name, artifact_bytes=most)
    places = history_places(settings.log, settings.out)
    notes = [f"it would go on from '{checkpoint}'"] if settings.resume and checkpoint.exists() else []
    writes = (settings.out, places.file, places.folder)
    return rehearsal_of("compress", work.fit.device, [part], writes, notes)


@usual_threads()
def rehearse_teaching(settings: TeachSettings, log: Log, name: str = "", cells: int = 1) -> TimedPart:
    """What `teach` would take, as often as it would be done: under a name as a cell of a comparison, whose
    files are the comparison's matter."""
    if not name:
        check_student_files(settings)
    job = prepared_teaching(settings, log)
    trainee, course, fit = lesson_of(job, 0, first_teacher(job))
    with students_threads(job, trainee.module):
        timed = rehearse(trainee, course, fit, students_rate(fit), REHEARSED_SECONDS)
    return timed_part(name or student_text(job.student.spec), timed, cells * (1 + job.generations))


def rehearse_student(command: str, settings: TeachSettings, log: Log) -> Rehearsal:
    """The dry run of one student."""
    part = rehearse_teaching(settings, log)
    places = history_places(settings.log, settings.out)
    device = str(resolve_device(settings.fit.device))
    return rehearsal_of(command, device, [part], (settings.out, places.file, places.folder))
