"""Makes model files that must be refused.

    python tests/hostile/make_models.py FOLDER

Where a file runs code, what it does is harmless: it creates the file `CANARY` in the folder. So a reader
that was fooled leaves a trace, and a test can show first that the trap works. Nothing here is committed as a
binary: the files are made anew in a temporary folder. What costs memory or time: `make_pickles.py`.
"""

from __future__ import annotations

import json
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

CANARY = "CANARY"
EXAMPLE = (torch.zeros(2, 4),)


class Payload:
    """Unpickled, it creates the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.canary), "w")


class HugeLayer(nn.Module):
    """Unpickled, it calls the constructor of a stock layer with a size that fills the memory."""

    def __reduce__(self) -> tuple[Any, ...]:
        return nn.Linear, (1_000_000, 1_000_000)


class HugeBytes:
    """Unpickled, it fills the memory through a name that PyTorch's restricted unpickler allows."""

    def __reduce__(self) -> tuple[Any, ...]:
        return bytearray, (10**12,)


class HugeResult:
    """Unpickled, it has a function that layers may keep write out a number that is shown many times."""

    def __reduce__(self) -> tuple[Any, ...]:
        return nn.functional.relu, (torch.zeros(1).expand(3 * 10**8),)


def network() -> nn.Sequential:
    """A small honest network of stock layers, (N, 4) to (N, 2)."""
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(first=nn.Linear(4, 8), act=nn.ReLU(), last=nn.Linear(8, 2))).eval()


class Attention(nn.Module):
    """Attention of each place over all, (N, T, 8) to (N, T, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.all = nn.Linear(8, 24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.scaled_dot_product_attention(*self.all(x).chunk(3, -1), is_causal=True)


class Recurrent(nn.Module):
    """The outputs of a recurrent layer without its states."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


def with_attribute(name: str, value: Any) -> nn.Sequential:
    """The honest network with one attribute put past `nn.Module`'s own checks."""
    model = network()
    vars(model)[name] = value
    return model


def with_child(child: nn.Module) -> nn.Sequential:
    """The honest network with one more layer."""
    model = network()
    model.add_module("child", child)
    return model


def with_cycle() -> nn.Sequential:
    """A network that is its own layer."""
    model = network()
    vars(model)["_modules"]["self"] = model
    return model


# -- pickles ---------------------------------------------------------------------------------------------


def make_plain_pickle(path: Path, canary: Path) -> None:
    path.write_bytes(pickle.dumps(Payload(canary), protocol=4))


def make_checkpoint(path: Path, canary: Path) -> None:
    torch.save({"state_dict": network().state_dict(), "note": Payload(canary)}, path)


def make_legacy_checkpoint(path: Path, canary: Path) -> None:
    tree = {"state_dict": network().state_dict(), "note": Payload(canary)}
    torch.save(tree, path, _use_new_zipfile_serialization=False)


def make_new_protocol(path: Path, canary: Path) -> None:
    torch.save({"state_dict": network().state_dict(), "note": Payload(canary)}, path, pickle_protocol=4)


def make_stock_with_foreign(path: Path, canary: Path) -> None:
    torch.save(with_attribute("note", Payload(canary)), path)


def make_stock_with_constructor(path: Path, canary: Path) -> None:
    torch.save(with_child(HugeLayer()), path)


def make_stock_with_hook(path: Path, canary: Path) -> None:
    torch.save(with_attribute("_forward_hooks", OrderedDict({0: nn.functional.relu})), path)


def make_stock_with_forward(path: Path, canary: Path) -> None:
    torch.save(with_attribute("forward", nn.functional.relu), path)


def make_stock_with_stray_layer(path: Path, canary: Path) -> None:
    torch.save(with_attribute("note", nn.Linear(2, 2)), path)


def make_stock_with_cycle(path: Path, canary: Path) -> None:
    torch.save(with_cycle(), path)


def make_huge_tensor(path: Path, canary: Path) -> None:
    torch.save({"weight": torch.zeros(1).expand(10**12)}, path)


def make_huge_bytearray(path: Path, canary: Path) -> None:
    torch.save({"weight": torch.zeros(1), "note": HugeBytes()}, path)


def make_huge_result(path: Path, canary: Path) -> None:
    torch.save(with_attribute("note", HugeResult()), path)


def make_compressed(path: Path, canary: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(50_000_000))
        archive.writestr("bomb/version", "3\n")


# -- exported graphs -------------------------------------------------------------------------------------


def make_graph(path: Path) -> None:
    """An honest archive, exported with a dynamic batch dimension."""
    batch = torch.export.Dim("batch", min=1)
    torch.export.save(torch.export.export(network(), EXAMPLE, dynamic_shapes=({0: batch},)), path)


def rewrite(path: Path, changes: dict[str, Callable[[bytes], bytes]]) -> None:
    """Make an honest archive and change its records; a record it does not have starts out empty."""
    make_graph(path)
    with zipfile.ZipFile(path) as archive:
        records = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name in [*records, *(name for name in changes if name not in records)]:
            unchanged = changes.get(name, bytes)
            archive.writestr(f"graph/{name}", unchanged(records.get(name, b"")))


def replaced(value: bytes) -> Callable[[bytes], bytes]:
    return lambda record: value


def edited(edit: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    """A change of a JSON record in place."""

    def change(record: bytes) -> bytes:
        document = json.loads(record)
        edit(document)
        return json.dumps(document).encode()

    return change


def saved(value: Any, path: Path) -> bytes:
    torch.save(value, path)
    return path.read_bytes()


def first_node(program: dict[str, Any]) -> dict[str, Any]:
    return program["graph_module"]["graph"]["nodes"][0]


def make_graph_pickled_weight(path: Path, canary: Path) -> None:
    mark = {"use_pickle": True, "path_name": "weight_9"}
    rewrite(
        path,
        {
            "data/weights/model_weights_config.json": edited(
                lambda d: d["config"]["first.bias"].update(mark)
            ),
            "data/weights/weight_9": replaced(saved(Payload(canary), path)),
        },
    )


def make_graph_opaque_constant(path: Path, canary: Path) -> None:
    """Unpickled for its name, although it is not marked as a pickle."""
    shape = {"dtype": 7, "sizes": [], "strides": [], "storage_offset": {"as_int": 0}, "layout": 7}
    shape |= {"requires_grad": False, "device": {"type": "cpu", "index": None}}
    meta = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": False, "tensor_meta": shape}
    rewrite(
        path,
        {
            "data/constants/model_constants_config.json": edited(lambda d: d["config"].update(note=meta)),
            "data/constants/opaque_obj_0": replaced(pickle.dumps(Payload(canary)).ljust(400, b".")),
        },
    )


def make_graph_sample_inputs(path: Path, canary: Path) -> None:
    """The safe load fails, and PyTorch's reader then tries the unsafe one."""
    rewrite(path, {"data/sample_inputs/model.pt": replaced(saved(Payload(canary), path))})


def make_graph_library(path: Path, canary: Path) -> None:
    rewrite(path, {"data/aotinductor/model/model.so": replaced(b"\x7fELF")})


def make_graph_expression(path: Path, canary: Path) -> None:
    """A symbolic size is evaluated as Python."""

    def edit(program: dict[str, Any]) -> None:
        sizes = program["graph_module"]["graph"]["tensor_values"]["linear"]["sizes"]
        sizes[0]["as_expr"]["expr_str"] = f"open('{canary}', 'w')"

    rewrite(path, {"models/model.json": edited(edit)})


def make_graph_operator(path: Path, canary: Path) -> None:
    """An operator may be any name below `torch`. PyTorch's own verifier stops this one today."""
    call = {"name": "", "arg": {"as_string": str(canary)}, "kind": 1}
    edit = edited(lambda program: first_node(program).update(target="torch.os.mkdir", inputs=[call]))
    rewrite(path, {"models/model.json": edit})


def make_graph_reshape_alias(path: Path, canary: Path) -> None:
    """A view of memory that is not the tensor's: sizes and strides are believed."""
    numbers = [{"name": name, "arg": {"as_ints": [100_000, 2]}, "kind": 1} for name in ("size", "stride")]

    def edit(program: dict[str, Any]) -> None:
        node = program["graph_module"]["graph"]["nodes"][-1]
        tensor = {**node["inputs"][0], "name": "self"}
        node.update(target="torch.ops.aten._reshape_alias.default", inputs=[tensor, *numbers])

    rewrite(path, {"models/model.json": edited(edit)})


def with_operator(target: str) -> Callable[[Path, Path], None]:
    """The last operator of the graph is another one."""

    def edit(program: dict[str, Any]) -> None:
        program["graph_module"]["graph"]["nodes"][-1]["target"] = f"torch.ops.{target}"

    return lambda path, canary: rewrite(path, {"models/model.json": edited(edit)})


def make_graph_write_input(path: Path, canary: Path) -> None:
    """The first operator becomes a ReLU that writes into the input."""

    def edit(program: dict[str, Any]) -> None:
        node = first_node(program)
        node.update(target="torch.ops.aten.relu_.default", inputs=node["inputs"][:1])

    rewrite(path, {"models/model.json": edited(edit)})


def make_graph_file_operator(path: Path, canary: Path) -> None:
    """An aten operator that creates the file it is to map."""
    arguments = [
        {"name": "filename", "arg": {"as_string": str(canary)}, "kind": 1},
        {"name": "shared", "arg": {"as_bool": True}, "kind": 2},
        {"name": "size", "arg": {"as_int": 4}, "kind": 2},
    ]
    change = {"target": "torch.ops.aten.from_file.default", "inputs": arguments}
    rewrite(path, {"models/model.json": edited(lambda program: first_node(program).update(change))})


def make_graph_name(path: Path, canary: Path) -> None:
    """Names become part of the Python source that is compiled for the graph."""
    name = f"input=open('{canary}', 'w')"

    def edit(program: dict[str, Any]) -> None:
        text = json.dumps(program["graph_module"])
        for honest, hostile in (
            ('{"name": "input"}', json.dumps({"name": name})),
            ('"input": {"dtype"', json.dumps(name) + ': {"dtype"'),
            ('["input"]', json.dumps([name])),
        ):
            text = text.replace(honest, hostile)
        program["graph_module"] = json.loads(text)

    rewrite(path, {"models/model.json": edited(edit)})


def make_graph_compressed(path: Path, canary: Path) -> None:
    make_graph(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        root = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{root}/data/weights/weight_99", bytes(50_000_000))


def make_old_graph(path: Path, canary: Path) -> None:
    """The archive of PyTorch 2.7 and older: its tensors are a pickle, read unsafely if safely fails."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.8")
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", pickle.dumps(Payload(canary)))


def make_graph_guard(path: Path, canary: Path) -> None:
    """Guard code is Python too. qtrain loads such an archive and leaves the guards out."""
    guard = f"open('{canary}', 'w') is not None"
    rewrite(path, {"models/model.json": edited(lambda program: program["guards_code"].append(guard))})


#: Files that run code when a trusting reader loads them: the canary shows it.
RUNNING: dict[str, Callable[[Path, Path], None]] = {
    "plain_pickle.pkl": make_plain_pickle,
    "checkpoint.pt": make_checkpoint,
    "legacy_checkpoint.th": make_legacy_checkpoint,
    "new_protocol.pt": make_new_protocol,
    "stock_with_foreign.pt": make_stock_with_foreign,
    "graph_pickled_weight.pt2": make_graph_pickled_weight,
    "graph_opaque_constant.pt2": make_graph_opaque_constant,
    "graph_expression.pt2": make_graph_expression,
    "graph_file_operator.pt2": make_graph_file_operator,
    "graph_name.pt2": make_graph_name,
}
#: Files that are refused for what else they do.
REFUSED: dict[str, Callable[[Path, Path], None]] = {
    "stock_with_constructor.pt": make_stock_with_constructor,
    "stock_with_hook.pt": make_stock_with_hook,
    "stock_with_forward.pt": make_stock_with_forward,
    "stock_with_stray_layer.pt": make_stock_with_stray_layer,
    "stock_with_cycle.pt": make_stock_with_cycle,
    "huge_tensor.pt": make_huge_tensor,
    "huge_bytearray.pt": make_huge_bytearray,
    "huge_result.pt": make_huge_result,
    "compressed.pt": make_compressed,
    "graph_operator.pt2": make_graph_operator,
    "graph_reshape_alias.pt2": make_graph_reshape_alias,
    "graph_set.pt2": with_operator("aten.set_.source_Tensor"),
    "graph_resize.pt2": with_operator("aten.resize_.default"),
    "graph_out.pt2": with_operator("aten.relu.out"),
    "graph_custom.pt2": with_operator("quantized.linear.default"),
    "graph_write_input.pt2": make_graph_write_input,
    "graph_library.pt2": make_graph_library,
    "old_graph.pt2": make_old_graph,
    "graph_compressed.pt2": make_graph_compressed,
}
#: Files that run code when a trusting reader loads them, of which qtrain leaves out the part that does.
HARMLESS: dict[str, Callable[[Path, Path], None]] = {
    "graph_guard.pt2": make_graph_guard,
    "graph_sample_inputs.pt2": make_graph_sample_inputs,
}


def make(name: str, folder: Path) -> Path:
    """Make one hostile file in `folder`."""
    path = folder / name
    {**RUNNING, **REFUSED, **HARMLESS}[name](path, folder / CANARY)
    return path


if __name__ == "__main__":
    for file in (*RUNNING, *REFUSED, *HARMLESS):
        print(make(file, Path(sys.argv[1])))
