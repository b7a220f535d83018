"""What a reader may do with a file: read it, or refuse it in a line. All else is a finding.

    refused     an error of ours, message and advice one printable line each of at most `MOST_LETTERS`;
                or a refused allocation, which the command line says as "out of memory"
    finding     any other exception; a longer message; anything of `FORBIDDEN`, which is stopped

Crashes, hangs and memory are seen from outside, by libFuzzer.
"""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qtrain_cli.errors import QtrainError, is_out_of_memory

MOST_LETTERS = 500
#: Audit events that no reader has a use for.
FORBIDDEN = {
    "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile",
    "subprocess.Popen", "pty.spawn", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.chown",
    "os.link", "os.symlink", "os.truncate", "os.utime", "os.putenv", "os.unsetenv", "os.kill", "os.chdir",
    "shutil.rmtree", "shutil.move", "shutil.copyfile", "socket.connect", "socket.bind", "socket.getaddrinfo",
    "urllib.Request", "ctypes.dlopen", "pickle.find_class", "webbrowser.open", "tempfile.mkstemp",
    "tempfile.mkdtemp", "marshal.loads_untrusted", "cpython.run_command", "cpython.run_file",
}  # fmt: skip
#: What Pillow looks for where no format of its own takes an image.
OPTIONAL = {"olefile"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
ROOT = Path(__file__).resolve().parents[2]
#: What a reader may open beside its own file: the code it is made of.
_CODE = {str(ROOT), *sysconfig.get_paths().values(), *filter(os.path.isabs, sys.path)}
_OWN = (*(folder + os.sep for folder in _CODE), "/proc/", "/sys/", os.devnull)


class Executed(BaseException):
    """Raised where something forbidden begins, past every ``except Exception``."""


@dataclass(frozen=True)
class Finding:
    """What a reader did, in a line, and where: equal for inputs that show the same fault."""

    what: str
    where: str

    @property
    def name(self) -> str:
        """As part of a file's name."""
        return "".join(letter if letter.isalnum() else "-" for letter in f"{self.what[:40]}-{self.where}")


class Watch:
    """An audit hook, which can be added only once and never removed; it judges between `on` and off."""

    def __init__(self) -> None:
        self._folder: str | None = None
        self._packages: set[str] = set()
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    @contextmanager
    def on(self, folder: Path, learning: bool = False) -> Iterator[None]:
        """Allows no more than reading in `folder`; while `learning` all, and its imports from then on."""
        self.seen, self._packages = [], set() if learning else self._packages
        self._folder = None if learning else str(folder)
        try:
            yield
        finally:
            self._folder = None
            if learning:
                loaded = {name.partition(".")[0] for name in sys.modules}
                self._packages = loaded | sys.stdlib_module_names | OPTIONAL

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._folder is None or not self._is_forbidden(event, arguments):
            return
        self.seen.append(f"{event} {arguments!r:.100}")
        raise Executed(self.seen[-1])

    def _is_forbidden(self, event: str, arguments: tuple[object, ...]) -> bool:
        if event == "import":
            return str(arguments[0]).partition(".")[0] not in self._packages
        return event in FORBIDDEN or (event == "open" and self._is_foreign(*arguments))

    def _is_foreign(self, path: object, mode: object, flags: object) -> bool:
        if isinstance(flags, int) and flags & WRITING:
            return True
        name = os.fsdecode(path) if isinstance(path, (str, bytes)) else None
        folder = str(self._folder) + os.sep
        return name is not None and not os.path.abspath(name).startswith((folder, *_OWN))


@functools.cache
def watch() -> Watch:
    """The one of this process."""
    return Watch()


def judged(doors: Sequence[Callable[[Path], object]], path: Path, folder: Path) -> Finding | None:
    """The first finding of a file in its folder that is given to one door after the other."""
    return next((found for door in doors if (found := _judged(door, path, folder))), None)


def was_read(door: Callable[[Path], object], path: Path) -> bool:
    """Whether a door reads a file, without a judge; what it imports is expected from now on."""
    with watch().on(path.parent, learning=True):
        try:
            door(path)
        except QtrainError:
            return False
    return True


def _judged(door: Callable[[Path], object], path: Path, folder: Path) -> Finding | None:
    try:
        with watch().on(folder):
            door(path)
    except QtrainError as error:
        return _of_message(error)
    except (Exception, Executed, SystemExit) as error:
        if not watch().seen and is_out_of_memory(error):
            return None
        return Finding(watch().seen[0] if watch().seen else type(error).__name__, _place(error))
    return Finding(watch().seen[0], getattr(door, "__name__", "")) if watch().seen else None


def _of_message(error: QtrainError) -> Finding | None:
    if watch().seen:
        return Finding(watch().seen[0], _place(error))
    for text in (error.message, error.advice):
        if len(text) > MOST_LETTERS or not text.isprintable():
            return Finding(f"a message of more than {MOST_LETTERS} letters", _place(error))
    return None


def _place(error: BaseException) -> str:
    """The innermost frame of the package, and the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "qtrain_cli" in frame.filename] or list(frames)
    ends = [own[-1], frames[-1]] if frames else []
    return " ".join(dict.fromkeys(f"{Path(frame.filename).name} {frame.name}" for frame in ends))
