"""Values as JSON and as text that is safe to show."""

import json
import re
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports import HOSTILE

from qtrain_cli.report.markdown import escaped
from qtrain_cli.report.terminal import key_values_terminal
from qtrain_cli.report.text import MOST_SEEN, clipped, harmless, json_text, plain
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


#: What GitHub's runner takes for a command (`ActionCommand.cs`: the first after blanks, the second anywhere),
#: and Azure's and TeamCity's in the same form.
COMMAND = re.compile(r"^\s*::|##\w*\[", re.MULTILINE)


def test_a_long_text_is_shown_by_its_ends(shown):
    name = "a" * 10_000_000 + "\x1b" + "z" * 10_000_000
    table = key_values_terminal("t", {"tensors": [{"name": name}]})
    for text in (clipped(name), escaped(name), shown(table)):
        assert len(text) < 2 * MOST_SEEN and "aa...zz" in "".join(text.split())
    assert plain(name).count("z") == 10_000_000, "JUnit and JSON keep it"
    assert clipped("a" * MOST_SEEN) == "a" * MOST_SEEN


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("::set-output name=a::b", r"\x3a:set-output name=a::b"),
        ("a\n \t ::add-mask::b", "a\n \t \\x3a:add-mask::b"),
        ("\u00a0::error::x", "\u00a0\\x3a:error::x"),
        ("a ##[add-mask]b", r"a \x23#[add-mask]b"),
        ("###vso[task.x]", r"#\x23#vso[task.x]"),
        ("a::b ## [c] #[d]", "a::b ## [c] #[d]"),
    ],
)
def test_no_line_is_a_command_of_a_pipeline(text, spelled):
    assert harmless(text) == spelled == harmless(spelled)


@given(st.text("# :[a\\\n\t"))
def test_no_text_keeps_a_command(text):
    assert not COMMAND.search(harmless(text))
    document = {"model": text, text: [text]}
    assert json.loads(json_text(document)) == document and not COMMAND.search(json_text(document))
