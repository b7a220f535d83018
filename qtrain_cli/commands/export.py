"""`qtrain export`: weights or circuits in a format that others read, checked before it is named.

`.safetensors` and `.pt` need the artifact alone, unless it leaves out what every module of the architecture
has. `.safetensors` is written while the weights are regenerated, in several files where they are large.
`.pt2` and `.onnx` carry the graph as well: the module comes from the model file, or from its architecture
alone, and takes the regenerated weights. Where none is needed none is read, so that no code runs that an
export has no use for.

With `--quantum` the trained circuits themselves are written, as one program with a register for each circuit,
or one of them alone with `--circuit`: a simulator that holds all registers at once would need 2**(b n)
amplitudes.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from qtrain_cli.artifact.container import read_container
from qtrain_cli.artifact.example import Example, NamedExamples
from qtrain_cli.artifact.numbers import Artifact, decode_artifact
from qtrain_cli.artifact.student import is_student
from qtrain_cli.artifact.student_file import StudentFile, decode_student
from qtrain_cli.data import load_data
from qtrain_cli.data.inputs import Inputs, NamedInputs, row_shape, shape_in_words
from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.exports import (
    EXPORTERS,
    CircuitExport,
    ExportRecord,
    RealRows,
    export,
    require_circuit_ending,
    write_program,
)
from qtrain_cli.exports.adapters import DELTA_ENDING, Changes, is_adapter, write_adapter, write_delta
from qtrain_cli.exports.streamed import ENDING, SHARD_BYTES, Stream, write_streamed
from qtrain_cli.exports.students import export_circuit, export_tensors
from qtrain_cli.files.atomic import check_output
from qtrain_cli.methods.generator.spec import GeneratorSpec
from qtrain_cli.models import build_architecture, load_model, looks_up
from qtrain_cli.models.outputs import picks
from qtrain_cli.models.peft_folder import with_tokenizer
from qtrain_cli.quantum.qasm import qasm_text, require_same_circuits
from qtrain_cli.results.versions import VERSION
from qtrain_cli.runs.grounds import OpenedBase, opened_base
from qtrain_cli.runs.making import Log
from qtrain_cli.runs.regenerate import check_weights, checked_weights, regenerate, stored_angles, wide_tensors
from qtrain_cli.runs.streaming import Share, checked_tensors, streams, unseen
from qtrain_cli.settings import ExportSettings
from qtrain_cli.targets.layout import DTYPES

#: Two rows, so that a traced graph is not specialised to a batch of one.
EXAMPLE_ROWS = 2
#: Rows of data that a graph is compared on.
REAL_ROWS = 16


def run(
    settings: ExportSettings, log: Log = lambda line: None, share: Share = unseen
) -> ExportRecord | CircuitExport:
    """Exports one artifact; `log` is called with what was chosen or left out of the model's file, `share`
    with the weights that are regenerated so far.

    Raises:
        UsageError: an unknown ending, an output that exists or is an input, or no module for a format with
            a graph.
        BadInput: there is no circuit of that number.
        BadInput, Refused: the artifact or the model cannot be read.
        RunFailed: the written file does not hold the regenerated weights or the circuits; nothing is left of
        it.
    """
    inputs = (settings.artifact, *([settings.model.path] if settings.model else []))
    if not (settings.base or settings.bases) or not is_adapter(settings.out):
        check_output(settings.out, settings.force, inputs)
    if settings.quantum:
        require_circuit_ending(settings.out)
    container = read_container(settings.artifact)
    if is_student(container):
        return _export_student(settings, decode_student(container))
    artifact = decode_artifact(container)
    if settings.quantum:
        return _export_circuits(settings, artifact)
    opened = opened_base(artifact.description, settings)
    for line in opened.said if opened else ():
        log(line)
    if opened and (own := _of_changes(settings, artifact, opened)):
        return own
    if opened is None and _streams(settings, artifact):
        tensors = checked_tensors(artifact, share)
        stream = Stream(artifact.description.layout, artifact.numbers.kept, tensors)
        most = settings.shard_size or SHARD_BYTES
        return write_streamed(stream, settings.out, most, settings.force)
    module = opened.module if opened else None
    if module is None and _takes_module(settings, artifact):
        if opened and opened.lacks and settings.model is None:
            raise UsageError(
                f"the base's class has no place for {opened.lacks}", "--model names the fine-tune, which has"
            )
        module = _module(settings, artifact, log)
    return export(
        regenerate(artifact, module, opened.ground if opened else None, share).state,
        settings.out,
        module=module,
        example=_example(settings, artifact.description.example, module),
        force=settings.force,
    )


def _streams(settings: ExportSettings, artifact: Artifact) -> bool:
    """Whether each tensor is written as soon as it is regenerated, without a module that has them all."""
    plain = settings.out.suffix.lower() == ENDING and not artifact.description.layout.given
    return plain and streams(artifact.description)


def _of_changes(settings: ExportSettings, artifact: Artifact, opened: OpenedBase) -> ExportRecord | None:
    """Written in a form that only a file of changes has; None where another was asked for."""
    as_folder, layout = is_adapter(settings.out), artifact.description.layout
    if not as_folder and not settings.out.name.endswith(DELTA_ENDING):
        return None
    weights = checked_weights(artifact, opened.ground)[0]
    changes = Changes(opened.ground, layout, wide_tensors(layout, weights), opened.layers)
    write = write_adapter if as_folder else write_delta
    return write(changes, settings.out, settings.force)


def _export_student(settings: ExportSettings, file: StudentFile) -> ExportRecord | CircuitExport:
    for option in ("model", "arch", "circuit", "data"):
        value = getattr(settings, option)
        if value is not None:
            raise UsageError(
                f"--{option} has no use for a student, whose file says what it is", f"leave out --{option}"
            )
    write = export_circuit if settings.quantum else export_tensors
    return write(file, settings.out, settings.force)


def _export_circuits(settings: ExportSettings, artifact: Artifact) -> CircuitExport:
    spec, stored = artifact.description.spec, artifact.description.digest
    check_weights(artifact)
    circuit, theta = spec.circuit, stored_angles(spec, artifact.numbers)
    chosen = range(circuit.circuits)
    if settings.circuit is not None:
        if settings.circuit not in chosen:
            raise BadInput(
                f"there is no circuit {settings.circuit}; allowed: 0 to {circuit.circuits - 1}",
                "leave --circuit out for all of them",
            )
        chosen = range(settings.circuit, settings.circuit + 1)
    text = qasm_text(circuit, theta, chosen, _comments(spec, stored.sha256))
    return write_program(
        settings.out,
        text,
        lambda found: require_same_circuits(found, circuit, theta, chosen),
        len(chosen),
        circuit.qubits,
        settings.force,
    )


def _comments(spec: GeneratorSpec, digest: str) -> list[str]:
    """What a reader has to know. Numbers and our own words only: names come from strangers' files."""
    circuit, outcomes = spec.circuit, 2**spec.circuit.qubits
    return [
        f"trained by qtrain {VERSION}; regenerates the weights with the digest {digest}",
        f"{circuit.circuits} circuits, q0 to q{circuit.circuits - 1}; {circuit.ansatz}, {circuit.entangler},"
        f" {circuit.layers} layers of {circuit.qubits} qubits",
        "q<k>[0] is the most significant bit of an outcome: c<k> read as an unsigned number is its number i",
        f"z = {outcomes} p_i - 1 of circuit k makes weight {outcomes} k + i of {spec.layout.generated},"
        " by the artifact's mapping",
    ]


def _takes_module(settings: ExportSettings, artifact: Artifact) -> bool:
    exporter = EXPORTERS.get(settings.out.suffix.lower())
    return bool(artifact.description.layout.given) or (exporter is not None and exporter.graph)


def _module(settings: ExportSettings, artifact: Artifact, log: Log) -> nn.Module | None:
    """The model, returning the output that was compressed by, unless another one is named."""
    origin = artifact.description.origin
    output = settings.output or (origin.measured.output if origin else None)
    if settings.model is not None:
        loaded = load_model(replace(settings.model, output=output), settings.base)
        for line in loaded.said:
            log(line)
        return loaded.module
    return picks(build_architecture(settings.arch, settings.arch_args), output) if settings.arch else None


def _example(
    settings: ExportSettings, example: Example | NamedExamples, module: nn.Module | None
) -> Inputs | RealRows:
    """Rows of the data that the graph is compared on, where there are some; else inputs of that shape."""
    drawn = _drawn(example)
    if settings.data is None or module is None:
        return drawn
    model = settings.model and with_tokenizer(settings.model, settings.base)
    data = load_data(settings.data, seed=0, model=model).for_lookups(looks_up(module))
    rows = data.normalisation(data.shown[:REAL_ROWS])
    if row_shape(rows) != row_shape(drawn):
        raise BadInput(
            f"the data have {shape_in_words(rows)}, and the file is for {shape_in_words(drawn)}",
            "give the data, and the options for them, that the model was compressed with",
        )
    return RealRows(rows)


def _drawn(example: Example | NamedExamples) -> Inputs:
    """Random inputs; zeros where they are whole numbers, which may be places in a table."""
    if isinstance(example, NamedExamples):
        return NamedInputs({name: _rows(part) for name, part in example.parts})
    return _rows(example)


def _rows(example: Example) -> Tensor:
    dtype, generator = DTYPES[example.dtype], torch.Generator().manual_seed(0)
    if not dtype.is_floating_point:
        return torch.zeros(EXAMPLE_ROWS, *example.shape, dtype=dtype)
    return torch.randn(EXAMPLE_ROWS, *example.shape, generator=generator).to(dtype)
