"""What a fine-tune in a kilobyte is measured against: the same base, head and rows, nothing compressed.

    python samples/8_fine_tune_whole.py BASE DATA whole|lora|probe [EPOCHS] [SEED] [RATE] [float32|bf16]

    whole    every weight of the base and the head
    lora     PEFT's LoRA of rank 4 on query and value, and the head
    probe    the head alone

BASE is a Hugging Face folder of a BERT with its tokenizer, DATA a folder with train.csv and test.csv (columns
`text`, `label`). The head is a matrix on the mean of the tokens, by its root mean square, as `qtrain compress
--base` puts it on. Prints one line of JSON: accuracy on the whole test split, which is used once, at the end,
and how many numbers were trained. Needs `pip install '.[hf]'`. With `bf16` matrices are multiplied in
bfloat16, faster on a processor that has instructions for it, and much more slowly on any other. A run takes
some minutes of one core, of every weight about a quarter of an hour.
"""

from __future__ import annotations

import csv
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerBase

BATCH, LENGTH, BUCKET = 32, 64, 8
#: The peak of the one-cycle rate: of 3e-5, 1e-4, 3e-4 for the whole, of 1e-3, 3e-3, 1e-2 for the others.
RATES = {"whole": 1e-4, "lora": 3e-3, "probe": 1e-2}


class Classifier(nn.Module):
    """Base and head."""

    def __init__(self, base: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.base, self.head = base, nn.Linear(width, classes, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores (N, classes) for tokens (N, L), 0 where there are none."""
        mask = tokens != 0
        hidden = self.base(input_ids=tokens, attention_mask=mask.long()).last_hidden_state.float()
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return self.head(mean / (mean.square().mean(1, keepdim=True).sqrt() + 1e-6)).float()


def rows(path: Path) -> tuple[list[str], list[str]]:
    """Texts and labels."""
    with path.open(newline="", encoding="utf-8") as stream:
        read = list(csv.DictReader(stream))
    return [row["text"] for row in read], [row["label"] for row in read]


def tokens_of(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[Tensor]:
    """Each text's tokens."""
    return [torch.tensor(ids) for ids in tokenizer(texts, truncation=True, max_length=LENGTH)["input_ids"]]


def batches(texts: list[Tensor], draw: random.Random | None) -> Iterator[tuple[Tensor, list[int]]]:
    """Padded tokens and their places: texts of like length together, in a drawn order if there is a draw."""
    order = list(range(len(texts)))
    if draw:
        draw.shuffle(order)
    step = BATCH * BUCKET if draw else len(order)
    parts = [
        by_length[first : first + BATCH]
        for start in range(0, len(order), step)
        for by_length in [sorted(order[start : start + step], key=lambda place: len(texts[place]))]
        for first in range(0, len(by_length), BATCH)
    ]
    if draw:
        draw.shuffle(parts)
    for part in parts:
        yield nn.utils.rnn.pad_sequence([texts[place] for place in part], batch_first=True), part


def trained(model: Classifier, kind: str) -> list[nn.Parameter]:
    """The parameters that move; PEFT puts its factors in."""
    if kind == "lora":
        from peft import LoraConfig, get_peft_model  # of all kinds this one alone needs it

        config = LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], lora_dropout=0.0)
        model.base = get_peft_model(model.base, config)
    elif kind == "probe":
        model.base.requires_grad_(False)
    return [part for part in model.parameters() if part.requires_grad]


def main(base: str, data: str, kind: str, epochs: int, seed: int, rate: float, precision: str) -> None:
    """Train, measure on the test rows, print."""
    torch.manual_seed(seed)
    (texts, words), (test_texts, test_words) = (
        rows(Path(data) / f"{part}.csv") for part in ("train", "test")
    )
    classes, tokenizer = sorted(set(words)), AutoTokenizer.from_pretrained(base)
    train, test = tokens_of(tokenizer, texts), tokens_of(tokenizer, test_texts)
    labels, test_labels = (torch.tensor([classes.index(word) for word in w]) for w in (words, test_words))
    whole = AutoModel.from_pretrained(base, add_pooling_layer=False)
    model = Classifier(whole, whole.config.hidden_size, len(classes)).eval()
    parameters = trained(model, kind)
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.0)
    steps = epochs * len(list(batches(train, random.Random(seed))))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps)
    draw = random.Random(seed)
    for _ in range(epochs):
        for tokens, places in batches(train, draw):
            with torch.autocast("cpu", torch.bfloat16, precision == "bf16"), sdpa_kernel(SDPBackend.MATH):
                scores = model(tokens)
            optimizer.zero_grad()
            cross_entropy(scores, labels[places]).backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        right = sum(int((model(t).argmax(1) == test_labels[p]).sum()) for t, p in batches(test, None))
    numbers = sum(part.numel() for part in parameters)
    found = {"kind": kind, "data": Path(data).name, "epochs": epochs, "seed": seed, "rate": rate}
    found |= {"precision": precision, "numbers": numbers, "test_accuracy": right / len(test)}
    print(json.dumps(found))


if __name__ == "__main__":
    base, data, kind, *rest = sys.argv[1:]
    epochs, seed, rate, precision = [*rest, *["3", "0", str(RATES[kind]), "float32"][len(rest) :]]
    main(base, data, kind, int(epochs), int(seed), float(rate), precision)
