"""Weights that are written while they are regenerated: the library's bytes, little memory, all or nothing."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from artifacts import CONSTANT_VALUES, CONSTANTS, LAYOUT, artifact_of, numbers_of, rival_of, spec_of
from safetensors.torch import load_file, save

from qtrain_cli.artifact.numbers import Artifact, write_artifact
from qtrain_cli.commands import export
from qtrain_cli.errors import Refused, RunFailed, UsageError
from qtrain_cli.exports import shards, streamed
from qtrain_cli.exports.shards import shards_of
from qtrain_cli.methods.generator import method
from qtrain_cli.methods.generator.plan import ANGLES
from qtrain_cli.methods.generator.spec import MAPPINGS
from qtrain_cli.runs.regenerate import regenerate
from qtrain_cli.settings import ExportSettings
from qtrain_cli.targets.entries import DTYPE_BYTES, GENERATED, KEPT, LayoutSpec, TensorEntry

EVERY_DTYPE = LayoutSpec(
    (
        TensorEntry("w", (3, 2), "F32", GENERATED, 2),
        *(TensorEntry(f"k.{name}", (number,), name, KEPT) for number, name in enumerate(DTYPE_BYTES)),
        TensorEntry("ä", (), "F64", GENERATED, 1),
    )
)
WIDE = LayoutSpec(
    tuple(TensorEntry(f"layer.{k}", (2**18,), "F32", GENERATED, 9) for k in range(32))
)  # 8 million weights: 33.5 MB in float32
PEAK = """
import sys
from pathlib import Path
from benchmarks.peak import forget, highest
from qtrain_cli.commands import export
from qtrain_cli.settings import ExportSettings
small, large, out = map(Path, sys.argv[1:])
export.run(ExportSettings(small, out, force=True))
forget()
before = highest()
export.run(ExportSettings(large, out, force=True))
print(highest() - before)
"""


def exported(artifact: Artifact, folder: Path, name: str = "net.safetensors", **how):
    """The finished export of an artifact that is written for it."""
    write_artifact(folder / "a.qtrain", artifact, force=True)
    return export.run(ExportSettings(folder / "a.qtrain", folder / name, **how))


def constant_artifact() -> Artifact:
    numbers = numbers_of(spec_of(CONSTANTS))
    return artifact_of(spec_of(CONSTANTS), replace(numbers, kept=numbers.kept | CONSTANT_VALUES))


ARTIFACTS = {
    "roles": lambda: artifact_of(spec_of()),
    "constants": constant_artifact,
    "dtypes": lambda: artifact_of(spec_of(EVERY_DTYPE)),
    "circuits": lambda: artifact_of(spec_of(circuits=3, mapping="linear-per-tensor")),
    "rival": lambda: rival_of("low-rank"),
}


@pytest.mark.parametrize("name", ARTIFACTS)
def test_the_bytes_are_the_librarys(tmp_path, name):
    artifact = ARTIFACTS[name]()
    done = exported(artifact, tmp_path)
    state = {key: tensor.clone() for key, tensor in regenerate(artifact).state.items()}
    assert (tmp_path / "net.safetensors").read_bytes() == save(state, {"format": "pt"})
    assert (done.bytes, done.tensors) == ((tmp_path / "net.safetensors").stat().st_size, len(state))


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("threads", [1, 2])
def test_parts_are_the_whole(monkeypatch, mapping, threads):
    layout = LayoutSpec((TensorEntry("a", (30_000,), "F64", GENERATED, 9), *LAYOUT.entries))
    spec, before = spec_of(layout, 8, 2, mapping=mapping), torch.get_num_threads()
    artifact = artifact_of(spec)
    monkeypatch.setattr(method, "_PART", 2**12)
    torch.set_num_threads(threads)
    try:
        assert regenerate(artifact).exact
    finally:
        torch.set_num_threads(before)


def test_memory_is_a_tensor_and_two_circuits(tmp_path):
    circuits, state = 16, 8 * 2**19
    write_artifact(tmp_path / "small.qtrain", artifact_of(spec_of()))
    write_artifact(tmp_path / "large.qtrain", artifact_of(spec_of(WIDE, circuits, 2)))
    files = [str(tmp_path / name) for name in ("small.qtrain", "large.qtrain", "x.safetensors")]
    root = Path(__file__).resolve().parents[2]
    # What is free goes back at once, so that the mark is of what is held.
    own = {"PYTHONPATH": f"{root}:{root / 'tests'}", "MALLOC_MMAP_THRESHOLD_": "100000"}
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *files], cwd=root, env=own, capture_output=True, text=True, check=True
    )
    # Two states and their spares, a tensor, and some blocks; all weights are 67 MB in float64.
    assert int(done.stdout) < 2 * 2 * state + 4 * 2**18 + 6e6


def test_several_files_and_their_index(tmp_path):
    artifact = constant_artifact()
    done = exported(artifact, tmp_path, shard_size=100)
    index = json.loads((tmp_path / "net.safetensors.index.json").read_text())
    files = sorted(tmp_path.glob("net-*.safetensors"))
    assert [file.name for file in files] == [
        f"net-0000{number}-of-0000{len(files)}.safetensors" for number in range(1, len(files) + 1)
    ]
    found = {name: load_file(tmp_path / file)[name] for name, file in index["weight_map"].items()}
    state = regenerate(artifact).state
    assert found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in state)
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in state.values())
    assert len(files) > 2 and done.note == f"{len(files)} files and their index"
    assert done.path.name == "net.safetensors.index.json" and not (tmp_path / "net.safetensors").exists()
    for file in files:
        assert len(load_file(file)) == 1 or sum(t.nbytes for t in load_file(file).values()) <= 100


def test_several_files_do_not_stand_beside_one(tmp_path):
    exported(artifact_of(spec_of()), tmp_path)
    with pytest.raises(UsageError, match="the weights go into 4 files, and"):
        exported(artifact_of(spec_of()), tmp_path, shard_size=20, force=True)


def test_one_does_not_stand_beside_the_index_of_several(tmp_path):
    exported(artifact_of(spec_of()), tmp_path, shard_size=20)
    with pytest.raises(UsageError, match=r"net\.safetensors\.index\.json' exists"):
        exported(artifact_of(spec_of()), tmp_path)
    exported(artifact_of(spec_of()), tmp_path, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.qtrain", "net.safetensors"]


def test_fewer_files_leave_none_of_more(tmp_path):
    exported(artifact_of(spec_of()), tmp_path, shard_size=20)
    exported(artifact_of(spec_of()), tmp_path, shard_size=60, force=True)
    index = json.loads((tmp_path / "net.safetensors.index.json").read_text())
    there = {path.name for path in tmp_path.glob("net-*")}
    assert there == set(index["weight_map"].values()) and len(there) < 4


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"weight_map": 3}',
        *(
            json.dumps({"weight_map": {"w": name}})
            for name in (
                7,
                "../net-00001-of-00009.safetensors",
                "other.safetensors",
                "a.qtrain",
                "folder/net-00001-of-00009.safetensors",
            )
        ),
    ],
)
def test_a_strangers_index_removes_nothing_else(tmp_path, text):
    here = tmp_path / "here"
    (here / "folder").mkdir(parents=True)
    others = (
        tmp_path / "net-00001-of-00009.safetensors",
        here / "other.safetensors",
        here / "folder" / "net-00001-of-00009.safetensors",
    )
    for other in others:
        other.touch()
    (here / "net.safetensors.index.json").write_text(text)
    exported(artifact_of(spec_of()), here, force=True)
    assert all(other.exists() for other in (*others, here / "a.qtrain", here / "net.safetensors"))
    assert not (here / "net.safetensors.index.json").exists()


def test_more_files_than_can_be_open_are_refused_before_work(tmp_path, monkeypatch):
    monkeypatch.setattr(streamed, "MOST_SHARDS", 3)
    with pytest.raises(UsageError, match="the weights would go into 4 files; allowed: 3") as caught:
        exported(artifact_of(spec_of()), tmp_path, shard_size=20)
    assert "give a larger --shard-size" in caught.value.advice
    assert [path.name for path in tmp_path.iterdir()] == ["a.qtrain"]


def test_a_shard_size_without_safetensors_is_refused(tmp_path):
    with pytest.raises(UsageError, match="--shard-size goes with"):
        ExportSettings(tmp_path / "a.qtrain", tmp_path / "net.pt", shard_size=10)


def test_the_index_is_what_transformers_reads(tmp_path):
    parts = shards_of(LAYOUT, tmp_path / "model.safetensors", 40)
    assert parts[0].path.name == f"model-00001-of-{len(parts):05}.safetensors"
    assert json.loads(shards.index_of(parts))["weight_map"].keys() == {e.name for e in LAYOUT.entries}


def test_other_weights_leave_nothing(tmp_path):
    artifact = artifact_of(spec_of())
    angles = artifact.numbers.groups[ANGLES]
    angles.codes[0, 0, 0, 0] += 1 if angles.codes[0, 0, 0, 0] < 100 else -1
    with pytest.raises(Refused, match="do not match the artifact's digest"):
        exported(artifact, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.qtrain"]


@pytest.mark.parametrize("place", [0, -1])
def test_a_file_that_differs_is_not_named(tmp_path, monkeypatch, place):
    def damaged(file, at, data):
        changed = bytearray(data)
        changed[place] ^= 1
        file.seek(at)
        file.write(changed)

    monkeypatch.setattr(streamed, "_write_at", damaged)
    with pytest.raises(RunFailed, match="of the file differs from the weights"):
        exported(artifact_of(spec_of()), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.qtrain"]


def test_the_share_that_is_done_is_told(tmp_path):
    write_artifact(tmp_path / "a.qtrain", artifact_of(spec_of()))
    told = []
    settings = ExportSettings(tmp_path / "a.qtrain", tmp_path / "net.safetensors")
    export.run(settings, share=lambda done, total: told.append((done, total)))
    assert told[-1] == (19, 19) and sorted(told) == told
