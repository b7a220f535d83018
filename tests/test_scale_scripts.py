"""What the scripts of large models compute beside the tool's own figures."""

import numpy as np
import pytest
import torch
from benchmarks import large, losses, plans, scale

from qtrain_cli.targets.entries import GENERATED, LayoutSpec, TensorEntry


@pytest.mark.parametrize("weights", [1e6, 1e7, 1e8])
def test_the_wide_network_has_about_so_many_weights(weights):
    width = scale.width_for(weights)
    found = (scale.INPUTS + 1) * width + (width + 1) * width + (width + 1) * scale.CLASSES
    assert found == pytest.approx(weights, rel=1e-3)


def test_a_row_takes_the_models_part_from_what_is_left():
    plan = {
        "weights": 10**6, "circuits": 31, "qubits": 15, "layers": 21, "seeded_layers": 0,
        "trained_numbers": 9767, "seconds_per_step": 0.5, "memory_bytes": 5e8,
    }  # fmt: skip
    spent = {"step": 4.0, "circuit": 1.0, "mapping": 0.5, "optimiser": 0.5, "step calls": 2}
    row = {
        "plan": {"record": plan}, "own": {"peak": 4e8, "step": 0.1}, "export": {"seconds": 2, "peak": 3e8},
        "fit": {"spent": spent, "peak": 412e6},
    }  # fmt: skip
    cells = scale.line(row).split(" | ")
    assert cells[4:9] == ["2.000", "0.500", "0.250", "1.000", "0.250"]
    assert cells[13] == "+3.0"


def test_the_former_plan_spread_a_budget_over_shallow_circuits():
    layout = LayoutSpec((TensorEntry("w", (11_689_512,), "F32", GENERATED, 9),))
    spec = plans.former_plan(layout, 10_000)
    assert (spec.circuit.circuits, spec.circuit.layers, spec.angles.seeded) == (357, 1, 0)
    assert plans.start_of(spec)[1] > 0.85


@pytest.mark.parametrize("name", ["engine", "lightning.qubit"])
def test_both_engines_give_one_gradient(name):
    pytest.importorskip("pennylane_lightning")
    found = large.CONTENDERS[name]("real-amplitudes", 5, 3)()
    np.testing.assert_allclose(found, large.engine("real-amplitudes", 5, 3)(), atol=1e-4)


def test_texts_are_cut_into_rows_of_their_bytes_and_a_quarter_has_its_steps(tmp_path):
    (tmp_path / "train.csv").write_bytes(bytes(range(256)) * 20)
    rows = losses.texts(str(tmp_path))
    assert rows.x.shape == (80, losses.LENGTH) and rows.x[1, 0] == 64 and rows.task == "language"
    assert [len(x) for x, _ in rows.parts(20)] == [5 * 8, 16, 16]


def test_both_plans_of_a_network_learn_and_each_quarter_has_its_loss():
    torch.manual_seed(0)
    x = torch.randn(200, 6)
    rows = losses.Rows(x, (x[:, 0] > 0).long(), 4, "classification")
    found, seconds = losses.trained(lambda: torch.nn.Linear(6, 2), rows, 80, layers=3)
    assert len(found) == losses.QUARTERS and found[-1] < found[0] and seconds > 0
