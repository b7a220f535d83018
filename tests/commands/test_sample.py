"""`qtrain sample` on the shipped digits: what shots and noise leave, repeatable cells, and refusals."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qtrain_cli.artifact.description import read_record
from qtrain_cli.commands import sample
from qtrain_cli.errors import BadInput, Refused, UsageError
from qtrain_cli.methods.generator.sampling import frequencies
from qtrain_cli.quantum.noise import Noise
from qtrain_cli.quantum.statevector import probabilities
from qtrain_cli.settings import DataSettings, ModelSettings, SampleSettings


@pytest.fixture
def settings(artifact, digits):
    """One cell of exact probabilities; `replace` makes others of it."""
    data, model = DataSettings(str(digits / "digits.npz")), ModelSettings(digits / "digits_cnn_module.pt")
    return SampleSettings(artifact, (None,), data, model=model, repeat=2, trajectories=20)


@pytest.fixture
def measure(settings):
    """``measure(**changes)``: the record of those settings, changed."""

    def call(**changes):
        return sample.run(replace(settings, **changes), lambda line: None)

    return call


def test_exact_probabilities_have_the_recorded_accuracy(measure, artifact):
    record, (cell,) = (found := measure()), found.cells
    scores = read_record(artifact).scores
    # Recorded figures have seven digits.
    assert record.exact == cell.mean == pytest.approx(scores.test) == record.recorded
    assert (record.teacher, record.count, record.same_data) == (scores.teacher, 360, True)
    assert cell.z_error < 1e-12 and cell.shot_variance == 0
    assert len(cell.figures) == 1, "without chance there is nothing to repeat"
    assert 0.5 < record.z_variance < 4


def test_shots_cost_accuracy_and_more_of_them_bring_it_back(measure):
    record = measure(shots=(100, 10**5, 10**8), repeat=4)
    few, many, most = record.cells
    assert few.mean < 0.4 < many.mean and abs(most.mean - record.exact) < 0.01
    for cell in record.cells:
        # The error of z is what multinomial counts make it: nothing is biased, nothing is counted twice.
        assert cell.z_error == pytest.approx(cell.shot_variance, rel=0.1)
        assert cell.shot_variance == pytest.approx(2**12 / cell.shots, rel=0.1)
        assert len(set(cell.figures)) > 1 or cell.mean == pytest.approx(record.exact)


def test_noise_costs_accuracy_whatever_the_shots(measure):
    levels = tuple(Noise(p) for p in (0.0, 1e-3, 0.05))
    none, some, much = measure(noises=levels, trajectories=200).cells
    assert none.mean > some.mean > much.mean and much.mean < 0.4
    assert (none.noise, some.noise, much.noise) == ("none", "depolarizing:0.001", "depolarizing:0.05")
    assert none.simulation_variance == 0 < some.simulation_variance < 0.02
    assert len(some.figures) == 2 and some.z_error > 10 * some.simulation_variance


def test_misread_bits_cost_accuracy(measure):
    none, some = measure(noises=(Noise(), Noise(readout=0.05))).cells
    assert some.mean < none.mean - 0.1 and some.z_error > 0.1


def test_a_cell_is_the_same_whatever_else_is_measured_and_changes_with_the_seed(measure):
    noise = Noise(1e-3)
    (alone,) = measure(shots=(10**4,), noises=(noise,)).cells
    beside = measure(shots=(50, 10**4, None), noises=(Noise(), noise), repeat=3).cells
    same = next(cell for cell in beside if (cell.noise, cell.shots) == (noise.name, 10**4))
    assert same.figures[:2] == alone.figures
    (other,) = measure(shots=(10**4,), noises=(noise,), seed=1).cells
    assert other.z_error != alone.z_error


def test_several_circuits_each_have_their_shots(measure, run, tmp_path):
    run(circuits=4, layers=8, out=tmp_path / "four.qtrain")
    record = measure(artifact=tmp_path / "four.qtrain", shots=(1000, None))
    shot, exact = record.cells
    assert (record.circuits, record.qubits) == (4, 10)
    assert exact.mean == pytest.approx(record.recorded)
    assert shot.z_error == pytest.approx(2**10 / 1000, rel=0.1)


def test_the_architecture_alone_is_enough(measure, digits):
    arch = f"{digits.parent / 'digits_cnn.py'}:digits_cnn"
    assert measure(model=None, arch=arch).cells == measure().cells


def test_a_picture_that_could_not_be_written_is_refused_before_anything_is_measured(
    measure, tmp_path, monkeypatch
):
    plot = tmp_path / "plot.SVG"
    plot.write_text("mine")
    monkeypatch.setattr(sample, "read_container", lambda path: pytest.fail("it was read"))
    with pytest.raises(UsageError, match="exists"):
        measure(plot=plot)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match="--plot needs the package matplotlib"):
        measure(plot=tmp_path / "new.png")
    assert [path.name for path in tmp_path.iterdir()] == ["plot.SVG"] and plot.read_text() == "mine"


def test_an_input_is_never_drawn_over(settings, tmp_path, artifact):
    mine = tmp_path / "net.png"
    mine.write_bytes(artifact.read_bytes())
    with pytest.raises(UsageError, match="is also an input"):
        sample.run(replace(settings, artifact=mine, plot=mine, force=True), lambda line: None)


# --- devices ---------------------------------------------------------------------------------------------


def test_a_device_supplies_the_frequencies(measure, monkeypatch):
    seen = []

    def stand_in(circuit, theta, device, shots, seed):
        seen.append((device, shots, seed))
        p = probabilities(circuit, theta)
        return frequencies(p, shots, np.random.default_rng(seed)) if shots else p

    monkeypatch.setattr(sample, "device_probabilities", stand_in)
    record = measure(device="default.qubit", shots=(10**5, None))
    assert record.sampler == "default.qubit"
    assert [(name, shots) for name, shots, _ in seen] == [("default.qubit", s) for s in (10**5, None)] * 2
    assert len({seed for *_, seed in seen}) == 4
    assert record.cells[0].z_error == pytest.approx(2**12 / 10**5, rel=0.1)
    assert record.cells[1].mean == record.exact


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit"])
def test_pennylanes_devices_measure_the_same_circuits(measure, device):
    record = measure(device=device, shots=(10**5, None), repeat=1)
    shot, exact = record.cells
    assert exact.mean == record.exact and exact.z_error < 1e-6
    assert shot.z_error == pytest.approx(2**12 / 10**5, rel=0.1)
    assert shot.figures == measure(device=device, shots=(10**5,), repeat=1).cells[0].figures


def test_an_unknown_device_is_refused_before_anything_is_loaded(measure):
    with pytest.raises(BadInput) as caught:
        measure(device="default.qubits", data=DataSettings("absent.npz"))
    assert caught.value.message == "PennyLane has no device 'default.qubits'"
    assert caught.value.advice == "did you mean 'default.qubit'?"


# --- refusals --------------------------------------------------------------------------------------------


def test_another_architecture_is_bad_input(measure):
    with pytest.raises(BadInput, match="the artifact does not fit the model"):
        measure(model=None, arch="torch.nn:Identity")


def test_data_that_do_not_fit_the_model_are_bad_input(measure, tmp_path):
    path, x, y = tmp_path / "data.npz", np.zeros((40, 1, 3, 3), np.float32), np.arange(40) % 10
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(BadInput, match="the model does not take 2 inputs"):
        measure(data=DataSettings(str(path)))
    np.savez(path, x_train=np.zeros((40, 1, 8, 8), np.float32), y_train=y + 5,
             x_test=np.zeros((40, 1, 8, 8), np.float32), y_test=y + 5)  # fmt: skip
    with pytest.raises(BadInput, match="the data has 15 classes"):
        measure(data=DataSettings(str(path)))


def test_other_data_are_told_apart(measure, tmp_path, digits):
    given = dict(np.load(digits / "digits.npz"))
    np.savez(
        tmp_path / "other.npz", **{**given, "x_test": given["x_test"][::-1], "y_test": given["y_test"][::-1]}
    )
    record = measure(data=DataSettings(str(tmp_path / "other.npz")))
    assert not record.same_data and record.exact == pytest.approx(record.recorded)


def test_a_damaged_artifact_is_refused(measure, tmp_path, artifact):
    damaged = tmp_path / "net.qtrain"
    damaged.write_bytes(artifact.read_bytes()[:-1])
    with pytest.raises(Refused):
        measure(artifact=damaged)
    with pytest.raises(BadInput):
        measure(artifact=Path("absent.qtrain"))


def test_a_regression_has_errors(measure, run, tmp_path):
    rows = np.random.default_rng(0).random((60, 64)).astype(np.float32)
    images, values = rows.reshape(60, 1, 8, 8), rows[:, :10]
    np.savez(tmp_path / "numbers.npz", x_train=images, y_train=values, x_test=images, y_test=values)
    source = str(tmp_path / "numbers.npz")
    run(source=source, out=tmp_path / "numbers.qtrain")
    record = measure(artifact=tmp_path / "numbers.qtrain", data=DataSettings(source), shots=(100, None))
    shot, exact = record.cells
    assert record.exact == pytest.approx(record.recorded, rel=1e-5) and shot.mean > exact.mean
    low, high = exact.test_interval
    assert low < exact.mean < high and record.to_json()["rows"][0]["test_error"] == pytest.approx(shot.mean)


def test_the_artifact_is_not_changed(measure, artifact):
    before = artifact.read_bytes()
    measure(shots=(10,))
    assert artifact.read_bytes() == before
