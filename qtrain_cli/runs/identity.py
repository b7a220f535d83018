"""What a run depends on, as plain data: whoever's identity is equal may go on from each other's state.

One identity for every kind of run. A change of how the same settings train (`TRAINING`) makes another run of
them; so does another version of this project or of PyTorch. The machine is a part of it, so that no state is
gone on from where the last bits differ; a finished file is the run's wherever it was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, astuple, fields
from typing import Any

import torch

from qtrain_cli.data import Dataset
from qtrain_cli.files.checkpoint import Checkpoint
from qtrain_cli.files.hashing import architecture_identity
from qtrain_cli.quantum.machine import differing, machine, of_processes
from qtrain_cli.results.versions import VERSION
from qtrain_cli.settings import DataSettings, FitSettings, ModelSettings
from qtrain_cli.targets.entries import LayoutSpec
from qtrain_cli.training import TRAINING
from qtrain_cli.training.recovery import MACHINE

Identity = dict[str, Any]
#: Settings of a fit that came later, and what earlier runs had.
_LATER = {
    row.name: row.default
    for row in fields(FitSettings)
    if row.name in ("precision", "schedule", "weight_decay", "clip", "optimizer", "eps", "temperature_end")
}


def model_identity(settings: ModelSettings | None, sha256: str) -> Identity:
    """Of a model's file and how it is read; nothing where there is none."""
    output = {"output": settings.output} if settings and settings.output is not None else {}
    return {
        **output,
        "model": sha256,
        "weights": (settings and settings.weights) or "",
        "arch": architecture_identity(settings.arch if settings else None),
        "arch_args": settings.arch_args if settings else {},
    }


def data_identity(settings: DataSettings, data: Dataset) -> Identity:
    """Of the rows, their normalisation, and the share of them that is set apart."""
    return {
        "data": data.sha256,
        "normalisation": [list(data.normalisation.mean), list(data.normalisation.std)],
        "validation": settings.validation,
        **({"task": _asked(data)} if data.asked.said else {}),
    }


def _asked(data: Dataset) -> list[Any]:
    """What was said of the task."""
    asked = data.asked
    return [asked.family, list(asked.class_weights), asked.ignore_index]


def layout_identity(layout: LayoutSpec) -> list[list[Any]]:
    """Of a model's tensors and what becomes of each."""
    return [
        [list(value) if isinstance(value, tuple) else value for value in astuple(entry)]
        for entry in layout.entries
    ]


def run_identity(
    model: Identity, data: Identity, fit: FitSettings | Mapping[str, Any], own: Identity
) -> Identity:
    """The whole: model, data, the fit's settings, and what only this kind of run has."""
    settings = asdict(fit) if isinstance(fit, FitSettings) else dict(fit)
    settings.pop("workers", None)  # whoever draws a batch, it is the same
    settings.pop("max_restarts", None)
    processes = settings.pop("processes", 1)
    augment = list(settings.pop("augment", ()))
    settings |= {"augment": augment} if augment else {}
    for name, usual in _LATER.items():  # runs of before, which had none of them, stay what they are
        value = settings.pop(name, usual)
        settings |= {name: value} if value != usual else {}
    return {
        **model,
        **data,
        "fit": settings,
        **own,
        MACHINE: _machine(str(settings["device"])) | of_processes(processes),
        "training": TRAINING,
        "versions": {"qtrain": VERSION, "torch": str(torch.__version__)},
    }


def _machine(device: str) -> dict[str, str]:
    """What the last bits depend on, on this device; only for `cuda` is that the device itself."""
    if torch.device(device).type == "cuda":
        return {"gpu": torch.cuda.get_device_name(device)}
    return machine()


def anywhere(identity: Identity) -> Identity:
    """The same without the machine: equal for what differs in last bits alone."""
    return {name: value for name, value in identity.items() if name != MACHINE}


def fingerprint(identity: Identity, digits: int) -> str:
    """The first digits of its SHA-256, in hexadecimal: what an artifact remembers of its run, anywhere."""
    return Checkpoint({}, {}, anywhere(identity)).fingerprint[:digits]


def made_elsewhere(versions: Mapping[str, str]) -> str:
    """``, made with threads 2 there and 1 here``, of a file's record; empty where nothing differs."""
    here = machine()
    there = {name: word for name, word in versions.items() if name in here}
    found = differing(there, {name: here[name] for name in there})
    return f", made with {found}" if found else ""
