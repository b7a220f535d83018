"""`qtrain export --classical`: each format read by its own library gives the recorded accuracy."""

from pathlib import Path

import numpy as np
import pytest
import torch

from qtrain_cli.commands import export
from qtrain_cli.errors import BadInput, Refused, UsageError
from qtrain_cli.files.artifact.description import read_record
from qtrain_cli.files.exports import EXPORTERS
from qtrain_cli.settings import ExportSettings, ModelSettings


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
