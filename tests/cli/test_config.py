"""qtrain.toml: the nearest file, paths relative to it, and an error for all that is not understood."""

import subprocess
import sys
from pathlib import Path

import pytest

from qtrain_cli.cli import config
from qtrain_cli.cli.app import kinds_of
from qtrain_cli.cli.config import VALUE_KINDS, load_defaults
from qtrain_cli.cli.table import COMMANDS as TABLE
from qtrain_cli.errors import BadInput, QtrainError, UsageError
from qtrain_cli.files.config_file import configured_bases, find_config

COMMANDS = {
    "compress": {
        "model": "path",
        "data": "data",
        "arch": "arch",
        "arch-args": "json",
        "mean": "numbers",
        "bytes": "text",
        "epochs": "int",
        "lr": "float",
        "force": "replacing",
        "bare": "flag",
        "targets": "list",
        "angle_bits": "int",
        "out": "output",
        "log": "log",
        "trust-pickle": "consent",
    },
    "report": {"artifact": "path", "baseline": "path"},
}


def load(folder: Path, text: str):
    (folder / "qtrain.toml").write_text(text)
    return load_defaults(folder, COMMANDS)


def value_of(folder: Path, line: str):
    """The one value of ``[compress]``."""
    (value,) = load(folder, f"[compress]\n{line}\n")["compress"].values()
    return value


def test_no_file_no_defaults(tmp_path):
    if find_config(tmp_path) is not None:
        pytest.skip("a qtrain.toml lies above the temporary folder")
    assert load_defaults(tmp_path, COMMANDS) == {}


def test_the_nearest_file_counts_and_files_are_not_merged(tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "qtrain.toml").write_text("[compress]\nepochs = 1\nlr = 0.5\n")
    assert load_defaults(inner, COMMANDS) == {"compress": {"epochs": 1, "lr": 0.5}}
    (tmp_path / "a" / "qtrain.toml").write_text("[compress]\nepochs = 2\n")
    assert load_defaults(inner, COMMANDS) == {"compress": {"epochs": 2}}


def test_from_the_current_folder_paths_stay_relative_and_above_they_do_not(tmp_path, monkeypatch):
    (tmp_path / "below").mkdir()
    (tmp_path / "qtrain.toml").write_text('[report]\nartifact = "net.qtrain"\n')
    monkeypatch.chdir(tmp_path)
    assert load_defaults(Path(), COMMANDS) == {"report": {"artifact": "net.qtrain"}}
    monkeypatch.chdir(tmp_path / "below")
    assert load_defaults(Path(), COMMANDS) == {"report": {"artifact": str(tmp_path / "net.qtrain")}}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('out = "net.qtrain"', "{folder}/net.qtrain"),
        ('out = "new/net.qtrain"', "{folder}/new/net.qtrain"),
        ('model = "/abs/net.pt"', "/abs/net.pt"),
        ('model = "../net.pt"', "{folder}/../net.pt"),
        ('data = "digits.npz"', "{folder}/digits.npz"),
        ('data = "hf:mnist"', "hf:mnist"),
        ('data = "load.py:splits"', "{folder}/load.py:splits"),
        ('data = "/abs/load.py:splits"', "/abs/load.py:splits"),
        ('data = "odd:name"', "{folder}/odd:name"),
        ('arch = "net.py:Net"', "{folder}/net.py:Net"),
        ('arch = "package.net:Net"', "package.net:Net"),
        ('arch-args = {width = 8, name = "a"}', '{{"width": 8, "name": "a"}}'),
        ("arch_args = '{\"width\": 8}'", '{{"width": 8}}'),
        ("mean = 0.5", "0.5"),
        ("mean = 0", "0"),
        ("mean = [0.4, 0.5, 1]", "0.4,0.5,1"),
        ('mean = "0.4,0.5,0.6"', "0.4,0.5,0.6"),
        ('bytes = "2KB"', "2KB"),
        ("bytes = 2000", "2000"),
        ('log = "none"', "none"),
        ('log = "runs/net.jsonl"', "{folder}/runs/net.jsonl"),
        ('log = "tensorboard:runs"', "tensorboard:{folder}/runs"),
    ],
)
def test_values_that_become_text(tmp_path, line, expected):
    assert value_of(tmp_path, line) == expected.format(folder=tmp_path)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("epochs = 3", 3),
        ("lr = 0.01", 0.01),
        ("lr = 1", 1.0),
        ("bare = true", True),
        ("bare = false", False),
        ('targets = ["conv*", "re:fc"]', ["conv*", "re:fc"]),
        ('targets = "conv*"', ["conv*"]),
        ("targets = []", []),
    ],
)
def test_values_that_keep_their_type(tmp_path, line, expected):
    value = value_of(tmp_path, line)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize("key", ["angle-bits", "angle_bits"])
def test_dash_and_underscore_are_one(tmp_path, key):
    assert load(tmp_path, f"[compress]\n{key} = 5") == {"compress": {"angle_bits": 5}}


def test_a_byte_order_mark_is_passed_over(tmp_path):
    (tmp_path / "qtrain.toml").write_bytes(b"\xef\xbb\xbf[compress]\r\nepochs = 3\r\n")
    assert load_defaults(tmp_path, COMMANDS) == {"compress": {"epochs": 3}}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("epochs = 3.0", "'epochs' in [compress] is 3.0; expected: a whole number"),
        ("epochs = true", "is true; expected: a whole number"),
        ('epochs = "3"', 'is "3"; expected: a whole number'),
        ("lr = true", "is true; expected: a number"),
        ("bare = 1", "is 1; expected: true or false"),
        ("force = true", "expected: nothing: that files may be replaced is said on the command line only"),
        ('out = "/abs/net.qtrain"', "expected: a path in quotes, in the file's folder or below"),
        ('out = "../net.qtrain"', "in the file's folder or below"),
        ('out = "link/net.qtrain"', "in the file's folder or below"),
        ('out = "."', "in the file's folder or below"),
        ('log = "tensorboard:../runs"', "expected: 'none', or a FILE.jsonl"),
        ('log = "../net.jsonl"', "expected: 'none', or a FILE.jsonl"),
        ("log = 1", "is 1; expected: 'none'"),
        ("out = 1", "is 1; expected: a path"),
        ('out = ""', 'is ""; expected: a path'),
        ('out = "a\\u0000b"', "expected: a path"),
        ('data = "\\u0000.py:f"', "expected: a path, 'hf:NAME'"),
        ("data = 1", "is 1; expected: a path, 'hf:NAME'"),
        ("arch = []", "is []; expected: 'package.module:Class'"),
        ("arch-args = 3", "is 3; expected: a table"),
        ("mean = [0.5, true]", "is [0.5, true]; expected: a number, or a list of numbers"),
        ("mean = []", "is []; expected: a number"),
        ("mean = nan", "is NaN; expected: a number"),
        ("bytes = 1979-05-27", 'is "1979-05-27"; expected: a text'),
        ("targets = [1]", "is [1]; expected: a list of texts"),
        ("targets = 1", "is 1; expected: a list of texts"),
        (
            "trust-pickle = true",
            "expected: nothing: it is consent to run code, and is given on the command line",
        ),
        ('out = ["' + "x" * 200 + '"]', "xxx...; expected"),
    ],
)
def test_wrong_types(tmp_path, line, message):
    (tmp_path / "link").symlink_to(tmp_path.parent)
    with pytest.raises(UsageError) as caught:
        value_of(tmp_path, line)
    assert message in caught.value.message
    assert str(tmp_path / "qtrain.toml") in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "message", "advice"),
    [
        ("[compres]\n", "unknown table [compres]", "did you mean 'compress'?"),
        ("[zzz]\n", "unknown table [zzz]", "allowed: compress, report"),
        ("[compress]\nepoch = 3", "'epoch' in [compress] is unknown", "did you mean 'epochs'?"),
        ("[compress]\nangle_bit = 3", "'angle_bit' in [compress] is unknown", "did you mean 'angle-bits'?"),
        ("[compress]\nangle_bits = 3\nangle-bits = 4", "'angle-bits' in [compress] stands twice", "keep one"),
        ('out = "a"', "'out' stands outside a table", "[compress]"),
        ("[compress]\nepochs = \n", "is not TOML: Invalid value (at line 2", ""),
        ("[compress]\nepochs = 1\nepochs = 2\n", "is not TOML: Cannot overwrite a value (at line 3", ""),
        ("[compress]\nepochs = " + "9" * 5000, "is not TOML", ""),
        ("a = " + "[" * 100_000, "is not TOML", ""),
    ],
)
def test_a_file_that_is_not_understood(tmp_path, text, message, advice):
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    assert message in caught.value.message
    assert advice in caught.value.advice
    assert len(caught.value.message) < 400


def test_a_table_stops_the_command_that_reads_it_and_no_other(tmp_path):
    (tmp_path / "qtrain.toml").write_text("[compress]\nepoch = 1\n[report]\nbaseline = 'a'\n[compres]\n")
    (tmp_path / "below").mkdir()
    for reader, found in (("report", {"report": {"baseline": str(tmp_path / "a")}}), ("env", {})):
        assert load_defaults(tmp_path / "below", {**COMMANDS, "env": {}}, reader) == found
    with pytest.raises(UsageError, match="'epoch' in"):
        load_defaults(tmp_path, COMMANDS, "compress")
    (tmp_path / "qtrain.toml").write_text("[compres]\nepochs = 1\n")
    assert load_defaults(tmp_path, COMMANDS, "report") == {}
    for text, reader in (("[compres]\n", "compress"), ("[zzz]\n", "report"), ("[zzz]\n", "compress")):
        (tmp_path / "qtrain.toml").write_text(text)
        with pytest.raises(UsageError, match="unknown table"):
            load_defaults(tmp_path, COMMANDS, reader)


def test_bases_may_stand_before_the_tables(tmp_path):
    commands = {"a": {"bases": "paths", "epochs": "int"}, "b": {"bases": "paths"}, "c": {"epochs": "int"}}
    (tmp_path / "qtrain.toml").write_text(
        'bases = ["x", "y"]\n[a]\nepochs = 3\n[b]\nbases = "z"\n[c]\nepochs = 4'
    )
    x, y, z = (str(tmp_path / name) for name in "xyz")
    found = {"a": {"bases": [x, y], "epochs": 3}, "b": {"bases": [z]}, "c": {"epochs": 4}}
    assert load_defaults(tmp_path, commands) == found
    for reader in commands:
        assert load_defaults(tmp_path, commands, reader) == {reader: found[reader]}
    assert configured_bases(tmp_path) == (Path(x), Path(y))
    for wrong in ("3", "[]", '["x", 3]', '[""]', '"\\u0000"', "{x = 1}"):
        (tmp_path / "qtrain.toml").write_text(f"bases = {wrong}\n")
        assert load_defaults(tmp_path, commands, "c") == {}
        with pytest.raises(UsageError, match=r"'bases' is .*; expected: a list of paths in quotes"):
            load_defaults(tmp_path, commands, "b")
        with pytest.raises(UsageError, match="'bases' is not a list of paths in quotes"):
            configured_bases(tmp_path)
    (tmp_path / "qtrain.toml").write_text("")
    assert configured_bases(tmp_path) == ()


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("shots = 100", "100"),
        ("shots = [0, 100]", "0,100"),
        ("shots = '0,100'", "0,100"),
        ("shots = ['adjoint', 'spsa']", "adjoint,spsa"),
    ],
)
def test_several_values_may_be_a_list_or_one_text(tmp_path, line, value):
    (tmp_path / "qtrain.toml").write_text(f"[a]\n{line}\n")
    assert load_defaults(tmp_path, {"a": {"shots": "row"}}) == {"a": {"shots": value}}
    (tmp_path / "qtrain.toml").write_text("[a]\nshots = [[1]]\n")
    with pytest.raises(UsageError, match="expected: a list of texts or numbers, or one of them"):
        load_defaults(tmp_path, {"a": {"shots": "row"}})


def test_a_file_that_is_not_utf8(tmp_path):
    (tmp_path / "qtrain.toml").write_bytes(b"[compress]\n# caf\xe9\n")
    with pytest.raises(UsageError, match=r"qtrain.toml' is not UTF-8: byte 16 is wrong"):
        load_defaults(tmp_path, COMMANDS)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_a_file_that_cannot_be_read(tmp_path, make):
    make(tmp_path / "qtrain.toml")
    with pytest.raises(BadInput, match=r"cannot read '.*qtrain.toml': ") as caught:
        load_defaults(tmp_path, COMMANDS)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("key", ["lr", "epochs", "bytes", "mean", "bare"])
@pytest.mark.parametrize("number", ["1" * 400, "0x" + "f" * 5000], ids=["too large", "too large to print"])
def test_a_number_without_end_is_a_wrong_value(tmp_path, key, number):
    with pytest.raises(UsageError, match=f"'{key}' in \\[compress\\] is "):
        value_of(tmp_path, f"{key} = {number}")


@pytest.mark.parametrize("kind", VALUE_KINDS)
def test_every_kind_refuses_a_date(tmp_path, kind):
    (tmp_path / "qtrain.toml").write_text("[a]\nb = 1979-05-27\n")
    with pytest.raises(QtrainError, match="'b' in"):
        load_defaults(tmp_path, {"a": {"b": kind}})


def test_what_is_written_and_what_is_consent_is_known_as_such():
    """Every path of every command but those that are read, and every consent."""
    read = {"artifact", "model", "base", "teacher", "file", "baseline", "tokenizer"}
    kinds = {(row.name, name): kind for row in TABLE.values() for name, kind in kinds_of(row).items()}
    paths = {place for place, kind in kinds.items() if kind == "path"}
    assert {name for _, name in paths} <= read
    assert {"out", "markdown", "plot", "junit", "state", "html"} <= {
        n for (_, n), k in kinds.items() if k == "output"
    }
    consents = {place: kind for place, kind in kinds.items() if place[1] == "force" or "trust" in place[1]}
    assert set(consents.values()) == {"replacing", "consent"}


def test_it_needs_the_standard_library_only():
    """As a file by itself: its folder is the whole command line, which needs typer."""
    code = "import runpy, sys; assert runpy.run_path(sys.argv[1])['find_config']; print(*sys.modules)"
    words = [sys.executable, "-c", code, config.__file__]
    modules = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "qtrain_cli.errors" in modules.split()
    assert not {"torch", "numpy", "rich", "typer"} & set(modules.split())
