"""Arrays in files without a name: the same numbers, gone afterwards, and never much of them in memory."""

import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from qtrain_cli.errors import BadInput
from qtrain_cli.files import spilled


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Everything above 1,000 bytes is large, and lies in `tmp_path`."""
    monkeypatch.setattr(spilled, "IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_what_is_let_go_comes_back(small):
    array = spilled.large_array((100, 300), np.int32)
    array[:] = np.arange(30_000).reshape(100, 300)
    spilled.let_go()
    assert np.array_equal(array.reshape(-1), np.arange(30_000)) and array.flags.writeable
    array[3] = 7
    spilled.let_go()
    assert (array[3] == 7).all()


def test_no_file_is_to_be_seen_and_none_is_left(small):
    array = spilled.large_array((5000,), np.uint8)
    assert list(small.iterdir()) == [] and len(spilled._MAPPED) == 1
    del array
    gc.collect()
    assert len(spilled._MAPPED) == 0


def test_a_small_array_is_in_memory(small):
    array = spilled.large_array((1000,), np.uint8)
    assert len(spilled._MAPPED) == 0 and array.base is None


def test_a_full_disk_is_said_before_anything_is_decoded(small, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(BadInput, match=r"take 5,000 bytes, .* no room in .*No space left") as caught:
        spilled.large_array((5000,), np.uint8)
    assert "TMPDIR" in caught.value.advice


TESTS = Path(__file__).resolve().parents[1]
_RESIDENT = """
import numpy as np
from benchmarks.peak import forget, highest
from qtrain_cli.files import spilled
forget()
before = highest()
array = spilled.large_array((400, 2**20), np.uint8)
for row in array:
    row[:] = 1
    spilled.let_go()
assert int(array[::7].sum(dtype=np.int64) and array[399, 5]) == 1
spilled.let_go()
print(highest() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="how much is resident is told otherwise elsewhere")
def test_400_mb_are_worked_on_in_a_process_that_hardly_grows():
    environment = os.environ | {"PYTHONPATH": f"{TESTS.parent}:{TESTS}"}
    command = [sys.executable, "-c", _RESIDENT]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert int(found.stdout) < 150 * 2**20  # the sum above maps a seventh
