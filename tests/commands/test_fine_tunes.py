"""Changes to a base: from `compress --base` to a file, what it is refused by, and all ways out of it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import qtrain_cli
from qtrain_cli.artifact.container import read_container
from qtrain_cli.artifact.description import describe_container
from qtrain_cli.cli import main
from qtrain_cli.errors import BadInput, Refused, UsageError
from qtrain_cli.methods.table import serving
from qtrain_cli.report.next_steps import _finished
from qtrain_cli.runs import targeting
from qtrain_cli.targets import changes
from qtrain_cli.targets.change import Wanted
from qtrain_cli.targets.changes import lora_numbers
from qtrain_cli.targets.ground import digest_of_tensors

NET = """
import torch
from torch import nn

class Encoder(nn.Module):
    '''(N, 1, 8, 8) -> features (N, 24).'''
    def __init__(self):
        super().__init__()
        self.query, self.value = nn.Linear(64, 32), nn.Linear(32, 24)
        self.norm = nn.BatchNorm1d(32)
    def forward(self, x):
        return torch.relu(self.value(torch.relu(self.norm(self.query(x.flatten(1))))))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.classifier = Encoder(), nn.Linear(24, 10)
    def forward(self, x):
        return self.classifier(self.encoder(x))

class Thin(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.value = nn.Linear(64, 4), nn.Linear(4, 24)
    def forward(self, x):
        return torch.relu(self.value(torch.relu(self.query(x.flatten(1)))))

class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.inner, self.classifier = Encoder(), nn.Linear(24, 16), nn.Linear(16, 10)
    def forward(self, x):
        return self.classifier(torch.relu(self.inner(self.encoder(x))))
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory, digits):
    """A folder with a base that knows other digits than the fine-tune's task, and a fine-tune of it."""
    folder = tmp_path_factory.mktemp("bases")
    (folder / "net.py").write_text(NET)
    scope: dict = {}
    exec(NET, scope)
    data = np.load(digits / "digits.npz")
    x, y = torch.tensor(data["x_train"]).float() / 16, torch.tensor(data["y_train"]).long()
    torch.manual_seed(0)
    net = scope["Net"]()
    _train(net, x.flip(-1), y, 30)  # the base saw mirrored digits
    torch.save(net.encoder.state_dict(), folder / "base.pt")
    other = {name: tensor + 1e-6 for name, tensor in net.encoder.state_dict().items() if tensor.dim()}
    torch.save(net.encoder.state_dict() | other, folder / "other.pt")
    half = {name: t.half() if t.is_floating_point() else t for name, t in net.encoder.state_dict().items()}
    torch.save(half, folder / "half.pt")
    safetensors.torch.save_file(dict(reversed(net.encoder.state_dict().items())), folder / "base.safetensors")
    _train(net, x, y, 30)
    torch.save(net.state_dict(), folder / "tuned.pt")
    for name, count in (("data", len(y)), ("few", 400)):
        rows = data["x_train"][:count].astype("float32") / 16, data["y_train"][:count]
        np.savez(folder / f"{name}.npz", x_train=rows[0], y_train=rows[1],
                 x_test=data["x_test"].astype("float32") / 16, y_test=data["y_test"])  # fmt: skip
    return folder


def _train(net, x, y, steps):
    net.train()
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    net.eval()


@pytest.fixture
def shell(bench, monkeypatch, capsys):
    """``shell(*args)``: exit code, parsed stdout or its text, stderr; in the bench's folder."""
    monkeypatch.chdir(bench)

    def call(*args):
        code = main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in args and out else out, err

    return call


def _again(out):
    return (
        "--base", "base.pt", "--arch", "net.py:Encoder", "--data", "data.npz", "--layers", "6",
        "--epochs", "5", "--batch-size", "64", "--lr", "0.05", "-o", out,
    )  # fmt: skip


def compressed(shell, out, *more):
    code, record, err = shell("compress", *_again(out), "--force", "--json", *more)
    assert code == 0, err
    return record, err


@pytest.fixture(scope="module")
def made():
    """What `once` has run, by its words: the name of its file and its record."""
    return {}


@pytest.fixture
def once(shell, made):
    """``once(out, *more)``: a copy under this name of the file that these words give, and the record."""

    def call(out, *more):
        if more not in made:
            name = f"made{len(made)}.qtrain"
            made[more] = name, compressed(shell, name, *more)[0]
        name, record = made[more]
        shutil.copy(name, out)
        return record

    return call


@pytest.mark.parametrize("target", ["delta", "lora:rank=2"])
def test_a_base_learns_from_labels_alone_with_a_head_that_it_lacked(shell, bench, target):
    more = ["--targets", "query,value"] if "lora" in target else []
    record, err = compressed(shell, "own.qtrain", "--target", target, *more)
    assert "get a head for 10 classes" in err
    assert record["test_accuracy"] > 0.5 > record["trivial"] and record["teacher_test_accuracy"] is None
    assert record["target"].startswith(target) and record["base"] == "base.pt"
    state = torch.load(bench / "base.pt", weights_only=True)
    assert record["base_sha256"] == digest_of_tensors(state)
    rank = 2 if "lora" in target else 4  # beside differences the usual one
    assert record["lora_numbers"] == rank * (32 + 64 + 24 + 32) + 240
    assert record["model_bytes"] > 4 * sum(tensor.numel() for tensor in state.values())


def test_a_report_shows_the_bytes_beside_a_lora_and_a_bare_file_spends_none_on_it(shell, once, bench):
    numbers = 4 * (32 + 64 + 24 + 32) + 240
    record = once("own.qtrain", "--target", "delta")
    assert shell("report", "own.qtrain", "--json")[1]["lora_numbers"] == numbers == record["lora_numbers"]
    shown = shell("report", "own.qtrain")[1]
    assert re.search(rf"LoRA in float16, in 4 bits +{2 * numbers:,} bytes, {numbers // 2:,} bytes", shown), (
        shown
    )
    assert shell("compress", "--resume", *_again("own.qtrain"), "--target", "delta")[0] == 0
    bare, _ = compressed(shell, "bare.qtrain", "--target", "delta", "--bare", "--epochs", "1")
    assert bare["lora_numbers"] == numbers
    stored = describe_container(read_container(bench / "bare.qtrain")).change
    assert stored.numbers == 0 and stored.bare == stored
    whole = describe_container(read_container(bench / "own.qtrain")).change
    assert whole.numbers == numbers and whole.bare == stored


def test_a_model_without_matrices_has_no_lora_beside_it():
    def usual_lora(module, lacking):
        return lora_numbers(module, Wanted("delta"), lacking, ("*",), ())

    assert usual_lora(nn.Sequential(nn.BatchNorm1d(3)), frozenset()) == 0
    net = nn.Sequential(nn.Conv2d(2, 5, 3), nn.Flatten(), nn.Linear(7, 6), nn.Linear(6, 2))
    assert usual_lora(net, frozenset()) == 4 * (5 + 2 * 9 + 6 + 7)
    assert usual_lora(net, frozenset({"3.weight", "3.bias"})) == 4 * (5 + 2 * 9 + 6 + 7) + 14


def test_a_file_of_changes_is_refused_without_its_own_base(shell, once):
    once("own.qtrain")
    arch = ("--arch", "net.py:Encoder")
    code, _, err = shell("verify", "own.qtrain")
    assert code == 2 and "changes the base 'base.pt'" in err and "--base" in err
    code, found, _ = shell("verify", "own.qtrain", "--base", "base.pt", *arch, "--json")
    assert code == 0 and found["agreement"] == "exact"
    # Whatever file the same tensors lie in.
    assert shell("verify", "own.qtrain", "--base", "base.safetensors", *arch)[0] == 0
    for wrong in ("other.pt", "half.pt"):
        code, _, err = shell("verify", "own.qtrain", "--base", wrong, *arch)
        digests = [word for word in err.replace(",", " ").split() if len(word.strip(";")) == 16]
        assert code == 4 and len(digests) == 2 and digests[0] != digests[1], err
    assert shell("verify", "own.qtrain", "--base", "tuned.pt", "--arch", "net.py:Net")[0] == 4
    for args in (("export", "own.qtrain", "--classical", "-o", "x.pt"), ("report", "own.qtrain")):
        assert shell(*args)[0] == (2 if args[0] == "export" else 0)


def test_the_base_is_found_by_its_digest_among_several_places(shell, once, bench):
    once("own.qtrain")
    arch = ("--arch", "net.py:Encoder")
    places = ("--bases", "missing.pt", "--bases", "other.pt", "--bases", "half.pt")
    code, _, err = shell("verify", "own.qtrain", *arch, *places)
    assert code == 2 and "none of 3 --bases is it" in err
    assert shell("verify", "own.qtrain", *arch, *places, "--bases", "base.safetensors")[0] == 0
    config = bench / "qtrain.toml"
    lines = ['bases = ["other.pt", "base.pt"]', 'arch = "net.py:Encoder"']
    config.write_text("\n".join([*("[verify]", *lines), *("[export]", *lines)]))
    try:
        assert shell("verify", "own.qtrain")[0] == 0
        assert shell("export", "own.qtrain", "--classical", "-o", "found.safetensors")[0] == 0
        config.write_text('[verify]\nbases = "base.pt, other.pt"\nbase = 3\n')
        code, _, err = shell("verify", "own.qtrain")
        assert code == 2 and "expected" in err
        config.write_text('bases = ["other.pt", "base.safetensors"]\n')
        assert shell("verify", "own.qtrain")[0] == 0
        assert shell("export", "own.qtrain", "--classical", "-o", "found.safetensors", "--force")[0] == 0
    finally:
        config.unlink()


def test_python_finds_the_base_by_its_digest_too(once, bench):
    once("own.qtrain")
    expected = qtrain_cli.load("own.qtrain", base="base.safetensors").state_dict()
    places = ["missing.pt", "other.pt", "base.safetensors"]
    torch.save({"a.weight": torch.zeros(3, 3), "n": torch.zeros(3, dtype=torch.uint16)}, "odd.pt")
    with pytest.raises(UsageError, match="none of 3 --bases is it"):
        qtrain_cli.load("own.qtrain", bases=[*places[:2], "odd.pt"])
    one = qtrain_cli.load("own.qtrain", bases="base.safetensors").state_dict()
    assert all(torch.equal(one[name], tensor) for name, tensor in expected.items())
    with pytest.raises(UsageError, match=r"changes the base .*, which is no part of it"):
        qtrain_cli.load("own.qtrain")
    config = bench / "qtrain.toml"
    config.write_text(f"bases = {json.dumps(places)}\n")
    try:
        for found in (qtrain_cli.load("own.qtrain"), qtrain_cli.load("own.qtrain", bases=places)):
            assert all(torch.equal(found.state_dict()[name], tensor) for name, tensor in expected.items())
        with pytest.raises(UsageError):  # what is said counts, and not the file
            qtrain_cli.load("own.qtrain", bases=[])
    finally:
        config.unlink()


def test_init_writes_down_a_change_to_a_base_and_the_commands_need_no_more_words(shell, bench, monkeypatch):
    words = ("init", "--base", "base.pt", "--arch", "net.py:Encoder", "--data", "data.npz")
    (bench / "own").mkdir()
    code, found, err = shell(*words, "-o", "own/qtrain.toml", "--target", "delta:scale=0.5", "--json")
    assert code == 0 and (found["base"], found["target"]) == ("base.pt", "delta:scale=0.5"), err
    assert found["feedings"] == [] and max(row["artifact_bytes"] for row in found["budgets"]) < 65_000
    monkeypatch.chdir(bench / "own")
    tables = tomllib.loads(Path("qtrain.toml").read_text())
    assert "model" not in tables["compress"] and tables["plan"]["target"] == "delta:scale=0.5"
    code, record, err = shell("compress", "--epochs", "1", "-q", "--json")
    assert code == 0 and record["base"] == "base.pt" and record["target"] == "delta", err
    for words in (("verify",), ("export", "--classical"), ("report",), ("plan",)):
        assert shell(*words)[0] == 0, words


def test_what_is_proposed_for_a_change_has_its_base(shell, once, bench, tmp_path, monkeypatch):
    once("own.qtrain")
    shutil.copy(bench / "own.qtrain", tmp_path)
    monkeypatch.chdir(tmp_path)
    steps = [command for command, _ in _finished(Path("own.qtrain"))]
    assert "qtrain export own.qtrain --classical --base BASE -o own.safetensors" in steps
    shutil.copy(bench / "base.pt", tmp_path)
    steps = [command for command, _ in _finished(Path("own.qtrain"))]
    for step in steps:
        assert shell(*shlex.split(step)[1:])[0] == 0, step
    assert Path("own.safetensors").exists()
    text = Path("README.md").read_text()
    assert "\nqtrain verify own.qtrain --base base.pt\n" in text
    scope: dict = {}
    exec(text.split("```python\n")[1].split("```")[0], scope)
    assert len(scope["weights"]) > 1


def test_a_whole_model_has_no_use_for_a_base(shell, bench):
    code, _, err = shell(
        "compress", "tuned.pt", "--arch", "net.py:Net", "--data", "data.npz", "--layers", "2",
        "--epochs", "1", "--teacher-any", "-o", "whole.qtrain", "--force", "--quiet",
    )  # fmt: skip
    assert code == 0, err
    code, _, err = shell("verify", "whole.qtrain", "--base", "base.pt", "--arch", "net.py:Encoder")
    assert code == 2 and "--base has no use" in err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["tuned.pt", "--target", "delta"], "--target delta needs --base"),
        (["--base", "base.pt", "--target", "whole"], "--target whole has no use for --base"),
        (["--base", "base.pt", "--target", "lara"], "did you mean 'lora'"),
        (["--base", "base.pt", "--target", "lora:rnk=4"], "did you mean 'rank'"),
        (["--base", "base.pt", "--target", "lora:rank=x"], "give a number"),
        (["--base", "base.pt", "--target", "lora:rank=9999"], "allowed: 1 to 4096"),
        ([], "MODEL is missing"),
        (["--base", "base.pt", "--target", "lora", "--targets", "qeury"], "did you mean 'query'"),
    ],
)
def test_what_cannot_be_meant_is_said(shell, args, said):
    code, _, err = shell("compress", *args, "--arch", "net.py:Encoder", "--data", "data.npz", "--layers", "1")
    assert code == 2 and said in err, err


def test_a_fine_tune_teaches_and_the_base_may_stand_under_a_prefix(shell, bench, monkeypatch):
    monkeypatch.chdir(bench)
    (bench / "both.py").write_text(NET + "\nBase = Net\n")
    # Here base and fine-tune have one class; the base's own head differs in its values.
    code, record, err = shell(
        "compress", "tuned.pt", "--base", "tuned.pt", "--arch", "net.py:Net", "--data", "data.npz",
        "--layers", "2", "--epochs", "1", "-o", "same.qtrain", "--force", "--json",
    )  # fmt: skip
    assert code == 0 and record["teacher_test_accuracy"] is None, err  # it is the base itself
    scope: dict = {}
    exec(NET, scope)
    net = scope["Net"]()
    net.load_state_dict(torch.load("tuned.pt", weights_only=True))
    from qtrain_cli.models import module_in_memory
    from qtrain_cli.runs.grounds import base_of, changed_layout
    from qtrain_cli.targets.change import parse_target

    encoder = scope["Encoder"]()
    encoder.load_state_dict(torch.load("base.pt", weights_only=True))
    base = base_of(module_in_memory(encoder.eval(), "0" * 64, None))
    from dataclasses import replace

    base = replace(base, wanted=parse_target("delta"))
    layout, ground = changed_layout(net, base, ((), ()), 0)
    assert ground.change.prefix == "encoder." and ground.new == {"classifier.weight", "classifier.bias"}
    assert {entry.name for entry in layout.entries} == {name for name, _ in net.named_parameters()}
    with pytest.raises(BadInput, match="none of this model"):
        changed_layout(nn.Linear(3, 3), base, ((), ()), 0)


def test_a_fine_tune_of_another_class_is_taught_by_and_verified_with_the_bases_file_alone(shell, bench):
    """A class with a head has more tensors than the encoder's file, under a prefix."""
    code, record, err = shell(
        "compress", "tuned.pt", "--base", "base.pt", "--arch", "net.py:Net", "--data", "data.npz",
        "--layers", "6", "--epochs", "5", "-o", "net.qtrain", "--force", "--json",
    )  # fmt: skip
    assert code == 0, err
    assert record["teacher_test_accuracy"] > 0.8 and record["test_accuracy"] > 0.5 > record["trivial"]
    assert "base.pt: no class was found for it, and its tensors alone are the base" in err
    assert shell("verify", "net.qtrain", "--base", "base.pt")[0] == 0
    assert shell("verify", "net.qtrain", "--base", "base.safetensors")[0] == 0
    assert shell("verify", "net.qtrain", "--base", "half.pt")[0] == 4
    arch = ("--base", "base.pt", "--arch", "net.py:Net", "--force")
    code, _, err = shell("export", "net.qtrain", "--classical", "-o", "net.safetensors", *arch)
    assert code == 0, err
    scope: dict = {}
    exec(NET, scope)
    net = scope["Net"]()
    net.load_state_dict(safetensors.torch.load_file("net.safetensors"))
    data = np.load("data.npz")
    found = net.eval()(torch.tensor(data["x_test"])).argmax(1).numpy()
    assert (found == data["y_test"]).mean() == pytest.approx(record["test_accuracy"], abs=1e-6)
    assert shell("export", "net.qtrain", "--classical", "-o", "net.pt2", *arch)[0] == 0
    sample = ("sample", "net.qtrain", "--base", "base.pt", "--data", "data.npz", "--shots", "exact", "--json")
    assert shell(*sample)[0] == 2
    code, sampled, err = shell(*sample, "--arch", "net.py:Net")
    assert code == 0 and sampled["exact_test_accuracy"] == record["test_accuracy"], err
    assert qtrain_cli.load("net.qtrain", base=bench / "base.pt").exact


def test_a_layer_that_counts_its_calls_leaves_the_base_as_it_is(shell, bench):
    """Buffers may change in evaluation too: neither the look before training nor a step reaches the base."""
    code = (
        NET
        + """
class Counting(Encoder):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.head = nn.Linear(24, 10, bias=False)
    def forward(self, x):
        self.calls += 1
        return self.head(super().forward(x))
"""
    )
    (bench / "counting.py").write_text(code)
    scope: dict = {}
    exec(code, scope)
    torch.manual_seed(0)
    for name in ("counted", "before"):
        torch.save(scope["Counting"]().state_dict(), bench / f"{name}.pt")
    from qtrain_cli.runs import compress as runs

    seen = []
    runs_measure = runs.measure
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "measure", lambda module, state, *rest: (
            seen.append(float(state["calls"])) or runs_measure(module, state, *rest)
        ))  # fmt: skip
        code, _, err = shell(
            "compress", "counted.pt", "--base", "before.pt", "--arch", "counting.py:Counting", "--data",
            "data.npz", "--layers", "4", "--epochs", "1", "-o", "c.qtrain", "--force", "--teacher-any",
        )  # fmt: skip
    assert code == 0, err
    assert seen == [0.0]
    assert float(qtrain_cli.load("c.qtrain", base="before.pt").state_dict()["calls"]) == 0


def test_what_it_exports_is_what_it_gives(shell, bench):
    more = ("--targets", "query", "--targets", "value", "--epochs", "2")
    compressed(shell, "lora.qtrain", "--target", "lora:rank=2", *more)
    module = _encoder(bench)
    artifact = qtrain_cli.load("lora.qtrain", base=module)
    state, arch = artifact.state_dict(), ("--arch", "net.py:Encoder", "--base", "base.pt", "--force")
    assert shell("export", "lora.qtrain", "--classical", "-o", "m.safetensors", *arch)[0] == 0
    merged = safetensors.torch.load_file("m.safetensors")
    assert merged.keys() == state.keys() and all(torch.equal(merged[name], state[name]) for name in state)
    assert shell("export", "lora.qtrain", "--classical", "-o", "m.delta.safetensors", *arch)[0] == 0
    delta, base = safetensors.torch.load_file("m.delta.safetensors"), module.state_dict()
    assert set(delta) == {"query.weight", "value.weight", "head.weight"}
    assert torch.allclose(base["query.weight"] + delta["query.weight"], state["query.weight"], atol=1e-7)
    assert shell("export", "lora.qtrain", "--classical", "-o", "adapter", *arch)[0] == 0
    config = json.loads((bench / "adapter/adapter_config.json").read_text())
    found = safetensors.torch.load_file("adapter/adapter_model.safetensors")
    b, a = (found[f"base_model.model.query.lora_{factor}.weight"] for factor in "BA")
    own = base["query.weight"] + config["lora_alpha"] / config["r"] * (b @ a)
    assert torch.allclose(own, state["query.weight"], atol=1e-6) and config["target_modules"] == [
        "query",
        "value",
    ]
    head = safetensors.torch.load_file("adapter/head.safetensors")
    assert torch.equal(head["head.weight"], state["head.weight"])
    # The frozen statistics are the base's.
    assert torch.equal(state["norm.running_mean"], base["norm.running_mean"])
    code, _, err = shell("export", "lora.qtrain", "--classical", "-o", "adapter", *arch[:-1])
    assert code == 2 and "--force" in err


def test_differences_are_no_adapter(shell, once):
    once("delta.qtrain", "--target", "delta")
    args = ("--arch", "net.py:Encoder", "--base", "base.pt", "-o", "folder")
    code, _, err = shell("export", "delta.qtrain", "--classical", *args)
    assert code == 2 and "target delta" in err


def test_fine_tunes_go_on_and_off_one_base(shell, once, bench):
    record = once("one.qtrain", "--target", "delta")
    more = ("--targets", "value", "--seed", "1", "--epochs", "2")
    compressed(shell, "two.qtrain", "--target", "lora:rank=2", *more)
    module, data = _encoder(bench), np.load(bench / "data.npz")
    before, x = {n: t.clone() for n, t in module.state_dict().items()}, torch.tensor(data["x_test"])
    features = module(x)
    one, two = (qtrain_cli.load(name, base=module) for name in ("one.qtrain", "two.qtrain"))
    for artifact in (one, two, one):
        scores = artifact.apply_to(module)(x)
        assert scores.shape == (len(x), 10)
        assert all(torch.equal(module.state_dict()[n], t) for n, t in artifact.state_dict().items())
        other = two if artifact is one else one
        with pytest.raises(BadInput, match="is not that of the base"):
            other.apply_to(module)
        with pytest.raises(UsageError, match="applied to this module already"):
            artifact.apply_to(module)
        artifact.remove_from(module)
        assert torch.equal(module(x), features) and module.state_dict().keys() == before.keys()
        assert all(torch.equal(module.state_dict()[n], t) for n, t in before.items())
    found = one.apply_to(module)(x).argmax(1).numpy()
    assert (found == data["y_test"]).mean() == pytest.approx(record["test_accuracy"], abs=1e-6)
    with pytest.raises(UsageError, match="not applied"):
        two.remove_from(module)
    with pytest.raises(Refused, match="digest"):
        qtrain_cli.load("one.qtrain", base=module)  # it is no longer the base
    with pytest.raises(UsageError, match="no part of it"):
        qtrain_cli.load("one.qtrain")


def test_a_finished_run_is_known_by_its_base(shell, once):
    once("own.qtrain")
    args = (
        "--arch", "net.py:Encoder", "--data", "data.npz", "--layers", "6", "--epochs", "5",
        "--batch-size", "64", "--lr", "0.05", "-o", "own.qtrain", "--resume",
    )  # fmt: skip
    code, _, err = shell("compress", "--base", "base.pt", *args)
    assert code == 0 and "finished already" in err
    code, _, err = shell("compress", "--base", "other.pt", *args)
    assert code == 2 and "the result of another run" in err


def test_the_target_is_chosen_by_validation_where_none_is_named(shell, monkeypatch):
    """As of a transformer of over a million weights; whoever names one is not made to wait."""
    monkeypatch.setattr(changes, "MANY_WEIGHTS", 100)
    monkeypatch.setattr(targeting, "STEPS", 8)
    found = {}
    for scores in ((0.9, 0.2), (0.3, 0.4)):
        given = iter(scores)
        monkeypatch.setattr(targeting, "_score", lambda *rest, given=given: next(given))
        record, err = compressed(shell, "chosen.qtrain", "--epochs", "1")
        found[record["target"].partition(":")[0]] = err
    assert list(found) == ["delta", "lora"]
    words = "delta of biases 0.{}000, lora of rank 4 of query and value 0.{}000"
    assert (
        "target: delta of biases (validation accuracy after 8 steps: " + words.format(9, 2) in found["delta"]
    )
    assert "target: lora of rank 4 of query and value (" in found["lora"]
    monkeypatch.setattr(targeting, "_score", None)
    named = compressed(shell, "named.qtrain", "--target", "delta", "--epochs", "1")
    assert named[0]["target"] == "delta"


def test_a_candidate_that_cannot_be_trained_is_left_out(shell, monkeypatch):
    """`--ignore` names no matrix of LoRA's."""
    monkeypatch.setattr(changes, "MANY_WEIGHTS", 100)
    record, err = compressed(shell, "left.qtrain", "--ignore", "norm*", "--epochs", "1")
    assert (
        record["target"] == "delta" and "target: lora of rank 4 of query and value cannot be trained" in err
    )


def test_a_candidate_without_a_figure_is_none(shell, monkeypatch):
    """Nothing must take a figure that is not finite for a loss of 0."""
    monkeypatch.setattr(changes, "MANY_WEIGHTS", 100)
    real = targeting.make

    def lost(work, *rest):
        made = real(work, *rest)
        return replace(made, score=None) if work.scene.change.kind == "delta" else made

    monkeypatch.setattr(targeting, "make", lost)
    record, err = compressed(shell, "lost.qtrain", "--epochs", "1")
    assert record["target"].startswith("lora")
    assert "target: delta of biases cannot be trained: its validation figure is not finite" in err


def test_what_was_chosen_is_not_tried_again_by_whoever_goes_on(shell, monkeypatch, bench):
    monkeypatch.setattr(changes, "MANY_WEIGHTS", 100)
    given = iter((0.1, 0.2))
    monkeypatch.setattr(targeting, "_score", lambda *rest: next(given))
    record, _ = compressed(shell, "again.qtrain", "--epochs", "2")
    assert record["target"].startswith("lora")
    monkeypatch.setattr(targeting, "_score", None)
    again = (
        "compress", "--base", "base.pt", "--arch", "net.py:Encoder", "--data", "data.npz", "--layers", "6",
        "--epochs", "2", "--batch-size", "64", "--lr", "0.05", "-o", "again.qtrain", "--json",
    )  # fmt: skip
    code, found, err = shell(*again, "--resume")
    assert code == 0 and "nothing to do" in err and found["artifact_sha256"] == record["artifact_sha256"]


def test_a_comparison_keeps_what_was_chosen_and_passes_over_who_cannot(shell, monkeypatch, bench, tmp_path):
    monkeypatch.setattr(changes, "MANY_WEIGHTS", 100)
    given = iter((0.2, 0.1))
    monkeypatch.setattr(targeting, "_score", lambda *rest: next(given))
    torch.manual_seed(2)
    scope: dict = {}
    exec(NET, scope)
    torch.save(scope["Thin"]().state_dict(), bench / "thin.pt")
    call = ("compare", "--base", "thin.pt", "--arch", "net.py:Thin", "--data", "data.npz", "--bytes", "700",
            "--methods", "linear-probe,lora-xs", "--seeds", "1", "--quick", "--epochs", "4", "--state",
            tmp_path / "cells", "--json")  # fmt: skip
    code, found, err = shell(*call)
    assert code == 0 and "target: delta of biases (" in err
    ends = {cell["method"]: (cell["end"], cell["note"]) for cell in found["cells"]}
    assert ends["linear-probe"][0] == "done"
    assert ends["lora-xs"] == ("unsuited", "'query.weight' has 4 directions, and not 6")
    monkeypatch.setattr(targeting, "_score", None)
    code, again, _ = shell(*call)
    assert code == 0 and again["cells"] == found["cells"]


def test_a_plan_says_what_compress_will_try(shell, monkeypatch):
    monkeypatch.setattr(changes, "MANY_WEIGHTS", 100)
    base = ("plan", "--base", "base.pt", "--arch", "net.py:Encoder", "--params", "200", "--json")
    code, found, err = shell(*base)
    assert code == 0 and found["target"] == "delta" and found["angle_bits"] == 3
    assert "target: delta of biases; compress tries lora of rank 4 of query and value too" in err
    assert "target: " not in shell(*base, "--target", "lora")[2]


def test_a_candidate_is_scored_by_a_short_training_the_same_each_time(shell, monkeypatch):
    monkeypatch.setattr(changes, "MANY_WEIGHTS", 100)
    lines = []
    for name in ("one.qtrain", "two.qtrain"):
        _, err = compressed(shell, name, "--epochs", "1")
        lines += [line for line in err.splitlines() if line.startswith("target: ")]
    assert len(lines) == 2 and lines[0] == lines[1]
    scores = [float(number) for number in re.findall(r" (0\.\d{4})", lines[0])]
    assert len(scores) == 2 and min(scores) > 0.15  # chance is 0.1


def test_a_head_of_several_layers_is_learned_from_a_seeded_start(shell, bench):
    """From zeros no gradient would reach any of it."""
    scope: dict = {}
    exec(NET, scope)
    data = np.load(bench / "data.npz")
    torch.manual_seed(1)
    net = scope["Deep"]()
    net.encoder.load_state_dict(torch.load(bench / "base.pt", weights_only=True))
    _train(net, torch.tensor(data["x_train"]), torch.tensor(data["y_train"]), 30)
    torch.save(net.state_dict(), bench / "deep.pt")
    code, record, err = shell(
        "compress", "deep.pt", "--base", "base.pt", "--arch", "net.py:Deep", "--data", "data.npz", "--bytes",
        "1KB", "--epochs", "8", "--json", "-o", "deep.qtrain",
    )  # fmt: skip
    assert code == 0, err
    assert record["test_accuracy"] > 0.8
    code, _, err = shell("verify", "deep.qtrain", "--base", "base.pt", "--arch", "net.py:Deep")
    assert code == 0, err


def test_sampling_a_fine_tune_with_exact_shots_has_the_recorded_figure(shell, once):
    record = once("own.qtrain", "--target", "delta")
    code, found, err = shell(
        "sample", "own.qtrain", "--base", "base.pt", "--arch", "net.py:Encoder", "--data", "data.npz",
        "--shots", "exact,100", "--repeat", "1", "--json",
    )  # fmt: skip
    assert code == 0, err
    assert found["exact_test_accuracy"] == pytest.approx(record["test_accuracy"], abs=1e-6)
    assert found["recorded_test_accuracy"] == record["test_accuracy"]


def test_rivals_of_a_fine_tune_are_compared_at_equal_bytes(shell, bench, tmp_path):
    code, found, err = shell(
        "compare", "--base", "base.pt", "--arch", "net.py:Encoder", "--data", "few.npz", "--target",
        "lora:rank=2", "--targets", "query,value", "--bytes", "900", "--seeds", "1", "--quick", "--epochs",
        "2", "--state", tmp_path / "cells", "--json",
    )  # fmt: skip
    assert code == 0, err
    cells = {cell["method"]: cell for cell in found["cells"]}
    assert cells.keys() == set(serving(changes=True))
    assert cells.pop("bitdelta")["note"].endswith("there is no fine-tune")
    assert all(cell["end"] == "done" and cell["file_bytes"] <= 900 for cell in cells.values()), cells
    code, found, err = shell(
        "compare", "tuned.pt", "--base", "base.pt", "--arch", "net.py:Net", "--data", "few.npz", "--target",
        "delta", "--bytes", "900", "--methods", "bitdelta,lora-xs", "--seeds", "1", "--quick", "--epochs",
        "2", "--state", tmp_path / "signs", "--json",
    )  # fmt: skip
    assert code == 0, err
    signs = next(cell for cell in found["cells"] if cell["method"] == "bitdelta")
    assert signs["end"] == "done" and signs["numbers"] == 64 * 32 + 32 * 24 + 24 * 10 + 32 * 3 + 24 + 10
    code, _, err = shell(
        "compare", "--base", "base.pt", "--arch", "net.py:Encoder", "--data", "few.npz", "--bytes", "900",
        "--methods", "narrow",
    )  # fmt: skip
    assert code == 2 and "'narrow' is none for changes" in err


def _encoder(bench):
    scope: dict = {}
    exec(NET, scope)
    module = scope["Encoder"]()
    module.load_state_dict(torch.load(bench / "base.pt", weights_only=True))
    return module.eval()
