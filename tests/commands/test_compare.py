"""Whole comparisons on the shipped digits in seconds: cells, resume, damage, tuning, controls, outputs."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from qtrain_cli.commands import compare
from qtrain_cli.errors import BadInput, RunFailed, UsageError
from qtrain_cli.methods import small_dense, table
from qtrain_cli.results import comparison as results
from qtrain_cli.results.comparison import DONE, FAILED, UNREACHED, UNSUITED
from qtrain_cli.runs import cells, identity
from qtrain_cli.settings import CompareSettings, DataSettings, FitSettings, ModelSettings, own_rate
from qtrain_cli.training.recovery import Diverged, Elsewhere

DRAWING = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Linear(64, 10)
    def forward(self, x):
        scores = self.body(x.flatten(1))
        return scores + 10 * torch.rand_like(scores)
"""
QUICK = ("quantisation", "small-dense")


class Compare:
    """One call of `compare`, with what it logged and how often something was trained."""

    def __init__(self, make: Callable[..., CompareSettings], monkeypatch) -> None:
        self.make, self.logged, self.laps = make, [], []
        real = cells.make

        def counted(work, *others):
            self.laps.append(work.name)
            return real(work, *others)

        monkeypatch.setattr(cells, "make", counted)

    def __call__(self, **changes) -> results.Comparison:
        self.laps.clear()
        return compare.run(self.make(**changes), self.logged.append)


@pytest.fixture
def run(digits: Path, few_digits: Path, tmp_path: Path, monkeypatch) -> Compare:
    def make(**changes) -> CompareSettings:
        given = {
            "budgets": (1000,), "methods": QUICK, "seeds": (0,), "state": tmp_path / "state", "quick": True,
            "source": str(few_digits), "path": digits / "digits_cnn_module.pt", "epochs": 8,
            **changes,
        }  # fmt: skip
        return CompareSettings(
            model=ModelSettings(given.pop("path")),
            data=DataSettings(given.pop("source")),
            fit=FitSettings(epochs=given.pop("epochs"), device="cpu"),
            **given,
        )

    return Compare(make, monkeypatch)


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("kept") / "state"


@pytest.fixture
def first(run, kept: Path, tmp_path: Path) -> results.Comparison:
    """What `run()` finds, in whose folder its cells are now; they are made once."""
    if not kept.exists():
        run()
        shutil.copytree(tmp_path / "state", kept)
    else:
        shutil.copytree(kept, tmp_path / "state")
    return run()


def test_cells_are_files_that_were_loaded_back_and_tested(run, tmp_path):
    found = run(budgets=(700, 1200), seeds=(0, 1))
    assert [(cell.budget, cell.method, cell.seed, cell.end) for cell in found.cells] == [
        (700, "quantisation", 0, UNREACHED), (700, "quantisation", 1, UNREACHED),
        (700, "small-dense", 0, DONE), (700, "small-dense", 1, DONE),
        (1200, "quantisation", 0, DONE), (1200, "quantisation", 1, DONE),
        (1200, "small-dense", 0, DONE), (1200, "small-dense", 1, DONE),
    ]  # fmt: skip
    for cell in found.cells:
        if cell.end == DONE:
            assert 100 < cell.header_bytes < 300 and cell.file_bytes <= cell.budget
            assert len(results.unpack_rows(cell.rows)) == 360
            assert cell.test == pytest.approx(np.mean(results.unpack_rows(cell.rows)), abs=1e-6)
        else:
            assert cell.file_bytes > cell.budget and cell.test is None
    files = sorted(path.stat().st_size for path in (tmp_path / "state").rglob("*.bin"))
    assert files == sorted(cell.file_bytes for cell in found.cells if cell.end == DONE)
    assert found.teacher == pytest.approx(0.9944, abs=1e-4) and (found.count, found.epochs) == (360, 2)


def test_ours_is_bare_and_within_its_bytes(run, digits):
    (cell,) = run(methods=("ours",), budgets=(1900,), source=str(digits / "digits.npz")).cells
    assert run.laps == ["ours"] and cell.end == DONE
    assert 150 < cell.header_bytes < 300  # bare: no record, as in rivals' files
    assert cell.file_bytes <= 1900 and cell.numbers > 100 and 0.1 < cell.test < 1


@pytest.mark.parametrize("quick", [True, False])
def test_ours_and_the_curve_learn_around_the_rate_of_compress_for_so_many_numbers(quick, run):
    for cell in run(methods=("ours", "classical-curve"), budgets=(600,), quick=quick, epochs=2).cells:
        times = cell.lr / own_rate(cell.numbers)
        assert any(times == pytest.approx(factor) for factor in ((1,) if quick else (1, 0.5, 2)))


def test_finished_cells_are_not_made_again(run, first):
    assert run() == first and run.laps == []
    more = run(budgets=(1000, 1200))
    assert sorted(run.laps) == sorted(QUICK)
    assert [cell for cell in more.cells if cell.budget == 1000] == list(first.cells)


def test_a_killed_run_goes_on_where_it_was(run, monkeypatch):
    def die(scene, plan):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(small_dense, "METHOD", replace(small_dense.METHOD, start=die))
        with pytest.raises(KeyboardInterrupt):
            run()
    run()
    assert run.laps == ["small-dense"]


@pytest.mark.parametrize("ending", ["*.json", "*.bin"])
def test_damaged_cells_are_made_again(run, first, tmp_path, ending):
    damaged = next((tmp_path / "state").rglob(f"small-dense{ending}"))
    damaged.write_bytes(damaged.read_bytes()[:-5])
    again = run()
    assert run.laps == ["small-dense"]
    assert "is damaged and is made again" in " ".join(run.logged)
    assert [cell.test for cell in again.cells] == [cell.test for cell in first.cells]


def test_other_settings_and_data_have_other_cells(run, first, few_digits, tmp_path):
    other = dict(np.load(few_digits))
    other["y_test"] = other["y_test"][::-1]
    np.savez(tmp_path / "other.npz", **other)
    run(source=str(tmp_path / "other.npz"))
    assert sorted(run.laps) == sorted(QUICK)
    assert len(list((tmp_path / "state").iterdir())) == 2


def test_another_way_of_training_has_other_cells(run, first, monkeypatch):
    monkeypatch.setattr(identity, "TRAINING", identity.TRAINING + 1)
    run()
    assert sorted(run.laps) == sorted(QUICK)


def test_a_cell_that_was_begun_on_another_machine_begins_anew(run, monkeypatch):
    real, asked = cells.make, []

    def begun_elsewhere(work, recovery, *others):
        asked.append(work.name)
        if len(asked) == 1:
            recovery.path.write_bytes(b"")
            raise Elsewhere(f"the checkpoint '{recovery.path}' was made on another machine")
        assert not recovery.path.exists()
        return real(work, recovery, *others)

    monkeypatch.setattr(cells, "make", begun_elsewhere)
    assert run(methods=("small-dense",)).cells[0].end == DONE
    assert asked == ["small-dense"] * 2 and any("; this cell begins anew" in line for line in run.logged)


def test_each_seed_has_a_scene_of_its_own_that_is_made_once(run, monkeypatch):
    seeds, real = [], cells.scene_of

    def counted(loaded, data, fit, *others):
        seeds.append(fit.seed)
        return real(loaded, data, fit, *others)

    monkeypatch.setattr(cells, "scene_of", counted)
    found = run(methods=("hashing", "small-dense"), seeds=(0, 1))
    assert seeds == [0, 1]
    for pair in zip(found.cells[::2], found.cells[1::2], strict=True):
        assert pair[0].file_sha256 != pair[1].file_sha256


def test_cells_are_judged_on_a_module_that_was_never_trained(run, monkeypatch):
    judged, trained, real = [], [], cells.outputs_of

    def noted(module, *others):
        judged.append(module)
        return real(module, *others)

    def scene(*given):
        trained.append(real_scene(*given))
        return trained[-1]

    real_scene = cells.scene_of
    monkeypatch.setattr(cells, "outputs_of", noted)
    monkeypatch.setattr(cells, "scene_of", scene)
    assert run(methods=("hashing",)).cells[0].end == DONE
    assert judged and all(module is not trained[0].module for module in judged)


def test_rates_and_widths_are_tuned_by_validation_in_a_part_of_the_epochs(run, tmp_path):
    found = run(methods=("small-dense",), quick=False, epochs=8, seeds=(0, 1))
    assert len(run.laps) == 5 + 2
    cells = [json.loads(path.read_text()) for path in (tmp_path / "state").rglob("*-t.json")]
    assert len(cells) == 5 and all(cell["test"] is None and cell["rows"] == "" for cell in cells)
    assert sorted((cell["lr"], cell["bits"]) for cell in cells if cell["bits"] == 4) == [
        (0.01, 4),
        (0.02, 4),
        (0.05, 4),
    ]
    best = max(cells, key=lambda cell: cell["validation"])
    assert {(cell.lr, cell.bits) for cell in found.cells} == {(best["lr"], best["bits"])}


def test_controls_have_as_many_numbers_as_ours(run):
    found = run(methods=("ours", "classical-curve", "fixed-random"), budgets=(1000,))
    ours, curve, fixed = (cell.numbers for cell in found.cells)
    assert curve == ours and ours - 20 < fixed <= ours
    (alone,) = run(methods=("classical-curve",), budgets=(1000,)).cells
    assert alone.numbers == ours


def test_a_control_has_the_whole_budget_where_ours_does_not_reach(run):
    ours, curve = run(methods=("ours", "classical-curve"), budgets=(280,)).cells
    assert ours.end == UNREACHED and ours.file_bytes > 280
    assert curve.end == DONE and curve.file_bytes > 230


def test_a_first_look_takes_the_first_width_that_fits(run, monkeypatch):
    wide = replace(table.METHODS["small-dense"], widths=(16, 4))
    monkeypatch.setitem(table.METHODS, "small-dense", wide)
    small, large = run(methods=("small-dense",), budgets=(300, 1000)).cells
    assert (small.end, small.bits) == (DONE, 4) and small.file_bytes <= 300
    assert (large.end, large.bits) == (DONE, 16)


def test_a_method_that_does_not_suit_the_model_says_why(run, monkeypatch):
    monkeypatch.setattr("qtrain_cli.methods.narrow._NORMS", ())
    (cell,) = run(methods=("narrow",)).cells
    assert (cell.end, cell.note) == (UNSUITED, "a layer of the class BatchNorm2d cannot be narrowed")


def test_a_random_matrix_that_does_not_fit_in_memory_is_a_fast_one(run, monkeypatch, tmp_path):
    written = run(methods=("subspace", "classical-curve")).cells
    monkeypatch.setattr("qtrain_cli.methods.projection.MAX_MATRIX", 10)
    fast = run(methods=("subspace", "classical-curve"), state=tmp_path / "fast").cells
    assert {cell.end for cell in fast} == {DONE}
    # Its block takes some bytes of a plan.
    assert all(
        0.97 * other.numbers < cell.numbers < other.numbers for cell, other in zip(fast, written, strict=True)
    )
    assert [cell.test for cell in fast] != [cell.test for cell in written]
    assert all(cell.test > max(0.2, other.test - 0.1) for cell, other in zip(fast, written, strict=True))


def test_a_run_that_diverges_is_a_failed_cell_and_other_failures_end_the_call(run, monkeypatch):
    def diverge(*given):
        raise Diverged("the loss is no number")

    monkeypatch.setattr(cells, "make", diverge)
    found = run(methods=("quantisation",))
    assert (found.cells[0].end, found.points(1000)) == (FAILED, [])

    def fill(*given):
        raise RunFailed("'x' is not finite: no space left")

    monkeypatch.setattr(cells, "make", fill)
    with pytest.raises(RunFailed, match="no space left"):
        run(methods=("quantisation",), budgets=(1100,))


def test_a_regression_is_compared_by_its_errors(run, tmp_path):
    rows = np.random.default_rng(0).random((200, 64)).astype(np.float32)
    images, values = rows.reshape(200, 1, 8, 8), rows[:, :10]
    np.savez(tmp_path / "numbers.npz", x_train=images, y_train=values, x_test=images[:50], y_test=values[:50])
    found = run(source=str(tmp_path / "numbers.npz"), teacher_any=True)
    assert found.task == "regression" and all(cell.test > 0 for cell in found.cells)
    best, second = found.points(1000)
    assert best.mean < second.mean


def test_the_code_of_the_model_is_not_written_over(run, digits, tmp_path):
    code = tmp_path / "net.py"
    code.write_text("mine")
    model = ModelSettings(digits / "digits_cnn_module.pt", arch=f"{code}:Net")
    with pytest.raises(UsageError, match="is also an input"):
        compare.run(replace(run.make(markdown=code, force=True), model=model), print)
    assert code.read_text() == "mine"


def test_a_model_that_draws_is_taught_by_the_same_draws_however_much_was_done(run, tmp_path):
    (tmp_path / "net.py").write_text(DRAWING)
    weights = {"body.weight": torch.eye(10, 64), "body.bias": torch.zeros(10)}
    torch.save(weights, tmp_path / "net.pt")
    model = ModelSettings(tmp_path / "net.pt", arch=f"{tmp_path / 'net.py'}:Net")
    given = replace(run.make(methods=("quantisation",), teacher_any=True), model=model)
    first = compare.run(given, print)
    np.random.seed(5), torch.manual_seed(5)
    assert compare.run(given, print).teacher == first.teacher


@pytest.mark.parametrize("name", ["markdown", "plot"])
def test_outputs_that_could_not_be_written_are_refused_before_anything_is_trained(run, tmp_path, name):
    there = tmp_path / "a.png"
    there.write_text("mine")
    with pytest.raises(UsageError, match=r"the output '.*a\.png' exists"):
        run(**{name: there})
    assert run.laps == [] and there.read_text() == "mine"
    run(**{name: there}, force=True)


def test_a_missing_matplotlib_is_noticed_before_anything_is_trained(run, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match="--plot needs the package matplotlib"):
        run(plot=tmp_path / "a.png")
    assert run.laps == []


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"methods": ("pruned",)}, UsageError, "the method 'pruned' does not exist"),
        ({"plot": Path("a.txt")}, UsageError, "--plot 'a.txt' has no ending for pictures"),
        ({"path": Path("absent.pt")}, BadInput, "absent.pt"),
        ({"source": "absent.npz"}, BadInput, "absent.npz"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_trained(run, changes, error, said):
    with pytest.raises(error, match=said):
        run(**changes)
    assert run.laps == []


@pytest.mark.parametrize("quick", [True, False])
def test_a_start_that_is_not_spread_is_said_as_compress_says_it(quick, run):
    """Of the few layers that 325 bytes buy; of those of 700 there is nothing to be said."""
    run(budgets=(325, 700), methods=("ours",), seeds=(0, 1), epochs=2, quick=quick)
    said = [line for line in run.logged if "do not spread" in line]
    assert len(said) == 1 and said[0].startswith("325 bytes  ours: ")
    assert "add --seeded-layers" in said[0]


def test_a_start_is_said_before_what_is_still_to_be_trained(run):
    for seeds, lines in (((0,), 1), ((0, 1), 1), ((0, 1), 0)):  # the first seed is kept, then both are
        run.logged.clear()
        run(budgets=(325,), methods=("ours",), seeds=seeds, epochs=2)
        assert sum("do not spread" in line for line in run.logged) == lines == len(run.laps)


@pytest.mark.parametrize("quick", [True, False])
def test_a_start_that_compress_refuses_is_refused_before_training(quick, run, monkeypatch):
    def refused(spec, variance):
        raise BadInput(f"var(z) is {variance:.3g}", "add layers")

    monkeypatch.setattr(cells, "check_start", refused)
    with pytest.raises(BadInput, match=r"var\(z\) is \d"):
        run(methods=("ours",), epochs=2, quick=quick)
    assert run.laps == []
