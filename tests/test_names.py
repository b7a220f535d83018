"""One word, one meaning: what these folders call by a public name is called so nowhere else."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "qtrain_cli"
FOLDERS = ("cli", "settings", "report", "commands")
#: Every command has one; `Log` is a type that says the same wherever it is written.
SHARED = {"run", "Log"}


def names_of(path: Path) -> set[str]:
    """What a module defines at its top, without what begins with an underscore."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        found |= {
            name.id for target in targets if target for name in ast.walk(target) if isinstance(name, ast.Name)
        }
    return {name for name in found if not name.startswith("_")}


def names_given_twice(package: Path) -> list[str]:
    """Names that a module of `FOLDERS` and another module both define."""
    places = defaultdict(list)
    for path in sorted(package.rglob("*.py")):
        for name in names_of(path):
            places[name].append(path.relative_to(package).parts[0])
    return sorted(
        name
        for name, folders in places.items()
        if len(folders) > 1 and set(folders) & set(FOLDERS) and name not in SHARED
    )


def test_no_public_name_is_given_twice():
    assert names_given_twice(PACKAGE) == []


@pytest.mark.parametrize("text", ["def view(): ...", "class View: ...", "VIEWS = {}", "VIEWS: dict = {}"])
def test_a_planted_second_one_is_found(tmp_path, text):
    for folder in ("report", "data"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "view.py").write_text(f"{text}\n_own = 1\n")
    assert len(names_given_twice(tmp_path)) == 1
