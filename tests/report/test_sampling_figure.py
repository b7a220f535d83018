"""Pictures: every format is one, the same record gives the same bytes, and labels say what is shown."""

import builtins
import re
from dataclasses import replace

import pytest

from qtrain_cli.errors import BadInput
from qtrain_cli.report.sampling_figure import sampling_figure
from qtrain_cli.results import SampleCell, SampleRecord
from qtrain_cli.settings import PLOT_ENDINGS

CELLS = tuple(
    SampleCell(noise, shots, (0.5 + 0.01 * k, 0.6), ((0.4, 0.7),) * 2, 0.1, 0.1, 0.0)
    for noise in ("none", "depolarizing:0.001+readout:0.01")
    for k, shots in enumerate((1000, 10**6, None))
)
RECORD = SampleRecord(
    artifact="net.qtrain", artifact_sha256="a" * 64, model="net.pt", task="classification", weights=3730,
    circuits=1, qubits=12, layers=16, mapping="linear", sampler="qtrain", trajectories=1000, repeat=2, seed=0,
    count=360, data_sha256="d" * 64, same_data=True, recorded=0.9, teacher=0.99, exact=0.9,
    exact_interval=(0.86, 0.93), z_variance=2.0, cells=CELLS,
)  # fmt: skip
MAGIC = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


def texts(record):
    return re.findall(r"<text[^>]*>([^<]*)</text>", sampling_figure(record, "svg").decode())


@pytest.mark.parametrize("ending", PLOT_ENDINGS)
def test_every_format_twice_the_same(ending):
    one, other = (sampling_figure(RECORD, ending[1:]) for _ in range(2))
    assert one.startswith(MAGIC[ending]) and one == other


def test_it_says_what_it_shows():
    found = texts(RECORD)
    assert {"shots of each circuit", "test accuracy, %", "teacher", "no noise", "exact"} <= set(found)
    assert "depolarizing 0.001, readout 0.01" in found
    assert any("360 test rows" in text for text in found)


def test_errors_are_no_percentages_and_a_missing_teacher_is_not_drawn():
    found = texts(replace(RECORD, task="regression", teacher=None))
    assert "test error" in found and "teacher" not in found


@pytest.mark.parametrize("cells", [CELLS[2:3], CELLS[:1], (replace(CELLS[0], figures=(0.5,)),)])
def test_a_single_cell_is_drawn(cells):
    assert sampling_figure(replace(RECORD, cells=cells), "png").startswith(MAGIC[".png"])


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def refuse(name, *arguments, **named):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(BadInput) as caught:
        sampling_figure(RECORD, "png")
    assert caught.value.message == "a plot needs the package matplotlib, which is not installed"
    assert caught.value.advice == "pip install 'qtrain[plot]'"
