"""A fresh module against the one that was trained: what differs is named, what cannot be said is noted.

What architectures of many habits come to is in `test_architectures`.
"""

import copy

import pytest
import torch
from architectures import Adapter, Cached, Through
from torch import nn
from trainees import scene_of

from qtrain_cli.errors import RunFailed
from qtrain_cli.models import LoadedModel
from qtrain_cli.results.measured import ONE_DRAW, UNCHECKED, UNREPEATABLE
from qtrain_cli.runs import fresh as fresh_models
from qtrain_cli.runs.fresh import Fresh, check, check_trained, fresh_module
from qtrain_cli.settings import ModelSettings
from qtrain_cli.targets.kept import settled
from qtrain_cli.targets.layout import layout_of

CPU = torch.device("cpu")
ROWS = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))


class Noisy(nn.Linear):
    """Draws from torch's stream, or from one that nobody seeds."""

    def __init__(self, seeded):
        super().__init__(12, 12)
        self.seeded, self.calls = seeded, None if seeded else torch.Generator().manual_seed(1)

    def forward(self, x):
        return super().forward(x) + torch.rand(x.shape, generator=self.calls)


class Padded(nn.Module):
    """Its padding row was set to other numbers than 0, as pretrained models have them."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(9, 4, padding_idx=-2), nn.Linear(4, 3)
        nn.init.ones_(self.table.weight)

    def forward(self, x):
        return self.head(self.table(x.long()).mean(1))


def prepare(rows):
    return rows


def checked(make):
    module = make()
    return check(scene_of(module, ROWS), make(), ROWS, prepare)


@pytest.mark.parametrize(
    ("part", "note"),
    [
        (lambda: nn.Linear(12, 12), None),
        (Adapter, None),
        (Cached, None),
        (lambda: Noisy(True), ONE_DRAW),
        (lambda: Noisy(False), UNREPEATABLE),
    ],
)
def test_what_is_said_of_the_figures(part, note):
    def make():
        return Through(part())

    assert checked(make).note == note


class Spoiled(nn.Linear):
    """Loading changes one number."""

    def __init__(self, place):
        super().__init__(12, 12)
        self.place = place

    def _load_from_state_dict(self, *given):
        super()._load_from_state_dict(*given)
        with torch.no_grad():
            self.weight.flatten()[self.place] += 1


@pytest.mark.parametrize("place", [0, 77, -1])
def test_one_number_that_loading_changes_is_found_in_any_part(place, monkeypatch):
    monkeypatch.setattr(fresh_models, "_AT_ONCE", 10)
    assert checked(lambda: Through(nn.Linear(12, 12))).note is None
    with pytest.raises(RunFailed, match=r"'part.weight' are changed by loading them"):
        checked(lambda: Through(Spoiled(place)))


def test_the_module_is_in_the_mode_that_it_had():
    torch.manual_seed(0)
    module = Through(nn.Sequential(nn.Linear(12, 12), nn.Dropout()))
    scene, fresh = scene_of(module, ROWS), copy.deepcopy(module)
    module.eval().part[0].train()
    modes = [part.training for part in module.modules()]
    check(scene, fresh, ROWS, prepare)
    assert [part.training for part in module.modules()] == modes


def test_without_a_fresh_module_the_figures_are_unchecked():
    module = Through(nn.Linear(12, 12))
    fresh = check(scene_of(module, ROWS), None, ROWS, prepare)
    assert fresh == Fresh(None, UNCHECKED)
    check_trained(fresh, module, module.state_dict(), ROWS, prepare)


def test_modules_that_compute_something_else_after_training_are_refused():
    def make():
        torch.manual_seed(0)
        return Through(Cached(stale=True))

    trained, fresh = make(), make()
    fresh.part.kept = trained.part.weight.detach() + 1
    with pytest.raises(
        RunFailed, match=r"a fresh module with the same tensors has outputs .*'part.kept' differ"
    ) as caught:
        check_trained(Fresh(fresh), trained, trained.state_dict(), ROWS, prepare)
    assert caught.value.exit_code == 1 and "keep in parameters and buffers" in caught.value.advice


def test_a_fresh_module_has_other_weights_and_the_same_bytes(tmp_path):
    code = tmp_path / "net.py"
    code.write_text("from torch import nn\ndef Net(): return nn.Linear(3, 2)\n")
    path = tmp_path / "net.pt"
    torch.save(nn.Sequential(nn.Linear(3, 2)), path)
    bare, whole = ModelSettings(path, f"{code}:Net"), ModelSettings(path)
    loaded = LoadedModel(nn.Linear(3, 2), "net.pt", "torch", "stock-layers", "0" * 64)
    one, other = (fresh_module(bare, loaded, CPU) for _ in range(2))
    assert torch.equal(one.weight, other.weight)
    assert fresh_module(whole, loaded, CPU) is None  # the file holds other bytes by now
    code.unlink()
    assert fresh_module(bare, loaded, CPU) is None


def test_a_padding_row_that_is_not_zero_is_checked_as_it_is():
    rows = torch.randint(0, 9, (20, 5), generator=torch.Generator().manual_seed(0)).float()
    module, again = Padded(), Padded()
    again.load_state_dict(module.state_dict())
    layout = settled(layout_of(module), module.state_dict(keep_vars=True), dict)
    assert [entry.stored for entry in layout.entries if entry.row >= 0] == ["F32"]
    assert isinstance(check(scene_of(module, rows, layout), again, rows, prepare), Fresh)
