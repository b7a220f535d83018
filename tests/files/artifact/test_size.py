"""The bound of a file's size holds for any figures, and is not far off."""

from dataclasses import replace

import pytest
from artifacts import MEASURED, artifact_of, spec_of, specs
from hypothesis import given, settings
from hypothesis import strategies as st

from qtrain_cli.files.artifact.description import MAX_EXAMPLE_DIMENSIONS, MAX_EXAMPLE_ELEMENTS, Example
from qtrain_cli.files.artifact.numbers import encode_artifact
from qtrain_cli.files.artifact.size import bytes_bound
from qtrain_cli.results import Scores
from qtrain_cli.spec import DTYPE_BYTES
from qtrain_cli.versions import recorded_versions

#: What torch computes in float32 and prints as a Python float.
singles = st.floats(0, width=32, allow_infinity=False, allow_nan=False)
shares = st.tuples(st.integers(1, 10**7), st.floats(0, 1)).map(lambda pair: int(pair[0] * pair[1]) / pair[0])
counts = st.integers(1, 10**9 - 1)


@st.composite
def scores(draw):
    if draw(st.booleans()):
        figures = [draw(shares) for _ in range(5)]
        return Scores("classification", *figures[:3], draw(counts), *figures[3:])
    test = draw(singles)
    interval = (test * draw(st.floats(0, 1, width=16)), test * draw(st.floats(1, 100, width=16)))
    return Scores(
        "regression", draw(singles), draw(singles), test, draw(counts), draw(singles), draw(singles), interval
    )


@st.composite
def shapes(draw):
    left, shape = MAX_EXAMPLE_ELEMENTS, []
    for _ in range(draw(st.integers(0, MAX_EXAMPLE_DIMENSIONS))):
        shape.append(draw(st.integers(1, left)))
        left //= shape[-1]
    return tuple(shape)


measurements = st.builds(
    replace,
    st.just(MEASURED),
    model=st.text(st.characters(codec="utf-8"), max_size=20),
    scores=scores(),
    train_loss=singles,
    test_loss=singles,
    epochs=counts,
    seed=st.integers(0, 2**31 - 1),
    device=st.sampled_from(["cpu", "cuda", "cuda:0", "cuda:31"]),
    versions=st.just(recorded_versions()),
    data_sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    model_sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    trust=st.sampled_from(["weights-only", "stock-layers", "safetensors", "pt2", "trusted-pickle"]),
)
examples = st.builds(Example, st.sampled_from(sorted(DTYPE_BYTES)), shapes())


@given(spec=specs(), measured=measurements, example=examples)
@settings(max_examples=120, deadline=None)
def test_no_file_is_larger_than_its_bound(spec, measured, example):
    size = len(encode_artifact(artifact_of(spec, measured=measured, example=example)))
    bound = bytes_bound(spec, measured.model)
    assert size <= bound <= size + 200


def test_the_longest_figures_reach_the_bound():
    """All at once, which no random draw finds: one character more of any of them would be too many."""
    error = 9.876543e-32
    measured = replace(
        MEASURED,
        scores=Scores("regression", error, error, error, 10**9 - 1, error, error, (error, error)),
        train_loss=error,
        test_loss=error,
        epochs=10**9 - 1,
        seed=2**31 - 1,
        device="cuda:10",
        versions=recorded_versions(),
        trust="trusted-pickle",
    )
    artifact = artifact_of(
        spec_of(), measured=measured, example=Example("BOOL", (1, 10**8, 1, 1, 1, 1, 1, 1))
    )
    digest = replace(artifact.description.digest, probes=(-9.87654321e-05,) * 4)
    artifact = replace(artifact, description=replace(artifact.description, digest=digest))
    assert len(encode_artifact(artifact)) == bytes_bound(spec_of(), measured.model)


@pytest.mark.parametrize("bits", [4, 32])
def test_an_ordinary_run_comes_near_its_bound(bits):
    spec = spec_of(bits=bits)
    measured = replace(MEASURED, versions=recorded_versions())
    size = len(encode_artifact(artifact_of(spec, measured=measured)))
    assert size <= bytes_bound(spec, measured.model) <= size + 160


def test_bounds_grow_with_depth():
    sizes = [bytes_bound(spec_of(layers=layers), "m.pt") for layers in range(1, 40)]
    assert sizes == sorted(sizes) and sizes[-1] - sizes[0] >= 38 * 5
