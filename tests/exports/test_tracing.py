"""`trace`: the graph of a module with other weights, its free batch dimension, and what cannot be traced."""

import pytest
import torch
from architectures import Adapter, Cached, Renamed, Sampling, Scaling
from torch import nn

from qtrain_cli.errors import BadInput, RunFailed
from qtrain_cli.exports import export
from qtrain_cli.exports.tracing import reason, trace


class Rows(nn.Linear):
    """Loops over the rows of its batch, so that its graph holds for one batch size only."""

    def forward(self, x):
        return torch.stack([super(Rows, self).forward(row) for row in x])


class Untraceable(nn.Linear):
    """Chooses by value: a graph has no such thing."""

    def forward(self, x):
        return super().forward(x) if float(x.sum()) > 0 else x @ self.weight.T


class Pair(nn.Linear):
    def forward(self, x):
        return x, super().forward(x)


def test_the_graph_holds_the_given_weights_in_eval_mode():
    module = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.9)).train()
    state = {name: torch.full_like(tensor, 0.5) for name, tensor in module.state_dict().items()}
    traced = trace(module, state, torch.zeros(1, 4))
    assert traced.dynamic and not traced.module.training
    for program in (traced.eager, traced.program.module()):
        assert torch.equal(program(torch.ones(1, 4)), torch.full((1, 3), 2.5))


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_the_batch_is_free_whatever_the_example_holds(rows):
    module = nn.Linear(4, 3)
    traced = trace(module, module.state_dict(), torch.zeros(rows, 4))
    assert [len(probe) for probe in traced.probes()] == [1, 3]
    assert all(traced.program.module()(probe).shape == (len(probe), 3) for probe in traced.probes())


def test_probes_are_seeded_and_stay_in_range_for_whole_numbers():
    module = nn.Embedding(5, 2)
    traced = trace(module, module.state_dict(), torch.tensor([[4, 0]]))
    assert [probe.tolist() for probe in traced.probes()] == [[[4, 0]], [[4, 0]] * 3]
    floats = [trace(nn.Identity(), {}, torch.zeros(1, 4)).probes() for _ in range(2)]
    assert all(torch.equal(one, other) for one, other in zip(*floats, strict=True))
    assert floats[0][0].abs().sum() > 0


def test_a_module_that_fixes_its_batch_is_traced_for_one_row_and_says_so(tmp_path):
    module = Rows(4, 3)
    record = export(module.state_dict(), tmp_path / "m.pt2", module=module, example=torch.zeros(2, 4))
    assert record.note.startswith("the batch size is fixed at 1")
    assert "\n" not in record.note
    row = torch.ones(1, 4)
    assert torch.equal(torch.export.load(tmp_path / "m.pt2").module()(row), module(row))


def test_an_untraceable_module_is_refused_in_one_line():
    module = Untraceable(4, 3)
    with pytest.raises(RunFailed, match="the module cannot be traced: ") as caught:
        trace(module, module.state_dict(), torch.zeros(2, 4))
    assert caught.value.exit_code == 1 and ".safetensors" in caught.value.advice


def test_weights_of_another_module_are_refused_by_name():
    with pytest.raises(BadInput, match="the module does not fit the weights") as caught:
        trace(nn.Linear(4, 3), {"scale": torch.ones(3)}, torch.zeros(2, 4))
    assert 'Missing key(s) in state_dict: "weight", "bias". Unexpected' in caught.value.message


def test_an_input_of_the_wrong_shape_is_refused_with_it():
    module = nn.Linear(4, 3)
    with pytest.raises(BadInput, match=r"fails on 2 inputs of shape \[5\]"):
        trace(module, module.state_dict(), torch.zeros(1, 5))
    with pytest.raises(BadInput, match=r"the example input has the shape \[0, 4\]"):
        trace(module, module.state_dict(), torch.zeros(0, 4))


@pytest.mark.parametrize("said", ["Eq(u0, 1)", "the size 2*u13 + 1", "u0 >= 2", "[3, u1]", "unbacked"])
def test_a_size_that_is_known_once_it_runs_is_said_in_a_sentence(said):
    assert reason(RuntimeError(said)).startswith("a size or a branch in its code depends on the values")


@pytest.mark.parametrize(
    "said",
    ["'UNet' object has no attribute 'u1'", "y = self.u1(x)", "name 'u2' is not defined", "p_u1_weight"],
)
def test_a_layer_that_is_called_so_is_no_such_size(said):
    """The layers of a U-Net often are."""
    assert reason(RuntimeError(said)) == said


def test_of_several_outputs_the_graph_has_the_first():
    module, inputs = Pair(4, 3), torch.randn(2, 4)
    traced = trace(module, module.state_dict(), torch.zeros(1, 4))
    assert torch.equal(traced.program.module()(inputs), module(inputs)[0])


def test_no_tensor_is_refused():
    class Nothing(nn.Linear):
        def forward(self, x):
            return None

    module = Nothing(4, 3)
    with pytest.raises(BadInput, match="returns a NoneType; allowed: one tensor"):
        trace(module, module.state_dict(), torch.zeros(1, 4))


class Masked(nn.Module):
    """A table of 30 words; what is 0 is not attended to, and nothing but zeros has no answer."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(30, 4), nn.Embedding(40, 4)

    def forward(self, x):
        scores = (self.words(x) + self.places(torch.arange(x.shape[1]))).sum(-1)
        return scores.masked_fill(x == 0, -torch.inf).softmax(1)


def test_tokens_are_probed_with_words_that_the_table_has_and_not_with_padding_alone():
    module = Masked()
    traced = trace(module, module.state_dict(), torch.zeros(2, 5, dtype=torch.int64))
    assert traced.example.min() >= 1 and traced.example.max() < 30
    assert all(traced.eager(rows).isfinite().all() for rows in traced.probes())


def test_tied_names_with_different_weights_are_refused(tmp_path):
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    state = module.state_dict()
    module[1].weight = module[0].weight
    with pytest.raises(RunFailed, match=r"tensor '0.weight' of the module differs"):
        export(state, tmp_path / "m.pt2", module=module, example=torch.zeros(1, 4))


# --- used as anyone uses the weights ---------------------------------------------------------------------


def exported(tmp_path, name, module):
    state = {key: tensor.detach().clone() for key, tensor in module.state_dict().items()}
    return export(state, tmp_path / name, module=module, example=torch.zeros(2, 12))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("m.pt2", Adapter),
        ("m.pt2", Cached),
        ("m.pt2", lambda: nn.utils.weight_norm(nn.Linear(12, 12))),
        ("m.onnx", Adapter),
    ],
)
def test_a_graph_computes_what_the_loaded_module_does_in_evaluation(tmp_path, name, make):
    module = make().train()
    assert "within" in exported(tmp_path, name, module).checked
    if name == "m.pt2":
        inputs, graph = torch.randn(3, 12), torch.export.load(tmp_path / name).module()
        torch.testing.assert_close(graph(inputs), module.eval()(inputs))


def test_a_graph_that_is_not_what_the_loaded_module_computes(tmp_path):
    class Halved(nn.Linear):
        def eval(self):
            self.weight.data *= 0.5
            return super().eval()

        def train(self, mode=True):
            self.weight.data *= 1 if mode else 0.5
            return super().train(mode)

    with pytest.raises(RunFailed, match=r"the [.]pt2 graph differs from PyTorch by"):
        exported(tmp_path, "m.pt2", Halved(12, 12))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["m.pt", "m.safetensors"])
def test_plain_weights_are_loaded_where_the_module_is_known(tmp_path, name):
    assert " and loaded into the module" in exported(tmp_path, name, nn.Linear(12, 12)).checked
    with pytest.raises(BadInput, match="the module does not fit the weights"):
        exported(tmp_path, f"one-way-{name}", Renamed(both_ways=False))
    with pytest.raises(RunFailed, match="tensor 'weight' of the module differs from the weights"):
        exported(tmp_path, f"scaling-{name}", Scaling())


def test_a_graph_of_a_model_that_draws_random_numbers_is_refused_with_that_reason(tmp_path):
    with pytest.raises(RunFailed, match="draws random numbers in evaluation: no graph of it can be compared"):
        exported(tmp_path, "m.onnx", nn.Sequential(nn.Linear(12, 12), Sampling()))


class Decoding(nn.Module):
    """A decoder, which looks at its mask's values for whether it is causal."""

    def __init__(self):
        super().__init__()
        self.layers = nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8, batch_first=True), 1)

    def forward(self, x):
        ahead = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.layers(x, x, tgt_mask=ahead)


def test_a_decoder_has_a_graph_for_any_number_of_rows():
    module, detect = Decoding().eval(), nn.modules.transformer._detect_is_causal_mask
    traced = trace(module, module.state_dict(), torch.randn(2, 5, 4))
    assert traced.dynamic and nn.modules.transformer._detect_is_causal_mask is detect
    rows = torch.randn(3, 5, 4)
    torch.testing.assert_close(traced.program.module()(rows), module(rows))
