"""Every failure that a user can act on says what to do next, read off the code itself.

A call of one of our failures, or of `require`, has a second text, or is in the table of those that have none
because what raises again above gives its own, or because nobody but a programmer meets it.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "qtrain_cli"
FAILURES = {"UsageError", "BadInput", "RunFailed", "Refused", "GateFailed", "Interrupted", "require"}
#: Modules (or all below a folder) whose failures have no advice of their own, and why.
ADVISED_ABOVE = {
    "artifact": "`formats.refusals` makes them a damaged file, to be got again",
    "methods/generator/plan.py": "facts of a file: `formats.refusals` says that it is damaged",
    "targets/change.py": "facts of a file, too: what `--target` says has been checked by `parse_target`",
    "targets/entries.py": "rows of a file, too: `layout_of` makes no others",
    "targets/kept.py": "bits of a file, too",
    "files/codec.py": "numbers of a file, too: what is written is clipped to its range before",
    "results": "`--baseline` says how one is made, an artifact that it is damaged, and pages leave it out",
    "runs/cell_folder.py": "`load` says that the cell runs again",
}
#: Failures of the engine, which has been handed tensors by a program: (module, how the message begins).
FOR_PROGRAMMERS = {
    ("quantum/encodings.py", "the features have the shape "),
    ("quantum/portable_circuit.py", "the angles are "),
    ("quantum/statevector.py", "the states are "),
    ("quantum/statevector.py", "the angles are "),
    ("targets/layout.py", " weights for a layout of "),
}


def text_of(node: ast.expr) -> str:
    """What stands literally in a text, and begins it."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join(str(part.value) for part in parts if isinstance(part, ast.Constant))


def lacks_advice(call: ast.Call) -> bool:
    """Whether a failure is made without a second text, and its first names no option with what it allows."""
    name = getattr(call.func, "id", "")
    given = call.args[1:] if name == "require" else call.args
    if name not in FAILURES or any(isinstance(one, ast.Starred) for one in given) or call.keywords:
        return False
    if len(given) > 1:
        return isinstance(given[1], ast.Constant) and not given[1].value
    return not (name == "require" and "; allowed: " in text_of(given[0]))


def without_advice(package: Path) -> list[tuple[str, str]]:
    """Each failure that says nothing of what to do next: its module, and its message."""
    return [
        (path.relative_to(package).as_posix(), text_of(call.args[0]))
        for path in sorted(package.rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and lacks_advice(call)
    ]


def within(module: str, name: str) -> bool:
    """Whether it is this module, or lies in this folder."""
    return module == name or module.startswith(f"{name}/")


def known(module: str, message: str) -> bool:
    """Whether the tables give a reason."""
    above = any(within(module, name) for name in ADVISED_ABOVE)
    return above or any(module == of and message.startswith(begin) for of, begin in FOR_PROGRAMMERS)


def test_every_failure_says_what_to_do_next():
    assert [row for row in without_advice(PACKAGE) if not known(*row)] == []


def test_no_exception_has_lost_its_reason():
    found = without_advice(PACKAGE)
    assert [name for name in ADVISED_ABOVE if not any(within(module, name) for module, _ in found)] == []
    assert [
        (of, begin)
        for of, begin in FOR_PROGRAMMERS
        if not any(module == of and message.startswith(begin) for module, message in found)
    ] == []


@pytest.mark.parametrize(
    ("line", "lacks"),
    [
        ("raise BadInput('it is 3')", True),
        ("raise BadInput('it is 3', '')", True),
        ("raise BadInput(f'it is {3}; allowed: 1')", True),
        ("raise BadInput('it is 3', 'choose --layers 1')", False),
        ("raise BadInput(*said)", False),
        ("require(good, 'it is 3')", True),
        ("require(good, f'--x is {3}; allowed: 1')", False),
    ],
)
def test_a_failure_without_advice_is_found(tmp_path, line, lacks):
    (tmp_path / "one.py").write_text(line)
    assert bool(without_advice(tmp_path)) == lacks
