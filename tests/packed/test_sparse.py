"""Sparse layers of fixed storage: smaller, the same codes, and refused where they are damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_samples import Sample, make_sample

from snnq.base.errors import InputError, PackedError
from snnq.packed.config import PackedLayer, read_config
from snnq.packed.loading import load_packed
from snnq.packed.opening import open_tensors
from snnq.packed.readers import NUMPY_READERS
from snnq.packed.safefile import TensorFile, safetensors_bytes
from snnq.packed.sparse import CODES, MASK, expanded, with_sparse
from snnq.packed.verification import verify
from snnq.schemes.holding import holding_zero
from snnq.schemes.scheme import scheme

SCHEMES = ("uniform-2", "uniform-4", "power-of-two-2", "power-of-two-4", "ternary", "uniform-3", "float32", "binary")


def one_layer(name: str, weight: torch.Tensor) -> tuple[TensorFile, dict[str, PackedLayer]]:
    one = holding_zero(name)
    params = one.stored(one.fit(weight))
    from snnq.packed.coding import Coded, pack_layer

    codes = one.encode(weight, params)
    entry = {"scheme": name, "family": one.family, "bits": one.code_width, "shape": tuple(weight.shape)}
    layer = PackedLayer.model_validate({**entry, "weight_sha256": ""})
    return TensorFile(Path("model.safetensors"), pack_layer("a", Coded(name, codes, params)), 8), {"a": layer}


def drawn(seed: int, sparsity: float, shape: tuple[int, ...] = (5, 40)) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=draw)
    return torch.where(torch.rand(shape, generator=draw) < sparsity, 0.0, weight)


@pytest.mark.parametrize("name", [name for name in SCHEMES if name not in ("float32", "binary")])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100), sparsity=st.sampled_from([0.0, 0.6, 0.9, 1.0]))
def test_there_and_back(name: str, seed: int, sparsity: float) -> None:
    file, layers = one_layer(name, drawn(seed, sparsity))
    stored = with_sparse(file, layers)
    again = expanded(TensorFile(file.path, stored, 8), layers)
    assert again.tensors.keys() == file.tensors.keys()
    assert all(again.tensors[key].tobytes() == array.tobytes() for key, array in file.tensors.items())
    assert sum(one.nbytes for one in stored.values()) <= sum(one.nbytes for one in file.tensors.values())
    assert sum(again.taken(key).all for key in again.tensors) == 8 * sum(one.nbytes for one in stored.values())


def test_bits_by_hand() -> None:
    """Two rows of 33 weights, four not zero: 2 · 2 words of mask and one word of codes of 4 bits."""
    weight = torch.zeros(2, 33)
    weight[0, 0], weight[0, 32], weight[1, 1], weight[1, 2] = 1.0, -1.0, 0.5, 1.0
    file, layers = one_layer("uniform-4", weight)
    stored = with_sparse(file, layers)
    assert stored[f"a.{MASK}"].tolist() == [[1, 1], [6, 0]]
    assert stored[f"a.{CODES}"].shape == (1, 1)
    assert expanded(TensorFile(file.path, stored, 8), layers).sparse["a.weight_packed"] == (66 + 4 * 4, 5 * 32)


def test_it_is_taken_where_it_is_smaller() -> None:
    """Of 4 bits where fewer than three quarters of the weights are left; rounding makes some zero, too."""
    for sparsity, sparse in ((0.05, False), (0.35, True)):
        file, layers = one_layer("uniform-4", drawn(0, sparsity, (64, 512)))
        assert (f"a.{MASK}" in with_sparse(file, layers)) is sparse


def pruned_sample(schemes: tuple[str, ...] = SCHEMES) -> Sample:
    """A packed sample of which nine weights in ten are zero."""
    return make_sample(schemes=schemes, sparsity=0.9)


@pytest.fixture(scope="module")
def sparse_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pruned_sample().write(tmp_path_factory.mktemp("sparse") / "packed", storage="fixed")


def test_a_folder_reads_as_if_it_were_dense(sparse_folder: Path, tmp_path: Path) -> None:
    sample = pruned_sample()
    coded = sample.write(tmp_path / "coded")
    found, due = (open_tensors(one, read_config(one)) for one in (sparse_folder, coded))
    assert found.tensors.keys() == due.tensors.keys()
    assert all(np.array_equal(found.tensors[name], array) for name, array in due.tensors.items())
    assert torch.equal(load_packed(sparse_folder)(sample.frames), load_packed(coded)(sample.frames))
    checked = {one.scheme: one for one in verify(sparse_folder).layers}
    # Of rows of few weights a mask fills as many words as codes of two bits.
    assert {name for name, one in checked.items() if one.sparse} == set(SCHEMES) - {"float32", "binary", "uniform-2"}
    assert checked["uniform-4"].bits_on_disk < 0.6 * checked["uniform-4"].bits_in_plan


def test_numpy_reads_it(sparse_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sparse_folder.parent)
    found: dict[str, Any] = {}
    exec(compile(NUMPY_READERS["fixed"], "README.md", "exec"), found)
    model = load_packed(sparse_folder, "float")
    for name, weight in found["weights"].items():
        assert np.array_equal(weight, model.get_submodule(name).get_parameter("weight").numpy()), name


@pytest.mark.parametrize("how", ["mask", "code", "padding", "both", "short"])
def test_what_is_damaged_is_refused(how: str) -> None:
    file, layers = one_layer("power-of-two-4", drawn(1, 0.8))
    stored = {name: array.copy() for name, array in with_sparse(file, layers).items()}
    if how == "mask":
        stored[f"a.{MASK}"][0, 0] ^= 1
    if how == "code":
        stored[f"a.{CODES}"][0, 0] &= ~15  # the code of zero, where the mask says that it is not
    if how == "padding":
        stored[f"a.{MASK}"][0, 1] |= 1 << 30
    if how == "both":
        stored["a.weight_pot_packed"] = file.tensors["a.weight_pot_packed"]
    if how == "short":
        stored[f"a.{CODES}"] = stored[f"a.{CODES}"][:, :-1]
    with pytest.raises(PackedError):
        expanded(TensorFile(file.path, stored, 8), layers)


def test_every_single_bit_of_a_sparse_file_counts() -> None:
    file, layers = one_layer("uniform-4", drawn(3, 0.85, (2, 40)))
    stored = with_sparse(file, layers)
    for key in (f"a.{MASK}", f"a.{CODES}"):
        for word in range(stored[key].size):
            for bit in range(32):
                damaged = {name: array.copy() for name, array in stored.items()}
                damaged[key].view(np.uint32).ravel()[word] ^= np.uint32(1 << bit)
                try:
                    found = expanded(TensorFile(file.path, damaged, 8), layers)
                except InputError:
                    continue
                assert found.tensors["a.weight_packed"].tobytes() != file.tensors["a.weight_packed"].tobytes()


def test_a_layer_without_any_weight(tmp_path: Path) -> None:
    """Nothing is left: a mask of zeros, and no code; the file holds a tensor of no numbers."""
    from snnq.packed.safefile import read_tensors

    file, layers = one_layer("uniform-4", torch.zeros(4, 64))
    stored = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in with_sparse(file, layers).items()}
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(stored, {}))
    found = expanded(read_tensors(tmp_path / "model.safetensors"), layers)
    assert found.tensors["a.weight_packed"].tobytes() == file.tensors["a.weight_packed"].tobytes()
    assert scheme("uniform-4").code_bits == 4
