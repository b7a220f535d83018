"""A student as a trainee: labels, a teacher's soft targets, its features, or the student's own running
average.

    penalty = weight * align(projection(features), the teacher's features)                   (`alignment`)
    mean    <- d mean + (1 - d) theta after every step, which teaches in its turn
                                                                         (Tarvainen and Valpola 2017)

The projection is trained beside the student and thrown away at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from qtrain_cli.data.inputs import Inputs, Prepare, single
from qtrain_cli.models.call import call_model, predict
from qtrain_cli.models.mixed import products_in
from qtrain_cli.settings import FLOAT32
from qtrain_cli.students.circuit import CircuitLayer
from qtrain_cli.students.networks import StudentModule
from qtrain_cli.training.alignment import Alignment
from qtrain_cli.training.batches import Batch
from qtrain_cli.training.trainee import Outputs

_STUDENT, _PROJECTION, _MEAN, EVALUATIONS = "student.", "projection.", "mean.", "evaluations"


class Taught:
    """The trainee.

    Args:
        module: the student, on its device.
        alignment: what its features are aligned with, if anything.
        decay: of the running average that teaches; 0 for none.
        precision: in which the student multiplies, but for its circuit (`models.mixed`).
    """

    def __init__(
        self,
        module: StudentModule,
        alignment: Alignment | None = None,
        decay: float = 0.0,
        precision: str = FLOAT32,
    ) -> None:
        self.module, self.alignment, self.precision = module, alignment, precision
        self.mean = AveragedModel(module, avg_fn=_younger(decay)) if decay else None
        self.evaluations = torch.zeros((), dtype=torch.int64)
        self._share = (1, 1)
        self._taken()

    def parameters(self) -> dict[str, Tensor]:
        """Those of the student and of the projection."""
        named: dict[str, Tensor] = {_STUDENT + n: part for n, part in self.module.named_parameters()}
        if self.alignment:
            projection = self.alignment.projection.named_parameters()
            named |= {_PROJECTION + name: part for name, part in projection}
        return named

    def state(self) -> dict[str, Tensor]:
        """The running average, and how many circuits were run, one on one sample each."""
        self.evaluations += self._taken()
        mean = {} if self.mean is None else self.mean.state_dict()
        return {**{_MEAN + name: part for name, part in mean.items()}, EVALUATIONS: self.evaluations}

    def begin(self, epoch: int, epochs: int) -> bool:
        """Every epoch is like the others."""
        return False

    @property
    def rounds(self) -> bool:
        """A student's numbers are stored as they are."""
        return False

    def outputs(self, batch: Batch) -> Outputs:
        """In training mode."""
        self._follow(batch)
        self.module.train()
        if batch.whole is not None:
            self._share = (len(batch.whole.targets), len(batch.targets))
        inputs = single(batch.inputs)
        with products_in(self.precision, inputs.device):
            features = self.module.features(inputs)
            scores = self.module.head(features).float()
        penalty = self.alignment.penalty(features.float(), batch) if self.alignment else None
        return Outputs(scores, penalty)

    def exactly(self) -> AbstractContextManager[None] | None:
        """Without shots, whatever the gradient takes, so that a loss means the same for every estimator."""
        circuit = self.module.circuit
        return self._exactly(circuit) if circuit is not None and circuit.execution.shots else None

    def predict(self, inputs: Inputs, prepare: Prepare) -> Tensor:
        """Of the student as it is; these circuits do not count."""
        self.evaluations += self._taken()
        outputs = predict(self.module, self.own(), inputs, prepare)
        self._taken()
        return outputs

    def teach_itself(self, batch: Batch) -> Tensor:
        """What the running average says of a batch."""
        assert self.mean is not None
        with torch.no_grad():
            return call_model(self.module, dict(self.mean.module.named_parameters()), batch.inputs)

    def own(self) -> dict[str, Tensor]:
        """The student's parameters by their own names, detached."""
        return {name: part.detach() for name, part in self.module.named_parameters()}

    @contextmanager
    def _exactly(self, circuit: CircuitLayer) -> Iterator[None]:
        self.evaluations += self._taken()
        with circuit.without_shots():
            yield
        self._taken()

    def _follow(self, batch: Batch) -> None:
        """Moves the running average towards what the step before left, once a step."""
        if self.mean is not None and int(self.mean.n_averaged) <= batch.step:
            self.mean.update_parameters(self.module)

    def _taken(self) -> int:
        """Circuits since the last call; those of all processes, of which each has the same for every row."""
        whole, own = self._share
        return 0 if self.module.circuit is None else self.module.circuit.take_count() * whole // own


def of_student(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those of a run's parameters that are the student's, by its own names."""
    mine = {name: part for name, part in parameters.items() if name.startswith(_STUDENT)}
    return {name.removeprefix(_STUDENT): part for name, part in mine.items()}


def _younger(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """The average after `seen` steps: a young one would remember its random start."""

    def averaged(mean: Tensor, present: Tensor, seen: Tensor | int) -> Tensor:
        steps = int(seen) - 1
        return mean.lerp(present.detach(), 1 - min(decay, steps / (steps + 10)))

    return averaged
