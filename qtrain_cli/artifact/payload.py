"""The one tensor of an artifact, as bytes: its parts put together and taken apart. Standard library only.

    8 bytes     check      of the whole file (`container`)
    8 bytes     digest     of the weights
    16 bytes    probes     four float32
    deflated    facts      canonical JSON: everything else that is not a stored number
    72 bytes    origin     digests of the run (8), of the data (32), of the model's file (32), beside a record
    deflated    kept       the kept tensors' bytes, row after row; left out when there are none
    the rest    numbers    mapping and angles

Deflated parts are raw RFC 1951 streams, which know where they end. The facts' own is compressed with a preset
dictionary: words that most artifacts share, so that they cost next to nothing. It belongs to the format.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from qtrain_cli.artifact.container import CHECK_BYTES
from qtrain_cli.errors import BadInput

PROBES = 4
DIGEST_BYTES = 8
_ORIGIN = (8, 32, 32)
_PROBES = struct.Struct(f"<{PROBES}f")
_DIGEST_END = CHECK_BYTES + DIGEST_BYTES
_FIXED_BYTES = _DIGEST_END + _PROBES.size
#: The facts' text. Parsed, JSON takes up to thirty times its size; 70,000 tensors find room.
MAX_FACTS = 2**23
#: So many bytes of kept tensors for nothing, and so many more for each byte that they are inflated from.
_FREE_BYTES, _MOST_RATIO = 2**26, 32
DICTIONARY = (
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
    b'{"angles":[8,0],"circuit":["real-amplitudes","cnot-ring",13,48,1],"input":["F32",3,32,32],'
    b'"input":["F32",1,28,28],"layout":[["conv1.weight",[16,1,3,3],9],["conv1.bias",[16],9],'
    b'["fc1.weight",[20,192],192],["fc1.bias",[20],192]],"mapping":["linear",0],"record":["model.pt",'
    b'[0.98,0.97,0.9,10000,0.99,0.98],0.0,0.1,10,0,"cpu",'
    b'"qtrain=0.1.0 torch=2.13.0+cpu numpy=2.4.6 python=3.11.7","state-dict","stock-layers"],'
    b'"rules":"wire0=msb float64 half-even","tolerance":1e-06}'
)


@dataclass(frozen=True)
class Payload:
    """What stands before kept tensors and numbers: the digest of the weights in hexadecimal, probes, facts.

    `origin` is the digests of run, data and model, in hexadecimal; nothing without a record.
    """

    digest: str
    probes: tuple[float, ...]
    facts: str
    origin: tuple[str, ...]

    def joined(self, kept: bytes, numbers: bytes) -> bytes:
        """The tensor's bytes, its check blank."""
        fixed = bytes(CHECK_BYTES) + bytes.fromhex(self.digest) + _PROBES.pack(*self.probes)
        facts = _deflated(self.facts.encode(), DICTIONARY)
        return fixed + facts + bytes.fromhex("".join(self.origin)) + kept_stream(kept) + numbers


def parted(data: bytes) -> tuple[str, tuple[float, ...], str, bytes]:
    """Digest, probes, facts and what follows them. Raises `BadInput` where they cannot be told apart."""
    if len(data) < _FIXED_BYTES:
        raise BadInput(f"its tensor has {len(data)} bytes; needed: {_FIXED_BYTES} and more")
    digest = data[CHECK_BYTES:_DIGEST_END].hex()
    facts, rest = inflated(data[_FIXED_BYTES:], MAX_FACTS, DICTIONARY)
    try:
        text = facts.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"its facts are not text ({error})") from None
    return digest, _PROBES.unpack(data[_DIGEST_END:_FIXED_BYTES]), text, rest


def origin_of(rest: bytes) -> tuple[tuple[str, ...], bytes]:
    """The digests of run, data and model at the beginning of these bytes, and what follows."""
    if len(rest) < sum(_ORIGIN):
        raise BadInput(f"{len(rest)} bytes follow its facts; needed: {sum(_ORIGIN)} and more")
    digests, place = [], 0
    for size in _ORIGIN:
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
    shrunk = _deflated(kept)
    return shrunk if len(kept) <= most_inflated(len(shrunk)) else _deflated(kept, level=0)


def _deflated(data: bytes, dictionary: bytes = b"", level: int = 9) -> bytes:
    coder = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_DEFAULT_STRATEGY, dictionary)
    return coder.compress(data) + coder.flush()
