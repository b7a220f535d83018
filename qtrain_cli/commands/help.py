"""`qtrain help TOPIC`: the pages that ship with the package.

Each is a Markdown file in `topics`, called as its topic; the format's page lies with its code. `main` answers
for a topic that is a command, with that command's help.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qtrain_cli.errors import UsageError, suggestion
from qtrain_cli.settings import HelpSettings

_PACKAGE = Path(__file__).resolve().parents[1]
#: Pages that lie elsewhere, by topic.
_ELSEWHERE = {"format": _PACKAGE / "artifact" / "FORMAT.md"}


@dataclass(frozen=True)
class HelpPage:
    """A page, or without a topic nothing but the list: `topics` maps each to its heading."""

    topic: str | None
    text: str
    topics: dict[str, str]


def topic_files() -> dict[str, Path]:
    """The pages by topic, in the order of their names."""
    own = {path.stem: path for path in (_PACKAGE / "topics").glob("*.md")}
    return dict(sorted({**own, **_ELSEWHERE}.items()))


def run(settings: HelpSettings) -> HelpPage:
    """Reads a page. Raises `UsageError` for a topic that has none."""
    files = topic_files()
    topics = {name: _heading(path) for name, path in files.items()}
    if settings.topic is None:
        return HelpPage(None, "", topics)
    if settings.topic not in files:
        meant = suggestion(settings.topic, [*files, *_commands()])
        raise UsageError(f"there is no page on '{settings.topic}'", meant)
    return HelpPage(settings.topic, files[settings.topic].read_text("utf-8"), topics)


def _commands() -> list[str]:
    """The commands, each of which is a module beside this one."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    return [name.replace("_", "-") for name in names]


def _heading(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().strip("# \n")
