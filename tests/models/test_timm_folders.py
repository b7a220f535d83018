"""Folders of timm's: the library builds what `config.json` names, and nothing else of it counts."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from typing import ClassVar

import pytest
import torch
from torch import nn

from qtrain_cli.errors import BadInput
from qtrain_cli.models import load_model
from qtrain_cli.settings import ModelSettings


class TimmsOwn:
    """`timm` as far as a folder of its own asks for it."""

    __spec__ = ModuleSpec("timm", None)  # which transformers asks for
    made: ClassVar[list[dict[str, object]]] = []

    @staticmethod
    def is_model(name: str) -> bool:
        return name == "test_net"

    @classmethod
    def create_model(cls, name: str, pretrained: bool, **given: object) -> nn.Module:
        cls.made.append({"name": name, "pretrained": pretrained, **given})
        return nn.Linear(3, given.get("num_classes", 1000))


@pytest.fixture
def timms_folder(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", TimmsOwn)
    TimmsOwn.made.clear()

    def write(**config):
        folder = tmp_path / "hub"
        folder.mkdir(exist_ok=True)
        usual = {"architecture": "test_net", "num_classes": 4, "pretrained_cfg": {"input_size": [3, 8, 8]}}
        (folder / "config.json").write_text(json.dumps(usual | config))
        torch.save(nn.Linear(3, 4).state_dict(), folder / "pytorch_model.bin")
        return ModelSettings(folder)

    return write


def test_a_folder_of_timms_is_built_by_timm_under_its_own_name(timms_folder):
    found = load_model(timms_folder(model_args={"in_chans": 1, "num_classes": 4, "img_size": [8, 8]}))
    assert found.module.weight.shape == (4, 3) and found.said == ("hub: config.json names timm:test_net",)
    sizes = {"num_classes": 4, "in_chans": 1, "img_size": [8, 8]}
    assert TimmsOwn.made[-1] == {"name": "test_net", "pretrained": False, **sizes}


def test_a_folder_of_timms_names_no_files_and_nothing_huge(timms_folder):
    """`checkpoint_path` is a pickle that timm would read."""
    hostile = {
        "checkpoint_path": "/etc/evil.pth",
        "pretrained": True,
        "in_chans": 10**12,
        "img_size": [1] * 9,
    }
    load_model(timms_folder(model_args=hostile))
    assert TimmsOwn.made[-1] == {"name": "test_net", "pretrained": False, "num_classes": 4}
    for name in ("hf-hub:someone/model", "../net", 3):
        with pytest.raises(BadInput):
            load_model(timms_folder(architecture=name))
    assert len(TimmsOwn.made) <= 2
