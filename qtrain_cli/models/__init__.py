"""Models in: from any file people keep trained weights in to one `LoadedModel`.

    format (`formats`)        module                         read by
    torch, torch-legacy       --arch, or built of stock      `pickles`, `entries`, `matching`
    safetensors               --arch                         `tensors`, `matching`
    pt2                       in the file                    `graphs`
    hf-folder                 `transformers`, or --arch      `folders`
    a PEFT adapter's folder   its base, and merged           `peft_folder`

Nothing in a file is run unless the user says ``--trust-pickle``: `untrusted` sees to that, under the PyTorch
versions it was checked against. Naming ``--arch`` runs the user's own code. `describe_model` never runs
anything. Left out: TorchScript, TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from qtrain_cli.errors import BadInput, Refused, UsageError, printable
from qtrain_cli.models import foreign, formats
from qtrain_cli.models.architecture import build_architecture
from qtrain_cli.models.checkpoints import load_weights_file
from qtrain_cli.models.describe import describe_model
from qtrain_cli.models.entries import require_plain, tensors_of
from qtrain_cli.models.fixed_batch import said_size
from qtrain_cli.models.folder_files import open_folder
from qtrain_cli.models.folders import ForTask, load_folder
from qtrain_cli.models.graphs import load_graph, load_old_graph
from qtrain_cli.models.opened import ModelFile, nothing_unexpected, open_model
from qtrain_cli.models.outputs import picks
from qtrain_cli.models.peft_folder import read_adapted
from qtrain_cli.models.reading import ReadModel
from qtrain_cli.models.tensors import load_safetensors
from qtrain_cli.settings import ModelSettings
from qtrain_cli.targets.entries import RUNNING

__all__ = [
    "IN_MEMORY",
    "LoadedModel",
    "build_architecture",
    "describe_model",
    "load_model",
    "looks_up",
    "module_in_memory",
]


#: The trust that a module takes which a program has already.
IN_MEMORY = "in-memory"


@dataclass(frozen=True)
class LoadedModel:
    """A trained module on the CPU, in evaluation mode, and where it came from.

    `format` is one of `formats`' names. `trust` is what it took to load the file: "weights-only",
    "stock-layers", "safetensors", "pt2", "trusted-pickle" or `IN_MEMORY`. `sha256` is that of the file's
    bytes, or `folder_files.ModelFolder.sha256`. `entry` and `notes` are as in `reading.ReadModel`; `output`
    is which of several outputs counts, None where the module has but one.
    """

    module: nn.Module
    name: str
    format: str
    trust: str
    sha256: str
    entry: str | None = None
    notes: tuple[str, ...] = ()
    output: str | None = None

    @property
    def said(self) -> tuple[str, ...]:
        """The notes, each a line that names the file."""
        return tuple(f"{self.name}: {note}" for note in self.notes)

    @property
    def looks_up(self) -> bool:
        """Whether whole numbers may be places in a table of the model: it has an embedding."""
        return looks_up(self.module)


def looks_up(module: nn.Module) -> bool:
    """Whether a module, or the graph of an archive, has an embedding."""
    if isinstance(module, torch.fx.GraphModule):
        return any("embedding" in str(node.target) for node in module.graph.nodes)
    return any(isinstance(part, (nn.Embedding, nn.EmbeddingBag)) for part in module.modules())


def load_model(settings: ModelSettings, base: Path | None = None) -> LoadedModel:
    """Load the module with the weights that `settings` names.

    Args:
        settings: the file or folder, and how it is read.
        base: of a PEFT adapter's folder, in place of the one that its configuration names.

    Raises:
        BadInput: missing or damaged file, weights that do not fit ``--arch``, no parameters, a weight that
            is not finite.
        UsageError: ``--arch`` or ``--weights`` for a file that has no use for it.
        Refused: the file would run code, or is of a kind that this PyTorch's reader was not audited for, and
            ``--trust-pickle`` was not given; or it is a zip bomb.
    """
    found, form, sha256 = _read(settings, base)
    _require_usable(found.module, settings.path.name)
    name = printable(settings.path.name)  # a record holds it as text, and not every file name is text
    module, entry = _dense_gradients(found.module.eval()), printable(found.entry) if found.entry else None
    picked = picks(module, settings.output)
    return LoadedModel(picked, name, form, found.trust, sha256, entry, found.notes, settings.output)


def module_in_memory(module: nn.Module, sha256: str, output: str | None) -> LoadedModel:
    """The same of a module that no file holds, on the CPU; it is called as its class. Raises `BadInput`."""
    name = printable(type(module).__name__)
    _require_usable(module, name)
    return LoadedModel(
        picks(_dense_gradients(module.eval()), output), name, "module", IN_MEMORY, sha256, output=output
    )


def _read(settings: ModelSettings, base: Path | None) -> tuple[ReadModel, str, str]:
    """What was read, the format, and the SHA-256 of what was read."""
    if formats.is_adapter_folder(settings.path):
        return read_adapted(settings, base, _read_whole)
    return _read_whole(settings)


def _read_whole(settings: ModelSettings, task: ForTask | None = None) -> tuple[ReadModel, str, str]:
    path = settings.path
    if formats.is_model_folder(path):
        with open_folder(path) as folder:
            return load_folder(settings, folder, task), formats.FOLDER, folder.sha256()
    with open_model(path) as file:
        with nothing_unexpected(path.name):
            form = formats.file_format(file)
        return _LOADERS[form](settings, form, file), form, file.sha256()


def _dense_gradients(module: nn.Module) -> nn.Module:
    """Sparse gradients save time where the table itself is trained; nothing here can use them."""
    for part in module.modules():
        if isinstance(part, (nn.Embedding, nn.EmbeddingBag)):
            part.sparse = False
    return module


def _load_graph(settings: ModelSettings, form: str, file: ModelFile) -> ReadModel:
    for option in ("arch", "weights"):
        if getattr(settings, option) is not None:
            raise UsageError(
                f"--{option} has no use for '{settings.path.name}', which holds its own graph",
                f"leave out --{option}",
            )
    with nothing_unexpected(file.name):
        module, took_trust = load_graph(file, settings.trust_pickle)
    return ReadModel(module, "trusted-pickle" if took_trust else "pt2", notes=said_size(module))


def _load_old_graph(settings: ModelSettings, form: str, file: ModelFile) -> ReadModel:
    if not settings.trust_pickle:
        raise Refused(
            f"'{settings.path.name}' is a .pt2 archive of PyTorch 2.7 or older, whose tensors are pickles",
            "export it again with a newer PyTorch, or if you trust it, add --trust-pickle",
        )
    module = load_old_graph(file)
    return ReadModel(module, "trusted-pickle", notes=said_size(module))


def _load_torchscript(settings: ModelSettings, form: str, file: ModelFile) -> ReadModel:
    what, advice = foreign.torchscript()
    raise BadInput(f"'{settings.path.name}' is {what}", advice)


_LOADERS: dict[str, Callable[[ModelSettings, str, ModelFile], ReadModel]] = {
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
        raise BadInput(
            f"'{name}' has no parameters: there is nothing to compress",
            "give the file of a model that was trained; `qtrain inspect` says what a file holds",
        )
    require_plain(tensors_of(module.state_dict(keep_vars=True)), name)
    for tensor_name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.layout != torch.strided or not tensor.is_floating_point():
            continue
        # Infinity stands for what attention must not see, in a mask; statistics that are infinite are lost.
        mask = not isinstance(tensor, nn.Parameter) and tensor_name.rpartition(".")[2] not in RUNNING
        lost = torch.isnan(tensor) if mask else ~torch.isfinite(tensor)
        if lost.any():
            raise BadInput(
                f"tensor '{tensor_name}' of '{name}' holds a value that is not finite (NaN or infinity)",
                "use a checkpoint from before the training diverged",
            )
