"""`qtrain export`: each format read by its own library gives the recorded accuracy, circuits the weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from artifacts import weights_of

from qtrain_cli.artifact.description import read_record
from qtrain_cli.artifact.numbers import read_artifact
from qtrain_cli.commands import export
from qtrain_cli.errors import BadInput, Refused, RunFailed, UsageError
from qtrain_cli.exports import EXPORTERS
from qtrain_cli.methods.generator.generator import Generator
from qtrain_cli.methods.generator.plan import MAPPING
from qtrain_cli.quantum.statevector import probabilities
from qtrain_cli.runs.regenerate import stored_angles
from qtrain_cli.settings import DataSettings, ExportSettings, ModelSettings


@pytest.fixture
def model(digits):
    return ModelSettings(digits / "digits_cnn_module.pt")


@pytest.fixture
def arch(digits):
    return f"{digits.parent / 'digits_cnn.py'}:digits_cnn"


def outputs_of(path: Path, digits: Path, inputs: torch.Tensor) -> torch.Tensor:
    """What the exported file computes, by the public reader of its format."""
    if path.suffix == ".onnx":
        runtime = pytest.importorskip("onnxruntime")
        session = runtime.InferenceSession(path)
        return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: inputs.numpy()})[0])
    if path.suffix == ".pt2":
        return torch.export.load(path).module()(inputs)
    from safetensors.torch import load_file

    module = torch.load(digits / "digits_cnn_module.pt", weights_only=False)
    module.load_state_dict(load_file(path) if path.suffix == ".safetensors" else torch.load(path))
    return module.eval()(inputs)


@pytest.mark.parametrize("ending", EXPORTERS)
def test_every_format_has_the_recorded_accuracy(artifact, digits, model, tmp_path, ending):
    if ending == ".onnx":
        pytest.importorskip("onnxscript")
    out = tmp_path / f"net{ending}"
    done = export.run(ExportSettings(artifact, out, model if EXPORTERS[ending].graph else None))
    assert (done.path, done.bytes, done.tensors) == (out, out.stat().st_size, 11)
    data = np.load(digits / "digits.npz")
    with torch.no_grad():
        found = outputs_of(out, digits, torch.from_numpy(data["x_test"]).float() / 255).argmax(1)
    scores = read_record(artifact).scores
    assert float((found == torch.from_numpy(data["y_test"])).double().mean()) == pytest.approx(scores.test)
    assert scores.test > 0.5


def test_a_graph_from_the_architecture_alone(artifact, arch, model, tmp_path):
    for name, given in (("a.pt2", {"arch": arch}), ("b.pt2", {"model": model})):
        export.run(ExportSettings(artifact, tmp_path / name, **given))
    inputs = torch.rand(5, 1, 8, 8)
    one, other = (torch.export.load(tmp_path / name).module()(inputs) for name in ("a.pt2", "b.pt2"))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("ending", [".pt2", ".onnx"])
def test_a_graph_is_compared_on_the_users_rows(artifact, digits, model, tmp_path, ending):
    if ending == ".onnx":
        pytest.importorskip("onnxscript")
    data = DataSettings(str(digits / "digits.npz"))
    done = export.run(ExportSettings(artifact, tmp_path / f"net{ending}", model, data=data))
    assert "outputs on 16 rows of the data and on seeded random inputs within" in done.checked


def test_rows_of_another_shape_are_refused(artifact, model, tmp_path):
    np.savez(tmp_path / "d.npz", **{
        f"{name}_{split}": np.zeros((9, 3) if name == "x" else 9, int)
        for name in "xy" for split in ("train", "test")
    })  # fmt: skip
    with pytest.raises(
        BadInput, match=r"the data have 1 inputs of shape \[3\], and the file is for 2 inputs"
    ):
        out, data = tmp_path / "net.pt2", DataSettings(str(tmp_path / "d.npz"))
        export.run(ExportSettings(artifact, out, model, data=data))


def test_data_without_a_graph_have_no_use(artifact, digits, tmp_path):
    with pytest.raises(UsageError, match="--data is for what has a graph"):
        ExportSettings(artifact, tmp_path / "net.pt", data=DataSettings(str(digits / "digits.npz")))


@pytest.mark.parametrize(
    ("out", "message"),
    [("net.txt", "allowed: .safetensors"), ("net", "allowed: .safetensors"), ("net.pt2", "--arch")],
)
def test_what_cannot_be_written_is_a_usage_error(artifact, tmp_path, out, message):
    with pytest.raises(UsageError) as caught:
        export.run(ExportSettings(artifact, tmp_path / out))
    assert message in f"{caught.value.message} {caught.value.advice}"
    assert not list(tmp_path.iterdir())


def test_another_architecture_is_bad_input(artifact, tmp_path):
    with pytest.raises(BadInput):
        export.run(ExportSettings(artifact, tmp_path / "net.pt2", arch="torch.nn:Identity"))
    assert not list(tmp_path.iterdir())


def test_an_existing_output_is_kept_unless_forced(artifact, tmp_path):
    out = tmp_path / "net.pt"
    out.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        export.run(ExportSettings(artifact, out))
    assert out.read_text() == "mine"
    export.run(ExportSettings(artifact, out, force=True))
    assert len(torch.load(out)) == 11


def test_an_input_is_never_written_over(artifact, tmp_path, digits):
    mine = tmp_path / "net.pt"
    mine.write_bytes(artifact.read_bytes())
    with pytest.raises(UsageError, match="is also an input"):
        export.run(ExportSettings(mine, mine, force=True))
    model = tmp_path / "model.pt2"
    model.write_bytes((digits / "digits_cnn.pt2").read_bytes())
    with pytest.raises(UsageError, match="is also an input"):
        export.run(ExportSettings(artifact, model, ModelSettings(model), force=True))


def test_a_damaged_artifact_leaves_nothing(artifact, tmp_path):
    damaged = tmp_path / "net.qtrain"
    damaged.write_bytes(artifact.read_bytes()[:-1])
    with pytest.raises(Refused):
        export.run(ExportSettings(damaged, tmp_path / "net.pt"))
    assert [path.name for path in tmp_path.iterdir()] == ["net.qtrain"]


# --- circuits --------------------------------------------------------------------------------------------


def circuits_of(path: Path) -> torch.Tensor:
    """What Qiskit computes for the only circuit of a file, by the numbers that its bits make."""
    from qiskit import qasm3
    from qiskit.quantum_info import Statevector

    circuit = qasm3.load(str(path))
    circuit.remove_final_measurements()
    # The files measure wire w as bit n - 1 - w, and Qiskit counts wires from the least significant.
    return torch.as_tensor(Statevector(circuit).probabilities(range(circuit.num_qubits - 1, -1, -1)))


def test_another_tool_regenerates_the_weights_from_the_circuits(artifact, tmp_path):
    done = export.run(ExportSettings(artifact, tmp_path / "net.qasm", quantum=True))
    assert (done.circuits, done.qubits, done.gates) == (1, 12, 16 * 24)
    assert done.bytes == (tmp_path / "net.qasm").stat().st_size
    stored = read_artifact(artifact)
    spec = stored.description.spec
    z = 2**12 * circuits_of(tmp_path / "net.qasm")[: spec.layout.generated] - 1
    weights = Generator(spec, dtype=torch.float64).weights_of(z, stored.numbers.groups[MAPPING].double())
    torch.testing.assert_close(weights, weights_of(spec, stored.numbers), rtol=0, atol=1e-10)


def test_one_of_several_circuits(run, tmp_path):
    run(circuits=4, layers=2, out=tmp_path / "four.qtrain")
    whole = export.run(ExportSettings(tmp_path / "four.qtrain", tmp_path / "all.qasm", quantum=True))
    one = ExportSettings(tmp_path / "four.qtrain", tmp_path / "one.qasm", quantum=True, circuit=2)
    assert (whole.circuits, export.run(one).circuits) == (4, 1)
    stored = read_artifact(tmp_path / "four.qtrain")
    p = probabilities(stored.description.spec.circuit, stored_angles(stored.description.spec, stored.numbers))
    torch.testing.assert_close(circuits_of(tmp_path / "one.qasm"), p[2], rtol=0, atol=1e-10)
    with pytest.raises(BadInput, match="there is no circuit 4; allowed: 0 to 3"):
        export.run(replace(one, circuit=4, out=tmp_path / "no.qasm"))
    with pytest.raises(BadInput, match="there is no circuit -1"):
        export.run(replace(one, circuit=-1, out=tmp_path / "no.qasm"))
    assert not (tmp_path / "no.qasm").exists()


def test_circuits_have_one_ending(artifact, tmp_path):
    with pytest.raises(UsageError, match=r"ending '.pt'; allowed with --quantum: .qasm"):
        export.run(ExportSettings(artifact, tmp_path / "net.pt", quantum=True))
    with pytest.raises(UsageError, match=r"allowed: \.safetensors"):
        export.run(ExportSettings(artifact, tmp_path / "net.qasm"))
    assert not list(tmp_path.iterdir())


def test_a_program_that_differs_leaves_nothing(artifact, tmp_path, monkeypatch):
    right = export.qasm_text
    monkeypatch.setattr(export, "qasm_text", lambda *given: right(*given).replace("ry(", "ry(-", 1))
    with pytest.raises(RunFailed, match=r"does not hold the artifact's gates|has the line"):
        export.run(ExportSettings(artifact, tmp_path / "net.qasm", quantum=True))
    assert not list(tmp_path.iterdir())


def test_names_of_strangers_do_not_get_into_a_program(run, tmp_path, digits):
    model = tmp_path / "net\nx q0[0];.pt"
    model.write_bytes((digits / "digits_cnn_module.pt").read_bytes())
    run(path=model, layers=1, out=tmp_path / "net.qtrain")
    export.run(ExportSettings(tmp_path / "net.qtrain", tmp_path / "net.qasm", quantum=True))
    text = (tmp_path / "net.qasm").read_text()
    assert "x q0[0];" not in [line.strip() for line in text.splitlines()] and "net" not in text
