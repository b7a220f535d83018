"""The options of the benchmark, what its tests share, and what it leaves: a table and a JSON file."""

import json
import os
from pathlib import Path

import pytest
import torch
from benchmarks import report as reporting
from benchmarks.rivals import RIVALS
from benchmarks.suite import LARGE, SMALL, contender

REPORT = pytest.StashKey[reporting.Report]()
ROOT = Path(__file__).resolve().parents[2]


def pytest_addoption(parser):
    group = parser.getgroup("engine benchmark")
    group.addoption(
        "--rivals",
        default=",".join(RIVALS),
        help="which rivals run, by name with commas; none: the engine alone",
    )
    group.addoption(
        "--engine-json", default=str(ROOT / ".benchmarks" / "engine.json"), help="where the results go"
    )


def pytest_configure(config):
    config.stash[REPORT] = reporting.Report()


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """In place of the tests' single thread: all cores, for the engine and for its rivals."""
    torch.set_num_threads(os.cpu_count() or 1)


@pytest.fixture(scope="session")
def report(pytestconfig):
    """What the tests add to."""
    return pytestconfig.stash[REPORT]


@pytest.fixture(scope="session")
def budget():
    """How long rivals may take."""
    return LARGE if "QTRAIN_BENCHMARK_LARGE" in os.environ else SMALL


@pytest.fixture(scope="session")
def contenders(pytestconfig, report, one_thread):
    """The rivals asked for, installed where need be, and ended with the run."""
    names = [name for name in pytestconfig.getoption("rivals").split(",") if name not in ("", "none")]
    if unknown := [name for name in names if name not in RIVALS]:
        raise pytest.UsageError(f"unknown rivals {', '.join(unknown)}; there are: {', '.join(RIVALS)}")
    found = []
    for name in names:
        one, versions = contender(RIVALS[name], ROOT / ".benchmarks" / "rivals", torch.get_num_threads())
        report.rivals[name] = {"versions": versions, "error": one.error, "note": RIVALS[name].note}
        found.append(one)
    yield found
    for one in found:
        one.close()


def pytest_terminal_summary(terminalreporter, config):
    found = config.stash[REPORT]
    if not (found.speed or found.memory):
        return
    terminalreporter.section("forward and vector-Jacobian product of all probabilities")
    for line in reporting.lines(found):
        terminalreporter.line(line)
    path = Path(config.getoption("engine_json"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(reporting.document(found), indent=1) + "\n")
    terminalreporter.line(f"results: {path}")
