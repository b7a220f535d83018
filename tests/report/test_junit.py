"""JUnit against the schema that pipelines read, and names that try to be markup."""

import re
from xml.etree import ElementTree as Xml

import pytest
from reports import GATES, HOSTILE, SPELLED

from qtrain_cli.report.junit import record_junit
from qtrain_cli.results.gates import check_gates
from qtrain_cli.settings import GateSettings

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


def parsed(record, gates=()):
    return Xml.fromstring(record_junit(record, gates).encode())


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


def test_no_line_of_it_is_a_command_of_a_pipeline(make_record):
    record = make_record(model="::add-mask::##[add-mask]x")
    text = record_junit(record, ())
    assert "##[" not in text and not any(line.strip().startswith("::") for line in text.splitlines())
    found = {p.get("name"): p.get("value") for p in parsed(record).iter("property")}
    assert found["model"] == "::add-mask::##[add-mask]x"
