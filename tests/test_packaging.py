"""What is installed: few packages, one wheel for every Python, all pages and the sample."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from warm import warm_commands

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "qtrain_cli"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
#: What `pip install qtrain` brings, and nothing else.
LEAN = ["torch", "numpy", "safetensors", "typer", "rich"]


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9_.-]+", requirement)
    assert found
    return found[0].lower()


def missing_packages() -> list[tuple[str, ast.Call]]:
    """Each call that names a package which is not installed, with its file."""
    texts = {path: path.read_text() for path in PACKAGE.rglob("*.py")}
    trees = {path: ast.parse(text) for path, text in texts.items() if "missing_package" in text}
    calls = [(path, node) for path, tree in trees.items() for node in ast.walk(tree)]
    return [
        (path.name, node)
        for path, node in calls
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("missing_package")
    ]


def test_the_install_is_lean() -> None:
    assert [name_of(one) for one in PROJECT["dependencies"]] == LEAN


def test_whoever_misses_a_package_is_told_an_extra_that_brings_it() -> None:
    told = [[ast.literal_eval(word) for word in call.args[1:] if isinstance(word, ast.Constant)]
            for _, call in missing_packages()]  # fmt: skip
    named = [row for row in told if len(row) == 2]
    assert len(named) > 8
    for package, extra in named:
        whole = [name_of(one) for one in EXTRAS[extra]]
        others = re.findall(r"qtrain\[(\w+)\]", " ".join(EXTRAS[extra]))
        inner = [name_of(one) for other in others for one in EXTRAS[other]]
        assert package in (*whole, *inner) or package == "tokenizers", (package, extra)


def test_pages_and_sample_are_package_data() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert setuptools["include-package-data"] is False, "or a wheel has the sources of the kernels too"
    shipped = {path for pattern in setuptools["package-data"]["qtrain_cli"] for path in PACKAGE.glob(pattern)}
    others = {
        path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc", ".so")
    }
    others -= {path for path in others if path.parent.name == "native"}
    assert others - shipped == set()
    assert {"start.md", "bytes.md", "digits.npz"} <= {path.name for path in shipped}


def test_the_sdist_has_what_builds_it_and_what_tests_it(tmp_path: Path) -> None:
    code = "import sys; sys.path.insert(0, '.packaging'); import backend; backend.build_sdist(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if "No module named 'setuptools'" in done.stderr:
        pytest.skip("setuptools is not installed")
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("native/*") if path.is_file()}
    others = {".packaging/backend.py", ".packaging/setup.py", "pyproject.toml", "tests/test_packaging.py"}
    assert sources and sources | others | {"samples/digits/digits.npz", "CHANGELOG.md"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc"))]


@pytest.mark.parametrize(("pure", "extensions"), [("0", 2), ("1", 0)])
def test_setup_makes_both_extensions_for_every_python_or_none(pure: str, extensions: int) -> None:
    code = (
        "import setuptools, sys; made = {}\n"
        "setuptools.setup = lambda **words: made.update(words)\n"
        "exec(compile(open('.packaging/setup.py').read(), 'setup.py', 'exec'), {'__name__': 'setup'})\n"
        "rows = made['ext_modules']\n"
        "print(len(rows), all(row.py_limited_api and row.sources and row.depends for row in rows))\n"
        "print(made['distclass']().has_ext_modules(), made['options'].get('bdist_wheel'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"QTRAIN_PURE": pure, "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "No module named 'setuptools'" in done.stderr:
        pytest.skip("setuptools is not installed")
    assert done.stdout.splitlines() == [
        f"{extensions} True", "True {'py_limited_api': 'cp311'}" if extensions else "False None",
    ]  # fmt: skip


def test_the_compiled_parts_use_the_limited_api_alone() -> None:
    """Both say so by their file's name, and ask for no name that another version may lack."""
    from qtrain_cli.portable import kernel
    from qtrain_cli.quantum import native

    for part in (native._kernels, kernel._steps):
        if part is None or not part.__file__.endswith(".abi3.so"):
            pytest.skip("the compiled parts were not built with the limited API")
        data = Path(part.__file__).read_bytes()
        names = {name.decode() for name in re.findall(rb"\0(_?Py[A-Z]\w+)(?=\0)", data)}
        assert "PyModule_Create2" in names
        # These two are in the stable list, for macros.
        assert {name for name in names if name.startswith("_")} <= {
            "_PyArg_ParseTuple_SizeT",
            "_Py_NoneStruct",
        }


@pytest.fixture(scope="module")
def with_torch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PATH on which `python` has imported PyTorch, and nothing of ours."""
    with warm_commands(tmp_path_factory.mktemp("torch"), "torch") as path:
        yield path


def test_the_plain_kernel_can_be_asked_for(with_torch: str) -> None:
    def said(**more: str) -> tuple[int, str]:
        code = "from qtrain_cli.quantum import native; print(native.COMPILED_FOR)"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": with_torch, **more}
        done = subprocess.run(
            ["python", "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, (done.stdout + done.stderr).strip()

    code, level = said()
    if not level:
        pytest.skip("the kernel is not built")
    assert code == 0 and said(QTRAIN_KERNEL="base") == (0, "base")
    code, text = said(QTRAIN_KERNEL="nonsense")
    assert code == 1 and "QTRAIN_KERNEL is 'nonsense'" in text
