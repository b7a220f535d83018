"""Compressed models of the format `qtrain/3` (FORMAT-3.md), in the parts and words of the present one.

What differs: the probes stand before the facts, the plan's members among the facts, the preset dictionary is
another one, and the range of the codes takes two bytes for each of its ends.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from qtrain_cli.artifact.container import CHECK_BYTES, Container, canonical
from qtrain_cli.artifact.extents import raw_bytes
from qtrain_cli.artifact.former.model_4 import PROBES
from qtrain_cli.artifact.payload import (
    DIGEST_BYTES,
    Opened,
    origin_of,
    probes_of,
    tensor_bytes,
    text_at,
)
from qtrain_cli.artifact.repeats import without_repeats
from qtrain_cli.errors import BadInput
from qtrain_cli.files.varints import model_bytes_of
from qtrain_cli.methods.forms import Forms
from qtrain_cli.methods.generator.plan import ANGLES

FORMER_FORMAT = 3
PLAN = ("angles", "circuit", "mapping")
_DIGEST_END = CHECK_BYTES + DIGEST_BYTES
_FIXED_BYTES = _DIGEST_END + 4 * PROBES
#: Step, lowest and highest code, spread.
_HEAD = struct.Struct("<fhhB")
FORMER_DICTIONARY = (
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


def opened(container: Container) -> Opened:
    """The parts of a file. Raises `BadInput` where they cannot be told apart."""
    data = tensor_bytes(container)
    text, rest = text_at(data, _FIXED_BYTES, FORMER_DICTIONARY)
    value = json.loads(text)
    facts = {key: member for key, member in value.items() if key not in PLAN}
    facts["plan"] = {key: value[key] for key in PLAN}
    if "method" in value or "plan" in value:
        raise BadInput("its facts are not what an honest writer writes")
    origin, rest = origin_of(rest) if "record" in value else ((), rest)
    digest = data[CHECK_BYTES:_DIGEST_END].hex()
    probes, _ = probes_of(data[_DIGEST_END:], PROBES)
    return Opened(digest, facts, text, probes, origin, rest, _rewritten, _numbers)


def _rewritten(facts: Any) -> str:
    """The text that an honest writer of this format wrote for facts of the present one."""
    own = {key: value for key, value in facts.items() if key != "plan"} | facts["plan"]
    return canonical({**own, "layout": without_repeats(own["layout"])})


def _numbers(forms: Forms, data: bytes) -> bytes:
    """Mapping and angles as the present format has them. Raises `BadInput` for less than their head."""
    place = raw_bytes(forms)
    if not forms[ANGLES].coded:
        return data
    if len(data) < place + _HEAD.size:
        raise BadInput(f"its numbers take {len(data)} bytes; needed: {place + _HEAD.size} and more")
    _, low, high, spread = _HEAD.unpack_from(data, place)
    step, message = data[place : place + 4], data[place + _HEAD.size :]
    return data[:place] + step + model_bytes_of((low, high, spread)) + message
