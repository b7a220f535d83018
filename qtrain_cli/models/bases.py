"""A base: a model of which only the tensors count, so that a file of them is enough.

    --arch fits, or a folder, a module, a graph      the state dictionary of the module
    a file of weights that no class was named for    its tensors by their own names

The second is for a fine-tune whose class has more than its base: a network with a head on an encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from qtrain_cli.errors import BadInput
from qtrain_cli.models import LoadedModel, formats, load_model
from qtrain_cli.models.folder_files import shard_tensors
from qtrain_cli.models.opened import nothing_unexpected, open_model
from qtrain_cli.settings import ModelSettings

#: What is said of the second.
TENSORS_ALONE = "no class was found for it, and its tensors alone are the base"
_PLAIN = (formats.SAFETENSORS, formats.TORCH, formats.TORCH_LEGACY)


def load_base(settings: ModelSettings) -> LoadedModel | Mapping[str, Tensor]:
    """The base as a module, or as the tensors of its file.

    Raises:
        As `load_model`, where the file holds no plain dictionary of tensors.
    """
    try:
        return load_model(replace(settings, weights=None))
    except BadInput as error:
        if formats.is_model_folder(settings.path) or not settings.path.is_file():
            raise
        try:
            return _plain_tensors(settings)
        except BadInput:
            raise error from None


def _plain_tensors(settings: ModelSettings) -> Mapping[str, Tensor]:
    with open_model(settings.path) as file, nothing_unexpected(file.name):
        if formats.file_format(file) not in _PLAIN:
            raise BadInput(
                f"'{file.name}' is no plain file of tensors",
                "give a .safetensors file, a state dictionary, or a folder",
            )
        return shard_tensors(file, "cpu")
