"""Hostile files of rivals: refused with exit code 4 and one line, before they can take memory or time."""

from __future__ import annotations

import json
import time

import pytest
from artifacts import LAYOUT, RIVAL_PLANS, rival_of
from benchmarks.peak import forget, highest
from hostile.make_artifacts import canonical as text_of
from hostile.make_artifacts import deflated, dictionary, inflated, of_tensor, tensor_of
from hypothesis import given, settings
from hypothesis import strategies as st

import qtrain_cli
from qtrain_cli.artifact.container import container_of
from qtrain_cli.artifact.description import describe, read_record
from qtrain_cli.artifact.numbers import decode_artifact, encode_artifact, read_artifact
from qtrain_cli.cli import main
from qtrain_cli.commands import inspect, verify
from qtrain_cli.errors import BadInput, QtrainError, Refused
from qtrain_cli.settings import VerifySettings
from qtrain_cli.targets.entries import KEPT, LayoutSpec

#: Without kept tensors, so that numbers follow the facts.
PLAIN = LayoutSpec(tuple(entry for entry in LAYOUT.entries if entry.role != KEPT))


def apart(name, layout=PLAIN):
    """Check and digest, facts, and numbers, of an honest file."""
    tensor = tensor_of(encode_artifact(rival_of(name, layout)))
    text, rest = inflated(tensor[16:], dictionary())
    return tensor[:16], json.loads(text), rest


def edited(name, change=None, numbers=None):
    """The honest file of a rival with its facts changed in place, its numbers by a function."""
    fixed, facts, rest = apart(name)
    if change:
        change(facts)
    rest = numbers(rest) if numbers else rest
    return of_tensor(fixed + deflated(text_of(facts).encode(), dictionary()) + rest)


def planned(name, **plan):
    return edited(name, lambda facts: facts["plan"].update(plan))


def laid_out(name, *rows, **plan):
    """The honest file of a rival over another layout."""

    def change(facts):
        facts["layout"] = [list(row) for row in rows]
        facts["plan"].update(plan)

    return edited(name, change)


FACTS = {
    "a plan's member that is negative": ("its plan is {'k': -1", planned("hashing", k=-1)),
    "a plan's member that is true": ("its plan is {'k': True", planned("hashing", k=True)),
    "a plan's member that is a fraction": ("its plan is {'k': 6.0", planned("hashing", k=6.0)),
    "a plan's member that is huge": ("its plan is", planned("hashing", k=10**400)),
    "a plan's member that is a list": ("its plan is", planned("hashing", k=[6])),
    "a plan of many members": ("its plan is", planned("hashing", **{f"k{i}": 1 for i in range(9)})),
    "a plan's member of a long name": ("its plan is", planned("hashing", **{"k" * 99: 1})),
    "a plan's member that writes on the terminal": ("its plan is", planned("hashing", **{"\x1b[2J": 1})),
    "a plan that is a list": ("malformed", edited("hashing", lambda f: f.update(plan=[6, 3]))),
    "no plan": ("KeyError: 'plan'", edited("hashing", lambda f: f.pop("plan"))),
    "ours' rules": ("has the rules 'wire0", edited("hashing", lambda f: f.update(rules="wire0=msb"))),
    "an unknown key": ("not what an honest writer writes", edited("hashing", lambda f: f.update(more=1))),
    "a record": ("damaged or hostile", edited("hashing", lambda f: f.update(record=["m.pt"]))),
    "no weights": ("it has 0 weights", laid_out("hashing", ["k", "F32", [2]])),
    "more weights than anyone runs": (
        "it has 268435457 weights; allowed: 1 to 268435456", laid_out("hashing", ["w", [2**28 + 1], 9]),
    ),
    "the name of another kind": ("malformed", edited("hashing", lambda f: f.update(method="student"))),
}  # fmt: skip
READ = {
    "a plan without its member": (
        "its plan is none of 'hashing'", edited("hashing", lambda f: f["plan"].pop("k")),
    ),
    "no values": ("a group of its numbers is empty", planned("hashing", k=0)),
    "another count": ("its numbers take|its codes do not range|mean nothing", planned("hashing", k=7)),
    "a bomb of codes": ("4194305 numbers are coded; allowed: 4194304", planned("hashing", k=2**22 + 1)),
    "a bomb of codes in tensors": ("numbers are coded", laid_out("pruning", ["w", [2**27], 9])),
    "a bomb of a matrix": (
        "ask for 134217728 weights", laid_out("subspace", ["w", [2**27], 9]),
    ),
    "a bomb of a curve": (
        "ask for 134217728 weights", laid_out("classical-curve", ["w", [2**27], 9]),
    ),
    "another block": ("has blocks of 16; needed: 8", planned("subspace", block=16)),
    "a block of none": ("has blocks of 0; needed: 8", planned("classical-curve", block=0)),
    "a bomb of hidden units": ("hidden units", planned("fixed-random", hidden=10**6)),
    "no hidden units": ("hidden units", planned("fixed-random", hidden=0)),
    "a bomb of bits": ("is too large for", laid_out("fixed-random", ["w", [2**25], 9], hidden=4096)),
    "no numbers": ("its numbers take 0 bytes", edited("hashing", numbers=lambda data: b"")),
    "many bytes": ("its numbers take", edited("hashing", numbers=lambda data: data + bytes(100))),
    "a byte more": ("mean nothing", edited("hashing", numbers=lambda data: data + b"\1")),
    "a zero more": ("mean nothing", edited("hashing", numbers=lambda data: data + b"\0")),
    "a step of zero": ("its step is 0.0", edited("hashing", numbers=lambda data: bytes(2) + data[2:])),
    "a step that is NaN": ("its step is nan", edited("hashing", numbers=lambda data: b"\0\x7e" + data[2:])),
    "a step below zero": ("its step is -", edited("hashing", numbers=lambda data: b"\0\xb8" + data[2:])),
    "counts that are neither": (
        "shared or not; found: 7", edited("pruning", numbers=lambda data: b"\7" + data[1:]),
    ),
    "counts that claim to be shared": (
        "its codes|cut short|mean nothing|step is",
        edited("pruning", numbers=lambda data: bytes([1 - data[0]]) + data[1:]),
    ),
}  # fmt: skip
VERIFY = {
    "another seed": ("do not match the artifact's digest", planned("hashing", seed=4)),
    "another method": (
        "do not match the artifact's digest", edited("hashing", lambda f: f.update(method="subspace")),
    ),
    "another step": (
        "do not match the artifact's digest", edited("hashing", numbers=lambda data: b"\0\x30" + data[2:]),
    ),
    "another centre": (
        "do not match the artifact's digest", edited("hashing", lambda f: f["layout"][2].__setitem__(3, 2.0)),
    ),
    "another share": ("its numbers|do not match|codes", planned("low-rank", share=256)),
    "weights beyond float16": (
        "'norm.weight' is not finite", edited("pruning", lambda f: f["layout"][2].__setitem__(3, 1e6)),
    ),
}  # fmt: skip
CASES = {**FACTS, **READ, **VERIFY}


@pytest.fixture
def written(tmp_path):
    def write(data):
        path = tmp_path / "file.qtrain"
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("name", RIVAL_PLANS)
def test_the_honest_file_is_taken(name, written):
    assert verify.run(VerifySettings(written(edited(name)))).agreement == "exact"


@pytest.mark.parametrize("name", CASES)
def test_each_is_refused_where_it_should_be(name, written):
    words, data = CASES[name]
    path = written(data)
    doors = [lambda path: verify.run(VerifySettings(path)), qtrain_cli.load]
    doors += [describe, inspect.run, read_record] if name in FACTS else []
    doors += [read_artifact] if name not in VERIFY else []
    for door in doors:
        with pytest.raises(Refused, match=words) as refused:
            door(path)
        assert len(refused.value.message) < 700 and refused.value.message.isprintable()
    if name not in FACTS:
        describe(path)


@pytest.mark.parametrize("name", CASES)
def test_the_command_line_says_one_line_and_leaves_with_4(name, written, capsys):
    assert main(["verify", str(written(CASES[name][1]))]) == 4
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and said.err.startswith("qtrain: error: ")


def test_they_are_refused_within_seconds_and_little_memory(written):
    forget()
    before = highest()
    began = time.perf_counter()
    for name in ("a bomb of codes", "a bomb of codes in tensors", "a bomb of a matrix", "a bomb of bits"):
        with pytest.raises(Refused):
            read_artifact(written(CASES[name][1]))
    assert time.perf_counter() - began < 20
    assert highest() - before < 300_000 * 1024


@pytest.mark.parametrize("name", ["pruning", "low-rank", "hashing"])
def test_every_flipped_byte_is_refused(name, tmp_path):
    data = bytearray(encode_artifact(rival_of(name)))
    for place in range(len(data)):
        data[place] ^= 1
        with pytest.raises((Refused, BadInput)):
            decode_artifact(container_of(tmp_path / "a.qtrain", bytes(data)))
        data[place] ^= 1


@given(st.sampled_from(sorted(RIVAL_PLANS)), st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_bytes_for_numbers(tmp_path_factory, name, data):
    path = tmp_path_factory.getbasetemp() / "forged.qtrain"
    path.write_bytes(edited(name, numbers=lambda _: data))
    with pytest.raises(Refused):
        verify.run(VerifySettings(path))


strange = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.integers(0, 2**40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(RIVAL_PLANS)), st.data())
@settings(max_examples=200, deadline=None)
def test_any_value_in_a_plan(tmp_path_factory, name, data):
    """Refused, or of no consequence for the weights."""
    key = data.draw(st.sampled_from(sorted(RIVAL_PLANS[name])))
    path = tmp_path_factory.getbasetemp() / "forged.qtrain"
    try:
        path.write_bytes(planned(name, **{key: data.draw(strange)}))
    except UnicodeEncodeError:  # a lone surrogate, which no file can hold unescaped
        return
    try:
        assert verify.run(VerifySettings(path)).agreement == "exact"
    except QtrainError as error:
        assert isinstance(error, Refused)


def test_what_later_versions_may_write_in_this_format_is_no_attack(written, capsys):
    change = {"method": "lottery"}
    assert main(["verify", str(written(edited("hashing", lambda facts: facts.update(change))))]) == 2
    said = capsys.readouterr().err
    assert "has the method 'lottery'; a newer qtrain reads it; update qtrain" in said
    assert said.count("\n") == 1


def test_a_rival_has_no_circuits_to_export_or_sample(written, tmp_path, capsys):
    path = written(edited("hashing"))
    assert main(["export", str(path), "--quantum", "-o", str(tmp_path / "c.qasm")]) == 2
    assert "a file of the rival 'hashing', which has no circuits" in capsys.readouterr().err
    assert main(["export", str(path), "--classical", "-o", str(tmp_path / "w.safetensors")]) == 0
