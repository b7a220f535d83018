"""`qtrain compress`: model and data in, artifact and record out; or with `--dry-run` what that would take."""

from __future__ import annotations

from qtrain_cli.results import Record
from qtrain_cli.results.rehearsal import Rehearsal
from qtrain_cli.runs.compress import compress_model
from qtrain_cli.runs.making import Log
from qtrain_cli.runs.rehearsals import rehearse_compress
from qtrain_cli.settings import CompressSettings
from qtrain_cli.training.loop import Show


def run(settings: CompressSettings, show: Show, log: Log) -> Record | Rehearsal:
    """Raises as `compress_model`."""
    if settings.dry_run:
        return rehearse_compress(settings, log)
    record = compress_model(settings, show, log)
    if record.seconds is not None:  # it was made now
        log(f"wrote '{settings.out}'")
    return record
