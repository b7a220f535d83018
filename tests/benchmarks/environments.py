"""A side environment for each rival: a venv and pip, kept between runs, and the error where that fails.

    .benchmarks/rivals/NAME/          the environment
    .benchmarks/rivals/NAME.json      {"packages": what was asked for, "error": null or pip's last lines}

An environment is reused while `packages` and the interpreter stay the same; a failure is tried again at
every run.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from benchmarks.rivals import Rival

#: A download that hangs must not hang the benchmark.
INSTALL_SECONDS = 900
ERROR_LINES = 3


def interpreter(rival: Rival, folder: Path) -> tuple[str, str | None]:
    """The rival's Python, installed if need be, and None or why it could not be installed."""
    if not rival.packages:
        return sys.executable, None
    home, record = folder / rival.name, folder / f"{rival.name}.json"
    python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    asked = [sys.version, torch.__version__, *map(list, rival.packages)]
    if record.exists() and json.loads(record.read_text()) == {"packages": asked, "error": None}:
        return str(python), None
    error = _install(rival, home, python)
    record.write_text(json.dumps({"packages": asked, "error": error}, indent=1))
    return str(python), error


def _install(rival: Rival, home: Path, python: Path) -> str | None:
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    error = _run([sys.executable, "-m", "venv", str(home)])
    if error is None and rival.borrows:
        _borrow(python)
    for packages in rival.packages:
        if error is None:
            error = _run(
                [str(python), "-m", "pip", "install", "--disable-pip-version-check", "-q", *packages]
            )
    return error


def _borrow(python: Path) -> None:
    """Lets the environment see this interpreter's packages, after its own."""
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    ours = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (Path(own) / "zz_running_interpreter.pth").write_text("\n".join(ours) + "\n")


def _run(command: list[str]) -> str | None:
    """None, or the last lines of what the command complained about."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        return f"not installed after {INSTALL_SECONDS} s"
    if done.returncode == 0:
        return None
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    return " ".join(errors[-ERROR_LINES:]) or f"exit code {done.returncode}"


def versions(rival: Rival, python: str) -> dict[str, str]:
    """What is installed there, by distribution."""
    code = (
        "import importlib.metadata as meta, json, sys\n"
        "print(json.dumps({name: meta.version(name) for name in sys.argv[1:]}))"
    )
    done = subprocess.run(
        [python, "-c", code, *rival.versions], capture_output=True, text=True, check=False, timeout=60
    )
    return json.loads(done.stdout) if done.returncode == 0 else {}
