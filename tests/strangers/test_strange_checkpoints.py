"""Strange files given as checkpoints: each is one sentence and exit code 2, in little memory and time."""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from strange_inputs import Row, check, rows

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "checkpoints"))
from containers import TYPED, inner, plain, prefixed

from snnq.checkpoints.container import METADATA_KEY
from snnq.checkpoints.opening import BUILTIN

Make = Callable[[Path], list[str]]


def torch_file(content: Callable[[], Any], **options: Any) -> Make:
    """Save what ``content`` gives by ``torch.save``; type ``inspect`` with all sizes."""

    def make(folder: Path) -> list[str]:
        torch.save(content(), folder / "a.pth", **options)
        return ["inspect", "a.pth", *TYPED]

    return make


def with_key(name: str, tensor: torch.Tensor) -> Make:
    return torch_file(lambda: {**plain(), name: tensor})


def sparse() -> torch.Tensor:
    """One number in a matrix of 10¹²."""
    place = torch.zeros(2, 1, dtype=torch.int64)
    return torch.sparse_coo_tensor(place, torch.ones(1), (10**6, 10**6), check_invariants=True)


def quantised() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch moves quantisation elsewhere, and says so
        return torch.quantize_per_tensor(torch.ones(10, 64), 0.1, 0, torch.qint8)


def bytes_file(content: bytes, name: str = "a.pth") -> Make:
    def make(folder: Path) -> list[str]:
        (folder / name).write_bytes(content)
        return ["inspect", name]

    return make


def fifo(folder: Path) -> list[str]:
    os.mkfifo(folder / "a.pth")
    return ["inspect", "a.pth"]


def link(target: str) -> Make:
    def make(folder: Path) -> list[str]:
        (folder / "a.pth").symlink_to(target)
        return ["inspect", "a.pth"]

    return make


def huge_sparse(folder: Path) -> list[str]:
    with (folder / "a.pth").open("wb") as file:
        file.write(b"PK\3\4")
        file.truncate(2**40)
    return ["inspect", "a.pth"]


def sparse_zeros(folder: Path) -> list[str]:
    with (folder / "a.pth").open("wb") as file:
        file.truncate(20 * 2**30)
    return ["inspect", "a.pth"]


def rezipped(zeros: int) -> Make:
    """A file of torch.save whose archive was compressed."""

    def make(folder: Path) -> list[str]:
        torch.save(plain() | {"a": torch.zeros(2, 4)}, folder / "b.pth")
        with (
            zipfile.ZipFile(folder / "b.pth") as old,
            zipfile.ZipFile(folder / "a.pth", "w", zipfile.ZIP_DEFLATED) as new,
        ):
            for entry in old.infolist():
                new.writestr(entry.filename, old.read(entry))
            with new.open("b/data/999", "w", force_zip64=True) as stream:
                for _ in range(zeros):
                    stream.write(bytes(2**20))
        return ["inspect", "a.pth", *TYPED]

    return make


def own(**changes: Any) -> Make:
    """The built-in checkpoint with other sizes in its metadata."""

    def make(folder: Path) -> list[str]:
        import json

        from safetensors import safe_open

        with safe_open(BUILTIN["digits"], framework="pt") as file:
            record = json.loads(file.metadata()[METADATA_KEY])
        record["config"] |= changes
        save_file(load_file(BUILTIN["digits"]), folder / "a.safetensors", {METADATA_KEY: json.dumps(record)})
        return ["inspect", "a.safetensors"]

    return make


def nested_metadata(folder: Path) -> list[str]:
    save_file({"a": torch.zeros(2)}, folder / "a.safetensors", {METADATA_KEY: "[" * 100_000})
    return ["inspect", "a.safetensors"]


def header(size: int, text: bytes) -> bytes:
    return struct.pack("<Q", size) + text


def archive(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in names:
            file.writestr(name, b"x")
    return content.getvalue()


def nir_graph(folder: Path) -> list[str]:
    import h5py

    with h5py.File(folder / "a.pth", "w") as file:
        file["node/type"] = "NIRGraph"
        file["node/nodes/a/type"] = "Input"
        file["node/edges"] = [b"a"]
    return ["inspect", "a.pth"]


def folder_with(*names: str) -> Make:
    def make(folder: Path) -> list[str]:
        (folder / "model").mkdir()
        for name in names:
            (folder / "model" / name).write_bytes(b"x")
        return ["inspect", "model"]

    return make


class Calls:
    """Asks, when unpickled, for a function with arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.called = (function, arguments)

    def __reduce__(self) -> Any:
        return self.called


def object_array() -> np.ndarray:
    return np.array([Calls(os.system, "touch ran")], dtype=object)


def nothing_ran(folder: Path, output: str) -> None:
    assert not (folder / "ran").exists()


def no_advice(folder: Path, output: str) -> None:
    nothing_ran(folder, output)
    assert "weights_only" not in output
    assert "add_safe_globals" not in output


def deep(depth: int) -> Any:
    content: Any = plain()
    for _ in range(depth):
        content = {"model": content}
    return content


def many_lists() -> bytes:
    """A pickle of the older format that makes two million empty lists and more."""
    from snnq.checkpoints.pickled import LEGACY_MAGIC

    head = LEGACY_MAGIC + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    return head + b"\x80\x02(" + b"]" * 2_100_000 + b"t."


LEGACY = {"_use_new_zipfile_serialization": False}
LITTLE: dict[str, Any] = {"memory_mib": 700, "seconds": 20.0}
VARIANCE = "block.0.attn.q_bn.running_var"
MALICE = "nothing of the file was run"
TABLE = (
    # what is no regular file
    Row("a named pipe", fifo, 2, "a.pth: cannot be read: it is no regular file", **LITTLE),
    Row("a device without end", link("/dev/zero"), 2, "it is no regular file", **LITTLE),
    Row("a device without content", link("/dev/null"), 2, "it is no regular file", **LITTLE),
    Row("a link to nothing", link("nowhere"), 2, "a.pth: cannot be read: No such file"),
    Row("a link to itself", link("a.pth"), 2, "a.pth: cannot be read: "),
    Row("a terabyte of holes", huge_sparse, 2, "more than 34,359,738,368 are not read", **LITTLE),
    Row("zeros of 20 GiB", sparse_zeros, 2, "cannot be read as a checkpoint", **LITTLE),
    # archives and pickles that make much of little
    Row(
        "a compressed archive of zeros",
        rezipped(100),
        2,
        r"would unpack to 1\d\d,\d{3},\d{3}; weights do not",
        **LITTLE,
    ),
    Row("a compressed archive of weights", rezipped(0), 2, "unexpected: 'a'", **LITTLE),
    Row("a pickle of two million lists", bytes_file(many_lists()), 2, "more than 2,000,000 operations", **LITTLE),
    Row(
        "a bytearray of a terabyte",
        torch_file(lambda: {"a": Calls(bytearray, 10**12)}),
        2,
        f"'bytearray'.*{MALICE}",
        **LITTLE,
    ),
    Row("a tensor of a terabyte", torch_file(lambda: {"a": Calls(torch.FloatTensor, 10**12)}), 2, "a.pth: ", **LITTLE),
    Row("nested three deep", torch_file(lambda: deep(3)), 0, "spikformer-cifar10dvs"),
    Row("nested 300 deep", torch_file(lambda: deep(300)), 2, "holds no state dict; it holds 'model'", **LITTLE),
    # tensors that claim more than there is, or hold no floats
    Row(
        "a number repeated",
        with_key("head.weight", torch.zeros(1).expand(10**6, 10**6)),
        2,
        "claim 1,000,000,1.*'head.weight'",
        **LITTLE,
    ),
    Row(
        "a sparse tensor of any size",
        torch_file(lambda: {**plain(), "head.weight": sparse()}),
        2,
        "claim 1,000,000,1.*'head.weight'",
        **LITTLE,
    ),
    Row(
        "an axis without numbers",
        with_key("head.weight", torch.zeros(0, 10**9)),
        2,
        "'head.weight' of shape .* holds nothing",
        **LITTLE,
    ),
    Row(
        "a meta tensor",
        with_key("head.weight", torch.zeros(10, 64, device="meta")),
        2,
        "'head.weight' has a shape and no values",
    ),
    Row(
        "a quantised tensor",
        torch_file(lambda: {**plain(), "head.weight": quantised()}),
        2,
        "'head.weight' is quantised already",
    ),
    Row(
        "a complex tensor",
        with_key("head.weight", torch.zeros(10, 64, dtype=torch.complex64)),
        2,
        "'head.weight' holds torch.complex64",
    ),
    Row(
        "whole numbers",
        with_key("head.weight", torch.zeros(10, 64, dtype=torch.int64)),
        2,
        "'head.weight' holds torch.int64",
    ),
    Row("bits", with_key("head.weight", torch.zeros(10, 64, dtype=torch.bool)), 2, "'head.weight' holds torch.bool"),
    # values that cannot be
    Row(
        "a negative variance",
        with_key(VARIANCE, -torch.ones(64)),
        2,
        f"'{VARIANCE}' holds -1, a variance is never negative",
    ),
    Row(
        "a variance that is no number",
        with_key(VARIANCE, torch.full((64,), torch.nan)),
        2,
        f"'{VARIANCE}' holds values that are infinite",
    ),
    Row(
        "an infinite mean",
        with_key("head.bias", torch.full((10,), torch.inf)),
        2,
        "'head.bias' holds values that are infinite",
    ),
    Row(
        "a weight of 3.4e38",
        with_key("head.weight", torch.full((10, 64), -3.4e38)),
        2,
        "'head.weight' holds -3.4e.38; beyond 1e.18",
    ),
    Row(
        "counters that are floats",
        with_key("patch_embed.proj_bn.num_batches_tracked", torch.tensor(torch.nan)),
        0,
        "spikformer-cifar10dvs",
    ),
    # safetensors
    Row("a header longer than its file", bytes_file(header(10**6, b'{"a"')), 2, "truncated, damaged"),
    Row(
        "a header of a gigabyte",
        bytes_file(header(10**9, b'{"a"')),
        2,
        "its header claims 1,000,000,000 bytes",
        **LITTLE,
    ),
    Row(
        "offsets beyond the file",
        bytes_file(header(64, b'{"a":{"dtype":"F32","shape":[9,9],"data_offsets":[0,324]}}'.ljust(64))),
        2,
        "truncated, damaged",
    ),
    Row(
        "a shape that overflows",
        bytes_file(header(80, b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}'.ljust(80))),
        2,
        "truncated, damaged",
    ),
    Row("metadata nested 100000 deep", nested_metadata, 2, "metadata key 'snnq' must be JSON"),
    Row(
        "a dim of a billion",
        own(dim=10**9),
        2,
        "config.dim is 1000000000, its tensors and a simulation allow at most",
        **LITTLE,
    ),
    Row("a depth of a billion", own(depth=10**9), 2, "config.depth is 1000000000", **LITTLE),
    Row("steps of a billion", own(steps=10**9), 2, "config.steps is 1000000000", **LITTLE),
    Row("pixels of a billion", own(image_size=[10**9, 16]), 2, "config.image_size is 1000000000", **LITTLE),
    Row("an mlp of 1e300 times", own(mlp_ratio=1e300), 2, "a.safetensors: ", **LITTLE),
    Row(
        "a layer renamed",
        torch_file(
            lambda: {
                ("patch_embed.proj_convX.weight" if n == "patch_embed.proj_conv3.weight" else n): t
                for n, t in plain().items()
            }
        ),
        2,
        "key missing: 'patch_embed.proj_conv3.weight'; key unexpected: 'patch_embed.proj_convX.weight'",
    ),
    Row(
        "a block renamed",
        torch_file(lambda: {n.replace("block.0.", "block.x."): t for n, t in plain().items()}),
        2,
        "lacks 'block.0.attn.*has 'block.x.",
    ),
    # code
    Row(
        "a command",
        torch_file(lambda: {"model": plain(), "a": Calls(os.system, "touch ran")}),
        2,
        f"system'.*{MALICE}",
        no_advice,
    ),
    Row(
        "a command in the older format",
        torch_file(lambda: {"model": plain(), "a": Calls(os.system, "touch ran")}, **LEGACY),
        2,
        MALICE,
        no_advice,
    ),
    Row("eval", torch_file(lambda: {"a": Calls(eval, "open('ran', 'w')")}), 2, f"'eval'.*{MALICE}", no_advice),
    Row("getattr", torch_file(lambda: {"a": Calls(getattr, "a", "join")}), 2, f"'getattr'.*{MALICE}", no_advice),
    Row(
        "a command in numpy's objects",
        torch_file(lambda: {"model": plain(), "a": object_array()}),
        2,
        MALICE,
        nothing_ran,
    ),
    Row(
        "a command as a factory", torch_file(lambda: {"model": plain(), "a": Calls(defaultdict, os.getcwd)}), 2, MALICE
    ),
    Row(
        "torch's own loader",
        torch_file(lambda: {"a": Calls(torch.load, "a.pth")}),
        2,
        f"'torch.serialization.load'.*{MALICE}",
    ),
    Row(
        "a whole model",
        torch_file(lambda: torch.nn.Linear(2, 2)),
        2,
        "torch.nn.modules.linear.Linear'.*a whole model, not its weights",
    ),
    Row(
        "a model inside",
        torch_file(lambda: {"net": torch.nn.Linear(2, 2), "epoch": 1}),
        2,
        "a whole model, not its weights",
    ),
    Row("pickle protocol 4", torch_file(plain, pickle_protocol=4), 2, "is pickled in protocol 4"),
    Row("a plain pickle", bytes_file(pickle.dumps({"a": 1}, 2)), 2, "it is a plain pickle, such as PaddlePaddle's"),
    # other files
    Row(
        "a Git LFS pointer",
        bytes_file(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        2,
        "a Git LFS pointer.*git lfs pull",
    ),
    Row(
        "an HTML page", bytes_file(b"\n<!DOCTYPE html><html>Sign in</html>"), 2, "it is an HTML page.*download it again"
    ),
    Row("a NIR graph", nir_graph, 2, "it is a NIR graph in HDF5"),
    Row("an HDF5 file", bytes_file(b"\x89HDF\r\n\x1a\n" + bytes(600)), 2, "it is an HDF5 file"),
    Row("an ONNX model", bytes_file(b"\x08\x08\x12\x07pytorch\x1a\x05"), 2, "it is an ONNX model"),
    Row("a numpy array", bytes_file(b"\x93NUMPY\x01\0"), 2, "it is a numpy array"),
    Row(
        "a numpy archive",
        bytes_file(archive("frames.npy", "label.npy")),
        2,
        r"is a numpy archive \(.npz\) of frames, label",
    ),
    Row("a zip archive", bytes_file(archive("a.txt", "b/c.txt")), 2, "is a zip archive of a.txt, b/c.txt"),
    Row(
        "a TorchScript archive",
        bytes_file(archive("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl")),
        2,
        r"is a TorchScript archive.*torch.jit.load\(.a.pth.\)",
    ),
    Row("a tar archive", bytes_file(bytes(257) + b"ustar" + bytes(300)), 2, "it is a tar archive: unpack it first"),
    Row("a gzip archive", bytes_file(b"\x1f\x8b\x08" + bytes(50)), 2, "it is a gzip archive: unpack it first"),
    Row("JSON", bytes_file(b'{"a": 1}'), 2, "it is a JSON file"),
    Row(
        "the index of shards",
        bytes_file(b'{"weight_map": {}}', "pytorch_model.bin.index.json"),
        2,
        "the index of a checkpoint in several files",
    ),
    Row("text", bytes_file("zeroï\n".encode() * 9), 2, "it is a text file"),
    Row(
        "random bytes",
        bytes_file(bytes(range(255, 0, -1)) * 40),
        2,
        "its first bytes are those of no format known here",
    ),
    # folders
    Row(
        "a Hugging Face folder",
        folder_with("config.json", "model.safetensors"),
        2,
        "give the file in it: model/model.safetensors",
    ),
    Row(
        "a folder of shards",
        folder_with("model-00001-of-00002.safetensors", "model.safetensors.index.json"),
        2,
        "in several files",
    ),
    Row(
        "a folder of FSDP's",
        folder_with(".metadata", "__0_0.distcp"),
        2,
        "torch.distributed.checkpoint.*dcp_to_torch model weights.pth",
    ),
    Row("a folder of DeepSpeed's", folder_with("latest", "zero_to_fp32.py"), 2, "a folder of DeepSpeed"),
    # pieces and other models
    Row(
        "FSDP's flat parameters",
        torch_file(lambda: {**plain(), "block.0._flat_param": torch.zeros(9, 9)}),
        2,
        "FSDP's flat parameters",
    ),
    Row("ZeRO-3", torch_file(lambda: {"module": {n: torch.zeros(0, 1) for n in plain()}}), 2, "DeepSpeed's ZeRO-3"),
    Row(
        "snnTorch",
        torch_file(
            lambda: {"fc1.weight": torch.zeros(4, 4), "lif1.beta": torch.ones(1), "lif1.threshold": torch.ones(1)}
        ),
        2,
        "its names look like snnTorch.*--model package.module:builder",
    ),
    Row(
        "timm's vision transformer",
        torch_file(
            lambda: {"patch_embed.proj.weight": torch.zeros(4, 3, 4, 4), "blocks.0.attn.qkv.weight": torch.zeros(12, 4)}
        ),
        2,
        "look like a vision transformer of timm",
    ),
    Row(
        "an optimizer alone",
        torch_file(lambda: {"state": {0: {"exp_avg": torch.zeros(2, 2)}}, "param_groups": []}),
        2,
        "holds no state dict",
    ),
    Row(
        "a name of 100000 parts",
        torch_file(lambda: {"a." * 100_000 + "weight": torch.zeros(2, 2)}),
        2,
        "no spiking transformer known here",
        **LITTLE,
    ),
    Row("an empty state dict", torch_file(dict), 2, "its state dict is empty"),
    Row("a list", torch_file(lambda: [plain()]), 2, "holds a list, it must hold a state dict"),
    Row(
        "weights that there are not",
        lambda folder: [*torch_file(plain)(folder), "--weights", "ema"],
        2,
        "--weights ema: the file holds no averaged weights",
    ),
    Row(
        "weights of ours", lambda folder: ["inspect", "digits", "--weights", "ema"], 2, "snnq's own files hold one set"
    ),
    Row(
        "weights of no checkpoint",
        lambda folder: [
            "plan",
            "uniform",
            "--architecture",
            "sdt-dvs",
            "--scheme",
            "uniform-2",
            "--out",
            "p.json",
            "--weights",
            "ema",
        ],
        2,
        "--weights chooses among those of a checkpoint",
    ),
    Row(
        "two names that become one",
        torch_file(lambda: {**plain(), **inner(prefixed(plain(), ""), "_orig_mod")}),
        2,
        "unexpected: 'block.0._orig_mod",
    ),
)


@rows(*TABLE)
def test_it_is_said_in_words(
    row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    check(row, tmp_path, monkeypatch, capfd)
