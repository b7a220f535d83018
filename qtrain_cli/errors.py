"""Every failure a user can meet, each with its own exit code.

An error says three things: what happened (with the offending value), what was allowed, and what to do
next. The first two are the message, one line; the third is the advice, one line. `cli` prints both on
stderr, or as ``{"error": {"kind", "message", "advice"}}`` on stdout with ``--json``, and leaves with
`exit_code`. Anything that is not a `QtrainError` is a bug: exit code 70.
"""

from __future__ import annotations

import difflib
import errno
import itertools
from collections.abc import Collection, Iterable

INTERNAL_EXIT_CODE = 70
#: How many allowed names a message lists.
MOST_NAMES = 20
#: Letters of a failure's whole line, its advice included, and of the advice: a file may say what it likes.
MOST_LETTERS, MOST_ADVICE = 480, 240
#: How torch, the loader of libraries and C++ say it.
_NO_MEMORY = (
    "out of memory", "defaultcpuallocator", "cannot allocate memory", "can't allocate memory", "bad_alloc",
    "failed to map segment", "can't start new thread",
)  # fmt: skip


class QtrainError(Exception):
    """Base of every expected failure.

    Args:
        message: what happened, with the value, and what was allowed. One line.
        advice: what to do next. One line, may be empty.

    Both may quote a stranger's file: control characters, which could move a terminal's cursor, are escaped,
    and what is longer than a line should be loses its middle.
    """

    kind = "failure"
    exit_code = 1

    def __init__(self, message: str, advice: str = "") -> None:
        self.advice = one_line(advice, MOST_ADVICE)
        self.message = one_line(message, MOST_LETTERS - len(self.advice))
        super().__init__(self.message)

    def __reduce__(self) -> tuple[type[QtrainError], tuple[str, str]]:
        return type(self), (self.message, self.advice)

    def as_json(self) -> dict[str, dict[str, str]]:
        """The failure as the one JSON document that ``--json`` promises."""
        return {"error": {"kind": self.kind, "message": self.message, "advice": self.advice}}


class RunFailed(QtrainError):
    """The run itself went wrong: out of disk, diverged, the check after an export failed."""


class BadInput(QtrainError):
    """A file or value that is missing, malformed or of the wrong shape."""

    kind = "bad-input"
    exit_code = 2


class UsageError(QtrainError):
    """The command line or `qtrain.toml` asks for something that does not exist."""

    kind = "usage"
    exit_code = 2


class GateFailed(QtrainError):
    """The run was fine, and a gate (``--min-accuracy`` and friends) was not met."""

    kind = "gate"
    exit_code = 3


class Refused(QtrainError):
    """Refused for safety: an untrusted pickle, a damaged or hostile artifact."""

    kind = "refused"
    exit_code = 4


class Interrupted(QtrainError):
    """Ctrl-C or SIGTERM; what was done so far has been saved."""

    kind = "interrupted"
    exit_code = 130


def printable(text: str) -> str:
    """`text` with what no terminal should see (control characters, lone surrogates) escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def one_line(text: object, most: int) -> str:
    """`text` as one printable line of at most so many letters, without its middle where it is longer."""
    whole = str(text)
    if len(whole) > 8 * most:  # before anything goes through all of it
        whole = f"{whole[: 4 * most]} {whole[-4 * most :]}"
    line = printable(" ".join(whole.split()))
    half = (most - 5) // 2
    return line if len(line) <= most else f"{line[:half]} ... {line[-half:]}"


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, or its class when it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def is_out_of_memory(error: BaseException | None) -> bool:
    """Python says it by a class, the system by a number, and the others in words."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    said = str(error).lower() if isinstance(error, (RuntimeError, ImportError, OSError)) else ""
    return any(words in said for words in _NO_MEMORY)


def suggestion(value: str, allowed: Iterable[str]) -> str:
    """``did you mean 'x'?`` for the closest allowed name, or the (first) allowed names."""
    names = [str(name) for name in allowed]
    # Of a text three times as long no name is more than half; looking takes seconds where it has a megabyte.
    comparable = len(value) < 3 * max(map(len, names), default=0)
    close = difflib.get_close_matches(value, names, n=1, cutoff=0.6) if comparable else []
    if close:
        return f"did you mean '{close[0]}'?"
    more = f", ... ({len(names)} in all)" if len(names) > MOST_NAMES else ""
    return "allowed: " + ", ".join(names[:MOST_NAMES]) + more


def first_few(texts: Collection[str], most: int) -> str:
    """``a, b and 3 more``: the first texts, and how many are left."""
    shown = ", ".join(itertools.islice(texts, most))
    return f"{shown} and {len(texts) - most} more" if len(texts) > most else shown


def few_quoted(names: Collection[str], most: int = 3) -> str:
    """``'a', 'b' and 3 more``."""
    return first_few([f"'{name}'" for name in names], most)


def missing_package(what: str, package: str, extra: str) -> BadInput:
    """The failure of `what` (such as "reading Parquet") when the optional `package` cannot be imported."""
    return BadInput(
        f"{what} needs the package {package}, which is not installed", f"pip install 'qtrain[{extra}]'"
    )
