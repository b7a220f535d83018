"""qtrain: compress trained PyTorch models into small Quantum-Train artifacts.

`compress` and `compare` take a module and loaders, `load` and `load_student` read the two kinds of file (see
`api`); the command line is `cli`. Torch is imported
at the first use of either, so that the command line's help can do without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qtrain_cli.api import LoadedArtifact, LoadedStudent, compare, compress, load, load_student

    __version__: str

__all__ = ["LoadedArtifact", "LoadedStudent", "__version__", "compare", "compress", "load", "load_student"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from qtrain_cli.results.versions import VERSION

        return VERSION
    if name in __all__:
        from qtrain_cli import api

        return getattr(api, name)
    raise AttributeError(f"module 'qtrain_cli' has no attribute '{name}'")
