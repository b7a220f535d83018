"""The page of one artifact: whole, self-contained, escaped, and with what is known of it."""

import re
from dataclasses import replace

import pytest
from pages import dossier, epochs, html_of, read_page
from reports import GATES, HOSTILE

from qtrain_cli.artifact.records import BareFile
from qtrain_cli.results import GateResult
from qtrain_cli.results.gates import check_gates
from qtrain_cli.tasks import TASKS


def test_it_says_the_result_in_one_sentence_and_beside_the_teacher(make_record):
    found = read_page(html_of(make_record()))
    assert "mnist_cnn.pt in 1,001 bytes: 97.46 % test accuracy" in found.text
    assert "95 % interval 97.13 to 97.75 %" in found.text and "The teacher has 98.72 %, outside" in found.text
    assert "1.26 points below" in found.text
    assert "the same tensors in int8 7,000 bytes the same tensors in float32 27,336 bytes" in found.text


def test_a_teacher_inside_the_interval_is_said_to_be(make_record):
    found = read_page(html_of(make_record(teacher=0.9750)))
    assert "The teacher has 97.50 %, inside that interval" in found.text
    assert "0.04 points below" in found.text
    assert "0.46 points above" in read_page(html_of(make_record(teacher=0.97))).text


def test_it_has_the_sections_of_what_is_known(make_record):
    record = make_record()
    found = read_page(html_of(record, check_gates(record, GATES)))
    titles = [given["href"] for given in found.of("a")]
    assert titles == ["#result", "#gates", "#training", "#circuit", "#tensors", "#provenance"]
    assert "FAILED" in found.text and "passed" in found.text
    assert "qtrain verify net.qtrain" in found.text
    assert record.artifact_sha256 in found.text and record.measured.data_sha256 in found.text


@pytest.mark.parametrize("task", TASKS)
def test_there_is_a_page_for_every_task(make_record, task):
    assert TASKS[task].word in read_page(html_of(make_record(task))).text


def test_the_same_artifact_gives_the_same_bytes(make_record):
    assert html_of(make_record()) == html_of(make_record())


def test_names_that_try_to_be_markup_are_texts(make_record):
    record = make_record(model=HOSTILE)
    tensors = [replace(one, name="<img src=x onerror=alert(1)>") for one in dossier().tensors]
    gate = GateResult("<b>", False, 1, 2, HOSTILE)
    html = html_of(record, [gate], name=HOSTILE, tensors=tuple(tensors), history=(), history_at="x" + HOSTILE)
    found = read_page(html)
    assert not found.of("b") and not found.of("img") and "<script>[red]x" in found.text
    assert "<img src=x onerror=alert(1)>" in found.text
    for letter in ("\x1b", "\x00", "\u202e", "\u2028"):
        assert letter not in html.decode()
    assert not re.search(r"^\s*::|##\w*\[", html_of(make_record(model="##vso[x]\n::error::")).decode(), re.M)


def test_the_course_is_drawn_with_its_rounding_and_its_best_epoch(make_record):
    found = read_page(html_of(make_record()))
    drawn = [given["aria-label"] for given in found.of("svg") if "by epoch" in given.get("aria-label", "")]
    assert [text.split(" by epoch")[0] for text in drawn] == [
        "training loss", "validation accuracy, %", "learning rate",
    ]  # fmt: skip
    assert all("the best epoch by validation is 18" in text for text in drawn)
    assert [given["class"] for given in found.of("rect")].count("rounding") == 3
    assert [given["class"] for given in found.of("circle")].count("best") == 3
    assert "From the shaded epoch on" in found.text


def test_a_course_without_rounding_has_no_shade(make_record):
    found = read_page(html_of(make_record(), history=epochs(first_rounded=99)))
    assert "rounding" not in [given.get("class") for given in found.of("rect")]
    assert "shaded" not in found.text


def test_long_courses_are_thinned_and_keep_their_end(make_record):
    found = read_page(html_of(make_record(), history=epochs(5000, 4000, 4500)))
    lines = [given["points"].split() for given in found.of("polyline")]
    assert all(300 < len(points) <= 402 for points in lines)
    assert all(points[-1].split(",")[0] == "368" for points in lines)


def test_what_is_not_there_is_said_with_the_way_to_get_it(make_record):
    found = read_page(html_of(make_record(), history=(), history_at="net.qtrain.jsonl"))
    assert "no 'net.qtrain.jsonl' of this run lies beside the file" in found.text
    assert "qtrain report net.qtrain --html PAGE --model MODEL" in found.text
    assert "by epoch" not in found.text
    whole = read_page(html_of(make_record()))
    assert "lies beside the file" not in whole.text


def test_a_warning_stands_on_top_where_nothing_was_learned(make_record):
    record = make_record(trivial=0.99)
    assert "Warning: the test figure is no better than" in read_page(html_of(record)).text
    assert "Warning" not in read_page(html_of(make_record())).text


def test_a_bare_file_has_a_page_of_what_it_says_itself(make_record):
    record = make_record()
    bare = BareFile("net.qtrain", record.design, 900, "a" * 64)
    found = read_page(html_of(bare))
    assert "--json" not in found.text, "a bare file has no record to print"
    assert "net.qtrain, a bare file of 900 bytes" in found.text and "accuracy" not in found.text


def test_many_tensors_are_folded_and_the_most_are_left_out(make_record):
    one = dossier().tensors[0]
    folded = read_page(html_of(make_record(), tensors=(one,) * 50))
    assert len(folded.of("details")) == 1 and "50 rows" in folded.text
    many = read_page(html_of(make_record(), tensors=(one,) * 2100))
    assert "100 more rows are left out" in many.text
    assert not read_page(html_of(make_record())).of("details")


def test_a_ring_is_said_only_where_one_is(make_record):
    said = "The ring marks the best epoch"
    for best, there in ((18, True), (0, False)):
        found = read_page(html_of(make_record(), history=epochs(best=best)))
        assert (said in found.text, "best" in [one["class"] for one in found.of("circle")]) == (there, there)
