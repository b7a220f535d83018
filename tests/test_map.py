"""The map of the code, checked on the code itself, in what no linter knows.

Who imports whom is import-linter's (`pyproject.toml`); here it is only seen to catch an import upward and a
circle. The rest is read off the tree as it stands: who prints, what loads torch, how long and how wide things
are, what is named twice; and that tables, help and README tell the same.

Each check is a function of a folder or of its modules, so that each is seen to fail on a planted fault.
"""

import ast
import functools
import importlib
import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from qtrain_cli.cli.table import COMMANDS
from qtrain_cli.data import READERS
from qtrain_cli.exports import EXPORTERS
from qtrain_cli.methods.generator.mapping import _APPLY, _START
from qtrain_cli.methods.generator.spec import MAPPINGS
from qtrain_cli.methods.table import METHODS
from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS
from qtrain_cli.quantum.estimators import ESTIMATORS
from qtrain_cli.quantum.noise import NOISES
from qtrain_cli.results.gates import GATES
from qtrain_cli.settings import ALIGNMENTS, PLOT_ENDINGS, SELF_METHODS, TEACHINGS
from qtrain_cli.students.spec import KINDS
from qtrain_cli.training import alignment

PACKAGE = Path(__file__).resolve().parents[1] / "qtrain_cli"
PROJECT = PACKAGE.parent / "pyproject.toml"
README = (PACKAGE.parent / "README.md").read_text()

#: All that lies in no folder. A folder is a room; what else is to be found at once has its own name here.
AT_THE_TOP = {"__init__", "__main__", "api", "errors"}

#: Third-party packages that may be imported on loading; all others inside functions only.
LIGHT = {"torch", "numpy", "safetensors", "typer"}

#: Rooms and modules that, with all that they import on loading, need typer and the standard library only:
#: records, and what answers at once.
WITHOUT_TORCH = (
    "__init__", "__main__", "errors", "settings", "results", "tasks", "cli", "report",
    "commands.report", "commands.env",
)  # fmt: skip

#: What the README calls the rows of `READERS`.
DATA_FORMS = (
    "hf:NAME", "file.py:function", "save_to_disk", "Parquet", ".csv", "metadata.csv", ".jsonl",
    "train/CLASS/", ".npz", ".safetensors",
)  # fmt: skip

MAY_PRINT = ("cli", "report")
MAY_EXIT = ("cli", "__main__")
MOST_LINES, MOST_BODY_LINES, MOST_BODY_LINES_OF_NINE_TENTHS, MOST_PARAMETERS = 400, 40, 14, 8
NO_NAMES = ("utils", "common", "helpers", "core", "misc")

#: Names that every file of a room has, because the room's table says so: one name, one meaning.
INTERFACES = {
    "artifact": {"opened"},
    "commands": {"run"},
    "data": {"matches", "read"},
    "methods": {
        "METHOD",
        "plan",
        "portable",
        "forms",
        "start",
        "decode",
        "largest",
        "bits",
        "module",
        "origin",
    },
    "quantum": {"available", "backward", "forward", "knows_circuit", "supports_circuit"},
}

#: What Triton compiles: imported where it runs, its constants its parameters.
KERNELS = "quantum.gpu_kernels"


# --- the checks ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Import:
    """One imported module or name, and whether it is imported on loading or inside a function."""

    name: str
    on_loading: bool


@functools.cache
def tree_of(text: str) -> ast.Module:
    """The syntax tree of a file's text, which several checks read."""
    return ast.parse(text)


def modules_in(package: Path) -> dict[str, ast.Module]:
    """The syntax trees of a package's modules by dotted name: ``files.header``, ``files``, ``__init__``."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        name = ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__")
        found[name] = tree_of(path.read_text())
    return found


def room_of(module: str) -> str:
    """``data.npz`` -> ``data``."""
    return module.split(".")[0]


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
    """The module that an imported name of ours belongs to: a name of it, or the module itself."""
    short = name.removeprefix("qtrain_cli").removeprefix(".")
    while short and short not in modules:
        short = short.rpartition(".")[0]
    return short or "__init__"


def loads_of(module: str, modules: dict[str, ast.Module]) -> tuple[set[str], set[str]]:
    """What the loading of a module loads directly: modules of ours, and packages of others."""
    names = {found.name for found in imports_of(modules[module]) if found.on_loading}
    ours = {name for name in names if name.split(".")[0] == "qtrain_cli"}
    others = {name.split(".")[0] for name in names - ours} - set(sys.stdlib_module_names)
    above = itertools.accumulate(module.split(".")[:-1], "{}.{}".format)
    return {module_of(name, modules) for name in ours} | set(above), others


def reached_on_loading(start: str, loads: dict[str, tuple[set[str], set[str]]]) -> set[str]:
    """A module and all modules that its loading loads, the folders above them included."""
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        here = waiting.pop()
        if here not in reached:
            reached.add(here)
            waiting += loads[here][0]
    return reached


def heavy_imports(modules: dict[str, ast.Module]) -> list[str]:
    """Packages that are imported on loading and should not be: anywhere, or where torch is not wanted."""
    allowed = {module: LIGHT | ({"triton"} if module == KERNELS else set()) for module in modules}
    loads = {module: loads_of(module, modules) for module in modules}
    rows = [f"{one} loads {name}" for one in modules for name in loads[one][1] - allowed[one]]
    rows += [f"{one} loads {KERNELS}" for one in modules if KERNELS in loads[one][0]]
    starts = [module for module in modules if {module, room_of(module)} & set(WITHOUT_TORCH)]
    for start in starts:
        for module in reached_on_loading(start, loads):
            names = loads[module][1] - {"typer"}
            rows += [f"{start} loads {name} through {module}" for name in names]
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
            if (prints and room_of(module) not in MAY_PRINT) or (exits and room_of(module) not in MAY_EXIT):
                rows.append(f"{module} calls {call}")
    return rows


@functools.cache
def functions_of(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a module, nested ones too."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


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
        for function in functions_of(tree_of(text)):
            if body_lines(function) > MOST_BODY_LINES:
                rows.append(f"{path.name}: {function.name} has {body_lines(function)} lines")
    return rows


def lines_of_nine_tenths(modules: dict[str, ast.Module]) -> int:
    """So many lines at most have nine tenths of all function bodies."""
    lengths = sorted(body_lines(function) for tree in modules.values() for function in functions_of(tree))
    return lengths[9 * len(lengths) // 10]


def too_wide(modules: dict[str, ast.Module]) -> set[str]:
    """Functions that take more than a person can hold in mind: such take a record."""
    return {
        f"{room_of(module)}: {function.name}"
        for module, tree in modules.items()
        for function in (() if module == KERNELS else functions_of(tree))
        if len([node for node in ast.walk(function.args) if isinstance(node, ast.arg)]) > MOST_PARAMETERS
    }


def public_names(tree: ast.Module) -> set[str]:
    """Functions, classes and constants that a module defines for others."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            inside = itertools.chain.from_iterable(map(ast.walk, targets))
            names |= {part.id for part in inside if isinstance(part, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def defined_twice(modules: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Public names with more than one definition, and where. A room's interface counts once."""
    places: dict[str, set[str]] = defaultdict(set)
    for module, tree in modules.items():
        for name in public_names(tree):
            shared = name in INTERFACES.get(room_of(module), ())
            places[name].add(room_of(module) if shared else module)
    return {name: where for name, where in sorted(places.items()) if len(where) > 1}


def without_room(modules: dict[str, ast.Module]) -> set[str]:
    """Modules that lie beside the folders and not in one."""
    folders = {room_of(module) for module in modules if "." in module}
    return {module for module in modules if "." not in module} - folders - AT_THE_TOP


def catch_alls(package: Path) -> list[str]:
    """Files and folders whose names say nothing of what is in them."""
    return sorted(path.name for path in package.rglob("*") if path.stem in NO_NAMES)


def without_docstring(package: Path) -> list[str]:
    """Modules that do not open with their idea."""
    trees = ((path.name, tree_of(path.read_text())) for path in sorted(package.rglob("*.py")))
    return [name for name, tree in trees if not ast.get_docstring(tree)]


# --- the code --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def modules() -> dict[str, ast.Module]:
    return modules_in(PACKAGE)


def test_nothing_heavy_is_imported_on_loading(modules):
    assert heavy_imports(modules) == []
    known = modules.keys() | {room_of(module) for module in modules}
    assert set(WITHOUT_TORCH) <= known


def test_only_the_edge_prints_and_leaves(modules):
    assert misplaced_calls(modules) == []


def test_files_and_functions_are_short(modules):
    assert too_long(PACKAGE) == []
    assert lines_of_nine_tenths(modules) <= MOST_BODY_LINES_OF_NINE_TENTHS


def test_functions_take_few_parameters(modules):
    assert too_wide(modules) == set()


def test_no_public_name_is_defined_twice(modules):
    assert defined_twice(modules) == {}


def test_an_interface_is_what_the_files_of_a_room_share(modules):
    for room, names in INTERFACES.items():
        defined = [
            name for module in modules if room_of(module) == room for name in public_names(modules[module])
        ]
        assert {name for name in names if defined.count(name) < 2} == set(), "strike it off"


def test_every_module_has_a_room(modules):
    assert without_room(modules) == set()


def test_names_say_what_is_inside_and_files_open_with_their_idea():
    assert catch_alls(PACKAGE) == []
    assert without_docstring(PACKAGE) == []


# --- tables and what people read -------------------------------------------------------------------------


def test_every_mapping_that_is_counted_is_applied():
    assert list(_APPLY) == list(_START) == list(MAPPINGS)


def test_every_alignment_that_can_be_asked_for_is_there():
    assert tuple(alignment.ALIGN_LOSSES) == ALIGNMENTS


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
    """``planted(module, text)``: the package's modules with a fault planted at the end of one."""

    def plant(module: str, text: str) -> dict[str, ast.Module]:
        before = ast.unparse(modules[module]) if module in modules else ""
        return {**modules, module: ast.parse(f"{before}\n{text}")}

    return plant


@pytest.mark.parametrize(
    ("module", "text", "said"),
    [
        ("errors", "import torch", "cli.main loads torch through errors"),
        ("report.render", "import rich", "report.render loads rich"),
        ("files.header", "import numpy", "commands.report loads numpy through files.header"),
        ("cli.main", "from qtrain_cli.targets import layout", "cli.main loads torch through targets.layout"),
        ("data.npz", "import pennylane", "data.npz loads pennylane"),
    ],
)
def test_a_planted_heavy_import_is_found(planted, module, text, said):
    assert said in heavy_imports(planted(module, text))


def test_imports_inside_functions_and_for_types_do_not_load(modules, planted):
    text = "def f():\n    import rich\n\nif TYPE_CHECKING:\n    import jinja2\n"
    assert heavy_imports(planted("results.gates", text)) == heavy_imports(modules)


@pytest.mark.parametrize(
    "call", ["print('x')", "sys.stdout.write('x')", "sys.stderr.write('x')", "sys.exit(1)", "exit()"]
)
def test_a_planted_call_is_found(planted, call):
    found = misplaced_calls(planted("targets.layout", f"def f():\n    {call}\n"))
    assert found == [f"targets.layout calls {call.partition('(')[0]}"]


def test_planted_length_names_and_silence_are_found(tmp_path):
    (tmp_path / "utils.py").write_text('"""Long."""\n' + "\n" * 400)
    (tmp_path / "silent.py").write_text("x = 1\n")
    body = "\n".join("    x = 1" for _ in range(41))
    (tmp_path / "long.py").write_text(f'"""Long."""\n\ndef f():\n    """Not counted."""\n{body}\n')
    assert too_long(tmp_path) == ["long.py: f has 41 lines", "utils.py has 401 lines"]
    assert lines_of_nine_tenths(modules_in(tmp_path)) == 41
    assert catch_alls(tmp_path) == ["utils.py"]
    assert without_docstring(tmp_path) == ["silent.py"]


def test_a_planted_wide_function_is_found(planted):
    names = ", ".join("abcdefgh")
    text = f"def fits({names}): ...\ndef wide({names}, *rest): ...\ndef wider({names}, *, i): ...\n"
    assert too_wide(planted("errors", text)) == {"errors: wide", "errors: wider"}


def test_a_planted_second_definition_is_found(planted):
    text = "def load_model(): ...\nBadInput: int = 1\ndef _own(): ...\n"
    twice = defined_twice(planted("targets.layout", text))
    assert twice["load_model"] == {"models", "targets.layout"}
    assert twice["BadInput"] == {"errors", "targets.layout"} and "_own" not in twice


def test_an_interface_is_one_definition_in_its_room_only(planted):
    assert "matches" not in defined_twice(planted("data.more", "def matches(): ..."))
    assert defined_twice(planted("errors", "def matches(): ..."))["matches"] == {"data", "errors"}


def test_a_planted_loose_module_is_found(planted):
    assert without_room(planted("loose", "")) == {"loose"}


# --- who imports whom ------------------------------------------------------------------------------------

CONTRACTS = tomllib.loads(PROJECT.read_text())["tool"]["importlinter"]["contracts"]
LAYERS, NO_CIRCLE, APART = (
    next(contract for contract in CONTRACTS if contract["type"] == kind)
    for kind in ("layers", "acyclic_siblings", "independence")
)
TOP, LOW = (LAYERS["layers"][place].split("|")[0].strip() for place in (0, -2))
UPWARD = {LAYERS["name"], NO_CIRCLE["name"]}  # as long as the top imports what is low, a circle too
FOR_TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "


def linted(folder: Path, planted: dict[str, str]) -> tuple[int, set[str]]:
    """import-linter's exit code, and the contracts it finds broken in a copy with files planted in it."""
    left_out = shutil.ignore_patterns("__pycache__", "native", "*.so")
    shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=left_out)
    shutil.copy(PROJECT, folder)
    for name, text in planted.items():
        (folder / PACKAGE.name / name).write_text(text)
    # Python puts the folder it runs in first, so that the copy is what is linted.
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"
    plain = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run([sys.executable, "-c", lint], cwd=folder, env=plain, capture_output=True, text=True)
    names = {contract["name"] for contract in CONTRACTS}
    assert done.stdout.count(" KEPT") + done.stdout.count(" BROKEN") == len(names), done.stdout + done.stderr
    return done.returncode, {name for name in names if f"{name} BROKEN" in done.stdout}


@pytest.mark.skipif(importlib.util.find_spec("importlinter") is None, reason="needs import-linter")
@pytest.mark.parametrize(
    ("planted", "broken"),
    [
        ({}, set()),
        ({f"{LOW}/up.py": f"from qtrain_cli.{TOP} import main\n"}, UPWARD),
        ({f"{LOW}/up.py": f"def late():\n    from qtrain_cli import {TOP}\n"}, UPWARD),
        ({f"{LOW}/up.py": f"{FOR_TYPES}from qtrain_cli import {TOP}\n"}, UPWARD),
        (
            {
                f"{LOW}/one.py": f"from qtrain_cli.{LOW} import two\n",
                f"{LOW}/two.py": f"{FOR_TYPES}from qtrain_cli.{LOW}.one import two\n",
            },
            {NO_CIRCLE["name"]},
        ),
        ({"loose.py": ""}, {LAYERS["name"]}),
        ({"commands/more.py": "from qtrain_cli.commands.env import run\n"}, {APART["name"]}),
    ],
    ids=["as it is", "up", "up, late", "up, for types", "circle", "in no layer", "commands"],
)
def test_import_linter_finds_what_is_planted(tmp_path, planted, broken):
    assert linted(tmp_path, planted) == (int(bool(broken)), broken)
