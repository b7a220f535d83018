"""Plans never exceed their budget, one more layer would, and every budget that cannot be is refused."""

from fractions import Fraction

import pytest
from artifacts import CIRCUITS, LAYOUT, fitting_counts, layouts
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from qtrain_cli.artifact.size import Known, bytes_bound
from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.methods.generator.plan import plan_of
from qtrain_cli.methods.generator.planning import (
    LARGE_WEIGHTS,
    LARGE_WORK_LIMIT,
    LEAST_DEPTH,
    MIN_QUBITS_OF_SEVERAL,
    USED,
    WORK_LIMIT,
    plan_generator,
)
from qtrain_cli.methods.generator.sizes import MAX_CODED_ANGLES, angle_bytes, mapping_bytes, step_work
from qtrain_cli.methods.generator.spec import MAPPINGS, RAW_BITS
from qtrain_cli.methods.table import OURS
from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS, MAX_ANGLES, MAX_QUBITS, qubits_for
from qtrain_cli.results.ratios import parameter_ratio
from qtrain_cli.settings import BudgetSettings
from qtrain_cli.targets.entries import GENERATED, LayoutSpec, TensorEntry


def weights(count, kept=0):
    entries = [TensorEntry("w", (count,), "F32", GENERATED)]
    return LayoutSpec((*entries, TensorEntry("k", (kept,), "F32", "kept")) if kept else tuple(entries))


def packed_size(spec):
    """A quick stand-in for the size of a file."""
    return 500 + angle_bytes(spec) + 4 * spec.mapping_numbers


def plan(layout, seed=0, size=packed_size, **budget):
    return plan_generator(layout, BudgetSettings(**budget), seed, size)


def deeper(layout, spec, size=packed_size):
    """The same generator with one more layer."""
    circuit, budget = spec.circuit, {"mapping": spec.mapping.kind, "angle_bits": spec.angles.bits}
    names = {"ansatz": circuit.ansatz, "entangler": circuit.entangler, "circuits": circuit.circuits}
    names["final_rotation"] = circuit.final_rotation
    return plan(layout, size=size, layers=circuit.layers + 1, **names, **budget)


@st.composite
def layouts_and_options(draw, counts, kept):
    """So many weights and kept numbers, and a circuit for them; gates with angles need two qubits."""
    ansatz, entangler, final_rotation = draw(st.sampled_from(CIRCUITS))
    count = draw(counts.filter(lambda count: count > 2 or not ENTANGLERS[entangler].parametrised))
    options = {"ansatz": ansatz, "entangler": entangler, "final_rotation": final_rotation}
    options["mapping"] = draw(st.sampled_from(sorted(MAPPINGS)))
    options["angle_bits"] = draw(st.integers(2, 16) | st.just(RAW_BITS))
    return weights(count, draw(kept)), options


@given(layouts_and_options(st.integers(1, 10**6), st.integers(0, 100)), st.integers(1, 10**5))
@settings(max_examples=60, deadline=None)
def test_params(given, params):
    layout, options = given
    try:
        spec = plan(layout, params=params, **options)
    except BadInput as error:
        assert f"a budget of {params} numbers does not buy one layer" in error.message
        assume(False)
    assert spec.trained_numbers <= params < deeper(layout, spec).trained_numbers


@given(layouts_and_options(st.integers(100, 10**6), st.integers(0, 100)), st.floats(1, 1000))
@settings(max_examples=60, deadline=None)
def test_ratio(given, ratio):
    layout, options = given
    try:
        spec = plan(layout, ratio=ratio, **options)
    except BadInput:
        assume(False)
    sizes = layout.generated, layout.kept
    assert parameter_ratio(*sizes, spec.trained_numbers) >= ratio
    # Exactly: 182 / 140 is a little below the double that is written 1.3, and their quotient is that double.
    assert ratio > Fraction(sum(sizes), deeper(layout, spec).trained_numbers + layout.kept)


@given(layouts_and_options(st.integers(1, 10**5), st.just(0)), st.integers(500, 20_000))
@settings(max_examples=60, deadline=None)
def test_bytes(given, size):
    layout, options = given
    try:
        spec = plan(layout, bytes=size, **options)
    except BadInput as error:
        assert f"--bytes {size} is too small for this model; one layer takes" in error.message
        assume(False)
    assert packed_size(spec) <= size < packed_size(deeper(layout, spec))


@given(layout=layouts(), more=st.integers(0, 500))
@settings(max_examples=20, deadline=None)
def test_bytes_of_real_files(layout, more):
    def file_bytes(spec):
        bits = 8 * (mapping_bytes(spec) + angle_bytes(spec))
        return bytes_bound(OURS, plan_of(spec), spec.layout, Known("m.pt"), bits)

    size = file_bytes(plan(layout, layers=1, circuits=1)) + more
    spec = plan(layout, size=file_bytes, bytes=size)
    assert file_bytes(spec) <= size < file_bytes(deeper(layout, spec, file_bytes))


@given(count=st.integers(1, 2**28))
@settings(max_examples=80, deadline=None)
def test_any_number_of_weights_can_be_planned(count):
    circuit = plan(weights(count), layers=1, angle_bits=RAW_BITS).circuit
    assert (circuit.circuits - 1) * 2**circuit.qubits < count <= circuit.outcomes
    assert circuit.circuits == 1 or circuit.qubits >= MIN_QUBITS_OF_SEVERAL


@given(count=st.integers(1, LARGE_WEIGHTS), params=st.integers(100, 10**5))
@settings(max_examples=50, deadline=None)
def test_the_fewest_circuits_that_stay_under_the_limit(count, params):
    layout = weights(count)
    try:
        spec = plan(layout, params=params)
    except BadInput:
        assume(False)
    counts = {-(-count // 2**qubits) for qubits in range(spec.circuit.qubits + 1, MAX_QUBITS + 1)}
    for circuits in sorted(counts - {spec.circuit.circuits}):
        try:
            assert step_work(plan(layout, params=params, circuits=circuits)) > WORK_LIMIT
        except BadInput as error:
            assert "does not buy one layer" in error.message or "steps; allowed" in error.message


def test_one_circuit_where_it_can_be():
    circuit = plan(weights(6690), params=640).circuit
    assert (circuit.circuits, circuit.qubits, circuit.layers) == (1, 13, 49)


@pytest.mark.parametrize(("params", "layers"), [(327, 1), (1497, 16)])
def test_the_rows_of_the_quantum_train_paper(params, layers):
    spec = plan(weights(6690), params=params, ansatz="u3-cu3", mapping="quantum-train")
    assert (spec.circuit.circuits, spec.circuit.qubits, spec.circuit.layers) == (1, 13, layers)
    assert (spec.mapping_numbers, spec.trained_numbers) == (249, params)


def test_no_budget_is_a_ratio_of_ten():
    assert plan(weights(6690)) == plan(weights(6690), ratio=10)


def test_layers_are_taken_as_they_are():
    assert plan(weights(100), layers=9).circuit.layers == 9


@pytest.mark.parametrize("circuits", fitting_counts(LAYOUT.generated))
def test_circuits_are_taken_as_they_are(circuits):
    assert plan(LAYOUT, circuits=circuits, layers=2).circuit.circuits == circuits


def test_circuits_that_leave_one_empty():
    with pytest.raises(BadInput, match="4 circuits of 1 qubits do not fit 5 weights"):
        plan(weights(5), circuits=4, layers=1)


@pytest.mark.parametrize("ansatz", ANSATZE)
def test_the_entangler_is_the_first_of_the_ansatz(ansatz):
    assert plan(weights(50), layers=1, ansatz=ansatz).circuit.entangler == ANSATZE[ansatz].entanglers[0]


@pytest.mark.parametrize("budget", [{"layers": 1}, {"params": 1000}, {"bytes": 10_000}, {"params": 1}])
@pytest.mark.parametrize(("count", "circuits"), [(2, None), (5, 3)])
def test_gates_with_angles_need_two_qubits(budget, count, circuits):
    assert qubits_for(count, circuits or 1) == 1
    with pytest.raises(BadInput, match="qubits is 1; allowed: 2 to 26"):
        plan(weights(count), ansatz="u3-cu3", circuits=circuits, **budget)


def test_a_final_rotation_layer():
    assert plan(weights(50), layers=3, final_rotation=True).circuit.pairs(2) == []
    with pytest.raises(BadInput, match="a final rotation layer would leave angles of the entangler cu3-ring"):
        plan(weights(50), layers=3, final_rotation=True, ansatz="u3-cu3")


def test_the_plan_holds_what_was_asked_for():
    spec = plan(
        weights(50),
        seed=11,
        layers=2,
        ansatz="efficient-su2",
        entangler="cz-ring",
        mapping="mlp",
        angle_bits=5,
    )
    assert (spec.circuit.ansatz, spec.circuit.entangler) == ("efficient-su2", "cz-ring")
    assert (spec.mapping.kind, spec.angles.bits, spec.angles.start_seed) == ("mlp", 5, 11)


@pytest.mark.parametrize(
    ("option", "value", "near"),
    [
        ("ansatz", "real-amplitude", "real-amplitudes"),
        ("entangler", "cnot", "cnot-ring"),
        ("mapping", "MLP", None),
    ],
)
def test_unknown_names(option, value, near):
    with pytest.raises(UsageError) as refused:
        plan(weights(10), **{option: value})
    assert refused.value.message == f"--{option} '{value}' does not exist"
    assert refused.value.advice == (
        f"did you mean '{near}'?"
        if near
        else "allowed: linear, linear-per-tensor, mlp, tensor-train, quantum-train"
    )


def test_angle_bits_that_cannot_be():
    with pytest.raises(BadInput, match="angle bits is 17"):
        plan(weights(10), layers=1, angle_bits=17)


def test_too_small_says_what_one_layer_takes():
    with pytest.raises(BadInput) as refused:
        plan(weights(1000), params=11)
    assert refused.value.message == (
        "a budget of 11 numbers does not buy one layer; one layer of 1 circuit(s) takes 12"
    )
    assert plan(weights(1000), params=12).circuit.layers == 1
    with pytest.raises(BadInput, match="--bytes 527 is too small for this model; one layer takes 528 bytes"):
        plan(weights(1000), bytes=527)


def test_nothing_to_generate():
    with pytest.raises(BadInput, match="no weight is left to generate"):
        plan(LayoutSpec((TensorEntry("w", (3,), "F32", "kept"),)), params=100)


def test_more_weights_than_circuits_can_hold():
    with pytest.raises(BadInput, match=f"{2**28 + 1} weights are to be generated; allowed: {2**28}"):
        plan(weights(2**28 + 1), params=100)


def test_a_budget_beyond_all_bounds():
    with pytest.raises(BadInput, match="layers is 99999999; allowed: 1 to 50000000"):
        plan(weights(1000), params=10**9)
    assert plan(weights(1000), bytes=2**40).circuit.angles in range(
        MAX_CODED_ANGLES - 10, MAX_CODED_ANGLES + 1
    )
    assert plan(weights(1000), bytes=2**40, angle_bits=RAW_BITS).circuit.angles == MAX_ANGLES


def test_more_work_than_can_be_done():
    with pytest.raises(BadInput, match="steps; allowed: 68719476736"):
        plan(weights(2**20), layers=2**18, circuits=1)


@pytest.mark.parametrize(("budget", "circuits", "qubits"), [(2000, 16, 11), (700, 4, 13), (300, 1, 15)])
def test_changes_have_the_most_circuits_that_are_about_as_deep_as_wide(budget, circuits, qubits):
    layout = weights(32_256)
    found = plan_generator(layout, BudgetSettings(params=budget), 0, packed_size, change=True)
    assert (found.circuit.circuits, found.circuit.qubits) == (circuits, qubits)
    assert found.circuit.layers >= LEAST_DEPTH * qubits and found.angles.bits == 3
    whole = plan(layout, params=budget)
    assert whole.circuit.circuits == 1 and whole.angles.bits == 5
    fixed = plan_generator(layout, BudgetSettings(params=budget, circuits=4), 0, packed_size, change=True)
    assert fixed.circuit.circuits == 4
    finer = BudgetSettings(params=budget, angle_bits=6)
    assert plan_generator(layout, finer, 0, packed_size, change=True).angles.bits == 6


@pytest.mark.parametrize("numbers", [1_000, 2_000, 10_000])
def test_changes_of_a_whole_large_model_are_planned_as_the_model_is(numbers):
    layout = weights(22_715_520)
    found = plan_generator(layout, BudgetSettings(params=numbers), 0, packed_size, change=True)
    assert found.circuit == plan(layout, params=numbers).circuit
    trained = found.circuit.layers - found.angles.seeded
    assert trained >= 2 and found.circuit.layers >= found.circuit.qubits


@pytest.mark.parametrize("count", [2**21 + 1, 5_824_522, 11_689_512, 86_567_656])
@pytest.mark.parametrize("numbers", [2_000, 10_000, 30_000])
def test_circuits_of_large_models_are_as_deep_as_wide_and_use_the_budget(count, numbers):
    layout = weights(count)
    found = plan(layout, params=numbers)
    trained = found.circuit.layers - found.angles.seeded
    assert found.angles.seeded == max(0, found.circuit.qubits - trained)
    assert USED * 0.95 * numbers < found.trained_numbers <= numbers
    for circuits in {-(-count // 2**qubits) for qubits in range(12, 25)}:
        try:
            other = plan(layout, params=numbers, circuits=circuits)
        except BadInput:
            continue  # not one layer
        if other.trained_numbers >= numbers and step_work(found) > LARGE_WORK_LIMIT:
            assert step_work(other) >= step_work(found)


def test_a_large_network_gets_circuits_that_learn():
    """Of a dense network of 5.8 million weights: the old plan's 178 circuits of 3 layers learned far less."""
    circuit = plan(weights(5_824_522), params=10_000).circuit
    assert (circuit.circuits, circuit.qubits, circuit.layers) == (45, 17, 17)


def test_seeded_layers_are_there_by_default_for_large_models_alone():
    assert plan(weights(2**21), params=5000).angles.seeded == 0
    assert plan(weights(2**22), params=5000, seeded_layers=0).angles.seeded == 0
    assert plan(weights(2**22), params=5000, seeded_layers=3).angles.seeded == 3
    assert plan(weights(2**22), layers=4, circuits=16).angles.seeded == 0  # whoever says layers means these
    assert plan(weights(1000), params=200, seeded_layers=2).circuit.layers == 2 + 19
