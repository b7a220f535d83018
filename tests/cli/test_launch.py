"""Commands in several processes: what is printed, how each end is told, and what is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kill_worker import step_of, workers

from qtrain_cli.cli import launch, main
from qtrain_cli.cli.perform import _as_one_of
from qtrain_cli.errors import BadInput, Interrupted, RunFailed, UsageError
from qtrain_cli.files.notes import OVER, SAVED, SHOWN, note, noted

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "samples" / "digits"
WORDS = (
    "compress", DIGITS / "digits_cnn_module.pt", "--data", DIGITS / "digits.npz", "--layers", 4,
    "-o", "net.qtrain",
)  # fmt: skip
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
NO_LOG = ("--log", "none")  # which torchrun would take for the beginning of an option of its own


def started(folder, *words, launcher=(), path=None):
    """In new processes; those of a warm path are forked, and their callers pass on signals and ends."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LOGLEVEL": "CRITICAL"}
    environment |= {"PATH": path} if path else {}
    python = shutil.which("python", path=path) if path else sys.executable
    command = [python, *launcher, "-m", "qtrain_cli", *map(str, words)]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(run):
    out, err = run.communicate(timeout=300)
    return run.returncode, out, err


def wait_for_a_state(run, folder, after=0):
    """Until a state of more than so many steps lies there."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and run.poll() is None:
        step = step_of(folder)
        if step != "no state" and int(step.split()[1]) >= after:
            return
        time.sleep(0.05)
    raise AssertionError(f"no state: {run.poll()}")


def worker_of(folder, rank):
    """The process that the launcher of a run in this folder has started as this one."""
    launchers = set()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            launchers |= {int(place.name)} if (place / "cwd").readlink() == folder else set()
    (found,) = {workers(one)[rank] for one in launchers if rank in workers(one)}
    return found


# --- the whole thing, in processes of its own ------------------------------------------------------------


@pytest.mark.parametrize("way", ["--processes", "torchrun"])
def test_two_processes_write_one_file_and_print_one_document(way, tmp_path, warm):
    words = ("--processes", "2") if way == "--processes" else ()
    launcher = () if words else TORCHRUN
    words = (*WORDS, "--epochs", 2, "--json", *words)
    code, out, err = ended(started(tmp_path, *words, launcher=launcher, path=warm))
    record = json.loads(out)
    assert code == 0 and record["processes"] == 2 and record["versions"]["processes"] == "2"
    assert {path.name for path in tmp_path.iterdir()} == {"net.qtrain", "net.qtrain.jsonl"}
    assert len((tmp_path / "net.qtrain.jsonl").read_text().splitlines()) == 2
    assert err.count("measuring the regenerated weights") == 1
    assert err.count("each of 2 processes runs all circuits: there are 1") == 1


def errors_of(run):
    code, out, err = ended(run)
    assert code != 0
    return out, [line for line in err.splitlines() if line.startswith("qtrain: error")]


def test_under_torchrun_what_all_are_refused_is_said_once(tmp_path, warm):
    words = ("compress", "absent.pt", "--data", "absent.npz", "--json")
    out, said = errors_of(started(tmp_path, *words, launcher=TORCHRUN, path=warm))
    assert said == ["qtrain: error: 'absent.pt' does not exist; check the path of the model file"]
    assert json.loads(out)["error"]["message"] == "'absent.pt' does not exist"


def test_under_torchrun_what_one_alone_has_met_is_seen(tmp_path, warm):
    (tmp_path / "own.py").write_text(
        "import os\ndef rows():\n    raise ValueError('of ' + os.environ['RANK'])\n"
    )
    words = (*WORDS[:2], "--data", "own.py:rows", "-o", "net.qtrain")
    _, said = errors_of(started(tmp_path, *words, launcher=TORCHRUN, path=warm))
    assert len(said) == 2 and {line.split("of ")[-1][0] for line in said} == {"0", "1"}


@pytest.mark.parametrize(
    ("error", "first", "silent"),
    [
        (BadInput("no file"), "no file", True),
        (BadInput("no file"), "no memory", False),
        (BadInput("no file"), None, False),
        (Interrupted("asked to stop"), "no file", True),
        (Interrupted("asked to stop"), None, False),
    ],
)
def test_an_echo_of_the_first_process_is_silent(monkeypatch, error, first, silent):
    from qtrain_cli.training import ranks

    monkeypatch.delenv(launch.FAILURES, raising=False)
    monkeypatch.setattr(ranks, "end_of_first", lambda own: first)
    assert not launch.said_by_first(error)
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    assert launch.said_by_first(error) == silent


def test_a_comparison_in_two_processes_has_the_cells_of_one(tmp_path, warm):
    words = (
        "compare", DIGITS / "digits_cnn_module.pt", "--data", DIGITS / "digits.npz", "--bytes", 700,
        "--methods", "ours,quantisation", "--seeds", 1, "--epochs", 3, "--quick", "--json",
    )  # fmt: skip
    found = []
    for count in (1, 2):
        of = ("--state", f"of-{count}", "--processes", count)
        code, out, err = ended(started(tmp_path, *words, *of, path=warm))
        assert code == 0, err
        found.append([(cell["method"], cell["end"], cell["numbers"]) for cell in json.loads(out)["cells"]])
        names = sorted(path.name for path in (tmp_path / f"of-{count}").rglob("*.*"))
        assert not [name for name in names if name.endswith(".ckpt")]
        found[-1] += names
    assert found[0] == found[1]


def test_a_killed_process_ends_the_run_and_resume_gives_the_undisturbed_file(tmp_path, warm):
    """Without --max-restarts: exit code 1, one line, the state kept; then the same file as of a run that
    nobody disturbed."""
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    words = (*WORDS, *NO_LOG, "--epochs", 6, "--processes", 2)
    assert ended(started(tmp_path / "whole", *words, path=warm))[0] == 0
    run = started(tmp_path / "cut", *words, "--json", path=warm)
    wait_for_a_state(run, tmp_path / "cut")
    os.kill(worker_of(tmp_path / "cut", 1), signal.SIGKILL)
    code, out, err = ended(run)
    said = "process 1 of 2 was ended by SIGKILL"
    assert code == 1 and json.loads(out)["error"]["message"] == said
    assert [line for line in err.splitlines() if "error" in line] == [
        f"qtrain: error: {said}; run it again with --resume; with --max-restarts 3 it goes on by itself"
    ]
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["net.qtrain.ckpt"]
    code, _, err = ended(started(tmp_path / "cut", *words, "--resume", path=warm))
    assert code == 0, err
    files = [(tmp_path / name / "net.qtrain").read_bytes() for name in ("whole", "cut")]
    assert files[0] == files[1]


def test_ctrl_c_stops_all_of_them_after_the_same_step_and_one_process_does_not_go_on(tmp_path, warm):
    words = (*WORDS, *NO_LOG, "--epochs", 500)
    run = started(tmp_path, *words, "--processes", 2, path=warm)
    wait_for_a_state(run, tmp_path)
    time.sleep(1)  # in the loop, where steps end together
    run.send_signal(signal.SIGINT)
    code, out, err = ended(run)
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == (
        "qtrain: error: stopped; the state is in 'net.qtrain.ckpt'; run it again with --resume"
    )
    assert step_of(tmp_path) != "step 0"
    assert [path.name for path in tmp_path.iterdir()] == ["net.qtrain.ckpt"]
    code, _, err = ended(started(tmp_path, *words, "--resume", path=warm))
    assert code == 2
    assert "was made on another machine: processes 2 there and unknown here; go on with --processes 2" in err


# --- what is said of an end ------------------------------------------------------------------------------


def left(folder, monkeypatch, rank, error, restart=0, kind=None):
    """What a process leaves of a failure."""
    monkeypatch.setenv(launch.FAILURES, str(folder))
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(restart))
    assert launch.leave_failure(error, kind or error.kind, error.exit_code)


def test_the_first_failure_of_its_own_is_the_run_s(tmp_path, monkeypatch):
    ended_for_others = BadInput("another is gone")
    ended_for_others.aftermath = True
    left(tmp_path, monkeypatch, 0, ended_for_others)
    left(tmp_path, monkeypatch, 1, BadInput("row 7 is damaged", "drop it"))
    found = launch._failure(tmp_path, {1: 2}, 2)
    assert (type(found), found.message, found.advice) == (BadInput, "row 7 is damaged", "drop it")
    assert found.exit_code == 2


def test_an_internal_error_stays_one(tmp_path, monkeypatch):
    error = RunFailed("internal error: KeyError")
    error.exit_code = 70
    left(tmp_path, monkeypatch, 1, error, kind="internal")
    found = launch._failure(tmp_path, {1: 70}, 2)
    assert (found.kind, found.exit_code) == ("internal", 70)


def test_who_was_killed_counts_before_those_whom_the_launcher_stops_then(tmp_path, monkeypatch):
    left(tmp_path, monkeypatch, 0, Interrupted("interrupted"))
    assert launch._failure(tmp_path, {0: 130, 1: -9}, 2).message == "process 1 of 2 was ended by SIGKILL"
    assert launch._failure(tmp_path, {0: -15, 1: -11}, 2).message == "process 1 of 2 was ended by SIGSEGV"


def test_a_stop_is_a_stop(tmp_path, monkeypatch):
    for rank in (0, 1):
        left(tmp_path, monkeypatch, rank, Interrupted("stopped; the state is in 'x'", "go on"))
    found = launch._failure(tmp_path, {}, 2)
    assert (type(found), found.message) == (Interrupted, "stopped; the state is in 'x'")


def test_only_the_last_start_counts(tmp_path, monkeypatch):
    left(tmp_path, monkeypatch, 0, BadInput("once"), restart=0)
    left(tmp_path, monkeypatch, 0, RunFailed("twice"), restart=1)
    assert launch._failure(tmp_path, {0: 1}, 2).message == "twice"


def test_an_end_that_nobody_explains_is_told_by_its_code(tmp_path):
    assert (
        launch._failure(tmp_path, {1: 7}, 2).message
        == "process 1 of 2 has ended with code 7 and said nothing"
    )
    assert launch._failure(tmp_path, {}, 2) is None


def test_where_all_blame_another_the_first_one_s_words_are_said(tmp_path, monkeypatch):
    for rank in (0, 1):
        blames = RunFailed(f"another is gone, says {rank}")
        blames.aftermath = True
        left(tmp_path, monkeypatch, rank, blames)
    assert launch._failure(tmp_path, {0: -11, 1: 1}, 2).message == "process 0 of 2 was ended by SIGSEGV"
    assert launch._failure(tmp_path, {0: 1, 1: 1}, 2).message == "another is gone, says 0"


def test_without_a_launcher_of_ours_a_failure_is_printed_as_ever(monkeypatch):
    monkeypatch.delenv(launch.FAILURES, raising=False)
    assert not launch.leave_failure(BadInput("x"), "bad-input", 2)


def test_another_number_of_processes_than_were_started_is_refused():
    with pytest.raises(UsageError, match="--processes is 3, and 2 were started"):
        _as_one_of(2, {"processes": 3})
    assert _as_one_of(2, {"processes": None, "resume": None}) == {"processes": 2, "resume": None}


def test_restarts_are_refused_where_nobody_would_start_anew(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main([*map(str, WORDS), "--max-restarts", "3"]) == 2
    assert "--max-restarts needs --processes of 2 or more" in capsys.readouterr().err
    assert main(["plan", str(WORDS[1]), "--max-restarts", "3"]) == 2
    assert "No such option" in capsys.readouterr().err
    monkeypatch.delenv(launch.FAILURES, raising=False)
    with pytest.raises(UsageError, match="--max-restarts does nothing under torchrun"):
        _as_one_of(2, {"processes": None, "max-restarts": 3})


def test_what_one_has_refused_is_refused_by_those_who_are_started_again(tmp_path, monkeypatch):
    aftermath = RunFailed("another is gone")
    aftermath.aftermath = True
    left(tmp_path, monkeypatch, 0, aftermath)
    left(tmp_path, monkeypatch, 1, Interrupted("the launcher stops"))
    left(tmp_path, monkeypatch, 0, UsageError("'x' exists", "give --force"), restart=1)
    launch.raise_earlier_failure()  # of this very start
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    with pytest.raises(UsageError, match="'x' exists"):
        launch.raise_earlier_failure()
    monkeypatch.delenv(launch.FAILURES)
    launch.raise_earlier_failure()


def test_restarts_do_not_replace_a_file_that_is_in_the_way(tmp_path, warm):
    (tmp_path / "net.qtrain").write_bytes(b"mine")
    words = (*WORDS, *NO_LOG, "--epochs", 1, "--processes", 2, "--max-restarts", 1)
    code, _, err = ended(started(tmp_path, *words, path=warm))
    assert code == 2 and "'net.qtrain' exists" in err
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]


def test_who_is_started_again_goes_on(tmp_path, monkeypatch):
    """From a state of this run: one of an earlier run may lie there, which --force replaces."""
    monkeypatch.setenv(launch.FAILURES, str(tmp_path))
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert _as_one_of(2, {"processes": 2, "resume": None})["resume"] is None
    note(SAVED)
    assert _as_one_of(2, {"processes": 2, "resume": None})["resume"] is True
    assert "resume" not in _as_one_of(2, {"processes": 2})  # a comparison goes on anyway


def test_an_end_after_which_torchrun_starts_anew_is_not_the_runs(monkeypatch, capsys):
    monkeypatch.delenv(launch.FAILURES, raising=False)
    monkeypatch.delenv("TORCHELASTIC_MAX_RESTARTS", raising=False)
    assert not launch.torchrun_starts_again(RunFailed("x"))
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "2")
    for count, again in (("0", True), ("1", True), ("2", False)):
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", count)
        assert launch.torchrun_starts_again(RunFailed("x")) is again
        assert not launch.torchrun_starts_again(Interrupted("x"))
        assert main(["report", "absent.qtrain", "--json"]) == 2
        assert bool(capsys.readouterr().out) is not again


def test_a_result_is_printed_once_though_a_process_is_killed_behind_it(tmp_path, monkeypatch):
    monkeypatch.delenv(launch.FAILURES, raising=False)
    note(SHOWN)
    assert not noted(SHOWN)
    monkeypatch.setenv(launch.FAILURES, str(tmp_path))
    monkeypatch.setenv("RANK", "0")
    assert not noted(SHOWN)
    note(SHOWN)
    assert noted(SHOWN)
    assert launch._failure(tmp_path, {}, 2) is None  # it is no failure


def test_who_is_started_again_behind_a_result_has_nothing_to_do(tmp_path, monkeypatch):
    """A comparison's pages are there by then, and would be in its way."""
    places = {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": 1}
    for name, value in {**places, "MASTER_ADDR": "nobody", launch.FAILURES: tmp_path}.items():
        monkeypatch.setenv(name, str(value))
    note(OVER)
    assert main([*map(str, WORDS)]) == 0 and not Path("net.qtrain").exists()


@pytest.mark.parametrize("over", [True, False])
def test_a_process_that_is_ended_after_the_result_has_been_shown_spoils_nothing(monkeypatch, over):
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

    def run(folder, processes, restarts):
        if over:
            Path(folder, OVER).touch()
        failure = ProcessFailure(local_rank=1, pid=1, exitcode=-signal.SIGABRT, error_file="")
        raise ChildFailedError("qtrain", {1: failure})

    monkeypatch.setattr(launch, "_run", run)
    if over:
        launch.launch(2, 0)
        return
    with pytest.raises(RunFailed, match="process 1 of 2 was ended by SIGABRT"):
        launch.launch(2, 0)


def test_the_environment_is_the_same_afterwards(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = dict(os.environ)
    with launch._environment(str(tmp_path), 2):
        assert os.environ[launch.FAILURES] == str(tmp_path) and int(os.environ["OMP_NUM_THREADS"]) >= 1
    assert dict(os.environ) == before
