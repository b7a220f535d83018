"""A `qtrain.toml` with comments, of what `qtrain init` found: each value with where it comes from.

Consent is never written down (`cli.config` would not take it); a comment says what to type instead. Paths
are relative to the file, as they are read. What was measured and not chosen stands there as a comment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtrain_cli.files.outputs import free_name
from qtrain_cli.report.terminal import sheet, stacked, styled
from qtrain_cli.report.text import clipped

if TYPE_CHECKING:
    from rich.console import RenderableType

_HEAD = """# What the commands of qtrain need in this folder, as `qtrain init` found it. One table a command,
# one key an option (`qtrain COMMAND --help` lists them); what is typed on the command line wins.
# Paths are relative to this file."""
_CONSENT = ("trust-pickle", "force", "sample")
#: What these commands have of the model's options too.
_OF_MODEL = ("model", "arch", "arch-args", "weights", "output", "ignore-unexpected")
_PATTERNS = ("targets", "ignore")
_WITH_ARCH = ("arch", "arch-args")
_LABELS_SHOWN = 12


def config_text(found: Any) -> str:
    """The whole file, of `commands.init.InitRecord`."""
    return _HEAD + "\n" + "\n".join("\n".join(("", *part(found))) for part in _PARTS.values()) + "\n"


def init_document(found: Any) -> dict[str, Any]:
    """For scripts."""
    return {
        "path": str(found.out), "format": found.format, "trust": found.trust, "weights": found.weights,
        **{name: str(value) for name, value in found.change_options.items()},
        "task": found.task, "classes": found.classes, "labels": list(found.labels),
        "rows": dict(zip(("train", "validation", "test"), found.rows, strict=True)),
        "input_shape": found.input_shape, "input_dtype": found.input_dtype,
        "feedings": [vars(one) for one in found.feedings],
        "budgets": [vars(one) for one in found.budgets], "params": found.params, "artifact": found.artifact,
    }  # fmt: skip


def init_terminal(found: Any) -> RenderableType:
    """What was found, and what to type next."""
    rows = [
        ("file", str(found.out)),
        ("model", f"{found.format}, read as {found.trust}, {found.weights:,} weights"),
        *(("base", str(path)) for path in _base(found).values()),
        ("data", _rows(found)),
        *([("fed", f"{_way(found.feedings[0])}: {found.figures[0]}")] if found.feedings else []),
        ("budget", f"{found.params:,} trained numbers, at most {_ours(found).artifact_bytes:,} bytes"),
    ]
    consent = " --trust-pickle" if found.trust == "trusted-pickle" else ""
    steps = (f"qtrain compress{consent}", "qtrain report", "qtrain export --classical")
    told = [styled(f"  {step}", "cyan") for step in steps]
    title = "Next" if found.out.parent == Path() else f"Next, in '{found.out.parent}'"
    return stacked(sheet({"init": rows}), styled(title, "bold"), *told)


def _ours(found: Any) -> Any:
    """The budget that counts."""
    return next(one for one in found.budgets if one.params == found.params)


def _compress(found: Any) -> Iterator[str]:
    yield "[compress]"
    yield f"# {found.format}, read as {found.trust}; {found.weights:,} weights"
    yield from _lines(found, found.model_options)
    if found.trust == "trusted-pickle":
        yield "# Reading it runs the code in it. Consent is given on the command line only: --trust-pickle"
    yield from _changed(found)
    yield f"# {_rows(found)}"
    if found.labels:
        shown = ", ".join(map(clipped, found.labels[:_LABELS_SHOWN]))
        yield f"# classes: {shown}{', ...' if len(found.labels) > _LABELS_SHOWN else ''}"
    yield from _lines(found, found.data_options)
    yield from _fed(found)
    yield from _budget(found)
    yield from _lines(found, found.others)
    yield f'out = "{_text(found.artifact)}"'
    yield f"# epochs = {found.epochs}"


def _changed(found: Any) -> Iterator[str]:
    """The base, where the file is to say how the model changes one."""
    if not found.change_options.get("base"):
        return
    learns = "" if "model" in found.model_options else " It learns the task itself, from the labels."
    yield f"# The base is no part of the file: export and verify need it too.{learns}"
    yield from _lines(found, found.change_options)
    if found.change_note:
        yield f"# {found.change_note}"


def _base(found: Any) -> dict[str, Any]:
    return {name: value for name, value in found.change_options.items() if name == "base"}


def _rows(found: Any) -> str:
    train, validation, test = (f"{count:,}" for count in found.rows)
    what = f"{found.classes} classes" if found.classes else found.task
    shape = found.input_shape
    size = " x ".join(map(str, shape)) if isinstance(shape, (list, tuple)) else str(shape)
    return (
        f"{train} train, {validation} validation and {test} test rows of {size} ({found.input_dtype}); {what}"
    )


def _way(feeding: Any) -> str:
    return "standardised by the train rows" if feeding.mean else "as the data are"


def _fed(found: Any) -> Iterator[str]:
    """The normalisation that the model is good with, or the other one as a comment."""
    if not found.feedings:
        return
    told = [f"{_way(one)}: {figure}" for one, figure in zip(found.feedings, found.figures, strict=True)]
    yield "# The model itself, on rows of train and validation:"
    yield from (f"#   {line}" for line in told)
    for place, one in enumerate(found.feedings):
        if one.mean:
            yield f"{'# ' if place else ''}mean = {json.dumps(list(one.mean))}"
            yield f"{'# ' if place else ''}std = {json.dumps(list(one.std))}"


def _budget(found: Any) -> Iterator[str]:
    others = [one for one in found.budgets if one.params != found.params]
    more = " Others:" if others else ""
    yield f"# Budget: so many trained numbers; fewer take fewer bytes, and cost accuracy.{more}"
    yield from (f"# {_budget_line(one)}" for one in others)
    yield _budget_line(_ours(found))


def _budget_line(row: Any) -> str:
    """What it buys stands behind it."""
    return (
        f"params = {row.params}  # at most {row.artifact_bytes:,} bytes, {row.bytes_ratio:,.1f} times smaller"
    )


def _plan(found: Any) -> Iterator[str]:
    yield "[plan]"
    yield from _lines(found, _only(found, _OF_MODEL))
    yield from _lines(found, found.change_options)
    yield from _lines(found, {name: value for name, value in found.others.items() if name in _PATTERNS})
    if isinstance(found.input_shape, (list, tuple)) and found.input_dtype in ("uint8", "float32"):
        yield f'input-shape = "{",".join(map(str, found.input_shape))}"'
    yield f"params = {found.params}"


def _export(found: Any) -> Iterator[str]:
    yield "[export]"
    yield f'artifact = "{_text(found.artifact)}"'
    weights = free_name(found.out.parent / f"{Path(found.artifact).stem}.safetensors")
    yield f'out = "{_text(weights.name)}"'
    yield from _lines(found, _only(found, _WITH_ARCH) | _base(found))


def _report(found: Any) -> Iterator[str]:
    yield "[report]"
    yield f'artifact = "{_text(found.artifact)}"'
    yield "# Gates: exit code 3 where one is missed. Take off the # and set your own."
    yield "# max-drop = 0.02          # below the teacher, of 1"
    yield f"# max-bytes = {_ours(found).artifact_bytes}"
    yield '# junit = "qtrain.xml"     # what CI systems read; also markdown'


def _verify(found: Any) -> Iterator[str]:
    yield "[verify]"
    yield f'artifact = "{_text(found.artifact)}"'
    yield from _lines(found, _only(found, _WITH_ARCH) | _base(found))


def _only(found: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in found.model_options.items() if name in names}


def _lines(found: Any, values: Mapping[str, Any]) -> Iterator[str]:
    folder = found.out.parent
    for name, value in values.items():
        if name not in _CONSENT:
            yield f"{name} = {_value(name, value, folder)}"


def _value(name: str, value: Any, folder: Path) -> str:
    """As `cli.config` reads it."""
    if name in ("arch", "data") or isinstance(value, Path):
        return f'"{_text(_relative(str(value), folder))}"'
    if isinstance(value, Mapping):
        return f'"{_text(json.dumps(value))}"'
    if isinstance(value, tuple):
        return f"[{', '.join(_value('', _joined(one), folder) for one in value)}]"
    return json.dumps(value) if isinstance(value, (bool, int, float)) else f'"{_text(str(value))}"'


def _joined(one: Any) -> Any:
    return "=".join(one) if isinstance(one, tuple) else one


def _relative(text: str, folder: Path) -> str:
    """Of ``file.py:Name`` the file alone is a path, and of ``package.module:Name`` nothing."""
    file, colon, name = text.rpartition(":")
    if not file.endswith(".py"):
        file, colon, name = ("", "", text) if colon else (text, "", "")
    return f"{os.path.relpath(file, folder) if file and not os.path.isabs(file) else file}{colon}{name}"


def _text(value: str) -> str:
    """A text between TOML's quotes, whole; what cannot be seen is written by its number."""
    quoted = json.dumps(value, ensure_ascii=False)[1:-1]
    return "".join(one if one.isprintable() else _by_number(ord(one)) for one in quoted)


def _by_number(code: int) -> str:
    return f"\\u{code:04X}" if code < 2**16 else f"\\U{code:08X}"


_PARTS = {"compress": _compress, "plan": _plan, "export": _export, "report": _report, "verify": _verify}
#: Commands whose options the file has.
WRITTEN = tuple(_PARTS)
