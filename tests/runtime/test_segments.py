"""Clips that are cut into segments, and the mean-pools of their networks, in whole numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lively import write_lively
from small_architectures import small
from test_engine import MIXED

from snnq.arithmetic.fixed_point import POTENTIAL_LIMIT
from snnq.arithmetic.whole_modules import FourfoldMeans
from snnq.base.errors import UsageError
from snnq.cli.main import run
from snnq.models.registry import architecture
from snnq.network.combining import MEAN_PARTS, MeanPool, Residual
from snnq.network.streams import FRAMES, Stream
from snnq.network.wiring import READ_LIMIT, Wiring
from snnq.packed.arrays import open_arrays
from snnq.packed.loading import load_packed
from snnq.runtime import Engine, reference
from snnq.runtime.reference import Reference
from snnq.runtime.streams import sum_windows


def test_a_mean_pool_by_hand() -> None:
    """Of 3 × 3 pixels: a whole window, two of two numbers, each counted twice, and a corner, counted four times."""
    image = np.arange(9, dtype=np.int32).reshape(1, 3, 3)
    sums = np.empty((1, 2, 2), np.int32)
    sum_windows(image, sums)
    assert sums.tolist() == [[[0 + 1 + 3 + 4, 2 * (2 + 5)], [2 * (6 + 7), 4 * 8]]]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_a_mean_pool_is_torchs_times_four(height: int, width: int, seed: int) -> None:
    images = np.random.default_rng(seed).integers(-(2**26), 2**26, (2, height, width, 3)).astype(np.int32)
    sums = np.empty((2, (height + 1) // 2, (width + 1) // 2, 3), np.int32)
    sum_windows(images, sums)
    pool = torch.nn.AvgPool2d(2, ceil_mode=True)
    due = pool(torch.from_numpy(images).double().permute(0, 3, 1, 2)) * 4
    assert np.array_equal(sums, due.permute(0, 2, 3, 1).numpy())
    assert torch.equal(FourfoldMeans(pool)(torch.from_numpy(images).permute(0, 3, 1, 2)), due)
    no_engine: Any = None
    one = Reference._mean_pool(no_engine, MeanPool(("x",), "y", "y"), images.transpose(0, 3, 1, 2)[:, None])
    assert np.array_equal(one[:, 0], due.numpy())


def test_what_frames_become_says_how_large_it_is() -> None:
    counts, pixels = Stream("counts", 2, (4, 4), 4095), Stream("pixels", 2, (4, 4), 2**15 - 1, 2.0**-13)
    for frames, most in ((counts, 4095), (pixels, 2**16 - 2)):
        found = Residual((FRAMES,), "r", "given").carries({FRAMES: frames})
        assert (found.kind, found.bound, found.unit) == ("pixels", most, frames.unit)
    graph = architecture("respike-residual").graph(small("respike-residual")[1])
    assert graph is not None
    assert (graph.steps, graph.segment, graph.pass_steps) == (6, 3, 2)


def test_every_segment_begins_at_rest_and_counts_alike(tmp_path: Path) -> None:
    one, sizes = small("respike-residual")
    frames = write_lively(tmp_path / "packed", MIXED, one, **sizes)
    swapped = np.concatenate([frames[:, 3:], frames[:, :3]], 1)
    once, again = (torch.from_numpy(np.minimum(one, 4095).astype(np.float32)) for one in (frames, swapped))
    model = load_packed(tmp_path / "packed")
    with torch.no_grad():
        assert torch.equal(model(once), model(again))
    engine, slow = Engine(tmp_path / "packed", 1), Reference(tmp_path / "packed")
    assert np.array_equal(engine(frames), engine(swapped))
    # Brighter clips alone: what all frames of a segment have more is no residual.
    brighter = np.minimum(frames, 4000) + 7
    assert np.array_equal(engine(brighter), engine(np.minimum(frames, 4000)))
    for runner in (engine, slow):
        with pytest.raises(UsageError, match="a clip is 2 segments of 3 frames, each run at once"):
            runner.stream()
    assert run(["eval", str(tmp_path / "packed"), "--data", "random,samples=8", "--exit-entropy", "0.5"]) == 2


@pytest.mark.parametrize("frame", [0, 4095])
def test_potentials_stay_below_what_their_weights_leave_room_for(
    frame: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, sizes = small("respike-residual")
    frames = write_lively(tmp_path / "packed", ["uniform-4", "float32"], one, **sizes)
    most: dict[str, int] = {}

    def watched(name: str) -> None:
        kept = getattr(Reference, name)

        def run_one(self: Reference, step: MeanPool, *x: np.ndarray) -> np.ndarray:
            found = kept(self, step, *x)
            most[step.gives] = int(np.abs(found).max())
            return found

        monkeypatch.setitem(reference._RUN, next(k for k, v in reference._RUN.items() if v is kept), run_one)

    for name in ("_potential", "_mean_pool", "_add"):
        watched(name)
    frames[:] = 4095 - frame
    frames[:, 1::3] = frame
    Reference(tmp_path / "packed")(frames)
    arrays = open_arrays(tmp_path / "packed")
    bits, wiring = arrays.network.bits, arrays.wiring
    pooled = {one.gives for one in wiring.flow if isinstance(one, MeanPool)}
    assert len(pooled & most.keys()) == 4
    assert all(found < POTENTIAL_LIMIT for found in most.values())
    # With 22 bits, as layers have of potentials without a mean-pool, all would be coarser.
    read = {wiring.chains[one.takes[0]] for one in wiring.potentials if one.takes[0] in wiring.chains}
    assert max(most[name] for name in most if name not in pooled and wiring.chains[name] in read) > 2**10
    assert all(bits[chain] >= 0 for chain in read)
    assert MEAN_PARTS * READ_LIMIT < POTENTIAL_LIMIT
    for step in wiring.potentials:  # sums that every engine has room for
        if step.takes[0] in pooled:
            reach = int(np.abs(arrays.network.potential(step)[0].values).sum(1).max())
            assert reach * most[step.takes[0]] < 2**44


def test_a_kernel_of_first_steps_has_no_segments() -> None:
    edit = {"edit": "factored", "mode": "htt", "ranks": {"snn.layer1.0.conv2": 2}, "switch": 1}
    with pytest.raises(UsageError, match="every segment of a clip begins anew"):
        architecture("respike-residual").build(small("respike-residual")[1] | {"structure": [edit]})
    found = architecture("respike-dense").wiring(small("respike-dense")[1] | {"structure": [edit]})
    assert isinstance(found, Wiring)
