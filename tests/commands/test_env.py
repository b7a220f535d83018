"""`qtrain env`: versions and hardware, also where packages and GPUs are missing or many."""

import json
import platform

import torch

from qtrain_cli.commands import env
from qtrain_cli.results import versions
from qtrain_cli.results.versions import VERSION


def test_what_it_says(monkeypatch):
    found = env.run()
    assert list(found)[:4] == ["qtrain", "torch", "numpy", "python"]
    assert (found["torch"], found["python"]) == (torch.__version__, platform.python_version())
    assert found["qtrain"] in (VERSION, versions.MISSING)
    assert set(versions.OPTIONAL) < set(found)
    assert found["torch_threads"] == torch.get_num_threads()
    assert json.loads(json.dumps(found)) == found


def test_packages_that_are_missing_are_said_to_be(monkeypatch):
    monkeypatch.setattr(versions, "OPTIONAL", ("a-package-that-nobody-has",))
    assert env.run()["a-package-that-nobody-has"] == "not-installed"


def test_every_gpu_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"model {number}")
    found = env.run()
    assert (found["gpus"], found["gpu_0"], found["gpu_1"]) == (2, "model 0", "model 1")
