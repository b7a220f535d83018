"""Values as JSON and as text that is safe to show."""

import json
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports import HOSTILE

from qtrain_cli.report.text import json_text, plain
from qtrain_cli.results import Record


def test_json_is_one_document_and_reads_back(make_record):
    text = json_text(make_record(model=HOSTILE).to_json())
    assert text.isascii()
    assert Record.from_json(json.loads(text)) == make_record(model=HOSTILE)


def test_json_refuses_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({"value": float("nan")})


@given(st.text())
def test_junit_parses_whatever_the_name(text):
    element = Xml.Element("a", {"value": plain(text)})
    assert Xml.fromstring(Xml.tostring(element)).get("value") == plain(text)
