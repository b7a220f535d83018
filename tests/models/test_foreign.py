"""Files given by mistake: each is named as what it is, with the way on."""

import json
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from qtrain_cli.errors import BadInput
from qtrain_cli.models import describe_model, load_model
from qtrain_cli.settings import ModelSettings

NET = "from torch import nn\ndef net(): return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 44730640\n"
BYTES = {
    "lfs.pt": (LFS, "a Git LFS pointer, and not the file itself", "git lfs pull"),
    "page.pt": (b"\n <!DOCTYPE html><html><body>Sign in", "an HTML page", "log in"),
    "keras.pt": (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file, as Keras writes its models", "--arch"),
    "m.bin": (b"GGUF" + bytes(99), "a GGUF file of llama.cpp", "--arch"),
    "m.onnx": (b"\x08\n\x12\x07pytorch\x1a\x052.13", "an ONNX model", "torch.export.save"),
    "renamed.pt": (b"\x08\n\x12\x07pytorch\x1a\x052.13", "an ONNX model", "torch.export.save"),
    "a.npy": (b"\x93NUMPY\x01\x00", "one NumPy array", "torch.save"),
    "x.parquet": (b"PAR1" + bytes(9), "a Parquet file: data", "--data"),
    "x.pt.gz": (b"\x1f\x8b\x08" + bytes(9), "a gzip archive", "unpack"),
    "ckpt.data-00000-of-00001": (b"numbers ......", "a part of a TensorFlow model", "--arch"),
    "checkpoint": (b'model_checkpoint_path: "x"', "a part of a TensorFlow model", "--arch"),
    "saved_model.pb": (b"\x08\x01\x12\x99", "a part of a TensorFlow model", "--arch"),
    "net.py": (b"from torch import nn", "Python code", "--arch file.py:Class"),
    "model.index.json": (json.dumps({"weight_map": {"a": "b"}}, indent=2).encode(), "the index", "load"),
    "config.json": (b'{"architectures": ["Bert"]}', "the configuration of a model", "name the weights' file"),
    "adapter_config.json": (b'{"peft_type": "LORA"}', "the configuration of a PEFT", "merge_and"),
    "m.mlmodel": (b"\x08\x04\x12\x99", "a Core ML model", "torch.export.save"),
    "m.engine": (b"ftrt" + bytes(99), "a TensorRT engine", "torch.export.save"),
    "flax_model.msgpack": (b"\xde\x00\x10\xa7encoder", "a Flax or JAX checkpoint", "from_flax=True"),
    "m.tflite": (b"\x1c\x00\x00\x00TFL3" + bytes(9), "a TensorFlow Lite model", "--arch"),
    "net.xml": (b"<?xml version='1.0'?><net>", "the graph of an OpenVINO network", "--arch"),
    "trees.txt": (b"tree\nversion=v4\n", "a LightGBM model: trees", "train one on the model's answers"),
    "old.tar": (b"x" * 257 + b"ustar" + bytes(250), "a tar archive", "unpack"),
}  # fmt: skip


def refused(path, **more):
    with pytest.raises(BadInput) as caught:
        load_model(ModelSettings(path, **more))
    shown = caught.value.message + caught.value.advice
    assert "damaged" not in shown and len(caught.value.message) < 500 and path.name in caught.value.message
    return caught.value


@pytest.fixture
def arch(tmp_path):
    (tmp_path / "net_.py").write_text(NET)
    return f"{tmp_path / 'net_.py'}:net"


@pytest.mark.parametrize("name", BYTES)
def test_told_by_its_bytes_or_its_ending(tmp_path, name):
    content, what, advice = BYTES[name]
    (tmp_path / name).write_bytes(content)
    error = refused(tmp_path / name)
    assert error.message.startswith(f"'{name}' is {what}") and advice in error.advice
    with pytest.raises(BadInput, match=r"' is "):
        describe_model(tmp_path / name)


def test_archives_of_others(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.ones(3))
    assert "a NumPy archive" in refused(tmp_path / "w.npz").message
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("model.weights.h5", b"x")
    assert "a Keras model" in refused(tmp_path / "m.keras").message


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("saved_model.pb", "is the folder of a TensorFlow model"),
        ("__0_0.distcp", "is the folder of a distributed checkpoint"),
        ("model-00001-of-00002.safetensors", "is the folder of a model in several shards"),
        ("model.safetensors", "is a folder, not a model file"),
    ],
)
def test_folders(tmp_path, name, what):
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / name).write_bytes(b"")
    error = refused(tmp_path / "hf")
    assert what in error.message
    assert "several" in what or name != "model.safetensors" or "model.safetensors" in error.advice


def test_the_folder_of_an_adapter_is_read_as_one_and_described_as_one(tmp_path):
    (tmp_path / "ad").mkdir()
    (tmp_path / "ad/adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert "has no adapter_model.safetensors" in refused(tmp_path / "ad").message
    with pytest.raises(BadInput, match=r"has no adapter_model\.safetensors"):
        describe_model(tmp_path / "ad")


def test_one_shard_alone(tmp_path, arch):
    path = tmp_path / "model-00001-of-00002.safetensors"
    save_file({"0.weight": torch.ones(3, 4), "0.bias": torch.ones(3)}, path)
    for given in ({"arch": arch}, {}):
        assert "is shard 1 of 2 of a model, not the whole" in refused(path, **given).message
    whole = tmp_path / "model-00001-of-00001.safetensors"
    save_file(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).state_dict(), whole)
    assert load_model(ModelSettings(whole, arch=arch))


def test_an_adapter_without_its_base(tmp_path, arch):
    path = tmp_path / "adapter_model.safetensors"
    save_file({"base_model.model.0.lora_A.weight": torch.ones(2, 4)}, path)
    error = refused(path, arch=arch)
    assert "is a PEFT adapter" in error.message and "merge_and_unload" in error.advice


def test_an_optimiser(tmp_path):
    torch.save({"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": []}, tmp_path / "optimizer.pt")
    assert (
        "an optimiser's state with the keys state, param_groups" in refused(tmp_path / "optimizer.pt").message
    )
