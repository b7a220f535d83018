"""`export`: the road every format goes, from the ending to the rename."""

import hashlib
import subprocess
import sys
import textwrap

import pytest
import safetensors.torch
import torch
from torch import nn

from qtrain_cli import exports
from qtrain_cli.errors import BadInput, RunFailed, UsageError
from qtrain_cli.exports import EXPORTERS, export

QUICK = [".safetensors", ".pt", ".pt2"]  # .onnx takes seconds; it has its own tests
EXAMPLE = torch.ones(1, 4)


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Dropout(0.5)).train()


def fails_on_write(monkeypatch, ending: str, error: Exception) -> None:
    def raising(source, path):
        path.write_bytes(b"half a file")
        raise error

    monkeypatch.setitem(EXPORTERS, ending, exports.Exporter(ending, "broken", raising))


def test_every_ending_of_the_contract_has_a_row():
    assert list(EXPORTERS) == [".safetensors", ".pt", ".pt2", ".onnx"]
    assert all(row.ending == ending for ending, row in EXPORTERS.items())


@pytest.mark.parametrize("ending", QUICK)
def test_the_record_describes_the_file(tmp_path, ending):
    path = tmp_path / f"model{ending}"
    module = net()
    record = export(module.state_dict(), path, module=module, example=EXAMPLE)
    written = path.read_bytes()
    assert (record.path, record.bytes, record.tensors) == (path, len(written), 7)
    assert record.sha256 == hashlib.sha256(written).hexdigest()
    assert record.format == EXPORTERS[ending].format
    assert "every tensor bit for bit" in record.checked and record.note == ""
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", QUICK)
def test_the_same_weights_give_the_same_bytes(tmp_path, ending):
    first, second = tmp_path / f"first{ending}", tmp_path / f"second{ending}"
    for path in (first, second):
        export(net().state_dict(), path, module=net(), example=EXAMPLE)
    assert first.read_bytes() == second.read_bytes()
    export(net(1).state_dict(), second, module=net(), example=EXAMPLE, force=True)
    assert first.read_bytes() != second.read_bytes()


def test_the_module_is_not_changed(tmp_path):
    module, before = net(0), net(0).state_dict()
    export(net(1).state_dict(), tmp_path / "model.pt2", module=module, example=EXAMPLE)
    assert module.training and all(part.training for part in module.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize("ending", QUICK)
def test_an_existing_file_is_kept_unless_forced(tmp_path, ending):
    path = tmp_path / f"model{ending}"
    path.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists") as caught:
        export(net().state_dict(), path, module=net(), example=EXAMPLE)
    assert caught.value.exit_code == 2 and "--force" in caught.value.advice
    assert path.read_bytes() == b"mine"
    export(net().state_dict(), path, module=net(), example=EXAMPLE, force=True)
    assert path.read_bytes() != b"mine"


def test_an_unknown_ending_names_the_known_ones(tmp_path):
    with pytest.raises(UsageError) as caught:
        export(net().state_dict(), tmp_path / "model.safetensor")
    assert caught.value.message == (
        "'model.safetensor' has the ending '.safetensor'; allowed: .safetensors, .pt, .pt2, .onnx"
    )
    assert caught.value.advice == "did you mean '.safetensors'?"
    assert list(tmp_path.iterdir()) == []


def test_the_ending_may_be_in_capitals(tmp_path):
    export(net().state_dict(), tmp_path / "MODEL.PT")
    assert len(torch.load(tmp_path / "MODEL.PT", weights_only=True)) == 7


@pytest.mark.parametrize("ending", [".pt2", ".onnx"])
def test_a_graph_needs_the_module_and_an_example(tmp_path, ending):
    with pytest.raises(UsageError, match="holds the model's graph") as caught:
        export(net().state_dict(), tmp_path / f"model{ending}")
    assert "--model" in caught.value.advice and "--arch" in caught.value.advice
    with pytest.raises(UsageError, match="the shape of the model's input"):
        export(net().state_dict(), tmp_path / f"model{ending}", module=net())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BadInput, match=f"needs the package {package}, which is not installed") as caught:
        export(net().state_dict(), tmp_path / "model.onnx", module=net(), example=EXAMPLE)
    assert caught.value.advice == "pip install 'qtrain[onnx]'"


def test_what_a_library_raises_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    fails_on_write(monkeypatch, ".pt", ZeroDivisionError("first line\nsecond line"))
    with pytest.raises(RunFailed) as caught:
        export(net().state_dict(), tmp_path / "model.pt")
    assert caught.value.message == "the .pt export failed: first line"
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_failed_check_keeps_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    export(net().state_dict(), path)
    before = path.read_bytes()
    fails_on_write(monkeypatch, ".pt", RunFailed("the file differs"))
    with pytest.raises(RunFailed, match="the file differs"):
        export(net(1).state_dict(), path, force=True)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_reported_as_such(tmp_path, monkeypatch):
    fails_on_write(monkeypatch, ".pt", OSError(28, "No space left on device"))
    with pytest.raises(RunFailed, match="No space left on device"):
        export(net().state_dict(), tmp_path / "model.pt")
    assert list(tmp_path.iterdir()) == []


def test_nothing_reaches_stdout_or_stderr(tmp_path):
    script = textwrap.dedent("""
        import sys, logging, warnings
        from pathlib import Path
        import torch
        from qtrain_cli.exports import export
        class Loud(torch.nn.Linear):
            def forward(self, x):
                print("tracing")
                warnings.warn("tracing")
                return super().forward(x)
        module = Loud(4, 2)
        warnings.simplefilter("error")
        record = export(module.state_dict(), Path(sys.argv[1]), module=module, example=torch.ones(1, 4))
        assert logging.root.manager.disable == 0
        print(record.format)
    """)
    command = [sys.executable, "-c", script, str(tmp_path / "model.onnx")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ONNX\n", "")


def test_half_precision_weights_keep_their_dtype(tmp_path):
    state = {name: t.half() if t.is_floating_point() else t for name, t in net().state_dict().items()}
    for ending in QUICK:
        export(state, tmp_path / f"model{ending}", module=net(), example=EXAMPLE)
    assert safetensors.torch.load_file(tmp_path / "model.safetensors")["0.weight"].dtype == torch.float16
    program = torch.export.load(tmp_path / "model.pt2")
    assert program.module()(EXAMPLE.half()).dtype == torch.float16
