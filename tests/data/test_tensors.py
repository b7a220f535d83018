"""``.safetensors`` with the four arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from qtrain_cli.errors import BadInput


def saved(path, pixels):
    save_file({name: torch.from_numpy(array) for name, array in pixels.items()}, path)
    return path


def test_the_same_data_as_npz(load, tmp_path, pixels):
    np.savez(tmp_path / "data.npz", **pixels)
    assert load(saved(tmp_path / "data.safetensors", pixels)).sha256 == load(tmp_path / "data.npz").sha256


def test_half_precision_inputs_are_read(load, tmp_path, pixels):
    content = {name: torch.from_numpy(array) for name, array in pixels.items()}
    content |= {name: content[name].to(torch.bfloat16) for name in ("x_train", "x_test")}
    save_file(content, tmp_path / "data.safetensors")
    assert load(tmp_path / "data.safetensors").train.inputs.dtype == torch.float32


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_damaged(load, tmp_path, pixels, keep):
    path = saved(tmp_path / "data.safetensors", pixels)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match=r"damaged, or no \.safetensors file"):
        load(path)


def test_a_missing_tensor_is_named(load, tmp_path, pixels):
    del pixels["x_test"]
    with pytest.raises(BadInput, match="x_test missing"):
        load(saved(tmp_path / "data.safetensors", pixels))
