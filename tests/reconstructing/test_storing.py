"""What is kept of activations comes back as it was, and takes as little as its values allow."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnq.reconstructing.sides import restore, store

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("values", "kind", "size"),
    [
        ([0.0, 1.0] * 8 + [1.0], "bits", 3),
        ([0.0, 1.0, 2.0], "bytes", 3),
        ([255.0, 0.0], "bytes", 2),
        ([256.0, 0.0], "as-is", 8),
        ([0.5, 0.0], "as-is", 8),
        ([-1.0, 0.0], "as-is", 8),
        ([float("nan"), 0.0], "as-is", 8),
        ([float("inf"), 0.0], "as-is", 8),
        ([], "as-is", 0),
    ],
)
def test_each_kind(values, kind, size):
    tensor = torch.tensor(values)
    kept = store(tensor)
    assert (kept.kind, kept.nbytes) == (kind, size)
    torch.testing.assert_close(restore(kept, CPU), tensor, rtol=0, atol=0, equal_nan=True)


@given(st.lists(st.integers(0, 3), max_size=40), st.sampled_from([torch.float32, torch.float64, torch.int64]))
def test_whole_numbers_of_any_shape_and_type(values, dtype):
    tensor = torch.tensor(values, dtype=dtype).view(-1, 1)
    found = restore(store(tensor), CPU)
    assert found.dtype == dtype
    assert torch.equal(found, tensor)


def test_a_kept_tensor_is_a_copy():
    tensor = torch.tensor([0.5, 1.5])
    kept = store(tensor)
    tensor.zero_()
    assert restore(kept, CPU).tolist() == [0.5, 1.5]
