"""`qtrain compress` from model and data to the file: what it measures, what it keeps, what it refuses."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import qtrain_cli
from qtrain_cli.artifact.description import read_record
from qtrain_cli.artifact.numbers import read_artifact
from qtrain_cli.commands import export, verify
from qtrain_cli.errors import BadInput, Refused, RunFailed, UsageError
from qtrain_cli.methods.generator.angles import angle_codes, movement, start_angles
from qtrain_cli.methods.generator.plan import ANGLES
from qtrain_cli.models import mixed
from qtrain_cli.runs import compress, fresh, making, materials
from qtrain_cli.settings import ExportSettings, VerifySettings, own_rate
from qtrain_cli.tasks.objective import Objective

ARCHITECTURE = """
import torch
from torch import nn

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 1)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.out(torch.tanh(self.b(torch.tanh(self.a(x)))))

"""


@pytest.fixture
def regression(tmp_path):
    """Settings for rows of a smooth function and a network, in a file, that was trained on them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 8, generator=generator)
    y = torch.tanh(x[:, 0] - x[:, 1]) + 0.1 * torch.randn(400, generator=generator)
    folder = tmp_path / "regression"
    folder.mkdir()
    np.savez(folder / "rows.npz", x_train=x[:300], y_train=y[:300], x_test=x[300:], y_test=y[300:])
    (folder / "nets.py").write_text(ARCHITECTURE)
    names: dict = {}
    exec(ARCHITECTURE, names)
    torch.manual_seed(0)
    module = names["Tied"]()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        (module(x[:300])[:, 0] - y[:300]).square().mean().backward()
        optimizer.step()
    torch.save(module.state_dict(), folder / "tied.pt")
    return {
        "path": folder / "tied.pt", "arch": f"{folder / 'nets.py'}:Tied", "source": str(folder / "rows.npz"),
        "epochs": 40, "batch_size": 64,
    }  # fmt: skip


def accuracy(module, x, y):
    with torch.no_grad():
        outputs = module.eval()(torch.from_numpy(x).float() / 255)
    return float((outputs.argmax(1) == torch.from_numpy(y)).double().mean())


# --- figures ---------------------------------------------------------------------------------------------


def test_every_figure_is_that_of_the_weights_in_the_file(run, digits, tmp_path):
    done = run(layers=24, epochs=6, lr=0.03)
    loaded = qtrain_cli.load(tmp_path / "net.qtrain")
    teacher = torch.load(digits / "digits_cnn_module.pt", weights_only=False)
    student = loaded.put_into(torch.load(digits / "digits_cnn_module.pt", weights_only=False))
    data = np.load(digits / "digits.npz")
    scores = done.record.scores
    assert scores.test == pytest.approx(accuracy(student, data["x_test"], data["y_test"]), abs=1e-6)
    assert scores.teacher == pytest.approx(accuracy(teacher, data["x_test"], data["y_test"]), abs=1e-6)
    rows = {name: len(data["x_train"]) * share for name, share in (("train", 0.9), ("validation", 0.1))}
    whole = (scores.train * round(rows["train"]) + scores.validation * round(rows["validation"])) / 1437
    assert whole == pytest.approx(accuracy(student, data["x_train"], data["y_train"]), abs=1e-3)
    assert scores.count == 360
    assert scores.test > 0.5
    assert verify.run(VerifySettings(tmp_path / "net.qtrain")).agreement == "exact"


def test_the_record_is_that_of_the_file_with_the_time_added(finished):
    done, path = finished().run, finished().folder / "net.qtrain"
    assert replace(done.record, seconds=None) == read_record(path)
    assert done.record.seconds > 0
    assert done.record.artifact_bytes == path.stat().st_size
    measured = done.record.measured
    assert (measured.model, measured.trust, measured.device) == (
        "digits_cnn_module.pt", "stock-layers", "cpu",
    )  # fmt: skip
    assert [path.name for path in path.parent.iterdir()] == ["net.qtrain"]
    assert done.logged == [
        "the model itself: accuracy 100.00 % (the commonest class 9.90 %) on 1,000 rows of train and"
        " validation; outputs are scores of classes; cross-entropy",
        "4 layers of 12 qubits do not spread their outcomes: var(z) is 3.63 at the start, of random states 2;"
        " add --seeded-layers 8",
        "digits_cnn_module.pt: 3,730 weights from 1 x 12 qubits x 4 layers, 50 trained numbers;"
        " 25 numbers kept",
        "data: 1,293 train, 144 validation, 360 test rows; pixels are divided by 255",
        "estimating running statistics anew",
        "they are better: validation accuracy 0.06944 -> 0.1111",
        "measuring the regenerated weights",
        "test accuracy 10.56 %, the commonest class 9.17 %",
        f"wrote '{path}'",
    ]


@pytest.mark.parametrize(("size", "bits"), [(800, 4), (1000, 8), (1400, 4)])
def test_a_file_keeps_to_its_bytes_and_its_figures_are_those_of_its_weights(
    short, digits, tmp_path, size, bits
):
    """Three epochs, of which the last runs with rounded angles; the file is near its bound, too."""
    done = short(layers=None, bytes=size, angle_bits=bits, epochs=3)
    path = tmp_path / "net.qtrain"
    assert size - 100 <= path.stat().st_size == done.record.artifact_bytes <= size
    student = qtrain_cli.load(path).put_into(torch.load(digits / "digits_cnn_module.pt", weights_only=False))
    data = np.load(digits / "digits.npz")
    found = accuracy(student, data["x_test"], data["y_test"])
    assert done.record.scores.test == pytest.approx(found, abs=1e-6)
    assert verify.run(VerifySettings(path)).agreement == "exact"


def test_a_regression_with_tied_weights(run, regression, tmp_path):
    done = run(**regression, layers=10, circuits=1)
    document = done.record.to_json()
    data = np.load(regression["source"])
    constant = float(((data["y_test"] - data["y_train"].mean()) ** 2).mean())
    assert document["test_error"] < 0.6 * constant
    assert document["teacher_test_error"] < 0.2 * constant
    assert document["test_error_low"] < document["test_error"] < document["test_error_high"]
    assert document["test_loss"] == pytest.approx(document["test_error"])
    assert "test_accuracy" not in document
    state = qtrain_cli.load(tmp_path / "net.qtrain").state_dict()
    assert state["a.weight"] is state["b.weight"]
    assert document["weights"] == 64 + 8 + 8 + 9


@pytest.mark.parametrize(
    "form",
    [
        {"path": "digits_cnn.pt", "arch": "digits_cnn.py:digits_cnn"},
        {"path": "digits_cnn.safetensors", "arch": "digits_cnn.py:digits_cnn"},
        {"path": "digits_cnn.pt2"},
    ],
)
def test_other_forms_of_the_model(short, digits, form):
    arch = form.get("arch")
    done = short(path=digits / form["path"], arch=arch and str(digits.parent / arch), epochs=1)
    assert done.record.scores.teacher == pytest.approx(0.9944444)


@pytest.mark.parametrize(
    "generator",
    [
        {"ansatz": "efficient-su2", "entangler": "cz-ring", "mapping": "mlp"},
        {"ansatz": "strongly-entangling", "final_rotation": True},
        {"ansatz": "u3-cu3", "mapping": "quantum-train", "layers": 2},
        {"circuits": 4, "mapping": "linear-per-tensor", "angle_bits": 32},
        {"layers": None, "bytes": 1700, "angle_bits": 5},
        {"layers": None, "ratio": 20.0, "ignore": ("conv*.bias",)},
    ],
)
def test_other_generators(short, generator, tmp_path):
    done = short(epochs=1, **generator)
    assert verify.run(VerifySettings(tmp_path / "net.qtrain")).agreement == "exact"
    assert done.record.artifact_bytes <= generator.get("bytes", 10**6)
    assert done.record.parameter_ratio >= generator.get("ratio", 0)


@pytest.mark.parametrize("better", [True, False])
def test_running_statistics_anew_are_taken_only_where_they_are_better(
    run, digits, tmp_path, monkeypatch, better
):
    real = Objective.improves
    # Whether a score beats none yet is the fit's own question.
    answer = lambda self, score, best: real(self, score, None) if best is None else better  # noqa: E731
    monkeypatch.setattr(Objective, "improves", answer)
    run(epochs=1)
    seen = int(read_artifact(tmp_path / "net.qtrain").numbers.kept["norm1.num_batches_tracked"])
    before = int(torch.load(digits / "digits_cnn.pt")["norm1.num_batches_tracked"])
    batches = 1293 // 128
    assert seen == (batches if better else before + batches)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16, torch.float64])
def test_models_of_other_precisions_keep_theirs(short, digits, tmp_path, precision):
    module = torch.load(digits / "digits_cnn_module.pt", weights_only=False).to(precision)
    torch.save(module, tmp_path / "other.pt")
    done = short(path=tmp_path / "other.pt", epochs=1)
    state = qtrain_cli.load(tmp_path / "net.qtrain").state_dict()
    assert {tensor.dtype for tensor in state.values()} == {precision, torch.int64}
    assert done.record.scores.teacher > 0.98


def test_ignored_tensors_are_stored_as_they_are(short, digits, tmp_path):
    short(epochs=1, ignore=("fc", "conv1.bias"))
    state = qtrain_cli.load(tmp_path / "net.qtrain").state_dict()
    own = torch.load(digits / "digits_cnn.pt")
    kept = [name for name in own if name.startswith("fc") or name == "conv1.bias"]
    assert len(kept) == 3 and all(torch.equal(state[name], own[name]) for name in kept)
    assert not torch.equal(state["norm1.running_mean"], own["norm1.running_mean"])
    assert not torch.equal(state["conv2.weight"], own["conv2.weight"])


def test_the_test_rows_are_used_once_and_at_the_end(run, digits):
    test_rows = {row.tobytes() for row in np.load(digits / "digits.npz")["x_test"].astype(np.float32) / 255}
    calls = []

    def note(module, inputs):
        if type(module) is nn.Sequential:
            found = {row.tobytes() for row in inputs[0].numpy()}
            calls.append((module.training, len(found & test_rows), len(found)))

    handle = nn.modules.module.register_module_forward_pre_hook(note)
    try:
        run(epochs=1)
    finally:
        handle.remove()
    last = max(number for number, (training, _, _) in enumerate(calls) if training)
    in_train = len(test_rows & {row.tobytes() for row in train_rows(digits)})
    assert in_train == 0, "the sample's test rows also stand in train: this test shows nothing"
    assert not any(shared for _, shared, _ in calls[: last + 1])
    assert [shared for _, shared, _ in calls[last + 1 :] if shared] == [len(test_rows)] * 2


def train_rows(digits):
    return np.load(digits / "digits.npz")["x_train"].astype(np.float32) / 255


# --- the same again --------------------------------------------------------------------------------------


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(run, finished, tmp_path):
    for name, seed in {"b": 0, "c": 1}.items():
        run(out=tmp_path / name, seed=seed)
    files = finished().folder / "net.qtrain", tmp_path / "b", tmp_path / "c"
    a, b, c = (path.read_bytes() for path in files)
    assert a == b != c


# --- files -----------------------------------------------------------------------------------------------


def test_a_large_fresh_module_is_made_again_after_training(short, tmp_path, monkeypatch):
    made, of_files = [], materials.fresh_module

    def counted(*given):
        made.append(given)
        return of_files(*given)

    monkeypatch.setattr(materials, "fresh_module", counted)
    short(out=tmp_path / "kept.qtrain", epochs=1)
    assert len(made) == 1
    monkeypatch.setattr(fresh, "KEPT_NUMBERS", 0)
    short(out=tmp_path / "made.qtrain", epochs=1)
    assert len(made) == 3
    assert (tmp_path / "kept.qtrain").read_bytes() == (tmp_path / "made.qtrain").read_bytes()


@pytest.fixture
def loads_nothing(monkeypatch):
    monkeypatch.setattr(materials, "load_model", lambda settings: pytest.fail("the model was loaded"))


def test_an_existing_output_is_refused_before_anything_is_read(run, tmp_path, loads_nothing):
    (tmp_path / "net.qtrain").write_text("mine")
    with pytest.raises(UsageError, match=r"net.qtrain' exists") as caught:
        run()
    assert "--force" in caught.value.advice
    assert (tmp_path / "net.qtrain").read_text() == "mine"


def test_the_state_of_an_interrupted_run_is_refused_before_anything_is_read(run, tmp_path, loads_nothing):
    (tmp_path / "net.qtrain.ckpt").write_text("precious")
    with pytest.raises(UsageError, match=r"net.qtrain.ckpt' holds the state of an interrupted run") as caught:
        run()
    assert caught.value.advice == "go on from it with --resume, or begin anew with --force"
    assert (tmp_path / "net.qtrain.ckpt").read_text() == "precious"


def test_force_replaces_both(run, finished, tmp_path):
    for name in ("net.qtrain", "net.qtrain.ckpt"):
        (tmp_path / name).write_text("old")
    run(force=True)
    assert (tmp_path / "net.qtrain").read_bytes() == (finished().folder / "net.qtrain").read_bytes()
    assert not (tmp_path / "net.qtrain.ckpt").exists()


def test_a_damaged_output_is_replaced_by_force_beside_resume_too(short, tmp_path):
    (tmp_path / "net.qtrain").write_bytes(b"damaged")
    with pytest.raises(Refused, match="damaged or hostile") as caught:
        short(resume=True)
    assert "--force" in caught.value.advice
    short(resume=True, force=True, epochs=1)
    assert read_record(tmp_path / "net.qtrain")


@pytest.mark.parametrize("option", ["path", "source"])
@pytest.mark.parametrize("what", ["out", "checkpoint"])
def test_an_input_is_never_written_over_even_by_force(run, tmp_path, loads_nothing, option, what):
    mine = tmp_path / ("mine.qtrain" if what == "out" else "mine.qtrain.ckpt")
    mine.write_text("mine")
    with pytest.raises(UsageError, match="is also an input"):
        run(**{option: mine if option == "path" else str(mine)}, out=tmp_path / "mine.qtrain", force=True)
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("option", ["arch", "source"])
def test_the_code_of_an_input_is_never_written_over_either(run, tmp_path, loads_nothing, option):
    (tmp_path / "code.py").write_text("mine")
    with pytest.raises(UsageError, match="is also an input"):
        run(**{option: f"{tmp_path}/code.py:name"}, out=tmp_path / "code.py", force=True)
    assert (tmp_path / "code.py").read_text() == "mine"


@pytest.mark.parametrize("flags", [{}, {"force": True}, {"resume": True}])
@pytest.mark.parametrize(("out", "message"), [("absent/net", "does not exist"), (".", "is a folder")])
def test_an_output_that_cannot_be_is_refused_before_anything_is_read(
    run, tmp_path, loads_nothing, flags, out, message
):
    with pytest.raises(BadInput, match=message):
        run(out=tmp_path / out, **flags)


def test_a_full_disk_at_the_end_keeps_the_state(short, tmp_path, monkeypatch):
    def full(path, artifact, force):
        raise RunFailed(f"'{path}' could not be written: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(compress, "write_artifact", full)
        with pytest.raises(RunFailed):
            short(epochs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["net.qtrain.ckpt"]
    assert short(resume=True, epochs=1).record


# --- what does not fit -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"source": "absent.npz"}, BadInput, "there is no such file"),
        ({"path": Path("absent.pt")}, BadInput, "absent.pt"),
        ({"device": "cuda:99"}, UsageError, "--device 'cuda:99' is not there"),
        ({"ansatz": "none"}, UsageError, "--ansatz 'none' does not exist"),
        ({"targets": ("nothing*",)}, UsageError, r"--targets 'nothing\*' matches no parameter"),
        ({"layers": None, "params": 3}, BadInput, "does not buy one layer"),
        ({"mean": (0.5, 0.5), "std": (0.5, 0.5)}, UsageError, "2 numbers and the inputs 1 channels"),
        ({"mean": (0.5,), "std": (1e-45,)}, BadInput, "outputs are not finite on this data"),
    ],
)
def test_what_cannot_be_done_is_refused_before_training(run, tmp_path, changes, kind, message):
    def train(progress):
        pytest.fail("it trained")

    with pytest.raises(kind, match=message):
        run(show=train, **changes)
    assert not list(tmp_path.iterdir())


def test_data_with_more_classes_than_the_model(run, digits, tmp_path):
    data = dict(np.load(digits / "digits.npz"))
    data["y_train"][0] = 10
    np.savez(tmp_path / "more.npz", **data)
    with pytest.raises(BadInput, match=r"outputs have the shape \[10\]; the data has 11 classes"):
        run(source=str(tmp_path / "more.npz"))


def test_data_of_another_shape(run, digits, tmp_path):
    data = dict(np.load(digits / "digits.npz"))
    for name in ("x_train", "x_test"):
        data[name] = data[name].repeat(3, axis=1)
    np.savez(tmp_path / "rgb.npz", **data)
    with pytest.raises(BadInput, match=r"does not take 2 inputs of shape \[3, 8, 8\] \(RuntimeError"):
        run(source=str(tmp_path / "rgb.npz"))


def test_files_get_the_usual_permissions(finished):
    umask = os.umask(0)
    os.umask(umask)
    assert (finished().folder / "net.qtrain").stat().st_mode & 0o777 == 0o666 & ~umask


def test_the_learning_rate_follows_from_the_numbers_unless_it_is_given(short, tmp_path):
    """For so few numbers it is the largest rate; a given one is used as it is."""
    files = {}
    for name, changes in {
        "own": {"own_lr": True},
        "same": {"lr": own_rate(1)},
        "other": {"lr": 0.01},
    }.items():
        short(out=tmp_path / name, epochs=1, **changes)
        files[name] = read_artifact(tmp_path / name).numbers.groups[ANGLES].codes
    assert torch.equal(files["own"], files["same"]) and not torch.equal(files["own"], files["other"])


def test_the_file_has_the_step_that_validation_chose(short, tmp_path, monkeypatch):
    """Another step would round the angles in another way than the one that they were trained for."""
    found, train = [], making.train
    monkeypatch.setattr(making, "train", lambda *given: found.append(train(*given)) or found[-1])
    short(angle_bits=3, epochs=10, lr=0.02)
    stored = read_artifact(tmp_path / "net.qtrain").numbers.groups[ANGLES]
    step = float(found[0].state[f"step.{ANGLES}"])
    assert stored.step == step > 0
    spec = read_artifact(tmp_path / "net.qtrain").description.spec
    moved = movement(found[0].parameters[ANGLES], start_angles(spec.circuit, spec.angles.start_seed))
    assert torch.equal(stored.codes, angle_codes(moved, step))


class Reader(nn.Module):
    """Reads eight tokens of twelve kinds: an embedding, attention, normalised features, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 8)
        self.attend = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, tokens):
        return self.head(self.attend(self.embed(tokens)).mean(1))


def test_a_model_of_tokens(run, tmp_path):
    """Whole numbers stay whole for a model that looks them up, and its exports are run with whole numbers."""
    random = np.random.default_rng(0)
    tokens = random.integers(0, 12, (600, 8))
    labels = ((tokens < 4).sum(1) > 2).astype(np.int64)
    source = tmp_path / "tokens.npz"
    np.savez(source, x_train=tokens[:400], y_train=labels[:400], x_test=tokens[400:], y_test=labels[400:])
    torch.manual_seed(0)
    model = Reader()
    torch.save(model.state_dict(), tmp_path / "reader.pt")
    given = {"path": tmp_path / "reader.pt", "arch": f"{__file__}:Reader"}
    done = run(**given, source=str(source), layers=20, epochs=40, distill=0.0, lr=0.02)
    assert read_artifact(tmp_path / "net.qtrain").description.example.dtype == "I64"
    assert done.record.scores.test > 0.75 > 0.1 + labels[400:].mean()
    settings = ExportSettings(tmp_path / "net.qtrain", tmp_path / "net.pt2", arch=given["arch"])
    assert "torch.export.load" in export.run(settings).checked


def test_rows_that_were_skipped_are_in_the_record_and_on_the_page(cli, tmp_path, monkeypatch):
    """A table whose first column tells the class, with one damaged line."""
    import json

    import torch
    from torch import nn

    monkeypatch.chdir(tmp_path)
    module = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[-4.0, 0.0], [4.0, 0.0]]))
        module[0].bias.copy_(torch.tensor([2.0, -2.0]))
    torch.save(module, "m.pt")
    rows = [f"{n % 2},{n},{n % 2},{'test' if n % 4 == 0 or n % 4 == 1 else 'train'}" for n in range(80)]
    rows[41] = "x,3,1,train"
    (tmp_path / "all.csv").write_text("a,b,label,split\n" + "\n".join(rows) + "\n")
    words = ("compress", "m.pt", "--data", "all.csv", "--layers", "1", "--epochs", "1", "-o", "m.qtrain")
    refused = cli(*words)
    assert refused.code == 2 and "line 43, column 'a': 'x' is no finite number" in refused.err
    done = cli(*words, "--skip-damaged", "--json")
    assert json.loads(done.out)["skipped_rows"] == 1
    assert "1 damaged row is left out, first: all.csv, line 43" in " ".join(done.err.split())
    assert json.loads(cli("report", "m.qtrain", "--json").out)["skipped_rows"] == 1
    assert "Damaged rows left out" in cli("report", "m.qtrain").out


def test_a_processor_that_is_slow_in_the_precision_is_named_and_the_run_is_the_same(short, monkeypatch):
    first, second = {torch.bfloat16: 1.0, torch.float32: 1.0}, {torch.bfloat16: 9.0, torch.float32: 1.0}
    found = []
    for seconds in (first, second):
        monkeypatch.setattr(mixed, "_seconds", seconds.get)
        found.append(short(precision="bf16", epochs=1, force=True))
    said = [line for line in found[1].logged if "--precision bf16 is slow" in line]
    assert len(said) == 1 and "9 times" in said[0]
    assert not any("is slow" in line for line in found[0].logged)
    assert found[0].record.artifact_sha256 == found[1].record.artifact_sha256
