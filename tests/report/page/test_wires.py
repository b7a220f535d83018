"""The drawing of a circuit: its gates are those of the tables that the engine runs."""

import re
from dataclasses import replace

import pytest

from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS, CircuitSpec
from qtrain_cli.report.page.wires import circuit_drawn

EVERY = [(name, entangler) for name, row in ANSATZE.items() for entangler in row.entanglers]


def count(svg, kind):
    return len(re.findall(rf'class="{kind}"', svg))


@pytest.mark.parametrize(("ansatz", "entangler"), EVERY)
def test_every_gate_of_the_first_layers_is_drawn(ansatz, entangler):
    spec = CircuitSpec(ansatz, entangler, 4, 9)
    svg, row = circuit_drawn(spec).svg, ENTANGLERS[entangler]
    layers = min(2, row.period(4))
    pairs = sum(len(row.pattern(4, layer)) for layer in range(layers))
    turns = layers * 4 * len(ANSATZE[ansatz].rotations)
    boxes = sum(name not in ("CNOT", "CZ") for name in row.gates) * pairs
    assert count(svg, "gate-name") == turns + boxes
    assert count(svg, "target") == pairs * row.gates.count("CNOT")
    assert count(svg, "holds") == pairs * (2 if row.gates == ("CZ",) else len(row.gates))
    assert ("first 2 of 9 layers" if layers == 2 else "× 9 layers") in svg


def test_a_circuit_of_one_qubit_has_no_pairs():
    svg = circuit_drawn(CircuitSpec("real-amplitudes", "cnot-ring", 1, 1)).svg
    assert count(svg, "target") == 0 and count(svg, "wire") == 1 and "all layers" in svg


def test_many_gates_end_after_some_columns():
    narrow, wide = (circuit_drawn(CircuitSpec("real-amplitudes", "cnot-full", n, 2)) for n in (8, 12))
    assert count(narrow.svg, "target") == 28 and narrow.said == "" and "…" not in narrow.svg
    assert count(wide.svg, "target") == 39 and wide.svg.count("…") == 12
    assert wide.said == "51 of 78 gates of layer 1 are drawn." and wide.said[:-1] in wide.svg
    assert float(re.search(r'width="([\d.]+)"', wide.svg)[1]) < 1300


def test_a_last_layer_of_rotations_alone_has_no_entangler():
    spec = CircuitSpec("real-amplitudes", "cnot-ring", 3, 1, final_rotation=True)
    assert count(circuit_drawn(spec).svg, "target") == 0 and circuit_drawn(spec).said == ""
    more = circuit_drawn(replace(spec, layers=2))
    assert more.said == "The last layer has no entangler." and more.said[:-1] in more.svg
