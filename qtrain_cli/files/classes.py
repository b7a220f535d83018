"""What `--arch` could name in Python files: classes of networks, and functions that give one.

Told by the files' text alone: nothing is imported, and nothing run.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

from qtrain_cli.errors import QtrainError
from qtrain_cli.files.reading import open_ordinary

MOST_SOURCES, MOST_SOURCE_BYTES = 50, 1_000_000
_BASES = ("Module", "LightningModule", "Sequential", "PreTrainedModel")


def network_classes(folder: Path) -> Iterator[str]:
    """``file.py:Name`` for each class whose base is a module's, and each function that says to give one."""
    for path in sorted(itertools.islice(folder.glob("*.py"), MOST_SOURCES)):
        yield from (f"{path}:{name}" for name in _classes(path))


def _classes(path: Path) -> Iterator[str]:
    """By order of definition; a class whose base is one of them counts too."""
    known = set(_BASES)
    for node in _parsed(path).body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            continue
        bases = node.bases if isinstance(node, ast.ClassDef) else _given_by(node)
        if {_last_name(base) for base in bases} & known:
            known |= {node.name} if isinstance(node, ast.ClassDef) else set()
            yield node.name


def _given_by(node: ast.FunctionDef) -> list[ast.expr]:
    """What a function says to return, if it can be called without arguments."""
    if node.returns is None or node.name.startswith("_"):
        return []
    return [node.returns] if len(node.args.args) == len(node.args.defaults) else []


def _parsed(path: Path) -> ast.Module:
    try:
        with open_ordinary(path) as file:
            text = file.read(MOST_SOURCE_BYTES + 1)
        return ast.parse(text if len(text) <= MOST_SOURCE_BYTES else "")
    except (QtrainError, OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


def _last_name(base: ast.expr) -> str:
    return base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""
