"""From a command line to an exit code: every way a run can end, and what is said about it."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from resource import RLIMIT_AS, setrlimit

import pytest

from qtrain_cli import errors
from qtrain_cli.cli import main as entry
from qtrain_cli.cli.table import COMMANDS
from qtrain_cli.commands import env

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "samples" / "digits"


class OutOfMemoryError(RuntimeError):
    """As torch's, by its name and its words."""


ENDINGS = [
    (errors.RunFailed("a", "b"), 1, "failure", "a"),
    (errors.BadInput("a", "b"), 2, "bad-input", "a"),
    (errors.UsageError("a", "b"), 2, "usage", "a"),
    (errors.GateFailed("a", "b"), 3, None, "a"),
    (errors.Refused("a", "b"), 4, "refused", "a"),
    (errors.Interrupted("a", "b"), 130, "interrupted", "a"),
    (KeyboardInterrupt(), 130, "interrupted", "interrupted"),
    (MemoryError(), 1, "failure", "out of memory"),
    (OutOfMemoryError("CUDA out of memory. Tried"), 1, "failure", "out of memory"),
    (RuntimeError("DefaultCPUAllocator: not enough memory"), 1, "failure", "out of memory"),
    (OSError(errno.ENOSPC, "No space left on device"), 1, "failure", "could not be written: No space left"),
    (OSError(errno.EROFS, "Read-only file system", "a"), 2, "bad-input", "'a' cannot be reached: Read-only"),
    (OSError(errno.EIO, "Input/output error", "a"), 2, "bad-input", "'a' cannot be reached: Input/output"),
    (ImportError("libtorch.so: failed to map segment from shared object"), 1, "failure", "out of memory"),
    (OSError(errno.EIO, "odd"), 70, "internal", "internal error: OSError: [Errno 5] odd"),
    (ZeroDivisionError("one\nline"), 70, "internal", "internal error: ZeroDivisionError: one line"),
]


@pytest.fixture
def ending_with(cli, monkeypatch):
    """``ending_with(error, *words)``: `qtrain env`, whose command raises `error`."""

    def call(error, *words):
        def run():
            raise error

        monkeypatch.setattr(env, "run", run)
        return cli("env", *words)

    return call


@pytest.mark.parametrize(("error", "code", "kind", "message"), ENDINGS)
def test_every_ending_has_its_code_and_its_line(ending_with, error, code, kind, message):
    ended = ending_with(error)
    assert (ended.code, ended.out) == (code, "")
    (line,) = ended.err.splitlines()
    assert line.startswith("qtrain: error: ") and message in line


@pytest.mark.parametrize(("error", "code", "kind", "message"), ENDINGS)
def test_every_ending_has_one_document(ending_with, error, code, kind, message):
    ended = ending_with(error, "--json")
    if kind is None:
        assert ended.out == "", "a failed gate is in the record's own document"
        return
    (found,) = json.loads(ended.out).values()
    assert list(json.loads(ended.out)) == ["error"] and list(found) == ["kind", "message", "advice"]
    assert found["kind"] == kind and message in found["message"]
    assert ended.code == code


def test_a_refusal_that_memory_is_to_blame_for_says_so(ending_with):
    refusal = errors.Refused("'net.qtrain' is damaged")
    refusal.__cause__ = MemoryError()
    ended = ending_with(refusal)
    assert ended.code == 1 and "out of memory; free some (`ulimit -v`" in ended.err


@pytest.mark.parametrize("kind", [errors.BadInput, ValueError])
def test_a_message_ends_in_json_too(ending_with, kind):
    line = ending_with(kind("x" * 1_000_000)).err
    assert len(line.rstrip("\n")) in range(400, 501) and line.count("\n") == 1
    assert len(json.loads(ending_with(kind("x" * 1_000_000), "--json").out)["error"]["message"]) <= 500


def test_no_line_of_an_ending_is_a_command_of_a_pipeline(ending_with, monkeypatch):
    monkeypatch.setenv("QTRAIN_DEBUG", "1")
    err = ending_with(ValueError("a\n::add-mask::b ##[add-mask]c")).err
    assert "\n\\x3a:add-mask::b \\x23#[add-mask]c\n" in err
    assert "\n::" not in err and "##[" not in err


def test_a_bug_says_where_to_report_it(ending_with):
    assert "this is a bug" in ending_with(ZeroDivisionError()).err


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), errors.BadInput("x")])
def test_the_traceback_is_shown_on_demand_only(ending_with, monkeypatch, error):
    monkeypatch.delenv("QTRAIN_DEBUG", raising=False)
    assert "Traceback" not in ending_with(error).err
    monkeypatch.setenv("QTRAIN_DEBUG", "1")
    ended = ending_with(error)
    assert "Traceback" in ended.err and "in run" in ended.err
    assert ended.err.splitlines()[-1].startswith("qtrain: error: ")


def test_control_characters_in_a_message_are_spelled_out(ending_with):
    assert "\\x1b[2Jname" in ending_with(errors.BadInput("\x1b[2Jname")).err


def test_no_words_are_a_call_for_help(cli):
    assert cli() == cli("--help")
    assert cli().code == 0 and cli().err == ""


def test_the_version(cli):
    from qtrain_cli.results.versions import VERSION

    ended = cli("--version")
    assert (ended.code, ended.out, ended.err) == (0, f"qtrain {VERSION}\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("comprss",), "Did you mean 'compress'"),
        (("verify",), "Missing argument 'ARTIFACT'"),
        (("verify", "a", "b"), "unexpected extra argument"),
        (("report", "a", "--min-acuracy", "1"), "--min-accuracy"),
        (("report", "a", "--min-accuracy"), "requires an argument"),
        (("report", "a", "--min-accuracy", "high"), "'--min-accuracy': Input should be a valid number"),
        (("compress", "a"), "Missing option '--data'"),
    ],
)
def test_words_that_are_not_understood(cli, words, message):
    ended = cli(*words)
    assert (ended.code, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    what = "commands" if words == ("comprss",) else "options"
    assert message in line and line.endswith(f"--help` lists the {what}")


@pytest.mark.parametrize(("words", "written"), [(("verify",), True), (("card", "a"), False)])
def test_init_is_named_where_it_writes_what_is_missing(cli, words, written):
    ended = cli(*words)
    assert "give it" in ended.err and ("`qtrain init`" in ended.err) == written


@pytest.mark.parametrize("verb", COMMANDS)
@pytest.mark.parametrize("word", ["-h", "--help"])
def test_every_command_has_help(cli, verb, word):
    ended = cli(verb, word)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"Usage: qtrain {verb}")


def test_verbose_adds_time_and_code(cli):
    assert "s, exit code 0" in cli("env", "-v").err
    assert "s, exit code 2" in cli("env", "--verbose", "--nonsense").err


def test_sigterm_ends_any_command_as_an_interrupt_and_handlers_are_given_back(cli, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(env, "run", lambda: os.kill(os.getpid(), signal.SIGTERM))
    ended = cli("env")
    assert (ended.code, ended.err.count("\n")) == (130, 1)
    assert signal.getsignal(signal.SIGTERM) == before


def test_help_answers_where_the_configuration_is_broken(cli, tmp_path, monkeypatch):
    (tmp_path / "qtrain.toml").write_text("[compress\n")
    monkeypatch.chdir(tmp_path)
    assert cli("env").code == 2
    assert [cli(*words).code for words in ([], ["--help"], ["compress", "-h"], ["--version"])] == [0] * 4
    for name, value in (
        ("_QTRAIN_COMPLETE", "complete_bash"), ("COMP_WORDS", "qtrain compr"), ("COMP_CWORD", "1"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    assert cli("comp").out == "compress\n"


def test_a_broken_table_stops_the_command_that_reads_it(cli, tmp_path, monkeypatch):
    (tmp_path / "qtrain.toml").write_text("[compress]\nepoch = 1\n")
    monkeypatch.chdir(tmp_path)
    assert cli("env").code == 0 and cli("-q", "nonsense").code == 2
    ended = cli("compress", "env")
    assert ended.code == 2 and "'epoch' in [compress] is unknown" in ended.err


# --- other processes -------------------------------------------------------------------------------------


def process(*words, **options):
    given = {"stderr": subprocess.PIPE, "text": True, "cwd": ROOT, **options}
    return subprocess.Popen([sys.executable, "-m", "qtrain_cli", *map(str, words)], **given)


def test_a_reader_that_has_gone_is_no_error(artifact):
    running = process("report", artifact, stdout=subprocess.PIPE)
    running.stdout.close()
    assert (running.stderr.read(), running.wait()) == ("", 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_stdout_is_a_failed_run(artifact, unbuffered):
    with Path("/dev/full").open("w") as full:
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        running = process("report", artifact, "--json", stdout=full, env=environment)
        err = running.stderr.read()
    assert running.wait() == 1
    assert err == "qtrain: error: the output could not be written: No space left on device; free some space\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of address space are Linux's")
def test_too_little_address_space_is_a_failed_run(artifact):
    limit = (300 * 2**20,) * 2
    running = process(
        "verify", artifact, stdout=subprocess.PIPE, preexec_fn=lambda: setrlimit(RLIMIT_AS, limit)
    )
    out, err = running.communicate()
    assert (running.returncode, out) == (1, "") and err.startswith("qtrain: error: out of memory; free some")


#: Runs each command line in one process and says which of torch and numpy it has imported by then; at last,
#: whether a training imported PyTorch's compiler.
WITHOUT_TORCH = """
import os, sys
from qtrain_cli.cli import main

for words in (["--help"], [], ["--version"], ["compress", "--help"], ["report", sys.argv[1]],
              ["report", sys.argv[1], "--json", "--min-accuracy", "0.1"], ["verify", "absent", "--nonsense"],
              ["verify", "absent"],
              ["compress", "absent.pt", "--data", "absent.npz", "--processes", "2"],
              ["compress", *sys.argv[2:], "--processes", "2", "--mean", "1"]):
    main(words)
    print(words, {"torch", "numpy", "safetensors"} & set(sys.modules), file=sys.stderr)
os.environ |= {"_QTRAIN_COMPLETE": "complete_bash", "COMP_WORDS": "qtrain compr", "COMP_CWORD": "1"}
main([])
print("completion", {"torch", "numpy", "safetensors"} & set(sys.modules), file=sys.stderr)
del os.environ["_QTRAIN_COMPLETE"]
words = ["compress", *sys.argv[2:], "--layers", "2", "--epochs", "1", "-q"]
trained = max(main([*words, "--optimizer", name, "-o", f"{name}.qtrain"]) for name in ("eigenbasis", "adam"))
print("trained", trained, {"torch._dynamo", "torch._inductor", "sympy"} & set(sys.modules), file=sys.stderr)
"""


def test_help_completion_and_report_import_no_torch_and_a_training_no_compiler(artifact, tmp_path):
    given = [artifact, DIGITS / "digits_cnn_module.pt", "--data", DIGITS / "digits.npz"]
    (tmp_path / "qtrain.toml").write_text("[compress]\nepochs = 3\n")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *given], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if not line.startswith("qtrain: error")]
    assert len(lines) == 12 and all(line.endswith("set()") for line in lines), done.stderr
    assert lines[-1] == "trained 0 set()" and "\ncompress\n" in done.stdout


def test_main_is_the_function_and_the_module_runs_it():
    assert entry(["--version"]) == 0
