"""`qtrain export --classical`: regenerated weights in a format that others read, checked before it is named.

`.safetensors` and `.pt` need the artifact alone. `.pt2` and `.onnx` carry the graph as well: the module comes
from the model file, or from its architecture alone, and takes the regenerated weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qtrain_cli.files.artifact.description import Example
from qtrain_cli.files.artifact.numbers import read_artifact
from qtrain_cli.files.atomic import check_output
from qtrain_cli.files.exports import ExportRecord, export
from qtrain_cli.files.models import build_architecture, load_model
from qtrain_cli.layout import DTYPES
from qtrain_cli.regenerate import regenerate
from qtrain_cli.settings import ExportSettings

#: Two rows, so that a traced graph is not specialised to a batch of one.
EXAMPLE_ROWS = 2


def run(settings: ExportSettings) -> ExportRecord:
    """Exports one artifact.

    Raises:
        UsageError: an unknown ending, an output that exists or is an input, or no module for a format with
            a graph.
        BadInput, Refused: the artifact or the model cannot be read.
        RunFailed: the written file does not hold the regenerated weights; nothing is left of it.
    """
    inputs = (settings.artifact, *([settings.model.path] if settings.model else []))
    check_output(settings.out, settings.force, inputs)
    artifact = read_artifact(settings.artifact)
    return export(
        regenerate(artifact).state,
        settings.out,
        module=_module(settings),
        example=_example(artifact.description.example),
        force=settings.force,
    )


def _module(settings: ExportSettings) -> nn.Module | None:
    if settings.model is not None:
        return load_model(settings.model).module
    return build_architecture(settings.arch, settings.arch_args) if settings.arch else None


def _example(example: Example) -> Tensor:
    """A seeded batch of inputs of the artifact's shape."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(EXAMPLE_ROWS, *example.shape, generator=generator).to(DTYPES[example.dtype])
