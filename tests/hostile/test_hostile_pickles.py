"""Small files that would take the memory or the time of whoever reads them, or show what is not theirs.

All of them are read in one process of its own, under a limit of memory and of time for each.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from qtrain_cli.errors import BadInput, QtrainError
from qtrain_cli.models import checkpoints, describe_model, graphs, load_model, tensors
from qtrain_cli.models.opened import open_model
from qtrain_cli.models.untrusted import checked_operators
from qtrain_cli.models.untrusted.archives import read_records
from qtrain_cli.models.untrusted.graph_checks import graph_problems
from qtrain_cli.settings import ModelSettings


def _maker(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickle looks classes up
    spec.loader.exec_module(module)
    return module


PICKLES, MODELS = _maker("make_pickles"), _maker("make_models")
#: What all files together may take above what PyTorch takes, in bytes; the least of the attacks takes 3 GB.
ROOM, SECONDS = 600 * 2**20, 10
CHILD = """
import json, resource, sys, time
from pathlib import Path
from qtrain_cli.errors import QtrainError
from qtrain_cli.models import describe_model, load_model
from qtrain_cli.models.opened import open_model
from qtrain_cli.models.untrusted import checked_operators
from qtrain_cli.models.untrusted.archives import read_records
from qtrain_cli.models.untrusted.graph_checks import graph_problems
from qtrain_cli.settings import ModelSettings

used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]),) * 2)
for path in map(Path, sys.argv[2:]):
    facts = {"file": path.name, "reasons": []}
    start = time.monotonic()
    try:
        facts["reasons"] = describe_model(path)["reasons"]
    except QtrainError as error:
        facts["reasons"] = [error.message]
    try:
        load_model(ModelSettings(path))
        facts["code"] = 0
    except QtrainError as error:
        facts.update(code=error.exit_code, message=error.message, advice=error.advice)
    print(json.dumps({**facts, "seconds": time.monotonic() - start}), flush=True)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What came of each file, by its name."""
    folder = tmp_path_factory.mktemp("costly")
    paths = [str(PICKLES.make(name, folder)) for name in PICKLES.COSTLY]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(ROOM), *paths]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return {facts["file"]: facts for facts in map(json.loads, ran.stdout.splitlines())}


@pytest.mark.parametrize("name", PICKLES.COSTLY)
def test_costly_files_are_refused_within_bounds(outcomes: dict[str, dict[str, Any]], name: str) -> None:
    facts = outcomes[name]
    assert facts["code"] == 4 and PICKLES.COSTLY[name][1] in facts["message"]
    assert "\n" not in facts["message"] and len(facts["message"]) <= 500
    assert facts["reasons"], "inspect says it too"
    assert facts["seconds"] < SECONDS


def test_an_ordered_dictionary_with_items_of_its_own(tmp_path: Path) -> None:
    state = torch.nn.Linear(2, 2).state_dict()
    torch.save(PICKLES.WithItems(state), tmp_path / "items.pt")
    arguments = {"in_features": 2, "out_features": 2}
    settings = ModelSettings(tmp_path / "items.pt", arch="torch.nn:Linear", arch_args=arguments)
    assert torch.equal(load_model(settings).module.weight, state["weight"])


def test_tensors_without_numbers_are_no_fault_of_ours(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2, device="meta").state_dict(), tmp_path / "meta.pt")
    assert describe_model(tmp_path / "meta.pt")["entries"][0]["tensor_count"] == 2
    arguments = {"in_features": 2, "out_features": 2}
    with pytest.raises(QtrainError):
        load_model(ModelSettings(tmp_path / "meta.pt", arch="torch.nn:Linear", arch_args=arguments))


def test_shared_attributes_are_gone_through_once(tmp_path: Path) -> None:
    note: Any = [1]
    for _ in range(60):
        note = [note, note]
    torch.save(MODELS.with_attribute("note", note), tmp_path / "note.pt")
    assert load_model(ModelSettings(tmp_path / "note.pt")).trust == "stock-layers"


def _swapping(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, swap: Any) -> None:
    """Just before `place.name` runs, the file is another."""
    original = getattr(place, name)

    def swapped(*arguments: Any, **options: Any) -> Any:
        swap()
        return original(*arguments, **options)

    monkeypatch.setattr(place, name, swapped)


@pytest.mark.parametrize("after", ["graph_problems", "clean_archive"])
def test_a_graph_that_is_swapped_between_check_and_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    path, hostile = tmp_path / "model.pt2", MODELS.make("graph_pickled_weight.pt2", tmp_path)
    MODELS.make_graph(path)
    _swapping(monkeypatch, graphs, after, lambda: path.write_bytes(b"") or hostile.replace(path))
    with pytest.raises(BadInput, match="changed while it was read"):  # the same file was emptied
        load_model(ModelSettings(path))
    assert not (tmp_path / MODELS.CANARY).exists()


def test_a_graph_that_is_replaced_is_the_one_that_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, hostile = tmp_path / "model.pt2", MODELS.make("graph_pickled_weight.pt2", tmp_path)
    MODELS.make_graph(path)
    _swapping(monkeypatch, graphs, "graph_problems", lambda: hostile.replace(path))
    loaded = load_model(ModelSettings(path))
    assert loaded.trust == "pt2" and not (tmp_path / MODELS.CANARY).exists()
    expected = MODELS.network()(MODELS.EXAMPLE[0] + 1)
    assert torch.equal(loaded.module(MODELS.EXAMPLE[0] + 1), expected)


@pytest.mark.parametrize("ending", ["pt", "th", "safetensors"])
def test_weights_that_are_replaced_are_those_that_were_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    from safetensors.torch import save_file

    path, model = tmp_path / f"model.{ending}", torch.nn.Linear(2, 3)
    hostile = MODELS.make("checkpoint.pt", tmp_path)
    if ending == "safetensors":
        save_file(model.state_dict(), path)
    else:
        torch.save(model.state_dict(), path, _use_new_zipfile_serialization=ending == "pt")
    place = tensors if ending == "safetensors" else checkpoints
    _swapping(monkeypatch, place, "fit_to_architecture", lambda: hostile.replace(path))
    arguments = {"in_features": 2, "out_features": 3}
    loaded = load_model(ModelSettings(path, arch="torch.nn:Linear", arch_args=arguments))
    assert torch.equal(loaded.module.weight, model.weight) and not (tmp_path / MODELS.CANARY).exists()


def _typical() -> dict[str, tuple[torch.nn.Module, tuple[int, ...]]]:
    """Networks as people export them, each with the shape of its input."""
    nn = torch.nn
    block = [nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)]
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
    image, row, words = (2, 3, 8, 8), (2, 8), (2, 6, 8)
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)]
    return {
        "convolutions": (nn.Sequential(*block, nn.MaxPool2d(2), nn.Dropout(), *end), image),
        "separable": (
            nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.Hardswish(True), nn.ReLU6()),
            image,
        ),
        "normed": (nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(2, 8), nn.SiLU(inplace=True)), image),
        "styled": (nn.Sequential(nn.Conv2d(3, 8, 1), nn.InstanceNorm2d(8), nn.LeakyReLU(0.1, True)), image),
        "upwards": (
            nn.Sequential(nn.ConvTranspose2d(3, 4, 2, 2), nn.Upsample(None, 2), nn.ELU()),
            image,
        ),
        "shuffled": (nn.Sequential(nn.Conv2d(3, 8, 1), nn.PixelShuffle(2), nn.ZeroPad2d(1)), image),
        "waves": (nn.Sequential(nn.Conv1d(6, 4, 3, padding="same"), nn.PReLU(4), nn.AvgPool1d(2)), words),
        "volumes": (nn.Sequential(nn.Conv3d(1, 2, 2), nn.BatchNorm3d(2), nn.MaxPool3d(2)), (2, 1, 4, 4, 4)),
        "dense": (nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.GELU(), nn.Softmax(-1)), row),
        "rooted": (nn.Sequential(nn.Linear(8, 8), nn.RMSNorm(8), nn.Mish(), nn.Softplus(), nn.GLU()), row),
        "encoder": (nn.TransformerEncoder(encoder, 1, enable_nested_tensor=False), words),
        "attention": (MODELS.Attention(), words),
        "lstm": (MODELS.Recurrent(nn.LSTM(8, 4, 2, batch_first=True, bidirectional=True)), words),
        "projected": (MODELS.Recurrent(nn.LSTM(8, 4, batch_first=True, proj_size=2)), words),
        "gru": (MODELS.Recurrent(nn.GRU(8, 4, batch_first=True)), words),
        "words": (nn.Sequential(nn.Embedding(9, 8), nn.Flatten(1), nn.Tanh()), (2, 6)),
    }


@pytest.mark.parametrize("name", _typical())
def test_the_operators_of_ordinary_networks_are_on_the_list(tmp_path: Path, name: str) -> None:
    module, shape = _typical()[name]
    inputs = torch.zeros(shape, dtype=torch.long) if name == "words" else torch.rand(shape)
    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(module.eval(), (inputs,)), path)
    with open_model(path) as file:
        assert graph_problems(read_records(file), file.size) == []
    if name in (
        "encoder",
        "attention",
        "lstm",
        "projected",
    ):  # whose kernels are exchanged
        assert torch.allclose(load_model(ModelSettings(path)).module(inputs), module(inputs), atol=1e-6)


def test_attention_needs_a_value_for_each_key() -> None:
    query, keys, values = torch.ones(1, 2, 4, 8), torch.ones(1, 2, 400, 8), torch.ones(1, 2, 4, 8)
    with pytest.raises(ValueError, match="needed: a value for each key"):
        checked_operators.checked_attention(query, keys, values)


@pytest.mark.parametrize("change", [{"states": 3}, {"width": 2}, {"units": 0}, {"biases": 2}])
def test_an_lstm_needs_tensors_of_its_sizes(change: dict[str, int]) -> None:
    units, width = change.get("units", 5), change.get("width", 4)
    states = [torch.zeros(1, 2, units), torch.zeros(1, change.get("states", 2), units)]
    biases = [torch.ones(change.get("biases", 4 * units))] * 2
    weights = [torch.ones(4 * units, width), torch.ones(4 * units, units), *biases]
    with pytest.raises(ValueError, match="tensors of other sizes"):
        checked_operators.checked_lstm(torch.ones(2, 3, 4), states, weights, True, 1, 0.0, False, False, True)


def test_sizes_that_are_no_numbers(tmp_path: Path) -> None:
    sizes = [{"as_int": float("nan")}]
    edit = MODELS.edited(lambda d: d["config"]["first.bias"]["tensor_meta"].update(sizes=sizes))
    MODELS.rewrite(tmp_path / "nan.pt2", {"data/weights/model_weights_config.json": edit})
    for read in (describe_model, lambda path: load_model(ModelSettings(path))):
        with pytest.raises(BadInput, match="it holds the number NaN"):
            read(tmp_path / "nan.pt2")
