"""`report --html` from the command line: the file alone, its history, and with model and data at hand."""

import json
import shutil

import pytest
from pages import read_page

from qtrain_cli.results.history import read_history


@pytest.fixture
def here(tmp_path, digits, few_digits, monkeypatch):
    shutil.copy(few_digits, tmp_path / "d.npz")
    shutil.copy(digits / "digits_cnn_module.pt", tmp_path / "net.pt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


MADE: dict[str, bytes] = {}


@pytest.fixture
def made(here, cli):
    """What a run of six epochs leaves, made once: its file, with its history beside it."""
    if not MADE:
        words = ("compress", "net.pt", "--data", "d.npz", "--layers", "4", "--epochs", "6", "--device", "cpu")
        assert cli(*words, "-o", "made.qtrain").code == 0
        MADE.update((path.name, path.read_bytes()) for path in here.glob("made.*"))
    for name, content in MADE.items():
        (here / name).write_bytes(content)
    return here / "made.qtrain"


def test_a_run_leaves_its_history_and_the_page_draws_it(here, made, cli):
    lines = read_history(here / "made.qtrain.jsonl")
    assert [line.epoch for line in lines] == [1, 2, 3, 4, 5, 6]
    assert any(line.best for line in lines) and lines[-1].rounding and not lines[0].rounding
    ended = cli("report", "made.qtrain", "--html", "page.html")
    assert ended.code == 0 and "Test accuracy" in ended.out
    found = read_page((here / "page.html").read_bytes())
    drawn = [one["aria-label"].split(" by epoch")[0] for one in found.of("svg") if "aria-label" in one]
    assert drawn[2:5] == ["training loss", "validation accuracy, %", "learning rate"]
    assert cli("report", "made.qtrain", "--html", "page.html").code == 2
    assert cli("report", "made.qtrain", "--html", "made.qtrain", "--force").code == 2


def test_another_runs_history_is_not_shown(here, made, cli):
    path = here / "made.qtrain.jsonl"
    lines = [json.dumps(json.loads(line) | {"run": "aa" * 8}) for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")
    assert cli("report", "made.qtrain", "--html", "page.html").code == 0
    found = read_page((here / "page.html").read_bytes())
    assert "no 'made.qtrain.jsonl' of this run lies beside the file" in found.text


def test_the_artifact_does_not_depend_on_its_history(here, made, cli):
    words = ("compress", "net.pt", "--data", "d.npz", "--layers", "4", "--epochs", "6", "--device", "cpu")
    assert cli(*words, "-o", "other.qtrain", "--log", "none").code == 0
    assert (here / "other.qtrain").read_bytes() == made.read_bytes()
    assert not (here / "other.qtrain.jsonl").exists()


def test_model_and_data_add_errors_and_classes(here, made, cli):
    words = ("report", "made.qtrain", "--html", "page.html", "--model", "net.pt", "--data", "d.npz")
    ended = cli(*words)
    assert ended.code == 0, ended.err
    found = read_page((here / "page.html").read_bytes())
    assert "errors are against net.pt" in found.text and "error / teacher" in found.text
    record = json.loads(cli("report", "made.qtrain", "--json").out)
    assert f"test accuracy here {100 * record['test_accuracy']:.2f} %" in found.text
    counts = [one for one in found.of("td") if "shade" in one.get("class", "")]
    assert len(counts) == 100 and "other data" not in found.text


def test_the_file_is_read_and_its_circuits_run_once(here, made, cli, monkeypatch):
    """What is said of the file comes from the bytes that were checked."""
    from qtrain_cli.artifact import container
    from qtrain_cli.runs import regenerate, streaming

    reads, checks = [], []
    read, digest = container._read, streaming.checked_tensors
    monkeypatch.setattr(container, "_read", lambda path: reads.append(path) or read(path))
    for module in (regenerate, streaming):
        monkeypatch.setattr(module, "checked_tensors", lambda *given: checks.append(given) or digest(*given))
    words = ("report", "made.qtrain", "--html", "page.html", "--model", "net.pt", "--data", "d.npz")
    assert cli(*words).code == 0
    assert (len(reads), len(checks)) == (1, 1)


def test_they_are_for_a_page(here, made, cli):
    ended = cli("report", "made.qtrain", "--model", "net.pt")
    assert ended.code == 2 and "add --html" in ended.err
    ended = cli("report", "made.qtrain", "--html", "page.html", "--data", "d.npz")
    assert ended.code == 2 and "--data needs a model" in ended.err
    assert not (here / "page.html").exists()


def test_a_student_has_its_history_in_its_file(here, cli):
    words = (
        "train",
        "qnn:qubits=2,layers=1",
        "--data",
        "d.npz",
        "-o",
        "s.qtrain",
        "--epochs",
        "3",
        "--device",
    )
    assert cli(*words, "cpu").code == 0 and not (here / "s.qtrain.jsonl").exists()
    assert cli("report", "s.qtrain", "--html", "page.html").code == 0
    found = read_page((here / "page.html").read_bytes())
    assert "A qnn student of" in found.text
    assert any("training loss by epoch" in one.get("aria-label", "") for one in found.of("svg"))
    ended = cli("report", "s.qtrain", "--html", "other.html", "--model", "net.pt")
    assert ended.code == 2 and "this file is a student" in ended.err


def test_a_page_loads_no_torch(here, made):
    import subprocess
    import sys

    code = (
        "import sys; from qtrain_cli.cli import main\n"
        "code = main(['report', 'made.qtrain', '--html', 'page.html'])\n"
        "sys.exit(code or ('torch' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120).returncode == 0
