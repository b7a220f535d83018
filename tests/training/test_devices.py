"""Devices by name, on this machine and on pretended ones."""

import pytest
import torch
from torch import nn

from qtrain_cli.errors import UsageError
from qtrain_cli.training.devices import LIGHT, moved_to, numbers_in, resolve_device, share_out, usual_threads


@pytest.fixture
def gpus(monkeypatch):
    return lambda count: monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("count", "name", "device"),
    [
        (0, "auto", "cpu"),
        (2, "auto", "cuda"),
        (0, "cpu", "cpu"),
        (0, "cpu:0", "cpu"),
        (1, "cuda", "cuda"),
        (2, "cuda:1", "cuda:1"),
    ],
)
def test_names_that_are_there(gpus, count, name, device):
    gpus(count)
    assert str(resolve_device(name)) == device


@pytest.mark.parametrize(
    ("count", "name", "message"),
    [
        (0, "cuda", "--device 'cuda' is not there: 0 GPUs found"),
        (2, "cuda:2", "--device 'cuda:2' is not there: 2 GPUs found"),
        (2, "mps", "--device 'mps' is not there"),
        (2, "meta", "--device 'meta' is not there"),
        (2, "gpu", "--device 'gpu' is unknown"),
        (2, "", "--device '' is unknown"),
        (2, "cuda:x", "--device 'cuda:x' is unknown"),
        (2, "cuda:-1", "--device 'cuda:-1' is unknown"),
        (2, "cuda:99999999999", "--device 'cuda:99999999999' is unknown"),
    ],
)
def test_names_that_are_not(gpus, count, name, message):
    gpus(count)
    with pytest.raises(UsageError, match=message) as caught:
        resolve_device(name)
    assert "cuda" in caught.value.advice


def test_moving_keeps_ties_and_values_and_drops_gradients():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].weight = module[0].weight
    moved = moved_to(module.state_dict(keep_vars=True), torch.device("meta"))
    assert moved["0.weight"] is moved["1.weight"]
    assert moved["0.bias"] is not moved["1.bias"]
    assert all(tensor.is_meta and not tensor.requires_grad for tensor in moved.values())
    here = moved_to(module.state_dict(keep_vars=True), torch.device("cpu"))
    assert torch.equal(here["0.weight"], module[0].weight)


@pytest.mark.parametrize(
    ("numbers", "device", "threads"), [(LIGHT // 64, "cpu", 1), (LIGHT // 64 + 1, "cpu", 3), (1, "cuda", 3)]
)
def test_light_work_on_a_cpu_has_one_thread_until_it_ends(numbers, device, threads):
    with usual_threads():
        torch.set_num_threads(3)
        with usual_threads():
            share_out(numbers, 64, torch.device(device))
            assert torch.get_num_threads() == threads
        assert torch.get_num_threads() == 3


def test_a_modules_numbers_are_those_of_all_its_tensors():
    assert numbers_in(nn.BatchNorm1d(5)) == 4 * 5 + 1
