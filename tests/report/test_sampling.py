"""What shots leave, on the terminal."""

import re
from dataclasses import replace

from qtrain_cli.report.sampling import sampling_terminal
from qtrain_cli.results import SampleCell, SampleRecord


def sampled(**changes):
    cells = (
        SampleCell("none", 1000, (0.5, 0.52), ((0.4, 0.6), (0.42, 0.62)), 4.26, 4.1, 0.0),
        SampleCell("depolarizing:0.001", None, (0.9,), ((0.8, 0.95),), 0.0, 0.0, 0.0),
    )
    record = SampleRecord(
        artifact="net.qtrain", artifact_sha256="a" * 64, model="net.pt", task="classification",
        weights=3730, circuits=1, qubits=12, layers=16, mapping="linear", sampler="qtrain",
        trajectories=1000, repeat=2, seed=0, count=360, data_sha256="d" * 64, same_data=True, recorded=0.9,
        teacher=0.99, exact=0.9, exact_interval=(0.86, 0.93), z_variance=2.0, cells=cells,
    )  # fmt: skip
    return replace(record, **changes)


def test_what_shots_leave(shown):
    lines = shown(sampling_terminal(sampled())).splitlines()
    assert lines[0] == "net.qtrain, test accuracy from measured circuits"
    assert "  Exact probabilities       90.00 %, 95 % interval 86.00 to 93.00 %" in lines
    assert re.split(r"  +", lines[-3]) == [
        "Noise", "Shots", "Test accuracy", "95 % interval", "of it repetitions", "Drop", "Error of z",
    ]  # fmt: skip
    assert re.split(r"  +", lines[-2]) == [
        "none", "1,000", "51.00 %", "34.83 to 67.17 %", "38.29 to 63.71 %", "39.00 points", "4.26",
    ]  # fmt: skip
    assert re.split(r"  +", lines[-1]) == [
        "depolarizing:0.001", "exact", "90.00 %", "80.00 to 95.00 %", "-", "0.00 points", "0",
    ]  # fmt: skip


def test_other_data_errors_and_hostile_names_in_what_shots_leave(shown):
    text = shown(sampling_terminal(sampled(same_data=False, artifact="a\x1b[2J")))
    assert "90.00 % (on other data than these)" in text and "\x1b" not in text
    text = shown(sampling_terminal(sampled(task="regression", recorded=None)))
    assert "Test error" in text and "not measured" in text and "points" not in text


def test_what_the_simulation_itself_adds_is_said(shown):
    (first, second), said = (
        sampled().cells,
        "  Trajectories              1,000, which add at most 0.0014 to the",
    )
    assert said not in shown(sampling_terminal(sampled()))
    noisy = sampled(cells=(first, replace(second, simulation_variance=0.00141)))
    assert said in shown(sampling_terminal(noisy))
