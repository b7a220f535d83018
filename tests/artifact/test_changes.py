"""Files of changes: the page alone reads them, hostile ones are refused, and theta_0 is the base."""

from __future__ import annotations

import json
from dataclasses import replace

import format_reader
import pytest
import torch
from formats.add import Base

from qtrain_cli.artifact.container import canonical, container_of
from qtrain_cli.artifact.description import Description, Digest, describe_container
from qtrain_cli.artifact.example import Example
from qtrain_cli.artifact.numbers import (
    Artifact,
    Coded,
    StoredNumbers,
    decode_artifact,
    encode_artifact,
    file_of,
    forms_of,
)
from qtrain_cli.artifact.payload import DICTIONARY, deflated, text_at
from qtrain_cli.errors import BadInput, Refused
from qtrain_cli.methods.generator.generator import Generator
from qtrain_cli.methods.method import Scene
from qtrain_cli.methods.moved import decoder
from qtrain_cli.methods.table import METHODS, OURS, method_of, serving
from qtrain_cli.models.heads import put_head
from qtrain_cli.runs.grounds import BaseModel, base_of_module, changed_layout, ground_of_file
from qtrain_cli.runs.regenerate import digest_of, generated, regenerate
from qtrain_cli.targets.change import HEAD_WEIGHT, Change, factor_of, matrix_of, parse_target
from qtrain_cli.targets.change import Base as Named
from qtrain_cli.targets.ground import digest_of_tensors

CPU = torch.device("cpu")


def changed(target, method=OURS, lacking=()):
    """A file of changes with drawn codes, and its base's tensors, but those that it is to lack."""
    module = Base()
    base = replace(base_of_module(module, "small"), wanted=parse_target(target), head="mean", taught=False)
    own = {name: tensor.clone() for name, tensor in base.tensors.items() if name not in lacking}
    tensors = {name: tensor.clone().numpy() for name, tensor in own.items()}
    base = replace(base, tensors=own, ties={name: name for name in own}, sha256=digest_of_tensors(own))
    put_head(module, 6, 3, "mean")
    patterns = (("layers",), ()) if "lora" in target else ((), ())
    layout, ground = changed_layout(module, base, patterns, 5)
    scene = Scene(module, dict(module.state_dict()), layout, (6,), (3,), 1, CPU, None, ground, False)
    row = method_of(method)
    plan = row.plan(scene, 3)
    layout = row.layout(scene) if row.layout else layout
    draw, groups = torch.Generator().manual_seed(1), {}
    for name, form in forms_of(method, plan, layout).items():
        codes = torch.randint(-3, 4, form.shape, generator=draw)
        groups[name] = Coded(codes, 0.0625) if form.coded else torch.tensor([1.5, 0.25])
    numbers = StoredNumbers(groups, {})
    made = generated(method, plan, layout, numbers, moves=True)
    digest = digest_of(layout, made, {}, ground)
    blank = Description(method, plan, layout, digest, Example("F32", (6,)), None, ground.change)
    return Artifact(blank, numbers), ground, tensors


@pytest.mark.parametrize("target", ["delta:scale=0.5", "lora:rank=2,scale=0.25", "lora-xs:rank=2,scale=0.25"])
def test_the_page_alone_gives_the_same_tensors(target):
    artifact, ground, base = changed(target)
    data = encode_artifact(artifact)
    found = format_reader.read(data, base)
    assert found.sha256 == found.digest == artifact.description.digest.sha256
    own = decode_artifact(container_of("x", data))
    state = regenerate(own, None, ground).state
    assert HEAD_WEIGHT in found.state and len(found.state) == len(artifact.description.layout.entries)
    for name, content in found.state.items():
        assert state[name].contiguous().numpy().tobytes() == content


def test_several_matrices_that_a_base_lacks_begin_seeded_as_the_page_says():
    artifact, ground, base = changed("delta", lacking=("layers.1.weight",))
    assert ground.change.start and not changed("delta")[1].change.start
    found = format_reader.read(encode_artifact(artifact), base)
    assert found.sha256 == artifact.description.digest.sha256
    state = ground.state(artifact.description.layout, {}, zeros_of(artifact))
    assert all(bool(state[name].std() > 0.1) for name in ("layers.1.weight", HEAD_WEIGHT))


@pytest.mark.parametrize("method", ["ours", "bitfit", "linear-probe", "subspace"])
def test_every_method_begins_there_whatever_else_it_changes(method):
    artifact, ground, base = changed("delta", method, ("layers.1.weight",))
    own = decode_artifact(container_of("x", encode_artifact(artifact)))
    tensors = {name: torch.from_numpy(tensor) for name, tensor in base.items()}
    there = BaseModel("small", tensors, {name: name for name in tensors}, digest_of_tensors(tensors))
    found = ground_of_file(own.description.change, own.description.layout, there)
    assert torch.equal(found.tensors["layers.1.weight"], ground.tensors["layers.1.weight"])
    assert regenerate(own, None, found).exact


def zeros_of(artifact):
    """Nothing moved yet."""
    entries = artifact.description.layout.entries
    return {entry.name: torch.zeros(entry.shape, dtype=torch.float64) for entry in entries}


@pytest.mark.parametrize("method", serving(changes=True))
@pytest.mark.parametrize("target", ["delta", "lora:rank=2", "lora-xs:rank=2"])
def test_before_training_every_method_is_the_base_itself(method, target):
    wanted = METHODS[method].target
    if wanted and wanted.partition(":")[0] != target.partition(":")[0]:
        pytest.skip("it writes changes in a form of its own")
    artifact, ground, base = changed(target, method)
    row, plan, layout = method_of(method), artifact.description.plan, artifact.description.layout
    scene_start = row.origin(
        plan, {name: torch.zeros(form.shape) for name, form in row.forms(layout, plan).items()}
    )
    at_start = {
        name: Coded(torch.zeros(form.shape, dtype=torch.int64), 0.0625)
        if form.coded
        else torch.tensor([1.5, 0.25])
        for name, form in row.forms(layout, plan).items()
    }
    assert scene_start.keys() == at_start.keys()
    made = generated(method, plan, layout, StoredNumbers(at_start, {}), moves=True)
    assert all(bool((tensor == 0).all()) for tensor in made.values())
    state = ground.state(layout, {}, made)
    assert all(torch.equal(state[name], torch.from_numpy(base[name])) for name in base)
    moved = ground.state(layout, {}, generated(method, plan, layout, artifact.numbers, moves=True))
    assert any(not torch.equal(moved[name], state[name]) for name in moved)


def test_a_new_serving_row_is_either_for_models_or_for_changes():
    assert set(serving(True)) | set(serving(False)) == set(METHODS)
    assert "narrow" not in serving(True) and "linear-probe" not in serving(False)


def test_training_and_regeneration_agree():
    for target in ("delta", "lora:rank=2", "lora-xs:rank=3"):
        artifact, ground, _ = changed(target)
        layout = artifact.description.layout
        made = generated(OURS, artifact.description.plan, layout, artifact.numbers, moves=True)
        exact = ground.changed(layout, made)
        single = ground.changed(layout, {name: tensor.float() for name, tensor in made.items()})
        for name in exact:
            torch.testing.assert_close(single[name], exact[name], rtol=1e-5, atol=1e-6)


def test_another_base_is_refused_with_both_digests():
    artifact, ground, _ = changed("delta")
    other = Base()
    other.layers[0].bias.data[0] += 2.0**-20
    with pytest.raises(Refused) as error:
        ground_of_file(ground.change, artifact.description.layout, base_of_module(other, "other"))
    for digest in (ground.change.base.sha256, digest_of_tensors(other.state_dict())):
        assert digest[:16] in error.value.message


def test_the_digest_of_a_base_is_of_its_tensors_alone():
    torch.manual_seed(0)
    state = {
        "b": torch.arange(6.0).view(2, 3),
        "a": torch.zeros((), dtype=torch.int64),
        "e": torch.zeros(0, 2),
    }
    found = digest_of_tensors(state)
    assert found == digest_of_tensors(dict(reversed(state.items())))
    assert found == "f9b7fa74e1c35540191ffa45d28809649c1e892346010edcfcba4d04587b3a34"
    changes = {
        "value": {**state, "b": state["b"] + 1e-7 * torch.eye(2, 3)},
        "shape": {**state, "b": state["b"].view(3, 2)},
        "dtype": {**state, "b": state["b"].double()},
        "name": {("c" if name == "b" else name): tensor for name, tensor in state.items()},
        "empty": {**state, "e": torch.zeros(2, 0)},
    }
    assert len({found, *map(digest_of_tensors, changes.values())}) == 6
    assert (
        digest_of_tensors({"b": state["b"].t().contiguous().t(), "a": state["a"], "e": state["e"]}) == found
    )


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
@pytest.mark.parametrize("shape", [(4,), (1, 4), (2, 3, 4)])
def test_positions_that_one_version_of_a_class_stores_are_no_part_of_the_base(shape, dtype):
    state = {"b": torch.arange(6.0).view(2, 3), "n": torch.tensor(3), "one": torch.zeros(1, dtype=dtype)}
    positions = torch.arange(4, dtype=dtype).expand(shape)
    stored = {**state, "a.position_ids": positions.contiguous()}
    found = digest_of_tensors(state)
    assert digest_of_tensors(stored) == found == digest_of_tensors(state, positions=True)
    before = digest_of_tensors(stored, positions=True)
    assert before != found
    base = BaseModel("b", stored, {name: name for name in stored}, digest_of_tensors(stored))
    assert base.is_named_by(found) and base.is_named_by(before) and not base.is_named_by("0" * 64)
    for other in (positions + 1, positions.float(), positions.flip(-1), positions[..., :1]):
        assert digest_of_tensors({**stored, "a.position_ids": other.contiguous()}) != found


@pytest.mark.parametrize("dtype", [torch.uint16, torch.complex64])
def test_a_tensor_of_a_kind_that_no_base_has_is_named(dtype):
    with pytest.raises(BadInput, match="tensor 'n' is"):
        digest_of_tensors({"n": torch.zeros(3, dtype=dtype)})


@pytest.mark.parametrize(
    "row",
    [
        ["delta", "n", 9, 0, 1.0, 0],
        ["delta", "n", 9, 1, 1.0, 0, 0],
        ["lora", "n", 9, 0, 1.0, 0, 0],
        ["lora", "n", 9, 4097, 1.0, 0, 0],
        ["lora", "n", 9, 4, 1, 0, 0],
        ["lora", "n", 9, 4, float("nan"), 0, 0],
        ["lora", "n", 9, 4, -1.0, 0, 0],
        ["lora", "n", 9, True, 1.0, 0, 0],
        ["lora", "n", 9, 4, 1.0, -1, 0],
        ["lora", "n", 9, 4, 1.0, 0, -1],
        ["lora", "n\n", 9, 4, 1.0, 0, 0],
        ["lora", "n", 0, 4, 1.0, 0, 0],
        ["lora", "n", 9, 4, 1.0, 0, 0, "max"],
        ["lora", "n", 9, 4, 1.0, 0, 0, "", "p" * 300],
        ["whole", "n", 9, 0, 1.0, 0, 0],
        "lora",
    ],
)
def test_what_no_change_can_be_is_refused(row):
    with pytest.raises(BadInput):
        Change.from_stored(row, "0" * 64)


def test_a_change_comes_back():
    for change in (
        Change("lora", Named("a" * 64, "base", 12), 4, 0.25, 3, 99, "bert.", "first"),
        Change("lora", Named("a" * 64, "base", 12), 4, 0.25, 3, 99, "bert.", ""),
        Change("delta", Named("0" * 64, "", 1)),
    ):
        assert Change.from_stored(change.stored(), change.base.sha256) == change
    assert matrix_of(factor_of("a.query.weight")) == "a.query.weight" == matrix_of("a.query.weight")
    assert factor_of("in_proj_weight") == "lora_B.in_proj_weight"
    assert matrix_of(factor_of("attn.in_proj_weight")) == "attn.in_proj_weight"


@pytest.mark.parametrize("part", ["base", "target", "layout"])
def test_a_file_that_was_tampered_with_is_refused(part):
    artifact, ground, _ = changed("lora:rank=2")
    description = artifact.description
    if part == "base":
        other = replace(ground.change, base=replace(ground.change.base, sha256="f" * 64))
    else:
        other = replace(ground.change, scale=0.3) if part == "target" else ground.change
    layout = description.layout
    if part == "layout":
        entries = [replace(e, name=e.name.replace("layers.0", "layers.9")) for e in layout.entries]
        layout = replace(layout, entries=tuple(entries))
    changed_file = Artifact(replace(description, change=other, layout=layout), artifact.numbers)
    own = decode_artifact(container_of("x", encode_artifact(changed_file)))
    base = base_of_module(Base(), "small")
    with pytest.raises((Refused, BadInput)):
        found = ground_of_file(own.description.change, own.description.layout, base)
        regenerate(own, None, found)
    assert isinstance(description.digest, Digest)


@pytest.mark.parametrize(
    ("target", "kind", "said"),
    [
        (["sparse", "base", 1000], BadInput, "has the target 'sparse'; a newer qtrain reads it"),
        (["lora", "base", 1000, 2, 0.25, 5, 120, "mean", ""], Refused, "not what an honest writer writes"),
        (["lora", "base", 1000, 3, 0.25, 5, 120, "mean"], Refused, "has the shape"),
        (["lora", "base"], Refused, "its target is"),
        ("lora", Refused, "its target is"),
        (7, Refused, "its target is"),
    ],
)
def test_what_stands_for_a_target_is_checked(target, kind, said):
    data = encode_artifact(changed("lora:rank=2,scale=0.25")[0])
    payload = data[8 + int.from_bytes(data[:8], "little") :]
    text, rest = text_at(payload, 16, DICTIONARY)
    facts = {**json.loads(text), "target": target}
    edited = file_of(payload[:16] + deflated(canonical(facts).encode(), DICTIONARY) + rest)
    with pytest.raises(kind) as error:
        describe_container(container_of("x", edited))
    assert said in error.value.message + "; " + error.value.advice


def test_a_head_without_its_matrix_is_refused_before_a_base_is_asked():
    """A stranger's file: else the reader would look for a tensor that is not there."""
    artifact, _, _ = changed("delta")
    description = artifact.description
    entries = tuple(entry for entry in description.layout.entries if entry.name != HEAD_WEIGHT)
    plan = {**description.plan, "circuit": ["real-amplitudes", "cnot-ring", 7, 3, 1]}
    layout = replace(description.layout, entries=entries)
    numbers = StoredNumbers(dict(artifact.numbers.groups), {})
    shape = forms_of(OURS, plan, layout)["angles"].shape
    numbers.groups["angles"] = Coded(torch.ones(shape, dtype=torch.int64), 0.0625)
    data = encode_artifact(Artifact(replace(description, layout=layout, plan=plan), numbers))
    with pytest.raises(Refused, match=r"has no matrix 'head\.weight'"):
        describe_container(container_of("x", data))


def test_a_factor_of_a_number_is_refused():
    artifact, ground, _ = changed("lora:rank=2")
    tensors = {name: torch.tensor(1.0) for name in ground.tensors if name != HEAD_WEIGHT}
    base = BaseModel("x", tensors, {name: name for name in tensors}, ground.change.base.sha256)
    with pytest.raises(BadInput, match="does not fit"):
        ground_of_file(ground.change, artifact.description.layout, base)


def test_training_asks_the_start_of_the_circuits_once(monkeypatch):
    artifact, _, _ = changed("delta")
    plan, layout = artifact.description.plan, artifact.description.layout
    decode = decoder(method_of(OURS), layout, plan, CPU, moves=True)
    asked, real = [], Generator.all_probabilities

    def all_probabilities(self, theta, *rest):
        asked.append(theta)
        return real(self, theta, *rest)

    monkeypatch.setattr(Generator, "all_probabilities", all_probabilities)
    forms = method_of(OURS).forms(layout, plan)
    numbers = {name: torch.full(form.shape, 0.5) for name, form in forms.items()}
    first, again = decode(numbers), decode(numbers)
    assert len(asked) == 3 and sum(theta is numbers["angles"] for theta in asked) == 2
    assert all(torch.equal(first[name], again[name]) and bool(first[name].any()) for name in first)
