"""Hostile model files: refused with exit code 4 and one line, nothing run, memory bounded.

Each file that runs code is first given to a trusting reader, to see that the trap works.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from benchmarks.peak import forget, highest

from qtrain_cli.errors import BadInput, Refused
from qtrain_cli.models import describe_model, load_model
from qtrain_cli.models.untrusted.graph_checks import is_arithmetic, is_plain_operator
from qtrain_cli.settings import ModelSettings


def _maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_models", Path(__file__).with_name("make_models.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKER = _maker()
RAISED_MEMORY_LIMIT = 512 * 2**20  # bytes by which the peak may rise: far below what the files ask for


def trusting_read(path: Path) -> None:
    """What a careless program does with the file."""
    if path.suffix == ".pkl":
        pickle.loads(path.read_bytes())
    elif path.suffix == ".pt2":
        torch.export.load(path).module()(*MAKER.EXAMPLE)
    else:
        torch.load(path, weights_only=False)


@pytest.mark.parametrize("name", [*MAKER.RUNNING, *MAKER.HARMLESS])
def test_the_trap_works(tmp_path: Path, name: str) -> None:
    path = MAKER.make(name, tmp_path)
    assert not (tmp_path / MAKER.CANARY).exists()
    logging.disable(logging.CRITICAL)
    try:
        trusting_read(path)
    except Exception:
        pass  # the canary is what matters, most files are broken otherwise
    finally:
        logging.disable(logging.NOTSET)
    assert (tmp_path / MAKER.CANARY).exists()


@pytest.mark.parametrize("name", [*MAKER.RUNNING, *MAKER.REFUSED])
def test_hostile_files_are_refused(tmp_path: Path, name: str) -> None:
    arch = None if name.endswith(".pt2") else "torch.nn:Linear"  # does not matter: never asked for
    path = MAKER.make(name, tmp_path)
    forget()
    before = highest()
    with pytest.raises(Refused) as caught:
        load_model(ModelSettings(path, arch=arch))
    assert caught.value.exit_code == 4
    assert "\n" not in caught.value.message + caught.value.advice
    assert not (tmp_path / MAKER.CANARY).exists()
    assert highest() - before < RAISED_MEMORY_LIMIT


@pytest.mark.parametrize("name", [*MAKER.RUNNING, *MAKER.REFUSED])
def test_hostile_files_are_described_without_running_them(tmp_path: Path, name: str) -> None:
    path = MAKER.make(name, tmp_path)
    try:
        facts = describe_model(path)
    except Refused:
        assert name in ("compressed.pt", "graph_compressed.pt2"), "only bombs may not be looked into"
    else:
        assert facts["needs_trust"] and facts["reasons"]
    assert not (tmp_path / MAKER.CANARY).exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plain_pickle.pkl", "wants to run io.open"),
        ("checkpoint.pt", "wants to run io.open"),
        ("legacy_checkpoint.th", "wants to run io.open"),
        ("new_protocol.pt", "wants to run io.open"),
        ("stock_with_foreign.pt", "wants to run io.open"),
        ("stock_with_constructor.pt", "'child' calls the constructor of Linear"),
        ("stock_with_hook.pt", "replaces _forward_hooks of Sequential"),
        ("stock_with_forward.pt", "replaces forward of Sequential"),
        ("stock_with_stray_layer.pt", "'note' is a torch.nn.modules.linear.Linear and not plain data"),
        ("stock_with_cycle.pt", "contains itself"),
        ("huge_tensor.pt", "'weight' has the shape [1000000000000]"),
        ("huge_bytearray.pt", "wants to run builtins.bytearray"),
        ("huge_result.pt", "'note' is a torch.nn.functional.relu and not plain data"),
        ("old_graph.pt2", "PyTorch 2.7 or older"),
        ("compressed.pt", "claims to hold 50000002"),
        ("graph_pickled_weight.pt2", "the tensor 'first.bias', which is stored as a pickle"),
        ("graph_opaque_constant.pt2", "the record 'data/constants/opaque_obj_0'"),
        ("graph_library.pt2", "the record 'data/aotinductor/model/model.so'"),
        ("graph_expression.pt2", 'the expr_str "open('),
        ("graph_operator.pt2", "the operator 'torch.os.mkdir'"),
        ("graph_reshape_alias.pt2", "the operator 'torch.ops.aten._reshape_alias.default'"),
        ("graph_set.pt2", "the operator 'torch.ops.aten.set_.source_Tensor'"),
        ("graph_resize.pt2", "the operator 'torch.ops.aten.resize_.default'"),
        ("graph_out.pt2", "the operator 'torch.ops.aten.relu.out'"),
        ("graph_custom.pt2", "the operator 'torch.ops.quantized.linear.default'"),
        ("graph_write_input.pt2", "aten.relu_.default' on 'input', which is an input or a weight"),
        ("graph_file_operator.pt2", "the operator 'torch.ops.aten.from_file.default'"),
        ("graph_name.pt2", 'the key "input=open('),
        ("graph_compressed.pt2", "claims to hold 5"),
    ],
)
def test_the_refusal_says_what_is_wrong(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        load_model(ModelSettings(MAKER.make(name, tmp_path)))
    assert words in caught.value.message


def _program_edit(**changes: object) -> tuple[str, Callable[[bytes], bytes]]:
    return "models/model.json", MAKER.edited(lambda program: program.update(changes))


def _weights_edit(edit: Callable[[dict], None]) -> tuple[str, Callable[[bytes], bytes]]:
    return "data/weights/model_weights_config.json", MAKER.edited(lambda document: edit(document["config"]))


def _tree_edit(tree: dict[str, object]) -> tuple[str, Callable[[bytes], bytes]]:
    def edit(program: dict) -> None:
        program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps([1, tree])

    return "models/model.json", MAKER.edited(edit)


ENUM = json.dumps({"__enum__": True, "fqn": "os:environ", "name": "HOME"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_program_edit(range_constraints={"s0 + open(1)": {}}), "the key 's0 + open(1)'"),
        (_program_edit(verifiers=["a b"]), "the verifiers 'a b'"),
        (_tree_edit({"type": "builtins.dict", "context": ENUM, "children_spec": []}), "the out_spec"),
        (_tree_edit({"type": "enum.Enum", "context": "null", "children_spec": []}), "the out_spec"),
        (_tree_edit({"type": "builtins.dict", "context": '["a b"]', "children_spec": []}), "the out_spec"),
        (
            _weights_edit(lambda config: config.update({"a)": config["first.bias"]})),
            "the tensor 'a)', which has no plain name",
        ),
        (
            _weights_edit(lambda config: config.update({"a" * 1025: config["first.bias"]})),
            f"the tensor '{'a' * 80}', which has no plain name",
        ),
        (
            _weights_edit(
                lambda config: config["first.bias"]["tensor_meta"].update(sizes=[{"as_int": 10**9}])
            ),
            "the tensor 'first.bias', which is larger than the file: [1000000000]",
        ),
        (
            _weights_edit(lambda config: config["first.bias"].update(path_name="../weight_0")),
            "the tensor 'first.bias', which is stored as '../weight_0'",
        ),
    ],
)
def test_each_part_of_a_graph_is_checked(tmp_path: Path, change: tuple, words: str) -> None:
    MAKER.rewrite(tmp_path / "graph.pt2", dict([change]))
    with pytest.raises(Refused) as caught:
        load_model(ModelSettings(tmp_path / "graph.pt2"))
    assert words in caught.value.message


@pytest.mark.parametrize("name", [*MAKER.HARMLESS])
def test_what_runs_code_is_left_out(tmp_path: Path, name: str) -> None:
    path = MAKER.make(name, tmp_path)
    assert not describe_model(path)["needs_trust"]
    module = load_model(ModelSettings(path)).module
    module(*MAKER.EXAMPLE)
    assert not (tmp_path / MAKER.CANARY).exists()


def test_trust_is_what_it_says(tmp_path: Path) -> None:
    path = MAKER.make("stock_with_foreign.pt", tmp_path)
    assert load_model(ModelSettings(path, trust_pickle=True)).trust == "trusted-pickle"
    assert (tmp_path / MAKER.CANARY).exists()


def test_a_trusted_old_graph_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot be read as a \.pt2 archive"):
        load_model(ModelSettings(MAKER.make("old_graph.pt2", tmp_path), trust_pickle=True))


def _honest(folder: Path) -> dict[str, Callable[[Path], None]]:
    from safetensors.torch import save_file

    return {
        "state.pt": lambda path: torch.save(MAKER.network().state_dict(), path),
        "module.pt": lambda path: torch.save(MAKER.network(), path),
        "legacy.th": lambda path: torch.save(
            MAKER.network().state_dict(), path, _use_new_zipfile_serialization=False
        ),
        "state.safetensors": lambda path: save_file(MAKER.network().state_dict(), path),
        "graph.pt2": MAKER.make_graph,
    }


@pytest.mark.parametrize("name", ["state.pt", "module.pt", "legacy.th", "state.safetensors", "graph.pt2"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.97])
def test_truncated_files_are_bad_input(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    _honest(tmp_path)[name](path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(BadInput) as caught:
        load_model(ModelSettings(path, arch=None if name == "graph.pt2" else "torch.nn:Identity"))
    assert caught.value.exit_code == 2 and "\n" not in caught.value.message
    assert "does not fit" not in caught.value.message or name == "legacy.th"


@pytest.mark.parametrize("name", ["state.pt", "module.pt", "legacy.th", "state.safetensors", "graph.pt2"])
def test_flipped_bytes_never_crash(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    _honest(tmp_path)[name](path)
    honest = path.read_bytes()
    for position in range(0, len(honest), max(1, len(honest) // 40)):
        path.write_bytes(honest[:position] + bytes([honest[position] ^ 0x55]) + honest[position + 1 :])
        try:
            load_model(
                ModelSettings(path, arch=None if name in ("module.pt", "graph.pt2") else "torch.nn:Identity")
            )
        except (BadInput, Refused) as error:
            assert "\n" not in error.message


@pytest.mark.parametrize(
    "change", [{"tensor_meta": None}, {"tensor_meta": {"dtype": 7, "sizes": [{"as_int": {}}]}}]
)
def test_a_graph_that_describes_its_tensors_wrongly(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "graph.pt2"
    edit = MAKER.edited(lambda document: document["config"]["first.bias"].update(change))
    MAKER.rewrite(path, {"data/weights/model_weights_config.json": edit})
    with pytest.raises(BadInput, match="describes its tensors wrongly"):
        describe_model(path)


@pytest.mark.parametrize(
    "text", ["s0", "2*s0 + 1", "Symbol('s31', positive=True, integer=True)", "FloorDiv(s0 - 1, 2) + 1",
             "Max(1, s0)", "Pow(Symbol('s0'), Integer(2))", "Eq(Mod(s0, 2), 0)", "-1.5e-3*u0"]
)  # fmt: skip
def test_sizes_that_are_arithmetic(text: str) -> None:
    assert is_arithmetic(text)


@pytest.mark.parametrize(
    "text",
    ["open('x')", "__import__('os')", "s0.__class__", "().__class__", "[s0]", "lambda: 0", "f'{s0}'", "sys",
     "Symbol('s0 + x')", "Symbol('__import__')", "Mul('open(1)')", "s0 if s1 else s2", "(s0 := 3)",
     "9**9**9", "Pow(9, Pow(9, 9))", "Pow(9, 99)", "9 << 9", "((((9**8)**8)**8)**8)**8", "1" * 40,
     "s0+" * 400 + "1", "(" * 300, ""]
)  # fmt: skip
def test_sizes_that_are_not(text: str) -> None:
    assert not is_arithmetic(text)


@pytest.mark.parametrize(
    ("target", "plain"),
    [
        ("torch.ops.aten.conv2d.default", True),
        ("_operator.getitem", True),
        ("torch.sym_max", True),
        ("torch.ops.aten.add_.Tensor", True),
        ("torch.ops.aten.from_file.default", False),
        ("torch.ops.aten.as_strided.default", False),
        ("torch.ops.aten._reshape_alias.default", False),
        ("torch.ops.aten._unsafe_index.Tensor", False),
        ("torch.ops.aten.empty.memory_format", False),
        ("torch.ops.aten.add.out", False),
        ("torch.ops.aten.squeeze_.default", False),
        ("torch.ops.aten.lstm.input", True),
        ("torch.ops.aten.lstm.data", False),
        ("torch.ops.aten._native_multi_head_attention.default", False),
        ("torch.ops.aten.save.default", False),
        ("torch.ops.aten.no_such_operator.default", False),
        ("torch.ops.aten.conv2d.__class__", False),
        ("torch.ops.higher_order.cond", False),
        ("torch.load", False),
        ("_operator.methodcaller", False),
    ],
)
def test_operators(target: str, plain: bool) -> None:
    assert is_plain_operator(target) == plain
