"""Our safetensors bytes against the library's own, and files that are not whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from snnq.base.errors import PackedError
from snnq.packed.safefile import DTYPES, read_tensors, safetensors_bytes


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 6))
def test_bytes_are_the_library_s(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    tensors = {}
    for i in range(count):
        shape = tuple(rng.integers(0, 4, size=rng.integers(0, 4)))
        dtype = getattr(torch, list(DTYPES)[rng.integers(len(DTYPES))])
        tensors[f"layer.{rng.integers(100)}.ü{i}"] = torch.from_numpy(rng.integers(-9, 9, size=shape)).to(dtype)
    # With one entry of metadata the library has no order to choose. It orders types by width, then kind.
    found, due = safetensors_bytes(tensors, {"format": "pt"}), save(tensors, {"format": "pt"})
    if len({t.element_size() for t in tensors.values()}) == len({t.dtype for t in tensors.values()}):
        assert found == due
    loaded = load(found)
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_header_by_hand() -> None:
    found = safetensors_bytes(
        {"b": torch.tensor([1], dtype=torch.int8), "a": torch.tensor([1.0])}, {"z": "1", "a": "2"}
    )
    header = (
        '{"__metadata__":{"a":"2","z":"1"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        '"b":{"dtype":"I8","shape":[1],"data_offsets":[4,5]}}'
    )
    padded = header + " " * (-len(header) % 8)
    assert found == len(padded).to_bytes(8, "little") + padded.encode() + b"\x00\x00\x80\x3f" + b"\x01"


def test_order_of_giving_does_not_matter() -> None:
    tensors = {"a": torch.ones(2), "b": torch.zeros(3, dtype=torch.int64), "c": torch.ones(1)}
    metadata = {"x": "1", "y": "2", "z": "3"}
    other = safetensors_bytes(dict(reversed(tensors.items())), dict(reversed(metadata.items())))
    assert safetensors_bytes(tensors, metadata) == other


def test_reading_gives_back_everything(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensors = {"a": torch.randn(2, 3), "b": torch.tensor([[-(2**31)]], dtype=torch.int32)}
    path.write_bytes(safetensors_bytes(tensors, {"format": "pt"}))
    found = read_tensors(path)
    assert found.tensors.keys() == tensors.keys()
    assert all(np.array_equal(found.tensors[name], tensors[name].numpy()) for name in tensors)
    assert found.header_bytes + 24 + 4 == path.stat().st_size
    assert np.array_equal(found.take("a", (2, 3), "float32"), tensors["a"].numpy())
    with pytest.raises(PackedError, match="tensor 'c' is missing"):
        found.take("c", (1,), "float32")
    with pytest.raises(PackedError, match=r"'a' has shape \[2, 3\], it must be \[6\]"):
        found.take("a", (6,), "float32")
    with pytest.raises(PackedError, match="'a' is float32, it must be int8 or int16"):
        found.take("a", (2, 3), "int8", "int16")


def test_files_that_are_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(PackedError, match="is missing"):
        read_tensors(path)
    whole = safetensors_bytes({"a": torch.randn(2, 3)}, {})
    header = json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 24]}}).encode()
    broken = [
        b"",
        b"\x01",
        whole[:-1],
        whole[:20],
        whole + b"\0",
        b"\xff" * 40,
        len(header).to_bytes(8, "little") + header,
    ]
    for content in broken:
        path.write_bytes(content)
        with pytest.raises(PackedError, match=r"model\.safetensors: not a whole safetensors file") as caught:
            read_tensors(path)
        assert caught.value.exit_code == 2
    path.unlink()
    path.mkdir()
    with pytest.raises(PackedError):
        read_tensors(path)
