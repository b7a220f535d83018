"""What in a ``.pt2`` archive could run code. An empty answer is the condition for loading one untrusted.

`torch.export.load` promises nothing for files from strangers, and its reader has more doors than the
pickled tensors it marks (``use_pickle``). Read off PyTorch 2.13's source, they are:

* payloads marked ``use_pickle``; constants named ``custom_obj_*`` and ``opaque_obj_*`` (unpickled whatever
  the mark says); the older ``data/weights/model.pt`` and ``sample_inputs``, where a failing safe load is
  repeated as an unsafe one (so `archives` leaves these out, whatever they hold); compiled libraries under
  ``data/aotinductor/``;
* the graph itself: an operator may be any name below `torch`, and even aten has some that write files
  (``from_file``, ``save``); symbolic sizes go through `sympy.sympify`, which is `eval`; names are pasted
  into the Python source that `torch.fx` compiles; a tree's enum context imports modules.

So everything is refused that is not known to be harmless: records by name, operators to the list of
`graph_operators`, expressions to arithmetic, every other text to a plain name. Guard code is executed by
`ExportedProgram.module` as well, unless it is called with ``check_guards=False``; `graphs` does that.
What is left out: whether each of those operators is itself free of memory errors.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from qtrain_cli.files.header import MAX_NAME_LETTERS
from qtrain_cli.models.untrusted.archives import PROGRAM, json_in
from qtrain_cli.models.untrusted.graph_operators import IN_PLACE, is_ordinary

_RECORDS = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/(version|serialization_id)"
    r"|models/model\.json|data/sample_inputs/model\.pt|extra/[\w./-]+"
    r"|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
)
_PAYLOADS = re.compile(r"(weight|tensor)_\d+")
_NAME = re.compile(r"(?a:[A-Za-z_]\w*)|")  # one Python name, or none
_PATH = re.compile(r"(?a:[\w.@]*)")  # of a module or tensor: layer1.0.weight
_PATH_KEYS = frozenset({"parameter_name", "buffer_name", "tensor_constant_name", "fqn"})
_OPERATOR = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")
_SYMBOL_OPERATOR = re.compile(
    r"_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_)"
    r"|torch\.sym_(int|float|max|min|not|ite|sum)|math\.(ceil|floor|trunc)"
)
_SYMBOL = re.compile(r"[a-z]{1,3}\d+")
_NUMBER = re.compile(r"-?\d{1,19}(\.\d+)?(e-?\d{1,3})?")
_FUNCTIONS = frozenset({
    "Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Max", "Min", "Mod", "Eq", "Ne", "Lt",
    "Le", "Gt", "Ge", "StrictLessThan", "LessThan", "StrictGreaterThan", "GreaterThan", "Equality",
    "Unequality", "And", "Or", "Not", "ceiling", "floor", "true", "false", "FloorDiv", "ModularIndexing",
    "Where", "PythonMod", "CleanDiv", "CeilToInt", "FloorToInt", "CeilDiv", "PowByNatural",
    "FloatTrueDiv", "IntTrueDiv", "TruncToFloat", "TruncToInt", "RoundToInt", "ToFloat", "Identity",
})  # fmt: skip
_POWERS = frozenset({"Pow", "PowByNatural"})
_ARITHMETIC = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.keyword, ast.operator, ast.unaryop,
    ast.cmpop, ast.boolop, ast.expr_context,
)  # fmt: skip
_TREES = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
_MAX_EXPRESSION = 1000
_MAX_POWERS, _MAX_EXPONENT = 4, 8


def graph_problems(records: Mapping[str, bytes], size: int) -> list[str]:
    """Why this archive must not be loaded untrusted, one phrase each; [] when nothing speaks against it.

    Args:
        records: those of the archive, by name.
        size: bytes of the whole file; no tensor may be larger.

    Raises:
        ValueError, KeyError, TypeError, RecursionError: the JSON in it is damaged.
    """
    problems = [f"the record '{name}'" for name in records if not _RECORDS.fullmatch(name)]
    for kind in ("weights", "constants"):
        config = json_in(records[f"data/{kind}/model_{kind}_config.json"])
        problems += [
            f"the tensor {name[:80]!r}, which {problem}"
            for name, meta in config["config"].items()
            for problem in _payload(name, meta, size)
        ]
    return problems + list(_program(json_in(records[PROGRAM])))


def _payload(name: str, meta: dict[str, Any], size: int) -> Iterator[str]:
    if not _PATH.fullmatch(name) or len(name) > MAX_NAME_LETTERS:
        yield "has no plain name"
    if meta["use_pickle"] is not False:
        yield "is stored as a pickle"
    if not _PAYLOADS.fullmatch(meta["path_name"]):
        yield f"is stored as '{meta['path_name']}'"
    tensor = meta["tensor_meta"]
    sizes = [length.get("as_int", -1) for length in tensor["sizes"]] if tensor else [-1]
    if not all(type(length) is int and length >= 0 for length in sizes) or math.prod(sizes) > size:
        yield f"is larger than the file: {sizes}"


def _program(program: dict[str, Any]) -> Iterator[str]:
    """The graph's JSON, after setting aside what is only ever read as text: metadata and guard code."""
    module = program["graph_module"]
    rest = {key: value for key, value in program.items() if key not in ("guards_code", "torch_version")}
    graph = {**module["graph"], "nodes": [{**node, "metadata": None} for node in module["graph"]["nodes"]]}
    yield from _writes(module["graph"])
    yield from _texts({**rest, "graph_module": {**module, "graph": graph, "metadata": None}}, "")


def _writes(graph: dict[str, Any]) -> Iterator[str]:
    """Operators that write into something else than the result of an earlier one."""
    made: set[str] = set()
    for node in graph["nodes"]:
        match = _OPERATOR.fullmatch(node["target"])
        if match and match[1] in IN_PLACE:
            target = node["inputs"][0]["arg"].get("as_tensor", {}).get("name")
            if target not in made:
                yield f"the operator '{node['target']}' on {target!r}, which is an input or a weight"
        for output in node["outputs"]:
            listed = [output["as_tensor"]] if "as_tensor" in output else output.get("as_tensors") or ()
            made.update(tensor["name"] for tensor in listed)


def _texts(value: Any, key: str) -> Iterator[str]:
    """Every text in the JSON that is not known to be harmless, dictionary keys included."""
    if isinstance(value, dict):
        for name, child in value.items():
            if not _NAME.fullmatch(name) or name in ("as_operator", "as_graph", "as_custom_obj"):
                yield f"the key {name[:80]!r}"
            yield from _texts(child, name)
    elif isinstance(value, list):
        for child in value:
            yield from _texts(child, key)
    elif isinstance(value, str) and not _is_harmless(value, key):
        what = "operator" if key == "target" else key or "text"
        yield f"the {what} {value[:80]!r}"


def _is_harmless(text: str, key: str) -> bool:
    if key == "target":
        return is_plain_operator(text)
    if key == "expr_str":
        return is_arithmetic(text)
    if key in ("in_spec", "out_spec"):
        return _is_plain_tree(json.loads(text)[1])
    if key in ("as_string", "as_strings"):
        return text.isprintable()  # an argument; `torch.fx` writes it with repr()
    return bool((_PATH if key in _PATH_KEYS else _NAME).fullmatch(text))


def is_plain_operator(target: str) -> bool:
    """An operator of ordinary networks, or arithmetic on sizes."""
    if _SYMBOL_OPERATOR.fullmatch(target):
        return True
    match = _OPERATOR.fullmatch(target)
    return match is not None and is_ordinary(match[1], match[2])


def is_arithmetic(text: str) -> bool:
    """Whether a symbolic size is arithmetic on symbols and numbers, so that `eval` on it is harmless."""
    if len(text) > _MAX_EXPRESSION:
        return False
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    powers = [node for node in nodes if _is_power(node)]
    return (
        len(powers) <= _MAX_POWERS
        and all(_has_small_exponent(node) for node in powers)
        and all(_is_arithmetic_node(node) for node in nodes)
    )


def _is_arithmetic_node(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
    if isinstance(node, ast.Name):
        return node.id in _FUNCTIONS or bool(_SYMBOL.fullmatch(node.id))
    if isinstance(node, ast.Constant):
        text = str(node.value)
        return node.value in (True, False) or bool(_NUMBER.fullmatch(text) or _SYMBOL.fullmatch(text))
    return isinstance(node, _ARITHMETIC) and not isinstance(node, (ast.LShift, ast.MatMult))


def _is_power(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Pow)
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _POWERS


def _has_small_exponent(node: ast.AST) -> bool:
    """The exponent is a literal, perhaps as ``Integer(2)``."""
    exponent = (
        node.right if isinstance(node, ast.BinOp) else node.args[-1] if isinstance(node, ast.Call) else None
    )
    number = re.fullmatch(r"(?:Integer\()?(-?\d+)\)?", ast.unparse(exponent)) if exponent else None
    return number is not None and abs(int(number[1])) <= _MAX_EXPONENT


def _is_plain_tree(spec: dict[str, Any]) -> bool:
    """How inputs and outputs nest: tuples, lists and dictionaries with plain names as keys."""
    context = json.loads(spec["context"]) if spec["context"] else None
    keys = context if isinstance(context, list) else []
    return (
        spec["type"] in _TREES
        and (context is None or isinstance(context, list))
        and all(isinstance(key, str) and _NAME.fullmatch(key) for key in keys)
        and all(_is_plain_tree(child) for child in spec["children_spec"])
    )
