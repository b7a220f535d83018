"""Teachers' answers: looked up for rows of the split, asked for whatever else a batch gives."""

from dataclasses import dataclass, replace

import pytest
import torch
from trainees import BOTH, CPU, HYBRID, Problem, student_problem

from qtrain_cli.data import Normalisation, TrainSplit
from qtrain_cli.models.call import predict
from qtrain_cli.settings import FitSettings
from qtrain_cli.training.alignment import teacher_features
from qtrain_cli.training.batches import Batch, RowBatches
from qtrain_cli.training.course import Answers, answers_on, nobody

INPUTS = torch.arange(24.0).view(12, 2)


@pytest.fixture
def asked():
    return []


@pytest.fixture
def ask(asked):
    """A teacher of sums, which says what it was asked for."""

    def answer(inputs):
        asked.append(inputs)
        return inputs.sum(1, keepdim=True)

    return answer


def batch_of(rows, raw):
    return Batch(0, raw, raw / 2, torch.zeros(len(raw)), rows)


def test_rows_of_the_split_are_looked_up_and_never_asked_for_again(ask, asked):
    answers = answers_on(ask, TrainSplit(INPUTS, torch.zeros(12)))
    assert len(asked) == 1 and torch.equal(asked[0], INPUTS)
    rows = torch.tensor([7, 0, 3])
    found = answers(batch_of(rows, INPUTS[rows]))
    assert len(asked) == 1
    assert torch.equal(found, ask(INPUTS[rows]))


def test_transformed_rows_are_asked_for_as_they_are_and_not_normalised(ask, asked):
    answers = answers_on(ask, TrainSplit(INPUTS, torch.zeros(12)))
    moved = INPUTS[:3] + 100
    found = answers(batch_of(None, moved))
    assert len(asked) == 2 and asked[1] is moved
    assert torch.equal(found, moved.sum(1, keepdim=True))


def test_without_known_answers_every_batch_is_asked_for(ask, asked):
    rows = torch.tensor([1, 2])
    found = Answers(ask)(batch_of(rows, INPUTS[rows]))
    assert len(asked) == 1 and torch.equal(found, INPUTS[rows].sum(1, keepdim=True))


def test_nobody_says_nothing():
    assert nobody(batch_of(None, INPUTS)) is None


# --- whole runs ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mirrored:
    """Rows of a split from right to left, as a transform would give them: they are no rows of it any more."""

    own: RowBatches
    seen: list

    @property
    def per_epoch(self) -> int:
        return self.own.per_epoch

    def at(self, step: int) -> Batch:
        batch = self.own.at(step)
        raw = batch.raw.flip(-1)
        self.seen.append(raw)
        return replace(batch, raw=raw, inputs=self.own.prepare(raw), rows=None)


@dataclass(frozen=True)
class Transformed(Problem):
    """A problem with such batches; `told` are a step's batch and what the teacher says of it."""

    seen: tuple[list, list] = ((), ())

    def course(self, fit, trainee):
        course, (shown, told) = super().course(fit, trainee), self.seen
        own = RowBatches(self.train, Normalisation(), fit.batch_size, fit.seed, CPU)

        def teach(batch):
            told.append(course.teach(batch))
            return told[-1]

        return replace(course, batches=Mirrored(own, shown), teach=teach)


def transformed(problem):
    return Transformed(**{**vars(problem), "seen": ([], [])})


def test_a_teacher_answers_for_the_very_inputs_that_the_student_gets(teacher, rows, run_fit):
    problem = transformed(student_problem(HYBRID, teacher, rows, BOTH))
    run_fit(problem, epochs=1)
    shown, told = problem.seen
    state = teacher.state_dict()
    assert len(shown) == len(told) == 4
    for raw, said in zip(shown, told, strict=True):
        assert torch.equal(said, predict(teacher, state, raw, Normalisation()))
        assert not torch.allclose(said, predict(teacher, state, raw.flip(-1), Normalisation()), atol=0.1)


def test_a_run_of_transformed_rows_learns_what_their_own_split_teaches(teacher, rows, run_fit):
    """The same rows, mirrored beforehand and looked up: the same bits."""
    images, labels = rows
    mirrored = (images.flip(-1), labels)
    changed = transformed(student_problem(HYBRID, teacher, rows, validation=(images[200:], labels[200:])))
    before = student_problem(HYBRID, teacher, mirrored, validation=(images[200:], labels[200:]))
    one, other = run_fit(changed, name="one")[0].trained, run_fit(before, name="other")[0].trained
    for name, part in one.parameters.items():
        torch.testing.assert_close(part, other.parameters[name], rtol=0, atol=1e-5)


def test_for_rows_of_the_split_the_look_up_is_what_asking_gives(teacher, rows):
    problem = student_problem(HYBRID, teacher, rows)
    course = problem.course(FitSettings(batch_size=50), problem.begin(FitSettings()))
    batch = course.batches.at(2)
    asked = course.teach(replace(batch, rows=None))
    torch.testing.assert_close(course.teach(batch), asked, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(asked[0], asked[1])


def test_features_of_transformed_rows_are_asked_for_and_standardised_over_the_split(teacher, rows):
    train = TrainSplit(rows[0][:200], rows[1][:200])
    taught, width = teacher_features(teacher, teacher.state_dict(), "2", train, Normalisation())
    own = RowBatches(train, Normalisation(), 50, 0, CPU)
    layer = torch.nn.Sequential(*list(teacher)[:3])

    def features(images):
        with torch.no_grad():
            return layer(images / 255)

    every = features(train.inputs)
    for batch in (own.at(1), Mirrored(own, []).at(1)):
        expected = (features(batch.raw) - every.mean(0)) / (every.std(0) + 1e-6)
        torch.testing.assert_close(taught(batch), expected, rtol=1e-4, atol=1e-4)
    assert width == 16


def test_a_method_is_taught_the_same_way(teacher, rows):
    """The teacher of a comparison too is asked for what is no row of the split."""
    from small_files import digits_data, model_scene, trained_network

    from qtrain_cli.runs.making import answers_of

    data, scene = digits_data(), model_scene(trained_network())
    answers = answers_of(scene, data)
    own = RowBatches(data.train, data.normalisation, 50, 0, CPU)
    for batch in (own.at(0), Mirrored(own, []).at(0)):
        expected = predict(scene.module, scene.teacher, batch.raw, data.normalisation)
        torch.testing.assert_close(answers(batch), expected, rtol=1e-6, atol=1e-6)
