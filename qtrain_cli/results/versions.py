"""Which versions a result depends on, and which ones a bug report should name. Standard library only."""

from __future__ import annotations

import platform
from functools import cache

VERSION = "0.7.0"
RECORDED = ("torch", "numpy")
OPTIONAL = (
    "safetensors", "typer", "rich", "pyarrow", "pillow", "datasets", "onnx", "onnxscript", "onnxruntime",
    "pennylane", "timm",
)  # fmt: skip
MISSING = "not-installed"


def recorded_versions() -> dict[str, str]:
    """The versions that a record keeps: those that can change its figures."""
    packages = {name: _version(name) for name in RECORDED}
    return {"qtrain": VERSION, **packages, "python": platform.python_version()}


def all_versions() -> dict[str, str]:
    """The versions of everything this project can use."""
    return recorded_versions() | {name: _version(name) for name in OPTIONAL}


@cache  # a package's description is parsed for it
def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # slow to load, and seldom asked

    try:
        return version(package)
    except PackageNotFoundError:
        return MISSING
