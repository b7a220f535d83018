"""The metadata there and back, in canonical JSON, and the records that check themselves."""

import json
import math
from dataclasses import replace

import pytest
from artifacts import MEASURED, artifact_of, numbers_of, spec_of, specs
from hypothesis import given, settings

from qtrain_cli.artifact.container import canonical, read_container
from qtrain_cli.artifact.description import (
    Digest,
    Example,
    Origin,
    bytes_before_numbers,
    describe,
    design_of,
    facts,
    read_record,
    tensor_of,
)
from qtrain_cli.artifact.formats import metadata
from qtrain_cli.artifact.numbers import encode_artifact, write_artifact
from qtrain_cli.artifact.payload import DICTIONARY, text_at
from qtrain_cli.errors import BadInput
from qtrain_cli.targets.entries import LayoutSpec, TensorEntry


def facts_of(**given):
    return facts(artifact_of(spec_of(**given)).description)


DIGEST = ("0123456789abcdef", (1.0, -2.0, 3.0, 0.0), 1e-6)


@given(specs())
@settings(max_examples=60, deadline=None)
def test_there_and_back(tmp_path_factory, spec):
    path = tmp_path_factory.getbasetemp() / "description.qtrain"
    artifact = artifact_of(spec)
    path.write_bytes(encode_artifact(artifact))
    assert describe(path) == artifact.description


@given(specs())
@settings(max_examples=30, deadline=None)
def test_the_facts_are_canonical(spec):
    description = artifact_of(spec).description
    text = text_at(tensor_of(description, b"", b""), 16, DICTIONARY)[0]
    value = json.loads(text)
    assert canonical(value) == text and list(value) == sorted(value)
    assert value == json.loads(json.dumps(facts(description)))


def test_the_metadata():
    assert metadata() == "5"


def test_bytes_before_the_first_number(tmp_path):
    """All but kept tensors and numbers: of two files that differ in them only, it is the same."""
    spec, sizes = spec_of(), []
    for seed in (0, 1):
        write_artifact(tmp_path / "a.qtrain", artifact_of(spec, numbers_of(spec, seed)), force=True)
        container = read_container(tmp_path / "a.qtrain")
        sizes.append(bytes_before_numbers(container))
        stored = len(container.data) - sizes[-1]
        assert 4 + 7 + 1 < stored <= 4 + 9 + 15 + 4 + 20
    assert sizes[0] == sizes[1] > container.header.payload_start + 32 + 72


def test_rows_of_the_layout():
    assert facts_of(bits=5, circuits=3, mapping="mlp")["layout"] == [
        ["conv.weight", [3, 1, 2, 2], 4], ["conv.bias", [3], 4], ["norm.weight", [2], 2, 1.0, "F16"],
        ["norm.running_mean", "F32", [2], "F16"], ["norm.count", "I64", []],
        ["last.weight", [2, 1], 1, 0.0, "BF16"],
        ["again.weight", "last.weight"],
    ]  # fmt: skip


def test_the_other_parts():
    value = facts_of(bits=5, circuits=3, mapping="mlp", entangler="cz-ring")["plan"]
    assert value["circuit"] == ["real-amplitudes", "cz-ring", 3, 3, 3]
    assert (value["mapping"], value["angles"]) == (["mlp", 2], [5, 7])
    final = facts_of(final_rotation=True)["plan"]["circuit"]
    assert final == ["real-amplitudes", "cnot-ring", 5, 3, 1, 1]


@pytest.mark.parametrize("value", [math.nan, math.inf, [-math.inf]])
def test_canonical_json_has_no_nan(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(value)


def test_canonical_json():
    assert canonical({"b": [1, 2.0, None], "a": "é\n"}) == '{"a":"é\\n","b":[1,2.0,null]}'


def test_names_of_every_script(tmp_path):
    layout = LayoutSpec((TensorEntry('größe "1"\\.权重', (2,), "F32", "generated"),))
    write_artifact(
        tmp_path / "a.qtrain", artifact_of(spec_of(layout), measured=replace(MEASURED, model="é\n.pt"))
    )
    found = describe(tmp_path / "a.qtrain")
    assert found.spec.layout == layout and found.origin.measured.model == "é\n.pt"


def test_the_record_joins_spec_and_measurement(tmp_path):
    path, artifact = tmp_path / "a.qtrain", artifact_of(spec_of())
    write_artifact(path, artifact)
    record = read_record(path)
    assert record.design == design_of(artifact.description.spec) and record.measured == MEASURED
    assert (record.design.weights, record.design.kept_weights, record.design.trained_numbers) == (19, 3, 17)
    assert record.seconds is None


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, "0" * 15, "its digest is '0000"),
        (0, "0" * 17, "needed: 16 hexadecimal digits"),
        (0, "A" * 16, "needed: 16 hexadecimal digits"),
        (0, "", "its digest is ''"),
        (1, (1.0, 2.0, 3.0), "needed: 4 numbers"),
        (1, (1.0,) * 5, "needed: 4 numbers"),
        (1, (1.0, 2.0, 3.0, math.nan), "needed: 4 numbers"),
        (1, (), "the probes (); needed: 4 numbers"),
        (2, 0.0, "the tolerance 0.0; allowed: above 0"),
        (2, math.nan, "the tolerance nan"),
        (2, math.inf, "the tolerance inf"),
    ],
)
def test_digests_that_cannot_be(place, value, message):
    with pytest.raises(BadInput) as refused:
        Digest(*DIGEST[:place], value, *DIGEST[place + 1 :])
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("F8", (1,)),
        ("F32", (0,)),
        ("F32", (-1, -1)),
        ("F32", (1,) * 9),
        ("F32", (2**14, 2**14 + 1)),
        ("F32", (True,)),
        ("F32", (1.0,)),
    ],
)
def test_inputs_that_cannot_be(dtype, shape):
    with pytest.raises(BadInput, match=r"an input has the (dtype 'F8'|shape \[)"):
        Example(dtype, shape)


def test_inputs_at_the_bounds():
    assert Example("I64", ()).shape == ()
    assert Example("F32", (2**14, 2**14, 1, 1, 1, 1, 1, 1)).dtype == "F32"


@pytest.mark.parametrize("run", ["", "0" * 15, "0" * 17, "g" * 16])
def test_runs_that_cannot_be(run):
    with pytest.raises(BadInput, match=r"its run is .*; needed: 16 hexadecimal digits"):
        Origin(MEASURED, run)
