"""Files that people give for a model and that are none: each named as what it is, with the way on.

    start     the file's first bytes say it: an HTML page, a Git LFS pointer, Keras, GGUF, ONNX, ...
    records   a zip archive's names say it: NumPy, Keras
    content   a folder's
    name      of a file that is one shard of several

Told by bytes before names, since a file is often saved under a wrong ending; only ONNX and TensorFlow, whose
files begin with nothing of their own, are told by their endings too. Nothing is run or loaded.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from qtrain_cli.files.downloads import not_downloaded

Told = tuple[str, str]

_STATE = "save its state dictionary with torch.save(model.state_dict(), 'model.pt') and name --arch"
_WHOLE = "load the whole model with its own library, then " + _STATE
_CONVERT = "qtrain reads PyTorch's files: load the weights into the PyTorch model, then " + _STATE
_MERGE = (
    "name its folder with its base (qtrain compress ADAPTER --base BASE), or merge it"
    " (model.merge_and_unload()), then " + _STATE
)
_NPZ = (
    "a NumPy archive of arrays",
    "give rows with --data; of weights make a model's file with"
    " torch.save({name: torch.from_numpy(array) for name, array in numpy.load(FILE).items()}, 'model.pt')",
)
_KERAS: Told = ("a Keras model", _CONVERT)
_TENSORFLOW: Told = ("a part of a TensorFlow model or checkpoint", _CONVERT)
_ONNX: Told = (
    "an ONNX model",
    "export the PyTorch model it was made from with torch.export.save, or " + _STATE,
)
_SHARDS: Told = ("the index of a model in several shards, which holds no weights", _WHOLE)
_ADAPTER: Told = ("a PEFT adapter, which holds differences to a base model and no model", _MERGE)
_COREML: Told = ("a Core ML model", _ONNX[1])
_TENSORRT: Told = ("a TensorRT engine, made for one kind of GPU", _ONNX[1])
_FLAX: Told = (
    "a Flax or JAX checkpoint (msgpack)",
    "load the weights into the PyTorch model (transformers: from_pretrained(FOLDER, from_flax=True)), then "
    + _STATE,
)
_NO_NETWORK = "qtrain compresses networks of PyTorch; train one on the model's answers, and give that"
_TORCHSCRIPT: Told = (
    "a TorchScript archive, which qtrain does not read",
    "save the state dictionary, or export the model with torch.export.save",
)

#: First bytes, and what they tell.
_STARTS: tuple[tuple[bytes, Told], ...] = (
    (b"\x89HDF\r\n\x1a\n", ("an HDF5 file, as Keras writes its models", _CONVERT)),
    (b"GGUF", ("a GGUF file of llama.cpp, whose weights are quantised", _CONVERT)),
    (b"\x93NUMPY", ("one NumPy array", "torch.save({name: tensor}, 'model.pt') by the names of the model")),
    (b"PAR1", ("a Parquet file: data, and no model", "give it to --data")),
    (b"\x1f\x8b", ("a gzip archive", "unpack it and give the model file in it")),
    (b"7z\xbc\xaf", ("a 7z archive", "unpack it and give the model file in it")),
    (b"model_checkpoint_path:", _TENSORFLOW),
    (b"ftrt", _TENSORRT),
    (b"ptrt", _TENSORRT),
    (b"lmgg", ("a GGML file of llama.cpp, whose weights are quantised", _CONVERT)),
    (b"tjgg", ("a GGML file of llama.cpp, whose weights are quantised", _CONVERT)),
    (b"binf", ("an XGBoost model: trees, and no network", _NO_NETWORK)),
    (b"tree\nversion=", ("a LightGBM model: trees, and no network", _NO_NETWORK)),
    (b"CBM1", ("a CatBoost model: trees, and no network", _NO_NETWORK)),
)
_ENDINGS = {
    ".onnx": _ONNX, ".h5": _KERAS, ".pb": _TENSORFLOW, ".index": _TENSORFLOW, ".meta": _TENSORFLOW,
    ".data-00000-of-00001": _TENSORFLOW,
    ".mlmodel": _COREML, ".msgpack": _FLAX, ".engine": _TENSORRT, ".trt": _TENSORRT,
    ".tflite": ("a TensorFlow Lite model", _CONVERT), ".py": ("Python code", "name it: --arch file.py:Class"),
}  # fmt: skip
_JSON: tuple[tuple[bytes, Told], ...] = (
    (b'"weight_map"', _SHARDS),
    (b'"peft_type"', ("the configuration of a PEFT adapter", _MERGE)),
    (b'"architectures"', ("the configuration of a model, which holds no weights", "name the weights' file")),
)
#: ir_version, then a field of a ModelProto: 0x08, a small number, the field's tag.
_ONNX_START = re.compile(rb"\x08[\x01-\x1f][\x12\x1a\x22\x28\x32\x3a\x42]")
#: Libraries whose objects people pickle, by the first word of their names.
_LIBRARIES: dict[str, Told] = {
    "sklearn": ("a scikit-learn model in a pickle", _NO_NETWORK),
    "xgboost": ("an XGBoost model in a pickle: trees, and no network", _NO_NETWORK),
    "lightgbm": ("a LightGBM model in a pickle: trees, and no network", _NO_NETWORK),
    "catboost": ("a CatBoost model in a pickle: trees, and no network", _NO_NETWORK),
    "keras": _KERAS,
    "tensorflow": _TENSORFLOW,
    "jax": _FLAX,
    "jaxlib": _FLAX,
    "flax": _FLAX,
    "paddle": ("a PaddlePaddle model", _CONVERT),
    "fastai": (
        "a fastai Learner, which is code and weights in one",
        "export its network: torch.save(learn.model.state_dict(), 'model.pt'), and name --arch",
    ),
}
_SHARD = re.compile(r".*-(\d{5})-of-(\d{5})\.[A-Za-z0-9]+")
_ADAPTER_PARTS = re.compile(r"\.(lora_[A-Za-z_]+|ia3_l|hada_w\d_[ab]|lokr_\w+|oft_\w+)(\.|$)")
_LOOKED_AT = 4096


def foreign_file(path: Path, start: bytes) -> Told | None:
    """What a file of no known format is, and the way on; None where nothing tells it."""
    if path.suffix == ".xml" and b"<net" in start:
        return "the graph of an OpenVINO network, which holds no weights", _CONVERT
    if missing := not_downloaded(start):
        return missing[0], f"the model was not downloaded: {missing[1]}"
    for first, named in _STARTS:
        if start.startswith(first):
            return named
    if _is_tar(path):
        return "a tar archive", "unpack it and give the model file in it"
    if start[4:8] == b"TFL3":
        return "a TensorFlow Lite model", _CONVERT
    if start.lstrip().startswith(b"{"):
        return _json(path)
    ending = next((end for end in _ENDINGS if path.name.lower().endswith(end)), None)
    return _ENDINGS[ending] if ending else _ONNX if _ONNX_START.match(start) else None


def foreign_archive(names: Collection[str]) -> Told | None:
    """What a zip archive that PyTorch did not write is, by its names."""
    if names and all(name.endswith(".npy") for name in names):
        return _NPZ
    if any(name.endswith("model.weights.h5") for name in names):
        return _KERAS
    return None


def torchscript() -> Told:
    """What a TorchScript archive is called."""
    return _TORCHSCRIPT


def foreign_folder(path: Path) -> Told:
    """What a folder is, and the way on."""
    names = {child.name for child in path.iterdir()}
    if "saved_model.pb" in names:
        return "the folder of a TensorFlow model", _CONVERT
    if "Manifest.json" in names or path.suffix == ".mlpackage":
        return _COREML
    if any(name.endswith(".distcp") for name in names):
        turn = "python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER model.pt"
        return "the folder of a distributed checkpoint", f"make one file of it: {turn}"
    if any(name.endswith(".index.json") or shard_of(name) for name in names):
        return "the folder of a model in several shards", _WHOLE
    files = sorted(name for name in names if name.endswith((".safetensors", ".pt", ".pth", ".bin", ".pt2")))
    return "a folder, not a model file", f"name the file in it{': ' + files[0] if files else ''}"


def shard_of(name: str) -> str:
    """``1 of 2`` for the name of one shard of several, else nothing."""
    found = _SHARD.fullmatch(name)
    return f"{int(found[1])} of {int(found[2])}" if found and int(found[2]) > 1 else ""


def not_whole(name: str, tensors: Collection[str]) -> Told | None:
    """What a readable file is that cannot fill a model by itself: a shard, or an adapter."""
    if shard_of(name):
        return f"shard {shard_of(name)} of a model, not the whole", _WHOLE
    if any(_ADAPTER_PARTS.search(tensor) for tensor in tensors):
        return _ADAPTER
    return None


def pickled(names: Collection[str]) -> Told | None:
    """What a pickle holds that wants these names, where they tell it."""
    if names and all(name.startswith("numpy") for name in names):
        return "NumPy arrays in a pickle", _NPZ[1].replace("numpy.load(FILE)", "arrays")
    for library, told in _LIBRARIES.items():
        if any(name.partition(".")[0] == library for name in names):
            return told
    if any(name.endswith(("UninitializedParameter", "UninitializedBuffer")) for name in names):
        return (
            "parameters of lazy layers that were never run",
            "run the model once before its weights are saved",
        )
    return None


def _json(path: Path) -> Told:
    with path.open("rb") as file:
        text = file.read(_LOOKED_AT)
    return next((named for key, named in _JSON if key in text), ("a JSON document", "name the weights' file"))


def _is_tar(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(262)[257:] == b"ustar"
