"""Files of the format `qtrain/4` (FORMAT-4.md), compressed models and students, in the parts of this one.

What differs: a model has probes and a tolerance, within which another machine's arithmetic had to agree, and
the preset dictionary is another one.
"""

from __future__ import annotations

from typing import Any

from qtrain_cli.artifact.container import Container, canonical
from qtrain_cli.artifact.payload import Opened, method_in, opened_with
from qtrain_cli.artifact.repeats import without_repeats

FORMER_NUMBER = 4
#: Signed sums of a model's weights.
PROBES = 4
_DICTIONARY = (
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
    b'"rules":"float32 half-even","tolerance":1e-05}'
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
    b'{"input":["F32",3,32,32],"input":["F32",1,28,28],"layout":[["conv1.weight",[16,1,3,3],9],'
    b'["conv1.bias",[16],9],["fc1.weight",[20,192],192],["fc1.bias",[20],192]],"plan":{"angles":[8,0],'
    b'"circuit":["real-amplitudes","cnot-ring",13,48,1],"mapping":["linear",0]},"record":["model.pt",'
    b'[0.98,0.97,0.9,10000,0.99,0.98],0.0,0.1,10,0,"cpu",'
    b'"qtrain=0.2.0 torch=2.13.0+cpu numpy=2.4.6 python=3.11.7","state-dict","stock-layers"],'
    b'"rules":"wire0=msb float64 half-even","tolerance":1e-06}'
)


def opened(container: Container) -> Opened:
    """The parts of a file. Raises `BadInput` where they cannot be told apart."""
    return opened_with(container, _rewritten, _DICTIONARY, PROBES)


def _rewritten(facts: Any) -> str:
    """In this format each tensor has a row of its own."""
    return canonical({**facts, "layout": without_repeats(facts["layout"])} if "layout" in facts else facts)


def former_method_in(container: Container) -> str | None:
    """The method that a file's facts name; None where they name none."""
    return method_in(container, _DICTIONARY)
