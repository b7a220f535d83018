"""``file.py:function``: the user's own code returns the splits.

The function takes nothing and returns x_train, y_train, x_test and y_test: a tuple of four in this order,
or a dictionary with these names; tensors, NumPy arrays or nested lists; of x also a dictionary or tuple of
them, for a model of several inputs (`named`). The file runs as Python runs a
script: its neighbours can be imported. What it prints goes to stderr, since stdout carries data only.
Naming the function is the consent to run the file, which is logged before: nothing else of `data` runs code.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from qtrain_cli.data.arrays import ARRAY_NAMES, Arrays, arrays_by_name
from qtrain_cli.data.named import flattened
from qtrain_cli.data.request import Request
from qtrain_cli.errors import BadInput, QtrainError, suggestion

_SOURCE = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)")
_MODULE_NAME = "qtrain_user_data"


def matches(source: str) -> bool:
    """True for ``file.py:function``, whether or not the file exists."""
    return _SOURCE.fullmatch(source) is not None


def read(source: str, request: Request) -> Arrays:
    """What the function returns; what it makes is its own matter, and takes no room. Raises `BadInput` if
    there is none, it fails, or it returns else."""
    match = _SOURCE.fullmatch(source)
    if match is None:
        raise BadInput(f"'{source}' names no function", "write file.py:function")
    result = _guarded(match["file"], lambda: _function(Path(match["file"]), match["name"])())
    if isinstance(result, (tuple, list)) and len(result) == len(ARRAY_NAMES):
        result = dict(zip(ARRAY_NAMES, result, strict=True))
    if isinstance(result, dict):
        found = flattened({str(key): value for key, value in result.items()})
        return replace(arrays_by_name(found, found.__getitem__), owned=False)
    raise BadInput(
        f"{match['name']}() returned {_described(result)}; allowed: a tuple of four arrays, or a dictionary",
        f"return {', '.join(ARRAY_NAMES)}",
    )


def _described(result: object) -> str:
    name = type(result).__name__
    return f"a {name} of {len(result)}" if isinstance(result, (tuple, list)) else f"a {name}"


def _function(path: Path, name: str) -> Callable[[], Any]:
    if not path.is_file():
        raise BadInput(f"there is no file {path}", "give FILE.py:FUNCTION, as the current folder has it")
    module = _imported(path)
    function = getattr(module, name, None)
    if not callable(function):
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == _MODULE_NAME]
        raise BadInput(f"{path.name} has no function '{name}'", suggestion(name, own))
    return function


def _imported(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(_MODULE_NAME, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"{path} is no Python file", "give FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    logging.getLogger(__name__).info("running '%s' for --data", path.resolve())
    sys.modules[_MODULE_NAME] = module  # dataclasses of the file look themselves up here
    spec.loader.exec_module(module)
    return module


def _guarded(file: str, call: Callable[[], Any]) -> Any:
    """Runs `call`; whatever the user's code raises becomes one line, with the original as its cause."""
    folder = str(Path(file).resolve().parent)
    sys.path.insert(0, folder)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return call()
    except (QtrainError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise BadInput(
            f"{file} raised {type(error).__name__}: {error}", "QTRAIN_DEBUG=1 shows where"
        ) from error
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
