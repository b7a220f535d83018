"""From Python: a module and rows in, an artifact out; batches of a loader are the same in every process."""

import json
import signal
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import qtrain_cli
from qtrain_cli import api
from qtrain_cli.errors import BadInput, Interrupted, UsageError
from qtrain_cli.training.loaders import LoaderBatches

QUIET = {"quiet": True, "epochs": 2, "seed": 0, "device": "cpu"}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(6, 12), nn.Linear(12, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)))


@pytest.fixture(scope="module")
def rows():
    torch.manual_seed(0)
    x = torch.randn(600, 6)
    return x, (x @ torch.randn(6, 3)).argmax(1)


@pytest.fixture(scope="module")
def trained(rows):
    x, y = rows
    torch.manual_seed(1)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net


def thirds(rows):
    x, y = rows
    return (x[:400], y[:400]), (x[400:500], y[400:500]), (x[500:], y[500:])


def test_the_artifact_is_that_of_the_module_and_the_module_stays_as_it_is(rows, trained, tmp_path):
    train, _, test = thirds(rows)
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    trained.train()
    artifact = qtrain_cli.compress(
        trained, train, test=test, budget="700", fresh=Net, **{**QUIET, "epochs": 60}
    )
    assert trained.training and all(torch.equal(before[name], t) for name, t in trained.state_dict().items())
    record = artifact.record
    assert record["artifact_bytes"] <= 700 and record["trust"] == "in-memory" and record["model"] == "Net"
    loaded = Net()
    loaded.load_state_dict(artifact.state_dict())
    right = (loaded.eval()(test[0]).argmax(1) == test[1]).double().mean().item()
    assert record["test_accuracy"] == pytest.approx(right, abs=1e-6) and right > 0.6
    assert record.get("figure_note") is None
    path = artifact.write(tmp_path / "net.qtrain")
    assert path.stat().st_size == record["artifact_bytes"]
    again = qtrain_cli.load(path)
    assert all(torch.equal(again.state_dict()[name], t) for name, t in artifact.state_dict().items())
    with pytest.raises(UsageError, match="exists"):
        artifact.write(path)


def test_without_a_fresh_module_the_record_says_that_its_figures_are_unchecked(rows, trained):
    train, _, test = thirds(rows)
    artifact = qtrain_cli.compress(trained, train, test=test, params=60, **QUIET)
    assert "checked" in artifact.record["figure_note"]


def test_loaders_arrays_and_data_sets_of_the_same_rows_are_the_same_data(rows, trained):
    train, validation, test = thirds(rows)
    handed = [
        (train, validation, test),
        tuple(TensorDataset(*split) for split in (train, validation, test)),
        tuple(DataLoader(TensorDataset(*split), 50) for split in (train, validation, test)),
    ]
    found = [qtrain_cli.compress(trained, *splits, params=60, **QUIET).record for splits in handed]
    assert len({record["data_sha256"] for record in found}) == 1
    assert [record["validation_rows"] for record in found if "validation_rows" in record] in ([], [100] * 3)
    assert found[0]["artifact_sha256"] == found[1]["artifact_sha256"]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_shuffling_loader_gives_the_same_artifact_each_time(rows, trained, workers):
    train, validation, test = thirds(rows)

    def run(seed):
        loader = DataLoader(TensorDataset(*train), 40, shuffle=True, num_workers=workers)
        torch.manual_seed(seed)  # whatever was drawn before
        options = {**QUIET, "epochs": 1 if workers else 2, "params": 60}
        return qtrain_cli.compress(trained, loader, validation, test, **options).record

    assert run(1)["artifact_sha256"] == run(2)["artifact_sha256"]


def test_a_run_by_a_loader_that_was_stopped_goes_on_as_if_it_was_not(rows, trained, tmp_path, monkeypatch):
    train, validation, test = thirds(rows)

    def run(path, **more):
        loader = DataLoader(TensorDataset(*train), 40, shuffle=True)
        return qtrain_cli.compress(trained, loader, validation, test, params=60, out=path, **QUIET, **more)

    whole = run(tmp_path / "whole.qtrain").record
    stopped = tmp_path / "stopped.qtrain"
    at = LoaderBatches.at

    def stopping(self, step):
        if step == 13:
            raise Interrupted("stopped", "")
        return at(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(LoaderBatches, "at", stopping)
        patch.setattr("qtrain_cli.training.loop.Clock.due", lambda self: True)
        with pytest.raises(Interrupted):
            run(stopped)
    assert (tmp_path / "stopped.qtrain.ckpt").exists()
    assert run(stopped, resume=True).record["artifact_sha256"] == whole["artifact_sha256"]


def test_a_batch_after_a_restart_is_the_one_that_it_was():
    numbers = torch.arange(90.0).reshape(30, 3)

    def batches():
        loader = DataLoader(TensorDataset(numbers, torch.arange(30)), 4, shuffle=True)
        return LoaderBatches(loader, len(loader), tuple, lambda x: x, (5, torch.device("cpu")))

    whole = batches()
    in_order = [whole.at(step) for step in range(20)]
    assert [len(batch.inputs) for batch in in_order[:8]] == [4] * 7 + [2]
    assert {int(y) for batch in in_order[:8] for y in batch.targets} == set(range(30))
    assert in_order[0].targets.tolist() != in_order[8].targets.tolist()
    for step in (0, 3, 8, 19):
        assert torch.equal(batches().at(step).inputs, in_order[step].inputs)
    assert all(batch.rows is None for batch in in_order)


class Endless(IterableDataset):
    def __init__(self, count):
        self.count = count

    def __iter__(self):
        count, self.count = self.count, self.count - 100
        return iter(zip(torch.randn(count, 6), torch.arange(count) % 3, strict=True))


def test_a_loader_that_gives_less_the_second_time_says_so(rows, trained):
    _, validation, test = thirds(rows)
    loader = DataLoader(Endless(700), 40)
    with pytest.raises(BadInput, match="the training loader ended after 13 batches; it had 15 before"):
        qtrain_cli.compress(trained, loader, validation, test, params=60, **QUIET, teacher_any=True)


def test_what_is_missing_or_strange_is_said(rows, trained):
    train, _, test = thirds(rows)
    loader = DataLoader(TensorDataset(*train), 40)
    with pytest.raises(UsageError, match="there are no test rows"):
        qtrain_cli.compress(trained, train, **QUIET)
    with pytest.raises(UsageError, match="a loader gives no validation rows"):
        qtrain_cli.compress(trained, loader, test=test, **QUIET)
    with pytest.raises(TypeError, match=r"there is no option 'epoch': did you mean 'epochs'\?"):
        qtrain_cli.compress(trained, train, test=test, epoch=3)
    with pytest.raises(BadInput, match="cannot be gone through again and again"):
        qtrain_cli.compress(trained, iter(loader), test, test, **QUIET)
    with pytest.raises(BadInput, match="a batch has a, b and no targets"):
        qtrain_cli.compress(trained, [{"a": 1, "b": 2}], test, test, **QUIET)


def test_compare_from_python_is_that_of_the_command(rows, trained, tmp_path):
    train, validation, test = thirds(rows)
    found = qtrain_cli.compare(
        trained, train, validation, test, state=tmp_path / "cells", bytes=(400,), seeds=1, quick=True,
        methods=("ours", "quantisation"), epochs=2, device="cpu", quiet=True, fresh=Net,
    )  # fmt: skip
    assert found.model == "Net" and {cell.method for cell in found.cells} == {"ours", "quantisation"}
    assert json.dumps(found.task) == '"classification"'


def test_a_loss_and_a_metric_of_ones_own_train_and_choose(rows, trained):
    train, validation, test = thirds(rows)
    asked = []

    def first_class(outputs, targets):
        asked.append(len(outputs))
        return (outputs.argmax(1) == 0).double()

    def towards_the_first(outputs, targets):
        return nn.functional.cross_entropy(outputs, torch.zeros_like(targets))

    options = {**QUIET, "epochs": 30, "distill": 0.0, "params": 60, "fresh": Net}
    usual = qtrain_cli.compress(trained, train, validation, test, **options)
    own = qtrain_cli.compress(
        trained, train, validation, test, loss=towards_the_first, metric=first_class, **options
    )
    shares = []
    for artifact in (usual, own):
        net = Net()
        net.load_state_dict(artifact.state_dict())
        shares.append((net.eval()(test[0]).argmax(1) == 0).double().mean().item())
    assert shares[1] > 0.9 > 0.5 > shares[0] and 100 in asked
    assert own.record["test_accuracy"] < usual.record["test_accuracy"]


def stopping_at(monkeypatch, step):
    at = LoaderBatches.at

    def stop(self, now):
        if now == step:
            signal.raise_signal(signal.SIGINT)
        return at(self, now)

    monkeypatch.setattr(LoaderBatches, "at", stop)


def test_an_interrupted_run_without_a_file_names_no_state_that_is_gone(rows, trained, monkeypatch):
    train, validation, test = thirds(rows)
    loader = DataLoader(TensorDataset(*train), 40)
    stopping_at(monkeypatch, 3)
    with pytest.raises(Interrupted) as caught:
        qtrain_cli.compress(trained, loader, validation, test, params=60, **QUIET)
    assert caught.value.message == "stopped; without out= no state is kept"
    assert caught.value.advice == "give out= and later resume=True"


def test_with_a_file_the_state_is_beside_it(rows, trained, tmp_path, monkeypatch):
    train, validation, test = thirds(rows)
    loader = DataLoader(TensorDataset(*train), 40)
    stopping_at(monkeypatch, 3)
    with pytest.raises(Interrupted, match="the state is in") as caught:
        qtrain_cli.compress(trained, loader, validation, test, params=60, out=tmp_path / "a.qtrain", **QUIET)
    assert str(tmp_path / "a.qtrain.ckpt") in caught.value.message


def test_what_is_written_is_what_was_checked_although_the_file_changes(rows, trained, tmp_path, monkeypatch):
    train, _, test = thirds(rows)
    first = qtrain_cli.compress(trained, train, test=test, params=60, **QUIET).write(tmp_path / "a.qtrain")
    content, regenerate = first.read_bytes(), api.regenerate

    def meanwhile(*given):
        first.write_bytes(b"another file")
        return regenerate(*given)

    monkeypatch.setattr(api, "regenerate", meanwhile)
    assert qtrain_cli.load(first, trained).write(tmp_path / "b.qtrain").read_bytes() == content


def own_loss(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, label_smoothing=0.9)


def test_cells_of_another_loss_are_other_cells(rows, trained, tmp_path):
    train, validation, test = thirds(rows)
    options = {**QUIET, "bytes": 400, "seeds": 1, "quick": True, "methods": "ours"}
    del options["seed"]

    def cells(loss, state):
        given = {"state": tmp_path / state, "loss": loss, **options}
        found = qtrain_cli.compare(trained, train, validation, test, **given)
        return [replace(cell, seconds=0.0) for cell in found.cells]

    usual, own, anew = (cells(*given) for given in ((None, "one"), (own_loss, "one"), (own_loss, "two")))
    assert own == anew != usual
