"""Each format read by plain PyTorch or onnxruntime, and each seen to fail when the file differs."""

import io
import types
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors
import safetensors.torch
import torch
from torch import nn

from qtrain_cli.errors import RunFailed
from qtrain_cli.exports import export


class Conv(nn.Module):
    """Convolution, BatchNorm with real statistics, linear: (k, 1, 8, 8) -> (k, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


class Tied(nn.Module):
    """Two layers with one weight: (k, 4) -> (k, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


CASES = {"conv": (Conv, (2, 1, 8, 8)), "tied": (Tied, (2, 4))}


def trained(kind: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(7)
    make, shape = CASES[kind]
    module, inputs = make(), torch.randn(shape)
    with torch.no_grad():
        module.train()(3 * inputs + 1)  # moves the running statistics
    return module.eval(), inputs


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", CASES)
def test_safetensors_loads_strictly_into_the_plain_module(tmp_path, kind):
    module, inputs = trained(kind)
    export(module.state_dict(), tmp_path / "model.safetensors")
    fresh = CASES[kind][0]().eval()
    fresh.load_state_dict(safetensors.torch.load_file(tmp_path / "model.safetensors"), strict=True)
    assert torch.equal(fresh(inputs), module(inputs))
    with safetensors.safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


@pytest.mark.parametrize("kind", CASES)
def test_pt_loads_with_weights_only(tmp_path, kind):
    module, _ = trained(kind)
    export(module.state_dict(), tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=True)
    assert type(loaded) is dict and list(loaded) == list(module.state_dict())
    assert same(loaded, module.state_dict())


def test_pt_keeps_ties_and_cuts_views_loose(tmp_path):
    flat = torch.arange(100_000.0)
    weight = flat[:6].view(2, 3)
    state = {"a": weight, "b": weight, "other": flat[6:12].view(2, 3)}
    record = export(state, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=True)
    assert loaded["a"].data_ptr() == loaded["b"].data_ptr() != loaded["other"].data_ptr()
    assert record.bytes < 4_000


@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
def test_odd_tensors_come_back_bit_for_bit(tmp_path, ending):
    odd = torch.tensor([-0.0, float("nan"), float("inf"), 1e-45])
    state = {"odd": odd, "half": odd.bfloat16(), "one": torch.tensor(3), "none": torch.ones(0, 2)}
    export({**state, "turned": torch.arange(6).view(2, 3).T}, tmp_path / f"model{ending}")


@pytest.mark.parametrize("kind", CASES)
def test_pt2_runs_without_the_class_for_any_batch(tmp_path, kind):
    module, inputs = trained(kind)
    export(module.state_dict(), tmp_path / "model.pt2", module=CASES[kind][0](), example=inputs[:1])
    program = torch.export.load(tmp_path / "model.pt2")
    assert same(dict(program.state_dict), dict(module.state_dict()))
    for batch in (inputs[:1], inputs, torch.cat([inputs] * 3)):
        assert torch.allclose(program.module()(batch), module(batch), atol=1e-6)


def test_pt2_holds_no_pickle_and_no_path(tmp_path):
    module, inputs = trained("conv")
    export(module.state_dict(), tmp_path / "model.pt2", module=module, example=inputs)
    with zipfile.ZipFile(tmp_path / "model.pt2") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    assert [name for name, data in entries.items() if name.endswith((".pt", ".pkl")) and data] == []
    assert not any(b'"use_pickle": true' in data for data in entries.values())
    assert not any(b".py" in data for data in entries.values())


def test_a_graph_read_from_pt2_is_exported_again(tmp_path):
    module, inputs = trained("conv")
    export(module.state_dict(), tmp_path / "first.pt2", module=module, example=inputs)
    graph = torch.export.load(tmp_path / "first.pt2").module()
    state = {name: tensor + 1 for name, tensor in graph.state_dict().items()}
    export(state, tmp_path / "second.pt2", module=graph, example=inputs)
    module.load_state_dict(state)
    assert torch.allclose(torch.export.load(tmp_path / "second.pt2").module()(inputs), module(inputs))


def test_onnx_runs_in_onnxruntime_from_one_file(tmp_path):
    module, inputs = trained("conv")
    path = tmp_path / "model.onnx"
    record = export(module.state_dict(), path, module=Conv(), example=inputs)
    assert list(tmp_path.iterdir()) == [path]
    assert "run with onnxruntime" in record.checked and record.note == ""
    model = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert b".py" not in path.read_bytes()
    session = onnxruntime.InferenceSession(path)
    for batch in (inputs[:1], inputs, torch.cat([inputs] * 3)):
        found = torch.from_numpy(session.run(None, {"input": batch.numpy()})[0])
        assert torch.allclose(found, module(batch), atol=1e-5)


def change_first(state: dict) -> dict:
    name = next(iter(state))
    return {**state, name: state[name] + 1e-3}


def sabotaged_safetensors(monkeypatch):
    save = safetensors.torch.save
    monkeypatch.setattr(
        safetensors.torch, "save", lambda state, metadata: save(change_first(state), metadata)
    )


def sabotaged_pt(monkeypatch):
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda state, file: save(change_first(state), file))


def sabotaged_pt2(monkeypatch):
    save = torch.export.save

    def changed(program, file):
        changed_state = change_first(program.state_dict)
        program._state_dict = {name: nn.Parameter(tensor) for name, tensor in changed_state.items()}
        save(program, file)

    monkeypatch.setattr(torch.export, "save", changed)


def sabotaged_onnx(monkeypatch):
    run = torch.onnx.export

    def changed(*args, **options):
        proto = run(*args, **options).model_proto
        weight = next(tensor for tensor in proto.graph.initializer if len(tensor.dims) == 2)
        values = np.frombuffer(weight.raw_data, np.float32) * np.float32(1.01)
        weight.raw_data = values.tobytes()
        return types.SimpleNamespace(model_proto=proto)

    monkeypatch.setattr(torch.onnx, "export", changed)


@pytest.mark.parametrize(
    ("ending", "sabotage", "message"),
    [
        (".safetensors", sabotaged_safetensors, "tensor 'first.weight' of the file differs"),
        (".pt", sabotaged_pt, "tensor 'first.weight' of the file differs"),
        (".pt2", sabotaged_pt2, "tensor 'first.weight' of the file differs"),
        (".onnx", sabotaged_onnx, "onnxruntime differs from PyTorch by"),
    ],
)
def test_a_file_that_differs_never_gets_its_name(tmp_path, monkeypatch, ending, sabotage, message):
    module, inputs = trained("tied")
    sabotage(monkeypatch)
    with pytest.raises(RunFailed, match=message) as caught:
        export(module.state_dict(), tmp_path / f"model{ending}", module=module, example=inputs)
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_pt2_with_a_pickled_entry_never_gets_its_name(tmp_path, monkeypatch):
    module, inputs = trained("tied")
    save = torch.export.save

    def with_example(program, file: io.BytesIO):
        program.example_inputs = ((inputs,), {})
        save(program, file)

    monkeypatch.setattr(torch.export, "save", with_example)
    with pytest.raises(RunFailed, match=r"sample_inputs/model\.pt' of the \.pt2 archive is pickled"):
        export(module.state_dict(), tmp_path / "model.pt2", module=module, example=inputs)
    assert list(tmp_path.iterdir()) == []


def test_a_pt2_with_a_weight_marked_as_pickled_never_gets_its_name(tmp_path, monkeypatch):
    module, inputs = trained("tied")
    save = torch.export.save

    def marked(program, file: io.BytesIO):
        whole = io.BytesIO()
        save(program, whole)
        file.write(whole.getvalue().replace(b'"use_pickle": false', b'"use_pickle":  true'))

    monkeypatch.setattr(torch.export, "save", marked)
    monkeypatch.setattr(zipfile.ZipExtFile, "_update_crc", lambda self, data: None)
    with pytest.raises(RunFailed, match=r"model_weights_config\.json' of the \.pt2 archive is pickled"):
        export(module.state_dict(), tmp_path / "model.pt2", module=module, example=inputs)
    assert list(tmp_path.iterdir()) == []


def test_bfloat16_is_float32_in_onnx_and_that_is_said(tmp_path):
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).to(torch.bfloat16)
    state, example = module.state_dict(), torch.randn(2, 4)
    record = export(state, tmp_path / "m.onnx", module=module, example=example)
    assert record.note == "bfloat16 tensors are float32 in it: ONNX multiplies none of bfloat16"
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (found,) = session.run(["output"], {"input": example.numpy()})
    with torch.no_grad():
        expected = module.float()(example)
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5, rtol=1e-4)
    assert not export(state, tmp_path / "m.pt2", module=module, example=example).note
