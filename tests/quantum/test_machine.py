"""What a run's last bits depend on: its words, how two machines differ, and how one computes as the other."""

import pytest
import torch

from qtrain_cli.quantum import native
from qtrain_cli.quantum.machine import LONGEST, differing, machine, recorded_machine, way_back

HERE = {"kernel": "v4", "cpu": "avx512", "threads": "2"}


def test_the_words_are_those_of_this_process(monkeypatch):
    monkeypatch.delenv("QTRAIN_NATIVE", raising=False)
    assert machine()["threads"] == str(torch.get_num_threads())
    assert machine()["cpu"] == torch.backends.cpu.get_cpu_capability().lower()
    assert machine()["kernel"] == (native.COMPILED_FOR.removeprefix("x86-64-") or "none")
    monkeypatch.setenv("QTRAIN_NATIVE", "0")
    assert machine()["kernel"] == "none"
    assert list(recorded_machine()) == list(LONGEST)


@pytest.mark.parametrize(
    ("there", "said", "way"),
    [
        ({}, "", ""),
        ({"threads": "8"}, "threads 8 there and 2 here", "OMP_NUM_THREADS=8"),
        ({"kernel": "none"}, "kernel none there and v4 here", "QTRAIN_NATIVE=0"),
        ({"kernel": "v3"}, "kernel v3 there and v4 here", ""),
        (
            {"cpu": "avx2", "threads": "1"},
            "cpu avx2 there and avx512 here, threads 1 there and 2 here",
            "ATEN_CPU_CAPABILITY=avx2 OMP_NUM_THREADS=1",
        ),
    ],
)
def test_what_differs_is_said_and_how_to_compute_alike(there, said, way):
    assert differing({**HERE, **there}, HERE) == said
    assert way_back({**HERE, **there}, HERE) == way


def test_a_gpu_and_a_processor_are_different_machines():
    assert differing({"gpu": "H100"}, {"threads": "2"}) == (
        "gpu H100 there and unknown here, threads unknown there and 2 here"
    )
    assert way_back({"gpu": "H100"}, HERE) == ""
