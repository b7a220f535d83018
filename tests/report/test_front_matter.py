"""The head of a card: what is written is read back the same, whatever is in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtrain_cli.report.front_matter import front_matter

CARD = {
    "license": "apache-2.0",
    "tags": ["qtrain", "a b"],
    "nothing": None,
    "none": [],
    "model-index": [
        {"name": "x", "results": [{"task": {"type": "t"}, "metrics": [{"value": 0.5, "rows": 3}]}]}
    ],
}  # fmt: skip


def test_the_block_is_yaml_between_two_rules():
    assert (
        front_matter(CARD)
        == """\
---
license: "apache-2.0"
tags:
  - qtrain
  - "a b"
model-index:
  - name: x
    results:
      - task:
          type: t
        metrics:
          - value: 0.5
            rows: 3
---
"""
    )


ODD = [
    "yes", "null", "1.5", "2020-01-01", "- a", "a: b", "'", '"', "\\", "#x", "[a]", "---", "\x1b[2J",
    "a\nb: c", "é", "\U0001f600", "<<", "=", "~", ".inf", "0x1",
]  # fmt: skip


@pytest.mark.parametrize("text", ODD)
def test_a_text_stays_a_text(text):
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    (head,) = yaml.safe_load_all(
        front_matter({"a": text, "b": [text], "c": {"d": text}}).removesuffix("---\n")
    )
    plain = text.replace("\x1b", "\\x1b").replace("\n", "\\n")
    assert head == {"a": plain, "b": [plain], "c": {"d": plain}}


@given(st.text(min_size=1).filter(str.isprintable))
def test_any_printable_text_comes_back(text):
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    assert yaml.safe_load(front_matter({"a": text}).removesuffix("---\n")) == {"a": text}


def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        front_matter({"a": float("nan")})


@pytest.mark.parametrize(
    ("value", "text"), [(1e-05, "1.0e-05"), (1.5e-7, "1.5e-07"), (1e16, "1.0e+16"), (3, "3")]
)
def test_small_numbers_stay_numbers_in_yaml(value, text):
    assert f"v: {text}\n" in front_matter({"v": value})
