"""Takes a file into this folder's manifest: its sha256, and the digest of the tensors that it gives.

    python tests/formats/add.py FILE FORMAT KIND

`digest` uses nothing of the project but the tensors themselves. A row that is there is never changed.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

FOLDER = Path(__file__).resolve().parent
MANIFEST = FOLDER / "manifest.json"


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of a state dictionary, in the order of its names."""
    hashed = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().contiguous()
        hashed.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        hashed.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return hashed.hexdigest()


def state_of(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file, by the public interface."""
    import qtrain_cli
    from qtrain_cli.errors import BadInput

    if "changes" in path.name:
        return qtrain_cli.load(path, base=Base()).state_dict()
    try:
        return qtrain_cli.load_student(path).module.state_dict()
    except BadInput:
        return qtrain_cli.load(path, architecture_of(path)).state_dict()


class Table(nn.Module):
    """What every module of an architecture has: whole numbers of no pattern."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(100).view(4, 25) ** 2 % 97)


class Base(nn.Module):
    """What the files of changes belong to: (N, 6) -> (N, 6), its numbers sixteenths."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 6) for _ in range(3)])
        for place, tensor in enumerate(self.parameters()):
            numbers = (torch.arange(tensor.numel()) * (7 + place) % 13 - 6) / 16
            tensor.data.copy_(numbers.view(tensor.shape))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).tanh()
        return x


def architecture_of(path: Path) -> nn.Module | None:
    """The module whose tensors a file leaves out, for those that do."""
    return Table() if "given" in path.name else None


def row(path: Path, form: str, kind: str) -> dict[str, str]:
    """What the manifest says of a file."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "file": path.name,
        "format": form,
        "kind": kind,
        "sha256": sha256,
        "state": digest(state_of(path)),
    }


def main(name: str, form: str, kind: str) -> None:
    rows = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else []
    path = FOLDER / Path(name).name
    assert all(found["file"] != path.name for found in rows), f"{path.name} is there already"
    rows = sorted([*rows, row(path, form, kind)], key=lambda found: found["file"])
    MANIFEST.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
