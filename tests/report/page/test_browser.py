"""Every page in headless Chromium: silent, alone, accessible, as wide as its window, with tables that sort.

Needs Chromium, and Node with the packages playwright-core and axe-core where it looks for them (`NODE_PATH`).
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from comparisons import cell, comparison
from pages import examination, gradients, html_of
from reports import GATES, HOSTILE

from qtrain_cli.report.page.comparison import comparison_page
from qtrain_cli.report.page.gradients import gradients_page
from qtrain_cli.report.page.render import page_html
from qtrain_cli.results.gates import check_gates

SCRIPT = Path(__file__).with_name("browser.cjs")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def lacking():
    """Why no browser can be asked here; nothing where it can."""
    if not CHROMIUM or not shutil.which("node"):
        return "needs Chromium and Node"
    found = "require.resolve('playwright-core'); require.resolve('axe-core/axe.min.js')"
    asked = subprocess.run(["node", "-e", found], capture_output=True, timeout=60)
    return "needs playwright-core and axe-core of npm (NODE_PATH)" if asked.returncode else ""


pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking() or "all is there")


def looks_at(data, tmp_path):
    """What Chromium finds at three widths, light and dark, and in print."""
    page = tmp_path / "page.html"
    page.write_bytes(data)
    words = ["node", str(SCRIPT), os.fspath(page), str(CHROMIUM)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def whole_page(make_record, name="net.qtrain", **changes):
    record = make_record(**changes)
    compared = comparison(
        [cell(one, seed, [1, 0, 1, 1], budget) for one in ("ours", "pruning") for seed in (0, 1)
         for budget in (1000, 2000)], budgets=(1000, 2000),
    ).to_json(["a sentence"])  # fmt: skip
    gates = check_gates(record, GATES)
    return html_of(record, gates, name=name, examined=examination(), comparison=compared)


def check(looks):
    assert [one["width"] for one in looks] == [360, 360, 820, 820, 1280, 1280, 794]
    for one in looks:
        assert (one["logged"], one["requests"], one["faults"]) == ([], [], []), one
        assert one["tooWide"] <= 0, one
        if "sorted" in one:
            (first, up), (second, down) = one["sorted"]
            assert (first, second) == ("ascending", "descending")
            assert up == sorted(up) and down == sorted(up, reverse=True) and len(set(up)) > 1


def test_the_page_of_an_artifact(make_record, tmp_path):
    looks = looks_at(whole_page(make_record), tmp_path)
    check(looks)
    assert "sorted" in looks[0]


def test_a_hostile_page_is_as_silent(make_record, tmp_path):
    check(looks_at(whole_page(make_record, name=HOSTILE, model=HOSTILE), tmp_path))


def test_the_page_of_a_comparison(tmp_path):
    rows = {"ours": [1, 0, 1, 1], "pruning": [1, 0, 0, 0], "classical-curve": [1, 1, 1, 1]}
    cells = [cell(name, seed, scores) for name, scores in rows.items() for seed in (0, 1)]
    check(looks_at(page_html(comparison_page(comparison(cells))), tmp_path))


def test_the_page_of_gradients(tmp_path):
    check(looks_at(page_html(gradients_page(gradients())), tmp_path))


def test_what_loads_something_is_found(tmp_path):
    """The check itself: a page without our policy that asks for a picture, logs, and has a fault."""
    page = b"<html><body><script>console.log('x')</script><img src='https://example.org/x.png'></body></html>"
    (first, *_) = looks_at(page, tmp_path)
    assert first["logged"] and first["requests"] == ["https://example.org/x.png"] and first["faults"]
