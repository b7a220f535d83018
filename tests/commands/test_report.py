"""`qtrain report`: the files it writes and keeps, and the baselines it takes."""

import json
import os
from pathlib import Path

import pytest
import torch

from qtrain_cli.cli.outputs import write_outputs
from qtrain_cli.commands import report
from qtrain_cli.errors import BadInput, QtrainError, Refused, UsageError
from qtrain_cli.report.junit import record_junit
from qtrain_cli.report.records import record_markdown
from qtrain_cli.report.views import VIEWS
from qtrain_cli.settings import GateSettings, ReportSettings


@pytest.fixture
def run(monkeypatch, make_record, tmp_path):
    """``run(**settings)`` on an artifact in the temporary folder, and the files that are written after it."""
    artifact = tmp_path / "net.qtrain"
    artifact.write_bytes(b"artifact")
    monkeypatch.setattr(report, "read_container", lambda path: path)
    monkeypatch.setattr(report, "any_record_of", lambda path: {artifact: make_record()}[path])
    monkeypatch.setattr(report, "record_or_size_of", lambda path: report.any_record_of(path))

    def call(**settings):
        asked = ReportSettings(artifact, **settings)
        outcome = report.run(asked)
        write_outputs(VIEWS["report"], outcome, asked)
        return outcome

    return call


def baseline_of(folder: Path, text: str) -> GateSettings:
    (folder / "old.json").write_text(text)
    return GateSettings(baseline=folder / "old.json", max_regression=0.0)


def test_it_returns_the_record_and_writes_nothing(run, make_record, tmp_path):
    assert run() == report.ReportOutcome(make_record(), ())
    assert [path.name for path in tmp_path.iterdir()] == ["net.qtrain"]


def test_it_writes_the_files_even_when_a_gate_fails(run, tmp_path):
    gates = GateSettings(max_bytes=1000, min_accuracy=0.9)
    outcome = run(gates=gates, markdown=tmp_path / "a.md", junit=tmp_path / "a.xml")
    assert [gate.passed for gate in outcome.gates] == [True, False]
    assert (tmp_path / "a.md").read_text() == record_markdown(outcome.record, outcome.gates)
    assert (tmp_path / "a.xml").read_text() == record_junit(outcome.record, outcome.gates)


@pytest.mark.parametrize("option", ["markdown", "junit"])
def test_an_existing_file_is_kept_unless_forced(run, tmp_path, option):
    out = tmp_path / "report.out"
    out.write_text("old")
    other = {"markdown": "junit", "junit": "markdown"}[option]
    with pytest.raises(UsageError, match="exists"):
        run(**{option: out, other: tmp_path / "other"})
    assert out.read_text() == "old"
    assert not (tmp_path / "other").exists()
    run(**{option: out}, force=True)
    assert out.read_text() != "old"


def test_the_step_summary_is_added_to(run, tmp_path):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    outcomes = [run(step_summary=summary), run(step_summary=summary)]
    texts = [record_markdown(outcome.record, outcome.gates) for outcome in outcomes]
    assert summary.read_text() == "before\n" + texts[0] + texts[1]


def test_a_step_summary_that_cannot_be_written(run, tmp_path):
    with pytest.raises(QtrainError, match=r"absent/summary.md' could not be written: No such file") as caught:
        run(step_summary=tmp_path / "absent" / "summary.md")
    assert caught.value.exit_code in (1, 2)


@pytest.mark.parametrize(
    ("markdown", "junit", "message"),
    [
        ("net.qtrain", None, "--markdown '.*' is also the artifact"),
        (None, "old.json", "--junit '.*' is also --baseline"),
        ("same", "same", "--junit '.*' is also --markdown"),
        ("same", "./sub/../same", "--junit '.*' is also --markdown"),
    ],
)
def test_no_file_is_written_over_another_one_even_by_force(
    run, make_record, tmp_path, markdown, junit, message
):
    gates = baseline_of(tmp_path, json.dumps(make_record().to_json()))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    outputs = {"markdown": markdown and tmp_path / markdown, "junit": junit and tmp_path / junit}
    with pytest.raises(UsageError, match=message):
        run(gates=gates, **outputs, force=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_step_summary_is_not_added_to_the_artifact(run, make_record, tmp_path):
    (tmp_path / "net.qtrain").write_text("mine")
    with pytest.raises(UsageError, match=r"the step summary '.*' is also the artifact"):
        run(step_summary=tmp_path / "net.qtrain")
    assert (tmp_path / "net.qtrain").read_text() == "mine"


def test_outputs_are_refused_before_the_artifact_is_read(run, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "read_container", lambda path: pytest.fail("it was read"))
    with pytest.raises(BadInput, match="does not exist"):
        run(markdown=tmp_path / "absent" / "a.md")


def test_a_damaged_artifact_leaves_no_file(run, tmp_path, monkeypatch):
    def refuse(path):
        raise Refused("damaged")

    monkeypatch.setattr(report, "read_container", refuse)
    with pytest.raises(Refused):
        run(markdown=tmp_path / "a.md", step_summary=tmp_path / "s.md")
    assert [path.name for path in tmp_path.iterdir()] == ["net.qtrain"]


def test_a_baseline_is_the_json_of_an_older_report(run, make_record, tmp_path):
    older = make_record(test=0.98, seconds=3.0)
    (gate,) = run(gates=baseline_of(tmp_path, json.dumps(older.to_json()))).gates
    assert (gate.name, gate.passed, gate.value) == ("max-regression", False, 0.0054)


def test_a_baseline_whose_own_gate_failed_counts(run, make_record, tmp_path):
    document = {**make_record().to_json(), "error": {"kind": "gate", "message": "", "advice": ""}}
    assert run(gates=baseline_of(tmp_path, json.dumps(document))).gates[0].passed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"a": ' + "9" * 5000 + "}", "is not JSON"),
        ("[]", "the record is not a JSON object"),
        ("{}", "has the schema None; this version reads 'qtrain.report/1'"),
        ('{"schema": "qtrain.report/2"}', "has the schema 'qtrain.report/2'"),
        ('{"error": {"kind": "failure", "message": "x", "advice": ""}}', "holds an error, not a record"),
        ('{"schema": "qtrain.report/1"}', "lacks the field 'model'"),
    ],
)
def test_a_baseline_that_is_no_record(run, tmp_path, text, message):
    with pytest.raises(BadInput) as caught:
        run(gates=baseline_of(tmp_path, text), markdown=tmp_path / "a.md")
    assert message in caught.value.message
    assert "old.json" in caught.value.message
    assert not (tmp_path / "a.md").exists()


def test_nan_in_a_baseline(run, make_record, tmp_path):
    text = json.dumps({**make_record().to_json(), "train_loss": float("nan")})
    message = "'train_loss' of the record is nan; expected: a number or null"
    with pytest.raises(BadInput, match=message) as caught:
        run(gates=baseline_of(tmp_path, text))
    assert caught.value.advice == "give the output of: qtrain report --json"


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent.json", "No such file"), (".", "it is not an ordinary"), ("pipe", "it is not an ordinary")],
)
def test_a_baseline_that_cannot_be_read(run, tmp_path, name, message):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match=f"cannot read '.*': {message}"):
        run(gates=GateSettings(baseline=tmp_path / name, max_regression=0.1))


@pytest.mark.parametrize("legacy", (False, True))
def test_a_pytorch_file_is_no_artifact_and_not_called_damaged(cli, tmp_path, legacy):
    path = tmp_path / "net.pt"
    torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=not legacy)
    for words in (
        ("report", path),
        ("verify", path),
        ("export", path, "--classical", "-o", tmp_path / "x.pt"),
    ):
        ended = cli(*words)
        assert ended.code == 2 and "is no qtrain artifact" in ended.err and "qtrain compress" in ended.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mean", "0.5", "--std", "0.5"), "--mean goes with --data"),
        (("--task", "regression"), "--task goes with --data"),
        (("--trust-pickle",), "--trust-pickle goes with --model"),
        (("--arch", "nowhere.py:X"), "none is to be"),
        (("--base", "b.pt"), "none is to be"),
        (("--output", "7"), "none is to be"),
    ],
)
def test_what_nothing_would_be_done_with_is_refused(cli, words, said):
    ended = cli("report", "a.qtrain", *words)
    assert ended.code == 2 and said in ended.err
