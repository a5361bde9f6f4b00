"""Entropy coding: a stream typed by hand, round trips, sizes beside the entropy and another coder, and damage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.schemes import entropy
from snnq.schemes.bits import BitReader, BitWriter
from snnq.schemes.entropy import SUM, Decoder, Part


def test_numbers_by_hand() -> None:
    writer = BitWriter()
    writer.number(5, 3)  # 101, lowest first
    writer.gamma(6)  # two zeros, a one, and 10 without its highest: 6 = 110
    writer.signed(-2)  # the fourth whole number: 4 = 100
    # 1 0 1 | 0 0 1 | 0 1 | 0 0 1 | 0 0
    assert writer.length == 13
    assert writer.bytes() == bytes([0b10100101, 0b00000100])
    reader = BitReader(writer.bytes())
    assert (reader.number(3), reader.gamma(), reader.signed()) == (5, 6, -2)
    assert not reader.rest()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("nbgs"), st.integers(0, 57), st.integers(0, 2**57 - 1)), max_size=20))
def test_numbers_come_back(written: list[tuple[str, int, int]]) -> None:
    writer = BitWriter()
    for kind, width, value in written:
        cut = value & ((1 << width) - 1)
        if kind == "n":
            writer.number(cut, width)
        elif kind == "b":
            writer.block(np.array([cut, 0, cut]), width)
        elif kind == "g":
            writer.gamma(value // 2 + 1)
        else:
            writer.signed(value // 4 * (-1) ** width)
    reader = BitReader(writer.bytes())
    for kind, width, value in written:
        cut = value & ((1 << width) - 1)
        if kind == "n":
            assert reader.number(width) == cut
        elif kind == "b":
            assert reader.block(3, width).tolist() == [cut, 0, cut]
        elif kind == "g":
            assert reader.gamma() == value // 2 + 1
        else:
            assert reader.signed() == value // 4 * (-1) ** width
    assert reader.at == writer.length


def one_part(symbols: np.ndarray, frequencies: np.ndarray) -> Part:
    return Part(symbols, np.zeros(len(symbols), np.int64), frequencies[None])


def test_a_stream_by_hand() -> None:
    """Two symbols of frequency 1 and 3 in 4: x' = ⌊x / f⌋ · 4096 + c + x mod f, from the last symbol to the first."""
    frequencies = np.array([1024, 3072])
    states, words = entropy.encode([one_part(np.array([1, 0, 1]), frequencies)], 1)
    x = 2**16
    x = x // 3072 * 4096 + 1024 + x % 3072  # the last symbol, 1
    assert x == 21 * 4096 + 1024 + 1024 == 88064
    x = x // 1024 * 4096 + x % 1024  # 0
    assert x == 352256
    x = x // 3072 * 4096 + 1024 + x % 3072  # 1
    assert states.tolist() == [x] == [114 * 4096 + 1024 + 2048]
    assert words.tolist() == []
    # A state that would pass 2^32 gives 16 bits away first: of frequency 1 in 4096, from x ≥ 2^20 on.
    rare = np.array([1, 4095])
    states, words = entropy.encode([one_part(np.zeros(2, np.int64), rare)], 1)
    assert words.tolist() == [0]  # 2^16 becomes 2^28, of which the lower half is zero
    assert states.tolist() == [2**28 // 2**16 * 4096]
    decoder = Decoder(states, words)
    assert decoder.take(np.zeros(2, np.int64), rare[None]).tolist() == [0, 0]
    decoder.close()


def decoded_one_by_one(parts: list[Part], states: np.ndarray, words: np.ndarray) -> list[list[int]]:
    """The decoder in plain Python, lane after lane and step after step."""
    x, taken, found = [int(one) for one in states], 0, []
    for part in parts:
        symbols = []
        for i, table in enumerate(part.tables.tolist()):
            frequencies, lane = part.frequencies[table].tolist(), i % len(x)
            place, symbol, before = x[lane] % SUM, 0, 0
            while place >= before + frequencies[symbol]:
                before += frequencies[symbol]
                symbol += 1
            symbols.append(symbol)
            x[lane] = frequencies[symbol] * (x[lane] // SUM) + place - before
            if x[lane] < 2**16:
                x[lane] = x[lane] << 16 | int(words[taken])
                taken += 1
        found.append(symbols)
    assert taken == len(words)
    assert set(x) == {2**16}
    return found


@st.composite
def many_parts(draw: st.DrawFn) -> list[Part]:
    rng, parts = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), []
    for _ in range(draw(st.integers(1, 3))):
        count, size, n = draw(st.integers(1, 3)), draw(st.integers(1, 20)), draw(st.integers(0, 60))
        weights = rng.dirichlet(np.full(size, draw(st.sampled_from([0.05, 1.0, 10.0]))), count)
        tables = rng.integers(count, size=n)
        symbols = np.array([rng.choice(size, p=weights[one]) for one in tables], np.int64)
        counts = np.stack([np.bincount(symbols[tables == one], minlength=size) for one in range(count)])
        parts.append(Part(symbols, tables, np.stack([entropy.fitted(one).frequencies for one in counts])))
    return parts


def check_decoder(parts: list[Part], states: np.ndarray, words: np.ndarray) -> None:
    decoder = Decoder(states, words)
    for part in parts:
        assert np.array_equal(decoder.take(part.tables, part.frequencies), part.symbols)
    decoder.close()


@settings(max_examples=40, deadline=None)
@given(many_parts(), st.integers(1, 9))
def test_parts_come_back(parts: list[Part], lanes: int) -> None:
    states, words = entropy.encode(parts, lanes)
    check_decoder(parts, states, words)
    due = [part.symbols.tolist() for part in parts]
    assert decoded_one_by_one(parts, states, words) == due
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entropy, "_FEW", 0)  # few lanes as many are encoded
        assert [one.tolist() for one in entropy.encode(parts, lanes)] == [states.tolist(), words.tolist()]
        check_decoder(parts, states, words)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=40))
def test_tables(counts: list[int]) -> None:
    made, writer = entropy.fitted(np.array(counts)), BitWriter()
    assert int(made.frequencies.sum()) == SUM
    assert bool((made.frequencies[np.array(counts) > 0] > 0).all())
    entropy.write_table(writer, made)
    assert writer.length == made.bits
    if counts[-1]:
        assert entropy.shortest_table(np.array(counts)) <= made.bits
    assert np.array_equal(entropy.read_table(BitReader(writer.bytes()), len(counts)), made.frequencies)


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.9, 0.06, 0.04], [0.995, 0.005], [1 / 16] * 16])
def test_the_size_is_the_entropy_and_another_coder_s(shares: list[float]) -> None:
    symbols = np.random.default_rng(0).choice(len(shares), 60_000, p=shares)
    counts = np.bincount(symbols, minlength=len(shares))
    table = entropy.fitted(counts)
    states, words = entropy.encode([one_part(symbols, table.frequencies)], 8)
    found, bound = 8 * (states.nbytes + words.nbytes), entropy.cost(counts, counts)
    assert bound <= found + 8 * 32 <= bound * 1.01 + 2 * 8 * 32
    constriction = pytest.importorskip("constriction")
    model = constriction.stream.model.Categorical(counts / counts.sum(), perfect=False)
    coder = constriction.stream.stack.AnsCoder()
    coder.encode_reverse(symbols.astype(np.int32), model)
    assert found <= 1.005 * 32 * len(coder.get_compressed()) + 8 * 32


@pytest.mark.parametrize("few", [0, 8])
def test_what_is_no_stream_is_refused(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entropy, "_FEW", few)
    symbols = np.random.default_rng(1).integers(4, size=500)
    part = one_part(symbols, np.full(4, 1024))
    states, words = entropy.encode([part], 3)

    def read(states: np.ndarray, words: np.ndarray) -> np.ndarray:
        decoder = Decoder(states, words)
        found = decoder.take(part.tables, part.frequencies)
        decoder.close()
        return found

    assert np.array_equal(read(states, words), symbols)
    with pytest.raises(ValueError, match="ends early"):
        read(states, words[:-1])
    with pytest.raises(ValueError, match="last states"):
        read(states, np.append(words, np.uint16(0)))
    with pytest.raises(ValueError, match="too small"):
        read(states % np.uint32(2**16), words)


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x0d\x00", b"\x00\x00\xff", bytes(40)])
def test_what_is_no_table_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"table|early|bits"):
        entropy.read_table(BitReader(data), 9)
