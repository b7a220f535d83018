"""The benchmark's own logic, without rivals: workers that answer, lie, hang, end; installs; bound; table."""

import json
import math
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from benchmarks import environments, physics, report, suite
from benchmarks.conversation import Failed, Worker, thread_settings
from benchmarks.rivals import RIVALS, Rival

from qtrain_cli.quantum.circuit import CircuitSpec

CIRCUIT = CircuitSpec("real-amplitudes", "cnot-ring", 3, 2, 2)
BUDGET = suite.Budget(call=3, prepare=20, rounds=1)
#: A rival that knows the answer for it was written to a file, and one that is wrong but faster.
FAKE = """
    import sys, time
    sys.path.insert(0, {workers!r})
    import numpy as np
    from protocol import serve

    def build(case):
        with np.load({truth!r}) as file:
            p, gradient = file["p"], file["gradient"]
        def right():
            print("a library that talks")
            time.sleep(0.02)
            return p, gradient
        def broken():
            raise ValueError("refused")
        steps = {{"right": right, "wrong": lambda: (p, gradient + 1), "broken": broken}}
        return {{name: steps[name] for name in {modes!r}}}

    serve(build)
"""


@pytest.fixture
def truth():
    p, gradient = suite.engine_step(CIRCUIT)()
    return {"p": p, "gradient": gradient}


@pytest.fixture
def fake(tmp_path, truth):
    """``fake(*modes)``: a contender whose worker has these modes, ended after the test."""
    np.savez(tmp_path / "truth.npz", **truth)
    suite.write_case(CIRCUIT, tmp_path / "case.npz")
    made = []

    def make(*modes):
        workers = str(RIVALS["qujax"].path.parent)
        script = tmp_path / "fake.py"
        script.write_text(
            textwrap.dedent(FAKE).format(workers=workers, truth=str(tmp_path / "truth.npz"), modes=modes)
        )
        worker = Worker([sys.executable, str(script)], thread_settings(1))
        made.append(suite.Contender(Rival("fake", "fake.py", ()), worker, None))
        return made[-1]

    yield make
    for one in made:
        one.close()


def worker_of(code):
    """A worker that runs one line of Python."""
    return Worker([sys.executable, "-c", code], {})


def test_the_fastest_right_mode_is_timed_and_the_wrong_one_is_named(fake, tmp_path, truth):
    one = fake("broken", "wrong", "right")
    outcome = one.prepare(CIRCUIT, truth, tmp_path, BUDGET)
    assert (outcome.mode, outcome.reason, outcome.difference) == ("right", None, 0.0)
    assert outcome.modes["broken"] == "ValueError: refused"
    assert outcome.modes["wrong"].startswith("wrong: differs from the engine by ")
    one.round(outcome, BUDGET)
    assert 0.02 <= outcome.seconds < 2
    one.release()


def test_a_rival_that_is_wrong_in_every_mode_is_not_timed(fake, tmp_path, truth):
    outcome = fake("wrong").prepare(CIRCUIT, truth, tmp_path, BUDGET)
    assert outcome.seconds is None
    assert outcome.reason.startswith("wrong: differs from the engine by ")


def test_an_error_a_hang_and_an_end_are_reasons():
    refusing = worker_of('input(); print(\'{"error": "no"}\', flush=True); input()')
    with pytest.raises(Failed, match=r"^no$"):
        refusing.ask({}, 10)
    refusing.close()
    with pytest.raises(Failed, match=r"^over the budget of 0 s$"):
        worker_of("import time; time.sleep(60)").ask({}, 0.2)
    with pytest.raises(Failed, match=r"exit code 1: ModuleNotFoundError: No module named 'no_such_rival'"):
        worker_of("import no_such_rival").ask({}, 10)
    with pytest.raises(Failed, match=r"signal 9, probably for want of memory"):
        worker_of("import os; os.kill(os.getpid(), 9)").ask({}, 10)


def test_a_failed_install_is_named_in_the_table_and_tried_again(tmp_path, monkeypatch):
    said = iter([None, "ERROR: No matching distribution found for nothing", None, None])
    monkeypatch.setattr(environments, "_run", lambda command: next(said))
    monkeypatch.setattr(physics, "bandwidth", lambda size, device="cpu": 1e10)
    rival = Rival("nothing", "qujax_worker.py", ("nothing",), (("nothing",),))
    one, versions = suite.contender(rival, tmp_path, 1)
    assert versions == {}
    assert "No matching distribution" in json.loads((tmp_path / "nothing.json").read_text())["error"]
    outcome = one.prepare(CIRCUIT, {}, tmp_path, BUDGET)
    row = suite.Row(CIRCUIT, 0.001, None, 0.0005, 0.0001, {"nothing": outcome})
    facts = {"nothing": {"versions": {}, "error": one.error, "note": ""}}
    table = "\n".join(report.lines(report.Report(facts, [row])))
    assert "[1] not installed: ERROR: No matching distribution found for nothing" in table
    assert environments.interpreter(rival, tmp_path)[1] is None
    assert environments.interpreter(rival, tmp_path)[1] is None  # kept: `_run` has no fifth answer


def test_pips_last_errors_are_kept():
    code = "import sys; sys.exit('WARNING: x\\nERROR: first\\nERROR: second')"
    assert environments._run([sys.executable, "-c", code]) == "ERROR: first ERROR: second"


def test_what_would_take_too_long_or_too_much_memory_is_not_started(monkeypatch):
    one = suite.Contender(Rival("slow", "", (), kept=2.0), None, None)
    assert one.declined(CIRCUIT, BUDGET) is None
    one.rates["real-amplitudes"] = 5 / suite.work(CIRCUIT)
    assert one.declined(CIRCUIT, BUDGET) == "not run: over the budget of 3 s a call (estimated 5.0 s)"
    one.rates.clear()
    monkeypatch.setattr(suite, "memory_free", lambda: 1.0)
    assert one.declined(CIRCUIT, BUDGET).startswith("not run: needs about")
    assert suite.gates(CIRCUIT) == 2 * (3 + 3)


def test_disagreement_is_relative_and_never_passes_what_cannot_be_compared():
    ours = {"p": np.array([3.0, 4.0])}
    assert suite.disagreement(ours, {"p": np.array([3.0, 4.5])}) == pytest.approx(0.1)
    assert suite.disagreement(ours, {"p": np.zeros(3)}) == math.inf
    assert suite.disagreement(ours, {"p": np.array([3.0, np.nan])}) == math.inf


def test_the_bound_counts_psi_forward_and_psi_and_lambda_backward():
    real, both = (CircuitSpec(one, "cnot-ring", 13, 16, 32) for one in ("real-amplitudes", "efficient-su2"))
    assert physics.state_bytes(real) == 32 * 2**13 * 4
    assert physics.bytes_moved(real) == (2 + 4) * 16 * 32 * 2**13 * 4
    assert physics.bound(both, 1e9) == 2 * physics.bound(real, 1e9) == physics.bytes_moved(both) / 1e9
    assert physics.bandwidth(2**16) > 0


def test_the_table_shows_times_ratios_and_notes(monkeypatch):
    monkeypatch.setattr(physics, "bandwidth", lambda size, device="cpu": 1e10)
    rivals = {"a": suite.Outcome(0.02, "jit"), "b": suite.Outcome(reason="wrong: differs")}
    row = suite.Row(CIRCUIT, 0.001, None, 0.0005, 0.0001, rivals)
    facts = {name: {"versions": {name: "1.0"}, "error": None, "note": ""} for name in rivals}
    memory = [report.Memory("engine", "real-amplitudes", 20, depth, 2**20) for depth in (16, 128)]
    found = report.Report(facts, [row], memory)
    table = "\n".join(report.lines(found))
    for part in ("1.00 ms", "2.0", "20.0 ms (20.0x)", "[1] wrong: differs", "a: a 1.0; jit", "10.0 GB/s"):
        assert part in table
    assert "L=16: 1.0 MiB" in table
    assert "1.00x" in table
    document = json.loads(json.dumps(report.document(found)))
    assert document["version"] == 1
    assert document["speed"][0]["rivals"]["b"]["reason"] == "wrong: differs"
    assert document["memory"][1]["layers"] == 128


#: In a process of its own: in an old one new arrays lie in memory that was held before.
PEAK = """
import numpy as np
from benchmarks import peak
held = np.ones(2**23)
del held
peak.forget()
before = peak.highest()
held = np.ones(2**22)
print((peak.highest() - before) / held.nbytes)
"""


def test_the_peak_is_of_the_pass_and_starts_anew():
    tests = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", PEAK], cwd=tests, capture_output=True, text=True, check=True)
    assert 0.9 < float(done.stdout) < 1.5


def test_every_rival_has_its_worker():
    assert all(row.path.is_file() for row in RIVALS.values())
    assert all(row.packages or not row.borrows for row in RIVALS.values())
