"""A file of changes in what others read: an adapter folder of PEFT, or the differences as safetensors.

    -o adapter/                  adapter_config.json, adapter_model.safetensors      of `lora`, `lora-xs`
    -o x.delta.safetensors       W - W_base of every tensor that is changed, float32

PEFT computes W + (alpha / r) B A itself, in float32 or in what the model has, so that its merged weights
agree with ours up to that rounding. Its factors have the shapes of the layer's own kind: those of a
convolution are convolutions, and of a `Conv1D` (GPT-2), whose matrix is (in, out), B A is the transpose.

What the base lacks, a head, lies in the adapter as one of the modules that are saved whole, if the model has
a module of that name; a head that qtrain has put on lies beside it in `head.safetensors`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from qtrain_cli.errors import RunFailed, UsageError
from qtrain_cli.exports import ExportRecord
from qtrain_cli.exports.comparison import require_same
from qtrain_cli.files.atomic import check_output, filled_folder, write_bytes_atomically
from qtrain_cli.models.formats import ADAPTER_CONFIG
from qtrain_cli.models.peft_folder import BEFORE, FACTORS
from qtrain_cli.targets.change import FACTORED, matrix_of
from qtrain_cli.targets.changes import is_turned
from qtrain_cli.targets.entries import GENERATED, LayoutSpec
from qtrain_cli.targets.ground import Ground

HEAD_FILE = "head.safetensors"
DELTA_ENDING = ".delta.safetensors"


@dataclass(frozen=True)
class Changes:
    """What is exported: the ground, the layout of the file, its generated tensors in float64, and the base's
    module, None for a base of which only the tensors are known."""

    ground: Ground
    layout: LayoutSpec
    made: Mapping[str, Tensor]
    module: nn.Module | None = None


def is_adapter(path: Path) -> bool:
    """Whether an output is meant as a folder: it is one, or has no ending."""
    return path.is_dir() or not path.suffix


def write_adapter(changes: Changes, path: Path, force: bool) -> ExportRecord:
    """A folder that `peft.PeftModel.from_pretrained` loads onto the base.

    Raises:
        UsageError: the file is none of factors; the folder has such files and not `force`.
    """
    change = changes.ground.change
    if change.kind not in FACTORED:
        raise UsageError(
            f"an adapter folder holds factors, and this file has the target {change.kind}",
            f"write merged weights, or the differences as NAME{DELTA_ENDING}",
        )
    factors, new = _factors(changes), _new(changes)
    own = {} if change.head else {BEFORE + name: tensor for name, tensor in new.items()}
    files = {
        FACTORS: _safetensors(factors | own),
        ADAPTER_CONFIG: json.dumps(_config(changes, list(own)), indent=2, sort_keys=True).encode() + b"\n",
        **({HEAD_FILE: _safetensors(new)} if change.head else {}),
    }
    with filled_folder(path) as folder:
        for name in files:
            check_output(folder / name, force)
        for name, data in files.items():
            write_bytes_atomically(folder / name, data, force)
    require_same(factors | own, safetensors.torch.load_file(path / FACTORS), "the folder")
    note = "" if changes.module else "for nn.Linear: the layers of a base without its class are not known"
    return _record(path, files, "PEFT adapter", len(factors) + len(new), note)


def write_delta(changes: Changes, path: Path, force: bool) -> ExportRecord:
    """Differences to the base by the model's names. Raises `RunFailed` where the file does not hold them."""
    ground = changes.ground
    moved = ground.changed(changes.layout, changes.made)
    apart = {
        name: (tensor.double() - ground.tensors[name].double()).float() for name, tensor in moved.items()
    }
    data = _safetensors(apart)
    write_bytes_atomically(path, data, force)
    require_same(apart, safetensors.torch.load_file(path), "the file")
    return _record(path, {path.name: data}, "differences to the base, safetensors", len(apart))


def _factors(changes: Changes) -> dict[str, Tensor]:
    found = {}
    for entry in changes.layout.of_role(GENERATED):
        matrix = matrix_of(entry.name)
        if matrix != entry.name:
            layer, _, local = matrix.rpartition(".")
            if local != "weight":
                raise UsageError(
                    f"'{matrix}' is no weight of a layer: PEFT has no place for its factors",
                    "write merged weights with --out NAME.safetensors",
                )
            left, right = _as_of_peft(changes, layer, entry.name)
            found[f"{BEFORE}{layer}.lora_B.weight"] = left.float()
            found[f"{BEFORE}{layer}.lora_A.weight"] = right.float()
    return found


def _as_of_peft(changes: Changes, layer: str, name: str) -> tuple[Tensor, Tensor]:
    """B and A of a layer, from (rows, r) and (r, columns) of its matrix."""
    matrix = matrix_of(name)
    left, right = changes.ground.before(matrix, changes.made[name]), changes.ground.factors[matrix]
    if _is_turned(changes, layer):
        return right.mT, left.mT
    shape = changes.ground.tensors[matrix].shape
    return left.view(*left.shape, *[1] * (len(shape) - 2)), right.view(len(right), *shape[1:])


def _is_turned(changes: Changes, layer: str) -> bool:
    """Whether a layer is one of GPT-2's, whose matrix is (in, out)."""
    if changes.module is None:
        return False
    return is_turned(changes.module.get_submodule(layer.removeprefix(changes.ground.change.prefix)))


def _new(changes: Changes) -> dict[str, Tensor]:
    names = [entry.name for entry in changes.layout.of_role(GENERATED)]
    return {name: changes.made[name].float() for name in names if name in changes.ground.new}


def _config(changes: Changes, saved: list[str]) -> dict[str, object]:
    change = changes.ground.change
    layers = [name.removesuffix(".weight") for name in changes.ground.factors]
    modules = sorted({name.removeprefix(BEFORE).rpartition(".")[0] for name in saved})
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": change.base.name,
        "r": change.rank,
        "lora_alpha": change.scale * change.rank,
        "target_modules": layers,
        "modules_to_save": modules or None,
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
        "fan_in_fan_out": any(_is_turned(changes, layer) for layer in layers),
    }


def _safetensors(tensors: Mapping[str, Tensor]) -> bytes:
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(whole, metadata={"format": "pt"})


def _record(path: Path, files: Mapping[str, bytes], form: str, tensors: int, note: str = "") -> ExportRecord:
    whole = b"".join(files[name] for name in sorted(files))
    if not whole:
        raise RunFailed(f"'{path}' would be empty", "write all weights: -o FILE.safetensors")
    sha256 = hashlib.sha256(whole).hexdigest()
    how = "read back with safetensors.torch.load_file, every tensor bit for bit"
    return ExportRecord(path, len(whole), sha256, form, tensors, how, note)
