"""What the last bits of a run on a CPU depend on beside its versions, as words for identity and record.

kernel     which compiled kernel: base, v3 or v4 (x86-64); none where PyTorch does its work
cpu        PyTorch's own choice of instructions: default, avx2 or avx512
threads    PyTorch's, which share out its sums; the compiled kernel's result does not depend on them
processes  of which each adds up its share of a batch; not said where it is one

A user sets them by QTRAIN_NATIVE, ATEN_CPU_CAPABILITY, OMP_NUM_THREADS and --processes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from qtrain_cli.quantum import native

NO_KERNEL, PROCESSES = "none", "processes"
#: What a file's size is foretold with, wherever that is: nothing that is planned depends on the machine.
LONGEST = {"kernel": "base", "threads": "999"}


def machine() -> dict[str, str]:
    """The three words of this process, at this moment."""
    return {
        "kernel": native.COMPILED_FOR.removeprefix("x86-64-") if native.available() else NO_KERNEL,
        "cpu": torch.backends.cpu.get_cpu_capability().lower(),
        "threads": str(torch.get_num_threads()),
    }


def of_processes(count: int) -> dict[str, str]:
    """The fourth word, of a run of so many processes."""
    return {PROCESSES: str(count)} if count > 1 else {}


def recorded_machine(processes: int = 1) -> dict[str, str]:
    """Those of them that a file of a few hundred bytes keeps."""
    return {name: word for name, word in machine().items() if name in LONGEST} | of_processes(processes)


def differing(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """``threads 2 there and 1 here`` for every word in which two machines differ; empty where they do not."""
    names = (name for name in (*there, *(here.keys() - there.keys())) if there.get(name) != here.get(name))
    return ", ".join(
        f"{name} {there.get(name, 'unknown')} there and {here.get(name, 'unknown')} here" for name in names
    )


#: How a word is set.
_WAYS = {"threads": "OMP_NUM_THREADS=", "cpu": "ATEN_CPU_CAPABILITY=", PROCESSES: "--processes "}


def way_back(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """The environment and option by which this machine computes as that one did; empty where none do."""
    found = []
    for name, value in {PROCESSES: "1", **there}.items() if PROCESSES in here else there.items():
        if value == here.get(name):
            continue
        if name == "kernel" and NO_KERNEL in (value, here.get(name)):
            found.append(f"QTRAIN_NATIVE={int(value != NO_KERNEL)}")
        elif name in _WAYS:
            found.append(f"{_WAYS[name]}{value}")
        else:
            return ""
    return " ".join(found)
