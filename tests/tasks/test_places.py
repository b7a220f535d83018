"""Tasks with a class for each place: losses and figures against plain torch, torchmetrics and definitions by
hand; places that do not count change no bit; gradients flow where a place counts and nowhere else."""

import math

import pytest
import torch
from torch import nn

from qtrain_cli.errors import BadInput
from qtrain_cli.tasks import TASKS
from qtrain_cli.tasks.objective import Objective, check_outputs
from qtrain_cli.tasks.places import IGNORED

RANDOM = torch.Generator().manual_seed(3)
N, L, C = 8, 7, 5
TOKENS = torch.randn(N, L, C, generator=RANDOM)
LABELS = torch.randint(0, C, (N, L), generator=RANDOM)
LABELS[torch.rand(N, L, generator=RANDOM) < 0.3] = IGNORED
PIXELS = torch.randn(N, 3, 4, 6, generator=RANDOM)
CLASSES = torch.randint(0, 3, (N, 4, 6), generator=RANDOM)
CLASSES[torch.rand(N, 4, 6, generator=RANDOM) < 0.2] = IGNORED
NAMES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
#: The rows, with outputs and targets of each, and where classes are.
ROWS = {
    "tokens": (TOKENS, LABELS, 2),
    "entities": (TOKENS, LABELS, 2),
    "language": (TOKENS, LABELS, 2),
    "segmentation": (PIXELS, CLASSES, 1),
}


def objective(name, **others):
    return Objective(name, 0.5, 2.0, labels=NAMES, **others)


def places(outputs, targets, axis):
    """Scores and classes of the places that count, one after the other."""
    flat = outputs.movedim(axis, -1).reshape(-1, outputs.shape[axis])
    counts = targets.reshape(-1) != IGNORED
    return flat[counts], targets.reshape(-1)[counts]


def test_every_row_with_places_is_here():
    assert {row.plain or row.name for row in TASKS.values() if row.places} == set(ROWS)


# --- losses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROWS)
def test_the_hard_loss_is_that_of_torch(name):
    outputs, targets, axis = ROWS[name]
    wanted = nn.functional.cross_entropy(outputs.movedim(axis, 1), targets, ignore_index=IGNORED)
    assert float(objective(name).hard_loss(outputs, targets)) == pytest.approx(float(wanted), rel=1e-6)


@pytest.mark.parametrize("name", ROWS)
def test_the_soft_loss_is_that_of_the_places_that_count(name):
    outputs, targets, axis = ROWS[name]
    teacher = outputs.flip(0)
    ours, theirs = (places(found, targets, axis)[0].double() for found in (outputs, teacher))
    shares = (theirs / 2).softmax(1)
    wanted = 4 * (shares * (shares.log() - (ours / 2).log_softmax(1))).sum(1).mean()
    found = objective(name).row.soft_loss(outputs, teacher, 2.0, targets)
    assert float(found) == pytest.approx(float(wanted), rel=1e-5)
    whole = objective(name).loss(outputs, targets, teacher)
    hard = objective(name).hard_loss(outputs, targets)
    assert float(whole) == pytest.approx(float(0.5 * hard + 0.5 * found), rel=1e-6)


@pytest.mark.parametrize("name", ROWS)
def test_weights_of_classes_are_those_of_torch(name):
    outputs, targets, axis = ROWS[name]
    weights = torch.arange(1.0, outputs.shape[axis] + 1)
    wanted = nn.functional.cross_entropy(outputs.movedim(axis, 1), targets, weights, ignore_index=IGNORED)
    found = Objective(name, 0.0, 1.0, labels=NAMES, weights=tuple(weights.tolist()))
    assert float(found.loss(outputs, targets, outputs)) == pytest.approx(float(wanted), rel=1e-6)


@pytest.mark.parametrize("name", ROWS)
def test_gradients_reach_the_places_that_count_and_no_other(name):
    outputs, targets, axis = ROWS[name]
    outputs = outputs.clone().requires_grad_()
    objective(name).loss(outputs, targets, outputs.detach().flip(0)).backward()
    moved = (outputs.grad != 0).any(axis)
    assert torch.equal(moved, targets != IGNORED)


@pytest.mark.parametrize("name", ROWS)
def test_a_batch_in_which_nothing_counts_has_no_loss_and_no_gradient(name):
    outputs, targets, _ = ROWS[name]
    outputs = outputs.clone().requires_grad_()
    loss = objective(name).loss(outputs, torch.full_like(targets, IGNORED), outputs.detach())
    loss.backward()
    assert float(loss.detach()) == 0 and not outputs.grad.any()


# --- padding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in ROWS if name != "segmentation"])
@pytest.mark.parametrize("more", [1, 50])
def test_padding_changes_no_bit(name, more):
    """Of a row without any, and of a split: whatever the outputs in the padding are."""
    filled = torch.cat([TOKENS, 100 * torch.randn(N, more, C, generator=RANDOM)], 1)
    ignored = torch.cat([LABELS, torch.full((N, more), IGNORED)], 1)
    one, teacher = objective(name), TOKENS.flip(0)
    assert float(one.loss(TOKENS, LABELS, teacher)) == float(one.loss(filled, ignored, filled.flip(0)))
    assert one.row.counts(TOKENS, LABELS).tolist() == one.row.counts(filled, ignored).tolist()
    short, long = (
        one.scored(lambda part, o=outputs: o[part], targets, lambda part, o=outputs: o.flip(0)[part], True)
        for outputs, targets in ((TOKENS, LABELS), (filled, ignored))
    )
    for what in ("loss", "closeness", "teacher", "metrics"):
        assert getattr(short, what) == getattr(long, what), what
    assert one.row.interval_of(short.counts) == one.row.interval_of(long.counts)
    assert one.trivial(LABELS, LABELS, (L, C)) == one.trivial(ignored, ignored, (L + more, C))


def test_rows_of_padding_alone_count_nothing():
    outputs, targets = torch.cat([TOKENS, TOKENS]), torch.cat([LABELS, torch.full_like(LABELS, IGNORED)])
    for name in ("language", "tokens", "entities"):
        one = objective(name)
        assert one.score(outputs, targets) == pytest.approx(one.score(TOKENS, LABELS), rel=1e-12)


def test_void_pixels_change_no_bit():
    other = PIXELS.clone()
    other.movedim(1, -1)[CLASSES == IGNORED] = 50 * torch.randn(3, generator=RANDOM)
    one = objective("segmentation")
    assert one.row.counts(PIXELS, CLASSES).tolist() == one.row.counts(other, CLASSES).tolist()
    assert float(one.hard_loss(PIXELS, CLASSES)) == float(one.hard_loss(other, CLASSES))


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("name", ROWS)
def test_targets_of_any_integer_type_are_the_same(name, dtype):
    outputs, targets, _ = ROWS[name]
    one = objective(name)
    assert float(one.hard_loss(outputs, targets.to(dtype))) == float(one.hard_loss(outputs, targets))
    assert one.score(outputs, targets.to(dtype)) == one.score(outputs, targets)
    shape = tuple(outputs.shape[1:])
    assert one.trivial(targets.to(dtype), targets, shape) == one.trivial(targets, targets, shape)


# --- figures ---------------------------------------------------------------------------------------------


def test_perplexity():
    metrics = pytest.importorskip("torchmetrics.text", reason="pip install 'qtrain[metrics]'")
    one = objective("language", at_once=3)
    found = one.scored(lambda part: TOKENS[part], LABELS, further=True)
    wanted = metrics.Perplexity(ignore_index=IGNORED)(TOKENS, LABELS)
    assert one.row.figure_of(found.counts) == pytest.approx(float(wanted), rel=1e-6)
    assert found.loss == pytest.approx(math.log(float(wanted)), rel=1e-6)
    scores, right = places(TOKENS, LABELS, 2)
    assert found.metrics == {"accuracy": pytest.approx(float((scores.argmax(1) == right).double().mean()))}


def test_perplexity_of_shares_by_hand():
    shares = torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]])
    one = objective("language")
    assert one.score(shares.log(), torch.tensor([[0, 1]])) == pytest.approx((1 / (0.5 * 0.8)) ** 0.5)
    assert one.score(shares.log(), torch.tensor([[0, IGNORED]])) == pytest.approx(2)


def test_long_texts_weigh_more_than_short_ones():
    targets = torch.full((2, L), IGNORED)
    targets[0, :1], targets[1] = 0, 0
    scores = torch.zeros(2, L, C)
    scores[0, :, 0] = 5
    one = objective("language")
    sums = [-float(scores[row, 0].log_softmax(0)[0]) for row in (0, 1)]
    assert one.score(scores, targets) == pytest.approx(math.exp((sums[0] + L * sums[1]) / (1 + L)), rel=1e-6)


@pytest.mark.parametrize("at_once", [2, 100])
def test_mean_intersection_over_union(at_once):
    metrics = pytest.importorskip("torchmetrics.classification", reason="pip install 'qtrain[metrics]'")
    one = objective("segmentation", at_once=at_once)
    found = one.scored(lambda part: PIXELS[part], CLASSES, further=True)
    wanted = metrics.MulticlassJaccardIndex(3, ignore_index=IGNORED)(PIXELS, CLASSES)
    assert one.row.figure_of(found.counts) == pytest.approx(float(wanted), rel=1e-6)
    exact = metrics.MulticlassAccuracy(3, average="micro", ignore_index=IGNORED)(PIXELS, CLASSES)
    assert found.metrics["pixel_accuracy"] == pytest.approx(float(exact), rel=1e-6)


def test_a_class_that_is_nowhere_is_in_no_mean():
    targets = torch.tensor([[[0, 0], [1, 1]]])
    scores = torch.zeros(1, 4, 2, 2)
    scores[0, 0, 0], scores[0, 1, 1, 0], scores[0, 0, 1, 1] = 1, 1, 1
    # Class 0: 2 of 3; class 1: 1 of 2; classes 2 and 3 are neither named nor there.
    assert objective("segmentation").score(scores, targets) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_one_output_a_pixel_says_yes_or_no():
    yes = torch.randn(N, 1, 4, 6, generator=RANDOM)
    targets = CLASSES.where(CLASSES == IGNORED, CLASSES % 2)
    pairs = torch.cat([torch.zeros_like(yes), yes], 1)
    plain = objective("segmentation")
    counts = targets != IGNORED
    wanted = nn.functional.binary_cross_entropy_with_logits(yes[:, 0][counts], targets[counts].float())
    for name, outputs in (
        ("segmentation-binary", yes), ("segmentation-binary", yes[:, 0]),
        ("segmentation-binary-probabilities", yes.sigmoid()),
        ("segmentation-probabilities", pairs.softmax(1)),
    ):  # fmt: skip
        other = objective(name)
        assert float(other.hard_loss(outputs, targets)) == pytest.approx(float(wanted), rel=1e-5)
        assert other.score(outputs, targets) == plain.score(pairs, targets)
        shape = tuple(outputs.shape[1:])
        assert other.trivial(targets, targets, shape) == plain.trivial(targets, targets, (2, 4, 6))
        check_outputs(name, outputs, targets, 2)


# --- entities --------------------------------------------------------------------------------------------


def entities(labels):
    """(type, first, last) of each entity of one row, as seqeval's `get_entities` walks along it."""
    found, begun, before = set(), 0, ("O", "")
    for place, label in enumerate([*labels, "O"]):
        tag, kind = label[0], label.partition("-")[2]
        ends = before[0] in "ES" or (before[0] in "BI" and tag in "BSO")
        if ends or (before[0] != "O" and before[1] != kind):
            found.add((before[1], begun, place - 1))
        starts = tag in "BS" or (before[0] in "ESO" and tag in "EI")
        if starts or (tag != "O" and before[1] != kind):
            begun = place
        before = tag, kind
    return found


@pytest.mark.parametrize(
    "names", [NAMES, ("I-X", "B-X", "O"), ("O", "S-A", "B-A", "I-A", "E-A", "B-B", "I-B")]
)
def test_entities_are_those_of_conlleval(names):
    generator = torch.Generator().manual_seed(len(names))
    targets = torch.randint(0, len(names), (200, 9), generator=generator)
    near = 2 * nn.functional.one_hot(targets, len(names))
    outputs = near + torch.randn(200, 9, len(names), generator=generator)
    targets[torch.rand(200, 9, generator=generator) < 0.2] = IGNORED
    row = TASKS["entities"].for_labels(names)
    for outputs_of, right, counts in zip(outputs, targets, row.counts(outputs, targets), strict=True):
        there = [place for place in range(9) if right[place] != IGNORED]
        named = entities([names[int(outputs_of[place].argmax())] for place in there])
        true = entities([names[int(right[place])] for place in there])
        assert counts.tolist() == [len(named & true), len(named), len(true)]


def test_f1_precision_and_recall_of_entities():
    #        B-PER I-PER O B-LOC     named: B-PER I-PER O I-LOC, and B-PER for the third
    right = torch.tensor([[1, 2, 0, 3], [1, 0, 0, 0]])
    named = torch.tensor([[1, 2, 0, 4], [1, 2, 1, 0]])
    outputs = nn.functional.one_hot(named, C).float()
    found = objective("entities").scored(lambda part: outputs[part], right, further=True)
    # Named: PER 0-1, LOC 3 (an I that begins), PER 0-1, PER 2. Right are the first two.
    assert objective("entities").score(outputs, right) == pytest.approx(2 * 2 / (4 + 3))
    assert found.metrics == {"precision": 0.5, "recall": pytest.approx(2 / 3), "token_accuracy": 5 / 8}


# --- trivial answers -------------------------------------------------------------------------------------


def test_the_frequencies_of_tokens():
    train = torch.tensor([[0, 0, 1], [0, 2, IGNORED]])
    test = torch.tensor([[0, 1, IGNORED]])
    # 3, 1, 1 of 5; two were there once, so that 2 of 5 are left for what is new, tokens 3 and 4.
    shares = [3 / 5 * 3 / 5, 1 / 5 * 3 / 5]
    wanted = math.exp(-sum(map(math.log, shares)) / 2)
    assert objective("language").trivial(train, test, (3, 5)) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(("train", "test", "shares"), [
    ([[0, 1]], [[0, 2]], (0.25, 0.25)),  # all were there once: half is left for tokens 2 and 3
    ([[0, 0, 1, 1]], [[0, 2]], (3 / 8, 1 / 8)),  # none was: as if one had been
    ([[IGNORED]], [[0, 2]], (0.25, 0.25)),  # nothing was there at all
])  # fmt: skip
def test_the_frequencies_of_what_is_new(train, test, shares):
    wanted = math.prod(shares) ** -0.5
    found = objective("language").trivial(torch.tensor(train), torch.tensor(test), (2, 4))
    assert found == pytest.approx(wanted, rel=1e-6)


def test_the_frequencies_of_a_whole_vocabulary_are_the_entropy():
    train = torch.tensor([[0, 0, 1, 1, 2, 2, 2, 2]])
    entropy = -(2 * 0.25 * math.log(0.25) + 0.5 * math.log(0.5))
    assert objective("language").trivial(train, train, (8, 3)) == pytest.approx(math.exp(entropy), rel=1e-6)


def test_the_commonest_label_and_class():
    assert (
        objective("tokens").trivial(torch.tensor([[1, 1, 0]]), torch.tensor([[1, 0, IGNORED]]), (3, 2)) == 0.5
    )
    assert objective("entities").trivial(LABELS * 0, LABELS, (L, C)) == 0
    train, test = torch.tensor([[[2, 2], [0, 1]]]), torch.tensor([[[2, 0], [2, 2]]])
    assert objective("segmentation").trivial(train, test, (3, 2, 2)) == pytest.approx((0.75 + 0) / 2)


# --- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "outputs", "targets"), [
    ("tokens", (4, 7), (4, 7)), ("tokens", (4, 6, 3), (4, 7)), ("tokens", (4, 7, 2), (4, 7)),
    ("language", (4, 3), (4, 7)), ("segmentation", (4, 3, 8, 9), (4, 8, 8)),
    ("segmentation", (4, 2, 8, 8), (4, 8, 8)),
])  # fmt: skip
def test_outputs_that_do_not_fit(name, outputs, targets):
    with pytest.raises(BadInput, match=r"outputs have the shape .*, the targets .* with 3 classes") as caught:
        check_outputs(name, torch.zeros(outputs), torch.zeros(targets), 3)
    assert "a score of each" in caught.value.advice and "--ignore-index" in caught.value.advice
