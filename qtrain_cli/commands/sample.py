"""`qtrain sample`: the weights from measured frequencies instead of exact probabilities, and what accuracy is
left.

    angles -> circuits with noise -> p -> S shots -> frequencies -> z -> weights -> test rows

for each noise and number of shots, several times over. Every repetition draws its own errors and shots, from
a seed that depends on the cell alone: a cell comes out the same whatever else is asked for. The test rows are
the whole test split; nothing is chosen by them.

Or a PennyLane device runs the circuits: a simulator, with noise of its own or without, or a quantum computer.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from qtrain_cli.artifact.container import read_container
from qtrain_cli.artifact.description import record_of
from qtrain_cli.artifact.numbers import Artifact, decode_artifact
from qtrain_cli.data import Dataset, load_data
from qtrain_cli.files.atomic import check_output
from qtrain_cli.files.outputs import check_picture
from qtrain_cli.methods.generator.angles import trained_start
from qtrain_cli.methods.generator.generator import Generator
from qtrain_cli.methods.generator.plan import ANGLES, MAPPING
from qtrain_cli.methods.generator.sampling import frequencies, shot_variance, standardised
from qtrain_cli.methods.table import OURS
from qtrain_cli.models import looks_up
from qtrain_cli.models.peft_folder import with_tokenizer
from qtrain_cli.quantum.noise import Noise
from qtrain_cli.quantum.pennylane_bridge import device_probabilities, open_device
from qtrain_cli.quantum.trajectories import NoisyOutcomes, misread, noisy_probabilities
from qtrain_cli.results import Record, SampleCell, SampleRecord
from qtrain_cli.results.durations import duration
from qtrain_cli.results.rehearsal import Rehearsal, TimedPart
from qtrain_cli.runs.examination import asked, examine
from qtrain_cli.runs.grounds import model_settings
from qtrain_cli.runs.making import Log
from qtrain_cli.runs.outputs import input_files
from qtrain_cli.runs.regenerate import state_dict, stored_numbers, wide_tensors
from qtrain_cli.runs.rehearsing import rehearsal_of
from qtrain_cli.runs.reopening import reopened
from qtrain_cli.settings import EXACT_SHOTS, ModelSettings, SampleSettings
from qtrain_cli.targets.ground import Ground
from qtrain_cli.targets.layout import split
from qtrain_cli.tasks.objective import Objective
from qtrain_cli.training.measure import measure_test

OWN_SAMPLER = "qtrain"
#: Seconds of a level of noise.
_WORTH_SAYING = 20.0
#: Of a dry run.
_TRIED_TRAJECTORIES = 10


@dataclass(frozen=True)
class _Bench:
    """What every cell is measured with: `theta` (b, L, n, r) and the mapping's numbers in float64, `z` exact,
    of the m weights; `begun` is z where a fine-tune began, on the ground of its base."""

    settings: SampleSettings
    artifact: Artifact
    module: nn.Module
    data: Dataset
    objective: Objective
    generator: Generator
    theta: Tensor
    mapping: Tensor
    z: Tensor
    begun: Tensor
    ground: Ground | None

    def state_of(self, z: Tensor) -> dict[str, Tensor]:
        """The model's tensors by the weights that z of the m outcomes in use gives."""
        layout = self.artifact.description.layout
        with torch.no_grad():
            weights = self.generator.weights_of(z, self.mapping)
            if self.ground:
                weights = weights - self.generator.weights_of(self.begun, self.mapping)
        tensors = wide_tensors(layout, weights) if self.ground else split(layout, weights)
        return state_dict(layout, tensors, self.artifact.numbers.kept, self.ground)


@dataclass(frozen=True)
class _Repetition:
    """One measurement of a cell; the last three are means over the weights, of squares of z."""

    figure: float
    interval: tuple[float, float]
    z_error: float
    shot_variance: float
    simulation_variance: float


def run(settings: SampleSettings, log: Log) -> SampleRecord | Rehearsal:
    """Samples one artifact; with `dry_run` a measurement or two.

    Raises:
        UsageError: the plot exists or is an input.
        BadInput: artifact, model or data cannot be read or do not fit each other; the artifact holds no
            record; no such device; a package is missing.
        Refused: the artifact is damaged, or the model file would run code.
    """
    check_picture(settings.plot, settings.force, _inputs(settings))
    if settings.html:
        check_output(settings.html, settings.force, _inputs(settings))
    container = read_container(settings.artifact)
    artifact = decode_artifact(container)
    known = record_of(artifact.description, container)
    if settings.device:
        open_device(settings.device, artifact.description.spec.circuit.qubits)
    found = reopened(artifact, settings, known.measured.output, log)
    state = found.state
    bench = _bench(settings, found.artifact, found.module, state, found.ground)
    log(f"test rows {len(bench.data.test):,}, circuits {bench.theta.shape[0]:,}")
    if settings.dry_run:
        return _rehearsed(bench)
    cells = tuple(cell for noise in settings.noises for cell in _cells(bench, noise, log))
    return _record(bench, known, state, cells)


def _rehearsed(bench: _Bench) -> Rehearsal:
    """One repetition of each level of noise, with few trajectories that stand for all."""
    settings, parts = bench.settings, []
    few = min(settings.trajectories, _TRIED_TRAJECTORIES)
    tried = replace(bench, settings=replace(settings, trajectories=few))
    for noise in settings.noises:
        started = time.perf_counter()
        outcomes = None if settings.device else _outcomes(tried, noise, 0)
        between = time.perf_counter()
        _measured(bench, outcomes, settings.shots[0], _random(settings.seed, noise, 0, settings.shots[0]))
        measured = time.perf_counter() - between
        simulated = (between - started) * (settings.trajectories / few if noise.depolarizing else 1)
        parts.append(TimedPart(f"noise {noise.name}", settings.repeat, 0, len(settings.shots),
                               measured + simulated / len(settings.shots), 0.0))  # fmt: skip
    return rehearsal_of("sample", "cpu", parts, (settings.plot, settings.html))


def _inputs(settings: SampleSettings) -> list[Path]:
    return [settings.artifact, *input_files(settings.model, settings.data)]


def _told(settings: SampleSettings) -> ModelSettings | None:
    """In whose folder a tokenizer may be."""
    named = model_settings(settings, settings.base) if settings.base else settings.model
    return named and with_tokenizer(named)


def _bench(
    settings: SampleSettings,
    artifact: Artifact,
    module: nn.Module,
    state: dict[str, Tensor],
    ground: Ground | None,
) -> _Bench:
    spec = artifact.description.spec
    data = load_data(settings.data, settings.seed, _told(settings))
    # Whatever is left of the model is measured here.
    data = examine(asked(module, state), data, looks_up(module), True, lambda line: None).of(data)
    objective = data.objective()
    generator = Generator(spec, dtype=torch.float64)
    stored = stored_numbers(OURS, artifact.description.plan, artifact.numbers)
    theta, mapping = generator.whole(stored[ANGLES]), stored[MAPPING]
    with torch.no_grad():
        z = generator.standardised(stored[ANGLES])
        begun = generator.standardised(trained_start(spec)) if ground else z
    return _Bench(settings, artifact, module, data, objective, generator, theta, mapping, z, begun, ground)


def _cells(bench: _Bench, noise: Noise, log: Log) -> list[SampleCell]:
    """One cell for each number of shots; a repetition simulates the noise once for all of them."""
    shots = bench.settings.shots
    found: dict[int | None, list[_Repetition]] = {one: [] for one in shots}
    started = time.perf_counter()
    for repetition in range(bench.settings.repeat):
        # Without any chance in it, a repetition would only be the same again.
        wanted = [s for s in shots if s or repetition == 0 or noise.depolarizing or bench.settings.device]
        outcomes = _outcomes(bench, noise, repetition) if wanted and not bench.settings.device else None
        for one in wanted:
            random = _random(bench.settings.seed, noise, repetition, one)
            found[one].append(_measured(bench, outcomes, one, random))
        if repetition == 0:
            _foretell(bench.settings, noise, time.perf_counter() - started, log)
    cells = [_cell(noise.name, one, rows) for one, rows in found.items()]
    for cell in cells:
        shown = f"{cell.shots:,}" if cell.shots else EXACT_SHOTS
        log(f"noise {cell.noise}, shots {shown}: test {bench.objective.word} {cell.mean:.4g}")
    return cells


def _foretell(settings: SampleSettings, noise: Noise, took: float, log: Log) -> None:
    """How long this level of noise and those after it will take, from one repetition; of seconds nothing."""
    whole = took * settings.repeat
    if whole > _WORTH_SAYING:
        left = len(settings.noises) - settings.noises.index(noise) - 1
        after = f", and {left} levels after it" if left else ""
        log(f"noise {noise.name}: about {duration(whole)}{after}")


def _cell(noise: str, shots: int | None, rows: list[_Repetition]) -> SampleCell:
    def mean(name: str) -> float:
        return float(np.mean([getattr(row, name) for row in rows]))

    return SampleCell(
        noise=noise,
        shots=shots,
        figures=tuple(row.figure for row in rows),
        test_intervals=tuple(row.interval for row in rows),
        z_error=mean("z_error"),
        shot_variance=mean("shot_variance"),
        simulation_variance=mean("simulation_variance"),
    )


def _outcomes(bench: _Bench, noise: Noise, repetition: int) -> NoisyOutcomes:
    """What is read off the circuits with infinitely many shots, errors of reading included."""
    settings, circuit = bench.settings, bench.artifact.description.spec.circuit
    # Float32 is far finer than any number of trajectories; without noise nothing hides its rounding.
    theta = bench.theta.float() if noise.depolarizing else bench.theta
    random = _random(settings.seed, noise, repetition, 0)
    found = noisy_probabilities(circuit, theta, noise.depolarizing, settings.trajectories, random)
    # Misreading mixes outcomes, which can only make the mean of the variances smaller.
    return NoisyOutcomes(misread(found.p, noise.readout), found.variance, found.error_free)


def _measured(
    bench: _Bench, outcomes: NoisyOutcomes | None, shots: int | None, random: np.random.Generator
) -> _Repetition:
    """Shots, weights, and their figure; without outcomes the device of the settings supplies the
    frequencies."""
    spec = bench.artifact.description.spec
    if outcomes is None:
        seed = int(random.integers(2**31))
        p = f = device_probabilities(
            spec.circuit, bench.theta, bench.settings.device or "", shots, seed
        ).double()
        simulated = torch.zeros_like(f)
    else:
        p, simulated = outcomes.p, outcomes.variance * 4**spec.circuit.qubits
        f = frequencies(p, shots, random) if shots else p
    used = spec.layout.generated
    z = standardised(f).flatten()[:used]
    figure, interval = measure_test(bench.module, bench.state_of(z), bench.data, bench.objective)
    return _Repetition(
        figure=figure,
        interval=interval,
        z_error=float((z - bench.z).square().mean()),
        shot_variance=float(shot_variance(p, shots).flatten()[:used].mean()),
        simulation_variance=float(simulated.flatten()[:used].mean()),
    )


def _random(seed: int, noise: Noise, repetition: int, shots: int | None) -> np.random.Generator:
    """The randomness of one cell and repetition: of its shots, or with 0 of its errors."""
    words = struct.unpack("<4I", struct.pack("<2d", noise.depolarizing, noise.readout))
    return np.random.default_rng([seed, repetition, *words, -1 % 2**64 if shots is None else shots])


def _record(
    bench: _Bench, record: Record, state: dict[str, Tensor], cells: tuple[SampleCell, ...]
) -> SampleRecord:
    settings, spec = bench.settings, bench.artifact.description.spec
    exact, interval = measure_test(bench.module, state, bench.data, bench.objective)
    return SampleRecord(
        artifact=settings.artifact.name,
        artifact_sha256=record.artifact_sha256,
        model=record.measured.model,
        task=bench.data.task,
        weights=spec.layout.generated,
        circuits=spec.circuit.circuits,
        qubits=spec.circuit.qubits,
        layers=spec.circuit.layers,
        mapping=spec.mapping.kind,
        sampler=settings.device or OWN_SAMPLER,
        trajectories=settings.trajectories,
        repeat=settings.repeat,
        seed=settings.seed,
        count=len(bench.data.test),
        data_sha256=bench.data.sha256,
        same_data=bench.data.sha256 == record.measured.data_sha256,
        recorded=record.scores.test if record.scores.task == bench.data.task else None,
        teacher=record.scores.teacher if record.scores.task == bench.data.task else None,
        exact=exact,
        exact_interval=interval,
        z_variance=float(bench.z.square().mean()),
        cells=cells,
    )
