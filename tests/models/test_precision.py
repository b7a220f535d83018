"""In what precision a model reads its inputs, and what is said of one that does not take them."""

import numpy as np
import pytest
import torch
from torch import nn

from qtrain_cli.errors import BadInput
from qtrain_cli.models.call import call_model, predict
from qtrain_cli.models.precision import advice_on, precision_of


class Net(nn.Module):
    """Parameters of several dtypes, a float64 buffer before them, and a counter in a buffer."""

    def __init__(self, first, body, last):
        super().__init__()
        self.register_buffer("grid", torch.ones(3, dtype=torch.float64))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.scale = nn.Parameter(torch.ones(2, dtype=first))
        self.body, self.last = nn.Linear(4, 3).to(body), nn.Linear(3, 2).to(last)

    def forward(self, x):
        self.calls += 1
        hidden = (self.body(x) * self.grid).to(self.last.weight.dtype)
        return self.last(hidden) * self.scale

    def tensors(self):
        return self.state_dict(keep_vars=True)


@pytest.mark.parametrize("body", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("first", [torch.float32, torch.float64, torch.bfloat16])
def test_inputs_take_the_dtype_of_the_parameters_that_read_them(first, body):
    module = Net(first, body, torch.float32).eval()
    inputs = torch.rand(5, 4, dtype=torch.float64)
    assert precision_of(module, inputs) == body
    assert int(module.calls) == 0 and not module.training, "asking leaves no trace"
    assert call_model(module, dict(module.tensors()), inputs).shape == (5, 2)


def test_a_buffer_has_no_say_and_nothing_is_asked_without_need():
    module = nn.BatchNorm1d(4)
    module.running_mean = module.running_mean.double()
    assert precision_of(module, torch.rand(3, 4)) == torch.float32
    assert int(module.num_batches_tracked) == 0


def test_whole_numbers_stay_whole():
    module = nn.Embedding(5, 2)
    assert predict(module, module.state_dict(), torch.tensor([[1], [2]]), lambda rows: rows).shape == (
        2,
        1,
        2,
    )


@pytest.mark.parametrize(
    ("module", "inputs", "advice"),
    [
        (nn.BatchNorm1d(4).train(), torch.rand(1, 4), "use a --batch-size that leaves no batch of one row"),
        (nn.Linear(4, 2), torch.rand(2, 5), "check --arch and the data's shape"),
        (
            nn.Linear(4, 2),
            torch.ones(2, 4, dtype=torch.int64),
            "check the inputs' dtype: int64",
        ),
        (nn.Embedding(5, 2), torch.rand(2, 3), "the model looks its inputs up in a table"),
        (nn.Embedding(5, 2), torch.full((2, 3), 9), "a number in the data is beyond the model's table"),
        (nn.Unflatten(0, (3, 4)), torch.rand(2, 4), "check --arch and the data's shape"),
        (
            nn.Bilinear(2, 2, 2),
            torch.rand(2, 4),
            "give all of its inputs",
        ),
    ],
)
def test_the_advice_is_about_the_error(module, inputs, advice):
    with pytest.raises(BadInput) as caught:
        call_model(module, module.state_dict(), inputs)
    assert caught.value.advice.startswith(advice)
    assert ("--batch-size" in caught.value.advice) == ("--batch-size" in advice)


def test_a_number_of_rows_in_the_code():
    with pytest.raises(RuntimeError) as caught:
        torch.rand(3, 4).view(2, 8)
    assert "--batch-size" in advice_on(caught.value)


class Drawing(Net):
    """Draws by NumPy in its forward."""

    def forward(self, x):
        return super().forward(x) + np.random.rand()


def test_asking_draws_no_random_numbers_of_anyone_elses():
    np.random.seed(0)
    before = np.random.get_state()[1:3]
    precision_of(Drawing(torch.float64, torch.float32, torch.float32).eval(), torch.rand(5, 4))
    assert str(np.random.get_state()[1:3]) == str(before)
