"""What counts as the same: bits for tensors, half of the digits for outputs."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from qtrain_cli.errors import RunFailed
from qtrain_cli.exports.comparison import require_close, require_same, tolerance
from qtrain_cli.exports.tracing import RealRows, trace

ONE = {"a": torch.tensor([1.0, -0.0, math.nan])}


def traced():
    torch.manual_seed(0)
    module = nn.Linear(4, 3)
    return trace(module, module.state_dict(), torch.zeros(1, 4))


def test_equal_bits_are_the_same_in_any_order_and_memory_format():
    grid = torch.arange(6.0).view(2, 3)
    require_same({**ONE, "b": grid}, {"b": grid.T.contiguous().T, "a": ONE["a"].clone()}, "the file")


@pytest.mark.parametrize(
    "other",
    [
        torch.tensor([1.0, 0.0, math.nan]),
        torch.tensor([1.0, -0.0, 2.0]),
        ONE["a"].double(),
        ONE["a"].view(3, 1),
        ONE["a"].view(torch.int32),
    ],
    ids=["sign of zero", "value", "precision", "shape", "type"],
)
def test_any_other_tensor_is_named(other):
    with pytest.raises(RunFailed, match="tensor 'a' of the file differs from the weights"):
        require_same(ONE, {"a": other}, "the file")


def test_other_names_are_listed():
    with pytest.raises(RunFailed, match="do not hold the same tensors: a, b"):
        require_same(ONE, {"b": ONE["a"]}, "the file")


def test_outputs_within_half_of_the_digits_are_close():
    graph = traced()
    assert "within" in require_close(graph, lambda x: graph.eager(x) * (1 + 1e-5), "the graph")


@pytest.mark.parametrize("wrong", [lambda y: y * 1.001, lambda y: y * math.nan], ids=["0.1 %", "nan"])
def test_outputs_further_off_are_refused(wrong):
    graph = traced()
    with pytest.raises(RunFailed, match=r"the graph differs from PyTorch by .*; allowed: "):
        require_close(graph, lambda x: wrong(graph.eager(x)), "the graph")


@pytest.mark.parametrize("wrong", [lambda y: y[:, :2], lambda y: y.double()], ids=["shape", "dtype"])
def test_outputs_of_another_kind_are_refused(wrong):
    graph = traced()
    with pytest.raises(RunFailed, match=r"the graph returns float.*; PyTorch returns float32 \[1, 3\]"):
        require_close(graph, lambda x: wrong(graph.eager(x)), "the graph")


def test_the_tolerance_follows_the_dtype_and_the_largest_output():
    assert tolerance(torch.tensor([0.5, -2.0])) == pytest.approx(2 * 2**-11.5)
    assert tolerance(torch.tensor([1.0]).half()) == pytest.approx(2**-5)
    assert tolerance(torch.zeros(3)) == pytest.approx(2**-23)
    assert tolerance(torch.ones(0)) == pytest.approx(2**-23)
    assert tolerance(torch.tensor([7])) == 0.0


def test_a_graph_that_is_wrong_on_real_rows_alone_is_refused():
    """Drawn rows are normal numbers; those of the data lie far from all of them."""
    graph = traced()
    real = torch.full((5, 4), 9.0)
    graph = trace(graph.module, graph.module.state_dict(), RealRows(real))
    assert "outputs on 5 rows of the data and on seeded random inputs within" in require_close(
        graph, graph.eager, "the graph"
    )
    with pytest.raises(RunFailed, match="the graph differs from PyTorch by"):
        require_close(graph, lambda x: graph.eager(x.clamp(max=8)), "the graph")


def test_real_rows_are_filled_up_to_batches_of_a_fixed_size():
    graph = replace(traced(), note="fixed", rows=torch.arange(12.0).reshape(3, 4))
    assert len(graph.example) == 2
    real = graph.probes()[1:]
    assert [part[:, 0].tolist() for part in real] == [[0, 4], [8, 0]]
