"""Loading and describing honest model files: every form, every message. Hostile ones: tests/hostile."""

from __future__ import annotations

import sys
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.func import functional_call

from qtrain_cli.errors import BadInput, QtrainError, Refused, UsageError
from qtrain_cli.models import build_architecture, describe_model, load_model
from qtrain_cli.models.untrusted.storages import Storages
from qtrain_cli.settings import ModelSettings

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "samples" / "digits"
DIGITS_ARCH = f"{ROOT / 'samples' / 'digits_cnn.py'}:digits_cnn"
SHARED = ROOT.parent / "shared" / "models"
FORMS = {
    "digits_cnn.pt": ("torch", "weights-only", DIGITS_ARCH),
    "digits_cnn_module.pt": ("torch", "stock-layers", None),
    "digits_cnn.safetensors": ("safetensors", "safetensors", DIGITS_ARCH),
    "digits_cnn.pt2": ("pt2", "pt2", None),
}
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the trained models in ../shared/models")

ARCHITECTURES = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.first, self.last = nn.Linear(4, width), nn.Linear(width, 2)

    def forward(self, x):
        return self.last(self.first(x).relu())

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.b.weight = self.a.weight

class NoMeta(Small):
    def __init__(self):
        super().__init__()
        self.scale = float(torch.ones(1).sum())  # fails on the meta device

class Empty(nn.Module):
    pass

def normed():
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))

def dictionary():
    return {}

def failing():
    raise RuntimeError("first line\\nsecond line")

built = Small()
"""


@pytest.fixture
def arch(tmp_path: Path) -> str:
    """The path of a file with the architectures above, ready for a ``:Name``."""
    path = tmp_path / "architectures.py"
    path.write_text(ARCHITECTURES)
    return str(path)


def small(width: int = 8) -> OrderedDict[str, torch.Tensor]:
    shapes = {
        "first.weight": (width, 4),
        "first.bias": (width,),
        "last.weight": (2, width),
        "last.bias": (2,),
    }
    numbers = torch.Generator().manual_seed(0)
    return OrderedDict((name, torch.randn(shape, generator=numbers)) for name, shape in shapes.items())


def saved(tree: object, path: Path, **options: object) -> Path:
    torch.save(tree, path, **options)
    return path


def refusal(kind: type[QtrainError], settings: ModelSettings) -> QtrainError:
    """The error of loading; its message and advice are one line each."""
    with pytest.raises(kind) as caught:
        load_model(settings)
    assert "\n" not in caught.value.message + caught.value.advice
    return caught.value


# -- the shipped sample, in every form -------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMS)
def test_the_sample_loads_in_every_form(name: str) -> None:
    form, trust, arch = FORMS[name]
    loaded = load_model(ModelSettings(DIGITS / name, arch=arch))
    assert (loaded.name, loaded.format, loaded.trust) == (name, form, trust)
    assert len(loaded.sha256) == 64 and not loaded.module.training
    assert sum(parameter.numel() for parameter in loaded.module.parameters()) == 3730


def test_all_forms_of_the_sample_give_identical_outputs() -> None:
    inputs = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    modules = [load_model(ModelSettings(DIGITS / name, arch=row[2])).module for name, row in FORMS.items()]
    names = [list(dict(module.named_parameters())) for module in modules]
    outputs = [module(inputs) for module in modules]
    assert all(name == names[0] for name in names)
    assert all(torch.equal(output, outputs[0]) for output in outputs)


def test_the_sample_classifies_its_test_rows() -> None:
    with np.load(DIGITS / "digits.npz") as data:
        inputs, labels = torch.from_numpy(data["x_test"]).float() / 255, torch.from_numpy(data["y_test"])
    model = load_model(ModelSettings(DIGITS / "digits_cnn_module.pt")).module
    assert (model(inputs).argmax(1) == labels).float().mean() > 0.98


@pytest.mark.parametrize("name", FORMS)
def test_weights_can_be_replaced_and_differentiated(name: str) -> None:
    module = load_model(ModelSettings(DIGITS / name, arch=FORMS[name][2])).module
    weights = {key: value.detach().clone().requires_grad_() for key, value in module.named_parameters()}
    functional_call(module, weights, (torch.rand(3, 1, 8, 8),)).sum().backward()
    assert all(weight.grad is not None for weight in weights.values())


def test_a_graph_has_one_mode() -> None:
    module = load_model(ModelSettings(DIGITS / "digits_cnn.pt2")).module
    inputs = torch.rand(7, 1, 8, 8)
    before, statistics = module(inputs), module.get_buffer("norm1.running_mean").clone()
    assert torch.equal(module.train()(inputs), before) and not module.eval().training
    assert torch.equal(module.get_buffer("norm1.running_mean"), statistics)


def test_a_graph_exported_in_training_mode_is_bad_input(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    torch.export.save(torch.export.export(model, (torch.zeros(2, 4),)), tmp_path / "training.pt2")
    error = refusal(BadInput, ModelSettings(tmp_path / "training.pt2"))
    assert "training mode" in error.message and "dropout" in error.message and "model.eval()" in error.advice


class Attention(nn.Module):
    """A graph with symbolic arithmetic, reshapes, softmax, a text argument and a keyword argument."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attend = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.embed = nn.Conv1d(3, 8, 3, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.embed(x).transpose(1, 2))
        y = nn.functional.gelu(self.attend(y, y, y, need_weights=False)[0], approximate="tanh")
        return torch.einsum("nlc,nlc->nc", y, y) / (x.shape[2] // 2 + 1)


def test_a_graph_with_symbolic_sizes_is_not_suspect(tmp_path: Path) -> None:
    model = Attention().eval()
    dynamic = ({0: torch.export.Dim("batch"), 2: torch.export.Dim("length", min=8, max=64)},)
    program = torch.export.export(model, (torch.rand(2, 3, 16),), dynamic_shapes=dynamic)
    torch.export.save(program, tmp_path / "attention.pt2")
    loaded = load_model(ModelSettings(tmp_path / "attention.pt2"))
    inputs = torch.rand(3, 3, 20)
    assert loaded.trust == "pt2"
    assert torch.allclose(loaded.module(inputs), model(inputs), atol=1e-6)


# -- checkpoints -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3, "best": torch.tensor(0.5)},
        lambda state: {"checkpoint": {"model": state}},
        lambda state: {"net": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {f"_orig_mod.module.{name}": value for name, value in state.items()},
        lambda state: {"state_dict": {f"model.{name}": value for name, value in state.items()}},
        lambda state: {"state_dict": state, "ema_state_dict": {k: v + 1 for k, v in state.items()}},
    ],
)
def test_checkpoints_and_prefixes(tmp_path: Path, arch: str, wrap: object, legacy: bool) -> None:
    path = saved(wrap(small()), tmp_path / "c.bin", _use_new_zipfile_serialization=not legacy)
    loaded = load_model(ModelSettings(path, arch=f"{arch}:Small"))
    assert loaded.format == ("torch-legacy" if legacy else "torch")
    assert all(torch.equal(loaded.module.state_dict()[name], value) for name, value in small().items())


def test_a_checkpoint_with_optimizer_numpy_and_arguments(tmp_path: Path, arch: str) -> None:
    from argparse import Namespace

    model = nn.Linear(4, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.rand(3, 4)).sum().backward()
    optimizer.step()
    side = {"optimizer": optimizer.state_dict(), "best": np.float64(0.5), "args": Namespace(lr=0.1)}
    path = saved({"model": small(), **side}, tmp_path / "c.pth")
    assert load_model(ModelSettings(path, arch=f"{arch}:Small")).trust == "weights-only"


def test_weights_picks_an_entry(tmp_path: Path, arch: str) -> None:
    other = {name: value + 1 for name, value in small().items()}
    path = saved({"teacher": {"best": small()}, "student": other}, tmp_path / "two.pt")
    loaded = load_model(ModelSettings(path, arch=f"{arch}:Small", weights="teacher.best"))
    assert torch.equal(loaded.module.state_dict()["last.bias"], small()["last.bias"])
    ambiguous = refusal(BadInput, ModelSettings(path, arch=f"{arch}:Small"))
    assert "teacher.best, student" in ambiguous.message and "--weights" in ambiguous.advice
    wrong = refusal(BadInput, ModelSettings(path, arch=f"{arch}:Small", weights="studnt"))
    assert "teacher.best, student" in wrong.message and wrong.advice == "did you mean 'student'?"


def test_a_file_without_weights_says_what_it_holds(tmp_path: Path) -> None:
    error = refusal(BadInput, ModelSettings(saved({"epoch": 1, "loss": 0.5}, tmp_path / "x.pt")))
    assert "the keys epoch, loss" in error.message


def test_options_that_a_file_has_no_use_for(tmp_path: Path) -> None:
    assert "--arch" in refusal(UsageError, ModelSettings(DIGITS / "digits_cnn.pt2", arch=DIGITS_ARCH)).message
    weights = ModelSettings(DIGITS / "digits_cnn.safetensors", arch=DIGITS_ARCH, weights="x")
    assert "--weights" in refusal(UsageError, weights).message
    flat = ModelSettings(DIGITS / "digits_cnn.pt", arch=DIGITS_ARCH, weights="x")
    assert "no named sets" in refusal(BadInput, flat).message


# -- fitting to an architecture --------------------------------------------------------------------------


def test_the_whole_difference_is_one_message(
    tmp_path: Path, arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = small(width=6)
    state["extra"] = state.pop("last.bias")
    path = saved(state, tmp_path / "m.pt")
    devices = _devices_read(monkeypatch)
    message = refusal(BadInput, ModelSettings(path, arch=f"{arch}:Small")).message
    assert "1 missing (last.bias)" in message and "1 unexpected (extra)" in message
    assert "3 of another shape (first.weight is [6, 4] in the file and [8, 4] in the model" in message
    assert "first.bias is [6] in the file" in message and "last.weight is [2, 6] in the file" in message
    assert devices == ["meta"], "no tensor may be read before the shapes are known to fit"


def _devices_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    devices: list[str] = []
    make = Storages.__init__

    def recording(self: Storages, archive: object, size: int, device: str) -> None:
        devices.append(device)
        make(self, archive, size, device)

    monkeypatch.setattr(Storages, "__init__", recording)
    return devices


def test_integers_do_not_become_weights(tmp_path: Path, arch: str) -> None:
    path = saved({name: value.to(torch.int8) for name, value in small().items()}, tmp_path / "q.pt")
    message = refusal(BadInput, ModelSettings(path, arch=f"{arch}:Small")).message
    assert "4 of another kind (first.weight is torch.int8 in the file and torch.float32" in message


def test_arch_args_reach_the_constructor(tmp_path: Path, arch: str) -> None:
    settings = ModelSettings(saved(small(5), tmp_path / "m.pt"), arch=f"{arch}:Small", arch_args={"width": 5})
    assert load_model(settings).module.first.weight.shape == (5, 4)


def test_an_architecture_that_fails_on_meta_is_built_on_the_cpu(tmp_path: Path, arch: str) -> None:
    settings = ModelSettings(saved(small(), tmp_path / "m.pt"), arch=f"{arch}:NoMeta")
    assert torch.equal(load_model(settings).module.last.bias, small()["last.bias"])


def test_a_tied_tensor_is_filled_and_stays_tied(tmp_path: Path, arch: str) -> None:
    save_file({"b.weight": torch.eye(3)}, tmp_path / "tied.safetensors")
    module = load_model(ModelSettings(tmp_path / "tied.safetensors", arch=f"{arch}:Tied")).module
    assert module.a.weight is module.b.weight and torch.equal(module.a.weight, torch.eye(3))


def test_tied_tensors_that_differ_are_bad_input(tmp_path: Path, arch: str) -> None:
    save_file({"a.weight": torch.eye(3), "b.weight": torch.ones(3, 3)}, tmp_path / "tied.safetensors")
    error = refusal(BadInput, ModelSettings(tmp_path / "tied.safetensors", arch=f"{arch}:Tied"))
    assert error.message == "a.weight, b.weight are one tensor in the model and differ in the file"


def test_old_files_lack_the_batch_counter(tmp_path: Path, arch: str) -> None:
    state = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).state_dict()
    del state["1.num_batches_tracked"]
    assert load_model(ModelSettings(saved(dict(state), tmp_path / "o.pt"), arch=f"{arch}:normed"))


def test_half_precision_is_read_into_the_architectures_dtype(tmp_path: Path, arch: str) -> None:
    save_file({name: value.half() for name, value in small().items()}, tmp_path / "h.safetensors")
    module = load_model(ModelSettings(tmp_path / "h.safetensors", arch=f"{arch}:Small")).module
    assert module.first.weight.dtype == torch.float32


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, arch: str, value: float) -> None:
    state = small()
    state["last.weight"][1, 2] = value
    error = refusal(BadInput, ModelSettings(saved(state, tmp_path / "n.pt"), arch=f"{arch}:Small"))
    assert "'last.weight'" in error.message and "not finite" in error.message


def test_a_model_without_parameters(tmp_path: Path) -> None:
    error = refusal(BadInput, ModelSettings(saved(nn.Sequential(nn.ReLU()), tmp_path / "e.pt")))
    assert "no parameters" in error.message


# -- --arch ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message", "advice"),
    [
        ("Smal", "has no 'Smal'", "did you mean 'Small'?"),
        ("built", "is no class and no function", "name what builds the model"),
        ("dictionary", "returns a dict, not a torch.nn.Module", ""),
        ("failing", "cannot be built: RuntimeError: first line", "--arch-args"),
    ],
)
def test_names_in_an_architecture_file(arch: str, name: str, message: str, advice: str) -> None:
    with pytest.raises(BadInput) as caught:
        build_architecture(f"{arch}:{name}", {})
    assert message in caught.value.message and advice in caught.value.advice
    assert "second line" not in caught.value.message


def test_a_wrong_argument_of_the_constructor(arch: str) -> None:
    with pytest.raises(BadInput, match=r"TypeError.*unexpected keyword argument 'depth'"):
        build_architecture(f"{arch}:Small", {"depth": 2})


def test_architecture_files_and_modules_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_package")
    with pytest.raises(BadInput, match=r"running '.*broken.py' failed: ModuleNotFoundError"):
        build_architecture(f"{tmp_path / 'broken.py'}:Net", {})
    with pytest.raises(BadInput, match=r"the file '.*none.py' does not exist"):
        build_architecture(f"{tmp_path / 'none.py'}:Net", {})
    with pytest.raises(BadInput, match=r"importing 'no_such_package\.net' failed"):
        build_architecture("no_such_package.net:Net", {})


def test_a_file_of_a_package_may_import_relatively(tmp_path: Path) -> None:
    package = tmp_path / "package_of_this_test"
    (package / "sub").mkdir(parents=True)
    for folder in (package, package / "sub"):
        (folder / "__init__.py").write_text("")
    (package / "blocks.py").write_text("from torch import nn\nlinear = nn.Linear")
    (package / "sub" / "net.py").write_text("from ..blocks import linear\ndef net(): return linear(2, 3)")
    assert build_architecture(f"{package / 'sub' / 'net.py'}:net", {}).weight.shape == (3, 2)
    (tmp_path / "loose_of_this_test").mkdir()
    loose = tmp_path / "loose_of_this_test" / "net.py"
    loose.write_text("from ...above import linear")
    with pytest.raises(BadInput, match="imports relatively, and as 'loose_of_this_test") as caught:
        build_architecture(f"{loose}:net", {})
    assert "--arch package.module:Class" in caught.value.advice


def test_an_architecture_of_a_package_and_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(build_architecture("torch.nn:Linear", {"in_features": 2, "out_features": 3}), nn.Linear)
    (tmp_path / "nets_of_this_test.py").write_text(ARCHITECTURES)
    monkeypatch.chdir(tmp_path)
    assert build_architecture("nets_of_this_test:Small", {})


def test_building_is_repeatable_and_leaves_the_random_state(arch: str) -> None:
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first, second = (build_architecture(f"{arch}:Small", {}) for _ in range(2))
    assert torch.equal(first.first.weight, second.first.weight)
    assert torch.equal(torch.get_rng_state(), state)


# -- whole modules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (nn.LSTM(3, 4, num_layers=2, bidirectional=True), torch.rand(5, 2, 3)),
        (nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True), torch.rand(2, 3, 8)),
        (nn.Sequential(nn.Embedding(9, 4), nn.LayerNorm(4), nn.Flatten()), torch.tensor([[1, 2]])),
        (nn.Sequential(nn.ConvTranspose2d(1, 2, 3), nn.PReLU(), nn.GroupNorm(1, 2)), torch.rand(1, 1, 4, 4)),
    ],
)
def test_stock_layers_come_back_as_they_were(tmp_path: Path, model: nn.Module, inputs: torch.Tensor) -> None:
    loaded = load_model(ModelSettings(saved(model.eval(), tmp_path / "m.pt")))
    expected, actual = model(inputs), loaded.module(inputs)
    expected, actual = (out[0] if isinstance(out, tuple) else out for out in (expected, actual))
    assert loaded.trust == "stock-layers" and torch.equal(actual, expected)
    assert {type(layer) for layer in loaded.module.modules()} == {type(layer) for layer in model.modules()}


def test_shared_layers_stay_shared_and_frozen_ones_frozen(tmp_path: Path) -> None:
    layer = nn.Linear(3, 3)
    layer.bias.requires_grad_(False)
    module = load_model(ModelSettings(saved(nn.Sequential(layer, layer), tmp_path / "m.pt"))).module
    assert module[0] is module[1] and not module[0].bias.requires_grad and module[0].weight.requires_grad


def test_a_pickled_module_may_be_put_into_another_architecture(tmp_path: Path, arch: str) -> None:
    model = nn.Sequential(OrderedDict(first=nn.Linear(4, 8), last=nn.Linear(8, 2)))
    loaded = load_model(ModelSettings(saved({"model": model}, tmp_path / "m.pt"), arch=f"{arch}:Small"))
    assert type(loaded.module).__name__ == "Small" and torch.equal(loaded.module.last.bias, model.last.bias)


class OwnLayer(nn.Linear):
    """A class that is not PyTorch's own."""


def test_other_pickles_load_only_when_trusted(tmp_path: Path) -> None:
    path = saved(nn.Sequential(OwnLayer(2, 2)), tmp_path / "own.pt")
    error = refusal(Refused, ModelSettings(path))
    assert error.exit_code == 4 and "OwnLayer" in error.message and "--trust-pickle" in error.advice
    loaded = load_model(ModelSettings(path, trust_pickle=True))
    assert loaded.trust == "trusted-pickle" and type(loaded.module[0]) is OwnLayer


def test_trust_is_not_used_where_it_is_not_needed() -> None:
    settings = ModelSettings(DIGITS / "digits_cnn_module.pt", trust_pickle=True)
    assert load_model(settings).trust == "stock-layers"


# -- files that are none ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"epoch,loss\n1,0.5\n", "is not a model file"),
        (b"PK\x03\x04" + bytes(100), "damaged or truncated zip archive"),
        (b"\x80\x02}q\x00(X\x05\x00", "damaged or cut off"),
        (b"\x40\x00\x00\x00\x00\x00\x00\x00{" + bytes(20), "damaged safetensors file"),
    ],
)
def test_files_that_are_no_models(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "model.pt"
    if content is not None:
        path.write_bytes(content)
    assert message in refusal(BadInput, ModelSettings(path)).message
    with pytest.raises(BadInput):
        describe_model(path)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    assert "is a folder" in refusal(BadInput, ModelSettings(tmp_path)).message


def test_npz_and_torchscript_are_named(tmp_path: Path) -> None:
    error = refusal(BadInput, ModelSettings(DIGITS / "digits.npz"))
    assert error.message == "'digits.npz' is a NumPy archive of arrays" and "torch.save" in error.advice
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "s.pt"))
    assert "TorchScript" in refusal(BadInput, ModelSettings(tmp_path / "s.pt")).message


def test_weights_without_an_architecture() -> None:
    error = refusal(BadInput, ModelSettings(DIGITS / "digits_cnn.pt"))
    assert error.message == "'digits_cnn.pt' holds weights only (11 tensors, 3,755 numbers), no architecture"
    assert "--arch file.py:Class" in error.advice


# -- describe --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_described_alike(name: str) -> None:
    facts = describe_model(DIGITS / name)
    (entry,) = facts["entries"]
    shapes = {row["name"]: (row["shape"], row["dtype"]) for row in entry["tensors"]}
    assert facts["format"] == FORMS[name][0] and facts["needs_arch"] == (FORMS[name][2] is not None)
    assert (facts["needs_trust"], facts["reasons"]) == (False, [])
    assert (entry["tensor_count"], entry["numbers"]) == (11, 3755)
    assert shapes["conv1.weight"] == ([12, 1, 3, 3], "float32")
    assert shapes["norm1.num_batches_tracked"] == ([], "int64")


def test_every_set_of_weights_is_described(tmp_path: Path) -> None:
    path = saved({"teacher": {"best": small()}, "student": small(6)}, tmp_path / "two.pt")
    assert [entry["path"] for entry in describe_model(path)["entries"]] == ["teacher.best", "student"]


def test_an_untrusted_pickle_is_described_without_running_it(tmp_path: Path) -> None:
    path = saved({"state_dict": small(), "layer": OwnLayer(2, 2)}, tmp_path / "own.pt")
    facts = describe_model(path)
    assert facts["needs_trust"] and facts["reasons"] == [f"{OwnLayer.__module__}.OwnLayer"]
    assert facts["entries"][0]["path"] == "state_dict" and facts["entries"][0]["tensor_count"] == 4


# -- models this project did not write -------------------------------------------------------------------


@needs_shared
@pytest.mark.parametrize(
    ("file", "arch", "form", "weights"),
    [
        ("resnet20-12fca82f.th", "resnet20_cifar10.py:ResNet20", "torch-legacy", 269_722),
        ("mnist_cnn_6690.pt", "mnist_cnn.py:MnistCNN", "torch", 6_690),
    ],
)
def test_models_of_others(file: str, arch: str, form: str, weights: int) -> None:
    loaded = load_model(ModelSettings(SHARED / file, arch=str(ROOT / "samples" / arch)))
    assert (loaded.format, loaded.trust) == (form, "weights-only")
    assert sum(parameter.numel() for parameter in loaded.module.parameters()) == weights


class FakeLibrary:
    """What `timm` and `torchvision.models` have for models by name."""

    def __init__(self):
        self.asked = []

    def is_model(self, name):
        return name == "resnet18"

    def list_models(self):
        return ["resnet18"]

    def create_model(self, name, **options):
        self.asked.append((name, options))
        return nn.Linear(2, options.get("num_classes", 1))

    get_model = create_model


@pytest.mark.parametrize(
    ("library", "option"), [("timm", {"pretrained": False}), ("torchvision", {"weights": None})]
)
def test_models_of_libraries_go_by_their_own_names(library, option, monkeypatch) -> None:
    fake = FakeLibrary()
    monkeypatch.setitem(
        sys.modules, library, SimpleNamespace(models=fake) if library == "torchvision" else fake
    )
    assert build_architecture(f"{library}:resnet18", {"num_classes": 3}).out_features == 3
    assert {name for name, _ in fake.asked} == {"resnet18"}
    assert all(options == option | {"num_classes": 3} for _, options in fake.asked)


def test_a_library_that_is_not_there_is_said(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BadInput, match="needs the package timm") as caught:
        build_architecture("timm:resnet18", {})
    assert caught.value.advice == "pip install 'qtrain[timm]'"


class Hooked(nn.Linear):
    """Its own code fails while it takes tensors."""

    def __init__(self):
        super().__init__(2, 3)
        self.register_load_state_dict_pre_hook(self._fail)

    def _fail(self, module, state, *others):
        raise AttributeError("hooks may raise anything")


def test_an_architectures_own_hook_that_fails_does_not_make_the_file_hostile(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "hooked", SimpleNamespace(Hooked=Hooked))
    for name, save in (("a.pt", torch.save), ("a.safetensors", save_file)):
        save(nn.Linear(2, 3).state_dict(), tmp_path / name)
        with pytest.raises(BadInput, match="does not take the file's tensors: hooks may raise anything"):
            load_model(ModelSettings(tmp_path / name, arch="hooked:Hooked"))


class OnShapesOnly(nn.Linear):
    """Its constructor fails wherever there are numbers."""

    def __init__(self, built):
        super().__init__(2, 3)
        built.append(self.weight.device.type)
        if not self.weight.is_meta:
            raise ValueError("no room")


def test_a_constructor_that_fails_is_not_asked_again(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "narrow", SimpleNamespace(OnShapesOnly=OnShapesOnly))
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "a.pt")
    built: list = []
    with pytest.raises(BadInput, match="cannot be built: ValueError: no room"):
        load_model(ModelSettings(tmp_path / "a.pt", arch="narrow:OnShapesOnly", arch_args={"built": built}))
    assert built == ["meta", "cpu"]


def test_a_difference_is_found_without_building_the_model_in_memory(tmp_path, monkeypatch):
    """Names and shapes are known without its numbers, which may be gigabytes."""
    from qtrain_cli.models import matching

    monkeypatch.setattr(matching, "construct", lambda *given: pytest.fail("was built"))
    (tmp_path / "net.py").write_text("from torch import nn\ndef net():\n    return nn.Linear(3, 4)\n")
    torch.save({"other": torch.zeros(4, 3)}, tmp_path / "m.pt")
    with pytest.raises(BadInput, match="does not fit --arch"):
        load_model(ModelSettings(tmp_path / "m.pt", arch=f"{tmp_path / 'net.py'}:net"))
