"""A model's products in bfloat16: where they are slow, it is said."""

import pytest
import torch

from qtrain_cli.models import mixed
from qtrain_cli.models.mixed import products_in, said_of_products

CPU = torch.device("cpu")


@pytest.mark.parametrize(("rough", "times"), [(0.031, 31), (0.0031, 3), (0.0029, None), (0.0004, None)])
def test_a_processor_that_is_slow_in_bfloat16_is_named(monkeypatch, rough, times):
    monkeypatch.setattr(mixed, "_seconds", {torch.bfloat16: rough, torch.float32: 0.001}.get)
    said = (
        f"--precision bf16 is slow on this processor: its matrix products take about {times} times as long as"
        " in float32; leave the option out here"
    )
    assert said_of_products("bf16", CPU) == (said if times else "")
    assert said_of_products("float32", CPU) == said_of_products("bf16", torch.device("cuda")) == ""


def test_the_products_that_are_timed_are_of_the_precision(monkeypatch):
    seen = []

    class Watched(torch.Tensor):
        def __matmul__(self, other):
            seen.append(self.dtype)
            return other

    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *shape, dtype: ones(*shape, dtype=dtype).as_subclass(Watched))
    said_of_products("bf16", CPU)
    assert set(seen) == {torch.float32, torch.bfloat16} and len(seen) == 2 * (mixed._TIMES + 1)


def test_nothing_changes_outside(monkeypatch):
    a = torch.ones(2, 2)
    with products_in("bf16", CPU):
        assert (a @ a).dtype == torch.bfloat16
    assert (a @ a).dtype == torch.float32
