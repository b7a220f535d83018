"""The four formats: each function writes one file, reads it back with public tools and compares.

    .safetensors  each name its own copy, metadata {"format": "pt"} as transformers expects
    .pt           a plain dictionary of tensors, `torch.load(weights_only=True)`; tied names share storage
    .pt2          a `torch.export` archive with a free batch dimension and no pickled entry
    .onnx         one file with the weights inside, input `input` (several: by their names) and output
                  `output`, free `batch` axis

Each takes a `Source` and the path to write to (not yet the final name), and returns a `Checked`; each raises
`RunFailed` when the file does not hold what was meant. Bytes are made in memory: PyTorch's writers would
store the temporary file's name otherwise.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from qtrain_cli.data.inputs import Inputs, NamedInputs, tensors_in
from qtrain_cli.errors import RunFailed, UsageError
from qtrain_cli.exports.comparison import require_close, require_same
from qtrain_cli.exports.tracing import PLAIN_ADVICE, RealRows, Traced, holding, trace


@dataclass(frozen=True)
class Source:
    """What is exported: the weights, and for a graph the module and a batch of its inputs (k, ...), or real
    rows of data."""

    state: dict[str, Tensor]
    module: nn.Module | None = None
    example: Inputs | RealRows | None = None

    def traced(self) -> Traced:
        """The module's graph, holding `state`. Raises `UsageError` without a module or an example."""
        if self.module is None:
            raise UsageError(
                "this format holds the model's graph, and only its weights are known",
                "name the model with --model or its class with --arch, or write .safetensors or .pt",
            )
        if self.example is None:
            raise UsageError("this format needs the shape of the model's input to trace it", PLAIN_ADVICE)
        traced = trace(self.module, self.state, self.example)
        require_same(self.state, traced.module.state_dict(), "the module")
        return traced


@dataclass(frozen=True)
class Checked:
    """`how` a written file was found to be right, and a `note` on what it cannot do, if anything."""

    how: str
    note: str = ""


def write_safetensors(source: Source, path: Path) -> Checked:
    """Plain safetensors, which has no ties: tied names have equal copies, so strict loading works."""
    tensors = _copies(source.state, keep_ties=False)
    path.write_bytes(safetensors.torch.save(tensors, metadata={"format": "pt"}))
    found = safetensors.torch.load_file(path)
    require_same(source.state, found, "the file")
    loaded = _loaded(source, found)
    return Checked(f"read back with safetensors.torch.load_file{loaded}, every tensor bit for bit")


def write_pt(source: Source, path: Path) -> Checked:
    """A plain state dictionary."""
    buffer = io.BytesIO()
    torch.save(_copies(source.state, keep_ties=True), buffer)
    path.write_bytes(buffer.getvalue())
    found = torch.load(path, weights_only=True)
    require_same(source.state, found, "the file")
    loaded = _loaded(source, found)
    return Checked(f"read back with torch.load(weights_only=True){loaded}, every tensor bit for bit")


def write_pt2(source: Source, path: Path) -> Checked:
    """A `torch.export` archive: weights and graph, which run without the model's Python code."""
    traced = source.traced()
    buffer = io.BytesIO()
    torch.export.save(traced.program, buffer)
    path.write_bytes(buffer.getvalue())
    _require_no_pickles(path)
    program = torch.export.load(path)
    require_same(source.state, program.state_dict, "the file")
    compared = require_close(traced, traced.calls(program.module()), "the .pt2 graph")
    return Checked(f"read back with torch.export.load, every tensor bit for bit, {compared}", traced.note)


def write_onnx(source: Source, path: Path) -> Checked:
    """An ONNX model. Its optimiser fuses layers into others, so outputs are compared and not tensors."""
    import onnx

    source, note = _without_bfloat16(source)
    traced = source.traced()
    program = torch.onnx.export(
        _contiguous(traced.program),
        dynamo=True,
        dynamic_shapes=traced.shapes({0: "batch"}) if traced.dynamic else None,
        input_names=names_of(traced.example),
        output_names=["output"],
        verbose=False,
    )
    path.write_bytes(program.model_proto.SerializeToString())  # type: ignore[union-attr]
    onnx.checker.check_model(str(path), full_check=True)
    compared = require_close(traced, _onnx_outputs(path), "onnxruntime")
    how = f"checked with onnx.checker, run with onnxruntime, {compared}"
    return Checked(how, "; ".join(filter(None, (note, traced.note))))


_RESHAPING = (torch.ops.aten.view.default, torch.ops.aten.reshape.default)


def _contiguous(program: ExportedProgram) -> ExportedProgram:
    """The program with a copy in order before each change of shape: the exporter splits fused attention up,
    whose parts have other strides, and then refuses what ran when it was traced (T5's). ONNX drops the
    copies."""
    graph = program.graph
    for node in [node for node in graph.nodes if node.target in _RESHAPING]:
        with graph.inserting_before(node):
            copy = graph.call_function(
                torch.ops.aten.clone.default, node.args[:1], {"memory_format": torch.contiguous_format}
            )
        copy.meta = dict(node.args[0].meta)
        node.args = (copy, *node.args[1:])
    program.graph_module.recompile()
    return program


def _without_bfloat16(source: Source) -> tuple[Source, str]:
    """The same weights in float32 where they are bfloat16, which ONNX has no matrix product for."""
    wide = {
        name: tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        for name, tensor in source.state.items()
    }
    if all(wide[name] is tensor for name, tensor in source.state.items()):
        return source, ""
    return replace(source, state=wide), "bfloat16 tensors are float32 in it: ONNX multiplies none of bfloat16"


def _loaded(source: Source, found: Mapping[str, Tensor]) -> str:
    """Loads the tensors of a file into the module, where it is known; raises unless they are there then."""
    if source.module is None:
        return ""
    require_same(found, holding(source.module, found).state_dict(), "the module")
    return " and loaded into the module"


def _copies(state: Mapping[str, Tensor], *, keep_ties: bool) -> dict[str, Tensor]:
    """CPU tensors that own exactly their numbers; with `keep_ties`, names of one tensor share one copy.

    Views of a larger tensor are cut loose, because `torch.save` would write all of it.
    """
    copies: dict[str, Tensor] = {}
    seen: dict[object, Tensor] = {}
    for name, tensor in state.items():
        place = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        key = place if keep_ties else name
        if key not in seen:
            seen[key] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        copies[name] = seen[key]
    return copies


def _require_no_pickles(path: Path) -> None:
    """Refuse what `torch.export.load` would unpickle: entries marked so, and example inputs (`.pt`)."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            pickled = entry.filename.endswith(".pt") and entry.file_size > 0
            if entry.filename.endswith("_config.json"):
                payloads = json.loads(archive.read(entry))["config"].values()
                pickled = any(payload["use_pickle"] for payload in payloads)
            if pickled:
                raise RunFailed(f"'{entry.filename}' of the .pt2 archive is pickled", PLAIN_ADVICE)


def names_of(inputs: Inputs) -> list[str]:
    """How an ONNX model's inputs are called: `input`, or as in the data; by position `input_0`, ..."""
    if not isinstance(inputs, NamedInputs):
        return ["input"]
    return [f"input_{name}" if inputs.by_position else name for name in inputs.parts]


def _onnx_outputs(path: Path) -> Callable[[Inputs], Tensor]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # its warnings are written by C++, past any redirection in Python
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    known = {one.name for one in session.get_inputs()}  # what the model has no use for, the graph has not

    def outputs(inputs: Inputs) -> Tensor:
        named = zip(names_of(inputs), tensors_in(inputs), strict=True)
        fed = {name: part.numpy() for name, part in named if name in known}
        return torch.from_numpy(session.run(["output"], fed)[0])

    return outputs
