"""An installed wheel works: it is asked as a user would, in an empty folder.

    python wheel_works.py [--pure]

Its compiled parts are there (or, with --pure, are not); it compresses the sample that it brings; and the
weights are the same bits with the processor's best instructions, with the plainest ones (QTRAIN_KERNEL=base,
as on a machine without AVX2) and in PyTorch and NumPy alone (QTRAIN_NATIVE=0): `verify` is exact.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

WAYS = {"best": {}, "base": {"QTRAIN_KERNEL": "base"}, "none": {"QTRAIN_NATIVE": "0"}}


def qtrain(*words: str, folder: str, way: str = "best") -> dict[str, object]:
    """What a command prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "qtrain_cli", *words, "--json", "-q"],
        cwd=folder, env={**os.environ, **WAYS[way]}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"qtrain {' '.join(words)} ({way}): exit code {done.returncode}\n{done.stdout}{done.stderr}")
    found: dict[str, object] = json.loads(done.stdout)
    return found


def parts_there() -> bool:
    """Whether both compiled parts can be imported."""
    code = "from qtrain_cli.quantum import _kernels; from qtrain_cli.portable import _steps"
    return not subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode


def main(pure: bool) -> None:
    if parts_there() == pure:
        sys.exit(f"the compiled parts are {'there' if pure else 'missing'}")
    with tempfile.TemporaryDirectory() as folder:
        qtrain("init", "--sample", folder=folder)
        for way in WAYS:
            out = f"{way}.qtrain"
            qtrain("compress", "--epochs", "2", "--device", "cpu", "--out", out, folder=folder, way=way)
            digests = {qtrain("verify", out, folder=folder, way=other)["sha256"] for other in WAYS}
            if len(digests) != 1:
                sys.exit(f"{out} gives other bits: {digests}")
            print(f"{way}: {os.path.getsize(os.path.join(folder, out))} bytes, the same weights in all ways")


if __name__ == "__main__":
    main("--pure" in sys.argv[1:])
