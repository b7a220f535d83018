"""Every form of a record: exact lines, the JUnit schema, and names that try to be markup."""

import io
import json
import re
import sys
from dataclasses import replace
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtrain_cli.report import render
from qtrain_cli.results import Record, SampleCell, SampleRecord
from qtrain_cli.results.gates import check_gates
from qtrain_cli.settings import GateSettings

GATES = GateSettings(min_accuracy=0.97, max_drop=0.01, max_bytes=2000)

HOSTILE = "a|b`c`<script>[red]x[/red]*_#&~\\\n\x1b[31m\x00\u202e\ud800]]>\"'\u2028"
SPELLED = r"\n\x1b[31m\x00\u202e\ud800"


# What junit-10.xsd allows (pytest's testing/example_scripts; it comes from Jenkins' xunit plugin): for each
# element its required attributes, its other attributes, and those of its children that are used here.
JUNIT = {
    "testsuites": ((), ("name", "time", "tests", "failures", "errors"), ("testsuite",)),
    "testsuite": (
        ("name", "tests", "failures", "errors"),
        ("time", "skipped", "timestamp", "hostname", "id", "package", "group", "file", "log", "url"),
        ("properties", "testcase"),
    ),
    "properties": ((), (), ("property",)),
    "property": (("name", "value"), (), ()),
    "testcase": (("name",), ("time", "classname", "group"), ("failure",)),
    "failure": ((), ("type", "message"), ()),
}  # fmt: skip
SUREFIRE_TIME = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]{0,3})?")


def schema_faults(element):
    """Where an element breaks the rules above, as sentences."""
    required, optional, children = JUNIT[element.tag]
    faults = [f"{element.tag} lacks {name}" for name in required if name not in element.attrib]
    faults += [f"{element.tag} has {name}" for name in element.attrib if name not in required + optional]
    if not SUREFIRE_TIME.fullmatch(element.get("time", "0")):
        faults.append(f"{element.tag} has the time {element.get('time')}")
    for child in element:
        known = child.tag in children
        faults += schema_faults(child) if known else [f"{element.tag} holds {child.tag}"]
    if element.tag in ("testsuites", "testsuite", "properties") and (element.text or "").strip():
        faults.append(f"{element.tag} holds text")
    return faults


@pytest.fixture
def shown(monkeypatch):
    """``shown(renderable, tty=False)``: what `render.show` writes."""

    def run(renderable, tty=False, encoding="utf-8"):
        raw = io.BytesIO()
        out = io.TextIOWrapper(raw, encoding=encoding)
        monkeypatch.setattr(out, "isatty", lambda: tty, raising=False)
        monkeypatch.setattr(sys, "stdout", out)
        render.show(renderable)
        out.flush()
        return raw.getvalue().decode(encoding)

    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    return run


def test_terminal(make_record, shown):
    record = make_record(seconds=92.34)
    assert shown(render.as_terminal(record, check_gates(record, GATES))) == (
        "mnist_cnn.pt, 97.46 % test accuracy from 1,001 bytes\n"
        "Result\n"
        "  Test accuracy               97.46 % on 10,000 rows\n"
        "  95 % interval               97.13 % to 97.75 %\n"
        "  Teacher's test accuracy     98.72 %\n"
        "  Drop below the teacher      1.26 points\n"
        "  Agreement with the teacher  97.85 %\n"
        "  Artifact file               1,001 bytes\n"
        "  Same tensors in float32     27,336 bytes\n"
        "  Times smaller               27.3\n"
        "Circuit\n"
        "  Weights generated           6,690\n"
        "  Weights kept as they are    0\n"
        "  Trained numbers             626\n"
        "  Times fewer numbers         10.7\n"
        "  Circuits                    1 of 13 qubits and 48 layers\n"
        "  Ansatz and mapping          real-amplitudes, linear\n"
        "  Bits per angle              5\n"
        "Training\n"
        "  Train accuracy              97.91 %\n"
        "  Validation accuracy         97.55 %\n"
        "  Train loss                  0.07123\n"
        "  Test loss                   0.09123\n"
        "  Generalization gap          0.02\n"
        "  Epochs, seed, device        10, 0, cpu\n"
        "  Time                        92.3 s\n"
        "Provenance\n"
        "  Model                       mnist_cnn.pt\n"
        "  Model read as               state dictionary\n"
        f"  Model SHA-256               {'e' * 64}\n"
        f"  Data SHA-256                {'d' * 64}\n"
        f"  Artifact SHA-256            {'f' * 64}\n"
        "  Versions                    qtrain 0.1.0, torch 2.13.0+cpu\n"
        "Gates\n"
        "  min-accuracy  passed  test accuracy is 0.9746; allowed: at least 0.97\n"
        "  max-drop      FAILED  test accuracy 0.9746 is 0.0126 worse than the teacher's 0.9872;"
        " allowed: 0.01. This lies outside the 95 % interval of the two\n"
        "                        measurements (up to 0.0038 on 10,000 test rows), so it is more than chance\n"
        "  max-bytes     passed  the file has 1,001 bytes; allowed: at most 2,000\n"
    )


def test_terminal_without_gates_has_no_section_for_them(make_record, shown):
    assert "Gates" not in shown(render.as_terminal(make_record(), ()))


def test_terminal_for_errors(make_record, shown):
    text = shown(render.as_terminal(make_record("regression"), ()))
    assert "Test error                 0.0123 on 500 rows" in text
    assert "95 % interval              0.0111 to 0.0135" in text
    assert "Difference to the teacher  0.0021" in text
    assert "accuracy" not in text


def test_what_was_not_measured_is_said(make_record, shown):
    text = shown(render.as_terminal(make_record(teacher=None, closeness=None, test_loss=None), ()))
    assert len(re.findall("not measured", text)) == 5


def test_a_file_that_is_not_smaller_says_so(make_record, shown):
    assert "0.55 (it is not smaller)" in shown(render.as_terminal(make_record(artifact_bytes=50_000), ()))


@pytest.mark.parametrize(
    ("tty", "variables", "coloured"),
    [(True, {}, True), (True, {"NO_COLOR": "1"}, False), (False, {}, False), (True, {"TERM": "dumb"}, False)],
)
def test_colour_on_a_terminal_only(make_record, shown, monkeypatch, tty, variables, coloured):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    text = shown(render.as_terminal(make_record(), check_gates(make_record(), GATES)), tty=tty)
    assert ("\x1b[36m" in text) is coloured
    assert ("\x1b[32m" in text) is coloured


def test_a_narrow_terminal_folds_and_loses_nothing(make_record, shown, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("NO_COLOR", "1")
    text = shown(render.as_terminal(make_record(), ()), tty=True)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert max(map(len, plain.splitlines())) <= 50
    assert "".join(plain.split()).count("e" * 64) == 1


def test_a_terminal_of_another_encoding(make_record, shown):
    text = shown(render.as_terminal(make_record(model="n\u00e9t\u4e2d.pt"), ()), encoding="ascii")
    assert r"n\xe9t\u4e2d.pt" in text


def test_a_hostile_name_on_the_terminal(make_record, shown):
    text = shown(render.as_terminal(make_record(model=HOSTILE), ()))
    assert "[red]x[/red]" in text
    assert "\x1b" not in text
    assert SPELLED in text


def test_json_is_one_document_and_reads_back(make_record):
    text = render.as_json(make_record(model=HOSTILE).to_json())
    assert text.isascii()
    assert Record.from_json(json.loads(text)) == make_record(model=HOSTILE)


def test_json_refuses_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        render.as_json({"value": float("nan")})


def test_markdown(make_record):
    record = make_record()
    text = render.as_markdown(record, check_gates(record, GATES))
    lines = text.splitlines()
    assert lines[:7] == [
        r"## qtrain: mnist\_cnn.pt, 97.46 % test accuracy from 1,001 bytes",
        "",
        "| Gate | Verdict | Why |",
        "|---|---|---|",
        "| min-accuracy | passed | test accuracy is 0.9746; allowed: at least 0.97 |",
        "| max-drop | **FAILED** | test accuracy 0.9746 is 0.0126 worse than the teacher's 0.9872;"
        " allowed: 0.01. This lies outside the 95 % interval of the two measurements (up to 0.0038 on 10,000"
        " test rows), so it is more than chance |",
        "| max-bytes | passed | the file has 1,001 bytes; allowed: at most 2,000 |",
    ]
    assert "| Result | |\n|---|---|\n| Test accuracy | 97.46 % on 10,000 rows |\n" in text
    assert text.endswith("|\n")


def test_markdown_without_gates(make_record):
    assert "Gate" not in render.as_markdown(make_record(), ())


def test_a_hostile_name_in_markdown(make_record):
    text = render.as_markdown(make_record(model=HOSTILE), ())
    row = next(line for line in text.splitlines() if line.startswith("| Model |"))
    cells = re.split(r"(?<!\\)\|", row)
    assert len(cells) == 4
    bare = re.sub(r"\\[\\`*_\[\]<>|~&#$:.]", "", cells[2])
    assert not set("`*_[]<>|~&#\\") & set(bare)
    assert "\x1b" not in text


def test_no_link_and_no_formula_in_markdown(make_record):
    text = render.as_markdown(make_record(model="https://a.example Www.a.example $x$"), ())
    assert "| https\\://a.example Www\\.a.example \\$x\\$ |" in text


def parsed(record, gates=()):
    return Xml.fromstring(render.as_junit(record, gates).encode())


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("settings", [GateSettings(), GateSettings(max_drop=0.0001, max_bytes=2000)])
def test_junit_keeps_to_the_schema(make_record, task, settings):
    record = make_record(task, model=HOSTILE)
    assert schema_faults(parsed(record, check_gates(record, settings))) == []


def test_the_schema_check_bites():
    broken = Xml.fromstring(
        '<testsuites x="1"><testsuite name="a" tests="1" failures="0" time="1e-3"><error/>t'
        '<testcase/></testsuite></testsuites>'
    )  # fmt: skip
    assert schema_faults(broken) == [
        "testsuites has x",
        "testsuite lacks errors",
        "testsuite has the time 1e-3",
        "testsuite holds error",
        "testcase lacks name",
    ]


def test_junit_cases_and_counts(make_record):
    record = make_record()
    suite = parsed(record, check_gates(record, GATES)).find("testsuite")
    assert [case.get("name") for case in suite.iter("testcase")] == [
        "artifact-readable", "min-accuracy", "max-drop", "max-bytes",
    ]  # fmt: skip
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "0")
    failure = suite.find("testcase[@name='max-drop']/failure")
    assert failure.get("type") == "GateFailed"
    assert failure.get("message") == failure.text
    assert "0.0126 worse than the teacher's 0.9872" in failure.text
    assert len(list(suite.iter("failure"))) == 1


def test_junit_without_gates_is_not_empty(make_record):
    suite = parsed(make_record()).find("testsuite")
    assert [case.get("name") for case in suite.iter("testcase")] == ["artifact-readable"]
    assert suite.get("tests") == "1"


def test_junit_properties_are_the_record(make_record):
    record = make_record(model=HOSTILE)
    found = {p.get("name"): p.get("value") for p in parsed(record).iter("property")}
    assert list(found) == list(record.to_json())
    assert found["test_accuracy"] == "0.9746"
    assert found["seconds"] == "null"
    assert found["versions"] == '{"qtrain": "0.1.0", "torch": "2.13.0+cpu"}'
    assert SPELLED in found["model"]


@given(st.text())
def test_junit_parses_whatever_the_name(text):
    element = Xml.Element("a", {"value": render._plain(text)})
    assert Xml.fromstring(Xml.tostring(element)).get("value") == render._plain(text)


def sampled(**changes):
    cells = (
        SampleCell("none", 1000, (0.5, 0.52), ((0.4, 0.6), (0.42, 0.62)), 4.26, 4.1, 0.0),
        SampleCell("depolarizing:0.001", None, (0.9,), ((0.8, 0.95),), 0.0, 0.0, 0.0),
    )
    record = SampleRecord(
        artifact="net.qtrain", artifact_sha256="a" * 64, model="net.pt", task="classification",
        weights=3730, circuits=1, qubits=12, layers=16, mapping="linear", sampler="qtrain",
        trajectories=1000, repeat=2, seed=0, count=360, data_sha256="d" * 64, same_data=True, recorded=0.9,
        teacher=0.99, exact=0.9, exact_interval=(0.86, 0.93), z_variance=2.0, cells=cells,
    )  # fmt: skip
    return replace(record, **changes)


def test_what_shots_leave(shown):
    lines = shown(render.as_sampling(sampled())).splitlines()
    assert lines[0] == "net.qtrain, test accuracy from measured circuits"
    assert "  Exact probabilities       90.00 %, 95 % interval 86.00 to 93.00 %" in lines
    assert re.split(r"  +", lines[-3]) == [
        "Noise", "Shots", "Test accuracy", "95 % interval", "of it repetitions", "Drop", "Error of z",
    ]  # fmt: skip
    assert re.split(r"  +", lines[-2]) == [
        "none", "1,000", "51.00 %", "34.83 to 67.17 %", "38.29 to 63.71 %", "39.00 points", "4.26",
    ]  # fmt: skip
    assert re.split(r"  +", lines[-1]) == [
        "depolarizing:0.001", "exact", "90.00 %", "80.00 to 95.00 %", "-", "0.00 points", "0",
    ]  # fmt: skip


def test_other_data_errors_and_hostile_names_in_what_shots_leave(shown):
    text = shown(render.as_sampling(sampled(same_data=False, artifact="a\x1b[2J")))
    assert "90.00 % (on other data than these)" in text and "\x1b" not in text
    text = shown(render.as_sampling(sampled(task="regression", recorded=None)))
    assert "Test error" in text and "not measured" in text and "points" not in text


def test_what_the_simulation_itself_adds_is_said(shown):
    (first, second), said = (
        sampled().cells,
        "  Trajectories              1,000, which add at most 0.0014 to the",
    )
    assert said not in shown(render.as_sampling(sampled()))
    noisy = sampled(cells=(first, replace(second, simulation_variance=0.00141)))
    assert said in shown(render.as_sampling(noisy))


def test_key_values(shown):
    values = {
        "qtrain": "0.1.0",
        "torch": {"version": "2.13", "threads": 2},
        "cuda": None,
        "trusted": True,
        "seconds": 0.0123456,
        "shape": [1, 28, 2800],
        "empty": [],
        "tensors": [{"name": "[b]a", "shape": [3, 4]}, {"name": "b", "shape": []}],
    }
    assert shown(render.as_key_values("Environment", values)) == (
        "Environment\n"
        "  qtrain     0.1.0\n"
        "  torch\n"
        "    version  2.13\n"
        "    threads  2\n"
        "  cuda       -\n"
        "  trusted    yes\n"
        "  seconds    0.01235\n"
        "  shape      1, 28, 2,800\n"
        "  empty      -\n"
        "tensors\n"
        "name  shape\n"
        "[b]a  3, 4\n"
        "b     -\n"
    )
