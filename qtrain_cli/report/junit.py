"""Gates as a JUnit test suite, which any pipeline shows.

It follows the schema that pytest and Jenkins share (junit-10.xsd): one test case for the artifact, one for
each gate, the record as properties. It carries no clock and no host name: the same artifact gives the same
file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from qtrain_cli.report.records import Shown
from qtrain_cli.report.text import plain, unmarked
from qtrain_cli.results import GateResult


def record_junit(record: Shown, gates: Sequence[GateResult]) -> str:
    """The gates as a JUnit test suite, so that any pipeline shows them."""
    from xml.etree import ElementTree as Xml

    failures = sum(not gate.passed for gate in gates)
    counts = {"tests": str(1 + len(gates)), "failures": str(failures), "errors": "0", "time": "0"}
    root = Xml.Element("testsuites", {"name": "qtrain", **counts})
    suite = Xml.SubElement(root, "testsuite", {"name": "qtrain report", **counts, "skipped": "0"})
    properties = Xml.SubElement(suite, "properties")
    for name, value in record.to_json().items():
        text = value if isinstance(value, str) else json.dumps(value)
        Xml.SubElement(properties, "property", {"name": name, "value": plain(text)})
    for name in ("artifact-readable", *(gate.name for gate in gates)):
        Xml.SubElement(suite, "testcase", {"classname": "qtrain.report", "name": name, "time": "0"})
    for gate, case in zip(gates, suite.findall("testcase")[1:], strict=True):
        if not gate.passed:
            message = plain(gate.message)
            Xml.SubElement(case, "failure", {"type": "GateFailed", "message": message}).text = message
    Xml.indent(root)
    text = unmarked(Xml.tostring(root, encoding="unicode"), "&#35;")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'
