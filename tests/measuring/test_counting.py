"""Counting against plain loops over every number."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snnq.assessing import counting


def test_reach_at_the_edges_of_an_image_counted_by_hand():
    conv = nn.Conv2d(1, 2, 3, padding=1, bias=False)
    reach = counting.reach(conv, torch.zeros(1, 1, 4, 4))
    # Two channels times the kernel positions inside the image: 4 at a corner, 6 at an edge, 9 inside.
    assert reach[0, 0].tolist() == [[8, 12, 12, 8], [12, 18, 18, 12], [12, 18, 18, 12], [8, 12, 12, 8]]
    assert counting.reach(nn.Linear(5, 3), torch.zeros(2, 5)).tolist() == [[3.0] * 5] * 2


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(3, 6), st.integers(3, 6)),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.integers(0, 1),
    groups=st.sampled_from([1, 2]),
)
def test_reach_is_that_of_a_loop(size, kernel, stride, padding, groups):
    conv = nn.Conv2d(2, 4, kernel, stride=stride, padding=padding, groups=groups)
    before = conv.weight.clone()
    found = counting.reach(conv, torch.zeros(1, 2, *size))
    rows, columns = ((side + 2 * padding - kernel) // stride + 1 for side in size)
    due = np.zeros((2, *size))
    for i, j, di, dj in product(range(rows), range(columns), range(kernel), range(kernel)):
        y, x = i * stride + di - padding, j * stride + dj - padding
        if 0 <= y < size[0] and 0 <= x < size[1]:
            due[:, y, x] += 4 // groups
    assert np.array_equal(found[0].numpy(), due)
    assert torch.equal(conv.weight, before)


@given(st.lists(st.integers(-5000, 5000), min_size=1, max_size=30))
def test_set_bits_are_those_of_bin(values):
    assert counting.set_bits(torch.tensor(values).float()).tolist() == [bin(abs(v)).count("1") for v in values]


def test_reals_count_once():
    assert counting.set_bits(torch.tensor([0.0, 0.5, 3.0])).tolist() == [0, 1, 1]


def test_steps_stand_in_front_alone_or_with_the_batch():
    values = torch.arange(24.0)
    assert counting.by_step(values.view(4, 6), 4, 1).shape == (4, 6)
    assert counting.by_step(values.view(4, 1, 2, 3), 4, 2).shape == (4, 2, 3)
    # A batch of one sample that is no time step, though it has four channels.
    assert counting.by_step(values.view(1, 4, 2, 3), 4, 1).shape == (1, 1, 4, 2, 3)


spikes = st.integers(0, 2**32 - 1).map(
    lambda seed: torch.from_numpy(np.random.default_rng(seed).random((3, 4, 1, 2, 3, 5)) < 0.3).float()
)


@settings(max_examples=20, deadline=None)
@given(spikes)
def test_additions_inside_attention_are_those_of_loops(qkv):
    q, k, v = qkv.numpy().astype(int)  # (T = 4, B = 1, heads = 2, N = 3, d = 5)
    steps, tokens, width = range(4), range(3), range(5)
    first, second, most = np.zeros(4), np.zeros(4), 0
    for t, h in product(steps, range(2)):
        scores = [[sum(q[t, 0, h, i] & k[t, 0, h, j]) for j in tokens] for i in tokens]
        first[t] += sum(map(sum, scores))
        second[t] += sum(v[t, 0, h, j, e] for i, j, e in product(tokens, tokens, width) if scores[i][j])
        most = max(most, *map(max, scores))
    found = counting.scores_additions(*qkv)
    assert (found[0].tolist(), found[1].tolist(), found[2]) == (first.tolist(), second.tolist(), most)

    for chunk in (1, 2, 4):
        first, second, most = np.zeros(4), np.zeros(4), 0
        for t, h in product(steps, range(2)):
            start = t - t % chunk
            outer = np.zeros((5, 5), int)
            for s, n, d, e in product(range(start, start + chunk), tokens, width, width):
                outer[d, e] += k[s, 0, h, n, d] & v[s, 0, h, n, e]
            first[t] += sum(k[t, 0, h, n, d] & v[t, 0, h, n, e] for n, d, e in product(tokens, width, width))
            second[t] += sum(q[t, 0, h, n, d] for n, d, e in product(tokens, width, width) if outer[d, e])
            most = max(most, outer.max())
        found = counting.keys_additions(*qkv, chunk=chunk)
        assert (found[0].tolist(), found[1].tolist(), found[2]) == (first.tolist(), second.tolist(), most)

    found = counting.sums_additions(qkv[1] * qkv[2])
    assert found[0].tolist() == (k & v).sum((1, 2, 3, 4)).tolist()
    assert found[1].tolist() == [0] * 4
    assert found[2] == (k & v).sum(-2).max()

    found = counting.gates_additions(qkv[0])
    assert found[0].tolist() == q.sum((1, 2, 3, 4)).tolist()
    assert found[1].tolist() == [0] * 4
    assert found[2] == q.sum(-1).max()


def test_a_chunk_of_one_step_is_step_by_step():
    qkv = (torch.rand(3, 4, 1, 2, 3, 5, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    alone = [counting.keys_additions(*qkv[:, t : t + 1], chunk=1) for t in range(4)]
    whole = counting.keys_additions(*qkv, chunk=1)
    assert whole[0].tolist() == pytest.approx([one[0].item() for one in alone])
    assert whole[1].tolist() == pytest.approx([one[1].item() for one in alone])
