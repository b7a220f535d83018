"""The bound of a file's size holds for any figures, and is not far off."""

import itertools
import random
from dataclasses import replace

import pytest
import torch
from artifacts import MEASURED, artifact_of, numbers_of, spec_of, specs
from hypothesis import given, settings
from hypothesis import strategies as st

from qtrain_cli.artifact.example import MAX_EXAMPLE_DIMENSIONS, MAX_EXAMPLE_ELEMENTS, Example
from qtrain_cli.artifact.numbers import encode_artifact
from qtrain_cli.artifact.size import Known, bytes_bound
from qtrain_cli.methods.generator.plan import plan_of
from qtrain_cli.methods.generator.sizes import angle_bytes, mapping_bytes
from qtrain_cli.methods.table import OURS
from qtrain_cli.quantum.machine import LONGEST
from qtrain_cli.results import Scores
from qtrain_cli.results.versions import recorded_versions
from qtrain_cli.targets.entries import DTYPE_BYTES, GENERATED, KEPT, LayoutSpec, TensorEntry

#: As the record of any machine says at most.
LONGEST_VERSIONS = recorded_versions() | LONGEST
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
    versions=st.just(LONGEST_VERSIONS),
    data_sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    model_sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    trust=st.sampled_from(["weights-only", "stock-layers", "safetensors", "pt2", "trusted-pickle"]),
)
examples = st.builds(Example, st.sampled_from(sorted(DTYPE_BYTES)), shapes())


def known_from(measured, example):
    """What was known before the run that measured this."""
    task = measured.scores.task
    return Known(
        measured.model, task, example, measured.epochs, measured.seed, measured.device, measured.trust,
        precision=measured.precision,
    )  # fmt: skip


def bound_of(spec, known):
    """The bound of a generator's file, planned with the most that its numbers take."""
    bits = 8 * (mapping_bytes(spec) + angle_bytes(spec))
    return bytes_bound(OURS, plan_of(spec), spec.layout, known, bits)


def what_may_shrink(spec):
    """Bytes of codes and kept tensors, which a bound takes for such as nothing compresses."""
    return angle_bytes(spec) + sum(entry.stored_bytes for entry in spec.layout.of_role(KEPT))


@given(spec=specs(), measured=measurements, example=examples)
@settings(max_examples=50, deadline=None)
def test_no_file_is_larger_than_its_bound(spec, measured, example):
    """Whatever its figures are, with what is known or with the model's name alone."""
    size = len(encode_artifact(artifact_of(spec, measured=measured, example=example)))
    bound = bound_of(spec, known_from(measured, example))
    assert size <= bound <= size + 180 + what_may_shrink(spec)
    assert size <= bound_of(spec, Known(measured.model))


@st.composite
def keeping(draw):
    """A layout of 20 weights with kept tensors, and bytes for these of few kinds, of which deflate's fixed
    code is longer."""
    sizes = draw(st.lists(st.integers(0, 40), max_size=6))
    rows = [TensorEntry(f"k{number}", (size,), "U8", KEPT) for number, size in enumerate(sizes)]
    counters = draw(st.lists(st.integers(0, 2**32 - 1), max_size=5))
    rows += [TensorEntry(f"c{number}", (), "I64", KEPT) for number in range(len(counters))]
    layout = LayoutSpec((TensorEntry("w", (4, 5), "F32", GENERATED, 4), *draw(st.permutations(rows))))
    pool = st.sampled_from(draw(st.sampled_from((range(256), range(144, 256), range(140, 150), range(3)))))
    kept = {
        f"k{number}": torch.tensor(draw(st.lists(pool, min_size=size, max_size=size)), dtype=torch.uint8)
        for number, size in enumerate(sizes)
    }
    kept |= {f"c{number}": torch.tensor(value) for number, value in enumerate(counters)}
    return layout, kept


OF_20_WEIGHTS = numbers_of(spec_of(LayoutSpec((TensorEntry("w", (4, 5), "F32", GENERATED, 4),))))


def bare(spec, numbers, example):
    """Size and bound of a bare file, of which everything but its numbers is known."""
    size = len(encode_artifact(artifact_of(spec, numbers, None, example)))
    return size, bound_of(spec, Known("m.pt", example=example, bare=True))


@given(spec=specs(), example=examples, seed=st.integers(0, 2**20))
@settings(max_examples=50, deadline=None)
def test_no_bare_file_is_larger_than_its_bound(spec, example, seed):
    numbers = numbers_of(spec, seed)
    size, bound = bare(spec, numbers, example)
    assert size <= bound <= size + 20 + what_may_shrink(spec)
    whole = len(encode_artifact(artifact_of(spec, numbers, MEASURED, example)))
    assert whole - size > 72 and bound < bound_of(spec, Known("m.pt", example=example)) - 72


@given(keeping(), examples)
@settings(max_examples=80, deadline=None)
def test_kept_tensors_of_any_bytes_fit_into_a_bare_file(found, example):
    layout, kept = found
    size, bound = bare(spec_of(layout), replace(OF_20_WEIGHTS, kept=kept), example)
    assert size <= bound


@pytest.mark.parametrize("count", range(80))
def test_bytes_that_take_nine_bits_each_fit_into_a_bare_file(count):
    """Negative float16 numbers, as running means may be: random ones take deflate less."""
    layout = LayoutSpec((TensorEntry("w", (4, 5), "F32", GENERATED), TensorEntry("k", (count,), "U8", KEPT)))
    spec = spec_of(layout, bits=32)
    high = torch.tensor(random.Random(count).choices(range(144, 256), k=count), dtype=torch.uint8)
    size, bound = bare(spec, replace(numbers_of(spec), kept={"k": high}), Example("F32", (1, 8, 8)))
    assert size <= bound <= size + 8


@given(seed=st.integers(0, 2**20), bits=st.integers(2, 12), layers=st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_the_finest_codes_fit_into_a_bare_file(seed, bits, layers):
    spec = spec_of(layers=layers, bits=bits, ansatz="efficient-su2")
    size, bound = bare(spec, numbers_of(spec, seed), Example("F32", (1, 8, 8)))
    assert size <= bound


@given(seed=st.integers(0, 2**20), bits=st.integers(2, 12), layers=st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_codes_that_are_as_fine_as_their_bits_allow_fit(seed, bits, layers):
    spec = spec_of(layers=layers, bits=bits, ansatz="efficient-su2")
    artifact = artifact_of(spec, numbers_of(spec, seed), measured=MEASURED)
    assert len(encode_artifact(artifact)) <= bound_of(spec, known_from(MEASURED, Example("F32", (1, 8, 8))))


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_longest_figures_come_near_the_bound(task):
    error = 9.876543e-32
    scores = (
        Scores(task, error, 2 * error, 3 * error, 10**9 - 1, error / 7, error / 9, (error, 7 * error))
        if task == "regression"
        else Scores(task, 0.1234567, 0.7654321, 0.9182736, 10**9 - 1, 0.5647382, 0.2938475, trivial=0.1827364)
    )
    measured = replace(
        MEASURED,
        scores=scores,
        train_loss=error / 3,
        test_loss=error / 11,
        versions=LONGEST_VERSIONS,
    )
    spec, example = spec_of(bits=32), Example("F32", (1, 8, 8))
    size = len(encode_artifact(artifact_of(spec, measured=measured, example=example)))
    assert size <= bound_of(spec, known_from(measured, example)) <= size + 40


@pytest.mark.parametrize("bits", [4, 32])
def test_an_ordinary_run_comes_near_its_bound(bits):
    spec, example = spec_of(bits=bits, layers=40), Example("F32", (1, 8, 8))
    scores = replace(MEASURED.scores, trivial=round(0.2 * MEASURED.scores.count) / MEASURED.scores.count)
    measured = replace(MEASURED, versions=LONGEST_VERSIONS, scores=scores)
    size = len(encode_artifact(artifact_of(spec, measured=measured, example=example)))
    # Counts of rows are foretold with nine digits, twice since the trivial figure is one.
    assert size <= bound_of(spec, known_from(measured, example)) <= size + 66


def test_bounds_grow_with_depth():
    known = Known("m.pt")
    sizes = [bound_of(spec_of(layers=layers), known) for layers in range(1, 40)]
    # A layer has 5 bytes of codes; its number may deflate worse by one, and better by four where the preset
    # dictionary has it so, and both in a row.
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(sizes))
    assert all(later - earlier >= 7 for earlier, later in zip(sizes, sizes[2:], strict=False))
    assert sizes[-1] - sizes[0] >= 38 * 5 - 1
