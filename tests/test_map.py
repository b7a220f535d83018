"""The map of the code, checked on the code itself: who imports whom, who prints, how long things are.

`MAP` has a row for every module (a folder that is one row counts as one), with all of ours that it imports:
a new edge needs a line here, and an edge that is gone must leave. Data flows one way: files -> layout ->
generator -> training -> results -> render. What needs no torch says so in `WITHOUT_TORCH`, and is followed
through everything it imports on loading.

Each check is a function of a folder, so that each is seen to fail on a folder with a fault planted in it.
"""

import ast
import functools
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from qtrain_cli.methods.recipes import RECIPES

from qtrain_cli.cli.table import COMMANDS
from qtrain_cli.data import READERS
from qtrain_cli.exports import EXPORTERS
from qtrain_cli.methods.generator.mapping import _APPLY, _START
from qtrain_cli.methods.generator.spec import MAPPINGS
from qtrain_cli.methods.table import METHODS, OURS
from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS
from qtrain_cli.quantum.estimators import ESTIMATORS
from qtrain_cli.quantum.noise import NOISES
from qtrain_cli.results.gates import GATES
from qtrain_cli.settings import ALIGNMENTS, PLOT_ENDINGS, SELF_METHODS, TEACHINGS
from qtrain_cli.students.spec import KINDS
from qtrain_cli.training import alignment

PACKAGE = Path(__file__).resolve().parents[1] / "qtrain_cli"
README = (PACKAGE.parent / "README.md").read_text()

#: Module -> ours that it imports, on loading or inside a function (not for type checking alone).
MAP = {
    # plain data, standard library only
    "errors": "",
    "methods": "",
    "config": "errors",
    "settings": "errors quantum.noise",
    "quantum.circuit": "errors",
    "quantum.noise": "errors",
    "spec": "errors quantum.circuit",
    "students": "",
    "students.fronts": "",
    "students.settings": "errors settings",
    "students.spec": "errors quantum.circuit quantum.feature_maps students.fronts",
    "accounting": "errors quantum.circuit spec",
    "planning": "accounting errors quantum.circuit settings spec",
    "results": "accounting errors methods",
    "gates": "errors results settings",
    "versions": "qtrain_cli",
    # circuits: nothing of weights, tasks or files
    "quantum": "",
    "quantum.entanglers": "quantum.circuit",
    "quantum.operations": "quantum.circuit",
    "quantum.rotations": "quantum.circuit",
    "quantum.couplings": "quantum.circuit quantum.rotations",
    "quantum.native": "quantum quantum.circuit",
    "quantum.batches": ("quantum.circuit quantum.entanglers quantum.feature_maps quantum.native"),
    "quantum.statevector": (
        "errors quantum.circuit quantum.couplings quantum.entanglers quantum.native quantum.rotations"
    ),
    "quantum.estimators": "quantum.circuit quantum.operations",
    "quantum.gradients": (
        "errors quantum.circuit quantum.estimators quantum.rotations quantum.shots quantum.statevector"
    ),
    "quantum.shots": "",
    "quantum.pennylane_bridge": "errors quantum.circuit quantum.feature_maps quantum.operations",
    "quantum.trajectories": "quantum.circuit quantum.operations quantum.rotations quantum.statevector",
    "quantum.qasm": "errors quantum.circuit quantum.operations",
    "quantum.encodings": "errors quantum.feature_maps",
    "quantum.feature_maps": "errors quantum.operations",
    "quantum.student_qasm": "quantum.circuit quantum.feature_maps quantum.operations",
    "quantum.unitaries": "quantum.circuit quantum.entanglers quantum.rotations",
    # from numbers to named weights: nothing of files or training
    "angles": "accounting codec errors quantum.circuit",
    "layout": "errors spec",
    "mapping": "spec",
    "generator": "layout mapping quantum.circuit quantum.statevector spec",
    "sampling": "",
    "codec": "accounting errors",
    # everything that touches disk
    "files": "",
    "files.hashing": "",
    "files.header": "errors",
    "files.atomic": "errors",
    "files.checkpoint": "errors files.atomic",
    "files.data": "errors settings",
    "files.models": "errors files.hashing settings",
    "files.exports": "errors files.atomic",
    "files.packed": "codec errors layout spec",
    "files.cells": "errors files.atomic results",
    "files.artifact": "",
    "files.artifact.container": "errors files.header",
    "files.artifact.payload": "errors files.artifact.container",
    "files.artifact.description": (
        "accounting errors files.artifact.container files.artifact.payload quantum.circuit results spec"
    ),
    "files.artifact.numbers": (
        "accounting angles errors files.artifact.container files.artifact.description files.atomic"
        " layout spec"
    ),
    "files.artifact.size": (
        "accounting files.artifact.container files.artifact.description files.artifact.payload results spec"
        " versions"
    ),
    "files.records": (
        "files.artifact.container files.artifact.description files.students.description results"
    ),
    "files.students": "",
    "files.students.description": "errors files.artifact.container files.header results students.spec",
    "files.students.tensors": "errors files.artifact.container files.atomic files.students.description",
    "regenerate": (
        "angles errors files.artifact.description files.artifact.numbers files.artifact.payload"
        " generator layout spec"
    ),
    # everything that improves numbers: of files, the data's types, the checkpoint and a rival's bytes
    "training": "",
    "training.devices": "errors",
    "training.stopping": "",
    "training.objective": "errors",
    "training.rounding": "angles spec",
    "training.whitened": "",
    "training.descent": "errors files.checkpoint training.whitened",
    "training.epochs": "",
    "training.state": "angles files.checkpoint mapping quantum.estimators settings spec training.descent",
    "training.measuring": (
        "errors generator quantum.circuit quantum.estimators quantum.gradients quantum.pennylane_bridge"
        " quantum.statevector settings"
    ),
    "training.statistics": "files.data training.objective",
    "training.measure": "files.data results training.objective",
    "training.fit": (
        "errors files.checkpoint files.data generator layout quantum.statevector settings spec"
        " training.devices training.epochs training.measuring training.objective training.rounding"
        " training.state training.stopping"
    ),
    "students.checkpoints": "errors files.checkpoint",
    "students.exports": (
        "errors files.exports files.students.tensors qtrain_cli quantum.student_qasm students.spec"
        " students.teachers"
    ),
    "students.teachers": (
        "errors files.artifact.container files.data files.header files.models files.students.description"
        " files.students.tensors settings training.devices training.objective training.students"
    ),
    "students.teaching": (
        "errors files.artifact.container files.atomic files.checkpoint files.data files.hashing"
        " files.students.description files.students.tensors qtrain_cli results students.checkpoints"
        " students.settings students.spec students.teachers training.alignment training.measure"
        " training.devices training.distillation training.fit training.objective training.students versions"
    ),
    "training.alignment": "errors training.objective",
    "training.distillation": (
        "errors files.checkpoint files.data settings training.alignment training.epochs training.fit"
        " training.objective training.stopping training.student_state training.students"
    ),
    "training.plateaus": "quantum.circuit quantum.statevector",
    "training.student_state": "files.checkpoint settings training.descent",
    "training.students": (
        "errors quantum.batches quantum.circuit quantum.encodings quantum.estimators quantum.feature_maps"
        " quantum.gradients quantum.native quantum.operations quantum.shots quantum.statevector"
        " quantum.unitaries students.fronts students.spec"
    ),
    "training.rivals": (
        "errors files.data files.packed layout mapping methods quantum.circuit spec training.descent"
        " training.devices training.epochs training.objective training.statistics"
    ),
    # one file a verb: neither cli nor render nor each other
    "commands": "",
    "commands.compress": (
        "angles errors files.artifact.container files.artifact.description files.artifact.numbers"
        " files.artifact.size files.atomic"
        " files.checkpoint files.data files.hashing files.models layout planning qtrain_cli regenerate"
        " results settings spec training training.devices training.fit training.measure training.measuring"
        " training.objective training.state training.statistics versions"
    ),
    "commands.compare": (
        "accounting errors files.artifact.container files.artifact.description files.artifact.numbers"
        " files.artifact.size"
        " files.atomic files.cells files.data files.hashing files.models files.packed layout methods"
        " planning qtrain_cli regenerate results settings spec training training.devices training.fit"
        " training.measure training.objective training.rivals"
    ),
    "commands.plan": (
        "accounting angles errors files.artifact.description files.artifact.size files.models generator"
        " layout mapping planning quantum.circuit settings spec training.devices training.objective"
        " training.whitened"
    ),
    "commands.inspect": (
        "errors files.artifact.container files.artifact.description files.checkpoint files.header"
        " files.models files.students.description students.spec"
    ),
    "commands.export": (
        "errors files.artifact.container files.artifact.description files.artifact.numbers files.atomic"
        " files.exports files.models files.students.description files.students.tensors layout qtrain_cli"
        " quantum.qasm regenerate settings spec students.exports"
    ),
    "commands.report": "errors files.atomic files.records gates results settings",
    "commands.verify": (
        "errors files.artifact.container files.artifact.numbers files.students.description"
        " files.students.tensors regenerate students.teaching"
    ),
    "commands.sample": (
        "errors files.artifact.container files.artifact.description files.artifact.numbers files.atomic"
        " files.data files.models generator quantum.noise quantum.pennylane_bridge quantum.trajectories"
        " regenerate results sampling settings training.measure training.objective"
    ),
    "commands.env": "versions",
    "commands.compare_gradients": (
        "errors files.atomic results students.settings students.spec students.teaching training.fit"
        " training.plateaus"
    ),
    "commands.compare_students": (
        "files.atomic results students.settings students.spec students.teaching training.fit"
    ),
    "commands.distill": "errors results students.settings students.teaching training.fit",
    "commands.train": "errors results students.settings students.teaching training.fit",
    # what people and Python meet
    "render": "results students.sections",
    "pictures": "errors",
    "render_comparison": "methods pictures results",
    "figures": "pictures results",
    "students.figures": "pictures results",
    "students.sections": "results",
    "progress": "",
    "cli": (
        "commands.compare commands.compare_gradients commands.compare_students commands.compress"
        " commands.distill commands.env commands.export commands.inspect commands.plan commands.report"
        " commands.sample commands.train commands.verify config errors figures files.atomic gates methods"
        " progress qtrain_cli quantum.circuit quantum.estimators quantum.noise render render_comparison"
        " results settings spec students.figures students.settings"
    ),
    "api": (
        "errors files.artifact.container files.artifact.description files.artifact.numbers files.data"
        " files.students.description files.students.tensors regenerate students.teachers"
    ),
    "qtrain_cli": "api",
    "__main__": "cli",
}

#: Folders of which `MAP` has one row.
ONE_ROW = (
    "training.students", "cli", "results", "settings", "files.data", "files.models", "files.exports",
    "training.rivals",
)  # fmt: skip

#: Third-party packages that may be imported on loading; all others inside functions only.
LIGHT = {"torch", "numpy", "safetensors", "typer"}

#: These, and all that they import on loading, need the standard library only (cli: and typer).
WITHOUT_TORCH = (
    "__main__", "cli", "qtrain_cli", "methods", "render", "render_comparison", "progress", "config",
    "settings", "errors", "gates", "results", "spec", "accounting", "planning", "versions", "quantum.circuit",
    "quantum.operations", "quantum.estimators", "quantum.noise", "figures", "pictures", "files.header",
    "files.atomic",
    "files.hashing", "files.artifact.container", "files.artifact.payload", "files.artifact.description",
    "commands.report",
    "commands.env", "students", "students.spec", "students.fronts", "students.settings", "students.sections",
    "files.records",
    "files.students", "files.students.description", "quantum.feature_maps", "quantum.student_qasm",
)  # fmt: skip

#: What the README calls the rows of `READERS`.
DATA_FORMS = ("hf:NAME", "file.py:function", "Parquet", ".csv", "train/CLASS/", ".npz", ".safetensors")

MAY_PRINT = ("cli", "render", "progress")
MAY_EXIT = ("cli", "__main__")
MOST_LINES, MOST_BODY_LINES = 400, 40
NO_NAMES = ("utils", "common", "helpers", "core", "misc")


@dataclass(frozen=True)
class Import:
    """One imported module or name, and whether it is imported on loading or inside a function."""

    name: str
    on_loading: bool


def row_of(module: str) -> str:
    """``qtrain_cli.files.data.npz`` -> ``files.data``; the package itself goes by its own name."""
    short = module.removeprefix("qtrain_cli.")
    return next((row for row in ONE_ROW if short == row or short.startswith(f"{row}.")), short)


def modules_in(package: Path) -> dict[str, ast.Module]:
    """The syntax trees of a package's modules by dotted name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        name = ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text())
    return found


@functools.cache
def imports_of(tree: ast.Module) -> tuple[Import, ...]:
    """Every import of a module, but those for type checking alone."""
    return tuple(imports_under(tree, True))


def imports_under(tree: ast.AST, on_loading: bool) -> Iterator[Import]:
    """Every import under a node; those inside functions are not for loading."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, on_loading) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (Import(f"{node.module}.{alias.name}", on_loading) for alias in node.names)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from imports_under(node, on_loading and not inside)


def module_of(name: str, modules: dict[str, ast.Module]) -> str:
    """The module that an imported name belongs to: a name of it, or the module itself."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def edges_of(modules: dict[str, ast.Module], on_loading_only: bool = False) -> dict[str, set[str]]:
    """Row -> rows that it imports."""
    edges: dict[str, set[str]] = {row_of(module): set() for module in modules}
    for module, tree in modules.items():
        for found in imports_of(tree):
            if found.name.startswith("qtrain_cli") and (found.on_loading or not on_loading_only):
                target = row_of(module_of(found.name, modules))
                edges[row_of(module)] |= {target} - {row_of(module)}
    return edges


def third_party_of(modules: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Row -> packages, neither ours nor Python's, that it imports on loading."""
    packages: dict[str, set[str]] = {row_of(module): set() for module in modules}
    for module, tree in modules.items():
        tops = {found.name.split(".")[0] for found in imports_of(tree) if found.on_loading}
        packages[row_of(module)] |= tops - set(sys.stdlib_module_names) - {"qtrain_cli"}
    return packages


def reached_on_loading(row: str, edges: dict[str, set[str]]) -> set[str]:
    """A row and all rows that its loading loads, the folders above them included."""
    reached: set[str] = set()
    waiting = [row]
    while waiting:
        here = waiting.pop()
        if here not in reached:
            reached.add(here)
            waiting += [*edges[here], *([here.rpartition(".")[0]] if "." in here else [])]
    return reached


def wrong_edges(modules: dict[str, ast.Module]) -> list[str]:
    """What the map does not allow, and what it allows in vain."""
    found, allowed = edges_of(modules), {row: set(targets.split()) for row, targets in MAP.items()}
    rows = [f"{row} has no row" for row in found.keys() - allowed.keys()]
    rows += [f"{row} is not there" for row in allowed.keys() - found.keys()]
    for row in found.keys() & allowed.keys():
        rows += [f"{row} imports {target}" for target in found[row] - allowed[row]]
        rows += [f"{row} does not import {target}" for target in allowed[row] - found[row]]
    return sorted(rows)


def heavy_imports(modules: dict[str, ast.Module]) -> list[str]:
    """Packages that are imported on loading and should not be: anywhere, or where torch is not wanted."""
    packages = third_party_of(modules)
    rows = [f"{row} loads {name}" for row, names in packages.items() for name in names - LIGHT]
    edges = edges_of(modules, on_loading_only=True)
    for start in set(WITHOUT_TORCH) & packages.keys():
        for row in reached_on_loading(start, edges):
            rows += [f"{start} loads {name} through {row}" for name in packages[row] - {"typer"}]
    return sorted(rows)


@functools.cache
def calls_of(tree: ast.Module) -> list[str]:
    """What a module calls, as it is written."""
    return [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def misplaced_calls(modules: dict[str, ast.Module]) -> list[str]:
    """Printing and leaving where neither belongs."""
    rows = []
    for module, tree in modules.items():
        for call in calls_of(tree):
            prints = call == "print" or call.startswith(("sys.stdout.write", "sys.stderr.write"))
            exits = call in ("exit", "quit", "sys.exit", "os._exit", "os.abort")
            if (prints and row_of(module) not in MAY_PRINT) or (exits and row_of(module) not in MAY_EXIT):
                rows.append(f"{module} calls {call}")
    return rows


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body, without its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def too_long(package: Path) -> list[str]:
    """Files and function bodies beyond the limits."""
    rows = []
    for path in sorted(package.rglob("*.py")):
        text = path.read_text()
        if len(text.splitlines()) > MOST_LINES:
            rows.append(f"{path.name} has {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and body_lines(node) > MOST_BODY_LINES:
                rows.append(f"{path.name}: {node.name} has {body_lines(node)} lines")
    return rows


def catch_alls(package: Path) -> list[str]:
    """Files and folders whose names say nothing of what is in them."""
    return sorted(path.name for path in package.rglob("*") if path.stem in NO_NAMES)


def without_docstring(package: Path) -> list[str]:
    """Modules that do not open with their idea."""
    trees = ((path.name, ast.parse(path.read_text())) for path in sorted(package.rglob("*.py")))
    return [name for name, tree in trees if not ast.get_docstring(tree)]


# --- the code --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def modules() -> dict[str, ast.Module]:
    return modules_in(PACKAGE)


def test_every_import_is_on_the_map_and_no_edge_is_stale(modules):
    assert wrong_edges(modules) == []


def test_the_map_has_no_circle():
    left = {row: set(targets.split()) for row, targets in MAP.items()}
    # The package names its Python use, `api`, which it loads at the first use only.
    left["qtrain_cli"] = set()
    while left:
        free = {row for row, targets in left.items() if not targets & left.keys()}
        assert free, f"a circle among {sorted(left)}"
        left = {row: targets for row, targets in left.items() if row not in free}


def test_nothing_heavy_is_imported_on_loading(modules):
    assert heavy_imports(modules) == []
    assert set(WITHOUT_TORCH) <= MAP.keys()


def test_commands_know_neither_each_other_nor_how_they_are_shown():
    for row, targets in MAP.items():
        if row.startswith("commands."):
            strangers = {"cli", "render", "progress", "api"} & set(targets.split())
            assert not strangers and "commands." not in targets, row


def test_only_the_edge_prints_and_leaves(modules):
    assert misplaced_calls(modules) == []


def test_files_and_functions_are_short():
    assert too_long(PACKAGE) == []


def test_names_say_what_is_inside_and_files_open_with_their_idea():
    assert catch_alls(PACKAGE) == []
    assert without_docstring(PACKAGE) == []


# --- tables and what people read -------------------------------------------------------------------------


def test_every_mapping_that_is_counted_is_applied():
    assert list(_APPLY) == list(_START) == list(MAPPINGS)


def test_every_alignment_that_can_be_asked_for_is_there():
    assert tuple(alignment.ALIGN_LOSSES) == ALIGNMENTS


def test_every_method_has_a_recipe_but_ours():
    assert [OURS, *RECIPES] == list(METHODS)
    assert all(recipe.name == name for name, recipe in RECIPES.items())


def test_every_command_is_a_file_and_the_other_way_round():
    files = {path.stem.replace("_", "-") for path in (PACKAGE / "commands").glob("*.py")} - {"--init--"}
    assert files == set(COMMANDS)
    for verb in COMMANDS:
        assert callable(importlib.import_module(f"qtrain_cli.commands.{verb.replace('-', '_')}").run)


@pytest.mark.parametrize(
    ("verb", "rows"),
    [
        ("compress", [*ANSATZE, *ENTANGLERS, *MAPPINGS, *ESTIMATORS]),
        ("train", [*KINDS, *ESTIMATORS]),
        ("distill", [*KINDS, *ESTIMATORS, *ALIGNMENTS, *SELF_METHODS]),
        ("compare-students", [*KINDS, *TEACHINGS, *ALIGNMENTS]),
        ("compare-gradients", list(ESTIMATORS)),
        ("plan", [*ANSATZE, *ENTANGLERS, *MAPPINGS]),
        ("compare", list(METHODS)),
        ("export", list(EXPORTERS)),
        ("report", [f"--{gate}" for gate in GATES]),
        ("sample", [*NOISES, *PLOT_ENDINGS]),
    ],
)
def test_every_row_of_a_table_is_in_the_help(cli, verb, rows):
    text = " ".join(cli(verb, "--help").out.split()).replace("- ", "-")  # help breaks lines after dashes
    assert [row for row in rows if row not in text] == []


def test_every_row_of_a_table_is_in_the_readme():
    rows = [*EXPORTERS, *DATA_FORMS, *ESTIMATORS, *(f"qtrain {verb}" for verb in COMMANDS)]
    assert [row for row in rows if row not in README] == []
    for form, reader in zip(DATA_FORMS, READERS, strict=True):
        assert form.lower() in reader.form.lower()


# --- the checks themselves -------------------------------------------------------------------------------


@pytest.fixture
def planted(modules):
    """``planted(path, text)``: the package's modules with a fault planted at the end of one."""

    def plant(path: str, text: str) -> dict[str, ast.Module]:
        file, name = PACKAGE / path, f"qtrain_cli.{path.removesuffix('.py').replace('/', '.')}"
        return {**modules, name: ast.parse((file.read_text() if file.exists() else "") + text)}

    return plant


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("settings/shared.py", "\nimport qtrain_cli.results\n", "settings imports results"),
        ("layout.py", "\ndef f():\n    from qtrain_cli.files.data import npz\n", "layout imports files.data"),
        ("training/fit.py", "\nfrom qtrain_cli.files import models\n", "training.fit imports files.models"),
        ("commands/verify.py", "\nfrom qtrain_cli import render\n", "commands.verify imports render"),
        ("extra.py", "", "extra has no row"),
    ],
)
def test_a_planted_edge_is_found(planted, path, text, said):
    assert said in wrong_edges(planted(path, text))


def test_an_edge_that_is_gone_and_a_module_that_is_gone_are_found(modules):
    found = {name: tree for name, tree in modules.items() if name != "qtrain_cli.cli.progress"}
    rows = wrong_edges({**found, "qtrain_cli.methods.generator.mapping": ast.parse("")})
    assert "mapping does not import spec" in rows and "progress is not there" in rows


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("spec.py", "\nimport torch\n", "cli loads torch through spec"),
        ("render.py", "\nimport rich\n", "render loads rich"),
        ("files/header.py", "\nimport numpy\n", "commands.report loads numpy through files.header"),
        ("cli/main.py", "\nfrom qtrain_cli import layout\n", "cli loads torch through layout"),
    ],
)
def test_a_planted_heavy_import_is_found(planted, path, text, said):
    assert said in heavy_imports(planted(path, text))


def test_imports_inside_functions_and_for_types_do_not_load(planted):
    text = "\ndef f():\n    import rich\n\nif TYPE_CHECKING:\n    import jinja2\n"
    assert heavy_imports(planted("gates.py", text)) == []


@pytest.mark.parametrize(
    "call", ["print('x')", "sys.stdout.write('x')", "sys.stderr.write('x')", "sys.exit(1)", "exit()"]
)
def test_a_planted_call_is_found(planted, call):
    found = misplaced_calls(planted("layout.py", f"\ndef f():\n    {call}\n"))
    assert found == [f"qtrain_cli.targets.layout calls {call.partition('(')[0]}"]


def test_planted_length_names_and_silence_are_found(tmp_path):
    (tmp_path / "utils.py").write_text('"""Long."""\n' + "\n" * 400)
    (tmp_path / "silent.py").write_text("x = 1\n")
    body = "\n".join("    x = 1" for _ in range(41))
    (tmp_path / "long.py").write_text(f'"""Long."""\n\ndef f():\n    """Not counted."""\n{body}\n')
    assert too_long(tmp_path) == ["long.py: f has 41 lines", "utils.py has 401 lines"]
    assert catch_alls(tmp_path) == ["utils.py"]
    assert without_docstring(tmp_path) == ["silent.py"]
