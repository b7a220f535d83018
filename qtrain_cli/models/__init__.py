"""Models in: from any file people keep trained weights in to one `LoadedModel`.

    format (`formats`)        module                         read by
    torch, torch-legacy       --arch, or built of stock      `pickles`, `entries`, `matching`
    safetensors               --arch                         `tensors`, `matching`
    pt2                       in the file                    `graphs`

Nothing in a file is run unless the user says ``--trust-pickle``: `untrusted` sees to that, under the PyTorch
versions it was checked against. Naming ``--arch`` runs the user's own code. `describe_model` never runs
anything. Left out: TorchScript, TensorFlow, sharded checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from qtrain_cli.errors import BadInput, Refused, UsageError, printable
from qtrain_cli.models import formats
from qtrain_cli.models.architecture import build_architecture
from qtrain_cli.models.checkpoints import load_weights_file
from qtrain_cli.models.describe import describe_model
from qtrain_cli.models.graphs import load_graph, load_old_graph
from qtrain_cli.models.opened import ModelFile, open_model
from qtrain_cli.models.tensors import load_safetensors
from qtrain_cli.settings import ModelSettings

__all__ = ["LoadedModel", "build_architecture", "describe_model", "load_model", "looks_up"]


@dataclass(frozen=True)
class LoadedModel:
    """A trained module on the CPU, in evaluation mode, and where it came from.

    `format` is one of `formats`' names. `trust` is what it took to load the file: "weights-only",
    "stock-layers", "safetensors", "pt2" or "trusted-pickle". `sha256` is that of the file's bytes.
    """

    module: nn.Module
    name: str
    format: str
    trust: str
    sha256: str

    @property
    def looks_up(self) -> bool:
        """Whether whole numbers may be places in a table of the model: it has an embedding."""
        return looks_up(self.module)


def looks_up(module: nn.Module) -> bool:
    """Whether a module, or the graph of an archive, has an embedding."""
    if isinstance(module, torch.fx.GraphModule):
        return any("embedding" in str(node.target) for node in module.graph.nodes)
    return any(isinstance(part, (nn.Embedding, nn.EmbeddingBag)) for part in module.modules())


def load_model(settings: ModelSettings) -> LoadedModel:
    """Load the module with the weights that `settings` names.

    Raises:
        BadInput: missing or damaged file, weights that do not fit ``--arch``, no parameters, a weight that
            is not finite.
        UsageError: ``--arch`` or ``--weights`` for a file that has no use for it.
        Refused: the file would run code, or is of a kind that this PyTorch's reader was not audited for, and
            ``--trust-pickle`` was not given; or it is a zip bomb.
    """
    with open_model(settings.path) as file:
        form = formats.file_format(file)
        module, trust = _LOADERS[form](settings, form, file)
        sha256 = file.sha256()
    _require_usable(module, settings.path.name)
    name = printable(settings.path.name)  # a record holds it as text, and not every file name is text
    return LoadedModel(module.eval(), name, form, trust, sha256)


def _load_graph(settings: ModelSettings, form: str, file: ModelFile) -> tuple[nn.Module, str]:
    for option in ("arch", "weights"):
        if getattr(settings, option) is not None:
            raise UsageError(f"--{option} has no use for '{settings.path.name}', which holds its own graph")
    module, took_trust = load_graph(file, settings.trust_pickle)
    return module, "trusted-pickle" if took_trust else "pt2"


def _load_old_graph(settings: ModelSettings, form: str, file: ModelFile) -> tuple[nn.Module, str]:
    if not settings.trust_pickle:
        raise Refused(
            f"'{settings.path.name}' is a .pt2 archive of PyTorch 2.7 or older, whose tensors are pickles",
            "export it again with a newer PyTorch, or if you trust it, add --trust-pickle",
        )
    return load_old_graph(file), "trusted-pickle"


def _load_torchscript(settings: ModelSettings, form: str, file: ModelFile) -> tuple[nn.Module, str]:
    raise BadInput(
        f"'{settings.path.name}' is a TorchScript archive, which qtrain does not read",
        "save the state dictionary, or export the model with torch.export.save",
    )


_LOADERS: dict[str, Callable[[ModelSettings, str, ModelFile], tuple[nn.Module, str]]] = {
    formats.SAFETENSORS: load_safetensors,
    formats.TORCH: load_weights_file,
    formats.TORCH_LEGACY: load_weights_file,
    formats.PICKLE: load_weights_file,
    formats.PT2: _load_graph,
    formats.PT2_LEGACY: _load_old_graph,
    formats.TORCHSCRIPT: _load_torchscript,
}


def _require_usable(module: nn.Module, name: str) -> None:
    if next(module.parameters(), None) is None:
        raise BadInput(f"'{name}' has no parameters: there is nothing to compress")
    for tensor_name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise BadInput(
                f"tensor '{tensor_name}' of '{name}' holds a value that is not finite (NaN or infinity)",
                "use a checkpoint from before the training diverged",
            )
