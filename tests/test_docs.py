"""README and measured pages are executed: their commands run word for word, and shown output is real.

The README goes first, then the guides, then the pages of results in the order of their index, all
in one folder, whose `qtrain.toml` cuts the default of 200 epochs to 30. ``sh`` and ``python`` fences run;
``text`` is what a command prints; ``console`` fences show commands that take minutes to hours, or data that
is not shipped: not run, but their words must exist.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from qtrain_cli.cli.app import kinds_of
from qtrain_cli.cli.table import COMMANDS, Command

ROOT = Path(__file__).resolve().parents[1]
#: Options of PyTorch's launcher that a page names.
TORCHRUN = {"--standalone", "--nnodes", "--nproc-per-node", "--rdzv-backend", "--rdzv-endpoint"}
README = ROOT / "README.md"
RESULTS = ROOT / "samples" / "results"
MOST_LINES = 200
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!http)([^)]+)\)")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]+")
ROW = re.compile(r"^\| \[(.+?)\]\(([\w.]+)\) \| (.+) \|$", re.MULTILINE)
#: Page -> its question and its one-line answer, as the index has them.
ANSWERS = {page: (ask, answer) for ask, page, answer in ROW.findall((RESULTS / "README.md").read_text())}
#: The pages of `qtrain help`, which ship with the package.
TOPICS = sorted((ROOT / "qtrain_cli" / "topics").glob("*.md"))
GUIDES = [*TOPICS, ROOT / "samples" / "fine_tunes.md"]
PAGES = [README, *GUIDES, *(RESULTS / page for page in ANSWERS)]
#: All that people read there, also what is not on the tour: the index, and tables that `compare` wrote.
WRITTEN = [README, *TOPICS, *sorted((ROOT / "samples").rglob("*.md"))]
BLOCKS = [(page, kind, text) for page in PAGES for kind, text in FENCE.findall(page.read_text())]
SET_UP = [text.strip() for _, kind, text in BLOCKS if kind == "sh" and ".venv" in text]
SHOWN = [(page.name, text) for page, kind, text in BLOCKS if kind == "text"]


def options_of(command: Command) -> set[str]:
    """All that can be said of a command: what may stand in `qtrain.toml`, and what may not."""
    return kinds_of(command).keys() | command.options.keys()


def commands_of(text: str) -> list[str]:
    """The commands of a block, each with its continued lines."""
    return [line for line in re.split(r"(?<!\\)\n", text) if line.strip()]


#: The blocks that run, those of a shell command by command.
TOUR = [
    (kind, part)
    for _, kind, text in BLOCKS
    if kind in ("sh", "python") and ".venv" not in text
    for part in (commands_of(text) if kind == "sh" else [text])
]


@pytest.fixture(scope="module")
def outputs(warm: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each step of the tour prints, run in order in one folder that holds the samples."""
    folder = tmp_path_factory.mktemp("tour")
    shutil.copytree(ROOT / "samples", folder / "samples")
    (folder / "qtrain.toml").write_text("[compress]\nepochs = 30\n")  # what README's gates are met after, too
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": warm}
    printed = []
    for kind, text in TOUR:
        command = ["sh", "-e", "-c", text] if kind == "sh" else ["python", "-c", text]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stderr}"
        printed.append(done.stdout)
    return printed


# --- what is run, and what is shown ----------------------------------------------------------------------


def test_the_tour_runs_word_for_word(outputs: list[str]) -> None:
    assert len(outputs) == len(TOUR) >= 15
    assert "torch.Size([1, 10]) 11" in "".join(outputs)


@pytest.mark.parametrize(
    "verb", ["plan", "compress", "report", "verify", "export", "sample", "train", "distill"]
)
def test_the_tour_runs_what_takes_seconds(verb: str) -> None:
    assert any(text.startswith(f"qtrain {verb} ") for _, text in TOUR)


@pytest.mark.parametrize(
    ("page", "command"), [("first_run.md", "qtrain compress"), ("shots.md", "qtrain sample")]
)
def test_the_shown_output_has_the_lines_of_the_real_one(outputs: list[str], page: str, command: str) -> None:
    real = next(text for (_, step), text in zip(TOUR, outputs, strict=True) if step.startswith(command))
    assert _labels(dict(SHOWN)[page]) == _labels(real)


def test_the_readme_shows_the_first_lines_of_what_the_first_command_prints() -> None:
    part, whole = (dict(SHOWN)[name].splitlines() for name in ("README.md", "first_run.md"))
    assert part == whole[: len(part)] and len(part) > 5


def test_every_output_that_is_shown_is_compared() -> None:
    assert [page for page, _ in SHOWN] == ["README.md", "first_run.md", "shots.md"]


def _labels(table: str) -> list[str]:
    """The left-hand side of each line, without the figures."""
    return [re.split(r" {2,}", line.strip())[0] for line in table.splitlines()[1:] if line.strip()]


def test_ci_runs_the_two_set_up_commands_word_for_word() -> None:
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    assert len(SET_UP) == 2
    assert all(command in script for command in SET_UP)


def test_what_is_not_run_is_marked() -> None:
    """A command stands in a fence that says whether it runs, and what runs stands on the tour."""
    for page in WRITTEN:
        kinds = {kind for kind, _ in FENCE.findall(page.read_text())}
        assert kinds <= ({"sh", "python", "text", "console"} if page in PAGES else set()), page
        prose = FENCE.sub("", page.read_text())
        assert "```" not in prose and not re.search(r"^( {4}|\t)\s*(qtrain|python) ", prose, re.MULTILINE), (
            page
        )


def test_commands_that_are_not_run_have_words_that_exist() -> None:
    shown = [command for _, kind, text in BLOCKS if kind == "console" for command in commands_of(text)]
    assert len(shown) > 5
    for command in shown:
        program, *rest = shlex.split(command.replace("\\\n", " "), comments=True)
        if program == "qtrain":
            verb, *rest = rest
            known = {f"--{name}" for name in options_of(COMMANDS[verb])} | {"--json", "-o"}
            assert {word for word in rest if re.match(r"--?[a-z]", word)} <= known, command
        else:
            script = [program] if program != "python" else rest[2:] if rest[:2] == ["-m", "pytest"] else rest
            assert (ROOT / script[0]).exists(), command


# --- what is written -------------------------------------------------------------------------------------


def test_the_readme_fits_on_three_screens() -> None:
    assert len(README.read_text().splitlines()) <= MOST_LINES


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    table = set(re.findall(r"^\| (?:`qtrain`, )?`qtrain ([\w-]+)", README.read_text(), re.MULTILINE))
    assert table == set(COMMANDS)


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_option_that_is_named_exists(page: Path) -> None:
    known = {f"--{name}" for command in COMMANDS.values() for name in options_of(command)} | {
        "--json",
        "--check",
        "--dry-run",
    }
    known |= set(re.findall(r'"(--[a-z-]+)"', (ROOT / "tests/benchmarks/conftest.py").read_text()))
    known |= TORCHRUN
    assert set(OPTION.findall(page.read_text())) <= known


@pytest.mark.parametrize(
    "page",
    [*WRITTEN, *sorted((ROOT / "qtrain_cli").rglob("*.md"))],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_every_linked_file_exists(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "code", page.read_text())  # in code, brackets are no link
    assert [link for link in LINK.findall(text) if not _leads_somewhere(page, link)] == []


def _leads_somewhere(page: Path, link: str) -> bool:
    """Whether a link's file is there, and its heading if it names one."""
    name, _, heading = link.partition("#")
    target = page.parent / name if name else page
    return target.exists() and (not heading or heading in _headings(target))


def _headings(page: Path) -> set[str]:
    """A page's headings as links name them."""
    words = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in words}


def test_every_page_opens_with_its_question_and_the_answer_of_the_index() -> None:
    for page, (question, answer) in ANSWERS.items():
        title, opening = (RESULTS / page).read_text().split("\n\n")[:2]
        assert title == f"# {question}" and question.endswith("?")
        assert " ".join(opening.split()) == f"**{answer}**"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [README]
    while waiting:
        page = waiting.pop().resolve()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            waiting += [page.parent / link.partition("#")[0] for link in LINK.findall(page.read_text())]
    assert {page.resolve() for page in WRITTEN} <= reached
