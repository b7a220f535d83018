"""Under which PyTorch the checks of this folder are known to hold: the versions they were read off.

A check like "no attribute hides a method" relies on what the code *behind* it does with a file. That code is
PyTorch's, it is not meant for strangers' files, and it changes between minor versions; so under another one
what needs it is refused. README.md draws the line, and says what to read before a version is added here.
"""

from __future__ import annotations

import re

import torch

from qtrain_cli.errors import Refused

#: Minor versions of PyTorch. Each one added here was read as README.md says.
AUDITED = ("2.13",)


def is_audited() -> bool:
    """Whether the running PyTorch is a release of an audited minor version; "2.13.0+cpu" is one of 2.13."""
    release = re.fullmatch(r"(\d+\.\d+)\.\d+(\+.*)?", torch.__version__)  # no nightly, no candidate
    return release is not None and release[1] in AUDITED


def require_audited(what: str) -> None:
    """`what` is a thing that only audited code may read, such as "a .pt2 archive".

    Raises:
        Refused: this PyTorch was not read.
    """
    if not is_audited():
        raise Refused(
            f"{what} may run code, and PyTorch {torch.__version__}'s way of reading it was not audited for "
            f"strangers' files; allowed: PyTorch {', '.join(AUDITED)}",
            f"pip install 'torch=={AUDITED[-1]}.*'; or give the weights alone with --arch (a state "
            "dictionary or .safetensors); or if you trust where the file comes from, add --trust-pickle",
        )
