"""The Python use: an artifact in, ordinary tensors out.

    import qtrain_cli

    artifact = qtrain_cli.load("model.qtrain")      # refuses what is damaged or does not match its digest
    artifact.record["test_accuracy"]                # the record, as `qtrain report --json` prints it
    weights = artifact.state_dict()                 # {name: tensor}, for any load_state_dict
    artifact.put_into(model)                        # the same, into one's own module

Nothing in an artifact is ever run, and no circuit is needed after this: the tensors are ordinary ones.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from qtrain_cli.errors import BadInput
from qtrain_cli.files.artifact.container import read_container
from qtrain_cli.files.artifact.description import record_of
from qtrain_cli.files.artifact.numbers import decode_artifact
from qtrain_cli.regenerate import regenerate


@dataclass(frozen=True)
class LoadedArtifact:
    """A regenerated artifact: its `record`, and `exact`, whether the digest agrees to the last bit."""

    record: dict[str, Any]
    exact: bool
    _state: dict[str, Tensor]

    def state_dict(self) -> dict[str, Tensor]:
        """The model's tensors by name, on the CPU, in a new dictionary; tied names share one tensor."""
        return dict(self._state)

    def put_into(self, module: nn.Module) -> nn.Module:
        """Loads the tensors into a module of the same architecture, and returns it.

        Raises:
            BadInput: names or shapes differ; the message lists the difference.
        """
        try:
            module.load_state_dict(self._state)
        except RuntimeError as error:
            raise BadInput(f"the artifact does not fit the module: {error}") from None
        return module


def load(path: str | os.PathLike[str]) -> LoadedArtifact:
    """Reads an artifact and regenerates its weights.

    Raises:
        BadInput: no such file, or no artifact.
        Refused: it is damaged or hostile, or its weights do not match its digest.
    """
    container = read_container(Path(path))
    artifact = decode_artifact(container)
    found = regenerate(artifact)
    return LoadedArtifact(record_of(artifact.description, container).to_json(), found.exact, found.state)
