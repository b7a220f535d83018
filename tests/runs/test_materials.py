"""When a teacher answers beforehand: for rows of a split as they are, and for no other batches."""

from dataclasses import replace

from qtrain_cli.runs.materials import Materials
from qtrain_cli.settings import FitSettings


def nothing(*given):
    return None


def test_only_batches_that_are_rows_as_they_are_are_known_beforehand():
    plain, augmented = FitSettings(), FitSettings(augment=("flip",))
    of_files = Materials(nothing, nothing, nothing)
    assert of_files.by_row(plain) and not of_files.by_row(augmented)
    assert not replace(of_files, batches=nothing).by_row(plain)


def test_a_loss_of_ones_own_is_a_part_of_the_run_and_the_usual_one_is_not():
    usual = Materials(nothing, nothing, nothing)
    assert usual.identity == {} and replace(usual, named="mine.loss").identity == {"by": "mine.loss"}
