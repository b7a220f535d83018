"""The one tensor of a file, as bytes: its parts put together and taken apart. Standard library only.

    8 bytes     check      of the whole file (`container`)
    8 bytes     digest     of the tensors that the file gives
    deflated    facts      canonical JSON: everything else that is not a stored number
    4 bytes     probes     float32 each, of a student: as many as its facts say
    32 bytes    base       digest of the base model's tensors, in a file of changes
    72 bytes    origin     digests of the run (8), of the data (32), of the model's file (32), beside a record
    deflated    kept       the kept tensors' bytes, row after row; left out when there are none
    the rest    numbers    the groups of the method (`coded`)

Deflated parts are raw RFC 1951 streams, which know where they end. The facts' own is compressed with a preset
dictionary: words that most files share, so that they cost next to nothing. It belongs to the format.
"""

from __future__ import annotations

import json
import reprlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qtrain_cli.artifact.container import CHECK_BYTES, Container
from qtrain_cli.errors import BadInput
from qtrain_cli.methods.forms import Forms

#: The one tensor of the file.
TENSOR = "q"
#: A student's file has so many of its outputs at most.
MAX_OUTPUTS = 16
STUDENT = "student"
DIGEST_BYTES = 8
_ORIGIN = (8, 32, 32)
BASE_BYTES = 32
_DIGEST_END = CHECK_BYTES + DIGEST_BYTES
#: The facts' text. Parsed, JSON takes up to thirty times its size; 70,000 tensors find room.
MAX_FACTS = 2**23
#: So many bytes of kept tensors for nothing, and so many more for each byte that they are inflated from.
_FREE_BYTES, _MOST_RATIO = 2**26, 32
DICTIONARY = (
    b'"align":"fc","align_loss":"cka","align_weight":0.3,"self-distilled","running-average","born-again",'
    b'"parameter-shift","spsa","generation":1,"gradient":"spsa","encoding=amplitude,readout=probabilities,'
    b'zz,paulis=ZZ,linear,real-amplitudes,entangler=cnot-ring,"student":"classical:like='
    b'{"method":"student","plan":{"inputs":[1,28,28],"inputs":[3,32,32],"lesson":{"align":null,'
    b'"align_loss":null,"align_weight":null,"distill":0.5,"evaluations":0,"generation":0,'
    b'"gradient":"adjoint","history":[[2.281,0.1181],[1.716,0.3472]],"method":"distilled","noise":0.0,'
    b'"shots":0,"temperature":4.0,"test_noise":0.0,"test_shots":0},"method":"labels","normalisation":[[],[]],'
    b'"outputs":10,"student":"qnn:qubits=4,layers=3,encoding=angle,entanglement=linear,readout=z,'
    b'ansatz=su2-rz-ry,entangler=cnot-ring","student":"hybrid:qubits=4,reps=2,feature-map=z,map-reps=1,'
    b'entanglement=full,ansatz=su2-rz-ry,entangler=cnot-reverse-linear,front=auto,params=800",'
    b'"teacher":null},"record":["",[],"no-teacher"],"rules":"wire0=msb float32"}'
    b'"subspace","small-dense","classical-curve","fixed-random","hashing","narrow","method":"quantisation",'
    b'"method":"low-rank","method":"pruning","plan":{"bits":4},"plan":{"hidden":4,"plan":{"k":700,"seed":0},'
    b'"plan":{"share":128},"plan":{"survivors":700},"plan":{"width":64,"seed":0},'
    b'","token_embd.weight",[self_attn.in_proj_weight",[in_proj_bias",[out_proj.weight",[linear1.weight",['
    b'linear2.bias",[norm2.weight",[embedding.weight",[encoder.layers.0.decoder.head.weight",[layer4.1.'
    b'layer3.0.downsample.0.weight",[shortcut.layer2.0.conv2.weight",[layer1.0.conv1.weight",[layer1.0.bn1.'
    b'features.0.weight",[classifier.1.bias",[classifier.weight",[backbone.stem.blocks.0.net.0.model.'
    b'["conv3.weight",[64,32,3,3],288],["conv2.weight",[32,16,5,5],400],["conv2.bias",[32],400],'
    b'["bn1.weight",[16],16,1.0,"F32"],["bn1.bias",[16],16],["bn1.running_mean","F32",[16],"F16"],'
    b'["bn1.running_var","F32",[16],"F16"],["bn1.num_batches_tracked","I64",[]],["fc2.weight",[10,20],20],'
    b'["fc2.bias",[10],20],["fc3.bias",["fc.weight",["fc.bias",[128],256],[512],[100],"su2-rz-ry",'
    b'"strongly-entangling","cnot-ranges","efficient-su2","u3-cu3","cu3-ring","linear-per-tensor",0],'
    b'"mlp",4],"quantum-train",0],"tensor-train",cuda:0","trusted-pickle","pt2"],mps.pth","'
    b'","transformer.h.\\n.attn.c_attn.lora_B.weight",[model.layers.\\n.self_attn.q_proj.lora_B.weight",['
    b'v_proj.lora_B.weight",[mlp.down_proj.layers.\\n.layer.\\n.blocks.\\n.conv1.bn1.attn.qkv.lora_B.'
    b'score.weight",[classifier.bias",[2],768],"target":["delta","target":["lora","model",90873456,4,0.2,0,'
    b'39168,"mean"]"bert.encoder.layer.\\n.attention.self.key.bias",[384],384],output.dense.bias",[384],1536],'
    b'output.LayerNorm.weight",[384],384],output.LayerNorm.bias",[384],384],intermediate.dense.bias",[1536],'
    b'{"input":["I64",41],"layout":[[6,0,[["encoder.layer.\\n.attention.self.query.lora_B.weight",[384,4],4],'
    b'["encoder.layer.\\n.attention.self.value.lora_B.weight",[384,4],4]]],["head.weight",[2,384],384]],'
    b'{"input":["F32",3,32,32],"input":["F32",1,28,28],"layout":[["conv1.weight",[16,1,3,3],9],'
    b'["conv1.bias",[16],9],["fc1.weight",[20,192],192],["fc1.bias",[20],192]],"plan":{"angles":[8,0],'
    b'"circuit":["real-amplitudes","cnot-ring",13,48,1],"mapping":["linear",0]},"record":["model.pt",'
    b'[0.98,0.97,0.9,10000,0.99,0.98],0.0,0.1,10,0,"cpu",'
    b'"qtrain=0.2.0 torch=2.13.0+cpu numpy=2.4.6 python=3.11.7","state-dict","stock-layers"],'
    b'"rules":"wire0=msb portable float64"}'
)


@dataclass(frozen=True)
class Opened:
    """A file's tensor taken apart, in the words of this format, whichever it was written in.

    `facts` is the parsed JSON of `text`; `rewritten` turns facts into the text that an honest writer of the
    file's own format would have written. `base` is the digest of a base in hexadecimal, or "", `origin` those
    of run, data and model, nothing without a record; `rest` what follows it. A format without a digest has
    "". `numbers` turns what follows the kept tensors into the bytes of this format.
    """

    digest: str
    facts: Any
    text: str
    probes: tuple[float, ...]
    origin: tuple[str, ...]
    rest: bytes
    rewritten: Callable[[Any], str]
    numbers: Callable[[Forms, bytes], bytes] = lambda forms, data: data
    base: str = ""


def join_payload(
    digest: str, text: str, probes: tuple[float, ...], origin: tuple[str, ...], kept: bytes, numbers: bytes
) -> bytes:
    """The tensor's bytes, its check blank; `origin` are all digests between probes and kept tensors."""
    facts = deflated(text.encode(), DICTIONARY)
    packed = struct.pack(f"<{len(probes)}f", *probes)
    fixed = bytes(CHECK_BYTES) + bytes.fromhex(digest)
    return fixed + facts + packed + bytes.fromhex("".join(origin)) + kept_stream(kept) + numbers


def opened(container: Container, rewritten: Callable[[Any], str]) -> Opened:
    """The parts of a file of this format. Raises `BadInput` where they cannot be told apart."""
    return opened_with(container, rewritten, DICTIONARY, 0)


def opened_with(
    container: Container, rewritten: Callable[[Any], str], dictionary: bytes, model_probes: int
) -> Opened:
    """The same of a format with another dictionary, or with so many probes of a model."""
    data = tensor_bytes(container)
    text, rest = text_at(data, _DIGEST_END, dictionary)
    facts = json.loads(text)
    probes, rest = probes_of(rest, _probe_count(facts, model_probes))
    (base,), rest = digests_of("base", rest, (BASE_BYTES,)) if "target" in facts else (("",), rest)
    origin, rest = origin_of(rest) if "record" in facts else ((), rest)
    return Opened(
        data[CHECK_BYTES:_DIGEST_END].hex(), facts, text, probes, origin, rest, rewritten, base=base
    )


def method_in(container: Container, dictionary: bytes = DICTIONARY) -> str | None:
    """The method that the facts of a file with this dictionary name; None where they name none."""
    try:
        found = json.loads(text_at(tensor_bytes(container), _DIGEST_END, dictionary)[0])["method"]
    except (BadInput, ValueError, LookupError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def tensor_bytes(container: Container) -> bytes:
    """The bytes of the one tensor. Raises `BadInput` for other tensors than it, or more metadata."""
    if len(container.header.metadata) != 1:
        raise BadInput("its header has other metadata than its own")
    tensors = container.header.tensors
    size = len(container.data) - container.header.payload_start
    if {name: (row.dtype, row.shape) for name, row in tensors.items()} != {TENSOR: ("U8", (size,))}:
        shown = reprlib.repr(", ".join(tensors))
        raise BadInput(f"it holds the tensors {shown}; needed: one, '{TENSOR}', of bytes")
    return container.data[container.header.payload_start :]


def text_at(data: bytes, place: int, dictionary: bytes) -> tuple[str, bytes]:
    """The facts that begin at this place, and what follows them. Raises `BadInput`."""
    if len(data) < place:
        raise BadInput(f"its tensor has {len(data)} bytes; needed: {place} and more")
    facts, rest = inflated(data[place:], MAX_FACTS, dictionary)
    try:
        return facts.decode(), rest
    except UnicodeDecodeError as error:
        raise BadInput(f"its facts are not text ({error})") from None


def probes_of(data: bytes, count: int) -> tuple[tuple[float, ...], bytes]:
    """So many float32 at the beginning of these bytes, and what follows them."""
    if len(data) < 4 * count:
        raise BadInput(f"{len(data)} bytes follow its facts; needed: {4 * count} and more")
    return struct.unpack(f"<{count}f", data[: 4 * count]), data[4 * count :]


def origin_of(rest: bytes) -> tuple[tuple[str, ...], bytes]:
    """The digests of run, data and model at the beginning of these bytes, and what follows."""
    return digests_of("origin", rest, _ORIGIN)


def digests_of(what: str, rest: bytes, sizes: tuple[int, ...]) -> tuple[tuple[str, ...], bytes]:
    """Digests of so many bytes each at the beginning of these bytes, in hexadecimal, and what follows."""
    if len(rest) < sum(sizes):
        raise BadInput(f"{len(rest)} bytes stand where its {what} should; needed: {sum(sizes)} and more")
    digests, place = [], 0
    for size in sizes:
        digests.append(rest[place : place + size].hex())
        place += size
    return tuple(digests), rest[place:]


def inflated(data: bytes, most: int, dictionary: bytes = b"") -> tuple[bytes, bytes]:
    """What a stream at the beginning of `data` holds, and what follows it.

    Raises `BadInput` for more than `most` bytes, or a stream that does not end.
    """
    coder = zlib.decompressobj(-zlib.MAX_WBITS, dictionary)
    try:
        found = coder.decompress(data, most + 1)
    except zlib.error as error:
        raise BadInput(f"a part of it cannot be inflated ({error})") from None
    if len(found) > most or not coder.eof:
        raise BadInput(f"a part of it inflates to more than {most} bytes, or does not end")
    return found, coder.unused_data


def single_precision(value: float) -> float:
    """The nearest float32, as a probe is stored. Raises `BadInput` for what is none."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        raise BadInput(f"the sum of weights {value:g} is beyond float32") from None


def most_inflated(size: int) -> int:
    """How many bytes so many deflated ones may become: what a small file may ask a reader to allocate."""
    return _FREE_BYTES + _MOST_RATIO * size


def kept_stream(kept: bytes) -> bytes:
    """Nothing for nothing; what shrinks more than a reader takes goes in as it is."""
    if not kept:
        return b""
    shrunk = deflated(kept)
    return shrunk if len(kept) <= most_inflated(len(shrunk)) else deflated(kept, level=0)


def deflated(data: bytes, dictionary: bytes = b"", level: int = 9) -> bytes:
    """A raw stream."""
    coder = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_DEFAULT_STRATEGY, dictionary)
    return coder.compress(data) + coder.flush()


def _probe_count(facts: Any, model_probes: int) -> int:
    if facts.get("method") != STUDENT:
        return model_probes
    outputs = facts["plan"]["outputs"]
    if type(outputs) is not int or outputs < 1:
        raise BadInput("a size in it is not a whole number above 0")
    return min(MAX_OUTPUTS, outputs)
