"""Trains a small transformer on texts from nothing, as a teacher: a Hugging Face folder with its tokenizer.

    python samples/7_train_text_teacher.py DATA OUT [classes|language] [EPOCHS]

DATA is a folder with train.csv and test.csv, of the columns `text` and, for classes, `label`. The tokenizer
(WordPiece) learns its words from the training texts alone. Prints the accuracy, or the perplexity of the
next token, on the whole test split, which is used once, at the end. Needs `pip install '.[hf]'`; some minutes
on two cores. Compress one with

    qtrain compress OUT --data DATA --bytes 4KB
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

SEED, EPOCHS, BATCH, RATE = 0, 8, 64, 1e-3
WORDS, LENGTH, WIDTH, LAYERS = 4000, 64, 64, 2
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def rows(path: Path) -> tuple[list[str], list[str]]:
    """Texts and labels (empty where there are none)."""
    with path.open(newline="", encoding="utf-8") as stream:
        read = list(csv.DictReader(stream))
    return [row["text"] for row in read], [row.get("label") or "" for row in read]


def learned_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """WordPiece over lower-case words; each text is ``[CLS] ... [SEP]``."""
    found = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    found.normalizer, found.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    found.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=WORDS, special_tokens=SPECIAL))
    found.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=found, model_max_length=LENGTH,
        pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
    )  # fmt: skip


def network(kind: str, words: int, classes: list[str]) -> PreTrainedModel:
    """A BERT of two layers with a head for the classes, or a GPT-2 of two layers."""
    if kind == "language":
        config = GPT2Config(
            vocab_size=words, n_positions=LENGTH, n_embd=WIDTH, n_layer=LAYERS, n_head=4,
            pad_token_id=0, bos_token_id=2, eos_token_id=3,
        )  # fmt: skip
        return GPT2LMHeadModel(config)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=words, max_position_embeddings=LENGTH, hidden_size=WIDTH, num_hidden_layers=LAYERS,
            num_attention_heads=4, intermediate_size=2 * WIDTH, pad_token_id=0, num_labels=len(classes),
            id2label=dict(enumerate(classes)), label2id={name: place for place, name in enumerate(classes)},
        )
    )  # fmt: skip


def losses(model: PreTrainedModel, tokens: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Summed loss and number of what was asked: classes, or next tokens that are no padding."""
    mask = (tokens != 0).long()
    scores = model(input_ids=tokens, attention_mask=mask).logits
    if isinstance(model, GPT2LMHeadModel):
        wanted = tokens[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
        scores, labels = scores[:, :-1].flatten(0, 1), wanted.flatten()
    return cross_entropy(scores, labels, reduction="sum"), (labels != -100).sum()


def train(model: PreTrainedModel, tokens: Tensor, labels: Tensor, epochs: int) -> None:
    """Adam with a one-cycle learning rate."""
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    steps = epochs * (len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=steps)
    model.train()
    for epoch in range(epochs):
        for chosen in torch.randperm(len(labels))[: len(labels) // BATCH * BATCH].split(BATCH):
            optimizer.zero_grad()
            total, count = losses(model, tokens[chosen], labels[chosen])
            (total / count).backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss {(total / count).item():.3f}", flush=True)
    model.eval()


@torch.no_grad()
def tested(model: PreTrainedModel, tokens: Tensor, labels: Tensor) -> str:
    """The figure of the whole test split."""
    parts = list(zip(tokens.split(256), labels.split(256), strict=True))
    if isinstance(model, GPT2LMHeadModel):
        sums = torch.tensor([losses(model, *part) for part in parts]).sum(0)
        return f"perplexity {(sums[0] / sums[1]).exp():.2f} of {len(labels)} test texts"
    scores = torch.cat([model(input_ids=one, attention_mask=(one != 0).long()).logits for one, _ in parts])
    return f"{(scores.argmax(1) == labels).double().mean():.2%} of {len(labels)} test texts"


def main(data: Path, out: Path, kind: str = "classes", epochs: int = EPOCHS) -> None:
    """Train, measure on the test rows, write."""
    torch.manual_seed(SEED)
    (texts, words), (test_texts, test_words) = rows(data / "train.csv"), rows(data / "test.csv")
    tokenizer, classes = learned_tokenizer(texts), sorted(set(words))
    train_tokens, test_tokens = (
        torch.tensor(tokenizer(given, padding=True, truncation=True)["input_ids"])
        for given in (texts, test_texts)
    )
    labels, test_labels = (
        torch.tensor([classes.index(word) for word in given]) for given in (words, test_words)
    )
    model = network(kind, len(tokenizer), classes)
    train(model, train_tokens, labels, epochs)
    print(tested(model, test_tokens, test_labels))
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:4], *map(int, sys.argv[4:5]))
