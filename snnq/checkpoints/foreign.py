"""What a file is that is no checkpoint of ours: told by its first bytes, its archive's names or its tensors' names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from snnq.base.kinds import CHECKPOINTS, takers

RESAVE = 'save the weights alone: torch.save(model.state_dict(), "weights.pth")'
HEAD = 4096  # bytes of a file's beginning that are looked at
_NIR, _ONNX = "a NIR graph in HDF5", "an ONNX model"
_POINTER, _PAGE = (
    "a Git LFS pointer, a few lines that stand for the file itself",
    "an HTML page, not the file behind it",
)
_SCRIPT, _EXPORTED = "a TorchScript archive", "an exported program of torch.export"
_PICKLE = "a plain pickle, such as PaddlePaddle's .pdparams"
ADVICE = {
    _NIR: "snnq reads weights, not graphs: give the checkpoint that the graph was made from",
    _ONNX: "snnq reads weights, not graphs: give the checkpoint that was exported",
    _POINTER: "fetch the file itself: git lfs pull",
    _PAGE: "download it again; a link that asks for a login or a confirmation gives such a page",
    _SCRIPT: 'save its weights: torch.save(torch.jit.load("FILE").state_dict(), "weights.pth")',
    _EXPORTED: 'save its weights: torch.save(torch.export.load("FILE").state_dict, "weights.pth")',
    _PICKLE: "snnq runs no pickle: save the weights by torch.save or safetensors",
}
_ANY_ADVICE = "read are files of torch.save and safetensors"
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras weights or recordings"),
    (b"version https://git-lfs", _POINTER),
    (b"\x93NUMPY", "a numpy array (.npy)"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ\0", "an xz archive: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"GGUF", "a GGUF model"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x7fELF", "a program"),
    (b"Obj\x01", "an Avro file"),
    (b"SQLite format 3", "an SQLite database"),
)


def foreign_file(path: Path, start: bytes) -> tuple[str, str] | None:
    """Return what a file is by its first ``HEAD`` bytes, and what to do; None where nothing is known of it."""
    said = _by_magic(path, start)
    if said is None:
        return None
    other = "" if path.suffix.lower() in CHECKPOINTS else takers(path)
    return said, other or ADVICE.get(said, _ANY_ADVICE)


def _by_magic(path: Path, start: bytes) -> str | None:
    said = next((said for magic, said in _MAGIC if start.startswith(magic)), None)
    if said is not None:
        return _NIR if start.startswith(b"\x89HDF") and _is_nir(path) else said
    if start[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    if start[4:8] == b"TFL3":
        return "a TensorFlow Lite model"
    if start[:1] == b"\x08" and (path.suffix == ".onnx" or re.search(rb"onnx|pytorch|ir_version", start[:256])):
        return _ONNX
    if start[:1] == b"\x80" and start[1:2] <= b"\x05":
        return _PICKLE
    return _text(path, start)


def _is_nir(path: Path) -> bool:
    """Whether an HDF5 file has the nodes and edges of NIR."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            graph = file.get("node", file)
            return isinstance(graph, h5py.Group) and {"nodes", "edges"} <= set(graph)
    except (OSError, RuntimeError, ValueError):
        return False


def _text(path: Path, start: bytes) -> str | None:
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as problem:
        if problem.start < len(start) - 4:  # not a character that the end cut in two
            return None
        text = start[: problem.start].decode("utf-8")
    if "\0" in text:
        return None
    text = text.lstrip("\ufeff \t\r\n").lower()
    if text.startswith(("<!doctype html", "<html")):
        return _PAGE
    if text.startswith("<"):
        return "an XML file"
    if path.name.endswith(".index.json"):
        return "the index of a checkpoint in several files: give one file, joined with save_pretrained or safetensors"
    if text.startswith(("{", "[")):
        return "a JSON file"
    return "a text file"


def archive_said(names: Iterable[str]) -> str | None:
    """Return what a zip archive is, by its entries' names; None for one of torch.save."""
    names = list(names)
    last = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in last and any("code/" in name for name in names):
        return _SCRIPT
    if "serialized_exported_program.json" in last or any("/models/" in f"/{name}" for name in names):
        return _EXPORTED
    if "data.pkl" in last:
        return None
    if names and all(name.endswith(".npy") for name in names):
        return f"a numpy archive (.npz) of {', '.join(name.removesuffix('.npy') for name in names[:3])}"
    if "model.weights.h5" in last:
        return "a Keras model"
    shown = ", ".join(names[:3]) or "nothing"
    return f"a zip archive of {shown}{', …' if len(names) > 3 else ''}"


def foreign_folder(path: Path) -> tuple[str, str]:
    """Return what a folder given as checkpoint is, and which file to type instead."""
    if other := takers(path):
        return "is a folder, a float checkpoint is one file", other
    try:
        names = sorted(entry.name for entry in path.iterdir())
    except OSError:
        names = []
    single = ("model.safetensors", "pytorch_model.bin", "diffusion_pytorch_model.safetensors", "adapter_model.bin")
    states = [name for name in names if re.search(r"model_states\.pt$", name)]
    weights = [name for name in names if re.search(r"\.(pth|pt|ckpt|safetensors|tar|bin)$", name)]
    if found := next((name for name in single if name in names), None):
        return "is a folder of Hugging Face or accelerate", f"give the file in it: {path / found}"
    if found := next((name for name in names if name.endswith(".index.json")), None):
        return (
            f"is a folder of a checkpoint in several files ({found})",
            "join them: model.save_pretrained(DIR, max_shard_size='100GB'), and give model.safetensors",
        )
    if ".metadata" in names or any(name.endswith(".distcp") for name in names):
        return (
            "is a folder of torch.distributed.checkpoint (FSDP), its tensors in pieces",
            f"join them: python -m torch.distributed.checkpoint.format_utils dcp_to_torch {path} weights.pth",
        )
    if "zero_to_fp32.py" in names or "latest" in names:
        return "is a folder of DeepSpeed", "join its pieces: python zero_to_fp32.py . weights.pth"
    if states:
        return "is a folder of DeepSpeed", f"give the file in it: {path / states[0]}"
    if weights:
        return "is a folder, a checkpoint is one file", f"give the file in it: {path / weights[0]}"
    return "is a folder, a checkpoint is one file", f"look for it with: ls {path}"


def foreign(name: str) -> str:
    """Return in brackets what a class is that a file must not hold; an empty string where nothing is known of it."""
    if re.search(r"DTensor|ShardedTensor|DeviceMesh|_shard", name):
        return " (its tensors are in pieces, of FSDP or torch.distributed)"
    if name.startswith("torch.nn.modules"):
        return " (a whole model, not its weights)"
    return ""


# What a state dict looks like, by names that it has: all patterns of a row must be found.
_STATE_DICTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("snnTorch", (r"(graded_spikes_factor|reset_mechanism_val)$",)),
    ("snnTorch", (r"\.beta$", r"\.threshold$")),
    ("Norse", (r"\.(cell|p)\.tau_(mem|syn)_inv$",)),
    ("SpikingJelly's parametric or gated neurons", (r"(lif|sn|spike|neuron|node)\d*\.(w|alpha|beta|gamma)$",)),
    ("a SEW or spiking ResNet", (r"^layer1\.0\.(conv1|sn1)",)),
    ("a ResNet", (r"^layer1\.", r"^(conv1|fc)\.")),
    ("a vision transformer of timm", (r"^blocks\.0\.attn\.qkv\.", r"^patch_embed\.proj\.weight$")),
    ("a Spike-Driven Transformer V2 or V3 (Meta-SpikeFormer)", (r"^(downsample1|ConvBlock1)_1",)),
    ("a language model of Hugging Face", (r"(^|\.)(embed_tokens|word_embeddings|wte)\.weight$",)),
    ("an optimizer, not a model", (r"(exp_avg|momentum_buffer)",)),
)


def looks_like(names: Iterable[str]) -> str:
    """Return what a state dict of no layout known here looks like, as the end of a sentence; empty if unknown."""
    names = list(names)
    for said, patterns in _STATE_DICTS:
        if all(any(re.search(pattern, name) for name in names) for pattern in patterns):
            return f"; its names look like {said}"
    return ""


def own_model_line(path: str) -> str:
    """Return the command that opens a file as a model of the user's own."""
    return f"snnq inspect {shlex.quote(path)} --model package.module:builder --steps T --image-size N"
