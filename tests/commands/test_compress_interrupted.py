"""An interrupted `qtrain compress`: what it leaves, who may go on from it, and to which bytes.

The shipped network has BatchNorm; `--arch` brings dropout as well, so that buffers and random streams count.
Cut off in this process by an exception, and in others by real signals.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from qtrain_cli.errors import BadInput, Refused, UsageError
from qtrain_cli.files.header import read_header
from qtrain_cli.quantum import machine
from qtrain_cli.runs import identity
from qtrain_cli.training import recovery
from qtrain_cli.training.devices import usual_threads

ROOT = Path(__file__).resolve().parents[2]
NETWORK = """
from collections import OrderedDict
from torch import nn

def dropping():
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(1, 12, 3, padding=1), norm1=nn.BatchNorm2d(12), relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2), conv2=nn.Conv2d(12, 24, 3, padding=1), relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2), flatten=nn.Flatten(), drop=nn.Dropout(0.2), fc=nn.Linear(96, 10),
    ))
"""


class Cut(Exception):
    pass


def cut_at(step):
    def show(progress):
        if progress.step == step:
            raise Cut

    return show


@pytest.fixture
def network(digits, tmp_path):
    """Settings for the network with dropout; 10 steps an epoch."""
    folder = tmp_path / "network"
    folder.mkdir()
    (folder / "net.py").write_text(NETWORK)
    return {"path": digits / "digits_cnn.pt", "arch": f"{folder / 'net.py'}:dropping"}


LEFT: list[bytes] = []


@pytest.fixture
def cut(run, network, tmp_path, monkeypatch):
    """What a run leaves that is cut off behind step 5: its checkpoint, made once."""
    if not LEFT:
        with monkeypatch.context() as patch, pytest.raises(Cut):
            patch.setattr(recovery.Clock, "due", lambda clock: True)
            run(show=cut_at(6), **network)
        LEFT.append((tmp_path / "net.qtrain.ckpt").read_bytes())
    (tmp_path / "net.qtrain.ckpt").write_bytes(LEFT[0])


# --- to the same bytes -----------------------------------------------------------------------------------


@pytest.fixture
def whole(run, network, tmp_path):
    """``whole(bare)``: the bytes of a run of five steps an epoch that was not cut off, made once."""
    network |= {"batch_size": 258, "epochs": 3}

    def call(bare):
        if bare not in UNCUT:
            run(out=tmp_path / "whole", bare=bare, **network)
            UNCUT[bare] = (tmp_path / "whole").read_bytes()
        return UNCUT[bare]

    return call


UNCUT: dict[bool, bytes] = {}


@pytest.mark.parametrize(
    ("step", "bare"), [(1, False), (4, False), (4, True), (5, False), (11, False), (15, False)]
)
def test_a_run_cut_off_goes_on_to_the_same_bytes(run, network, whole, tmp_path, monkeypatch, step, bare):
    """In the first step, within an epoch, in its last, where angles begin to be rounded, and in the last.

    What is rounded is all that counts in the end.
    """
    expected, network["bare"] = whole(bare), bare
    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(recovery.Clock, "due", lambda clock: True)
        run(show=cut_at(step), **network)
    assert not (tmp_path / "net.qtrain").exists()
    done = run(resume=True, **network)
    assert done.seen[0].step == step
    assert done.logged.count(f"going on from '{tmp_path / 'net.qtrain.ckpt'}'") == 1
    assert (tmp_path / "net.qtrain").read_bytes() == expected
    left = tmp_path / "net.qtrain.ckpt"
    assert left.exists() == bare and (not bare or left.stat().st_size < 4000)  # a receipt


def test_the_folder_of_the_architecture_does_not_count(run, cut, network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "network")
    assert run(resume=True, **{**network, "arch": "net.py:dropping"}).seen[0].step == 6


def test_the_state_of_another_way_of_training_is_another_run(run, cut, network, monkeypatch):
    monkeypatch.setattr(identity, "TRAINING", identity.TRAINING + 1)
    with pytest.raises(BadInput, match="belongs to another run: training"):
        run(resume=True, **network)


def elsewhere(monkeypatch, **words):
    """From now on, runs believe that they are on a machine that differs in these words."""
    here = machine.machine()
    monkeypatch.setattr(identity, "machine", lambda: {**here, **words})


def test_the_state_of_another_machine_is_refused_and_the_way_on_is_said(run, cut, network, monkeypatch):
    here = machine.machine()
    elsewhere(monkeypatch, threads="9", cpu="other")
    with pytest.raises(BadInput) as caught:
        run(resume=True, **network)
    assert f"cpu {here['cpu']} there and other here, threads 1 there and 9 here" in caught.value.message
    assert caught.value.advice == (
        f"go on with ATEN_CPU_CAPABILITY={here['cpu']} OMP_NUM_THREADS=1, or begin anew with --force"
    )


def test_light_work_goes_on_whatever_the_number_of_threads(run, cut, network):
    with usual_threads():
        torch.set_num_threads(3)
        assert run(resume=True, **network).seen[0].step == 6
        assert torch.get_num_threads() == 3


def test_a_finished_file_of_another_machine_is_finished_and_that_is_said(run, network, monkeypatch):
    run(**network)
    elsewhere(monkeypatch, kernel="v9")
    assert "is finished already, made with kernel" in run(resume=True, **network).logged[-1]


def test_without_a_state_to_go_on_from_it_begins_and_says_so(run, tmp_path):
    done = run(resume=True)
    assert done.seen[0].step == 1
    assert f"beginning, for there is no '{tmp_path / 'net.qtrain.ckpt'}'" in done.logged


# --- whose it is -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "fit.seed is 0 there and 1 here"),
        ({"lr": 0.02}, "fit.lr is 0.01 there and 0.02 here"),
        ({"epochs": 3}, "fit.epochs is 2 there and 3 here"),
        ({"distill": 0.5}, "fit.distill is 0.9 there and 0.5 here"),
        ({"batch_size": 64}, "fit.batch_size is 128 there and 64 here"),
        ({"layers": 5}, "plan.circuit is"),
        ({"mapping": "mlp"}, "plan.mapping is"),
        ({"ignore": ("fc",)}, "layout is"),
        ({"validation": 0.2}, "validation is 0.1 there and 0.2 here"),
        ({"mean": (0.5,), "std": (0.5,)}, "normalisation is"),
    ],
)
def test_a_run_of_other_settings_is_refused_and_told_what_differs(
    run, cut, network, tmp_path, changes, named
):
    before = (tmp_path / "net.qtrain.ckpt").read_bytes()
    with pytest.raises(BadInput) as caught:
        run(resume=True, **{**network, **changes})
    assert "belongs to another run: " in caught.value.message and named in caught.value.message
    assert caught.value.exit_code == 2
    assert (tmp_path / "net.qtrain.ckpt").read_bytes() == before


def test_a_run_of_another_model_data_or_code_is_refused(run, cut, network, digits, tmp_path):
    with pytest.raises(BadInput, match=r"run: model is \w{12}\.\.\. there and \w{12}\.\.\. here"):
        run(resume=True, **{**network, "path": digits / "digits_cnn.safetensors"})
    data = dict(np.load(digits / "digits.npz"))
    data["x_test"][0, 0, 0, 0] ^= 1
    np.savez(tmp_path / "other.npz", **data)
    with pytest.raises(BadInput, match=r"run: data is \w{12}\.\.\. there and \w{12}\.\.\. here$"):
        run(resume=True, source=str(tmp_path / "other.npz"), **network)
    (tmp_path / "network" / "net.py").write_text(NETWORK + "\n# edited\n")
    with pytest.raises(BadInput, match=r"run: arch\.code is \w{12}\.\.\. there and \w{12}\.\.\. here$"):
        run(resume=True, **network)


def test_another_entry_of_the_same_checkpoint_file_is_another_model(run, tmp_path, digits, monkeypatch):
    torch = pytest.importorskip("torch")
    state = torch.load(digits / "digits_cnn.pt")
    torch.save({"ema": state, "model": state}, tmp_path / "two.pt")
    monkeypatch.setattr(recovery.Clock, "due", lambda clock: True)
    given = {"path": tmp_path / "two.pt", "arch": f"{digits.parent / 'digits_cnn.py'}:digits_cnn"}
    with pytest.raises(Cut):
        run(show=cut_at(6), weights="ema", **given)
    with pytest.raises(BadInput, match='weights is "ema" there and "model" here'):
        run(resume=True, weights="model", **given)


def test_a_damaged_state_is_refused(run, cut, network, tmp_path):
    path = tmp_path / "net.qtrain.ckpt"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Refused, match="is damaged") as caught:
        run(resume=True, **network)
    assert caught.value.exit_code == 4


# --- finished runs ---------------------------------------------------------------------------------------


def test_a_finished_run_has_nothing_to_do(run, finished, tmp_path):
    whole = finished().put_into(tmp_path)
    path = tmp_path / "net.qtrain"
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    again = run(resume=True)
    assert again.seen == []
    assert again.logged[-1] == f"'{path}' is finished already; nothing to do"
    assert {**again.record.to_json(), "seconds": 0} == {**whole.record.to_json(), "seconds": 0}
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_the_output_of_another_run_is_kept_unless_forced(run, finished, tmp_path):
    finished().put_into(tmp_path)
    before = (tmp_path / "net.qtrain").read_bytes()
    with pytest.raises(UsageError, match="is the result of another run") as caught:
        run(resume=True, seed=1)
    assert "--force" in caught.value.advice
    assert (tmp_path / "net.qtrain").read_bytes() == before
    assert run(resume=True, force=True, seed=1).seen[0].step == 1
    assert (tmp_path / "net.qtrain").read_bytes() != before


# --- real signals, in other processes --------------------------------------------------------------------

#: As the command runs, but for a checkpoint after every step, a pause behind it, and long ones near the end.
#: What a line asks for runs in a copy of the process, for which nothing has to be imported once more.
DRIVER = """
import json, os, sys, time
import torch._dynamo, qtrain_cli.runs.compress
from qtrain_cli.cli import main
from qtrain_cli.training import recovery

save = recovery.save_checkpoint

def save_and_wait(path, checkpoint):
    save(path, checkpoint)
    time.sleep(0.02 if checkpoint.state["step"] < 25 else 1)

recovery.Clock.due = lambda clock: True
recovery.save_checkpoint = save_and_wait
for line in sys.stdin:
    words, *streams = json.loads(line)
    process = os.fork()
    if process == 0:
        for number, name in enumerate(streams, 1):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
        sys.exit(main(words))
    print(process, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def driver():
    """A new process that runs command lines, one at a time, each in a copy of itself."""
    own = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", DRIVER], env=own, **pipes) as process:
        yield process
        process.stdin.close()


def signalled(driver, settings, number, step):
    """Runs `settings` in a process of their own and sends it a signal once a checkpoint has that step."""
    words = [
        "compress", settings.model.path, "--arch", settings.model.arch, "--data", settings.data.source,
        "--layers", settings.budget.layers, "--epochs", settings.fit.epochs, "--lr", settings.fit.lr,
        "--distill", settings.fit.distill, "--device", "cpu", "-o", settings.out,
        "--teacher-any",
    ]  # fmt: skip
    streams = [settings.out.with_suffix(ending) for ending in (".out", ".err")]
    print(json.dumps([list(map(str, words)), *map(str, streams)]), file=driver.stdin, flush=True)
    process = int(driver.stdout.readline())
    checkpoint = recovery.checkpoint_path(settings.out)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and saved_step(checkpoint) < step:
        time.sleep(0.005)
    os.kill(process, number)
    (ended,), _, _ = select.select([driver.stdout], [], [], 60)
    return int(ended.readline()), *(path.read_text() for path in streams)


def saved_step(checkpoint):
    if not checkpoint.exists():
        return -1
    return json.loads(read_header(checkpoint).metadata["qtrain.checkpoint"])["state"]["step"]


WHOLE: list[bytes] = []


@pytest.fixture
def undisturbed(run, network, tmp_path):
    """The bytes of the run without a signal, made once: the folder of the architecture does not count."""
    if not WHOLE:
        run(out=tmp_path / "whole", epochs=3, **network)
        WHOLE.append((tmp_path / "whole").read_bytes())
    return WHOLE[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_then_resume_gives_the_same_bytes(
    run, driver, make_settings, network, undisturbed, tmp_path, number
):
    code, out, err = signalled(driver, make_settings(epochs=3, **network), number, step=11)
    step = saved_step(tmp_path / "net.qtrain.ckpt")
    assert 11 <= step < 30
    assert not (tmp_path / "net.qtrain").exists()
    assert out == ""
    if number == signal.SIGKILL:
        assert code == -signal.SIGKILL
    else:
        assert code == 130
        assert err.splitlines()[-1] == (
            f"qtrain: error: stopped; the state is in '{tmp_path / 'net.qtrain.ckpt'}';"
            " run it again with --resume"
        )
    done = run(resume=True, epochs=3, **network)
    assert done.seen[0].step == step + 1
    assert (tmp_path / "net.qtrain").read_bytes() == undisturbed
