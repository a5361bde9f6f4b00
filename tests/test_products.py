import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnq.checkpoints.inspecting import inspect
from snnq.models.registry import ARCHITECTURES, attention_table
from snnq.network.products import COLUMNS, TITLE, Products, rows


def test_spikformer_of_the_paper():
    table = attention_table("spikformer-cifar10dvs", {})
    assert [one.name for one in table] == ["block.0.attn", "block.1.attn"]
    one = table[0]
    assert (one.order, one.heads, one.tokens, one.width, one.steps, one.chunk) == ("scores", 16, 64, 16, 16, 1)
    assert (one.operand_values, one.operand_largest, one.operand_bits) == (64 * 64, 16, 5)
    assert (one.wait_steps, one.q_buffer_bits) == (0, 0)
    # Two products of 64 · 64 · 16 in each of 16 heads; 1024 entries are scaled in each head at 16 steps.
    assert one.multiplications == 2 * 16 * 64 * 64 * 16
    assert one.scalings == 16 * 16 * 1024
    assert one.scale_is_shift  # 0.25


def test_statten_of_its_authors():
    # CIFAR10-DVS, 64x64 pooled twice: 16x16 tokens, 8 heads of 32, chunks of 4 of 16 steps.
    one = attention_table("statten-dvs", {})[0]
    assert (one.order, one.tokens, one.width, one.chunk, one.steps) == ("keys", 256, 32, 4, 16)
    # Kᵀ V: 32 · 32 entries a head from 0 to 4 · 256: 11 bits, since 1024 itself needs the eleventh.
    assert (one.operand_values, one.operand_largest, one.operand_bits) == (1024, 1024, 11)
    assert one.end_bits == (32 * 1024).bit_length() == 16
    assert one.wait_steps == 3
    assert one.q_buffer_bits == 4 * 8 * 256 * 32
    assert one.scalings == 4 * 8 * 1024
    assert one.local_bits == 4 * (8 * 1024 * 11 + 262_144)
    assert one.multiplications == 2 * 8 * 256 * 32 * 32


def test_spike_driven_transformer():
    one = attention_table("sdt-static", {})[0]
    assert (one.order, one.tokens, one.width) == ("sums", 64, 64)
    assert (one.operand_values, one.operand_bits, one.end_bits) == (64, 7, 1)
    assert (one.scale, one.scalings, one.scale_is_shift) == (None, 0, False)


def test_qkformer_gates_tokens_before_its_last_stage():
    # 128x128 halved three times, then once more: 256 tokens of 128 features, then 64 of 256.
    tokens, self_attention = attention_table("qkformer-dvs", {})
    assert (tokens.name, tokens.order, tokens.tokens, tokens.width) == ("stage1.0.tssa", "gates", 256, 8)
    # One sum from 0 to 8 a token and head, one product of gate and key at each of its features.
    assert (tokens.operand_values, tokens.operand_bits, tokens.end_bits) == (256, 4, 1)
    assert (tokens.multiplications, tokens.scalings, tokens.scale) == (16 * 256 * 8, 0, None)
    assert (self_attention.name, self_attention.order, self_attention.tokens) == ("stage2.0.ssa", "keys", 64)
    names = [one.name for one in attention_table("qkformer-imagenet", {})]
    assert names[:4] == ["stage1.0.tssa", "stage2.0.tssa", "stage2.1.tssa", "stage3.0.attn"]
    assert {one.order for one in attention_table("maxformer-cifar10", {})} == {"keys"}


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if not name.startswith(("maxformer", "respike"))])
def test_every_architecture_has_one_row_a_block_that_fits_80_columns(name):
    table = attention_table(name, {})
    assert len(table) == ARCHITECTURES[name].default_config()["depth"]
    cells = [COLUMNS, *rows(table)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    assert sum(widths) + 3 * (len(widths) - 1) + 2 <= 80
    assert "chunk" in TITLE
    assert table[0].to_dict()["operand_bits"] == table[0].operand_bits


def test_integer_spikes_make_larger_numbers():
    # 14x14 tokens. Q and K of 16 features a head, V of 64; each 0 to 4.
    one = attention_table("sdt-v3-imagenet", {})[0]
    assert (one.order, one.tokens, one.width, one.value_ratio, one.substeps) == ("scores", 196, 16, 4, 4)
    assert (one.operand_values, one.operand_largest) == (196**2, 16 * 4 * 4)
    assert one.end_bits == (196 * 16 * 4**3).bit_length()
    assert one.multiplications == 8 * (196 * 196 * 16 + 196 * 196 * 64)
    assert one.scalings == 8 * 196 * 64
    assert one.scale == 2 * 16**-0.5 / 4**3
    other = attention_table("qsd-imagenet", {})[0]
    assert (other.order, other.operand_largest, other.scale) == ("keys", 196 * 4 * 4, 0.25 / 64)


def test_a_model_of_somebody_else_is_not_known():
    assert attention_table("networks.py:mine", {"steps": 4}) == ()


def test_a_graft_is_chunked_whatever_the_model():
    one = attention_table("spikformer-cifar10", {"chunk": 2})[0]
    assert (one.order, one.chunk, one.scaled, one.operand_largest) == ("keys", 2, "operand", 2 * 64)


sizes = st.integers(1, 300)


@given(sizes, sizes, st.integers(1, 16), st.integers(1, 4))
def test_bits_are_the_logarithm_of_the_range(tokens, width, chunk, chunks):
    one = Products("a", "keys", 2, tokens, width, chunk * chunks, chunk)
    assert one.operand_bits == math.ceil(math.log2(chunk * tokens + 1))
    assert 2**one.operand_bits > one.operand_largest >= 2 ** (one.operand_bits - 1)
    assert one.wait_steps == chunk - 1
    # A larger chunk never needs fewer bits, and what is not chunked keeps no Q.
    assert one.operand_bits >= Products("a", "keys", 2, tokens, width, chunk, 1).operand_bits
    assert (one.q_buffer_bits > 0) == (chunk > 1)


def test_inspect_shows_them():
    found = inspect("digits")
    assert found.attentions == attention_table(found.checkpoint.architecture, found.checkpoint.config)
    assert [row["operand_bits"] for row in found.to_dict()["attentions"]] == [5, 5]
