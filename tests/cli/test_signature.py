"""Options are written once, on the field that they fill: no second declaration, and each is in the help."""

import ast
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from qtrain_cli.cli.app import COMMON, kinds_of
from qtrain_cli.cli.config import VALUE_KINDS
from qtrain_cli.cli.signature import signature_of
from qtrain_cli.cli.table import COMMANDS
from qtrain_cli.settings import ArtifactPath, CompressSettings
from qtrain_cli.settings.declared import settings_of
from qtrain_cli.settings.option import Option

PACKAGE = Path(__file__).resolve().parents[2] / "qtrain_cli"
#: Flags with another meaning from command to command, each with how many there are.
SEVERAL = {
    "--bytes": 2, "--device": 2, "--gradient": 2, "--layers": 2, "--methods": 2, "--model": 3, "--noise": 2,
    "--out": 5, "--seeds": 2, "--shots": 4,
}  # fmt: skip


def declared(package: Path) -> Counter:
    """How often each flag or argument is written as an option, by our `Option` or by typer's."""
    found: Counter = Counter()
    texts = [path.read_text() for path in sorted(package.rglob("*.py"))]
    for text in (one for one in texts if "Option(" in one):
        for node in ast.walk(ast.parse(text)):
            is_option = isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Option"
            if is_option and node.args and isinstance(node.args[0], ast.Constant):
                found[str(node.args[0].value).partition("/")[0]] += 1
    return found


def second_declarations(package: Path) -> list[str]:
    """Flags that are written more often than they have meanings."""
    return sorted(flag for flag, times in declared(package).items() if times != SEVERAL.get(flag, 1))


def test_every_option_is_written_once():
    assert second_declarations(PACKAGE) == []
    asked = [one.option for row in COMMANDS.values() for one in (*row.says, *COMMON) if one.option]
    said = {option.flag.partition("/")[0] for option in asked}
    assert said | {"--version"} == declared(PACKAGE).keys(), "an option that no command has"


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """The package in another place, for a file more."""
    folder = tmp_path_factory.mktemp("copied") / "package"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    assert second_declarations(folder) == []
    return folder


@pytest.mark.parametrize(
    "text", ['Option("--data", "Where the data are.")', 'typer.Option("--force")', 'Option("ARTIFACT", "x")']
)
def test_a_planted_second_declaration_is_found(copied, text):
    (copied / "cli" / "extra.py").write_text(f"x = {text}\n")
    assert len(second_declarations(copied)) == 1


@dataclass(frozen=True)
class Doubled:
    """A record with two options of one name: of a mistake."""

    model: CompressSettings
    other: Annotated[str, Option("--data", "Other data.")] = ""


def test_two_options_of_one_name_in_a_command_are_refused():
    with pytest.raises(ValueError, match="two options are called data"):
        settings_of(Doubled)


def test_one_option_on_two_fields_is_one_parameter():
    export = COMMANDS["export"].says
    assert [one.path for one in export if one.option.name == "arch"] == ["model.arch", "arch"]
    assert list(signature_of(export).parameters).count("arch") == 1


@pytest.mark.parametrize("verb", COMMANDS)
def test_the_help_has_every_option_with_its_text(cli, verb):
    text = " ".join(cli(verb, "--help").out.split())
    for option in (one.option for one in (*COMMANDS[verb].says, *COMMON) if one.option):
        assert re.search(rf"(?<![\w-]){option.flag.partition('/')[0]}(?![\w-])", text), option.flag
        words = option.help.partition("{choices}")[0].split("-")[0]
        assert words.strip() in text, option.flag


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_field_that_is_an_option_is_said_or_left_out_by_the_table(verb):
    """A field is left out by name, so that a new one is an option of every command that has its record."""
    row = COMMANDS[verb]
    if not row.without:
        return
    said = {one.path for one in row.says}
    for path in (*row.without, *row.fixed):
        assert path not in said and not any(one.startswith(f"{path}.") for one in said)
        assert path in row.without, "a fixed value is no option"


def test_no_default_is_written_twice():
    """What was not said arrives as None, and the record's own default counts; flags say theirs."""
    for row in COMMANDS.values():
        for name, parameter in signature_of(row.says).parameters.items():
            assert parameter.default in (None, False, parameter.empty) or name in ("methods", "control")


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_option_has_a_kind_that_exists(verb):
    kinds = kinds_of(COMMANDS[verb])
    assert set(kinds.values()) <= VALUE_KINDS.keys()
    names = {one.option.name for one in (*COMMANDS[verb].says, *COMMON) if one.option}
    assert names - kinds.keys() == {"json", "verbose"} | ({"dry-run"} & names)  # of one run, not of a folder


@pytest.mark.parametrize(
    ("verb", "option", "kind"),
    [
        ("compress", "model", "path"),
        ("compress", "data", "data"),
        ("compress", "arch", "arch"),
        ("compress", "arch-args", "json"),
        ("compress", "mean", "numbers"),
        ("compress", "bytes", "text"),
        ("compress", "params", "int"),
        ("compress", "ratio", "float"),
        ("compress", "targets", "list"),
        ("compress", "trust-pickle", "consent"),
        ("compress", "force", "replacing"),
        ("compress", "out", "output"),
        ("export", "out", "output"),
        ("export", "artifact", "path"),
        ("export", "model", "path"),
        ("report", "baseline", "path"),
        ("report", "junit", "output"),
        ("inspect", "file", "path"),
        ("compare", "bytes", "row"),
        ("sample", "shots", "row"),
        ("train", "shots", "int"),
        ("compare-students", "methods", "row"),
        ("compare-gradients", "gradients", "row"),
    ],
)
def test_kinds_are_read_off_the_fields(verb, option, kind):
    assert kinds_of(COMMANDS[verb])[option] == kind


def test_a_file_alone_is_a_command_too():
    (setting,) = settings_of(ArtifactPath)
    assert (setting.path, setting.required, setting.option.is_argument) == ("", True, True)
