"""`qtrain help`: pages that ship, a list of them, a pager for people."""

import json
import os
import sys

import pytest

from qtrain_cli.commands.help import topic_files

ASKED_FOR = {"bytes", "data", "gates", "students", "format", "start", "config"}


def test_the_pages_are_there_and_listed(cli):
    assert set(topic_files()) >= ASKED_FOR
    listed = cli("help").out
    assert all(f"qtrain help {topic}" in listed for topic in topic_files())


@pytest.mark.parametrize("topic", sorted(ASKED_FOR))
def test_each_page_is_shown_and_opens_with_its_heading(cli, topic):
    document = json.loads(cli("help", topic, "--json").out)
    assert document["text"] == topic_files()[topic].read_text()
    assert document["text"].startswith(f"# {document['topics'][topic]}\n")
    shown = cli("help", topic).out
    assert len(shown.split()) > 100 and "](" not in shown


@pytest.mark.parametrize(
    ("said", "meant"), [("byts", "bytes"), ("compres", "compress"), ("compare-student", "compare-students")]
)
def test_an_unknown_topic_names_the_next_one_or_a_command(cli, said, meant):
    ended = cli("help", said)
    assert ended.code == 2 and f"did you mean '{meant}'?" in ended.err


def test_of_a_command_it_is_that_commands_help(cli):
    assert cli("help", "compress").out == cli("compress", "--help").out


def test_on_a_terminal_a_long_page_goes_through_the_pager(cli, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("LINES", "20")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("LESS", raising=False)
    seen = []
    monkeypatch.setattr("pydoc.pager", seen.append)
    assert cli("help", "bytes").out == "" and "Bytes" in seen[0]
    assert os.environ["LESS"] == "-R"
    monkeypatch.setenv("LINES", "500")
    assert "Bytes" in cli("help", "bytes").out and len(seen) == 1
